"""For tests of incidents: a run on one server with a reissue command, an alert command that writes down what it gets, and a
wall clock of the agent's own (libfaketime) where a test moves it."""
import json
import os

from harness import Run
from processes import wait_until

ALERT = """#!/bin/sh
# alert OUT FAIL: fails as long as FAIL exists
[ ! -e "$2" ] || { cat > /dev/null; echo "no way out"; exit 1; }
cat >> "$1"; echo >> "$1"
"""

# As an ACME client: takes the pair that was laid ready in next/ into its folder; what it says and how it ends is in files.
CLIENT = """#!/bin/sh
# client FOLDER
cd "$1" || exit 2
echo "$CERTSWAP_CERTIFICATE $CERTSWAP_INCIDENT $CERTSWAP_REASON $CERTSWAP_DEADLINE" >> runs
[ ! -e say ] || cat say
[ ! -e flood ] || yes "the same line again and again" | head -c 20000000
[ ! -e wait ] || exec tail -f /dev/null --pid="$(cat wait)"
[ ! -e hang ] || exec tail -f /dev/null
[ ! -e next/key.pem ] || { cp next/key.pem live/privkey.pem; cp next/fullchain.pem live/fullchain.pem; rm -r next; }
[ ! -e fail ] || exit 1
"""


class IncidentRun(Run):
    """options: lines inside the certificate. clock: the agent's wall clock can be moved by move()."""

    def __init__(self, name, options="", certificates=None, clock=False):
        super().__init__(name, certificates=certificates, servers=("nginx",))
        self._inside, self._clock = options, clock

    def __enter__(self):
        self.client = None
        super().__enter__()
        self.client = self.folder / "client"
        for folder in (self.client, self.client / "live"):
            folder.mkdir()
        for name, text in (("alert", ALERT), ("reissue", CLIENT)):
            path = self.folder / name
            path.write_text(text)
            path.chmod(0o755)
        self.after = self.folder / "after"
        self._options = f'alert = [ "{self.folder}/alert", "{self.folder}/alerts", "{self.folder}/no-alert" ];'
        self.write_config()
        if self._clock:
            self.clock = self.folder / "clock"
            self.move("+0")
            self.agent.set_clock(FAKETIME_TIMESTAMP_FILE=str(self.clock), FAKETIME_NO_CACHE="1")
        return self

    def write_config(self, more=""):
        super().write_config(more)
        if not self.client:
            return
        text = self.config.read_text()
        for name in self.certificates:
            mark = f'  {{ name = "{name}";\n'
            inside = self._inside.replace("CLIENT", str(self.client)).replace("FOLDER", str(self.folder))
            text = text.replace(mark, mark + inside)
        self.config.write_text(text)

    def move(self, offset):
        """The agent's wall clock: "+12h" and the like from the true one."""
        aside = self.folder / "clock.new"
        aside.write_text(offset + "\n")
        os.rename(aside, self.folder / "clock")

    def lay_ready(self, pair):
        """What the client gets at its next run."""
        folder = self.client / "next"
        folder.mkdir()
        (folder / "fullchain.pem").write_text(pair.fullchain)
        (folder / "key.pem").write_text(pair.key)

    def client_says(self, name, text=""):
        (self.client / name).write_text(text)

    def runs(self):
        try:
            return (self.client / "runs").read_text().splitlines()
        except OSError:
            return []

    def alerts(self):
        try:
            return [json.loads(line) for line in (self.folder / "alerts").read_text().splitlines() if line]
        except OSError:
            return []

    def told(self):
        """Are all alerts behind us, on disk as well?"""
        lines = [json.loads(line) for line in (self.state / "alerts.jsonl").read_text().splitlines()]
        told = {line.get("told") for line in lines}
        return all(line["waits"]["id"] in told for line in lines if "waits" in line)

    def wait_told(self):
        wait_until("all alerts are told", self.told, 20)

    def ids(self):
        return [a["id"] for a in self.alerts()]

    def events(self):
        return [a["event"] for a in self.alerts()]

    def wait_alert(self, event, seconds=15.0):
        return wait_until(f"the alert {event}", lambda: next((a for a in self.alerts() if a["event"] == event), None),
                          seconds)

    def incident(self, number=1):
        done = self.agent.ctl("incident", number, "--json")
        return json.loads(done.stdout)

    def story(self, number=1):
        return [step["text"] for step in self.incident(number).get("story", [])]

    def wait_story(self, words, number=1, seconds=20.0):
        return wait_until(f"'{words}' in the story", lambda: next((t for t in self.story(number) if words in t), None),
                          seconds, 0.05)

    def wait_closed(self, number=1, seconds=15.0):
        return wait_until("the incident is closed", lambda: self.incident(number)["closed_at"], seconds, 0.05)


REISSUE = '    reissue = [ "FOLDER/reissue", "CLIENT" ];\n    watch = [ "CLIENT/live" ];\n'
