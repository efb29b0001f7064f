"""The control socket in a crowd: 10,000 connections in turn and at once, requests that stop half-way, answers that nobody
reads, users who may not ask. Memory and descriptors stay bounded, everybody is served or refused with an answer, and swaps go
on meanwhile."""
import contextlib
import json
import os
import resource
import signal
import socket
import struct
import sys
import unittest
import warnings

from case import Case, main
from harness import SHIPPED, Run
from processes import run as run_program, wait_until

CROWD = 10000
CLIENTS_MAX, USER_MAX = 256, 32  # loop/control.h
NOBODY = 65534
MEGABYTE = 1 << 20
BUSY = b'{"exit":3,'
NOT_PERMITTED = b'{"exit":4,'


def dial():
    """A connection; the present folder is the agent's run_dir, which others may not reach by its path."""
    client = socket.socket(socket.AF_UNIX)
    for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):  # blocking: connect waits for its turn in the queue
        client.setsockopt(socket.SOL_SOCKET, option, struct.pack("ll", 30, 0))
    client.connect("control.sock")
    return client


def put(client, data):
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # refused already: the answer is there
        client.sendall(data)


def answer(client):
    """All that it says until it hangs up."""
    said = b""
    with contextlib.suppress(ConnectionResetError):  # it hung up with something unread
        while piece := client.recv(65536):
            said += piece
    return said


def ask(request):
    client = dial()
    put(client, json.dumps(request).encode() + b"\n")
    with client:
        return answer(client)


class Other:
    """work(tell) in a process of its own, as another user where uid is given; tell(number) reports to this one."""

    def __init__(self, run, work, uid=None, groups=()):
        self._read, write = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            status = 1
            try:
                signal.alarm(0)
                warnings.simplefilter("ignore", ResourceWarning)  # thousands of connections end with the process
                os.chdir(run.run_dir)
                resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors(), descriptors()))
                if uid:
                    os.setgroups(groups)
                    os.setgid(uid)
                    os.setuid(uid)
                work(lambda number: os.write(write, b"%d\n" % number))
                status = 0
            except BaseException as problem:  # pylint: disable=broad-except
                print(f"in the crowd: {type(problem).__name__} {problem}", file=sys.stderr)
            finally:
                os._exit(status)
        os.close(write)
        run.at_end(self.end)
        self._file = os.fdopen(self._read)

    def told(self):
        """Its next number; it must not have failed before."""
        line = self._file.readline()
        if not line:
            raise AssertionError("the crowd ended early")
        return int(line)

    def end(self):
        if self.pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
            self._file.close()
            self.pid = 0


def descriptors():
    """As many as this user may open, and no more than the crowd needs."""
    most = CROWD + 100
    return most if os.geteuid() == 0 else min(most, resource.getrlimit(resource.RLIMIT_NOFILE)[1])


def in_turn(tell):
    wanted = 0
    for _ in range(CROWD):
        wanted += ask({"command": "status"}).startswith((NOT_PERMITTED, BUSY) if os.getuid() else b'{"exit":0,')
    tell(wanted)


def at_once(tell):
    """All at once, each with a request that stops half-way; how many were not refused. They stay until the end."""
    held, refused = [], 0
    for _ in range(min(CROWD, descriptors() - 50)):
        client = dial()
        put(client, b'{"command":"' + b"s" * 10000)
        held.append(client)
    for client in held:
        client.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            refused += client.recv(100).startswith(BUSY)
    tell(len(held) - refused)
    signal.pause()


def unread(tell):
    """As many as there is room for: each asks all that there is to know and does not read it."""
    held = []
    for number in range(CLIENTS_MAX - USER_MAX):
        client = dial()
        put(client, b'{"command":"%s"}\n' % (b"status", b"metrics", b"incidents")[number % 3])
        held.append(client)
    tell(len(held))
    signal.pause()


def ring_and_run(tell):
    """Connects, says something or nothing, and is gone; for ever."""
    tell(0)
    number = 0
    while True:
        number += 1
        with contextlib.suppress(OSError), dial() as client:
            put(client, (b"", b"{", b'{"command":"status"}\n', b"[" * 5000 + b"\n", b"\0\xff\n")[number % 5])


SPARES = 12  # descriptors of workers that wait for work, or are just being replaced


class Crowd(Case):
    def memory(self, run):
        """Of certswapd, in bytes."""
        with open(f"/proc/{run.agent.process.pid}/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * resource.getpagesize()

    def count(self, run):
        return len(os.listdir(f"/proc/{run.agent.process.pid}/fd"))

    def swaps(self, run):
        """A swap goes through, by the drop box: root's places at the socket may all be taken."""
        pair = run.ca.issue(run.names)
        run.drop([pair.file("pair.pem", pair.key + pair.fullchain)], name="shop")
        run.wait_served(pair, 40)
        wait_until("it is over", run.settled, 20)

    def bounded(self, run, before):
        memory, fds = before
        self.assertLess(self.memory(run) - memory, 64 * MEGABYTE)
        self.assertLess(self.count(run) - fds, CLIENTS_MAX + 32)

    def over(self, run, before, *others):
        for other in others:
            other.end()
        wait_until("its connections are closed", lambda: self.count(run) <= before[1] + SPARES, 20)
        self.assertExit(run.agent.ctl("status"), 0)

    def test_crowd(self):
        uid = NOBODY if os.geteuid() == 0 else None
        with Run("crowd", servers=("nginx",)) as run:
            run.agent.programs = SHIPPED  # a sanitizer keeps what is freed: no bound can be seen through it
            run.agent.start()
            run.begin()
            self.swaps(run)
            before = self.memory(run), self.count(run)
            with self.subTest("in turn"):
                other = Other(run, in_turn, uid)
                self.swaps(run)
                self.assertEqual(other.told(), CROWD)
                self.bounded(run, before)
                self.over(run, before, other)
            with self.subTest("at once"):
                other = Other(run, at_once, uid)
                self.assertLessEqual(other.told(), USER_MAX if uid else CLIENTS_MAX)
                self.bounded(run, before)
                self.swaps(run)
                if uid:
                    self.assertExit(run.agent.ctl("status"), 0)
                self.over(run, before, other)
            with self.subTest("at once, by root, and all unread"):
                others = [Other(run, unread), Other(run, at_once, uid)]
                for other in others:
                    other.told()
                self.bounded(run, before)
                self.swaps(run)
                self.assertExit(run.agent.ctl("status"), 0)
                self.over(run, before, *others)
            with self.subTest("ring and run"):
                others = [Other(run, ring_and_run, uid), Other(run, ring_and_run)]
                for other in others:
                    other.told()
                for _ in range(3):
                    self.swaps(run)
                pair = run.ca.issue(run.names)
                self.assertExit(run.agent.ctl("submit", "--name", "shop", *pair.files()), 0)
                self.bounded(run, before)
                self.over(run, before, *others)

    @unittest.skipUnless(os.geteuid() == 0, "only root can play other users")
    def test_users(self):
        """Who is in the group may look, by a supplementary group too; the others and the worker's user may not."""
        if run_program("unshare", "--mount", "true", check=False).returncode != 0:
            self.skipTest("no mount namespace of its own can be had here")
        group = 64999
        looks, does = {"command": "status"}, {"command": "swap", "name": "shop"}
        with Run("users", servers=("nginx",), options='worker_user = "daemon";') as run:
            groups = run.folder / "group"
            groups.write_text(f"root:x:0:\ndaemon:x:1:\nnogroup:x:65534:\nwww-data:x:33:\ncertswap:x:{group}:\n")
            run.agent.start(tracer=("unshare", "--mount", "sh", "-c", f'mount --bind {groups} /etc/group && exec "$@"', "sh"))
            run.begin()

            def told(request, uid, groups):
                other = Other(run, lambda tell: tell(json.loads(ask(request))["exit"]), uid, groups)
                exit_status = other.told()
                other.end()
                return exit_status
            self.assertEqual(told(looks, 65001, [group]), 0)
            self.assertEqual(told(does, 65001, [group]), 4)
            self.assertEqual(told(looks, group, []), 0)
            self.assertEqual(told(looks, 65001, [65002]), 4)
            self.assertEqual(told(looks, 1, [group]), 4)


main()
