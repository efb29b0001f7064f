"""Every form in which a CA sends a pair, by every way in: live on both servers, proved by handshakes."""
import email.message
import os
import pathlib

from case import Case, main
from harness import Run
from processes import wait_until

SHOP = ["shop.example.test", "www.shop.example.test"]
TWO = {"shop": SHOP, "mail": ["mail.example.test"]}


class Intake(Case):
    def swapped(self, run, pair, hand_over, names=None):
        """hand_over() must lead to this pair on every server, by the same parent processes."""
        identities = run.identities()
        before = run.agent.status()["last_swap"]
        hand_over()
        run.wait_served(pair, names=names)
        swap = run.wait_result("committed", before)
        self.assertGreater(swap["milliseconds"], 0)
        self.assertEqual(run.live_sha256(), pair.sha256)
        self.assertEqual(run.identities(), identities)
        self.assertEqual(run.agent.status()["live"]["serial"], pair.serial)

    def started(self, run):
        run.agent.start()
        return run.begin()

    def test_first_pair_touches_no_server(self):
        with Run("first") as run:
            run.agent.start()
            pair = run.ca.issue(run.names)
            done = run.agent.ctl("submit", "--name", "shop", *pair.files())
            self.assertExit(done, 0)
            self.assertEqual(run.live_sha256(), pair.sha256)
            self.assertEqual(os.readlink(run.live()), "gen/000001")
            self.assertEqual(run.identities(), {"nginx": None, "apache": None})

    def test_pem_files(self):
        with Run("pem") as run:
            self.started(run)
            pair = run.ca.issue(run.names)
            self.swapped(run, pair, lambda: run.drop(pair.files()))
            self.assertEqual(list((run.state / "incoming").glob("*.pem")), [])

    def test_one_file_with_everything_and_text_between(self):
        with Run("one") as run:
            self.started(run)
            pair = run.ca.issue(run.names)
            text = "Dear customer,\r\n\r\n" + (pair.chain + "and the key:\n" + pair.key + pair.cert).replace("\n", "\r\n")
            source = pair.file("mail.txt", b"\xef\xbb\xbf" + text.encode())
            self.swapped(run, pair, lambda: run.drop([source]))

    def test_mail_of_the_ca_as_it_was_saved(self):
        """The certificate attached, the chain pasted; the key waits here, as after `csr`."""
        with Run("mail", servers=("nginx",)) as run:
            self.started(run)
            pair = run.ca.issue(run.names)
            mail = email.message.EmailMessage()
            mail["From"], mail["Subject"] = "desk@ca.test", "証明書"
            mail.set_content(f"サーバ証明書\n{pair.chain}", cte="base64")
            mail.add_attachment(pair.cert.encode(), maintype="application", subtype="x-x509-ca-cert", filename="a.crt")
            sources = [pair.file("mail.eml", mail.as_bytes()), pair.file("key.pem", pair.key)]
            self.swapped(run, pair, lambda: run.drop(sources))

    def test_names_of_the_files_mean_nothing(self):
        with Run("names") as run:
            self.started(run)
            pair = run.ca.issue(run.names)
            sources = [pair.file("cert.pem", pair.key), pair.file("key.pem", pair.chain), pair.file("x.jpg", pair.cert)]
            self.swapped(run, pair, lambda: run.drop(sources))

    def test_halves_of_the_live_pair_are_both_gone(self):
        """As after a crash between the end of a swap and the wiping of its files."""
        with Run("live-halves", servers=()) as run:
            run.agent.start()
            pair = run.begin(start=False)
            run.agent.stop()
            for number, name, text in ((900, "shop.key", pair.key), (901, "shop.crt", pair.fullchain)):
                (run.state / "work" / f"{number:06},shop,{name}").write_text(text)
            run.agent.start()
            wait_until("nothing is left in work/", lambda: not any((run.state / "work").iterdir()), 20)
            self.assertEqual(run.rejected(), {})

    def test_der(self):
        with Run("der") as run:
            self.started(run)
            pair = run.ca.issue(run.names)
            sources = [pair.file("c.cer", pair.der), pair.file("k.der", pair.key_der()), pair.file("i.pem", pair.chain)]
            self.swapped(run, pair, lambda: run.drop(sources))

    def test_pkcs7_and_key(self):
        with Run("p7b") as run:
            self.started(run)
            pair = run.ca.issue(run.names)
            self.swapped(run, pair, lambda: run.drop([pair.p7b(), pair.file("key.pem", pair.key)]))

    def test_pkcs12_with_password(self):
        with Run("p12") as run:
            self.started(run)
            pair = run.ca.issue(run.names, key_type="rsa-2048")
            password = pair.file("password", "Kennwort 4711\n")

            def submit():
                done = run.agent.ctl("submit", "--name", "shop", "--password-file", password, pair.p12("Kennwort 4711"))
                self.assertExit(done, 0)
            self.swapped(run, pair, submit)

    def test_pkcs12_with_wrong_password_is_refused(self):
        with Run("p12-wrong") as run:
            first = self.started(run)
            pair = run.ca.issue(run.names)
            password = pair.file("other", "something else\n")
            done = run.agent.ctl("submit", "--name", "shop", "--password-file", password, pair.p12("Kennwort 4711"))
            self.assertExit(done, 1, "no password opened", "--password-file")
            self.assertNotIn("something else", done.stdout + done.stderr)
            self.assertTrue(run.serves(first))

    def test_submit_returns_when_the_wire_is_proved(self):
        with Run("submit") as run:
            self.started(run)
            pair = run.ca.issue(run.names)

            def submit():
                self.assertExit(run.agent.ctl("submit", "--name", "shop", *pair.files()), 0)
                self.assertTrue(run.serves(pair))
            self.swapped(run, pair, submit)
            self.assertExit(run.agent.ctl("submit", "--name", "shop", *pair.files()), 0)  # the pair that is live already

    def test_folder_of_the_certificate(self):
        with Run("folder", certificates=TWO) as run:
            self.started(run)
            pair = run.ca.issue(SHOP)
            self.swapped(run, pair, lambda: run.drop(pair.files(), name="shop"))
            self.assertEqual(run.live_sha256("mail"), run.first["mail"].sha256)

    def test_unnamed_goes_by_its_names(self):
        with Run("routing", certificates=TWO) as run:
            self.started(run)
            mail, shop = run.ca.issue(TWO["mail"]), run.ca.issue(SHOP)
            run.drop(mail.files())
            run.wait_served(mail, names=TWO["mail"])
            self.assertEqual(run.live_sha256("shop"), run.first["shop"].sha256)
            self.swapped(run, shop, lambda: run.drop(shop.files()))
            self.assertEqual(run.live_sha256("mail"), mail.sha256)

    def test_key_now_certificate_later_byte_by_byte(self):
        with Run("later") as run:
            first = self.started(run)
            pair = run.ca.issue(run.names)
            run.drop([pair.file("key.pem", pair.key)])
            wait_until("status names what waits", lambda: "key.pem" in run.agent.ctl("status").stdout)
            for more in ([], ["shop"]):
                shown = run.agent.ctl("status", *more)
                self.assertExit(shown, 0, "Waiting in incoming/:", "key.pem", "its other half has not come yet", "it holds: ecdsa-p256 private")
                self.assertLessEqual(max(map(len, shown.stdout.splitlines())), 100)
            self.assertTrue(run.serves(first))
            self.swapped(run, pair, lambda: run.drop([pair.file("fullchain.pem", pair.fullchain)], slowly=True))
            self.assertNotIn("Waiting", run.agent.ctl("status").stdout)

    def test_folder_that_is_no_box_is_named(self):
        with Run("folders", servers=("nginx",)) as run:
            self.started(run)
            pair = run.ca.issue(run.names)
            typo = run.state / "incoming" / "shpo"
            typo.mkdir()
            run.drop([pair.file("pair.pem", pair.fullchain + pair.key)], "shpo")
            wait_until("status names it", lambda: "shpo/" in run.agent.ctl("status").stdout)
            self.assertExit(run.agent.ctl("status"), 0, "there is no certificate named shpo here; did you mean shop?")
            (typo / "pair.pem").rename(run.state / "incoming" / "shop" / "pair.pem")
            run.wait_served(pair)
            self.assertNotIn("shpo", run.agent.ctl("status").stdout)  # empty, it is nobody's concern

    def test_missing_intermediate_is_taken_from_what_is_here(self):
        with Run("chain") as run:
            self.started(run)
            pair = run.ca.issue(run.names)
            self.swapped(run, pair, lambda: run.drop([pair.file("cert.pem", pair.cert), pair.file("key.pem", pair.key)]))
            self.assertEqual(pathlib.Path(run.live() / "chain.pem").read_text().count("BEGIN CERTIFICATE"), 1)

    def test_hand_over_by_rename(self):
        with Run("rename") as run:
            self.started(run)
            pair = run.ca.issue(run.names)

            def move():
                for source in pair.files():
                    pathlib.Path(source).rename(run.state / "incoming" / pathlib.Path(source).name)
            self.swapped(run, pair, move)

    def test_files_that_lay_there_before_the_start(self):
        with Run("before") as run:
            self.started(run)
            self.assertEqual(run.agent.stop(), 0)
            pair = run.ca.issue(run.names)
            run.drop(pair.files())
            run.agent.start()
            run.wait_served(pair)


main()
