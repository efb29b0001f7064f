"""The examples of alert commands in conf/, run by a real agent: a mail, a post to a URL, the system's log. sendmail and logger are
stood in for; curl posts to a server here."""
import email
import email.policy
import json
import pathlib
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

from case import Case, main
from harness import Run
from processes import wait_until

CONF = pathlib.Path(__file__).resolve().parents[2] / "conf"
WHY = 'line one\nBcc: everybody@example.test\n"quoted", \\ and 日本'


class Alerts(Case):
    def script(self, run, name, *programs):
        """A copy of the example, for which these programs are others."""
        folder = run.folder / "programs"
        folder.mkdir(exist_ok=True)
        for program in programs:
            path = folder / program
            path.write_text(f'#!/bin/sh\nprintf "%s\\n" "$*" >>{run.folder}/{program}.said\n'
                            f'cat >>{run.folder}/{program}.said; printf "\\0" >>{run.folder}/{program}.said\n')
            path.chmod(0o755)
        text = (CONF / name).read_text()
        self.assertIn("\nPATH=", text)
        path = run.folder / name
        path.write_text(text.replace("\nPATH=", f"\nPATH={folder}:", 1))
        path.chmod(0o755)
        return path

    def said(self, run, program, part):
        path = run.folder / f"{program}.said"
        wait_until(f"{program} has said {part}", lambda: path.exists() and part in path.read_text())
        return path.read_text().split("\0")[:-1]

    def noticed(self, run, command):
        run._options = f'alert = [ {", ".join(json.dumps(str(word)) for word in command)} ];'
        run.write_config()
        run.agent.start()
        run.begin()
        self.assertExit(run.agent.ctl("notice", "shop", "--case", "c", "--ref", WHY, "--yes"), 1)

    def test_mail(self):
        with Run("alert-mail", servers=("nginx",)) as run:
            self.noticed(run, [self.script(run, "alert-mail", "sendmail"), "ops@example.test", "boss@example.test"])
            for entry in self.said(run, "sendmail", "no-source"):
                arguments, _, text = entry.partition("\n")
                self.assertEqual(arguments, "-oi -- ops@example.test boss@example.test")
                mail = email.message_from_string(text, policy=email.policy.default)
                self.assertIn("[certswap", mail["Subject"])
                self.assertIn("shop", mail["Subject"])
                self.assertIsNone(mail["Bcc"])
                self.assertIn("event: ", mail.get_payload())

    def test_log(self):
        with Run("alert-syslog", servers=("nginx",)) as run:
            self.noticed(run, [self.script(run, "alert-syslog", "logger")])
            for entry in self.said(run, "logger", "no-source"):
                arguments, _, text = entry.partition("\n")
                event = json.loads(text)
                self.assertEqual(arguments.split()[:3], ["-t", "certswap", "-p"])
                self.assertEqual(arguments.split()[3], {"page": "daemon.crit", "ticket": "daemon.warning",
                                                        "info": "daemon.notice"}[event["severity"]])

    def test_post(self):
        got = []

        class Receiver(BaseHTTPRequestHandler):
            def do_POST(self):
                got.append((self.headers["X-Secret"], json.loads(self.rfile.read(int(self.headers["Content-Length"])))))
                self.send_response(204)
                self.end_headers()

            def log_message(self, *words):
                pass
        server = HTTPServer(("127.0.0.1", 0), Receiver)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with Run("alert-webhook", servers=("nginx",)) as run:
            run.at_end(server.shutdown)
            settings = run.folder / "webhook.curl"
            settings.write_text(f'url = "http://127.0.0.1:{server.server_port}/hook"\nheader = "X-Secret: s3cret"\n')
            settings.chmod(0o600)
            self.noticed(run, [self.script(run, "alert-webhook"), settings])
            wait_until("the event is posted", lambda: any(e["event"] == "no-source" for _, e in got))
            self.assertEqual({secret for secret, _ in got}, {"s3cret"})
            self.assertEqual({e["certificate"] for _, e in got}, {"shop"})


main()
