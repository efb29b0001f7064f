/* The chain of hashes of the audit log. */
#include <stdio.h>

#include "ctl/chain.h"
#include "fuzz.h"

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	static char none[1];
	struct chain chain;
	struct fault fault = {0};
	FILE *f = fmemopen(len ? (void *)(uintptr_t)bytes : none, len ? len : 1, "r");
	MUST(f);
	MUST((chain_verify(f, &chain, &fault) < 0) == (*fault.text != '\0'));
	fclose(f);
	return 0;
}
