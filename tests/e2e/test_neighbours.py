"""Other programs that write the same paths: what they write is neither lost nor served unproved, and there is no war."""
import array
import ctypes
import fcntl
import json
import os
import pathlib
import shutil
import signal
import termios

from case import Case, main
from harness import Run
from processes import children_of, command_of, wait_until
from webserver import APACHE_MODULES

PIDFD_GETFD = 438  # its number on all of Linux's architectures
WORKER_SOCKET = 3  # wire/message.h
CHECKERS = 3       # workers that wait to check something: SPARES of control/life.c


class Neighbours(Case):
    def served(self, run, pair):
        run.wait_served(pair)
        wait_until("all is at rest", run.settled)
        self.assertEqual(run.live_sha256(), pair.sha256)

    def event(self, run, name, before=0):
        return wait_until(f"the event {name}", lambda: [e for e in run.events()[before:] if e["event"] == name], 15, 0.05)[0]

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

    def test_rollback_to_what_was_restored_too_late(self):
        """Where the pair that was written through the link is proved first, what restores the old one gets a newer number."""
        with Run("late", servers=("nginx",)) as run:
            run.agent.start()
            first = run.begin()
            generations = run.state / "certificates/shop/gen"
            whole = run.folder / "whole"
            shutil.copytree(generations / "000001", whole, symlinks=True)
            pair = run.ca.issue(run.names)
            self.assertExit(run.agent.ctl("submit", *pair.files()), 0)
            live = int(os.readlink(run.live()).rpartition("/")[2])
            meta = json.loads((whole / "meta.json").read_text())
            (whole / "meta.json").write_text(json.dumps({**meta, "number": live + 1, "origin": "restored"}))
            whole.rename(generations / f"{live + 1:06}")
            for other in generations.glob("*"):
                if int(other.name) < live:
                    (other / "fullchain.pem").write_text(pair.fullchain)
            self.assertExit(run.agent.ctl("rollback", "shop"), 0)
            self.served(run, first)
            self.assertExit(run.agent.ctl("rollback", "shop"), 0)  # further back: the pair, which is older than that generation
            self.served(run, pair)

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

            def turn(target="gen/000001"):
                temporary = run.live().with_name("by-somebody")
                temporary.symlink_to(target)
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
            turn(ours)  # nobody looks any more; what stands there is what the next swap replaces
            self.assertExit(run.agent.ctl("submit", "--name", "shop", *run.ca.issue(run.names).files()), 0)

    def test_link_that_is_turned_away_from_a_refused_pair(self):
        # an operator helps himself: what is older but not refused is better, and what is newer but refused is not
        with Run("turned-away", servers=("nginx",)) as run:
            run.agent.start()
            first = run.begin()
            pair = run.ca.issue(run.names)
            self.assertExit(run.agent.ctl("submit", "--name", "shop", *pair.files()), 0)
            refused = os.readlink(run.live())
            run.agent.ctl("notice", "shop", "--case", "c", "--yes", "--no-wait")
            for target, ends in (("gen/000001", "it is better and stays"), (refused, "put back")):
                count = len(run.events())
                temporary = run.live().with_name("by-somebody")
                temporary.symlink_to(target)
                temporary.rename(run.live())
                self.assertIn(ends, self.event(run, "link-turned", count)["text"])
            wait_until("the older pair is back", lambda: run.live_sha256() == first.sha256, 60)

    def test_link_that_leads_nowhere(self):
        # no web server could start with it
        with Run("nowhere", servers=("nginx",)) as run:
            run.agent.start()
            first = run.begin()
            live, standby = run.live(), run.ca.issue(run.names)
            for target in ("gen/999999", "/nowhere"):
                aside = live.with_name("by-somebody")
                aside.symlink_to(target)
                aside.rename(live)
                wait_until("it leads to the pair again", lambda: (live / "fullchain.pem").exists(), 15)
                self.served(run, first)
            self.assertExit(run.agent.ctl("standby", "shop", *standby.files()), 0)
            (live / "meta.json").write_text("{")
            self.assertExit(run.agent.ctl("submit", "--name", "shop", *run.ca.issue(run.names).files()), 0)
            (live / "meta.json").write_text("")
            first = run.ca.issue(run.names)
            self.assertExit(run.agent.ctl("submit", "--name", "shop", *first.files()), 0)
            run.agent.stop()
            live.unlink()
            shutil.rmtree((run.state / "certificates/shop/standby").resolve())
            run.agent.start()
            self.assertEqual(run.live_sha256(), first.sha256)  # before it said that it is ready
            self.assertIn("standby-lost", [e["event"] for e in run.events()])
            pair = run.ca.issue(run.names)
            self.assertExit(run.agent.ctl("submit", "--name", "shop", *pair.files()), 0)
            self.served(run, pair)
            self.assertLess(int(os.readlink(live).removeprefix("gen/")), 10)  # not above somebody's 999999

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

    def remove(self, run, *names):
        """All at once, as certswapd sees it. No names: the whole generation."""
        live = run.live().resolve()
        run.agent.process.send_signal(signal.SIGSTOP)
        for name in names:
            (live / name).unlink()
        if not names:
            shutil.rmtree(live)
        run.agent.process.send_signal(signal.SIGCONT)

    def test_files_that_are_gone_while_apache_names_them(self):
        # Apache's own configuration test fails then: only the swap mends that, so the swap must not wait for it
        with Run("gone") as run:
            run.agent.start()
            first = run.begin()
            identities, count = run.identities(), len(run.events())
            self.remove(run, "fullchain.pem", "privkey.pem")
            self.event(run, "restored", count)
            self.served(run, first)
            # nothing is left to restore it from: the next pair
            self.remove(run, "fullchain.pem", "combined.pem")
            self.event(run, "drift")
            pair = run.ca.issue(run.names)
            self.assertExit(run.agent.ctl("submit", "--name", "shop", *pair.files()), 0)
            self.served(run, pair)
            # while certswapd is down
            run.agent.stop()
            (run.live() / "fullchain.pem").unlink()
            run.agent.start()
            wait_until("all files are there", lambda: (run.live() / "fullchain.pem").exists())
            self.served(run, pair)
            # and the link as well
            count = len(run.events())
            self.remove(run, "fullchain.pem", "../../live")
            self.event(run, "restored", count)
            self.served(run, pair)
            # the whole generation: there is nothing to go back to, but Apache still shows it
            for _ in range(2):
                self.remove(run)
                pair = run.ca.issue(run.names)
                self.assertExit(run.agent.ctl("submit", "--name", "shop", *pair.files()), 0)
                self.served(run, pair)
            self.assertEqual(run.identities(), identities)

    def test_files_that_are_gone_where_no_rehearsal_is_held(self):
        with Run("gone-md", servers=("apache",)) as run:
            config, module = pathlib.Path(run.by_kind["apache"].config), pathlib.Path(APACHE_MODULES) / "mod_md.so"
            if not module.exists():
                self.skipTest("there is no mod_md, which acts at a start")
            config.write_text(f"LoadModule md_module {module}\n" + config.read_text())
            run.agent.start()
            run.begin()
            identities = run.identities()
            self.remove(run, "fullchain.pem", "combined.pem")
            self.event(run, "drift")
            pair = run.ca.issue(run.names)
            self.assertExit(run.agent.ctl("submit", "--name", "shop", *pair.files()), 0)
            self.assertIn("rehearsal-skipped", run.agent.log())
            self.served(run, pair)
            self.assertEqual(run.identities(), identities)

    def held_open(self, run):
        """The files of generations that certswapd has open: a proof is under way."""
        files, folder = [], f"/proc/{run.agent.process.pid}/fd"
        for fd in os.listdir(folder):
            try:
                files.append(os.readlink(f"{folder}/{fd}"))
            except OSError:
                continue
        return [file for file in files if "/gen/" in file]

    def stopped_in_a_proof(self, run):
        """A restoration is being proved, by a worker that does nothing. Returns the workers that are stopped."""
        def checkers():
            found = [w for w in children_of(run.agent.process.pid) if "certswap-worker check" in command_of(w)]
            return found if len(found) == CHECKERS else None
        workers = wait_until("all workers that check wait", checkers, 30)
        for worker in workers:
            os.kill(worker, signal.SIGSTOP)
        self.through_the_link(run, chain_pem="-----BEGIN NONSENSE-----\n")
        wait_until("a proof is under way", lambda: self.held_open(run), 15)
        return workers

    def was_asked(self, worker):
        """Does a request wait in its socket?"""
        process, waits = os.pidfd_open(worker), array.array("i", [0])
        fd = ctypes.CDLL(None).syscall(PIDFD_GETFD, process, WORKER_SOCKET, 0)
        fcntl.ioctl(fd, termios.FIONREAD, waits)
        os.close(fd)
        os.close(process)
        return waits[0] > 0

    def test_configuration_read_again_in_the_middle_of_a_proof(self):
        with Run("reread", servers=("nginx",)) as run:
            run.agent.start()
            first = run.begin()
            self.stopped_in_a_proof(run)
            count = run.agent.log().count("was read again")
            os.kill(run.agent.process.pid, signal.SIGHUP)
            wait_until("the configuration is read again", lambda: run.agent.log().count("was read again") > count, 15)
            self.event(run, "restored")
            self.served(run, first)
            wait_until("no file of a pair is open", lambda: not self.held_open(run), 5)

    def test_pair_that_overtakes_a_restoration(self):
        # what was written over comes back only where nothing newer went live meanwhile
        with Run("overtakes", servers=("nginx",)) as run:
            run.agent.start()
            run.begin()
            workers = self.stopped_in_a_proof(run)
            wait_until("the other one has what was written to look at", lambda: sum(map(self.was_asked, workers)) == 2, 15)
            asked = set(filter(self.was_asked, workers))
            for worker in set(workers) - asked:  # it reads what is submitted
                os.kill(worker, signal.SIGCONT)
            pair = run.ca.issue(run.names)
            self.assertExit(run.agent.ctl("submit", "--name", "shop", *pair.files()), 0)
            for worker in asked:
                os.kill(worker, signal.SIGCONT)
            wait_until("the proof is over", lambda: not self.held_open(run), 15)
            self.served(run, pair)

    def test_what_is_held_is_not_told_as_restored(self):
        with Run("held", servers=("apache",)) as run:
            run.agent.start()
            run.begin()
            config = pathlib.Path(run.by_kind["apache"].config)
            good = config.read_text()
            config.write_text(good + "NoSuchDirective on\n")
            self.through_the_link(run, chain_pem="-----BEGIN NONSENSE-----\n")
            wait_until("the restoration is held", lambda: run.agent.status()["last_swap"]["result"] == "held", 15, 0.05)
            self.assertIn("not restored yet", run.agent.log())
            self.assertNotIn("restored", [e["event"] for e in run.events()])
            config.write_text(good)
            pair = run.ca.issue(run.names)
            self.assertExit(run.agent.ctl("submit", "--name", "shop", *pair.files()), 0)
            self.served(run, pair)

    def test_pair_that_waits_is_removed(self):
        # its number must not come again with another pair, which would be taken for it, and the first one be lost
        two = {"shop": ["shop.example.test"], "blog": ["blog.example.test"]}
        with Run("waiting", certificates=two, servers=("nginx",)) as run:
            run.agent.start()
            run.begin()
            nginx = run.by_kind["nginx"].pid()
            shop, first, second = (run.ca.issue(two[name]) for name in ("shop", "blog", "blog"))
            os.kill(nginx, signal.SIGSTOP)  # its workers serve; the reload for the shop waits
            run.drop([shop.file("shop.pem", shop.fullchain + shop.key)], "shop")
            wait_until("the swap of the shop is under way", lambda: any((run.state / "journal").glob("[0-9]*.json")))
            for number, pair in ((1, first), (2, second)):
                run.drop([pair.file(f"blog-{number}.pem", pair.fullchain + pair.key)], "blog")
                proved = wait_until("it is proved", lambda s=pair.serial: [e for e in run.events() if e.get("serial") == s], 15)
                if number == 1:
                    shutil.rmtree(run.state / f"certificates/blog/gen/{proved[0]['generation']:06}")
            os.kill(nginx, signal.SIGCONT)
            run.wait_served(second, names=two["blog"])
            run.wait_served(shop, names=two["shop"])
            wait_until("all is at rest", run.settled)
            run.wait_rejected("the new pair", "gen/000002")


main()
