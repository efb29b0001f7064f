"""What the lint tests read: the project's folder and the files that belong to it."""
import os
import pathlib
import subprocess
import sys

PROJECT = pathlib.Path(__file__).resolve().parents[2]


def files(*suffixes):
    """Files of the project, relative: what git tracks or would; without git everything but build folders. With
    suffixes only those that end so."""
    listed = subprocess.run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=PROJECT, check=False,
                            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    if listed.returncode == 0:
        names = [os.fsdecode(name) for name in listed.stdout.split(b"\0") if name]
    else:
        names = [str(path.relative_to(PROJECT)) for path in PROJECT.rglob("*")
                 if not path.relative_to(PROJECT).parts[0].startswith(("build", ".git"))]
    return sorted(name for name in names
                  if name.endswith(suffixes or "") and (PROJECT / name).is_file() and not (PROJECT / name).is_symlink())


def text(name):
    try:
        return (PROJECT / name).read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return ""  # not text


def finish(complaints, words):
    """Prints the complaints and ends the program: 1 where there are any."""
    for complaint in complaints:
        print(complaint)
    print(f"{len(complaints)} complaints: {words}")
    sys.exit(bool(complaints))
