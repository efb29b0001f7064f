"""The day before: the mail to the CA, the drill; and a break-in, after which the waiting keys are suspect."""
import json
import pathlib

from case import Case, main
from harness import Run
from processes import wait_until


class Drill(Case):
    def script(self, run, name, text):
        path = run.folder / name
        path.write_text("#!/bin/sh\n" + text)
        path.chmod(0o755)
        return path

    def drill(self, run, status, *options):
        done = run.agent.ctl("drill", "shop", "--json", *options)
        self.assertExit(done, status)
        result = json.loads(done.stdout)
        return {item["what"]: item for item in result["items"]}, result

    def test_unprepared(self):
        with Run("drill-bad", servers=("nginx",)) as run:
            run.lines = 'ca = { hours = "Mon 00:00-00:01"; lead_time = "9d"; contact = "desk@ca.test"; };'
            run.write_config()
            run.agent.start()
            run.begin()
            wait_until("a waiting key", lambda: run.agent.status()["pending"])
            config = pathlib.Path(run.by_kind["nginx"].config)
            text = config.read_text()
            config.write_text(text + "\nno_such_directive on;\n")
            items, result = self.drill(run, 1)
            self.assertFalse(items["standby"]["good"])
            self.assertTrue(items["request"]["good"])
            self.assertFalse(items["desk"]["good"])
            self.assertFalse(items["alert"]["good"])
            self.assertFalse(items["server nginx"]["good"])
            self.assertIn("no_such_directive", items["server nginx"]["text"])
            self.assertFalse(result["in_24_hours"])
            self.assertFalse(result["in_5_days"])
            self.assertEqual(len(result["stopped_by"]), 3, result["stopped_by"])
            config.write_text(text)
            run.by_kind["nginx"].stop()
            server = self.drill(run, 1)[0]["server nginx"]  # its test passes, but nobody would see a replacement
            self.assertIsNone(server["good"])
            self.assertIn("does not run", server["text"])
            done = run.agent.ctl("drill", "shop")
            self.assertExit(done, 1, "What would have stopped you:", "Replaced within 24 hours: NO", "desk")
            self.assertLessEqual(max(map(len, done.stdout.splitlines())), 100)

    def test_prepared(self):
        with Run("drill-good") as run:
            kept = run.folder / "alerts"
            alert = self.script(run, "alert", f"cat >>{kept}; echo >>{kept}\n")
            certbot = self.script(run, "certbot", f'[ "$3" = --dry-run ] && echo "$@" >{run.folder}/asked\n')
            run._options = f'alert = [ "{alert}" ];'
            run.lines = f'reissue = [ "{certbot}", "renew", "--new-key" ];'
            run.write_config()
            run.agent.start()
            first = run.begin()
            standby = run.ca.issue(run.names)
            self.assertExit(run.agent.ctl("standby", "shop", *standby.files()), 0)
            before = run.identities()
            items, result = self.drill(run, 0, "--live")
            self.assertTrue(all(item["good"] for item in items.values()), items)
            self.assertEqual(result["fastest"], "the standby pair")
            self.assertTrue(result["in_24_hours"])
            self.assertEqual((run.folder / "asked").read_text(), "renew --new-key --dry-run\n")
            self.assertIn("drill", [json.loads(line)["event"] for line in kept.read_text().splitlines() if line])
            self.assertIn("served, proved on the wire", items["live swap"]["text"])
            self.assertTrue(run.serves(first))
            self.assertEqual(run.agent.status()["live"]["serial"], first.serial)
            self.assertGreater(run.agent.status()["live"]["generation"], 1)
            self.assertTrue(run.agent.status()["standby"]["ready"])
            self.assertEqual(run.identities(), before)
            # a client's own dry run that fails is the first thing to know
            self.script(run, "certbot", "echo 'Account is deactivated' >&2; exit 1\n")
            items, result = self.drill(run, 1)
            self.assertFalse(items["reissue"]["good"])
            self.assertIn("deactivated", " ".join(result["stopped_by"]))

    def test_letter(self):
        with Run("letter", servers=("nginx",)) as run:
            run.lines = 'ca = { contact = "desk@ca.test"; order = "A-4711"; hours = "Mon-Fri 09:00-18:00"; lead_time = "3d"; };'
            run.write_config()
            run.agent.start()
            first = run.begin()
            self.assertExit(run.agent.ctl("request", "shop"), 0, "no incident is open")
            run.agent.ctl("notice", "shop", "--case", "c", "--ref", "CA-99", "--yes")
            english = run.agent.ctl("request", "shop")
            self.assertExit(english, 0, "REISSUE", first.serial, "A-4711", "desk@ca.test", "CA-99", "item 3", "keyCompromise",
                            "BEGIN CERTIFICATE REQUEST", "new key")
            self.assertIn("lead time", english.stderr)
            japanese = run.agent.ctl("request", "shop", "--lang", "ja")
            self.assertExit(japanese, 0, "再発行", first.serial, "第 3 項", "BEGIN CERTIFICATE REQUEST")
            self.assertExit(run.agent.ctl("request", "shop", "--lang", "fr"), 2)
            out = run.folder / "mail.txt"
            self.assertExit(run.agent.ctl("request", "shop", "--out", out), 0)
            self.assertIn("BEGIN CERTIFICATE REQUEST", out.read_text())

    def test_break_in(self):
        with Run("break-in", servers=("nginx",)) as run:
            run.agent.start()
            run.begin()
            done = run.agent.ctl("csr", "shop")
            before = run.folder / "before.csr"
            before.write_text(done.stdout)
            old = run.agent.status()["pending"][0]["spki_sha256"]
            done = run.agent.ctl("notice", "shop", "--scope", "host", "--yes")
            self.assertExit(done, 1, "BEGIN CERTIFICATE REQUEST")
            said = (done.stdout + done.stderr)
            fresh = run.folder / "fresh.csr"
            fresh.write_text(said[said.index("-----BEGIN CERTIFICATE REQ"):said.index("REQUEST-----\nNext") + 12]
                             if "REQUEST-----\nNext" in said else said[said.index("-----BEGIN CERTIFICATE REQ"):])
            suspects = {k["spki_sha256"]: k["suspect"] for k in run.agent.status()["pending"]}
            self.assertTrue(suspects[old])
            self.assertEqual(sorted(suspects.values()), [False, True])
            stopgap = run.ca.sign(before, run.names)
            known = run.rejected()
            run.drop([stopgap.file("late.pem", stopgap.cert)])
            run.wait_rejected("broke in", "stopgap", before=known)
            new = run.ca.sign(fresh, run.names)
            run.drop([new.file("new.pem", new.cert)])
            run.wait_served(new)


if __name__ == "__main__":
    main()
