"""Random configurations that a real server runs: what `discover` says of each against what handshakes show.
--rounds N: so many of each server. --seed N: begin there; a failure names its seed."""
import json
import os
import pathlib
import random
import shutil
import subprocess
import sys

import claims
from case import Case, main
from harness import PROGRAMS, Run
from processes import run as run_program, wait_until
from randomconf import HOSTS, NAMES, ApacheWriter, NginxWriter, Pool
from webserver import APACHE_MODULES, free_port

ROUNDS, SEED = 4, 1
NGINX = """
{user}
pid {folder}/nginx.pid; error_log {folder}/error.log;
events {{ }}
http {{
    access_log off; server_names_hash_bucket_size 128;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
{text}}}
"""
APACHE = """
ServerRoot {folder}
PidFile {folder}/apache.pid
ErrorLog {folder}/error.log
{user}
LoadModule mpm_event_module {modules}/mod_mpm_event.so
LoadModule authz_core_module {modules}/mod_authz_core.so
LoadModule ssl_module {modules}/mod_ssl.so
LoadModule macro_module {modules}/mod_macro.so
StartServers 1
SSLSessionCache none
{text}"""
MORE_NAMES = ["re1.a.test", "www.a.net", "q.b.test", "deep.www.a.test", "main.test", "localhost"]


class Claims(Case):

    def pool(self, run):
        pairs = {}
        for i in range(7):
            kind = "rsa" if i < 3 else "ecdsa"
            pairs[f"pair{i}"] = (kind, run.ca.issue([f"p{i}.test"], key_type={"rsa": "rsa-2048", "ecdsa": "ecdsa-p256"}[kind]))
        return Pool(run.folder / "pool", pairs)

    def compared(self, run, server, addresses):
        """What disagrees; None: the server does not take this configuration."""
        if run_program(*server._command("-t"), check=False, stderr=subprocess.STDOUT).returncode:
            return None
        # Apache loads certificates only when it starts: without a word that it would not
        if run_program(*server._command(), cwd="/", env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}, check=False,
                       stderr=subprocess.STDOUT).returncode:
            return None
        try:
            wait_until(f"{server.kind} answers on port {server.port}", server.answers)
            done = run_program(str(PROGRAMS / "certswapctl"), "-c", str(run.config), "discover", "--json", check=False,
                               stderr=subprocess.PIPE, seconds=Claims.deadline)
            self.assertExit(done, 0)
            self.world = claims.World(addresses)
            return list(claims.compare(json.loads(done.stdout), server.config, self.world, NAMES + MORE_NAMES))
        finally:
            server.stop()

    def rounds(self, kind, write):
        with Run(f"claims-{kind}", servers=(kind,)) as run:
            pool, server = self.pool(run), run.by_kind[kind]
            seed, taken, asked, wrong = SEED, 0, 0, []
            while taken < ROUNDS:
                for part in ("parts", "snippets", "globbed"):
                    shutil.rmtree(server.folder / part, ignore_errors=True)
                ports = [server.port, free_port(), free_port()]
                addresses = write(random.Random(seed), server, pool, ports)
                found = self.compared(run, server, addresses)
                if found is not None:
                    taken += 1
                    asked += self.world.asked()
                    wrong += [f"seed {seed}: {line}" for line in found]
                seed += 1
                self.assertLess(seed - SEED, 10 * ROUNDS + 20, "the server takes hardly any of them")
            print(f"{kind}: {taken} configurations of {seed - SEED}, {asked} handshakes, {len(wrong)} disagreements")
            self.assertFalse(wrong, "\n".join(["", *wrong[:50]]))

    def test_nginx(self):
        def write(rng, server, pool, ports):
            user = "" if os.getuid() else "user www-data;"
            text = NginxWriter(rng, server.folder, pool, ports).text()
            pathlib.Path(server.config).write_text(NGINX.format(folder=server.folder, user=user, text=text))
            return [(h, p) for h in HOSTS for p in ports]
        self.rounds("nginx", write)

    def test_apache(self):
        def write(rng, server, pool, ports):
            user = "" if os.getuid() else "User www-data\nGroup www-data"
            text, addresses = ApacheWriter(rng, server.folder, pool, ports).text()
            server._command = lambda *more: (server.binary, "-D", "GIVEN", "-f", server.config, *(more or ("-k", "start")))
            pathlib.Path(server.config).write_text(APACHE.format(folder=server.folder, user=user, modules=APACHE_MODULES, text=text))
            return addresses
        self.rounds("apache", write)


if __name__ == "__main__":
    for option in ("--rounds", "--seed"):
        if option in sys.argv:
            at = sys.argv.index(option)
            globals()[option[2:].upper()] = int(sys.argv[at + 1])
            del sys.argv[at:at + 2]
    Claims.deadline = 120 + 40 * ROUNDS
    main()
