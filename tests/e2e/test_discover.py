"""What `discover` says of running servers against what handshakes with them show."""
import json
import os
import pathlib
import re
import subprocess

from case import Case, main
from harness import PROGRAMS, Run
from processes import run as run_program
from publisher import Publisher
from webserver import APACHE_MODULES, free_port, shown

NGINX = """
{user}
pid {folder}/nginx.pid; error_log {folder}/error.log;
events {{ }}
http {{
    access_log off;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
    server {{ listen 127.0.0.1:{port} ssl default_server; listen 127.0.0.1:{other} ssl; server_name first.test; return 204; }}
    include {folder}/sites/*.conf;
    ssl_certificate {first}/fullchain.pem; # stands behind the server that takes it
    ssl_certificate_key {first}/key.pem;
}}
"""
SITES = {
    "a.conf": "server {{ listen 127.0.0.1:{port}; server_name second.test *.second.test; # no ssl: shared\n"
              "ssl_certificate \"{second}/fullchain.pem\"; ssl_certificate_key '{second}/key.pem'; return 204; }}\n",
    "b.conf": "server {{ listen 127.0.0.1:{port} ssl; server_name ~^reg third.test;\r\n"
              "ssl_certificate {rsa}/fullchain.pem;\r\nssl_certificate_key {rsa}/key.pem;\r\n"
              "ssl_certificate {third}/fullchain.pem; ssl_certificate_key {third}/key.pem; return 204; }}\r\n",
}
APACHE = """
ServerRoot {folder}
PidFile {folder}/apache.pid
ErrorLog {folder}/error.log
ServerName localhost
{user}
LoadModule mpm_event_module {modules}/mod_mpm_event.so
LoadModule authz_core_module {modules}/mod_authz_core.so
LoadModule ssl_module {modules}/mod_ssl.so
LoadModule macro_module {modules}/mod_macro.so
SSLSessionCache none
Define pairs {pairs}
Listen 127.0.0.1:{port} https
<IfModule mod_ssl.c>
    SSLCertificateFile {first}/both.pem
</IfModule>
<VirtualHost 127.0.0.1:{port}>
    ServerName first.test
</VirtualHost>
<VirtualHost _default_:{port}>
    ServerName never.test
    SSLEngine off
</VirtualHost>
<Macro Site $name $dir>
<VirtualHost 127.0.0.1:{port}>
    ServerName $name
    ServerAlias *.$name
    SSLEngine on
    SSLCertificateFile $dir/both.pem
</VirtualHost>
</Macro>
<IfDefine pairs>
<VirtualHost 127.0.0.1:{port}>
    ServerName third.test:443
    SSLEngine on
    SSLCertificateFile \\
        ${{pairs}}/third/fullchain.pem
    SSLCertificateKeyFile "${{pairs}}/third/key.pem"
</VirtualHost>
</IfDefine>
Use Site second.test {second}
"""


def discover(config, *more):
    done = run_program(str(PROGRAMS / "certswapctl"), "-c", str(config), "discover", *more, check=False,
                       stderr=subprocess.PIPE)
    return done


class Discover(Case):
    def pairs(self, run):
        folder = run.folder / "pairs"
        made = {}
        for name, kind in {"first": "ecdsa-p256", "second": "ecdsa-p256", "third": "ecdsa-p256", "rsa": "rsa-2048"}.items():
            domain = "third" if name == "rsa" else name
            pair = made[name] = run.ca.issue([f"{domain}.test", f"*.{domain}.test"], key_type=kind)
            (folder / name).mkdir(parents=True)
            for file, text in {"fullchain.pem": pair.fullchain, "key.pem": pair.key, "both.pem": pair.fullchain + pair.key}.items():
                (folder / name / file).write_text(text)
                (folder / name / file).chmod(0o600)
        return folder, made

    def serve(self, run, kind, text, folder, **more):
        server = run.by_kind[kind]
        where = {name: str(folder / name) for name in ("first", "second", "third", "rsa")}
        user = "" if os.getuid() else {"nginx": "user www-data;", "apache": "User www-data\nGroup www-data"}[kind]
        pathlib.Path(server.config).write_text(text.format(folder=server.folder, port=server.port, user=user, pairs=folder,
                                                           modules=APACHE_MODULES, **where, **more))
        return server.start()

    def found(self, result, server, name):
        """SHA-256 of the leaves that discover says a server shows for a name, or for none that it has."""
        return {c["leaf"]["sha256"] for c in result["certificates"] for p in c["places"]
                if p["server"] == server and p["tls"] and name in p["names"]}

    def shows(self, server, names, result):
        for name in names:
            self.assertIn(shown(server.port, name).sha256, self.found(result, server.kind, name), name)

    def result(self, run):
        done = discover(run.config, "--json")
        self.assertExit(done, 0)
        return json.loads(done.stdout)

    def test_nginx(self):
        with Run("discover-nginx", servers=("nginx",)) as run:
            folder, pairs = self.pairs(run)
            server, other = run.by_kind["nginx"], free_port()
            (server.folder / "sites").mkdir()
            for name, text in SITES.items():
                (server.folder / "sites" / name).write_text(
                    text.format(port=server.port, **{n: folder / n for n in pairs}), newline="")
            self.serve(run, "nginx", NGINX, folder, other=other)
            result = self.result(run)
            self.shows(server, ["first.test", "second.test", "third.test"], result)
            self.assertEqual(self.found(result, "nginx", "third.test"), {pairs["third"].sha256, pairs["rsa"].sha256})
            self.assertEqual(shown(other, "first.test").sha256, pairs["first"].sha256)
            default = next(c for c in result["certificates"] for p in c["places"] for a in p["addresses"]
                           if a["address"] == f"127.0.0.1:{server.port}" and a["default_server"])
            self.assertEqual(shown(server.port, "nobody.test").sha256, default["leaf"]["sha256"])
            self.assertEqual([{w["code"] for w in c["wrong"]} for c in result["certificates"]
                              if any(p["server"] == "nginx" for p in c["places"])], [{"NO_STATUS_SOURCE"}] * 4)
            me = next(s for s in result["servers"] if s["name"] == "nginx")
            self.assertEqual((me["pid"], me["problems"], me["notes"]), (server.pid(), [], []))
            self.assertEqual(result["unnamed"], ["shop"])
            self.check_offsets(result)
            text = discover(run.config).stdout
            self.assertIn("inherited from", " ".join(text.split()))
            self.assertLessEqual(max(map(len, re.sub(r"\S{60,}", "", text).splitlines())), 100)

    def check_offsets(self, result):
        for certificate in result["certificates"]:
            for place in certificate["places"]:
                at = place["certificate"]["at"]
                if not pathlib.Path(at["file"]).exists():
                    continue  # of a server of another test, which has ended
                line = pathlib.Path(at["file"]).read_text().splitlines()[at["line"] - 1]
                self.assertRegex(line.lower(), "ssl_?certificate")

    def test_apache(self):
        with Run("discover-apache", servers=("apache",)) as run:
            folder, pairs = self.pairs(run)
            server = self.serve(run, "apache", APACHE, folder)
            result = self.result(run)
            self.shows(server, ["first.test", "second.test", "third.test"], result)
            self.assertEqual(shown(server.port, "x.second.test").sha256, pairs["second"].sha256)
            second = next(c for c in result["certificates"] if c["certificate"].endswith("second/both.pem"))
            self.assertIsNone(second["key"])
            self.assertIn("macro", second["places"][0]["certificate"]["out_of_reach"])
            me = next(s for s in result["servers"] if s["name"] == "apache")
            self.assertEqual(me["pid"], server.pid())
            # what the macro makes is named by its own lines here, by the line of its use by Apache
            self.assertEqual([p for p in me["problems"] if "refuses" in p], [])

    def test_what_is_wrong(self):
        with Run("discover-wrong", servers=("nginx",)) as run:
            folder, pairs = self.pairs(run)
            server = run.by_kind["nginx"]
            (server.folder / "sites").mkdir()
            (server.folder / "sites" / "x.conf").write_text(
                f"server {{ listen 127.0.0.1:{server.port} ssl; server_name else.where.test;\n"
                f"ssl_certificate {folder}/second/fullchain.pem; ssl_certificate_key {folder}/second/key.pem; return 204; }}\n"
                f"server {{ listen 127.0.0.1:{server.port} ssl; server_name s.second.test; location / {{\n"
                f"proxy_pass https://127.0.0.1:9; proxy_ssl_certificate {folder}/first/both.pem;\n"
                f"proxy_ssl_certificate_key {folder}/first/both.pem; }}\n"
                f"ssl_certificate {folder}/rsa/fullchain.pem; ssl_certificate_key {folder}/rsa/key.pem; }}\n")
            (folder / "second" / "key.pem").chmod(0o644)
            self.serve(run, "nginx", NGINX, folder, other=free_port())
            # broken behind the server's back: it goes on with what it has loaded
            (folder / "rsa" / "key.pem").write_text(pairs["third"].key)
            found = self.ours(self.result(run))
            codes = {name: {w["code"] for w in c["wrong"]} for name, c in found.items()}
            self.assertIn("NAME_NOT_COVERED", codes["second"])
            self.assertIn("KEY_PERMISSIONS", codes["second"])
            self.assertIn("PAIR_MISMATCH", codes["rsa"])
            self.assertIn("NAME_NOT_COVERED", codes["rsa"])
            self.assertIn(("proxy_ssl_certificate", True),
                          {(r["directive"], r["same_key_only"]) for r in found["first"]["readers"]})

    def checked(self, run, status):
        """status: 0 may also be 1 by a server of another test."""
        done = discover(run.config, "--check", "--json")
        self.assertIn(done.returncode, {status, 1}, done.stderr)
        return {name: c["check"] for name, c in self.ours(json.loads(done.stdout)).items()}

    def ours(self, result):
        """Other tests may have servers of their own on this host."""
        return {pathlib.Path(c["certificate"]).parent.name: c for c in result["certificates"]
                if any(p["server"] == "nginx" for p in c["places"])}

    def test_check(self):
        """The CA is asked, for the intermediate too; no key leaves, no daemon runs."""
        with Publisher() as p, Run("discover-check", servers=("nginx",), publisher=p) as run:
            p.publish_crls(run.ca)
            p.publish_ocsp(run.ca)
            folder, pairs = self.pairs(run)
            server = run.by_kind["nginx"]
            (server.folder / "sites").mkdir()
            # certificate and key in one file: only the certificates are handed on
            (server.folder / "sites" / "x.conf").write_text(
                f"server {{ listen 127.0.0.1:{server.port} ssl; server_name second.test;\n"
                f"ssl_certificate {folder}/second/both.pem; ssl_certificate_key {folder}/second/both.pem; return 204; }}\n")
            self.serve(run, "nginx", NGINX, folder, other=free_port())
            check = self.checked(run, 0)
            self.assertEqual({c["status"] for c in check.values()}, {"good"})
            self.assertIn("CRL of", check["second"]["status_text"])
            self.assertIn("nobody", check["first"]["noticed_by"])
            self.assertIn("adopt", " ".join(check["first"]["missing"]))
            self.assertFalse(check["first"]["private_candidate"])  # it is no public certificate
            run.ca.revoke(pairs["second"], "keyCompromise")
            check = self.checked(run, 1)
            self.assertEqual((check["first"]["status"], check["second"]["status"]), ("good", "revoked"))
            self.assertIn("status  revoked (CRL, since", discover(run.config, "--check").stdout)
            p.paths["/leaf.crl"] = lambda request: (200, {}, b"no list")
            check = self.checked(run, 1)  # its OCSP responder knows as well
            self.assertIn("OCSP", check["second"]["status_text"])
            p.paths["/ocsp"] = lambda request: (500, {}, b"")
            check = self.checked(run, 0)
            self.assertEqual(check["second"]["status"], "unknown")
            p.publish_crls(run.ca)
            run.ca.revoke_intermediate()
            check = self.checked(run, 1)
            self.assertEqual(check["first"]["status"], "revoked")
            self.assertIn("intermediate", check["first"]["status_text"])

    def test_managed(self):
        """A certificate that certswap looks after, read through the link that a server names."""
        with Run("discover-managed", servers=("nginx",)) as run:
            run.agent.start()
            first = run.begin()
            result = self.result(run)
            self.assertEqual(result["unnamed"], [])
            self.assertEqual(self.found(result, "nginx", run.names[0]), {first.sha256})
            check = next(c["check"] for c in json.loads(discover(run.config, "--check", "--json").stdout)["certificates"]
                         if c["leaf"] and c["leaf"]["sha256"] == first.sha256)
            self.assertEqual(check["managed_as"], "shop")
            self.assertIn("certswap, within", check["noticed_by"])
            self.assertIn("standby", " ".join(check["missing"]))

    def test_broken_and_down(self):
        """A server that does not run, with a configuration that it would refuse: said, with the line; the rest is read."""
        with Run("discover-down", servers=("nginx",)) as run:
            folder, pairs = self.pairs(run)
            config = pathlib.Path(run.by_kind["nginx"].config)
            config.write_text(f"events {{ }}\nhttp {{\ninclude gone.conf;\nserver {{ listen 1 ssl; server_name first.test;\n"
                              f"ssl_certificate {folder}/first/fullchain.pem; ssl_certificate_key {folder}/first/key.pem; }}\n")
            result = self.result(run)
            me = next(s for s in result["servers"] if s["name"] == "nginx")
            self.assertEqual((me["pid"], me["incomplete"]), (0, True))
            self.assertEqual([n["at"] for n in me["notes"]], [{"file": str(config), "line": 6}, {"file": str(config), "line": 3}])
            self.assertEqual(self.found(result, "nginx", "first.test"), {pairs["first"].sha256})
            self.assertFalse(self.ours(result)["first"]["served"])
            said = " ".join(discover(run.config).stdout.split())  # lines break where the paths let them
            self.assertIn("not running", said)
            self.assertIn("not all of this configuration could be read", said)


main()
