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
# the good pairs of one drop begin one transaction together. strace tampers only with calls that it traces.
TURNS = "?epoll_wait,?epoll_pwait"
TOGETHER = f"{TURNS}:delay_enter=50000:when=1..7"


def options(calls, inject=()):
    words = ["-qq", "-y", "-e", "signal=none", "-e", "trace=" + ",".join([*("?" + call for call in calls), TURNS])]
    for one in inject:
        words += ["-e", "inject=" + one]
    return words


def tracer_words(log, inject=(), calls=tuple(KIND_OF)):
    """Words before a program on the command line: it stays our child, and strace hangs on it from its first call."""
    return ["strace", "-D", "-I", "2", "-o", str(log), *options(calls, inject)]


class Strace:
    """strace on a running process."""

    def __init__(self, pid, log, inject=(), calls=tuple(KIND_OF)):
        self.log = pathlib.Path(log)
        self.log.unlink(missing_ok=True)
        self._process = subprocess.Popen(
            ["strace", "-o", str(log), "-p", str(pid), *options(calls, [TOGETHER, *inject])],
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


def read_trace(log):
    """[(point, its line)] of a trace, in their order. Every openat is counted, those that may make a file are points."""
    count, found = Counter(), []
    for line in lines_of(log):
        call = line.partition("(")[0]
        if call not in KIND_OF:
            continue
        count[call] += 1
        if is_point(line):
            found.append((Point(call, count[call]), line))
    return found


def is_point(line):
    """Of the calls that open files only those that may make one."""
    call = line.partition("(")[0]
    return call not in ("openat", "open") or "O_CREAT" in line


def is_of_file(line):
    """Is the call about a file, by its path? What libuv tells itself through an eventfd or a pipe can't fail."""
    return KIND_OF[line.partition("(")[0]] != "write" or re.match(r"\w+\(\d+<(/[^>]*)>", line) is not None


def lines_of(log):
    try:
        return pathlib.Path(log).read_text(errors="replace").splitlines()
    except OSError:
        return []


def hit_line(log, call, injected=False):
    """The line of the call that was made to fail (injected), or on whose way in the process was killed; "" where none was."""
    lines = [line for line in lines_of(log) if line.startswith(call + "(")]
    if injected:
        return next((line for line in lines if "(INJECTED)" in line), "")
    return lines[-1] if lines else ""
