"""What was measured, as a table for people; and which machine it was."""
import os
import pathlib
import platform
import statistics
import subprocess
import time


def _said(*argv):
    done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    return done.stdout.splitlines()[0].strip()


def _source():
    """The commit that was measured; + where files differ from it."""
    done = subprocess.run(["git", "describe", "--always", "--dirty=+"], cwd=pathlib.Path(__file__).parent, check=False,
                          stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    return done.stdout.strip() or "not known"


class Machine:
    def __init__(self, kinds, loop):
        cpuinfo = pathlib.Path("/proc/cpuinfo").read_text()
        model = next((line.partition(":")[2].strip() for line in cpuinfo.splitlines() if line.startswith("model name")), "?")
        versions = {"nginx": lambda: _said("/usr/sbin/nginx", "-v").rpartition("/")[2],
                    "apache": lambda: _said("/usr/sbin/apache2", "-v").partition("/")[2].split()[0]}
        self.facts = {"cpu": model, "cores": os.cpu_count(), "kernel": platform.release(),
                      **{kind: versions[kind]() for kind in kinds},
                      "openssl": _said("openssl", "version").split()[1], "certswap": _source(), "shell_loop": loop,
                      "began": time.strftime("%Y-%m-%dT%H:%M:%S%z"), "load_began": os.getloadavg()[0]}

    def ended(self):
        return {**self.facts, "ended": time.strftime("%Y-%m-%dT%H:%M:%S%z"), "load_ended": os.getloadavg()[0]}


def _number(value):
    return f"{value:.0f}" if value >= 99.5 else f"{value:.1f}"


def _spread(values):
    """Median (min-max)."""
    return f"{_number(statistics.median(values))} ({min(values):.0f}-{max(values):.0f})" if values else ""


def _ratio(result, way, *to):
    """Of medians."""
    times = result.get("first_new_ms", {})
    if any(name not in times for name in (way, *to)):
        return ""
    return f"{statistics.median(times[way]) / sum(statistics.median(times[name]) for name in to):.2f}"


def _requests(result, level, way, which):
    if "under_load" not in result:
        return ""
    counted = result["under_load"][level][way][which]
    return f"{counted['failed']} of {counted['done']}"


def _seconds(ms):
    return "" if ms is None else f"{ms / 1000:.2f}"


def _pair(found, *keys):
    return ", ".join(str(found[key]) for key in keys if key in found)


def _load_rows(first):
    levels = next((r["under_load"] for r in first["results"] if "under_load" in r), {})
    rows = []
    for level, ways in levels.items():
        rows.append((f"Requests that failed under {level} load (wrk), of all; {ways['drop']['swaps']} swaps, two a second",))
        for words, which in (("new connections", "new"), ("kept connections", "kept")):
            for label, way in (("no reload", "none"), ("bare reload", "reload"), ("certswap", "drop")):
                rows.append((f"{words}: {label}", lambda r, level=level, way=way, which=which: _requests(r, level, way, which)))
    return rows


def _rows(first):
    rows = [("Milliseconds to the first new handshake, median (min-max)",)]
    for label, way in (("a  bare: reload signal sent", "reload"), ("b  certswap: last file closed", "drop"),
                       ("n  certswap: notice, a standby", "notice"), ("c  shell loop: test, reload", "loop"),
                       ("r  a rehearsal alone", "rehearsal")):
        rows.append((label, lambda r, way=way: _spread(r.get("first_new_ms", {}).get(way))))
    rows.append(("Ratios of these medians",))
    for label, way, to in (("b : a", "drop", ["reload"]), ("n : a", "notice", ["reload"]), ("c : a", "loop", ["reload"]),
                           ("b : c", "drop", ["loop"]), ("b : (r + a)", "drop", ["rehearsal", "reload"])):
        rows.append((label, lambda r, way=way, to=to: _ratio(r, way, *to)))
    rows.append(("All pairs replaced at once, seconds",))
    for label, key in (("bare: one reload, first new handshake", "reload_ms"), ("certswap: last file closed to all live", "drop_ms"),
                       ("the same with one bad pair", "bad_ms")):
        rows.append((label, lambda r, key=key: _seconds(r.get("batch", {}).get(key))))
    rows.append(("reloads that took; with the bad one", lambda r: _pair(r.get("batch", {}), "reloads", "bad_reloads")))
    rows.append(("Start with all of them, seconds",))
    rows.append(("to READY", lambda r: _seconds(r.get("start_ms"))))
    rows.append(("until every place has been looked at", lambda r: _seconds(r.get("looked_ms"))))
    rows += _load_rows(first)
    rows.append(("What certswapd takes",))
    rows.append(("memory, MB: RSS, PSS", lambda r: f"{r['memory_kb']['rss'] / 1024:.1f}, {r['memory_kb']['pss'] / 1024:.1f}"))
    rows.append(("   after all were replaced: RSS, its peak", lambda r: "" if "memory_after_kb" not in r else
                 ", ".join(f"{r['memory_after_kb'][key] / 1024:.1f}" for key in ("rss", "peak"))))
    rows.append(("   PSS of waiting workers, MB", lambda r: f"{r['memory_kb']['spare'] / 1024:.1f}"))
    rows.append(("CPU a swap, ms: itself, children",
                 lambda r: " + ".join(f"{r['cpu_ms_per_swap'][who]:.1f}" for who in ("daemon", "children"))
                 if "cpu_ms_per_swap" in r else ""))
    rows.append(("idle: CPU ms and wake-ups a min",
                 lambda r: ", ".join(f"{r['idle'][what] * 60 / r['idle']['seconds']:.1f}" for what in ("cpu_ms", "wakeups"))
                 if "idle" in r else ""))
    rows.append(("repetitions; load average before", lambda r: f"{len(r.get('first_new_ms', {}).get('drop', []))}; {r['load_before']:.2f}"))
    return rows


def _line(cells):
    return "| " + " | ".join(cells) + " |"


def _peers_table(everything):
    """Other programs in the rows, numbers of certificates in the columns: milliseconds, and times nginx's bare reload."""
    results, missing = everything.get("peers", []), everything.get("peers_missing", [])
    if not results:
        return []
    lines = ["", "| New files to first new handshake, ms; times the bare reload | " +
             " | ".join(str(r["certificates"]) for r in results) + " |", _line(["---"] + ["---:"] * len(results))]
    for words in results[0]["first_new_ms"]:
        cells = []
        for result in results:
            times = result["first_new_ms"]
            bare = statistics.median(next(iter(times.values())))
            cells.append(f"{_spread(times[words])}; {statistics.median(times[words]) / bare:.2f}" if words in times else "")
        lines.append(_line([words, *cells]))
    return lines + (["", "Not on this machine: " + ", ".join(missing) + "."] if missing else [])


def table(everything):
    """Markdown, as it stands in docs/performance.md."""
    m, results = everything["machine"], everything["results"]
    versions = ", ".join(f"{name} {m[name]}" for name in ("certswap", "nginx", "apache", "openssl") if name in m)
    lines = [f"{m['cpu']}, {m['cores']} cores, Linux {m['kernel']}; {versions}.",
             f"{m['began']} to {m['ended']}, load average {m['load_began']:.2f} to {m['load_ended']:.2f}.",
             f"The loop's watcher: {m['shell_loop']}.", "",
             _line(["Server, number of certificates"] + [f"{r['kind']}, {r['certificates']}" for r in results]),
             _line(["---"] + ["---:"] * len(results))]
    for label, *value in _rows(everything):
        cells = [value[0](r) for r in results] if value else [""] * len(results)
        if value and not any(cells):
            continue
        lines.append(_line([label.strip() if value else f"**{label}**", *cells]))
    return "\n".join((lines if results else lines[:-2]) + _peers_table(everything))
