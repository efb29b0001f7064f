"""A notice makes the real client get the replacement: certbot and lego run as `reissue`, and certbot revokes the old
certificate as `after_swap`; the new one stays good and the lineage stays."""
import json
import time

from acme import Certbot, Lego, Pebble, WatchRun
from case import Case, main
from processes import wait_until


class ReissueRun(WatchRun):
    """commands: {option: [words]} of the certificate, once the client is there."""

    def give(self, commands):
        text = self.config.read_text()
        mark = '  { name = "shop";\n'
        assert mark in text
        for option, words in commands.items():
            text = text.replace(mark, f"{mark}    {option} = [ {', '.join(json.dumps(str(w)) for w in words)} ];\n")
        self.config.write_text(text)

    def story(self):
        return [step["text"] for step in json.loads(self.agent.ctl("incident", 1, "--json").stdout)["story"]]

    def wait_closed(self):
        wait_until("the incident is closed",
                   lambda: json.loads(self.agent.ctl("incident", 1, "--json").stdout)["closed_at"], 60)


class Reissue(Case):
    names = ["shop.example.test", "www.shop.example.test"]

    def begun(self, run, kind, commands):
        """The client's first certificate is served; its leaf."""
        client = kind(run, Pebble(run), self.names)
        run.watched().parent.mkdir(parents=True, exist_ok=True)
        run.give(commands(client))
        run.agent.start()
        client.issue()
        first = client.leaf()
        run.wait_live(first)
        for server in run.servers:
            server.start()
        run.wait_served(first)
        wait_until("the next second", lambda: int(time.time()) > first.not_before, 3)
        return client, first

    def replaced(self, run, client, first):
        self.assertExit(run.agent.ctl("notice", "shop", "--case", "c", "--yes", seconds=80), 0, first.serial)
        new = client.leaf()
        self.assertNotEqual(new.spki, first.spki)
        self.assertTrue(run.serves(new))
        run.wait_closed()
        run.verify_log()
        return new

    def test_certbot_reissues_and_revokes(self):
        def commands(client):
            certbot = client.command()
            return {"reissue": [*certbot, "renew", "--cert-name", self.names[0], "--force-renewal", "--new-key",
                                "--no-random-sleep-on-renew"],
                    "after_swap": ["/bin/sh", "-c", 'exec "$@" --cert-path "$CERTSWAP_OLD_CERT"', "sh", *certbot, "revoke",
                                   "--no-delete-after-revoke", "--reason", "keycompromise", "--server",
                                   client.pebble.directory]}
        with ReissueRun("reissue-certbot", {"shop": Certbot.watched(self.names)}) as run:
            client, first = self.begun(run, Certbot, commands)
            new = self.replaced(run, client, first)
            self.assertTrue(any("after_swap ended well" in t for t in run.story()), run.story())
            self.assertEqual(client.pebble.status(first.serial), "Revoked")
            self.assertEqual(client.pebble.status(new.serial), "Valid")
            client.renew()  # the lineage is still there
            run.wait_served(client.leaf())

    def test_certbot_reuses_the_key(self):
        def commands(client):
            return {"reissue": [*client.command(), "renew", "--cert-name", self.names[0], "--force-renewal", "--reuse-key",
                                "--no-random-sleep-on-renew"]}
        with ReissueRun("reissue-reuse", {"shop": Certbot.watched(self.names)}) as run:
            client, first = self.begun(run, Certbot, commands)
            self.assertExit(run.agent.ctl("notice", "shop", "--case", "c", "--yes", seconds=80), 1)
            wait_until("the result is refused", lambda: any("KEY_DENIED" in t for t in run.story()), 30)
            self.assertEqual(sum("reissue begins" in t for t in run.story()), 1)
            self.assertTrue(run.serves(first))

    def test_lego(self):
        def commands(client):
            return {"reissue": [*client.command(), "renew", "--days", "9999", "--no-random-sleep"]}
        with ReissueRun("reissue-lego", {"shop": Lego.watched(self.names)}) as run:
            self.replaced(run, *self.begun(run, Lego, commands))


main()
