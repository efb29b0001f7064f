"""What a CA, or somebody else, may send by mistake: refused with the reason, nothing moved, nothing lost."""
import os

from case import Case, main
from harness import Run
from processes import wait_until
from authority import Authority


class Refusals(Case):
    def refused(self, run, code, files, way="submit"):
        """These files must be refused with this code; what is served stays, by the same processes. Dropped into the
        certificate's folder, because files without a place are refused for that where their names don't fit."""
        live, identities = os.readlink(run.live()), run.identities()
        if way == "submit":
            self.assertExit(run.agent.ctl("submit", "--name", "shop", *files), 1, code)
        else:
            known = run.rejected()
            run.drop(files, name="shop")
            run.wait_rejected(code, before=known)
            # a certificate whose key is refused is refused before its key is there
            wait_until("the drop box is empty", lambda: not any((run.state / "incoming/shop").iterdir()))
        self.assertEqual(os.readlink(run.live()), live)
        self.assertEqual(run.identities(), identities)
        self.assertTrue(run.serves(self.first))

    def both_ways(self, name, code, files_of):
        with Run(name) as run:
            run.agent.start()
            self.first = run.begin()
            files = files_of(run)
            self.refused(run, code, files)
            self.refused(run, code, files, way="drop")
            good = run.ca.issue(run.names)  # and the next good one goes through
            run.drop(good.files())
            run.wait_served(good)

    def test_key_of_another_pair(self):
        with Run("mismatch") as run:
            run.agent.start()
            self.first = run.begin()
            bad = run.ca.issue(run.names).with_key(self.first)
            self.refused(run, "PAIR_MISMATCH", bad.files())

    def test_mismatch_dropped(self):
        with Run("mismatch-drop") as run:
            run.agent.start()
            self.first = run.begin()
            pair = run.ca.issue(run.names)
            self.refused(run, "PAIR_MISMATCH", pair.with_key(self.first).files(), way="drop")
            run.drop(pair.files())  # the same certificate with its own key
            run.wait_served(pair)

    def test_name_missing(self):
        self.both_ways("name", "NAME_MISSING", lambda run: run.ca.issue(run.names[:1]).files())

    def test_expired(self):
        self.both_ways("expired", "EXPIRED", lambda run: run.ca.issue(run.names, starts=-72, days=2).files())

    def test_not_yet_valid(self):
        self.both_ways("early", "NOT_YET_VALID", lambda run: run.ca.issue(run.names, starts=48).files())

    def test_small_key(self):
        self.both_ways("small", "KEY_SIZE", lambda run: run.ca.issue(run.names, key_type="rsa-1024").files())

    def test_chain_that_ends_nowhere(self):
        self.both_ways("untrusted", "CHAIN_UNTRUSTED",
                       lambda run: Authority(run.folder / "other", "Other").issue(run.names).files())

    def test_noise_is_told_what_to_do(self):
        with Run("noise", servers=("nginx",)) as run:
            run.agent.start()
            noise = run.folder / "noise.pem"
            noise.write_bytes(os.urandom(5000))
            self.assertExit(run.agent.ctl("submit", "--name", "shop", noise), 1, "noise.pem", "Next: take the files again")

    def test_names_that_fit_nowhere(self):
        """Without a place: by its names it is for none here, or for several. What is said leads on."""
        two = {"shop": ["shop.example.test", "www.shop.example.test"], "api": ["api.example.test"]}
        with Run("nowhere", two, servers=("nginx",)) as run:
            run.agent.start()
            self.first = run.begin()
            every = sum(two.values(), [])
            for names, words in (
                    (["shop.example.test"], ["shop also needs www.shop.example.test", "--name shop"]),
                    (["other.example.test"], ["no certificate here has a name that it covers (other.example.test)", "--name NAME"]),
                    (every, ["several certificates here (shop, api)"])):
                files = run.ca.issue(names).files()
                self.assertExit(run.agent.ctl("submit", *files), 1, *words)
                known = run.rejected()
                run.drop(files)
                run.wait_rejected(*words, before=known)
            self.assertTrue(run.serves(self.first))

    def test_oversized(self):
        with Run("oversized") as run:
            run.agent.start()
            self.first = run.begin()
            huge = run.folder / "huge.pem"
            with open(huge, "wb") as file:
                file.truncate(4 << 30)
            self.refused(run, "larger than 1 MiB", [huge])
            known = run.rejected()
            huge.rename(run.state / "incoming" / "huge.pem")
            run.wait_rejected("TOO_LARGE", before=known)
            self.assertTrue(run.serves(self.first))

    def test_no_certificate_at_all(self):
        with Run("garbage") as run:
            run.agent.start()
            self.first = run.begin()
            garbage = run.folder / "invoice.pdf"
            garbage.write_bytes(b"%PDF-1.7\n" + bytes(range(256)) * 40)
            self.refused(run, "PDF", [garbage])
            self.refused(run, "PDF", [garbage], way="drop")

    def test_fifo_and_link_in_the_drop_box(self):
        with Run("fifo") as run:
            run.agent.start()
            self.first = run.begin()
            box = run.state / "incoming"
            os.mkfifo(box / "pipe.pem")
            (box / "link.pem").symlink_to("/etc/passwd")
            pair = run.ca.issue(run.names)
            run.drop(pair.files())
            run.wait_served(pair)  # neither holds anything up
            self.assertNotIn("root:", "".join(run.rejected().values()))

    def test_denied_key(self):
        with Run("denied") as run:
            run.agent.start()
            self.first = run.begin()
            key = self.first.file("denied.pem", self.first.key)
            done = run.agent.ctl("deny", "add", key)
            if done.returncode == 2:
                self.skipTest("deny add belongs to a later part")
            self.assertExit(done, 0)
            again = run.ca.issue(run.names, key=self.first.key)
            self.refused(run, "KEY_DENIED", again.files())
            self.refused(run, "KEY_DENIED", again.files(), way="drop")


main()
