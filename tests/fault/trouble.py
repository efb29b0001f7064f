#!/usr/bin/env python3
"""The machine is in trouble while a good pair is being proved: no room on the disk, no descriptors, workers that are
killed. None of it speaks against the pair: it waits, `status` says why, and once the trouble is over it is served."""
import json
import os
import pathlib
import resource
import shutil
import signal
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))

import harness  # noqa: E402
from case import Case, main  # noqa: E402
from harness import Run  # noqa: E402
from processes import children_of, command_of, run as run_program, wait_until  # noqa: E402
from scene import SPARES  # noqa: E402
from strace import Strace, stop_tracer_of, was_injected  # noqa: E402

NAMES = ("certswapd", "certswapctl", "certswap-worker", "certswap-fetch", "certswap-exec")


class Trouble(Case):
    def waiting(self, run):
        """What `status` says about files that wait, each with a reason."""

        done = run.agent.ctl("status", "--json")
        if done.returncode != 0:
            return []
        return [w for w in json.loads(done.stdout)["waiting"] if w["why"]]

    def waits_and_goes_on(self, run, pair, *words, mend):
        """The pair, handed over already, waits for a reason with these words; after mend() it is served."""
        said = wait_until("status says why it waits", lambda: self.waiting(run), 20)
        for word in words:
            self.assertIn(word, said[0]["why"])
        self.assertEqual(run.rejected(), {})
        self.assertTrue(run.serves(run.first["shop"]))
        before = run.agent.status()["last_swap"]
        mend()
        run.wait_served(pair, seconds=40)
        run.wait_result("committed", before)
        wait_until("nothing waits any more", lambda: run.settled() and not self.waiting(run), 20)
        self.assertEqual(run.rejected(), {})

    def needs_strace(self):
        if not shutil.which("strace"):
            self.skipTest("strace is not installed")

    def test_no_room_on_the_disk(self):
        if os.geteuid() != 0:
            self.skipTest("mounts a file system")
        with Run("room", servers=("nginx",)) as run:
            run.state.mkdir(exist_ok=True)
            if run_program("mount", "-t", "tmpfs", "-o", "size=1m,mode=0711", "tmpfs", str(run.state),
                           check=False).returncode:
                self.skipTest("nothing can be mounted here")
            run.at_end(lambda: (run.agent.close(), run_program("umount", "-l", str(run.state), check=False)))
            run.agent.start()
            run.begin()
            pair = run.ca.issue(run.names)
            staged = run.state / "staged.pem"
            staged.write_text(pair.key + pair.fullchain)
            full = run.state / "full"
            room = os.statvfs(run.state)
            with open(full, "wb") as file:
                file.write(bytes((room.f_bavail - 4) * room.f_bsize))  # for the claim, not for a generation
            staged.rename(run.state / "incoming" / "shop" / "pair.pem")
            self.waits_and_goes_on(run, pair, mend=full.unlink)

    def test_no_descriptors(self):
        with Run("descriptors", servers=("nginx",)) as run:
            run.agent.start()
            run.begin()
            pid = run.agent.process.pid
            wait_until("the spare workers are there", lambda: len(children_of(pid)) == SPARES and run.settled(), 20)
            limits = resource.prlimit(pid, resource.RLIMIT_NOFILE)
            open_now = len(os.listdir(f"/proc/{pid}/fd"))
            pair = run.ca.issue(run.names)
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (open_now + 6, limits[1]))
            run.drop([pair.file("pair.pem", pair.key + pair.fullchain)], name="shop")
            self.waits_and_goes_on(run, pair, "Too many open files",
                                   mend=lambda: resource.prlimit(pid, resource.RLIMIT_NOFILE, limits))

    def read_again_with(self, run, limit):
        """SIGHUP while certswapd has so few descriptors. True: it came through, at once or when they were back; False: refused."""
        pid, log = run.agent.process.pid, run.agent.log()
        before = resource.prlimit(pid, resource.RLIMIT_NOFILE, (limit, resource.prlimit(pid, resource.RLIMIT_NOFILE)[1]))
        run.agent.process.send_signal(signal.SIGHUP)

        def over():
            more = run.agent.log()[len(log):]
            return next((word for word in ("was read again", "reload-refused", "reload-waits") if word in more), "")
        said = wait_until("the configuration was read, or not", over, 20)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, before)
        self.said.append(said)
        if said == "reload-waits":
            wait_until("it is put in place", lambda: "was read again" in run.agent.log()[len(log):], 20)
        return said != "reload-refused"

    def test_configuration_read_with_few_descriptors(self):
        """Few and more: refused, put in place later, or at once. Nothing is lost, and certswapd goes on."""
        self.said = []
        with Run("few", servers=("nginx",)) as run:
            run.agent.start()
            run.begin()
            enough = len(os.listdir(f"/proc/{run.agent.process.pid}/fd"))
            for more in (-2, 0, 2, 4, 8, 16, 32, 60, 100):
                claimed, pair = run.state / "work/000900,shop,pair.pem", run.ca.issue(run.names)
                claimed.write_text(pair.key + pair.fullchain)
                if not self.read_again_with(run, enough + more):
                    self.assertTrue(claimed.exists())
                    claimed.unlink()
                    continue
                self.assertExit(run.agent.ctl("status"), 0)
                run.wait_served(pair, seconds=40)
                pair = run.ca.issue(run.names)
                run.drop([pair.file("pair.pem", pair.key + pair.fullchain)], name="shop")
                run.wait_served(pair, seconds=40)
            self.assertIn("reload-waits", self.said)
            self.assertIn("was read again", self.said)
            self.assertEqual(run.agent.starts, 1)
            self.assertEqual(run.rejected(), {})

    def test_configuration_read_close_to_the_limit(self):
        """It needs no more than a start: the certificates that are there already are not counted twice."""
        with Run("close", certificates={f"n{i}": [f"n{i}.example.test"] for i in range(150)}, servers=()) as run:
            run.agent.start()
            pid = run.agent.process.pid
            wait_until("the spare workers are there", lambda: len(children_of(pid)) == SPARES, 20)
            self.said = []
            self.assertTrue(self.read_again_with(run, len(os.listdir(f"/proc/{pid}/fd")) + 100))
            self.assertEqual(self.said, ["was read again"])

    def test_look_at_the_start_that_fails(self):
        """What was claimed before the stop is not taken for a claim that was cut off."""
        self.needs_strace()
        with Run("look", servers=("nginx",)) as run:
            run.agent.start()
            run.begin()
            run.agent.stop()
            pair, claimed = run.ca.issue(run.names), run.state / "work/000777,shop,pair.pem"
            claimed.write_text(pair.key + pair.fullchain)
            looks = "?newfstatat,?fstatat64"
            run.agent.launch(["strace", "-D", "-I", "2", "-qq", "-o", str(run.folder / "trace"), "-P", claimed.name,
                              "-e", f"trace={looks}", "-e", f"inject={looks}:error=EIO"])
            wait_until("a look has failed", lambda: was_injected(run.folder / "trace"), 40)
            run.agent.wait_ready(40)
            wait_until("it says so", lambda: "watch-failed" in run.agent.log(), 20)
            self.assertTrue(claimed.exists())
            stop_tracer_of(run.agent.process.pid)
            run.wait_served(pair, seconds=40)

    def test_look_at_live_that_fails(self):
        """A file of the live pair that can't be read for a moment was not written by somebody."""
        self.needs_strace()
        for call, error in (("pread64", "EIO"), ("pread64", "EINTR"), ("newfstatat", "ENOMEM")):
            with self.subTest(call=call, error=error), Run("live-look", servers=("nginx",)) as run:
                run.agent.start()
                run.begin()
                run.agent.stop()
                trace, chain = run.folder / "trace", run.live().resolve() / "chain.pem"
                run.agent.launch(["strace", "-D", "-I", "2", "-qq", "-o", str(trace), "-P", str(chain),
                                  "-e", f"trace={call},pread64", "-e", f"inject={call}:error={error}:when=1"])
                run.agent.wait_ready(40)
                wait_until("a look has failed", lambda: was_injected(trace), 40)
                wait_until("it is looked at again", lambda: trace.read_text().rpartition("(INJECTED)")[2].count("pread64"), 20)
                stop_tracer_of(run.agent.process.pid)
                pair = run.ca.issue(run.names)
                self.assertEqual(run.agent.ctl("submit", *pair.files()).returncode, 0)
                self.assertNotIn("written-through", [event["event"] for event in run.events()])
                wait_until("nothing is under way", run.settled, 10)

    def test_look_at_what_came_out_that_fails(self):
        """A link of ours that can't be read for a moment in an exchange is no stranger's: the good pair goes live."""
        self.needs_strace()
        with Run("next-look", servers=("nginx",)) as run:
            run.agent.start()
            run.begin()
            for nth in range(1, 4):  # before, in, and right after the exchange
                with self.subTest(nth=nth):
                    pair = run.ca.issue(run.names)
                    tracer = Strace(run.agent.process.pid, run.folder / "trace", [f"readlinkat:error=EIO:when={nth}"],
                                    ["readlinkat"], about="next")
                    run.drop([pair.file("pair.pem", pair.key + pair.fullchain)])
                    wait_until("it is served or refused", lambda: run.serves(pair) or run.rejected(), 40)
                    wait_until("nothing is under way", run.settled, 20)
                    tracer.stop()
                    self.assertEqual(run.rejected(), {})
                    self.assertEqual(run.live_sha256(), pair.sha256)
            self.assertEqual([e for e in run.events() if e["event"] in ("link-turned", "link-replaced", "written-through")], [])

    def test_look_at_the_link_that_fails_once(self):
        """Each look at `live` in a swap, one after the other: the good pair goes live all the same, or waits and it is said why."""
        self.needs_strace()
        with Run("link-look", servers=("nginx",)) as run:
            run.agent.start()
            run.begin()
            trace, nth, hit = run.folder / "trace", 0, True
            while hit:
                nth += 1
                pair = run.ca.issue(run.names)
                tracer = Strace(run.agent.process.pid, trace, [f"readlinkat:error=EIO:when={nth}"], ["readlinkat"], about="live")
                done = run.agent.ctl("submit", "--name", "shop", *pair.files(), seconds=60)
                tracer.stop()
                hit = was_injected(trace)
                if done.returncode:
                    self.assertIn("HELD: live could not be changed: can't read link live: Input/output error", done.stderr)
                else:
                    self.assertEqual(run.live_sha256(), pair.sha256, f"look {nth}")
            self.assertGreater(nth, 3)

    def test_way_back_that_fails_for_a_moment(self):
        """The link that could not be turned back is turned back a moment later: nobody is needed."""
        self.needs_strace()
        with Run("back-fails", servers=("nginx",)) as run:
            self.with_programs(run)
            run.agent.start()
            run.begin()
            (harness.PROGRAMS / "hooks/nginx/reload").write_text("#!/bin/sh\nexit 1\n")
            pair = run.ca.issue(run.names)
            tracer = Strace(run.agent.process.pid, run.folder / "trace", ["renameat2:error=EIO:when=2"], ["renameat2"])
            self.assertExit(run.agent.ctl("submit", "--name", "shop", *pair.files(), seconds=60), 1, "ROLLED_BACK")
            tracer.stop()
            self.assertTrue(was_injected(run.folder / "trace"))
            self.assertEqual(run.live_sha256(), run.first["shop"].sha256)
            self.assertTrue(run.serves(run.first["shop"]))

    def with_programs(self, run):
        """Its own copy of the programs."""
        built, harness.PROGRAMS = harness.PROGRAMS, run.folder / "programs"
        run.at_end(lambda: setattr(harness, "PROGRAMS", built))
        harness.PROGRAMS.mkdir()
        for name in NAMES:
            shutil.copy2(built / name, harness.PROGRAMS / name)
        shutil.copytree(built / "hooks", harness.PROGRAMS / "hooks")

    def kill_workers(self, run):
        """All of them, and from now on each that starts; returns what ends this."""
        worker, good = harness.PROGRAMS / "certswap-worker", harness.PROGRAMS / "good"
        worker.rename(good)
        worker.write_text("#!/bin/sh\nkill -9 $$\n")
        worker.chmod(0o755)
        for pid in children_of(run.agent.process.pid):
            if "certswap-worker" in command_of(pid):
                os.kill(pid, signal.SIGKILL)
        return lambda: good.rename(worker)

    def test_workers_that_are_killed(self):
        with Run("killed", servers=("nginx",)) as run:
            self.with_programs(run)
            run.agent.start()
            run.begin()
            mend = self.kill_workers(run)
            pair = run.ca.issue(run.names)
            run.drop([pair.file("pair.pem", pair.key + pair.fullchain)], name="shop")
            self.waits_and_goes_on(run, pair, "certswap-worker (check)", mend=mend)

    def test_standby_in_an_incident_while_workers_are_killed(self):
        with Run("killed-standby", servers=("nginx",)) as run:
            self.with_programs(run)
            run.agent.start()
            run.begin()
            pair = run.ca.issue(run.names)
            self.assertExit(run.agent.ctl("standby", "shop", *pair.files()), 0)
            mend = self.kill_workers(run)
            self.assertExit(run.agent.ctl("notice", "shop", "--case", "l", "--no-wait"), 0)
            wait_until("the incident says why it waits",
                       lambda: "could not be proved" in run.agent.ctl("incident", "1").stdout, 20, 0.1)
            mend()
            run.wait_served(pair, seconds=40)
            self.assertNotIn("is refused", run.agent.ctl("incident", "1").stdout)

main()
