"""nginx and Apache with three certificates, and what must hold on them whatever happened to certswapd."""
import hashlib
import json
import os
import pathlib
import re
import ssl
import time

import harness
from harness import Run
from lockstep import Lockstep
from processes import Late, alive, children_of, command_of, run as run_program, stat_of, wait_until

NAMES = {"shop": ["shop.example.test", "www.shop.example.test"], "blog": ["blog.example.test"], "wiki": ["wiki.example.test"]}
SPARES = 5               # workers that wait for work when there is none
IDLE_SECONDS = 3         # nothing moved for so long: nothing will. In a swap no worker is started that would move
FINAL_SECONDS = 90.0     # a busy machine is no fault


class Broken(AssertionError):
    """Something that must always hold does not."""


def demand(condition, what):
    if not condition:
        raise Broken(what)


def fits_together(generation):
    """SHA-256 of the leaf in a generation; Broken where certificate and key do not fit in each form that servers read."""
    for cert, key in (("fullchain.pem", "privkey.pem"), ("cert.pem", "privkey.pem"), ("combined.pem", "combined.pem")):
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(generation / cert, generation / key)
        except (OSError, ssl.SSLError) as problem:
            raise Broken(f"{generation}: {cert} with {key}: {problem}") from None
    leaf = (generation / "cert.pem").read_text()
    demand((generation / "fullchain.pem").read_text().startswith(leaf), f"{generation}: fullchain.pem holds another leaf")
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(leaf)).hexdigest()


def turns_of(pid):
    """Another text whenever the process did something."""
    try:
        return pathlib.Path(f"/proc/{pid}/status").read_text().partition("voluntary_ctxt_switches")[2]
    except OSError:
        return ""


def descriptors_of(run):
    """How many certswapd has. A spare worker's socket may be there or not; a connection to the control socket takes a moment to
    close. The parent of each server is kept, once it is known, and one for each child."""
    children = len(children_of(run.agent.process.pid))
    folder, found = f"/proc/{run.agent.process.pid}/fd", []
    for fd in os.listdir(folder):
        try:
            found.append(os.readlink(f"{folder}/{fd}"))
        except FileNotFoundError:
            continue
    return len(found) - min(found.count("anon_inode:[pidfd]"), children + len(run.servers))


class Scene(Run):
    """A Run on which swap after swap is begun."""
    good = ("shop", "blog")  # get a good pair in every drop
    bad = "wiki"             # gets a certificate with somebody else's key; None: none does
    outcome = "new"          # of a swap without a fault
    warm = 4                 # swaps before they are counted: from the fifth on each removes an old generation

    def __init__(self, name):
        super().__init__(name, NAMES)
        self.trace = None
        self.drops = 0
        self.wanted, self.bad_digest, self.rejected_before = {}, None, set()  # of the drop that is under way

    def __enter__(self):
        super().__enter__()
        self.prepare()
        self.trace = self.folder / "trace"
        self.agent.start()
        self.begin()
        self.current = dict(self.first)  # what is live, by certificate
        self.mismatched = self.ca.issue(NAMES["wiki"])  # its own key is never shown to certswapd
        self.masters = self.identities()
        self.wait_final()
        self.wait_spares()
        self.descriptors = descriptors_of(self)
        return self

    def wait_spares(self):
        """Each swap begins with as many workers that wait for work."""
        wait_until("the spare workers are there", lambda: len(children_of(self.agent.process.pid)) == SPARES, 60)

    def prepare(self):
        """Before certswapd starts for the first time."""

    # --- a drop: the good pairs and the bad one

    def begin_swap(self):
        """A drop, and what it takes to the first record of its transaction, in the same order each time."""
        steps = Lockstep(self.agent.process.pid)
        steps.stop_daemon()
        self.drop_all()
        steps.run(self.journal_states)

    def drop_all(self):
        """One after the other at once; the bad one is closed last."""
        self.drops += 1
        self.rejected_before = set(self.rejected())
        self.wanted = {name: self.ca.issue(NAMES[name]) for name in self.good}
        for name, pair in self.wanted.items():
            self.drop([pair.file("pair.pem", pair.key + pair.fullchain)], name)
        if self.bad:
            self._drop_bad()

    def _drop_bad(self):
        text = f"# drop {self.drops}\n{self.first[self.good[0]].key}{self.mismatched.fullchain}"
        source = self.folder / f"bad-{self.drops}.pem"
        source.write_text(text)
        self.bad_digest = hashlib.sha256(text.encode()).hexdigest()
        self.drop([source], self.bad)
        source.unlink()

    # --- is something under way?

    def _pending(self):
        """Files and records of work that is not done."""
        found = [p for box in [self.state / "incoming", *(self.state / "incoming" / name for name in NAMES)]
                 for p in box.iterdir() if not p.is_dir()]
        found += list((self.state / "work").iterdir())
        found += [p for p in (self.state / "journal").iterdir() if p.name != ".reserve"]
        return found

    def _busy_children(self):
        """All but the workers that wait for work: so many of them at most, and never one that computes."""
        every = [pid for pid in children_of(self.agent.process.pid) if alive(pid)]
        spare = [pid for pid in every if "certswap-worker" in command_of(pid) and (stat_of(pid) or "Z")[0] == "S"]
        return [pid for pid in every if pid not in spare[:SPARES]]

    def _motion(self):
        """Changes as long as the daemon does something."""
        seen = []
        for file in (self.trace, self.agent.log_file(), self.state / "audit.jsonl"):
            try:
                seen.append(file.stat().st_size)
            except OSError:
                seen.append(0)
        return (*seen, turns_of(self.agent.process.pid)), tuple(self._busy_children())

    def wait_end(self, seconds=FINAL_SECONDS, idle=IDLE_SECONDS):
        """Waits for the end of certswapd ("died") or of all that it does ("settled"; "idle": something is left undone, and for
        so long nothing has moved)."""
        seen = {"motion": None, "since": 0.0}

        def over():
            if not self.agent.running():
                return "died"
            motion, now = self._motion(), time.monotonic()
            if motion != seen["motion"]:
                seen.update(motion=motion, since=now)
            if motion[1]:
                return None
            if now - seen["since"] >= idle:
                return "idle"
            return "settled" if now - seen["since"] >= 0.1 and not self._pending() else None
        return wait_until("the end of all that certswapd does", over, seconds, 0.02)

    def _bad_is_kept(self):
        for folder in sorted((self.state / "rejected").iterdir(), reverse=True)[:12]:
            for file in folder.iterdir():
                if file.name != "why.txt" and hashlib.sha256(file.read_bytes()).hexdigest() == self.bad_digest:
                    return True
        return False

    # --- what must hold at every moment

    def live_now(self, name):
        return fits_together(self.live(name).resolve())

    def may_show(self, name):
        return {pair.sha256 for pair in (self.current[name], self.wanted.get(name)) if pair}

    def shown_by(self, server, name, dns):
        try:
            sha256 = server.shown(dns).sha256
        except OSError as problem:
            raise Broken(f"{server.kind} does not answer for {dns}: {problem}") from None
        demand(sha256 in self.may_show(name), f"{server.kind} shows neither the old nor the new certificate of {name}")
        return sha256

    def check_moment(self):
        """At any time, certswapd alive or dead. Returns "old", "new" or "between": what the links say."""
        live = {}
        for name in NAMES:
            demand(self.live(name).is_symlink(), f"{name}: live is no link")
            live[name] = self.live_now(name)
            demand(live[name] in self.may_show(name), f"{name}: live is neither the old nor the new pair")
            for server in self.servers_of(name):
                for dns in NAMES[name]:
                    self.shown_by(server, name, dns)
        demand(self.identities() == self.masters, f"the servers' parents were {self.masters}, are {self.identities()}")
        self._check_restart()
        self._check_keys()
        turned = sum(live[name] != self.current[name].sha256 for name in self.good)
        return "old" if not turned else "new" if turned == len(self.good) else "between"

    def _check_restart(self):
        """The servers would start with what is on disk."""
        for server in (server for server in self.servers if server.kind in ("nginx", "apache")):
            done = run_program(*server._command("-t"), check=False)
            demand(done.returncode == 0, f"{server.kind} would not start again: {done.stdout}")

    def _check_keys(self):
        """No private key but below the state folder, and there no generation's key for others to read."""
        for folder, folders, files in os.walk(self.folder):
            folders[:] = [f for f in folders if pathlib.Path(folder, f) not in (self.state, self.folder / "ca")]
            for file in files:
                path = pathlib.Path(folder, file)
                if path.is_file() and path != self.trace:
                    demand(not re.search(rb"-----BEGIN [A-Z ]*PRIVATE KEY", path.read_bytes()), f"a private key in {path}")
        for file in self.state.glob("certificates/*/gen/*/*"):
            if file.name in ("privkey.pem", "combined.pem"):
                demand(file.stat().st_mode & 0o077 == 0, f"{file} can be read by others")

    def is_new_shown(self):
        """Does a server show a pair of this drop?"""
        return any(server.shown(NAMES[name][0]).sha256 == self.wanted[name].sha256
                   for name in self.good for server in self.servers_of(name))

    def journal_states(self):
        """What the journal says of the swaps that are under way."""
        return {json.loads(file.read_text())["state"] for file in (self.state / "journal").glob("[0-9]*.json")}

    # --- what must hold once certswapd has been started again

    def statuses(self):
        done = self.agent.ctl("status", "--json")
        demand(done.returncode in (0, 1), f"certswapctl status: exit {done.returncode}: {done.stderr}")
        return {c["name"]: c for c in json.loads(done.stdout)["certificates"]}

    def _not_final(self):
        if not self.agent.running():
            raise Broken(f"certswapd ended with {self.agent.process.returncode}: {self.agent.log()[-1500:]}")
        rest = self._pending()
        if rest:
            return "left: " + ", ".join(str(p.relative_to(self.state)) for p in rest)
        if self._busy_children():
            return "children: " + ", ".join(command_of(pid) for pid in self._busy_children())
        states = {name: c["state"] for name, c in self.statuses().items()}
        return "" if set(states.values()) <= {"ok", "waiting"} else f"states: {states}"

    def wait_final(self, seconds=FINAL_SECONDS):
        try:
            wait_until("a final state", lambda: not self._not_final(), seconds, 0.03)
        except Late:
            raise Broken(f"no final state within {seconds:g} s: {self._not_final()}") from None

    def check_descriptors(self):
        try:
            wait_until("descriptors are closed", lambda: descriptors_of(self) <= self.descriptors, 5)
        except Late:
            folder = f"/proc/{self.agent.process.pid}/fd"
            raise Broken(f"{descriptors_of(self)} descriptors, there were {self.descriptors}: "
                         + ", ".join(os.readlink(f"{folder}/{fd}") for fd in os.listdir(folder))) from None

    def _strangers(self):
        """Programs of ours without a daemon above them."""
        guard = int(os.environ["CERTSWAP_GUARD"])
        own = {self.agent.process.pid, *children_of(self.agent.process.pid)} if self.agent.running() else set()
        return [pid for pid in children_of(guard)
                if pid not in own and alive(pid) and str(harness.PROGRAMS) in command_of(pid)]

    def check_orphans(self, seconds=15.0):
        try:
            wait_until("all children of certswapd are gone", lambda: not self._strangers(), seconds)
        except Late:
            raise Broken("left running: " + ", ".join(command_of(pid) for pid in self._strangers())) from None

    def check_end(self):
        """After the start that follows a fault, in a final state. Returns "new" or "undone"; the next swap begins from here."""
        outcome = "new"
        states = self.statuses()
        for name in NAMES:
            live = self.live_now(name)
            for server in self.servers_of(name):
                for dns in NAMES[name]:
                    demand(self.shown_by(server, name, dns) == live,
                           f"{server.kind} shows for {dns} another certificate than the live one of {name}")
            new = self.wanted.get(name)
            if new and live != new.sha256:
                outcome = "undone"
                why = states[name]["last_swap"]["reason"] or any(new.serial in text for text in self.rejected().values())
                demand(why or self._file_is_rejected(new),
                       f"{name}: the good pair is neither live nor refused with a reason: lost")
            elif new:
                self.current[name] = new
                said = [why for folder, why in self.rejected().items()
                        if folder not in self.rejected_before and folder.endswith("-pair.pem")]
                demand(not said, f"{name}: the good pair is live, and its file was refused: {said}")
        if self.bad_digest:
            demand(self._bad_is_kept(), "the bad pair is not in rejected/")
        self._check_leftovers()
        self.check_descriptors()
        self.check_orphans()
        done = self.agent.ctl("log", "--verify")
        demand(done.returncode == 0, f"certswapctl log --verify: {done.stdout}{done.stderr}")
        self.wanted, self.bad_digest = {}, None
        return outcome

    def _file_is_rejected(self, pair):
        return any(pair.cert in file.read_text(errors="replace")
                   for file in self.state.glob("rejected/*/*") if file.name != "why.txt")

    def _check_leftovers(self):
        for name in NAMES:
            folder = self.state / "certificates" / name
            odd = [p.name for p in folder.iterdir()
                   if p.name not in ("live", "gen", "standby", "standby.json", "pending", "last-swap.json", "adopt.json")]
            demand(not odd, f"left in certificates/{name}: {odd}")
            for generation in (folder / "gen").iterdir():
                demand((generation / "meta.json").exists(), f"left without meta.json: {generation}")
                odd = [p.name for p in generation.iterdir() if p.name.startswith(".")]
                demand(not odd, f"left in {generation}: {odd}")
