"""Visitors of the web servers in a machine: fresh handshakes, new connections and kept ones, all the time; what they met in
each act, as a table."""
import contextlib
import ctypes
import os
import pathlib
import sys
import time
from collections import namedtuple

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "e2e"))
from processes import wait_until  # noqa: E402
from webserver import Load, Prober  # noqa: E402

CLONE_NEWNET = 0x40000000
KEPT = 3  # connections that are kept, a server

Server = namedtuple("Server", "kind port name")
Met = namedtuple("Met", "act seconds handshakes requests failed problems closed reloads processes")


@contextlib.contextmanager
def network_of(pid):
    """What this thread, its threads and its programs connect to meanwhile is the network of that process."""
    libc = ctypes.CDLL(None, use_errno=True)

    def enter(fd):
        if libc.setns(fd, CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "setns")
    own, other = (os.open(path, os.O_RDONLY | os.O_CLOEXEC) for path in ("/proc/thread-self/ns/net", f"/proc/{pid}/ns/net"))
    try:
        enter(other)
        yield
    finally:
        enter(own)
        os.close(own)
        os.close(other)


class Visitors:
    """reloads: how often the servers have been asked to reload until now; processes: how many serve; a number for each kind."""

    def __init__(self, servers, folder, reloads, processes):
        self.servers, self.folder, self.reloads, self.processes = servers, folder, reloads, processes
        self.acts = []

    @contextlib.contextmanager
    def during(self, act):
        """Visitors come from a moment before what is done below until a moment after it."""
        probers = [Prober(server, server.name) for server in self.servers]
        fresh = [Load(server, server.name, self.folder) for server in self.servers]
        kept = [Load(server, server.name, self.folder, fresh=False, connections=KEPT) for server in self.servers]
        before, serving, began = self.reloads(), self.processes(), time.monotonic()
        try:
            for prober in probers:
                wait_until("visitors come", lambda p=prober: len(p.seen) > 3)
            yield
            after = time.monotonic()
            for prober in probers:
                wait_until("visitors came afterwards", lambda p=prober: sum(h.began > after for h in p.seen) > 3)
        finally:
            ended = time.monotonic()
            for prober in probers:
                prober.stop()
            counts, closed = [load.stop() for load in fresh], [load.stop() for load in kept]
        failed = [h for prober in probers for h in prober.failed()]
        self.acts.append(Met(
            act, ended - began, sum(len(p.seen) for p in probers), sum(c.done for c in counts + closed),
            len(failed) + sum(c.failed for c in counts), [h.problem for h in failed],
            {s.kind: c.failed for s, c in zip(self.servers, closed)},
            {kind: count - before[kind] for kind, count in self.reloads().items()},
            {kind: max(count, serving[kind]) for kind, count in self.processes().items()}))
        return self.acts[-1]

    def table(self):
        kinds = [server.kind for server in self.servers]
        lines = [f"{'':34}{'time':>7} {'handshakes':>11} {'requests':>9} {'failed':>7}   reloads and kept connections closed by them"]
        for met in self.acts:
            closed = "  ".join(f"{kind} {met.reloads[kind]}: {met.closed[kind]}" for kind in kinds)
            lines.append(f"{met.act:34}{met.seconds:5.1f} s {met.handshakes:11} {met.requests:9} {met.failed:7}   {closed}")
        return lines

    def lost(self):
        """A fresh connection never fails. A kept one may be closed while it is idle by a reload, as the bare servers do: once by
        each process that ends. They are told one after the other, so that the visitor, who comes back at once, may meet the next."""
        return [met for met in self.acts
                if met.failed or any(met.closed[kind] > KEPT * met.reloads[kind] * met.processes[kind] for kind in met.closed)]
