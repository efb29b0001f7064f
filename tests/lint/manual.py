#!/usr/bin/python3
"""certswapctl(1) has each command with each of its options, and no other. Usage: manual.py CERTSWAPCTL"""
import re
import subprocess
import sys

from sources import finish, text

EVERYWHERE = {"config", "verbose", "help"}  # taken by every command, said once
SAID_OF_ALL = {"json"}                      # said under JSON, and with each command whose result is more than a message


def said(*arguments):
    return subprocess.run([sys.argv[1], *arguments], stdout=subprocess.PIPE, text=True, check=True).stdout


def options_of_program():
    """{command: its long options}, as its own help says."""
    commands = re.findall(r"^  ([a-z]+(?: [a-z]+)?) {2,}[A-Z]|^  ([a-z]+ [a-z]+) [A-Z]", said("help").partition("Commands:")[2], re.M)
    found = {}
    for command in (one or other for one, other in commands):
        listed = said(*command.split(), "--help").partition("Options:")[2]
        found[command] = set(re.findall(r"^ +(?:-\w, )?--([a-z-]+)", listed, re.M)) - EVERYWHERE
    return found


def options_of_manual():
    """{command: the long options that its entry names}; entries that follow each other share what the last of them says."""
    part = text("man/certswapctl.1").partition("The commands are as follows:")[2].partition(".Sh PASSWORDS")[0]
    part = re.sub(r"\.It Xo\n((?:.*\n)*?)\.Xc\n", lambda m: ".It " + m.group(1).replace("\n", " ") + "\n", part)
    found = {}
    for entry in re.split(r"^\.It ", part, flags=re.M)[1:]:
        title = re.sub(r"^\.?Cm ", "", entry)
        name = re.match(r"[a-z]+(?: (?=(?:test|dump|reload|list|add|confirm|remove)\b)[a-z]+)?", title).group(0)
        found.setdefault(name, set()).update(re.findall(r"Fl -([a-z-]+)|, -([a-z-]+)", entry))
    return {name: {one or other for one, other in options} for name, options in found.items()}


def main():
    program, manual = options_of_program(), options_of_manual()
    complaints = [f"{name}: is not in certswapctl(1)" for name in program.keys() - manual.keys()]
    complaints += [f"{name}: certswapctl(1) has a command that there is not" for name in manual.keys() - program.keys()]
    for name in program.keys() & manual.keys():
        complaints += [f"{name}: --{o} is not in its entry of certswapctl(1)" for o in program[name] - manual[name] - SAID_OF_ALL]
        complaints += [f"{name}: certswapctl(1) has --{o}, which it does not take" for o in manual[name] - program[name]]
    finish(sorted(complaints), f"{len(program)} commands, {sum(map(len, program.values()))} options")


main()
