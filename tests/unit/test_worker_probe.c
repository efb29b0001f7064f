/* The prober against real TLS servers, through the real certswap-worker and its sandbox. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/memory.h"
#include "test_worker_help.h"

#define YEAR (365 * 86400)

static void done(struct probe_seen *seen, char *endpoint)
{
	free(seen->serial);
	free(seen->text);
	free(endpoint);
}

static void expect_shown(const struct probe_seen *seen, const struct pair *pair)
{
	cr_assert(seen->result == PROBE_SHOWN, "result %d: %s", seen->result, seen->text);
	cr_assert(digest_equal(&seen->sha256, &pair->sha256));
	cr_assert(digest_equal(&seen->spki, &pair->spki));
	cr_assert(strcmp(seen->serial, "a1b") == 0, "%s", seen->serial);
}

/* One look at what `server` shows. */
static struct probe_seen look(const struct server *server, struct probe_place place)
{
	char *endpoint = help_serve(server);
	place.endpoint = endpoint;
	struct probe_seen seen = help_probe_one(&place, 3000, 0);
	free(endpoint);
	return seen;
}

Test(worker_probe, shows_digest_key_and_serial, .timeout = 20)
{
	struct pair pair = help_pair("EC", YEAR);
	struct probe_seen seen = look(&(struct server){.pairs = {&pair}}, (struct probe_place){0});
	expect_shown(&seen, &pair);
	cr_assert(eq(u32, seen.handshakes, 1));
	done(&seen, NULL);
}

Test(worker_probe, expired_tls12_without_server_name, .timeout = 20)
{
	struct pair pair = help_pair("RSA", -3600);
	char none[] = "";
	struct probe_seen seen = look(&(struct server){.pairs = {&pair}, .max_version = TLS1_2_VERSION},
				      (struct probe_place){.server_name = none});
	expect_shown(&seen, &pair);
	done(&seen, NULL);
}

Test(worker_probe, ipv6_and_unix_sockets, .timeout = 20)
{
	struct pair pair = help_pair("EC", YEAR);
	struct probe_seen seen = look(&(struct server){.pairs = {&pair}, .v6 = true}, (struct probe_place){0});
	expect_shown(&seen, &pair);
	done(&seen, NULL);
	char folder[] = "/tmp/certswap-probe-XXXXXX";
	cr_assert(mkdtemp(folder) != NULL);
	AUTO_FREE char *path = xasprintf("%s/socket", folder);
	cr_assert(chmod(folder, 0755) == 0);
	mode_t before = umask(0); /* the worker is another user */
	seen = look(&(struct server){.pairs = {&pair}, .unix_path = path}, (struct probe_place){0});
	umask(before);
	unlink(path);
	rmdir(folder);
	expect_shown(&seen, &pair);
	done(&seen, NULL);
}

Test(worker_probe, host_name, .timeout = 20)
{
	struct pair pair = help_pair("EC", YEAR);
	char *endpoint = help_serve(&(struct server){.pairs = {&pair}});
	AUTO_FREE char *by_name = xasprintf("localhost:%s", strrchr(endpoint, ':') + 1);
	struct probe_seen seen = help_probe_one(&(struct probe_place){.endpoint = by_name}, 3000, 0);
	expect_shown(&seen, &pair);
	done(&seen, endpoint);
}

Test(worker_probe, key_types_are_told_apart, .timeout = 20)
{
	struct pair ec = help_pair("EC", YEAR), rsa = help_pair("RSA", YEAR);
	static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};
	for (size_t i = 0; i < ARRAY_SIZE(versions); i++) {
		struct server both = {.pairs = {&rsa, &ec}, .max_version = versions[i]};
		struct probe_seen seen = look(&both, (struct probe_place){.key = PROBE_KEY_RSA});
		expect_shown(&seen, &rsa);
		done(&seen, NULL);
		seen = look(&both, (struct probe_place){.key = PROBE_KEY_ECDSA});
		expect_shown(&seen, &ec);
		done(&seen, NULL);
		struct server one = {.pairs = {&ec}, .max_version = versions[i]};
		seen = look(&one, (struct probe_place){.key = PROBE_KEY_RSA});
		cr_assert(seen.result == PROBE_TLS_FAILED, "an ECDSA server showed an RSA certificate");
		done(&seen, NULL);
	}
}

Test(worker_probe, demanded_client_certificate_counts, .timeout = 20)
{
	static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};
	struct pair pair = help_pair("EC", YEAR);
	for (size_t i = 0; i < ARRAY_SIZE(versions); i++) {
		struct server server = {.pairs = {&pair}, .demand_client = true, .max_version = versions[i]};
		struct probe_seen seen = look(&server, (struct probe_place){0});
		expect_shown(&seen, &pair);
		done(&seen, NULL);
	}
}

Test(worker_probe, starttls, .timeout = 20)
{
	static const char *const smtp[] = {"220-mail\r\n220 ready\r\n",
					   "EHLO localhost\r\n",
					   "250-mail\r\n250 STARTTLS\r\n",
					   "STARTTLS\r\n",
					   "220 go\r\n",
					   NULL};
	static const char *const imap[] = {"* OK ready\r\n", "a STARTTLS\r\n", "* NOTE\r\na OK go\r\n", NULL};
	static const char *const pop3[] = {"+OK ready\r\n", "STLS\r\n", "+OK go\r\n", NULL};
	static const char *const *const talks[] = {[PROBE_SMTP] = smtp, [PROBE_IMAP] = imap, [PROBE_POP3] = pop3};
	struct pair pair = help_pair("EC", YEAR);
	for (enum probe_starttls kind = PROBE_SMTP; kind < PROBE_STARTTLS_KINDS; kind++) {
		struct probe_seen seen = look(&(struct server){.pairs = {&pair}, .dialogue = talks[kind]},
					      (struct probe_place){.starttls = kind});
		expect_shown(&seen, &pair);
		done(&seen, NULL);
	}
	struct probe_seen seen = look(&(struct server){.garbage = "554 \033[2Jgo away\r\n"},
				      (struct probe_place){.starttls = PROBE_SMTP});
	cr_assert(seen.result == PROBE_TLS_FAILED);
	cr_assert(strstr(seen.text, "go away") && !strchr(seen.text, '\033'), "%s", seen.text);
	done(&seen, NULL);
}

Test(worker_probe, proxy_protocol, .timeout = 20)
{
	struct pair pair = help_pair("EC", YEAR);
	struct server server = {.pairs = {&pair}, .proxy_protocol = true};
	struct probe_seen seen = look(&server, (struct probe_place){.proxy_protocol = true});
	expect_shown(&seen, &pair);
	done(&seen, NULL);
}

Test(worker_probe, wrong_expectation_is_not_expected, .timeout = 20)
{
	struct pair old = help_pair("EC", YEAR), new = help_pair("EC", YEAR);
	char *endpoint = help_serve(&(struct server){.pairs = {&old}});
	struct probe_place place = {.endpoint = endpoint, .expect = new.sha256};
	int64_t start = clock_monotonic_us();
	struct probe_seen seen = help_probe_one(&place, 300, 20);
	cr_assert(clock_monotonic_us() - start >= 300000, "it must go on until the deadline");
	cr_assert(seen.result == PROBE_NOT_EXPECTED, "result %d", seen.result);
	cr_assert(digest_equal(&seen.sha256, &old.sha256));
	cr_assert(seen.handshakes > 3 && seen.last_other_us > start && !seen.first_expected_us);
	done(&seen, endpoint);
}

Test(worker_probe, waits_for_the_new_one_alone, .timeout = 20)
{
	struct pair old = help_pair("EC", YEAR), new = help_pair("EC", YEAR);
	char *endpoint = help_serve(&(struct server){.pairs = {&old}, .next = &new, .switch_after = 4});
	struct probe_place place = {.endpoint = endpoint, .expect = new.sha256};
	struct probe_seen seen = help_probe_one(&place, 5000, 100);
	expect_shown(&seen, &new);
	cr_assert(seen.handshakes >= 4 + 1 + 3);
	cr_assert(seen.first_expected_us > seen.last_other_us);
	done(&seen, endpoint);
}

/* While nothing has turned, all places together ask less and less often: 20 looks take 1.3 s and more. */
Test(worker_probe, server_that_loads_is_asked_seldom, .timeout = 20)
{
	struct pair old = help_pair("EC", YEAR), new = help_pair("EC", YEAR);
	char *endpoint = help_serve(&(struct server){.pairs = {&old}, .next = &new, .switch_after = 20});
	struct probe_place places[40];
	for (size_t i = 0; i < ARRAY_SIZE(places); i++)
		places[i] = (struct probe_place){.endpoint = endpoint, .expect = new.sha256};
	struct probe_request request = {
		.v = places, .n = ARRAY_SIZE(places), .timeout_ms = 5000, .deadline_ms = 10000, .settle_ms = 20};
	int64_t start = clock_monotonic_us();
	struct probe_reply reply = help_probe(&request);
	for (size_t i = 0; i < reply.n; i++) {
		expect_shown(&reply.v[i], &new);
		cr_assert(reply.v[i].first_expected_us - start >= 800000);
	}
	probe_reply_done(&reply);
	free(endpoint);
}

Test(worker_probe, never_alone_where_old_and_new_alternate, .timeout = 20)
{
	struct pair old = help_pair("EC", YEAR), new = help_pair("EC", YEAR);
	for (unsigned every = 2; every <= 5; every++) {
		char *endpoint = help_serve(&(struct server){.pairs = {&old}, .next = &new, .alternate = every});
		struct probe_place place = {.endpoint = endpoint, .expect = new.sha256};
		struct probe_seen seen = help_probe_one(&place, 600, 50);
		cr_assert(seen.result == PROBE_NOT_ALONE, "every %u: result %d", every, seen.result);
		cr_assert(seen.first_expected_us && seen.last_other_us > seen.first_expected_us);
		done(&seen, endpoint);
	}
}

Test(worker_probe, dropped_connections_are_tried_again, .timeout = 20)
{
	struct pair pair = help_pair("EC", YEAR);
	struct probe_seen seen = look(&(struct server){.pairs = {&pair}, .drop = 3}, (struct probe_place){0});
	expect_shown(&seen, &pair);
	done(&seen, NULL);
	seen = look(&(struct server){.pairs = {&pair}, .drop = 1000}, (struct probe_place){0});
	cr_assert(seen.result == PROBE_TLS_FAILED, "result %d", seen.result);
	done(&seen, NULL);
}

Test(worker_probe, refused_garbage_hanging_and_nonsense, .timeout = 20)
{
	struct pair pair = help_pair("EC", YEAR);
	char nonsense[] = "not-an-endpoint", sni[] = "localhost";
	struct probe_place places[] = {
		{.endpoint = help_closed_endpoint(), .server_name = sni},
		{.endpoint = help_serve(&(struct server){.garbage = "HTTP/1.1 400 Bad Request\r\n\r\n"}),
		 .server_name = sni},
		{.endpoint = help_serve(&(struct server){.hang = true}), .server_name = sni},
		{.endpoint = nonsense, .server_name = sni},
		{.endpoint = help_serve(&(struct server){.pairs = {&pair}}), .server_name = sni},
	};
	static const enum probe_result wanted[] = {PROBE_REFUSED, PROBE_TLS_FAILED, PROBE_NO_ANSWER, PROBE_NO_ANSWER,
						   PROBE_SHOWN};
	struct probe_request request = {.v = places, .n = ARRAY_SIZE(places), .timeout_ms = 200, .deadline_ms = 5000};
	int64_t start = clock_monotonic_us();
	struct probe_reply reply = help_probe(&request);
	cr_assert(clock_monotonic_us() - start < 2000000, "places wait for each other");
	cr_assert(eq(sz, reply.n, ARRAY_SIZE(places)));
	for (size_t i = 0; i < reply.n; i++) {
		cr_assert(reply.v[i].result == wanted[i], "place %zu: result %d, %s", i, reply.v[i].result,
			  reply.v[i].text);
		bool silent = reply.v[i].text[0] == 0;
		cr_assert(silent == (reply.v[i].result == PROBE_SHOWN));
	}
	probe_reply_done(&reply);
	for (size_t i = 0; i < ARRAY_SIZE(places); i++)
		if (places[i].endpoint != nonsense)
			free(places[i].endpoint);
}

Test(worker_probe, refused_until_the_deadline, .timeout = 20)
{
	struct pair pair = help_pair("EC", YEAR);
	char *endpoint = help_closed_endpoint();
	struct probe_place place = {.endpoint = endpoint, .expect = pair.sha256};
	int64_t start = clock_monotonic_us();
	struct probe_seen seen = help_probe_one(&place, 200, 0);
	cr_assert(clock_monotonic_us() - start >= 200000);
	cr_assert(seen.result == PROBE_REFUSED);
	done(&seen, endpoint);
}

Test(worker_probe, as_many_places_as_a_job_may_hold, .timeout = 60)
{
	struct pair pair = help_pair("EC", YEAR);
	char *endpoint = help_serve(&(struct server){.pairs = {&pair}});
	char sni[] = "localhost";
	struct probe_place *places = xcalloc(PROBE_PLACES_MAX, sizeof *places);
	for (size_t i = 0; i < PROBE_PLACES_MAX; i++)
		places[i] = (struct probe_place){.endpoint = endpoint, .server_name = sni};
	struct probe_request request = {.v = places, .n = PROBE_PLACES_MAX, .timeout_ms = 20000, .deadline_ms = 30000};
	struct probe_reply reply = help_probe(&request);
	cr_assert(eq(sz, reply.n, PROBE_PLACES_MAX));
	for (size_t i = 0; i < reply.n; i++)
		expect_shown(&reply.v[i], &pair);
	probe_reply_done(&reply);
	free(places);
	free(endpoint);
}
