"""A bad neighbour of certswapd: programs, people and a machine that do at random what they should not, each thing for a
moment. What it breaks of its own (a server killed, a disk filled) it mends itself, as the operator would."""
import contextlib
import os
import pathlib
import resource
import shutil
import signal
import threading
import time

from harness import FAKETIME
from processes import alive, children_of, end, run as run_program, wait_gone

PATIENCE = 20.0  # seconds for a server to come up again in quiet times
AFTERMATH = 10.0  # trouble may show so many seconds after it is over
ENDS = {"kill_certswapd", "end_certswapd", "take_memory"}  # without them certswapd lives through the round
HARMS = {"write_through_the_link", "write_nonsense", "turn_the_link", "remove_the_link", "remove_a_generation", "move_a_folder"}


def resident(pid):
    """Bytes of memory that a process has."""
    with open(f"/proc/{pid}/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * resource.getpagesize()


def elsewhere(pid):
    """Is it in a mount namespace of its own, as a rehearsal is?"""
    try:
        return os.readlink(f"/proc/{pid}/ns/mnt") != os.readlink("/proc/self/ns/mnt")
    except OSError:
        return False


class Neighbour:
    """act() does one thing; calm() ends what is left of all. What it did is in `log`, with the time."""

    def __init__(self, scene, random, disk, without=()):
        self.scene, self.random, self.disk = scene, random, disk
        self.log = []
        self.away = []       # folders that were moved: (where it is now, where it was)
        self._trouble = {}  # what may end certswapd or keep it from starting: until when
        self._lock = threading.RLock()
        self.acts = {name[3:]: getattr(self, name) for name in dir(self) if name.startswith("do_")}
        if not disk:
            del self.acts["fill_the_disk"]
        if not FAKETIME:
            del self.acts["move_the_clock"]
        for name in without:
            self.acts.pop(name, None)

    # --- helpers

    def say(self, text):
        self.log.append(f"{time.monotonic():.3f} {text}")

    def a_moment(self, most=1.0):
        """Waits, as somebody who does nothing in particular does."""
        threading.Event().wait(self.random.random() * most)

    def a_name(self):
        return self.random.choice(list(self.scene.certificates))

    def a_server(self):
        return self.random.choice(self.scene.servers)

    def pid(self):
        process = self.scene.agent.process
        return process.pid if process and process.poll() is None else None

    @contextlib.contextmanager
    def in_trouble(self, what):
        self._trouble[what] = float("inf")
        try:
            yield
        finally:
            self._trouble[what] = time.monotonic() + AFTERMATH

    def trouble(self):
        """What is under way, or was a moment ago."""
        return {what for what, until in list(self._trouble.items()) if time.monotonic() < until}

    @contextlib.contextmanager
    def hand_on(self, server):
        """Whatever the server does now is our doing."""
        witness = self.scene.witnesses[server.kind]
        witness.hands_on()
        try:
            yield
        finally:
            witness.hands_off()

    def act(self):
        name = self.random.choice(sorted(self.acts))
        self.say(name)
        try:
            self.acts[name]()
        except (OSError, AssertionError) as problem:
            self.say(f"{name}: {problem}")

    def calm(self):
        """Nothing of it is left: servers run if they can, folders are where they were."""
        for server in self.scene.servers:
            with self.hand_on(server):
                self.end_orphans(server)
                self.start(server)
        while self.away:
            self.bring_back(*self.away.pop())

    def end_orphans(self, server):
        """Children of a parent that was killed hold its port for ever."""
        guard, binary = os.environ["CERTSWAP_GUARD"], os.path.realpath(server.binary)
        for pid in children_of(int(guard)):
            try:
                parent = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1]
                orphan = parent == guard and os.readlink(f"/proc/{pid}/exe") == binary and not elsewhere(pid)
            except OSError:
                continue
            if orphan and pid != server.pid():
                self.say(f"(an orphan of {server.kind} is ended)")
                end(pid, signal.SIGKILL)

    # --- the certificates

    def write(self, path, text):
        """As cp does: into the file that is there."""
        with open(path, "r+b") as file:
            file.write(text.encode())
            file.truncate()

    def do_write_through_the_link(self):
        scene, name = self.scene, self.a_name()
        names = scene.certificates[name]
        live = scene.live(name).resolve()
        other = scene.first[self.a_name()]
        pair = self.random.choice([lambda: scene.ca.issue(names), lambda: scene.first[name], lambda: other])()
        self.write(live / "privkey.pem", pair.key)
        self.a_moment(0.05)
        self.write(live / "fullchain.pem", pair.fullchain)

    def do_write_nonsense(self):
        live = self.scene.live(self.a_name()).resolve()
        file = live / self.random.choice(["privkey.pem", "fullchain.pem", "cert.pem", "combined.pem"])
        text = self.random.choice(["", "-----BEGIN NONSENSE-----\n", file.read_text()[:100], "x" * 100000])
        self.write(file, text)

    def do_turn_the_link(self):
        live = self.scene.live(self.a_name())
        generations = sorted(p.name for p in (live.parent / "gen").iterdir())
        target = self.random.choice(["gen/" + self.random.choice(generations), "/nowhere", "gen/999999"])
        aside = live.with_name("by-somebody")
        aside.unlink(missing_ok=True)
        aside.symlink_to(target)
        aside.rename(live)

    def do_remove_the_link(self):
        self.scene.live(self.a_name()).unlink()

    def do_remove_a_generation(self):
        """An old one: `find -mtime ... -delete`."""
        live = self.scene.live(self.a_name())
        old = [p for p in (live.parent / "gen").iterdir() if p != live.resolve()]
        if old:
            shutil.rmtree(self.random.choice(old))

    # --- folders

    def move(self, folder):
        away = folder.with_name(folder.name + ".away")
        if not away.exists():
            folder.rename(away)
            self.away.append((away, folder))

    def bring_back(self, away, folder):
        """Also where somebody made it anew meanwhile: then what is in it moves."""
        try:
            away.rename(folder)
        except OSError:
            for file in away.iterdir():
                if file.is_dir():
                    self.bring_back(file, folder / file.name)
                else:
                    file.rename(folder / f"{file.name}.back")
            away.rmdir()

    def do_move_a_folder(self):
        state = self.scene.state
        folder = self.random.choice([state / "incoming" / self.a_name(), state / "incoming", state / "rejected",
                                     state / "certificates" / self.a_name()])
        with self.in_trouble("folder"):
            self.move(folder)
            self.a_moment(0.3)
            while self.away:
                self.bring_back(*self.away.pop())

    # --- the web servers

    def start(self, server, seconds=1.0):
        """Again and again, until it answers: the pair may be under repair."""
        deadline = time.monotonic() + seconds
        while not server.answers() and time.monotonic() < deadline:
            run_program(*server._command(), cwd="/", check=False, env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"})
            self.a_moment(0.1)

    def do_reload_a_server(self):
        server = self.a_server()
        pid = server.pid()
        if pid:
            os.kill(pid, self.random.choice([signal.SIGHUP, server.reload_signal]))

    def do_restart_a_server(self):
        server = self.a_server()
        with self.hand_on(server):
            server.stop()
            self.start(server)

    def do_kill_a_server(self):
        server = self.a_server()
        with self.hand_on(server):
            if server.pid():
                server.crash()
            self.a_moment(2)
            self.start(server)

    def do_kill_a_parent(self):
        """Its children hold the port and serve on; then somebody ends them too."""
        server = self.a_server()
        pid = server.pid()
        if not pid:
            return
        with self.hand_on(server):
            children = children_of(pid)
            os.kill(pid, signal.SIGKILL)
            wait_gone(pid)
            self.a_moment()
            for child in children:
                end(child, signal.SIGKILL)
            self.start(server)

    # --- the machine

    def do_fill_the_disk(self):
        file = self.disk / "full"
        with self.in_trouble("disk"), open(file, "wb") as out:
            try:
                room = os.statvfs(self.disk)
                left = self.random.choice([0, 0, 1, 5, 20])
                os.posix_fallocate(out.fileno(), 0, max(1, room.f_bavail - left) * room.f_bsize)
                self.a_moment(2)
            finally:
                file.unlink()

    def limited(self, what, limit):
        pid = self.pid()
        if not pid:
            return
        with self.in_trouble("memory" if what == resource.RLIMIT_AS else "descriptors"), contextlib.suppress(ProcessLookupError):
            before = resource.prlimit(pid, what)
            try:
                resource.prlimit(pid, what, (limit(pid), before[1]))
                self.a_moment(1.5)
            finally:
                resource.prlimit(pid, what, before)

    def do_take_descriptors(self):
        self.limited(resource.RLIMIT_NOFILE, lambda pid: len(os.listdir(f"/proc/{pid}/fd")) + self.random.randrange(8))

    def do_take_memory(self):
        def little(pid):
            with open(f"/proc/{pid}/statm", encoding="ascii") as file:
                return int(file.read().split()[0]) * resource.getpagesize() + self.random.randrange(1 << 20)
        self.limited(resource.RLIMIT_AS, little)

    def do_move_the_clock(self):
        with self.in_trouble("clock"):
            self.scene.move_clock(self.random.choice(["-30d", "-1h", "-3s", "+3s", "+1h", "+20d"]))
            self.a_moment(2)
            self.scene.move_clock("+0")

    # --- certswapd and its programs

    def do_kill_certswapd(self):
        pid = self.pid()
        if pid:
            self.scene.expect_end(pid)
            os.kill(pid, signal.SIGKILL)

    def do_end_certswapd(self):
        pid = self.pid()
        if pid:
            self.scene.expect_end(pid)
            os.kill(pid, signal.SIGTERM)

    def do_stop_certswapd_for_a_moment(self):
        pid = self.pid()
        if pid:
            os.kill(pid, signal.SIGSTOP)
            self.a_moment()
            os.kill(pid, signal.SIGCONT)

    def do_kill_a_worker(self):
        workers = [pid for pid in children_of(self.pid()) if alive(pid)] if self.pid() else []
        if workers:
            os.kill(self.random.choice(workers), signal.SIGKILL)

    def do_reread_the_configuration(self):
        pid = self.pid()
        if not pid:
            return
        status = pathlib.Path(f"/proc/{pid}/status").read_text()
        caught = int(next(line.split()[1] for line in status.splitlines() if line.startswith("SigCgt:")), 16)
        if caught & 1 << signal.SIGHUP - 1:  # not in its first milliseconds: systemd waits for READY too
            os.kill(pid, signal.SIGHUP)

    def do_break_the_configuration(self):
        config = pathlib.Path(self.scene.config)
        text = config.read_text()
        with self.in_trouble("configuration"):
            config.write_text(text[:self.random.randrange(len(text))] + "\nbroken = ;\n")
            self.do_reread_the_configuration()
            self.a_moment(0.5)
            config.write_text(text)
            self.do_reread_the_configuration()
