#!/usr/bin/env python3
"""A hostile neighbourhood: while nginx and Apache serve under load and swap follows swap, a neighbour (neighbour.py) does at
random what it should not: writes over the live files, turns and removes links, moves folders, reloads, restarts and kills the
servers, fills the disk, takes memory and descriptors away, moves the clock, kills certswapd and its workers.

After each round the neighbour rests. Then all must be well without anybody's help: nothing is under way; every pair that was
handed in is live, was live, was refused with a reason or waits; what is live is as it was sealed, or the audit log says that
somebody writes there again and again (`drift`) or that a person is needed (STUCK). Then a new pair for each certificate goes
live, both servers show what is live; the audit log's chain is whole; no zombie, child, descriptor or leftover.

At all times witnesses look at the servers: nobody but the neighbour ends nginx's parent, and no server shows a certificate
that came without its key. Every second round of six the neighbour leaves the certificates alone: then no handshake fails and
Apache's parent does not end either, but by the neighbour's own hand. In the last four of six nobody ends certswapd: its memory
stays flat.

    soak.py                      one short round
    soak.py --swaps 1000         so many pairs handed in, in rounds
    soak.py --minutes 60         rounds for so long
    soak.py --seed 7 --round 3   that round, as a failure names it
    soak.py --let-live           nobody ends certswapd: one process through all of it
Below /tmp, /run or /var/tmp (CERTSWAP_E2E_FOLDER) Apache's rehearsals can't be held, because the state folder is a mount of its own there.
"""
import argparse
import contextlib
import hashlib
import json
import os
import pathlib
import random
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import unittest
from collections import Counter, namedtuple

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))

from harness import FAKETIME  # noqa: E402
from neighbour import ENDS, HARMS, PATIENCE, Neighbour, elsewhere, resident  # noqa: E402
from processes import Late, alive, children_of, command_of, guarded, run as run_program, stat_of, wait_until  # noqa: E402
from scene import Broken, NAMES, Scene, demand  # noqa: E402
from webserver import Load  # noqa: E402
from witness import Witness  # noqa: E402

ROUND = 25            # pairs handed in before the neighbour rests
CALM_SECONDS = 90.0   # for all to be well once it rests
MEMORY_MAX = 6 << 20  # bytes that certswapd may be larger after a round than after the first
GROWTH_MAX = 2 << 20  # bytes that one certswapd may grow between its first and its last round
CYCLE = 6             # rounds: all; certificates left alone; then certswapd lives
WENT_LIVE = ("COMMITTED", "UNSERVED", "AWAITING")
DISK = "96m"
FILES = ("cert.pem", "chain.pem", "fullchain.pem", "privkey.pem", "combined.pem")  # as meta.json counts them

# A pair that was handed in. said: the exit status of certswapctl where it came by submit.
Handed = namedtuple("Handed", "pair name way said")


class Soak(Scene):
    def __init__(self, seed):
        super().__init__("soak")
        self.seed = seed
        self.handed, self.ends, self.left_alone = [], Counter(), Counter()
        self.disk = None
        self._expected = set()     # certswapds that somebody ended
        self.witnesses = {}
        self._watching = threading.Event()
        self.broken = None
        self.cut_off = ""

    # --- what is under it

    def prepare(self):
        self.state.mkdir()
        if run_program("mount", "-t", "tmpfs", "-o", f"size={DISK},mode=0711", "tmpfs", str(self.state), check=False).returncode == 0:
            self.disk = self.state
            self.at_end(lambda: (self.agent.close(), run_program("umount", "-l", str(self.state), check=False)))
        if FAKETIME:
            self.move_clock("+0")
            self.agent.set_clock(FAKETIME_TIMESTAMP_FILE=str(self.folder / "clock"), FAKETIME_NO_CACHE="1")

    def move_clock(self, offset):
        (self.folder / "clock.new").write_text(offset + "\n")
        (self.folder / "clock.new").rename(self.folder / "clock")

    def watch_servers(self):
        never = {self.mismatched.sha256}
        every = [dns for names in NAMES.values() for dns in names]
        self.witnesses = {server.kind: Witness(server, every, never) for server in self.servers}
        for witness in self.witnesses.values():
            self.at_end(witness.stop)

    def expect_end(self, pid):
        self._expected.add(pid)

    def keep_running(self):
        """What systemd does: certswapd is started again when it ended. Ends that nobody asked for are defects."""
        while not self._watching.is_set():
            process = self.agent.process
            try:
                status = process.wait(0.05)
            except subprocess.TimeoutExpired:
                continue
            excuse = self.excuse_for(process.pid, status)
            self.ends[excuse or "by itself"] += 1
            if not excuse and not self._watching.is_set():
                self.broken = f"certswapd {process.pid} ended by itself with {status}; trouble: {self.neighbour.trouble() or 'none'}"
                return
            try:
                self.agent.start(30)
            except AssertionError as problem:
                if not self.neighbour.trouble() and self.agent.process.pid not in self._expected:
                    self.broken = f"certswapd does not start: {problem}"
                    return

    def excuse_for(self, pid, status):
        """Why certswapd may have ended so; "" where it is a defect. Trouble lets it end as a failure, which systemd starts
        again, and want of memory by its own abort; nothing lets it crash."""
        if pid in self._expected and status in (0, -signal.SIGKILL, -signal.SIGTERM):
            return "asked for"
        trouble = self.neighbour.trouble()
        if "memory" in trouble and status in (-signal.SIGABRT, 1, 127):
            return "for want of memory"
        return "as a failure in trouble" if trouble and status > 0 else ""

    # --- handing in

    def hand_in(self, chance):
        name = chance.choice(list(self.certificates))
        way = chance.choice(["box", "box", "routed", "halves", "submit", "standby", "bad", "rollback"])
        if way == "rollback":
            self.agent.ctl("rollback", name, "--timeout", "5s")
            return
        pair = self.ca.issue(NAMES[name])
        said = None
        if way == "bad":
            pair = pair.with_key(self.mismatched)
            for witness in self.witnesses.values():
                witness.never.add(pair.sha256)
        try:
            if way == "submit":
                said = self.agent.ctl("submit", "--name", name, "--timeout", "10s", *pair.files()).returncode
            elif way == "standby":
                said = self.agent.ctl("standby", name, *pair.files()).returncode
            else:
                self.put_in_box(pair, "" if way == "routed" else name, way == "halves")
        except OSError as problem:  # no room, or the box is elsewhere: cp would say so
            self.neighbour.say(f"could not be dropped: {problem}")
            return
        self.handed.append(Handed(pair, name, way, said))

    def put_in_box(self, pair, box, halves):
        """Writes it beside and moves it in, as who cares does; halves: key and certificate apart."""
        folder = self.state / "incoming" / box
        parts = [("key", pair.key), ("crt", pair.fullchain)] if halves else [("pem", pair.key + pair.fullchain)]
        staged = []
        try:
            for end, text in parts:
                file = self.state / f"handed-{len(self.handed)}.{end}"
                staged.append(file)
                file.write_text(text)
                file.chmod(0o600)
            while staged:
                staged[0].rename(folder / staged[0].name)
                staged.pop(0)
        finally:
            for file in staged:
                file.unlink(missing_ok=True)

    # --- when the neighbour rests

    def texts_of(self, *patterns):
        for pattern in patterns:
            for file in self.state.glob(pattern):
                if file.is_file() and not file.is_symlink():
                    yield file.read_bytes()

    def check_accounts(self):
        """Every pair that was handed in went live, was refused with a reason, stands by or waits."""
        kept = b"".join(self.texts_of("rejected/*/*", "incoming/**/*", "work/**/*", "certificates/*/standby/cert.pem"))
        events = self.events()
        went_live = {e["to_sha256"] for e in events if e["event"] == "swap-ended" and e["state"] in WENT_LIVE}
        said = "\n".join(e["text"] for e in events if e["event"] in ("refused", "live-already", "standby", "standby-dropped"))
        said += self.cut_off
        for number, handed in enumerate(self.handed):
            if f"handed-{number}." in said:  # live-already: it went live in a swap that a stranger ended
                continue
            if handed.said not in (None, 0):  # certswapctl said so: the person has it still
                continue
            pair = handed.pair
            if pair.sha256 not in went_live and pair.sha256[:12] not in self.cut_off and pair.cert.encode() not in kept and pair.serial not in said:
                known = [str(e) for e in events if pair.serial in str(e) or pair.sha256 in str(e)]
                raise Broken(f"lost: the pair {pair.serial} for {handed.name}, handed in by {handed.way} ({handed.said}); "
                             f"the audit log: {known}")

    def events(self):
        """The audit log; a full disk may have cut a line off, which then stays so and is chained like any other."""
        found, self.cut_off = [], ""
        for line in (self.state / "audit.jsonl").read_text(errors="replace").splitlines():
            try:
                found.append(json.loads(line))
            except ValueError:
                self.cut_off += line
        return found

    def is_left_alone(self, name):
        """Does the audit log say that certswapd leaves what is live as somebody left it, or that a person is needed?"""
        for event in reversed(self.events()):
            if event.get("certificate") == name and event["event"] == "swap-ended" and event["state"] != "HELD":
                return event["state"] in ("STUCK", "FOREIGN")
            if event.get("certificate") == name and event["event"] in ("drift", "link-removed"):
                return True
        return False

    def not_as_sealed(self, name):
        """What is wrong with the live generation; "" where nothing is."""
        live = self.live(name)
        try:
            files = json.loads((live / "meta.json").read_text())["files"]
            found = [hashlib.sha256((live / file).read_bytes()).hexdigest() for file in FILES]
        except (OSError, ValueError) as problem:
            return str(problem)
        return ", ".join(file for file, want, have in zip(FILES, files, found) if want != have)

    def check_unhelped(self):
        """Before anybody helps: what somebody wrote over, turned or removed is as it was."""
        wrong = {}

        def well():
            wrong.clear()
            wrong.update({name: self.not_as_sealed(name) for name in NAMES})
            return self.broken or not any(text and not self.is_left_alone(name) for name, text in wrong.items())
        try:
            wait_until("what is live is as it was sealed", well, CALM_SECONDS, 0.2)
        except Late as late:
            raise Broken(f"{late}: {wrong}") from None
        self.left_alone.update(name for name, text in wrong.items() if text)

    def check_children(self):
        def zombies():
            return [pid for pid in self.children() if (stat_of(pid) or "X")[0] == "Z"]
        try:
            wait_until("certswapd has reaped its children", lambda: not zombies(), 5)
        except Late:
            raise Broken(f"zombies below certswapd: {zombies()}") from None

    def _strangers(self):
        """And a rehearsal that nobody ended: a web server in namespaces of its own, with no certswapd above it."""
        own = set(self.children()) | set(children_of(self.agent.process.pid))
        return super()._strangers() + [pid for pid in children_of(int(os.environ["CERTSWAP_GUARD"]))
                                       if pid not in own and alive(pid) and elsewhere(pid)]

    def check_witnesses(self, since, harmless):
        for witness in self.witnesses.values():
            judged = witness.unexplained(since) if harmless else witness.deaths(since) if witness.server.kind == "nginx" else []
            demand(not judged and not witness.problems, f"not by the neighbour's hand: {(witness.problems + judged)[:5]}")

    def children(self):
        task = pathlib.Path(f"/proc/{self.agent.process.pid}/task/{self.agent.process.pid}/children")
        return [int(word) for word in task.read_text().split()]

    def heal(self):
        """As an operator on the next morning: a good pair for each certificate; all of it must work."""
        # what nobody could restore first: without it Apache does not take the others either
        for name in sorted(NAMES, key=lambda name: not self.not_as_sealed(name)):
            pair = self.ca.issue(NAMES[name])
            done = self.agent.ctl("submit", "--name", name, "--timeout", "30s", *pair.files())
            demand(done.returncode == 0 or "is live on disk" in done.stdout + done.stderr,
                   f"{name}: a good pair in quiet times: exit {done.returncode}: {done.stdout}{done.stderr}")
            self.handed.append(Handed(pair, name, "submit", 0))
            self.current[name] = pair

    def _pending(self):
        """A half in a drop box waits for ever."""
        return [path for path in super()._pending() if path.parent.name != "work"]

    def _check_leftovers(self):
        # as who reads of them would, in the end; and what the neighbour made
        for kept in {*self.state.glob("certificates/*/live-of-somebody-*"), *self.state.glob("certificates/*/*.back")}:
            shutil.rmtree(kept) if kept.is_dir() and not kept.is_symlink() else kept.unlink()
        for generation in self.state.glob("certificates/*/gen/*"):  # a refused pair that could not be removed without descriptors
            if not (generation / "meta.json").exists():             # goes with its number, or at the next start
                shutil.rmtree(generation)
        super()._check_leftovers()

    def check_calm(self):
        self.wanted, self.bad_digest = {}, None
        wait_until("certswapd answers", lambda: self.agent.running() and self.agent.ctl("ping", seconds=20).returncode != 3
                   or self.broken, CALM_SECONDS)
        try:
            wait_until("nothing is under way", lambda: self.broken or not self.at_work(), CALM_SECONDS, 0.1)
        except Late as late:
            raise Broken(f"{late}: {self.at_work()}") from None
        demand(not self.broken, self.broken)
        self.check_unhelped()
        self.check_accounts()
        self.heal()
        for server in self.servers:
            with self.neighbour.hand_on(server):
                self.neighbour.start(server, PATIENCE)
        self.wait_final(CALM_SECONDS)
        # where a server showed something else before, a swap had nothing to prove and did not wait for its reload
        wait_until("what is live is served", lambda: all(
            server.shown(dns).sha256 == self.live_now(name) for name in NAMES for server in self.servers for dns in NAMES[name]), PATIENCE, 0.1)
        self.masters = self.identities()
        self.check_moment()
        self.check_end()
        self.check_children()

    def at_work(self):
        """What is under way. A half in a drop box waits for ever, a pair for a server that is down, what is held for
        a server whose configuration is broken, and what is stuck for a person: all by design."""
        found = [command_of(pid) for pid in self._busy_children()]
        waits = {"STUCK"} if all(server.answers() for server in self.servers) else {"STUCK", "AWAITING"}
        for file in (self.state / "journal").glob("[0-9]*.json"):
            with contextlib.suppress(OSError):
                state = json.loads(file.read_text())["state"]
                found += [f"{file.name}: {state}"] if state not in waits else []
        done = self.agent.ctl("status", "--json")
        if done.returncode != 0:
            return found + ["status has no answer"]
        waiting = json.loads(done.stdout)["waiting"]
        claimed = [file.name for file in (self.state / "work").iterdir()]
        if len(waiting) < len(claimed):
            found.append(f"some are being read or swapped of {claimed}")
        return found + [f"{w['file']}: {w['why']}" for w in waiting if w["why"] and "HELD" not in w["why"]]

    def reasons(self):
        """Of the refusals of good pairs: the first finding or state of each."""
        bad = [h.pair.cert for h in self.handed if h.way == "bad"]
        found = Counter()
        for folder in (self.state / "rejected").iterdir():
            text = "".join(file.read_text(errors="replace") for file in folder.iterdir() if file.name != "why.txt")
            if any(cert in text for cert in bad) or "-----BEGIN CERT" not in text or not (folder / "why.txt").exists():
                continue
            why = (folder / "why.txt").read_text()
            word = re.search(r"\b[A-Z]{2,}(_[A-Z]+)*(?=:)", why)
            found[word.group() if word else why[:60]] += 1
        return found

    def round(self, number, swaps, let_live):
        chance = random.Random(f"{self.seed}:{number}")
        harmless = number % CYCLE == 2
        without = (HARMS if harmless else set()) | (ENDS if let_live else set())
        self.neighbour = Neighbour(self, random.Random(f"{self.seed}:{number}:neighbour"), self.disk, without)
        since = time.monotonic()
        resting = threading.Event()

        def live():
            while not resting.is_set():
                self.neighbour.act()
                self.neighbour.a_moment(0.4)
        self._watching.clear()
        supervisor, neighbour = threading.Thread(target=self.keep_running), threading.Thread(target=live)
        supervisor.start()
        neighbour.start()
        try:
            for _ in range(swaps):
                self.hand_in(chance)
                if chance.random() < 0.7:
                    try:
                        wait_until("rest", lambda: self.settled() or self.broken, chance.random() * 6)
                    except Late:
                        pass
                demand(not self.broken, self.broken)
            resting.set()
            neighbour.join()
            self.neighbour.calm()
            self.check_calm()
            self.check_witnesses(since, harmless)
            demand(not self.broken, self.broken)
        except BaseException:
            if os.environ.get("CERTSWAP_KEEP"):
                shutil.copytree(self.state, self.folder / "state-at-failure", symlinks=True)
            print(f"--- the neighbour, round {number} of seed {self.seed}:", *self.neighbour.log[-60:], sep="\n    ", file=sys.stderr)
            raise
        finally:
            resting.set()
            neighbour.join()
            self._watching.set()
            supervisor.join()
        return Counter(line.split()[1] for line in self.neighbour.log)


def soak(options):
    seed = options.seed if options.seed is not None else random.SystemRandom().randrange(1 << 32)
    deadline = time.monotonic() + options.minutes * 60 if options.minutes else None
    print(f"seed {seed}", flush=True)
    with Soak(seed) as scene:
        loads = [Load(server, NAMES["shop"][0], scene.folder) for server in scene.servers]
        for load in loads:
            scene.at_end(load.stop)
        scene.watch_servers()
        acts, number, memory = Counter(), options.round or 0, []
        while True:
            number += 1
            count = min(ROUND, options.swaps) if not deadline else ROUND
            acts += scene.round(number, count, options.let_live or number > 1 and number % CYCLE not in (1, 2))
            memory.append((scene.agent.process.pid, resident(scene.agent.process.pid)))
            demand(memory[-1][1] <= memory[0][1] + MEMORY_MAX, f"certswapd has grown: {[size >> 10 for _, size in memory]} KiB")
            same = [size for pid, size in memory if pid == memory[-1][0]]
            demand(same[-1] <= same[0] + GROWTH_MAX, f"one certswapd has grown: {[size >> 10 for size in same]} KiB")
            if options.verbose:
                print(f"round {number}: {len(scene.handed)} pairs handed in, certswapd {memory[-1][0]}: {memory[-1][1] >> 10} KiB", flush=True)
            if options.round or (time.monotonic() > deadline if deadline else len(scene.handed) >= options.swaps):
                break
        report(scene, acts, number, [size for _, size in memory])
    return 0


def report(scene, acts, rounds, memory):
    events = Counter(e["event"] for e in scene.events())
    ways = Counter(h.way for h in scene.handed)
    print(f"{rounds} rounds, {len(scene.handed)} pairs handed in ({', '.join(f'{n} {w}' for w, n in sorted(ways.items()))}), none lost")
    print(f"the neighbour: {', '.join(f'{n} {a}' for a, n in sorted(acts.items()))}")
    for kind, witness in scene.witnesses.items():
        print(f"{kind}: {witness.handshakes} handshakes, {len(witness.failed)} failed while the neighbour had it down or broke its pairs, "
              f"{witness.parents} parents")
    swaps = Counter(e["state"] for e in scene.events() if e["event"] == "swap-ended")
    print(f"swaps: {', '.join(f'{n} {s}' for s, n in sorted(swaps.items()))}; left as somebody left it at a round's end: {dict(scene.left_alone)}")
    skipped = Counter(line.partition("rehearsal-skipped: apache: ")[2].partition(":")[0][:60]
                      for line in scene.agent.log().splitlines() if "rehearsal-skipped" in line)
    print(f"rehearsals that could not be held: {', '.join(f'{n} {w}' for w, n in sorted(skipped.items())) or 'none'}")
    print(f"refused: {', '.join(f'{n} {w}' for w, n in sorted(scene.reasons().items()))}")
    print(f"certswapd, KiB resident after a round: {min(memory) >> 10} to {max(memory) >> 10}; it ended {', '.join(f'{n} {w}' for w, n in sorted(scene.ends.items())) or 'never'}")
    print(f"the audit log: {', '.join(f'{n} {e}' for e, n in sorted(events.items()))}")


def main():
    parser = argparse.ArgumentParser(description="certswapd among bad neighbours")
    parser.add_argument("--swaps", type=int, default=ROUND, help="pairs to hand in")
    parser.add_argument("--minutes", type=float, help="rounds for so long")
    parser.add_argument("--seed", type=int)
    parser.add_argument("--round", type=int, help="this one only")
    parser.add_argument("--let-live", action="store_true", help="nobody ends certswapd")
    parser.add_argument("--verbose", action="store_true")
    options = parser.parse_args()
    if options.round:
        options.round -= 1
    try:
        return soak(options)
    except (Broken, Late) as problem:
        print(f"NOT well: {problem}", file=sys.stderr)
        return 1
    except unittest.SkipTest as why:
        print(why)
        return 77


if __name__ == "__main__":
    guarded(main)
