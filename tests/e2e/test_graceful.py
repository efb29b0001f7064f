"""What the hook `rehearse` says of an edited configuration, and what a graceful restart of the running Apache then does: it may
never survive in the rehearsal and die of the restart. Each edit is one that somebody makes and forgets to reload."""
import os
import pathlib
import re
import signal
import socket
import subprocess
from collections import Counter

from case import Case, main
from harness import PROGRAMS, Run
from processes import alive, children_of, run as run_program, wait_until
from webserver import APACHE_MODULES, free_port, own_address

DONE, REFUSED, CANT_TELL = 0, 1, 75
NONE_HERE = "can't rehearse here"


def load(*names):
    return "".join(f"LoadModule {name}_module {APACHE_MODULES}/mod_{name}.so\n" for name in names)


class Graceful(Case):
    def edits(self, run, taken):
        """Of each edit what it is, and the configuration made from the good one."""
        here, folder = run.servers[0].port, run.folder
        other = run.ca.issue(["other.example.test"])
        site = f"<VirtualHost 127.0.0.1:{here}>\nServerName other.example.test\n{{}}\n</VirtualHost>\n"
        tls = "SSLEngine on\nSSLCertificateFile {}\nSSLCertificateKeyFile {}"
        pair = tls.format(other.file("other.crt", other.fullchain), other.file("other.key", other.key))
        wrong = tls.format(other.file("other.crt", other.fullchain), self.pair.file("wrong.key", self.pair.key))
        (folder / "logs").mkdir()
        (folder / "file").write_text("no certificate\n")
        return {
            "nothing": lambda good: good,
            # what is taken
            "another site": lambda good: good + site.format(pair),
            "a log elsewhere": lambda good: f"{good}{load('log_debug')}CustomLog {folder}/logs/access.log %h\n",
            "a site's logs elsewhere": lambda good: good + site.format(f"{pair}\nErrorLog {folder}/logs/error.log"),
            "a piped log": lambda good: good + 'ErrorLog "|/bin/cat"\n',
            "syslog": lambda good: good + "ErrorLog syslog:local7\n",
            "a free port": lambda good: f"{good}Listen 127.0.0.1:{free_port()}\n",
            "another loopback address": lambda good: f"{good}Listen 127.0.0.2:{here}\n",
            "more children": lambda good: good + "ServerLimit 40\nThreadsPerChild 10\nMaxRequestWorkers 400\nStartServers 4\n",
            "another user": lambda good: re.sub(r"(?m)^User .*", "User nobody", good),
            "a session cache": lambda good: load("socache_shmcb") + good.replace("SSLSessionCache none", f"SSLSessionCache shmcb:{folder}/cache"),
            "stapling with a cache": lambda good: f"{load('socache_shmcb')}{good}SSLStaplingCache shmcb:{folder}/staple\nSSLUseStapling on\n",
            "a proxy": lambda good: load("proxy", "proxy_http") + good + "ProxyPass /a http://127.0.0.1:9/\n",
            "a balancer": lambda good: load("proxy", "proxy_http", "proxy_balancer", "slotmem_shm", "lbmethod_byrequests") + good
                + "<Proxy balancer://b>\nBalancerMember http://127.0.0.1:9\n</Proxy>\n",
            "scripts": lambda good: f"{load('cgid')}{good}ScriptSock {folder}/cgid.sock\n",
            "http2": lambda good: load("http2") + good + "Protocols h2 http/1.1\n",
            "a mutex elsewhere": lambda good: f"{good}Mutex file:{folder}/logs ssl-cache\n",
            "a scoreboard file": lambda good: f"{good}ScoreBoardFile {folder}/logs/score\n",
            "a pid file elsewhere": lambda good: good.replace("apache.pid", "other.pid"),
            # what is its end
            "stapling without a cache": lambda good: good + "SSLUseStapling on\n",
            "a log in no folder": lambda good: f"{good}ErrorLog {folder}/nowhere/error.log\n",
            "an access log in no folder": lambda good: f"{good}CustomLog {folder}/nowhere/access.log %h\n",
            "a piped log that is not there": lambda good: f'{good}CustomLog "|{folder}/nowhere/rotate" %h\n',
            "a pair that does not match": lambda good: good + site.format(wrong),
            "no certificate at all": lambda good: good + site.format(tls.format(folder / "file", folder / "file")),
            "a port of another program": lambda good: f"{good}Listen 127.0.0.1:{taken}\n",
            "every address of that port": lambda good: f"{good}Listen {taken}\n",
            "an address of nobody": lambda good: f"{good}Listen 192.0.2.77:{taken}\n",
            "every address of its port": lambda good: good.replace(f"Listen 127.0.0.1:{here}", f"Listen {here}"),
            "that beside its own": lambda good: f"{good}Listen 0.0.0.0:{here}\n",
            "no port": lambda good: re.sub(r"(?m)^Listen .*", "", good),
            "another MPM": lambda good: good.replace("mpm_event", "mpm_worker"),
            "ticket keys that are none": lambda good: f"{good}SSLSessionTicketKeyFile {folder}/file\n",
            "a list of CAs that is none": lambda good: good.replace("SSLEngine on", f"SSLEngine on\nSSLVerifyClient require\nSSLCACertificateFile {folder}/file"),
            "no such cipher": lambda good: good.replace("SSLEngine on", "SSLEngine on\nSSLCipherSuite NO-SUCH"),
            "a pid file in no folder": lambda good: good.replace(f"PidFile {run.servers[0].folder}", f"PidFile {folder}/nowhere"),
        }

    def verdict(self, run):
        """May Apache be reloaded? As certswapd asks it of the hooks, and which of them decided; what was said."""
        server = run.servers[0]
        environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "CERTSWAP_SERVER": "apache", "CERTSWAP_CONFIG": server.config,
                       "CERTSWAP_BINARY": server.binary, "CERTSWAP_PIDFILE": server.pidfile,
                       "CERTSWAP_EXEC": str(PROGRAMS / "certswap-exec")}
        said = ""
        for hook in ("rehearse", "configtest"):
            done = run_program(str(PROGRAMS / f"hooks/apache/{hook}"), env=environment, check=False, stderr=subprocess.STDOUT)
            said += done.stdout
            if done.returncode != CANT_TELL:
                break
        return done.returncode, hook, said

    def survives(self, run, pid):
        """Does the running Apache live on after a graceful restart?"""
        def children():
            return set(children_of(pid))

        before = children()
        os.kill(pid, signal.SIGUSR1)

        def over():
            if not alive(pid):
                return "dead"
            now = children()
            return "lives" if now and not now & before and run.servers[0].answers() else None
        return wait_until("the end of the graceful restart", over, 30) == "lives"

    def test_rehearsal_against_the_restart(self):
        if os.geteuid() != 0:
            self.skipTest("no rehearsal without root")
        with Run("graceful", servers=("apache",)) as run, socket.create_server(("127.0.0.1", 0)) as taken:
            server = run.servers[0]
            run.agent.start()
            self.pair = run.begin()
            config = pathlib.Path(server.config)
            good = config.read_text()
            wrong, counts = [], Counter()
            for what, edit in self.edits(run, taken.getsockname()[1]).items():
                if not server.pid() or not alive(server.pid()):
                    server.start()
                pid = server.pid()
                text = edit(good)
                self.assertTrue(text != good or what == "nothing", what)
                config.write_text(text)
                try:
                    said, by, text = self.verdict(run)
                    if NONE_HERE in text:
                        self.skipTest("no rehearsal here: " + text)
                    lives = self.survives(run, pid)
                finally:
                    config.write_text(good)
                counts[f"{'lives' if lives else 'dead'}, {by}"] += 1
                if said != (DONE if lives else REFUSED):
                    wrong.append(f"{what}: Apache {'lives' if lives else 'is dead'}, {by} said {said}: {text}")
                if alive(pid):
                    server.stop()
                    wait_until("Apache has ended", lambda p=pid: not alive(p))
            print(f"{sum(counts.values())} edits: {dict(counts)}")
            self.assertFalse(wrong, "\n".join(["", *wrong]))

    def test_site_on_one_address_of_this_host(self):
        # its port listens on every address, and only one of them shows the pair
        if os.geteuid() != 0:
            self.skipTest("no rehearsal without root")
        address = own_address()
        if not address:
            self.skipTest("this host has no address but loopback")
        with Run("one-address", servers=("apache",)) as run:
            server = run.servers[0]
            run.agent.start()
            pair = run.ca.issue(run.names)
            self.assertExit(run.agent.ctl("submit", "--name", "shop", *pair.files()), 0)
            config = pathlib.Path(server.config)
            text = config.read_text().replace(f"Listen 127.0.0.1:{server.port}", f"Listen {server.port}")
            config.write_text(text.replace(f"<VirtualHost 127.0.0.1:{server.port}>", f"<VirtualHost {address}:{server.port}>"))
            run_program(*server._command(), cwd="/", env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"})
            wait_until("Apache listens", lambda: server.pid() and children_of(server.pid()))
            said, by, text = self.verdict(run)
            if NONE_HERE in text:
                self.skipTest("no rehearsal here: " + text)
            self.assertEqual((said, by), (DONE, "rehearse"), text)


main()
