"""SIGKILL at every step of a swap that changes something: strace(1) kills certswapd on its way into the n-th call of each
kind. After each: the pair on disk fits together, nginx and Apache serve the old or the new one by the same processes,
certswapd started again ends the swap, and the audit log's chain is whole."""
import pathlib
import re
import shutil
import subprocess
import unittest
from collections import Counter

from case import Case, main
from harness import Run
from processes import Late, wait_until

CALLS = ("renameat2", "renameat", "rename", "fsync", "fdatasync", "syncfs", "symlinkat", "linkat", "unlinkat", "mkdirat",
         "ftruncate", "fchmod", "fchown", "write", "pwrite64", "writev", "clone", "clone3", "vfork")
POINTS_MAX = 50  # of one run; more are thinned out evenly: fault.py --full tries them all


class Tracer:
    """strace on a running process."""

    def __init__(self, pid, log, *options):
        self._process = subprocess.Popen(["strace", "-qq", "-o", str(log), "-p", str(pid), *options],
                                         stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        wait_until("strace is attached", lambda: self._attached(pid) or self._process.poll() is not None)
        if self._process.poll() is not None:
            raise unittest.SkipTest("strace may not attach: " + self._process.stderr.read().strip())

    def _attached(self, pid):
        return f"TracerPid:\t{self._process.pid}\n" in pathlib.Path(f"/proc/{pid}/status").read_text()

    def stop(self):
        if self._process.poll() is None:
            self._process.terminate()
        self._process.communicate(timeout=10)


@unittest.skipUnless(shutil.which("strace"), "strace is not installed")
class Kill(Case):
    deadline = 840

    def swap_traced(self, run):
        """The calls of one whole swap, in order."""
        log = run.folder / "trace"
        run.agent.start()
        tracer = Tracer(run.agent.process.pid, log, "-e", "trace=" + ",".join("?" + call for call in CALLS))
        pair = run.ca.issue(run.names)
        before = run.agent.status()["last_swap"]
        run.drop([pair.file("pair.pem", pair.key + pair.fullchain)])
        run.wait_result("committed", before)
        wait_until("nothing is under way", run.settled)
        tracer.stop()
        run.agent.kill()
        self.live = pair
        return re.findall(r"^(\w+)\(", log.read_text(), re.M)

    def points(self, calls):
        """(call, how many of its kind up to here)"""
        count, points = Counter(), []
        for call in calls:
            count[call] += 1
            points.append((call, count[call]))
        step = max(1.0, len(points) / POINTS_MAX)
        return [points[int(i * step)] for i in range(int(len(points) / step))]

    def die_at(self, run, call, number):
        """Did it die there? The swap may need fewer calls than the traced one did."""
        run.agent.start()
        tracer = Tracer(run.agent.process.pid, run.folder / "trace", "-e", f"trace={call}",
                        "-e", f"inject={call}:signal=SIGKILL:when={number}")
        self.new = run.ca.issue(run.names)
        run.drop([self.new.file("pair.pem", self.new.key + self.new.fullchain)])
        wait_until(f"certswapd is killed at {call} {number}, or done",
                   lambda: not run.agent.running() or (run.serves(self.new) and run.settled()), 20)
        died = not run.agent.running()
        run.agent.kill()
        tracer.stop()
        return died

    def check_point(self, run, identities):
        old, new = self.live, self.new
        self.assertIn(run.live_sha256(), (old.sha256, new.sha256), "the pair on disk")
        for server in run.servers:
            self.assertIn(server.shown(run.names[0]).sha256, (old.sha256, new.sha256), server.kind)
        run.agent.start()
        try:
            run.wait_served(new)
        except Late:
            # undone: then the reason is there to be read
            self.assertTrue(run.serves(old))
            self.assertTrue(run.agent.status()["last_swap"]["reason"])
        wait_until("a final state", lambda: run.settled() and run.agent.status()["state"] == "ok", 15)
        self.live = new if run.serves(new) else old
        self.assertEqual(run.live_sha256(), self.live.sha256)
        self.assertEqual(run.identities(), identities)
        run.verify_log()
        self.assertEqual(run.agent.stop(), 0)

    def test_every_step(self):
        with Run("kill") as run:
            run.agent.start()
            run.begin()
            run.agent.stop()
            calls = self.swap_traced(run)
            run.agent.start()
            run.agent.stop()
            points, reached = self.points(calls), 0
            identities = run.identities()
            for call, number in points:
                with self.subTest(call=call, number=number):
                    reached += self.die_at(run, call, number)
                    self.check_point(run, identities)
            print(f"{reached} of {len(points)} points reached, {len(calls)} calls in a swap: {dict(Counter(calls))}")
            self.assertGreater(reached, len(points) * 0.9)


main()
