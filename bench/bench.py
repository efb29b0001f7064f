#!/usr/bin/python3
"""certswap beside the bare web server and the usual shell loop: times, failed requests, memory and CPU. Run by bench/run."""
import argparse
import json
import pathlib
import sys
import threading
import time

from report import Machine, table
from scene import KINDS, Loop, Prober, Scene

from processes import guarded, wait_until  # found by scene
from webserver import Load

FRESH, KEPT = 4, 16  # connections of the load


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
    ways = {"reload": scene.by_reload, "drop": scene.by_drop, "notice": scene.by_notice, "loop": scene.by_loop}
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


class Paced:
    """One swap a second, so that the ways meet the same load for the same time."""

    def __init__(self, pace=1.0):
        self.pace, self.next = pace, time.monotonic()

    def wait(self):
        threading.Event().wait(max(0.0, self.next - time.monotonic()))
        self.next = max(self.next, time.monotonic()) + self.pace


def shows(server, host, pair):
    try:
        return server.shown(host).sha256 == pair.sha256
    except OSError:
        return False


def under_load(scene, server, swap, rounds):
    """Requests and failures of new and of kept connections while `swap` is called `rounds` times; None: nothing happens."""
    pairs = [scene.issue() for _ in range(rounds)]
    folder = scene.run.folder
    loads = {"new": Load(server, scene.host, folder, True, FRESH), "kept": Load(server, scene.host, folder, False, KEPT)}
    for load in loads.values():
        scene.run.at_end(load.stop)
    paced = Paced()
    for pair in pairs:
        paced.wait()
        if swap:
            swap(pair)
            wait_until("the new certificate is shown", lambda p=pair: shows(server, scene.host, p), 30, 0.02)
    paced.wait()
    return {which: load.stop()._asdict() for which, load in loads.items()}


def measure_load(scene, rounds, blocks):
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
            for which, requests in under_load(scene, server, swap, rounds).items():
                for key, value in requests.items():
                    found[way][which][key] += value
    return found


def measure(kind, count, args, repetitions):
    load = wait_calm(args.calm, args.calm_seconds)
    say(f"{kind}, {count} certificate{'s' if count > 1 else ''}: {repetitions} repetitions (load average {load:.2f})")
    with Scene(kind, count) as scene:
        found = {"kind": kind, "certificates": count, "load_before": load, **measure_times(scene, repetitions)}
        found["memory_kb"] = scene.memory()
        found["idle"] = measure_idle(scene, args.idle)
        if count == 1:
            say(f"{kind}: {args.rounds * args.blocks} swaps under load, each way")
            found["under_load"] = measure_load(scene, args.rounds, args.blocks)
    return found


def arguments():
    parser = argparse.ArgumentParser(prog="bench/run", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few repetitions: to see that it works; the figures mean little")
    parser.add_argument("--json", metavar="FILE", help="all figures as JSON as well; -: on standard output, instead of the table")
    parser.add_argument("--servers", default=",".join(KINDS), help="a list of: " + ", ".join(KINDS))
    args = parser.parse_args()
    args.kinds = [kind for kind in args.servers.split(",") if KINDS[kind].installed()]
    args.sizes = {1: 3, 100: 1} if args.quick else {1: 15, 100: 7}
    args.rounds, args.blocks, args.idle = (3, 1, 2) if args.quick else (10, 3, 10)
    args.calm, args.calm_seconds = (99, 0) if args.quick else (0.7, 180)
    return args


def main():
    args = arguments()
    machine = Machine(args.kinds, Loop.words)
    found = [measure(kind, count, args, repetitions) for kind in args.kinds for count, repetitions in args.sizes.items()]
    everything = {"machine": machine.ended(), "results": found}
    if args.json == "-":
        print(json.dumps(everything, indent=2))
        return 0
    if args.json:
        pathlib.Path(args.json).write_text(json.dumps(everything, indent=2) + "\n")
    print(table(everything))
    return 0


sys.exit(guarded(main))
