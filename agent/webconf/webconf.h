/* What a web server's configuration says about certificates: which pair stands where, for which names and addresses,
 * and what of it can't be known from the files. Bytes in, values out: files come through `struct webconf_source`, so
 * nothing here opens anything. All input is taken as hostile: sizes, depth and counts are bounded, and what is not
 * understood becomes a note, never a guess. Runs in certswapctl (discover, adopt) and in the worker. */
#ifndef WEBCONF_WEBCONF_H
#define WEBCONF_WEBCONF_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/text.h"

#define WEBCONF_FILES_MAX 20000              /* files of one configuration, each inclusion counted */
#define WEBCONF_BYTES_MAX (64 * 1024 * 1024) /* of all of them together */
#define WEBCONF_DEPTH_MAX 32                 /* includes and blocks in each other */
#define WEBCONF_HOSTS_MAX 100000
#define WEBCONF_LIST_MAX  2000 /* addresses of a host, variables, modules, macros */
#define WEBCONF_PAIRS_MAX 16   /* of a host */
#define WEBCONF_VALUE_MAX 8192 /* bytes of a word with its variables put in */
#define WEBCONF_NOTES_MAX 500

enum webconf_kind { WEBCONF_NGINX, WEBCONF_APACHE, WEBCONF_KINDS };
extern const char *const webconf_kind_name[WEBCONF_KINDS]; /* "nginx", "apache": as in certswap.conf */

/* Where the bytes come from. */
struct webconf_source {
	void *context;
	/* The whole file; *ret_bytes is freed by the reader. 0 or negative errno (-EISDIR: a folder). */
	int (*read)(void *context, const char *path, char **ret_bytes, size_t *ret_len);
	/* Paths that fit a pattern of glob(7), sorted by bytes; a path without wildcards: itself if it is there. Where
	 * `below` is set, the path is a folder and all files in it, folders below too, are asked for. */
	int (*list)(void *context, const char *pattern, bool below, struct words *ret);
};

/* What the files don't say; all may be empty. */
struct webconf_facts {
	const char *prefix;  /* ServerRoot that was built in; NULL: none. nginx: paths go from the main file's folder */
	const char *version; /* "2.4.62"; NULL: not known */
	struct words defines;     /* Apache: "NAME" or "NAME=value", of -D */
	struct words environment; /* Apache: "NAME=value", of the running parent, for ${NAME} alone */
	struct words modules; /* Apache: "mod_so.c" or "so_module", what is built in; empty: what distributions do */
};

/* Where something stands. Offsets are bytes of the file as it is, from 0. */
struct webconf_place {
	uint32_t file;               /* index into webconf.files */
	uint32_t line;               /* from 1, of the directive's first byte */
	size_t from, to;             /* the directive: nginx with its ';', Apache without the newline that ends it */
	size_t value_from, value_to; /* its first argument, with its quotes */
	bool in_macro;               /* Apache: stands in a <Macro>; an edit changes every use of it */
};

/* A directive that names a file. text NULL: there is none. */
struct webconf_value {
	char *text;         /* the path, absolute and without quotes, or what stands there (out_of_reach) */
	char *raw;          /* as it stands in the file */
	char *out_of_reach; /* NULL, or why the file can't be known or swapped: "a variable", "data:", "pkcs11:" ... */
	bool inherited;     /* stands outside of the host's own block */
	struct webconf_place at;
};

/* Certificate and key that belong together. Where key.text is NULL, the certificate's file holds the key too (Apache),
 * or it is missing (nginx). */
struct webconf_pair {
	struct webconf_value certificate, key, chain; /* chain: Apache's SSLCertificateChainFile */
};

struct webconf_listen {
	char *address; /* "*:443" "127.0.0.1:443" "[::]:443" "unix:/path" "host:443"; Apache without a port: "host:*" */
	bool tls;      /* what comes in here speaks TLS */
	bool default_server; /* answers to a name that nobody has: said so, or the first on this address */
	bool proxy_protocol;
	bool quic;
	bool unreached;     /* no connection that ends TLS gets here: nothing listens, or another host takes all */
	struct words taken; /* names of the host that another host answers to here */
	struct webconf_place at;
};

/* Other files of a host that belong to a certificate or a key. */
enum webconf_use_kind {
	WEBCONF_USE_CLIENT_CERTIFICATE, /* proxy_ssl_certificate and its like, SSLProxyMachineCertificateFile */
	WEBCONF_USE_CLIENT_KEY,
	WEBCONF_USE_STAPLE,     /* ssl_stapling_file */
	WEBCONF_USE_TICKET_KEY, /* ssl_session_ticket_key, SSLSessionTicketKeyFile */
	WEBCONF_USE_PASSWORD,   /* ssl_password_file */
	WEBCONF_USE_TRUSTED,    /* ssl_trusted_certificate, SSLOCSP... */
	WEBCONF_USE_MANAGED,    /* MDCertificateFile, MDCertificateKeyFile: what mod_md hands on */
	WEBCONF_USE_KINDS
};
struct webconf_use {
	enum webconf_use_kind kind;
	char *directive;
	struct webconf_value file;
};

enum webconf_context {
	WEBCONF_HTTP,   /* a server block of nginx's http */
	WEBCONF_STREAM, /* of its stream */
	WEBCONF_MAIL,   /* of its mail */
	WEBCONF_VHOST,  /* Apache's <VirtualHost> */
	WEBCONF_MAIN,   /* Apache outside of all of them */
	WEBCONF_CONTEXTS
};
extern const char
	*const webconf_context_name[WEBCONF_CONTEXTS]; /* "http" "stream" "mail" "virtual host" "main server" */

struct webconf_host {
	enum webconf_context context;
	struct webconf_place at; /* of its block's head */
	struct words names;      /* as configured: "*.example.jp", nginx "~regex" and "_" too */
	struct webconf_listen *listens;
	size_t nlistens;
	struct webconf_pair *pairs; /* several: one for each type of key */
	size_t npairs;
	struct webconf_use *uses;
	size_t nuses;
	bool tls;            /* it is to end TLS: its pairs are loaded */
	bool starttls;       /* mail: after STARTTLS */
	bool rejects;        /* ssl_reject_handshake: no certificate is needed */
	bool must_staple;    /* stapling is switched on */
	bool demands_client; /* clients must show a certificate */
	char *managed_by;    /* NULL, or who brings the certificate: "mod_md", a Lua block */
};

struct webconf_file {
	char *path;
	char *why; /* NULL: it was read; else why not */
};

/* What could not be understood or is wrong in the configuration itself. */
struct webconf_note {
	uint32_t file, line; /* line 0: the file as a whole */
	char *text;          /* for a person */
};

struct webconf {
	enum webconf_kind kind;
	struct webconf_file *files;
	size_t nfiles;
	struct webconf_host *hosts; /* in the order of the configuration */
	size_t nhosts;
	struct webconf_use *uses; /* outside of hosts: nginx http level, Apache main server */
	size_t nuses;
	struct webconf_note *notes;
	size_t nnotes;
	bool incomplete; /* a bound was reached, or a file or a block could not be read */
};

/* Reads `config` and what it includes. Never fails: what is wrong is in notes. The caller frees with webconf_free. */
struct webconf *webconf_read(enum webconf_kind kind, const char *config, const struct webconf_facts *facts,
			     const struct webconf_source *source);
void webconf_free(struct webconf *w);
/* Is a certificate of this host ever shown: at one of its addresses, for a name of it or as the default? */
bool webconf_shows(const struct webconf_host *h);
/* "FILE:LINE" of a place; the caller frees. */
char *webconf_where(const struct webconf *w, const struct webconf_place *at);
#endif
