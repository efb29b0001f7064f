"""certswapd under strace(1): which calls a swap makes, and one of them made to fail or to be the last.

Only the daemon itself is traced, never its children. A point says what a call is about, not how many were made before it: that
differs from run to run with the workers that happen to be there and with what the threads of libuv tell each other. It is the
call's name, the path without its numbers, and which of these it is. strace itself counts calls by their name alone, from the
moment when it was there; SIGKILL comes on the way into the call, so the call itself does not happen any more.
"""
import os
import pathlib
import re
import subprocess
import unittest
from collections import Counter, namedtuple

from processes import wait_gone, wait_until

# What is tried, by kind. What only looks is made to fail; to die there is to die before the next change.
KINDS = {
    "write": ("write", "pwrite64", "writev", "pwritev"),
    "sync": ("fsync", "fdatasync", "syncfs", "sync_file_range"),
    "rename": ("renameat2", "renameat", "rename"),
    "link": ("symlinkat", "linkat", "symlink", "link"),
    "unlink": ("unlinkat", "unlink", "rmdir"),
    "folder": ("mkdirat", "mkdir"),
    "open": ("openat", "open", "creat", "memfd_create"),
    "attribute": ("fchmod", "fchmodat", "fchown", "fchownat", "ftruncate"),
    "process": ("clone", "clone3", "vfork", "fork"),
    "look": ("newfstatat", "fstat", "statx", "faccessat", "faccessat2", "readlinkat", "readlink", "getdents64", "fgetxattr"),
    "read": ("read", "pread64"),
    "channel": ("socketpair", "pipe2", "pidfd_open"),
    "message": ("sendmsg", "recvmsg"),
    "watch": ("inotify_add_watch",),
}
KIND_OF = {call: kind for kind, calls in KINDS.items() for call in calls}
LOOKING = ("look", "read", "channel", "message", "watch")
# What each kind may really answer on a machine that is full, broken or short of something, or where a signal comes between.
ERRORS = {
    "write": ("ENOSPC", "EIO", "EINTR"), "sync": ("EIO", "ENOSPC", "EINTR"), "rename": ("ENOSPC", "EIO", "EACCES", "ENOMEM"),
    "link": ("ENOSPC", "EIO", "EACCES", "ENOMEM"), "unlink": ("EIO", "EACCES", "ENOMEM"),
    "folder": ("ENOSPC", "EIO", "EACCES", "ENOMEM"), "open": ("ENOSPC", "EMFILE", "EIO", "EACCES", "ENOMEM", "EINTR"),
    "attribute": ("EIO", "EACCES", "EINTR"), "process": ("EAGAIN", "ENOMEM"), "look": ("EIO", "ENOMEM", "EACCES"),
    "read": ("EIO", "EINTR"), "channel": ("EMFILE", "ENOMEM"), "message": ("ENOMEM", "EINTR"), "watch": ("ENOSPC", "ENOMEM", "EACCES"),
}

Point = namedtuple("Point", "call where nth")
# A point in a trace: its number among all calls of that name, and its line.
Seen = namedtuple("Seen", "point number line")


def options(calls, inject=(), about=None):
    """about: a path; calls that are not about it are neither seen nor counted."""
    words = ["-P", about] if about else []
    words += ["-qq", "-y", "-e", "signal=none", "-e", "trace=" + ",".join("?" + call for call in calls)]
    for one in inject:
        words += ["-e", "inject=" + one]
    return words


def tracer_words(log, inject=(), calls=tuple(KIND_OF), about=None):
    """Words before a program on the command line: it stays our child, and strace hangs on it from its first call."""
    return ["strace", "-D", "-I", "2", "-o", str(log), *options(calls, inject, about)]


class Strace:
    """strace on a running process."""

    def __init__(self, pid, log, inject=(), calls=tuple(KIND_OF), about=None):
        self.log = pathlib.Path(log)
        self.log.unlink(missing_ok=True)
        self._process = subprocess.Popen(
            ["strace", "-o", str(log), "-p", str(pid), *options(calls, inject, about)],
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


def read_trace(log, calls=tuple(KIND_OF)):
    """[Seen] of a trace of these calls, in their order."""
    numbers, kinds, found = Counter(), Counter(), []
    for line in lines_of(log):
        call = line.partition("(")[0]
        if call not in calls:
            continue
        numbers[call] += 1
        where = where_of(line, pathlib.Path(log).parent)
        kinds[call, where] += 1
        found.append(Seen(Point(call, where, kinds[call, where]), numbers[call], line))
    return found


def _path_of(call, arguments):
    """Of two paths the new one; of what is no file the type."""
    about_descriptor = ("write", "read", "sync", "attribute", "message")
    below = re.findall(r'<([^<>]*)>, "([^"]*)"', arguments) if KIND_OF[call] not in about_descriptor else []
    if below:
        return os.path.join(*below[-1]).rstrip("/")
    plain = r'(?:.*, )?"([^"]*)"' if KIND_OF[call] not in LOOKING else r'"([^"]*)"'
    found = re.match(r"\d+<([^<>]*)>", arguments) or re.match(plain, arguments)
    return found[1].partition(":[")[0] if found else ""


def abouts(line):
    """The paths that strace's -P finds in a call."""
    call, _, arguments = line.rpartition(" = ")[0].partition("(")
    found = re.findall(r"<([^<>]*)>", arguments)
    if KIND_OF[call] in ("write", "read", "sync", "attribute", "message"):
        return found[:1]
    return re.findall(r'"(/[^"]*)"', arguments) + found


def narrow(trace, root):
    """{point: (a path for -P, the point's number among the calls of its name that are about it), or None: it is about none that is
    the same in each run}"""
    counts, found = Counter(), {}
    for seen in trace:
        paths = abouts(seen.line)
        counts.update({(seen.point.call, path): 1 for path in paths})
        about = next((path for path in reversed(paths) if len(path) > 1 and path.startswith("/")
                      and not re.search(r"\d", path.removeprefix(f"{root}/"))), None)
        of_any = seen.point.where in ("exchange", "child")  # they are points of whatever path
        found[seen.point] = (about, counts[seen.point.call, about]) if about and not of_any else None
    return found


def where_of(line, root):
    """The path that the call changes, in the folder of the run and without numbers and dates. Whose link is exchanged first
    is left to the run."""
    call, _, arguments = line.partition("(")
    if KIND_OF[call] == "process":
        return "child"
    if "RENAME_EXCHANGE" in line:
        return "exchange"
    path = _path_of(call, arguments).removeprefix(f"{root}/")
    return re.sub(r"[0-9a-f]{32,}|(?<=-)[0-9a-f]{8}\b|\d+(T[\d_.]+Z?)?", "N", path).replace(":", "-")


def is_change(line):
    """Does the call change something? Of those that open files only what may make one."""
    call = line.partition("(")[0]
    return KIND_OF[call] not in LOOKING and (call not in ("openat", "open") or "O_CREAT" in line)


def is_ours(line):
    """May it fail without libuv giving up? What libuv tells itself through an eventfd or a pipe can't."""
    return KIND_OF[line.partition("(")[0]] not in ("write", "read") or re.match(r"\w+\(\d+<(/[^>]*)>", line) is not None


def is_near(point):
    """What the loader and libc read of the system is no matter of ours."""
    return not point.where.startswith(("/usr", "/lib", "/etc", "/run", "/dev", "/sys"))


def errors_of(points, each):
    """[(point, error)]: every error that each can answer, or one of them, in turn (each)."""
    found = []
    for i, point in enumerate(points):
        errors = ERRORS[KIND_OF[point.call]]
        found += [(point, error) for error in ([errors[i % len(errors)]] if each else errors)]
    return found


def lines_of(log):
    try:
        return pathlib.Path(log).read_text(errors="replace").splitlines()
    except OSError:
        return []


def hit(log, call, injected=False):
    """What of a trace of this call was made to fail (injected), or was the last, on whose way in the process was killed: Seen, or
    None where it was none."""
    lines = [line for line in lines_of(log) if line.startswith(call + "(")]
    line = next((line for line in lines if "(INJECTED)" in line), "") if injected else lines[-1] if lines else ""
    return next((seen for seen in reversed(read_trace(log, (call,))) if seen.line == line), None)


def was_injected(log):
    return any("(INJECTED)" in line for line in lines_of(log))
