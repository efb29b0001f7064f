#include "fetch/download.h"

#include <curl/curl.h>
#include <errno.h>
#include <limits.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "base/address.h"
#include "base/clock.h"
#include "base/memory.h"

#define ADDRESSES_MAX   8
#define HEADERS_MAX     65536 /* bytes of the headers of one answer */
#define CONNECT_MS      10000L
#define LOW_SPEED_BYTES 512L /* a second, over LOW_SPEED_S: a server that drips is not waited for */
#define LOW_SPEED_S     20L
#define REDIRECTS_MAX   5
#define HEADER_MAX      400 /* bytes of a value that is kept */

struct host {
	char *name; /* as in a URL, without brackets */
	uint16_t port;
};

struct downloads {
	CURL *curl;
	struct curl_slist *resolved;
	struct host *hosts;
	size_t nhosts;
	struct address_range *deny;
	size_t ndeny;
	char *proxy;
	struct curl_blob trust;
	int64_t deadline_us, bytes;
	uint32_t requests;
	unsigned redirects;
};

/* One request under way. */
struct exchange {
	struct downloads *all;
	struct download *one;
	size_t headers;
	int64_t got;
	bool denied, too_large, sunk;
	long status; /* of the header block that is coming */
};

/* ---- who may be connected to ---- */

static bool is_denied(const struct downloads *d, const struct sockaddr *address)
{
	for (size_t i = 0; i < d->ndeny; i++)
		if (address_range_has(&d->deny[i], address))
			return true;
	return false;
}

static curl_socket_t open_socket(void *data, curlsocktype purpose, struct curl_sockaddr *address)
{
	struct exchange *e = data;
	(void)purpose;
	if (!*e->all->proxy && is_denied(e->all, &address->addr)) {
		e->denied = true;
		return CURL_SOCKET_BAD;
	}
	return socket(address->family, SOCK_STREAM | SOCK_CLOEXEC, 0);
}

/* ---- URLs ---- */

static char *part_of(const char *url, CURLUPart part)
{
	char *text = NULL, *ret = NULL;
	CURLU *u = curl_url();
	if (u && curl_url_set(u, CURLUPART_URL, url, 0) == CURLUE_OK &&
	    curl_url_get(u, part, &text, CURLU_DEFAULT_PORT) == CURLUE_OK)
		ret = xstrdup(text);
	curl_free(text);
	curl_url_cleanup(u);
	return ret;
}

/* "host" and port of a URL; false: it is no URL of http or https. */
static bool split_url(const char *url, char **ret_host, uint16_t *ret_port)
{
	AUTO_FREE char *scheme = part_of(url, CURLUPART_SCHEME);
	AUTO_FREE char *host = part_of(url, CURLUPART_HOST);
	AUTO_FREE char *port = part_of(url, CURLUPART_PORT);
	if (!scheme || !host || !port || (strcmp(scheme, "http") != 0 && strcmp(scheme, "https") != 0))
		return false;
	for (const char *s = url; *s; s++)
		if (*s <= ' ' || (unsigned char)*s >= 0x7f)
			return false;
	size_t len = strlen(host);
	bool brackets = len > 2 && host[0] == '[';
	*ret_host = brackets ? xstrndup(host + 1, len - 2) : xstrdup(host);
	*ret_port = (uint16_t)strtoul(port, NULL, 10);
	return true;
}

bool downloads_has(const struct downloads *d, const char *url)
{
	AUTO_FREE char *host = NULL;
	uint16_t port;
	if (*d->proxy)
		return true;
	if (!split_url(url, &host, &port))
		return false;
	for (size_t i = 0; i < d->nhosts; i++)
		if (d->hosts[i].port == port && strcasecmp(d->hosts[i].name, host) == 0)
			return true;
	return false;
}

/* What curl is to take for the host: "name:port:address,address". */
static void keep_addresses(struct downloads *d, const char *host, uint16_t port, const struct addrinfo *list)
{
	struct text entry = {0};
	size_t n = 0;
	text_add(&entry, "%s:%u:", host, port);
	for (const struct addrinfo *a = list; a && n < ADDRESSES_MAX; a = a->ai_next) {
		char address[NI_MAXHOST];
		if (getnameinfo(a->ai_addr, a->ai_addrlen, address, sizeof address, NULL, 0, NI_NUMERICHOST) == 0)
			text_add(&entry, "%s%s%s%s", n++ ? "," : "", a->ai_family == AF_INET6 ? "[" : "", address,
				 a->ai_family == AF_INET6 ? "]" : "");
	}
	if (!strchr(host, ':')) /* an address needs no entry */
		d->resolved = curl_slist_append(d->resolved, entry.s);
	text_done(&entry);
}

bool downloads_know(struct downloads *d, const char *url, char **ret_text)
{
	AUTO_FREE char *host = NULL;
	uint16_t port;
	*ret_text = NULL;
	AUTO_FREE char *target = NULL;
	if (!split_url(url, &target, &port)) {
		*ret_text = xasprintf("%s is not a URL of http or https", url);
		return false;
	}
	if (*d->proxy && !split_url(d->proxy, &host, &port)) {
		*ret_text = xasprintf("fetch_proxy is not a URL of http or https");
		return false;
	}
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST}, *list = NULL;
	if (*d->proxy && getaddrinfo(target, NULL, &hints, &list) == 0) {
		bool denied = is_denied(d, list->ai_addr);
		freeaddrinfo(list);
		if (denied)
			*ret_text = xasprintf("%s is an address that fetch_deny forbids", target);
		if (denied)
			return false;
	}
	const char *name = host ? host : target;
	const char *known = host ? d->proxy : url;
	if (!host && downloads_has(d, known))
		return true;
	int e = getaddrinfo(name, NULL, &hints, &list);
	if (e == EAI_NONAME) {
		hints.ai_flags = AI_ADDRCONFIG;
		e = getaddrinfo(name, NULL, &hints, &list);
	}
	if (e) {
		*ret_text = xasprintf("the address of %s can't be found: %s", name, gai_strerror(e));
		return false;
	}
	keep_addresses(d, name, port, list);
	freeaddrinfo(list);
	d->hosts = xrealloc(d->hosts, (d->nhosts + 1) * sizeof *d->hosts);
	d->hosts[d->nhosts++] = (struct host){.name = xstrdup(name), .port = port};
	return true;
}

size_t downloads_ports(const struct downloads *d, uint16_t ports[DOWNLOAD_PORTS])
{
	size_t n = 0;
	for (size_t i = 0; i < d->nhosts && n < DOWNLOAD_PORTS; i++) {
		size_t at = 0;
		while (at < n && ports[at] != d->hosts[i].port)
			at++;
		if (at == n)
			ports[n++] = d->hosts[i].port;
	}
	return n;
}

/* ---- what comes ---- */

static char *value_of(const char *line, size_t len, const char *name)
{
	size_t n = strlen(name);
	if (len <= n || line[n] != ':' || strncasecmp(line, name, n) != 0)
		return NULL;
	const char *from = line + n + 1, *end = line + len;
	while (from < end && (*from == ' ' || *from == '\t'))
		from++;
	while (end > from && (end[-1] == '\r' || end[-1] == '\n' || end[-1] == ' '))
		end--;
	if (end - from > HEADER_MAX || memchr(from, '\0', (size_t)(end - from)))
		return NULL;
	return text_printable(xstrndup(from, (size_t)(end - from)));
}

/* RFC 9110 10.2.3: seconds, or a date. */
static int64_t retry_after(const char *value)
{
	char *end;
	long long seconds = strtoll(value, &end, 10);
	if (end != value && !*end)
		return seconds > 0 && seconds < INT_MAX ? seconds : 0;
	time_t at = curl_getdate(value, NULL);
	int64_t left = (int64_t)at - clock_wall();
	return at > 0 && left > 0 ? left : 0;
}

static void take_value(char **place, char *value)
{
	if (!value)
		return;
	free(*place);
	*place = value;
}

static size_t take_header(char *line, size_t size, size_t n, void *data)
{
	struct exchange *e = data;
	size_t len = size * n;
	e->headers += len;
	if (e->headers > HEADERS_MAX) {
		e->too_large = true;
		return 0;
	}
	take_value(&e->one->new_etag, value_of(line, len, "ETag"));
	take_value(&e->one->new_last_modified, value_of(line, len, "Last-Modified"));
	AUTO_FREE char *after = value_of(line, len, "Retry-After");
	if (after)
		e->one->retry_after = retry_after(after);
	return len;
}

static size_t take_body(char *bytes, size_t size, size_t n, void *data)
{
	struct exchange *e = data;
	size_t len = size * n;
	long status = 0;
	curl_easy_getinfo(e->all->curl, CURLINFO_RESPONSE_CODE, &status);
	e->got += (int64_t)len;
	if (e->got > e->one->max) {
		e->too_large = true;
		return 0;
	}
	if (status != 200)
		return len; /* what an error page says is nobody's business */
	if (!e->one->sink) {
		text_add_bytes(&e->one->body, bytes, len);
		return len;
	}
	if (e->one->sink(bytes, len, e->one->data))
		return len;
	e->one->stopped = true;
	return 0;
}

/* ---- one request ---- */

static struct curl_slist *headers_of(const struct download *one)
{
	struct curl_slist *list = NULL;
	const struct {
		const char *name, *value;
	} parts[] = {{"Accept", one->accept},
		     {"Content-Type", one->content_type},
		     {"If-None-Match", one->etag},
		     {"If-Modified-Since", one->last_modified}};
	for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
		if (!parts[i].value || !*parts[i].value)
			continue;
		AUTO_FREE char *line = xasprintf("%s: %s", parts[i].name, parts[i].value);
		list = curl_slist_append(list, line);
	}
	return curl_slist_append(list, "Expect:");
}

static void set_limits(struct downloads *d, const struct download *one)
{
	int64_t left = (d->deadline_us - clock_monotonic_us()) / 1000;
	long ms = left < 1 ? 1 : left > LONG_MAX / 2 ? LONG_MAX / 2 : (long)left;
	curl_easy_setopt(d->curl, CURLOPT_TIMEOUT_MS, ms);
	curl_easy_setopt(d->curl, CURLOPT_CONNECTTIMEOUT_MS, ms < CONNECT_MS ? ms : CONNECT_MS);
	curl_easy_setopt(d->curl, CURLOPT_LOW_SPEED_LIMIT, LOW_SPEED_BYTES);
	curl_easy_setopt(d->curl, CURLOPT_LOW_SPEED_TIME, LOW_SPEED_S);
	curl_easy_setopt(d->curl, CURLOPT_MAXFILESIZE_LARGE, (curl_off_t)one->max);
}

static void set_options(struct downloads *d, struct exchange *e, const char *url, struct curl_slist *headers)
{
	CURL *c = d->curl;
	curl_easy_reset(c); /* connections stay */
	curl_easy_setopt(c, CURLOPT_URL, url);
	curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(c, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
	curl_easy_setopt(c, CURLOPT_USERAGENT, "certswap/" CERTSWAP_VERSION);
	curl_easy_setopt(c, CURLOPT_HTTPHEADER, headers);
	curl_easy_setopt(c, CURLOPT_RESOLVE, d->resolved);
	curl_easy_setopt(c, CURLOPT_PROXY, d->proxy); /* "": none, whatever the environment says */
	curl_easy_setopt(c, CURLOPT_NOPROXY, "");
	curl_easy_setopt(c, CURLOPT_OPENSOCKETFUNCTION, open_socket);
	curl_easy_setopt(c, CURLOPT_OPENSOCKETDATA, e);
	curl_easy_setopt(c, CURLOPT_HEADERFUNCTION, take_header);
	curl_easy_setopt(c, CURLOPT_HEADERDATA, e);
	curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, take_body);
	curl_easy_setopt(c, CURLOPT_WRITEDATA, e);
	curl_easy_setopt(c, CURLOPT_CAINFO, NULL); /* no file is opened */
	curl_easy_setopt(c, CURLOPT_CAPATH, NULL);
	if (d->trust.len)
		curl_easy_setopt(c, CURLOPT_CAINFO_BLOB, &d->trust);
	if (e->one->content_type) {
		curl_easy_setopt(c, CURLOPT_POSTFIELDSIZE, (long)e->one->post_len);
		curl_easy_setopt(c, CURLOPT_COPYPOSTFIELDS, e->one->post);
	}
	set_limits(d, e->one);
}

/* Why a transfer failed, for people. */
static char *words_for(const struct exchange *e, CURLcode code, const char *url)
{
	if (e->denied)
		return xasprintf("%s leads to an address that fetch_deny forbids", url);
	if (e->too_large || code == CURLE_FILESIZE_EXCEEDED)
		return xasprintf("%s sends more than %lld bytes", url, (long long)e->one->max);
	if (code == CURLE_OPERATION_TIMEDOUT && e->got)
		return xasprintf("%s sends too slowly: %lld bytes had come", url, (long long)e->got);
	if (code == CURLE_PARTIAL_FILE || code == CURLE_RECV_ERROR)
		return xasprintf("%s stopped in the middle", url);
	return xasprintf("%s: %s", url, curl_easy_strerror(code));
}

static bool is_temporary(CURLcode code)
{
	return code == CURLE_OPERATION_TIMEDOUT || code == CURLE_PARTIAL_FILE || code == CURLE_RECV_ERROR ||
	       code == CURLE_SEND_ERROR || code == CURLE_GOT_NOTHING;
}

static CURLcode exchange(struct downloads *d, struct exchange *e, const char *url)
{
	struct download *one = e->one;
	struct curl_slist *headers = headers_of(one);
	set_options(d, e, url, headers);
	free(one->new_etag);
	free(one->new_last_modified);
	one->new_etag = xstrdup("");
	one->new_last_modified = xstrdup("");
	one->retry_after = 0;
	d->requests++;
	CURLcode code = curl_easy_perform(d->curl);
	curl_off_t body = 0;
	curl_easy_getinfo(d->curl, CURLINFO_SIZE_DOWNLOAD_T, &body);
	curl_easy_getinfo(d->curl, CURLINFO_RESPONSE_CODE, &one->status);
	d->bytes += body + (int64_t)e->headers;
	curl_slist_free_all(headers);
	return code;
}

/* Where a redirect leads, if it may be followed: NULL and a text where not. */
static char *next_of(struct downloads *d, struct download *one, const char *url)
{
	char *to = NULL;
	curl_easy_getinfo(d->curl, CURLINFO_REDIRECT_URL, &to);
	AUTO_FREE char *host = NULL;
	uint16_t port;
	if (!to || !split_url(to, &host, &port))
		one->text = xasprintf("%s redirects to nowhere", url);
	else if (strncasecmp(url, "https:", 6) == 0 && strncasecmp(to, "https:", 6) != 0)
		one->text = xasprintf("%s redirects from https to http", url);
	else if (d->redirects >= REDIRECTS_MAX)
		one->text = xasprintf("%s redirects again, for the %uth time", url, d->redirects + 1);
	else
		return xstrdup(to);
	return NULL;
}

static int finish(struct download *one, const char *url)
{
	if (one->status == 200 ||
	    (one->status == 304 && ((one->etag && *one->etag) || (one->last_modified && *one->last_modified))))
		return 0;
	one->text = xasprintf("%s answers with HTTP status %ld", url, one->status);
	one->temporary = one->status >= 500;
	return -EIO;
}

int download_run(struct downloads *d, struct download *one)
{
	AUTO_FREE char *url = xstrdup(one->url);
	for (;;) {
		struct exchange e = {.all = d, .one = one};
		CURLcode code = exchange(d, &e, url);
		if (one->stopped)
			return 0;
		if (code != CURLE_OK) {
			one->text = words_for(&e, code, url);
			one->temporary = is_temporary(code) && !e.denied && !e.too_large;
			return -EIO;
		}
		if (one->status < 300 || one->status > 308 || one->status == 304)
			return finish(one, url);
		char *next = next_of(d, one, url);
		if (!next)
			return -EIO;
		free(url);
		url = next;
		d->redirects++;
		if (!downloads_has(d, url)) {
			one->elsewhere = xstrdup(url);
			return -EXDEV;
		}
	}
}

void download_done(struct download *one)
{
	text_done(&one->body);
	free(one->new_etag);
	free(one->new_last_modified);
	free(one->elsewhere);
	free(one->text);
	*one = (struct download){0};
}

/* ---- all of them ---- */

struct downloads *downloads_new(const struct downloads_spec *spec)
{
	struct downloads *d = xcalloc(1, sizeof *d);
	curl_global_init(CURL_GLOBAL_DEFAULT);
	d->curl = curl_easy_init();
	d->deny = xcalloc(spec->deny->n, sizeof *d->deny);
	for (size_t i = 0; i < spec->deny->n; i++)
		if (address_range_parse(spec->deny->v[i], &d->deny[d->ndeny]) == 0)
			d->ndeny++;
	d->proxy = xstrdup(spec->proxy);
	d->trust = (struct curl_blob){.data = (void *)(uintptr_t)spec->trust, .len = spec->trust_len};
	d->deadline_us = spec->deadline_us;
	d->redirects = spec->redirects;
	return d;
}

void downloads_free(struct downloads *d)
{
	curl_easy_cleanup(d->curl);
	curl_slist_free_all(d->resolved);
	for (size_t i = 0; i < d->nhosts; i++)
		free(d->hosts[i].name);
	free(d->hosts);
	free(d->deny);
	free(d->proxy);
	free(d);
}

int64_t downloads_bytes(const struct downloads *d)
{
	return d->bytes;
}

uint32_t downloads_requests(const struct downloads *d)
{
	return d->requests;
}
