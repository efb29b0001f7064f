"""A run: a folder of its own with a CA, nginx and Apache, and certswapd on them. All of it is ended and removed at the end of
the `with`, whatever happened in it; after a failure what the programs said is printed first.

    with Run("drop") as run:
        run.agent.start()
        run.begin()                       # the first pair, then the servers
        new = run.ca.issue(run.names)
        run.drop(new.files())
        run.wait_served(new)
"""
import hashlib
import json
import os
import pathlib
import select
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import unittest

from authority import Authority
from processes import Late, command_of, end, left_behind, run as run_program, wait_gone, wait_until
from webserver import Apache, Nginx

BUILD = pathlib.Path(__file__).resolve().parents[2] / "build"
PROGRAMS = pathlib.Path(os.environ.get("CERTSWAP_PROGRAMS", BUILD / "demo/agent"))
SHIPPED = pathlib.Path(os.environ.get("CERTSWAP_SHIPPED", PROGRAMS))  # without sanitizers, which do not go with libfaketime
SANDBOX = os.environ.get("CERTSWAP_E2E_SANDBOX")  # another policy than "auto" for all runs that choose none: "strict"
FAKETIME = next(pathlib.Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), None)
HOOKS = pathlib.Path(__file__).resolve().parents[2] / "hooks"
FOLDER = pathlib.Path(os.environ.get("CERTSWAP_E2E_FOLDER", BUILD / "run"))
SOCKET_PATH_MAX = 107  # sun_path of unix(7) without its NUL


def pair_on_disk(folder):
    """SHA-256 of the leaf in a generation's folder; AssertionError where certificate, key and files do not fit together."""
    folder = pathlib.Path(folder).resolve()  # once: the link may be exchanged meanwhile
    keys = set()
    for name in ("cert.pem", "fullchain.pem", "combined.pem"):
        keys.add(run_program("openssl", "x509", "-noout", "-pubkey", "-in", str(folder / name)).stdout)
    for name in ("privkey.pem", "combined.pem"):
        keys.add(run_program("openssl", "pkey", "-pubout", "-in", str(folder / name)).stdout)
    if len(keys) != 1:
        raise AssertionError(f"{folder} holds a mixed pair")
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert((folder / "cert.pem").read_text())).hexdigest()


class Agent:
    """certswapd on a configuration file; started and ended as often as a test likes."""

    def __init__(self, run):
        self.run = run
        self.arguments = []  # more of certswapd's
        self.programs = None  # another folder with certswapd than PROGRAMS
        self.process = None
        self.starts = 0
        self.environment = {}  # more for certswapd
        self._notify = None

    def set_clock(self, **variables):
        """From the next start on its wall clock is libfaketime's (faketime(1)); the monotonic clock stays true."""
        self.programs = SHIPPED
        self.environment = {"LD_PRELOAD": str(FAKETIME), "FAKETIME_DONT_FAKE_MONOTONIC": "1", "DONT_FAKE_MONOTONIC": "1",
                            **variables}

    def true_clock(self):
        self.programs, self.environment = None, {}

    def log_file(self):
        return self.run.folder / "certswapd.log"

    def log(self):
        try:
            return self.log_file().read_text(errors="replace")
        except OSError:
            return ""

    def launch(self, tracer=()):
        """Starts certswapd without waiting for it. tracer: words before it on the command line, as for strace."""
        address = str(self.run.run_dir / "notify")
        if self._notify:
            self._notify.close()
        pathlib.Path(address).unlink(missing_ok=True)
        self._notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        self._notify.bind(address)
        self.starts += 1
        with open(self.log_file(), "ab") as log:
            self.process = subprocess.Popen(
                [*tracer, str((self.programs or PROGRAMS) / "certswapd"), "-c", str(self.run.config), *self.arguments], stdin=subprocess.DEVNULL, stdout=log,
                stderr=log, cwd="/", env={**os.environ, "NOTIFY_SOCKET": address, **self.environment},
                start_new_session=True)  # Ctrl-C is for the tests
        return self

    def start(self, seconds=15.0, tracer=()):
        """Starts it and waits for READY=1 (sd_notify(3))."""
        self.launch(tracer)
        self.wait_ready(seconds)
        return self

    def wait_ready(self, seconds=15.0):
        deadline = time.monotonic() + seconds
        over = os.pidfd_open(self.process.pid)
        try:
            while True:
                ready = select.select([self._notify, over], [], [], max(0.0, deadline - time.monotonic()))[0]
                if self._notify in ready:
                    if b"READY=1" in self._notify.recv(4096):
                        return
                elif over in ready:
                    raise AssertionError(f"certswapd ended with {self.process.wait()} instead of becoming ready:\n"
                                         + self.log()[-3000:])
                else:
                    raise Late(f"certswapd is not ready after {seconds:g} s:\n" + self.log()[-3000:])
        finally:
            os.close(over)

    def running(self):
        return self.process is not None and self.process.poll() is None

    def stop(self, seconds=10.0):
        """SIGTERM; its exit status."""
        if not self.running():
            return self.process and self.process.returncode
        self.process.terminate()
        return self.process.wait(seconds)

    def kill(self):
        """As a power cut would for this one process. Under strace the daemon is strace's child."""
        if self.running():
            self.process.kill()
            self.process.wait(10)

    def close(self):
        if self.running():
            end(self.process.pid)
            self.process.wait(10)
        if self._notify:
            self._notify.close()

    def ctl(self, *arguments, seconds=60, tracer=(), **options):
        """certswapctl; its CompletedProcess, with standard output and error apart."""
        done = run_program(*tracer, str(PROGRAMS / "certswapctl"), "-c", str(self.run.config), *map(str, arguments), check=False,
                           stderr=subprocess.PIPE, seconds=seconds, **options)
        if "ended by its sandbox" in done.stderr:
            raise AssertionError(f"certswapctl {arguments[0]}: {done.stderr}")
        return done

    def status(self, name="shop"):
        """Its object in `status --json`."""
        done = self.ctl("status", "--json")
        if done.returncode not in (0, 1):
            raise AssertionError(f"certswapctl status: exit {done.returncode}: {done.stderr}")
        return next(c for c in json.loads(done.stdout)["certificates"] if c["name"] == name)


class Run:
    def __init__(self, name, certificates=None, options="", servers=("nginx", "apache"), trust=None, publisher=None,
                 more="", state="state"):
        """certificates: {name: DNS names}, all on both servers. options: more lines for certswap.conf.
        publisher: of the CA's lists. more: more options of each certificate. state: its folder, in that of the run."""
        self.title = name
        self.lines = ""  # more lines for each certificate in certswap.conf
        self.certificates = certificates or {"shop": ["shop.example.test", "www.shop.example.test"]}
        self.names = next(iter(self.certificates.values()))
        self.folder = FOLDER / f"{name}-{os.getpid()}"
        if SANDBOX and "sandbox" not in options:
            options += f'\nsandbox = "{SANDBOX}";' + ("" if "worker_user" in options else ' worker_user = "nobody";')
        self._options, self._kinds, self._trust = options, servers, trust
        self.publisher, self.more, self._state = publisher, more, state
        self._ending = []

    def __enter__(self):
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        self.folder.chmod(0o711)
        self.state = self.folder / self._state
        self.run_dir = self.folder / "run"
        if len(str(self.run_dir / "control.sock")) > SOCKET_PATH_MAX:
            # the checkout lies too deep for a socket's path
            self.run_dir = pathlib.Path(tempfile.mkdtemp(prefix="certswap-"))
        self.run_dir.mkdir(exist_ok=True)
        self.config = self.folder / "certswap.conf"
        self.ca = Authority(self.folder / "ca", publish=self.publisher and self.publisher.url)
        sites = list(self.certificates.items())
        kinds = {"nginx": Nginx, "apache": Apache}
        self.servers = [kinds[k](self.folder / k, self.state / "certificates", sites) for k in self._kinds]
        self.by_kind = {server.kind: server for server in self.servers}
        self.agent = Agent(self)
        self.first = {}
        self.write_config()
        return self

    def own_programs(self):
        """A copy of the programs, beside which the hooks may be changed; the hooks' folder. Before certswapd is started."""
        folder = self.folder / "programs"
        folder.mkdir()
        for name in ("certswapd", "certswap-worker", "certswap-fetch", "certswap-exec"):
            shutil.copy(PROGRAMS / name, folder)
        shutil.copytree(HOOKS, folder / "hooks")
        self.agent.programs = folder
        return folder / "hooks"

    def servers_of(self, _name):
        """Which serve a certificate."""
        return self.servers

    def write_config(self, more=""):
        """certswap.conf; `more`: lines to add at its end."""
        certificates = ",\n".join(
            f'  {{ name = "{name}";\n    dns = [ {", ".join(json.dumps(n) for n in names)} ];\n'
            f'    servers = [ {", ".join(json.dumps(s.kind) for s in self.servers_of(name))} ];\n'
            f'    probe = [ {", ".join(json.dumps(f"127.0.0.1:{s.port}") for s in self.servers_of(name))} ];\n    {self.lines} {self.more} }}'
            for name, names in self.certificates.items())
        servers = ",\n".join(server.settings() for server in self.servers)
        self.config.write_text(
            f'state_dir = "{self.state}";\nrun_dir = "{self.run_dir}";\ntrust = "{self._trust or self.ca.root}";\n'
            f'intermediates = "{self.folder}/intermediates";\n{self._options}\n'
            f"servers = (\n{servers} );\ncertificates = (\n{certificates} );\n{more}")

    def __exit__(self, kind, problem, trace):
        if kind is not None and not issubclass(kind, (KeyboardInterrupt, unittest.SkipTest)):
            self._tell()
        for what in reversed(self._ending):
            what()
        self.agent.close()
        for server in self.servers:
            server.stop()
        try:
            wait_until("all processes of the run are gone", lambda: not left_behind(), 3)
            rest = []
        except Late:
            rest = left_behind()
        said = ", ".join(f"{pid} {command_of(pid)}" for pid in rest)
        logged = self.agent.log()
        for pid in rest:
            end(pid, signal.SIGKILL)
        if not os.environ.get("CERTSWAP_KEEP"):
            shutil.rmtree(self.folder, ignore_errors=True)
        if self.run_dir.parent != self.folder:
            shutil.rmtree(self.run_dir, ignore_errors=True)
        if rest and kind is None:
            raise AssertionError("left behind: " + said)
        if "SIGSYS" in logged or "signal 31" in logged:
            raise AssertionError("a worker was ended by its sandbox:\n" + logged[-3000:]) from problem

    def _tell(self):
        texts = [("certswapd", self.agent.log())] + [(s.kind, s.log()) for s in self.servers]
        for name, text in texts:
            lines = text.strip().splitlines()[-60:]
            if lines:
                print(f"--- {name} said ({self.title}):", *lines, sep="\n    ", file=sys.stderr)

    def at_end(self, what):
        """what() is called at the end of the run, last first."""
        self._ending.append(what)

    # --- the way in

    def begin(self, start=True):
        """The first pair of each certificate by `submit`, and then the web servers. Returns the first one's pair."""
        for name, names in self.certificates.items():
            pair = self.first[name] = self.ca.issue(names)
            done = self.agent.ctl("submit", "--name", name, *pair.files())
            if done.returncode != 0:
                raise AssertionError(f"submit of the first pair: exit {done.returncode}: {done.stdout}{done.stderr}")
        if start:
            for server in self.servers:
                server.start()
        return next(iter(self.first.values()))

    def drop(self, sources, name=None, slowly=False):
        """Puts files into the drop box as a person with cp does; when the last one was closed (time.monotonic).
        slowly: a few bytes at a time."""
        box = self.state / "incoming" / (name or "")
        for source in map(pathlib.Path, sources):
            with open(box / source.name, "wb") as out:
                data = source.read_bytes()
                step = max(1, len(data) // 20) if slowly else len(data) or 1
                for at in range(0, len(data), step):
                    out.write(data[at:at + step])
                    out.flush()
                    if slowly:
                        threading.Event().wait(0.01)
        return time.monotonic()

    # --- what came out of it

    def live(self, name="shop"):
        return self.state / "certificates" / name / "live"

    def live_sha256(self, name="shop"):
        """Of the live leaf, whose files are proved to fit together."""
        return pair_on_disk(self.live(name))

    def serves(self, pair, names=None):
        """Do all servers show this pair for each of the names?"""
        try:
            return all(server.shown(name).sha256 == pair.sha256
                       for server in self.servers for name in names or self.names)
        except OSError:
            return False

    def wait_served(self, pair, seconds=15.0, names=None):
        wait_until(f"{' and '.join(self.by_kind)} serve {pair.serial[:12]}", lambda: self.serves(pair, names), seconds)

    def settled(self):
        """Has the agent nothing under way: no file claimed, no swap in the journal?"""
        return not any(any((self.state / folder).glob("[0-9]*")) for folder in ("work", "journal"))

    def wait_result(self, wanted, since=None, name="shop", seconds=20.0):
        """Waits for a last_swap other than `since` (an earlier last_swap) and for its end; demands its result."""
        def ended():
            swap = self.agent.status(name).get("last_swap")
            return swap if swap and swap != since and swap.get("result") else None
        swap = wait_until(f"the end of a swap of {name}", ended, seconds, 0.05)
        if swap["result"] != wanted:
            raise AssertionError(f"the swap ended {swap}, expected {wanted}")
        return swap

    def rejected(self):
        """{folder's name: text of its why.txt}"""
        found = {}
        for folder in sorted((self.state / "rejected").glob("*")):
            try:
                found[folder.name] = (folder / "why.txt").read_text()
            except OSError:
                continue
        return found

    def wait_rejected(self, *words, before=(), seconds=15.0):
        """Waits for a why.txt that was not there `before` and holds all the words; its text."""
        def found():
            return next((why for folder, why in self.rejected().items()
                         if folder not in before and all(word in why for word in words)), None)
        try:
            return wait_until(f"a why.txt with {' '.join(words)}", found, seconds)
        except Late as late:
            raise Late(f"{late}; there are: {self.rejected()}") from None

    def identities(self):
        """Of the servers' parents: unchanged as long as nobody restarted them."""
        return {server.kind: server.identity() for server in self.servers}

    def events(self):
        """The audit log."""
        try:
            with open(self.state / "audit.jsonl", encoding="utf-8") as file:
                return [json.loads(line) for line in file]
        except OSError:
            return []

    def verify_log(self):
        """Each line of the audit log holds the SHA-256 of the line before."""
        before = "0" * 64
        for line in (self.state / "audit.jsonl").read_bytes().splitlines():
            if json.loads(line)["previous"] != before:
                raise AssertionError(f"the audit log's chain is broken at: {line.decode()}")
            before = hashlib.sha256(line).hexdigest()
