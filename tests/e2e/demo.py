#!/usr/bin/python3
"""What certswap does, on this machine, with the real web servers. Run by ./demo. Every claim is measured here from outside: by
fresh handshakes of a prober that knows nothing of certswap, by openssl s_client, by wrk, by the process table."""
import datetime
import os
import re
import sys
import textwrap
import time

from authority import Authority
from harness import PROGRAMS, Run, pair_on_disk
from processes import Late, guarded, run as run_program, wait_until
from webserver import Apache, Load, Nginx, Prober, openssl_serial

WIDTH = 100  # columns
CLAIM = 53  # of them for what is claimed
COLOUR = sys.stdout.isatty() and "NO_COLOR" not in os.environ
GREEN, RED, BOLD, GREY, PLAIN = ("\033[32m", "\033[31m", "\033[1m", "\033[2m", "\033[0m") if COLOUR else ("",) * 5


class Story:
    """What is told on the terminal, and the table at its end."""

    def __init__(self):
        self.rows = []

    def act(self, title):
        print(f"\n{BOLD}{title}{PLAIN}", flush=True)

    def line(self, label, text):
        lines = textwrap.wrap(text, WIDTH - 24) or [""]
        print(f"  {GREY}{label:<20}{PLAIN}  {lines[0]}", *(" " * 24 + more for more in lines[1:]), sep="\n", flush=True)

    def claim(self, what, good, measured=""):
        """Something that this demonstration promises to show: told now, and a row of the table."""
        self.rows.append((what, bool(good), measured))
        mark = f"{GREEN}ok{PLAIN}    " if good else f"{RED}FAILED{PLAIN}"
        print(f"  {mark}  {what:<{CLAIM}}  {measured}".rstrip(), flush=True)

    def table(self):
        print(f"\n{BOLD}{'What was shown':<{CLAIM}}  Result{PLAIN}")
        for what, good, measured in self.rows:
            mark = f"{GREEN}yes{PLAIN}" if good else f"{RED}NO{PLAIN} "
            print(f"{what:<{CLAIM}}  {mark}  {textwrap.shorten(measured, WIDTH - CLAIM - 7, placeholder=' ...')}".rstrip())
        failed = sum(not good for _, good, _ in self.rows)
        print(f"\n{len(self.rows) - failed} of {len(self.rows)} shown." if failed else f"\nAll {len(self.rows)} shown.")
        return 1 if failed else 0


story = Story()


def milliseconds(seconds):
    return f"{seconds * 1000:.0f} ms"


def timeline(run, since, took):
    """One line in milliseconds since `since` (time.monotonic): what certswapd logged when, and what the prober saw."""
    zero = time.time() - (time.monotonic() - since)
    words = {"proved": "proved", "INSTALLING": "rehearsed", "INSTALLED": "swapped", "VERIFYING": "reloaded", "COMMITTED": "verified"}
    told = {}
    for line in run.agent.log().splitlines():
        found = re.match(r"(\S+Z) certswapd (?:debug: )?(proved|swap-state: transaction \d+): ?(\w*)", line)
        if not found:
            continue
        at = datetime.datetime.fromisoformat(found[1].replace("Z", "+00:00")).timestamp() - zero
        word = words.get("proved" if found[2] == "proved" else found[3])
        if word and at > -0.002:
            told.setdefault(word, max(at, 0.0))
    told["first new handshake"] = min(took.values())
    return "closed 0, " + ", ".join(f"{word} {at * 1000:.0f}" for word, at in sorted(told.items(), key=lambda item: item[1])) + " ms"


def started(ticks):
    """When a process began: clock ticks since the boot, as a time of day."""
    with open("/proc/uptime", encoding="ascii") as file:
        boot = time.time() - float(file.read().split()[0])
    return time.strftime("%H:%M:%S", time.localtime(boot + ticks / os.sysconf("SC_CLK_TCK")))


class Watched:
    """nginx and Apache under load (wrk, new connections and kept ones) and under the eyes of a prober each."""

    def __init__(self, run):
        self.run, self.name = run, run.names[0]
        self.probers = [Prober(server, self.name) for server in run.servers]
        self.loads = []
        run.at_end(self._end)
        self.done = self.failed = 0  # new connections: requests of wrk and handshakes of the probers
        self.bare = None  # {kind: kept connections that one bare reload closes}
        self.parents = run.identities()

    def _end(self):
        for prober in self.probers:
            prober.stop()
        for load, _ in self.loads:
            load.stop()

    def begin(self):
        self.loads = [(Load(server, self.name, self.run.folder, fresh), fresh)
                      for server in self.run.servers for fresh in (True, False)]

    def wait_shown(self, pair, since, seconds=15):
        """Waits until both servers have shown it; a text with the times, and {kind: seconds}."""
        took = {}
        for prober in self.probers:
            at = wait_until(f"{prober.server.kind} shows {pair.serial[:8]}", lambda p=prober: p.first(pair.sha256, since),
                            seconds, 0.005)
            took[prober.server.kind] = at - since
        return ", ".join(f"{kind} {milliseconds(seconds)}" for kind, seconds in took.items()), took

    def finish(self, since):
        """Ends the load and says what it met."""
        words, kept = [], []
        for load, fresh in self.loads:
            requests = load.stop()
            if fresh:
                self.done += requests.done
                self.failed += requests.failed
                words.append(f"{load.kind} {requests.done} requests ({requests.failed} failed)")
            else:
                kept.append((load.kind, requests.failed))
        self.loads = []
        handshakes = [h for prober in self.probers for h in prober.seen if h.began >= since]
        failed = sum(bool(h.problem) for h in handshakes)
        self.done += len(handshakes)
        self.failed += failed
        story.line("new connections", f"{', '.join(words)}, prober {len(handshakes)} handshakes ({failed} failed)")
        beside = self.bare and f"; one bare reload: {', '.join(f'{kind} {n:.1f}' for kind, n in self.bare.items())}"
        story.line("kept connections", f"closed while in use: {', '.join(f'{kind} {n}' for kind, n in kept)}{beside or ''}")
        return dict(kept)

    def prove(self, pair):
        """The independent proof, by a program that has no part in this; and that the servers' parents are those of the
        beginning."""
        now = self.run.identities()
        same = now == self.parents
        story.line("parent processes", ", ".join(
            f"{kind} {identity[0] if identity else 'gone'}" + (f" of {started(identity[1])}" if identity else "")
            for kind, identity in now.items()) + (", the same as ever" if same else ": NOT those of the beginning"))
        good = same
        for server in self.run.servers:
            serial = openssl_serial(server.port, self.name)
            good = good and serial == pair.serial
            story.line(server.kind, f"s_client -connect 127.0.0.1:{server.port}: {serial}")
        return good


def usual_script(run):
    """Act 0: what happens to everybody else."""
    story.act("Act 0  Without certswap, the usual script: a new certificate with the old key")
    certificates = run.folder / "usual"
    live = certificates / "shop" / "live"
    live.mkdir(parents=True)
    old, new = run.ca.issue(run.names), run.ca.issue(run.names)

    def install(cert, key):
        (live / "fullchain.pem").write_text(cert.fullchain)
        (live / "privkey.pem").write_text(key.key)

    install(old, old)
    sites = [("shop", run.names)]
    servers = [kind(run.folder / f"usual-{kind.kind}", certificates, sites).start() for kind in (Nginx, Apache)]
    nginx, apache = servers
    run.at_end(nginx.stop)
    run.at_end(apache.stop)
    install(new, old)
    test = apache.configtest()
    story.line("apache2 -t", f"{test.stdout.strip()} (exit {test.returncode})")
    graceful = run_program(apache.binary, "-f", apache.config, "-k", "graceful", check=False)
    story.line("apache2 -k graceful", f"exit {graceful.returncode}")
    nginx.reload()
    story.line("kill -HUP nginx", "exit 0")
    try:
        wait_until("Apache is gone", lambda: apache.pid() is None, 5)
        gone = True
    except Late:
        gone = False
    reason = re.search(r"AH02565: [^\n]*", apache.log())
    story.line("Apache's log", "AH02565: Certificate and private key ... do not match" if reason else "")
    still_old = nginx.shown(run.names[0]).sha256 == old.sha256
    story.claim("The usual script kills Apache; each step said yes", gone and test.returncode == 0,
                f"port {apache.port} refuses connections")
    story.claim("... nginx serves the old one on, and nobody is told", still_old, f"serial {old.serial[:12]}...")
    expired = run.ca.issue(run.names, starts=-72, days=2)
    install(expired, expired)
    test = run_program(nginx.binary, "-t", "-c", nginx.config, check=False)
    nginx.reload()
    shown = wait_until("nginx shows what it was given", lambda: (s := nginx.shown(run.names[0])).sha256 != old.sha256 and s, 10)
    story.line("nginx -t", f"exit {test.returncode} for a pair that has expired; nginx serves it")
    story.claim("... and an expired pair goes out to every visitor", test.returncode == 0 and shown.sha256 == expired.sha256)
    nginx.stop()


def begin(run):
    """The agent, the first pair, the servers."""
    story.act("Before   certswapd, its first pair, then nginx and Apache under load")
    began = time.monotonic()
    run.agent.arguments = ["-v"]  # its steps in the log, for the times that are told here
    run.agent.start()
    story.line("certswapd", f"ready after {milliseconds(time.monotonic() - began)}")
    began = time.monotonic()
    pair = run.begin(start=False)
    story.line("certswapctl submit", f"the first pair is live after {milliseconds(time.monotonic() - began)}; no server was touched")
    for server in run.servers:
        server.start()
    watched = Watched(run)
    story.claim("The first pair is live, and both servers serve it", watched.prove(pair) and run.serves(pair))
    return pair, watched


def bare_reload(run, watched):
    """What a reload by hand, without any change, costs the visitors: to compare with."""
    longest = {server.kind: 0.0 for server in run.servers}
    start, reloads = time.monotonic(), 3
    watched.begin()
    for _ in range(reloads):
        mark = time.monotonic()
        for server in run.servers:
            server.reload()
        wait_until("some handshakes after the reload",
                   lambda: all(sum(h.began > mark + 0.5 for h in p.seen) > 3 for p in watched.probers))
        for prober in watched.probers:
            waits = [h.ended - h.began for h in prober.seen if h.ended > mark]
            longest[prober.server.kind] = max(longest[prober.server.kind], *waits)
    kept = watched.finish(start)
    watched.bare = {kind: closed / reloads for kind, closed in kept.items()}
    story.line("longest wait", "of a new connection in three bare reloads, without certswap: "
               + ", ".join(f"{kind} {milliseconds(seconds)}" for kind, seconds in longest.items()))


def swap_seen(run, watched, claim, pair, hand_over):
    """One replacement under load: hand_over() gives the moment at which it was in the agent's hands."""
    before = run.agent.status().get("last_swap")
    start = time.monotonic()
    watched.begin()
    since = hand_over()
    words, took = watched.wait_shown(pair, since)
    swap = run.wait_result("committed", before)
    story.line("timeline", timeline(run, since, took))
    story.line("certswap says", f"committed: the swap took {swap['milliseconds']} ms")
    proved = watched.prove(pair)
    watched.finish(start)
    story.claim(claim, proved, words)
    return took


def drops(run, watched):
    """Act 1: loose PEM files through the drop box."""
    story.act("Act 1  The CA's files are dropped into incoming/: certificate and key, PEM")
    pair = run.ca.issue(run.names)
    took = swap_seen(run, watched, "PEM files dropped: served after the last was closed", pair,
                     lambda: run.drop(pair.files()))
    if took["apache"] > 1.0:
        story.line("", "Apache's event MPM starts its new children when an old one ends or at its next tick: up to 1 s, its own")
    story.claim("... within seconds", max(took.values()) < 5.0)  # a slow machine is no fault
    story.act("       The same, the files growing a few bytes at a time")
    pair = run.ca.issue(run.names)
    swap_seen(run, watched, "Files that grow bit by bit: served once whole", pair,
              lambda: run.drop(pair.files(), slowly=True))
    return pair


def refusals(run, watched, live):
    """Act 2: what must not go live, each refused with its reason."""
    story.act("Act 2  Pairs that must not go live: another key, no chain, a name short, expired")
    start = time.monotonic()
    watched.begin()
    nowhere = Authority(run.folder / "nobody", "Nobody")
    for what, code, pair in (
            ("A certificate with another key is refused", "PAIR_MISMATCH", run.ca.issue(run.names).with_key(live)),
            ("A pair without one of its names is refused", "NAME_MISSING", run.ca.issue(run.names[:1])),
            ("A chain that ends nowhere is refused", "CHAIN_", nowhere.issue(run.names)),
            ("An expired pair is refused", "EXPIRED", run.ca.issue(run.names, starts=-72, days=2))):
        known = run.rejected()
        run.drop(pair.files(), name="shop")
        why = run.wait_rejected(code, before=known)
        reason = next(line for line in why.splitlines() if code in line)
        story.line("why.txt", reason.strip())
        story.claim(what, run.live_sha256() == live.sha256, re.search(code + r"\w*", why)[0])
    proved = watched.prove(live)
    watched.finish(start)
    story.claim("... and nginx and Apache never heard of them", proved)


def neighbours(run, watched, live):
    """Act 5: others write the same paths: a person with cp, a configuration management."""
    story.act("Act 5  A colleague copies a renewed certificate and key over live/*.pem with cp")
    older, new = live, run.ca.issue(run.names)
    start = time.monotonic()
    watched.begin()
    mark = time.monotonic()
    for name, text in (("fullchain.pem", new.fullchain), ("privkey.pem", new.key)):
        (run.live() / name).write_text(text)  # through the link, in place
    words, _ = watched.wait_shown(new, mark)
    wait_until("the swap is over", run.settled)
    kept = pair_on_disk(run.live().parent / "gen" / older_generation(run, older)) == older.sha256
    proved = watched.prove(new)
    story.claim("cp through the link: taken as a candidate, proved", proved and run.live_sha256() == new.sha256, words)
    story.claim("... the pair that it wrote over is whole elsewhere", kept)

    story.act("       A Puppet run puts the old pair back, by turning the link to it")
    old_link = os.readlink(run.live())
    folder = run.live().parent / "gen" / older_generation(run, older)
    os.symlink(f"gen/{folder.name}", run.live().parent / "puppet")
    os.rename(run.live().parent / "puppet", run.live())
    wait_until("the link is put back", lambda: os.readlink(run.live()) != f"gen/{folder.name}", 15)
    event = wait_until("it is told", lambda: next((e for e in reversed(run.events()) if "put back" in e["text"]), None), 10)
    story.line("certswapctl log", event["text"])
    proved = watched.prove(new)
    watched.finish(start)
    story.claim("An older pair in the place of the live one: undone", proved and os.readlink(run.live()) == old_link,
                f"live -> {old_link}")
    return new


def older_generation(run, pair):
    """The name of the latest generation that holds it."""
    return [path.parent.name for path in sorted((run.live().parent / "gen").glob("*/meta.json"))
            if pair.sha256 in path.read_text()][-1]


def pkcs12(run, watched):
    """PKCS#12 under a password."""
    story.act("       The CA's desk sends a PKCS#12 with a password: certswapctl submit --password-file")
    pair = run.ca.issue(run.names, key_type="rsa-2048")
    source, password = pair.p12("Kennwort 4711"), pair.file("password", "Kennwort 4711\n")

    def submit():
        began = time.monotonic()
        done = run.agent.ctl("submit", "--name", "shop", "--password-file", password, source)
        story.line("certswapctl submit", f"exit {done.returncode} after {milliseconds(time.monotonic() - began)}: "
                   + (done.stdout + done.stderr).strip().splitlines()[-1])
        return began
    swap_seen(run, watched, "A PKCS#12 with a password: served", pair, submit)
    return pair


def the_day(run, watched, compromised):
    """Act 6: the mail comes."""
    story.act("Act 6  The key is compromised: certswapctl notice shop --case c, with a standby ready")
    standby = run.ca.issue(run.names)
    done = run.agent.ctl("standby", "shop", *standby.files())
    story.line("certswapctl standby", f"exit {done.returncode}: {(done.stdout + done.stderr).strip().splitlines()[-1]}")
    wait_until("the standby is ready", lambda: (run.agent.status().get("standby") or {}).get("ready"))

    def notice():
        began = time.monotonic()
        done = run.agent.ctl("notice", "shop", "--case", "c", "--ref", "CA ticket 4711", "--yes")
        story.line("certswapctl notice", f"exit {done.returncode} after {milliseconds(time.monotonic() - began)}: "
                   + (done.stdout + done.stderr).strip().splitlines()[-1])
        return began
    swap_seen(run, watched, "Notice at T: the standby is served at T +", standby, notice)
    story.act("       The compromised key comes back, in a new certificate that the CA issued for it")
    back = run.ca.issue(run.names, key=compromised.key)
    known = run.rejected()
    run.drop(back.files())
    why = run.wait_rejected("KEY_DENIED", before=known)
    story.line("why.txt", " ".join(line for line in why.splitlines() if "KEY_DENIED" in line))
    story.claim("The compromised key is refused when it comes back", run.serves(standby), "KEY_DENIED, nothing moved")
    return standby


def mismatch(run, watched, live):
    """Act 3: what killed Apache in Act 0."""
    story.act("Act 3  The bad pair of Act 0 is given to certswap: new certificate, old key")
    start = time.monotonic()
    watched.begin()
    bad = run.ca.issue(run.names).with_key(live)
    done = run.agent.ctl("submit", "--name", "shop", *bad.files())
    for label, line in zip(("certswapctl submit", "", "", ""), (done.stdout + done.stderr).strip().splitlines()):
        story.line(label, line.removeprefix("certswapctl: ").strip())
    refused = done.returncode == 1 and "PAIR_MISMATCH" in done.stdout + done.stderr
    story.claim("The bad pair is refused with its reason", refused, f"PAIR_MISMATCH, exit {done.returncode}")
    proved = watched.prove(live)
    watched.finish(start)
    story.claim("nginx and Apache live: same processes, same serial", proved,
                ", ".join(f"{kind} {identity[0]}" for kind, identity in run.identities().items()))


def killed(run, watched, live):
    """Act 4: SIGKILL in the middle."""
    story.act("Act 4  certswapd is killed with SIGKILL in the middle of a swap, and started again")
    new = run.ca.issue(run.names)
    link = run.live()
    before = os.readlink(link)
    since = time.monotonic()
    watched.begin()
    run.drop(new.files())
    wait_until("the link is exchanged", lambda: os.readlink(link) != before, 15, 0.0003)
    run.agent.kill()
    on_disk = run.live_sha256()
    journal = "".join(path.read_text() for path in sorted((run.state / "journal").glob("[0-9]*.json")))
    story.line("the journal says", ", ".join(re.findall(r'"state": ?"(\w+)"', journal)) or "nothing")
    story.line("on disk", f"live -> {os.readlink(link)}, {'new' if on_disk == new.sha256 else 'old'} pair, certificate and key fit")
    story.claim("Killed in mid-swap: the pair on disk is unmixed", on_disk in (live.sha256, new.sha256),
                os.readlink(link))
    serving = {server.kind: server.shown(watched.name).sha256 for server in run.servers}
    story.line("served meanwhile", ", ".join(f"{kind}: {'new' if shown == new.sha256 else 'old' if shown == live.sha256 else '?'}"
                                             for kind, shown in serving.items()))
    began = time.monotonic()
    run.agent.start()

    def ended():
        status = run.agent.status()
        return status["state"] != "swapping" and (run.serves(new) or run.serves(live))
    wait_until("the swap is finished or undone", ended, 20, 0.02)
    took = time.monotonic() - began
    final = new if run.serves(new) else live
    agree = run.live_sha256() == final.sha256
    proved = watched.prove(final)
    watched.finish(since)
    story.claim("Started again, it finishes or undoes the swap", agree and proved,
                f"{'finished' if final is new else 'undone'} after {milliseconds(took)}")
    return final


def last_words(run, watched):
    story.act("The record")
    done = run.agent.ctl("log", "--verify")
    story.line("certswapctl log", f"--verify: {(done.stdout + done.stderr).strip()}")
    run.verify_log()
    story.claim("The audit log's chain of hashes is whole", done.returncode == 0, f"{len(run.events())} events")
    story.claim("In all of it no new connection failed", watched.failed == 0,
                f"{watched.done} of them, {watched.failed} failed")
    print()
    print(run.agent.ctl("status").stdout.rstrip())


def main():
    if "--keep" in sys.argv[1:]:
        os.environ["CERTSWAP_KEEP"] = "1"
    version = run_program(str(PROGRAMS / "certswapd"), "--version").stdout.split()[-1]
    servers = [run_program(Nginx.binary, "-v").stdout.split("/")[-1].split()[0],
               run_program(Apache.binary, "-v").stdout.split("/")[1].split()[0]]
    print(f"\n{BOLD}certswap {version}{PLAIN} with nginx {servers[0]} and Apache {servers[1]}, on 127.0.0.1, as {user()}")
    try:
        with Run("demo") as run:
            print(f"{GREY}everything is in {run.folder}{PLAIN}")
            usual_script(run)
            live, watched = begin(run)
            bare_reload(run, watched)
            drops(run, watched)
            live = pkcs12(run, watched)
            refusals(run, watched, live)
            mismatch(run, watched, live)
            live = killed(run, watched, live)
            live = neighbours(run, watched, live)
            the_day(run, watched, live)
            last_words(run, watched)
    except KeyboardInterrupt:
        print("\nInterrupted: everything that ran here has been ended.")
        return 130
    except (AssertionError, OSError) as problem:
        story.claim("The demonstration came to its end", False, str(problem).splitlines()[0])
        print(problem, file=sys.stderr)
    return story.table()


def user():
    return "root" if os.getuid() == 0 else f"an ordinary user ({os.getuid()})"


guarded(main)
