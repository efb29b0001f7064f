#include <criterion/criterion.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/text.h"
#include "ctl/print.h"
#include "ctl/show.h"

#define NOW 1795428000 /* 2026-11-23T10:00:00Z */

static size_t characters(const char *s)
{
	size_t n = 0;
	for (; *s; s++)
		n += ((unsigned char)*s & 0xc0) != 0x80;
	return n;
}

static void expect_narrow(const char *text)
{
	AUTO_FREE char *copy = xstrdup(text);
	char *rest = copy;
	for (char *line; (line = strsep(&rest, "\n"));)
		cr_expect_leq(characters(line), PRINT_WIDTH, "too wide: %s", line);
}

static char *render(void (*show)(const json_t *, int64_t, FILE *, bool), const json_t *what, bool colour)
{
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);
	show(what, NOW, out, colour);
	fclose(out);
	return text;
}

static json_t *load(const char *text)
{
	json_t *o = json_loads(text, 0, NULL);
	cr_assert_not_null(o);
	return o;
}

static const char full[] =
	"{\"certificates\":[{\"name\":\"shop\",\"state\":\"incident\",\"live\":{\"generation\":7,\"sha256\":\"aa\","
	"\"serial\":\"0123456789abcdef\",\"issuer\":\"CN=x\",\"not_after\":\"2027-02-21T10:00:00Z\",\"names\":[\"shop."
	"example."
	"jp\"]},\"served\":[{\"endpoint\":\"127.0.0.1:443\",\"server_name\":\"shop.example.jp\",\"sha256\":\"aa\"},"
	"{\"endpoint\":\"[::1]:443\",\"server_name\":\"\",\"sha256\":\"bb\"}],"
	"\"revocation\":{\"status\":\"good\",\"source\":\"crl\"},"
	"\"standby\":{\"generation\":8,\"ready\":true},\"incident\":{\"id\":12,\"case\":\"c\",\"reason\":"
	"\"keyCompromise\","
	"\"deadline\":\"2026-11-24T09:41:00Z\",\"stage\":\"sought\"},\"last_swap\":{\"at\":\"2026-11-01T00:00:00Z\","
	"\"result\":\"committed\",\"milliseconds\":93}}]}";

Test(ctl_show, a_row_tells_all)
{
	json_t *o = load(full);
	AUTO_FREE char *text = render(show_status, o, false);
	cr_expect(strstr(text, "shop"));
	cr_expect(strstr(text, "01234567.. NO"), "one place shows another one: %s", text);
	cr_expect(strstr(text, "90 d"), "%s", text);
	cr_expect(strstr(text, "good crl"), "%s", text);
	cr_expect(strstr(text, "ready"), "%s", text);
	cr_expect(strstr(text, "#12 c 23 h 41 min"), "%s", text);
	cr_expect_null(strchr(text, '\033'), "no colour where none is wanted");
	expect_narrow(text);
	AUTO_FREE char *coloured = render(show_status, o, true);
	cr_expect_not_null(strstr(coloured, "\033[1;31m"));
	json_decref(o);
}

Test(ctl_show, everything_long_still_fits)
{
	char name[600] = "", text[4096];
	for (int i = 0; i < 150; i++)
		strcat(name, "日");
	snprintf(text, sizeof text,
		 "{\"certificates\":[{\"name\":\"%s\",\"state\":\"%s\",\"live\":{\"sha256\":\"a\",\"serial\":\"%s\","
		 "\"not_after\":\"9999-01-01T00:00:00Z\"},\"served\":[{\"sha256\":\"b\"}],"
		 "\"revocation\":{\"status\":\"%s\",\"source\":\"%s\"},\"standby\":{\"ready\":false},"
		 "\"incident\":{\"id\":123456789,\"case\":\"c\",\"deadline\":\"1999-01-01T00:00:00Z\"}}]}",
		 name, name, name, name, name);
	json_t *o = load(text);
	AUTO_FREE char *table = render(show_status, o, false);
	expect_narrow(table);
	cr_expect_not_null(strstr(table, ".."), "what was cut shows it");
	json_decref(o);
}

Test(ctl_show, nothing_known_is_no_crash)
{
	static const char *const odd[] = {"{}", "[]", "{\"certificates\":[]}", "{\"certificates\":[1,null,\"x\",{}]}",
					  "{\"certificates\":[{\"name\":3,\"live\":[],\"served\":{},\"incident\":7}]}"};
	for (size_t i = 0; i < ARRAY_SIZE(odd); i++) {
		json_t *o = load(odd[i]), *c;
		size_t k;
		AUTO_FREE char *table = render(show_status, o, false);
		cr_expect_gt(strlen(table), 0);
		json_array_foreach(json_object_get(o, "certificates"), k, c)
		{
			AUTO_FREE char *details = render(show_certificate, c, false);
			AUTO_FREE char *incident = render(show_incident, c, false);
			cr_expect_gt(strlen(details) + strlen(incident), 0);
		}
		json_decref(o);
	}
}

Test(ctl_show, certificate_in_full)
{
	json_t *o = load(full);
	cr_assert_not_null(show_find(o, "shop"));
	cr_expect_null(show_find(o, "sho"));
	AUTO_FREE char *text = render(show_certificate, show_find(o, "shop"), false);
	cr_expect(strstr(text, "127.0.0.1:443 (shop.example.jp): the live pair"), "%s", text);
	cr_expect(strstr(text, "[::1]:443 (no name): bb"), "%s", text);
	cr_expect(strstr(text, "#12, case c, keyCompromise, stage sought"), "%s", text);
	cr_expect(strstr(text, "committed in 93 ms"), "%s", text);
	json_decref(o);
}

Test(ctl_show, what_keeps_a_person_from_peace)
{
	static const char stuck[] =
		"{\"name\":\"shop\",\"state\":\"failed\",\"manage\":\"observe\",\"trouble\":\"the wire did not turn\","
		"\"what_to_do\":\"ln -sfn gen/000001 /s/live\\nnginx -t && systemctl restart nginx\"}";
	json_t *o = load(stuck);
	AUTO_FREE char *text = render(show_certificate, o, false);
	cr_expect(strstr(text, "Trouble     the wire did not turn\n"), "%s", text);
	cr_expect(strstr(text, "in this order:\nln -sfn gen/000001 /s/live\nnginx -t && systemctl restart nginx\n"),
		  "whole lines, to be copied: %s", text);
	cr_expect(strstr(text, "observe"), "%s", text);
	json_decref(o);
}

static char *render_waiting(const json_t *result, const char *certificate)
{
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);
	show_waiting(result, certificate, out);
	fclose(out);
	return text;
}

Test(ctl_show, files_that_wait)
{
	json_t *o =
		load("{\"waiting\":[{\"file\":\"a.key\",\"certificate\":\"shop\",\"holds\":\"RSA private key\","
		     "\"since\":\"2026-11-23T10:00:00Z\",\"why\":\"\"},{\"file\":\"b\\u001b.pem\",\"certificate\":\"\","
		     "\"holds\":\"\",\"since\":\"2026-11-23T10:00:00Z\",\"why\":\"no room\"},"
		     "{\"file\":\"c.pem\",\"certificate\":\"mail\"}]}");
	AUTO_FREE char *all = render_waiting(o, NULL), *shop = render_waiting(o, "shop");
	cr_expect(
		strstr(all, "  shop/a.key, since 2026-11-23T10:00:00Z: its other half has not come yet; it holds: RSA"),
		"%s", all);
	cr_expect(strstr(all, "  b?.pem, since 2026-11-23T10:00:00Z: no room\n") && strstr(all, "mail/c.pem"), "%s",
		  all);
	cr_expect(strstr(shop, "a.key") && strstr(shop, "b?.pem") && !strstr(shop, "mail/"), "%s", shop);
	expect_narrow(all);
	json_decref(o);
	o = load("{\"waiting\":[]}");
	AUTO_FREE char *none = render_waiting(o, NULL);
	cr_expect_str_empty(none);
	json_decref(o);
}

Test(ctl_show, words_from_outside_move_no_terminal)
{
	json_t *o = load("{\"certificates\":[{\"name\":\"a\\u001b[2Jb\\n\",\"state\":\"\\u0007\"}]}");
	AUTO_FREE char *text = render(show_status, o, false);
	cr_expect_null(strchr(text, '\033'));
	cr_expect_null(strchr(text, '\a'));
	cr_expect(strstr(text, "a?[2Jb?"), "%s", text);
	json_decref(o);
}

Test(ctl_show, time_left)
{
	char buf[48];
	cr_expect_str_eq(show_left(NOW + 3600, NOW, buf), "1 h 0 min");
	cr_expect_str_eq(show_left(NOW - 90000, NOW, buf), "late 1 d 1 h");
}

Test(ctl_show, incidents)
{
	json_t *o = load(
		"[{\"id\":3,\"certificate\":\"shop\",\"case\":\"c\",\"reason\":null,\"opened_at\":"
		"\"2026-11-23T09:00:00Z\",\"deadline\":\"2026-11-24T09:00:00Z\",\"stage\":\"swapping\"},"
		"{\"id\":2,\"certificate\":\"shop\",\"closed_at\":\"2026-11-23T09:00:00Z\",\"stage\":\"closed\"}]");
	AUTO_FREE char *text = render(show_incidents, o, false);
	cr_expect(strstr(text, "#3") && strstr(text, "23 h 0 min"), "%s", text);
	expect_narrow(text);
	json_decref(o);
}
