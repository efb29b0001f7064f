#!/usr/bin/python3
"""What `inotifywait -m -e close_write,moved_to FOLDER` prints, for machines without inotify-tools: a line for each event."""
import ctypes
import os
import struct
import sys

IN_CLOSE_WRITE, IN_MOVED_TO, IN_CLOEXEC = 0x8, 0x80, 0o2000000
HEAD = struct.Struct("iIII")  # wd, mask, cookie, len: inotify(7)


def main():
    folder = sys.argv[1]
    libc = ctypes.CDLL(None, use_errno=True)
    fd = libc.inotify_init1(IN_CLOEXEC)
    if fd < 0 or libc.inotify_add_watch(fd, os.fsencode(folder), IN_CLOSE_WRITE | IN_MOVED_TO) < 0:
        sys.exit(f"{folder}: {os.strerror(ctypes.get_errno())}")
    print("Watches established.", file=sys.stderr, flush=True)
    while True:
        data = os.read(fd, 65536)
        at = 0
        while at < len(data):
            _, mask, _, length = HEAD.unpack_from(data, at)
            name = data[at + HEAD.size:at + HEAD.size + length].rstrip(b"\0").decode()
            print(f"{folder}/ {'MOVED_TO' if mask & IN_MOVED_TO else 'CLOSE_WRITE,CLOSE'} {name}", flush=True)
            at += HEAD.size + length


main()
