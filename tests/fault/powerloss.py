#!/usr/bin/env python3
"""The power goes in the middle of a swap: every state that it may leave on disk (disk.py), laid out, and what becomes of it.

The calls of certswapd during one swap on nginx are recorded; each state is laid out, and then the machine starts again: as
on a machine certswapd is ready first, then nginx starts. Each time: nginx would start with what is on disk even without
certswapd; certswapd becomes ready; the new pair, which was safe in the drop box before, goes live and is served; nothing is left
under way; the audit log's chain is whole.

    powerloss.py                a sample of the states, evenly taken
    powerloss.py --full         every state
    powerloss.py --only N       one state, as a failure names it
    powerloss.py --without      as if one fsync or one write of the journal had not been made, for each of them: does a state that it would
                                allow break something? For the journal also where certswapd alone dies and nginx goes on: it shows the new
                                pair in the end, is not reloaded once it does, and a pair that was denied meanwhile does not stay.
                                Exit status 1 where one is not needed and not known to be so (NEEDLESS).
"""
import argparse
import json
import os
import pathlib
import shutil
import subprocess
import sys
import time
from collections import Counter

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))

import disk  # noqa: E402
from harness import Run  # noqa: E402
from processes import children_of, guarded, run as run_program, wait_until  # noqa: E402
from scene import Broken, SPARES, demand, fits_together  # noqa: E402

SKIPPED = 77
SAMPLE = 40
NAMES = {"shop": ["shop.example.test"]}


# Without them nothing breaks, and why they are there all the same.
NEEDLESS = {
    "sync 1 of work": "a claim that is undone is made again; and of the two folders of a rename one is enough here",
    "sync 1 of incoming/shop": "the same",
    "sync 1 of certificates/shop/gen/000002": "keeps a generation that is not whole from looking whole; the digests in meta.json would show it",
    "sync 1 of journal": "PREFLIGHT: that a full disk shows before anything is touched; without it the swap begins anew",
    "sync 3 of journal": "RELOADING: after a power cut the servers start with what is on disk; after a crash of certswapd alone no sync counts",
    "sync 4 of journal": "VERIFYING: the same",
    "sync 5 of journal": "COMMITTED: the next start looks again, and comes to the same end",
    "sync 6 of journal": "the removal: an end that comes back is ended once more",
    "sync 2 of work": "a used file that comes back is what is live already, and goes",
    "sync 1 of work/000001,shop,new.pem": "overwrites a key on the disk; no state of names shows that (unit/test_site_dropbox)",
    "journal PREFLIGHT": "as sync 1 of journal",
    "journal VERIFYING": "after RELOADING the next start looks as well",
    "journal COMMITTED": "as sync 5 of journal",
    "journal removed": "where it fails, each start ends the swap once more, until it works",
}


class Machine(Run):
    def __init__(self):
        super().__init__("powerloss", NAMES, servers=("nginx",))
        self.torn = 0  # starts of nginx that read half of each pair

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

    def deny(self, tree):
        """The same state of the folder, with the new pair denied."""
        line = f"certificate {self.new.sha256} 2026-01-01T00:00:00Z confirmed 0 test\n"
        return {**tree, "denied": ("file", 0o600, line.encode())}

    def try_denied(self, tree):
        """The machine starts with this on disk, and before that the new pair was denied: a swap that is not over is undone."""
        self.nginx.stop()
        disk.lay(self.state, self.deny(tree))
        self.nginx.start()
        self.agent.start()
        under_way = [json.loads(what)["state"] != "COMMITTED" for path, (_, _, what) in tree.items()
                     if path.startswith("journal/0") and what]
        wait_until("the end of the swap", self.settled, 30)
        if any(under_way):
            wait_until("the old pair is live and served", lambda: self.live_sha256() == self.old.sha256 and self.serves(self.old), 10)

    def try_state(self, tree, late):
        """The machine starts with this on disk; nginx at once, or late: when certswapd has put the new pair in its place."""
        self.nginx.stop()
        disk.lay(self.state, tree)
        live = self.live("shop").resolve()
        shown = fits_together(live)
        demand(shown in (self.old.sha256, self.new.sha256), "live is a stranger's")
        demand(shown == self.old.sha256 or self.new.serial in (self.state / "audit.jsonl").read_text(),
               "the audit log does not say that what is live was proved")
        cert, chain, fullchain = ((live / f"{name}.pem").read_text() for name in ("cert", "chain", "fullchain"))
        demand(cert + chain == fullchain, "chain.pem is not the chain of the live pair")
        done = run_program(*self.nginx._command("-t"), check=False)
        demand(done.returncode == 0, f"nginx would not start: {done.stdout}")
        self.agent.start()
        demand(self.live("shop").is_symlink(), "live is no link once certswapd is ready")
        if late:
            wait_until("certswapd is ahead of nginx", lambda: self.is_ahead_of_nginx(), 20)
        self.start_nginx()
        self.wait_served(self.new)
        wait_until("nothing is under way", lambda: self.settled() and self.agent.status()["state"] == "ok", 20)
        odd = [p.name for p in (self.state / "certificates/shop").iterdir()
               if p.name not in ("live", "gen", "pending", "last-swap.json")]
        demand(not odd, f"left: {odd}")
        odd = [p.name for p in (self.state / "certificates/shop/gen").iterdir() if not (p / "meta.json").exists()]
        demand(not odd, f"left without meta.json: {odd}")
        demand(not [p for p in (self.state / "incoming/shop").iterdir()], "left in the drop box")
        last = json.loads((self.state / "certificates/shop/last-swap.json").read_text())
        demand(f"gen/{last['to']:06}" == os.readlink(self.live("shop")), f"the last swap is not known: {last}")
        demand([e for e in self.events() if e["event"] == "swap-ended" and e["to_sha256"] == self.new.sha256],
               "the swap is not in the audit log")
        done = self.agent.ctl("log", "--verify")
        demand(done.returncode == 0, f"certswapctl log --verify: {done.stdout}{done.stderr}")

    def start_nginx(self):
        """It reads the certificate and then the key: the link may be exchanged in between (docs/reliability.md, not covered)."""
        try:
            self.nginx.start()
        except AssertionError as problem:
            if "key values mismatch" not in str(problem):
                raise
            self.torn += 1
            self.nginx.start()

    def is_ahead_of_nginx(self):
        """The drop box is empty and the new pair is live: what is left may wait for the server."""
        return (fits_together(self.live("shop").resolve()) == self.new.sha256
                and not any((self.state / "incoming/shop").iterdir()))

    def reloads(self):
        return self.nginx.log().count("reconfiguring")

    def try_crash(self, before, tree, loaded, refused):
        """certswapd has died and left this on disk; nginx goes on with the pair that it has loaded ("old" or "new"). refused: before
        the next start the new pair is denied; None: and it may stay."""
        self.nginx.stop()
        disk.lay(self.state, before if loaded == "old" else tree)
        self.nginx.start()
        disk.lay(self.state, tree if refused is False else self.deny(tree))
        reloads = self.reloads()
        self.agent.start()
        wanted = self.old if refused else self.new

        def over():
            return self.settled() and (refused is None or self.live_sha256() == wanted.sha256 and self.serves(wanted))
        wait_until("the end of the swap", over, 30)
        demand(refused is not False or loaded == "old" or self.reloads() == reloads,
               "nginx showed the new pair, and was reloaded once more")
        done = self.agent.ctl("log", "--verify")
        demand(done.returncode == 0, f"certswapctl log --verify: {done.stdout}{done.stderr}")

    def attempt_crash(self, words, *crash):
        try:
            self.try_crash(*crash)
        except (AssertionError, OSError, ValueError) as problem:
            return f"{words}: {problem}\n{self.evidence()}"
        finally:
            self.agent.kill()
        return None

    def evidence(self):
        """What a person needs to understand a failure."""
        try:
            said = json.dumps(self.agent.status(), indent=1)
        except (AssertionError, OSError, ValueError) as problem:
            said = f"no status: {problem}"
        return f"{said}\n{self.agent.log()[-4000:]}"

    def attempt(self, number, words, tree, denied=False):
        """What is wrong after this state, or None."""
        try:
            self.try_denied(tree) if denied else self.try_state(tree, number % 2 == 0)
        except (AssertionError, OSError, ValueError) as problem:
            return f"state {number} ({words}): {problem}\n{self.evidence()}"
        finally:
            self.agent.kill()
        return None


def keys_of(states):
    return {repr(sorted(tree.items())) for _, tree in states}


def evenly(states, most):
    return states[::max(1, -(-len(states) // most))]


def what_breaks(machine, before, left_out, every, most):
    """The first state that only the steps which are left out prevent and that breaks something; and how many were tried."""
    states = [state for state in before.without(left_out).states() if repr(sorted(state[1].items())) not in every]
    some = evenly(states, most)
    wrong = (machine.attempt(n, *state, denied) for denied in (False, True) for n, state in enumerate(some))
    return next(filter(None, wrong), None), 2 * len(some)


def crashes(before, writes, left_out=()):
    """Every moment at which certswapd may die while nginx goes on, as arguments for Machine.try_crash. The order of nginx's reload
    among the calls is known by the journal: after RELOADING, before VERIFYING. A pair that was denied after COMMITTED may stay."""
    moments = {state: (min(steps), max(steps)) for state, steps in writes}
    start = before.at(0)
    for end in range(len(before.steps) + 1):
        gone = {i for i in left_out if i < end}
        tree = before.without(left_out).at(end - len(gone))
        for loaded in ("old", "new"):
            if loaded == ("new" if end <= moments["RELOADING"][1] else "old" if end > moments["VERIFYING"][0] else None):
                continue
            for refused in (False, True if end <= moments["COMMITTED"][0] else None):
                yield f"before call {end}, nginx has the {loaded} pair{', the new one is denied' if refused is not False else ''}", (
                    start, tree, loaded, refused)


def what_a_crash_breaks(machine, before, writes, left_out):
    """The same for deaths of certswapd alone."""
    known = {repr(crash[1:]) for _, crash in crashes(before, writes)}
    some = [(words, crash) for words, crash in crashes(before, writes, left_out) if repr(crash[1:]) not in known]
    return next(filter(None, (machine.attempt_crash(words, *crash) for words, crash in some)), None), len(some)


def try_without(machine, before, most):
    """For each fsync and each write of the journal: what breaks without it. 1 where one is needless that is not known to be."""
    every, unknown = keys_of(before.states()), []
    writes = [(json.loads(content)["state"] if content else "removed", steps) for content, steps in before.writes_of("journal")]
    wrong = next(filter(None, (machine.attempt_crash(words, *crash) for words, crash in evenly(list(crashes(before, writes)), 40))), None)
    demand(not wrong, f"a death of certswapd: {wrong}")
    count = Counter()

    def judge(name, tried, wrong):
        print(f"{name}: {tried} more states tried: {(wrong or 'nothing breaks')[:200]}", flush=True)
        if not wrong and name not in NEEDLESS:
            unknown.append(name)
    for i, step in enumerate(before.steps):
        if step.kind == "sync":
            path = before.path_of(step.what).lstrip("/")
            count[path] += 1
            wrong, tried = what_breaks(machine, before, {i}, every, most)
            judge(f"sync {count[path]} of {path}", tried, wrong)
    for state, steps in writes:
        wrong, tried = what_breaks(machine, before, steps, every, most)
        if not wrong:
            wrong, more = what_a_crash_breaks(machine, before, writes, steps)
            tried += more
        judge(f"journal {state}", tried, wrong)
    for name in NEEDLESS:
        print(f"known to be needless: {name}: {NEEDLESS[name]}")
    print(f"needless and not known: {', '.join(unknown) or 'none'}")
    return 1 if unknown else 0


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
        if machine.torn:
            print(f"{machine.torn} times nginx started in the microseconds of the exchange, between its certificate and its key, and once more")
        print(f"{len(chosen)} states tried, {len(failures)} failed; {time.monotonic() - began:.0f} s")
    return 1 if failures else 0


if __name__ == "__main__":
    os.environ.setdefault("CERTSWAP_GUARD", "0")
    guarded(main)
