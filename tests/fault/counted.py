"""What runs without a fault do, counted by strace, and how a run that struck another point than was meant says where to aim next."""
from collections import Counter

from strace import KIND_OF, is_change, is_near, is_ours, narrow

TRACES = 3    # runs that are counted
RECOUNTS = 2  # what is not in these either is not there any more


class Counted:
    """What runs without a fault do: the points that every one of them has, and those that only some have."""

    def __init__(self, scene, again, traces=TRACES):
        """again(scene): one more run; its trace."""
        self.again, self.folder = again, scene.folder
        self.traces = [again(scene) for _ in range(traces)]
        self.order = [seen.point for seen in max(self.traces, key=len)]
        self.changes = {seen.point for trace in self.traces for seen in trace if is_change(seen.line)}
        self.ours = {seen.point for trace in self.traces for seen in trace if is_ours(seen.line) and is_near(seen.point)}
        every = [{seen.point for seen in trace} for trace in self.traces]
        self.always = set.intersection(*every)
        self.order += sorted(set.union(*every) - set(self.order))
        self.numbers, self.narrowed = {}, {}
        for trace in self.traces:
            self._learn(trace)

    def _learn(self, trace):
        self.numbers.update({seen.point: seen.number for seen in trace})
        for point, aim in narrow(trace, self.folder).items():
            known = self.narrowed.get(point, aim)
            # a path that is another one in each run can't be asked for
            self.narrowed[point] = aim if known and aim and known[0] == aim[0] else None

    def at(self, point, narrowly=True):
        """Where to aim: (a path that strace shall look for, or None; the number of the call)."""
        return narrowly and self.narrowed[point] or (None, self.numbers[point])

    def by_kind(self):
        return Counter(KIND_OF[point.call] for point in self.order if point in self.changes)

    def has_still(self, scene, point):
        """Is the point in runs as they are now?"""
        found = False
        for _ in range(RECOUNTS):
            trace = self.again(scene)
            self._learn(trace)
            found = found or any(seen.point == point for seen in trace)
        return found

    def aim_again(self, point, aim, seen, struck):
        """Where to aim next: where the point was in the run that missed it, or as far from what was struck as the points are in
        the last run that had both."""
        about, number = aim
        there = next((one.number for one in seen if one.point == point), None)
        if there:
            return about, there
        if about:
            return about, number + 1 if struck else number
        if struck and struck.point in self.numbers and self.numbers[point] > self.numbers[struck.point]:
            return None, number + self.numbers[point] - self.numbers[struck.point]
        return None, number + 1 if struck else self.numbers[point]
