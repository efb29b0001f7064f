"""What adopt finds: web servers on files that no agent knows."""
import pathlib
import re

from processes import run as run_program


class Site:
    """nginx and Apache on plain files that no agent knows, and certswapd with nothing but the servers."""

    def __init__(self, run, start=True):
        self.run = run
        self.tls = run.folder / "tls" / "shop" / "live"
        self.tls.mkdir(parents=True)
        for folder in (run.folder / "tls", self.tls.parent):
            folder.chmod(0o755)
        self.pair = run.ca.issue(run.names)
        self.certificate, self.key = self.tls / "fullchain.pem", self.tls / "privkey.pem"
        self.certificate.write_text(self.pair.fullchain)
        self.certificate.chmod(0o644)
        self.key.write_text(self.pair.key)
        self.key.chmod(0o600)
        for server in run.servers:
            config = pathlib.Path(server.config)
            config.write_text(config.read_text().replace(str(run.state / "certificates"), str(run.folder / "tls")))
        text = run.config.read_text()
        run.config.write_text(text[:text.index("certificates = (")])
        self.configs = {server.config: pathlib.Path(server.config).read_bytes() for server in run.servers}
        if start:
            for server in run.servers:
                server.start()
            run.agent.start()

    def conf(self, name="shop.example.test"):
        return self.run.folder / "certificates.d" / f"{name}.conf"

    def unlinked(self):
        return not self.certificate.is_symlink() and not self.key.is_symlink()

    def servers_could_start(self):
        for server in self.run.servers:
            run_program(*server._command("-t"))


class Lineage:
    """certbot's tree below the run's folder, with nginx's two directives in two files."""

    def __init__(self, run, site):
        self.top = run.folder / "letsencrypt"
        self.live, self.archive = self.top / "live" / "shop", self.top / "archive" / "shop"
        for folder in (self.live, self.archive, self.top / "renewal"):
            folder.mkdir(parents=True)
        (self.top / "renewal" / "shop.conf").write_text("# renewal\n")
        self.renewed(site.pair, 1)
        self.config = pathlib.Path(run.servers[0].config)
        text = self.config.read_text()
        key = re.search(r" *ssl_certificate_key [^;]*;\n", text).group(0)
        self.include = run.folder / "key.inc"
        self.include.write_text(f"ssl_certificate_key \"{self.live}/privkey.pem\"; # the key\n")
        self.include.chmod(0o640)
        self.config.write_text(text.replace(key, f"include {self.include};\n")
                               .replace(str(site.certificate), f"{self.live}/fullchain.pem"))

    def renewed(self, pair, number):
        for name, text in (("cert", pair.cert), ("chain", pair.chain), ("fullchain", pair.fullchain), ("privkey", pair.key)):
            (self.archive / f"{name}{number}.pem").write_text(text)
            (self.archive / f"{name}{number}.pem").chmod(0o600 if name == "privkey" else 0o644)
            aside = self.live / f"{name}.new"
            aside.symlink_to(f"../../archive/shop/{name}{number}.pem")
            aside.rename(self.live / f"{name}.pem")
