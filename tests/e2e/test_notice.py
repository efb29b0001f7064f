"""A revocation notice, by command and by file: the standby goes live, the compromised key is refused."""
import json

from case import Case, main
from harness import Run
from processes import wait_until


class Notice(Case):
    def prepared(self, run):
        run.agent.start()
        first = run.begin()
        standby = run.ca.issue(run.names)
        self.assertExit(run.agent.ctl("standby", "shop", *standby.files()), 0)
        status = run.agent.status()
        self.assertTrue(status["standby"]["ready"], status)
        self.assertEqual(status["standby"]["sha256"], standby.sha256)
        self.assertTrue(run.serves(first))
        return first, standby

    def notice_file(self, run, name="notice.json", **fields):
        """A notice file, written aside and moved in."""
        aside = run.folder / name
        aside.write_text(json.dumps(fields))
        aside.rename(run.state / "notices" / name)

    def test_command(self):
        with Run("notice") as run:
            first, standby = self.prepared(run)
            done = run.agent.ctl("notice", "shop", "--case", "c", "--ref", "CA ticket 4711", "--yes")
            self.assertExit(done, 0)
            self.assertTrue(run.serves(standby))  # it returns when the wire is proved
            self.assertEqual(run.live_sha256(), standby.sha256)
            again = run.ca.issue(run.names, key=first.key)
            self.assertExit(run.agent.ctl("submit", "--name", "shop", *again.files()), 1, "KEY_DENIED")
            self.assertTrue(run.serves(standby))
            run.verify_log()

    def test_file(self):
        with Run("notice-file") as run:
            first, standby = self.prepared(run)
            self.notice_file(run, serial=first.serial, sha256=first.sha256, case="c", reference="CA ticket 4711")
            run.wait_served(standby)
            again = run.ca.issue(run.names, key=first.key)
            known = run.rejected()
            run.drop(again.files())
            run.wait_rejected("KEY_DENIED", before=known)
            self.assertEqual(list((run.state / "notices").iterdir()), [])

    def test_standby_with_the_noticed_key_is_not_used(self):
        with Run("notice-same-key") as run:
            run.agent.start()
            first = run.begin()
            same = run.ca.issue(run.names, key=first.key)
            run.agent.ctl("standby", "shop", *same.files())
            done = run.agent.ctl("notice", "shop", "--case", "c", "--yes")
            self.assertExit(done, 1)  # nothing to replace it with: a person must act
            self.assertTrue(run.serves(first))  # and until then it goes on serving
            good = run.ca.issue(run.names)
            run.drop(good.files())
            run.wait_served(good)

    def test_confirmation_of_nothing(self):
        """A word given in advance would let a candidate pass that nobody has seen."""
        with Run("notice-nothing", servers=("nginx",)) as run:
            run.agent.start()
            run.begin()
            self.assertExit(run.agent.ctl("confirm", "shop"), 1, "no open incident")
            self.assertExit(run.agent.ctl("notice", "shop", "--case", "c", "--yes"), 1)
            self.assertExit(run.agent.ctl("confirm", "shop"), 1, "nothing in incident")
            self.assertFalse(any("confirmed by a person" in e["text"] for e in run.events()))

    def test_names_nothing_here(self):
        with Run("notice-nothing") as run:
            run.agent.start()
            first = run.begin()
            done = run.agent.ctl("notice", "--fingerprint", "ab" * 32, "--yes")
            self.assertExit(done, 1)
            known = run.rejected()
            self.notice_file(run, sha256="ab" * 32, case="c")
            run.wait_rejected("nothing", before=known)
            self.assertTrue(run.serves(first))

    def test_files_that_are_no_notice(self):
        with Run("notice-bad") as run:
            run.agent.start()
            first = run.begin()
            for name, text in (("garbage.json", "{"), ("list.json", "[1]"), ("empty.json", ""),
                               ("field.json", json.dumps({"certificate": "shop", "colour": "blue"})),
                               ("case.json", json.dumps({"certificate": "shop", "case": "z"})),
                               ("time.json", json.dumps({"certificate": "shop", "revoke_at": "tomorrow"})),
                               ("deep.json", "[" * 100000)):
                known = run.rejected()
                (run.folder / name).write_text(text)
                (run.folder / name).rename(run.state / "notices" / name)
                run.wait_rejected(before=known)
            self.assertTrue(run.serves(first))
            self.assertIsNone(run.agent.status()["incident"])

    def test_survives_a_restart(self):
        with Run("notice-restart") as run:
            run.agent.start()
            first = run.begin()
            self.assertExit(run.agent.ctl("notice", "shop", "--case", "c", "--yes"), 1)
            run.agent.kill()
            run.agent.start()
            self.assertEqual(run.agent.status()["incident"]["case"], "c")
            again = run.ca.issue(run.names, key=first.key)
            self.assertExit(run.agent.ctl("submit", "--name", "shop", *again.files()), 1, "KEY_DENIED")
            good = run.ca.issue(run.names)
            self.assertExit(run.agent.ctl("submit", "--name", "shop", *good.files()), 0)
            wait_until("the incident is over", lambda: run.agent.status()["incident"] is None)

    def test_used_standby_is_gone(self):
        with Run("notice-standby") as run:
            _, standby = self.prepared(run)
            self.assertExit(run.agent.ctl("notice", "shop", "--yes"), 0)
            self.assertTrue(run.serves(standby))
            wait_until("the standby is used up", lambda: run.agent.status()["standby"] is None)


main()
