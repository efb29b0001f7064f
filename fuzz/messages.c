/* Bodies of the messages between daemon and worker; the first byte chooses which. What is read is packed again and must
 * read the same. */
#include <string.h>

#include "base/memory.h"
#include "fuzz.h"
#include "wire/check.h"
#include "wire/fetch.h"
#include "wire/identify.h"
#include "wire/keygen.h"
#include "wire/probe.h"
#include "wire/sources.h"

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	return 0;
}

#define ROUND(type, release)                                                                                           \
	do {                                                                                                           \
		struct type one = {0}, two = {0};                                                                      \
		struct packer p = {0}, q = {0};                                                                        \
		if (type##_unpack(&u, &one) == 0) {                                                                    \
			type##_pack(&p, &one);                                                                         \
			struct unpacker v = {.bytes = p.bytes, .len = p.len};                                          \
			MUST(type##_unpack(&v, &two) == 0);                                                            \
			type##_pack(&q, &two);                                                                         \
			MUST(p.len == q.len && memcmp(p.bytes, q.bytes, p.len) == 0);                                  \
			release(&two);                                                                                 \
			release(&one);                                                                                 \
		}                                                                                                      \
		packer_done(&p);                                                                                       \
		packer_done(&q);                                                                                       \
	} while (0)

static void nothing(const void *what)
{
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	if (!len)
		return 0;
	struct unpacker u = {.bytes = bytes + 1, .len = len - 1};
	switch (bytes[0] % 11) {
	case 0:
		ROUND(check_request, check_request_done);
		break;
	case 1:
		ROUND(check_reply, check_reply_done);
		break;
	case 2:
		ROUND(identify_request, nothing);
		break;
	case 3:
		ROUND(identify_reply, identify_reply_done);
		break;
	case 4:
		ROUND(keygen_request, keygen_request_done);
		break;
	case 5:
		ROUND(keygen_reply, keygen_reply_done);
		break;
	case 6:
		ROUND(probe_request, probe_request_done);
		break;
	case 7:
		ROUND(fetch_request, fetch_request_done);
		break;
	case 8:
		ROUND(fetch_reply, fetch_reply_done);
		break;
	case 9:
		ROUND(sources_reply, sources_reply_done);
		break;
	default:
		ROUND(probe_reply, probe_reply_done);
		break;
	}
	return 0;
}
