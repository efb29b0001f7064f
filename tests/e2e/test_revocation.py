"""What the CA publishes is read: a revoked certificate is replaced by its standby, whatever the source, and a source that
misbehaves costs nothing but itself."""
import json
import signal
import types

from case import Case, main
from harness import Run
from processes import run as run_program, wait_until
from publisher import Publisher

CHECK = 'check = { crl = true; ocsp = false; interval = "1s"; };'


class Revocation(Case):
    def prepared(self, run, standby=True):
        run.agent.start()
        first = run.begin()
        pair = None
        if standby:
            pair = run.ca.issue(run.names)
            self.assertExit(run.agent.ctl("standby", "shop", *pair.files()), 0)
        return first, pair

    def wait_status(self, run, wanted, seconds=15):
        def there():
            said = run.agent.status()["revocation"]
            return said if said["status"] == wanted else None
        try:
            return wait_until(f"revocation status {wanted}", there, seconds, 0.1)
        except AssertionError:
            raise AssertionError(json.dumps(run.agent.status(), indent=1)) from None

    def wait_problem(self, run, kind, *words, seconds=20):
        def there():
            sources = run.agent.status()["revocation"].get("sources", [])
            return next((s for s in sources if s["kind"] == kind and all(w in s["problem"] for w in words)), None)
        try:
            return wait_until(f"a problem of {kind} with {words}", there, seconds, 0.1)
        except AssertionError:
            raise AssertionError(json.dumps(run.agent.status()["revocation"], indent=1)) from None

    def denied(self, run):
        return run.agent.ctl("deny", "list").stdout

    def denied_keys(self, run):
        try:
            return (run.state / "denied").read_text().count("key ")
        except FileNotFoundError:
            return 0

    def reload(self, run):
        times = sum(e["event"] == "configuration" for e in run.events())
        run.agent.process.send_signal(signal.SIGHUP)
        wait_until("the configuration is read again",
                   lambda: sum(e["event"] == "configuration" for e in run.events()) > times, 10)

    def test_crl(self):
        """Both servers: good first, with a bound; then revoked, and the standby is served. Unchanged lists are not sent."""
        with Publisher() as p, Run("crl", publisher=p, more=CHECK) as run:
            p.publish_crls(run.ca)
            first, standby = self.prepared(run)
            good = self.wait_status(run, "good")
            self.assertEqual(good["source"], "crl")
            self.assertIn("168h", good["bound"])  # a private CA's list: 7 days until the next
            wait_until("the intermediate is good too",
                       lambda: [i["status"] for i in run.agent.status()["issuers"]] == ["good"], 10)
            self.assertTrue(run.serves(first))
            run.ca.revoke(first, "keyCompromise")
            run.wait_served(standby)
            again = run.ca.issue(run.names, key=first.key)
            self.assertExit(run.agent.ctl("submit", "--name", "shop", *again.files()), 1, "KEY_DENIED")
            self.assertIn("confirmed", self.denied(run))
            incident = json.loads(run.agent.ctl("incidents", "--all", "--json").stdout)
            self.assertIn("revoked", json.dumps(incident))
            self.wait_status(run, "good")
            run.verify_log()

    def test_revoked_and_left_to_a_person(self):
        with Publisher() as p, Run("left", publisher=p, servers=("nginx",), more=CHECK + ' on_revoked = "confirm";') as run:
            p.publish_crls(run.ca)
            first, standby = self.prepared(run)
            self.wait_status(run, "good")
            run.ca.revoke(first, "superseded")
            wait_until("it waits for a person", lambda: (run.agent.status()["incident"] or {}).get("stage") == "waiting for confirmation", 20)
            self.assertTrue(run.serves(first))
            self.assertExit(run.agent.ctl("confirm", "shop"), 0)
            self.assertTrue(run.serves(standby))

    def test_standby_that_is_revoked(self):
        """It would be of no use in the night of need: it stands by no more, and what is served stays."""
        with Publisher() as p, Run("standby-revoked", publisher=p, servers=("nginx",), more=CHECK) as run:
            p.publish_crls(run.ca)
            first, standby = self.prepared(run)
            self.wait_status(run, "good")
            run.ca.revoke(standby, "keyCompromise")
            wait_until("the standby is dropped", lambda: run.agent.status()["standby"] is None, 20)
            self.assertTrue(any("it was the standby pair" in e["text"] for e in run.events()))
            wait_until("its key is refused", lambda: "confirmed" in self.denied(run), 15)
            self.assertTrue(run.serves(first))
            self.assertExit(run.agent.ctl("swap", "shop", "--to", "standby"), 1)
            self.assertTrue(run.serves(first))

    def test_ocsp(self):
        with Publisher() as p, Run("ocsp", publisher=p, servers=("nginx",),
                                   more='check = { crl = false; ocsp = true; interval = "1s"; };') as run:
            p.publish_ocsp(run.ca)
            first, standby = self.prepared(run)
            self.assertEqual(self.wait_status(run, "good")["source"], "ocsp")
            run.ca.revoke(first, "superseded")
            run.wait_served(standby)
            self.wait_status(run, "good")

    def test_each_reason(self):
        """What the reason says about the key is what is refused; a reason that changes after the swap too."""
        with Publisher() as p, Run("reasons", publisher=p, servers=("nginx",), more=CHECK) as run:
            p.publish_crls(run.ca)
            old, standby = self.prepared(run)
            for reason in ("unspecified", "affiliationChanged", "superseded", "cessationOfOperation", "CACompromise"):
                run.ca.revoke(old, reason)
                run.wait_served(standby)
                self.assertEqual(self.denied_keys(run), 0, reason)
                before, old, standby = old, standby, run.ca.issue(run.names)
                self.assertExit(run.agent.ctl("standby", "shop", *standby.files()), 0)
            run.ca.revoke(before, "keyCompromise")  # not served any more
            wait_until("its key is refused", lambda: "confirmed" in self.denied(run), 15)
            self.assertTrue(run.serves(old))
            again = run.ca.issue(run.names, key=before.key)
            self.assertExit(run.agent.ctl("submit", "--name", "shop", *again.files()), 1, "KEY_DENIED")

    def test_revoked_before_it_goes_live(self):
        """A pair that is revoked already is refused; one under a source that hangs waits two seconds at most and goes."""
        with Publisher() as p, Run("candidate", publisher=p, servers=("nginx",), more=CHECK) as run:
            p.publish_crls(run.ca)
            first, _ = self.prepared(run, standby=False)
            bad = run.ca.issue(run.names)
            run.ca.revoke(bad, "superseded")
            self.assertExit(run.agent.ctl("submit", "--name", "shop", *bad.files()), 1, "REVOKED")
            self.assertExit(run.agent.ctl("standby", "shop", *bad.files()), 1, "REVOKED")
            self.assertTrue(run.serves(first))
            p.paths["/leaf.crl"] = lambda request: (p.over.wait(20), (503, {}, b""))[1]
            good = run.ca.issue(run.names)
            self.assertExit(run.agent.ctl("submit", "--name", "shop", *good.files()), 0)
            self.assertTrue(run.serves(good))

    def test_intermediate(self):
        """A revoked intermediate is a revocation of all under it; a pair under it is refused; what serves goes on serving."""
        with Publisher() as p, Run("intermediate", publisher=p, servers=("nginx",), more=CHECK) as run:
            p.publish_crls(run.ca)
            first, _ = self.prepared(run)
            self.wait_status(run, "good")
            run.ca.revoke_intermediate()
            wait_until("the intermediate is seen revoked",
                       lambda: [i["status"] for i in run.agent.status()["issuers"]] == ["revoked"], 15)
            wait_until("an incident", lambda: run.agent.status()["incident"], 10)
            under = run.ca.issue(run.names)
            self.assertExit(run.agent.ctl("submit", "--name", "shop", *under.files()), 1, "intermediate")
            self.assertTrue(run.serves(first))

    def test_missing_intermediate(self):
        """A pair without its chain: the issuer is fetched where the certificate says, and kept."""
        with Publisher() as p, Run("issuer", publisher=p, servers=("nginx",), more=CHECK) as run:
            p.publish_crls(run.ca)
            der = run.folder / "issuer.der"
            run_program("openssl", "x509", "-in", str(run.ca.folder / "intermediate.pem"), "-outform", "DER", "-out", str(der))
            p.paths["/issuer.der"] = lambda request: (200, {}, der.read_bytes())
            run.agent.start()
            pair = run.ca.issue(run.names)
            bare = [pair.file("cert.pem", pair.cert), pair.file("key.pem", pair.key)]
            self.assertExit(run.agent.ctl("submit", "--name", "shop", *bare), 0)
            for server in run.servers:
                server.start()
            self.assertTrue(run.serves(pair))
            self.assertEqual((run.live() / "chain.pem").read_text().strip(), run.ca.chain.strip())
            self.assertEqual(len(list((run.state / "intermediates-fetched").iterdir())), 1)

    def test_sources_that_misbehave(self):
        """Each fault has an answer, and none touches what is served; then a mirror's file does as well."""
        def endless(request):
            return 200, {"Content-Length": str(10 << 30)}, (b"0" * 65536 for _ in range(1 << 14))

        def drip(request):
            def pieces():
                yield p.paths["leaf"](request)[2][:100]
                while not p.over.wait(0.2):
                    yield b""
            return 200, {"Content-Length": "500"}, pieces()

        with Publisher() as p, Run("faults", publisher=p, servers=("nginx",), more=CHECK) as run:
            p.publish_crls(run.ca)
            p.paths["leaf"] = p.paths["/leaf.crl"]
            faults = [
                ("HTTP status 500", lambda request: (500, {}, b"")),
                ("not used", lambda request: (200, {}, b"<html>captive portal</html>")),
                ("not used", lambda request: (200, {}, p.paths["leaf"](request)[2][:-1])),
                ("redirects again", lambda request: (302, {"Location": "/leaf.crl"}, b"")),
                ("fetch_deny", lambda request: (302, {"Location": "http://169.254.169.254/latest"}, b"")),
                ("can't be found", lambda request: (302, {"Location": "http://no.such.host.invalid/"}, b"")),
                ("https", lambda request: (302, {"Location": p.url.replace("http:", "https:") + "/"}, b"")),
                ("bytes", endless),
                ("slowly", drip)]
            p.paths["/leaf.crl"] = faults[0][1]
            first, _ = self.prepared(run, standby=False)
            for words, answer in faults:
                p.paths["/leaf.crl"] = answer
                self.reload(run)  # else the pause after failures grows and grows
                self.wait_problem(run, "crl", words)
            self.assertTrue(run.serves(first))
            wait_until("it is said that nobody would know", lambda: run.agent.status()["revocation"]["blind"], 20)
            p.paths["/leaf.crl"] = p.paths["leaf"]
            self.wait_status(run, "good", 20)
            mirror = run.folder / "mirror.crl"
            run.ca.revoke(first, "superseded")
            mirror.write_bytes(run.ca.crl())
            p.paths["/leaf.crl"] = faults[0][1]
            run.more = f'check = {{ crl = "file:{mirror}"; ocsp = false; interval = "1s"; }};'
            run.write_config()
            self.reload(run)
            self.wait_status(run, "revoked")
            self.assertTrue(run.serves(first))  # nothing else is there

    def test_renewal_information(self):
        """A window that no CA plans: an early renewal is asked for, nothing else happens."""
        with Publisher() as p, Run("ari", publisher=p, servers=("nginx",),
                                   more='check = { crl = false; ocsp = false; ari = "URL/directory"; interval = "1s"; };') as run:
            run.more = run.more.replace("URL", p.url)
            run.write_config()
            early = {"suggestedWindow": {"start": "2026-01-01T00:00:00Z", "end": "2026-01-02T00:00:00Z"},
                     "explanationURL": "https://ca.example/why"}
            p.paths["/directory"] = lambda request: (200, {}, json.dumps({"renewalInfo": p.url + "/ari"}).encode())
            p.paths["/ari"] = lambda request: (200, {"Retry-After": "21600"}, json.dumps(early).encode())
            first, standby = self.prepared(run)
            incident = wait_until("an incident", lambda: run.agent.status()["incident"], 15)
            self.assertIn("early", json.dumps(incident))
            self.assertIn("https://ca.example/why", run.agent.ctl("status", "--json").stdout)
            self.assertTrue(run.serves(first))
            self.assertEqual(run.agent.status()["standby"]["sha256"], standby.sha256)
            self.assertEqual(self.denied_keys(run), 0)


    def test_proxy(self):
        """A host without a way out of its own: the name need not even be known here."""
        with Publisher() as p, Run("proxy", publisher=types.SimpleNamespace(url="http://crl.invalid"), servers=("nginx",),
                                   options=f'fetch_proxy = "{p.url}";', more=CHECK) as run:
            p.publish_crls(run.ca)
            for path in ("/leaf.crl", "/ca.crl"):
                p.paths["http://crl.invalid" + path] = p.paths.pop(path)
            self.prepared(run, standby=False)
            self.wait_status(run, "good")

    def test_forbidden_address(self):
        """fetch_deny is held at the connection itself."""
        with Publisher() as p, Run("deny", publisher=p, servers=("nginx",), options='fetch_deny = [ "127.0.0.0/8" ];',
                                   more=CHECK) as run:
            p.publish_crls(run.ca)
            self.prepared(run, standby=False)
            self.wait_problem(run, "crl", "fetch_deny")
            self.assertEqual(p.seen, [])


if __name__ == "__main__":
    main()
