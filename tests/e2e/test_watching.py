"""From what a CA publishes to the replacement, as the configuration wants it; the schedule by which CAs are asked, a day of it
with the clocks moved; and what each case of a notice demands."""
import datetime
import json
import pathlib
import signal
import socket
import threading

from authority import Authority
from case import Case, main
from incident import REISSUE, IncidentRun
from processes import wait_until
from publisher import Publisher

CRL = '    check = { crl = true; ocsp = false; interval = "1s"; };\n'


def at(hours):
    return (datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(hours=hours)).strftime("%Y-%m-%dT%H:%M:%SZ")


def seconds_between(one, other):
    parsed = [datetime.datetime.fromisoformat(t.replace("Z", "+00:00")) for t in (one, other)]
    return (parsed[1] - parsed[0]).total_seconds()


class Watching(Case):
    def published(self, name, publisher, options, **more):
        run = IncidentRun(name, options.replace("URL", publisher.url), **more)
        run.publisher = publisher
        return run

    def begun(self, run, publisher, standby=True):
        publisher.publish_crls(run.ca)
        run.agent.start()
        first, second = run.begin(), None
        if standby:
            second = run.ca.issue(run.names)
            self.assertExit(run.agent.ctl("standby", "shop", *second.files()), 0)
        return first, second

    def wait_good(self, run):
        wait_until("the CRL is read", lambda: run.agent.status()["revocation"]["status"] == "good", 15, 0.1)

    def reload(self, run):
        times = sum(e["event"] == "configuration" for e in super(IncidentRun, run).events())
        run.agent.process.send_signal(signal.SIGHUP)
        wait_until("the configuration is read again",
                   lambda: sum(e["event"] == "configuration" for e in super(IncidentRun, run).events()) > times, 10)

    def denied(self, run):
        return json.loads(run.agent.ctl("deny", "list", "--json").stdout)["denied"]

    def test_on_revoked_confirm(self):
        """Revoked, and the configuration wants a person: nothing goes by itself, whatever confirm_by says."""
        with Publisher() as p, self.published("on-revoked", p, CRL + '    on_revoked = "confirm"; confirm_by = "6h";\n') as run:
            first, standby = self.begun(run, p)
            self.wait_good(run)
            run.ca.revoke(first, "superseded")
            said = run.wait_alert("waiting-for-confirmation")
            self.assertIn("the revoked certificate stays in service", said["text"])
            self.assertEqual(run.wait_alert("revoked")["severity"], "page")
            run.wait_told()
            run.agent.kill()
            run.agent.start()
            wait_until("it waits again", lambda: run.agent.status()["incident"]["stage"] == "waiting for confirmation")
            looks = p.count("/leaf.crl")
            wait_until("two more looks", lambda: p.count("/leaf.crl") > looks + 1, 20)
            self.assertTrue(run.serves(first))
            self.assertExit(run.agent.ctl("confirm", "shop"), 0)
            self.assertTrue(run.serves(standby))
            run.wait_closed()
            self.assertEqual(run.events().count("waiting-for-confirmation"), 1)

    def test_early_renewal_is_promoted(self):
        """A window that moved opens a ticket and runs reissue alone; the revocation makes an incident of it."""
        with Publisher() as p, self.published("early", p, REISSUE + CRL.replace("interval", 'ari = "URL/directory"; interval')) as run:
            window = {"start": at(24 * 60), "end": at(24 * 62)}
            p.paths["/directory"] = lambda request: (200, {}, json.dumps({"renewalInfo": p.url + "/ari"}).encode())
            p.paths["/ari"] = lambda request: (200, {"Retry-After": "21600"}, json.dumps({"suggestedWindow": window}).encode())
            run.client_says("fail")
            first, standby = self.begun(run, p)
            wait_until("the window is known", lambda: run.agent.status()["revocation"].get("renewal"), 15)
            self.assertIsNone(run.agent.status()["incident"])
            self.assertEqual(run.runs(), [])
            window.update(start=at(-1), end=at(72))
            run.agent.kill()  # the window before is known from the disk
            run.agent.start()
            self.assertEqual(run.wait_alert("renew-early")["severity"], "ticket")
            run.wait_story("reissue failed")
            incident = run.incident()
            self.assertEqual((incident["kind"], incident["deadline"]), ("renew early", window["end"]))
            self.assertEqual(self.denied(run), [])
            self.assertTrue(run.serves(first))
            self.assertEqual(run.agent.status()["standby"]["sha256"], standby.sha256)
            run.ca.revoke(first, "unspecified")
            run.wait_served(standby)
            run.wait_closed()
            self.assertEqual(len(list((run.state / "incidents").iterdir())), 1)
            self.assertEqual(run.wait_alert("revoked")["severity"], "page")
            ids = run.ids()
            self.assertEqual(len(ids), len(set(ids)), ids)

    def test_early_renewal(self):
        """The client renews; the standby stays; a CA that asks no longer ends it, over a restart as well."""
        with Publisher() as p, self.published("early-renewed", p, REISSUE + '    check = { crl = false; ocsp = false; '
                                              'ari = "URL/directory"; interval = "1s"; };\n') as run:
            windows = {}
            p.paths["/directory"] = lambda request: (200, {}, json.dumps({"renewalInfo": p.url + "/ari"}).encode())
            p.paths["/ari"] = lambda request: (200, {}, json.dumps(
                {"suggestedWindow": windows.get(request.path, {"start": at(1440), "end": at(1488)})}).encode())
            first, standby = self.begun(run, p)
            asked = wait_until("its name is known", lambda: next((s for s in p.seen if s.startswith("/ari/")), None))
            run.client_says("fail")
            windows[asked] = {"start": at(-1), "end": at(72)}
            self.reload(run)
            run.wait_story("reissue failed")
            run.wait_told()
            run.agent.kill()
            kept = windows.pop(asked)
            run.agent.start()
            run.wait_story("asks no longer")
            run.wait_closed()
            (run.client / "fail").unlink()
            new = run.ca.issue(run.names)
            run.lay_ready(new)
            windows[asked] = kept
            self.reload(run)
            run.wait_served(new)
            run.wait_closed(2)
            self.assertEqual(run.agent.status()["standby"]["sha256"], standby.sha256)
            self.assertEqual(self.denied(run), [])
            self.assertFalse([t for t in run.story(2) if "may now be revoked" in t], run.story(2))
            self.assertNotIn("page", [a["severity"] for a in run.alerts()])
            before = len(p.seen)
            self.reload(run)
            wait_until("the new one is asked about", lambda: any(s.startswith("/ari/") for s in p.seen[before:]), 15)
            self.assertNotIn(asked, p.seen[before:])  # not after the replacement (RFC 9773 4.3)

    def test_reason_that_changes_after_a_restart(self):
        """What was served before this start goes on being looked up."""
        with Publisher() as p, self.published("former", p, CRL) as run:
            first, _ = self.begun(run, p, standby=False)
            new = run.ca.issue(run.names)
            self.assertExit(run.agent.ctl("submit", "--name", "shop", *new.files()), 0)
            run.agent.stop()
            run.agent.start()
            self.wait_good(run)
            run.ca.revoke(first, "superseded")
            looks = p.count("/leaf.crl")
            wait_until("it was looked at", lambda: p.count("/leaf.crl") > looks + 1, 20)
            self.assertEqual(self.denied(run), [])
            run.ca.revoke(first, "keyCompromise")
            said = wait_until("its key is refused", lambda: self.denied(run), 20)
            self.assertEqual([(d["kind"], d["confirmed"]) for d in said], [("key", True)])
            again = run.ca.issue(run.names, key=first.key)
            self.assertExit(run.agent.ctl("submit", "--name", "shop", *again.files()), 1, "KEY_DENIED")
            self.assertTrue(run.serves(new))
            self.assertIsNone(run.agent.status()["incident"])

    def test_intermediate_and_another_ca(self):
        """All under a revoked intermediate is replaced by what stands under another; what goes live is not under it."""
        with Publisher() as p, self.published("intermediate-other", p, CRL) as run:
            other = Authority(run.folder / "other", "Other")
            run._trust = run.folder / "trust.pem"
            run._trust.write_text("".join(pathlib.Path(ca.root).read_text() for ca in (run.ca, other)))
            run.write_config()
            first, _ = self.begun(run, p, standby=False)
            standby = other.issue(run.names)
            self.assertExit(run.agent.ctl("standby", "shop", *standby.files()), 0)
            self.wait_good(run)
            run.ca.revoke_intermediate()
            run.wait_served(standby)
            run.wait_closed()
            self.assertIn("intermediate", run.story()[0])
            self.assertEqual([d["kind"] for d in self.denied(run)], ["certificate"])
            self.assertFalse(run.serves(first))

    def test_standby_that_is_revoked(self):
        """It is dropped before it can go live, and that is no alarm for what is served."""
        with Publisher() as p, self.published("standby-revoked", p, CRL) as run:
            first, standby = self.begun(run, p)
            self.wait_good(run)
            run.ca.revoke(standby, "keyCompromise")
            wait_until("it is dropped", lambda: run.agent.status()["standby"] is None, 20)
            run.wait_closed()
            self.assertTrue(run.serves(first))
            self.assertNotIn("page", [a["severity"] for a in run.alerts()])
            self.assertExit(run.agent.ctl("notice", "shop", "--case", "l", "--yes"), 1, "no proved replacement")
            self.assertTrue(run.serves(first))
            self.assertNotIn("blind", run.events())
            again = run.ca.issue(run.names)  # one that comes while the incident is open is used at once
            self.assertExit(run.agent.ctl("standby", "shop", *again.files()), 0)
            run.wait_served(again)
            run.wait_closed(2)


class Day(Case):
    """The daemon's clocks are moved on in steps of two minutes, each after all that was due is done."""
    STEP = 2

    def ping(self, run):
        with socket.socket(socket.AF_UNIX) as line:
            line.connect(str(run.run_dir / "control.sock"))
            line.sendall(b'{"command":"ping"}\n')
            self.assertTrue(line.recv(4096))

    def working(self, run):
        """Has it a worker that does something? A spare one waits for its request (recvmsg on descriptor 3)."""
        pid = run.agent.process.pid
        with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as children:
            for child in children.read().split():
                try:
                    with open(f"/proc/{child}/syscall", encoding="ascii") as file:
                        if file.read().split()[:2] not in (["47", "0x3"], ["212", "0x3"]):
                            return True
                except OSError:
                    continue
        return False

    def idle(self, run):
        self.ping(run)  # wakes the loop, which then sees the new time
        self.ping(run)  # answered after all that was due has begun
        while True:
            wait_until("no worker works", lambda: not self.working(run), 20, 0.002)
            self.ping(run)  # what waited for a worker to be free begins
            if not self.working(run):
                break
        self.ping(run)

    def until(self, run, minutes):
        while self.now < minutes:
            self.now += self.STEP
            run.move(f"+{self.now * 60}")
            self.idle(run)

    def seen_at(self, publisher, path, answer):
        """When it was asked for, in minutes of the daemon's day; never twice at once."""
        times, busy = [], threading.Lock()

        def counted(request):
            self.assertTrue(busy.acquire(blocking=False), "asked while the last answer was under way")
            try:
                times.append(self.now)
                return answer(request)
            finally:
                busy.release()
        publisher.paths[path] = counted
        return times

    def gaps(self, times):
        return [b - a for a, b in zip(times, times[1:])]

    def test_a_day(self):
        names = {n: [f"{n}.example.test"] for n in ("shop", "mail", "news")}
        options = '    check = { crl = true; ocsp = false; ari = "URL/directory"; interval = "INTERVAL"; };\n'
        self.now = 0
        with Publisher() as p:
            run = IncidentRun("day", options.replace("URL", p.url).replace("INTERVAL", "1h"), names, clock=True)
            run.publisher = p
            with run:
                run.agent.environment.update(FAKETIME_DONT_FAKE_MONOTONIC="0", DONT_FAKE_MONOTONIC="0")
                p.publish_crls(run.ca)
                good = p.paths["/leaf.crl"]
                leaf = self.seen_at(p, "/leaf.crl", good)
                p.paths["/directory"] = lambda request: (200, {}, json.dumps({"renewalInfo": p.url + "/ari"}).encode())
                window = json.dumps({"suggestedWindow": {"start": at(1440), "end": at(1488)}}).encode()
                ari = self.seen_at(p, "/ari", lambda request: (200, {"Retry-After": "21600"}, window))
                run.agent.start()
                run.begin(start=False)
                self.idle(run)
                self.until(run, 10)  # what is new is asked about at once
                for name in names:
                    self.assertEqual(run.agent.status(name)["revocation"]["status"], "good")
                del leaf[:-1]
                begun = len(ari)
                self.until(run, 8 * 60)
                # one list for three certificates, every hour but for a tenth
                self.assertTrue(all(54 - self.STEP <= g <= 66 + self.STEP for g in self.gaps(leaf)), leaf)
                self.assertGreater(len(set(self.gaps(leaf))), 1, "no two agents in step")
                self.assertEqual(len(ari) - begun, 3, ari)  # six hours, as the CA says; each certificate has its own
                # out of order: soon, then later and later, an hour at most
                out = self.seen_at(p, "/leaf.crl", lambda request: (500, {}, b""))
                self.until(run, 14 * 60)
                gaps = self.gaps(out)
                self.assertLessEqual(gaps[0], 1 + self.STEP, out)
                self.assertTrue(all(b >= a * 0.8 - self.STEP for a, b in zip(gaps, gaps[1:])), out)
                self.assertTrue(all(g <= 66 + self.STEP for g in gaps), out)
                self.assertTrue(9 <= len(out) <= 14, out)
                # in order again
                back = self.seen_at(p, "/leaf.crl", good)
                self.until(run, 17 * 60)
                self.assertTrue(2 <= len(back) <= 4, back)
                # once a day is enough for who says so, but not past nextUpdate
                run.ca.crl_hours = 20
                run._inside = run._inside.replace('"1h"', '"24h"')
                run.write_config()
                daily = self.seen_at(p, "/leaf.crl", good)
                run.agent.process.send_signal(signal.SIGHUP)
                wait_until("the configuration is read again",
                           lambda: any(e["event"] == "configuration" for e in super(IncidentRun, run).events()))
                wait_until("its sources are known",
                           lambda: all(run.agent.status(name)["revocation"].get("sources") for name in names))
                self.until(run, 24 * 60)
                left = 20 * 60 + 5 - daily[0]
                self.assertTrue(daily[0] <= 17 * 60 + 10, daily)
                # the tenth that is left to chance may bring a look shortly before nextUpdate: then one more comes after it, by the
                # clock of the daemon, which has gone on by the seconds that all this has taken
                self.assertIn(len(daily), (2, 3), daily)
                self.assertGreaterEqual(daily[-1], left + daily[0] - self.STEP if len(daily) == 3 else 0, daily)
                self.assertTrue(left * 0.9 - 2 * self.STEP <= daily[1] - daily[0] <= left * 1.1 + 2 * self.STEP, daily)


class Cases(Case):
    # letter: hours, is the key refused, does it wait for a person, does the client run by itself (BR 4.9.1.1; docs of the policy)
    TABLE = {
        "a": (24, False, False, True), "b": (24, True, True, False), "c": (24, True, False, True),
        "d": (24, True, False, True), "e": (24, False, False, True), "f": (120, True, False, True),
        "g": (120, False, True, False), "h": (120, False, True, False), "i": (120, False, False, False),
        "j": (120, False, True, False), "k": (120, False, True, False), "l": (120, False, False, True),
        "m": (120, False, True, False), "n": (120, False, False, False), "o": (120, False, False, True),
        "p": (120, True, False, True), "": (24, False, False, True)}

    def test_each(self):
        names = {"case-" + (letter or "unknown"): [f"{letter or 'unknown'}.example.test"] for letter in self.TABLE}
        with IncidentRun("cases", REISSUE, names) as run:
            run.agent.start()
            run.begin()
            standby = {name: run.ca.issue(dns) for name, dns in names.items()}
            for name, pair in standby.items():
                self.assertExit(run.agent.ctl("standby", name, *pair.files()), 0)
            for letter in self.TABLE:
                case = ["--case", letter] if letter else []
                run.agent.ctl("notice", "case-" + (letter or "unknown"), *case, "--yes", "--no-wait")
            waiting = {"case-" + letter for letter, row in self.TABLE.items() if row[2]}
            for name, dns in names.items():
                if name not in waiting:
                    run.wait_served(standby[name], names=dns)
            wait_until("the others wait", lambda: all(run.agent.status(n)["incident"]["stage"] == "waiting for confirmation"
                                                      for n in waiting))
            all_of = {i["certificate"]: i for i in json.loads(run.agent.ctl("incidents", "--all", "--json").stdout)}
            denied = json.loads(run.agent.ctl("deny", "list", "--json").stdout)["denied"]
            for letter, (hours, key, _, client) in self.TABLE.items():
                name = "case-" + (letter or "unknown")
                i = run.incident(all_of[name]["id"])
                self.assertEqual(i["case"] or "", letter, i)
                self.assertEqual(seconds_between(i["received_at"], i["deadline"]), hours * 3600, i)
                self.assertEqual(sorted(d["kind"] for d in denied if d["incident"] == i["id"]),
                                 ["certificate"] + ["key"] * key, name)
                self.assertEqual(any(line.startswith(name + " ") for line in run.runs()), client, name)
                self.assertEqual(run.serves(run.first[name], names[name]), name in waiting, name)
            for name in waiting:
                self.assertExit(run.agent.ctl("confirm", name), 0)
                self.assertTrue(run.serves(standby[name], names[name]))


main()
