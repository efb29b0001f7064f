"""Bad days: floods, lost events, folders and programs that are not what they were; nothing is lost and all of it is said."""
import os
import pathlib
import resource
import signal
import socket

from case import Case, main
from harness import Run
from processes import wait_until


class Days(Case):
    deadline = 240

    def test_a_thousand_files_at_once(self):
        with Run("thousand", servers=("nginx",)) as run:
            run.agent.start()
            run.begin()
            box = run.state / "incoming" / "shop"
            pair = run.ca.issue(run.names)
            for number in range(1000):
                text = f"-----BEGIN NONSENSE {number}-----\n" if number != 500 else pair.fullchain + pair.key
                (box / f"file-{number:04d}").write_text(text)
            run.wait_served(pair, 60)
            wait_until("every file is answered", lambda: run.settled() and not any(box.iterdir()), 120, 0.1)
            self.assertEqual(len(run.rejected()), 999)

    def test_pairs_and_incidents_for_many_at_once_need_few_descriptors(self):
        # what no worker can take yet is not opened: 10,000 pairs, or standby pairs in an incident, do not need ten descriptors each
        names = {f"site{i:02}": [f"site{i:02}.example.test"] for i in range(70)}
        with Run("many-pairs", certificates=names, servers=("nginx",)) as run:
            run.agent.start()
            pid = run.agent.process.pid
            most = len(os.listdir(f"/proc/{pid}/fd")) + 440
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (most, most))
            pairs = {name: run.ca.issue(hosts) for name, hosts in names.items()}
            os.kill(pid, signal.SIGSTOP)
            for name, pair in pairs.items():
                run.drop(pair.files(), name)
            os.kill(pid, signal.SIGCONT)

            def are_live(wanted):
                return all(run.live(name).is_symlink() and run.live_sha256(name) == pair.sha256 for name, pair in wanted.items())
            wait_until("all are live", lambda: are_live(pairs) and run.settled(), 120, 0.1)
            standbys = {name: run.ca.issue(names[name]) for name in list(names)[:36]}
            for name, pair in standbys.items():
                self.assertExit(run.agent.ctl("standby", name, *pair.files()), 0)
            run.agent.ctl("notice", "site00", "--scope", "host", "--yes", "--no-wait")  # every key here is suspect
            wait_until("the standby pairs are live", lambda: are_live(standbys), 150, 0.1)  # before those that wait look by themselves
            self.assertEqual([e["text"] for e in run.events() if "descriptors" in e["text"] or "open files" in e["text"]], [])

    def test_events_that_are_lost(self):
        # more events than the kernel keeps for one reader, while the reader stands still
        limit = int(pathlib.Path("/proc/sys/fs/inotify/max_queued_events").read_text())
        with Run("overflow", servers=("nginx",)) as run:
            run.agent.start()
            run.begin()
            box, pid = run.state / "incoming" / "shop", run.agent.process.pid
            pair = run.ca.issue(run.names)
            os.kill(pid, signal.SIGSTOP)
            a, b = box / ".a", box / ".b"
            a.write_text("")
            for _ in range(limit // 2 + 200):
                os.rename(a, b)
                os.rename(b, a)
            a.unlink()
            run.drop([pair.file("pair.pem", pair.fullchain + pair.key)], "shop")
            os.kill(pid, signal.SIGCONT)
            run.wait_served(pair, 60)

    def test_drop_box_that_is_replaced(self):
        with Run("replaced", servers=("nginx",)) as run:
            run.agent.start()
            run.begin()
            box = run.state / "incoming" / "shop"
            box.rename(run.folder / "old-box")
            box.mkdir(mode=0o700, exist_ok=True)  # certswapd may have been faster
            pair = run.ca.issue(run.names)
            run.drop([pair.file("pair.pem", pair.fullchain + pair.key)], "shop")
            run.wait_served(pair, 60)

    def test_things_that_are_no_files(self):
        with Run("things", servers=("nginx",)) as run:
            run.agent.start()
            run.begin()
            box = run.state / "incoming" / "shop"
            pair = run.ca.issue(run.names)
            os.mkfifo(box / "fifo")
            plain = socket.socket(socket.AF_UNIX)
            run.at_end(plain.close)
            here = os.open(box, os.O_RDONLY | os.O_DIRECTORY)
            run.at_end(lambda: os.close(here))
            plain.bind(f"/proc/self/fd/{here}/socket")
            (run.folder / "elsewhere").write_text(pair.key)
            os.link(run.folder / "elsewhere", box / "linked")
            wanted = 3
            if os.geteuid() == 0:
                os.mknod(box / "device", 0o020600, os.makedev(1, 5))  # /dev/zero
                wanted = 4
            wait_until("each is answered", lambda: len(run.rejected()) == wanted, 30)
            said = "".join(run.rejected().values())
            self.assertIn("hard link", said)
            self.assertIn("not a regular file", said)
            self.assertEqual((run.folder / "elsewhere").read_text(), pair.key)
            run.drop([pair.file("pair.pem", pair.fullchain + pair.key)], "shop")
            run.wait_served(pair)

    def test_state_folder_of_a_newer_version(self):
        with Run("newer", servers=("nginx",)) as run:
            run.agent.start()
            self.assertEqual(run.agent.stop(), 0)
            (run.state / "version").write_text("99\n")
            run.agent.launch()
            self.assertNotEqual(run.agent.process.wait(20), 0)
            self.assertIn("99", run.agent.log())
            self.assertEqual((run.state / "version").read_text(), "99\n")

    def test_clock_set_back(self):
        # for the daemon a month earlier than the last swap, and back again: neither a swap nor the log minds
        with Run("clock", servers=("nginx",)) as run:
            run.agent.start()
            run.begin()
            for clock in ("-30d", None):
                self.assertEqual(run.agent.stop(), 0)
                if clock:
                    run.agent.set_clock(FAKETIME=clock)
                else:
                    run.agent.true_clock()
                run.agent.start()
                pair = run.ca.issue(run.names)
                self.assertExit(run.agent.ctl("submit", "--name", "shop", *pair.files()), 0)
                self.assertTrue(run.serves(pair))
                self.assertExit(run.agent.ctl("log", "--verify"), 0)

    def test_port_taken_by_another_program(self):
        # the server is dead and somebody has its port: never called done, and done once the server is back
        with Run("port", servers=("apache",)) as run:
            run.agent.start()
            first = run.begin()
            apache = run.by_kind["apache"]
            apache.crash()
            taken = socket.create_server(("127.0.0.1", apache.port))
            run.at_end(taken.close)
            pair = run.ca.issue(run.names)
            done = run.agent.ctl("submit", "--name", "shop", "--timeout", "20s", *pair.files())
            self.assertExit(done, 1)
            self.assertNotEqual(run.agent.status()["last_swap"]["result"], "committed")
            self.assertIn(run.live_sha256(), (first.sha256, pair.sha256))
            taken.close()
            apache.start()
            run.wait_served(pair, 60)


main()
