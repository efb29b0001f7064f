"""Servers that do not turn, or not everywhere: none of them is called done; the old pair is back, or a person is told
how to get out; and certswapctl submit says so."""
import os
import shutil
from concurrent.futures import ThreadPoolExecutor

from trial import HOOK_SECONDS, Trial, TrialRun, end
from case import Case, main
from processes import wait_until
from webserver import Prober

BOTH = ("127.0.0.1", "::1")
VERIFY_SECONDS = 10  # VERIFY_MS of agent/site/acts.c
LIMIT = f"did not end within {HOOK_SECONDS}s"


def writer_of(gate):
    """The end to write to of a FIFO that a hook reads from; None: nobody does yet."""
    try:
        return os.open(gate, os.O_WRONLY | os.O_NONBLOCK)
    except OSError:
        return None


class Bad(Case):
    deadline = 240

    def gone_back(self, run, words):
        """New pairs for all at once: each must go back, for the reason that the words name; the old one is served."""
        self.have_gone_back(run, words, run.submit_all(words, 200))

    def have_gone_back(self, run, words, results):
        for name, (pair, done) in results.items():
            with self.subTest(name):
                self.assertExit(done, 1, *words[name])
                status = run.agent.status(name)
                self.assertEqual(status["last_swap"]["result"], "rolled back", status)
                for word in words[name]:
                    self.assertIn(word, status["last_swap"]["reason"])
                self.assertEqual(status["state"], "ok")
                self.assertEqual(run.live_sha256(name), run.first[name].sha256)
                self.assertEqual(run.trials[name].every_look(), {run.first[name].sha256})
                self.assertNotEqual(run.first[name].sha256, pair.sha256)
        run.verify_log()


class Unturned(Bad):
    def test_wire_that_does_not_turn(self):
        with TrialRun("wire", Trial("deaf", turn="none"), Trial("in-turn", turn="in-turn"),
                      Trial("ipv6-only", turn="ipv6", hosts=BOTH), Trial("unnamed-only", turn="unnamed"),
                      Trial("only-12", turn="tls1.2"), Trial("only-13", turn="tls1.3"), Trial("header", turn="none", proxy=True),
                      Trial("resumes", turn="none", tickets=True)) as run:
            run.agent.start()
            run.begin()
            identities = {t.name: t.identity() for t in run.servers}
            places = {name: trial.endpoints()[0] for name, trial in run.trials.items()}
            self.gone_back(run, {
                "deaf": [places["deaf"], "goes on showing another certificate", run.first["deaf"].serial],
                "in-turn": [places["in-turn"], "in turn"],
                "ipv6-only": [places["ipv6-only"], "goes on showing another certificate"],
                "unnamed-only": [places["unnamed-only"], "unnamed-only.example.test"],
                "only-12": [places["only-12"], "(TLS 1.3)"], "only-13": [places["only-13"], "(TLS 1.2)"],
                "header": [places["header"], "goes on showing another certificate"],
                "resumes": [places["resumes"], "goes on showing another certificate"]})
            self.assertEqual(run.trials["resumes"].resumed(), 0)
            self.assertEqual({t.name: t.identity() for t in run.servers}, identities)


class Death(Bad):
    def test_server_that_dies(self):
        with TrialRun("dies", Trial("dies", turn="dies")) as run:
            run.agent.start()
            run.begin()
            dies = run.trials["dies"]
            before = dies.identity()
            prober = Prober(dies, dies.names[0])
            run.at_end(prober.stop)
            submitted = ThreadPoolExecutor(1).submit(run.submit_all, ["dies"], 200)
            down = wait_until("it is down", prober.failed, 60)[-1].ended
            # a death is an event: who only waits for the wire to turn starts it no sooner than after VERIFY_SECONDS
            wait_until("it is started again", lambda: prober.first(run.first["dies"].sha256, down), VERIFY_SECONDS * 0.8)
            self.have_gone_back(run, {"dies": ["died"]}, submitted.result())
            prober.stop()
            self.assertNotEqual(dies.identity(), before)
            self.assertIsNotNone(dies.pid())


class Hooks(Bad):
    def test_hooks(self):
        with TrialRun("hooks", Trial("hangs", reload="hangs"), Trial("tells-and-hangs", reload="tells-and-hangs"),
                      Trial("floods", reload="floods-and-fails"), Trial("later", reload="later"),
                      Trial("refuses", reload="refuses"), Trial("dies", reload="dies"),
                      Trial("unknown", reload="says-nothing-and-does-nothing")) as run:
            run.agent.start()
            run.begin()
            identities = {t.name: t.identity() for t in run.servers}
            self.gone_back(run, {"hangs": [LIMIT], "tells-and-hangs": [LIMIT], "floods": ["did not reload", "xxxx"],
                                 "later": ["at work on the configuration"], "refuses": ["configuration is locked"],
                                 "dies": ["killed by signal 9"], "unknown": ["goes on showing another certificate"]})
            self.assertEqual({t.name: t.identity() for t in run.servers}, identities)
            self.assertLess(max(len(run.agent.status(name)["last_swap"]["reason"]) for name in run.trials), 2000)


class Stuck(Bad):
    def stuck(self, run, name, *words):
        """Neither forward nor back: it says so, and how to get out; what follows is a person's."""
        pair, done = run.submit_all([name], 200)[name]
        self.assertExit(done, 1, "STUCK", *words)
        status = run.agent.status(name)
        self.assertEqual(status["last_swap"]["result"], "stuck", status)
        self.assertEqual(status["state"], "failed")
        table = run.agent.ctl("status", name)
        self.assertExit(table, 0, name, "failed")
        return pair

    def over(self, run, name, result):
        """A person has mended it: certswapd sees that by itself."""
        wait_until("it is not stuck any more", lambda: run.agent.status(name)["state"] == "ok", 60)
        self.assertEqual(run.agent.status(name)["last_swap"]["result"], result)
        self.assertIn("swap-mended", [e["event"] for e in run.events()])
        self.assertEqual(list((run.state / "journal").glob("[0-9]*.json")), [])

    def test_stuck_because_it_can_not_turn_back(self):
        with TrialRun("no-way-back", Trial("half", turn="ipv6-once", hosts=BOTH)) as run:
            run.agent.start()
            run.begin()
            self.stuck(run, "half")
            half = run.trials["half"]
            self.assertEqual(run.live_sha256("half"), run.first["half"].sha256)
            end(half.pid())  # the way out: a restart, and a pair once more
            half.set(run, turn="all")
            half.start()
            self.assertEqual(half.every_look(), {run.first["half"].sha256})
            self.over(run, "half", "rolled back")
            pair, done = run.submit_all(["half"], 60)["half"]
            self.assertExit(done, 0)
            self.assertEqual(half.every_look(), {pair.sha256})
            self.assertEqual(run.agent.status("half")["state"], "ok")

    def test_stuck_because_it_does_not_start(self):
        with TrialRun("no-start", Trial("gone", turn="dies", start="the port is taken")) as run:
            run.agent.start()
            run.begin()
            self.stuck(run, "gone", "died", "the port is taken")
            gone = run.trials["gone"]
            self.assertEqual(run.live_sha256("gone"), run.first["gone"].sha256)
            gone.start()  # the old pair is in place: whoever starts it has a server
            self.assertEqual(gone.every_look(), {run.first["gone"].sha256})
            self.over(run, "gone", "rolled back")

    def test_stuck_over_a_restart_of_certswapd(self):
        with TrialRun("stuck-restart", Trial("gone", turn="dies", start="the port is taken")) as run:
            run.agent.start()
            run.begin()
            self.stuck(run, "gone")
            self.assertEqual(run.agent.stop(), 0)
            run.agent.start()
            self.assertEqual(run.agent.status("gone")["state"], "failed")
            run.trials["gone"].start()
            self.over(run, "gone", "rolled back")


class Overtaken(Bad):
    """A pair that was ready while an older one was still being swapped goes as soon as that one waits or is stuck."""

    def newer_at_a_gate(self, run, name, gate):
        """Swaps a pair of `name`; while its hook reads from the FIFO `gate` a newer pair is proved; then the hook goes on. Returns the newer."""
        def is_proved():
            return any(e["event"] == "proved" and newer.serial in e["text"] for e in run.events())
        said = gate.with_name("said")
        said.write_text("no\n")
        newer = run.issue(name)
        self.assertExit(run.agent.ctl("submit", "--no-wait", "--name", name, *run.issue(name).files()), 0)
        end_of_gate = wait_until("the hook stands at the gate", lambda: writer_of(gate), 60)
        self.assertExit(run.agent.ctl("submit", "--no-wait", "--name", name, *newer.files()), 0)
        wait_until("the newer pair is proved", is_proved, 60)
        said.rename(gate)
        os.close(end_of_gate)
        wait_until("the newer pair is live", lambda: run.live_sha256(name) == newer.sha256, 60)
        return newer

    def test_by_one_that_is_stuck(self):
        with TrialRun("overtaken-stuck", Trial("gone", turn="dies")) as run:
            run.agent.start()
            run.begin()
            gone = run.trials["gone"]
            os.mkfifo(gone.folder / "start")
            newer = self.newer_at_a_gate(run, "gone", gone.folder / "start")
            self.assertIn("STUCK", [e.get("state") for e in run.events()])
            gone.start()
            wait_until("it is proved", lambda: run.agent.status("gone")["last_swap"]["result"] == "committed", 60)
            self.assertEqual(gone.every_look(), {newer.sha256})

    def test_by_one_that_waits_for_its_server(self):
        with TrialRun("overtaken-awaiting", Trial("down")) as run:
            run.agent.start()
            run.begin(start=False)
            down = run.trials["down"]
            (run.folder / "programs/hooks/trial/alive").write_text(f"#!/bin/sh\ncat {down.folder}/gate\nexit 1\n")
            os.mkfifo(down.folder / "gate")
            self.newer_at_a_gate(run, "down", down.folder / "gate")
            self.assertEqual(run.agent.status("down")["state"], "waiting")


class Crash(Bad):
    def test_file_of_a_swap_that_goes_back_after_the_restart(self):
        """While its swap may still go back, the pair that is live is not there for good: its file is not wiped."""
        with TrialRun("back-after-crash", Trial("deaf", reload="refuses")) as run:
            run.agent.start()
            run.begin()
            hook, gate = run.folder / "programs/hooks/trial/reload", run.trials["deaf"].folder / "gate"
            refuses = hook.read_text()
            os.mkfifo(gate)
            hook.write_text(f"#!/bin/sh\ncat {gate}\nexit 1\n")
            pair = run.issue("deaf")
            run.drop([pair.file("pair.pem", pair.key + pair.fullchain)], name="deaf")
            end_of_gate = wait_until("the hook stands at the gate", lambda: writer_of(gate), 60)
            self.assertEqual(run.live_sha256("deaf"), pair.sha256)
            run.agent.kill()
            hook.write_text(refuses)
            os.close(end_of_gate)
            run.agent.start()
            wait_until("the pair is refused, with its reason and its file", lambda: any(
                pair.cert in file.read_text() for file in run.state.glob("rejected/*/*.pem")), 90)
            self.assertEqual(run.live_sha256("deaf"), run.first["deaf"].sha256)
            self.assertIn("the configuration is locked", "".join(run.rejected().values()))
            wait_until("nothing is under way", run.settled, 20)
            self.assertEqual(len([e for e in run.events() if e["event"] == "swap-ended" and e.get("from_generation")]), 1)

    def test_file_of_a_swap_that_was_on_its_way_back_at_the_restart(self):
        """The old pair is live again already; its file still waits for the end of that swap, and is proved only once."""
        with TrialRun("way-back", Trial("gone", turn="dies")) as run:
            run.agent.start()
            run.begin()
            gate = run.trials["gone"].folder / "start"
            os.mkfifo(gate)
            pair = run.issue("gone")
            run.drop([pair.file("pair.pem", pair.key + pair.fullchain)], name="gone")
            end_of_gate = wait_until("the hook stands at the gate", lambda: writer_of(gate), 60)
            self.assertEqual(run.live_sha256("gone"), run.first["gone"].sha256)
            run.agent.kill()
            os.close(end_of_gate)
            run.agent.start()
            end_of_gate = wait_until("it stands there again", lambda: writer_of(gate), 60)
            wait_until("its file waits", lambda: "a swap of this very pair is not over yet"
                       in run.agent.ctl("status", "--json").stdout, 30)
            gate.unlink()
            os.close(end_of_gate)
            wait_until("the pair is refused, with its reason", lambda: "gone: ROLLED_BACK"
                       in "".join(run.rejected().values()), 60)
            wait_until("nothing is under way", run.settled, 20)
            self.assertEqual(len([e for e in run.events() if e["event"] == "proved" and pair.serial in e["text"]]), 1)

    def test_pair_of_a_watched_folder_that_a_server_died_of(self):
        """It lies there still at each start of certswapd: no server dies of it a second time, unless a person wants it."""
        with TrialRun("died-once", Trial("dies", turn="dies"), Trial("good")) as run:
            dies = run.trials["dies"]
            text = run.config.read_text()
            for name in run.trials:
                (run.folder / f"watched-{name}").mkdir()
                text = text.replace(f'servers = [ "{name}" ];', f'servers = [ "{name}" ]; watch = [ "{run.folder}/watched-{name}" ];')
            run.config.write_text(text)
            run.agent.start()
            run.begin()
            pair, other = run.issue("dies"), run.issue("good")
            shutil.copy2(pair.file("pair.pem", pair.key + pair.fullchain), run.folder / "watched-dies")
            wait_until("it went back", lambda: run.agent.status("dies")["last_swap"]["result"] == "rolled back", 60)
            wait_until("nothing is under way", run.settled, 20)
            again = dies.identity()
            run.agent.kill()
            shutil.copy2(other.file("pair.pem", other.key + other.fullchain), run.folder / "watched-good")
            run.agent.start()
            wait_until("both folders were looked into", lambda: run.live_sha256("good") == other.sha256, 60)
            self.assertEqual(len([e for e in run.events() if e["event"] == "proved" and pair.serial in e["text"]]), 1)
            self.assertEqual(dies.identity(), again)
            self.assertExit(run.agent.ctl("submit", "--name", "dies", *pair.files(), seconds=80), 1, "died")
            self.assertNotEqual(dies.identity(), again)


class Damaged(Bad):
    def test_no_way_back_to_what_somebody_wrote_over(self):
        with TrialRun("damaged", Trial("gone", turn="dies")) as run:
            run.agent.start()
            run.begin()
            gone, live = run.trials["gone"], run.live("gone").resolve()
            for name in ("fullchain.pem", "privkey.pem"):
                (live / name).write_text("nonsense")
            wait_until("the restoration has ended", lambda: any(
                e["event"] == "swap-ended" and e.get("from_generation") for e in run.events()), 60)
            self.assertEqual(run.agent.status("gone")["last_swap"]["result"], "committed")
            self.assertEqual(run.live_sha256("gone"), run.first["gone"].sha256)
            self.assertEqual(gone.every_look(), {run.first["gone"].sha256})


class Neighbours(Bad):
    # six servers do not turn, each with handshakes under way for many seconds: a seventh is as quick as ever
    def test_others_do_not_wait_for_them(self):
        deaf = [Trial(f"deaf{number}", turn="none") for number in range(6)]
        with TrialRun("neighbours", *deaf, Trial("good")) as run:
            run.agent.start()
            run.begin()
            for trial in deaf:
                files = run.issue(trial.name).files()
                self.assertExit(run.agent.ctl("submit", "--no-wait", "--name", trial.name, *files), 0)
            wait_until("they have all been told", lambda: all(
                run.live_sha256(t.name) != run.first[t.name].sha256 for t in deaf), 30)
            pair, done = run.submit_all(["good"], 60)["good"]
            self.assertExit(done, 0)
            self.assertEqual(run.agent.status("good")["last_swap"]["result"], "committed")
            for trial in deaf:  # they have not ended yet
                self.assertEqual(run.agent.status(trial.name)["state"], "swapping")


main()
