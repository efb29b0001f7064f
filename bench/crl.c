/* What reading a revocation list costs, as ratios of one run: certswap's scan (signature checked, 500 serials looked
 * for) against SHA-256 of the same bytes, which is the limit, and against OpenSSL's own reader with one look-up. The
 * lists are made here, in memory: entries as public CAs write them (16 octets of serial, UTCTime, a reason in each
 * third), ECDSA P-256. Peak memory is that of a process of its own that does just this. `certswap-bench-crl
 * [ENTRIES...]`. */
#include <openssl/evp.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/memory.h"
#include "pki/crl.h"
#include "pki/pki.h"

#define NOW    1795449600 /* 2026-11-23T16:00:00Z */
#define WANTED 500
#define ROUNDS 7
#define PIECE  65536 /* bytes at a time, as the network brings them */

struct list {
	uint8_t *b; /* shared with the processes that measure */
	size_t n;
	X509 *issuer;
	uint8_t wanted[WANTED][16];
};

static void die(const char *what)
{
	fprintf(stderr, "certswap-bench-crl: %s\n", what);
	exit(1);
}

/* ---- making a list ---- */

/* Long lengths must be the shortest: three bytes too many can't be, so a list below 16 MB is written by hand as well.
 */
static size_t header_size(size_t len)
{
	return len < 0x80 ? 2 : len < 0x100 ? 3 : len < 0x10000 ? 4 : len < 0x1000000 ? 5 : 6;
}

/* DER wants the shortest form of a length. */
static uint8_t *header(uint8_t *to, uint8_t tag, size_t len)
{
	size_t bytes = header_size(len) - 2;
	*to++ = tag;
	*to++ = bytes ? (uint8_t)(0x80 | bytes) : (uint8_t)len;
	for (size_t i = bytes; i-- > 0;)
		*to++ = (uint8_t)(len >> 8 * i);
	return to;
}

static void serial_of_entry(uint64_t i, uint8_t *to)
{
	/* splitmix64, so that the same list is made each time */
	for (uint64_t k = 0; k < 2; k++) {
		uint64_t z = (2 * i + k + 1) * 0x9e3779b97f4a7c15U;
		z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9U;
		z = (z ^ z >> 27) * 0x94d049bb133111ebU;
		z ^= z >> 31;
		memcpy(to + 8 * k, &z, 8);
	}
	to[0] = (uint8_t)((to[0] & 0x7f) | 0x40);
}

static uint8_t *entry(uint8_t *to, uint64_t i)
{
	static const uint8_t reason[] = {0x30, 0x0c, 0x30, 0x0a, 0x06, 0x03, 0x55,
					 0x1d, 0x15, 0x04, 0x03, 0x0a, 0x01, 0x04};
	bool has = i % 3 == 0;
	to = header(to, 0x30, 18 + 15 + (has ? sizeof reason : 0));
	to = header(to, 0x02, 16);
	serial_of_entry(i, to);
	to = header(to + 16, 0x17, 13);
	memcpy(to, "261101120000Z", 13);
	to += 13;
	if (has)
		memcpy(to, reason, sizeof reason);
	return to + (has ? sizeof reason : 0);
}

static uint8_t *append(uint8_t *to, const void *from, size_t n)
{
	memcpy(to, from, n);
	return to + n;
}

/* tbsCertList of so many entries at `to`; NULL: only its size is wanted. */
static size_t make_tbs(uint8_t *to, uint64_t entries, const uint8_t *name, size_t name_len)
{
	static const uint8_t head[] = {0x02, 0x01, 0x01, 0x30, 0x0a, 0x06, 0x08, 0x2a,
				       0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02},
			     number[] = {0xa0, 0x0e, 0x30, 0x0c, 0x30, 0x0a, 0x06, 0x03,
					 0x55, 0x1d, 0x14, 0x04, 0x03, 0x02, 0x01, 0x05},
			     times[] = "\x17\x0d"
				       "261123120000Z"
				       "\x17\x0d"
				       "261130120000Z";
	size_t list = (size_t)entries * 35 + (size_t)((entries + 2) / 3) * 14;
	size_t body = sizeof head + name_len + sizeof times - 1 + header_size(list) + list + sizeof number;
	if (!to)
		return header_size(body) + body;
	uint8_t *start = to;
	to = append(header(to, 0x30, body), head, sizeof head);
	to = append(append(to, name, name_len), times, sizeof times - 1);
	to = header(to, 0x30, list);
	for (uint64_t i = 0; i < entries; i++)
		to = entry(to, i);
	return (size_t)(append(to, number, sizeof number) - start);
}

static void sign(struct list *l, EVP_PKEY *key, size_t tbs_at, size_t tbs_len)
{
	static const uint8_t algorithm[] = {0x30, 0x0a, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02};
	uint8_t signature[100];
	size_t n = sizeof signature;
	EVP_MD_CTX *md = EVP_MD_CTX_new();
	if (EVP_DigestSignInit(md, NULL, EVP_sha256(), NULL, key) != 1 ||
	    EVP_DigestSign(md, signature, &n, l->b + tbs_at, tbs_len) != 1)
		die("can't sign");
	EVP_MD_CTX_free(md);
	uint8_t *to = append(l->b + tbs_at + tbs_len, algorithm, sizeof algorithm);
	to = append(header(to, 0x03, n + 1), "", 1);
	to = append(to, signature, n);
	size_t body = (size_t)(to - l->b) - tbs_at, header_len = header_size(body);
	header(l->b + tbs_at - header_len, 0x30, body);
	l->b += tbs_at - header_len;
	l->n = header_len + body;
}

static X509 *make_issuer(EVP_PKEY *key)
{
	X509 *x = X509_new();
	X509_NAME *name = X509_get_subject_name(x);
	X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, (const unsigned char *)"Bench CA", -1, -1, 0);
	X509_set_issuer_name(x, name);
	X509_set_version(x, X509_VERSION_3);
	ASN1_TIME_set(X509_getm_notBefore(x), NOW - 86400);
	ASN1_TIME_set(X509_getm_notAfter(x), NOW + 86400);
	X509_set_pubkey(x, key);
	if (X509_sign(x, key, EVP_sha256()) <= 0)
		die("can't sign");
	return x;
}

static struct list make_list(uint64_t entries)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	struct list l = {.issuer = make_issuer(key)};
	const uint8_t *name;
	size_t name_len, tbs;
	X509_NAME_get0_der(X509_get_subject_name(l.issuer), &name, &name_len);
	tbs = make_tbs(NULL, entries, name, name_len);
	l.b = mmap(NULL, tbs + 300, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (l.b == MAP_FAILED)
		die("no memory for the list");
	make_tbs(l.b + 16, entries, name, name_len);
	sign(&l, key, 16, tbs);
	EVP_PKEY_free(key);
	for (uint64_t i = 0; i < WANTED; i++) /* half of them are listed */
		serial_of_entry(i % 2 ? entries * i / WANTED : entries + i, l.wanted[i]);
	return l;
}

/* ---- three ways ---- */

static void way_digest(const struct list *l)
{
	uint8_t out[32];
	EVP_MD_CTX *md = EVP_MD_CTX_new();
	EVP_DigestInit(md, EVP_sha256());
	for (size_t at = 0; at < l->n; at += PIECE)
		EVP_DigestUpdate(md, l->b + at, l->n - at < PIECE ? l->n - at : PIECE);
	EVP_DigestFinal(md, out, NULL);
	EVP_MD_CTX_free(md);
}

static void way_scan(const struct list *l)
{
	struct fault fault = {0};
	struct crl_scan *scan = crl_scan_new(&(struct crl_options){.issuer = l->issuer, .now = NOW});
	for (size_t i = 0; i < WANTED; i++) {
		struct crl_want want = {0};
		serial_from_bytes(l->wanted[i], 16, &want.serial);
		crl_scan_want(scan, &want);
	}
	for (size_t at = 0; at < l->n; at += PIECE)
		crl_scan_feed(scan, l->b + at, l->n - at < PIECE ? l->n - at : PIECE);
	if (crl_scan_finish(scan, NULL, &fault) != CRL_SOUND)
		die(fault.text);
	size_t revoked = 0;
	for (size_t i = 0; i < WANTED; i++) {
		struct crl_answer a;
		crl_scan_answer(scan, i, &a);
		revoked += a.verdict == CRL_REVOKED;
	}
	if (revoked != WANTED / 2)
		die("the scan did not find what is listed");
	crl_scan_free(scan);
}

static void way_openssl(const struct list *l)
{
	const unsigned char *at = l->b, *serial_at;
	uint8_t der[18] = {0x02, 16};
	memcpy(der + 2, l->wanted[1], 16);
	serial_at = der;
	ASN1_INTEGER *serial = d2i_ASN1_INTEGER(NULL, &serial_at, sizeof der);
	X509_REVOKED *entry_found = NULL;
	X509_CRL *crl = d2i_X509_CRL(NULL, &at, (long)l->n);
	if (!crl || X509_CRL_verify(crl, X509_get0_pubkey(l->issuer)) != 1 ||
	    X509_CRL_get0_by_serial(crl, &entry_found, serial) != 1)
		die("OpenSSL does not take the list");
	X509_CRL_free(crl);
	ASN1_INTEGER_free(serial);
}

struct cost {
	double ms, mb;
};
typedef void way_fn(const struct list *l);

static double run(const struct list *l, way_fn *way, double best)
{
	int64_t start = clock_monotonic_us();
	way(l);
	double took = (double)(clock_monotonic_us() - start) / 1000;
	return took < best ? took : best;
}

/* Megabytes that this process took at most, without the list itself, which is shared memory. */
static double peak_mb(void)
{
	FILE *f = fopen("/proc/self/status", "re");
	char line[200];
	long peak = 0, list = 0;
	while (f && fgets(line, sizeof line, f)) {
		sscanf(line, "VmHWM: %ld", &peak);
		sscanf(line, "RssShmem: %ld", &list);
	}
	if (f)
		fclose(f);
	return (double)(peak - list) / 1024;
}

/* In a process of its own, so that its peak is this way's alone. Where there are two ways they take turns, so that what
 * else the machine does meets both; the best of each counts. */
static void measure(const struct list *l, way_fn *const ways[2], int rounds, struct cost ret[2])
{
	struct cost *shared = mmap(NULL, 2 * sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pid_t child = shared == MAP_FAILED ? -1 : fork();
	if (child < 0)
		die("can't start a process");
	if (child == 0) {
		shared[0].ms = shared[1].ms = 1e9;
		for (int i = 0; i < rounds; i++)
			for (int k = 0; k < 2 && ways[k]; k++)
				shared[k].ms = run(l, ways[k], shared[k].ms);
		shared[0].mb = peak_mb();
		_exit(0);
	}
	int status;
	if (waitpid(child, &status, 0) != child || status)
		die("a measurement failed");
	memcpy(ret, shared, 2 * sizeof *ret);
	munmap(shared, 2 * sizeof *shared);
}

int main(int argc, char **argv)
{
	static const char *const usual[] = {"1000", "100000", "1000000", "5000000"};
	int n = argc > 1 ? argc - 1 : (int)ARRAY_SIZE(usual);
	pki_init();
	printf("%9s %8s | %9s %9s %7s | %9s %9s | %8s %8s\n", "entries", "MB", "SHA-256", "scan", "ratio", "OpenSSL",
	       "scan x", "scan MB", "OpenSSL");
	for (int i = 0; i < n; i++) {
		uint64_t entries = strtoull(argc > 1 ? argv[i + 1] : usual[i], NULL, 10);
		struct list l = make_list(entries ? entries : 1);
		struct cost fast[2], slow[2];
		measure(&l, (way_fn *const[2]){way_scan, way_digest}, entries > 1000000 ? ROUNDS : 3 * ROUNDS, fast);
		measure(&l, (way_fn *const[2]){way_openssl}, entries > 1000000 ? 1 : 3, slow);
		printf("%9llu %8.1f | %6.2f ms %6.2f ms %7.2f | %6.0f ms %9.0f | %8.1f %8.1f\n",
		       (unsigned long long)entries, (double)l.n / 1e6, fast[1].ms, fast[0].ms, fast[0].ms / fast[1].ms,
		       slow[0].ms, slow[0].ms / fast[0].ms, fast[0].mb, slow[0].mb);
		fflush(stdout);
		X509_free(l.issuer);
	}
	return 0;
}
