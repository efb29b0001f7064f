"""What the end-to-end tests have in common. Each file ends with case.main()."""
import signal
import sys
import unittest

from processes import guarded


class Case(unittest.TestCase):
    """A test has `deadline` seconds in all: what hangs becomes a failure that says where."""
    deadline = 240
    maxDiff = None

    def setUp(self):
        def late(*_):
            raise AssertionError(f"the test is not over after {self.deadline} s")
        signal.signal(signal.SIGALRM, late)
        signal.alarm(self.deadline)
        self.addCleanup(signal.alarm, 0)

    def assertExit(self, done, status, *words):
        """A finished certswapctl: its exit status, and words that it must have said to the operator."""
        said = done.stdout + (done.stderr or "")
        self.assertEqual(done.returncode, status, said)
        for word in words:
            self.assertIn(word, said)


def main():
    guarded(lambda: 0 if unittest.main(exit=False, verbosity=2, argv=[sys.argv[0], *sys.argv[1:]]).result.wasSuccessful()
            else 1)
