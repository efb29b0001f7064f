/* The start of everything that uses OpenSSL behind a sandbox. */
#ifndef PKI_PKI_H
#define PKI_PKI_H

/* To be called once, before the sandbox: afterwards OpenSSL and libc open no file for anything in pki/. Reads no
 * openssl.cnf: how a proof ends does not hang on it. Runs in the check worker. */
void pki_init(void);
/* One handshake in memory with a key of no worth: what the first one finds out (algorithms, functions of libraries,
 * pages of memory) the next need not. For a worker that waits for its request. */
void pki_warm(void);
/* Gives all of it back, for a process that goes on or is checked for leaks; a worker just ends. */
void pki_exit(void);
#endif
