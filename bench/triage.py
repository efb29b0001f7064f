#!/usr/bin/python3
"""The measurement of bench/triage."""
import gzip
import hashlib
import json
import os
import random
import subprocess
import sys
import tempfile
import time


def state(folder, certificates):
    """certificates/NAME/gen/000001/meta.json as the agent writes it; returns their serials."""
    serials = []
    for i in range(certificates):
        serial = f"{random.getrandbits(120) | 1 << 119:x}"
        serials.append(serial)
        gen = f"{folder}/certificates/site{i}/gen/000001"
        os.makedirs(gen)
        digest = hashlib.sha256(serial.encode()).hexdigest()
        with open(f"{gen}/meta.json", "w", encoding="ascii") as f:
            json.dump({"number": 1, "sha256": digest, "spki_sha256": digest[::-1], "issuer_spki_sha256": digest, "serial": serial,
                       "issuer": "CN=Some Issuing CA,O=Example Trust,C=JP", "subject": f"CN=site{i}.example.jp",
                       "key_type": "ecdsa-p256", "origin": "submit", "names": [f"site{i}.example.jp"], "accepted": [],
                       "not_before": "2026-10-01T00:00:00Z", "not_after": "2027-01-01T00:00:00Z",
                       "made_at": "2026-10-01T00:00:00Z", "publicly_trusted": True, "files": [digest] * 5}, f)
        os.symlink("gen/000001", f"{folder}/certificates/site{i}/live")
    with open(f"{folder}/certswap.conf", "w", encoding="ascii") as f:
        f.write(f'state_dir = "{folder}"; run_dir = "{folder}";\n')
    return serials


def a_list(path, lines, ours):
    with gzip.open(path, "wt", compresslevel=6, encoding="ascii") as f:
        f.write("serial,not_after,reason\n")
        for i in range(lines - 1):
            serial = ours[i // 300000 % len(ours)] if i % 300000 == 7 else f"{random.getrandbits(128):032x}"
            f.write(f"{serial},2026-12-{i % 28 + 1:02d},superseded\n")


def best(command, rounds, wanted, **more):
    times = []
    for _ in range(rounds):
        start = time.monotonic()
        result = subprocess.run(command, stdout=subprocess.PIPE, check=False, **more)
        times.append(time.monotonic() - start)
        if result.returncode not in wanted:
            sys.exit(f"{command} ended with {result.returncode}")
    return min(times), result.stdout.decode()


def main():
    program, lines, certificates = sys.argv[1], int((sys.argv[2:] or [3000000])[0]), int((sys.argv[3:] or [10000])[0])
    random.seed(1)
    with tempfile.TemporaryDirectory() as folder:
        ours = state(folder, certificates)
        path = f"{folder}/list.csv.gz"
        a_list(path, lines, ours)
        bare, counted = best(["sh", "-c", f"zcat {path} | wc -l"], 3, (0,))
        mine, said = best([program, "-c", f"{folder}/certswap.conf", "triage", "--json", path], 3, (1,))
        answer = json.loads(said)
        expected = len(range(7, lines - 1, 300000))
        if int(counted) != lines or answer["lines"] != lines or len(answer["affected"]) != expected:
            sys.exit(f"wrong answer: {answer['lines']} lines, {len(answer['affected'])} of {expected} found")
        print(f"{lines} lines, {certificates} certificates, {expected} of them in the list")
        print(f"zcat | wc -l        {bare * 1000:8.0f} ms")
        print(f"certswapctl triage  {mine * 1000:8.0f} ms   ratio {mine / bare:.2f}")


main()
