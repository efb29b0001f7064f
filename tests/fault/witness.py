"""Looks at the web servers and at their parents all the time while others act, and judges afterwards whose hand each
failure was."""
import random
import threading
import time

from processes import alive
from webserver import shown

PATIENT = 40.0  # seconds for a handshake on a busy machine


class Witness(threading.Thread):
    """One server. `never` holds what no server may ever show. Failures while the neighbour had its hand on the server are
    the neighbour's: from hands_on() to the first handshake after hands_off()."""

    def __init__(self, server, names, never):
        super().__init__(daemon=True)
        self.server, self.names, self.never = server, names, never
        self.handshakes, self.parents = 0, 0
        self.failed = []    # (began, ended, what)
        self.problems = []  # whatever the neighbour did, this must not be
        self._hands, self._free = [], 0.0  # intervals [from, to] that are the neighbour's; when its last act was over
        self._parent = None
        self._end = threading.Event()
        self.start()

    def hands_on(self):
        if not self._hands or self._hands[-1][1] is not None:
            self._hands.append([time.monotonic(), None])
        self._free = None

    def hands_off(self):
        self._free = time.monotonic()

    def run(self):
        choice = random.Random(self.server.kind)
        while not self._end.wait(0.1):
            self._look_at_parent()
            began = time.monotonic()
            try:
                sha256 = shown(self.server.port, choice.choice(self.names), PATIENT).sha256
            except OSError as problem:
                self.failed.append((began, time.monotonic(), str(problem)))
                continue
            self.handshakes += 1
            if sha256 in self.never:
                self.problems.append(f"{self.server.kind} showed a certificate that was handed in without its key")
            if self._hands and self._hands[-1][1] is None and self._free and began > self._free:
                self._hands[-1][1] = time.monotonic()

    def _look_at_parent(self):
        """A parent that is gone, or another, while nobody had his hand on it."""
        if self._parent and not alive(self._parent):
            if not self.is_neighbours(time.monotonic(), time.monotonic()):
                self.failed.append((time.monotonic(), time.monotonic(), f"its parent {self._parent} ended"))
            self._parent = None
        pid = self.server.pid()
        if pid and pid != self._parent:
            self._parent = pid
            self.parents += 1

    def is_neighbours(self, began, ended):
        return any(began <= (to or float("inf")) and ended >= since for since, to in list(self._hands))

    def unexplained(self, since):
        """What failed since then, and was not the neighbour's doing."""
        return [f"{self.server.kind}: {what}" for began, ended, what in list(self.failed)
                if began >= since and not self.is_neighbours(began, ended)]

    def deaths(self, since):
        return [line for line in self.unexplained(since) if "its parent" in line]

    def stop(self):
        self._end.set()
        self.join()
