"""Starting, stopping, configuration, and the answers of certswapctl when something is wrong."""
import json
import pathlib
import signal

from case import Case, main
from harness import PROGRAMS, Run
from processes import run as run_program, wait_until


class Start(Case):
    def test_unknown_key_and_wrong_type(self):
        with Run("config") as run:
            run.write_config('colour = "blue";\nworker_user = 7;\n')
            lines = run.config.read_text().splitlines()
            for argv in (("certswapd", "-t"), ("certswapd",)):
                done = run_program(str(PROGRAMS / argv[0]), "-c", str(run.config), *argv[1:], check=False, seconds=20)
                self.assertEqual(done.returncode, 2, done.stdout)
                for text in ('colour = "blue";', "worker_user = 7;"):  # all errors, each with file, line and the line itself
                    self.assertIn(f"{run.config}:{lines.index(text) + 1}:", done.stdout)
                    self.assertIn(text, done.stdout)
            self.assertFalse((run.state / "certificates").exists())
            done = run.agent.ctl("config", "test")
            self.assertExit(done, 2, "colour")

    def test_good_configuration(self):
        with Run("config-good") as run:
            done = run_program(str(PROGRAMS / "certswapd"), "-c", str(run.config), "-t", check=False, seconds=20)
            self.assertEqual(done.returncode, 0, done.stdout)
            self.assertExit(run.agent.ctl("config", "test"), 0)
            dump = run.agent.ctl("config", "dump")
            self.assertExit(dump, 0, str(run.state))
            run.config.write_text(dump.stdout)  # what is dumped can be read again
            self.assertExit(run.agent.ctl("config", "test"), 0)

    def test_second_on_the_same_state_is_refused(self):
        with Run("second") as run:
            run.agent.start()
            done = run_program(str(PROGRAMS / "certswapd"), "-c", str(run.config), check=False, seconds=20)
            self.assertNotEqual(done.returncode, 0)
            self.assertIn(str(run.state), done.stdout)
            run.begin(start=False)  # the first goes on
            self.assertTrue(run.agent.running())

    def test_not_running(self):
        with Run("absent") as run:
            for command in (["status"], ["submit", run.config], ["notice", "shop", "--yes"]):
                self.assertExit(run.agent.ctl(*command), 3)

    def test_wrong_usage(self):
        with Run("usage") as run:
            for command in ([], ["stauts"], ["submit"], ["submit", "--colour", "blue", "x"], ["notice"]):
                self.assertExit(run.agent.ctl(*command), 2)

    def test_file_that_is_not_there(self):
        with Run("nofile") as run:
            run.agent.start()
            done = run.agent.ctl("submit", run.folder / "not-here.pem")
            self.assertIn(done.returncode, (1, 2))
            self.assertIn("not-here.pem", done.stderr)

    def test_unknown_certificate(self):
        with Run("unknown") as run:
            run.agent.start()
            pair = run.ca.issue(run.names)
            for command in (["submit", "--name", "shpo", *pair.files()], ["standby", "shpo", *pair.files()],
                            ["notice", "shpo", "--yes"], ["status", "shpo"]):
                done = run.agent.ctl(*command)
                self.assertIn(done.returncode, (1, 2), command)
                self.assertIn("there is no certificate named shpo here; did you mean shop?", done.stderr)

    def test_stop_and_stale_socket(self):
        with Run("stop") as run:
            run.agent.start()
            self.assertEqual(run.agent.stop(), 0)
            run.agent.start()
            run.agent.process.send_signal(signal.SIGKILL)  # leaves its socket
            run.agent.process.wait(10)
            self.assertTrue((run.run_dir / "control.sock").exists())
            run.agent.start()
            self.assertExit(run.agent.ctl("status"), 0)

    def test_reload_takes_all_or_nothing(self):
        with Run("reload") as run:
            run.agent.start()
            run.begin(start=False)
            good = run.config.read_text()
            run.config.write_text(good + 'colour = "blue";\n')
            run.agent.process.send_signal(signal.SIGHUP)
            wait_until("the complaint is in the log", lambda: "colour" in run.agent.log())
            run.config.write_text(good)
            self.assertExit(run.agent.ctl("status"), 0, "shop")  # the old one stayed in force
            said = json.loads(run.agent.ctl("status", "--json").stdout)["configuration"]
            self.assertEqual(said["state"], "refused")
            self.assertIn("colour", said["why"])
            done = run.agent.ctl("status")
            self.assertExit(done, 0, "was refused: the configuration stays as it was:")
            self.assertLessEqual(max(len(line) for line in done.stdout.splitlines() if str(run.config) not in line), 100)
            run.config.write_text(good.replace('name = "shop"', 'name = "store"'))
            self.assertExit(run.agent.ctl("config", "reload"), 0)
            wait_until("the new configuration is in force", lambda: "store" in run.agent.ctl("status").stdout)
            self.assertEqual(json.loads(run.agent.ctl("status", "--json").stdout)["configuration"]["state"], "in force")
            self.assertNotIn("refused", run.agent.ctl("status").stdout)

    def test_mistakes_in_the_configuration_are_in_nobodys_way(self):
        """Somebody is half through an edit when the mail comes: what asks certswapd works on."""
        with Run("edited", servers=("nginx",)) as run:
            run.agent.start()
            run.begin()
            good = run.config.read_text()
            for mistake in ('colour = "blue";\n', "certificates = (\n", 'state_dir = "'):
                run.config.write_text(good + mistake)
                done = run.agent.ctl("status")
                self.assertExit(done, 0, "shop")
                self.assertIn("goes on with the configuration it read before", done.stderr)
                self.assertIn(f"{run.config}:", done.stderr)
                self.assertExit(run.agent.ctl("submit", *run.ca.issue(run.names).files()), 0)
                self.assertExit(run.agent.ctl("log", "--verify"), 0)
                done = run.agent.ctl("config", "reload")
                self.assertExit(done, 2)
                self.assertEqual(done.stderr.count(f"{run.config}:"), 1)
                status = json.loads(run.agent.ctl("status", "--json").stdout)
                self.assertEqual(status["configuration"]["state"], "refused")
            self.assertIn("certswap_configuration_in_force 0", run.agent.ctl("metrics").stdout)
            self.assertExit(run.agent.ctl("notice", "shop", "--case", "l", "--no-wait"), 0)
            run.agent.stop()
            self.assertExit(run.agent.ctl("status"), 2)

    def test_reload_that_can_not_be_put_in_place_ends_as_a_failure(self):
        """systemd starts again what failed (Restart=on-failure), not what ended with 0."""
        with Run("reload-fails") as run:
            run.agent.start()
            pair = run.begin(start=False)
            folder = run.state / "certificates" / "shop"
            folder.rename(run.state / "aside")
            folder.write_text("in the way")
            run.agent.process.send_signal(signal.SIGHUP)
            self.assertEqual(run.agent.process.wait(20), 1)
            self.assertIn("reload-failed", run.agent.log())
            folder.unlink()
            (run.state / "aside").rename(folder)
            run.agent.start()
            self.assertEqual(run.live_sha256(), pair.sha256)

    def test_status_as_the_contract_says(self):
        with Run("status") as run:
            run.agent.start()
            pair = run.begin()
            status = json.loads(run.agent.ctl("status", "--json").stdout)
            shop = status["certificates"][0]
            for field in ("version", "time"):
                self.assertIn(field, status)
            for field in ("name", "state", "live", "served", "revocation", "issuers", "standby", "unverified", "pending",
                          "incident", "last_swap"):
                self.assertIn(field, shop)
            self.assertEqual(shop["live"]["sha256"], pair.sha256)
            self.assertEqual(shop["live"]["serial"], pair.serial)
            self.assertEqual(sorted(shop["live"]["names"]), sorted(run.names))
            self.assertIsNone(shop["standby"])
            self.assertIsNone(shop["incident"])
            for line in run.agent.ctl("status").stdout.splitlines():
                self.assertLessEqual(len(line), 100)

    def test_private_files_are_private(self):
        with Run("modes") as run:
            run.agent.start()
            run.begin(start=False)
            for folder in ("incoming", "notices", "work", "rejected", "certificates"):
                self.assertEqual((run.state / folder).stat().st_mode & 0o777, 0o700, folder)
            self.assertEqual(run.state.stat().st_mode & 0o777, 0o711)
            for name in ("privkey.pem", "combined.pem"):
                self.assertEqual(pathlib.Path(run.live() / name).stat().st_mode & 0o777, 0o600, name)


main()
