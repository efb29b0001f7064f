/* A file that somebody dropped in: PEM, DER, PKCS#7, PKCS#12, keys. */
#include "fuzz.h"
#include "pki/pki.h"
#include "pki/pool.h"

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	pki_init();
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	char *v[] = {(char[]){"secret"}};
	struct words passwords = {.v = v, .n = 1};
	struct pool pool = {.passwords = &passwords};
	pool_read(&pool, 0, bytes, len);
	MUST(pool.ncerts + pool.nkeys + pool.nothers > 0);
	pool_done(&pool);
	return 0;
}
