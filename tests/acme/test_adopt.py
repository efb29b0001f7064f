"""Pairs that a real ACME client keeps are taken over under load: its own files are never touched, its own dry run passes before
and after, and what it renews afterwards is served."""
import os
import pathlib
import re

from acme import Certbot, Lego, Pebble, WatchRun
from case import Case, main
from webserver import Load


def picture(top):
    """Everything in the client's tree but its logs and locks."""
    return {str(p): (os.readlink(p) if p.is_symlink() else p.read_bytes() if p.is_file() else None, p.lstat().st_mode)
            for p in sorted(top.rglob("*")) if "log" not in p.parts and "work" not in p.parts and p.name != ".certbot.lock"}


class Adopt(Case):
    def story(self, kind, key_of, environment, name):
        names = ["shop.example.test", "www.shop.example.test"]
        with WatchRun("adopt-" + kind.program, {}) as run:
            client = kind(run, Pebble(run), names)
            text = run.config.read_text()
            run.config.write_text(text[:text.index("certificates = (")])
            client.issue()
            first = client.leaf()
            config = pathlib.Path(run.servers[0].config)
            text = config.read_text().replace(f"{run.live()}/fullchain.pem", str(client.fullchain()))
            config.write_text(text.replace(f"{run.live()}/privkey.pem", str(key_of(client))))
            for server in run.servers:
                server.start()
            run.agent.start()
            run.wait_served(first)
            load = Load(run.servers[0], names[0], run.folder)
            run.at_end(load.stop)
            env = {**os.environ, **environment(client)}
            before, directives = picture(client.home), config.read_text()
            self.assertExit(run.agent.ctl("adopt", env=env), 0, "2 directives were changed")
            self.assertEqual(picture(client.home), before)
            self.assertTrue(run.serves(first))
            client.renew()
            second = client.leaf()
            self.assertNotEqual(second.sha256, first.sha256)
            run.wait_served(second)
            self.assertEqual(run.live_sha256(name), second.sha256)
            renewed = picture(client.home)
            self.assertExit(run.agent.ctl("release", name), 0)
            self.assertEqual(config.read_text(), directives)
            self.assertEqual(picture(client.home), renewed)
            self.assertTrue(run.serves(second))
            self.assertEqual(load.stop().failed, 0)
            run.verify_log()

    def test_certbot(self):
        def environment(client):
            settings = client.home / ".config" / "letsencrypt"
            settings.mkdir(parents=True, exist_ok=True)
            (settings / "cli.ini").write_text(f"work-dir = {client.home}/work\nlogs-dir = {client.home}/log\n")
            return {"HOME": str(client.home), "REQUESTS_CA_BUNDLE": str(client.pebble.api_root)}
        self.story(Certbot, lambda c: c.fullchain().with_name("privkey.pem"), environment, "shop.example.test")

    def test_certbot_that_can_not_renew(self):
        """Its dry run fails before: nothing is touched."""
        names = ["shop.example.test"]
        with WatchRun("adopt-no-renew", {}) as run:
            client = Certbot(run, Pebble(run), names)
            text = run.config.read_text()
            run.config.write_text(text[:text.index("certificates = (")])
            client.issue()
            config = pathlib.Path(run.servers[0].config)
            text = config.read_text().replace(f"{run.live()}/fullchain.pem", str(client.fullchain()))
            config.write_text(text.replace(f"{run.live()}/privkey.pem", str(client.fullchain().with_name("privkey.pem"))))
            renewal = client.home / "etc" / "renewal" / f"{names[0]}.conf"
            renewal.write_text(re.sub(r"authenticator = .*", "authenticator = nothing", renewal.read_text()))
            run.servers[0].start()
            run.agent.start()
            before = config.read_text()
            self.assertExit(run.agent.ctl("adopt", env={**os.environ, "HOME": str(client.home)}), 1,
                            "certbot's own dry run fails before", "--skip-client")
            self.assertEqual(config.read_text(), before)
            self.assertFalse((run.folder / "certificates.d").exists())

    def test_lego(self):
        self.story(Lego, lambda c: c.fullchain().with_suffix(".key"), lambda c: {}, "shop.example.test")


main()
