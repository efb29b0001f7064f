#!/usr/bin/python3
"""What watching the CAs costs: many certificates of some issuers, each issuer's CRL on loopback. Prints requests and bytes of
the first look and of the later ones, what that makes in a day at the default interval, and the daemon's memory.

    CERTSWAP_PROGRAMS=build/bench/agent bench/fetches.py [CERTIFICATES [ISSUERS]]"""
import hashlib
import json
import os
import pathlib
import shutil
import ssl
import subprocess
import sys
import tempfile
import time

TOP = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(TOP / "tests/e2e"))
from authority import Authority  # noqa: E402
from processes import wait_until  # noqa: E402
from publisher import Publisher  # noqa: E402

PROGRAMS = pathlib.Path(os.environ.get("CERTSWAP_PROGRAMS", TOP / "build/demo/agent")).resolve()
INTERVAL = 10  # seconds, for the run; the default is 15 minutes
DAY = 86400
ROUNDS_A_DAY = DAY / 900


def generation(folder, pair, der, serial):
    """A sealed generation, as certswapd writes one. Only the first of an issuer has a true signature: no one else looks."""
    gen = folder / "gen/000001"
    gen.mkdir(parents=True)
    cert = ssl.DER_cert_to_PEM_cert(der)
    texts = {"cert.pem": cert, "chain.pem": pair.chain, "fullchain.pem": cert + pair.chain, "privkey.pem": pair.key,
             "combined.pem": pair.key + cert + pair.chain}
    for name, text in texts.items():
        (gen / name).write_text(text)
    meta = {"number": 1, "sha256": hashlib.sha256(der).hexdigest(), "spki_sha256": "11" * 32, "issuer_spki_sha256": "22" * 32,
            "serial": serial, "issuer": "CN=Bench", "subject": "CN=bench", "key_type": "ecdsa-p256", "origin": "bench",
            "names": ["bench.example.test"], "accepted": [], "not_before": "2026-01-01T00:00:00Z",
            "not_after": "2036-01-01T00:00:00Z", "made_at": "2026-01-01T00:00:00Z", "publicly_trusted": False,
            "files": [hashlib.sha256(text.encode()).hexdigest() for text in texts.values()]}
    (gen / "meta.json").write_text(json.dumps(meta))
    (folder / "live").symlink_to("gen/000001")


def make(state, publisher, certificates, issuers):
    roots, names = [], []
    for i in range(issuers):
        ca = Authority(state.parent / f"ca-{i}", f"Bench {i}", publish=f"{publisher.url}/{i}", ocsp=False)
        pair = ca.issue(["bench.example.test"])
        roots.append(pathlib.Path(ca.root).read_text())
        for path, part in ((f"/{i}/leaf.crl", "leaf"), (f"/{i}/ca.crl", "ca")):
            der = ca.crl(part)
            publisher.paths[path] = lambda request, der=der: (
                (304, {"ETag": '"1"'}, b"") if request.headers.get("If-None-Match") else (200, {"ETag": '"1"'}, der))
        octets = bytes.fromhex(pair.serial.zfill(40))
        for k in range(certificates // issuers):
            mine = octets if k == 0 else octets[:-4] + k.to_bytes(4, "big")
            name = f"c{i}-{k}"
            generation(state / "certificates" / name, pair, pair.der.replace(octets, mine, 1), mine.hex().lstrip("0"))
            names.append(name)
    return roots, names


def memory(pid):
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) // 1024


def run(folder, publisher, certificates, issuers):
    state, runs = folder / "state", folder / "run"
    runs.mkdir()
    roots, names = make(state, publisher, certificates, issuers)
    (folder / "trust.pem").write_text("".join(roots))
    groups = ",\n".join(f'{{ name = "{n}"; dns = [ "bench.example.test" ]; reissue = [ "/bin/true" ]; '
                        f'check = {{ interval = "{INTERVAL}s"; }}; }}' for n in names)
    (folder / "certswap.conf").write_text(f'state_dir = "{state}";\nrun_dir = "{runs}";\ntrust = "{folder}/trust.pem";\n'
                                          f"servers = ();\ncertificates = (\n{groups} );\n")
    conf = str(folder / "certswap.conf")
    with open(folder / "log", "wb") as log:
        daemon = subprocess.Popen([str(PROGRAMS / "certswapd"), "-c", conf], stdout=log, stderr=log)
    try:
        begin = time.monotonic()

        def good():
            done = subprocess.run([str(PROGRAMS / "certswapctl"), "-c", conf, "status", "--json"], capture_output=True, check=False)
            if done.returncode not in (0, 1):
                return False
            found = json.loads(done.stdout)["certificates"]
            return sum(c["revocation"]["status"] == "good" for c in found) == len(names)
        wait_until("every certificate is known to be good", good, 300, 1)
        took, first = time.monotonic() - begin, len(publisher.seen)
        at = time.monotonic()
        wait_until("some more looks", lambda: len(publisher.seen) >= first + 6 * issuers, 120, 0.2)
        span, later = time.monotonic() - at, len(publisher.seen) - first
        rounds = span / INTERVAL
        print(f"{len(names)} certificates of {issuers} issuers, a CRL of each issuer and of its root:")
        print(f"  all known to be good after          {took:8.1f} s (reading {len(names)} chains included)")
        print(f"  requests until then                 {first:8d}")
        print(f"  requests a round later              {later / rounds:8.1f}   ({later / rounds / len(names):.4f} a certificate)")
        print(f"  that is, a day, at 15 min           {later / rounds * ROUNDS_A_DAY:8.0f}")
        print(f"  memory of certswapd                 {memory(daemon.pid):8d} MiB")
    finally:
        daemon.terminate()
        daemon.wait(30)


def main():
    certificates, issuers = (int(a) for a in (sys.argv[1:] + ["10000", "20"][len(sys.argv) - 1:]))
    folder = pathlib.Path(tempfile.mkdtemp(prefix="certswap-fetches-"))
    try:
        with Publisher() as publisher:
            run(folder, publisher, certificates, issuers)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
