/* One request of certswapctl over the control socket, until its answer. Runs in certswapd. */
#ifndef SITE_REQUEST_H
#define SITE_REQUEST_H
#include <jansson.h>
#include <stddef.h>

#include "base/text.h"
#include "loop/control.h"
#include "loop/loop.h"
#include "site/site.h"

/* One request until its answer. It outlives its client: work that was taken goes on when the client is gone. */
struct request {
	struct site *site;
	struct client *client; /* NULL: gone, or answered */
	json_t *arguments;
	int *fds;
	size_t nfds;
	struct timer *timeout;
	struct request *next_waiting, **link; /* among those that wait; link NULL: it is not */
	size_t waiting_for;                   /* answers of incidents */
	int exit;
	struct text text, next;
};

/* What the request says under this key; NULL: nothing, or not a text. The request's. */
const char *request_argument(const struct request *r, const char *key);
/* The findings that a person lets pass, and why, from `accept`: the caller's. -EINVAL, -EPERM and fault, nothing to
 * free: not a finding, without a reason, or one that can't be let pass. *ret_why stays NULL where there are none. */
int request_accepted(const struct request *r, struct words *ret, char **ret_why, struct fault *fault);
/* The certificate that `name` names; NULL: there is none, and the request was answered and freed. */
struct certificate *request_certificate(struct request *r);

/* One line to the client, which need not be the last. Takes over o. */
void request_send(struct request *r, json_t *o);
/* The answer comes when the work has ended, at the timeout, or now where nobody waits. Until then the client is told
 * each step of its certificate; of every certificate where it named none. */
void request_wait(struct request *r);
/* The final answer; the request itself stays until its work has ended too. next: what to do, or NULL. */
void request_answer(struct request *r, int exit, const char *message, const char *next);
/* The final answer, and the end of the request. */
void request_finish(struct request *r, int exit, const char *message, const char *next);
void request_finish_with(struct request *r, json_t *result);                        /* takes over result */
void request_finish_result(struct request *r, const char *message, json_t *result); /* the same, with a text */
void request_finish_exit(struct request *r, int exit, json_t *result);              /* with another exit status */
void request_free(struct request *r);
void request_tell_step(struct certificate *const *v, size_t n, const char *doing); /* a certificate_step_cb */
#endif
