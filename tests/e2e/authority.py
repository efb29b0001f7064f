"""A throwaway certificate authority (root, intermediate) by the openssl command, and the pairs that it issues in every
form in which a CA sends them."""
import datetime
import hashlib
import pathlib
import ssl
import subprocess
import threading

from processes import run

CONFIG = """
[ca]
default_ca = issuing
[issuing]
dir = {folder}
database = $dir/index.txt
new_certs_dir = $dir/issued
certificate = $dir/intermediate.pem
private_key = $dir/intermediate.key
default_md = sha256
policy = any
copy_extensions = copy
rand_serial = yes
email_in_dn = no
crlnumber = $dir/crlnumber
default_crl_days = 7
unique_subject = no
[rooting]
dir = {folder}
database = $dir/root-index.txt
certificate = $dir/root.pem
private_key = $dir/root.key
default_md = sha256
crlnumber = $dir/root-crlnumber
default_crl_days = 30
[any]
commonName = optional
[req]
distinguished_name = dn
[dn]
[x_root]
basicConstraints = critical,CA:TRUE
keyUsage = critical,keyCertSign,cRLSign
subjectKeyIdentifier = hash
[x_intermediate]
basicConstraints = critical,CA:TRUE,pathlen:0
keyUsage = critical,keyCertSign,cRLSign,digitalSignature
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
{intermediate_sources}
[x_leaf]
basicConstraints = CA:FALSE
keyUsage = critical,digitalSignature
extendedKeyUsage = serverAuth
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
{leaf_sources}
[x_must_staple]
basicConstraints = CA:FALSE
keyUsage = critical,digitalSignature
extendedKeyUsage = serverAuth
tlsfeature = status_request
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
{leaf_sources}
[x_ocsp]
basicConstraints = CA:FALSE
keyUsage = critical,digitalSignature
extendedKeyUsage = OCSPSigning
noCheck = yes
authorityKeyIdentifier = keyid
"""

KEY_OPTIONS = {
    "ecdsa-p256": ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"],
    "ecdsa-p384": ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384"],
    "rsa-1024": ["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:1024"],
    "rsa-2048": ["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"],
}


def serial_of(der):
    """The serial number of a DER certificate, lower-case hex without leading zeros."""
    def value_at(at):  # start and end of the contents of the TLV at `at`
        length = der[at + 1]
        if length < 0x80:
            return at + 2, at + 2 + length
        octets = length & 0x7F
        start = at + 2 + octets
        return start, start + int.from_bytes(der[at + 2:start], "big")

    at = value_at(value_at(0)[0])[0]
    if der[at] == 0xA0:  # [0] version
        at = value_at(at)[1]
    start, end = value_at(at)
    return f"{int.from_bytes(der[start:end], 'big'):x}"


def new_key(kind="ecdsa-p256"):
    """PEM text of a new private key, PKCS#8."""
    return run("openssl", "genpkey", *KEY_OPTIONS[kind], stderr=subprocess.DEVNULL).stdout


class Pair:
    """A certificate with its chain and a key, which need not be its own."""

    def __init__(self, folder, cert, chain, key):
        self.cert, self.chain, self.key = cert, chain, key
        self.fullchain = cert + chain
        self.der = ssl.PEM_cert_to_DER_cert(cert)
        self.sha256 = hashlib.sha256(self.der).hexdigest()
        self.serial = serial_of(self.der)
        self._folder = pathlib.Path(folder)
        self._folder.mkdir(parents=True, exist_ok=True)

    def file(self, name, content):
        """Writes a file into the pair's own folder, where it was on its way to the host."""
        path = self._folder / name
        if isinstance(content, str):
            content = content.encode()
        path.write_bytes(content)
        path.chmod(0o600)
        return str(path)

    def files(self):
        return [self.file("fullchain.pem", self.fullchain), self.file("key.pem", self.key)]

    def key_der(self):
        source = self.file("key.pem", self.key)
        run("openssl", "pkey", "-in", source, "-outform", "DER", "-out", self.file("key.der", b""))
        return (self._folder / "key.der").read_bytes()

    def p12(self, password):
        """PKCS#12 as a CA's desk sends it: everything in one file, under a password."""
        cert, key, chain = self.file("c.pem", self.cert), self.file("k.pem", self.key), self.file("ch.pem", self.chain)
        out = self.file("pair.p12", b"")
        run("openssl", "pkcs12", "-export", "-inkey", key, "-in", cert, "-certfile", chain, "-out", out,
            "-passout", "file:" + self.file("password", password + "\n"))
        return out

    def p7b(self):
        """PKCS#7 in DER: certificates without a key."""
        out = self.file("chain.p7b", b"")
        run("openssl", "crl2pkcs7", "-nocrl", "-certfile", self.file("fullchain.pem", self.fullchain),
            "-outform", "DER", "-out", out)
        return out

    def with_key(self, other):
        """The same certificate with another pair's key: they do not match."""
        return Pair(self._folder.with_name(self._folder.name + "-mixed"), self.cert, self.chain, other.key)


class Authority:
    def __init__(self, folder, name="Test", publish=None, ocsp=True):
        """publish: URL below which its lists can be had (publisher.py); its certificates name them then."""
        self.folder = pathlib.Path(folder).absolute()
        self._turn = threading.Lock()
        (self.folder / "issued").mkdir(parents=True)
        for part in ("index.txt", "root-index.txt"):
            (self.folder / part).write_text("")
        for part in ("crlnumber", "root-crlnumber"):
            (self.folder / part).write_text("01\n")
        leaf, above = "", ""
        if publish:
            responder = f"OCSP;URI:{publish}/ocsp," if ocsp else ""
            leaf = (f"crlDistributionPoints = URI:{publish}/leaf.crl\n"
                    f"authorityInfoAccess = {responder}caIssuers;URI:{publish}/issuer.der")
            above = f"crlDistributionPoints = URI:{publish}/ca.crl"
        self._config = str(self.folder / "ca.cnf")
        (self.folder / "ca.cnf").write_text(CONFIG.format(folder=self.folder, leaf_sources=leaf, intermediate_sources=above))
        self.root = str(self.folder / "root.pem")
        self._issued, self._listed, self._lock = 0, {}, threading.Lock()
        self.crl_hours = None  # until the next list, where it is not as in the configuration
        self._make(name)
        self.chain = (self.folder / "intermediate.pem").read_text()

    def _path(self, name):
        return str(self.folder / name)

    def _make(self, name):
        for part in ("root", "intermediate"):
            (self.folder / f"{part}.key").write_text(new_key())
        run("openssl", "req", "-x509", "-new", "-key", self._path("root.key"), "-subj", f"/CN={name} Root",
            "-days", "3650", "-config", self._config, "-extensions", "x_root", "-out", self.root)
        run("openssl", "req", "-new", "-key", self._path("intermediate.key"), "-subj", f"/CN={name} Issuing CA",
            "-config", self._config, "-out", self._path("intermediate.csr"))
        run("openssl", "x509", "-req", "-in", self._path("intermediate.csr"), "-CA", self.root,
            "-CAkey", self._path("root.key"), "-set_serial", "0x1001", "-days", "1825",
            "-extfile", self._config, "-extensions", "x_intermediate", "-out", self._path("intermediate.pem"))

    def issue(self, names, key_type="ecdsa-p256", key=None, starts=None, days=90, must_staple=False):
        """A new pair for these names. `key`: an existing key (PEM) instead of a new one. `starts`: hours from now;
        without it each pair starts a second after the one before, an hour ago, so that none is older than the last.
        must_staple: with the TLS feature status_request (RFC 7633). Several threads may ask for one."""
        with self._turn:  # openssl ca has one index
            return self._issue(names, key_type, key, starts, days, must_staple)

    def _issue(self, names, key_type, key, starts, days, must_staple):
        self._issued += 1
        folder = self.folder / f"pair-{self._issued:02d}"
        folder.mkdir()
        key = key or new_key(key_type)
        (folder / "key.pem").write_text(key)
        now = datetime.datetime.now(datetime.timezone.utc)
        begin = now + datetime.timedelta(hours=-1 if starts is None else starts,
                                         seconds=self._issued if starts is None else 0)
        run("openssl", "req", "-new", "-key", str(folder / "key.pem"), "-subj", f"/CN={names[0]}",
            "-addext", "subjectAltName=" + ",".join("DNS:" + name for name in names),
            "-config", self._config, "-out", str(folder / "request.pem"))
        return self._sign(folder, begin, days, key, "x_must_staple" if must_staple else "x_leaf")

    def sign(self, request, names, days=90):
        """A certificate for somebody's request (CSR): a pair without its key. The names are those in the request."""
        self._issued += 1
        folder = self.folder / f"pair-{self._issued:02d}"
        folder.mkdir()
        (folder / "request.pem").write_text(pathlib.Path(request).read_text())
        begin = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(hours=-1, seconds=self._issued)
        pair = self._sign(folder, begin, days, "")
        said = run("openssl", "x509", "-noout", "-ext", "subjectAltName", "-in", str(folder / "cert.pem")).stdout
        if not all("DNS:" + name in said for name in names):
            raise AssertionError(f"the request is not for {names}: {said}")
        return pair

    def _sign(self, folder, begin, days, key, extensions="x_leaf"):
        form = "%Y%m%d%H%M%SZ"
        run("openssl", "ca", "-batch", "-notext", "-config", self._config, "-extensions", extensions,
            "-startdate", begin.strftime(form), "-enddate", (begin + datetime.timedelta(days=days)).strftime(form),
            "-in", str(folder / "request.pem"), "-out", str(folder / "cert.pem"))
        return Pair(folder, (folder / "cert.pem").read_text(), self.chain, key)

    def revoke(self, pair, reason="unspecified"):
        """As the CA does it; the next list and answer say so. A second time: with another reason."""
        source = pair.file("revoke.pem", pair.cert)
        lines = [line for line in (self.folder / "index.txt").read_text().splitlines(True)
                 if not (line.startswith("R") and pair.serial in line.lower())]
        (self.folder / "index.txt").write_text("".join(lines))
        run("openssl", "ca", "-batch", "-config", self._config, "-revoke", source, "-crl_reason", reason,
            stderr=subprocess.DEVNULL)

    def revoke_intermediate(self, reason="CACompromise"):
        run("openssl", "ca", "-batch", "-config", self._config, "-name", "rooting", "-revoke",
            self._path("intermediate.pem"), "-crl_reason", reason, stderr=subprocess.DEVNULL)

    def crl(self, part="leaf"):
        """DER of the list of leaves, or ("ca") of the root's; made anew where something was revoked since."""
        index = self.folder / ("index.txt" if part == "leaf" else "root-index.txt")
        made, pem = self.folder / f"{part}.crl.der", self._path(f"{part}.crl.pem")
        revoked = "".join(line for line in index.read_text().splitlines(True) if line.startswith("R"))
        if not made.exists() or self._listed.get(part) != (revoked, self.crl_hours):
            hours = ["-crlhours", str(self.crl_hours)] if self.crl_hours else []
            run("openssl", "ca", "-config", self._config, "-name", "issuing" if part == "leaf" else "rooting", "-gencrl",
                *hours, "-out", pem, stderr=subprocess.DEVNULL)
            run("openssl", "crl", "-in", pem, "-outform", "DER", "-out", str(made))
            self._listed[part] = (revoked, self.crl_hours)
        return made.read_bytes()

    def ocsp(self, asked):
        """The answer to a DER request, by a delegated responder."""
        key, cert = self._path("ocsp.key"), self._path("ocsp.pem")
        with self._lock:
            if not pathlib.Path(cert).exists():
                pathlib.Path(key).write_text(new_key())
                run("openssl", "req", "-new", "-key", key, "-subj", "/CN=Responder", "-config", self._config, "-out",
                    self._path("ocsp.csr"))
                run("openssl", "x509", "-req", "-in", self._path("ocsp.csr"), "-CA", self._path("intermediate.pem"), "-CAkey",
                    self._path("intermediate.key"), "-set_serial", "0x2002", "-days", "30", "-extfile", self._config,
                    "-extensions", "x_ocsp", "-out", cert)
            (self.folder / "ocsp.request").write_bytes(asked)
            run("openssl", "ocsp", "-index", self._path("index.txt"), "-CA", self._path("intermediate.pem"), "-rsigner", cert,
                "-rkey", key, "-ndays", "1", "-reqin", self._path("ocsp.request"), "-respout", self._path("ocsp.answer"))
            return (self.folder / "ocsp.answer").read_bytes()
