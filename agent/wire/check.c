#include "wire/check.h"

#include <errno.h>
#include <stdlib.h>

#include "base/memory.h"

const char *const check_output_name[] = {
	[CHECK_OUT_CERT] = "cert.pem",   [CHECK_OUT_CHAIN] = "chain.pem",       [CHECK_OUT_FULLCHAIN] = "fullchain.pem",
	[CHECK_OUT_KEY] = "privkey.pem", [CHECK_OUT_COMBINED] = "combined.pem",
};
_Static_assert(ARRAY_SIZE(check_output_name) == CHECK_OUTPUTS, "each output has its name");

static void pack_bool(struct packer *p, bool v)
{
	pack_u8(p, v ? 1 : 0);
}

/* A number below `end`; anything else is a failure. */
static uint8_t unpack_below(struct unpacker *u, uint8_t end)
{
	uint8_t v = unpack_u8(u);
	if (v >= end)
		u->failed = true;
	return u->failed ? 0 : v;
}

static bool unpack_bool(struct unpacker *u)
{
	return unpack_below(u, 2) == 1;
}

void check_request_pack(struct packer *p, const struct check_request *r)
{
	if (r->files > WIRE_LIST_MAX || r->ndenied > WIRE_LIST_MAX) {
		p->failed = true;
		return;
	}
	pack_u16(p, (uint16_t)r->files);
	for (size_t i = 0; i < r->files; i++)
		pack_u8(p, r->roles[i]);
	pack_digest(p, &r->leaf);
	pack_words(p, &r->names);
	pack_u8(p, (uint8_t)r->profile);
	pack_bool(p, r->older_blocks);
	pack_bool(p, r->write_out);
	pack_bool(p, r->system_trust);
	pack_words(p, &r->accepted);
	pack_words(p, &r->pins);
	pack_u16(p, (uint16_t)r->ndenied);
	for (size_t i = 0; i < r->ndenied; i++)
		pack_digest(p, &r->denied[i]);
	pack_i64(p, r->now);
}

int check_request_unpack(struct unpacker *u, struct check_request *ret)
{
	*ret = (struct check_request){0};
	ret->files = unpack_count(u);
	ret->roles = xcalloc(ret->files, sizeof *ret->roles);
	for (size_t i = 0; i < ret->files; i++)
		ret->roles[i] = unpack_below(u, CHECK_ROLES);
	ret->leaf = unpack_digest(u);
	ret->names = unpack_words(u);
	ret->profile = (enum check_profile)unpack_below(u, CHECK_PROFILES);
	ret->older_blocks = unpack_bool(u);
	ret->write_out = unpack_bool(u);
	ret->system_trust = unpack_bool(u);
	ret->accepted = unpack_words(u);
	ret->pins = unpack_words(u);
	ret->ndenied = unpack_count(u);
	ret->denied = xcalloc(ret->ndenied, sizeof *ret->denied);
	for (size_t i = 0; i < ret->ndenied; i++)
		ret->denied[i] = unpack_digest(u);
	ret->now = unpack_i64(u);
	if (unpack_end(u))
		return 0;
	check_request_done(ret);
	return -EBADMSG;
}

void check_request_done(struct check_request *r)
{
	free(r->roles);
	words_done(&r->names);
	words_done(&r->accepted);
	words_done(&r->pins);
	free(r->denied);
	*r = (struct check_request){0};
}

void check_reply_pack(struct packer *p, const struct check_reply *r)
{
	pack_findings(p, &r->findings);
	pack_digest(p, &r->sha256);
	pack_digest(p, &r->spki);
	pack_string(p, r->serial);
	pack_string(p, r->issuer);
	pack_string(p, r->subject);
	pack_string(p, r->key_type);
	pack_words(p, &r->names);
	pack_i64(p, r->not_before);
	pack_i64(p, r->not_after);
	pack_bool(p, r->publicly_trusted);
	pack_bool(p, r->written);
	pack_digest(p, &r->issuer_spki);
	pack_string(p, r->issuer_ski);
	pack_source_file(p, &r->chain);
	pack_words(p, &r->orphan);
}

int check_reply_unpack(struct unpacker *u, struct check_reply *ret)
{
	*ret = (struct check_reply){0};
	ret->findings = unpack_findings(u);
	ret->sha256 = unpack_digest(u);
	ret->spki = unpack_digest(u);
	ret->serial = unpack_string(u);
	ret->issuer = unpack_string(u);
	ret->subject = unpack_string(u);
	ret->key_type = unpack_string(u);
	ret->names = unpack_words(u);
	ret->not_before = unpack_i64(u);
	ret->not_after = unpack_i64(u);
	ret->publicly_trusted = unpack_bool(u);
	ret->written = unpack_bool(u);
	ret->issuer_spki = unpack_digest(u);
	ret->issuer_ski = unpack_string(u);
	unpack_source_file(u, &ret->chain);
	ret->orphan = unpack_words(u);
	if (unpack_end(u))
		return 0;
	check_reply_done(ret);
	return -EBADMSG;
}

void check_reply_done(struct check_reply *r)
{
	findings_done(&r->findings);
	free(r->serial);
	free(r->issuer);
	free(r->issuer_ski);
	free(r->subject);
	free(r->key_type);
	words_done(&r->names);
	source_file_done(&r->chain);
	words_done(&r->orphan);
	*r = (struct check_reply){0};
}
