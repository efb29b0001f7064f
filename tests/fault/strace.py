"""certswapd under strace(1): which calls a swap makes, and one of them made to fail or to be the last.

Only the daemon itself is traced, never its children. A point is a call's name and which of its kind, counted from the moment
when strace was there; SIGKILL comes on the way into the call, so the call itself does not happen any more.
"""
import os
import pathlib
import re
import subprocess
import unittest
from collections import Counter, namedtuple

from processes import wait_gone, wait_until

# What is tried, by kind. Of openat only what may make a file counts.
KINDS = {
    "write": ("write", "pwrite64", "writev", "pwritev"),
    "sync": ("fsync", "fdatasync", "syncfs", "sync_file_range"),
    "rename": ("renameat2", "renameat", "rename"),
    "link": ("symlinkat", "linkat", "symlink", "link"),
    "unlink": ("unlinkat", "unlink", "rmdir"),
    "folder": ("mkdirat", "mkdir"),
    "create": ("openat", "open", "creat", "memfd_create"),
    "attribute": ("fchmod", "fchmodat", "fchown", "fchownat", "ftruncate"),
    "process": ("clone", "clone3", "vfork", "fork"),
}
KIND_OF = {call: kind for kind, calls in KINDS.items() for call in calls}
# What each kind may really answer on a machine that is full, broken or short of something.
ERRORS = {
    "write": ("ENOSPC", "EIO"), "sync": ("EIO", "ENOSPC"), "rename": ("ENOSPC", "EIO"), "link": ("ENOSPC", "EIO"),
    "unlink": ("EIO",), "folder": ("ENOSPC", "EIO"), "create": ("ENOSPC", "EMFILE", "EIO"), "attribute": ("EIO",),
    "process": ("EAGAIN", "ENOMEM"),
}

Point = namedtuple("Point", "call number")
# Each of the first turns of the daemon's loop waits so long that what the workers answer is there all at once: only then do
# the good pairs of one drop begin one transaction together.
TOGETHER = ("-e", "inject=?epoll_wait,?epoll_pwait:delay_enter=60000:when=1..12")


def options(calls, inject=()):
    words = ["-qq", "-e", "signal=none", "-e", "trace=" + ",".join("?" + call for call in calls)]
    for one in inject:
        words += ["-e", "inject=" + one]
    return words


def tracer_words(log, inject=(), calls=tuple(KIND_OF)):
    """Words before a program on the command line: it stays our child, and strace hangs on it from its first call."""
    return ["strace", "-D", "-o", str(log), *options(calls, inject)]


class Strace:
    """strace on a running process."""

    def __init__(self, pid, log, inject=(), calls=tuple(KIND_OF), more=()):
        self.log = pathlib.Path(log)
        self.log.unlink(missing_ok=True)
        self._process = subprocess.Popen(
            ["strace", "-o", str(log), "-p", str(pid), *options(calls, inject), *more],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        wait_until("strace is attached", lambda: self._attached(pid) or self._process.poll() is not None)
        if self._process.poll() is not None:
            raise unittest.SkipTest("strace may not attach: " + self._process.stderr.read().strip())

    def _attached(self, pid):
        try:
            return f"TracerPid:\t{self._process.pid}\n" in pathlib.Path(f"/proc/{pid}/status").read_text()
        except OSError:
            return False

    def stop(self):
        """Lets go of the process, which goes on."""
        if self._process.poll() is None:
            self._process.terminate()
        self._process.communicate(timeout=10)


def stop_tracer_of(pid):
    """The same where strace was started by tracer_words()."""
    try:
        text = pathlib.Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return
    tracer = int(re.search(r"^TracerPid:\t(\d+)", text, re.M).group(1))
    if tracer:
        os.kill(tracer, 15)
        wait_gone(tracer)


def read_points(log):
    """The points of a trace, in their order. Every openat is counted, those that may make a file are points."""
    count, points = Counter(), []
    for line in pathlib.Path(log).read_text(errors="replace").splitlines():
        found = re.match(r"(\w+)\(", line)
        if not found or found.group(1) not in KIND_OF:
            continue
        call = found.group(1)
        count[call] += 1
        if call not in ("openat", "open") or "O_CREAT" in line:
            points.append(Point(call, count[call]))
    return points


def last_line(log, call):
    """The last line of a trace that is about this call: what was hit."""
    try:
        lines = pathlib.Path(log).read_text(errors="replace").splitlines()
    except OSError:
        return ""
    return next((line for line in reversed(lines) if line.startswith(call + "(")), "")


def was_injected(log):
    """The line of the call that was made to fail; "" where none was."""
    try:
        lines = pathlib.Path(log).read_text(errors="replace").splitlines()
    except OSError:
        return ""
    return next((line for line in lines if "(INJECTED)" in line), "")
