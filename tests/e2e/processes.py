"""Waiting, starting and ending processes, so that nothing is left behind whatever happens.

A program that uses this module calls guarded(main): main runs in a child, the parent is the "subreaper" of everything
that is started below it, daemons too, reaps what ends, and at the end kills and names what is left.
"""
import ctypes
import os
import select
import signal
import subprocess
import sys
import threading
import time

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
_libc = ctypes.CDLL(None, use_errno=True)


class Late(AssertionError):
    """What was waited for did not come before its deadline."""


def wait_until(what, condition, seconds=10.0, every=0.01):
    """Asks `condition` again and again; its first true value, or Late. The one place where the tests poll."""
    deadline = time.monotonic() + seconds
    pause = threading.Event()
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() >= deadline:
            raise Late(f"not within {seconds:g} s: {what}")
        pause.wait(every)


def run(*argv, check=True, seconds=60, **options):
    """Runs a program to its end; its CompletedProcess with standard output and error together in stdout."""
    options.setdefault("stdout", subprocess.PIPE)
    options.setdefault("stderr", subprocess.STDOUT)
    options.setdefault("stdin", subprocess.DEVNULL)
    done = subprocess.run(argv, text=True, timeout=seconds, check=False, **options)
    if check and done.returncode != 0:
        raise AssertionError(f"{' '.join(argv)}: exit {done.returncode}\n{done.stdout}")
    return done


def stat_of(pid):
    """Fields of /proc/PID/stat from the state on (field 3 of proc(5) is [0]), or None if there is no such process."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            return file.read().rpartition(")")[2].split()
    except OSError:
        return None


def alive(pid):
    fields = stat_of(pid)
    return fields is not None and fields[0] not in "ZX"


def start_time(pid):
    """Clock ticks since boot at which it started: with the number it names a process for good."""
    fields = stat_of(pid)
    return fields and int(fields[19])


def command_of(pid):
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return file.read().replace(b"\0", b" ").decode(errors="replace").strip() or f"[{pid}]"
    except OSError:
        return f"[{pid}]"


def children_of(pid):
    """All descendants."""
    found = []
    try:
        tasks = os.listdir(f"/proc/{pid}/task")
    except OSError:
        return found
    for task in tasks:
        try:
            with open(f"/proc/{pid}/task/{task}/children", encoding="ascii") as file:
                direct = [int(word) for word in file.read().split()]
        except OSError:
            continue
        for child in direct:
            found += [child] + children_of(child)
    return found


def wait_gone(pid, seconds=10.0):
    """Waits for the end of any process, by its pidfd."""
    try:
        fd = os.pidfd_open(pid)
    except OSError:
        return
    try:
        if not select.select([fd], [], [], seconds)[0]:
            raise Late(f"not within {seconds:g} s: the end of {pid} ({command_of(pid)})")
    finally:
        os.close(fd)


def end(pid, first=signal.SIGTERM, seconds=5.0):
    """Ends a process: asks, and then makes."""
    for number in (first, signal.SIGKILL):
        try:
            os.kill(pid, number)
            wait_gone(pid, seconds)
            return
        except ProcessLookupError:
            return
        except Late:
            continue


def left_behind():
    """What runs below the guard beside this program: it should be nothing once a test has cleaned up."""
    own = {os.getpid(), *children_of(os.getpid())}
    guard = os.environ.get("CERTSWAP_GUARD")
    every = set(children_of(int(guard))) if guard else own
    return [pid for pid in (every | own) - {os.getpid()} if alive(pid)]


def _reap(main_pid):
    """Until main_pid ends: its exit status, 128 + signal number where a signal ended it."""
    while True:
        pid, status = os.wait()
        if pid == main_pid:
            return os.waitstatus_to_exitcode(status)


def guarded(main):
    """Runs main() in a child under the guard and exits with its status, or 1 where it left a process behind."""
    _libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    os.environ["CERTSWAP_GUARD"] = str(os.getpid())
    main_pid = os.fork()
    if main_pid == 0:
        _libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
        signal.signal(signal.SIGINT, signal.default_int_handler)  # also where a shell started us with it ignored
        sys.exit(main())
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # Ctrl-C comes to the whole foreground group by itself
        signal.signal(number, lambda n, _: n == signal.SIGINT or os.kill(main_pid, signal.SIGTERM))
    status = _reap(main_pid)
    if status < 0:
        status = 128 - status
    # what has just been killed may take a moment to end
    rest = [pid for pid in children_of(os.getpid()) if alive(pid)]
    for pid in rest:
        print(f"left behind, killed: {pid} {command_of(pid)}", file=sys.stderr)
        end(pid, signal.SIGKILL)
    os._exit(status if not rest else status or 1)
