"""What `discover --json` claims of a running server against what handshakes with it show, both ways: what it claims is
shown, and what is shown it claims."""
import fnmatch
import hashlib
import socket
import ssl

KINDS = {"rsa": "aRSA", "ecdsa": "aECDSA"}
UNKNOWN = "nobody.has-this.example"  # a name that no configuration has


def _context(ciphers):
    """TLS 1.2, so that the cipher suite decides which key is asked for."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(ciphers)
    return context


_contexts = {kind: _context(ciphers) for kind, ciphers in KINDS.items()}


def shown(address, kind, name, seconds=5.0):
    """SHA-256 of what is shown at an address for a kind of key and a name (None: none is sent); None: no handshake."""
    try:
        with socket.create_connection(address, seconds) as plain:
            with _contexts[kind].wrap_socket(plain, server_hostname=name) as secure:
                return hashlib.sha256(secure.getpeercert(binary_form=True)).hexdigest()
    except ssl.SSLError as problem:
        if "CERTIFICATE_REQUIRED" in str(problem) or "HANDSHAKE_FAILURE" not in str(problem) and "client certificate" in str(problem):
            raise AssertionError("a client certificate is asked for: not for this comparison") from problem
        return None
    except OSError:
        return None


def split(address):
    """("127.0.0.1", "443") of "127.0.0.1:443"."""
    host, _, port = address.rpartition(":")
    return host.strip("[]"), port


def is_any(host):
    return host in ("*", "0.0.0.0", "::")


class Claim:
    """A pair at a place: what it says will be seen where."""

    def __init__(self, server, certificate, place):
        leaf = certificate["leaf"]
        self.nginx = server["kind"] == "nginx"
        self.sha256 = leaf and leaf["sha256"]
        self.kind = leaf and ("rsa" if leaf["key_type"].startswith("rsa") else "ecdsa")
        self.out_of_reach = not leaf
        self.hidden = place["rejects"] or place["shown_instead"]
        self.names = place["names"]
        self.addresses = [a for a in place["addresses"] if a["tls"] and not a.get("quic")]
        self.where = "{file}:{line}".format(**place["at"])

    def fits_name(self, name, address):
        """May it be shown for this name here? A regular expression may fit any."""
        if name in (None, UNKNOWN) and address["default_server"]:
            return True
        if name is None:
            return False
        return address["default_server"] or any(
            fits(p, name, self.nginx) for p in self.names if p not in address["taken"])


def fits(pattern, name, nginx):
    pattern, name = pattern.lower(), name.lower()
    if nginx and pattern.startswith("~"):
        return True
    if nginx and pattern.startswith("."):
        return name == pattern[1:] or name.endswith(pattern)
    if nginx and pattern.endswith(".*"):
        return name.startswith(pattern[:-1])
    return fnmatch.fnmatchcase(name, pattern) if set(pattern) & set("*?") else name == pattern


def example_of(pattern, nginx):
    """Names that a pattern must answer to; none for a regular expression and what is no name."""
    if pattern == "_" or not pattern:
        return []
    if nginx and pattern.startswith("~") or "$" in pattern:
        return []
    if nginx and pattern.startswith("."):
        return [pattern[1:], "fresh-label" + pattern]
    return [pattern.replace("*", "fresh-label").replace("?", "q")]


class World:
    """Where a server can be asked: concrete addresses, of which those with a wildcard stand for others."""

    def __init__(self, addresses):
        """addresses: (host, port) that the server listens on, all of them concrete."""
        self.addresses = addresses
        self.nginx = False
        self._seen = {}

    def look(self, address, kind, name):
        key = (address, kind, name)
        if key not in self._seen:
            self._seen[key] = shown(address, kind, name)
        return self._seen[key]

    def asked(self):
        return len(self._seen)

    def places_of(self, claimed, hosts):
        """The concrete addresses that lead to the hosts of this one."""
        return [a for a in self.addresses if leads_to(a, hosts, self.nginx) == split(claimed)]


def leads_to(address, hosts, nginx):
    """Of the addresses of all hosts the most particular one that a connection fits. * is IPv4 alone for nginx."""
    host, port = address[0], str(address[1])
    any_six = nginx or any(split(a["address"])[0] == "::" for h in hosts for a in h["addresses"])
    every = "::" if ":" in host and any_six else "*"
    have = {split(a["address"]) for h in hosts for a in h["addresses"]}
    return next((form for form in ((host, port), (host, "*"), (every, port), (every, "*")) if form in have), None)


def compare(result, config, world, names):
    """What of the claims is not so, as lines; [] is as it should be. names: more names to ask for."""
    server = next(s for s in result["servers"] if s["config"] == config)
    hosts = server["hosts"]
    claims = [Claim(server, c, p) for c in result["certificates"] for p in c["places"] if p["server"] == server["name"]]
    nginx = world.nginx = server["kind"] == "nginx"
    return [*_claimed_is_shown(claims, world, hosts, nginx),
            *_shown_is_claimed(claims, world, hosts, names)]


def _claimed_is_shown(claims, world, hosts, nginx):
    for claim in claims:
        for address in claim.addresses:
            if claim.out_of_reach or claim.hidden or address["unreached"]:
                continue
            places = world.places_of(address["address"], hosts)
            if not places and not is_any(split(address["address"])[0]):
                yield f"{claim.where}: {address['address']} is claimed, but nothing listens there"
            asked = [n for p in claim.names if p not in address["taken"] for n in example_of(p, nginx)]
            asked += [None, UNKNOWN] if address["default_server"] else []
            for place in places:
                for name in asked:
                    seen = world.look(place, claim.kind, name)
                    if seen != claim.sha256:
                        yield f"{claim.where}: {name} at {place} by {claim.kind}: claimed {claim.sha256[:8]}, shown {seen and seen[:8]}"


def _shown_is_claimed(claims, world, hosts, names):
    for place in world.addresses:
        here = [(c, a) for c in claims for a in c.addresses if not a["unreached"] and not c.hidden and place in world.places_of(a["address"], hosts)]
        for name in [None, UNKNOWN, *names]:
            fitting = [c for c, a in here if c.fits_name(name, a)]
            if any(c.out_of_reach for c in fitting):
                continue
            for kind in KINDS:
                seen = world.look(place, kind, name)
                if seen and seen not in {c.sha256 for c in fitting}:
                    yield f"{name} at {place} by {kind}: shown {seen[:8]}, claimed {[(c.where, c.sha256[:8]) for c in fitting]}"
