"""What README.md promises an operator, done in a machine with an installed package: the first certificate on nginx and
Apache, a renewal, a standby, the notice."""
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "e2e"))
from authority import Authority  # noqa: E402

NAME = "shop.example.test"
LIVE = "/var/lib/certswap/certificates/shop/live"

CONFIG = """
trust = "/opt/ca/root.pem";
alert = [ "/bin/sh", "-c", "cat /proc/self/cgroup >/usr/local/share/certswap-told" ];
servers = (
    { name = "nginx";  kind = "nginx"; },
    { name = "apache"; kind = "apache"; } );
certificates = (
    { name = "shop"; dns = [ "%s" ]; servers = [ "nginx", "apache" ]; } );
""" % NAME

NGINX = f"""server {{
    listen 443 ssl; server_name {NAME};
    ssl_certificate {LIVE}/fullchain.pem; ssl_certificate_key {LIVE}/privkey.pem;
    location / {{ return 200 "ok\\n"; }}
}}
"""

APACHE = f"""Listen 8443
<VirtualHost *:8443>
    ServerName {NAME}
    SSLEngine on
    SSLCertificateFile {LIVE}/fullchain.pem
    SSLCertificateKeyFile {LIVE}/privkey.pem
</VirtualHost>
"""


class Story:
    def __init__(self, machine, report):
        self.machine, self.report = machine, report
        self.tree = pathlib.Path(machine.tree)
        self.authority = Authority(self.tree / "opt/ca")

    def inside(self, path):
        """The path in the machine of a file in its tree."""
        return "/" + str(pathlib.Path(path).relative_to(self.tree.absolute()))

    def write(self, path, text):
        """A file in the machine."""
        (self.tree / path.lstrip("/")).write_text(text)

    def pair(self, key_of=None):
        """A new pair, or one with the key of another pair, and the paths of its files in the machine."""
        pair = self.authority.issue([NAME])
        pair = pair.with_key(key_of) if key_of else pair
        return pair, [self.inside(f) for f in pair.files()]

    def served(self, pair, what):
        for port in (443, 8443):
            self.report.prints(
                f"{what}: port {port} serves it", f"serial={pair.serial.upper().zfill(len(pair.serial) + len(pair.serial) % 2)}", "sh", "-c",
                f"openssl s_client -connect 127.0.0.1:{port} -servername {NAME} </dev/null 2>&1 | openssl x509 -noout -serial")

    def parents(self):
        return [self.machine.run("systemctl", "show", "-p", "MainPID", "--value", s)[1].strip() for s in ("nginx", "apache2")]

    def configure(self):
        self.write("/etc/certswap/certswap.conf", CONFIG)
        self.report.works("configuration", "certswapctl", "config", "test")
        self.report.works("reload of certswapd", "systemctl", "reload", "certswapd")

    def first_certificate(self):
        pair, files = self.pair()
        self.report.works("first pair", "certswapctl", "submit", "--name", "shop", *files)
        self.write("/etc/nginx/conf.d/shop.conf", NGINX)
        self.write("/etc/apache2/sites-enabled/shop.conf", APACHE)
        self.report.works("Apache's module", "a2enmod", "-q", "ssl")
        self.report.works("web servers with it", "systemctl", "restart", "nginx", "apache2")
        self.served(pair, "first pair")
        return pair

    def renewal(self):
        before = self.parents()
        pair, files = self.pair()
        self.report.works("renewal", "certswapctl", "submit", *files)
        self.served(pair, "renewal")
        self.report.be("web servers were not restarted", self.parents() == before)
        return pair

    def refusal(self, served):
        _, files = self.pair(served)
        status, output = self.machine.run("certswapctl", "submit", "--name", "shop", *files)
        self.report.be("a pair that does not match is refused", status == 1, output)
        self.served(served, "after the refusal")

    def day_of_the_mail(self):
        before = self.parents()
        standby, files = self.pair()
        self.report.works("standby", "certswapctl", "standby", "shop", *files)
        self.report.works("notice", "certswapctl", "notice", "shop", "--case", "c", "--yes")
        self.served(standby, "after the notice")
        self.report.be("web servers were not restarted", self.parents() == before)
        self.report.works("audit log", "certswapctl", "log", "--verify")
        return standby

    def sandbox(self, log):
        """What the unit shuts must not be what a hook needs."""
        self.report.be("Apache was rehearsed with each pair", "rehearsal-skipped" not in log, log)

    def tell(self):
        self.configure()
        self.first_certificate()
        self.refusal(self.renewal())
        self.day_of_the_mail()
        self.report.prints("the journal knows certificate and event", "CERTSWAP_EVENT=proved", "journalctl", "-o", "verbose", "CERTSWAP_CERTIFICATE=shop")
        _, log = self.machine.run("journalctl", "-u", "certswapd", "--no-pager", "-o", "cat")
        _, status = self.machine.run("certswapctl", "status")
        self.sandbox(log)
        if self.report.failed:
            print("".join(f"# {line}\n" for line in (status + log).splitlines()), end="")
