"""The Debian package: built twice with the same bytes, without a complaint of lintian, installed, used, upgraded and purged
under a real systemd; years.py first, story.py then."""
import filecmp
import pathlib
import shutil
import subprocess
import sys

from machine import Machine, Report, build, need
from story import LIVE, NAME, Story
from years import Years

EXPOSURE = "30"  # of systemd-analyze security, in tenths
ADOPTED = """server {{
    listen 127.0.0.1:10443 ssl; server_name {name};
    ssl_certificate {folder}/site.pem; ssl_certificate_key {folder}/site.key;
}}
"""
DROP_IN = "/etc/systemd/system/certswapd.service.d"
QUICK = """[Service]
WatchdogSec=2
"""


def package(source, out):
    build(source, "deb", out, DEB_BUILD_OPTIONS="nocheck")
    return next(out.glob("certswap_*.deb"))


def hardened(built, folder, report):
    """Every program has all that DEB_BUILD_MAINT_OPTIONS asks for."""
    subprocess.run(["dpkg-deb", "-x", built, folder], check=True)
    for path in sorted(folder.glob("usr/*bin/*")) + sorted(folder.glob("usr/libexec/certswap/certswap-*")):
        said = subprocess.run(["readelf", "-hldW", "--dyn-syms", path], capture_output=True, text=True, check=True).stdout
        wanted = {"PIE": "DYN (Position-Independent Executable", "relro": "GNU_RELRO", "bind now": "BIND_NOW",
                  "stack protector": "__stack_chk_fail", "fortify": "_chk@"}
        missing = [what for what, sign in wanted.items() if sign not in said]
        stack = [line for line in said.splitlines() if "GNU_STACK" in line]
        if not stack or "RWE" in stack[0]:
            missing.append("no executable stack")
        report.be(f"{path.name} is hardened", not missing, ", ".join(missing))
    profile = subprocess.run(["apparmor_parser", "-QK", folder / "etc/apparmor.d/usr.sbin.certswapd"], capture_output=True,
                             text=True, check=False)
    report.be("the AppArmor profile compiles", profile.returncode == 0, profile.stderr)
    shutil.rmtree(folder)


def unit(report):
    report.works("certswapd is active", "systemctl", "is-active", "certswapd")
    report.works("it is enabled", "systemctl", "is-enabled", "certswapd")
    report.works("systemd has nothing against the unit", "systemd-analyze", "verify", "--man=no", "certswapd.service",
                 "certswap-commands.service", "certswap-commands.socket")
    report.prints("a start that gets no further holds up the web servers for 10 s at most", "TimeoutStartUSec=10s", "systemctl", "show",
                  "-p", "TimeoutStartUSec", "certswapd")
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


def upgrade_in_swap(story, machine, report):
    """Apache's parent stands still, so the swap can't end before the package is upgraded."""
    before = story.parents()
    pair, files = story.pair()
    machine.run("kill", "-STOP", before[1])
    report.works("a swap begins", "certswapctl", "submit", "--no-wait", *files)
    report.works("it is under way", "timeout", "30", "sh", "-c",
                 "until grep -qs VERIFYING /var/lib/certswap/journal/*; do :; done")
    report.works("upgrade in the middle of it", "dpkg", "-i", "/opt/certswap.deb")
    machine.run("kill", "-CONT", before[1])
    report.works("the new daemon ends it", "timeout", "60", "sh", "-c",
                 """until certswapctl status --json | grep -q '"state": "ok"'; do :; done""")
    story.served(pair, "after the upgrade")
    report.be("web servers were not restarted", story.parents() == before)


def distribution(source, machine, report):
    """The test that a distribution runs, as it stands in the package."""
    shutil.copy(source / "packaging/deb/tests/first-certificate", pathlib.Path(machine.tree) / "opt")
    report.prints("autopkgtest", "visitors see serial 1002", "/opt/first-certificate")
    machine.run("rm", "/etc/nginx/conf.d/autopkgtest.conf")


def adopted(story, machine, report):
    """A server that has been running with its own files is taken over, renewed and given back, from inside the unit's sandbox."""
    pair = story.authority.issue(["adopt." + NAME])
    folder = story.tree / "etc/ssl/adopt"
    folder.mkdir()
    (folder / "site.pem").write_text(pair.fullchain)
    (folder / "site.key").write_text(pair.key)
    (folder / "site.key").chmod(0o600)
    (story.tree / "etc/nginx/conf.d/adopt.conf").write_text(
        ADOPTED.format(name="adopt." + NAME, folder="/etc/ssl/adopt"))
    report.works("nginx with files of its own", "systemctl", "restart", "nginx")
    report.prints("discover", "/etc/ssl/adopt/site.pem", "certswapctl", "discover")
    report.works("adopt", "certswapctl", "adopt")
    report.prints("its path is a link into live", "/var/lib/certswap/certificates/", "readlink", "/etc/ssl/adopt/site.pem")
    report.works("release", "sh", "-c", "certswapctl release $(basename /etc/certswap/certificates.d/*adopt*.conf .conf)")
    report.works("its path is a file again", "sh", "-c", "test -f /etc/ssl/adopt/site.pem && ! test -L /etc/ssl/adopt/site.pem")
    machine.run("rm", "/etc/nginx/conf.d/adopt.conf")
    report.works("nginx without it", "systemctl", "reload", "nginx")


def elsewhere(story, machine, report):
    """A pair outside of /etc is taken over once certswapd.service is let in."""
    pair, folder = story.authority.issue(["elsewhere." + NAME]), story.tree / "srv/tls"
    folder.mkdir()
    (folder / "site.pem").write_text(pair.fullchain)
    (folder / "site.key").write_text(pair.key)
    (folder / "site.key").chmod(0o600)
    (story.tree / "etc/nginx/conf.d/elsewhere.conf").write_text(ADOPTED.format(name="elsewhere." + NAME, folder="/srv/tls"))
    report.works("nginx with files outside of /etc", "systemctl", "restart", "nginx")
    report.be("adopt of files that certswapd.service may not write is refused", machine.run("certswapctl", "adopt", "elsewhere." + NAME)[0] == 1)
    machine.run("sh", "-c", f"mkdir -p {DROP_IN} && printf '[Service]\\nReadWritePaths=/srv/tls\\n' >{DROP_IN}/tls.conf && systemctl daemon-reload")
    report.works("restart with it", "systemctl", "restart", "certswapd")
    report.works("adopt", "certswapctl", "adopt", "elsewhere." + NAME)
    report.prints("its path is a link into live", "/var/lib/certswap/certificates/", "readlink", "/srv/tls/site.key")


def purge(story, machine, report):
    """A key that a configuration names is left, and it is said; where none does, nothing is left."""
    elsewhere(story, machine, report)
    status, output = machine.run("dpkg", "-P", "certswap")
    report.be("purge beside a web server that still needs the key", status == 0, output)
    report.be("it says what it left and why", "/etc/nginx/conf.d/shop.conf" in output, output)
    report.be("a link outside of /etc too", "/srv/tls/site.key" in output, output)
    machine.run("rm", "-r", "/etc/nginx/conf.d/elsewhere.conf", "/srv/tls", DROP_IN)
    report.works("the key is still there", "test", "-s", LIVE + "/privkey.pem")
    report.works("nginx still starts", "systemctl", "restart", "nginx")
    report.works("nothing else is left", "sh", "-c", 'test "$(ls -A /var/lib/certswap)" = certificates && ! ls -d /etc/certswap')
    machine.run("rm", "/etc/nginx/conf.d/shop.conf", "/etc/apache2/sites-enabled/shop.conf")
    report.works("installed again", "dpkg", "-i", "/opt/certswap.deb")
    report.works("it takes up what was left", "systemctl", "is-active", "certswapd")
    report.works("purge", "dpkg", "-P", "certswap")
    report.works("nothing is left", "sh", "-c", "! ls -d /etc/certswap /var/lib/certswap /run/certswap 2>/dev/null | grep .")


def main():
    need("debootstrap", "systemd-nspawn", "nsenter", "wrk", "dpkg-buildpackage", "dh", "lintian", "openssl", "dh_apparmor", "apparmor_parser", "readelf")
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
        story = Story(machine, report)
        Years(machine, report, story.authority).tell()
        report.works("install", "dpkg", "-i", "/opt/certswap.deb")
        unit(report)
        hardened(built, folder / "unpacked", report)
        story.tell()
        outside(machine, report)
        watchdog(machine, report)
        upgrade(machine, report)
        upgrade_in_swap(story, machine, report)
        distribution(source, machine, report)
        adopted(story, machine, report)
        purge(story, machine, report)
    report.be("a second build gives the same bytes", same)
    shutil.rmtree(tree)
    sys.exit(1 if report.failed else 0)


main()
