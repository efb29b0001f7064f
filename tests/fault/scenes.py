"""Other swaps than the batch of scene.py: of one certificate, and one that goes back."""
import pathlib
import shutil
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "wire"))

import harness
from scene import NAMES, Scene, demand
from trial import HERE, Trial


class One(Scene):
    """One certificate on nginx and Apache, and nothing bad."""
    good, bad, warm = ("shop",), None, 0


class Back(Scene):
    """One certificate on nginx, Apache and a third server, which dies when it is told of a new pair and starts with the old one:
    all three go back."""
    good, bad, warm = ("shop",), None, 0
    outcome = "undone"

    def __enter__(self):
        self.fragile = Trial("trial", turn="dies", certificates={"shop": "ecdsa-p256"}, names=NAMES["shop"])
        return super().__enter__()

    def prepare(self):
        self.fragile.begin(self)
        self.servers.append(self.fragile)
        self.by_kind["trial"] = self.fragile
        built, harness.PROGRAMS = harness.PROGRAMS, self.folder / "programs"
        self.at_end(lambda: setattr(harness, "PROGRAMS", built))
        shutil.copytree(built, harness.PROGRAMS)
        shutil.copytree(HERE / "hooks", harness.PROGRAMS / "hooks", dirs_exist_ok=True)
        for hook in (harness.PROGRAMS / "hooks/trial").iterdir():
            hook.chmod(0o755)
        self.write_config()

    def servers_of(self, name):
        return [server for server in self.servers if name == "shop" or server.kind != "trial"]

    def identities(self):
        """The third server may be another one afterwards."""
        return {server.kind: server.identity() for server in self.servers if server.kind != "trial"}

    def shown_by(self, server, name, dns):
        """In the moments between its death and its start it shows nothing."""
        if server.kind == "trial" and not self.at_rest and not server.pid():
            return None
        return super().shown_by(server, name, dns)

    def check_end(self):
        self.at_rest = True
        try:
            outcome = super().check_end()
        finally:
            self.at_rest = False
        demand(outcome == "undone", "a pair is live that a server dies of")
        return outcome

    at_rest = False


SCENES = {"batch": Scene, "one": One, "back": Back}
