"""The metrics of a running certswapd, the alert rules on them and the dashboard, by promtool."""
import json
import pathlib
import re
import subprocess
import sys

TOP = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(TOP / "tests/e2e"))
from case import Case, main  # noqa: E402
from harness import Run  # noqa: E402
from processes import wait_until  # noqa: E402

CONF = TOP / "conf/prometheus"


def promtool(*arguments, text=None):
    return subprocess.run(["promtool", *map(str, arguments)], input=text, capture_output=True, text=True, check=False)


class Monitoring(Case):
    def test_file(self):
        with Run("metrics", servers=("nginx",)) as run:
            path = run.folder / "certswap.prom"
            run.write_config(f'metrics_file = "{path}";\n')
            run.agent.start()
            run.begin()
            wait_until("the first pair is told", lambda: 'state="ok"} 1' in path.read_text() if path.exists() else False, 20)
            text = path.read_text()
            done = promtool("check", "metrics", text=text)
            self.assertEqual((done.returncode, done.stdout + done.stderr), (0, ""))
            self.assertEqual(path.stat().st_mode & 0o777, 0o644)
            self.assertFalse(pathlib.Path(f"{path}.new").exists())

            # a change of state is in the file at once, long before the next heartbeat
            self.assertExit(run.agent.ctl("submit", *run.ca.issue(run.names).files()), 0)
            wait_until("the swap is told", lambda: 'certswap_last_swap_good{certificate="shop"} 1' in path.read_text(), 5)
            self.assertExit(run.agent.ctl("notice", "shop", "--case", "l", "--no-wait"), 0)
            wait_until("the incident is told", lambda: 'certswap_incident_open{certificate="shop"} 1' in path.read_text(), 5)

            def settled(what):
                return re.sub(r"(heartbeat_timestamp_seconds) \d+", r"\1 T", what)
            printed = run.agent.ctl("metrics")
            self.assertExit(printed, 0)
            self.assertEqual(settled(printed.stdout), settled(path.read_text()))
            self.used_names_exist(printed.stdout)

            # a dead agent's heartbeat stands
            run.agent.kill()
            self.assertIn("certswap_heartbeat_timestamp_seconds", path.read_text())

    def used_names_exist(self, text):
        """Rules and dashboard ask for nothing that is never told."""
        told = set(re.findall(r"^# TYPE (\w+)", text, re.M)) | {"certswap_certificate_revoked"}  # not before a CRL was read
        for file in (CONF / "certswap.rules.yml", CONF / "certswap.dashboard.json"):
            asked = set(re.findall(r"certswap_\w+", file.read_text()))
            self.assertLessEqual(asked, told, file)

    def test_rules(self):
        done = promtool("check", "rules", CONF / "certswap.rules.yml")
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        done = promtool("test", "rules", TOP / "tests/monitoring/certswap.rules.test.yml")
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_dashboard(self):
        panels = json.loads((CONF / "certswap.dashboard.json").read_text())["panels"]
        self.assertEqual(len({panel["id"] for panel in panels}), len(panels))
        asked = [re.sub(r"[$]\w+", "x", target["expr"]) for panel in panels for target in panel["targets"]]
        rules = "\n".join(f"  - record: r:{i}\n    expr: {json.dumps(e)}" for i, e in enumerate(asked))
        file = pathlib.Path(self.id() + ".yml")
        file.write_text("groups:\n- name: dashboard\n  rules:\n" + rules + "\n")
        self.addCleanup(file.unlink)
        done = promtool("check", "rules", file)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)


main()
