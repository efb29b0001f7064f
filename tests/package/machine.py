"""A tree with a real systemd in it, booted by systemd-nspawn; also on hosts whose own PID 1 is not systemd. Only loopback
inside, and what is done inside leaves the host alone."""
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

# nspawn's list of system calls (systemd 252) leaves Landlock out, which certswap-worker needs
SYSTEM_CALLS = "landlock_create_ruleset landlock_add_rule landlock_restrict_self"
SKIPPED = 77  # ctest's SKIP_RETURN_CODE
BOOT_SECONDS, STOP_SECONDS = 90, 30


class Machine:
    def __init__(self, tree):
        self.tree, self.leader = tree, 0
        self.nspawn = None

    def __enter__(self):
        os.makedirs("/run/systemd", exist_ok=True)  # nspawn wants it; a host without systemd has none
        with tempfile.TemporaryDirectory() as folder:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ready:
                ready.bind(folder + "/notify")
                self.start(folder + "/notify")
                try:
                    self.wait_ready(ready)
                except BaseException:
                    self.stop()
                    raise
        return self

    def start(self, notify):
        with open(self.tree + ".console", "wb") as console:
            self.nspawn = subprocess.Popen(
                ["systemd-nspawn", "-q", "-D", self.tree, f"--machine=certswap{os.getpid()}", "--boot", "--private-network",
                 "--register=no", "--keep-unit", "--console=pipe", "--notify-ready=yes", "--kill-signal=SIGRTMIN+3",
                 "--system-call-filter=" + SYSTEM_CALLS],
                stdin=subprocess.DEVNULL, stdout=console, stderr=console, start_new_session=True,
                env={**os.environ, "NOTIFY_SOCKET": notify})

    def wait_ready(self, ready):
        """nspawn tells the PID of the systemd inside, and READY=1 when that one is up."""
        deadline = time.monotonic() + BOOT_SECONDS
        while True:
            ready.settimeout(max(0.1, deadline - time.monotonic()))
            try:
                lines = ready.recv(4096).decode().splitlines()
            except TimeoutError:
                raise SystemExit(f"the machine did not boot in {BOOT_SECONDS} s: see {self.tree}.console") from None
            for line in lines:
                if line.startswith("X_NSPAWN_LEADER_PID="):
                    self.leader = int(line.partition("=")[2])
            if "READY=1" in lines:
                return

    def _enter(self, command):
        return ["nsenter", "-t", str(self.leader), "-m", "-u", "-i", "-n", "-p", "-r", "-w", "env", "-i",
                "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "TERM=dumb", "LC_ALL=C.UTF-8", *command]

    def run(self, *command, seconds=120):
        """Exit status and everything printed."""
        done = subprocess.run(self._enter(command), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, timeout=seconds, check=False)
        return done.returncode, done.stdout.decode(errors="replace")

    def follow(self, first, then, *command, seconds=60):
        """Whether a command that goes on printing shows a line with `first` and later one with `then`."""
        following = subprocess.Popen(self._enter(command), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        limit = threading.Timer(seconds, following.kill)
        limit.start()
        wanted = [first, then]
        for line in following.stdout:
            if wanted[0] in line:
                wanted.pop(0)
            if not wanted:
                break
        limit.cancel()
        following.kill()
        following.wait()
        following.stdout.close()
        return not wanted

    def stop(self):
        """Halts in order. nspawn itself is never killed first: the systemd inside would live on."""
        if self.leader:
            os.kill(self.leader, signal.SIGRTMIN + 3)
        else:
            self.nspawn.terminate()
        try:
            self.nspawn.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            if self.leader:
                os.kill(self.leader, signal.SIGKILL)
            self.nspawn.kill()
            self.nspawn.wait()

    def __exit__(self, *_):
        self.stop()


class Report:
    """A line for each thing that should be; the exit status of the test at the end."""

    def __init__(self, machine):
        self.machine, self.passed, self.failed = machine, 0, 0

    def be(self, what, good, output=""):
        print(("ok - " if good else "not ok - ") + what, flush=True)
        if good:
            self.passed += 1
        else:
            self.failed += 1
            print("".join(f"#   {line}\n" for line in output.splitlines()), end="", flush=True)
        return good

    def works(self, what, *command, **options):
        status, output = self.machine.run(*command, **options)
        self.be(what, status == 0, f"{' '.join(command)}: exit {status}\n{output}")
        return output

    def prints(self, what, wanted, *command):
        _, output = self.machine.run(*command)
        return self.be(what, wanted in output, f"{' '.join(command)}: no '{wanted}' in\n{output}")


def build(source, kind, out, **environment):
    """Runs ./package; the test ends here where it fails."""
    log = out.with_suffix(".log")
    with open(log, "wb") as output:
        done = subprocess.run([source / "package", kind, out], stdout=output, stderr=output, check=False,
                              env={**os.environ, **environment})
    if done.returncode:
        print(f"not ok - ./package {kind} (all of it: {log})")
        print("".join(f"#   {line}\n" for line in log.read_text(errors="replace").splitlines()[-15:]))
        sys.exit(1)


def need(*programs):
    """Skips the test where it can't run: it needs root, and tools that ./test does not install."""
    if os.geteuid() != 0:
        skip("needs root, to boot a tree")
    if not os.path.ismount("/sys/fs/cgroup"):
        skip("no control groups at /sys/fs/cgroup: systemd-nspawn can't boot a tree here")
    with open("/proc/self/mountinfo", encoding="utf-8") as mounts:
        if not any(line.split()[4] == "/" for line in mounts):
            skip("in a chroot: systemd-nspawn can't make its mounts here")
    missing = [p for p in programs if subprocess.run(["sh", "-c", f"command -v {p}"], stdout=subprocess.DEVNULL, check=False).returncode]
    if missing:
        skip("not installed: " + " ".join(missing))


def skip(why):
    print("skipped: " + why)
    sys.exit(SKIPPED)
