#!/usr/bin/python3
"""A file of agent/ROOM/ includes only its own room and those that agent/CMakeLists.txt names for it (directly or through
them), a room names only rooms above it, and what comes from outside is used only where it belongs."""
import re

from sources import PROJECT, files, finish, text

# header from outside -> rooms that may include it
OUTSIDE = {
    r"uv\.h": {"loop"},
    r"libconfig\.h": {"settings"},
    r"jansson\.h": {"swap", "site", "control", "ctl", "fetch"},
    r"seccomp\.h|linux/(seccomp|landlock)\.h": {"worker"},
    r"openssl/(evp|sha|crypto)\.h": {"base", "pki", "worker", "fetch"},
    r"openssl/.*": {"pki", "worker", "fetch"},
    r"curl/.*": {"fetch"},
    r"sys/inotify\.h": {"loop", "ctl"},
}
LAST = {"fetch", "ctl"}  # side by side at the end: neither includes the other


def read_rooms():
    """{room: rooms it may use, transitively}, in order; complaints about the order itself."""
    allowed, complaints, cmake = {}, [], text("agent/CMakeLists.txt")
    for room, rest in re.findall(r"^certswap_room\((\w+)([^)]*)\)", cmake, re.M):
        named = re.search(r"ROOMS ([a-z ]+)", rest)
        allowed[room] = {room}
        for other in named.group(1).split() if named else []:
            if other not in allowed or other in LAST:
                complaints.append(f"agent/CMakeLists.txt: room {room} uses {other}, which does not stand above it")
            else:
                allowed[room] |= allowed[other]
    programs = {}  # file beside the rooms, without its ending -> the room that its program is made of
    for name, main, room in re.findall(r"^certswap_program\((\S+) (\S+)\.c \S+ room_(\w+)", cmake, re.M):
        more = re.findall(rf"target_sources\({name} PRIVATE ([^)]*)\)", cmake)
        programs |= {source.removesuffix(".c"): room for source in [main, *" ".join(more).split()]}
    return allowed, programs, complaints


def check(name, allowed, programs):
    parts = name.split("/")
    room = parts[1] if len(parts) > 2 else programs.get(parts[1].rpartition(".")[0])
    if room not in allowed:
        yield f"{name}: belongs to no room of agent/CMakeLists.txt"
        return
    for number, line in enumerate(text(name).splitlines(), 1):
        found = re.match(r'\s*#\s*include\s*(["<])([^">]+)[">]', line)
        if not found:
            continue
        kind, path = found.groups()
        if kind == '"':
            if "/" not in path and len(parts) == 2 and path.rpartition(".")[0] in programs:
                continue  # a program's own header, beside the rooms
            if "/" not in path:
                yield f'{name}:{number}: "{path}" is included without its room'
            elif path.split("/")[0] not in allowed[room]:
                yield f"{name}:{number}: room {room} may not include {path}"
            elif not (PROJECT / "agent" / path).exists():
                yield f"{name}:{number}: there is no agent/{path}"
        else:
            owners = next((rooms for pattern, rooms in OUTSIDE.items() if re.fullmatch(pattern, path)), None)
            if owners is not None and room not in owners:
                yield f"{name}:{number}: only {', '.join(sorted(owners))} may include {path}"


def main():
    allowed, programs, complaints = read_rooms()
    sources = [name for name in files(".c", ".h") if name.startswith("agent/")]
    for name in sources:
        complaints += check(name, allowed, programs)
    if len(allowed) < 10 or not sources:
        complaints.append("agent/CMakeLists.txt names fewer rooms than there are: this test does not read it right")
    finish(complaints, f"{len(sources)} files in {len(allowed)} rooms")


main()
