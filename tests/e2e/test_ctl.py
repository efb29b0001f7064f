"""certswapctl as scripts and people use it: exit statuses, --json of each command, `status --watch` on a terminal."""
import json
import os
import pty
import re
import select
import time

from case import Case, main
from harness import PROGRAMS, Run
from processes import wait_until


class Terminal:
    """A program on a terminal of its own."""

    def __init__(self, *argv):
        self.pid, self._end = pty.fork()
        if self.pid == 0:
            os.execv(argv[0], argv)
        self.said = ""

    def _read(self, seconds):
        if not select.select([self._end], [], [], seconds)[0]:
            return False
        try:
            data = os.read(self._end, 65536)
        except OSError:  # EIO: the other side has ended
            return False
        self.said += data.decode(errors="replace")
        return bool(data)

    def wait(self, words, seconds=20):
        """Until it has said so since the last wait."""
        deadline = time.monotonic() + seconds
        while not re.search(words, self.said):
            if not self._read(max(0.0, deadline - time.monotonic())):
                raise AssertionError(f"{words} is not in: {self.said}")
        self.said = ""

    def type(self, text):
        os.write(self._end, text.encode())

    def ended(self):
        """Its exit status."""
        while self._read(20):
            pass
        status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        os.close(self._end)
        return status


class Scripts(Case):

    def test_json_of_each_command(self):
        with Run("ctl-json") as run:
            ctl = run.agent.start().ctl
            first = run.begin()
            pair, spare = run.ca.issue(run.names), run.ca.issue(run.names)
            for status, *arguments in (
                    (0, "status"), (0, "status", "shop"), (1, "status", "nobody"), (0, "check", *pair.files()), (1, "check", pair.files()[0]),
                    (0, "submit", "--name", "shop", *pair.files()), (0, "submit", "--name", "shop", *pair.files()),
                    (1, "submit", "--name", "nobody", *pair.files()), (0, "rollback", "shop"), (0, "standby", "shop", *spare.files()),
                    (0, "swap", "shop", "--to", "standby"), (1, "swap", "shop", "--to", "999"), (1, "swap", "shop", "--to", "standby"),
                    (1, "confirm", "shop"), (0, "incidents"), (1, "incident", "999"), (0, "csr", "shop"), (0, "request", "shop"),
                    (0, "deny", "list"), (1, "deny", "remove", "0" * 64, "--why", "test"), (1, "withdraw", "999", "--why", "test"),
                    (1, "close", "999", "--why", "test"), (1, "waive", "shop", "nobody", "--why", "test"), (1, "release", "shop"),
                    (1, "notice", "--serial", "ab", "--yes"), (0, "log"), (0, "log", "--verify"), (0, "discover")):
                with self.subTest(" ".join(map(str, arguments))):
                    done = ctl(*arguments, "--json")
                    self.assertEqual(done.returncode, status, done.stdout + done.stderr)
                    for line in done.stdout.splitlines() if arguments == ["log"] else [done.stdout]:
                        json.loads(line)
            self.assertTrue(run.serves(spare))
            self.assertNotEqual(first.sha256, spare.sha256)

    def test_wrong_usage(self):
        with Run("ctl-usage") as run:
            ctl = run.agent.ctl
            for words, *arguments in (
                    ("status", "statsu"), ("--json", "status", "--jsn"), ("--why", "withdraw", "1"), ("--watch", "status", "--watch", "--json"),
                    ("FILE", "submit"), ("can't be the name", "status", "../shop"), ("--timeout", "rollback", "shop", "--timeout", "soon"),
                    ("--why", "submit", "--accept", "expired", "x.pem"), ("profile", "check", "--profile", "odd", "x.pem")):
                with self.subTest(" ".join(arguments)):
                    self.assertExit(ctl(*arguments), 2, words)
            # what needs the agent, without it
            for arguments in (("status",), ("rollback", "shop"), ("incidents",), ("csr", "shop")):
                self.assertExit(ctl(*arguments), 3, "certswapd")
            self.assertExit(ctl("status", "--json"), 3)


class People(Case):

    def test_watch(self):
        with Run("ctl-watch", servers=("nginx",)) as run:
            run.agent.start()
            first = run.begin()
            screen = Terminal(str(PROGRAMS / "certswapctl"), "-c", str(run.config), "status", "--watch")
            screen.wait(first.serial.lower()[:8])
            pair = run.ca.issue(run.names)
            run.drop(pair.files())
            screen.wait(pair.serial.lower()[:8])
            run.agent.stop()  # away for a moment is no reason to stop
            screen.wait("certswapd")
            run.agent.start()
            screen.wait(pair.serial.lower()[:8])
            screen.type("q")
            self.assertEqual(screen.ended(), 0)

            one = Terminal(str(PROGRAMS / "certswapctl"), "-c", str(run.config), "status", "shop", "--watch")
            one.wait(run.names[0])
            one.type("\x03")
            self.assertEqual(one.ended(), 0)
            wait_until("it is settled", run.settled)


main()
