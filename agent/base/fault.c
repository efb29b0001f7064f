#include "base/fault.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

int fault_set(struct fault *fault, int code, const char *format, ...)
{
	if (!fault)
		return code;
	va_list args;
	va_start(args, format);
	vsnprintf(fault->text, sizeof fault->text, format, args);
	va_end(args);
	fault->code = code;
	return code;
}

int fault_errno(struct fault *fault, int error, const char *format, ...)
{
	int code = error > 0 ? -error : error;
	if (!fault)
		return code;
	va_list args;
	va_start(args, format);
	vsnprintf(fault->text, sizeof fault->text, format, args);
	va_end(args);
	size_t used = strlen(fault->text);
	char words[128];
	snprintf(fault->text + used, sizeof fault->text - used, ": %s", strerror_r(abs(error), words, sizeof words));
	fault->code = code;
	return code;
}

int fault_prefix(struct fault *fault, int code, const char *format, ...)
{
	if (!fault)
		return code;
	va_list args;
	va_start(args, format);
	AUTO_FREE char *before = xvasprintf(format, args);
	va_end(args);
	AUTO_FREE char *both = xasprintf("%s: %s", before, fault->text);
	snprintf(fault->text, sizeof fault->text, "%s", both);
	return code;
}

bool fault_may_pass(int code)
{
	return code == -EMFILE || code == -ENFILE || code == -ENOMEM || code == -EIO || code == -ENOSPC ||
	       code == -EINTR;
}
