"""Other programs that read the same pair: asked after the web servers, looked at, tried again, waived by a person. And
HAProxy, as the example of hooks/README.md says."""
import json
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import unittest

from case import Case, main
from harness import Run
from processes import end, run as run_program, wait_until
from webserver import free_port, shown

HERE = pathlib.Path(__file__).resolve().parent
EXAMPLE = HERE.parents[1] / "hooks" / "examples"


class Mail:
    """A mail server of the tests on the live pair of `shop`, and its entry in certswap.conf."""

    def __init__(self, run, kind):
        self.run, self.kind, self.name = run, kind, "mail-" + kind
        self.port = free_port()
        self.frozen = run.folder / (self.name + ".frozen")
        self.reloads = run.folder / (self.name + ".reloads")

    def start(self):
        live = self.run.live()
        process = subprocess.Popen([sys.executable, "-B", str(HERE / "mailserver.py"), self.kind, str(self.port),
                                    str(live / "fullchain.pem"), str(live / "privkey.pem"), str(self.frozen)],
                                   stdin=subprocess.DEVNULL)
        self.run.at_end(lambda: (end(process.pid), process.wait(10)))
        script = self.run.folder / (self.name + ".reload")
        script.write_text(f"#!/bin/sh\necho \"$CERTSWAP_CONSUMER $CERTSWAP_CERTIFICATE $CERTSWAP_LIVE\" >>{self.reloads}\n"
                          f"kill -HUP {process.pid}\n")
        script.chmod(0o755)
        wait_until(f"{self.name} answers", self.answers)

    def answers(self):
        try:
            with socket.create_connection(("127.0.0.1", self.port), 2):
                return True
        except OSError:
            return False

    def entry(self):
        probe = f'probe = "127.0.0.1:{self.port}"; starttls = "{self.kind}";'
        return f'{{ name = "{self.name}"; reload = [ "{self.run.folder}/{self.name}.reload" ]; {probe} }}'

    def reloaded(self):
        return self.reloads.read_text().splitlines() if self.reloads.exists() else []


def configure(run, entries):
    """Puts consumers into the one certificate of the configuration."""
    run.lines = "consumers = ( " + ", ".join(entries) + " );"
    run.write_config()


def states(run):
    return {c["name"]: c["state"] for c in run.agent.status()["consumers"]}


class Consumers(Case):
    def prepared(self, run, kinds):
        """The web servers and the mail servers serve the first pair; certswapd knows all of them."""
        run.agent.start()
        first = run.begin()
        mails = [Mail(run, kind) for kind in kinds]
        for mail in mails:
            mail.start()
        configure(run, [mail.entry() for mail in mails])
        run.agent.stop()
        run.agent.start()
        wait_until("who shows the live pair already is only looked at",
                   lambda: set(states(run).values()) == {"verified"}, 20)
        self.assertEqual([mail.reloaded() for mail in mails], [[] for _ in mails])
        return first, mails

    def test_each_kind_follows(self):
        with Run("consumer", servers=("nginx",)) as run:
            _, mails = self.prepared(run, ("smtp", "imap", "pop3", "none"))
            new = run.ca.issue(run.names)
            self.assertExit(run.agent.ctl("submit", *new.files()), 0)
            status = run.agent.status()
            self.assertEqual(status["unverified"], [])
            self.assertEqual({c["sha256"] for c in status["consumers"]}, {new.sha256})
            for mail in mails:
                self.assertEqual(mail.reloaded(), [f"{mail.name} shop {run.state}/certificates/shop/live"])
            self.assertEqual(shown(mails[3].port, run.names[0]).sha256, new.sha256)
            run.verify_log()

    def test_partly_replaced_until_mended(self):
        with Run("consumer-late", servers=("nginx",)) as run:
            alerts = run.folder / "alerts"
            script = run.folder / "alert"
            script.write_text(f"#!/bin/sh\ncat >>{alerts}; echo >>{alerts}\n")
            script.chmod(0o755)
            run._options = f'alert = [ "{script}" ];'
            first, (mail,) = self.prepared(run, ("smtp",))
            mail.frozen.write_text("")
            self.assertExit(run.agent.ctl("standby", "shop", *run.ca.issue(run.names).files()), 0)
            done = run.agent.ctl("notice", "shop", "--case", "c", "--yes")
            self.assertExit(done, 1, "not yet: mail-smtp", "certswapctl waive shop")
            self.assertFalse(run.serves(first))  # the web servers went ahead
            status = run.agent.status()
            self.assertEqual(status["unverified"], ["mail-smtp"])
            self.assertEqual(status["incident"]["stage"], "partly replaced")
            self.assertIn("mail-smtp: failed", run.agent.ctl("status", "shop").stdout)
            run.agent.kill()
            mail.frozen.unlink()
            run.agent.start()  # it knows what it has not seen
            wait_until("the incident is over", lambda: run.agent.status()["incident"] is None, 30)
            self.assertEqual(states(run), {"mail-smtp": "verified"})
            events = [json.loads(line)["event"] for line in alerts.read_text().splitlines() if line]
            self.assertEqual(events.count("consumer-failed"), 1)  # not again after the restart, nor for each try

    def test_waived(self):
        with Run("consumer-waived", servers=("nginx",)) as run:
            _, (mail,) = self.prepared(run, ("imap",))
            mail.frozen.write_text("")
            new = run.ca.issue(run.names)
            done = run.agent.ctl("submit", *new.files())
            self.assertExit(done, 1, "mail-imap", "certswapctl waive shop")
            self.assertTrue(run.serves(new))  # nothing was taken back
            self.assertExit(run.agent.ctl("waive", "shop", "mail-imap"), 2)
            self.assertExit(run.agent.ctl("waive", "shop", "nobody", "--why", "x"), 1, "no consumer named nobody")
            self.assertExit(run.agent.ctl("waive", "shop", "mail-imap", "--why", "is switched off today"), 0)
            self.assertEqual(run.agent.status()["unverified"], [])
            mail.frozen.unlink()
            self.assertExit(run.agent.ctl("submit", *run.ca.issue(run.names).files()), 0)  # asked again for the next pair
            self.assertEqual(states(run), {"mail-imap": "verified"})

    def test_reload_command_fails(self):
        with Run("consumer-broken", servers=("nginx",)) as run:
            run.agent.start()
            run.begin()
            configure(run, ['{ name = "broken"; reload = [ "/bin/sh", "-c", "echo no such unit; exit 5" ]; }'])
            run.agent.stop()
            run.agent.start()
            new = run.ca.issue(run.names)
            self.assertExit(run.agent.ctl("submit", *new.files()), 1, "ended with 5: no such unit")
            self.assertTrue(run.serves(new))


@unittest.skipUnless(os.access("/usr/sbin/haproxy", os.X_OK), "haproxy is not installed")
class HAProxy(Case):
    CONFIG = """
global
    master-worker
defaults
    mode http
    timeout connect 5s
    timeout client 5s
    timeout server 5s
frontend web
    bind 127.0.0.1:{port} ssl crt {live}/combined.pem
    http-request return status 204
"""

    def test_as_the_example_says(self):
        with Run("haproxy", servers=("nginx",)) as run:
            hooks = self.programs(run)
            port, config, pid = free_port(), run.folder / "haproxy.cfg", run.folder / "haproxy.pid"
            config.write_text(self.CONFIG.format(port=port, live=run.live()))
            run._options = ""
            server = (f'  {{ name = "haproxy"; kind = "haproxy"; config = "{config}"; binary = "/usr/sbin/haproxy"; '
                      f'pidfile = "{pid}"; }}')
            text = run.config.read_text().replace("servers = (\n", f"servers = (\n{server},\n", 1)
            text = text.replace('servers = [ "nginx" ]', 'servers = [ "nginx", "haproxy" ]')
            run.config.write_text(text.replace("probe = [ ", f'probe = [ "127.0.0.1:{port}", '))
            run.agent.start()
            run.begin()
            started = run_program(str(hooks / "haproxy/start"), env={
                "PATH": os.environ["PATH"], "CERTSWAP_CONFIG": str(config), "CERTSWAP_PIDFILE": str(pid)})
            run.at_end(lambda: end(int(pid.read_text())))
            self.assertEqual(started.returncode, 0, started.stdout)
            wait_until("haproxy answers", lambda: self.shows(port, run.first["shop"], run))
            new = run.ca.issue(run.names)
            self.assertExit(run.agent.ctl("submit", *new.files()), 0)
            self.assertTrue(self.shows(port, new, run) and run.serves(new))

    @staticmethod
    def shows(port, pair, run):
        try:
            return shown(port, run.names[0]).sha256 == pair.sha256
        except OSError:
            return False

    def programs(self, run):
        """The programs in a folder of their own with the example's folder put beside nginx's, as an administrator does."""
        hooks = run.own_programs()
        shutil.copytree(EXAMPLE / "haproxy", hooks / "haproxy")
        return hooks


main()
