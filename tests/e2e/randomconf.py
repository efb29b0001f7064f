"""Random configurations of nginx and Apache that a server takes: hosts that share addresses, names that overlap,
certificates of their own or from above, in files that include each other, written in every way that the language has."""
import pathlib

HOSTS = ["127.0.0.1", "127.0.0.2", "127.0.0.3", "::1"]  # the third is named by no host: wildcards answer there
NAMES = ["a.test", "www.a.test", "b.test", "x.b.test", "c.d.test"]


class Pool:
    """Pairs in files: a folder each. kinds: {name: "rsa" or "ecdsa"}."""

    def __init__(self, folder, pairs):
        self.folder, self.names = pathlib.Path(folder), list(pairs)
        self.kinds = {name: kind for name, (kind, _) in pairs.items()}
        for name, (_, pair) in pairs.items():
            (self.folder / name).mkdir(parents=True)
            files = {"cert.pem": pair.cert, "chain.pem": pair.chain, "fullchain.pem": pair.fullchain, "key.pem": pair.key,
                     "both.pem": pair.key + pair.fullchain}
            for file, text in files.items():
                (self.folder / name / file).write_text(text)
                (self.folder / name / file).chmod(0o600)

    def some(self, random, both=0.15):
        """A pair, or two of unlike keys."""
        first = random.choice(self.names)
        others = [n for n in self.names if self.kinds[n] != self.kinds[first]]
        return [first, random.choice(others)] if random.random() < both else [first]


def network(host, port):
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


class Writer:
    """Text in files below a folder, each kept with its name."""

    def __init__(self, random, folder):
        self.random, self.folder, self.n = random, pathlib.Path(folder), 0
        self.ends = "\n"

    def chance(self, p):
        return self.random.random() < p

    def file(self, text, folder="parts", suffix=".conf"):
        self.n += 1
        path = self.folder / folder / f"{self.n:03}{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.replace("\n", "\r\n") if self.chance(0.15) else text, newline="")
        return path


class NginxWriter(Writer):
    """http { } with all that is in it."""

    def __init__(self, random, folder, pool, ports):
        super().__init__(random, folder)
        self.pool, self.ports = pool, ports
        self.defaults = set()

    def space(self):
        return self.random.choice([" "] * 5 + ["\t", "  ", "\n\t", " # no ; { } ' \" here\n  "])

    def word(self, text):
        return self.random.choice(["{}"] * 4 + ['"{}"', "'{}'"]).format(text)

    def pairs(self, names):
        """ssl_certificate and its key of some pairs, in either order, perhaps in a file of its own."""
        lines = []
        for name in names:
            folder = self.pool.folder / name
            cert, key = self.random.choice([("fullchain.pem", "key.pem"), ("both.pem", "both.pem"), ("cert.pem", "key.pem")])
            both = [f"ssl_certificate{self.space()}{self.word(folder / cert)}{self.random.choice(['', ' '])};",
                    f"ssl_certificate_key{self.space()}{self.word(folder / key)};"]
            lines += both if self.chance(0.7) else both[::-1]
        text = "\n".join(lines)
        return f"include {self.file(text, 'snippets')};" if self.chance(0.2) else text

    def listen(self, host, port, ssl):
        words = [self.random.choice([f"{host}:{port}"] + ([str(port)] if host == "*" else []))]
        if ":" in host:
            words = [f"[{host}]:{port}"]
        if ssl:
            words.append("ssl")
        if (host, port) not in self.defaults and self.chance(0.2):
            self.defaults.add((host, port))
            words.append(self.random.choice(["default_server", "default_server", "default"]))
        if ssl and self.chance(0.2):
            words.append("http2")
        return f"listen{self.space()}{' '.join(words)};"

    def names(self):
        def name():
            plain = self.random.choice(NAMES)
            forms = [plain] * 6 + ["*." + plain, "." + plain, plain.upper(), "www." + plain.split(".")[0] + ".*",
                                   r"~^re\d+\." + plain.replace(".", r"\.") + "$", '""', "_", f'"{plain}"', f"x.{plain}"]
            return self.random.choice(forms)
        if self.chance(0.1):
            return ""
        lines = [f"server_name{self.space()}" + " ".join(dict.fromkeys(name() for _ in range(self.random.randint(1, 3)))) + ";"
                 for _ in range(1 + self.chance(0.1))]
        return "\n".join(lines)

    def server(self, first):
        listens = {("127.0.0.1", self.ports[0])} if first else set()
        for _ in range(self.random.randint(0 if first else 1, 2)):
            listens.add((self.random.choice(["127.0.0.1", "127.0.0.1", "127.0.0.2", "*", "*", "::1", "::"]),
                         self.random.choice(self.ports)))
        lines = [self.listen(h, p, self.chance(0.75)) for h, p in sorted(listens)]
        lines.append(self.names())
        if self.chance(0.7):
            lines.append(self.pairs(self.pool.some(self.random)))
        if self.chance(0.06):
            lines.append("ssl_reject_handshake on;")
        if self.chance(0.3):
            lines.append('location / { if ($host ~ "a{2}") { return 403; } return 204; }')
        self.random.shuffle(lines)
        return "server" + self.random.choice([" ", "\n", ""]) + "{\n" + "\n".join(lines) + "\n}\n"

    def text(self):
        parts = []
        for i in range(self.random.randint(3, 8)):
            server = self.server(i == 0)
            if self.chance(0.3):
                server = f"include {self.word(self.file(server))};\n"
            if self.chance(0.15):
                server = f"include {self.word(self.file(server))};\n"
            parts.append(server)
        if self.chance(0.5):
            parts.append(self.pairs(self.pool.some(self.random)) + "\n")
        self.random.shuffle(parts)
        for _ in range(self.random.randint(0, 2)):
            self.file(self.server(False), "globbed", self.random.choice([".conf", ".conf", ".off"]))
        parts.insert(self.random.randint(0, len(parts)), f"include {self.folder}/globbed/*.conf;\n")
        return "".join(parts)


class ApacheWriter(Writer):
    """Listen, virtual hosts and what is around them."""

    def __init__(self, random, folder, pool, ports):
        super().__init__(random, folder)
        self.pool, self.ports = pool, ports
        self.macros = 0

    def cased(self, word):
        return self.random.choice([word] * 6 + [word.lower(), word.upper()])

    def line(self, name, *words):
        quoted = [self.random.choice(["{}"] * 4 + ['"{}"', "'{}'"]).format(w) for w in words]
        space = self.random.choice([" "] * 5 + ["\t", "   ", " \\\n   "])
        return self.random.choice(["", "  ", "\t"]) + self.cased(name) + space + " ".join(quoted) + "\n"

    def pairs(self, names):
        lines = ""
        for name in names:
            folder = str(self.pool.folder / name)
            if self.chance(0.25):
                folder = "${pairs}/" + name
            style = self.random.choice(["both", "key", "chain", "full"])
            if style == "both" and len(names) == 1:
                lines += self.line("SSLCertificateFile", f"{folder}/both.pem")
                continue
            lines += self.line("SSLCertificateFile", f"{folder}/{'cert' if style == 'chain' else 'fullchain'}.pem")
            lines += self.line("SSLCertificateKeyFile", f"{folder}/key.pem")
            if style == "chain":
                lines += self.line("SSLCertificateChainFile", f"{folder}/chain.pem")
        return self.wrapped(lines)

    def wrapped(self, lines):
        """As it stands, in a condition that holds, or in a file."""
        form = self.random.randint(0, 9)
        conditions = ["IfModule mod_ssl.c", "IfModule ssl_module", "IfModule !mod_nothing.c", "IfDefine pairs", "IfDefine !absent",
                      "IfVersion >= 2.4", "IfDefine GIVEN"]
        if form == 0:
            head = self.random.choice(conditions)
            return f"<{self.cased(head.split()[0])} {head.split(None, 1)[1]}>\n{lines}</{head.split()[0]}>\n"
        if form == 1:
            return self.line(self.random.choice(["Include", "IncludeOptional"]), self.file(lines))
        return lines

    def distraction(self):
        """What does not count, with a certificate in it."""
        folder = self.pool.folder / self.random.choice(self.pool.names)
        lines = self.line("SSLCertificateFile", folder / "both.pem")
        return self.random.choice([
            f"<IfModule mod_nothing.c>\n{lines}</IfModule>\n", f"<IfDefine absent>\n{lines}</IfDefine>\n",
            f"<IfDefine !GIVEN>\n{lines}</IfDefine>\n", f"<IfVersion < 2.4>\n{lines}</IfVersion>\n",
            "# " + lines.replace("\\\n", ""), f"IncludeOptional {self.folder}/nowhere/*.conf\n",
            f"Define gone x\nUnDefine gone\n<IfDefine gone>\n{lines}</IfDefine>\n",
            f"<IfModule mod_ssl.c>\n<IfModule !mod_ssl.c>\n{lines}</IfModule>\n</IfModule>\n"])

    def names(self):
        def alias():
            plain = self.random.choice(NAMES)
            return self.random.choice([plain, plain, "*." + plain, f"?.{plain}", "www." + plain, plain.upper()])
        lines = ""
        if self.chance(0.88):
            plain = self.random.choice(NAMES)
            lines += self.line("ServerName", self.random.choice([plain] * 5 + [f"{plain}:443", f"https://{plain}", "*." + plain]))
        for _ in range(self.random.choice([0, 0, 1, 1, 2])):
            lines += self.line("ServerAlias", *(alias() for _ in range(self.random.randint(1, 2))))
        return lines

    def addresses(self):
        forms = [f"*:{p}" for p in self.ports] * 3 + [f"_default_:{p}" for p in self.ports]
        forms += [f"{h}:{p}" for p in self.ports for h in ("127.0.0.1", "127.0.0.2", "[::1]")]
        forms += ["*", "127.0.0.1", f"0.0.0.0:{self.ports[0]}", f"[::]:{self.ports[0]}", f"*:{self.ports[0] + 1}"]
        return " ".join(dict.fromkeys(self.random.choice(forms) for _ in range(1 + self.chance(0.2))))

    def host(self):
        body = self.names()
        engine = self.random.choice(["on"] * 8 + ["off", None])
        parts = [self.line("SSLEngine", engine) if engine else ""]
        if self.chance(0.85):
            parts.append(self.pairs(self.pool.some(self.random)))
        if self.chance(0.25):
            parts.append(self.distraction())
        if self.chance(0.2):
            parts.append('<If "true">\nErrorDocument 404 none\n</If>\n')
        self.random.shuffle(parts)
        head = self.addresses()
        text = f"<{self.cased('VirtualHost')} {head}>\n{body}{''.join(parts)}</VirtualHost>\n"
        if self.chance(0.15):
            self.macros += 1
            name = f"Host{self.macros}"
            parameter = self.random.choice(["$pool", "@pool@", "%pool"])
            text = text.replace(str(self.pool.folder), parameter)
            return f"<Macro {name} {parameter}>\n{text}</Macro>\nUse {name} {self.pool.folder}\n"
        return self.line("Include", self.file(text)) if self.chance(0.25) else text

    def listens(self):
        """Every address that may be listened on, once."""
        text, addresses = "", []
        for i, port in enumerate(self.ports):
            protocol = self.random.choice([["https"], []]) if i else ["https"]
            if self.chance(0.5) and i:
                some = [h for h in HOSTS if self.chance(0.6)] or HOSTS[:1]
                text += "".join(self.line("Listen", network(h, port), *protocol) for h in some)
                addresses += [(h, port) for h in some]
            else:
                text += self.line("Listen", port, *protocol)
                addresses += [(h, port) for h in HOSTS]
        return text, addresses

    def text(self):
        """The text, and the concrete addresses that are listened on."""
        listens, addresses = self.listens()
        text = f"Define pairs {self.pool.folder}\n" + listens
        parts = [self.host() for _ in range(self.random.randint(3, 7))]
        if self.chance(0.3):
            parts.append(self.pairs(self.pool.some(self.random)))
        if self.chance(0.3):
            parts.append(self.distraction())
        if self.chance(0.3):
            parts.append(self.line("ServerName", self.random.choice(["main.test", NAMES[0]])))
        self.random.shuffle(parts)
        for _ in range(self.random.randint(0, 2)):
            self.file(self.host(), "globbed", self.random.choice([".conf", ".off"]))
        parts.append(self.line("IncludeOptional", self.folder / "globbed" / "*.conf"))
        return text + "".join(parts), addresses
