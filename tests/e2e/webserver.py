"""nginx and Apache from the distribution, with a configuration of their own in the run's folder, on loopback ports; what
they serve, asked by fresh handshakes; and load on them."""
import hashlib
import os
import pathlib
import random
import re
import shutil
import signal
import socket
import ssl
import subprocess
import threading
import time
from collections import namedtuple

from authority import serial_of
from processes import alive, children_of, end, run, start_time, wait_gone, wait_until

APACHE_MODULES = "/usr/lib/apache2/modules"

NGINX = """
{user}
daemon on;
worker_processes 2;
pid {folder}/nginx.pid;
error_log {folder}/error.log notice;
events {{ worker_connections 512; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    keepalive_requests 1000000;
    {sites}
}}
"""
NGINX_SITE = """
    server {{
        listen 127.0.0.1:{port} ssl;
        server_name {names};
        ssl_certificate {live}/fullchain.pem;
        ssl_certificate_key {live}/privkey.pem;
        return 204;
    }}
"""
APACHE = """
ServerRoot {folder}
DefaultRuntimeDir {folder}
PidFile {folder}/apache.pid
ErrorLog {folder}/error.log
ServerName localhost
{user}
LoadModule mpm_event_module {modules}/mod_mpm_event.so
LoadModule authz_core_module {modules}/mod_authz_core.so
LoadModule rewrite_module {modules}/mod_rewrite.so
LoadModule ssl_module {modules}/mod_ssl.so
StartServers 2
MaxKeepAliveRequests 0
SSLSessionCache none
Listen 127.0.0.1:{port}
{sites}
"""
APACHE_SITE = """
<VirtualHost 127.0.0.1:{port}>
    ServerName {first}
    {alias}
    SSLEngine on
    SSLCertificateFile {live}/fullchain.pem
    SSLCertificateKeyFile {live}/privkey.pem
    RewriteEngine on
    RewriteRule ^ - [R=204,L]
</VirtualHost>
"""

Shown = namedtuple("Shown", "sha256 serial")


def free_port():
    """A loopback port that nobody has. Below the ephemeral range: a connection of somebody else can't take it as its
    own end while a server that had it is down."""
    with open("/proc/sys/net/ipv4/ip_local_port_range", encoding="ascii") as file:
        low = int(file.read().split()[0])
    for _ in range(200):
        port = random.randrange(10000, max(low, 11000))
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue
    raise AssertionError("no free port on 127.0.0.1")


def own_address():
    """An IPv4 address of this host other than loopback; None: it has none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # sends nothing
        except OSError:
            return None
        return probe.getsockname()[0]


_look = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
_look.check_hostname = False
_look.verify_mode = ssl.CERT_NONE


def shown(port, name, seconds=5.0, address="127.0.0.1"):
    """What a fresh handshake shows. OSError (ssl.SSLError is one) where there is none."""
    with socket.create_connection((address, port), seconds) as plain:
        with _look.wrap_socket(plain, server_hostname=name) as secure:
            der = secure.getpeercert(binary_form=True)
    return Shown(hashlib.sha256(der).hexdigest(), serial_of(der))


def openssl_serial(port, name):
    """The same question asked by openssl s_client, a program that has nothing to do with this one."""
    text = run("openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-servername", name, check=False).stdout
    found = re.search(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", text, re.S)
    if not found:
        return None
    line = run("openssl", "x509", "-noout", "-serial", input=found.group(0), stdin=None).stdout
    return line.strip().rpartition("=")[2].lstrip("0").lower()


class WebServer:
    """Site: (certificate's name, its DNS names). The first site answers where no name fits."""
    kind = binary = None

    def __init__(self, folder, certificates, sites):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True)
        self.port = free_port()
        self.config = str(self.folder / f"{self.kind}.conf")
        self.pidfile = str(self.folder / f"{self.kind}.pid")
        pathlib.Path(self.config).write_text(self._text(certificates, sites))

    @classmethod
    def installed(cls):
        return os.access(cls.binary, os.X_OK)

    def _command(self, *more):
        raise NotImplementedError

    def start(self):
        run(*self._command(), cwd="/", env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"})
        wait_until(f"{self.kind} answers on port {self.port}", self.answers)
        return self

    def answers(self):
        try:
            with socket.create_connection(("127.0.0.1", self.port), 2):
                return self.pid() is not None
        except OSError:
            return False

    def pid(self):
        """The parent's number, or None where it does not run."""
        try:
            number = int(pathlib.Path(self.pidfile).read_text())
        except (OSError, ValueError):
            return None
        return number if alive(number) else None

    def identity(self):
        """Of the parent process: the same as long as it is the same process."""
        pid = self.pid()
        return pid and (pid, start_time(pid))

    def reload(self):
        """The bare reload, as an operator does it without certswap."""
        os.kill(self.pid(), self.reload_signal)

    def stop(self):
        pid = self.pid()
        if pid:
            end(pid)

    def crash(self):
        """SIGKILL to the parent and all of its children."""
        pid = self.pid()
        every = [pid, *children_of(pid)]
        for number in every:
            try:
                os.kill(number, signal.SIGKILL)
            except ProcessLookupError:
                pass
        for number in every:
            wait_gone(number)

    def shown(self, name):
        return shown(self.port, name)

    def log(self):
        try:
            return (self.folder / "error.log").read_text(errors="replace")
        except OSError:
            return ""

    def settings(self):
        """Its entry in certswap.conf."""
        return (f'  {{ name = "{self.kind}"; kind = "{self.kind}"; config = "{self.config}";\n'
                f'    binary = "{self.binary}"; pidfile = "{self.pidfile}"; timeout = "10s"; }}')


class Nginx(WebServer):
    kind, binary, reload_signal = "nginx", "/usr/sbin/nginx", signal.SIGHUP

    def _text(self, certificates, sites):
        text = "".join(NGINX_SITE.format(port=self.port, names=" ".join(names), live=f"{certificates}/{name}/live")
                       for name, names in sites)
        return NGINX.format(folder=self.folder, sites=text, user="user www-data;" if os.getuid() == 0 else "")

    def _command(self, *more):
        return (self.binary, "-c", self.config, *more)


class Apache(WebServer):
    kind, binary, reload_signal = "apache", "/usr/sbin/apache2", signal.SIGUSR1

    def _text(self, certificates, sites):
        text = "".join(APACHE_SITE.format(port=self.port, first=names[0], live=f"{certificates}/{name}/live",
                                          alias="ServerAlias " + " ".join(names[1:]) if names[1:] else "")
                       for name, names in sites)
        return APACHE.format(folder=self.folder, port=self.port, modules=APACHE_MODULES, sites=text,
                             user="User www-data\nGroup www-data" if os.getuid() == 0 else "")

    def _command(self, *more):
        return (self.binary, "-f", self.config, *(more or ("-k", "start")))

    def configtest(self):
        return run(*self._command("-t"), check=False)


Handshake = namedtuple("Handshake", "began ended sha256 problem")


class Prober(threading.Thread):
    """Fresh handshakes with one server, one after the other, all the time, each with its times (time.monotonic)."""

    def __init__(self, server, name):
        super().__init__(daemon=True)
        self.server, self.name = server, name
        self.seen = []
        self._end = threading.Event()
        self.start()

    def run(self):
        while not self._end.wait(0.003):
            began = time.monotonic()
            try:
                self.seen.append(Handshake(began, None, shown(self.server.port, self.name).sha256, None)
                                 ._replace(ended=time.monotonic()))
            except OSError as problem:
                self.seen.append(Handshake(began, time.monotonic(), None, str(problem)))

    def stop(self):
        self._end.set()
        self.join()

    def first(self, sha256, since):
        """When the first handshake that showed this certificate ended, after `since`; None: not yet."""
        return next((h.ended for h in self.seen if h.ended >= since and h.sha256 == sha256), None)

    def failed(self, since=0.0):
        return [h for h in self.seen if h.began >= since and h.problem]


Requests = namedtuple("Requests", "done failed")


class Load:
    """wrk on one server: connections with a pause of some milliseconds after each answer. fresh: a new connection for each
    request; otherwise connections are kept, and one that the server closes while it is idle counts as failed."""
    def __init__(self, server, name, folder, fresh=True, connections=3, pause=10):
        self.kind = server.kind
        script = pathlib.Path(folder) / "load.lua"
        script.write_text(f"function delay() return {pause} end\n" if pause else "")
        headers = ["-H", f"Host: {name}"] + (["-H", "Connection: close"] if fresh else [])
        self._process = subprocess.Popen(
            [shutil.which("wrk"), "-t1", f"-c{connections}", "-d1h", "--timeout", "10s", "-s", str(script), *headers,
             f"https://127.0.0.1:{server.port}/"],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def stop(self):
        """Ends it; the requests that it counted."""
        if self._process.returncode is None:
            self._process.send_signal(signal.SIGINT)
            self._text = self._process.communicate(timeout=30)[0]
        return self.result()

    def result(self):
        done = re.search(r"(\d+) requests in", self._text)
        if not done:
            raise AssertionError("wrk said: " + self._text)
        failed = sum(int(n) for n in re.findall(r"(?:connect|read|write|timeout) (\d+)", self._text))
        failed += sum(int(n) for n in re.findall(r"Non-2xx or 3xx responses: (\d+)", self._text))
        return Requests(int(done.group(1)), failed)
