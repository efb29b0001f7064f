/* The configuration, read whole or not at all. One table of options (settings/options.c: path, type, range, default,
 * help) is the only description of it: parsing, ranges, defaults, `config dump`, `certswapd -t` and the reference part
 * of certswap.conf(5) come from there. Used by certswapd and certswapctl. */
#ifndef SETTINGS_SETTINGS_H
#define SETTINGS_SETTINGS_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/text.h"

#define SETTINGS_DEFAULT_FILE "/etc/certswap/certswap.conf"

enum manage { MANAGE_SWAP, MANAGE_OBSERVE };
enum on_event { ON_EVENT_SWAP, ON_EVENT_CONFIRM };
enum profile { PROFILE_AUTO, PROFILE_PUBLIC, PROFILE_PRIVATE }; /* same order as enum check_profile */
enum reload_way { RELOAD_AUTO, RELOAD_SIGNAL, RELOAD_SYSTEMD };
enum rehearsal { REHEARSAL_AUTO, REHEARSAL_OWN_PROOF };
enum starttls { STARTTLS_NONE, STARTTLS_SMTP, STARTTLS_IMAP, STARTTLS_POP3 }; /* same order as enum probe_starttls */
enum sandbox_policy { SANDBOX_AUTO, SANDBOX_REQUIRE, SANDBOX_STRICT };
#define CONFIRM_BY_NEVER (-1)

struct server_settings {
	char *name, *kind, *config, *binary, *pidfile, *environment_file;
	struct words arguments;
	enum reload_way reload;
	enum rehearsal rehearsal;
	int64_t timeout_ms;
};

struct consumer_settings {
	char *name, *probe;
	struct words reload;
	enum starttls starttls;
};

struct certificate_settings {
	char *name;
	struct words dns, servers, probe, watch, pins, reissue, after_swap;
	enum manage manage;
	char *trust; /* NULL: the main one */
	enum profile profile;
	char *key_type;
	char *key_owner, *key_group;
	unsigned int key_mode;
	enum on_event on_notice, on_revoked;
	int64_t confirm_by_ms; /* or CONFIRM_BY_NEVER */
	int64_t reissue_max, reissue_timeout_ms;
	bool rotate_tickets;
	int64_t drain_ms;
	struct consumer_settings *consumers;
	size_t nconsumers;
	char *ca_contact, *ca_order, *ca_hours;
	int64_t ca_lead_time_ms;         /* 0: not said */
	int64_t ca_revokes_old_after_ms; /* 0: not said */
	char *check_crl;                 /* "true", "false" or "file:/path" */
	bool check_ocsp;
	char *check_ari; /* directory URL or "" */
	bool staple;
	int64_t check_interval_ms;
	char *file; /* where it is defined, for messages */
	unsigned int line;
};

struct settings {
	char *file;
	char *state_dir, *run_dir, *trust, *metrics_file, *worker_user, *intermediates, *fetch_proxy;
	struct words alert, fetch_deny;
	enum sandbox_policy sandbox;
	struct server_settings *servers;
	size_t nservers;
	struct certificate_settings *certificates;
	size_t ncertificates;
};

/* All that is wrong with a file, in order of file and line. */
struct complaint {
	char *file;
	unsigned int line; /* 0: the file as a whole */
	char *text;        /* what is wrong and what would be right */
	char *source;      /* the line itself, or NULL */
};
struct complaints {
	struct complaint *v;
	size_t n;
};
void complaints_print(const struct complaints *c, FILE *out); /* "FILE:LINE: text" and the line itself, indented */
void complaints_done(struct complaints *c);

/* Reads `file` and the *.conf files in certificates.d beside it (each of those holds a `certificates = ( ... );` or one
 * bare group of certificate options; hidden files and other endings are left alone). `@include "path"` on a line of its
 * own is relative to the file that says it. Returns settings that the caller frees with settings_free, or NULL with
 * every complaint. Checks what the file alone can tell (types, ranges, unknown keys, duplicate names, servers that
 * don't exist); never the state of the host. */
struct settings *settings_load(const char *file, struct complaints *ret);
/* What could be read of a file with mistakes, defaults for the rest; never NULL. For the folders of a certswapd that
 * runs already: nothing else of it may be used. */
struct settings *settings_load_some(const char *file);
void settings_free(struct settings *s);

const struct certificate_settings *settings_certificate(const struct settings *s, const char *name); /* NULL: none */
const struct server_settings *settings_server(const struct settings *s, const char *name);           /* NULL: none */

/* `certswapd -t`, `certswapctl config test`: says on `out` that the file is right and returns 0, or prints every
 * complaint on `err` and returns 2. */
int settings_print_check(const char *file, FILE *out, FILE *err);

void settings_dump(const struct settings *s, FILE *out); /* the effective configuration, in libconfig's syntax */
void settings_reference(FILE *out);                      /* the reference part of certswap.conf(5), mdoc(7) */
#endif
