"""hooks/renewed as the hook of each client: when it has ended well, visitors see the new pair; else it has said why not."""
import os
import pathlib
import subprocess

from acme import Certbot, Dehydrated, Lego, Pebble
from case import Case, main
from harness import PROGRAMS, Run

HOOK = pathlib.Path(__file__).resolve().parents[2] / "hooks/renewed"
NAMES = ["shop.example.test", "www.shop.example.test"]


class Renewed(Case):
    def environment(self, run):
        return {"CERTSWAPCTL": str(PROGRAMS / "certswapctl"), "CERTSWAP_CONF": str(run.config)}

    def call(self, run, *arguments, **environment):
        return subprocess.run([HOOK, *map(str, arguments)], capture_output=True, text=True, check=False, timeout=60,
                              env={"PATH": os.environ["PATH"], **self.environment(run), **environment})

    def whole_story(self, kind):
        with Run("renewed-" + kind.program, servers=("nginx",)) as run:
            run.trust = lambda root: (setattr(run, "_trust", root), run.write_config())
            client = kind(run, Pebble(run), NAMES)
            client.environment = self.environment(run)
            run.agent.start()
            client.issue()
            key = next(p for p in (client.fullchain().with_name("privkey.pem"), client.fullchain().with_suffix(".key")) if p.exists())
            self.assertExit(self.call(run, client.fullchain(), key), 0)  # as getssl calls it
            run.servers[0].start()
            client.hook = str(HOOK)
            client.renew()
            self.assertTrue(run.serves(client.leaf()))  # at once: the hook has waited for the wire
            served = client.leaf()

            # the same files as acme.sh tells them; the pair is live already
            self.assertExit(self.call(run, CERT_FULLCHAIN_PATH=str(client.fullchain()), CERT_KEY_PATH=str(key)), 0)

            # a renewal that must not go live: the hook fails, and says why
            self.assertExit(run.agent.ctl("deny", "add", client.fullchain(), "--why", "test"), 0)
            client.hook = None
            client.renew(reuse_key=True)
            self.assertExit(self.call(run, "deploy_cert", NAMES[0], key, "-", client.fullchain(), "-", "0"), 1, "KEY_DENIED")
            self.assertExit(self.call(run, RENEWED_LINEAGE="/no/such/lineage"), 1, "/no/such/lineage")
            self.assertTrue(run.serves(served))

    def test_certbot(self):
        self.whole_story(Certbot)

    def test_lego(self):
        self.whole_story(Lego)

    def test_dehydrated(self):
        self.whole_story(Dehydrated)

    def test_other_calls(self):
        with Run("renewed-other", servers=()) as run:
            self.assertExit(self.call(run, "startup_hook"), 0)
            self.assertExit(self.call(run), 2, "usage")
            self.assertExit(self.call(run, run.folder / "a", run.folder / "b"), 1)


main()
