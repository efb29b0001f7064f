"""Stapling from a file (option staple): a pair goes live with an OCSP response for its own serial number, or waits for one.
Stapling by the server itself, with certificates that demand it (must-staple): no visitor comes before the response."""
import json
import os
import pathlib
import re
import signal

from case import Case, main
from harness import Run
from processes import children_of, run as run_program, wait_until
from publisher import Publisher
from webserver import APACHE_MODULES


def stapled(server, name):
    """Of the response that a handshake brings: the serial number, and the signature; None: it brings none."""
    done = run_program("openssl", "s_client", "-connect", f"127.0.0.1:{server.port}", "-servername", name, "-status", check=False)
    serial = re.search(r"Serial Number: ([0-9A-F]+)", done.stdout.partition("Server certificate")[0])
    signature = re.search(r"OCSP Response Data:.*?Signature Value:\s+([0-9a-f:\s]+)", done.stdout, re.DOTALL)
    return (int(serial[1], 16), bytes.fromhex(re.sub(r"[:\s]", "", signature[1]))) if serial and signature else None


class Staple(Case):

    def test_its_own_response(self):
        with Publisher() as p, Run("staple-own", publisher=p, servers=("nginx",), options='fetch_deny = [ ];', more="staple = true;") as run:
            nginx, name = run.by_kind["nginx"], run.names[0]
            config, folder = pathlib.Path(nginx.config), run.state / "certificates/shop"
            p.publish_ocsp(run.ca)
            run.agent.start()
            first = run.begin(start=False)
            config.write_text(config.read_text().replace("http {", f"http {{ ssl_stapling on; ssl_stapling_file {folder}/live/ocsp.der;"))
            nginx.start()
            self.assertEqual(stapled(nginx, name)[0], int(first.serial, 16))
            pair = run.ca.issue(run.names)
            self.assertExit(run.agent.ctl("submit", "--name", "shop", *pair.files()), 0)
            self.assertTrue(run.serves(pair))
            self.assertEqual(stapled(nginx, name)[0], int(pair.serial, 16))

            # nobody answers: it waits and says for what; nothing is touched
            p.paths["/ocsp"] = lambda request: (500, {}, b"")
            late = run.ca.issue(run.names)
            self.assertExit(run.agent.ctl("submit", "--name", "shop", *late.files()), 1, "waits for an OCSP response", late.serial.lower().lstrip("0"))
            run.drop([late.file("late.pem", late.fullchain + late.key)])
            wait_until("status says what it waits for", lambda: any("waits for an OCSP response" in w["why"] for w in json.loads(
                run.agent.ctl("status", "--json").stdout)["waiting"]))
            self.assertTrue(run.serves(pair))
            p.publish_ocsp(run.ca)
            run.wait_served(late)
            self.assertEqual(stapled(nginx, name)[0], int(late.serial, 16))
            wait_until("it is settled", run.settled)

            # half of its time is over: a new one, with a reload, and the pair stays
            generation = (folder / "live").resolve()
            record = json.loads((generation / "ocsp.json").read_text())
            (generation / "ocsp.json").write_text(json.dumps({**record, "fresh_until": 1}))
            run.agent.stop()
            run.agent.start()
            wait_until("a generation with a new response is live", lambda: (folder / "live").resolve() != generation)
            wait_until("it is settled", run.settled)
            self.assertTrue(run.serves(late))
            serial, signature = stapled(nginx, name)
            self.assertEqual(serial, int(late.serial, 16))
            self.assertIn(signature, (folder / "live/ocsp.der").read_bytes())
            self.assertNotIn(signature, (generation / "ocsp.der").read_bytes())

    def test_no_responder(self):
        with Publisher() as p, Run("staple-none", publisher=p, servers=("nginx",), more="staple = true;") as run:
            run.ca = type(run.ca)(run.folder / "silent", publish=p.url, ocsp=False)
            run.write_config()
            run.agent.start()
            done = run.agent.ctl("submit", "--name", "shop", *run.ca.issue(run.names).files())
            self.assertExit(done, 1, "names no responder", "ssl_stapling_file")


def staple(apache):
    """Apache is to staple, with responses that it fetches itself."""
    config = pathlib.Path(apache.config)
    config.write_text(config.read_text().replace("Listen ", (
        f"LoadModule socache_shmcb_module {APACHE_MODULES}/mod_socache_shmcb.so\nSSLStaplingCache shmcb:{apache.folder}/staples\n"
        "SSLUseStapling on\nListen "), 1))


class SlowResponder(Case):

    def test_responder_that_hangs(self):
        """The CA's responder takes requests and says nothing, as on the day that it revokes thousands: Apache keeps each
        visitor waiting who asks for a response. The new certificate is proved all the same."""
        with Publisher() as p, Run("staple-hangs", {"shop": ["shop.example.test"]}, publisher=p, servers=("apache",),
                                   more="check = { ocsp = false; crl = false; };") as run:
            apache = run.by_kind["apache"]
            p.publish_ocsp(run.ca, keep=True)
            staple(apache)
            run.agent.start()
            run.begin()
            identity = apache.identity()

            def hangs(_request):
                p.over.wait(120)
                return 500, {}, b""
            p.paths["/ocsp"] = hangs
            pair = run.ca.issue(run.names)
            self.assertExit(run.agent.ctl("submit", "--name", "shop", *pair.files(), seconds=120), 0)
            self.assertTrue(run.serves(pair))
            self.assertEqual(apache.identity(), identity)
            self.assertEqual(apache.log().count("resuming normal operations"), 2)  # its start, and one reload
            self.assertEqual(run.agent.status()["last_swap"]["result"], "committed")
            self.assertIn("kept waiting who asked", next(e["text"] for e in run.events() if e["event"] == "unstapled"))
            self.assertTrue(any("/ocsp" in path for path in p.seen))
            p.over.set()


class MustStaple(Case):
    WORKERS = 12  # more than places that are looked at

    def by_each_worker(self, nginx, name):
        """What a visitor of each worker process gets: the others are stopped meanwhile."""
        workers = wait_until("the old workers are gone", lambda: (c := children_of(nginx.pid())) and len(c) == self.WORKERS and c)
        got = []
        for one in workers:
            others = [pid for pid in workers if pid != one]
            try:
                for pid in others:
                    os.kill(pid, signal.SIGSTOP)
                got.append(stapled(nginx, name))
            finally:
                for pid in others:
                    os.kill(pid, signal.SIGCONT)
        return got

    def answered(self, run, p, pair):
        """The CA has its answer for this certificate ready, as CAs have: openssl takes its time to sign one."""
        request = pair.file("request.der", b"")
        run_program("openssl", "ocsp", "-issuer", str(run.ca.folder / "intermediate.pem"), "-cert", pair.file("leaf.pem", pair.cert),
                    "-no_nonce", "-reqout", request)
        p.answer_ocsp(pathlib.Path(request).read_bytes())

    def test_first_visitors(self):
        with Publisher() as p, Run("must-staple", {"shop": ["shop.example.test"]}, publisher=p, options="fetch_deny = [ ];",
                                   more="check = { ocsp = false; crl = false; };") as run:
            nginx, apache, name = run.by_kind["nginx"], run.by_kind["apache"], run.names[0]
            p.publish_ocsp(run.ca, keep=True)
            config = pathlib.Path(nginx.config)
            config.write_text(config.read_text().replace("worker_processes 2", f"worker_processes {self.WORKERS}").replace(
                "http {", "http { ssl_stapling on;"))
            staple(apache)
            run.agent.start()
            run.begin()
            pair = run.ca.issue(run.names, must_staple=True)
            self.answered(run, p, pair)
            self.assertExit(run.agent.ctl("submit", "--name", "shop", *pair.files()), 0)
            self.assertEqual(stapled(apache, name)[0], int(pair.serial, 16))
            got = self.by_each_worker(nginx, name)
            self.assertEqual([g and g[0] for g in got], [int(pair.serial, 16)] * self.WORKERS)


main()
