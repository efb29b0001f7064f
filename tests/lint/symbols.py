#!/usr/bin/python3
"""What a program is not linked with it can't do. symbols.py CERTSWAPD CERTSWAP-WORKER: no TLS, no X.509, no ASN.1, no PEM, no
HTTP in the daemon; of OpenSSL only the digests of libcrypto. Beside a key only OpenSSL and the sandbox's library."""
import re
import subprocess
import sys

FORBIDDEN = re.compile(r"(SSL|TLS|X509|X509V3|PEM|PKCS7|PKCS12|CMS|OCSP|ASN1|d2i|i2d|BIO|EVP_PKEY|curl)_\w*")
WORKER_LIBRARY = re.compile(r"lib(ssl|crypto|seccomp|c|m|asan|ubsan|gcc_s)\.so|ld-linux")
FORBIDDEN_LIBRARY = re.compile(r"lib(ssl|curl|gnutls|seccomp|nss\w*)\.so")


def output(*argv):
    return subprocess.run(argv, check=True, stdout=subprocess.PIPE, text=True).stdout


def libraries_of(program):
    return re.findall(r"NEEDED\s+(\S+)", output("objdump", "-p", program))


def main():
    (program, worker), complaints = sys.argv[1:], []
    complaints += [f"{worker} is linked with {library}" for library in libraries_of(worker) if not WORKER_LIBRARY.match(library)]
    names = [line.split()[-1].partition("@")[0] for line in output("nm", "-D", "--undefined-only", program).splitlines()]
    libraries = libraries_of(program)
    complaints += [f"{program} uses {name}" for name in names if FORBIDDEN.fullmatch(name)]
    complaints += [f"{program} is linked with {library}" for library in libraries if FORBIDDEN_LIBRARY.match(library)]
    if not any(name.startswith("uv_") for name in names):
        complaints.append(f"{program} does not use libuv: this test looks at the wrong thing")
    for complaint in complaints:
        print(complaint)
    print(f"{len(complaints)} complaints: {len(names)} symbols, {', '.join(libraries)}")
    sys.exit(bool(complaints))


main()
