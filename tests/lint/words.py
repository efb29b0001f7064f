#!/usr/bin/python3
"""No sleeping in code or tests (wait for the event, with a deadline), no path of one machine, nothing left open."""
import re

from sources import files, finish, text

# The patterns are written so that they don't find themselves. A shell's sleep of 100 s or more is no waiting: it stands for a
# program that hangs.
RULES = (
    (re.compile(r"\.(c|h|sh|py)$|^hooks/|^(demo|test|package)$"),
     re.compile(r"(^|[^a-z_])(time\.)?(u|nano|clock_nano|uv_)?slee[p] ?\(|(^|[;&|({]|\b(do|then|else))\s*slee[p] (?!\d{3})[0-9$]"),
     "sleeps: wait for the event, with a deadline"),
    (re.compile(r""), re.compile(r"(?<![\w}])/(?:work|farm|root)/|/home/[a-z]|/tmp/b[-]"), "names a path of one machine"),
    (re.compile(r"\.(c|h|sh|py|cmake|txt|conf)$|^hooks/|^(demo|test|package)$"),
     re.compile(r"\b(?:TOD[O]|FIXM[E]|XX[X]|HAC[K])\b|not implemente[d]"), "is left open"),
)


def main():
    complaints, every = [], files()
    for name in every:
        for which, pattern, words in RULES:
            if not which.search(name):
                continue
            for number, line in enumerate(text(name).splitlines(), 1):
                if pattern.search(line):
                    complaints.append(f"{name}:{number}: {words}: {line.strip()[:100]}")
    finish(complaints, f"{len(every)} files")


main()
