"""Other programs that serve the same pairs: how long from the new files until the first handshake with the new certificate. One
after the other, each with all certificates, beside nginx and its bare reload. What this machine has not is left out."""
import json
import os
import pathlib
import shutil
import socket
import subprocess
import time
import urllib.request

from scene import Bare

from processes import end, wait_until  # found by scene
from webserver import free_port

ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/sbin:/usr/local/bin:/usr/bin:/sbin:/bin", "HOME": "/nonexistent"}


def combined(pair):
    return pair.key + pair.fullchain


class Hook(Bare):
    """certbot's --deploy-hook: the files are in place, then certbot has a shell run the command."""
    commands = {"nginx": "{binary} -c {config} -s reload", "apache": "{binary} -f {config} -k graceful"}

    def replace(self, name, pair):
        began = self.put(name, pair)
        command = self.commands[self.server.kind].format(binary=self.server.binary, config=self.server.config)
        subprocess.run(["/bin/sh", "-c", command], env=ENVIRONMENT, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL, timeout=120, check=True)
        return began


class Program:
    """A server in the foreground, with its files in a folder of its own, listening on self.port."""
    binary = words = None

    def __init__(self, run, pairs):
        self.folder = run.folder / pathlib.Path(self.binary).name
        (self.folder / "pairs").mkdir(parents=True)
        self.port = free_port()
        self._write_all(pairs)
        self._log = open(self.folder / "log", "wb")
        self._process = subprocess.Popen(self._command(pairs, run.certificates), stdin=subprocess.DEVNULL, stdout=self._log,
                                         stderr=self._log, cwd="/", env={**ENVIRONMENT, "HOME": str(self.folder)})
        run.at_end(self.stop)
        wait_until(f"{self.binary} answers", self._answers, 120)

    def _write_all(self, pairs):
        for name, pair in pairs.items():
            (self.folder / "pairs" / f"{name}.pem").write_text(combined(pair))

    def _command(self, pairs, names):
        raise NotImplementedError

    def _answers(self):
        if self._process.poll() is not None:
            raise AssertionError(f"{self.binary} ended: " + (self.folder / "log").read_text(errors="replace")[-2000:])
        try:
            with socket.create_connection(("127.0.0.1", self.port), 2):
                return True
        except OSError:
            return False

    def put(self, name, pair):
        """Replaces the file by a rename; when it was in place."""
        aside = self.folder / "aside"
        aside.write_text(combined(pair))
        now = time.monotonic()
        aside.rename(self.folder / "pairs" / f"{name}.pem")
        return now

    def stop(self):
        end(self._process.pid)
        self._process.wait(10)
        self._log.close()


class Hitch(Program):
    binary, words = "/usr/sbin/hitch", "hitch: HUP"

    def _command(self, pairs, names):
        config = self.folder / "hitch.conf"
        lines = [f'frontend = "[127.0.0.1]:{self.port}"', 'backend = "[127.0.0.1]:9"', "workers = 2", "daemon = off", 'ocsp-dir = ""',
                 *([] if os.getuid() else ['user = "nobody"', 'group = "nogroup"'])]
        lines += [f'pem-file = "{self.folder}/pairs/{name}.pem"' for name in pairs]
        config.write_text("\n".join(lines) + "\n")
        return [self.binary, f"--config={config}"]

    def replace(self, name, pair):
        began = self.put(name, pair)
        os.kill(self._process.pid, 1)
        return began


class Haproxy(Program):
    binary, words = "/usr/sbin/haproxy", "HAProxy: set, commit ssl cert"

    def _command(self, pairs, names):
        config = self.folder / "haproxy.cfg"
        config.write_text(f"global\n  stats socket {self.folder}/api mode 600 level admin\n  nbthread 2\n"
                          "defaults\n  mode http\n  timeout client 10s\n  timeout connect 5s\n  timeout server 10s\n"
                          f"frontend tls\n  bind 127.0.0.1:{self.port} ssl crt {self.folder}/pairs/\n  http-request return status 204\n")
        return [self.binary, "-db", "-f", str(config)]

    def _ask(self, text):
        with socket.socket(socket.AF_UNIX) as api:
            api.settimeout(60)
            api.connect(str(self.folder / "api"))
            api.sendall(text.encode())
            said = b""
            while piece := api.recv(4096):
                said += piece
        return said.decode()

    def replace(self, name, pair):
        file = self.folder / "pairs" / f"{name}.pem"
        began = time.monotonic()
        said = self._ask(f"set ssl cert {file} <<\n{combined(pair).strip()}\n\n") + self._ask(f"commit ssl cert {file}\n")
        if "Success" not in said:
            raise AssertionError("haproxy said: " + said)
        return began


class Caddy(Program):
    binary, words = "/usr/bin/caddy", "caddy: load by its API"

    def _command(self, pairs, names):
        self._admin = free_port()
        files = [{"certificate": f"{self.folder}/pairs/{name}.pem", "key": f"{self.folder}/pairs/{name}.pem"} for name in pairs]
        server = {"listen": [f"127.0.0.1:{self.port}"], "routes": [{"handle": [{"handler": "static_response", "status_code": 204}]}],
                  "tls_connection_policies": [{}], "automatic_https": {"disable": True}, "protocols": ["h1", "h2"]}
        self._text = json.dumps({"admin": {"listen": f"127.0.0.1:{self._admin}"}, "logging": {"logs": {"default": {"level": "ERROR"}}},
                                 "apps": {"http": {"servers": {"tls": server}}, "tls": {"certificates": {"load_files": files}}}})
        config = self.folder / "caddy.json"
        config.write_text(self._text)
        return [self.binary, "run", "--config", str(config)]

    def replace(self, name, pair):
        began = self.put(name, pair)
        request = urllib.request.Request(f"http://127.0.0.1:{self._admin}/load", self._text.encode(), method="POST",
                                         headers={"Content-Type": "application/json", "Cache-Control": "must-revalidate"})
        with urllib.request.urlopen(request, timeout=120) as answer:
            answer.read()
        return began


PROGRAMS = (Hitch, Haproxy, Caddy)


def missing():
    return [os.path.basename(program.binary) for program in PROGRAMS if not shutil.which(program.binary)]


def _times(scene, server, replace, repetitions):
    return [scene.timed(server, pair, lambda pair=pair: replace(scene.name, pair))
            for pair in (scene.issue() for _ in range(repetitions))]


def measure(scene, repetitions):
    """{words: [milliseconds]} for nginx without certswapd, and for each other program that is there."""
    found = {}
    hook = Hook(scene.run, "nginx", "hook", scene.run.first)

    def bare(name, pair):
        hook.put(name, pair)
        return hook.reload()
    found["nginx: bare reload"] = _times(scene, hook.server, bare, repetitions)
    found["nginx: certbot's deploy hook, -s reload"] = _times(scene, hook.server, hook.replace, repetitions)
    hook.server.stop()
    for program in PROGRAMS:
        if shutil.which(program.binary):
            peer = program(scene.run, scene.run.first)
            found[program.words] = _times(scene, peer, peer.replace, repetitions)
            peer.stop()
    return found
