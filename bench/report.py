"""What was measured, as a table for people; and which machine it was."""
import os
import pathlib
import platform
import statistics
import subprocess
import time

LABEL, COLUMN = 32, 17


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
    times = result["first_new_ms"]
    if any(name not in times for name in (way, *to)):
        return ""
    return f"{statistics.median(times[way]) / sum(statistics.median(times[name]) for name in to):.2f}"


def _requests(result, way, which):
    if "under_load" not in result:
        return ""
    counted = result["under_load"][way][which]
    return f"{counted['failed']} of {counted['done']}"


def _rows(first):
    rows = [("Milliseconds to the first new handshake, median (min-max)",)]
    for label, way in (("a  bare: reload signal sent", "reload"), ("b  certswap: last file closed", "drop"),
                       ("n  certswap: notice, a standby", "notice"), ("c  shell loop: test, reload", "loop"),
                       ("r  a rehearsal alone", "rehearsal")):
        rows.append((label, lambda r, way=way: _spread(r["first_new_ms"].get(way))))
    rows.append(("Ratios of these medians",))
    for label, way, to in (("b : a", "drop", ["reload"]), ("n : a", "notice", ["reload"]), ("c : a", "loop", ["reload"]),
                           ("b : c", "drop", ["loop"]), ("b : (r + a)", "drop", ["rehearsal", "reload"])):
        rows.append((label, lambda r, way=way, to=to: _ratio(r, way, *to)))
    swaps = next((r["under_load"]["drop"]["swaps"] for r in first["results"] if "under_load" in r), 0)
    rows.append((f"Requests that failed under load (wrk), of all; {swaps} swaps, one a second",))
    for words, which in (("new connections", "new"), ("kept connections", "kept")):
        for label, way in ((f"{words}: no reload", "none"), ("   bare reload", "reload"), ("   certswap", "drop")):
            rows.append((label, lambda r, way=way, which=which: _requests(r, way, which)))
    rows.append(("What certswapd takes",))
    rows.append(("memory, MB: RSS, PSS", lambda r: f"{r['memory_kb']['rss'] / 1024:.1f}, {r['memory_kb']['pss'] / 1024:.1f}"))
    rows.append(("   PSS of waiting workers, MB", lambda r: f"{r['memory_kb']['spare'] / 1024:.1f}"))
    rows.append(("CPU a swap, ms: itself, children",
                 lambda r: " + ".join(f"{r['cpu_ms_per_swap'][who]:.1f}" for who in ("daemon", "children"))))
    rows.append(("idle: CPU ms and wake-ups a min",
                 lambda r: ", ".join(f"{r['idle'][what] * 60 / r['idle']['seconds']:.1f}" for what in ("cpu_ms", "wakeups"))))
    rows.append(("repetitions; load average before", lambda r: f"{len(r['first_new_ms']['drop'])}; {r['load_before']:.2f}"))
    return rows


def table(everything):
    m, results = everything["machine"], everything["results"]
    versions = ", ".join(f"{name} {m[name]}" for name in ("certswap", "nginx", "apache", "openssl") if name in m)
    lines = [f"{m['cpu']}, {m['cores']} cores, Linux {m['kernel']}", versions,
             f"{m['began']} to {m['ended']}, load average {m['load_began']:.2f} to {m['load_ended']:.2f}",
             f"the loop's watcher: {m['shell_loop']}", ""]
    heads = [f"{r['kind']}, {r['certificates']}" for r in results]
    lines.append(f"{'Server, number of certificates':<{LABEL}}" + "".join(f"{head:>{COLUMN}}" for head in heads))
    for label, *value in _rows(everything):
        if not value:
            lines += [label]
            continue
        cells = [value[0](r) for r in results]
        if any(cells):
            lines.append(f"{'  ' + label:<{LABEL}}" + "".join(f"{cell:>{COLUMN}}" for cell in cells))
    return "\n".join(line.rstrip() for line in lines)
