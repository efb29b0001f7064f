/* HTTP from a sandbox: the hosts are resolved before it is entered, files are never opened, and every connection's
 * address is looked at (so that neither a redirect nor a name that changes its address leads to a forbidden one). Used
 * by the fetch worker. */
#ifndef FETCH_DOWNLOAD_H
#define FETCH_DOWNLOAD_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/text.h"

#define DOWNLOAD_PORTS 32

struct downloads; /* connections that may be used again, known hosts, limits */
struct downloads_spec {
	const struct words *deny; /* ranges (base/address.h); must parse */
	const char *proxy;        /* URL or "" */
	const void *trust;        /* PEM, for https; outlives the downloads; len 0: https fails */
	size_t trust_len;
	int64_t deadline_us; /* CLOCK_MONOTONIC: when everything ends */
	unsigned redirects;  /* followed already */
};
struct downloads *downloads_new(const struct downloads_spec *spec);
void downloads_free(struct downloads *d);
/* Before the sandbox: resolves the host of a URL (or of the proxy, where there is one). False: it can't be asked at
 * all, *ret_text says why (caller frees). */
bool downloads_know(struct downloads *d, const char *url, char **ret_text);
/* Whether requests to the host of this URL can be made: it was resolved, or the proxy does it. */
bool downloads_has(const struct downloads *d, const char *url);
/* TCP ports that will be connected to, each once. */
size_t downloads_ports(const struct downloads *d, uint16_t ports[DOWNLOAD_PORTS]);
int64_t downloads_bytes(const struct downloads *d);
uint32_t downloads_requests(const struct downloads *d);

struct download {
	const char *url;
	const char *accept;       /* media type */
	const char *content_type; /* of `post`; NULL: a GET */
	const void *post;
	size_t post_len;
	const char *etag, *last_modified; /* "": not conditional */
	int64_t max;                      /* bytes of the body; more is a failure */
	/* Gets the body as it comes; false: enough, the rest is not wanted. NULL: the body is kept in `body`. */
	bool (*sink)(const void *bytes, size_t len, void *data);
	void *data;
	/* returned */
	long status; /* HTTP; 0: no answer */
	struct text body;
	char *new_etag, *new_last_modified; /* "" where there is none */
	int64_t retry_after;                /* seconds; 0: not said, or not understood */
	char *elsewhere;                    /* a redirect to a host that was not resolved */
	bool temporary;                     /* failed in a way that may pass: no answer in time, 5xx */
	bool stopped;                       /* the sink wanted no more */
	char *text;                         /* failed: what is wrong, for people; NULL: a 200 (or 304) came whole */
};
/* 0; -EIO with `text`; -EXDEV with `elsewhere`. download_done frees what was returned. */
int download_run(struct downloads *d, struct download *one);
void download_done(struct download *one);
#endif
