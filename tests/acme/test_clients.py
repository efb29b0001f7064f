"""certbot, lego and dehydrated get certificates from a CA, the agent takes them from the client's own folder, and the web
server shows them; the key that a notice named does not come back by the client's hand."""
from acme import Certbot, Dehydrated, Lego, Pebble, WatchRun
from case import Case, main
from processes import wait_until


class Clients(Case):
    def whole_story(self, kind):
        names = ["shop.example.test", "www.shop.example.test"]
        with WatchRun(kind.program, {"shop": kind.watched(names)}) as run:
            client = kind(run, Pebble(run), names)
            run.watched().parent.mkdir(parents=True, exist_ok=True)
            run.agent.start()
            client.issue()
            first = client.leaf()
            run.wait_live(first)
            for server in run.servers:
                server.start()
            run.wait_served(first)
            second = self.renewed(run, client)
            self.assertNotEqual(second.spki, first.spki)
            self.key_is_denied(run, client, second)
            run.verify_log()

    def renewed(self, run, client):
        """A renewal by the client's own command is served; nobody touched the servers. Its leaf."""
        identities = run.identities()
        before = run.agent.status()["last_swap"]
        client.renew()
        leaf = client.leaf()
        run.wait_served(leaf)
        run.wait_result("committed", before)
        self.assertEqual(run.live_sha256(), leaf.sha256)
        self.assertEqual(run.agent.status()["live"]["serial"], leaf.serial)
        self.assertEqual(run.identities(), identities)
        self.assertEqual(run.refusals(""), [])
        return leaf

    def key_is_denied(self, run, client, old):
        """After a key compromise a renewal with the same key is refused, one with a new key ends the incident."""
        self.assertExit(run.agent.ctl("notice", "shop", "--case", "c", "--yes"), 1)
        client.renew(reuse_key=True)
        again = client.leaf()
        self.assertNotEqual(again.sha256, old.sha256)
        self.assertEqual(again.spki, old.spki)
        wait_until("the renewal with the same key is refused", lambda: run.refusals("KEY_DENIED"), 15)
        self.assertTrue(run.serves(old))
        self.assertEqual(run.live_sha256(), old.sha256)
        self.assertEqual(run.agent.status()["incident"]["case"], "c")
        client.renew()
        good = client.leaf()
        self.assertNotEqual(good.spki, old.spki)
        run.wait_served(good)
        wait_until("the incident is over", lambda: run.agent.status()["incident"] is None)
        self.assertEqual(len(run.refusals("KEY_DENIED")), 1)  # said once

    def test_certbot(self):
        self.whole_story(Certbot)

    def test_lego(self):
        self.whole_story(Lego)

    def test_dehydrated(self):
        self.whole_story(Dehydrated)


main()
