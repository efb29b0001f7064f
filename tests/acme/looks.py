"""Waits for the agent's look into a folder, seen by its own opening and closing of what lies there (inotify(7))."""
import ctypes
import os
import select
import struct
import time

from processes import Late

CLOSE_WRITE, CLOSE_NOWRITE, OPEN = 0x8, 0x10, 0x20
CHANGES = 0x8 | 0x40 | 0x80 | 0x100 | 0x200  # close after writing, moved from and to, created, deleted
ISDIR = 0x40000000
EVENT = struct.Struct("iIII")
_libc = ctypes.CDLL(None, use_errno=True)


class Looks:
    """folder: what the agent watches. others: where its links lead to."""

    def __init__(self, folder, *others):
        self._fd = _libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK)
        self._folder = self._watch(folder)
        for other in others:
            self._watch(other)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        os.close(self._fd)

    def _watch(self, path):
        wd = _libc.inotify_add_watch(self._fd, os.fsencode(path), OPEN | CLOSE_NOWRITE | CHANGES)
        if wd < 0:
            raise OSError(ctypes.get_errno(), "inotify_add_watch", str(path))
        return wd

    def _events(self, seconds):
        if not select.select([self._fd], [], [], seconds)[0]:
            return
        data, at = os.read(self._fd, 1 << 20), 0
        while at < len(data):
            wd, mask, _, length = EVENT.unpack_from(data, at)
            at += EVENT.size + length
            yield wd, mask

    def after(self, action, seconds=15.0):
        """Does action() and waits until a look that began after its last change of the folder is over."""
        for _ in self._events(0):
            pass
        action()
        deadline = time.monotonic() + seconds
        opened = began = 0  # what is open now; looks since the last change
        while not began or opened:
            if time.monotonic() > deadline:
                raise Late(f"the agent has not looked into the folder within {seconds:g} s")
            for wd, mask in self._events(max(0.0, deadline - time.monotonic())):
                if mask & OPEN:
                    opened += 1
                    began += wd == self._folder and bool(mask & ISDIR)
                elif mask & (CLOSE_WRITE | CLOSE_NOWRITE):
                    opened -= 1
                if wd == self._folder and mask & CHANGES and not mask & ISDIR:
                    began = 0
