#!/usr/bin/python3
"""The workers' sandbox where a part of it is missing, and in strict mode, where any call that no list names ends the worker."""
import os
import pathlib
import signal
import unittest

from case import Case, main
from harness import Run
from processes import wait_until
from publisher import Publisher

MISSING = ("/usr/bin/python3", str(pathlib.Path(__file__).with_name("missing.py")))
SAID = "a part of the workers' sandbox is missing on this machine: "
CHECK = 'check = { crl = true; ocsp = false; interval = "1s"; };'
PARTS = {"landlock": SAID + "the kernel gives no Landlock", "seccomp": SAID + "the kernel takes no seccomp filter",
         "landlock,seccomp": SAID + "neither Landlock nor seccomp can be had here"}


class Missing(Case):
    def test_it_is_said_once_and_everything_works(self):
        for parts, said in PARTS.items():
            with self.subTest(parts), Run("part", servers=("nginx",), options='sandbox = "auto";') as run:
                run.agent.start(tracer=(*MISSING, parts))
                run.begin()
                new = run.ca.issue(run.names)
                run.drop(new.files())
                run.wait_served(new)
                self.assertEqual(run.agent.log().count(said), 1, run.agent.log())
                self.assertEqual(run.agent.log().count("sandbox is missing"), 1, run.agent.log())

    def refused(self, run, *words, tracer=()):
        run.agent.launch(tracer)
        self.assertEqual(run.agent.process.wait(15), 1, run.agent.log())
        for word in ('sandbox = "', *words):
            self.assertIn(word, run.agent.log())
        self.assertFalse((run.run_dir / "control.sock").exists())

    def test_where_it_is_demanded_the_agent_does_not_run(self):
        for policy in ("require", "strict"):
            for parts, said in PARTS.items():
                with self.subTest(policy=policy, parts=parts), Run("all", options=f'sandbox = "{policy}"; worker_user = "nobody";') as run:
                    self.refused(run, said, tracer=(*MISSING, parts))

    @unittest.skipIf(os.geteuid(), "only root changes users")
    def test_missing_user(self):
        user = 'worker_user = "certswap-no-such-user";'
        said = 'there is no user "certswap-no-such-user"'
        with Run("user", options=f'sandbox = "auto"; {user}') as run:
            run.agent.start()
            run.begin()
            self.assertEqual(run.agent.log().count(said), 1, run.agent.log())
        with Run("user", options=f'sandbox = "require"; {user}') as run:
            self.refused(run, said)

    def test_configuration_that_demands_it_is_refused_at_a_reload(self):
        with Run("reload", options='sandbox = "auto"; worker_user = "nobody";') as run:
            run.agent.start(tracer=(*MISSING, "landlock"))
            run.begin()
            run.config.write_text(run.config.read_text().replace('sandbox = "auto"', 'sandbox = "require"'))
            run.agent.process.send_signal(signal.SIGHUP)
            wait_until("the refusal", lambda: "reload-refused" in run.agent.log() and PARTS["landlock"] in run.agent.log().split("reload-refused")[1])
            new = run.ca.issue(run.names)
            run.drop(new.files())
            run.wait_served(new)

    def test_check_by_hand_demands_it_too(self):
        with Run("check", options='sandbox = "require"; worker_user = "nobody";') as run:
            pair = run.ca.issue(run.names)
            self.assertExit(run.agent.ctl("check", *pair.files()), 0)
            self.assertExit(run.agent.ctl("check", *pair.files(), tracer=(*MISSING, "landlock")), 1, "the kernel gives no Landlock")


class Strict(Case):
    """A sample of all four kinds of worker; CERTSWAP_E2E_SANDBOX=strict has all other tests run in this way too."""

    def test_nothing_is_tried_in_vain(self):
        with Publisher() as publisher, Run("strict", options='sandbox = "strict"; worker_user = "nobody";', publisher=publisher, more=CHECK) as run:
            publisher.publish_crls(run.ca)
            run.agent.start()
            run.begin()
            done = run.agent.ctl("csr", "shop", "--new-key", "--pins")
            self.assertExit(done, 0)
            new = run.ca.issue(run.names)
            run.drop(new.files())
            run.wait_served(new)
            wait_until("the CA's word", lambda: (run.agent.status()["revocation"] or {}).get("status") == "good")
            bad = run.ca.issue(["other.example.test"])
            self.assertExit(run.agent.ctl("submit", "--name", "shop", *bad.files()), 1, "NAME_MISSING")
            self.assertNotIn("SIGSYS", run.agent.log())


main()
