"""Real ACME clients on loopback: a pebble of the run's own, and certbot, lego and dehydrated as the distribution has them.
None of them needs an answer to a challenge: this pebble takes every one for valid."""
import collections
import hashlib
import json
import os
import pathlib
import shutil
import ssl
import subprocess
import sys
import time
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))

from authority import new_key, serial_of  # noqa: E402
from harness import Run  # noqa: E402
from processes import end, run as run_program, wait_until  # noqa: E402
from webserver import free_port  # noqa: E402

CLIENT_SECONDS = 120
Leaf = collections.namedtuple("Leaf", "sha256 serial spki not_before")


def leaf_of(path):
    """The first certificate of a PEM file, as harness.Pair names its parts."""
    text = pathlib.Path(path).read_text(encoding="ascii")
    der = ssl.PEM_cert_to_DER_cert(text[:text.index("-----END CERTIFICATE-----") + 26])
    key = run_program("openssl", "x509", "-noout", "-pubkey", "-in", str(path)).stdout
    began = run_program("openssl", "x509", "-noout", "-startdate", "-in", str(path)).stdout.strip().partition("=")[2]
    return Leaf(hashlib.sha256(der).hexdigest(), serial_of(der), hashlib.sha256(key.encode()).hexdigest(),
                ssl.cert_time_to_seconds(began))


class WatchRun(Run):
    """A run whose certificates come from folders that somebody else fills. folders: {certificate: path below the run's
    folder}."""

    def __init__(self, name, folders, servers=("nginx",), **more):
        super().__init__(name, servers=servers, **more)
        self._folders = folders

    def watched(self, name="shop"):
        return self.folder / self._folders[name]

    def write_config(self, more=""):
        super().write_config(more)
        text = self.config.read_text()
        for name in self._folders:
            mark = f'  {{ name = "{name}";\n'
            assert mark in text
            text = text.replace(mark, f'{mark}    watch = [ "{self.watched(name)}" ];\n')
        self.config.write_text(text)

    def trust(self, path):
        """The roots that the agent trusts; before it is started."""
        self._trust = path
        self.write_config()

    def wait_live(self, pair, name="shop", seconds=20.0):
        live = self.live(name) / "cert.pem"
        wait_until(f"{pair.serial[:12]} is live", lambda: live.exists() and self.live_sha256(name) == pair.sha256, seconds)

    def refusals(self, word):
        """What the audit log says about refused pairs, where it names `word`."""
        return [e for e in self.events() if e["event"] == "watched-refused" and word in e["text"]]


class Pebble:
    """An ACME server with a root of its own; ended with the run."""

    def __init__(self, run):
        self.folder = run.folder / "pebble"
        self.folder.mkdir()
        self.port, self.management = free_port(), free_port()
        self._make_api_certificate()
        config = {"pebble": {
            "listenAddress": f"127.0.0.1:{self.port}", "managementListenAddress": f"127.0.0.1:{self.management}",
            "certificate": str(self.folder / "api.pem"), "privateKey": str(self.folder / "api.key"),
            "httpPort": free_port(), "tlsPort": free_port(), "ocspResponderURL": "",
            "externalAccountBindingRequired": False, "certificateValidityPeriod": 90 * 86400}}
        (self.folder / "config.json").write_text(json.dumps(config))
        environment = {"PATH": os.environ["PATH"], "PEBBLE_VA_ALWAYS_VALID": "1", "PEBBLE_VA_NOSLEEP": "1",
                       "PEBBLE_WFE_NONCEREJECT": "0"}
        with open(self.folder / "log", "wb") as log:
            self._process = subprocess.Popen([shutil.which("pebble"), "-config", str(self.folder / "config.json")],
                                             stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment)
        run.at_end(self.stop)
        self.directory = f"https://localhost:{self.port}/dir"
        self._context = ssl.create_default_context(cafile=str(self.api_root))
        wait_until("pebble answers", lambda: self._get(self.directory), 20)
        self.root = self.folder / "root.pem"
        self.root.write_bytes(self._get(f"https://localhost:{self.management}/roots/0"))
        run.trust(self.root)

    def _make_api_certificate(self):
        """pebble's own door is https: a certificate for localhost from a root that the clients are told."""
        self.api_root = self.folder / "api-root.pem"
        for name in ("api-root", "api"):
            (self.folder / f"{name}.key").write_text(new_key())
        run_program("openssl", "req", "-x509", "-new", "-key", str(self.folder / "api-root.key"), "-subj", "/CN=API root",
                    "-days", "7", "-out", str(self.api_root))
        run_program("openssl", "req", "-new", "-key", str(self.folder / "api.key"), "-subj", "/CN=localhost",
                    "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-out", str(self.folder / "api.csr"))
        run_program("openssl", "x509", "-req", "-in", str(self.folder / "api.csr"), "-CA", str(self.api_root),
                    "-CAkey", str(self.folder / "api-root.key"), "-set_serial", "2", "-days", "7", "-copy_extensions",
                    "copy", "-out", str(self.folder / "api.pem"))

    def _get(self, url):
        try:
            with urllib.request.urlopen(url, timeout=5, context=self._context) as answer:
                return answer.read()
        except OSError:
            return None

    def status(self, serial):
        """What pebble says of a certificate: Valid or Revoked."""
        serial = serial.rjust(len(serial) + len(serial) % 2, "0")
        answer = self._get(f"https://localhost:{self.management}/cert-status-by-serial/{serial}")
        return json.loads(answer)["Status"]

    def stop(self):
        end(self._process.pid)
        self._process.wait(10)


class Client:
    """One certificate by one client. issue() gets the first, renew() the next, with a new key unless reuse_key."""
    program = None
    hook = None  # what the client runs after a renewal
    environment = {}

    def __init__(self, run, pebble, names):
        self.pebble, self.names = pebble, names
        self.home = run.folder / self.program
        self.home.mkdir(exist_ok=True)
        self.root = self.home / "www"
        (self.root / ".well-known/acme-challenge").mkdir(parents=True, exist_ok=True)

    @staticmethod
    def watched(names):
        """The folder that it fills, below the run's folder."""
        raise NotImplementedError

    def fullchain(self):
        raise NotImplementedError

    def leaf(self):
        return leaf_of(self.fullchain())

    def _run(self, *argv, **more):
        environment = {"PATH": os.environ["PATH"], "HOME": str(self.home), "LC_ALL": "C.UTF-8", **self.environment, **more}
        return run_program(*map(str, argv), cwd=str(self.home), env=environment, seconds=CLIENT_SECONDS)

    def renew(self, reuse_key=False):
        # a certificate's begin has no parts of a second: the next one is to be younger
        before = self.leaf().not_before
        wait_until("the next second", lambda: time.time() >= before + 1, 3)
        self._renew(reuse_key)

    def _renew(self, reuse_key):
        raise NotImplementedError


class Certbot(Client):
    program = "certbot"

    @staticmethod
    def watched(names):
        return f"certbot/etc/live/{names[0]}"

    def fullchain(self):
        return self.home / f"etc/live/{self.names[0]}/fullchain.pem"

    def command(self):
        """Its words up to the subcommand."""
        return ["/usr/bin/env", f"REQUESTS_CA_BUNDLE={self.pebble.api_root}", shutil.which("certbot"), "--non-interactive",
                "--config-dir", self.home / "etc", "--work-dir", self.home / "work", "--logs-dir", self.home / "log"]

    def _certbot(self, *arguments):
        return self._run(*self.command(), *arguments)

    def issue(self):
        domains = [word for name in self.names for word in ("-d", name)]
        self._certbot("certonly", "--agree-tos", "--register-unsafely-without-email", "--server", self.pebble.directory,
                      "--webroot", "-w", self.root, *domains)

    def _renew(self, reuse_key):
        key = "--reuse-key" if reuse_key else "--no-reuse-key"
        self._certbot("renew", "--cert-name", self.names[0], "--force-renewal", "--no-random-sleep-on-renew", key,
                      *(["--deploy-hook", self.hook] if self.hook else []))


class Lego(Client):
    program = "lego"

    @staticmethod
    def watched(names):
        return "lego/data/certificates"

    def fullchain(self):
        return self.home / f"data/certificates/{self.names[0]}.crt"

    def command(self):
        """Its words up to the subcommand."""
        domains = [word for name in self.names for word in ("--domains", name)]
        return ["/usr/bin/env", f"LEGO_CA_CERTIFICATES={self.pebble.api_root}", shutil.which("lego"), "--server",
                self.pebble.directory, "--email", "desk@example.test", "--accept-tos", "--path", self.home / "data", *domains,
                "--http", "--http.webroot", self.root]

    def _lego(self, *arguments):
        return self._run(*self.command(), *arguments)

    def issue(self):
        self._lego("run")

    def _renew(self, reuse_key):
        self._lego("renew", "--days", "9999", "--no-random-sleep", *(["--reuse-key"] if reuse_key else []),
                   *(["--renew-hook", self.hook] if self.hook else []))


class Dehydrated(Client):
    program = "dehydrated"

    @staticmethod
    def watched(names):
        return f"dehydrated/certs/{names[0]}"

    def fullchain(self):
        return self.home / f"certs/{self.names[0]}/fullchain.pem"

    def _dehydrated(self, *arguments, renew_key="yes"):
        config = self.home / "config"
        config.write_text(f'CA="{self.pebble.directory}"\nBASEDIR={self.home}\nPRIVATE_KEY_RENEW="{renew_key}"\n'
                          f"WELLKNOWN={self.root}/.well-known/acme-challenge\nKEY_ALGO=prime256v1\n"
                          f'CURL_OPTS="--cacert {self.pebble.api_root}"\n'
                          + (f"HOOK={self.hook}\n" if self.hook else ""))
        return self._run(shutil.which("dehydrated"), "-f", config, *arguments)

    def _sign(self, *arguments, **more):
        domains = [word for name in self.names for word in ("-d", name)]
        self._dehydrated("-c", *domains, *arguments, **more)

    def issue(self):
        self._dehydrated("--register", "--accept-terms")
        self._sign()

    def _renew(self, reuse_key):
        self._sign("-x", renew_key="no" if reuse_key else "yes")
