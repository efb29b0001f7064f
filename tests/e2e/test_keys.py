"""The operator without ACME: a key and its request exist beforehand, what comes back is paired by its public key; a certificate for
the old, compromised key is told so."""
import hashlib
import json
import os
import re
import subprocess

from case import Case, main
from harness import Run
from processes import run as run_program, wait_until


def spki_of(pem, kind):
    """SHA-256 of the SubjectPublicKeyInfo of a certificate, request or key in a file."""
    how = {"x509": ["x509", "-noout", "-pubkey"], "req": ["req", "-noout", "-pubkey"], "key": ["pkey", "-pubout"]}[kind]
    public = run_program("openssl", *how, "-in", str(pem)).stdout
    der = subprocess.run(["openssl", "pkey", "-pubin", "-outform", "DER"], input=public.encode(), check=True,
                         stdout=subprocess.PIPE).stdout
    return hashlib.sha256(der).hexdigest()


class Keys(Case):
    def pending(self, run, n=1):
        return wait_until(f"{n} waiting keys", lambda: (lambda p: p if len(p) == n else None)(run.agent.status()["pending"]), 15)

    def csr(self, run, *options):
        """certswapctl csr; a file with what it printed."""
        done = run.agent.ctl("csr", "shop", *options)
        self.assertExit(done, 0)
        self.assertNotIn("PRIVATE", done.stdout + done.stderr)
        path = run.folder / "request.csr"
        path.write_text(done.stdout)
        return path, done

    def test_request_to_certificate(self):
        with Run("keys") as run:
            run.agent.start()
            first = run.begin()
            waiting = self.pending(run)[0]
            self.assertFalse(waiting["shown"])
            folder = run.state / "certificates/shop/pending" / waiting["spki_sha256"]
            self.assertEqual(spki_of(folder / "privkey.pem", "key"), waiting["spki_sha256"])
            self.assertEqual((folder / "privkey.pem").stat().st_mode & 0o777, 0o600)
            self.assertEqual((folder / "privkey.pem").stat().st_uid, os.geteuid())

            path, done = self.csr(run, "--pins")
            self.assertIn("REISSUE of serial " + first.serial, done.stderr)
            self.assertRegex(done.stdout, r"\nsha256/[A-Za-z0-9+/]{43}=\n")
            self.assertIn("_443._tcp.shop.example.test. IN TLSA 3 1 1 " + waiting["spki_sha256"], done.stdout)
            said = run_program("openssl", "req", "-noout", "-text", "-verify", "-in", str(path)).stdout
            for name in run.names:
                self.assertIn("DNS:" + name, said)
            self.assertEqual(spki_of(path, "req"), waiting["spki_sha256"])
            again, _ = self.csr(run)
            self.assertEqual(spki_of(again, "req"), waiting["spki_sha256"])  # until it is used

            new = run.ca.sign(path, names=run.names)
            run.drop([new.p7b()])  # a PKCS#7 without a key, and without saying for which certificate
            run.wait_served(new)
            self.assertEqual(run.live_sha256(), new.sha256)
            wait_until("the used key waits no more", lambda: not folder.exists())
            self.assertFalse(self.pending(run)[0]["shown"])  # the next one

            path, _ = self.csr(run)
            second = run.ca.sign(path, names=run.names)
            self.assertExit(run.agent.ctl("submit", second.file("only.pem", second.cert)), 0)
            self.assertTrue(run.serves(second))
            run.verify_log()

    def test_certificate_for_the_old_key(self):
        with Run("keys-old", servers=("nginx",)) as run:
            run.agent.start()
            first = run.begin()
            self.pending(run)
            done = run.agent.ctl("notice", "shop", "--case", "c", "--yes")
            self.assertExit(done, 1)
            old = run.ca.issue(run.names, key=first.key)
            known = run.rejected()
            run.drop([old.file("alone.pem", old.cert)])
            why = run.wait_rejected("KEY_DENIED", "old, compromised key", "certswapctl csr shop", before=known)
            self.assertIn(old.serial, why)
            self.assertExit(run.agent.ctl("submit", "--name", "shop", old.file("alone.pem", old.cert)), 1,
                            "old, compromised key", "certswapctl csr shop")
            path, _ = self.csr(run)
            new = run.ca.sign(path, names=run.names)
            run.drop([new.file("new.pem", new.fullchain)])
            run.wait_served(new)

    def test_new_key_other_names_restart(self):
        with Run("keys-more", servers=("nginx",)) as run:
            run.agent.start()
            run.begin()
            first = self.pending(run)[0]["spki_sha256"]
            path, _ = self.csr(run)
            other, _ = self.csr(run, "--new-key")
            self.assertNotEqual(spki_of(other, "req"), first)
            self.assertEqual({k["spki_sha256"] for k in self.pending(run, 2)}, {first, spki_of(other, "req")})
            run.agent.kill()
            new_folder = run.state / "certificates/shop/pending/.new"
            new_folder.mkdir()  # a key that was being made
            (new_folder / "privkey.pem").write_text("")
            run.certificates["shop"] = run.names + ["api.shop.example.test"]
            run.write_config()
            run.agent.start()
            self.pending(run, 3)  # for the names that are needed now; those that were shown are kept
            out = run.folder / "out.csr"
            done = run.agent.ctl("csr", "shop", "--json", "--out", out)
            self.assertExit(done, 0)
            self.assertIn("api.shop.example.test", json.loads(done.stdout)["names"])
            self.assertIn("DNS:api.shop.example.test", run_program("openssl", "req", "-noout", "-text", "-in", str(out)).stdout)
            self.assertTrue(re.search("BEGIN CERTIFICATE REQUEST", out.read_text()))
            self.assertFalse(new_folder.exists())
            self.assertExit(run.agent.ctl("csr", "nobody"), 1, "no certificate named")


if __name__ == "__main__":
    main()
