"""An RSA and an ECDSA pair on one endpoint: two certificates of the configuration, each looked for by its own algorithms."""
import os
import signal

from trial import Trial, TrialRun, look
import harness
from case import Case, main
from processes import wait_until

TWINS = {"ec": "ecdsa-p256", "rsa": "rsa-2048"}
CIPHERS = {"ec": "aECDSA", "rsa": "aRSA"}


class Twins(Case):
    deadline = 200

    def twins(self, **more):
        """The first of the two is the ECDSA pair."""
        return Trial("twins", certificates=dict(TWINS), names=["twins.example.test"], **more)

    def started(self, run):
        run.agent.start()
        run.begin()
        return run.trials["twins"]

    def shows(self, trial, **pairs):
        for name, pair in pairs.items():
            seen = look("127.0.0.1", trial.port, trial.names[0], ciphers=CIPHERS[name])[0]
            self.assertEqual(seen.sha256, pair.sha256, name)

    def test_each_turns_alone(self):
        with TrialRun("twins", self.twins()) as run:
            trial = self.started(run)
            now = dict(run.first)
            for name in ("ec", "rsa", "ec"):
                now[name], done = run.submit_all([name], 60)[name]
                self.assertExit(done, 0)
                self.shows(trial, **now)

    def test_the_rsa_pair_does_not_turn(self):
        with TrialRun("twin-rsa", self.twins(turn="first")) as run:
            trial = self.started(run)
            ec, done = run.submit_all(["ec"], 60)["ec"]
            self.assertExit(done, 0)
            _, done = run.submit_all(["rsa"], 120)["rsa"]
            self.assertExit(done, 1, "goes on showing another certificate", run.first["rsa"].serial)
            self.assertEqual(run.agent.status("rsa")["last_swap"]["result"], "rolled back")
            self.assertEqual(run.live_sha256("rsa"), run.first["rsa"].sha256)
            self.shows(trial, ec=ec, rsa=run.first["rsa"])

    def test_both_in_a_batch_and_one_does_not_turn(self):
        with TrialRun("twin-batch", self.twins(turn="first")) as run:
            trial = self.started(run)
            pairs = {name: run.issue(name) for name in TWINS}
            for name, pair in pairs.items():
                run.drop([pair.file("all.pem", pair.fullchain + pair.key)], name=name)

            def ended(name):
                swap = run.agent.status(name)["last_swap"]
                return swap["result"] if swap["result"] != "unserved" and run.settled() else None
            self.assertEqual(wait_until("the end of both", lambda: ended("rsa"), 150, 0.2), "rolled back")
            self.assertEqual(ended("ec"), "committed")
            self.assertEqual(run.live_sha256("ec"), pairs["ec"].sha256)
            self.assertEqual(run.live_sha256("rsa"), run.first["rsa"].sha256)
            self.shows(trial, ec=pairs["ec"], rsa=run.first["rsa"])
            self.assertTrue(any("goes on showing another" in why for why in run.rejected().values()), run.rejected())

    def with_generations(self, run):
        """Each has another pair than its first one, so that the link can be turned to that."""
        trial = self.started(run)
        for _, done in run.submit_all(list(TWINS), 60).values():
            self.assertExit(done, 0)
        return trial

    def rsa_goes_live_alone(self, run, trial, turned):
        """New pairs for both at once, and somebody turns the link of ec meanwhile (the file `turned` says so)."""
        pairs = {name: run.issue(name) for name in TWINS}
        os.kill(run.agent.process.pid, signal.SIGSTOP)  # it sees both at once
        for name, pair in pairs.items():
            run.drop([pair.file("all.pem", pair.fullchain + pair.key)], name=name)
        os.kill(run.agent.process.pid, signal.SIGCONT)
        wait_until("the end of both", lambda: turned.exists() and run.settled(), 150, 0.2)
        self.assertEqual(run.live_sha256("rsa"), pairs["rsa"].sha256)
        self.assertEqual(run.agent.status("rsa")["last_swap"]["result"], "committed")
        self.shows(trial, rsa=pairs["rsa"])
        self.assertEqual([why for why in run.rejected().values() if why.startswith("rsa:")], [])
        self.assertTrue(any(why.startswith("ec: FOREIGN") for why in run.rejected().values()), run.rejected())

    def test_both_in_a_batch_and_somebody_turns_the_link_of_one(self):
        """He does so behind the preflight. That is no fault of the other's, which goes live all the same."""
        with TrialRun("twin-turned", self.twins()) as run:
            trial = self.with_generations(run)
            turned, link = run.folder / "turned", run.live("ec")
            hook = harness.PROGRAMS / "hooks" / "trial" / "rehearse"
            hook.write_text(f"""#!/bin/sh
                [ -e {turned} ] && exit 0
                [ "$(printf '%s\\n' "$CERTSWAP_CANDIDATE" | wc -l)" = 2 ] || exit 0
                ln -s gen/000001 {link}.new && mv -T {link}.new {link} && touch {turned}
            """)
            hook.chmod(0o755)
            self.rsa_goes_live_alone(run, trial, turned)

    def test_both_in_a_batch_and_somebody_turns_the_link_of_one_after_the_exchange(self):
        """The other's is live and proved: nobody is told that it was refused."""
        with TrialRun("twin-turned-late", self.twins()) as run:
            trial = self.with_generations(run)
            turned, link = run.folder / "turned", run.live("ec")
            hook = harness.PROGRAMS / "hooks" / "trial" / "reload"
            hook.write_text(hook.read_text().replace("#!/bin/sh\n", f"""#!/bin/sh
                [ -e {turned} ] || {{ ln -s gen/000001 {link}.new && mv -T {link}.new {link} && touch {turned}; }}
            """))
            self.rsa_goes_live_alone(run, trial, turned)
            self.assertExit(run.agent.ctl("rollback", "rsa"), 0)

    def test_older_pair_waits_for_a_newer_one_that_is_on_its_way(self):
        """It came out of the drop box in the middle of the newer one's swap, and must not go live behind it."""
        with TrialRun("twin-older", self.twins()) as run:
            self.started(run)
            gate = run.folder / "gate"
            os.mkfifo(gate)
            hook = harness.PROGRAMS / "hooks" / "trial" / "rehearse"
            hook.write_text(f"#!/bin/sh\nread -r _ <{gate}\n")
            hook.chmod(0o755)
            older, newer = run.issue("ec"), run.issue("ec")

            def proved(pair):
                return any(pair.serial in line for line in run.agent.log().splitlines() if " proved: " in line)
            for pair in (newer, older):
                run.drop([pair.file("all.pem", pair.fullchain + pair.key)], name="ec")
                wait_until("it is proved", lambda pair=pair: proved(pair), 60, 0.05)
            with open(gate, "w", encoding="ascii") as file:
                file.write("\n")
            hook.unlink()
            wait_until("the end of both", run.settled, 60, 0.2)
            self.assertEqual(run.live_sha256("ec"), newer.sha256)
            self.assertTrue(any("OLDER_THAN_LIVE" in why for why in run.rejected().values()), run.rejected())


main()
