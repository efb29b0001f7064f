/* Memory. Out of memory aborts the process: a restart after a crash is a tested path, limping on is not.
 * Used by every process. */
#ifndef BASE_MEMORY_H
#define BASE_MEMORY_H
#include <stdarg.h>
#include <stddef.h>

/* Never NULL; the caller frees with free(). A size of 0 gives a pointer that can be freed. */
void *xmalloc(size_t size);
void *xcalloc(size_t count, size_t size);
void *xrealloc(void *old, size_t size);
char *xstrdup(const char *s); /* NULL gives NULL */
char *xstrndup(const char *s, size_t max);
void *xmemdup(const void *p, size_t size);
char *xasprintf(const char *format, ...) __attribute__((format(printf, 1, 2)));
char *xvasprintf(const char *format, va_list args) __attribute__((format(printf, 1, 0)));

/* Overwrites and frees; for what held a secret. NULL is fine. */
void free_secret(void *p, size_t size);

/* Releases at the end of the scope. */
#define AUTO_FREE  __attribute__((cleanup(auto_free_)))
#define AUTO_CLOSE __attribute__((cleanup(auto_close_)))
void auto_free_(void *pointer_to_pointer);
void auto_close_(const int *fd); /* negative: nothing */

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
/* Gives the system back what was freed, after something large and passing: the C library keeps it otherwise. */
void memory_trim(void);
#endif
