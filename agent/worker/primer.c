#include "worker/primer.h"

void primer_init(struct primer *p)
{
	p->under_way = 0;
	for (size_t i = 0; i < PRIMER_MAX; i++)
		p->v[i] = (struct attempt){.fd = -1};
}

static void ended(struct primer *p, const struct attempt *a)
{
	const struct outcome *o = &a->outcome;
	p->under_way--;
	if (o->kind != OUTCOME_SHOWN || !digest_equal(&o->sha256, &a->place->expect))
		return;
	p->shown++;
	p->unstapled += !o->stapled;
}

void primer_start(struct primer *p, size_t site, SSL_CTX *context, const struct probe_place *place,
		  const struct sockaddr *address, socklen_t len, int64_t now_us, int64_t deadline_us)
{
	p->site = site;
	p->shown = p->unstapled = 0;
	p->under_way = PRIMER_MAX;
	for (size_t i = 0; i < PRIMER_MAX; i++)
		if (attempt_start(&p->v[i], context, place, address, len, now_us, deadline_us))
			ended(p, &p->v[i]);
}

size_t primer_polls(const struct primer *p, struct pollfd *polls)
{
	size_t n = 0;
	for (size_t i = 0; p->under_way && i < PRIMER_MAX; i++)
		if (p->v[i].fd >= 0)
			polls[n++] = (struct pollfd){.fd = p->v[i].fd, .events = p->v[i].events};
	return n;
}

bool primer_step(struct primer *p, const struct pollfd *polls, size_t n, int64_t now_us)
{
	size_t at = 0;
	bool before = p->under_way;
	for (size_t i = 0; i < PRIMER_MAX && at < n; i++) {
		struct attempt *a = &p->v[i];
		if (a->fd != polls[at].fd)
			continue;
		if (polls[at++].revents) {
			if (attempt_step(a))
				ended(p, a);
		} else if (now_us >= a->deadline_us) {
			attempt_expire(a);
			ended(p, a);
		}
	}
	return before && !p->under_way;
}

int64_t primer_deadline(const struct primer *p)
{
	for (size_t i = 0; p->under_way && i < PRIMER_MAX; i++)
		if (p->v[i].fd >= 0)
			return p->v[i].deadline_us; /* they began together */
	return INT64_MAX;
}

void primer_done(struct primer *p)
{
	for (size_t i = 0; i < PRIMER_MAX; i++)
		if (p->v[i].fd >= 0)
			attempt_expire(&p->v[i]);
	p->under_way = 0;
}
