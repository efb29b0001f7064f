"""The RPM package: built, without a complaint of rpmlint that has no reason in rpmlint.toml, installed, upgraded and erased
with its real scriptlets under a real systemd. The tree is this host's own distribution, so what needs EL or Fedora (their
presets, their SELinux, their names of libraries) is not seen here."""
import pathlib
import shutil
import subprocess
import sys

from machine import Machine, Report, build, need


def package(source, out):
    build(source, "rpm", out)
    return next(p for p in out.glob("certswap-[0-9]*.rpm") if not p.name.endswith(".src.rpm"))


def main():
    need("debootstrap", "systemd-nspawn", "nsenter", "rpmbuild", "rpmlint")
    source = pathlib.Path(sys.argv[1])
    folder = source / "build/package"
    folder.mkdir(parents=True, exist_ok=True)
    tree = folder / "rpm-machine"
    built = package(source, folder / "rpm")
    subprocess.run([source / "tests/package/root.sh", folder / "root", tree], check=True)
    shutil.copy(built, tree / "opt/certswap.rpm")
    rpm = ("rpm", "--nodeps")  # the tree's own packages are not in rpm's database
    with Machine(str(tree)) as machine:
        report = Report(machine)
        lint = subprocess.run(["rpmlint", "-c", source / "packaging/rpm/rpmlint.toml", *built.parent.glob("*.rpm")],
                              capture_output=True, text=True, check=False)
        report.be("rpmlint", " 0 errors, 0 warnings" in lint.stdout, lint.stdout + lint.stderr)
        report.be("the SELinux policy module was compiled", any(built.parent.glob("certswap-selinux-*.rpm")), "no certswap-selinux")
        report.works("install", *rpm, "-i", "/opt/certswap.rpm")
        report.works("the preset enables it", "systemctl", "is-enabled", "certswapd")
        report.works("start", "systemctl", "start", "certswapd")
        report.works("it answers", "certswapctl", "status")
        report.works("the worker's user is there", "id", "_certswap")
        machine.run("sh", "-c", "echo '# edited' >>/etc/certswap/certswap.conf; touch /var/lib/certswap/kept")
        before = machine.run("systemctl", "show", "-p", "MainPID", "--value", "certswapd")[1]
        report.works("upgrade", *rpm, "-U", "--force", "/opt/certswap.rpm")
        report.be("the new daemon runs", before != machine.run("systemctl", "show", "-p", "MainPID", "--value", "certswapd")[1])
        report.works("active after it", "systemctl", "is-active", "certswapd")
        report.works("an edited configuration is kept", "grep", "-q", "# edited", "/etc/certswap/certswap.conf")
        report.works("erase", "rpm", "-e", "--nodeps", "certswap")
        report.prints("it no longer runs", "inactive", "systemctl", "is-active", "certswapd")
        report.works("the state folder is left", "test", "-e", "/var/lib/certswap/kept")
        report.works("and the edited configuration", "test", "-e", "/etc/certswap/certswap.conf.rpmsave")
        report.works("nothing else", "sh", "-c", "! ls -d /usr/libexec/certswap /usr/sbin/certswapd /usr/lib/systemd/system/certswapd.service 2>/dev/null | grep .")
    shutil.rmtree(tree)
    sys.exit(1 if report.failed else 0)


main()
