"""What the manual promises of commands and of `status`, tried on a running certswapd."""
import json
import pathlib
import signal

from case import Case, main
from harness import Run
from processes import wait_until

NAMES = ["shop.example.test", "www.shop.example.test"]


class Contract(Case):
    def live(self, run):
        return run.agent.status()["live"]["serial"]

    def test_server_that_starts_later_is_seen(self):
        with Run("later-start", servers=("nginx",)) as run:
            run.agent.start()
            pair = run.begin(start=False)
            self.assertTrue(all(s["sha256"] is None for s in run.agent.status()["served"]))
            run.servers[0].start()
            wait_until("status says that it is served",
                       lambda: all(s["sha256"] == pair.sha256 for s in run.agent.status()["served"]), 30, 0.1)
            self.assertIsNone(run.agent.status()["revocation"]["bound"])

    def test_back_to_what_was_live_before(self):
        with Run("back", servers=("nginx",)) as run:
            run.agent.start()
            pairs = [run.begin()] + [run.ca.issue(run.names) for _ in range(3)]
            for pair in pairs[1:]:
                self.assertExit(run.agent.ctl("submit", "--name", "shop", *pair.files()), 0)
            self.assertExit(run.agent.ctl("swap", "shop", "--to", "2"), 0)
            self.assertExit(run.agent.ctl("rollback", "shop"), 0)
            self.assertEqual(self.live(run), pairs[3].serial)  # what the swap by hand replaced
            self.assertExit(run.agent.ctl("rollback", "shop"), 0)
            self.assertEqual(self.live(run), pairs[2].serial)  # further back, not forward again
            run.agent.kill()
            run.agent.start()
            self.assertExit(run.agent.ctl("swap", "shop", "--to", "4"), 0)
            run.agent.kill()
            run.agent.start()
            self.assertExit(run.agent.ctl("rollback", "shop"), 0)
            self.assertEqual(self.live(run), pairs[2].serial)  # known over a restart
            self.assertExit(run.agent.ctl("swap", "shop", "--to", "99"), 1, "no generation 99", "certificates/shop/gen")
            for wrong in ("4294967298", "0", "second", "-1"):
                self.assertExit(run.agent.ctl("swap", "shop", "--to", wrong), 2, "--to")

    def narrowed(self, run):
        """A standby pair for two names, a live one for three, and three are needed."""
        run.agent.start()
        run.begin()
        standby = run.ca.issue(NAMES)
        self.assertExit(run.agent.ctl("standby", "shop", *standby.files()), 0)
        wide = run.ca.issue([*NAMES, "new.example.test"])
        self.assertExit(run.agent.ctl("submit", "--name", "shop", *wide.files()), 0)
        run.certificates["shop"] = [*NAMES, "new.example.test"]
        run.write_config()
        run.agent.process.send_signal(signal.SIGHUP)
        wait_until("the standby pair is not ready any more", lambda: not run.agent.status()["standby"]["ready"], 20)
        return standby

    def test_accept_with_swap_and_rollback(self):
        with Run("accept-swap", certificates={"shop": list(NAMES)}, servers=("nginx",)) as run:
            standby = self.narrowed(run)
            self.assertExit(run.agent.ctl("swap", "shop", "--to", "standby"), 1, "NAME_MISSING")
            self.assertExit(run.agent.ctl("swap", "shop", "--to", "standby", "--accept", "NAME_MISSING"), 2, "--why")
            self.assertExit(run.agent.ctl("swap", "shop", "--to", "standby", "--accept", "NAME_MISSING", "--why",
                                          "that name comes next week"), 0)
            self.assertEqual(self.live(run), standby.serial)
            self.assertIn("that name comes next week", json.dumps(run.events()))
            self.assertExit(run.agent.ctl("rollback", "shop"), 0)
            self.assertExit(run.agent.ctl("rollback", "shop"), 1, "NAME_MISSING")
            self.assertExit(run.agent.ctl("rollback", "shop", "--accept", "NAME_MISSING", "--why", "as before"), 0)

    def test_accept_with_confirm(self):
        with Run("accept-confirm", certificates={"shop": list(NAMES)}, servers=("nginx",),
                 more='on_notice = "confirm";') as run:
            standby = self.narrowed(run)
            self.assertExit(run.agent.ctl("notice", "shop", "--case", "l"), 1, "confirm")
            self.assertExit(run.agent.ctl("confirm", "shop"), 1)
            self.assertExit(run.agent.ctl("confirm", "shop", "--accept", "NAME_MISSING", "--why", "better than none"), 0)
            self.assertEqual(self.live(run), standby.serial)
            self.assertIn("better than none", json.dumps(run.events()))

    def test_what_is_held_is_told_once(self):
        with Run("held-once", servers=("apache",)) as run:
            told = run.folder / "alerts"
            command = run.folder / "alert"
            command.write_text(f"#!/bin/sh\ncat >>{told}\necho >>{told}\n")
            command.chmod(0o755)
            run.write_config(f'alert = [ "{command}" ];\n')
            run.agent.start()
            run.begin()
            config = pathlib.Path(run.servers[0].config)
            good = config.read_text()
            config.write_text(good + "NoSuchDirective on\n")
            self.assertExit(run.agent.ctl("submit", "--name", "shop", *run.ca.issue(run.names).files()), 1)

            def alerts():
                lines = told.read_text().splitlines() if told.exists() else []
                return [json.loads(line) for line in lines if line.strip()]
            held = wait_until("it is told", lambda: [a for a in alerts() if "HELD" in a["text"]], 15)
            self.assertEqual((held[0]["event"], held[0]["severity"]), ("swap-held", "ticket"))
            self.assertNotEqual(held[0]["what_to_do"], "nothing")
            for _ in range(2):  # each is another try that is held, for the same reason
                self.assertExit(run.agent.ctl("submit", "--name", "shop", *run.ca.issue(run.names).files()), 1)
            config.write_text(good)
            self.assertExit(run.agent.ctl("submit", "--name", "shop", *run.ca.issue(run.names).files()), 0)
            wait_until("the swap is told", lambda: [a for a in alerts() if "COMMITTED" in a["text"]], 15)
            self.assertEqual(len([a for a in alerts() if a["event"] == "swap-held"]), 1)
            self.assertEqual(len([e for e in run.events() if e["event"] == "swap-ended" and e.get("state") == "HELD"]), 1)


main()
