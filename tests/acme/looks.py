"""Waits for the agent's look into a folder: when it begins is seen by inotify(7), when it is over by what the agent has
open."""
import ctypes
import os
import pathlib
import select
import struct
import time

from processes import Late, wait_until

OPEN = 0x20
CHANGES = 0x8 | 0x40 | 0x80 | 0x100 | 0x200  # closed after writing, moved from and to, created, deleted
ISDIR = 0x40000000
EVENT = struct.Struct("iIII")
_libc = ctypes.CDLL(None, use_errno=True)


class Looks:
    """folder: what the agent watches. others: where its links lead to."""

    def __init__(self, agent, folder, *others):
        self._agent = agent
        self._folders = [str(path) + "/" for path in (folder, *others)]
        self._fd = _libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK)
        if _libc.inotify_add_watch(self._fd, os.fsencode(folder), OPEN | CHANGES) < 0:
            raise OSError(ctypes.get_errno(), "inotify_add_watch", str(folder))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        os.close(self._fd)

    def _masks(self, seconds):
        """Of the events that are there, or come first."""
        if not select.select([self._fd], [], [], seconds)[0]:
            return []
        data, at, masks = os.read(self._fd, 1 << 20), 0, []
        while at < len(data):
            _, mask, _, length = EVENT.unpack_from(data, at)
            at += EVENT.size + length
            masks.append(mask)
        return masks

    def _has_open(self):
        for entry in pathlib.Path(f"/proc/{self._agent.process.pid}/fd").iterdir():
            try:
                if (os.readlink(entry) + "/").startswith(tuple(self._folders)):
                    return True
            except OSError:
                continue  # closed meanwhile
        return False

    def after(self, action, seconds=20.0):
        """Does action() and waits until a look that began after its last change of the folder is over, with the swap
        that came of it."""
        self._masks(0)
        action()
        deadline, began = time.monotonic() + seconds, False
        while not began:
            if time.monotonic() > deadline:
                raise Late(f"the agent has not looked into the folder within {seconds:g} s")
            for mask in self._masks(max(0.0, deadline - time.monotonic())):
                if mask & CHANGES:
                    began = False
                elif mask & OPEN and mask & ISDIR:
                    began = True
        wait_until("the look into the folder is over", lambda: not self._has_open(), seconds)
