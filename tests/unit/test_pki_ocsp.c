/* OCSP: what is asked, what is believed, and each rule with an answer that breaks just it. */
#include <criterion/criterion.h>
#include <errno.h>
#include <openssl/ocsp.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "pki/ocsp.h"
#include "pki/pki.h"
#include "test_pki_help.h"

TestSuite(pki_ocsp, .init = pki_init, .fini = pki_exit);

struct reply {
	const X509 *about;         /* NULL: the leaf */
	const X509 *issuer;        /* whose hashes; NULL: the leaf's issuer */
	const struct made *signer; /* NULL: the issuer */
	const EVP_MD *id, *digest; /* NULL: SHA-1, SHA-256 */
	int status, reason;        /* reason -1: none */
	int64_t from, until;       /* 0: an hour ago, in 3 days; until -1: none */
	int64_t produced;          /* 0: a minute ago */
	const uint8_t *nonce;
	size_t nonce_len;
	const char *extension; /* of the single response: DER value, critical */
	bool by_key, no_certs;
};

static uint8_t *make_reply(const struct family *f, const struct reply *r, size_t *ret_len)
{
	OCSP_BASICRESP *basic = OCSP_BASICRESP_new();
	OCSP_CERTID *id =
		OCSP_cert_to_id(r->id, r->about ? r->about : f->leaf.x509, r->issuer ? r->issuer : f->sub.x509);
	ASN1_TIME *from = ASN1_TIME_set(NULL, r->from ? r->from : NOW - 3600),
		  *until = ASN1_TIME_set(NULL, r->until ? r->until : NOW + 3 * DAY),
		  *at = ASN1_TIME_set(NULL, NOW - 2 * DAY);
	from = ASN1_TIME_to_generalizedtime(from, &from);
	OCSP_SINGLERESP *single =
		OCSP_basic_add1_status(basic, id, r->status, r->reason, at, from, r->until == -1 ? NULL : until);
	if (r->extension) {
		X509_EXTENSION *e = X509V3_EXT_nconf(NULL, NULL, "1.2.3.4", r->extension);
		OCSP_SINGLERESP_add_ext(single, e, -1);
		X509_EXTENSION_free(e);
	}
	if (r->nonce) {
		uint8_t nonce[64];
		memcpy(nonce, r->nonce, r->nonce_len);
		OCSP_basic_add1_nonce(basic, nonce, (int)r->nonce_len);
	}
	const struct made *signer = r->signer ? r->signer : &f->sub;
	const EVP_MD *digest = r->digest ? r->digest : EVP_sha256();
	unsigned long flags = OCSP_NOTIME | (r->by_key ? OCSP_RESPID_KEY : 0) | (r->no_certs ? OCSP_NOCERTS : 0);
	ASN1_GENERALIZEDTIME_set((ASN1_GENERALIZEDTIME *)(uintptr_t)OCSP_resp_get0_produced_at(basic),
				 r->produced ? r->produced : NOW - 60);
	if (OCSP_basic_sign(basic, signer->x509, signer->key, digest, NULL, flags) != 1)
		abort();
	OCSP_RESPONSE *response = OCSP_response_create(OCSP_RESPONSE_STATUS_SUCCESSFUL, basic);
	uint8_t *der = NULL;
	int n = i2d_OCSP_RESPONSE(response, &der);
	if (n <= 0)
		abort();
	*ret_len = (size_t)n;
	uint8_t *copy = xmemdup(der, (size_t)n);
	OPENSSL_free(der);
	OCSP_RESPONSE_free(response);
	OCSP_BASICRESP_free(basic);
	OCSP_CERTID_free(id);
	ASN1_TIME_free(from);
	ASN1_TIME_free(until);
	ASN1_TIME_free(at);
	return copy;
}

static struct ocsp_question question(const struct family *f)
{
	struct ocsp_question q = {.issuer = f->sub.x509, .now = NOW};
	if (serial_of(f->leaf.x509, &q.serial) < 0)
		abort();
	return q;
}

static struct ocsp_answer judged(const struct ocsp_question *q, const struct family *f, struct reply r)
{
	size_t n;
	uint8_t *der = make_reply(f, &r, &n);
	struct ocsp_answer a;
	struct fault fault = {0};
	enum ocsp_state state = ocsp_judge(q, der, n, &a, &fault);
	cr_expect_eq(state, a.state);
	cr_expect(ocsp_state_is_signed(state) == (*fault.text == '\0'), "%s: %s", ocsp_state_name(state), fault.text);
	free(der);
	return a;
}

#define EXPECT(reply, wanted)                                                                                          \
	do {                                                                                                           \
		enum ocsp_state got = judged(&q, &f, reply).state;                                                     \
		cr_expect_eq(got, wanted, "%s and not %s", ocsp_state_name(got), ocsp_state_name(wanted));             \
	} while (0)

Test(pki_ocsp, what_it_says)
{
	struct family f = make_family();
	struct ocsp_question q = question(&f);
	struct reply r = {.status = V_OCSP_CERTSTATUS_GOOD, .reason = -1};
	struct ocsp_answer a = judged(&q, &f, r);
	cr_expect_eq(a.state, OCSP_GOOD, "%s", ocsp_state_name(a.state));
	cr_expect_eq(a.this_update, NOW - 3600);
	cr_expect_eq(a.next_update, NOW + 3 * DAY);
	cr_expect_not(a.delegated);
	r.status = V_OCSP_CERTSTATUS_REVOKED;
	r.reason = 1;
	a = judged(&q, &f, r);
	cr_expect_eq(a.state, OCSP_REVOKED);
	cr_expect_eq(a.reason, CRL_CODE_KEY_COMPROMISE);
	cr_expect_eq(a.revoked_at, NOW - 2 * DAY);
	r.reason = -1;
	a = judged(&q, &f, r);
	cr_expect_eq(a.reason, CRL_CODE_UNSPECIFIED);
	r.id = EVP_sha256(); /* RFC 5019bis responders */
	r.by_key = true;
	EXPECT(r, OCSP_REVOKED);
	r.status = V_OCSP_CERTSTATUS_UNKNOWN;
	EXPECT(r, OCSP_UNKNOWN);
	family_done(&f);
}

Test(pki_ocsp, who_may_sign)
{
	struct family f = make_family();
	struct ocsp_question q = question(&f);
	struct made delegate = make((struct wish){.cn = "ocsp", .usage = "digitalSignature", .purpose = "OCSPSigning"},
				    &f.sub),
		    plain = make((struct wish){.cn = "plain", .usage = "digitalSignature"}, &f.sub),
		    server = make_leaf("DNS:x.test", &f.sub),
		    far = make((struct wish){.cn = "far", .purpose = "OCSPSigning"}, &f.root),
		    any = make((struct wish){.cn = "any", .purpose = "anyExtendedKeyUsage"}, &f.sub),
		    old = make(
			    (struct wish){
				    .cn = "old", .purpose = "OCSPSigning", .from = NOW - 9 * DAY, .until = NOW - DAY},
			    &f.sub),
		    mute = make((struct wish){.cn = "mute", .usage = "keyEncipherment", .purpose = "OCSPSigning"},
				&f.sub),
		    twin = make((struct wish){.cn = "Test Issuing CA", .ca = true}, &f.root),
		    twins = make((struct wish){.cn = "twins", .purpose = "OCSPSigning"}, &twin);
	struct reply r = {.status = V_OCSP_CERTSTATUS_REVOKED, .reason = -1, .signer = &delegate};
	struct ocsp_answer a = judged(&q, &f, r);
	cr_expect_eq(a.state, OCSP_REVOKED, "%s", ocsp_state_name(a.state));
	cr_expect(a.delegated);
	r.no_certs = true;
	EXPECT(r, OCSP_NOT_AUTHORISED);
	r.no_certs = false;
	const struct made *refused[] = {&plain, &server, &far, &any, &old, &mute, &twins, &f.root};
	for (size_t i = 0; i < ARRAY_SIZE(refused); i++) {
		r.signer = refused[i];
		enum ocsp_state state = judged(&q, &f, r).state;
		cr_expect_eq(state, OCSP_NOT_AUTHORISED, "signer %zu: %s", i, ocsp_state_name(state));
		made_done((struct made *)(uintptr_t)(i < 7 ? refused[i] : &delegate));
	}
	r.signer = &twin; /* the issuer's name, another key */
	EXPECT(r, OCSP_BAD_SIGNATURE);
	r.signer = NULL;
	r.digest = EVP_sha1();
	EXPECT(r, OCSP_BAD_ALGORITHM);
	made_done(&twin);
	family_done(&f);
}

/* Delegates with one thing wrong each that only a forger or a careless CA makes. */
Test(pki_ocsp, forged_delegates)
{
	struct family f = make_family();
	struct ocsp_question q = question(&f);
	struct made stranger = make((struct wish){.cn = "Other CA", .ca = true}, &f.root);
	const struct made forger = {.key = stranger.key,
				    .x509 = f.sub.x509}, /* names and key identifier of our issuer */
		other_name = {.key = f.sub.key, .x509 = stranger.x509};
	struct wish w = {.cn = "ocsp", .usage = "digitalSignature", .purpose = "OCSPSigning"}, weak = w, early = w;
	weak.digest = EVP_sha1();
	early.from = NOW + DAY;
	struct made v[] = {make(w, &forger), make(w, &other_name), make(weak, &f.sub), make(early, &f.sub)};
	struct reply r = {.status = V_OCSP_CERTSTATUS_GOOD, .reason = -1};
	for (size_t i = 0; i < ARRAY_SIZE(v); i++) {
		r.signer = &v[i];
		EXPECT(r, OCSP_NOT_AUTHORISED);
		made_done(&v[i]);
	}
	made_done(&stranger);
	family_done(&f);
}

/* The delegate is the right one, whose certificate anybody can have; the signature is not its. */
Test(pki_ocsp, words_in_a_delegates_mouth)
{
	struct family f = make_family();
	struct ocsp_question q = question(&f);
	struct made delegate =
		make((struct wish){.cn = "ocsp", .usage = "digitalSignature", .purpose = "OCSPSigning"}, &f.sub);
	struct reply r = {.status = V_OCSP_CERTSTATUS_GOOD, .reason = -1, .signer = &delegate};
	size_t n;
	uint8_t *der = make_reply(&f, &r, &n);
	const unsigned char *at = der;
	struct ocsp_answer a;
	struct fault fault = {0};
	cr_assert_eq(ocsp_judge(&q, der, n, &a, &fault), OCSP_GOOD, "%s", fault.text);
	uint8_t *more = xmalloc(n + 1);
	memcpy(more, der, n);
	more[n] = 0;
	cr_expect_eq(ocsp_judge(&q, more, n + 1, &a, &fault), OCSP_UNREADABLE, "a byte more");
	free(more);
	OCSP_RESPONSE *response = d2i_OCSP_RESPONSE(NULL, &at, (long)n);
	OCSP_BASICRESP *basic = OCSP_response_get1_basic(response);
	const ASN1_OCTET_STRING *signature = OCSP_resp_get0_signature(basic);
	uint8_t *place = memmem(der, n, ASN1_STRING_get0_data(signature), (size_t)ASN1_STRING_length(signature));
	cr_assert_not_null(place);
	place[ASN1_STRING_length(signature) - 1] ^= 1;
	cr_expect_eq(ocsp_judge(&q, der, n, &a, &fault), OCSP_BAD_SIGNATURE);
	OCSP_BASICRESP_free(basic);
	OCSP_RESPONSE_free(response);
	free(der);
	made_done(&delegate);
	family_done(&f);
}

Test(pki_ocsp, about_which_certificate)
{
	struct family f = make_family();
	struct ocsp_question q = question(&f);
	struct made other = make_leaf("DNS:b.test", &f.sub);
	struct reply r = {.status = V_OCSP_CERTSTATUS_GOOD, .reason = -1, .about = other.x509};
	EXPECT(r, OCSP_OTHER_SERIAL);
	r.about = NULL;
	r.issuer = f.root.x509; /* same serial, another issuer's hashes */
	EXPECT(r, OCSP_OTHER_SERIAL);
	made_done(&other);
	family_done(&f);
}

Test(pki_ocsp, dates)
{
	struct family f = make_family();
	struct ocsp_question q = question(&f);
	struct reply r = {.status = V_OCSP_CERTSTATUS_GOOD, .reason = -1, .until = NOW - OCSP_TOLERANCE - 1};
	EXPECT(r, OCSP_STALE);
	r.until = NOW - OCSP_TOLERANCE;
	EXPECT(r, OCSP_GOOD);
	r.until = -1;
	EXPECT(r, OCSP_STALE);
	r.until = 0;
	r.from = NOW + OCSP_TOLERANCE + 1;
	EXPECT(r, OCSP_NOT_YET_VALID);
	r.from = NOW + OCSP_TOLERANCE;
	EXPECT(r, OCSP_GOOD);
	r.from = NOW - OCSP_AGE_MAX - OCSP_TOLERANCE - 1;
	EXPECT(r, OCSP_STALE);
	q.ca = true;
	EXPECT(r, OCSP_GOOD);
	r = (struct reply){.status = V_OCSP_CERTSTATUS_GOOD, .reason = -1, .produced = NOW + DAY};
	EXPECT(r, OCSP_NOT_YET_VALID);
	family_done(&f);
}

Test(pki_ocsp, nonce_and_extensions)
{
	struct family f = make_family();
	struct ocsp_question q = question(&f);
	static const uint8_t nonce[OCSP_NONCE] = "0123456789abcdef0123456789abcde", other[OCSP_NONCE] = "x";
	struct reply r = {.status = V_OCSP_CERTSTATUS_GOOD, .reason = -1, .nonce = other, .nonce_len = OCSP_NONCE};
	EXPECT(r, OCSP_GOOD); /* none was sent */
	q.nonce = nonce;
	EXPECT(r, OCSP_OTHER_NONCE);
	r.nonce = nonce;
	EXPECT(r, OCSP_GOOD);
	r.nonce_len = 16;
	EXPECT(r, OCSP_OTHER_NONCE);
	r.nonce = NULL;
	EXPECT(r, OCSP_GOOD); /* pre-produced */
	r.extension = "DER:0500";
	EXPECT(r, OCSP_GOOD);
	r.extension = "critical,DER:0500";
	EXPECT(r, OCSP_CRITICAL);
	family_done(&f);
}

Test(pki_ocsp, unsigned_words)
{
	struct family f = make_family();
	struct ocsp_question q = question(&f);
	static const struct {
		int status;
		enum ocsp_state state;
	} cases[] = {{1, OCSP_MALFORMED_REQUEST}, {2, OCSP_INTERNAL_ERROR}, {3, OCSP_TRY_LATER},  {4, OCSP_UNREADABLE},
		     {5, OCSP_SIG_REQUIRED},      {6, OCSP_UNAUTHORIZED},   {7, OCSP_UNREADABLE}, {0, OCSP_UNREADABLE}};
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		uint8_t der[] = {0x30, 0x03, 0x0a, 0x01, (uint8_t)cases[i].status};
		struct ocsp_answer a;
		struct fault fault = {0};
		cr_expect_eq(ocsp_judge(&q, der, sizeof der, &a, &fault), cases[i].state, "%d", cases[i].status);
		cr_expect(*fault.text);
	}
	family_done(&f);
}

Test(pki_ocsp, cut_off_and_flipped)
{
	struct family f = make_family();
	struct ocsp_question q = question(&f);
	struct reply r = {.status = V_OCSP_CERTSTATUS_GOOD, .reason = -1};
	size_t n;
	uint8_t *der = make_reply(&f, &r, &n);
	struct ocsp_answer a;
	for (size_t len = 0; len < n; len++) {
		uint8_t *copy = xmemdup(der, len);
		cr_expect_eq(ocsp_judge(&q, copy, len, &a, NULL), OCSP_UNREADABLE, "%zu of %zu", len, n);
		free(copy);
	}
	/* the signed part: ResponseData, in BasicOCSPResponse, in an OCTET STRING */
	const unsigned char *at = der;
	OCSP_RESPONSE *response = d2i_OCSP_RESPONSE(NULL, &at, (long)n);
	OCSP_BASICRESP *basic = OCSP_response_get1_basic(response);
	uint8_t *data = NULL;
	int len =
		ASN1_item_i2d((const ASN1_VALUE *)OCSP_resp_get0_respdata(basic), &data, ASN1_ITEM_rptr(OCSP_RESPDATA));
	uint8_t *in = memmem(der, n, data, (size_t)len);
	cr_assert(in);
	for (size_t bit = 0; bit < 8 * (size_t)len; bit++) {
		in[bit / 8] ^= (uint8_t)(1U << bit % 8);
		cr_expect_not(ocsp_state_is_signed(ocsp_judge(&q, der, n, &a, NULL)), "bit %zu", bit);
		in[bit / 8] ^= (uint8_t)(1U << bit % 8);
	}
	OPENSSL_free(data);
	OCSP_BASICRESP_free(basic);
	OCSP_RESPONSE_free(response);
	free(der);
	family_done(&f);
}

Test(pki_ocsp, the_question)
{
	struct family f = make_family();
	struct ocsp_question q = question(&f);
	uint8_t *der;
	size_t n;
	cr_assert_eq(ocsp_request(&q, &der, &n), 0);
	const unsigned char *at = der;
	OCSP_REQUEST *request = d2i_OCSP_REQUEST(NULL, &at, (long)n);
	cr_assert(request);
	cr_expect_eq(OCSP_request_onereq_count(request), 1);
	OCSP_CERTID *own = OCSP_cert_to_id(NULL, f.leaf.x509, f.sub.x509);
	cr_expect_eq(OCSP_id_cmp(own, OCSP_onereq_get0_id(OCSP_request_onereq_get0(request, 0))), 0);
	cr_expect_eq(OCSP_REQUEST_get_ext_count(request), 0);
	char *url = ocsp_get_url("http://ocsp.test", der, n);
	cr_assert(url);
	cr_expect_eq(strncmp(url, "http://ocsp.test/ME", 19), 0, "%s", url);
	cr_expect_null(strpbrk(url + 17, "+/="));
	free(url);
	char far[OCSP_GET_MAX];
	memset(far, 'a', sizeof far - 1);
	far[sizeof far - 1] = '\0';
	cr_expect_null(ocsp_get_url(far, der, n));
	free(der);
	static const uint8_t nonce[OCSP_NONCE] = "n";
	q.nonce = nonce;
	cr_assert_eq(ocsp_request(&q, &der, &n), 0);
	cr_expect_null(ocsp_get_url("http://ocsp.test", der, n), "a nonce is posted");
	free(der);
	q.serial.len = 0;
	cr_expect_eq(ocsp_request(&q, &der, &n), -EINVAL);
	OCSP_CERTID_free(own);
	OCSP_REQUEST_free(request);
	family_done(&f);
}
