#!/usr/bin/python3
"""Makes the small corpora of the fuzz targets: fuzz/corpus/TARGET/NAME. Needs openssl(1) and faketime(1). What a fuzzer finds is added by hand,
with a name that says what it is."""
import base64
import hashlib
import os
import subprocess
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))


def save(target, name, content):
    os.makedirs(f"{HERE}/corpus/{target}", exist_ok=True)
    with open(f"{HERE}/corpus/{target}/{name}", "wb") as f:
        f.write(content if isinstance(content, bytes) else content.encode())


def tlv(tag, *parts):
    body = b"".join(parts)
    n = len(body)
    size = bytes([n]) if n < 0x80 else bytes([0x81, n]) if n < 0x100 else bytes([0x82, n >> 8, n & 255])
    return bytes([tag]) + size + body


def oid(text):
    first, second, *rest = (int(x) for x in text.split("."))
    out = bytes([first * 40 + second])
    for n in rest:
        part = [n & 0x7f]
        while n := n >> 7:
            part.insert(0, n & 0x7f | 0x80)
        out += bytes(part)
    return tlv(6, out)


def seq(*parts):
    return tlv(0x30, *parts)


def ext(name, value, critical=False):
    return seq(oid(name), b"\x01\x01\xff" if critical else b"", tlv(4, value))


NAME = seq(tlv(0x31, seq(oid("2.5.4.3"), tlv(0x0c, b"Test Issuing CA"))))
ECDSA = seq(oid("1.2.840.10045.4.3.2"))
NUMBER = ext("2.5.29.20", tlv(2, b"\x05"))


def utc(text):
    return tlv(0x17, text.encode() + b"Z")


def entry(serial, *extensions):
    return seq(tlv(2, serial), utc("261101120000"), seq(*extensions) if extensions else b"")


def tbs(entries, extensions=(NUMBER,), version=b"\x02\x01\x01", until=utc("261130120000")):
    return seq(version, ECDSA, NAME, utc("261123120000"), until, seq(*entries) if entries else b"",
               tlv(0xa0, seq(*extensions)) if extensions else b"")


def lists():
    reason = ext("2.5.29.21", tlv(10, b"\x01"))
    many = [entry(bytes([0x40 + i]) + hashlib.sha256(bytes([i])).digest()[:15], *([reason] if i % 3 else [])) for i in range(40)]
    idp = seq(tlv(0xa0, tlv(0xa0, tlv(0x86, b"http://crl.test/1.crl"))), b"\x81\x01\xff")
    save("crl", "many", tbs(many))
    save("crl", "none", tbs([]))
    save("crl", "version1", tbs([entry(b"\x01")], (), b""))
    save("crl", "scope", tbs(many[:2], (NUMBER, ext("2.5.29.28", idp, True))))
    save("crl", "invalidity", tbs([entry(b"\x10\x01", reason, ext("2.5.29.24", tlv(0x18, b"20260102030405Z")))]))
    save("crl", "issuer-of-entry", tbs([entry(b"\x10\x01", ext("2.5.29.29", seq(tlv(0x82, b"x")), True))]))
    save("crl", "critical", tbs(many[:3], (NUMBER, ext("1.2.3.4", b"\x05\x00", True))))
    save("crl", "delta", tbs(many[:3], (NUMBER, ext("2.5.29.27", b"\x02\x01\x01", True))))
    save("crl", "key-id", tbs(many[:3], (NUMBER, ext("2.5.29.35", seq(tlv(0x80, b"k" * 20))))))
    save("crl", "long-serial", tbs([entry(b"\x7f" * 60), entry(b"\x00\x80"), entry(b"\x80")]))
    whole = seq(tbs(many[:4]), ECDSA, tlv(3, b"\x00" + seq(tlv(2, b"\x01"), tlv(2, b"\x01"))))
    save("crl", "whole", whole)
    pem = base64.encodebytes(whole).decode()
    save("crl", "pem", f"-----BEGIN X509 CRL-----\n{pem}-----END X509 CRL-----\n")


def answers():
    seed = seq(b"\x02\x01\x00", seq(oid("1.3.101.112")), tlv(4, tlv(4, bytes(range(1, 33)))))
    public = subprocess.run(["openssl", "pkey", "-inform", "DER", "-pubout", "-outform", "DER"], input=seed, check=True,
                            stdout=subprocess.PIPE).stdout[-32:]
    sha1 = seq(oid("1.3.14.3.2.26"), b"\x05\x00")

    def single(serial, status, until="20261130120000Z", more=b""):
        one = seq(sha1, tlv(4, hashlib.sha1(NAME).digest()), tlv(4, hashlib.sha1(public).digest()), tlv(2, serial))
        return seq(one, status, tlv(0x18, b"20261123120000Z"), tlv(0xa0, tlv(0x18, until.encode())) if until else b"", more)

    def data(*singles, more=b""):
        return seq(tlv(0xa1, NAME), tlv(0x18, b"20261123120000Z"), seq(*singles), more)

    good, unknown = b"\x80\x00", b"\x82\x00"
    revoked = tlv(0xa1, tlv(0x18, b"20261101120000Z"), tlv(0xa0, tlv(10, b"\x01")))
    nonce = tlv(0xa1, seq(ext("1.3.6.1.5.5.7.48.1.2", tlv(4, b"0123456789abcdef0123456789abcde\0"))))
    save("ocsp", "good", data(single(b"\x10\x01", good)))
    save("ocsp", "revoked", data(single(b"\x10\x01", revoked), more=nonce))
    save("ocsp", "several", data(single(b"\x10\x02", good), single(b"\x10\x01", unknown)))
    save("ocsp", "no-next", data(single(b"\x10\x01", good, None)))
    save("ocsp", "critical", data(single(b"\x10\x01", good, more=tlv(0xa1, seq(ext("1.2.3.4", b"\x05\x00", True))))))
    for status in range(1, 7):
        save("ocsp", f"status{status}", bytes([0x30, 3, 10, 1, status]))


def files():
    with tempfile.TemporaryDirectory() as folder:
        def openssl(*words):
            subprocess.run(["openssl", *words], check=True, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "key", "-out", "cert",
                "-subj", "/CN=a.test", "-addext", "subjectAltName=DNS:a.test", "-days", "9")
        openssl("crl2pkcs7", "-nocrl", "-certfile", "cert", "-outform", "DER", "-out", "p7")
        openssl("pkcs12", "-export", "-in", "cert", "-inkey", "key", "-out", "p12", "-passout", "pass:secret", "-iter", "1",
                "-maciter", "-keypbe", "PBE-SHA1-3DES", "-certpbe", "PBE-SHA1-3DES")
        openssl("x509", "-in", "cert", "-outform", "DER", "-out", "der")
        openssl("pkey", "-in", "key", "-outform", "DER", "-out", "pkcs8")
        openssl("ec", "-in", "key", "-outform", "DER", "-out", "sec1")
        openssl("req", "-new", "-key", "key", "-subj", "/CN=a.test", "-out", "csr")
        for name in ("cert", "key", "p7", "p12", "der", "pkcs8", "sec1", "csr"):
            with open(f"{folder}/{name}", "rb") as f:
                save("pool", name, f.read())


def pairs():
    """For proof: a byte that chooses, then everything that a CA and its customer have."""
    with tempfile.TemporaryDirectory() as folder:
        def openssl(*words):
            subprocess.run(["faketime", "2026-11-01 00:00:00", "openssl", *words], check=True, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

        def read(*names):
            return b"".join(open(f"{folder}/{name}", "rb").read() for name in names)
        def certificate(name, subject, key, signer, *extensions):
            curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"] if key == "ec" else ["-newkey", "rsa:1024"]
            openssl("req", "-new", *curve, "-nodes", "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={subject}")
            with open(f"{folder}/ext", "w") as f:
                f.write("\n".join(extensions))
            by = ["-CA", f"{signer}.pem", "-CAkey", f"{signer}.key"] if signer else ["-signkey", f"{name}.key"]
            openssl("x509", "-req", "-in", f"{name}.csr", *by, "-extfile", "ext", "-set_serial", str(len(name) + 77), "-days", "90",
                    "-out", f"{name}.pem")
        ca = "basicConstraints=critical,CA:true"
        names = "subjectAltName=DNS:a.test,DNS:*.b.test,IP:127.0.0.1"
        certificate("root", "R", "ec", None, ca)
        certificate("sub", "S", "ec", "root", ca, "nameConstraints=permitted;DNS:test")
        certificate("leaf", "a.test", "ec", "sub", names, "extendedKeyUsage=serverAuth,clientAuth", "keyUsage=digitalSignature")
        certificate("weak", "a.test", "rsa", "sub", names, "tlsfeature=status_request", "crlDistributionPoints=URI:http://c.test/1")
        for byte in (0, 1, 2, 4, 8):
            save("proof", f"whole{byte}", bytes([byte]) + read("leaf.pem", "leaf.key", "sub.pem", "root.pem"))
        save("proof", "weak", b"\x0a" + read("weak.pem", "weak.key", "sub.pem", "root.pem"))
        save("proof", "self-signed", b"\x02" + read("root.pem", "root.key"))
        openssl("pkcs8", "-topk8", "-in", "leaf.key", "-out", "locked", "-passout", "pass:secret", "-iter", "1", "-v1", "PBE-SHA1-3DES")
        openssl("ec", "-in", "leaf.key", "-aes128", "-passout", "pass:secret", "-out", "legacy")
        openssl("rsa", "-in", "weak.key", "-traditional", "-outform", "DER", "-out", "pkcs1")
        for name in ("locked", "legacy", "pkcs1"):
            save("pool", name, read(name))
        save("pool", "utf16", read("leaf.pem").decode().encode("utf-16"))
        save("pool", "crlf", b"\xef\xbb\xbf" + read("leaf.pem").replace(b"\n", b"\r\n"))


def sockets():
    save("control", "ping", b"\x10\x00" + b'{"command":"ping"}\n')
    save("control", "byte-by-byte", b"\x00\x02" + b'{"command":"submit"}\nand more\n')
    save("control", "half", b"\x01\x83" + b'{"command":"status"')
    save("control", "files", b"\x04\x40" + b'{"command":"submit","files":["a","b"]}\n' + b"x" * 200)
    save("control", "too-many-files", b"\x04\x41" + b'{"command":"submit"}\n')
    nginx = ("http { ssl_certificate a.pem; ssl_certificate_key 'a b.key';\nserver { listen 443 ssl; server_name a.test; }\n"
             "server { listen 8443 ssl; ssl_certificate /x/\\\"b.pem;ssl_certificate_key\n/x/b.key; } }\n")
    apache = ("Listen 443\n<VirtualHost *:443>\nServerName a.test\nSSLEngine on\nSSLCertificateFile \"/x/a b.pem\"\r\n"
              "SSLCertificateKeyFile /x/a.key\n SSLCertificateChainFile \\\n /x/chain.pem\n</VirtualHost>\n")
    for quotes in (0, 2):
        save("edits", f"nginx{quotes}", bytes([quotes]) + nginx.encode())
        save("edits", f"apache{quotes}", bytes([quotes + 1]) + apache.encode())


def texts():
    window = '{"suggestedWindow":{"start":"2026-11-23T00:00:00Z","end":"2026-11-24T00:00:00+09:00"}'
    save("ari", "window", window + ',"explanationURL":"https://ca.test/why"}')
    save("ari", "short", window + "}")
    save("ari", "date", "Mon, 23 Nov 2026 17:00:00 GMT")
    save("ari", "seconds", "21600")
    save("serials", "csv", "\ufeffid,Serial Number\r\n1,\"A1:B2:C3:D4:E5:F6:07:18:29:3A\"\r\n2,1F\r\n")
    save("serials", "mail", "Serial Number: a1 b2 c3 d4 e5 f6 07 18 29 3a (revoked 2026-02-29)\n0x00A1B2C3D4E5F60718293A\n")
    save("serials", "decimal", "dec:763611554087217021757754\n763611554087217021757754\n")
    save("serials", "utf16", "a1b2c3d4e5f60718293a\r\n".encode("utf-16"))
    save("settings", "one", 'state_dir = "/tmp/x"; servers = ( { name = "nginx"; kind = "nginx"; } );\ncertificates = ( { name = "shop"; '
         'dns = [ "a.test" ]; servers = [ "nginx" ]; check = { interval = "15m"; }; consumers = ( { name = "p"; probe = "127.0.0.1:25"; '
         'starttls = "smtp"; } ); } );\n')
    save("settings", "wrong", 'state_dir = 3;\nnone = "x";\ncertificates = ( { dns = "a"; } );\n@include "/nowhere"\n')
    save("notice", "serial", '{"serial":"A1:b2","issuer":"CN=x","case":"c","revoke_at":"2026-11-24T00:00:00Z","scope":"host"}')
    save("notice", "wrong", '{"certificate":"shop","sha256":"12","case":"zz","reason":"none","received_at":1}')
    save("notice", "decimal", '{"serial":"dec:123456789012345678901234567890","reason":"keyCompromise","reference":"4711"}')
    zeros, lines, last = "0" * 64, "", "0" * 64
    for i in range(3):
        line = f'{{"time":"2026-11-23T10:00:00.000Z","event":"swap","text":"{i}","previous":"{last}"}}'
        last = hashlib.sha256(line.encode()).hexdigest()
        lines += line + "\n"
    save("audit", "whole", lines)
    save("audit", "broken", lines.replace(zeros, "1" * 64))
    save("audit", "cut", lines[:-20])
    for kind in range(11):
        save("messages", f"zeros{kind}", bytes([kind]) + bytes(400))
        save("messages", f"text{kind}", bytes([kind]) + bytes([1, 0, 0, 0]) * 60)


def main():
    lists()
    answers()
    files()
    pairs()
    sockets()
    texts()


main()
