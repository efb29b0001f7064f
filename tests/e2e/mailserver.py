"""A small server that speaks SMTP, IMAP or POP3 up to STARTTLS, or TLS from the first byte, with a pair that it reads at the
start and at SIGHUP, as Postfix and Dovecot do. Started as a program: mailserver.py KIND PORT FULLCHAIN KEY [FROZEN]. While
the file FROZEN exists, SIGHUP is not obeyed."""
import os
import signal
import socket
import ssl
import sys
import threading

GREETING = {"smtp": "220 mail.example.test ESMTP\r\n", "imap": "* OK IMAP4rev1\r\n", "pop3": "+OK POP3\r\n"}
ANSWERS = {"smtp": {"EHLO": "250-mail.example.test\r\n250 STARTTLS\r\n", "STARTTLS": "220 go ahead\r\n"},
           "imap": {"a STARTTLS": "a OK begin\r\n"}, "pop3": {"STLS": "+OK begin\r\n"}}


def read_pair(fullchain, key):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(fullchain, key)
    return context


def talk(plain, kind, context):
    with plain:
        plain.settimeout(10)
        if kind != "none":
            plain.sendall(GREETING[kind].encode())
            with plain.makefile("rb", buffering=0) as lines:
                while True:
                    line = lines.readline().decode().strip()
                    answer = next((a for word, a in ANSWERS[kind].items() if line.startswith(word)), None)
                    if not answer:
                        return
                    plain.sendall(answer.encode())
                    if "STARTTLS" in line or line == "STLS":
                        break
        try:
            with context.wrap_socket(plain, server_side=True) as secure:
                secure.recv(1)
        except OSError:
            pass


def main(kind, port, fullchain, key, frozen="/nonexistent"):
    now = {"context": read_pair(fullchain, key)}

    def again(*_):
        if not os.path.exists(frozen):
            now["context"] = read_pair(fullchain, key)
    signal.signal(signal.SIGHUP, again)
    with socket.create_server(("127.0.0.1", int(port))) as listener:
        while True:
            plain, _ = listener.accept()
            threading.Thread(target=talk, args=(plain, kind, now["context"]), daemon=True).start()


if __name__ == "__main__":
    main(*sys.argv[1:])
