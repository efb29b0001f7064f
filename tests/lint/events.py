#!/usr/bin/python3
"""Every event of the audit log and of the alert command is named in certswapd(8): operators write rules on them."""
import re

from sources import files, finish, text

# a call that takes the event as its nth text in quotes; what is chosen by a condition stands in one expression
CALLS = (
    re.compile(r"\baudit_write\(\s*[^,;]+,((?:[^,;\"]*\"[a-z-]+\")+),"),
    re.compile(r"\.event =((?:[^,;\"]*\"[a-z-]+\")+),"),
    re.compile(r"\balert_of\(c, i,((?:[^,;\"]*\"[a-z-]+\")+),"),
    re.compile(r"\btell_time\(c, i,((?:[^,;\"]*\"[a-z-]+\")+),"),
    re.compile(r"\btell\(a,((?:[^,;\"]*\"[a-z-]+\")+),"),
    re.compile(r"\bdeny\(r,((?:[^,;\"]*\"[a-z-]+\")+),"),
    re.compile(r"\[TXN_[A-Z_]+\] = \{((?:\"[a-z-]+\")), \""),
)


def main():
    manual = text("man/certswapd.8")
    named = set(re.findall(r"^\.It(?: Cm|,)? ?(.*)$", manual, re.M))
    named = {word for line in named for word in re.findall(r"[a-z]+(?:-[a-z]+)*", line)}
    found = {}
    for name in files(".c"):
        if name.startswith(("agent/site/", "agent/control/")):
            for call in CALLS:
                for match in call.finditer(text(name)):
                    for event in re.findall(r"\"([a-z-]+)\"", match.group(1)):
                        found.setdefault(event, name)
    finish([f"{name}: the event {event} is not in certswapd(8)" for event, name in sorted(found.items()) if event not in named],
           f"{len(found)} events")


main()
