#include "site/commands.h"

#include "base/clock.h"
#include "base/memory.h"
#include "site/audit.h"
#include "site/pending.h"
#include "site/transaction.h"
#include "site/watched.h"

static void deny(struct request *r, const char *event,
		 int (*change)(struct request *, const struct digest *, const char *))
{
	struct digest d;
	struct fault fault = {0};
	const char *spki = request_argument(r, "spki"), *why = request_argument(r, "why");
	if (!spki || digest_parse(spki, &d) < 0)
		return request_finish(r, 2, "a SHA-256 of a SubjectPublicKeyInfo is needed (64 hexadecimal digits)",
				      NULL);
	if (!change(r, &d, why ? why : ""))
		return request_finish(r, 1, "nothing to change: certswapctl deny list shows what is refused", NULL);
	if (denied_save(r->site->folders.state, &r->site->denied, &fault) < 0)
		return request_finish(r, 1, fault.text, NULL);
	audit_write(r->site->audit, event, NULL,
		    json_pack("{ss, sI}", "spki_sha256", spki, "uid", (json_int_t)client_uid(r->client)), "%s",
		    why ? why : "by a person");
	transactions_notice(r->site);
	pending_review_all(r->site);
	watched_forget_refusals(r->site->watched);
	request_finish(r, 0, "done", NULL);
}

static int add_denial(struct request *r, const struct digest *d, const char *why)
{
	const struct denial denial = {.is_key = true,
				      .digest = *d,
				      .since = clock_wall(),
				      .confirmed = true,
				      .reason = (char *)(uintptr_t)(*why ? why : "by a person")};
	return denied_add(&r->site->denied, &denial);
}

static int confirm_denial(struct request *r, const struct digest *d, const char *why)
{
	(void)why;
	return denied_confirm(&r->site->denied, d);
}

static int remove_denial(struct request *r, const struct digest *d, const char *why)
{
	return *why ? denied_remove(&r->site->denied, d) > 0 : 0;
}

void command_deny_add(struct request *r)
{
	deny(r, "deny-add", add_denial);
}

void command_deny_confirm(struct request *r)
{
	deny(r, "deny-confirm", confirm_denial);
}

void command_deny_remove(struct request *r)
{
	if (!request_argument(r, "why"))
		return request_finish(r, 2, "--why TEXT is needed", NULL);
	deny(r, "deny-remove", remove_denial);
}
