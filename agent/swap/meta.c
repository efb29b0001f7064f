#include "swap/meta.h"

#include <errno.h>
#include <stdlib.h>

#include "base/memory.h"
#include "swap/record.h"

int meta_save(int generation, const struct meta *meta, struct fault *fault)
{
	json_t *record = json_pack(
		"{sI, so, so, so, ss, ss, ss, ss, ss, so, so, so, so, so, sb}", "number", (json_int_t)meta->number,
		"sha256", record_from_digest(&meta->sha256), "spki_sha256", record_from_digest(&meta->spki),
		"issuer_spki_sha256", record_from_digest(&meta->issuer_spki), "serial", meta->serial, "issuer",
		meta->issuer, "subject", meta->subject, "key_type", meta->key_type, "origin", meta->origin, "names",
		record_from_words(&meta->names), "accepted", record_from_words(&meta->accepted), "not_before",
		record_from_time(meta->not_before), "not_after", record_from_time(meta->not_after), "made_at",
		record_from_time(meta->made_at), "publicly_trusted", meta->publicly_trusted);
	if (!record)
		return fault_set(fault, -EINVAL, "the certificate's fields are not UTF-8 text");
	const struct digest none = {0};
	json_t *files = json_array();
	for (size_t i = 0; i < STORE_FILES; i++)
		json_array_append_new(files, record_from_digest(meta->files ? &meta->files[i] : &none));
	json_object_set_new(record, "files", files);
	if (meta->issuer_ski)
		json_object_set_new(record, "issuer_ski", json_string(meta->issuer_ski));
	int r = record_save(generation, "meta.json", record, fault);
	json_decref(record);
	return r;
}

int meta_load(int generation, struct meta *ret, struct fault *fault)
{
	json_t *record;
	int code = record_load(generation, "meta.json", &record, fault);
	if (code < 0)
		return code;
	struct reader r = {.object = record};
	*ret = (struct meta){.number = (unsigned int)record_number(&r, "number"),
			     .sha256 = record_digest(&r, "sha256"),
			     .spki = record_digest(&r, "spki_sha256"),
			     .issuer_spki = record_digest(&r, "issuer_spki_sha256"),
			     .serial = xstrdup(record_string(&r, "serial")),
			     .issuer = xstrdup(record_string(&r, "issuer")),
			     .subject = xstrdup(record_string(&r, "subject")),
			     .key_type = xstrdup(record_string(&r, "key_type")),
			     .origin = xstrdup(record_string(&r, "origin")),
			     .names = record_words(&r, "names"),
			     .accepted = record_words(&r, "accepted"),
			     .not_before = record_time(&r, "not_before"),
			     .not_after = record_time(&r, "not_after"),
			     .made_at = record_time(&r, "made_at"),
			     .publicly_trusted = record_bool(&r, "publicly_trusted")};
	if (json_object_get(record, "issuer_ski")) /* older ones have none */
		ret->issuer_ski = xstrdup(record_string(&r, "issuer_ski"));
	struct words files = record_words(&r, "files");
	ret->files = xcalloc(STORE_FILES, sizeof *ret->files);
	for (size_t i = 0; i < STORE_FILES && !r.failed; i++)
		if (i >= files.n || digest_parse(files.v[i], &ret->files[i]) < 0)
			r = (struct reader){.failed = true, .field = "files"};
	words_done(&files);
	json_decref(record);
	if (!r.failed)
		return 0;
	meta_done(ret);
	return fault_set(fault, -EBADMSG, "meta.json is damaged: %s is missing or wrong", r.field);
}

void meta_done(struct meta *m)
{
	free(m->serial);
	free(m->issuer);
	free(m->issuer_ski);
	free(m->subject);
	free(m->key_type);
	free(m->origin);
	free(m->files);
	words_done(&m->names);
	words_done(&m->accepted);
	*m = (struct meta){0};
}

void meta_copy(struct meta *to, const struct meta *from)
{
	*to = *from;
	to->serial = xstrdup(from->serial);
	to->issuer = xstrdup(from->issuer);
	to->issuer_ski = xstrdup(from->issuer_ski);
	to->subject = xstrdup(from->subject);
	to->key_type = xstrdup(from->key_type);
	to->origin = xstrdup(from->origin);
	to->files = from->files ? xmemdup(from->files, STORE_FILES * sizeof *from->files) : NULL;
	to->names = to->accepted = (struct words){0};
	words_copy(&to->names, &from->names);
	words_copy(&to->accepted, &from->accepted);
}
