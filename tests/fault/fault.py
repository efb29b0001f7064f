#!/usr/bin/env python3
"""What happens to nginx, Apache and certswapd when certswapd dies, or the machine refuses it something, at any point of a swap.

A swap on real nginx and Apache is traced by strace first (scenes: batch, two good pairs in one transaction and a bad pair
beside them; one, one certificate; back, one that a third server dies of, so that all go back); then it is begun again and again:
    kill      SIGKILL on the way into one of the calls that change something, for each of them
    error     one call, those that only look too, answers ENOSPC, EIO, EMFILE ..., each error that its kind can answer
    recover   SIGKILL in the middle of a swap, and again at each call of the start that recovers from it
    mend      the same, and one call of that start answers an error
After each: the pair on disk fits together, the servers serve the old or the new one by the same processes and would start
again with what is on disk, no key lies outside the state folder; certswapd started once more comes to a final state in which
the servers show what is live, nothing is lost, the audit log's chain is whole, and no descriptor, child or leftover stays.

    fault.py                       a sample of the points of the batch, evenly taken
    fault.py --full                every point
    fault.py --full --each         every call, with one of its errors, in turn
    fault.py --full --part 1/8     the first, ninth, seventeenth ... of them
    fault.py --only WORDS          one point, as a failure names it: one:kill:fsync:state/journal:3 is the third fsync of that folder
The environment says where the programs are (CERTSWAP_PROGRAMS) and where to work (CERTSWAP_E2E_FOLDER), as for tests/e2e.
"""
import argparse
import os
import pathlib
import shutil
import sys
import time
import unittest
from collections import Counter, namedtuple

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))

from counted import Counted  # noqa: E402
from processes import guarded  # noqa: E402
from scene import demand  # noqa: E402
from scenes import SCENES  # noqa: E402
from strace import KIND_OF, Point, Strace, errors_of, hit, is_ours, read_trace, stop_tracer_of, tracer_words, was_injected  # noqa: E402

SKIPPED = 77
PATIENT = 20.0  # seconds without a motion, where there is no fault
ATTEMPTS = 6   # at a point that was not reached: the order of what happens at once may differ from run to run
MISSED_MOST = 0.05  # of a sample's points: a busy machine may take another way each time. --full misses none
SHARES = {"kill": 0.45, "error": 0.35, "recover": 0.2, "mend": 0.2}  # of a sample
SAMPLED = ("batch", "kill,error,recover")  # scenes and ways of a sample; the rest is for --full, or as asked for


class Unreached(Exception):
    """The point could not be tried: no word on certswapd."""


# One thing to try. moment: where the swap dies before the start that is looked at ("recover", "mend").
Trial = namedtuple("Trial", "scene way point error moment", defaults=(None, None))


def words(trial):
    return ":".join(str(w) for w in (trial.scene, trial.way, trial.moment, *trial.point, trial.error) if w)


def parse(text):
    scene, way, *parts = text.split(":")
    moment = parts.pop(0) if way in ("recover", "mend") else None
    return Trial(scene, way, Point(parts[0], parts[1], int(parts[2])), parts[3] if len(parts) > 3 else None, moment)


def end_swap(scene):
    """After a trial certswapd is started once more, comes to a final state, and the next trial begins there."""
    if not scene.agent.running():
        scene.agent.start()
    scene.wait_final()
    scene.check_moment()
    outcome = scene.check_end()
    scene.wait_spares()
    return outcome


def plain_swap(scene):
    """A swap without a fault; its trace."""
    tracer = Strace(scene.agent.process.pid, scene.trace)
    scene.begin_swap()
    how = scene.wait_end(idle=PATIENT)
    tracer.stop()
    demand(how == "settled", f"a swap without a fault ended {how}")
    outcome = end_swap(scene)
    demand(outcome == scene.outcome, f"a swap without a fault ended {outcome}")
    return read_trace(scene.trace)


def moments(trace):
    """Where a swap dies before its recovery is looked at: between the links of its two certificates, when all are exchanged and no
    server has been told (the first sync of the journal after that: what runs the hooks is started, and waits for a word that
    does not come any more), and before a link is exchanged back."""
    exchanges = [i for i, seen in enumerate(trace) if seen.point.where == "exchange"]
    told = next(i for i, seen in enumerate(trace) if i > exchanges[0] and KIND_OF[seen.point.call] == "sync"
                and seen.point.where == "state/journal")
    before = [i for i in exchanges if i < told]
    found = {"reload": trace[told].point}
    if len(before) > 1:
        found["between"] = trace[before[-1]].point
    if exchanges[-1] > told:
        found["back"] = trace[exchanges[-1]].point
    return found


def is_at(scene, moment):
    """Is what the swap that died here left that of this moment? By which of its calls it came there is left to the run."""
    links, states = scene.check_moment(), scene.journal_states()
    if moment == "back":
        return links != "old" and "ROLLING_BACK" in states
    return links == {"between": "between", "reload": "new"}[moment] and "ROLLING_BACK" not in states and not scene.is_new_shown()


def struck_by(scene, point, injected=False):
    """(what of the trace that was tampered with is the point that was struck, all of the trace's points)"""
    return hit(scene.trace, point.call, injected), read_trace(scene.trace, (point.call,))


def swap_with(scene, call, how, aim):
    """A swap with a call that is tampered with; its end."""
    tracer = Strace(scene.agent.process.pid, scene.trace, [f"{call}:{how}:when={aim[1]}"], [call], aim[0])
    scene.begin_swap()
    end = scene.wait_end()
    tracer.stop()
    return end


def die_at(scene, point, aim):
    """Begins a swap that dies in this call. Did it?"""
    return swap_with(scene, point.call, "signal=SIGKILL", aim) == "died"


def dies_surely_at(scene, swap, point, moment):
    """A swap that dies at this moment; tried again where that run did not come there by the same calls."""
    aim = swap.at(point)
    for _ in range(ATTEMPTS):
        died = die_at(scene, point, aim)
        struck, seen = struck_by(scene, point)
        if died and is_at(scene, moment):
            return
        scene.agent.kill()
        end_swap(scene)
        aim = swap.aim_again(point, aim, seen, struck if died else None)
    raise Unreached(f"the swap did not die at {moment}")


# Each trial returns (what was struck: Seen or None; the points of that run; what the links said then; how it ended).

def try_kill(scene, trial, aim, _):
    died = die_at(scene, trial.point, aim)
    struck, seen = struck_by(scene, trial.point)
    moment = scene.check_moment()
    if scene.agent.running():
        demand(scene.agent.stop() == 0, "certswapd did not stop as asked")
    scene.check_orphans()
    return struck if died else None, seen, moment, end_swap(scene)


def try_error(scene, trial, aim, _):
    how = swap_with(scene, trial.point.call, f"error={trial.error}", aim)
    struck, seen = struck_by(scene, trial.point, injected=True)
    if was_injected(scene.trace) and not (struck and is_ours(struck.line)):
        scene.agent.kill()
        return struck, seen, "", end_swap(scene)
    moment = scene.check_moment()
    demand(how != "died", f"certswapd ended with {scene.agent.process.returncode} for one error")
    scene.check_descriptors()
    demand(scene.agent.stop() == 0, "certswapd did not stop as asked")
    scene.check_orphans()
    outcome = end_swap(scene)
    return struck, seen, moment, outcome if how == "settled" else outcome + ", after a restart"


def start_traced(scene, tamper=None, aim=(None, 0), **patience):
    """Starts certswapd under strace from its first call; how its recovery ended."""
    scene.trace.unlink(missing_ok=True)
    inject = [f"{tamper}:when={aim[1]}"] if tamper else ()
    scene.agent.launch(tracer_words(scene.trace, inject, about=aim[0]))
    how = scene.wait_end(**patience)
    if how != "died":
        stop_tracer_of(scene.agent.process.pid)
    return how


def recover_at(scene, swap, middle, moment):
    """A recovery without a fault; its trace."""
    dies_surely_at(scene, swap, middle, moment)
    how = start_traced(scene, idle=PATIENT)
    demand(how == "settled", f"a recovery without a fault ended {how}")
    trace = read_trace(scene.trace)
    end_swap(scene)
    return trace


def try_recover(scene, trial, aim, counts):
    dies_surely_at(scene, counts.swap, counts.middle[trial.moment], trial.moment)
    died = start_traced(scene, f"{trial.point.call}:signal=SIGKILL", aim) == "died"
    struck, seen = struck_by(scene, trial.point)
    moment = scene.check_moment()
    scene.check_orphans()
    return struck if died else None, seen, moment, end_swap(scene)


def try_mend(scene, trial, aim, counts):
    """A start may also give up, with a reason: systemd tries again."""
    dies_surely_at(scene, counts.swap, counts.middle[trial.moment], trial.moment)
    how = start_traced(scene, f"{trial.point.call}:error={trial.error}", aim)
    struck, seen = struck_by(scene, trial.point, injected=True)
    if was_injected(scene.trace) and not (struck and is_ours(struck.line)):
        scene.agent.kill()
        return struck, seen, "", end_swap(scene)
    moment = scene.check_moment()
    if how == "died":
        demand(scene.agent.process.returncode == 1, f"certswapd ended with {scene.agent.process.returncode} for one error")
    else:
        demand(scene.agent.stop() == 0, "certswapd did not stop as asked")
    scene.check_orphans()
    outcome = end_swap(scene)
    return struck, seen, moment, outcome if how == "settled" else outcome + ", after a restart"


TRY = {"kill": try_kill, "error": try_error, "recover": try_recover, "mend": try_mend}


class Counts:
    """What a swap does, its moments, and what a recovery from each does."""

    def __init__(self, scene, with_recoveries):
        for _ in range(scene.warm):
            plain_swap(scene)
        self.swap = Counted(scene, plain_swap)
        self.middle = moments(self.swap.traces[-1])
        self.recoveries = {name: Counted(scene, lambda scene, at=(point, name): recover_at(scene, self.swap, *at))
                           for name, point in self.middle.items() if with_recoveries}

    def of(self, trial):
        return self.recoveries[trial.moment] if trial.moment else self.swap


def all_trials(scene, counts, each):
    """{way: its trials}"""
    swap, recoveries = counts.swap, counts.recoveries.items()
    return {"kill": [Trial(scene, "kill", point) for point in swap.order if point in swap.changes],
            "error": [Trial(scene, "error", point, error) for point, error in errors_of(may_fail(swap), each)],
            "recover": [Trial(scene, "recover", point, None, name) for name, c in recoveries
                        for point in c.order if point in c.changes],
            "mend": [Trial(scene, "mend", point, error, name) for name, c in recoveries
                     for point, error in errors_of(may_fail(c), each)]}


def may_fail(counted):
    return [point for point in counted.order if point in counted.ours]


def thin(trials, wanted, counts):
    """Of the points that each run has and that change something, evenly."""
    trials = [trial for trial in trials if trial.point in counts.of(trial).always & counts.of(trial).changes]
    step = max(1.0, len(trials) / max(1, wanted))
    return [trials[int((i + 0.5) * step)] for i in range(int(len(trials) / step))]


def key_of(trial):
    return trial.scene, trial.way, KIND_OF[trial.point.call]


class Report:
    def __init__(self):
        self.chosen, self.tried, self.spared = Counter(), Counter(), Counter()
        self.counted, self.outcomes, self.moments = Counter(), {}, {}
        self.failures, self.missed = [], []

    def note(self, trial, moment, outcome):
        key = key_of(trial)
        self.tried[key] += 1
        self.moments.setdefault(key, Counter())[moment] += 1
        self.outcomes.setdefault(key, Counter())[outcome] += 1

    def print(self):
        print(f"\n{'scene':6} {'way':8} {'kind':10} {'points':>7} {'chosen':>7} {'tried':>6}  at that moment; after the next start")
        for key in sorted(self.counted):
            moment = ", ".join(f"{n} {w}" for w, n in sorted(self.moments.get(key, Counter()).items()))
            outcome = ", ".join(f"{n} {w}" for w, n in sorted(self.outcomes.get(key, Counter()).items()))
            print(f"{key[0]:6} {key[1]:8} {key[2]:10} {self.counted[key]:7} {self.chosen[key]:7} {self.tried[key]:6}  {moment}; {outcome}")
        print(f"{'all':26} {sum(self.counted.values()):7} {sum(self.chosen.values()):7} {sum(self.tried.values()):6}  "
              f"{sum(self.spared.values())} not there in each run, {len(self.missed)} never reached, "
              f"{len(self.failures)} failed")
        for trial in self.missed:
            print(f"NEVER REACHED {words(trial)}")
        for trial, what in self.failures:
            print(f"FAILED {words(trial)}: {what}")


def attempt(scene, trial, counts):
    """(reached, moment, outcome) of one trial, tried again where another point was struck. reached: "gone" where a point that the
    counted runs had is not in those of now."""
    counted = counts.of(trial)
    always = trial.point in counted.always
    for _ in range(2 if always else 1):
        aim = counted.at(trial.point)
        for n in range(ATTEMPTS if always else 2):
            if n == ATTEMPTS // 2:  # slower, as the runs that were counted: that may be why
                aim = counted.at(trial.point, False)
            struck, seen, moment, outcome = TRY[trial.way](scene, trial, aim, counts)
            if struck and struck.point == trial.point:
                return "reached", moment, outcome
            aim = counted.aim_again(trial.point, aim, seen, struck)
        if not always or not counted.has_still(scene, trial.point):
            return "gone", "", ""
    return "missed", "", ""


class Queue:
    """The trials of one kind of scene that are left, over as many of them as it takes: after a failure the next begins on a
    fresh one."""

    def __init__(self, options, report, name):
        self.options, self.report, self.name = options, report, name
        self.left = self.counts = None
        self.late = set()  # missed once: tried again when all others were

    def choose(self, scene):
        ways = self.options.ways.split(",")
        self.counts = counts = Counts(scene, "recover" in ways or "mend" in ways)
        trials, self.left = all_trials(self.name, counts, self.options.each), []
        for way in ways:
            some = trials[way] if self.options.full else thin(trials[way], int(self.options.points * SHARES[way]), counts)
            some = some[self.options.part[0] - 1::self.options.part[1]]
            self.report.counted.update(key_of(t) for t in trials[way])
            self.report.chosen.update(key_of(t) for t in some)
            self.left += some
        if self.options.only:
            self.left = [trial for trial in map(parse, self.options.only) if trial.scene == self.name]
        print(f"{self.name}: a swap makes {len(counts.swap.changes)} calls that change something: {dict(counts.swap.by_kind())}; "
              f"{len(self.left)} trials", flush=True)

    def work(self, scene):
        while self.left:
            trial = self.left.pop(0)
            began = time.monotonic()
            try:
                reached, moment, outcome = attempt(scene, trial, self.counts)
            except Unreached:
                reached, moment, outcome = "missed", "", ""
            except (AssertionError, OSError) as problem:
                self.report.tried[key_of(trial)] += 1
                self.report.failures.append((trial, str(problem).strip()))
                struck = hit(scene.trace, trial.point.call, bool(trial.error))
                print(f"FAILED {words(trial)}: {problem}\n    {struck.line if struck else 'not reached'}", flush=True)
                raise
            if self.options.verbose:
                print(f"{words(trial):70} {reached} {moment:8} {outcome} {time.monotonic() - began:.2f} s", flush=True)
            if reached == "reached":
                self.report.note(trial, moment, outcome)
            elif reached == "missed" and trial not in self.late:
                self.late.add(trial)
                self.left.append(trial)
            elif reached == "missed":
                self.report.missed.append(trial)
            else:
                self.report.spared[key_of(trial)] += 1


def keep_evidence(scene, title):
    """What a failed trial left, for a person: beside the run's folder, which goes."""
    target = scene.folder.parent / f"failed-{title.replace(':', '-').replace('/', '-')}"
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(scene.folder, target, symlinks=True, ignore=lambda folder, names: [
        n for n in names if not (os.path.isfile(os.path.join(folder, n)) or os.path.isdir(os.path.join(folder, n)))])


def read_options():
    parser = argparse.ArgumentParser()
    parser.add_argument("--full", action="store_true", help="every point")
    parser.add_argument("--points", type=int, default=70, help="about how many trials in a sample")
    parser.add_argument("--each", action="store_true", help="each call fails with one of its errors, in turn, not with each of them")
    parser.add_argument("--part", default="1/1", help="N/M: of what is chosen each M-th trial, from the N-th")
    parser.add_argument("--scenes", help=f"of {','.join(SCENES)}")
    parser.add_argument("--ways", help=f"of {','.join(TRY)}")
    parser.add_argument("--only", action="append", help="one trial, as a failure names it")
    parser.add_argument("--keep", action="store_true", help="keep the folder of a failed trial")
    parser.add_argument("--failures", type=int, default=10, help="give up after so many")
    parser.add_argument("-v", "--verbose", action="store_true")
    options = parser.parse_args()
    options.scenes = options.scenes or (",".join(SCENES) if options.full else SAMPLED[0])
    options.ways = options.ways or (",".join(TRY) if options.full else SAMPLED[1])
    options.part = [int(n) for n in options.part.split("/")]
    if options.only:
        options.scenes = ",".join({parse(text).scene: None for text in options.only})
        options.ways = ",".join({parse(text).way: None for text in options.only})
    return options


def work_off(queue, options):
    """All trials of one kind of scene; False: it could not even begin."""
    while queue.left is None or queue.left:
        if len(queue.report.failures) >= options.failures:
            return True
        try:
            with SCENES[queue.name]("fault") as scene:
                try:
                    if queue.left is None:
                        queue.choose(scene)
                    queue.work(scene)
                except AssertionError:
                    if options.keep and queue.report.failures:
                        keep_evidence(scene, words(queue.report.failures[-1][0]))
                    raise
        except (AssertionError, OSError, Unreached) as problem:
            if queue.left is None:
                print(f"FAILED {queue.name} before the first trial: {problem}")
                return False
    return True


def main():
    options = read_options()
    if not shutil.which("strace"):
        print("strace is not installed")
        return SKIPPED
    began, report = time.monotonic(), Report()
    try:
        begun = [work_off(Queue(options, report, name), options) for name in options.scenes.split(",")]
    except unittest.SkipTest as why:
        print(why)
        return SKIPPED
    report.print()
    print(f"{time.monotonic() - began:.0f} s")
    chosen = sum(report.chosen.values())
    left = 0 if options.only else chosen - sum(report.tried.values()) - sum(report.spared.values())
    if left:
        print("Fewer points were tried than were counted.")
    most = 0 if options.full or options.only else int(chosen * MISSED_MOST)
    return 1 if max(left, len(report.missed)) > most or report.failures or not all(begun) else 0


if __name__ == "__main__":
    guarded(main)
