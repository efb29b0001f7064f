#!/usr/bin/python3
"""enforced.py selinux|apparmor [--complain] [--hidden] [--short] [--deb FILE] [--folder FOLDER]: swaps on nginx and Apache on a machine
that enforces the SELinux module or the AppArmor profile of this tree, with the distribution's own policy for all the rest. The machine is
emulated (emulated.py), as what runs the tests enforces neither. At the end comes a table of what was denied; exit 0 only where
every swap was done and nothing of certswap was denied. --complain: nothing is held back, and the table is what the policy
lacks. --hidden (SELinux): also what the policy says not to speak of (dontaudit). --short: a part, to see that a change of
the policy is well.

Needs root and the network, once: debootstrap, qemu-system-x86, selinux-policy-dev. Not part of ./test: minutes, and many packages.
What it makes lies below build/enforced, the tree for the next run too."""
import argparse
import hashlib
import os
import pathlib
import re
import shutil
import subprocess
import sys
import time

from emulated import Emulated, image_of, session_in
from machine import Report, build
from story import CONFIG, NAME, Story
from authority import Authority
from processes import guarded

SOURCE = pathlib.Path(__file__).absolute().parent.parent.parent
PACKAGES = ["linux-image-cloud-amd64", "initramfs-tools", "libpam-systemd", "selinux-policy-default", "policycoreutils", "auditd",
            "apparmor", "libcurl4"]
CONTEXTS = "/etc/selinux/default/contexts/files/file_contexts"
HOME = "/root"
PLACES = (HOME, "/tmp", "/srv")  # where administrators put what the CA sent
METRICS = "/var/lib/prometheus/node-exporter/certswap.prom"
WATCHED = "/etc/letsencrypt/live/shop"
ADOPTED = {"nginx": "/etc/ssl/adopt", "apache": "/etc/apache2/tls"}
SITES = {"nginx": ("/etc/nginx/conf.d/adopt.conf", """server {
    listen 127.0.0.1:8009 ssl; server_name nginx.example.test;
    ssl_certificate /etc/ssl/adopt/site.pem; ssl_certificate_key /etc/ssl/adopt/site.key;
    return 204;
}
"""), "apache": ("/etc/apache2/sites-enabled/adopt.conf", """Listen 127.0.0.1:8008
<VirtualHost 127.0.0.1:8008>
    ServerName apache.example.test
    SSLEngine on
    SSLCertificateFile /etc/apache2/tls/site.pem
    SSLCertificateKeyFile /etc/apache2/tls/site.key
</VirtualHost>
""")}


# ---- the machine ----

def inside(tree, script):
    """Runs it in the tree, with the /proc that setfiles and dpkg look for; the mount is gone with it."""
    subprocess.run(["unshare", "-m", "sh", "-ec", 'mount -t proc proc "$0/proc"; chroot "$0" sh -ec "$1"', tree, script], check=True,
                   env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"})


def tree_in(folder):
    tree = folder / "tree"
    script = SOURCE / "tests/package/root.sh"
    stamp, wanted = folder / "tree.stamp", hashlib.sha256(script.read_bytes() + " ".join(PACKAGES).encode()).hexdigest()
    if not stamp.exists() or stamp.read_text() != wanted:
        (folder / "root.tgz").unlink(missing_ok=True)
        subprocess.run([script, folder / "root", tree, *PACKAGES], check=True)
        session_in(tree)
        stamp.write_text(wanted)
    return tree


def install(tree, deb):
    shutil.copy(deb, tree / "opt/certswap.deb")
    inside(tree, "dpkg -i --force-confnew /opt/certswap.deb >/dev/null")
    (tree / METRICS[1:]).parent.mkdir(parents=True, exist_ok=True)


def policy_module(folder, tree, hidden):
    """Compiles the module of this tree with the distribution's own headers, links it, labels all files."""
    room = folder / "policy"
    shutil.rmtree(room, ignore_errors=True)
    shutil.copytree(SOURCE / "packaging/selinux", room)
    subprocess.run(["make", "-s", "-C", room, "-f", "/usr/share/selinux/devel/Makefile", "certswap.pp"], check=True)
    shutil.copy(room / "certswap.pp", tree / "opt")
    (tree / "etc/selinux/config").write_text("SELINUX=enforcing\nSELINUXTYPE=default\n")
    inside(tree, f"semodule -n -s default -i /opt/certswap.pp; semodule -n {'-D' if hidden else ''} -B; setfiles -F {CONTEXTS} /")


def profile(tree, complain):
    text = (SOURCE / "packaging/apparmor/usr.sbin.certswapd").read_text()
    if not complain:  # as it is shipped it complains
        text = text.replace("flags=(attach_disconnected, complain)", "flags=(attach_disconnected)")
    (tree / "etc/apparmor.d/usr.sbin.certswapd").write_text(text)


# ---- what is done in it ----

class Enforced(Story):
    def __init__(self, machine, report, folder):  # the authority is outside: nothing of the tree is seen inside
        self.machine, self.report, self.made = machine, report, 0
        shutil.rmtree(folder / "ca", ignore_errors=True)
        self.authority = Authority(folder / "ca", publish="http://127.0.0.1", ocsp=False)
        self.write("/opt/ca/root.pem", pathlib.Path(self.authority.root).read_text())

    def write(self, path, text):
        self.machine.write(path, text)

    def pair(self, key_of=None):
        pair = self.authority.issue([NAME])
        pair = pair.with_key(key_of) if key_of else pair
        return pair, self.delivered(pair)

    def delivered(self, pair):
        """The files as an administrator has them, each time elsewhere."""
        folder = f"{PLACES[self.made % len(PLACES)]}/from-ca-{self.made}"
        self.made += 1
        self.write(folder + "/fullchain.pem", pair.fullchain)
        self.write(folder + "/key.pem", pair.key)
        return [folder + "/fullchain.pem", folder + "/key.pem"]

    def configure(self, more=""):
        """One server is reloaded by a signal, the other by systemd."""
        self.write(WATCHED + "/README", "")
        for part in ("leaf", "ca"):
            self.write(f"/var/www/html/{part}.crl", self.authority.crl(part))  # nginx is the CA's publisher too
        text = f'metrics_file = "{METRICS}";\n' + CONFIG.replace('kind = "apache";', 'kind = "apache"; reload = "systemd";')
        text = text.replace('servers = [ "nginx", "apache" ]; }', f'servers = [ "nginx", "apache" ]; watch = [ "{WATCHED}" ]; {more} }}')
        self.write("/etc/certswap/certswap.conf", text)
        self.report.works("configuration", "certswapctl", "config", "test")
        self.report.works("reload of certswapd", "systemctl", "reload", "certswapd")

    def until_served(self, pair, what):
        """What nobody waits for at a command line."""
        self.report.works(what, "timeout", "120", "sh", "-c",
                          f"until openssl s_client -connect 127.0.0.1:443 -servername {NAME} </dev/null 2>&1 | openssl x509 -noout -serial"
                          f" | grep -qi {pair.serial}; do :; done")
        self.report.works(what + ": the swap has ended", "timeout", "120", "sh", "-c",
                          """until certswapctl status --json | grep -q '"state": "ok"'; do :; done""")
        self.served(pair, what)

    def rollback(self, to):
        self.report.works("rollback", "certswapctl", "rollback", "shop")
        self.served(to, "rollback")

    def drop_box(self):
        for _ in PLACES:
            pair, files = self.pair()
            # which keeps their labels; mv may complain that the file is gone again when it looks for it
            self.machine.run("mv", *files, "/var/lib/certswap/incoming/shop/")
            self.until_served(pair, f"drop box, from {files[0]}")

    def watched(self):
        pair = self.authority.issue([NAME])
        self.write(WATCHED + "/fullchain.pem", pair.fullchain)
        self.write(WATCHED + "/privkey.pem", pair.key)
        self.until_served(pair, "watched folder")

    def standby(self):
        pair, files = self.pair()
        self.report.works("standby", "certswapctl", "standby", "shop", *files)
        self.report.works("swap to it", "certswapctl", "swap", "shop", "--to", "standby")
        self.served(pair, "standby")

    def own_key(self):
        """The key was made here; the CA gets a request."""
        self.report.works("request for a key made here", "certswapctl", "csr", "shop", "--new-key", "--out", HOME + "/request.pem")
        _, request = self.machine.run("cat", HOME + "/request.pem")
        path = self.authority.folder / "asked.pem"
        path.write_text(request)
        pair = self.authority.sign(path, [NAME])
        self.write(HOME + "/answer.pem", pair.fullchain)
        self.report.works("the answer", "certswapctl", "submit", "--name", "shop", HOME + "/answer.pem")
        self.served(pair, "key made here")
        return pair

    def adopted(self):
        """Servers with files of their own: taken over, renewed, given back."""
        pairs = {kind: self.authority.issue([kind + ".example.test"]) for kind in SITES}
        for kind, (path, text) in SITES.items():
            self.write(ADOPTED[kind] + "/site.pem", pairs[kind].fullchain)
            self.write(ADOPTED[kind] + "/site.key", pairs[kind].key)
            self.report.works("key", "chmod", "600", ADOPTED[kind] + "/site.key")
            self.write(path, text)
        self.report.works("web servers with files of their own", "systemctl", "restart", "nginx", "apache2")
        self.report.prints("discover", "/etc/ssl/adopt/site.pem", "certswapctl", "discover")
        self.report.works("adopt", "certswapctl", "adopt")
        for kind, folder in ADOPTED.items():
            key, conf = folder + "/site.key", f"/etc/certswap/certificates.d/*{kind}*.conf"
            self.report.prints(f"adopt, {kind}: its path is a link into live", "/var/lib/certswap/certificates/", "readlink", key)
            new = self.authority.issue([kind + ".example.test"])
            self.report.works(f"adopt, {kind}: renewal", "certswapctl", "submit", *self.delivered(new))
            self.report.works(f"adopt, {kind}: release", "sh", "-c", f"certswapctl release $(basename {conf} .conf)")
            self.report.works(f"adopt, {kind}: its path is a file again", "sh", "-c", f"test -f {key} && ! test -L {key}")

    def revoked(self, compromised, live):
        """The CA's list, which the worker gets over the network, names what the notice named, and the live certificate."""
        standby, files = self.pair()
        self.report.works("standby for the list", "certswapctl", "standby", "shop", *files)
        self.authority.revoke(compromised, "keyCompromise")
        self.authority.revoke(live)
        self.configure('check = { crl = true; ocsp = false; interval = "5s"; };')
        self.until_served(standby, "revoked by the list")

    def dead_server(self):
        """A swap while Apache is down: what certswap starts again runs as systemd would have it."""
        self.report.works("Apache dies", "systemctl", "kill", "-s", "KILL", "apache2")
        self.report.works("until systemd knows", "sh", "-c", "while systemctl is-active -q apache2; do :; done")
        self.report.works("the hook starts it again", "env", "CERTSWAP_SERVER=apache", "CERTSWAP_CONFIG=/etc/apache2/apache2.conf",
                          "/usr/libexec/certswap/certswap-exec", "--outside", "/run/certswap-commands.sock", "--",
                          "/usr/libexec/certswap/hooks/apache/start")

    def look(self):
        for command in (["status"], ["status", "shop"], ["incidents", "--all"], ["log", "--verify"], ["metrics"], ["discover"],
                        ["config", "test"], ["deny", "list"]):
            self.report.works("certswapctl " + " ".join(command), "certswapctl", *command)

    def restart(self):
        self.report.works("restart of certswapd", "systemctl", "restart", "certswapd")
        self.report.works("it answers", "certswapctl", "status")

    def briefly(self):
        """What uses each program once: files passed, a folder watched, a list fetched."""
        self.configure('check = { crl = true; ocsp = false; interval = "20s"; };')
        self.first_certificate()
        self.watched()
        self.report.works("the CA's list is read", "timeout", "120", "sh", "-c",
                          """until certswapctl status shop --json | grep -q '"status": "good"'; do :; done""")
        self.restart()

    def tell(self):
        self.configure()
        first = self.first_certificate()
        self.refusal(self.renewal())
        self.rollback(first)
        self.drop_box()
        self.watched()
        self.standby()
        live = self.own_key()
        self.adopted()
        self.dead_server()
        self.restart()
        self.revoked(live, self.day_of_the_mail())
        self.look()
        self.report.prints("the numbers are there", "certswap_", "cat", METRICS)
        self.report.prints("the alert command wrote", "certswap-commands.service", "cat", "/usr/local/share/certswap-told")

    def log(self):
        _, log = self.machine.run("journalctl", "-u", "certswapd", "--no-pager", "-o", "cat")
        self.sandbox(log)
        return log


# ---- what was denied ----

AVC = re.compile(r"avc:  denied  \{ (?P<what>[^}]*) \}.*?scontext=[^:]*:[^:]*:(?P<who>[^: ]*)\S* "
                 r"tcontext=[^:]*:[^:]*:(?P<whose>[^: ]*)\S* tclass=(?P<kind>\w+)")
APPARMOR = re.compile(r'apparmor="(?:DENIED|ALLOWED)" operation="(?P<kind>[^"]*)".*? profile="(?P<who>[^"]*)"')
FIELD = r'\b%s=("[^"]*"|\S+)'


def denials(lines):
    """[who, whose, kind, what, times, of whom]: of whom is True for certswap's own."""
    found = {}
    for line in lines:
        def field(name):
            match = re.search(FIELD % name, line)
            return match[1].strip('"') if match else ""
        if match := AVC.search(line):
            key = [match["who"], match["whose"], match["kind"], match["what"]]
            own = "certswap" in match["who"] + match["whose"] + field("comm") + field("exe")
        elif match := APPARMOR.search(line):
            what = field("denied_mask") or field("requested_mask") or field("capname")
            key = [match["who"], re.sub(r"\d+", "N", field("name") or field("peer")), match["kind"], what]
            own = True
        else:
            continue
        entry = found.setdefault(tuple(key), [0, own, f"{field('comm')} {field('name') or field('path')}"])
        entry[0] += 1
        entry[1] = entry[1] or own
    return [(*key, *value) for key, value in sorted(found.items())]


def table(found):
    for own in (True, False):
        some = [row for row in found if row[5] == own]
        print(f"\n{'of certswap' if own else 'of others, which is the distribution policy and none of ours'}: "
              f"{sum(row[4] for row in some)} in {len(some)} kinds")
        for who, whose, kind, what, times, _, example in some:
            print(f"  {times:4d}  {who} -> {whose}: {kind} {{ {what} }}   e.g. {example}")


def domains(machine, report, kind):
    """Everything runs where it should."""
    def label(what, wanted, unit):
        report.prints(what, wanted, "sh", "-c", f"cat /proc/$(systemctl show -p MainPID --value {unit})/attr/current")

    def worker(what, wanted):  # one may be needed first
        report.works(what, "timeout", "120", "sh", "-c",
                     f"until for p in $(pgrep certswap-worker); do cat /proc/$p/attr/current; echo; done | grep -F '{wanted}'; do :; done")
    if kind == "selinux":
        report.prints("the machine enforces", "1", "cat", "/sys/fs/selinux/enforce")
        label("certswapd is in its domain", ":certswap_t:", "certswapd")
        worker("a worker is in its own", ":certswap_worker_t:")
        for server in ("nginx", "apache2"):
            label(f"{server} is in the domain of web servers", ":httpd_t:", server)
    else:
        label("certswapd is confined", "certswapd (enforce)", "certswapd")
        worker("a worker is confined twice", "certswapd//&certswapd//worker (enforce)")


def facts(machine, kind):
    _, kernel = machine.run("uname", "-r")
    policy = "selinux-policy-default" if kind == "selinux" else "apparmor"
    _, package = machine.run("dpkg-query", "-W", "-f", "${Package} ${Version}, ", policy, "nginx-light", "apache2")
    _, context = machine.run("id")
    return f"kernel {kernel.strip()}, {package.strip().rstrip(',')}; the administrator: {context.strip()}"


def options():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=("selinux", "apparmor"))
    parser.add_argument("--complain", action="store_true")
    parser.add_argument("--hidden", action="store_true")
    parser.add_argument("--short", action="store_true")
    parser.add_argument("--deb", type=pathlib.Path)
    parser.add_argument("--folder", type=pathlib.Path, default=SOURCE / "build/enforced")
    return parser.parse_args()


def prepared(given):
    folder = given.folder.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    deb = given.deb
    if not deb:
        build(SOURCE, "deb", folder / "deb", DEB_BUILD_OPTIONS="nocheck")
        deb = next((folder / "deb").glob("certswap_*.deb"))
    tree = tree_in(folder)
    install(tree, deb)
    if given.kind == "selinux":
        policy_module(folder, tree, given.hidden)
    else:
        profile(tree, given.complain)
    image_of(tree, folder / "disk")
    return folder, tree


def main():
    given = options()
    if os.geteuid() != 0:
        sys.exit("enforced.py: needs root, for a tree with its owners and labels")
    if not shutil.which("qemu-system-x86_64"):
        sys.exit("enforced.py: needs qemu-system-x86_64 (package qemu-system-x86)")
    begun = time.monotonic()
    folder, tree = prepared(given)
    append = f"security={given.kind} audit=1 audit_backlog_limit=8192 "
    append += f"selinux=1 enforcing={0 if given.complain else 1}" if given.kind == "selinux" else "apparmor=1"
    with Emulated(tree, folder / "disk", append) as machine:
        report = Report(machine)
        print(facts(machine, given.kind), flush=True)
        story = Enforced(machine, report, folder)
        report.works("certswapd is active", "systemctl", "is-active", "certswapd")
        if not given.complain:
            domains(machine, report, given.kind)
        if given.short:
            story.briefly()
        else:
            story.tell()
        log = story.log()
        if not given.complain:
            domains(machine, report, given.kind)
        _, lines = machine.shell("grep -hE 'avc: |apparmor=|type=SELINUX_ERR' /var/log/audit/audit.log*")
        _, journal = machine.run("journalctl", "--no-pager", "-b")
    (folder / "audit.log").write_text(lines)
    (folder / "journal.log").write_text(journal)
    if report.failed:
        print("".join(f"# {line}\n" for line in log.splitlines()), end="")
    found = denials(lines.splitlines())
    table(found)
    own = sum(row[4] for row in found if row[5])
    how = (', short' if given.short else '') + (', complaining' if given.complain else ', enforcing')
    print(f"\n{given.kind}{how}: {report.passed} ok, {report.failed} not ok, "
          f"{own} denials of certswap, {time.monotonic() - begun:.0f} s")
    return 1 if report.failed or own else 0


guarded(main)
