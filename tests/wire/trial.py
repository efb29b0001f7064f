"""A run on servers that do not behave (server.py), each with its own certificates, by hooks of this folder."""
import hashlib
import json
import os
import pathlib
import shutil
import socket
import ssl
import sys
import threading

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "e2e"))

import harness  # noqa: E402
from authority import serial_of  # noqa: E402
from harness import Run  # noqa: E402
from processes import end, run as run_program, wait_until  # noqa: E402
from webserver import Shown, WebServer, free_port  # noqa: E402

PROGRAMS = ("certswapd", "certswapctl", "certswap-worker", "certswap-fetch", "certswap-exec")
HOOK_SECONDS = 3      # for hooks that hang
PATIENT_SECONDS = 60  # for all others: a busy machine is no fault
BUILT = harness.PROGRAMS


def look(host, port, name=None, ciphers=None, session=None, newest=None, proxy=False):
    """What a fresh handshake shows, and its session. ciphers: "aRSA" or "aECDSA", by TLS 1.2."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if ciphers:
        context.set_ciphers(ciphers)
    if ciphers or newest == "1.2":
        context.maximum_version = ssl.TLSVersion.TLSv1_2
    if session:
        context = session[0]
    with socket.create_connection((host, port), 5) as plain:
        if proxy:
            plain.sendall(b"PROXY TCP4 127.0.0.1 127.0.0.1 1 1\r\n")
        with context.wrap_socket(plain, server_hostname=name, session=session and session[1]) as secure:
            der = secure.getpeercert(binary_form=True)
            return Shown(hashlib.sha256(der).hexdigest(), serial_of(der)), (context, secure.session)


class Trial(WebServer):
    """turn: what server.py makes of SIGHUP. reload: the way of hooks/trial/reload. start: what the hook `start` says
    instead of starting. certificates: {name: key type}; by default one, called as the server."""
    kind, binary = "trial", str(HERE / "server.py")

    def __init__(self, name, turn="all", reload="tells", hosts=("127.0.0.1",), start=None, certificates=None, names=None,
                 **more):
        self.name, self.hosts = name, hosts
        self.certificates = certificates or {name: "ecdsa-p256"}
        self.names = names or [f"{name}.example.test"]
        self._turn, self._reload, self._start, self._more = turn, reload, start, more
        self._limit = HOOK_SECONDS if "hangs" in reload else PATIENT_SECONDS

    def begin(self, run):
        """Makes its folder in the run."""
        super().__init__(run.folder / self.name, run.state / "certificates", None)
        (self.folder / "reload").write_text(self._reload + "\n")
        if self._start:
            (self.folder / "start").write_text(self._start + "\n")

    def set(self, run, **more):
        """Other settings of server.py, which only the run knows; before it is started."""
        self._more.update(more)
        pathlib.Path(self.config).write_text(self._text(run.state / "certificates", None))

    def _text(self, certificates, sites):
        settings = {"pairs": [f"{certificates}/{name}/live" for name in self.certificates], "folder": str(self.folder),
                    "listen": [[host, self.port] for host in self.hosts], "pidfile": self.pidfile, "turn": self._turn,
                    **self._more}
        return json.dumps(settings)

    def _command(self, *more):
        return (self.binary, self.config)

    def answers(self):
        try:
            with socket.create_connection((self.hosts[0], self.port), 2):
                return self.pid() is not None
        except OSError:
            return False

    def endpoints(self):
        return [f"[{host}]:{self.port}" if ":" in host else f"{host}:{self.port}" for host in self.hosts]

    def every_look(self, names=None, **how):
        """What all of its addresses show, by each name and by none."""
        how.setdefault("proxy", bool(self._more.get("proxy")))
        return {look(host, self.port, name, **how)[0].sha256
                for host in self.hosts for name in [None, *(names or self.names)]}

    def resumed(self):
        try:
            return len((self.folder / "resumed").read_text().splitlines())
        except OSError:
            return 0

    def settings(self):
        return (f'  {{ name = "{self.name}"; kind = "trial"; config = "{self.config}";\n    binary = "{self.binary}"; '
                f'pidfile = "{self.pidfile}"; timeout = "{self._limit}s"; }}')


class TrialRun(Run):
    """A run on these servers; its programs stand in a folder of their own, with the hooks for them beside."""

    def __init__(self, name, *trials):
        super().__init__(name, certificates={c: t.names for t in trials for c in t.certificates}, servers=())
        self.trials = {trial.name: trial for trial in trials}

    def __enter__(self):
        super().__enter__()
        self.servers = list(self.trials.values())
        self.by_kind = self.trials
        for trial in self.servers:
            trial.begin(self)
        harness.PROGRAMS = self.folder / "programs"
        self._install(harness.PROGRAMS)
        self.write_config()
        return self

    def __exit__(self, *problem):
        super().__exit__(*problem)
        harness.PROGRAMS = BUILT

    @staticmethod
    def _install(folder):
        """certswapd finds the other programs and the hooks by its own path, which is never a symbolic link."""
        folder.mkdir()
        for name in PROGRAMS:
            try:
                os.link(BUILT / name, folder / name)
            except OSError:  # another filesystem
                shutil.copy2(BUILT / name, folder / name)
        shutil.copytree(HERE / "hooks", folder / "hooks")
        for hook in (folder / "hooks").glob("*/*"):
            hook.chmod(0o755)

    def write_config(self, more=""):
        super().write_config(more)
        if not hasattr(self, "trials") or not self.servers:
            return
        certificates = ",\n".join(
            f'  {{ name = "{name}"; dns = [ {", ".join(map(json.dumps, trial.names))} ]; servers = [ "{trial.name}" ];\n'
            f'    probe = [ {", ".join(map(json.dumps, trial.endpoints()))} ]; }}'
            for trial in self.servers for name in trial.certificates)
        text = self.config.read_text()
        text = text[:text.index("servers = (")]
        servers = ",\n".join(trial.settings() for trial in self.servers)
        self.config.write_text(f"{text}servers = (\n{servers} );\ncertificates = (\n{certificates} );\n{more}")

    def issue(self, certificate):
        trial = next(t for t in self.servers if certificate in t.certificates)
        return self.ca.issue(trial.names, key_type=trial.certificates[certificate])

    def begin(self, start=True):
        for name in self.certificates:
            pair = self.first[name] = self.issue(name)
            done = self.agent.ctl("submit", "--name", name, *pair.files())
            if done.returncode != 0:
                raise AssertionError(f"submit of the first pair of {name}: exit {done.returncode}: {done.stderr}")
        for trial in self.servers if start else ():
            trial.start()

    def submit_all(self, names, seconds):
        """New pairs for these certificates, all at the same time: {name: (pair, finished certswapctl)}."""
        results = {}

        def submit(name, pair):
            results[name] = (pair, self.agent.ctl("submit", "--name", name, "--timeout", f"{seconds}s", *pair.files(),
                                                  seconds=seconds + 20))
        threads = [threading.Thread(target=submit, args=(name, self.issue(name))) for name in names]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return results
