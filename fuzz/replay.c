/* Runs a target over its corpus: each file whole, cut off at each of up to 512 places, and with one byte changed at
 * each of as many. `fuzz_NAME FOLDER [PLACES]`. */
#include <dirent.h>
#include <string.h>

#include "base/memory.h"
#include "fuzz.h"

static void one(const uint8_t *bytes, size_t len)
{
	/* memory of its own, so that a sanitizer sees a read beyond it */
	uint8_t *copy = xmemdup(bytes, len);
	LLVMFuzzerTestOneInput(copy, len);
	free(copy);
}

static void around(uint8_t *bytes, size_t len, size_t places)
{
	size_t step = len / places + 1;
	one(bytes, len);
	for (size_t n = 0; n < len; n += step) {
		one(bytes, n);
		uint8_t was = bytes[n];
		bytes[n] = (uint8_t)(was ^ (1U << n % 8));
		one(bytes, len);
		bytes[n] = was;
	}
}

int main(int argc, char **argv)
{
	size_t files = 0, places = argc == 3 ? strtoul(argv[2], NULL, 10) : 512;
	DIR *folder = argc >= 2 && places ? opendir(argv[1]) : NULL;
	if (!folder) {
		fprintf(stderr, "usage: %s FOLDER [PLACES]\n", argv[0]);
		return 2;
	}
	LLVMFuzzerInitialize(&argc, &argv);
	for (struct dirent *e; (e = readdir(folder));) {
		if (e->d_name[0] == '.')
			continue;
		AUTO_FREE char *path = xasprintf("%s/%s", argv[1], e->d_name);
		AUTO_FREE uint8_t *bytes = xmalloc(1 << 20);
		FILE *f = fopen(path, "re");
		MUST(f);
		around(bytes, fread(bytes, 1, 1 << 20, f), places);
		fclose(f);
		files++;
	}
	closedir(folder);
	printf("%zu files\n", files);
	return files ? 0 : 1;
}
