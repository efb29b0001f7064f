"""What lies in a client's folder between two files: nothing happens until certificate, key and chain are there, whatever
the order and the pauses; and then it happens."""
import itertools
import os
import pathlib
import signal
import time

from acme import WatchRun
from authority import Authority
from case import Case, main
from looks import Looks
from processes import wait_until

KINDS = ("cert", "chain", "fullchain", "privkey")
MONTHS = 30


def put(path, text):
    """Writes a file in place, as most clients do."""
    with open(path, "w", encoding="ascii") as out:
        out.write(text)


def turn(link, target):
    """Links anew as certbot does: away with the old one, then the new one."""
    link.unlink(missing_ok=True)
    link.symlink_to(target)


class Half(Case):
    def watching(self, name, **more):
        return WatchRun(name, {"shop": "client"}, **more)

    def started(self, run, folder=True):
        if folder:
            run.watched().mkdir()
        run.agent.start()

    def with_first(self, run):
        """The first pair came by hand, the server runs; the folder is there and empty."""
        self.started(run)
        return run.begin()

    def untouched(self, run, pair):
        self.assertEqual(run.live_sha256(), pair.sha256)
        self.assertTrue(run.serves(pair))
        self.assertEqual(run.refusals(""), [])

    def swapped(self, run, pair, since):
        run.wait_served(pair)
        run.wait_result("committed", since)
        self.assertEqual(run.live_sha256(), pair.sha256)
        self.assertEqual(run.refusals(""), [])

    def test_certificate_now_key_later(self):
        with self.watching("cert-first") as run:
            first = self.with_first(run)
            since = run.agent.status()["last_swap"]
            pair = run.ca.issue(run.names)
            with Looks(run.agent, run.watched()) as looks:
                looks.after(lambda: put(run.watched() / "site.crt", pair.fullchain))
                self.untouched(run, first)
                put(run.watched() / "site.key", pair.key)
            self.swapped(run, pair, since)

    def test_new_certificate_beside_the_old_key(self):
        with self.watching("old-key") as run:
            first = self.with_first(run)
            since = run.agent.status()["last_swap"]
            pair = run.ca.issue(run.names)
            with Looks(run.agent, run.watched()) as looks:
                looks.after(lambda: put(run.watched() / "site.key", first.key))
                looks.after(lambda: put(run.watched() / "site.crt", pair.fullchain))
                self.untouched(run, first)
                put(run.watched() / "site.key", pair.key)
            self.swapped(run, pair, since)

    def archive(self, run, number, pair):
        for kind, text in zip(KINDS, (pair.cert, pair.chain, pair.fullchain, pair.key)):
            put(run.folder / f"archive/{kind}{number}.pem", text)

    def test_links_turned_one_by_one(self):
        with self.watching("links") as run:
            (run.folder / "archive").mkdir()
            served = self.with_first(run)
            self.archive(run, 1, served)
            for kind in KINDS:
                turn(run.watched() / f"{kind}.pem", f"../archive/{kind}1.pem")
            orders = list(itertools.permutations(KINDS))[::5]
            with Looks(run.agent, run.watched(), run.folder / "archive") as looks:
                for number, order in enumerate(orders, 2):
                    since = run.agent.status()["last_swap"]
                    pair = run.ca.issue(run.names)
                    self.archive(run, number, pair)
                    for kind in order:
                        looks.after(lambda: turn(run.watched() / f"{kind}.pem", f"../archive/{kind}{number}.pem"))
                        self.assertIn(run.live_sha256(), (served.sha256, pair.sha256))
                    self.swapped(run, pair, since)
                    served = pair

    def byte_by_byte(self, run, pair, names):
        """The files one after the other, a byte a write; in between something else in the folder changes and the agent
        looks at what is there so far."""
        with Looks(run.agent, run.watched()) as looks:
            for name, text in names:
                with open(run.watched() / name, "wb", buffering=0) as out:
                    for at, byte in enumerate(text.encode()):
                        out.write(bytes([byte]))
                        if at % 150 == 149:
                            looks.after((run.watched() / f"{name}-lock-{at}").touch)

    def test_first_pair_byte_by_byte(self):
        with self.watching("bytes-first") as run:
            self.started(run)
            pair = run.ca.issue(run.names)
            self.byte_by_byte(run, pair, (("privkey.pem", pair.key), ("fullchain.pem", pair.fullchain)))
            run.wait_live(pair)
            self.assertEqual(run.refusals(""), [])

    def test_renewal_byte_by_byte_from_another_issuer(self):
        with self.watching("bytes") as run:
            self.with_first(run)
            since = run.agent.status()["last_swap"]
            other = Authority(run.folder / "other", "Other")
            roots = pathlib.Path(run.ca.root)
            roots.write_text(roots.read_text() + pathlib.Path(other.root).read_text())
            pair = other.issue(run.names)
            self.byte_by_byte(run, pair, (("privkey.pem", pair.key), ("fullchain.pem", pair.fullchain)))
            self.swapped(run, pair, since)

    def test_chain_in_a_file_of_its_own_comes_last(self):
        with self.watching("chain-last") as run:
            self.started(run)
            pair = run.ca.issue(run.names)
            with Looks(run.agent, run.watched()) as looks:
                for name, text in (("privkey.pem", pair.key), ("cert.pem", pair.cert)):
                    looks.after(lambda: put(run.watched() / name, text))
                self.assertNotIn(b'"refused"', (run.state / "audit.jsonl").read_bytes())
                put(run.watched() / "chain.pem", pair.chain)
            run.wait_live(pair)
            self.assertEqual(run.refusals(""), [])

    def test_chain_that_never_comes(self):
        with self.watching("chainless") as run:
            self.started(run)
            pair = run.ca.issue(run.names)
            put(run.watched() / "privkey.pem", pair.key)
            put(run.watched() / "cert.pem", pair.cert)
            wait_until("the pair is refused", lambda: run.refusals("CHAIN_INCOMPLETE"), 40)
            put(run.watched() / "chain.pem", pair.chain)  # it is not forgotten
            run.wait_live(pair)
            self.assertEqual(len(run.refusals("")), 1)

    def test_swapped_between_file_names(self):
        with self.watching("names") as run:
            self.with_first(run)
            for one, other in (("a.pem", "b.pem"), ("b.pem", "a.pem"), ("privkey.pem", "fullchain.pem")):
                since = run.agent.status()["last_swap"]
                pair = run.ca.issue(run.names)
                put(run.watched() / one, pair.fullchain)
                put(run.watched() / other, pair.key)
                self.swapped(run, pair, since)

    def test_empty_files_first(self):
        with self.watching("empty") as run:
            first = self.with_first(run)
            since = run.agent.status()["last_swap"]
            pair = run.ca.issue(run.names)
            with Looks(run.agent, run.watched()) as looks:
                for name in ("site.crt", "site.key"):
                    looks.after((run.watched() / name).touch)
                self.untouched(run, first)
                looks.after(lambda: put(run.watched() / "site.key", pair.key[:100]))
                self.untouched(run, first)
            put(run.watched() / "site.key", pair.key)
            put(run.watched() / "site.crt", pair.fullchain)
            self.swapped(run, pair, since)

    def test_queue_of_events_overflows_during_a_renewal(self):
        with self.watching("overflow") as run:
            self.with_first(run)
            since = run.agent.status()["last_swap"]
            pair = run.ca.issue(run.names)
            most = int(pathlib.Path("/proc/sys/fs/inotify/max_queued_events").read_text())
            run.agent.process.send_signal(signal.SIGSTOP)
            try:
                # made and removed: two events each, and no two alike in a row, which would count as one
                for number in range(most // 2 + 100):
                    (run.watched() / f"flood-{number % 7}").symlink_to("nowhere")
                    (run.watched() / f"flood-{number % 7}").unlink()
                put(run.watched() / "site.crt", pair.fullchain)
                put(run.watched() / "site.key", pair.key)
            finally:
                run.agent.process.send_signal(signal.SIGCONT)
            self.swapped(run, pair, since)

    def test_folder_replaced_by_rename(self):
        with self.watching("folder") as run:
            self.with_first(run)
            since = run.agent.status()["last_swap"]
            for number in range(2):
                pair = run.ca.issue(run.names)
                aside = run.folder / "client.new"
                aside.mkdir()
                put(aside / "fullchain.pem", pair.fullchain)
                put(aside / "privkey.pem", pair.key)
                run.watched().rename(run.folder / f"client.old{number}")
                aside.rename(run.watched())
                self.swapped(run, pair, since)
                since = run.agent.status()["last_swap"]

    # As Kubernetes mounts a secret: links through ..data, which is turned in one step.
    def test_folder_linked_through_dots(self):
        with self.watching("dots") as run:
            self.with_first(run)
            for name in ("tls.crt", "tls.key"):
                (run.watched() / name).symlink_to(f"..data/{name}")
            for number in range(2):
                since = run.agent.status()["last_swap"]
                pair = run.ca.issue(run.names)
                (run.watched() / f"..{number}").mkdir()
                put(run.watched() / f"..{number}/tls.crt", pair.fullchain)
                put(run.watched() / f"..{number}/tls.key", pair.key)
                (run.watched() / "..data_tmp").symlink_to(f"..{number}")
                os.rename(run.watched() / "..data_tmp", run.watched() / "..data")
                self.swapped(run, pair, since)

    def test_client_that_has_not_run_yet(self):
        with self.watching("not-yet") as run:
            run._folders["shop"] = "etc/letsencrypt/live/shop"
            run.write_config()
            self.started(run, folder=False)
            pair = run.ca.issue(run.names)
            run.watched().mkdir(parents=True)
            put(run.watched() / "fullchain.pem", pair.fullchain)
            put(run.watched() / "privkey.pem", pair.key)
            run.wait_live(pair)

    # lego keeps all of its certificates in one folder; each is for one name here, and none for the other.
    def test_folder_shared_by_certificates(self):
        two = {"shop": ["shop.example.test"], "mail": ["mail.example.test"]}
        folders = {"shop": "client", "mail": "client"}
        with WatchRun("shared", folders, certificates=two) as run:
            run.watched().mkdir()
            pairs = {name: run.ca.issue(names) for name, names in two.items()}
            for name, pair in pairs.items():
                put(run.watched() / f"{name}.crt", pair.fullchain)
                put(run.watched() / f"{name}.key", pair.key)
            run.agent.start()
            for name, pair in pairs.items():
                run.wait_live(pair, name)
            self.assertEqual(run.refusals(""), [])

    # dehydrated never removes a certificate: after years the newest one is among many.
    def test_folder_with_what_came_before(self):
        with self.watching("years") as run:
            run.watched().mkdir()
            old = run.ca.issue(run.names)
            for month in range(MONTHS):
                stamp = 1600000000 + month * 30 * 86400
                for kind, text in zip(KINDS, (old.cert, old.chain, old.fullchain, old.key)):
                    put(run.watched() / f"{kind}-{stamp}.pem", text)
                put(run.watched() / f"cert-{stamp}.csr", "not read\n")
            run.agent.start()
            run.wait_live(old)
            run.by_kind["nginx"].start()
            since = run.agent.status()["last_swap"]
            pair = run.ca.issue(run.names)
            for kind, text in zip(KINDS, (pair.cert, pair.chain, pair.fullchain, pair.key)):
                put(run.watched() / f"{kind}-1800000000.pem", text)
            for kind in KINDS:
                turn(run.watched() / f"{kind}.pem", f"{kind}-1800000000.pem")
            self.swapped(run, pair, since)

    # Some CAs let every certificate of a day begin at midnight. The one that came later goes live, and what it replaced
    # does not come back, though it still lies in the folder and is no older.
    def test_two_pairs_that_began_in_the_same_second(self):
        with self.watching("midnight") as run:
            self.started(run)
            hour = int(time.time()) // 3600 * 3600 - 3600
            with Looks(run.agent, run.watched()) as looks:
                for number in range(2):
                    pair = run.ca.issue(run.names, starts=(hour + 0.5 - time.time()) / 3600)
                    put(run.watched() / f"cert{number}.pem", pair.fullchain)
                    looks.after(lambda: put(run.watched() / f"key{number}.pem", pair.key))
                    run.wait_live(pair)
                    if number == 0:
                        run.servers[0].start()
                run.wait_served(pair)
                for number in range(3):
                    looks.after((run.watched() / f"again{number}").touch)
                    self.assertEqual(run.live_sha256(), pair.sha256)
            self.assertEqual(len([e for e in run.events() if e["event"] == "swap-ended"]), 2)

    def offered(self, run, looks, pair):
        put(run.watched() / "privkey.pem", pair.key)
        looks.after(lambda: put(run.watched() / "fullchain.pem", pair.fullchain))

    # The client's folder still holds the pair that a person took out of service: it holds until something younger comes.
    def test_rollback_by_hand_holds(self):
        with self.watching("rollback") as run:
            first = self.with_first(run)
            with Looks(run.agent, run.watched()) as looks:
                self.offered(run, looks, run.ca.issue(run.names))
                self.assertExit(run.agent.ctl("rollback", "shop"), 0)
                self.assertTrue(run.serves(first))
                for number in range(3):
                    looks.after((run.watched() / f"again{number}").touch)
                    self.untouched(run, first)
                younger = run.ca.issue(run.names)
                self.offered(run, looks, younger)
            run.wait_served(younger)

    # The standby is older than what the notice is about, and that still lies in the client's folder.
    def test_noticed_certificate_does_not_come_back(self):
        with self.watching("noticed") as run:
            self.with_first(run)
            standby, noticed = run.ca.issue(run.names), run.ca.issue(run.names)
            with Looks(run.agent, run.watched()) as looks:
                self.offered(run, looks, noticed)
                run.wait_served(noticed)
                self.assertExit(run.agent.ctl("standby", "shop", *standby.files()), 0)
                self.assertExit(run.agent.ctl("notice", "shop", "--case", "l", "--yes"), 0)
                self.assertTrue(run.serves(standby))
                for number in range(3):
                    looks.after((run.watched() / f"again{number}").touch)
                    self.assertEqual(run.live_sha256(), standby.sha256)
                self.assertTrue(run.serves(standby))
                good = run.ca.issue(run.names)
                self.offered(run, looks, good)
            run.wait_served(good)


main()
