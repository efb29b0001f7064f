"""Pairs that web servers name already are taken over, under load, and given back."""
import grp
import json
import os
import pathlib
import re
import shutil
import stat
import struct
import subprocess
import unittest

from adoptsite import Lineage, Site
from case import Case, main
from harness import HOOKS, Run
from processes import run as run_program, wait_until
from webserver import Load, Prober, free_port

ALICE = 65533  # a user that somebody's ACL names
# FOLDER COMMAND...: runs it where that folder can't be written
SHUT = """mount --bind "$1" "$1"
mount -o remount,bind,ro "$1"
shift
exec "$@"
"""
# ROOT FOLDER COMMAND...: runs it in a root that has this host's programs and that folder, and nothing else
OWN_ROOT = """root=$1 folder=$2
shift 2
mount -t tmpfs none "$root"
for top in /*; do
    if [ -L "$top" ]; then cp -P "$top" "$root/"; fi
done
mkdir -p "$root/tmp" "$root$folder"
for top in /usr /etc /dev /proc /var "$folder"; do
    mkdir -p "$root$top"
    mount --bind "$top" "$root$top"
done
exec chroot "$root" "$@"
"""


NAME = "shop.example.test"


class Adopt(Case):
    def test_and_release_under_load(self):
        with Run("adopt") as run:
            site = Site(run)
            who = run.identities()
            probers = [Prober(server, run.names[0]) for server in run.servers]
            loads = [Load(server, run.names[0], run.folder) for server in run.servers]
            for load in loads:
                run.at_end(load.stop)
            plan = run.agent.ctl("adopt", "--dry-run")
            self.assertExit(plan, 0, NAME, f"{site.key} becomes a link")
            self.assertTrue(site.unlinked())
            self.assertFalse(site.conf().exists())
            self.assertExit(run.agent.ctl("adopt"), 0, "is taken over")
            live = run.live(NAME)
            self.assertEqual(os.readlink(site.certificate), f"{live}/fullchain.pem")
            self.assertEqual(os.readlink(site.key), f"{live}/privkey.pem")
            self.assertEqual(run.live_sha256(NAME), site.pair.sha256)
            self.assertEqual({c: pathlib.Path(c).read_bytes() for c in site.configs}, site.configs)
            self.assertExit(run.agent.ctl("adopt"), 0, f"{NAME} is taken over already")
            new = run.ca.issue(run.names)
            self.assertExit(run.agent.ctl("submit", *new.files()), 0)
            self.assertTrue(run.serves(new))
            self.assertExit(run.agent.ctl("release", NAME), 0, "is released")
            self.assertTrue(site.unlinked())
            self.assertEqual(site.key.read_bytes(), (live / "privkey.pem").read_bytes())
            self.assertFalse(site.conf().exists())
            self.assertEqual(list((run.state / "originals").iterdir()), [])
            self.assertEqual(json.loads(run.agent.ctl("status", "--json").stdout)["certificates"], [])
            site.servers_could_start()
            self.assertTrue(run.serves(new))
            for load in loads:
                self.assertEqual(load.stop().failed, 0)
            for prober in probers:
                prober.stop()
                self.assertEqual(prober.failed(), [])
            self.assertEqual(run.identities(), who)
            run.verify_log()

    @unittest.skipUnless(os.getuid() == 0, "owners and ACLs need root")
    def test_who_could_read_the_key_still_can(self):
        with Run("adopt-readers", servers=("nginx",)) as run:
            site = Site(run, start=False)
            shutil.chown(site.key, "root", "www-data")
            site.key.chmod(0o640)
            acl = struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in (
                (1, 6, 0xffffffff), (2, 4, ALICE), (4, 4, 0xffffffff), (16, 4, 0xffffffff), (32, 0, 0xffffffff)))
            os.setxattr(site.key, "system.posix_acl_access", acl)
            before = (os.getxattr(site.key, "system.posix_acl_access"), site.key.stat().st_gid, site.key.stat().st_mode)
            run.servers[0].start()
            run.agent.start()
            self.assertExit(run.agent.ctl("adopt", run.names[0]), 0)
            for again in range(2):  # the first generation and one that came later
                for user, group in ((ALICE, 65534), (65532, grp.getgrnam("www-data").gr_gid)):
                    self.assertEqual(run_program("setpriv", f"--reuid={user}", f"--regid={group}", "--clear-groups", "cat",
                                                 str(site.key)).stdout, site.key.read_text(), (again, user))
                other = run_program("setpriv", "--reuid=65532", "--regid=65534", "--clear-groups", "cat", str(site.key),
                                    check=False)
                self.assertNotEqual(other.returncode, 0)
                if not again:
                    self.assertExit(run.agent.ctl("submit", *run.ca.issue(run.names).files()), 0)
            self.assertExit(run.agent.ctl("release", NAME), 0)
            self.assertEqual((os.getxattr(site.key, "system.posix_acl_access"), site.key.stat().st_gid,
                              site.key.stat().st_mode), before)

    def test_what_is_left_alone(self):
        with Run("adopt-refused", servers=("nginx",)) as run:
            site = Site(run)
            site.key.chmod(0o644)
            self.assertExit(run.agent.ctl("adopt"), 1, "everybody on this host can read the key", "chmod o-r")
            site.key.chmod(0o600)
            locked = run.folder / "locked.pem"
            run_program("openssl", "pkey", "-in", str(site.key), "-aes256", "-passout", "pass:x", "-out", str(locked))
            good = site.key.read_bytes()
            site.key.write_bytes(locked.read_bytes())
            self.assertExit(run.agent.ctl("adopt"), 1, "everything is as it was", "KEY_ENCRYPTED")
            self.assertTrue(site.unlinked())
            self.assertFalse(site.conf().exists())
            site.key.write_bytes(good)
            self.assertExit(run.agent.ctl("adopt", "nobody"), 1, "names a pair that is called nobody")
            config = pathlib.Path(run.servers[0].config)
            text = config.read_text()
            config.write_text(text + "nonsense;\n")  # broken without us: nothing may be tested with it
            self.assertExit(run.agent.ctl("adopt"), 1, "everything is as it was", "nonsense")
            self.assertTrue(site.unlinked() and not site.conf().exists())
            self.assertTrue(run.serves(site.pair))

    def test_apache_that_would_not_survive_its_reload(self):
        # its own test says "Syntax OK" to that; a graceful restart would be its end
        with Run("adopt-broken", servers=("apache",)) as run:
            site = Site(run)
            identities = run.identities()
            config = pathlib.Path(run.servers[0].config)
            good = config.read_text()
            config.write_text(good + "SSLUseStapling on\n")
            self.assertExit(run.agent.ctl("adopt"), 1, "everything is as it was", "no stapling cache")
            self.assertTrue(site.unlinked() and not site.conf().exists())
            config.write_text(good)
            self.assertExit(run.agent.ctl("adopt"), 0)
            self.assertTrue(run.serves(site.pair))
            self.assertEqual(run.identities(), identities)

    def test_key_in_a_token(self):
        """There is no file to exchange: said so, and nothing is touched."""
        for kind, key, why in (("nginx", "engine:pkcs11:pkcs11:token=web;object=key", "an OpenSSL engine (engine:), not in a file"),
                               ("nginx", "engine:x:y", "an OpenSSL engine (engine:), not in a file"),
                               ("apache", "pkcs11:token=web;object=key", "a token (pkcs11:), not in a file")):
            with self.subTest(key=key), Run("adopt-token", servers=(kind,)) as run:
                site = Site(run)
                config = pathlib.Path(run.servers[0].config)
                config.write_text(config.read_text().replace(str(site.key), f'"{key}"'))
                self.assertExit(run.agent.ctl("adopt"), 1, f"{key} can't be taken over: ", why)
                self.assertTrue(site.unlinked() and not site.conf().exists())
                self.assertTrue(run.serves(site.pair))

    @unittest.skipUnless(os.getuid() == 0, "mounts need root")
    def test_server_with_a_root_of_its_own(self):
        """In a chroot, or a container without a namespace for users: its paths mean nothing here."""
        with Run("adopt-elsewhere", servers=("nginx",)) as run:
            site, server = Site(run, start=False), run.servers[0]
            root = run.folder / "its-root"
            root.mkdir()
            started = server._command()
            server._command = lambda: ("unshare", "--mount", "sh", "-ec", OWN_ROOT, "sh", str(root), str(run.folder), *started)
            server.start()
            run.agent.start()
            self.assertExit(run.agent.ctl("discover"), 0, "a root of its own", "install certswap inside of it")
            self.assertExit(run.agent.ctl("adopt"), 1, "runs in a container or chroot", "run certswapd inside")
            self.assertTrue(site.unlinked() and not site.conf().exists())
            self.assertTrue(run.serves(site.pair))

    def test_what_is_served_is_no_worse_than_itself(self):
        """A rule that the pair breaks has not kept it from being served: it is said, and what comes next must not be worse."""
        with Run("adopt-rules", servers=("nginx",)) as run:
            site = Site(run, start=False)
            expired = run.ca.issue(run.names, starts=-100 * 24)
            site.certificate.write_text(expired.fullchain)
            site.key.write_text(expired.key)
            run.servers[0].start()
            run.agent.start()
            self.assertExit(run.agent.ctl("adopt"), 0, "is taken over")
            self.assertEqual(run.live_sha256(NAME), expired.sha256)
            other = run.ca.issue(run.names).with_key(expired)
            self.assertExit(run.agent.ctl("submit", "--name", NAME, *other.files()), 1, "PAIR_MISMATCH")
            new = run.ca.issue(run.names)
            self.assertExit(run.agent.ctl("submit", *new.files()), 0)
            self.assertTrue(run.serves(new))

    def test_what_fails_afterwards_is_put_back(self):
        with Run("adopt-back", servers=("nginx",)) as run:
            hooks = run.own_programs() / "nginx"
            site = Site(run)
            test = hooks / "configtest"
            test.write_text(f"#!/bin/sh\n[ -L {site.key} ] || exit 0\necho 'the key is a link'\nexit 1\n")
            before = (site.key.stat().st_mode, site.certificate.read_bytes(), site.key.read_bytes())
            self.assertExit(run.agent.ctl("adopt"), 1, "everything is as it was", "the key is a link")
            self.assertTrue(site.unlinked() and not site.conf().exists())
            self.assertEqual((site.key.stat().st_mode, site.certificate.read_bytes(), site.key.read_bytes()), before)
            self.assertTrue(run.serves(site.pair))
            shutil.copy(HOOKS / "nginx" / "configtest", test)
            (hooks / "reload").write_text("#!/bin/sh\necho 'no reload today'\nexit 1\n")
            self.assertExit(run.agent.ctl("adopt"), 1, "everything is as it was", "no reload today")
            self.assertTrue(site.unlinked() and not site.conf().exists())
            self.assertTrue(run.serves(site.pair))

    def test_again_that_fails(self):
        """After one that was cut off everything is as it was before that one; after one that came to its end that one still holds."""
        with Run("adopt-again", servers=("nginx",)) as run:
            hooks = run.own_programs() / "nginx"
            site = Site(run)
            config = pathlib.Path(run.servers[0].config)
            good, before = config.read_text(), (site.key.stat().st_mode, site.certificate.read_bytes(), site.key.read_bytes())
            (hooks / "configtest").write_text(f"#!/bin/sh\n[ ! -L {site.key} ] || kill -9 {run.agent.process.pid}\n")
            run.agent.ctl("adopt")
            run.agent.process.wait(10)
            self.assertTrue(site.key.is_symlink())
            shutil.copy(HOOKS / "nginx" / "configtest", hooks)
            run.agent.start()
            config.write_text(good + "nonsense;\n")
            self.assertExit(run.agent.ctl("adopt", NAME), 1, "everything is as it was", "nonsense")
            self.assertTrue(site.unlinked() and not site.conf().exists())
            self.assertEqual((site.key.stat().st_mode, site.certificate.read_bytes(), site.key.read_bytes()), before)
            config.write_text(good)
            self.assertExit(run.agent.ctl("adopt"), 0, "is taken over")
            conf = site.conf().read_bytes()
            aside = site.tls / "renewed.pem"
            aside.write_bytes(before[1])
            aside.rename(site.certificate)  # as a client does that keeps its key
            for broken in ("configuration", "reload"):
                if broken == "reload":
                    (hooks / "reload").write_text("#!/bin/sh\necho 'no reload today'\nexit 1\n")
                config.write_text(good + "nonsense;\n" * (broken == "configuration"))
                self.assertExit(run.agent.ctl("adopt", NAME), 1, "everything is as it was")
                self.assertTrue(site.key.is_symlink() and not site.certificate.is_symlink(), broken)
                self.assertEqual(site.certificate.read_bytes(), before[1])
                self.assertEqual(site.conf().read_bytes(), conf)
                self.assertEqual(run.agent.status(NAME)["manage"], "swap")
                self.assertTrue(run.serves(site.pair))
            shutil.copy(HOOKS / "nginx" / "reload", hooks)
            self.assertExit(run.agent.ctl("adopt"), 0, "is taken over")
            self.assertTrue(site.key.is_symlink() and site.certificate.is_symlink())
            self.assertExit(run.agent.ctl("release", NAME), 0)
            self.assertTrue(site.unlinked() and not site.conf().exists())
            site.servers_could_start()

    def test_pair_that_comes_while_adopt_fails(self):
        """Its swap waits for the server that adopt holds, and adopt for its end."""
        with Run("adopt-meanwhile", servers=("nginx",)) as run:
            hooks = run.own_programs() / "nginx"
            site, new = Site(run), run.ca.issue(run.names)
            pair = new.file("new.pem", new.key + new.fullchain)
            (hooks / "configtest").write_text(
                f"#!/bin/sh\n[ -L {site.key} ] || exit 0\ncp {pair} {run.state}/incoming/{NAME}/new.pem\n"
                f"until [ -e {run.state}/certificates/{NAME}/gen/000002/meta.json ]; do :; done\necho 'no'\nexit 1\n")
            self.assertExit(run.agent.ctl("adopt", seconds=120), 1, "everything is as it was")
            self.assertTrue(site.unlinked() and not site.conf().exists())
            self.assertTrue(run.serves(site.pair))

    @unittest.skipUnless(os.getuid() == 0, "mounts need root")
    def test_folder_that_the_service_may_not_write(self):
        """What certswapd.service shuts looks like a read-only filesystem, to certswapd alone."""
        with Run("adopt-shut", servers=("nginx",)) as run:
            site = Site(run, start=False)
            run.servers[0].start()
            run.agent.start(tracer=("unshare", "--mount", "sh", "-ec", SHUT, "sh", str(site.tls)))
            self.assertExit(run.agent.ctl("adopt"), 1, "everything is as it was", f"ReadWritePaths={site.tls}")
            self.assertTrue(site.unlinked() and not site.conf().exists())
            self.assertTrue(run.serves(site.pair))

    def test_one_file_for_both_and_parameters(self):
        """Apache's one file of key, certificate, chain and DH parameters."""
        with Run("adopt-combined", servers=("apache",)) as run:
            site = Site(run, start=False)
            dh = run_program("openssl", "dhparam", "-dsaparam", "1024", stderr=subprocess.DEVNULL).stdout
            site.certificate.write_text(site.pair.key + site.pair.fullchain + dh)
            site.certificate.chmod(0o600)
            config = pathlib.Path(run.servers[0].config)
            config.write_text(re.sub(r" *SSLCertificateKeyFile .*\n", "", config.read_text()))
            run.servers[0].start()
            run.agent.start()
            self.assertExit(run.agent.ctl("adopt"), 0, "1 file became")
            self.assertTrue(os.readlink(site.certificate).endswith("/live/combined.pem"))
            self.assertIn("DH PARAMETERS", site.certificate.read_text())
            new = run.ca.issue(run.names)
            self.assertExit(run.agent.ctl("submit", *new.files()), 0)
            self.assertTrue(run.serves(new))
            self.assertExit(run.agent.ctl("release", NAME), 0)
            self.assertIn(new.cert, site.certificate.read_text())

    def test_observe_first(self):
        with Run("adopt-observe", servers=("nginx",)) as run:
            site = Site(run)
            self.assertExit(run.agent.ctl("adopt", "--observe"), 0, "is observed")
            self.assertTrue(site.unlinked())
            self.assertEqual(run.agent.status(NAME)["manage"], "observe")
            self.assertExit(run.agent.ctl("adopt"), 0, "is taken over")
            self.assertEqual(run.agent.status(NAME)["manage"], "swap")
            self.assertFalse(site.unlinked())

    def test_plain_port_beside_it(self):
        """A port that speaks no TLS owes nobody a certificate."""
        with Run("adopt-plain", servers=("nginx",)) as run:
            site, port = Site(run, start=False), free_port()
            config = pathlib.Path(run.servers[0].config)
            config.write_text(config.read_text().replace("    server {", f"    server {{ listen 127.0.0.1:{port}; }}\n    server {{", 1))
            run.servers[0].start()
            run.agent.start()
            self.assertExit(run.agent.ctl("adopt"), 0)
            places = {(p["endpoint"], p["server_name"]): (p["owed"], p["sha256"]) for p in run.agent.status(NAME)["served"]}
            self.assertEqual(places[f"127.0.0.1:{port}", NAME], (False, None))
            self.assertEqual(places[f"127.0.0.1:{run.servers[0].port}", NAME], (True, site.pair.sha256))
            self.assertRegex(run.agent.ctl("status").stdout, NAME + r" +ok +\S+ yes")
            self.assertIn(f'certswap_certificate_served{{certificate="{NAME}"}} 1', run.agent.ctl("metrics").stdout)

    def test_original_bytes(self):
        with Run("adopt-original", servers=("nginx",)) as run:
            site = Site(run)
            self.assertExit(run.agent.ctl("adopt"), 0)
            new = run.ca.issue(run.names)
            self.assertExit(run.agent.ctl("submit", *new.files()), 0)
            self.assertExit(run.agent.ctl("release", NAME, "--original"), 2)
            self.assertExit(run.agent.ctl("release", NAME, "--original", "--why", "test"), 0)
            self.assertEqual(site.certificate.read_text(), site.pair.fullchain)
            wait_until("the old pair is served", lambda: run.serves(site.pair))
            self.assertExit(run.agent.ctl("adopt"), 0)
            self.assertExit(run.agent.ctl("notice", NAME, "--case", "c", "--yes"), 1)
            self.assertExit(run.agent.ctl("submit", *run.ca.issue(run.names).files()), 0)
            done = run.agent.ctl("release", NAME, "--original", "--why", "test")
            self.assertExit(done, 1, "not released", "release without --original")
            self.assertFalse(site.unlinked())
            self.assertExit(run.agent.ctl("release", NAME), 0)

    def test_acme_sh_writes_through_the_link(self):
        with Run("adopt-through", servers=("nginx",)) as run:
            site = Site(run)
            self.assertExit(run.agent.ctl("adopt"), 0)
            new = run.ca.issue(run.names)
            for path, text in ((site.key, new.key), (site.certificate, new.fullchain)):  # as --install-cert does
                source = run.folder / "new.pem"
                source.write_text(text)
                run_program("sh", "-c", f"cat {source} > {path}")
            run.wait_served(new)
            self.assertEqual(run.live_sha256(NAME), new.sha256)
            self.assertTrue(site.certificate.is_symlink())


class Clients(Case):
    """Trees of ACME clients: never touched; the directives are changed."""

    @staticmethod
    def picture(top):
        return {str(p): (os.readlink(p) if p.is_symlink() else p.read_bytes() if p.is_file() else None, p.lstat().st_mode)
                for p in sorted(top.rglob("*"))}

    def test_certbot(self):
        with Run("adopt-certbot", servers=("nginx",)) as run:
            site = Site(run, start=False)
            lineage = Lineage(run, site)
            top, include, config = lineage.top, lineage.include, lineage.config
            before = (config.read_bytes(), include.read_bytes(), stat.S_IMODE(include.stat().st_mode))
            tree = self.picture(top)
            run.servers[0].start()
            run.agent.start()
            load = Load(run.servers[0], run.names[0], run.folder)
            run.at_end(load.stop)
            self.assertExit(run.agent.ctl("adopt", "--skip-client"), 0, "2 directives were changed")
            live = run.live("shop")
            self.assertEqual(include.read_text(), f"ssl_certificate_key {live}/privkey.pem; # the key\n")
            self.assertEqual(stat.S_IMODE(include.stat().st_mode), 0o640)
            self.assertIn(f"ssl_certificate {live}/fullchain.pem;", config.read_text())
            conf = (run.folder / "certificates.d" / "shop.conf").read_text()
            self.assertIn(f'watch = [ "{top}/live/shop" ];', conf)
            if shutil.which("certbot"):
                self.assertIn('"renew", "--cert-name", "shop", "--force-renewal"', conf)
            new = run.ca.issue(run.names)
            lineage.renewed(new, 2)  # comes in through `watch`
            run.wait_served(new)
            renewed = self.picture(top)
            self.assertExit(run.agent.ctl("release", "shop"), 0)
            self.assertEqual((config.read_bytes(), include.read_bytes(), stat.S_IMODE(include.stat().st_mode)), before)
            self.assertTrue(run.serves(new))
            self.assertEqual(self.picture(top), renewed)
            self.assertEqual({k: v for k, v in renewed.items() if "archive" in k and k in tree},
                             {k: v for k, v in tree.items() if "archive" in k})
            self.assertEqual(load.stop().failed, 0)

    def test_shared_file(self):
        """A chain file that two pairs name stays one: their directives are changed."""
        with Run("adopt-shared", certificates={"a": ["a.example.test"], "b": ["b.example.test"]}, servers=("apache",)) as run:
            pairs, chain = {}, run.folder / "chain.pem"
            chain.write_text(run.ca.chain)
            config = pathlib.Path(run.servers[0].config)
            text = config.read_text()
            for name, names in run.certificates.items():
                folder = run.folder / "tls" / name
                folder.mkdir(parents=True)
                pairs[name] = run.ca.issue(names)
                (folder / "c.pem").write_text(pairs[name].cert)
                (folder / "k.pem").write_text(pairs[name].key)
                (folder / "k.pem").chmod(0o600)
                live = run.live(name)
                text = text.replace(f"{live}/fullchain.pem", f"{folder}/c.pem\n    SSLCertificateChainFile {chain}")
                text = text.replace(f"{live}/privkey.pem", f"{folder}/k.pem")
            config.write_text(text)
            conf = run.config.read_text()
            run.config.write_text(conf[:conf.index("certificates = (")])
            run.servers[0].start()
            run.agent.start()
            self.assertExit(run.agent.ctl("adopt"), 0, "a.example.test is taken over", "b.example.test is taken over")
            self.assertEqual(chain.read_text(), run.ca.chain)
            for name, names in run.certificates.items():
                new = run.ca.issue(names)
                self.assertExit(run.agent.ctl("submit", "--name", names[0], *new.files()), 0)
                self.assertEqual(run.servers[0].shown(names[0]).sha256, new.sha256)


main()
