#!/usr/bin/python3
"""server.py FILE: a TLS server in the place of a web server that does not behave. FILE is JSON:

    pairs       folders with fullchain.pem and privkey.pem; an RSA and an ECDSA pair may stand side by side
    listen      [[host, port]...]; pidfile; folder (for what it notes)
    turn        what SIGHUP does; see Server.turn
    tickets     offers to resume sessions; each one resumed becomes a line in folder/resumed
    clients     a PEM file: a certificate is demanded of the client
    newest      "1.2": no TLS 1.3
    proxy       a PROXY header (version 1) is demanded before TLS
    domain      the pairs are for names below it; others, and who names none, get `otherwise`, a folder as above

Runs in the background once it listens; ends on SIGTERM."""
import itertools
import json
import os
import pathlib
import re
import signal
import socket
import ssl
import sys
import threading

HANDSHAKE_SECONDS = 5


class Server:
    def __init__(self, path):
        self.settings = json.loads(pathlib.Path(path).read_text(encoding="ascii"))
        self.folder = pathlib.Path(self.settings["folder"])
        self.at_start = self.pairs_now()
        self.turned = False
        self.sockets = [self.listen(host, port) for host, port in self.settings["listen"]]
        self.contexts = {s: itertools.repeat(self.context(self.at_start)) for s in self.sockets}

    @staticmethod
    def listen(host, port):
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family, backlog=128)

    def pairs_now(self):
        """Where the links lead to: a later turn does not change it."""
        return [os.path.realpath(pair) for pair in self.settings["pairs"]]

    def context(self, pairs):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        for pair in pairs:
            context.load_cert_chain(f"{pair}/fullchain.pem", f"{pair}/privkey.pem")
        if not self.settings.get("tickets"):
            context.options |= ssl.OP_NO_TICKET
            context.num_tickets = 0
        if self.settings.get("newest") == "1.2":
            context.maximum_version = ssl.TLSVersion.TLSv1_2
        if self.settings.get("clients"):
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(self.settings["clients"])
        if self.settings.get("domain"):
            return self.by_name(context)
        return context

    def by_name(self, ours):
        default = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        other = self.settings["otherwise"]
        default.load_cert_chain(f"{other}/fullchain.pem", f"{other}/privkey.pem")

        def choose(connection, name, _):
            if name and name.endswith(self.settings["domain"]):
                connection.context = ours
        default.sni_callback = choose
        return default

    def unnamed_only(self, old, new):
        """Who names a server gets the old pair, who names none the new one."""
        old, new = self.context(old), self.context(new)

        def choose(connection, name, _):
            if name:
                connection.context = old
        new.sni_callback = choose
        return new

    @staticmethod
    def by_version(newer, new, old):
        """Who offers TLS 1.3 gets the new pair, others the old one; or the other way round."""
        def choose(plain):
            hello = plain.recv(4096, socket.MSG_PEEK)
            offers = re.search(rb"\x00\x2b\x00[\x03-\x20][\x02-\x20](?:..)*?\x03\x04", hello, re.DOTALL)
            return new if bool(offers) == newer else old
        return choose

    @staticmethod
    def read_header(plain):
        header = b""
        while not header.endswith(b"\r\n"):
            byte = plain.recv(1)
            if not byte or len(header) > 107 or not b"PROXY ".startswith((header + byte)[:6]):
                raise OSError("no PROXY header")
            header += byte

    def turn(self, *_):
        """SIGHUP. all: as it should; none: nothing; in-turn: old and new by turns; ipv6: only there; ipv6-once: so, and
        then nothing ever again; unnamed: only who names no server sees it; first: only the first of the pairs; tls1.2, tls1.3: only for who speaks that; dies."""
        how, now, old = self.settings["turn"], self.pairs_now(), self.at_start
        changed = now != old
        if how == "none" or (how == "ipv6-once" and self.turned):
            return
        if how == "dies" and changed:
            os._exit(1)
        self.turned = True
        for s in self.sockets:
            if how == "in-turn" and changed:
                self.contexts[s] = itertools.cycle([self.context(now), self.context(old)])
            elif how in ("ipv6", "ipv6-once") and s.family != socket.AF_INET6:
                continue
            elif how == "unnamed" and changed:
                self.contexts[s] = itertools.repeat(self.unnamed_only(old, now))
            elif how in ("tls1.2", "tls1.3") and changed:
                self.contexts[s] = itertools.repeat(self.by_version(how == "tls1.3", self.context(now), self.context(old)))
            elif how == "first":
                self.contexts[s] = itertools.repeat(self.context(now[:1] + old[1:]))
            else:
                self.contexts[s] = itertools.repeat(self.context(now))

    def shake_hands(self, plain, context):
        try:
            plain.settimeout(HANDSHAKE_SECONDS)
            if self.settings.get("proxy"):
                self.read_header(plain)
            if callable(context):
                context = context(plain)
            with context.wrap_socket(plain, server_side=True) as secure:
                if secure.session_reused:
                    with open(self.folder / "resumed", "a", encoding="ascii") as file:
                        file.write("resumed\n")
                secure.recv(1)
        except OSError:
            pass  # whoever it was, they know
        finally:
            plain.close()

    def accept(self, listening):
        while True:
            plain, _ = listening.accept()
            context = next(self.contexts[listening])
            threading.Thread(target=self.shake_hands, args=(plain, context), daemon=True).start()

    def serve(self):
        signal.signal(signal.SIGHUP, self.turn)
        signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
        for s in self.sockets:
            threading.Thread(target=self.accept, args=(s,), daemon=True).start()
        pathlib.Path(self.settings["pidfile"]).write_text(f"{os.getpid()}\n", encoding="ascii")


def main():
    ready, tell = os.pipe()
    if os.fork():
        os.close(tell)
        sys.exit(0 if os.read(ready, 1) else 1)
    os.setsid()
    server = Server(sys.argv[1])
    with open(server.folder / "error.log", "ab") as log, open(os.devnull, "rb") as nothing:
        os.dup2(nothing.fileno(), 0)
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    server.serve()
    os.write(tell, b"1")
    os.close(tell)
    while True:
        signal.pause()


main()
