"""certswapd and its children by turns: while one side runs the other stands still (SIGSTOP), until it rests. So all that the
workers answer to one drop is there at once, in each run, and its good pairs begin one transaction together; and the calls come
in the same order, which is what a trial aims by."""
import os
import signal

from processes import alive, children_of, stat_of, wait_until

TURNS = 16  # more than it takes from a drop to its transaction: open, read, prove, and a moment for others to come


def _tell(pids, number):
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue


def _threads(pid):
    """{thread: (its state, what changes whenever it did something)}; empty where the process is gone."""
    found = {}
    try:
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/status", encoding="utf-8", errors="replace") as file:
                text = file.read()
            found[task] = text.partition("State:\t")[2][:1], text.partition("voluntary_ctxt_switches")[2]
    except OSError:
        return {}
    return found


class Lockstep:
    def __init__(self, daemon):
        self.daemon, self.stopped = daemon, set()

    def _rests(self, pids, states):
        """Waits until all threads of these are in one of these states and stay there; the dead rest."""
        seen = {}

        def still():
            now = {pid: _threads(pid) for pid in pids}
            quiet = now == seen and all(state in states for threads in now.values() for state, _ in threads.values())
            seen.clear()
            seen.update(now)
            return quiet
        wait_until("those whose turn it is rest", still, 30, 0.002)

    def _children(self):
        return {pid for pid in children_of(self.daemon) if alive(pid)}

    def stop_daemon(self):
        _tell([self.daemon], signal.SIGSTOP)
        self._rests([self.daemon], "TtZX")

    def _turn_of_daemon(self):
        self.stopped = self._children()
        _tell(self.stopped, signal.SIGSTOP)
        _tell([self.daemon], signal.SIGCONT)
        self._rests([self.daemon], "SZX")
        self.stop_daemon()

    def _turn_of_children(self):
        """One after the other: what is answered first is heard first. D: its own child has not come to its exec yet."""
        children = sorted(self._children() | self.stopped)
        for child in children:
            _tell([child], signal.SIGCONT)
            self._rests([child], "SDZX")
        self._rests(children, "SZX")

    def run(self, over):
        """From a daemon that stands still on, until over() or certswapd is dead; then both go on as they like."""
        try:
            for _ in range(TURNS):
                if over() or (stat_of(self.daemon) or "Z")[0] in "ZX":
                    return
                self._turn_of_daemon()
                self._turn_of_children()
        finally:
            _tell({self.daemon, *self.stopped, *self._children()}, signal.SIGCONT)
