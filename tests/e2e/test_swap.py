"""The swap on bad days: a server that is down, broken or dies."""
import os
import pathlib

from case import Case, main
from harness import Run
from processes import wait_until


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
            config.write_text(good + "NoSuchDirective on\n")
            identities = run.identities()
            pair = run.ca.issue(run.names)
            done = run.agent.ctl("submit", "--name", "shop", "--timeout", "20s", *pair.files())
            self.assertExit(done, 1)
            self.assertEqual(run.identities(), identities)  # a graceful would have been its end
            self.assertEqual(apache.shown(run.names[0]).sha256, first.sha256)
            self.assertIn(run.live_sha256(), (first.sha256, pair.sha256))
            config.write_text(good)
            self.assertExit(run.agent.ctl("submit", "--name", "shop", *pair.files()), 0)
            self.assertTrue(run.serves(pair))

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
            if os.getuid() == 0:  # it keeps its core and its descriptors from its own user too
                self.assertLess(len(os.listdir(f"/proc/{run.agent.process.pid}/fd")), 40)

    def test_two_certificates_dropped_together(self):
        two = {"shop": ["shop.example.test"], "mail": ["mail.example.test"]}
        with Run("batch", certificates=two) as run:
            run.agent.start()
            run.begin()
            pairs = {name: run.ca.issue(names) for name, names in two.items()}
            run.drop([pair.file(f"{name}.pem", pair.fullchain + pair.key) for name, pair in pairs.items()])
            for name, pair in pairs.items():
                run.wait_served(pair, names=two[name])

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


main()
