"""nginx and Apache have been running for years, with files of their own, and have visitors all the time: certswap is
installed, takes over, swaps, answers a notice, is upgraded, killed and stopped in the middle, gives back and is purged. No
visitor may notice anything but what the servers' own reload does to a kept connection, and nothing may stay behind."""
import hashlib
import os
import pathlib
import re
import shutil
import stat
import sys
import tempfile
import time

from machine import Machine, Report
from visitors import Server, Visitors, network_of
from processes import wait_until
from webserver import shown

FOLDER = "/etc/ssl/years"
SITES = {"nginx": Server("nginx", 11443, "nginx.years.example.test"), "apache": Server("apache", 11444, "apache.years.example.test")}
NGINX = """server {{
    listen 127.0.0.1:{port} ssl; server_name {name};
    ssl_certificate {folder}/nginx.pem; ssl_certificate_key {folder}/nginx.key;
    keepalive_requests 1000000; access_log off;
    return 204;
}}
"""
APACHE = """Listen 127.0.0.1:{port}
MaxKeepAliveRequests 0
<VirtualHost 127.0.0.1:{port}>
    ServerName {name}
    SSLEngine on
    SSLCertificateFile {folder}/apache.crt
    SSLCertificateChainFile {folder}/apache-chain.pem
    SSLCertificateKeyFile {folder}/apache.key
    RewriteEngine on
    RewriteRule ^ - [R=204,L]
</VirtualHost>
"""
QUICK = "[Service]\nWatchdogSec=2\n"
BARE_RELOADS = 3
# what the machine writes by itself, and what dpkg keeps of any package, a user that had files among it
BESIDES = re.compile(r"/(var/(log|cache|tmp|lib/(dpkg|systemd|apt|nginx))|etc/((passwd|group|shadow|gshadow|subuid|subgid)-?|\.pwd\.lock|mtab))(/|$)")


class Years:
    def __init__(self, machine, report, authority):
        self.machine, self.report, self.authority = machine, report, authority
        self.tree = pathlib.Path(machine.tree)
        self.folder = self.tree / FOLDER[1:]
        self.pairs = {}

    # ---- the host as it was ----

    def pair(self, kind):
        """A new pair, and its files by their paths in the machine."""
        pair = self.authority.issue([SITES[kind].name])
        return pair, ["/" + str(pathlib.Path(f).relative_to(self.tree.absolute())) for f in pair.files()]

    def write(self, name, text, mode, group="root"):
        path = self.folder / name
        path.write_text(text)
        path.chmod(mode)
        if group != "root":
            self.machine.run("chgrp", group, f"{FOLDER}/{name}")

    def before_certswap(self):
        run, ca = self.machine.run, self.tree / "usr/local/share/ca-certificates"
        ca.mkdir(parents=True, exist_ok=True)
        shutil.copy(self.authority.folder / "root.pem", ca / "years.crt")
        run("update-ca-certificates")
        self.folder.mkdir()
        for kind in SITES:
            self.pairs[kind] = self.pair(kind)[0]
        self.write("nginx.pem", self.pairs["nginx"].fullchain, 0o644)
        self.write("nginx.key", self.pairs["nginx"].key, 0o640, "www-data")
        self.write("apache.crt", self.pairs["apache"].cert, 0o644)
        self.write("apache-chain.pem", self.pairs["apache"].chain, 0o644)
        self.write("apache.key", self.pairs["apache"].key, 0o600)
        site = self.tree / "etc/nginx/conf.d/years.conf"
        site.write_text(NGINX.format(folder=FOLDER, **SITES["nginx"]._asdict()))
        (self.tree / "etc/apache2/sites-enabled/years.conf").write_text(APACHE.format(folder=FOLDER, **SITES["apache"]._asdict()))
        # so that each reload leaves a line
        (self.tree / "etc/nginx/modules-enabled/years.conf").write_text("error_log /var/log/nginx/error.log notice;\n")
        self.report.works("modules of Apache", "a2enmod", "-q", "ssl", "rewrite")
        self.report.works("web servers without certswap", "systemctl", "restart", "nginx", "apache2")
        self.identity = self.parents()
        self.picture = self.everything()
        self.files = self.readers()

    def parents(self):
        return [self.machine.run("systemctl", "show", "-p", "MainPID", "--value", s)[1].strip() for s in ("nginx", "apache2")]

    def everything(self):
        """Each path of the machine's disk with its kind, owner, mode and content; not what is served here."""
        found = {}
        for top in ("etc", "usr", "var", "opt", "root"):
            for folder, folders, files in os.walk(self.tree / top):
                for name in folders + files:
                    path = pathlib.Path(folder) / name
                    inside = "/" + str(path.relative_to(self.tree))
                    if not BESIDES.search(inside) and not inside.startswith((FOLDER, "/opt/ca")):
                        found[inside] = self.look(path)
        return found

    @staticmethod
    def look(path):
        info = path.lstat()
        content = os.readlink(path) if path.is_symlink() else hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None
        return stat.filemode(info.st_mode), info.st_uid, info.st_gid, content

    def readers(self):
        return {p.name: self.look(p)[:3] for p in self.folder.iterdir()}

    def reloads(self):
        log = {kind: (self.tree / path).read_text(errors="replace") if (self.tree / path).exists() else "" for kind, path in
               (("nginx", "var/log/nginx/error.log"), ("apache", "var/log/apache2/error.log"))}
        return {"nginx": log["nginx"].count("signal 1 (SIGHUP) received"), "apache": log["apache"].count("AH00493")}

    # ---- acts ----

    def serves(self, what):
        for kind, server in SITES.items():
            seen = shown(server.port, server.name).serial
            self.report.be(f"{what}: {kind} shows the right pair", seen == self.pairs[kind].serial, f"{seen}, not {self.pairs[kind].serial}")

    def bare(self):
        """What a reload costs without certswap."""
        for number in range(1, BARE_RELOADS + 1):
            with self.visitors.during(f"bare reload {number}"):
                workers = self.workers(*self.identity)
                self.report.works("a bare reload", "systemctl", "reload", "nginx", "apache2")
                wait_until("old workers are gone", lambda old=workers: not old & self.workers(*self.identity), 60)

    def workers(self, *parents):
        return set(self.machine.run("pgrep", "-P", ",".join(parents))[1].split())

    def processes(self):
        return {kind: len(self.workers(parent)) for kind, parent in zip(("nginx", "apache"), self.identity)}

    def install(self):
        self.began = time.monotonic()
        self.report.works("install", "dpkg", "-i", "/opt/certswap.deb")

    def adopt(self):
        said = self.report.works("discover", "certswapctl", "discover")
        self.report.be("it names both", all(s.name in said for s in SITES.values()), said)
        self.report.works("adopt --dry-run", "certswapctl", "adopt", "--dry-run")
        status, said = self.machine.run("certswapctl", "adopt")
        if not self.report.be("adopt", status == 0, said):
            raise SystemExit(1)  # nothing of the rest can be tried
        _, said = self.machine.run("certswapctl", "status")
        self.report.be("status: both are served", len(re.findall(r" ok +\S+ yes ", said)) == len(SITES), said)
        self.protected = time.monotonic() - self.began
        for name in ("nginx.pem", "nginx.key", "apache.crt", "apache.key"):
            self.report.be(f"{name} is a link into live", (self.folder / name).is_symlink())
        self.serves("adopted")

    def swap(self):
        for kind in SITES:
            self.pairs[kind], files = self.pair(kind)
            self.report.works(f"swap for {kind}", "certswapctl", "submit", *files)
        self.serves("swapped")

    def notice(self):
        for kind, server in SITES.items():
            self.pairs[kind], files = self.pair(kind)
            self.report.works(f"standby for {kind}", "certswapctl", "standby", server.name, *files)
            self.report.works(f"notice for {kind}", "certswapctl", "notice", server.name, "--case", "c", "--yes")
        self.serves("after the notice")

    def in_mid_swap(self, what, *command):
        """Apache's parent stands still, so that the swap can't end before."""
        self.machine.run("kill", "-STOP", self.identity[1])
        self.pairs["apache"], files = self.pair("apache")
        self.report.works("a swap begins", "certswapctl", "submit", "--no-wait", *files)
        self.report.works("it is under way", "timeout", "30", "sh", "-c",
                          "until grep -qs VERIFYING /var/lib/certswap/journal/*; do :; done")
        self.report.works(what, *command)
        self.machine.run("kill", "-CONT", self.identity[1])
        self.answers(what)

    def answers(self, what):
        self.report.works(f"{what}: all is well after it", "timeout", "60", "sh", "-c",
                          """until certswapctl status --json 2>/dev/null | grep -c '"state": "ok"' | grep -qx 2; do :; done""")
        self.serves(what)

    def upgrade(self):
        machine = self.machine
        machine.run("sh", "-c", "echo '# edited' >>/etc/certswap/certswap.conf")
        self.in_mid_swap("upgrade in mid-swap", "dpkg", "-i", "/opt/certswap.deb")
        self.report.works("an edited configuration is kept", "grep", "-q", "# edited", "/etc/certswap/certswap.conf")

    def watchdog(self):
        quick = "/run/systemd/system/certswapd.service.d"
        self.machine.run("sh", "-c", f"mkdir -p {quick} && printf '{QUICK}' >{quick}/quick.conf && systemctl daemon-reload")
        self.report.works("a shorter watchdog", "systemctl", "restart", "certswapd")
        self.report.works("certswapd stands still", "systemctl", "kill", "-s", "STOP", "--kill-who=main", "certswapd")
        self.report.be("the watchdog starts it again", self.machine.follow(
            "Watchdog timeout", "Started certswapd", "journalctl", "-f", "-n", "1000", "-o", "cat", "_PID=1"))
        self.machine.run("sh", "-c", f"rm -r {quick} && systemctl daemon-reload")
        self.answers("watchdog")

    def release(self):
        self.report.works("the audit log is whole", "certswapctl", "log", "--verify")
        for server in SITES.values():
            self.report.works(f"release of {server.kind}", "certswapctl", "release", server.name)
        self.serves("released")
        self.report.be("owner, group and mode are as they were", self.readers() == self.files, f"{self.readers()}\n{self.files}")
        for file, text in (("nginx.pem", self.pairs["nginx"].fullchain), ("nginx.key", self.pairs["nginx"].key),
                           ("apache.crt", self.pairs["apache"].cert), ("apache.key", self.pairs["apache"].key)):
            self.report.be(f"{file} holds what was live", (self.folder / file).read_text().startswith(text))

    def purge(self):
        self.report.works("purge", "dpkg", "-P", "certswap")
        self.serves("purged")

    def nothing_left(self):
        now, was = self.everything(), self.picture
        changed = [f"{path}: {was.get(path)} -> {now.get(path)}" for path in sorted(now.keys() | was.keys()) if now.get(path) != was.get(path)]
        self.report.be("nothing is left on disk, nothing was changed", not changed, "\n".join(changed))
        self.report.works("nothing is left in /run", "sh", "-c", "! find /run -name '*certswap*' -not -path '*/systemd/*' | grep .")
        self.report.works("no process is left", "sh", "-c", "! pgrep -l certswap")
        self.report.be("neither web server was restarted", self.parents() == self.identity)
        self.report.works("both start with what they were left with", "systemctl", "restart", "nginx", "apache2")
        self.serves("restarted")

    def leave(self):
        for path in ("etc/nginx/conf.d", "etc/apache2/sites-enabled", "etc/nginx/modules-enabled"):
            (self.tree / path / "years.conf").unlink()
        self.report.works("web servers without these sites", "systemctl", "restart", "nginx", "apache2")

    def tell(self):
        self.before_certswap()
        with tempfile.TemporaryDirectory() as folder, network_of(self.machine.leader):
            self.visitors = Visitors(list(SITES.values()), folder, self.reloads, self.processes)
            self.bare()
            for act in (self.install, self.adopt, self.swap, self.notice, self.upgrade):
                with self.visitors.during(act.__name__):
                    act()
            with self.visitors.during("kill -9 in mid-swap"):
                self.in_mid_swap("kill -9", "systemctl", "kill", "-s", "KILL", "--kill-who=main", "certswapd")
            for act in (self.watchdog, self.release, self.purge):
                with self.visitors.during(act.__name__):
                    act()
            self.nothing_left()
        self.leave()
        print("".join(f"# {line}\n" for line in self.visitors.table()), end="")
        print(f"# from dpkg -i to both sites adopted and proved: {self.protected:.1f} s")
        lost = self.visitors.lost()
        self.report.be("no visitor noticed anything but the servers' own reload", not lost, "\n".join(map(str, lost)))


def main():
    """years.py TREE: only this story, in a tree that root.sh made and with the package in its /opt."""
    from authority import Authority
    tree = pathlib.Path(sys.argv[1]).absolute()
    with Machine(str(tree)) as machine:
        report = Report(machine)
        Years(machine, report, Authority(tree / "opt/ca")).tell()
    sys.exit(1 if report.failed else 0)


if __name__ == "__main__":
    main()
