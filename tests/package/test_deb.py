"""The Debian package: built twice with the same bytes, without a complaint of lintian, installed, used, upgraded and purged
under a real systemd."""
import filecmp
import pathlib
import shutil
import subprocess
import sys

from machine import Machine, Report, build, need
from story import LIVE, Story

EXPOSURE = "30"  # of systemd-analyze security, in tenths
QUICK = """[Service]
WatchdogSec=2
"""


def package(source, out):
    build(source, "deb", out, DEB_BUILD_OPTIONS="nocheck")
    return next(out.glob("certswap_*.deb"))


def unit(report):
    report.works("certswapd is active", "systemctl", "is-active", "certswapd")
    report.works("it is enabled", "systemctl", "is-enabled", "certswapd")
    report.works("systemd has nothing against the unit", "systemd-analyze", "verify", "--man=no", "certswapd.service",
                 "certswap-commands.service", "certswap-commands.socket")
    report.works("exposure", "systemd-analyze", "security", "--no-pager", "--threshold=" + EXPOSURE, "certswapd.service")
    report.works("it answers", "certswapctl", "status")
    report.prints("the worker's user is in no other group", "groups=", "sh", "-c",
                  'test "$(id -G _certswap)" = "$(id -g _certswap)" && id _certswap')


def outside(machine, report):
    """Hooks and commands run outside of certswapd's sandbox, and a server that a hook starts in the server's own unit."""
    _, told = machine.run("cat", "/usr/local/share/certswap-told")
    report.be("the alert command wrote where certswapd itself can't", "certswap-commands.service" in told, told)
    report.works("Apache dies", "systemctl", "kill", "-s", "KILL", "apache2")
    report.works("until systemd knows", "sh", "-c", "while systemctl is-active -q apache2; do :; done")
    report.works("the hook starts it again", "env", "CERTSWAP_SERVER=apache", "CERTSWAP_CONFIG=/etc/apache2/apache2.conf",
                 "/usr/libexec/certswap/certswap-exec", "--outside", "/run/certswap-commands.sock", "--",
                 "/usr/libexec/certswap/hooks/apache/start")
    report.prints("in its own control group", "apache2.service", "sh", "-c", "cat /proc/$(cat /run/apache2/apache2.pid)/cgroup")
    report.prints("nobody but root can ask", "nobody answers", "setpriv", "--reuid=_certswap", "--clear-groups",
                  "/usr/libexec/certswap/certswap-exec", "--outside", "/run/certswap-commands.sock", "--", "/bin/true")


def watchdog(machine, report):
    machine.run("mkdir", "-p", "/run/systemd/system/certswapd.service.d")
    machine.run("sh", "-c", f"printf '%s' '{QUICK}' >/run/systemd/system/certswapd.service.d/quick.conf")
    report.works("restart", "sh", "-c", "systemctl daemon-reload && systemctl restart certswapd")
    report.works("it stands still", "systemctl", "kill", "-s", "STOP", "--kill-who=main", "certswapd")
    told = machine.follow("Watchdog timeout", "Started certswapd", "journalctl", "-f", "-n", "1000", "-o", "cat", "_PID=1")
    report.be("the watchdog restarts a daemon that stands still", told, "no such lines in the journal")
    machine.run("rm", "-r", "/run/systemd/system/certswapd.service.d")
    machine.run("systemctl", "daemon-reload")


def upgrade(machine, report):
    before = machine.run("systemctl", "show", "-p", "MainPID", "--value", "certswapd")[1]
    report.works("upgrade", "dpkg", "-i", "/opt/certswap.deb")
    report.works("active after it", "systemctl", "is-active", "certswapd")
    after = machine.run("systemctl", "show", "-p", "MainPID", "--value", "certswapd")[1]
    report.be("the new daemon runs", before != after)
    report.prints("an edited configuration is kept", "shop.example.test", "cat", "/etc/certswap/certswap.conf")


def purge(machine, report):
    """A key that a configuration names is left, and it is said; where none does, nothing is left."""
    status, output = machine.run("dpkg", "-P", "certswap")
    report.be("purge beside a web server that still needs the key", status == 0, output)
    report.be("it says what it left and why", "/etc/nginx/conf.d/shop.conf" in output, output)
    report.works("the key is still there", "test", "-s", LIVE + "/privkey.pem")
    report.works("nginx still starts", "systemctl", "restart", "nginx")
    report.works("nothing else is left", "sh", "-c", 'test "$(ls -A /var/lib/certswap)" = certificates && ! ls -d /etc/certswap')
    machine.run("rm", "/etc/nginx/conf.d/shop.conf", "/etc/apache2/sites-enabled/shop.conf")
    report.works("installed again", "dpkg", "-i", "/opt/certswap.deb")
    report.works("it takes up what was left", "systemctl", "is-active", "certswapd")
    report.works("purge", "dpkg", "-P", "certswap")
    report.works("nothing is left", "sh", "-c", "! ls -d /etc/certswap /var/lib/certswap /run/certswap 2>/dev/null | grep .")


def main():
    need("debootstrap", "systemd-nspawn", "nsenter", "dpkg-buildpackage", "dh", "lintian", "openssl")
    source = pathlib.Path(sys.argv[1])
    folder = source / "build/package"
    folder.mkdir(parents=True, exist_ok=True)
    tree = folder / "deb-machine"
    built = package(source, folder / "deb")
    same = filecmp.cmp(built, package(source, folder / "deb-again"), shallow=False)
    subprocess.run([source / "tests/package/root.sh", folder / "root", tree], check=True)
    shutil.copy(built, tree / "opt/certswap.deb")
    with Machine(str(tree)) as machine:
        report = Report(machine)
        lint = subprocess.run(["lintian", "--fail-on", "error,warning", "--allow-root", built], capture_output=True, text=True, check=False)
        report.be("lintian", lint.returncode == 0, lint.stdout + lint.stderr)
        report.works("install", "dpkg", "-i", "/opt/certswap.deb")
        unit(report)
        Story(machine, report).tell()
        outside(machine, report)
        watchdog(machine, report)
        upgrade(machine, report)
        purge(machine, report)
    report.be("a second build gives the same bytes", same)
    shutil.rmtree(tree)
    sys.exit(1 if report.failed else 0)


main()
