"""An incident from the notice to its end: the reissue command, a person's word, restarts, alerts, what follows the swap."""
import json
import os
import signal

from case import Case, main
from harness import Run
from incident import REISSUE, IncidentRun
from processes import wait_until
from publisher import Publisher


class Reissue(Case):
    def begun(self, run):
        run.agent.start()
        return run.begin()

    def test_client_gets_the_replacement(self):
        with IncidentRun("reissue", REISSUE) as run:
            first = self.begun(run)
            new = run.ca.issue(run.names)
            run.lay_ready(new)
            done = run.agent.ctl("notice", "shop", "--case", "c", "--yes")
            self.assertExit(done, 0, "may now be revoked", first.serial)
            self.assertTrue(run.serves(new))
            self.assertIn("shop 1 keyCompromise ", run.runs()[0])
            run.wait_closed()
            story = run.story()
            for words in ("the wire before", "reissue begins", "came through watch", "the wire after", "replaced", "closed"):
                self.assertTrue(any(words in text for text in story), (words, story))
            self.assertTrue(all("time_left" in s for s in run.incident()["story"][:3]))
            run.wait_alert("closed")
            ids = run.ids()
            self.assertEqual(len(ids), len(set(ids)), ids)
            self.assertIn("opened/shop/1", ids)
            self.assertEqual(len(run.runs()), 1)
            run.verify_log()

    def test_fails_and_is_tried_again_by_the_client_s_own_words(self):
        with IncidentRun("reissue-fails", REISSUE) as run:
            first = self.begun(run)
            run.client_says("fail")
            run.client_says("say", "acme: error 429: urn:ietf:params:acme:error:rateLimited: retry-after: 3\n")
            done = run.agent.ctl("notice", "shop", "--case", "l", "--yes")
            self.assertExit(done, 1, "next try at")
            self.assertIn("by the client's own words", run.wait_story("reissue failed"))
            self.assertTrue(run.serves(first))
            (run.client / "fail").unlink()
            new = run.ca.issue(run.names)
            run.lay_ready(new)
            run.wait_served(new, 40)
            self.assertEqual(len(run.runs()), 2)
            run.wait_closed()

    def test_refused_result_is_not_asked_for_again(self):
        """The client reuses the compromised key."""
        with IncidentRun("reissue-old-key", REISSUE) as run:
            first = self.begun(run)
            run.lay_ready(run.ca.issue(run.names, key=first.key))
            run.agent.ctl("notice", "shop", "--case", "c", "--yes", "--no-wait")
            self.assertIn("KEY_DENIED", run.wait_alert("candidate-refused")["text"])
            run.wait_story("reissue is not run again")
            wait_until("the command has ended", lambda: any("ended well" in t for t in run.story()))
            run.agent.kill()
            run.agent.start()
            self.assertEqual(len(run.runs()), 1)
            self.assertTrue(run.serves(first))
            good = run.ca.issue(run.names)
            self.assertExit(run.agent.ctl("submit", "--name", "shop", *good.files()), 0)
            run.wait_closed()
            self.assertEqual(len(run.runs()), 1)

    def test_wrong_names_old_certificate_flood_and_hang(self):
        with IncidentRun("reissue-odd", REISSUE + '    reissue_timeout = "1s";\n') as run:
            first = self.begun(run)
            run.client_says("flood")
            run.lay_ready(run.ca.issue(["other.example.test", run.names[0]]))
            run.agent.ctl("notice", "shop", "--case", "l", "--yes", "--no-wait")
            self.assertIn("www.shop.example.test", run.wait_alert("candidate-refused")["text"])
            self.assertExit(run.agent.ctl("withdraw", "1", "--why", "a test"), 0)
            self.assertLess((run.state / "incidents/000001.json").stat().st_size, 20000)
            (run.client / "flood").unlink()
            run.client_says("hang")
            run.agent.ctl("notice", "shop", "--case", "l", "--yes", "--no-wait")
            run.wait_story("took too long", 2)
            self.assertEqual(run.incident(2)["reissue"]["issued"], 1)
            (run.client / "hang").unlink()
            self.assertExit(run.agent.ctl("withdraw", "2", "--why", "a test"), 0)
            run.client_says("say", "Certificate not yet due for renewal\n")
            run.agent.ctl("notice", "shop", "--case", "l", "--yes", "--no-wait")
            run.wait_alert("reissue-brought-nothing", 20)
            self.assertTrue(run.serves(first))

    def test_standby_that_was_refused_is_not_tried_again(self):
        with IncidentRun("standby-tried") as run:
            self.begun(run)
            standby, other = run.ca.issue(run.names), run.ca.issue(run.names)
            self.assertExit(run.agent.ctl("standby", "shop", *standby.files()), 0)
            folder = (run.state / "certificates/shop/standby").resolve()
            (folder / "fullchain.pem").write_text(other.fullchain)  # it does not fit its key any more
            run.agent.ctl("notice", "shop", "--case", "l", "--yes", "--no-wait")
            run.wait_story("no proved replacement")
            new = run.ca.issue(run.names)
            self.assertExit(run.agent.ctl("submit", "--name", "shop", *new.files()), 0)
            run.wait_closed()
            self.assertEqual(sum("the standby pair is refused: " in text for text in run.story()), 1, run.story())
            self.assertTrue(run.serves(new))

    def test_killed_in_the_middle(self):
        with IncidentRun("reissue-kill", REISSUE) as run:
            self.begun(run)
            run.client_says("wait", str(os.getpid()))  # as long as the test lives
            run.agent.ctl("notice", "shop", "--case", "c", "--yes", "--no-wait")
            wait_until("the client runs", run.runs)
            run.agent.kill()
            run.agent.start()
            run.wait_story("cut off when certswapd ended")
            incident = run.incident()
            self.assertEqual((incident["reissue"]["issued"], incident["case"]), (1, "c"))
            new = run.ca.issue(run.names)
            run.lay_ready(new)
            (run.client / "next").rename(run.client / "done")  # the client that lived on
            for name, to in (("key.pem", "privkey.pem"), ("fullchain.pem", "fullchain.pem")):
                (run.client / "done" / name).rename(run.client / "live" / to)
            run.wait_served(new)
            run.wait_closed()

    def test_standby_is_quicker(self):
        with IncidentRun("reissue-standby", REISSUE) as run:
            self.begun(run)
            standby, new = run.ca.issue(run.names), run.ca.issue(run.names)
            self.assertExit(run.agent.ctl("standby", "shop", *standby.files()), 0)
            run.client_says("wait", str(os.getpid()))
            self.assertExit(run.agent.ctl("notice", "shop", "--case", "c", "--yes"), 0)
            self.assertTrue(run.serves(standby))
            run.wait_alert("replaced")
            self.assertIn("standby pair would be good", run.wait_alert("replaced")["what_to_do"])


class Person(Case):
    def test_confirm(self):
        with IncidentRun("confirm", REISSUE + '    on_notice = "confirm";\n') as run:
            run.agent.start()
            first = run.begin()
            new = run.ca.issue(run.names)
            run.lay_ready(new)
            done = run.agent.ctl("notice", "shop", "--case", "l", "--yes")
            self.assertExit(done, 1, "waits for your confirmation", "certswapctl confirm shop")
            self.assertEqual(run.agent.status()["incident"]["stage"], "waiting for confirmation")
            run.wait_alert("waiting-for-confirmation")
            run.wait_told()
            run.agent.kill()
            run.agent.start()
            wait_until("it waits again", lambda: run.agent.status()["incident"]["stage"] == "waiting for confirmation")
            self.assertTrue(run.serves(first))
            self.assertExit(run.agent.ctl("confirm", "shop"), 0)
            self.assertTrue(run.serves(new))
            run.wait_closed()
            run.wait_alert("closed")
            self.assertEqual(run.events().count("waiting-for-confirmation"), 1)
            self.assertEqual(len(run.runs()), 1)

    def test_revokes_old_after_is_a_deadline_of_its_own(self):
        options = REISSUE + '    on_notice = "confirm"; confirm_by = "1h"; ca = { revokes_old_after = "1h"; };\n'
        with IncidentRun("confirm-own", options) as run:
            run.agent.start()
            run.begin()
            new = run.ca.issue(run.names)
            run.lay_ready(new)
            # five days of time, but an hour from the reissue on: and that is when nobody is asked any more
            self.assertExit(run.agent.ctl("notice", "shop", "--case", "l", "--yes"), 0)
            self.assertTrue(run.serves(new))
            story = " ".join(run.story())
            self.assertIn("revokes_old_after", story)
            self.assertIn("nobody confirmed", story)


class Time(Case):
    def through(self, run, case, steps):
        run.agent.start()
        first = run.begin()
        run.agent.ctl("notice", "shop", "--case", case, "--yes", "--no-wait")
        run.wait_alert("no-source")
        for offset, event, severity in steps:
            run.move(offset)
            alert = run.wait_alert(event)
            self.assertEqual(alert["severity"], severity, alert)
        self.assertTrue(run.serves(first))
        run.wait_told()
        before = run.events()
        self.assertEqual(len(run.ids()), len(set(run.ids())), run.ids())
        run.agent.kill()
        run.move("-3d")  # somebody sets the clock back
        run.agent.start()
        new = run.ca.issue(run.names)
        self.assertTrue(run.agent.running())
        run.move(steps[-1][0])
        self.assertExit(run.agent.ctl("submit", "--name", "shop", *new.files()), 0)
        run.wait_alert("closed")
        self.assertEqual([e for e in run.events() if e not in ("swapped", "replaced", "closed")],
                         [e for e in before if e != "swapped"])
        return before

    def test_24_hours(self):
        with IncidentRun("clock-24h", clock=True) as run:
            events = self.through(run, "c", [("+11h", "no-source", "ticket"), ("+12h", "time-50", "info"),
                                             ("+1081m", "time-75", "info"), ("+1082m", "urgent", "page"),
                                             ("+22h", "time-90", "info"), ("+25h", "deadline-passed", "page")])
            self.assertEqual(events.count("time-50"), 1)

    def test_5_days(self):
        with IncidentRun("clock-5d", clock=True) as run:
            self.through(run, "l", [("+61h", "time-50", "info"), ("+91h", "time-75", "info"), ("+109h", "time-90", "info"),
                                    ("+115h", "urgent", "page"), ("+121h", "deadline-passed", "page")])

    def test_confirm_by(self):
        with IncidentRun("clock-confirm", '    on_notice = "confirm"; confirm_by = "6h";\n', clock=True) as run:
            run.agent.start()
            first = run.begin()
            standby = run.ca.issue(run.names)
            self.assertExit(run.agent.ctl("standby", "shop", *standby.files()), 0)
            self.assertExit(run.agent.ctl("notice", "shop", "--case", "c", "--yes"), 1)
            run.move("+17h")
            run.wait_alert("time-50")
            self.assertTrue(run.serves(first))
            run.move("+1081m")
            run.wait_served(standby)
            run.wait_closed()
            self.assertNotIn("urgent", run.events())

    def test_confirm_by_never(self):
        options = '    on_notice = "confirm"; confirm_by = "never";\n'
        with IncidentRun("clock-never", options, clock=True) as run:
            run.agent.start()
            first = run.begin()
            standby = run.ca.issue(run.names)
            self.assertExit(run.agent.ctl("standby", "shop", *standby.files()), 0)
            self.assertExit(run.agent.ctl("notice", "shop", "--case", "c", "--yes"), 1)
            run.move("+25h")
            run.wait_alert("deadline-passed")
            self.assertTrue(run.serves(first))
            self.assertExit(run.agent.ctl("confirm", "shop"), 0)
            self.assertTrue(run.serves(standby))


class Notices(Case):
    def file(self, run, name, **fields):
        (run.folder / name).write_text(json.dumps(fields))
        (run.folder / name).rename(run.state / "notices" / name)

    def test_break_in(self):
        """Every key on the disk is suspect: a standby is a stopgap, and a fresh key's request is there at once."""
        with IncidentRun("break-in", certificates={"shop": ["shop.example.test"], "mail": ["mail.example.test"]}) as run:
            run.agent.start()
            run.begin()
            standby = run.ca.issue(run.names)
            self.assertExit(run.agent.ctl("standby", "shop", *standby.files()), 0)
            done = run.agent.ctl("notice", "shop", "--scope", "host", "--case", "c", "--yes")
            self.assertExit(done, 1, "mail: the request (CSR)", "shop: the request (CSR)")
            self.assertEqual(done.stdout.count("BEGIN CERTIFICATE REQUEST") + done.stderr.count("BEGIN CERTIFICATE REQUEST"), 2)
            self.assertTrue(run.serves(standby))
            incident = wait_until("the stopgap's own incident", lambda: run.agent.status("shop")["incident"])
            self.assertIn("stopgap", incident["source"])
            again = run.ca.issue(run.names, key=standby.key)
            self.assertExit(run.agent.ctl("submit", "--name", "shop", *again.files()), 1, "KEY_DENIED")
            fresh = run.ca.issue(run.names)
            self.assertExit(run.agent.ctl("submit", "--name", "shop", *fresh.files()), 0)
            wait_until("shop's incidents are over", lambda: run.agent.status("shop")["incident"] is None)
            self.assertIsNotNone(run.agent.status("mail")["incident"])

    def test_hits_the_pair_on_its_way(self):
        with IncidentRun("notice-coming") as run:
            run.agent.start()
            first = run.begin()
            new = run.ca.issue(run.names)
            parent = run.servers[0].pid()
            os.kill(parent, signal.SIGSTOP)  # the reload is asked for and does not come
            run.at_end(lambda: os.kill(parent, signal.SIGCONT))
            before = run.agent.status()["last_swap"]
            self.assertExit(run.agent.ctl("submit", "--name", "shop", "--no-wait", *new.files()), 0)
            wait_until("the new pair is linked", lambda: run.live_sha256() == new.sha256)
            self.file(run, "n.json", sha256=new.sha256, case="l")
            run.wait_story("it was on its way to go live")
            os.kill(parent, signal.SIGCONT)
            run.wait_result("rolled back", before, seconds=40)
            self.assertTrue(run.serves(first))
            run.wait_closed()
            self.assertExit(run.agent.ctl("submit", "--name", "shop", *new.files()), 1)
            self.assertTrue(run.serves(first))

    def test_hits_the_old_pair_while_a_server_is_down(self):
        with IncidentRun("notice-going") as run:
            run.agent.start()
            first = run.begin()
            new = run.ca.issue(run.names)
            run.servers[0].stop()
            run.agent.ctl("submit", "--name", "shop", *new.files())
            self.file(run, "n.json", sha256=first.sha256, case="c")
            run.wait_story("just being replaced")
            run.servers[0].start()
            run.wait_served(new)
            run.wait_closed()

    def test_a_thousand_at_once(self):
        with IncidentRun("notice-thousand") as run:
            run.agent.start()
            first = run.begin()
            run.wait_told()
            run.agent.kill()
            for n in range(1000):
                self.file(run, f"{n:04}.json", sha256=first.sha256 if n % 2 else f"{n:064x}", case="l", reference=f"mail {n}",
                          received_at="2026-11-01T09:00:00+09:00" if n == 501 else None)
            run.agent.start()
            self.assertEqual(run.agent.ctl("status", seconds=10).returncode, 0)  # it answers in between
            wait_until("all are taken", lambda: not any((run.state / "notices").iterdir()), 60)
            self.assertEqual(len(list((run.state / "rejected").iterdir())), 500)
            self.assertEqual([p.name for p in (run.state / "incidents").iterdir()], ["000001.json"])
            self.assertEqual(run.incident()["received_at"], "2026-11-01T00:00:00Z")  # the strictest, in its own zone
            run.wait_alert("deadline-passed")
            run.wait_told()
            self.assertEqual(len(run.ids()), len(set(run.ids())))
            self.assertTrue(run.serves(first))


class Alerts(Case):
    def test_told_until_it_works_over_restarts_and_once(self):
        with IncidentRun("alerts") as run:
            run.agent.start()
            run.begin()
            (run.folder / "no-alert").touch()
            run.agent.ctl("notice", "shop", "--case", "c", "--yes", "--no-wait")
            wait_until("an alert waits", lambda: "no-source" in (run.state / "alerts.jsonl").read_text())
            run.agent.kill()
            self.assertEqual([e for e in run.events() if e != "swapped"], [])
            run.agent.start()
            (run.folder / "no-alert").unlink()
            run.wait_alert("no-source", 20)
            run.wait_alert("opened")
            run.wait_told()
            run.agent.stop()
            run.agent.start()
            self.assertExit(run.agent.ctl("withdraw", "1", "--why", "a test"), 0)
            ids = run.ids()
            self.assertEqual(len(ids), len(set(ids)), ids)


class Awaiting(Case):
    CHECK = 'check = { crl = true; interval = "1s"; };'

    def replaced(self, run, publisher):
        """A notice of a compromised key; the standby is served, and the CA has not revoked yet. The first pair."""
        publisher.publish_crls(run.ca)
        run.agent.start()
        first, standby = run.begin(), run.ca.issue(run.names)
        self.assertExit(run.agent.ctl("standby", "shop", *standby.files()), 0)
        wait_until("the CRL is read", lambda: run.agent.status()["revocation"]["status"] == "good", 15)
        self.assertExit(run.agent.ctl("notice", "shop", "--case", "c", "--yes"), 0, "may now be revoked")
        self.assertTrue(run.serves(standby))
        self.assertEqual(self.incident(run)["stage"], "awaiting revocation")
        return first

    def incident(self, run):
        return json.loads(run.agent.ctl("incident", 1, "--json").stdout)

    def test_until_it_is_seen_revoked(self):
        with Publisher() as p, Run("awaiting", publisher=p, more=self.CHECK) as run:
            first = self.replaced(run, p)
            run.agent.kill()
            run.agent.start()
            self.assertEqual(self.incident(run)["stage"], "awaiting revocation")
            run.ca.revoke(first, "keyCompromise")
            wait_until("it is seen", lambda: self.incident(run)["closed_at"], 20)
            self.assertIn("is published as revoked", self.incident(run)["story"][-1]["text"])
            self.assertIn("confirmed", run.agent.ctl("deny", "list").stdout)

    def test_until_a_person_closes_it(self):
        with Publisher() as p, Run("awaiting-closed", publisher=p, more=self.CHECK) as run:
            first = self.replaced(run, p)
            self.assertExit(run.agent.ctl("close", "1", "--why", "the CA is slow"), 0)
            self.assertTrue(self.incident(run)["closed_at"])
            again = run.ca.issue(run.names, key=first.key)
            self.assertExit(run.agent.ctl("submit", "--name", "shop", *again.files()), 1, "KEY_DENIED")
            run.agent.ctl("notice", "shop", "--case", "l", "--yes", "--no-wait")
            self.assertExit(run.agent.ctl("close", "2", "--why", "x"), 1, "is not replaced yet")


class After(Case):
    AFTER = '    after_swap = [ "FOLDER/after" ];\n'

    def test_runs_with_the_old_certificate_once_the_wire_shows_the_new_one(self):
        with IncidentRun("after", self.AFTER) as run:
            out = run.folder / "after-out"
            run.after.write_text(f'#!/bin/sh\necho "$CERTSWAP_OLD_SERIAL $CERTSWAP_REASON" >> {out}\n'
                                 f'cat "$CERTSWAP_OLD_CERT" >> {out}\n')
            run.after.chmod(0o755)
            run.agent.start()
            first = run.begin()
            self.assertExit(run.agent.ctl("notice", "shop", "--case", "c", "--yes"), 1)
            self.assertFalse(out.exists())
            new = run.ca.issue(run.names)
            self.assertExit(run.agent.ctl("submit", "--name", "shop", *new.files()), 0)
            run.wait_closed()
            self.assertEqual(out.read_text(), f"{first.serial} keyCompromise\n{first.cert}")
            other = run.ca.issue(run.names)  # an ordinary renewal is nobody's business
            self.assertExit(run.agent.ctl("submit", "--name", "shop", *other.files()), 0)
            self.assertEqual(out.read_text().count("keyCompromise"), 1)


main()
