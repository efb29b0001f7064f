"""Other programs that write the same paths: what they write is neither lost nor served unproved, and there is no war."""
import os
import pathlib
import shutil

from case import Case, main
from harness import Run
from processes import wait_until


class Neighbours(Case):
    def served(self, run, pair):
        run.wait_served(pair)
        wait_until("all is at rest", run.settled)
        self.assertEqual(run.live_sha256(), pair.sha256)

    def event(self, run, name, before=0):
        wait_until(f"the event {name}", lambda: [e for e in run.events()[before:] if e["event"] == name], 15, 0.05)

    def through_the_link(self, run, **files):
        for name, content in files.items():
            path = pathlib.Path(run.live() / name.replace("_", ".")).resolve()  # as cp does: in place, through the link
            with open(path, "r+b") as file:
                file.write(content.encode())
                file.truncate()

    def test_cp_through_the_link(self):
        with Run("cp", servers=("nginx",)) as run:
            run.agent.start()
            first = run.begin()
            pair = run.ca.issue(run.names)
            self.through_the_link(run, privkey_pem=pair.key, fullchain_pem=pair.fullchain)
            self.served(run, pair)  # a good pair is what somebody meant to install
            known, count = run.rejected(), len(run.events())
            self.through_the_link(run, privkey_pem="-----BEGIN NONSENSE-----\n")
            self.event(run, "restored", count)
            self.served(run, pair)
            run.wait_rejected("", before=known)
            count = len(run.events())
            self.through_the_link(run, privkey_pem=first.key, fullchain_pem=first.fullchain)  # the old pair is back
            self.event(run, "restored", count)
            self.served(run, pair)
            run.servers[0].reload()
            self.served(run, pair)
            # what was overwritten is no generation to go back to: these bytes were never proved as it
            done = run.agent.ctl("rollback", "shop")
            self.assertExit(done, 0)
            self.served(run, first)

    def test_generation_that_was_changed_is_not_used(self):
        with Run("changed", servers=("nginx",)) as run:
            run.agent.start()
            run.begin()
            standby, other = run.ca.issue(run.names), run.ca.issue(run.names)
            self.assertExit(run.agent.ctl("standby", "shop", *standby.files()), 0)
            folder = (run.state / "certificates/shop/standby").resolve()
            (folder / "fullchain.pem").write_text(other.fullchain)
            (folder / "privkey.pem").write_text(other.key)
            self.assertExit(run.agent.ctl("swap", "shop", "--to", "standby"), 1, "changed")
            self.assertTrue(run.serves(run.first["shop"]))

    def test_link_that_is_turned(self):
        with Run("turned", servers=("nginx",)) as run:
            run.agent.start()
            run.begin()
            pair = run.ca.issue(run.names)
            self.assertExit(run.agent.ctl("submit", "--name", "shop", *pair.files()), 0)
            ours = os.readlink(run.live())

            def turn():
                temporary = run.live().with_name("by-somebody")
                temporary.symlink_to("gen/000001")
                temporary.rename(run.live())
            for _ in range(3):
                count = len(run.events())
                turn()
                self.event(run, "restored", count)
                self.assertEqual(os.readlink(run.live()), ours)
                self.served(run, pair)
            count = len(run.events())
            turn()  # once more: said, and left; no reload war
            self.event(run, "drift", count)
            self.assertEqual(os.readlink(run.live()), "gen/000001")
            self.assertTrue(run.serves(pair))  # nobody reloaded
            self.assertExit(run.agent.ctl("submit", "--name", "shop", *run.ca.issue(run.names).files()), 0)

    def test_link_that_is_removed_or_replaced(self):
        with Run("replaced-link", servers=("nginx",)) as run:
            run.agent.start()
            first = run.begin()
            live = run.live()
            live.unlink()
            wait_until("it is back", lambda: live.is_symlink() and live.exists(), 15)
            other = run.ca.issue(run.names)
            live.unlink()
            try:
                live.mkdir()
                (live / "fullchain.pem").write_text(other.fullchain)
                (live / "privkey.pem").write_text(other.key)
                mine = True
            except FileExistsError:  # the agent was quicker
                mine = False
            wait_until("ours is back", live.is_symlink, 15)
            self.served(run, first)
            kept = [f for f in live.parent.glob("live-of-somebody-*") if f.is_dir() and not f.is_symlink()]
            self.assertEqual(bool(kept), mine)
            for folder in kept:
                self.assertEqual((folder / "privkey.pem").read_text(), other.key)  # nothing is lost
                shutil.rmtree(folder)


main()
