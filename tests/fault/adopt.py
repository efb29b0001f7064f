"""adopt and release, killed on the way into each call that changes something: whatever point it was, the web server serves, could
start again with what lies on the disk, and adopt can be run again to its end, or release. adopt.py --full tries every point,
adopt.py alone a sample."""
import os
import pathlib
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))

from adoptsite import Site  # noqa: E402
from case import Case, main  # noqa: E402
from harness import Run  # noqa: E402
from processes import wait_until  # noqa: E402
from strace import Point, Strace, read_trace, stop_tracer_of  # noqa: E402

FULL = "--full" in sys.argv
if FULL:
    sys.argv.remove("--full")
SAMPLE = 14
NAME = "shop.example.test"
ABOUT_FILES = ("rename", "renameat2", "symlinkat", "unlinkat", "fchmod", "fchown", "fsync", "mkdirat", "openat")
PATHS = ("/originals", "/certificates", "/tls/", "certificates.d")


class Killed(Case):
    deadline = 3000 if FULL else 240

    def points(self, run, site, act):
        """The calls of one undisturbed act that change files outside of the swap itself."""
        tracer = Strace(run.agent.process.pid, run.folder / "trace")
        self.assertExit(act(), 0)
        tracer.stop()
        return [point for point, line in read_trace(run.folder / "trace")
                if point.call in ABOUT_FILES and any(path in line for path in PATHS)]

    @staticmethod
    def chosen(points):
        if FULL or len(points) <= SAMPLE:
            return points
        return [points[i * (len(points) - 1) // (SAMPLE - 1)] for i in range(SAMPLE)]

    def killed(self, run, point, act):
        """act() with certswapd killed at the point; starts it anew."""
        tracer = Strace(run.agent.process.pid, run.folder / "trace",
                        [f"{point.call}:signal=SIGKILL:when={point.number}"])
        done = act()
        tracer.stop()
        died = not run.agent.running()
        if died:
            run.agent.process.wait(10)
            run.agent.start()
        return died, done

    def holds(self, run, site, point):
        """It serves, and would after a restart: certificate and key on the disk fit together."""
        self.assertTrue(run.serves(site.pair), point)
        site.servers_could_start()

    def test_each_point(self):
        with Run("adopt-killed", servers=("nginx",)) as run:
            site = Site(run)
            adopt, release = (lambda: run.agent.ctl("adopt")), (lambda: run.agent.ctl("release", NAME))
            ways = {"adopt": self.points(run, site, adopt), "release": self.points(run, site, release)}
            died = 0
            for point in self.chosen(ways["adopt"]):
                hit, _ = self.killed(run, point, adopt)
                died += hit
                self.holds(run, site, point)
                if died % 2:  # straight back, or first to its end
                    self.assertExit(adopt(), 0)
                    self.assertTrue(site.certificate.is_symlink() and site.key.is_symlink(), point)
                    self.holds(run, site, point)
                done = release()
                self.assertIn(done.returncode, (0, 1), done.stderr)
                if done.returncode == 1:  # nothing had been recorded yet
                    self.assertIn("was not adopted", done.stderr, point)
                self.assertTrue(site.unlinked(), point)
                self.assertFalse(site.conf().exists(), point)
                self.holds(run, site, point)
            for point in self.chosen(ways["release"]):
                self.assertExit(adopt(), 0)
                hit, _ = self.killed(run, point, release)
                died += hit
                self.holds(run, site, point)
                again = release()
                self.assertTrue(again.returncode == 0 or "was not adopted" in again.stderr, again.stderr)
                self.assertTrue(site.unlinked(), point)
                self.assertFalse(site.conf().exists(), point)
                self.holds(run, site, point)
            left = [str(p) for p in site.tls.iterdir() if p.name not in (site.certificate.name, site.key.name)]
            self.assertEqual(left, [])
            self.assertGreater(died, 5)
            self.assertIn("adopt-unfinished: shop.example.test", run.agent.log())
            print(f"{died} kills at {len(ways['adopt'])} + {len(ways['release'])} points")


main()
