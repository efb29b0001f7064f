#!/usr/bin/env python3
"""What happens to nginx, Apache and certswapd when certswapd dies, or the machine refuses it something, at any point of a swap.

A swap of three certificates (two good pairs in one transaction, one bad pair) on real nginx and Apache is counted by strace
first; then it is begun again and again:
    kill      SIGKILL on the way into the n-th call of a kind, for each n
    error     that call answers ENOSPC, EIO, EMFILE ... instead, each error that its kind can answer
    recover   SIGKILL in the middle of a swap, and again at each call of the start that recovers from it
After each: the pair on disk fits together, both servers serve the old or the new one by the same processes and would start
again with what is on disk, no key lies outside the state folder; certswapd started once more comes to a final state in which
the servers show what is live, nothing is lost, the audit log's chain is whole, and no descriptor, child or leftover stays.

    fault.py                       a sample of the points, evenly taken, at least one of each kind
    fault.py --full                every point
    fault.py --only kill:write:17  one point (also error:fsync:3:EIO, recover:reload:write:5), as a failure names it
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

from processes import guarded  # noqa: E402
from scene import Broken, Scene, demand  # noqa: E402
from strace import ERRORS, KIND_OF, Point, Strace, hit_line, is_of_file, is_point, read_trace, stop_tracer_of, tracer_words  # noqa: E402

SKIPPED = 77
TRACES = 3     # swaps without a fault that are counted
ATTEMPTS = 8   # at a point that was not reached: the order of what happens at once may differ from run to run
SHARES = {"kill": 0.5, "error": 0.35, "recover": 0.15}  # of a sample

# One thing to try. moment: where the swap dies before the start that is looked at ("recover").
Trial = namedtuple("Trial", "way point error moment", defaults=(None, None))


def words(trial):
    return ":".join(str(w) for w in (trial.way, trial.moment, *trial.point, trial.error) if w)


def parse(text):
    parts = text.split(":")
    moment = parts.pop(1) if parts[0] == "recover" else None
    return Trial(parts[0], Point(parts[1], int(parts[2])), parts[3] if len(parts) > 3 else None, moment)


class Counted:
    """What swaps without a fault do: the calls that every one of them makes, and those that only some make."""

    def __init__(self, traces):
        self.order = [point for point, _ in max(traces, key=len)]
        self.of_files = {point for trace in traces for point, line in trace if is_of_file(line)}
        every = [{point for point, _ in trace} for trace in traces]
        self.always = set.intersection(*every)
        for point in sorted(set.union(*every) - set(self.order)):
            self.order.append(point)

    def by_kind(self):
        return Counter(KIND_OF[point.call] for point in self.order)


def end_swap(scene):
    """After a trial certswapd is started once more, comes to a final state, and the next trial begins there."""
    if not scene.agent.running():
        scene.agent.start()
    scene.wait_final()
    scene.check_moment()
    return scene.check_end()


def plain_swap(scene):
    """A swap without a fault; its trace."""
    tracer = Strace(scene.agent.process.pid, scene.trace)
    scene.drop_all()
    how = scene.wait_end()
    tracer.stop()
    demand(how == "settled", f"a swap without a fault ended {how}")
    demand(end_swap(scene) == "new", "a swap without a fault was undone")
    return read_trace(scene.trace)


def moments(trace):
    """Where a swap dies before its recovery is looked at: between the links of its two certificates, and when both are
    exchanged and no server has been told."""
    exchanges = [i for i, (_, line) in enumerate(trace) if "RENAME_EXCHANGE" in line]
    demand(len(exchanges) >= 2, "the good pairs did not go in one transaction")
    told = next(point for point, _ in trace[exchanges[-1]:] if KIND_OF[point.call] == "process")
    return {"between": trace[exchanges[-1]][0], "reload": told}


def die_at(scene, point):
    """Begins a swap that dies there. Did it?"""
    tracer = Strace(scene.agent.process.pid, scene.trace, [f"{point.call}:signal=SIGKILL:when={point.number}"], [point.call])
    scene.drop_all()
    how = scene.wait_end()
    tracer.stop()
    return how == "died" and is_point(hit_line(scene.trace, point.call))


def dies_surely_at(scene, point):
    """Tried again where that run had other workers started before it."""
    for _ in range(ATTEMPTS):
        if die_at(scene, point):
            return True
        scene.agent.kill()
        end_swap(scene)
    return False


def try_kill(scene, trial, _):
    died = die_at(scene, trial.point)
    moment = scene.check_moment()
    if scene.agent.running():
        demand(scene.agent.stop() == 0, "certswapd did not stop as asked")
    scene.check_orphans()
    return died, moment, end_swap(scene)


def try_error(scene, trial, _):
    call, number = trial.point
    tracer = Strace(scene.agent.process.pid, scene.trace, [f"{call}:error={trial.error}:when={number}"], [call])
    scene.drop_all()
    how = scene.wait_end()
    tracer.stop()
    hit = hit_line(scene.trace, call, injected=True)
    if hit and not (is_point(hit) and is_of_file(hit)):  # not what was meant; libuv's own calls must not fail
        scene.agent.kill()
        return None, "", end_swap(scene)
    moment = scene.check_moment()
    demand(how != "died", f"certswapd ended with {scene.agent.process.returncode} for one error")
    scene.check_descriptors()
    demand(scene.agent.stop() == 0, "certswapd did not stop as asked")
    scene.check_orphans()
    outcome = end_swap(scene)
    return bool(hit), moment, outcome if how == "settled" else outcome + ", after a restart"


def start_traced(scene, inject=()):
    """Starts certswapd under strace from its first call; how its recovery ended."""
    scene.trace.unlink(missing_ok=True)
    scene.agent.launch(tracer_words(scene.trace, inject))
    how = scene.wait_end()
    if how != "died":
        stop_tracer_of(scene.agent.process.pid)
    return how


def try_recover(scene, trial, middle):
    if not die_at(scene, middle[trial.moment]):
        scene.agent.kill()
        end_swap(scene)
        return False, "", ""
    died = start_traced(scene, [f"{trial.point.call}:signal=SIGKILL:when={trial.point.number}"]) == "died"
    died = died and is_point(hit_line(scene.trace, trial.point.call))
    moment = scene.check_moment()
    scene.check_orphans()
    return died, moment, end_swap(scene)


TRY = {"kill": try_kill, "error": try_error, "recover": try_recover}


def count(scene):
    """(what a swap does, its moments, what a recovery from each does)"""
    traces = [plain_swap(scene) for _ in range(TRACES)]
    middle = moments(traces[-1])
    recoveries = {}
    for name, point in middle.items():
        found = []
        for _ in range(TRACES):
            demand(dies_surely_at(scene, point), f"the swap did not die at {point}")
            demand(start_traced(scene) == "settled", "a recovery without a fault did not end the swap")
            found.append(read_trace(scene.trace))
            end_swap(scene)
        recoveries[name] = Counted(found)
    return Counted(traces), middle, recoveries


def all_trials(swap, recoveries):
    """{way: its trials}"""
    return {"kill": [Trial("kill", point) for point in swap.order],
            "error": [Trial("error", point, error) for point in swap.order if point in swap.of_files
                      for error in ERRORS[KIND_OF[point.call]]],
            "recover": [Trial("recover", point, None, name) for name, c in recoveries.items() for point in c.order]}


def thin(trials, wanted):
    """Evenly, and at least one of each call and error."""
    step = max(1.0, len(trials) / wanted)
    kept = {int(i * step) for i in range(int(len(trials) / step))}
    have = {(trials[i].point.call, trials[i].error, trials[i].moment) for i in kept}
    for i, trial in enumerate(trials):
        if trial.way != "recover" and (trial.point.call, trial.error, trial.moment) not in have:
            have.add((trial.point.call, trial.error, trial.moment))
            kept.add(i)
    return [trials[i] for i in sorted(kept)]


class Report:
    def __init__(self):
        self.chosen, self.tried, self.spared = Counter(), Counter(), Counter()
        self.counted, self.outcomes, self.moments = Counter(), {}, {}
        self.failures, self.missed = [], []

    def note(self, trial, moment, outcome):
        key = (trial.way, KIND_OF[trial.point.call])
        self.tried[key] += 1
        self.moments.setdefault(key, Counter())[moment] += 1
        self.outcomes.setdefault(key, Counter())[outcome] += 1

    def print(self):
        print(f"\n{'way':8} {'kind':10} {'points':>7} {'chosen':>7} {'tried':>6}  at that moment; after the next start")
        for key in sorted(self.counted):
            moment = ", ".join(f"{n} {w}" for w, n in sorted(self.moments.get(key, Counter()).items()))
            outcome = ", ".join(f"{n} {w}" for w, n in sorted(self.outcomes.get(key, Counter()).items()))
            print(f"{key[0]:8} {key[1]:10} {self.counted[key]:7} {self.chosen[key]:7} {self.tried[key]:6}  {moment}; {outcome}")
        print(f"{'all':19} {sum(self.counted.values()):7} {sum(self.chosen.values()):7} {sum(self.tried.values()):6}  "
              f"{sum(self.spared.values())} not needed or not there in that run, {len(self.missed)} never reached, "
              f"{len(self.failures)} failed")
        for trial in self.missed:
            print(f"NEVER REACHED {words(trial)}")
        for trial, what in self.failures:
            print(f"FAILED {words(trial)}: {what}")


def attempt(scene, trial, middle, always):
    """(reached, moment, outcome) of one trial, tried again where it was not reached although every swap gets there, and at
    last at the points just before it.
    reached is None where a call that is no point had this number in that run."""
    for i in range(ATTEMPTS if always else 1):
        number = max(1, trial.point.number - max(0, i - ATTEMPTS // 2))  # a busy machine may need fewer calls of a kind
        done = TRY[trial.way](scene, trial._replace(point=trial.point._replace(number=number)), middle)
        if done[0]:
            break
    return done


class Queue:
    """The trials that are left, over as many scenes as it takes: after a failure the next begins on a fresh one."""

    def __init__(self, options):
        self.options, self.report = options, Report()
        self.left = self.middle = None
        self.always = {}

    def choose(self, scene):
        swap, self.middle, recoveries = count(scene)
        trials = all_trials(swap, recoveries)
        self.always = {"kill": swap.always, "error": swap.always, **{name: c.always for name, c in recoveries.items()}}
        self.left = []
        for way, share in SHARES.items():
            if way not in self.options.ways.split(","):
                continue
            some = trials[way] if self.options.full else thin(trials[way], int(self.options.points * share))
            self.report.counted.update((way, KIND_OF[t.point.call]) for t in trials[way])
            self.report.chosen.update((way, KIND_OF[t.point.call]) for t in some)
            self.left += some
        if self.options.only:
            self.left = [parse(text) for text in self.options.only]
        print(f"A swap makes {len(swap.order)} calls that count: {dict(swap.by_kind())}; {len(self.left)} trials", flush=True)

    def work(self, scene):
        while self.left:
            trial = self.left[0]
            always = trial.point in self.always.get(trial.moment or trial.way, ())
            began = time.monotonic()
            try:
                reached, moment, outcome = attempt(scene, trial, self.middle, always)
            except (AssertionError, OSError) as problem:
                self.left.pop(0)
                self.report.tried[trial.way, KIND_OF[trial.point.call]] += 1
                self.report.failures.append((trial, str(problem).strip()))
                print(f"FAILED {words(trial)}: {problem}\n    {hit_line(scene.trace, trial.point.call, bool(trial.error))}",
                      flush=True)
                raise
            self.left.pop(0)
            if self.options.verbose:
                print(f"{words(trial):40} {moment:8} {outcome} {time.monotonic() - began:.2f} s "
                      f"{'' if reached else '(not reached)'}", flush=True)
            if reached:
                self.report.note(trial, moment, outcome)
            elif always and reached is not None:
                self.report.missed.append(trial)
            else:
                self.report.spared[(trial.way, KIND_OF[trial.point.call])] += 1


def keep_evidence(scene, title):
    """What a failed trial left, for a person: beside the run's folder, which goes."""
    target = scene.folder.parent / f"failed-{title.replace(':', '-')}"
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(scene.folder, target, symlinks=True, ignore=lambda folder, names: [
        n for n in names if not (os.path.isfile(os.path.join(folder, n)) or os.path.isdir(os.path.join(folder, n)))])


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--full", action="store_true", help="every point")
    parser.add_argument("--points", type=int, default=80, help="about how many trials in a sample")
    parser.add_argument("--ways", default="kill,error,recover")
    parser.add_argument("--only", action="append", help="one trial, as a failure names it")
    parser.add_argument("--keep", action="store_true", help="keep the folder of a failed trial")
    parser.add_argument("--failures", type=int, default=10, help="give up after so many")
    parser.add_argument("-v", "--verbose", action="store_true")
    options = parser.parse_args()
    if not shutil.which("strace"):
        print("strace is not installed")
        return SKIPPED
    began, queue = time.monotonic(), Queue(options)
    while queue.left is None or queue.left:
        if len(queue.report.failures) >= options.failures:
            break
        try:
            with Scene("fault") as scene:
                try:
                    if queue.left is None:
                        queue.choose(scene)
                    queue.work(scene)
                except AssertionError:
                    if options.keep and queue.report.failures:
                        keep_evidence(scene, words(queue.report.failures[-1][0]))
                    raise
        except unittest.SkipTest as why:
            print(why)
            return SKIPPED
        except (AssertionError, OSError) as problem:
            if queue.left is None:
                print(f"FAILED before the first trial: {problem}")
                return 1
    queue.report.print()
    print(f"{time.monotonic() - began:.0f} s")
    report = queue.report
    short = not options.only and (sum(report.tried.values()) + sum(report.spared.values()) < sum(report.chosen.values()))
    if short:
        print("Fewer points were tried than were counted.")
    return 1 if short or report.failures or report.missed else 0


guarded(main)
