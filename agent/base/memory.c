#include "base/memory.h"

#include <stdio.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void *must(void *p)
{
	if (!p) {
		static const char text[] = "out of memory\n";
		(void)!write(2, text, sizeof text - 1);
		abort();
	}
	return p;
}

void *xmalloc(size_t size)
{
	return must(malloc(size ? size : 1));
}

void *xcalloc(size_t count, size_t size)
{
	return must(calloc(count ? count : 1, size ? size : 1));
}

void *xrealloc(void *old, size_t size)
{
	return must(realloc(old, size ? size : 1));
}

char *xstrdup(const char *s)
{
	return s ? must(strdup(s)) : NULL;
}

char *xstrndup(const char *s, size_t max)
{
	return must(strndup(s, max));
}

void *xmemdup(const void *p, size_t size)
{
	void *copy = xmalloc(size);
	if (size)
		memcpy(copy, p, size);
	return copy;
}

char *xvasprintf(const char *format, va_list args)
{
	char *s = NULL;
	if (vasprintf(&s, format, args) < 0)
		s = NULL;
	return must(s);
}

char *xasprintf(const char *format, ...)
{
	va_list args;
	va_start(args, format);
	char *s = xvasprintf(format, args);
	va_end(args);
	return s;
}

void free_secret(void *p, size_t size)
{
	if (!p)
		return;
	explicit_bzero(p, size);
	free(p);
}

void auto_free_(void *pointer_to_pointer)
{
	void *p;
	memcpy(&p, pointer_to_pointer, sizeof p);
	free(p);
}

void auto_close_(const int *fd)
{
	if (*fd >= 0)
		close(*fd);
}

void memory_trim(void)
{
	malloc_trim(0);
}
