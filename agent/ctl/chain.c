#include "ctl/chain.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>

#include "base/memory.h"

int chain_add(struct chain *chain, const char *line, size_t len, struct fault *fault)
{
	chain->lines++;
	json_t *object = json_loadb(line, len, JSON_REJECT_DUPLICATES, NULL);
	const char *previous = json_string_value(json_object_get(object, "previous"));
	struct digest before;
	int r = 0;
	/* A line that a power cut left incomplete is no JSON; the next line has its hash all the same. */
	bool cut = !json_is_object(object);
	if (!cut && (!previous || strlen(previous) != DIGEST_HEX - 1 || digest_parse(previous, &before) < 0))
		r = fault_set(fault, -EBADMSG, "line %zu has no hash of the line before", chain->lines);
	else if (!cut && !digest_equal(&before, &chain->last))
		r = chain->lines == 1
			    ? fault_set(fault, -EBADMSG, "line 1 is not the first line that was written")
			    : fault_set(fault, -EBADMSG,
					"line %zu does not follow line %zu: one of them was changed, or lines between "
					"them are missing",
					chain->lines, chain->lines - 1);
	if (cut) {
		chain->cut = chain->lines;
		chain->cuts++;
	}
	chain->last_cut = cut;
	chain->last = hash_bytes(line, len);
	json_decref(object);
	return r;
}

int chain_verify(FILE *in, struct chain *ret, struct fault *fault)
{
	char *line = NULL;
	size_t size = 0;
	ssize_t n;
	int r = 0;
	*ret = (struct chain){.last_has_newline = true};
	errno = 0;
	while (r == 0 && (n = getline(&line, &size, in)) > 0) {
		ret->last_has_newline = line[n - 1] == '\n';
		r = chain_add(ret, line, (size_t)n - ret->last_has_newline, fault);
	}
	free(line);
	if (r == 0 && ferror(in))
		return fault_errno(fault, errno ? errno : EIO, "can't read the log");
	if (r == 0 && (ret->last_cut || !ret->last_has_newline))
		return fault_set(fault, -EBADMSG, "line %zu, the last one, is cut off", ret->lines);
	return r;
}
