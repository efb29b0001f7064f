#include "site/certificate.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/address.h"
#include "base/clock.h"
#include "base/files.h"
#include "base/log.h"
#include "base/memory.h"
#include "site/aftermath.h"
#include "site/alert.h"
#include "site/audit.h"
#include "swap/keyring.h"
#include "swap/record.h"

/* Somebody damaged the meta.json of a generation that we know. */
static bool write_again(const struct certificate *c, const struct meta *known)
{
	char path[32];
	struct fault fault = {0};
	AUTO_CLOSE int folder = files_open_folder(c->folder, store_generation_path(known->number, path), 0, &fault);
	if (folder < 0 || meta_save(folder, known, &fault) < 0)
		return false;
	audit_write(c->site->audit, "meta-restored", c->settings->name, NULL,
		    "somebody damaged meta.json of generation %u: written again", known->number);
	return true;
}

/* Reads the generation that a link names into *meta, with number 0 where there is none. 0 or why it can't be read. */
static int read_link(struct certificate *c, const char *link, struct meta *meta, struct fault *fault)
{
	struct meta known = *meta;
	*meta = (struct meta){0};
	int number = store_link_number(c->folder, link, fault);
	int r = number > 0 ? store_read_meta(c->folder, (unsigned int)number, meta, fault) : number;
	if (r < 0 && number > 0 && !fault_may_pass(r) && known.number == (unsigned int)number &&
	    write_again(c, &known)) {
		*meta = known;
		return 0;
	}
	meta_done(&known);
	return r;
}

/* A standby pair that can't be read is none; it must not keep the live one from being replaced. */
static void lose_standby(struct certificate *c, const char *why)
{
	struct fault fault = {0};
	if (store_set_standby(c->folder, 0, &fault) < 0)
		return log_warning("certificate-trouble", "%s: standby: %s", c->settings->name, fault.text);
	AUTO_FREE char *text = xasprintf("%s: the standby pair is gone: %s", c->settings->name, why);
	AUTO_FREE char *next =
		xasprintf("get another one and keep it: certswapctl standby %s FILE...", c->settings->name);
	audit_write(c->site->audit, "standby-lost", c->settings->name, NULL, "%s", text);
	const struct alert alert = {.event = "standby-not-ready",
				    .severity = ALERT_TICKET,
				    .certificate = c->settings->name,
				    .text = text,
				    .what_to_do = next,
				    .state = text};
	alert_send(c->site, &alert);
}

void certificate_refresh(struct certificate *c)
{
	struct fault live = {0}, standby = {0};
	free(c->trouble);
	c->trouble = NULL;
	c->passing = false;
	int r = read_link(c, "standby", &c->standby, &standby);
	if (r < 0 && !fault_may_pass(r))
		lose_standby(c, standby.text);
	else if (r < 0)
		log_warning("certificate-trouble", "%s: standby: %s", c->settings->name, standby.text);
	c->passing = r < 0 && fault_may_pass(r);
	r = read_link(c, "live", &c->live, &live);
	if (r == 0 && !c->passing)
		return;
	c->passing |= fault_may_pass(r);
	c->trouble = r < 0 ? xasprintf("live: %s", live.text) : xasprintf("standby: %s", standby.text);
	log_warning("certificate-trouble", "%s: %s", c->settings->name, c->trouble);
}

/* 0, or negative and fault: a process that is short of everything; mend_live must know whether there is one. */
static int load_last_swap(struct certificate *c, struct fault *fault)
{
	json_t *record;
	int failed = record_load(c->folder, "last-swap.json", &record, fault);
	if (failed < 0) /* none yet; a damaged one tells nothing that matters */
		return failed == -EMFILE || failed == -ENFILE || failed == -ENOMEM ? failed : 0;
	struct reader r = {.object = record};
	struct last_swap last = {.at_ms = record_number(&r, "at_ms"),
				 .milliseconds = record_number(&r, "milliseconds")};
	if (txn_state_parse(record_string(&r, "result"), &last.result) == 0 && !r.failed) {
		c->last_swap = last;
		c->last_swap.reason = xstrdup(record_string(&r, "reason"));
		c->last_swap.from = (unsigned int)json_integer_value(json_object_get(record, "from"));
		c->last_swap.to = (unsigned int)json_integer_value(json_object_get(record, "to"));
		const char *undone = json_string_value(json_object_get(record, "undone"));
		(void)digest_parse(undone ? undone : "", &c->last_swap.undone);
	}
	json_decref(record);
	return 0;
}

struct certificate *certificate_new(struct site *site, const struct certificate_settings *settings, struct fault *fault)
{
	struct certificate *c = xcalloc(1, sizeof *c);
	c->site = site;
	c->settings = settings;
	c->folder = files_open_folder(site->folders.certificates, settings->name, 0700, fault);
	if (c->folder < 0) {
		free(c);
		return NULL;
	}
	if (fchmod(c->folder, settings->key_mode & 0070 ? 0711 : 0700) < 0)
		log_warning("certificate-trouble", "%s: can't set the mode of its folder", settings->name);
	certificate_refresh(c);
	if (load_last_swap(c, fault) == 0)
		return c;
	certificate_free(c);
	return NULL;
}

static void drop_served(struct certificate *c)
{
	for (size_t i = 0; i < c->nserved; i++) {
		free(c->served[i].endpoint);
		free(c->served[i].server_name);
	}
	free(c->served);
	c->served = NULL;
	c->nserved = 0;
}

static void drop_meta(struct meta *m)
{
	if (m)
		meta_done(m);
	free(m);
}

void certificate_free(struct certificate *c)
{
	if (!c)
		return;
	close(c->folder);
	meta_done(&c->live);
	meta_done(&c->standby);
	drop_meta(c->coming);
	drop_meta(c->going);
	drop_served(c);
	aftermath_close(c);
	free(c->standby_proof.why);
	if (c->keys)
		keyring_done(c->keys);
	free(c->keys);
	free(c->trouble);
	free(c->last_swap.reason);
	free(c);
}

void certificate_count(struct certificate *c, unsigned int number)
{
	c->newest = number > c->newest ? number : c->newest;
}

const struct words *certificate_names(const struct certificate *c)
{
	return c->settings->dns.n ? &c->settings->dns : &c->live.names;
}

const char *certificate_trust(const struct certificate *c)
{
	return c->settings->trust ? c->settings->trust : c->site->settings->trust;
}

int certificate_owner(const struct certificate *c, struct store_owner *ret, struct fault *fault)
{
	ret->uid = geteuid();
	ret->gid = getegid();
	ret->mode = c->settings->key_mode;
	if (geteuid() != 0)
		return 0; /* everything is ours */
	const struct passwd *user = getpwnam(c->settings->key_owner);
	if (!user)
		return fault_set(fault, -ENOENT, "key_owner of %s: there is no user %s here", c->settings->name,
				 c->settings->key_owner);
	const struct group *group = getgrnam(c->settings->key_group);
	if (!group)
		return fault_set(fault, -ENOENT, "key_group of %s: there is no group %s here", c->settings->name,
				 c->settings->key_group);
	ret->uid = user->pw_uid;
	ret->gid = group->gr_gid;
	return 0;
}

static bool was_owed(const struct certificate *c, const struct served *s)
{
	for (size_t i = 0; i < c->nserved; i++)
		if (strcmp(c->served[i].endpoint, s->endpoint) == 0 &&
		    strcmp(c->served[i].server_name, s->server_name) == 0)
			return c->served[i].owed;
	return false;
}

/* By its name. One that is shown at single addresses of the host is owed where it was shown once: at the others, and at
 * loopback, other sites answer. */
static bool is_owed(const struct certificate *c, const struct served *s)
{
	if (!*s->server_name)
		return false;
	if (c->elsewhere)
		return !address_is_loopback(s->endpoint) &&
		       (digest_equal(&s->sha256, &c->live.sha256) || was_owed(c, s));
	return !digest_is_zero(&s->sha256) || c->settings->probe.n || was_owed(c, s);
}

static void mark_owed(const struct certificate *c, struct served *served, size_t n)
{
	size_t owed = 0, named = 0;
	for (size_t i = 0; i < n; i++) {
		struct served *s = &served[i];
		named += *s->server_name != '\0';
		s->owed = is_owed(c, s);
		owed += s->owed;
	}
	for (size_t i = 0; i < n && !owed; i++)
		served[i].owed = *served[i].server_name || !named;
}

void certificate_set_served(struct certificate *c, struct served *served, size_t n)
{
	mark_owed(c, served, n);
	drop_served(c);
	c->served = served;
	c->nserved = n;
}

void certificate_set_last_swap(struct certificate *c, const struct last_swap *last)
{
	struct fault fault = {0};
	char *reason = xstrdup(last->reason), undone[DIGEST_HEX];
	free(c->last_swap.reason);
	c->last_swap = *last;
	c->last_swap.reason = reason;
	json_t *record = json_pack("{sI, ss, sI, ss, sI, sI, ss}", "at_ms", (json_int_t)last->at_ms, "result",
				   txn_state_name(last->result), "milliseconds", (json_int_t)last->milliseconds,
				   "reason", reason, "from", (json_int_t)last->from, "to", (json_int_t)last->to,
				   "undone", digest_is_zero(&last->undone) ? "" : digest_text(&last->undone, undone));
	if (!record || record_save(c->folder, "last-swap.json", record, &fault) < 0)
		log_warning("record-failed", "%s: last-swap.json: %s", c->settings->name, fault.text);
	json_decref(record);
}

const struct denial *certificate_denial(const struct certificate *c, const struct meta *meta)
{
	const struct denial *denial = denied_find(&c->site->denied, true, &meta->spki);
	return denial ? denial : denied_find(&c->site->denied, false, &meta->sha256);
}
