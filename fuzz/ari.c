/* Answers of renewalInfo addresses, and Retry-After. */
#include "base/memory.h"
#include "fuzz.h"
#include "fetch/ari.h"

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	struct ari_answer a;
	struct fault fault = {0};
	int r = ari_read(bytes, len, &a, &fault);
	MUST(r < 0 ? *fault.text && !a.end : a.end > a.start);
	AUTO_FREE char *text = xstrndup((const char *)bytes, len);
	MUST(ari_retry_after(text, 1795449600) >= -1);
	return 0;
}
