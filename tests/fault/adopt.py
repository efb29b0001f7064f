#!/usr/bin/env python3
"""adopt and release on a real nginx, of files that become links and of directives that are pointed elsewhere, with certswapd killed
or refused something at each of its calls:
    kill      SIGKILL on the way into one of the calls that change something, for each of them
    error     one call, those that only look too, answers ENOSPC, EIO, EMFILE ..., each error that its kind can answer
in adopt, in adopt once more after it was cut off in the middle, and in release. After each: nginx serves the pair and would start again
with what lies on the disk, each file of its own is as before or as adopt makes it, nothing in between, no key lies elsewhere, what
certswapctl said is true; adopt can be run again to its end, or release, after which everything is as it was.

    adopt.py                       a sample of the points, evenly taken
    adopt.py --full                every point; --each, --part N/M: as of fault.py
    adopt.py --only WORDS          one point, as a failure names it: links:adopt:kill:fsync:tls/shop/live:1
"""
import argparse
import os
import pathlib
import shutil
import subprocess
import sys
import time
from collections import Counter, namedtuple

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))

from adoptsite import Lineage, Site  # noqa: E402
from counted import TRACES, Counted  # noqa: E402
from harness import Run  # noqa: E402
from processes import children_of, guarded, wait_until  # noqa: E402
from scene import SPARES, demand, descriptors_of, turns_of  # noqa: E402
from strace import KIND_OF, Point, Strace, errors_of, hit, is_ours, narrow, read_trace  # noqa: E402

SKIPPED = 77
ATTEMPTS = 6    # at a point that was not reached
SAMPLE = 3      # points of each act and way
ACTS = ("adopt", "again", "release")
OWN = ("state/originals", "tls/", "letsencrypt", "certificates.d", "nginx", ".nginx", "key.inc", ".key.inc", "exchange", "child")

Trial = namedtuple("Trial", "place act way point error")


def words(trial):
    return ":".join(str(w) for w in (trial.place, trial.act, trial.way, *trial.point, trial.error) if w)


def parse(text):
    place, act, way, call, where, nth, *error = text.split(":")
    return Trial(place, act, way, Point(call, where, int(nth)), error[0] if error else None)


class Ground(Run):
    """nginx on a pair that no agent knows, and certswapd with nothing but the server."""

    def __init__(self):
        super().__init__(f"adopt-{self.place}", servers=("nginx",))

    def __enter__(self):
        super().__enter__()
        self.site = Site(self, start=False)
        self.trace = self.folder / "trace"
        self.lay()
        self.servers[0].start()
        self.agent.start()
        self.master = self.identities()
        self.origin = self.before = self.picture()
        self.adopt()
        self.done = self.picture()
        self.go_back()
        self.descriptors = descriptors_of(self)
        return self

    def lay(self):
        """What nginx reads."""

    def adopt(self):
        return self.agent.ctl("adopt", *self.arguments)

    def release(self):
        return self.agent.ctl("release", self.name)

    # --- what is there

    def picture(self):
        """{path: what a file is that adopt may touch}"""
        return {path: self.look(path) for path in self.files()}

    @staticmethod
    def look(path):
        st = path.lstat()
        return os.readlink(path) if path.is_symlink() else path.read_bytes(), st.st_mode, st.st_uid, st.st_gid

    def may_hold_a_key(self, path):
        """Its own, and what lies beside it until adopt or release is run again after a crash."""
        return path.parent in (self.site.tls, self.folder / "letsencrypt/archive/shop")

    def _check_keys(self):
        for folder, folders, files in os.walk(self.folder):
            folders[:] = [f for f in folders if pathlib.Path(folder, f) not in (self.state, self.folder / "ca")]
            for path in (pathlib.Path(folder, f) for f in files):
                if path.is_file() and not path.is_symlink() and path != self.trace and not self.may_hold_a_key(path):
                    demand(b" PRIVATE KEY" not in path.read_bytes(), f"a private key in {path}")

    def check_moment(self):
        """At any time, certswapd alive or dead."""
        demand(self.serves(self.site.pair), "nginx does not show the pair")
        demand(self.identities() == self.master, "nginx was restarted")
        self.site.servers_could_start()
        for path in self.files():
            demand(self.given_back(path) or self.look(path) == self.done[path], f"{path} is neither as before nor as adopt makes it")
        self._check_keys()

    def _check_left(self):
        left = [str(p) for p in self.folder.rglob(".*.certswap")]
        demand(not left, f"left: {left}")

    def check_taken(self, said):
        for path in self.files():
            demand(self.look(path) == self.done[path], f"adopt said that it is done, and {path} is not: {said}")
        self._check_left()

    def check_back(self):
        """Everything is as it was before adopt."""
        for path in self.files():
            demand(self.given_back(path), f"{path} is not as it was before adopt")
        demand(not self.site.conf(self.name).exists(), "its configuration is still there")
        self._check_left()
        kept = [str(p) for p in (self.state / "originals").rglob("[!.]*") if p.is_file()]
        demand(not kept, f"left: {kept}")

    def go_back(self):
        done = self.release()
        demand(done.returncode == 0 or "was not adopted" in done.stderr, f"release: exit {done.returncode}: {done.stdout}{done.stderr}")
        self.check_moment()
        self.check_back()

    def go_forward(self):
        done = self.adopt()
        demand(done.returncode == 0, f"adopt: exit {done.returncode}: {done.stdout}{done.stderr}")
        self.check_taken(done.stdout + done.stderr)
        self.check_moment()

    def wait_rest(self):
        """The spare workers are there, and certswapd sleeps."""
        pid, seen = self.agent.process.pid, {}

        def rests():
            now, turns = time.monotonic(), turns_of(pid)
            if seen.get("turns") != turns:
                seen.update(turns=turns, since=now)
            # a worker that could not be started is tried again with the next one that is needed
            return now - seen["since"] >= (0.1 if len(children_of(pid)) == SPARES else 2)
        wait_until("certswapd is at rest", rests, 60)

    def prepare(self):
        """As on the first day: no generation of it."""
        if not self.agent.running():
            self.agent.start()
        shutil.rmtree(self.state / "certificates" / self.name, ignore_errors=True)
        self.before = self.picture()
        self.wait_rest()


class Links(Ground):
    """Files that become links."""
    place, name, arguments = "links", "shop.example.test", ()

    def files(self):
        return self.site.certificate, self.site.key

    def given_back(self, path):
        """A regular file, as it was but for the bytes, which are those that were live: the same pair."""
        return (not path.is_symlink() and self.look(path)[1:] == self.origin[path][1:]
                and self.site.pair.cert in self.site.certificate.read_text())


class Directives(Ground):
    """certbot's tree, and directives in two files."""
    place, name, arguments = "directives", "shop", ("--skip-client",)

    def lay(self):
        self.lineage = Lineage(self, self.site)

    def files(self):
        return self.lineage.config, self.lineage.include

    def given_back(self, path):
        return self.look(path) == self.origin[path]


PLACES = {ground.place: ground for ground in (Links, Directives)}


# --- the acts

def traced(ground, act, tamper=None, aim=None):
    """tamper: "CALL:HOW", with the call that is aimed at."""
    inject, calls = ([f"{tamper}:when={aim[1]}"], [tamper.partition(":")[0]]) if tamper else ((), tuple(KIND_OF))
    tracer = Strace(ground.agent.process.pid, ground.trace, inject, calls, about=aim and aim[0])
    try:
        return act()
    finally:
        tracer.stop()


def reap(ground):
    """Did certswapd die?"""
    if ground.agent.running():
        return False
    ground.agent.process.wait(10)
    return True


def is_cut_off(ground, counts):
    """adopt dies before its last exchange: half is taken."""
    counted = counts["adopt"]
    point = [p for p in counted.order if p.where == "exchange"][-1]
    aim = counted.at(point)
    for _ in range(ATTEMPTS):
        ground.prepare()
        traced(ground, ground.adopt, f"{point.call}:signal=SIGKILL", aim)
        died, struck = reap(ground), hit(ground.trace, point.call)
        if died and struck and struck.point == point:
            ground.agent.start()
            wait_until("the start says that adopt was cut off", lambda: f"adopt-unfinished: {ground.name}" in ground.agent.log())
            return ground.wait_rest()
        if died:
            ground.agent.start()
        aim = counted.aim_again(point, aim, read_trace(ground.trace, (point.call,)), struck if died else None)
        ground.go_back()
    raise AssertionError("adopt was not cut off where it should be")


def set_up(ground, act, counts):
    """What is there when the act begins."""
    if act == "again":
        return is_cut_off(ground, counts)
    ground.prepare()
    if act == "release":
        ground.go_forward()
        ground.wait_rest()
    return None


def undisturbed(ground, act, counts):
    """One act without a fault; its trace."""
    set_up(ground, act, counts)
    done = traced(ground, ground.release if act == "release" else ground.adopt)
    demand(done.returncode == 0, f"{act} without a fault: exit {done.returncode}: {done.stdout}{done.stderr}")
    trace = read_trace(ground.trace)
    ground.go_back()
    return trace


def check_said(ground, trial, done):
    """What certswapctl said is true."""
    said = done.stdout + done.stderr
    if trial.act == "release":
        if done.returncode == 0:
            ground.check_back()
    elif done.returncode == 0:
        ground.check_taken(said)
    elif "everything is as it was" in said:
        ground.check_back()
        demand(ground.picture() == ground.before, f"not everything is as it was: {said}")


def attempt(ground, trial, aim, counts, forward):
    """(what was struck, the points of that run); forward: afterwards first to the end, then back."""
    set_up(ground, trial.act, counts)
    tamper = "signal=SIGKILL" if trial.way == "kill" else f"error={trial.error}"
    done = traced(ground, ground.release if trial.act == "release" else ground.adopt,
                  f"{trial.point.call}:{tamper}", aim)
    died = reap(ground)
    struck, seen = hit(ground.trace, trial.point.call, trial.way == "error"), read_trace(ground.trace, (trial.point.call,))
    if trial.way == "error" and struck and not is_ours(struck.line):  # libuv's own, which may give up
        ground.agent.kill()
    else:
        ground.check_moment()
        demand(trial.way == "kill" or not died, f"certswapd ended with {ground.agent.process.returncode} for one error")
    if not ground.agent.running():
        ground.agent.start()
    elif trial.way == "error":
        check_said(ground, trial, done)
    if forward and trial.act != "release":
        ground.go_forward()
    ground.go_back()
    wait_until("descriptors are closed", lambda: descriptors_of(ground) <= ground.descriptors, 5)
    done = ground.agent.ctl("log", "--verify")
    demand(done.returncode == 0, f"certswapctl log --verify: {done.stdout}{done.stderr}")
    return struck if died or trial.way == "error" else None, seen


def reached(ground, trial, counts, forward):
    """Tried again where another point was struck; "gone" where it is in no run of now."""
    counted = counts[trial.act]
    aim = counted.at(trial.point)
    always = trial.point in counted.always
    for n in range(ATTEMPTS if always else 2):
        if n == ATTEMPTS // 2:  # slower, as the runs that were counted: that may be why
            aim = counted.at(trial.point, False)
        struck, seen = attempt(ground, trial, aim, counts, forward)
        if struck and struck.point == trial.point:
            return "reached"
        aim = counted.aim_again(trial.point, aim, seen, struck)
    return "missed" if always and counted.has_still(ground, trial.point) else "gone"


# --- which points

def is_own(point):
    return point.where.startswith(OWN) and not point.where.endswith(".pid")


def all_trials(ground, counts, options):
    """Those of each act and way, together."""
    found = []
    for act in options.acts:
        points = [point for point in counts[act].order if point in counts[act].ours and is_own(point)]
        for way in options.ways.split(","):
            what = errors_of(points, options.each) if way == "error" else [(p, None) for p in points if p in counts[act].changes]
            found.append([Trial(ground.place, act, way, point, error) for point, error in what])
    return found


def thin(trials, counts, wanted):
    trials = [t for t in trials if t.point in counts[t.act].always]
    step = max(1.0, len(trials) / wanted)
    return [trials[int((i + 0.5) * step)] for i in range(int(len(trials) / step))]


def choose(ground, counts, options):
    if options.only:
        return [t for t in map(parse, options.only) if t.place == ground.place]
    groups = all_trials(ground, counts, options)
    if not options.full:  # over both places
        first, of = list(PLACES).index(ground.place), len(PLACES)
        groups = [thin(trials, counts, options.points)[first::of] for trials in groups]
    return [trial for trials in groups for trial in trials][options.part[0] - 1::options.part[1]]


class Work:
    """The trials of one place that are left, over as many grounds as it takes: after a failure the next begins on a fresh one."""

    def __init__(self, place, options):
        self.place, self.options = place, options
        self.left = self.counts = None
        self.late = set()  # missed once: tried again when all others were
        self.results, self.failed, self.missed = Counter(), [], []

    def begin(self, ground):
        self.counts = {}
        for act in ACTS:
            self.counts[act] = Counted(ground, lambda ground, act=act: undisturbed(ground, act, self.counts),
                                       TRACES if self.options.full else 2)
        self.left = choose(ground, self.counts, self.options)
        print(f"{self.place}: " + ", ".join(f"{act} makes {len(c.always)} calls" for act, c in self.counts.items())
              + f"; {len(self.left)} trials", flush=True)

    def go(self, ground):
        if self.left is None:
            self.begin(ground)
        while self.left:
            trial, began = self.left.pop(0), time.monotonic()
            try:
                how = reached(ground, trial, self.counts, len(self.left) % 2)
            except (AssertionError, OSError, subprocess.SubprocessError) as problem:
                struck = hit(ground.trace, trial.point.call, trial.way == "error")
                self.failed.append(trial)
                print(f"FAILED {words(trial)}: {problem}\n    {struck.line if struck else 'not reached'}", flush=True)
                raise
            if how == "missed" and trial not in self.late:
                self.late.add(trial)
                self.left.append(trial)
                continue
            self.results[trial.way, how] += 1
            if how == "missed":
                self.missed.append(trial)
                print(f"NEVER REACHED {words(trial)}")
            if self.options.verbose:
                print(f"{words(trial):80} {how} {time.monotonic() - began:.2f} s", flush=True)

    def all(self):
        """False: it could not even begin."""
        while (self.left is None or self.left) and len(self.failed) < self.options.failures:
            try:
                with PLACES[self.place]() as ground:
                    self.go(ground)
            except (AssertionError, OSError, subprocess.SubprocessError) as problem:
                if self.left is None:
                    print(f"FAILED {self.place} before the first trial: {problem}")
                    return False
        return True


def read_options():
    parser = argparse.ArgumentParser()
    parser.add_argument("--full", action="store_true", help="every point")
    parser.add_argument("--points", type=int, default=SAMPLE, help="of each act and way in a sample")
    parser.add_argument("--each", action="store_true", help="each call fails with one of its errors, in turn, not with each of them")
    parser.add_argument("--part", default="1/1", help="N/M: each M-th trial, from the N-th")
    parser.add_argument("--places", default=",".join(PLACES))
    parser.add_argument("--acts", default=",".join(ACTS))
    parser.add_argument("--ways", default="kill,error")
    parser.add_argument("--only", action="append", help="one trial, as a failure names it")
    parser.add_argument("--failures", type=int, default=10, help="give up after so many")
    parser.add_argument("-v", "--verbose", action="store_true")
    options = parser.parse_args()
    options.part = [int(n) for n in options.part.split("/")]
    options.acts = options.acts.split(",")
    if options.only:
        options.places = ",".join({parse(text).place: None for text in options.only})
    return options


def main():
    options, began = read_options(), time.monotonic()
    if not shutil.which("strace"):
        print("strace is not installed")
        return SKIPPED
    works = [Work(place, options) for place in options.places.split(",")]
    begun = [work.all() for work in works]
    total = sum((work.results for work in works), Counter())
    failed, missed, left = (sum(len(part) for part in parts) for parts in
                            ((w.failed for w in works), (w.missed for w in works), (w.left or () for w in works)))
    print(f"{total['kill', 'reached']} kills and {total['error', 'reached']} errors, "
          f"{total['kill', 'gone'] + total['error', 'gone']} not there in each run, {missed} never reached, {left} left, "
          f"{failed} failed; {time.monotonic() - began:.0f} s")
    return 1 if failed or missed or left or not all(begun) else 0


if __name__ == "__main__":
    guarded(main)
