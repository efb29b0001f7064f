"""After a key compromise: session tickets, old workers, what holds the key; standby pairs kept proved."""
import json
import os
import pathlib
import socket
import ssl

from case import Case, main
from harness import Run
from processes import wait_until


class Compromise(Case):
    def alerts(self, run):
        """An alert command that keeps what it gets; returns what reads it."""
        kept, script = run.folder / "alerts", run.folder / "alert"
        script.write_text(f"#!/bin/sh\ncat >>{kept}; echo >>{kept}\n")
        script.chmod(0o755)
        run._options = f'alert = [ "{script}" ];'
        return lambda: [json.loads(line) for line in (kept.read_text() if kept.exists() else "").splitlines() if line]

    def event(self, run, name):
        return wait_until(f"the event {name}", lambda: next((e for e in run.events() if e["event"] == name), None), 20)

    def ticket_files(self, run):
        """One for each server, named in its configuration."""
        files = {}
        for server, size, directive in ((run.by_kind["nginx"], 80, "ssl_session_ticket_key"),
                                        (run.by_kind["apache"], 48, "SSLSessionTicketKeyFile")):
            path = pathlib.Path(server.folder) / "ticket.key"
            path.write_bytes(os.urandom(size))
            path.chmod(0o640)
            files[path] = path.read_bytes()
            config = pathlib.Path(server.config)
            text = config.read_text()
            if server.kind == "nginx":  # a relative path, as people write it
                line = f"    {directive} {os.path.relpath(path, config.parent)};\n"
                text = text.replace("        ssl_certificate ", line + "        ssl_certificate ", 1)
            else:
                text = text.replace("    SSLEngine on", f"    SSLEngine on\n    {directive} \"{path}\"", 1)
            config.write_text(text)
        return files

    def test_rotated_drained_and_removed(self):
        with Run("compromise") as run:
            files = self.ticket_files(run)
            run.lines = 'rotate_tickets = true; drain = "1s";'
            run.write_config()
            run.agent.start()
            first = run.begin()
            standby = run.ca.issue(run.names)
            self.assertExit(run.agent.ctl("standby", "shop", *standby.files()), 0, "same CA")
            context = ssl.create_default_context(cafile=run.ca.root)
            nginx = run.by_kind["nginx"]
            olds = [context.wrap_socket(socket.create_connection(("127.0.0.1", server.port)), server_hostname=run.names[0])
                    for server in run.servers]
            with olds[0], olds[1]:
                for old in olds:
                    old.sendall(b"GET / HTTP/1.1\r\nHost: shop.example.test\r\n")  # half of a request keeps its worker
                self.assertExit(run.agent.ctl("notice", "shop", "--case", "c", "--yes"), 0)
                self.event(run, "tickets-rotated")
                wait_until("both files are new", lambda: all(p.read_bytes() != before for p, before in files.items()))
                for path, before in files.items():
                    self.assertEqual(path.stat().st_size, len(before))
                    self.assertEqual(path.stat().st_mode & 0o777, 0o640)
                    self.assertEqual([p.name for p in path.parent.glob("*certswap-new*")], [])
                self.event(run, "drained")
                for old in olds:
                    old.settimeout(20)
                    try:
                        self.assertEqual(old.recv(1), b"")  # its worker ended
                    except OSError:
                        pass  # or was even reset
            wait_until("nothing is left to do", lambda: not (run.state / "certificates/shop/aftermath.json").exists())
            self.assertTrue(run.serves(standby))

            run.drop(first.files())  # the old pair again: refused, and then it lies in rejected/ with its key
            run.wait_rejected("KEY_DENIED")
            kept = run.state / "certificates/shop/gen/000001"
            self.assertTrue(kept.exists())  # the denial is provisional
            denied = json.loads(run.agent.ctl("deny", "list", "--json").stdout)["denied"]
            spki = next(d["sha256"] for d in denied if d["kind"] == "key")
            config = pathlib.Path(nginx.config)
            text = config.read_text()
            config.write_text(text.replace("events {", f"# {kept}/fullchain.pem\nevents {{", 1))
            self.assertExit(run.agent.ctl("deny", "confirm", spki), 0)
            if run.agent.status()["incident"]:  # it may wait for the revocation
                self.assertExit(run.agent.ctl("withdraw", run.agent.status()["incident"]["id"], "--why", "a test"), 0)
                run.agent.stop()
                run.agent.start()
            self.event(run, "generation-kept")  # nginx names it
            self.assertTrue(kept.exists())
            wait_until("refused files with the key are gone",
                       lambda: not list((run.state / "rejected").glob("*/key.pem")), 20)
            self.assertTrue(list((run.state / "rejected").glob("*/why.txt")))
            config.write_text(text)
            run.agent.stop()
            run.agent.start()
            wait_until("the generation with the refused key is gone", lambda: not kept.exists(), 20)
            self.assertEqual(run.live_sha256(), standby.sha256)
            run.verify_log()

    def test_pointed_out(self):
        with Run("compromise-said") as run:
            files = self.ticket_files(run)
            alerts = self.alerts(run)
            run.write_config()
            run.agent.start()
            run.begin()
            standby = run.ca.issue(run.names)
            self.assertExit(run.agent.ctl("standby", "shop", *standby.files()), 0)
            self.assertExit(run.agent.ctl("notice", "shop", "--case", "c", "--yes"), 0)
            said = wait_until("both servers' files are pointed out",
                              lambda: (lambda a: a if len(a) == 2 else None)([e for e in alerts() if e["event"] == "tickets"]))
            for path, before in files.items():
                self.assertTrue(any(str(path) in e["text"] for e in said), said)
                self.assertEqual(path.read_bytes(), before)
            self.event(run, "old-workers")

    def test_same_key_elsewhere(self):
        with Run("compromise-two", certificates={"shop": ["shop.example.test"], "mail": ["mail.example.test"]},
                 servers=("nginx",)) as run:
            run.agent.start()
            first = run.ca.issue(["shop.example.test"])
            other = run.ca.issue(["mail.example.test"], key=first.key)
            run.agent.ctl("submit", "--name", "shop", *first.files())
            run.agent.ctl("submit", "--name", "mail", *other.files())
            done = run.agent.ctl("deny", "add", first.file("key.pem", first.key), "--why", "found in a backup")
            self.assertExit(done, 0, "shop", "mail")
            for name in ("shop", "mail"):
                self.assertEqual(run.agent.status(name)["incident"]["reason"], "keyCompromise")
            # it waits for no certificate, wherever it turns up again
            run.drop([first.file("again.pem", first.key)])
            run.wait_rejected("KEY_DENIED", "private key", "found in a backup")
            wait_until("nothing waits", run.settled, 20)
            kinds = {i["kind"] for i in json.loads(run.agent.ctl("incidents", "--json").stdout)}
            self.assertEqual(kinds, {"notice"})  # no mere wish to renew early: a standby is used for it

    def test_standby_is_kept_proved(self):
        with Run("standby-proved", servers=("nginx",)) as run:
            alerts = self.alerts(run)
            run.write_config()
            run.agent.start()
            run.begin()
            same = run.ca.issue(run.names, key=run.first["shop"].key)
            self.assertExit(run.agent.ctl("standby", "shop", *same.files()), 0, "same key as the live pair")
            soon = run.ca.issue(run.names, days=5, starts=-2)
            self.assertExit(run.agent.ctl("standby", "shop", *soon.files()), 0)
            good = run.ca.issue(run.names)
            self.assertExit(run.agent.ctl("standby", "shop", *good.files()), 0)
            self.assertTrue(run.agent.status()["standby"]["ready"])
            run.certificates["shop"] = run.names + ["api.shop.example.test"]
            run.write_config()
            run.agent.stop()
            run.agent.start()
            told = wait_until("the ticket", lambda: [e for e in alerts() if e["event"] == "standby-not-ready"])
            status = run.agent.status()["standby"]
            self.assertFalse(status["ready"])
            self.assertIn("does not cover", status["why"])
            run.agent.stop()
            run.agent.start()
            wait_until("it was looked at again", lambda: run.agent.status()["standby"]["checked_at"])
            self.assertEqual(len([e for e in alerts() if e["event"] == "standby-not-ready"]), len(told))


if __name__ == "__main__":
    main()
