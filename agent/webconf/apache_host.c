/* What Apache's servers say of names and certificates, and what a virtual host takes from the main server. */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/memory.h"
#include "webconf/apache.h"

struct scope *apache_scope(const struct walk *walk)
{
	return walk->scope < 0 ? &walk->a->main : &walk->a->scopes[walk->scope];
}

static struct webconf_host *host_of(const struct walk *walk)
{
	return walk->scope < 0 ? NULL : &walk->a->r->w->hosts[apache_scope(walk)->host];
}

/* Behind "a file";; too there is a second word. */
static char *why_out_of_reach(const struct walk *walk, const struct node *node, const char *text, const char *unknown)
{
	if (node->nwords > 2)
		return xasprintf("%s takes one file, and more stands here: Apache would not start with it",
				 node->words[0].text);
	if (unknown)
		return xasprintf("the variable %s has no value here", unknown);
	if (strncmp(text, "pkcs11:", 7) == 0)
		return xstrdup("it lies in a token (pkcs11:), not in a file");
	if (strncmp(text, "builtin:", 8) == 0)
		return xstrdup("it is asked for at the start (builtin:)");
	if (walk->macro)
		return xasprintf("it stands in the macro %s, used at %s:%u", walk->macro->name,
				 walk->a->r->w->files[walk->use_file].path, walk->use_line);
	return NULL;
}

static struct webconf_value value_of(const struct walk *walk, const struct node *node, const char *text,
				     const char *unknown)
{
	char *why = why_out_of_reach(walk, node, text, unknown);
	bool path = !unknown && strncmp(text, "pkcs11:", 7) != 0 && strncmp(text, "builtin:", 8) != 0;
	struct webconf_value value = {.text = path ? path_below(walk->a->root, text) : xstrdup(text),
				      .raw = xstrdup(node->words[1].text),
				      .out_of_reach = why,
				      .at = place_of(walk->file, node)};
	value.at.in_macro = walk->macro != NULL;
	hide_pin(value.text);
	hide_pin(value.raw);
	return value;
}

static void add_value(const struct walk *walk, struct values *list, struct webconf_value value)
{
	if (!reading_takes(walk->a->r, list->n, WEBCONF_PAIRS_MAX)) {
		value_done(&value);
		return;
	}
	list->v = xrealloc(list->v, (list->n + 1) * sizeof *list->v);
	list->v[list->n++] = value;
}

static void set_value(struct webconf_value *to, struct webconf_value value)
{
	value_done(to);
	*to = value;
}

/* "https://www.example.jp:443" -> "www.example.jp"; the caller frees */
static char *bare_name(const char *text)
{
	const char *scheme = strstr(text, "://");
	const char *name = scheme ? scheme + 3 : text;
	size_t len = *name == '[' ? strcspn(name, "]") + 1 : strcspn(name, ":");
	if (len > strlen(name))
		len = strlen(name);
	return xstrndup(name, len);
}

/* Only ServerAlias may hold a wildcard; the last ServerName counts. */
static void set_name(const struct walk *walk, const struct node *node, const char *text)
{
	struct scope *s = apache_scope(walk);
	free(s->name);
	s->name = bare_name(text);
	if (!strpbrk(s->name, "*?"))
		return;
	reading_note(
		walk->a->r, walk->file, node->line,
		"ServerName %s is no wildcard to Apache: only a ServerAlias can be one, so no visitor asks for this",
		s->name);
	*s->name = '\0';
}

static void add_name(struct webconf_host *h, const char *text)
{
	AUTO_FREE char *name = bare_name(text);
	words_add(&h->names, name);
}

/* ServerName first; without one a host on every address has that of the main server. */
static void finish_names(const struct apache *a, const struct scope *s)
{
	struct webconf_host *h = &a->r->w->hosts[s->host];
	struct words names = {0};
	const char *name = s->name;
	for (size_t i = 0; !name && i < h->nlistens; i++)
		if (strncmp(h->listens[i].address, "*:", 2) == 0)
			name = a->main.name;
	if (name && *name)
		words_add(&names, name);
	for (size_t i = 0; i < h->names.n; i++)
		words_add(&names, h->names.v[i]);
	words_done(&h->names);
	h->names = names;
}

/* true: it was a directive that names a file of a pair. */
static bool read_pair(const struct walk *walk, const struct node *node, const char *text, const char *unknown)
{
	const char *name = node->words[0].text;
	struct scope *s = apache_scope(walk);
	if (strcasecmp(name, "SSLCertificateFile") == 0)
		add_value(walk, &s->certificates, value_of(walk, node, text, unknown));
	else if (strcasecmp(name, "SSLCertificateKeyFile") == 0)
		add_value(walk, &s->keys, value_of(walk, node, text, unknown));
	else if (strcasecmp(name, "SSLCertificateChainFile") == 0)
		set_value(&s->chain, value_of(walk, node, text, unknown));
	else if (strcasecmp(name, "SSLSessionTicketKeyFile") == 0)
		set_value(&s->tickets, value_of(walk, node, text, unknown));
	else
		return false;
	return true;
}

static bool read_use(const struct walk *walk, const struct node *node, const char *text, const char *unknown)
{
	static const struct {
		const char *directive;
		enum webconf_use_kind kind;
	} uses[] = {{"SSLProxyMachineCertificateFile", WEBCONF_USE_CLIENT_CERTIFICATE},
		    {"SSLProxyMachineCertificateChainFile", WEBCONF_USE_TRUSTED},
		    {"MDCertificateFile", WEBCONF_USE_MANAGED},
		    {"MDCertificateKeyFile", WEBCONF_USE_MANAGED},
		    {"SSLCACertificateFile", WEBCONF_USE_TRUSTED},
		    {"SSLOCSPResponderCertificateFile", WEBCONF_USE_TRUSTED}};
	for (size_t i = 0; i < ARRAY_SIZE(uses); i++) {
		if (strcasecmp(node->words[0].text, uses[i].directive) != 0)
			continue;
		struct webconf_value value = value_of(walk, node, text, unknown);
		use_add(walk->a->r, host_of(walk), uses[i].kind, uses[i].directive, &value);
		return true;
	}
	return false;
}

/* As Debian and EL set it, for keys that need none: a key with a passphrase is found by itself. */
static bool is_usual_dialog(const char *value)
{
	static const char *const usual[] = {"builtin", "exec:/usr/share/apache2/ask-for-passphrase",
					    "exec:/usr/libexec/httpd-ssl-pass-dialog"};
	for (size_t i = 0; i < ARRAY_SIZE(usual); i++)
		if (strcasecmp(value, usual[i]) == 0)
			return true;
	return false;
}

static int8_t switched(const char *text)
{
	return strcasecmp(text, "off") == 0 || strcasecmp(text, "none") == 0 ? -1 : 1;
}

/* Certificates that come in by another door than mod_ssl's usual directives. */
static void note_strange(const struct walk *walk, const struct node *node, const struct words *args)
{
	static const char *const directives[] = {"TLSCertificate",
						 "GnuTLSCertificateFile",
						 "GnuTLSX509CertificateFile",
						 "GnuTLSKeyFile",
						 "GnuTLSX509KeyFile",
						 "NSSNickname",
						 "NSSECCNickname",
						 "SSLProxyMachineCertificatePath"};
	const char *name = node->words[0].text;
	bool strange = strcasecmp(name, "SSLOpenSSLConfCmd") == 0 &&
		       (strcasecmp(args->v[0], "Certificate") == 0 || strcasecmp(args->v[0], "PrivateKey") == 0);
	for (size_t i = 0; i < ARRAY_SIZE(directives); i++)
		strange |= strcasecmp(name, directives[i]) == 0;
	if (strange)
		reading_note(walk->a->r, walk->file, node->line, "%s is not followed: what it names is not shown here",
			     name);
}

void apache_directive(const struct walk *walk, const struct node *node, const struct words *args, const char *unknown)
{
	const char *name = node->words[0].text;
	struct webconf_host *h = host_of(walk);
	struct scope *s = apache_scope(walk);
	if (walk->in_if && strncasecmp(name, "SSLCertificate", 14) == 0) {
		reading_note(walk->a->r, walk->file, node->line, "%s stands inside of <If>, where Apache refuses it",
			     name);
		return;
	}
	if (read_pair(walk, node, args->v[0], unknown) || read_use(walk, node, args->v[0], unknown))
		return;
	note_strange(walk, node, args);
	if (strcasecmp(name, "SSLEngine") == 0)
		s->engine = switched(args->v[0]);
	else if (strcasecmp(name, "Protocol") == 0)
		s->https = strcasecmp(args->v[0], "https") == 0 ? 1 : -1;
	else if (strcasecmp(name, "SSLUseStapling") == 0)
		s->staple = switched(args->v[0]);
	else if (strcasecmp(name, "SSLVerifyClient") == 0 && !walk->in_folder)
		s->verify = switched(args->v[0]);
	else if (strcasecmp(name, "ServerName") == 0)
		set_name(walk, node, args->v[0]);
	else if (strcasecmp(name, "ServerAlias") == 0 && h)
		for (size_t i = 0; i < args->n; i++)
			add_name(h, args->v[i]);
	else if (strcasecmp(name, "SSLPassPhraseDialog") == 0 && !is_usual_dialog(args->v[0]))
		reading_note(walk->a->r, walk->file, node->line,
			     "SSLPassPhraseDialog: keys with a passphrase can't be swapped by certswap");
}

/* The i-th of a merged list as mod_ssl merges: a host's own entries take the places of the first three of the main
 * server, further ones are added. Files of both may end up in one list. */
static const struct webconf_value *merged(const struct values *own, const struct values *above, size_t at,
					  bool *ret_inherited)
{
	size_t n = 0;
	for (size_t i = 0; i < 3 || i < own->n; i++) {
		bool is_own = i < own->n;
		if (!is_own && i >= above->n)
			continue;
		if (n++ == at) {
			*ret_inherited = !is_own;
			return is_own ? &own->v[i] : &above->v[i];
		}
	}
	return NULL;
}

static void take(struct webconf_value *to, const struct webconf_value *from, bool inherited)
{
	if (!from || !from->text)
		return;
	value_copy(to, from);
	to->inherited |= inherited;
}

static void take_pairs(struct webconf_host *h, const struct scope *s, const struct scope *above)
{
	const struct webconf_value *value;
	bool inherited;
	for (size_t i = 0; (value = merged(&s->certificates, &above->certificates, i, &inherited)); i++) {
		struct webconf_pair *pair = host_add_pair(h);
		take(&pair->certificate, value, inherited);
		value = merged(&s->keys, &above->keys, i, &inherited);
		take(&pair->key, value, inherited);
		take(&pair->chain, s->chain.text ? &s->chain : &above->chain, !s->chain.text);
	}
}

static bool is_listened_on(const struct apache *a, const char *address)
{
	for (size_t i = 0; i < a->listens.nlistens; i++)
		if (strcasecmp(a->listens.listens[i].address, address) == 0)
			return true;
	return false;
}

/* The protocol of its first address that is a Listen's as it stands there; without an SSLEngine it decides. */
static bool is_https(const struct apache *a, const struct webconf_host *h)
{
	for (size_t i = 0; h->context == WEBCONF_VHOST && i < h->nlistens; i++)
		if (is_listened_on(a, h->listens[i].address))
			return words_has(&a->https, h->listens[i].address);
	return false;
}

static int8_t first_said(int8_t own, int8_t above)
{
	return own ? own : above;
}

static void finish_host(struct apache *a, const struct scope *s)
{
	static const struct scope nothing;
	bool is_main = s == &a->main;
	const struct scope *above = is_main ? &nothing : &a->main;
	struct webconf_host *h = &a->r->w->hosts[s->host];
	finish_names(a, s);
	take_pairs(h, s, above);
	const struct webconf_value *tickets = s->tickets.text ? &s->tickets : &above->tickets;
	if (tickets->text) {
		struct webconf_value value;
		value_copy(&value, tickets);
		value.inherited = tickets != &s->tickets;
		use_add(a->r, h, WEBCONF_USE_TICKET_KEY, "SSLSessionTicketKeyFile", &value);
	}
	int8_t engine = first_said(s->engine, above->engine);
	int8_t https = first_said(s->https, above->https);
	h->tls = engine > 0 || (engine == 0 && h->npairs > 0 && (https ? https > 0 : is_https(a, h)));
	h->must_staple = first_said(s->staple, above->staple) > 0;
	h->demands_client = first_said(s->verify, above->verify) > 0;
	for (size_t i = 0; i < h->nlistens; i++)
		h->listens[i].tls = h->tls;
	for (size_t i = 0; h->tls && h->npairs == 0 && i < h->names.n && !h->managed_by; i++)
		if (words_has(&a->managed, h->names.v[i]))
			h->managed_by = xstrdup("mod_md");
	if (h->tls && h->npairs == 0 && !h->managed_by)
		reading_note(a->r, h->at.file, h->at.line, "SSLEngine is on, but no SSLCertificateFile was found");
}

/* Does some virtual host take all that comes in here? */
static bool is_taken(const struct webconf *w, const char *address)
{
	const char *port = strrchr(address, ':');
	for (size_t i = 0; i < w->nhosts; i++) {
		for (size_t j = 0; j < w->hosts[i].nlistens; j++) {
			const char *theirs = w->hosts[i].listens[j].address, *their_port = strrchr(theirs, ':');
			bool any_host = strncmp(theirs, "*:", 2) == 0;
			bool same_host = any_host || (their_port - theirs == port - address &&
						      strncasecmp(theirs, address, (size_t)(port - address)) == 0);
			if (same_host && (strcmp(their_port, ":*") == 0 || strcmp(their_port, port) == 0))
				return true;
		}
	}
	return false;
}

static void add_main(struct apache *a)
{
	if (a->main.certificates.n == 0 && a->main.engine <= 0)
		return;
	struct webconf_host *h = host_add(a->r, WEBCONF_MAIN, 0, NULL);
	a->main.host = a->r->w->nhosts - 1;
	for (size_t i = 0; i < a->listens.nlistens; i++) {
		const struct webconf_listen *l = &a->listens.listens[i];
		if (is_taken(a->r->w, l->address))
			continue;
		struct webconf_listen *own = host_add_listen(h);
		*own = *l;
		own->address = xstrdup(l->address);
	}
	if (h->nlistens == 0)
		a->main.engine = -1; /* nothing reaches it */
	finish_host(a, &a->main);
}

static void scope_done(struct scope *s)
{
	struct values *lists[] = {&s->certificates, &s->keys};
	for (size_t i = 0; i < ARRAY_SIZE(lists); i++) {
		for (size_t j = 0; j < lists[i]->n; j++)
			value_done(&lists[i]->v[j]);
		free(lists[i]->v);
	}
	free(s->name);
	value_done(&s->chain);
	value_done(&s->tickets);
}

void apache_finish(struct apache *a)
{
	for (size_t i = 0; i < a->nscopes; i++)
		finish_host(a, &a->scopes[i]);
	add_main(a);
	apache_answers(a);
	for (size_t i = 0; i < a->nscopes; i++)
		scope_done(&a->scopes[i]);
	scope_done(&a->main);
}
