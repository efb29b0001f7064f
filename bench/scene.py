"""The servers that are measured: for each kind one with certswapd, one bare, one under the usual shell loop, all three with the
same configuration; and how a new certificate reaches each of them."""
import json
import os
import pathlib
import shlex
import shutil
import subprocess
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "tests/e2e"))

import many  # noqa: E402
from harness import PROGRAMS, Run  # noqa: E402
from processes import end, stat_of, wait_until  # noqa: E402
from webserver import Apache, Nginx  # noqa: E402

HERE = pathlib.Path(__file__).resolve().parent
PROBER = os.environ.get("CERTSWAP_PROBER", HERE.parent / "build/bench/bench/certswap-bench-prober")
LOOP_MAX = 1000  # certificates: the loop loads each three times
# no look and no emergency key is to be made in the middle of a measurement
MORE = 'check = { interval = "1d"; }; reissue = [ "/bin/true" ];'
KINDS = {"nginx": Nginx, "apache": Apache}
PREPARED = 100  # from so many certificates on they are there at the start: that many submits would take minutes
QUIET_S = 0.3  # so long must the new certificate be shown alone before a measurement is over
TICK_MS = 1000 / os.sysconf("SC_CLK_TCK")


class Prober:
    """prober.c on one server, from the beginning of the `with` to its end."""

    def __init__(self, server, name):
        self._argv = [str(PROBER), "127.0.0.1", str(server.port), name]
        self._news = threading.Condition()
        self.changes = []  # (sha256 or None, began, ended), times of time.monotonic()
        self.failed = 0

    def __enter__(self):
        self._process = subprocess.Popen(self._argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self._wait(lambda: self.changes, 10)
        return self

    def _read(self):
        for line in self._process.stdout:
            word, began, ended, rest = line.split(None, 3)
            with self._news:
                if word == "end":
                    self.failed = int(ended)
                else:
                    self.changes.append((rest.strip() if word == "shown" else None, int(began) / 1e9, int(ended) / 1e9))
                self._news.notify_all()

    def _wait(self, condition, seconds):
        with self._news:
            if not self._news.wait_for(condition, seconds):
                raise AssertionError(f"nothing new in {seconds:g} s from {' '.join(self._argv)}")

    def __exit__(self, *_):
        self._process.stdin.close()
        self._process.wait(20)
        self._reader.join()

    def first(self, pair, since, seconds=30):
        """Milliseconds from `since` to the end of the first handshake that showed the pair."""
        def found():
            return next((ended for sha256, _, ended in self.changes if sha256 == pair.sha256 and ended >= since), None)
        self._wait(found, seconds)
        return (found() - since) * 1000

    def wait_quiet(self, seconds=30):
        """Until nothing has changed for QUIET_S: nginx shows old and new in turn for about 100 ms."""
        wait_until("the server shows one certificate", lambda: time.monotonic() - self.changes[-1][2] > QUIET_S, seconds, 0.02)


class Bare:
    """A web server without certswapd, its pairs in plain folders."""

    def __init__(self, run, kind, title, pairs):
        self.folder = run.folder / f"{title}-{kind}"
        self.certificates = self.folder / "certificates"
        for name, pair in pairs.items():
            (self.certificates / name / "live").mkdir(parents=True)
            self.put(name, pair)
        self.server = KINDS[kind](self.folder / "server", self.certificates, list(run.certificates.items()))
        run.at_end(self.server.stop)
        self.server.start()

    def put(self, name, pair):
        """Replaces both files, the key first, each by a rename. When the last one was in place."""
        live = self.certificates / name / "live"
        for file, text in (("privkey.pem", pair.key), ("fullchain.pem", pair.fullchain)):
            aside = live.with_name(file)
            aside.write_text(text)
            now = time.monotonic()
            aside.rename(live / file)
        return now

    def reload(self):
        now = time.monotonic()
        self.server.reload()
        return now


class Loop(Bare):
    """The same under the usual shell loop: the watcher, the server's own test, the server's own reload."""
    watcher = ["inotifywait", "-m", "-e", "close_write,moved_to"] if shutil.which("inotifywait") else \
        [sys.executable, "-B", str(HERE / "watcher.py")]
    words = "inotifywait" if shutil.which("inotifywait") else "watcher.py, which stands in for inotifywait"
    commands = {"nginx": "{binary} -q -t -c {config} && {binary} -c {config} -s reload",
                "apache": "{binary} -f {config} -t && {binary} -f {config} -k graceful"}

    def __init__(self, run, kind, pairs, name):
        super().__init__(run, kind, "loop", pairs)
        command = self.commands[kind].format(binary=self.server.binary, config=shlex.quote(self.server.config))
        watch = shlex.join([*self.watcher, str(self.certificates / name / "live")])
        text = f'{watch} | while read -r _ _ file; do [ "$file" = fullchain.pem ] && {{ {command}; }} >/dev/null 2>&1; done'
        self._process = subprocess.Popen(["bash", "-c", text], stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
                                         start_new_session=True)
        run.at_end(self._stop)
        for line in self._process.stderr:
            if "established" in line:
                break

    def _stop(self):
        os.killpg(self._process.pid, 15)
        self._process.wait(10)
        self._process.stderr.close()


class Scene:
    """One kind of server with `count` certificates, in the three ways; the first certificate is the one that changes.
    alone: neither certswapd nor its server are started, nor the others; the pairs are there."""

    def __init__(self, kind, count, alone=False):
        self.kind, self.count, self.alone = kind, count, alone
        names = {f"site{i:05d}": [f"site{i:05d}.example.test"] for i in range(count)}
        self.run = Run(f"bench-{kind}-{count}", certificates=names, servers=(kind,), more=MORE if count >= PREPARED else "")
        self.name = "site00000"
        self.host = names[self.name][0]
        self.bare = self.loop = None
        self.start_s = self.looked_s = 0.0
        self.cpu = []  # milliseconds of each swap by a drop: certswapd, its children
        self._before = None

    def __enter__(self):
        self.run.__enter__()
        try:
            self.server = self.run.servers[0]
            if self.alone:
                self.run.first = self._many(-7200)
                return self
            if self.count >= PREPARED:
                self._prepare()
            else:
                self.agent = self.run.agent.start()
                self.run.begin()
            self.bare = Bare(self.run, self.kind, "bare", self.run.first)
            if self.count <= LOOP_MAX:
                self.loop = Loop(self.run, self.kind, self.run.first, self.name)
        except BaseException:
            self.run.__exit__(*sys.exc_info())
            raise
        return self

    def __exit__(self, *problem):
        return self.run.__exit__(*problem)

    def _prepare(self):
        """All pairs are live already; the server runs; then certswapd starts, and has looked at all places once."""
        self.run.first = self._many(-7200)  # single pairs begin an hour ago (authority.py), those of a batch now
        many.fill(self.run.state, self.run.certificates, self.run.first)
        self.run.config.write_text(self.run.config.read_text().replace('timeout = "10s"', 'timeout = "120s"'))
        self.server.start()
        began = time.monotonic()
        self.agent = self.run.agent.start(120)
        self.start_s = time.monotonic() - began

        def all_seen():
            status = json.loads(self.agent.ctl("status", "--json").stdout)
            return all(c["served"] for c in status["certificates"])
        wait_until("certswapd has seen what is served", all_seen, 900, 1)
        self.looked_s = time.monotonic() - began

    def _many(self, begin=-1):
        return many.issue(self.run.ca, self.run.folder / "issued", self.run.certificates, begin)

    def issue(self):
        return self.run.ca.issue([self.host])

    # --- the four ways; each returns the milliseconds to the first new handshake

    def by_reload(self):
        pair = self.issue()
        self.bare.put(self.name, pair)
        return self.timed(self.bare.server, pair, self.bare.reload)

    def by_loop(self):
        pair = self.issue()
        return self.timed(self.loop.server, pair, lambda: self.loop.put(self.name, pair))

    def by_drop(self):
        pair = self.issue()
        self._before = self.daemon()
        took = self.timed(self.server, pair, lambda: self.drop(pair), self.wait_over)
        self.wait_settled()
        return took

    def by_notice(self):
        pair = self.issue()
        self._demand(self.agent.ctl("standby", self.name, *pair.files()))
        wait_until("no swap is under way", self.run.settled, 120)

        def notice():
            now = time.monotonic()
            self._demand(self.agent.ctl("notice", self.name, "--case", "c", "--yes", "--no-wait"))
            return now
        return self.timed(self.server, pair, notice, self.wait_settled)

    def rehearsal(self):
        """How long Apache's rehearsal alone takes: certswap's hook, run by hand on the bare server."""
        pair = self.issue()
        folder = self.bare.folder / "candidate"
        folder.mkdir(exist_ok=True)
        for file, text in (("privkey.pem", pair.key), ("fullchain.pem", pair.fullchain), ("cert.pem", pair.cert),
                           ("meta.json", json.dumps({"sha256": pair.sha256, "names": [self.host]}))):
            (folder / file).write_text(text)
        server = self.bare.server
        environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "CERTSWAP_SERVER": "apache", "CERTSWAP_CONFIG": server.config,
                       "CERTSWAP_BINARY": server.binary, "CERTSWAP_PIDFILE": server.pidfile,
                       "CERTSWAP_EXEC": str(PROGRAMS / "certswap-exec"), "CERTSWAP_CANDIDATE": str(folder),
                       "CERTSWAP_LIVE": str(self.bare.certificates / self.name / "live")}
        with Prober(server, self.host):
            began = time.monotonic()
            done = subprocess.run([str(PROGRAMS / "hooks/apache/rehearse")], env=environment, stdin=subprocess.DEVNULL,
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60, check=False)
            took = time.monotonic() - began
        self._demand(done)
        return took * 1000

    @staticmethod
    def _demand(done):
        if done.returncode != 0:
            raise AssertionError(f"{done.args}: exit {done.returncode}: {done.stdout}{done.stderr or ''}")

    def timed(self, server, pair, act, after=None, seconds=120):
        with Prober(server, self.host) as prober:
            prober.wait_quiet()
            took = prober.first(pair, act(), seconds)
            prober.wait_quiet()
        if after:
            after()
        return took

    def drop(self, pair):
        """Writes the files into the drop box, as cp does; the moment before the last one is closed."""
        box = self.run.state / "incoming" / self.name
        for source in map(pathlib.Path, pair.files()):
            out = open(box / source.name, "wb", buffering=0)
            out.write(source.read_bytes())
            now = time.monotonic()
            out.close()
        return now

    def wait_over(self):
        """Asks nothing of certswapd, whose CPU time is being measured."""
        wait_until("the swap is over", self.run.settled, 120)
        self.cpu.append([after - before for before, after in zip(self._before, self.daemon())][:2])

    def wait_settled(self):
        def over():
            status = self.agent.status(self.name)
            return status["state"] == "ok" and status["last_swap"]["result"] == "committed" and self.run.settled()
        wait_until("the swap is committed", over, 120, 0.05)

    # --- all at once

    def bare_batch(self):
        """All files replaced, one reload."""
        pairs = self._many()
        for name, pair in pairs.items():
            self.bare.put(name, pair)
        return self.timed(self.bare.server, pairs[self.name], self.bare.reload, seconds=300)

    def batch(self, bad=None):
        """All files dropped; milliseconds until the last pair of all is live and proved, and how many reloads it took.
        bad: a certificate's name, whose new pair is for another host."""
        hosts = self.run.certificates
        pairs = many.issue(self.run.ca, self.run.folder / "issued", {**hosts, bad: ["other.example.test"]} if bad else hosts, -1)
        reloads = self._reloads()
        began = many.drop_all(self.run.state, pairs)
        left = {name: pair.sha256 for name, pair in pairs.items() if name != bad}

        def all_live():
            for name in list(left):
                meta = json.loads((self.run.state / "certificates" / name / "live/meta.json").read_text())
                if meta["sha256"] != left[name]:
                    return False
                del left[name]
            return self.run.settled()
        wait_until("all pairs are live", all_live, 900, 0.05)
        took = (time.monotonic() - began) * 1000
        if bad and self.server.shown(self.run.certificates[bad][0]).sha256 == pairs[bad].sha256:
            raise AssertionError("the bad pair is served")
        return took, self._reloads() - reloads

    def _reloads(self):
        words = {"nginx": ": reconfiguring", "apache": "resuming normal operations"}  # one line for each, in both
        return self.server.log().count(words[self.kind])

    # --- what the daemon costs

    def daemon(self):
        """Milliseconds of CPU time used so far by certswapd and by its children that have ended; its voluntary waits."""
        pid, own, waits = self.agent.process.pid, 0, 0
        for task in os.listdir(f"/proc/{pid}/task"):
            own += int(pathlib.Path(f"/proc/{pid}/task/{task}/schedstat").read_text().split()[0])
            status = pathlib.Path(f"/proc/{pid}/task/{task}/status").read_text()
            waits += int(next(line.split()[1] for line in status.splitlines() if line.startswith("voluntary")))
        fields = stat_of(pid)
        return own / 1e6, (int(fields[13]) + int(fields[14])) * TICK_MS, waits

    def memory(self):
        """kB: VmRSS and VmHWM of certswapd, its Pss, the Pss of the workers that wait."""
        pid = self.agent.process.pid
        status = dict(line.split(":", 1) for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines())
        children = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return {"rss": int(status["VmRSS"].split()[0]), "peak": int(status["VmHWM"].split()[0]), "pss": _pss(pid),
                "spare": sum(_pss(child) for child in children)}


def _pss(pid):
    try:
        lines = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:  # it has ended
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0)
