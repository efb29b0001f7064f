#!/usr/bin/python3
"""tool.py shellcheck | format | tidy BUILD: runs the tool of that name on every file of the project that it is for."""
import os
import subprocess
import sys

from sources import PROJECT, files, text


def shell_scripts():
    def is_shell(name):
        first = text(name).partition("\n")[0]
        return name.endswith(".sh") or (first.startswith("#!") and first.split("/")[-1].split()[-1] in ("sh", "bash", "dash"))
    return [name for name in files() if is_shell(name)]


def command(what):
    if what == "shellcheck":
        return ["shellcheck", "-x", "-P", "SCRIPTDIR", *shell_scripts()]
    if what == "format":
        return ["clang-format", "--dry-run", "-Werror",
                *(name for name in files(".c", ".h") if name.startswith(("agent/", "tests/", "bench/")))]
    if what == "tidy":
        return ["run-clang-tidy", "-quiet", "-p", sys.argv[2], "-j", str(os.cpu_count()), str(PROJECT / "agent") + "/.*"]
    sys.exit(__doc__)


def main():
    argv = command(sys.argv[1])
    done = subprocess.run(argv, cwd=PROJECT, check=False)
    print(f"{argv[0]}: {'good' if done.returncode == 0 else 'see above'}")
    sys.exit(done.returncode)


main()
