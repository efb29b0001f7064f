"""Servers that are unusual and good: each swap ends in COMMITTED, and certswapctl submit says so."""
from trial import Trial, TrialRun, end, look, wait_until
from case import Case, main

WILD = ["*.wild.example.test"]


class Good(Case):
    deadline = 120

    def committed(self, run, names=None):
        """New pairs for all; each is proved on the wire. {name: pair}"""
        pairs = {}
        identities = {t.name: t.identity() for t in run.servers}
        for name, (pair, done) in run.submit_all(names or list(run.certificates), 60).items():
            with self.subTest(name):
                self.assertExit(done, 0, pair.serial)
                status = run.agent.status(name)
                self.assertEqual(status["last_swap"]["result"], "committed", status)
                self.assertEqual(status["state"], "ok")
                self.assertEqual(run.live_sha256(name), pair.sha256)
            pairs[name] = pair
        self.assertEqual({t.name: t.identity() for t in run.servers}, identities)
        return pairs

    def test_plain_and_both_families(self):
        with TrialRun("plain", Trial("plain"), Trial("six", hosts=("::1",)), Trial("both", hosts=("127.0.0.1", "::1"))) as run:
            run.agent.start()
            run.begin()
            pairs = self.committed(run)
            for trial in run.servers:
                self.assertEqual(trial.every_look(), {pairs[trial.name].sha256})
            places = {place["endpoint"] for place in run.agent.status("both")["served"]}
            self.assertEqual(places, set(run.trials["both"].endpoints()))

    def test_client_certificate_demanded(self):
        # a handshake counts once the server has proved its key, though it ends with an alert
        with TrialRun("clients", Trial("new"), Trial("old")) as run:
            for trial, newest in (("new", "1.3"), ("old", "1.2")):
                run.trials[trial].set(run, clients=run.ca.root, newest=newest)
            run.agent.start()
            run.begin()
            with self.assertRaises(OSError):
                look("127.0.0.1", run.trials["old"].port, newest="1.2")
            pairs = self.committed(run)
            for name, pair in pairs.items():
                shown = {place["sha256"] for place in run.agent.status(name)["served"]}
                self.assertEqual(shown, {pair.sha256})

    def test_wildcard_beside_another_default(self):
        # who names no server gets another pair, before and after: it is none of ours
        with TrialRun("wildcard", Trial("wild", names=WILD)) as run:
            other = run.ca.issue(["other.example.test"])
            folder = run.folder / "otherwise"
            folder.mkdir()
            (folder / "fullchain.pem").write_text(other.fullchain)
            (folder / "privkey.pem").write_text(other.key)
            wild = run.trials["wild"]
            wild.set(run, domain=".wild.example.test", otherwise=str(folder))
            run.agent.start()
            run.begin()
            pair = self.committed(run)["wild"]
            self.assertEqual(look("127.0.0.1", wild.port, "any.wild.example.test")[0].sha256, pair.sha256)
            self.assertEqual(look("127.0.0.1", wild.port)[0].sha256, other.sha256)
            served = {p["server_name"]: p["sha256"] for p in run.agent.status("wild")["served"]}
            self.assertEqual(served.pop(""), other.sha256)
            self.assertEqual(set(served.values()), {pair.sha256})
            self.assertTrue(all(name.endswith(".wild.example.test") and "*" not in name for name in served), served)

    def test_sessions_offered_are_not_resumed(self):
        with TrialRun("tickets", Trial("tickets", tickets=True)) as run:
            run.agent.start()
            run.begin()
            trial = run.trials["tickets"]
            self.resume(trial, 1)  # the server does resume sessions
            pair = self.committed(run)["tickets"]
            self.assertEqual(trial.every_look(), {pair.sha256})
            self.resume(trial, 2)  # and the agent asked for none in between

    def resume(self, trial, count):
        """Resumes a session. The server notes it after the client's last word, so the note is waited for."""
        session = look("127.0.0.1", trial.port, newest="1.2")[1]
        look("127.0.0.1", trial.port, session=session)
        wait_until(f"resumed session {count} is noted", lambda: trial.resumed() >= count)
        self.assertEqual(trial.resumed(), count)

    def test_header_of_the_proxy_protocol(self):
        # one is found out, the other one is told; unlike a place that was silent, both are proved
        with TrialRun("proxy", Trial("found", proxy=True), Trial("told", proxy=True)) as run:
            told = run.trials["told"]
            told.endpoints = lambda: [f"proxy:127.0.0.1:{told.port}"]
            run.write_config()
            run.agent.start()
            run.begin()
            pairs = self.committed(run)
            for name, trial in run.trials.items():
                self.assertEqual(trial.every_look(), {pairs[name].sha256})
                served = run.agent.status(name)["served"]
                self.assertEqual({p["endpoint"] for p in served}, {f"127.0.0.1:{trial.port}"})
                self.assertEqual({p["sha256"] for p in served}, {pairs[name].sha256})

    def test_kind_of_key_changes(self):
        with TrialRun("kinds", Trial("kinds")) as run:
            run.agent.start()
            run.begin()
            trial = run.trials["kinds"]
            for kind in ("rsa-2048", "ecdsa-p384"):
                trial.certificates["kinds"] = kind
                pair = self.committed(run)["kinds"]
                self.assertEqual(trial.every_look(), {pair.sha256})

    def test_hooks_that_leave_something(self):
        with TrialRun("leaving", Trial("child", reload="leaves-a-child"), Trial("session", reload="leaves-a-session")) as run:
            run.agent.start()
            run.begin()
            left = run.trials["session"].folder / "left"
            run.at_end(lambda: left.exists() and end(int(left.read_text())))
            self.committed(run)

    def test_hook_that_prints_a_gigabyte(self):
        with TrialRun("flood", Trial("flood", reload="floods")) as run:
            run.agent.start()
            run.begin()
            self.committed(run)
            with open(f"/proc/{run.agent.process.pid}/status", encoding="ascii") as file:
                peak = next(int(line.split()[1]) for line in file if line.startswith("VmHWM:"))
            self.assertLess(peak, 200 * 1024)  # KiB; with AddressSanitizer's own


main()
