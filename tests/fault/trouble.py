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

NAMES = ("certswapd", "certswapctl", "certswap-worker", "certswap-exec")


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
            limits = resource.prlimit(pid, resource.RLIMIT_NOFILE)
            open_now = len(os.listdir(f"/proc/{pid}/fd"))
            pair = run.ca.issue(run.names)
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (open_now + 6, limits[1]))
            run.drop([pair.file("pair.pem", pair.key + pair.fullchain)], name="shop")
            self.waits_and_goes_on(run, pair, "Too many open files",
                                   mend=lambda: resource.prlimit(pid, resource.RLIMIT_NOFILE, limits))

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
