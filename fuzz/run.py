#!/usr/bin/python3
"""Runs the fuzz targets one after another: fuzz/run.py BUILD [--minutes N] [--keep FOLDER] [TARGET...]. BUILD was made by
CC=clang cmake -DCMAKE_BUILD_TYPE=RelWithDebInfo -DCERTSWAP_SANITIZE=ON -DCERTSWAP_FUZZ=ON. The minutes are for all of them together. Prints a line
a target: seconds, executions, edges of the program that were reached (at the start by the corpus, at the end), finds. What was found new stays in
FOLDER/TARGET, so a later run goes on from there; inputs that crash it in FOLDER/finds. Exit status 1 if there was a find."""
import argparse
import glob
import os
import re
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))


def number(pattern, text, last=True):
    found = re.findall(pattern, text)
    return int(found[-1 if last else 0]) if found else 0


def run(program, target, seconds, keep):
    grown, finds = f"{keep}/{target}", f"{keep}/finds/{target}-"
    os.makedirs(grown, exist_ok=True)
    os.makedirs(os.path.dirname(finds), exist_ok=True)
    before = set(glob.glob(finds + "*"))
    words = [f"-max_total_time={seconds}", "-max_len=65536", "-timeout=20", "-rss_limit_mb=2048", "-print_final_stats=1",
             f"-artifact_prefix={finds}", grown, f"{HERE}/corpus/{target}"]
    with tempfile.TemporaryFile() as out:
        status = subprocess.run([program, *words], stdout=out, stderr=subprocess.STDOUT,
                                preexec_fn=lambda: os.nice(19), check=False).returncode
        out.seek(0)
        text = out.read().decode(errors="replace")
    new = sorted(set(glob.glob(finds + "*")) - before)
    took = number(r"in (\d+) second", text)
    print(f"{target:10} {took:6} s {number(r'number_of_executed_units: *([0-9]+)', text):12} executions, edges "
          f"{number(r'INITED cov: ([0-9]+)', text, False)} -> {number(r'cov: ([0-9]+)', text)}, "
          f"{len(new)} finds{'' if status == 0 or new else f', ended with status {status}'}", flush=True)
    for path in new:
        print(f"           {path}", flush=True)
    if new or status:
        sys.stderr.write(text[-6000:])
    return status == 0


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("build")
    arguments.add_argument("--minutes", type=float, default=10)
    arguments.add_argument("--keep", default=os.path.join(tempfile.gettempdir(), "certswap-fuzz"))
    arguments.add_argument("targets", nargs="*")
    a = arguments.parse_intermixed_args()
    programs = {os.path.basename(p)[5:-4]: p for p in glob.glob(f"{a.build}/fuzz/fuzz_*_run")}
    targets = a.targets or sorted(programs)
    if not targets or set(targets) - set(programs):
        sys.exit(f"fuzz/run.py: {a.build} has {', '.join(sorted(programs)) or 'no fuzz target: configure it with -DCERTSWAP_FUZZ=ON'}")
    seconds = max(1, int(a.minutes * 60 / len(targets)))
    sys.exit(0 if all([run(programs[t], t, seconds, a.keep) for t in targets]) else 1)


main()
