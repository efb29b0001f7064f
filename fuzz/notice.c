/* A notice file, or the fields of the request `notice`: for an agent with no certificate. */
#include <errno.h>

#include "base/memory.h"
#include "fuzz.h"
#include "site/notice.h"
#include "site/site.h"

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	static struct settings settings;
	struct site site = {.settings = &settings};
	json_t *o = json_loadb((const char *)bytes, len, JSON_REJECT_DUPLICATES, NULL);
	for (int file = 0; json_is_object(o) && file < 2; file++) {
		struct notice notice;
		struct notice_hits hits = {0};
		struct fault fault = {0};
		MUST(notice_read(&site, o, file, &notice, &hits, &fault) < 0 && *fault.text);
		free(hits.v);
	}
	json_decref(o);
	return 0;
}
