"""A machine with a kernel of its own, for what the host's kernel can't do: a tree as root.sh makes it becomes a disk, qemu boots
it without a network, and commands are run by a root who is logged in on a serial line. Emulated, as CI has no KVM that works, and
slow then. Ended with the program that started it, however that ends."""
import base64
import ctypes
import glob
import os
import pathlib
import select
import signal
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "e2e"))
from processes import PR_SET_PDEATHSIG  # noqa: E402

BOOT_SECONDS, STOP_SECONDS = 300, 120
CHUNK = 2048  # of a line that is sent: what a serial line holds
READY, DONE = "certswap-session", "certswap-done"

# logged in as an administrator is, by PAM, so with the rights of a login; then each line is a command in base64
GETTY = """[Service]
ExecStart=
ExecStart=-/sbin/agetty --autologin root --noclear ttyS1 115200 dumb
"""
PROFILE = """case $(tty) in /dev/ttyS1) exec sh ~/session ;; esac
"""
SESSION = f"""stty raw -echo
export PATH=/usr/sbin:/usr/bin:/sbin:/bin TERM=dumb LC_ALL=C.UTF-8
echo {READY}
while IFS= read -r line; do
	sh -c "$(printf %s "$line" | base64 -d)" </dev/null 2>&1
	printf '\\n{DONE} %d\\n' $?
done
"""


def session_in(tree):
    """Prepares a tree for __enter__."""
    tree = pathlib.Path(tree)
    drop_in = tree / "etc/systemd/system/serial-getty@ttyS1.service.d"
    wants = tree / "etc/systemd/system/getty.target.wants"
    for folder in (drop_in, wants):
        folder.mkdir(parents=True, exist_ok=True)
    (drop_in / "autologin.conf").write_text(GETTY)
    link = wants / "serial-getty@ttyS1.service"
    if not link.is_symlink():
        link.symlink_to("/lib/systemd/system/serial-getty@.service")
    (tree / "root/.bash_profile").write_text(PROFILE)
    (tree / "root/session").write_text(SESSION)


def image_of(tree, image, megabytes=3072):
    """A file system with the tree in it, extended attributes too; nothing is mounted."""
    image.unlink(missing_ok=True)
    subprocess.run(["mke2fs", "-q", "-t", "ext4", "-d", tree, image, f"{megabytes}M"], check=True)


def _tied():
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


class Emulated:
    def __init__(self, tree, image, append):
        """append: more words for the kernel's command line. What the kernel says goes to IMAGE.console."""
        self.tree, self.image, self.append = str(tree), str(image), append
        self.qemu, self.unread = None, b""

    def __enter__(self):
        kernel, initrd = (sorted(glob.glob(f"{self.tree}/boot/{part}-*"))[-1] for part in ("vmlinuz", "initrd.img"))
        self.qemu = subprocess.Popen(
            ["qemu-system-x86_64", "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2", "-m", "1024",
             "-kernel", kernel, "-initrd", initrd, "-append", "root=/dev/vda rw console=ttyS0 " + self.append,
             "-drive", f"file={self.image},if=virtio,format=raw,cache=unsafe", "-nic", "none", "-display", "none",
             "-monitor", "none", "-serial", f"file:{self.image}.console", "-serial", "stdio", "-no-reboot"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, preexec_fn=_tied)
        try:
            self._until(READY.encode() + b"\n", BOOT_SECONDS)
        except BaseException:
            self.kill()
            raise
        return self

    def _until(self, sign, seconds):
        """What came before the sign."""
        deadline = time.monotonic() + seconds
        while sign not in self.unread:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self.qemu.stdout], [], [], left)[0]:
                raise SystemExit(f"not within {seconds} s: {sign.decode()!r}; {self._said()}")
            got = os.read(self.qemu.stdout.fileno(), 65536)
            if not got:
                raise SystemExit("the machine ended; " + self._said())
            self.unread += got
        before, _, self.unread = self.unread.partition(sign)
        return before.decode(errors="replace")

    def _said(self):
        return f"see {self.image}.console, and:\n{self.unread.decode(errors='replace')}"

    def shell(self, line, seconds=180):
        """Exit status of a line of shell, and everything printed."""
        self.qemu.stdin.write(base64.b64encode(line.encode()) + b"\n")
        self.qemu.stdin.flush()
        output = self._until(b"\n" + DONE.encode() + b" ", seconds)
        return int(self._until(b"\n", seconds)), output

    def run(self, *command, seconds=180):
        """The same of a command."""
        return self.shell(" ".join("'" + word.replace("'", "'\\''") + "'" for word in command), seconds)

    def write(self, path, content):
        """A file in the machine, made by the administrator's shell."""
        coded = base64.b64encode(content.encode() if isinstance(content, str) else content).decode()
        at, steps = f"'{path}'", [f"mkdir -p '{os.path.dirname(path)}' && : >'{path}.coded'"]
        steps += [f"printf %s {coded[n:n + CHUNK]} >>'{path}.coded'" for n in range(0, len(coded), CHUNK)]
        steps += [f"base64 -d <'{path}.coded' >{at} && rm '{path}.coded'"]
        for step in steps:
            status, output = self.shell(step)
            if status:
                raise AssertionError(f"{path} can't be written in the machine: {output}")

    def kill(self):
        self.qemu.kill()
        self.qemu.wait()

    def __exit__(self, *_):
        try:
            self.qemu.stdin.write(base64.b64encode(b"systemctl poweroff") + b"\n")
            self.qemu.stdin.close()
            self.qemu.wait(STOP_SECONDS)
        except (OSError, subprocess.TimeoutExpired):
            self.kill()
        self.qemu.stdout.close()
