#include "wire/keygen.h"

#include <errno.h>
#include <stdlib.h>

void keygen_request_pack(struct packer *p, const struct keygen_request *r)
{
	pack_string(p, r->key_type);
	pack_words(p, &r->names);
	pack_u8(p, r->subject ? 1 : 0);
}

int keygen_request_unpack(struct unpacker *u, struct keygen_request *ret)
{
	*ret = (struct keygen_request){.key_type = unpack_string(u)};
	ret->names = unpack_words(u);
	uint8_t subject = unpack_u8(u);
	ret->subject = subject == 1;
	if (subject > 1)
		u->failed = true;
	if (unpack_end(u))
		return 0;
	keygen_request_done(ret);
	return -EBADMSG;
}

void keygen_request_done(struct keygen_request *r)
{
	free(r->key_type);
	words_done(&r->names);
	*r = (struct keygen_request){0};
}

void keygen_reply_pack(struct packer *p, const struct keygen_reply *r)
{
	pack_digest(p, &r->spki);
	pack_string(p, r->problem);
}

int keygen_reply_unpack(struct unpacker *u, struct keygen_reply *ret)
{
	*ret = (struct keygen_reply){.spki = unpack_digest(u)};
	ret->problem = unpack_string(u);
	if (unpack_end(u))
		return 0;
	keygen_reply_done(ret);
	return -EBADMSG;
}

void keygen_reply_done(struct keygen_reply *r)
{
	free(r->problem);
	*r = (struct keygen_reply){0};
}
