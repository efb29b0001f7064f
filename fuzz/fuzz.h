/* What each target is: one function that reads any bytes. libFuzzer calls it (-DCERTSWAP_FUZZ=ON, clang), and so does
 * replay.c with the corpus in the ordinary tests. It aborts where something is wrong. */
#ifndef FUZZ_FUZZ_H
#define FUZZ_FUZZ_H
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

#define MUST(what)                                                                                                     \
	do {                                                                                                           \
		if (!(what)) {                                                                                         \
			fprintf(stderr, "%s:%d: %s does not hold\n", __FILE__, __LINE__, #what);                       \
			abort();                                                                                       \
		}                                                                                                      \
	} while (0)
#endif
