"""Pairs by the thousand (issuer.c), and a state folder that holds them as if certswapd had taken them one by one."""
import hashlib
import json
import os
import pathlib
import secrets
import subprocess
import time

HERE = pathlib.Path(__file__).resolve().parent
ISSUER = os.environ.get("CERTSWAP_ISSUER", HERE.parent / "build/bench/bench/certswap-bench-issuer")
END_OF_KEY = "-----END PRIVATE KEY-----\n"


class Made:
    """What authority.Pair is, without files."""

    def __init__(self, text, chain, serial, sha256, spki):
        self.key, cut, self.cert = text.partition(END_OF_KEY)
        self.key += cut
        self.chain, self.serial, self.sha256, self.spki = chain, serial, sha256, spki
        self.fullchain = self.cert + chain


def issue(ca, folder, names, begin):
    """{name: Made} for {name: [its DNS name]}, valid from `begin` seconds from now on."""
    folder.mkdir(exist_ok=True)
    serials = {name: "5" + secrets.token_hex(15) for name in names}
    lines = "".join(f"{serials[name]} {name} {dns[0]}\n" for name, dns in names.items())
    said = subprocess.run([str(ISSUER), str(ca.folder / "intermediate.pem"), str(ca.folder / "intermediate.key"), str(folder), str(begin)],
                          input=lines, stdout=subprocess.PIPE, text=True, check=True).stdout
    made = {}
    for line in said.splitlines():
        name, sha256, spki = line.split()
        made[name] = Made((folder / name).read_text(), ca.chain, serials[name], sha256, spki)
    return made


def seal(certificates, name, dns, pair):
    """Generation 1 of a certificate, live."""
    folder = certificates / name
    generation = folder / "gen/000001"
    generation.mkdir(parents=True)
    texts = {"cert.pem": pair.cert, "chain.pem": pair.chain, "fullchain.pem": pair.fullchain, "privkey.pem": pair.key,
             "combined.pem": pair.key + pair.fullchain}
    for file, text in texts.items():
        (generation / file).write_text(text)
    form = "%Y-%m-%dT%H:%M:%SZ"
    now = time.time()
    meta = {"number": 1, "sha256": pair.sha256, "spki_sha256": pair.spki, "issuer_spki_sha256": "00" * 32,
            "serial": pair.serial, "issuer": "CN=Test Issuing CA", "subject": "CN=" + dns[0], "key_type": "ecdsa-p256",
            "origin": "bench", "names": dns, "accepted": [], "not_before": time.strftime(form, time.gmtime(now - 60)),
            "not_after": time.strftime(form, time.gmtime(now + 90 * 86400)), "made_at": time.strftime(form, time.gmtime(now)),
            "publicly_trusted": False, "files": [hashlib.sha256(text.encode()).hexdigest() for text in texts.values()]}
    (generation / "meta.json").write_text(json.dumps(meta))
    (folder / "live").symlink_to("gen/000001")


def fill(state, names, pairs):
    certificates = state / "certificates"
    state.mkdir(mode=0o711, exist_ok=True)
    certificates.mkdir(mode=0o700, exist_ok=True)
    (state / "version").write_text("1\n")
    for name, pair in pairs.items():
        seal(certificates, name, names[name], pair)


def drop_all(state, pairs):
    """Into the drop box of each. The moment before the last file was closed."""
    for name, pair in pairs.items():
        box = state / "incoming" / name
        for file, text in (("privkey.pem", pair.key), ("fullchain.pem", pair.fullchain)):
            with open(box / file, "wb", buffering=0) as out:
                out.write(text.encode())
                now = time.monotonic()
    return now
