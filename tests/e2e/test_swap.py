"""The swap on bad days: a server that is down, broken or dies."""
import json
import os
import pathlib
import re
import signal
import socket
import threading
import unittest

from case import Case, main
from harness import Run
from processes import run as run_program, wait_until
from webserver import APACHE_MODULES, Load, own_address, shown


class Swap(Case):
    def test_server_down_is_awaited(self):
        with Run("down") as run:
            run.agent.start()
            first = run.begin()
            nginx, apache = run.by_kind["nginx"], run.by_kind["apache"]
            apache.stop()
            pair = run.ca.issue(run.names)
            run.drop(pair.files())
            wait_until("nginx serves the new pair", lambda: nginx.shown(run.names[0]).sha256 == pair.sha256)
            wait_until("Apache is named as unverified", lambda: "apache" in run.agent.status()["unverified"])
            self.assertNotEqual((run.agent.status().get("last_swap") or {}).get("result"), "committed")
            self.assertEqual(run.live_sha256(), pair.sha256)
            self.assertNotEqual(first.sha256, pair.sha256)
            apache.start()
            run.wait_served(pair)
            wait_until("it is committed", lambda: run.agent.status()["last_swap"]["result"] == "committed", 30)
            self.assertEqual(run.agent.status()["unverified"], [])

    def test_both_down(self):
        with Run("both-down") as run:
            run.agent.start()
            run.begin()
            for server in run.servers:
                server.stop()
            pair = run.ca.issue(run.names)
            run.drop(pair.files())
            wait_until("the pair is installed", lambda: run.live_sha256() == pair.sha256)
            for server in run.servers:
                self.assertIsNone(server.pid())  # nobody started them
                server.start()
            run.wait_served(pair)

    def test_configuration_broken_before_us(self):
        with Run("broken") as run:
            run.agent.start()
            first = run.begin()
            apache = run.by_kind["apache"]
            config = pathlib.Path(apache.config)
            good = config.read_text()
            identities = run.identities()
            # only a start refuses the second (it has no cache) and the third: "Syntax OK", says Apache; the last starts, but
            # a graceful restart does not survive it
            broken = [f"{good}{line}\n" for line in ("NoSuchDirective on", "SSLUseStapling on", f"CustomLog {run.folder}/nowhere/log %h")]
            for text in (*broken, good.replace("mpm_event", "mpm_prefork")):
                config.write_text(text)
                pair = run.ca.issue(run.names)
                done = run.agent.ctl("submit", "--name", "shop", "--timeout", "20s", *pair.files())
                self.assertExit(done, 1)
                self.assertEqual(run.identities(), identities)  # a graceful would have been its end
                self.assertEqual(apache.shown(run.names[0]).sha256, first.sha256)
                self.assertIn(run.live_sha256(), (first.sha256, pair.sha256))
                config.write_text(good)
                self.assertExit(run.agent.ctl("submit", "--name", "shop", *pair.files()), 0)
                self.assertTrue(run.serves(pair))
                first = pair

    def test_port_that_apache_would_not_get(self):
        # somebody has added a port that another program holds, or an address that this host has not: a rehearsal in a
        # network of its own gets both, and the graceful restart would be Apache's end
        with Run("port-taken", servers=("apache",)) as run:
            run.agent.start()
            first = run.begin()
            apache = run.by_kind["apache"]
            config = pathlib.Path(apache.config)
            good = config.read_text()
            identities = run.identities()
            with socket.create_server(("127.0.0.1", 0)) as taken:
                port = taken.getsockname()[1]
                for listen in (f"127.0.0.1:{port}", str(port), f"192.0.2.77:{port}"):
                    config.write_text(f"{good}Listen {listen}\n")
                    pair = run.ca.issue(run.names)
                    done = run.agent.ctl("submit", "--name", "shop", "--timeout", "20s", *pair.files())
                    self.assertExit(done, 1, f"listen on port {port}")
                    self.assertEqual(run.identities(), identities)
                    self.assertTrue(run.serves(first))
            here = f"Listen 127.0.0.1:{apache.port}"
            for listen in (f"{here}\nListen 0.0.0.0:{apache.port}", f"Listen 0.0.0.0:{apache.port}"):  # its own is in its way
                self.assertIn(here, good)
                config.write_text(good.replace(here, listen))
                self.assertExit(run.agent.ctl("submit", "--name", "shop", "--timeout", "20s", *pair.files()), 1, "address")
                self.assertEqual(run.identities(), identities)
            config.write_text(f"{good}Listen 127.0.0.1:{port}\n")  # free now
            self.assertExit(run.agent.ctl("submit", "--name", "shop", *pair.files()), 0)
            self.assertTrue(run.serves(pair))
            config.write_text(good)
            pair = run.ca.issue(run.names)
            self.assertExit(run.agent.ctl("submit", "--name", "shop", *pair.files()), 0)
            self.assertEqual(run.identities(), identities)

    def test_word_of_a_server_that_shows_the_new_pair_is_not_waited_for(self):
        """The wire did not turn, so the server is asked for its own word, which takes long. Then the wire turns."""
        with Run("word", servers=("nginx",)) as run:
            hooks, gate, told = run.own_programs() / "nginx", run.folder / "gate", run.folder / "told"
            run.config.write_text(run.config.read_text().replace('timeout = "10s"', 'timeout = "300s"'))
            run.agent.start()
            run.begin()
            os.mkfifo(gate)
            (hooks / "reload").write_text(f"#!/bin/sh\n: >{told}\n")
            (hooks / "configtest").write_text(f"#!/bin/sh\n[ -e {told} ] || exit 0\necho asked >{gate}\nsleep 1000\n")
            pair = run.ca.issue(run.names)
            run.drop(pair.files(), name="shop")
            self.assertEqual(gate.read_text(), "asked\n")
            run.servers[0].reload()
            wait_until("the swap ends", lambda: run.agent.status()["last_swap"]["result"] == "committed", 60)
            self.assertTrue(run.serves(pair))

    def test_nginx_that_refuses_its_configuration_says_so(self):
        # it goes on with the old one after a reload, and tells nobody but its error log
        with Run("refuses", servers=("nginx",)) as run:
            run.agent.start()
            first = run.begin()
            identities = run.identities()
            config = pathlib.Path(run.by_kind["nginx"].config)
            good = config.read_text()
            config.write_text(good + "no_such_directive on;\n")
            pair = run.ca.issue(run.names)
            done = run.agent.ctl("submit", "--name", "shop", "--timeout", "20s", *pair.files())
            self.assertExit(done, 1)
            self.assertIn("no_such_directive", done.stderr)
            self.assertEqual(run.agent.log().count("reload-refused"), 1)  # the other reloads would be in vain
            self.assertEqual(run.agent.status()["last_swap"]["result"], "rolled back")
            self.assertTrue(run.serves(first))
            config.write_text(good)
            self.assertExit(run.agent.ctl("submit", "--name", "shop", *pair.files()), 0)
            self.assertTrue(run.serves(pair))
            self.assertEqual(run.identities(), identities)

    def test_stuck_until_somebody_mends_the_configuration(self):
        # the old pair is refused, so it does not come back; nginx takes the new one as soon as it can load anything
        with Run("mended", servers=("nginx",)) as run:
            run.agent.start()
            first = run.begin()
            nginx = run.by_kind["nginx"]
            config = pathlib.Path(nginx.config)
            good = config.read_text()
            config.write_text(good + "no_such_directive on;\n")
            run.agent.ctl("notice", "shop", "--case", "c", "--yes", "--no-wait")
            pair = run.ca.issue(run.names)
            done = run.agent.ctl("submit", "--name", "shop", "--timeout", "20s", *pair.files())
            self.assertExit(done, 1, "STUCK", "no_such_directive")
            self.assertEqual(run.agent.status()["state"], "failed")
            self.assertTrue(run.serves(first))
            config.write_text(good)
            nginx.reload()
            wait_until("it is not stuck any more", lambda: run.agent.status()["state"] == "ok", 60)
            self.assertEqual(run.agent.status()["last_swap"]["result"], "committed")
            self.assertTrue(run.serves(pair))
            self.assertIn("swap-mended", [e["event"] for e in run.events()])

    def test_reload_that_nginx_only_seems_to_do(self):
        # somebody has added a port that another program holds: the test is good, the reload says so too, and nothing happens
        with Run("seems", servers=("nginx",)) as run:
            run.agent.start()
            first = run.begin()
            nginx = run.by_kind["nginx"]
            identities = run.identities()
            config = pathlib.Path(nginx.config)
            good = config.read_text()
            with socket.create_server(("127.0.0.1", 0)) as taken:
                listen = f"listen 127.0.0.1:{taken.getsockname()[1]};"
                config.write_text(good.replace("http {", f"http {{ server {{ {listen} }}", 1))
                self.assertEqual(run_program(nginx.binary, "-t", "-c", nginx.config, check=False).returncode, 0)
                pair = run.ca.issue(run.names)
                done = run.agent.ctl("submit", "--name", "shop", "--timeout", "120s", *pair.files(), seconds=150)
                self.assertExit(done, 1, "error log")
                self.assertEqual(run.agent.status()["last_swap"]["result"], "rolled back")
                self.assertTrue(run.serves(first))
                self.assertEqual(run.live_sha256(), first.sha256)
            self.assertExit(run.agent.ctl("submit", "--name", "shop", *pair.files()), 0)
            self.assertTrue(run.serves(pair))
            self.assertEqual(run.identities(), identities)

    def test_site_on_one_address_of_this_host(self):
        # the port listens on every address, and only there is the certificate shown: at loopback another site answers
        address = own_address()
        if not address:
            self.skipTest("this host has no address but loopback")
        with Run("one-address") as run:
            run.config.write_text(re.sub(r"probe = \[.*?\];", "", run.config.read_text()))
            run.agent.start()
            first, other = run.ca.issue(run.names), run.ca.issue(["other.example.test"])
            certificate, key = other.file("other.crt", other.fullchain), other.file("other.key", other.key)
            self.assertExit(run.agent.ctl("submit", *first.files()), 0)
            for server in run.servers:
                config, here = pathlib.Path(server.config), f"127.0.0.1:{server.port}"
                text = config.read_text().replace(f"Listen {here}", f"Listen {server.port}")
                if server.kind == "nginx":
                    text = text.replace("http {", f"http {{ server {{ listen {server.port} ssl; return 204; ssl_certificate {certificate};"
                                        f" ssl_certificate_key {key}; }}")
                else:
                    text += (f"<VirtualHost *:{server.port}>\nServerName other.example.test\nSSLEngine on\nSSLCertificateFile {certificate}\n"
                             f"SSLCertificateKeyFile {key}\n</VirtualHost>\n")
                config.write_text(text.replace(here, f"{address}:{server.port}"))
                run_program(*server._command(), cwd="/", env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"})

            def seen(server):
                return shown(server.port, run.names[0], address=address).sha256
            for server in run.servers:
                wait_until(f"{server.kind} shows it", lambda s=server: seen(s) == first.sha256)
            for _ in range(2):
                pair = run.ca.issue(run.names)
                self.assertExit(run.agent.ctl("submit", *pair.files()), 0, "proved on the wire")
                self.assertEqual([seen(server) for server in run.servers], [pair.sha256] * 2)
            places = {p["endpoint"] for p in run.agent.status()["served"] if p["sha256"] == pair.sha256}
            self.assertEqual(places, {f"{address}:{server.port}" for server in run.servers})
            self.assertRegex(run.agent.ctl("status").stdout, "shop +ok +[0-9a-f]+.. yes ")

    def test_a_heap_of_pairs_goes_in_one_reload(self):
        heap = {f"shop{i}": [f"shop{i}.example.test"] for i in range(30)}
        with Run("heap", certificates=heap, servers=("nginx",)) as run:
            run.agent.start()
            run.begin()
            pairs = {name: run.ca.issue(names) for name, names in heap.items()}
            files = [pair.file(f"{name}.pem", pair.fullchain + pair.key) for name, pair in pairs.items()]
            os.kill(run.agent.process.pid, signal.SIGSTOP)  # it finds all of them there
            run.drop(files)
            os.kill(run.agent.process.pid, signal.SIGCONT)
            wait_until("all are live", lambda: all(run.live_sha256(n) == p.sha256 for n, p in pairs.items()), 60, 0.1)
            wait_until("it is settled", run.settled)
            ended = {e["transaction"] for e in run.events() if e["event"] == "swap-ended" and e["state"] == "COMMITTED"}
            self.assertEqual(len(ended), 1)
            # what they share, the place without a name, was asked once, and is told of each
            served = {c["name"]: {p["server_name"]: p["sha256"] for p in c["served"]}
                      for c in json.loads(run.agent.ctl("status", "--json").stdout)["certificates"]}
            self.assertEqual({shown[heap[name][0]] for name, shown in served.items()}, {p.sha256 for p in pairs.values()})
            self.assertEqual(len({shown[""] for shown in served.values()}), 1)

    def test_a_heap_too_large_for_one_rehearsal(self):
        # its folders are told to the hook in a variable: what does not fit goes in a second reload, rehearsed as well
        heap = {f"shop{i}": [f"shop{i}.example.test"] for i in range(38)}
        with Run("large", certificates=heap, servers=("apache",), state="/".join(["deep" * 60] * 14 + ["state"])) as run:
            run.agent.start()
            run.begin()
            identities = run.identities()
            pairs = {name: run.ca.issue(names) for name, names in heap.items()}
            files = [pair.file(f"{name}.pem", pair.fullchain + pair.key) for name, pair in pairs.items()]
            os.kill(run.agent.process.pid, signal.SIGSTOP)
            run.drop(files)
            os.kill(run.agent.process.pid, signal.SIGCONT)
            wait_until("all are live", lambda: all(run.live_sha256(n) == p.sha256 for n, p in pairs.items()), 90, 0.1)
            wait_until("it is settled", run.settled)
            ended = {e["transaction"] for e in run.events() if e["event"] == "swap-ended" and e["state"] == "COMMITTED"}
            self.assertEqual(len(ended), 2)
            self.assertNotIn("rehearsal-skipped", run.agent.log())
            self.assertEqual(run.identities(), identities)

    def test_many_in_a_row(self):
        with Run("many") as run:
            run.agent.start()
            run.begin()
            identities = run.identities()
            for _ in range(8):
                pair = run.ca.issue(run.names)
                self.assertExit(run.agent.ctl("submit", "--name", "shop", *pair.files()), 0)
                self.assertTrue(run.serves(pair))
            self.assertEqual(run.identities(), identities)
            run.verify_log()
            wait_until("old keys go: five generations are kept", lambda: len(os.listdir(run.state / "certificates/shop/gen")) == 5)
            if os.getuid() == 0:  # it keeps its core and its descriptors from its own user too
                self.assertLess(len(os.listdir(f"/proc/{run.agent.process.pid}/fd")), 40)

    def test_other_blocks_of_combined_pem_go_on(self):
        block = "-----BEGIN DH PARAMETERS-----\nMAYCAQcCAQU=\n-----END DH PARAMETERS-----\n"
        with Run("blocks", servers=("nginx",)) as run:
            run.agent.start()
            run.begin()
            for more in (block, "", ""):
                pair = run.ca.issue(run.names)
                files = [pair.file("pair.pem", pair.fullchain + pair.key + more)]
                self.assertExit(run.agent.ctl("submit", "--name", "shop", *files), 0)
                combined = (run.live() / "combined.pem").read_text()
                self.assertEqual(combined.count("BEGIN DH PARAMETERS"), 1)
                self.assertIn(block.strip(), combined)

    def test_link_that_a_stranger_left_under_next(self):
        with Run("next", servers=("nginx",)) as run:
            run.agent.start()
            run.begin()
            pair = run.ca.issue(run.names)
            self.assertExit(run.agent.ctl("submit", "--name", "shop", *pair.files()), 0)
            folder, right = run.live().parent, os.readlink(run.live())
            os.symlink("gen/000001", folder / "next")
            os.symlink(right, folder / "again")
            os.rename(folder / "again", run.live())  # the same: somebody looks
            wait_until("next is given back and judged", lambda: not os.path.lexists(folder / "next"), 20)
            wait_until("the right pair is live", lambda: run.settled() and run.live_sha256() == pair.sha256, 20)
            self.assertTrue(run.serves(pair))

    def test_numbers_of_transactions_never_come_again(self):
        with Run("numbers", servers=("nginx",)) as run:
            run.agent.start()
            run.begin()
            for _ in range(2):
                self.assertEqual(run.agent.stop(), 0)
                run.agent.start()
                pair = run.ca.issue(run.names)
                self.assertExit(run.agent.ctl("submit", "--name", "shop", *pair.files()), 0)
            numbers = [e["transaction"] for e in run.events() if e["event"] == "swap-ended"]
            self.assertEqual(len(numbers), 3)
            self.assertEqual(len(set(numbers)), 3, numbers)

    def test_what_is_proved_in_the_same_moment_goes_in_one_reload(self):
        six = {f"site{i}": [f"site{i}.example.test"] for i in range(6)}
        with Run("moment", certificates=six, servers=("nginx",)) as run:
            run.agent.start()
            run.begin()
            # a busy machine may take longer than the moment: one of three goes in a single reload. Who waits for
            # nobody swaps the first alone, each time, and the others after it.
            rounds = []
            while len(rounds) < 3 and 1 not in rounds:
                rounds.append(self.swaps_of_a_moment(run, six))
            self.assertIn(1, rounds)

    def swaps_of_a_moment(self, run, six):
        """New pairs for all, in a box each while the agent stands still, so that it sees them together. How many swaps?"""
        before = len(run.events())
        pairs = {name: run.ca.issue(names) for name, names in six.items()}
        run.agent.process.send_signal(signal.SIGSTOP)
        try:
            for name, pair in pairs.items():
                run.drop([pair.file(f"{name}.pem", pair.fullchain + pair.key)], name)
        finally:
            run.agent.process.send_signal(signal.SIGCONT)
        for name, pair in pairs.items():
            run.wait_served(pair, names=six[name])
        wait_until("the end of it", run.settled, 20)
        return len({e["transaction"] for e in run.events()[before:] if e["event"] == "swap-ended"})

    def test_response_for_another_certificate_stapled(self):
        with Run("staple", servers=("nginx",)) as run:
            nginx = run.by_kind["nginx"]
            config, der = pathlib.Path(nginx.config), nginx.folder / "ocsp.der"
            run.agent.start()
            first = run.begin(start=False)
            self.respond(run, first, der)
            config.write_text(config.read_text().replace("http {", f"http {{ ssl_stapling on; ssl_stapling_file {der};"))
            nginx.start()
            pair, before = run.ca.issue(run.names), run.agent.status()["last_swap"]
            done = run.agent.ctl("submit", "--name", "shop", *pair.files())
            self.assertExit(done, 1, "stapled OCSP response for another one", first.serial, "ssl_stapling_file")
            run.wait_result("rolled back", before)
            self.assertTrue(run.serves(first))
            pair = run.ca.issue(run.names)
            self.respond(run, pair, der)  # the response comes with the pair
            self.assertExit(run.agent.ctl("submit", "--name", "shop", *pair.files()), 0)
            self.assertTrue(run.serves(pair))

    def respond(self, run, pair, out):
        """An OCSP response for this certificate by its CA."""
        ca = run.ca.folder / "intermediate.pem"
        request = pair.file("request.der", b"")
        run_program("openssl", "ocsp", "-issuer", str(ca), "-cert", pair.file("leaf.pem", pair.cert), "-reqout", request)
        run_program("openssl", "ocsp", "-index", str(run.ca.folder / "index.txt"), "-CA", str(ca), "-rsigner", str(ca),
                    "-rkey", str(run.ca.folder / "intermediate.key"), "-reqin", request, "-respout", str(out), "-ndays", "1")

    def test_nginx_behind_the_proxy_protocol(self):
        with Run("behind", servers=("nginx",)) as run:
            nginx = run.by_kind["nginx"]
            config = pathlib.Path(nginx.config)
            config.write_text(config.read_text().replace(" ssl;", " ssl proxy_protocol;"))
            self.swap_is_proved(run)

    def swap_is_proved(self, run):
        """Everything that was served is seen to turn."""
        run.agent.start()
        run.begin()
        pair, before = run.ca.issue(run.names), run.agent.status()["last_swap"]
        self.assertExit(run.agent.ctl("submit", "--name", "shop", *pair.files()), 0)
        run.wait_result("committed", before)
        self.assertEqual({p["sha256"] for p in run.agent.status()["served"]}, {pair.sha256})

    def test_apache_behind_the_proxy_protocol(self):
        with Run("behind-apache", servers=("apache",)) as run:
            config = pathlib.Path(run.by_kind["apache"].config)
            text = config.read_text().replace("SSLEngine on", "SSLEngine on\n    RemoteIPProxyProtocol On")
            config.write_text(text.replace("Listen ", f"LoadModule remoteip_module {APACHE_MODULES}/mod_remoteip.so\nListen ", 1))
            self.swap_is_proved(run)

    def test_client_certificates_demanded(self):
        """The handshake fails for who has none; by then the server has proved its own key."""
        with Run("demanded") as run:
            for kind, old, new in (("nginx", " ssl;", " ssl;\n        ssl_verify_client on; ssl_client_certificate {};"),
                                   ("apache", "SSLEngine on", "SSLEngine on\n    SSLVerifyClient require\n"
                                                              "    SSLCACertificateFile {}")):
                config = pathlib.Path(run.by_kind[kind].config)
                config.write_text(config.read_text().replace(old, new.format(run.ca.root)))
            self.swap_is_proved(run)

    def test_two_certificates_dropped_together(self):
        two = {"shop": ["shop.example.test"], "mail": ["mail.example.test"]}
        with Run("batch", certificates=two) as run:
            run.agent.start()
            run.begin()
            pairs = {name: run.ca.issue(names) for name, names in two.items()}
            run.drop([pair.file(f"{name}.pem", pair.fullchain + pair.key) for name, pair in pairs.items()])
            for name, pair in pairs.items():
                run.wait_served(pair, names=two[name])

    @unittest.skipIf(os.geteuid(), "a rehearsal needs root")
    def test_apache_would_die_of_one_of_a_batch(self):
        """Sound for every client, but weaker than this Apache's configuration allows: it ends at the graceful restart. The
        rehearsal of the whole batch sees it; the other one goes live without it."""
        two = {"shop": ["shop.example.test"], "mail": ["mail.example.test"]}
        with Run("batch-rehearsed", certificates=two, servers=("apache",)) as run:
            config = pathlib.Path(run.by_kind["apache"].config)
            config.write_text(config.read_text().replace("SSLEngine on", "SSLEngine on\nSSLCipherSuite DEFAULT:@SECLEVEL=3"))
            run.agent.start()
            run.begin()
            identities = run.identities()
            before = {name: run.agent.status(name)["last_swap"] for name in two}
            good, weak = run.ca.issue(two["shop"]), run.ca.issue(two["mail"], key_type="rsa-2048")
            run.drop([p.file(f"{n}.pem", p.fullchain + p.key) for n, p in (("shop", good), ("mail", weak))])
            run.wait_served(good, names=two["shop"])
            wait_until("mail's swap to end", lambda: run.agent.status("mail")["last_swap"] != before["mail"], 30, 0.05)
            if "rehearsal-skipped" in run.agent.log():
                self.skipTest("no rehearsal here")
            self.assertIn("in a rehearsal", run.agent.status("mail")["last_swap"]["reason"])
            self.assertEqual(run.identities(), identities)

    def test_another_pair_that_apache_would_die_of(self):
        """Without a rehearsal (a module that acts at start; no root) every pair that Apache loads is proved before a
        graceful restart, certswap's own or not: somebody has put another key beside the certificate of an old site."""
        with Run("stranger", servers=("apache",)) as run:
            apache = run.by_kind["apache"]
            config, folder = pathlib.Path(apache.config), run.folder / "old-site"
            old, other = run.ca.issue(["old.example.test"]), run.ca.issue(["old.example.test"])
            folder.mkdir()
            (folder / "cert.pem").write_text(old.fullchain)
            (folder / "key.pem").write_text(old.key)
            site = f"""<VirtualHost 127.0.0.1:{apache.port}>
                ServerName old.example.test
                SSLEngine on
                SSLCertificateFile {folder}/cert.pem
                SSLCertificateKeyFile {folder}/key.pem
            </VirtualHost>"""
            config.write_text(f"LoadModule md_module {APACHE_MODULES}/mod_md.so\n" + config.read_text() + site)
            run.agent.start()
            first = run.begin()
            identities = run.identities()
            (folder / "key.pem").write_text(other.key)
            pair = run.ca.issue(run.names)
            done = run.agent.ctl("submit", "--name", "shop", "--timeout", "10s", *pair.files())
            self.assertNotEqual(done.returncode, 0)
            self.assertIn(f"{config}:", run.agent.status()["last_swap"]["reason"])
            self.assertIn(f"{folder}/cert.pem", run.agent.status()["last_swap"]["reason"])
            self.assertTrue(run.serves(first))
            (folder / "key.pem").write_text(old.key)
            self.assertExit(run.agent.ctl("submit", "--name", "shop", *pair.files()), 0)
            self.assertTrue(run.serves(pair))
            self.assertEqual(run.identities(), identities)

    def test_configuration_broken_before_a_batch(self):
        two = {"shop": ["shop.example.test"], "mail": ["mail.example.test"]}
        with Run("broken-batch", certificates=two) as run:
            run.agent.start()
            run.begin()
            identities = run.identities()
            config = pathlib.Path(run.by_kind["apache"].config)
            config.write_text(config.read_text() + "NoSuchDirective on\n")
            pairs = {name: run.ca.issue(names) for name, names in two.items()}
            before = {name: run.agent.status(name)["last_swap"] for name in two}
            run.drop([pair.file(f"{name}.pem", pair.fullchain + pair.key) for name, pair in pairs.items()])
            for name in two:
                wait_until(f"the end of the swap of {name}",
                           lambda n=name: run.agent.status(n)["last_swap"] != before[n], 30, 0.05)
            self.assertEqual(run.identities(), identities)

    def test_ordinary_reload_of_the_server_in_between(self):
        with Run("reloaded") as run:
            run.agent.start()
            run.begin()
            before = run.agent.status()["last_swap"]
            pair = run.ca.issue(run.names)
            run.drop(pair.files())
            for server in run.servers:
                server.reload()
            run.wait_served(pair)
            run.wait_result("committed", before)

    def test_reload_after_reload_by_somebody_else(self):
        """nginx is reloaded again and again, as fast as it can, all through 8 swaps: whenever it reads the pair."""
        with Run("reload-storm", servers=("nginx",)) as run:
            nginx, over = run.by_kind["nginx"], threading.Event()
            run.agent.start()
            run.begin()
            load = Load(nginx, run.names[0], run.folder)
            run.at_end(load.stop)

            def storm():
                while not over.wait(0.001):
                    nginx.reload()
            somebody = threading.Thread(target=storm)
            somebody.start()
            try:
                for _ in range(8):
                    before, pair = run.agent.status()["last_swap"], run.ca.issue(run.names)
                    run.drop(pair.files())
                    run.wait_result("committed", before, seconds=60)
            finally:
                over.set()
                somebody.join()
            run.wait_served(pair)
            requests = load.stop()
            self.assertEqual(requests.failed, 0)
            self.assertGreater(requests.done, 100)
            self.assertGreater(nginx.log().count("reconfiguring"), 40)


main()
