#!/usr/bin/env python3
"""The power goes in the middle of a swap: every state that it may leave on disk (disk.py), laid out, and what becomes of it.

The calls of certswapd during one swap on nginx are recorded; each state is laid out, and then the machine starts again: as
on a machine certswapd is ready first, then nginx starts. Each time: nginx would start with what is on disk even without
certswapd; certswapd becomes ready; the new pair, which was safe in the drop box before, goes live and is served; nothing is left
under way; the audit log's chain is whole.

    powerloss.py                a sample of the states, evenly taken
    powerloss.py --full         every state
    powerloss.py --only N       one state, as a failure names it
    powerloss.py --without      as if one fsync had not been made, for each of them: does a state that it would allow break something?
"""
import argparse
import json
import os
import pathlib
import shutil
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))

import disk  # noqa: E402
from harness import Run  # noqa: E402
from processes import children_of, guarded, run as run_program, wait_until  # noqa: E402
from scene import Broken, SPARES, demand, fits_together  # noqa: E402

SKIPPED = 77
SAMPLE = 40
NAMES = {"shop": ["shop.example.test"]}


class Machine(Run):
    def __init__(self):
        super().__init__("powerloss", NAMES, servers=("nginx",))

    def __enter__(self):
        super().__enter__()
        self.agent.start()
        self.begin()
        self.nginx = self.servers[0]
        self.old = self.first["shop"]
        self.new = self.ca.issue(NAMES["shop"])
        self.wait_rest()
        return self

    def wait_rest(self):
        """Nothing is under way, and the workers that wait for work are there."""
        wait_until("certswapd is at rest", lambda: self.settled() and self.agent.status()["state"] == "ok"
                   and len(children_of(self.agent.process.pid)) == SPARES, 20)

    def record(self):
        """One swap; the folder before it and the calls."""
        log, source, box = self.folder / "calls", self.folder / "new.pem", self.state / "incoming/shop/new.pem"
        tracer = subprocess.Popen(disk.strace_words(log, self.agent.process.pid), stdin=subprocess.DEVNULL)
        wait_until("strace is attached", lambda: f"TracerPid:\t{tracer.pid}\n" in
                   pathlib.Path(f"/proc/{self.agent.process.pid}/status").read_text())
        before = disk.Disk(self.state)
        source.write_text(self.new.key + self.new.fullchain)
        before.put(str(box), source.read_bytes())
        source.rename(box)
        self.wait_served(self.new)
        self.wait_rest()
        self.agent.stop()  # so that nothing moves while the contents are taken
        tracer.wait(10)
        before.read_trace(log.read_text())
        before.take_contents()
        return before

    def try_state(self, tree, late):
        """The machine starts with this on disk; nginx at once, or late: when certswapd has put the new pair in its place."""
        self.nginx.stop()
        disk.lay(self.state, tree)
        demand(fits_together(self.live("shop").resolve()) in (self.old.sha256, self.new.sha256), "live is a stranger's")
        done = run_program(*self.nginx._command("-t"), check=False)
        demand(done.returncode == 0, f"nginx would not start: {done.stdout}")
        self.agent.start()
        demand(self.live("shop").is_symlink(), "live is no link once certswapd is ready")
        if late:
            wait_until("certswapd is ahead of nginx", lambda: self.is_ahead_of_nginx(), 20)
        self.nginx.start()
        self.wait_served(self.new)
        wait_until("nothing is under way", lambda: self.settled() and self.agent.status()["state"] == "ok", 20)
        odd = [p.name for p in (self.state / "certificates/shop").iterdir()
               if p.name not in ("live", "gen", "pending", "last-swap.json")]
        demand(not odd, f"left: {odd}")
        odd = [p.name for p in (self.state / "certificates/shop/gen").iterdir() if not (p / "meta.json").exists()]
        demand(not odd, f"left without meta.json: {odd}")
        demand(not [p for p in (self.state / "incoming/shop").iterdir()], "left in the drop box")
        done = self.agent.ctl("log", "--verify")
        demand(done.returncode == 0, f"certswapctl log --verify: {done.stdout}{done.stderr}")

    def is_ahead_of_nginx(self):
        """The drop box is empty and the new pair is live: what is left may wait for the server."""
        return (fits_together(self.live("shop").resolve()) == self.new.sha256
                and not any((self.state / "incoming/shop").iterdir()))

    def evidence(self):
        """What a person needs to understand a failure."""
        try:
            said = json.dumps(self.agent.status(), indent=1)
        except (AssertionError, OSError, ValueError) as problem:
            said = f"no status: {problem}"
        return f"{said}\n{self.agent.log()[-4000:]}"

    def attempt(self, number, words, tree):
        """What is wrong after this state, or None."""
        try:
            self.try_state(tree, number % 2 == 0)
        except (AssertionError, OSError) as problem:
            return f"state {number} ({words}): {problem}\n{self.evidence()}"
        finally:
            self.agent.kill()
        return None


def keys_of(states):
    return {repr(sorted(tree.items())) for _, tree in states}


def try_without(machine, before, most):
    """For each fsync: which states are possible without it, and whether one of them breaks something."""
    every, steps, needed = keys_of(before.states()), before.steps, 0
    syncs = [i for i, step in enumerate(steps) if step.kind == "sync"]
    for i in syncs:
        before.steps = steps[:i] + steps[i + 1:]
        states = [state for state in before.states() if repr(sorted(state[1].items())) not in every]
        some = states[::max(1, -(-len(states) // most))]
        wrong = next(filter(None, (machine.attempt(n, *state) for n, state in enumerate(some))), None)
        needed += wrong is not None
        what = before.path_of(steps[i].what)
        print(f"sync {i} of {what}: {len(states)} more states, {len(some)} tried: {(wrong or 'nothing breaks')[:160]}", flush=True)
    print(f"{len(syncs)} syncs, without {needed} of them something breaks")
    return 0


def choose(states, options):
    if options.only is not None:
        return [states[options.only]]
    if options.full or len(states) <= options.states:
        return states
    return [states[i * len(states) // options.states] for i in range(options.states)]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--full", action="store_true", help="every state")
    parser.add_argument("--states", type=int, default=SAMPLE, help="how many in a sample")
    parser.add_argument("--only", type=int)
    parser.add_argument("--without", action="store_true", help="what is each fsync good for?")
    parser.add_argument("-v", "--verbose", action="store_true")
    options = parser.parse_args()
    if not shutil.which("strace"):
        print("strace is not installed")
        return SKIPPED
    began = time.monotonic()
    with Machine() as machine:
        before = machine.record()
        if options.without:
            return try_without(machine, before, 8)
        states = [(i, *state) for i, state in enumerate(before.states())]
        chosen = choose(states, options)
        print(f"{len(before.steps)} steps, {sum(s.kind == 'sync' for s in before.steps)} of them syncs; "
              f"{len(states)} states, {len(chosen)} are tried", flush=True)
        failures = []
        for state in chosen:
            wrong = machine.attempt(*state)
            if options.verbose or wrong:
                print(wrong or f"state {state[0]} ({state[1]}): good", flush=True)
            failures += [wrong] if wrong else []
        print(f"{len(chosen)} states tried, {len(failures)} failed; {time.monotonic() - began:.0f} s")
    return 1 if failures else 0


if __name__ == "__main__":
    os.environ.setdefault("CERTSWAP_GUARD", "0")
    guarded(main)
