"""Keys under a password, chains that are completed from a folder, and a host that is not what it should be: processes and
folders that are somebody else's."""
import os
import pathlib
import pty
import select
import shutil
import signal
import subprocess

from case import Case, main
from harness import PROGRAMS, Run
from processes import alive, end, run as run_program, wait_until

PASSWORD = "Kennwort 4711"


class Input(Case):
    def on_a_terminal(self, run, *arguments, answers=(), **environment):
        """certswapctl on a terminal of its own, asked for a password again and again: its exit status and all that the terminal showed."""
        pid, terminal = pty.fork()
        if pid == 0:
            program = str(PROGRAMS / "certswapctl")
            os.execve(program, [program, "-c", str(run.config), *map(str, arguments)], {**os.environ, "TERM": "xterm", **environment})
        shown, answered = b"", 0
        while select.select([terminal], [], [], 30)[0]:
            try:
                some = os.read(terminal, 4096)
            except OSError:  # EIO: it has ended
                break
            shown += some
            if answered < len(answers) and shown.count(b"Password of") > answered:
                os.write(terminal, answers[answered].encode() + b"\n")
                answered += 1
        os.close(terminal)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), shown.decode(errors="replace")

    def test_colour_and_progress_are_for_terminals(self):
        with Run("terminal", servers=("nginx",)) as run:
            run.agent.start()
            run.begin()
            self.assertIn("\033[32m", self.on_a_terminal(run, "status")[1])
            self.assertNotIn("\033", self.on_a_terminal(run, "status", NO_COLOR="1")[1])
            self.assertNotIn("\033", run.agent.ctl("status").stdout)
            status, shown = self.on_a_terminal(run, "submit", *run.ca.issue(run.names).files())
            self.assertEqual(status, 0, shown)
            self.assertIn("\r", shown.replace("\r\n", ""))  # lines of progress, each over the last one
            done = run.agent.ctl("submit", *run.ca.issue(run.names).files())
            self.assertExit(done, 0)
            self.assertEqual((done.stderr, done.stdout.count("\n")), ("", 1))

    def encrypted_key(self, pair):
        key = pair.file("encrypted.pem", b"")
        run_program("openssl", "pkcs8", "-topk8", "-v2", "aes-256-cbc", "-in", pair.file("plain.pem", pair.key), "-out", key,
                    "-passout", "file:" + pair.file("password", PASSWORD + "\n"))
        return key

    def test_passwords(self):
        with Run("passwords", servers=("nginx",)) as run:
            run.agent.start()
            run.begin()
            pair = run.ca.issue(run.names)
            files = [pair.file("cert.pem", pair.fullchain), self.encrypted_key(pair)]
            status, shown = self.on_a_terminal(run, "submit", "--name", "shop", *files, answers=["not this one", PASSWORD])
            self.assertEqual(status, 0, shown)
            self.assertIn("did not open", shown)
            self.assertNotIn(PASSWORD, shown)  # no echo
            self.assertTrue(run.serves(pair))
            kept = pathlib.Path(run.live() / "privkey.pem").read_text()
            self.assertIn("-----BEGIN PRIVATE KEY-----", kept)
            other = run.ca.issue(run.names)  # nobody is there to be asked: said, not waited for
            self.assertExit(run.agent.ctl("submit", "--name", "shop", other.file("cert.pem", other.fullchain),
                                          self.encrypted_key(other)), 1, "--password-file")
            run.drop([other.file("pair.p12", pathlib.Path(other.p12(PASSWORD)).read_bytes())], "shop")
            run.wait_rejected("password", "submit")
            for place in (run.agent.log(), (run.state / "audit.jsonl").read_text()):
                self.assertNotIn(PASSWORD, place)

    def test_intermediate_from_the_folder(self):
        with Run("folder-chain", servers=("nginx",)) as run:
            run.agent.start()
            pair = run.ca.issue(run.names)
            files = [pair.file("cert.pem", pair.cert), pair.file("key.pem", pair.key)]
            self.assertExit(run.agent.ctl("submit", "--name", "shop", *files), 1, "CHAIN_INCOMPLETE")
            folder = run.folder / "intermediates"
            folder.mkdir(exist_ok=True)
            (folder / "issuing.pem").write_text(pair.chain)
            (folder / "notes.txt").write_text("no certificate\n")
            self.assertExit(run.agent.ctl("submit", "--name", "shop", *files), 0)
            self.assertEqual(pathlib.Path(run.live() / "chain.pem").read_text().count("BEGIN CERTIFICATE"), 1)

    def test_chain_copied_last(self):
        with Run("chain-last", servers=("nginx",)) as run:
            run.agent.start()
            pair = run.ca.issue(run.names)
            run.drop([pair.file("a-key.pem", pair.key), pair.file("b-leaf.pem", pair.cert)])
            wait_until("the leaf waits for its issuer", lambda: "its issuer" in run.agent.ctl("status").stdout)
            run.drop([pair.file("c-chain.pem", pair.chain)])
            wait_until("what was used is wiped", run.settled)
            self.assertEqual(run.live_sha256(), pair.sha256)
            self.assertNotIn('"refused"', (run.state / "audit.jsonl").read_text())

    def test_chain_that_is_not_copied(self):
        with Run("chainless", servers=("nginx",)) as run:
            run.agent.start()
            pair = run.ca.issue(run.names)
            run.drop([pair.file("a-key.pem", pair.key), pair.file("b-leaf.pem", pair.cert)])
            run.wait_rejected("CHAIN_INCOMPLETE", seconds=40)
            wait_until("nothing is left", run.settled)

    def test_files_of_others_and_for_all_to_read(self):
        with Run("owners", servers=("nginx",)) as run:
            run.agent.start()
            run.begin()
            pair = run.ca.issue(run.names)
            if os.geteuid() == 0:
                source = pathlib.Path(pair.file("theirs.pem", pair.fullchain + pair.key))
                os.chown(source, 12345, 12345)
                source.rename(run.state / "incoming" / source.name)
                run.wait_rejected("owned by neither root nor the agent's user")
                self.assertTrue(run.serves(run.first["shop"]))
            source = pathlib.Path(pair.file("readable.pem", pair.fullchain + pair.key))
            source.chmod(0o666)
            source.rename(run.state / "incoming" / source.name)
            run.wait_served(pair)
            self.assertEqual((run.live() / "privkey.pem").stat().st_mode & 0o777, 0o600)
            wait_until("what was used is wiped", run.settled)


class Host(Case):
    def test_state_folder_that_is_read_only(self):
        if os.geteuid() != 0:
            self.skipTest("mounts a file system")
        with Run("read-only", servers=("nginx",)) as run:
            run.state.mkdir(exist_ok=True)
            if run_program("mount", "-t", "tmpfs", "-o", "size=16m,mode=0711", "tmpfs", str(run.state),
                           check=False).returncode:
                self.skipTest("nothing can be mounted here")
            run.at_end(lambda: (run.agent.close(), run_program("umount", "-l", str(run.state), check=False)))
            run.agent.start()
            first = run.begin()
            pair = run.ca.issue(run.names)
            run.agent.stop()
            run_program("mount", "-o", "remount,ro", str(run.state))
            run.agent.launch()
            self.assertEqual(run.agent.process.wait(20), 1)
            self.assertIn("ead-only", run.agent.log())
            self.assertTrue(run.serves(first))
            run_program("mount", "-o", "remount,rw", str(run.state))
            run.agent.start()
            self.assertExit(run.agent.ctl("submit", "--name", "shop", *pair.files()), 0)
            self.assertTrue(run.serves(pair))

    def test_pid_file_that_names_another_program(self):
        # the server died, and its number went to somebody who does not expect SIGHUP
        with Run("pid", servers=("nginx",)) as run:
            run.agent.start()
            run.begin()
            nginx = run.servers[0]
            nginx.crash()
            other = subprocess.Popen(["sleep", "1000"])
            run.at_end(lambda: (end(other.pid), other.wait()))
            pathlib.Path(nginx.pidfile).write_text(f"{other.pid}\n")
            pair = run.ca.issue(run.names)
            done = run.agent.ctl("submit", "--name", "shop", "--timeout", "10s", *pair.files())
            self.assertExit(done, 1)
            self.assertTrue(alive(other.pid))
            pathlib.Path(nginx.pidfile).unlink()
            nginx.start()
            run.wait_served(pair, 60)
            self.assertTrue(alive(other.pid))

    def test_server_under_another_binary(self):
        # the same server, installed by hand elsewhere: it runs and serves, so it is not "down"
        with Run("binary", servers=("nginx",)) as run:
            copy = run.folder / "own" / "nginx"
            copy.parent.mkdir()
            shutil.copy2("/usr/sbin/nginx", copy)
            run.agent.start()  # its configuration says /usr/sbin/nginx
            run.servers[0].binary = str(copy)
            first = run.begin()
            pair = run.ca.issue(run.names)
            done = run.agent.ctl("submit", "--name", "shop", "--timeout", "20s", *pair.files())
            self.assertExit(done, 1, f'binary = "{copy}"')  # said, and nothing is lost: it runs and is not told
            self.assertTrue(run.serves(first))
            run.write_config()
            self.assertIn(str(copy), run.config.read_text())
            run.agent.process.send_signal(signal.SIGHUP)
            wait_until("the configuration was read again", lambda: "was read again" in run.agent.log())
            self.assertExit(run.agent.ctl("submit", "--name", "shop", *pair.files()), 0)
            self.assertTrue(run.serves(pair))

    def test_hooks_that_are_not_there(self):
        with Run("hooks", servers=("nginx",)) as run:
            config = run.config.read_text()
            run.config.write_text(config.replace('kind = "nginx"', 'kind = "lighttpd"'))
            run.agent.launch()
            try:
                run.agent.wait_ready()
            except AssertionError:
                self.assertIn("lighttpd", run.agent.log())
                return
            first = run.begin()
            pair = run.ca.issue(run.names)
            self.assertExit(run.agent.ctl("submit", "--name", "shop", "--timeout", "20s", *pair.files()), 1, "lighttpd")
            self.assertTrue(run.serves(first))
            wait_until("it is at rest", run.settled, 20)


main()
