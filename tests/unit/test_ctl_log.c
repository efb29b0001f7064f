#include "test_ctl_help.h"

#include "base/files.h"
#include "base/hash.h"
#include "base/text.h"

struct book {
	struct text text;
	struct digest last;
};

static void add_raw(struct book *b, const char *line)
{
	b->last = hash_bytes(line, strlen(line));
	text_add(&b->text, "%s\n", line);
}

static void add(struct book *b, const char *words)
{
	char hex[DIGEST_HEX];
	AUTO_FREE char *line = xasprintf(
		"{\"time\":\"2026-11-23T10:00:00.000Z\",\"event\":\"swap\",\"certificate\":\"shop\",\"text\":\"%s\","
		"\"previous\":\"%s\"}",
		words, digest_text(&b->last, hex));
	add_raw(b, line);
}

static void save(const struct run *r, const struct book *b, size_t len)
{
	AUTO_FREE char *path = xasprintf("%s/audit.jsonl", r->folder);
	FILE *f = fopen(path, "w");
	cr_assert_not_null(f);
	cr_assert_eq(fwrite(b->text.s, 1, len, f), len);
	fclose(f);
}

static struct book three_lines(void)
{
	struct book b = {0};
	add(&b, "one");
	add(&b, "two");
	add(&b, "three");
	return b;
}

Test(ctl_log, a_whole_chain)
{
	struct run r;
	char hex[DIGEST_HEX];
	struct book b = three_lines();
	run_begin(&r);
	save(&r, &b, b.text.len);
	cr_expect_eq(run_words(&r, "log", "--verify"), CTL_DONE, "%s", r.err);
	cr_expect(strstr(r.out, "3 lines") && strstr(r.out, digest_text(&b.last, hex)), "%s", r.out);
	cr_expect_eq(run_words(&r, "log"), CTL_DONE);
	cr_expect(strstr(r.out, "2026-11-23T10:00:00.000Z  swap           shop: two\n"), "%s", r.out);
	cr_expect_eq(run_words(&r, "log", "--json"), CTL_DONE);
	cr_expect_str_eq(r.out, b.text.s);
	save(&r, &b, 0);
	cr_expect_eq(run_words(&r, "log", "--verify"), CTL_DONE, "an empty log is whole");
	text_done(&b.text);
	run_end(&r);
}

Test(ctl_log, every_changed_byte_shows)
{
	struct run r;
	struct book b = three_lines();
	size_t last_line = (size_t)((char *)memrchr(b.text.s, '\n', b.text.len - 1) - b.text.s);
	run_begin(&r);
	for (size_t i = 0; i < last_line; i += 7) { /* the last line is vouched for by nobody inside the file */
		b.text.s[i] ^= 1;
		save(&r, &b, b.text.len);
		cr_expect_eq(run_words(&r, "log", "--verify"), CTL_FAILED, "byte %zu", i);
		b.text.s[i] ^= 1;
	}
	text_done(&b.text);
	run_end(&r);
}

Test(ctl_log, the_first_broken_line_is_named)
{
	struct run r;
	struct book b = three_lines();
	run_begin(&r);
	*strstr(b.text.s, "one") = 'O';
	save(&r, &b, b.text.len);
	cr_expect_eq(run_words(&r, "log", "--verify"), CTL_FAILED);
	cr_expect(strstr(r.err, "line 2 does not follow line 1"), "%s", r.err);
	text_done(&b.text);
	run_end(&r);
}

Test(ctl_log, a_line_taken_out)
{
	struct run r;
	struct book b = three_lines();
	run_begin(&r);
	char *second = strchr(b.text.s, '\n') + 1, *third = strchr(second, '\n') + 1;
	memmove(second, third, strlen(third) + 1);
	save(&r, &b, strlen(b.text.s));
	cr_expect_eq(run_words(&r, "log", "--verify"), CTL_FAILED);
	memmove(b.text.s, second, strlen(second) + 1);
	save(&r, &b, strlen(b.text.s));
	cr_expect_eq(run_words(&r, "log", "--verify"), CTL_FAILED);
	cr_expect(strstr(r.err, "line 1 is not the first"), "%s", r.err);
	text_done(&b.text);
	run_end(&r);
}

Test(ctl_log, cut_off_at_any_byte)
{
	struct run r;
	struct book b = three_lines();
	size_t two = (size_t)((char *)memrchr(b.text.s, '\n', b.text.len - 1) - b.text.s) + 1;
	run_begin(&r);
	for (size_t len = two + 1; len < b.text.len; len += 5) {
		save(&r, &b, len);
		cr_expect_eq(run_words(&r, "log", "--verify"), CTL_FAILED, "%zu bytes", len);
		cr_expect(strstr(r.err, "line 3, the last one, is cut off"), "%s", r.err);
	}
	text_done(&b.text);
	run_end(&r);
}

Test(ctl_log, a_power_cut_is_no_tampering)
{
	struct run r;
	struct book b = {0};
	run_begin(&r);
	add(&b, "one");
	add_raw(&b, "{\"time\":\"2026-11-23T10:00");
	add(&b, "three");
	save(&r, &b, b.text.len);
	cr_expect_eq(run_words(&r, "log", "--verify"), CTL_DONE, "%s", r.err);
	cr_expect(strstr(r.out, "Line 2 is incomplete"), "%s", r.out);
	text_done(&b.text);
	run_end(&r);
}

Test(ctl_log, what_can_not_be_read)
{
	struct run r;
	run_begin(&r);
	cr_expect_eq(run_words(&r, "log"), CTL_FAILED);
	cr_expect(strstr(r.err, "audit.jsonl"), "%s", r.err);
	cr_expect_eq(run_words(&r, "log", "--verify", "--follow"), CTL_USAGE);
	run_end(&r);
}

struct follower {
	struct run *run;
	int fd;
};

/* Adds a line in two halves once the first line was printed, then takes the reader away. */
static void *write_more(void *data)
{
	const struct follower *f = data;
	struct book b = {0};
	char seen[512] = "";
	size_t len = 0;
	AUTO_FREE char *path = xasprintf("%s/audit.jsonl", f->run->folder);
	add(&b, "later");
	for (; !strstr(seen, "first"); len += (size_t)read(f->fd, seen + len, 1))
		;
	FILE *log = fopen(path, "a");
	fwrite(b.text.s, 1, 20, log);
	fflush(log);
	fputs(b.text.s + 20, log);
	fclose(log);
	for (; !strstr(seen, "later"); len += (size_t)read(f->fd, seen + len, 1))
		;
	close(f->fd);
	text_done(&b.text);
	return NULL;
}

Test(ctl_log, follow_prints_what_is_added, .timeout = 20)
{
	struct run r;
	struct book b = {0};
	pthread_t thread;
	int ends[2];
	run_begin(&r);
	add(&b, "first");
	save(&r, &b, b.text.len);
	cr_assert_eq(pipe(ends), 0);
	struct follower f = {.run = &r, .fd = ends[0]};
	r.ctl.out = fdopen(ends[1], "w");
	cr_assert_eq(pthread_create(&thread, NULL, write_more, &f), 0);
	cr_expect_eq(run_words(&r, "log", "--follow"), CTL_DONE);
	pthread_join(thread, NULL);
	fclose(r.ctl.out);
	text_done(&b.text);
	run_end(&r);
}
