#!/usr/bin/python3
"""certswap beside the bare web server and the usual shell loop: times, failed requests, memory and CPU. Run by bench/run."""
import argparse
import json
import pathlib
import sys
import threading
import time

import peers
from report import Machine, table
from scene import KINDS, Loop, Prober, Scene

from processes import guarded, wait_until  # found by scene
from webserver import Load

BATCH_MAX_MS = 180000  # by the time of the batch of a tenth
PACE_S = 0.5  # between two swaps under load
PARTS = ("times", "idle", "batch", "load", "peers")
LOADS = {"moderate": (4, 16, 10), "saturating": (16, 64, 0)}  # connections, new and kept; milliseconds between their requests


def say(text):
    print(text, file=sys.stderr, flush=True)


def wait_calm(limit, seconds):
    """Other work on the machine is in every figure: waits for a load average below the limit; what it was at last."""
    deadline = time.monotonic() + seconds
    pause = threading.Event()
    while True:
        load = float(pathlib.Path("/proc/loadavg").read_text().split()[0])
        if load <= limit or time.monotonic() > deadline:
            return load
        pause.wait(5)


def measure_times(scene, repetitions):
    """Each repetition does all of the ways, each time beginning with another one, so that the machine's drift is in all alike."""
    ways = {"reload": scene.by_reload, "drop": scene.by_drop, "notice": scene.by_notice}
    if scene.loop:
        ways["loop"] = scene.by_loop
    if scene.kind == "apache":
        ways["rehearsal"] = scene.rehearsal
    times = {way: [] for way in ways}
    names = list(ways)
    for i in range(repetitions):
        for way in names[i % len(names):] + names[:i % len(names)]:
            times[way].append(ways[way]())
    daemon, children = (sum(values) / len(values) for values in zip(*scene.cpu))
    return {"first_new_ms": times, "cpu_ms_per_swap": {"daemon": daemon, "children": children}}


def measure_idle(scene, seconds):
    before = scene.daemon()
    threading.Event().wait(seconds)
    after = scene.daemon()
    return {"seconds": seconds, "cpu_ms": after[0] - before[0], "children_cpu_ms": after[1] - before[1],
            "wakeups": after[2] - before[2]}


def measure_batch(scene, limit_ms):
    """Every pair replaced at once; then again with one that is bad. Not where that would take longer than the limit."""
    found = {"reload_ms": scene.bare_batch()}
    if limit_ms is not None and limit_ms > BATCH_MAX_MS:
        return found
    found["drop_ms"], found["reloads"] = scene.batch()
    if scene.count <= 1000:
        found["bad_ms"], found["bad_reloads"] = scene.batch(bad=list(scene.run.certificates)[scene.count // 2])
    return found


class Paced:
    """So that the ways meet the same load for the same time."""

    def __init__(self, pace):
        self.pace, self.next = pace, time.monotonic()

    def wait(self):
        threading.Event().wait(max(0.0, self.next - time.monotonic()))
        self.next = max(self.next, time.monotonic()) + self.pace


def shows(server, host, pair):
    try:
        return server.shown(host).sha256 == pair.sha256
    except OSError:
        return False


def under_load(scene, server, swap, rounds, level):
    """Requests and failures of new and of kept connections while `swap` is called `rounds` times; None: nothing happens."""
    pairs = [scene.issue() for _ in range(rounds)]
    folder = scene.run.folder
    fresh, kept, pause = LOADS[level]
    loads = {"new": Load(server, scene.host, folder, True, fresh, pause), "kept": Load(server, scene.host, folder, False, kept, pause)}
    for load in loads.values():
        scene.run.at_end(load.stop)
    paced = Paced(PACE_S)
    for pair in pairs:
        paced.wait()
        if swap:
            swap(pair)
            wait_until("the new certificate is shown", lambda p=pair: shows(server, scene.host, p), 30, 0.02)
    paced.wait()
    return {which: load.stop()._asdict() for which, load in loads.items()}


def measure_load(scene, rounds, blocks, level):
    """In blocks that alternate."""
    def bare(pair):
        scene.bare.put(scene.name, pair)
        scene.bare.reload()

    def drop(pair):
        scene.drop(pair)
        wait_until("it is shown", lambda: shows(scene.server, scene.host, pair), 30, 0.02)
        scene.wait_settled()

    ways = {"none": (scene.bare.server, None), "reload": (scene.bare.server, bare), "drop": (scene.server, drop)}
    found = {way: {"new": {"done": 0, "failed": 0}, "kept": {"done": 0, "failed": 0}, "swaps": rounds * blocks} for way in ways}
    for _ in range(blocks):
        for way, (server, swap) in ways.items():
            for which, requests in under_load(scene, server, swap, rounds, level).items():
                for key, value in requests.items():
                    found[way][which][key] += value
    return found


def measure(kind, count, args, repetitions, before):
    load = wait_calm(args.calm, args.calm_seconds)
    say(f"{kind}, {count} certificate{'s' if count > 1 else ''}: {repetitions} repetitions (load average {load:.2f})")
    with Scene(kind, count) as scene:
        found = {"kind": kind, "certificates": count, "load_before": load, "memory_kb": scene.memory()}
        if "times" in args.parts:
            found |= measure_times(scene, repetitions)
            found["memory_kb"] = scene.memory()
        if "idle" in args.parts:
            found["idle"] = measure_idle(scene, args.idle)
        if scene.start_s:
            found["start_ms"], found["looked_ms"] = scene.start_s * 1000, scene.looked_s * 1000
        if scene.start_s and "batch" in args.parts:
            smaller = next((r["batch"].get("drop_ms") for r in before if r["kind"] == kind and r["certificates"] * 10 == count
                            and "batch" in r), None)
            say(f"{kind}: {count} at once")
            found["batch"] = measure_batch(scene, smaller and smaller * 10)
            found["memory_after_kb"] = scene.memory()
        if count == 1 and "load" in args.parts:
            found["under_load"] = {}
            for level in LOADS:
                say(f"{kind}: {args.rounds * args.blocks} swaps under {level} load, each way")
                found["under_load"][level] = measure_load(scene, args.rounds, args.blocks, level)
    return found


def measure_peers(args):
    found = []
    for count, repetitions in args.sizes["nginx"].items():
        if count > args.peers_most:
            continue
        say(f"other programs, {count} certificate{'s' if count > 1 else ''}")
        with Scene("nginx", count, alone=True) as scene:
            found.append({"certificates": count, "first_new_ms": peers.measure(scene, repetitions)})
    return found


def arguments():
    parser = argparse.ArgumentParser(prog="bench/run", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few repetitions: to see that it works; the figures mean little")
    parser.add_argument("--json", metavar="FILE", help="all figures as JSON as well; -: on standard output, instead of the table")
    parser.add_argument("--servers", default=",".join(KINDS), help="a list of: " + ", ".join(KINDS))
    parser.add_argument("--sizes", dest="sizes_only", metavar="SIZES", help="a list of numbers of certificates, such as 1,1000")
    parser.add_argument("--parts", default=",".join(PARTS), help="a list of: " + ", ".join(PARTS))
    parser.add_argument("--repetitions", type=int, help="of each time, whatever the size")
    parser.add_argument("--swaps", type=int, help="under load, each way")
    args = parser.parse_args()
    args.parts = args.parts.split(",")
    if not set(args.parts) <= set(PARTS):
        parser.error("--parts: " + ", ".join(set(args.parts) - set(PARTS)))
    args.kinds = [kind for kind in args.servers.split(",") if KINDS[kind].installed()]
    args.sizes = {"nginx": {1: 2, 100: 1, 1000: 1}, "apache": {1: 1, 100: 1}} if args.quick else \
        {"nginx": {1: 11, 100: 5, 1000: 3, 10000: 1}, "apache": {1: 11, 100: 5, 1000: 2}}
    if args.sizes_only:
        args.sizes = {kind: {int(n): sizes.get(int(n), 1) for n in args.sizes_only.split(",")} for kind, sizes in args.sizes.items()}
    if args.repetitions:
        args.sizes = {kind: dict.fromkeys(sizes, args.repetitions) for kind, sizes in args.sizes.items()}
    args.rounds, args.blocks, args.idle = (3, 1, 2) if args.quick else (25, 4, 10)
    if args.swaps:
        args.rounds, args.blocks = args.swaps, 1
    args.peers_most = 100 if args.quick else 1000
    args.calm, args.calm_seconds = (99, 0) if args.quick else (0.7, 20)
    return args


def main():
    args = arguments()
    machine = Machine(args.kinds, Loop.words)
    found = []
    for kind in args.kinds:
        for count, repetitions in args.sizes[kind].items():
            if set(args.parts) - {"peers"}:
                found.append(measure(kind, count, args, repetitions, found))
    others = measure_peers(args) if "peers" in args.parts and "nginx" in args.kinds else []
    everything = {"machine": machine.ended(), "results": found, "peers": others, "peers_missing": peers.missing()}
    if args.json == "-":
        print(json.dumps(everything, indent=2))
        return 0
    if args.json:
        pathlib.Path(args.json).write_text(json.dumps(everything, indent=2) + "\n")
    print(table(everything))
    return 0


sys.exit(guarded(main))
