#include "test_site_help.h"

static int make_folder(int state, const char *name)
{
	int fd = files_open_folder(state, name, 0700, NULL);
	cr_assert_geq(fd, 0, "%s", name);
	return fd;
}

struct site *site_make(int state, const char *path)
{
	struct fault fault = {0};
	struct site *site = xcalloc(1, sizeof *site);
	site->settings = xcalloc(1, sizeof *site->settings);
	site->settings->state_dir = xstrdup(path);
	site->folders = (struct site_folders){.state = make_folder(state, "."),
					      .certificates = make_folder(state, "certificates"),
					      .incoming = make_folder(state, "incoming"),
					      .notices = make_folder(state, "notices"),
					      .work = make_folder(state, "work"),
					      .rejected = make_folder(state, "rejected"),
					      .journal = make_folder(state, "journal"),
					      .incidents = make_folder(state, "incidents")};
	site->loop = loop_new();
	site->watcher = watcher_new(site->loop, &fault);
	cr_assert_not_null(site->watcher, "%s", fault.text);
	site->audit = audit_open(site->folders.state, &fault);
	cr_assert_not_null(site->audit, "%s", fault.text);
	return site;
}

struct certificate *site_add(struct site *site, const char *name)
{
	struct fault fault = {0};
	struct certificate_settings *settings = xcalloc(1, sizeof *settings);
	settings->name = xstrdup(name);
	settings->key_mode = 0600;
	struct certificate *c = certificate_new(site, settings, &fault);
	cr_assert_not_null(c, "%s", fault.text);
	site_add_certificate(site, c);
	return c;
}

struct digest site_digest(const char *word)
{
	return hash_bytes(word, strlen(word));
}

void site_hold(struct meta *meta, const char *serial, const char *issuer, const char *certificate, const char *key)
{
	*meta = (struct meta){.number = 1,
			      .serial = xstrdup(serial),
			      .issuer = xstrdup(issuer),
			      .sha256 = site_digest(certificate),
			      .spki = site_digest(key)};
}

static void close_folders(const struct site_folders *f)
{
	const int fds[] = {f->state, f->certificates, f->incoming, f->notices,
			   f->work,  f->rejected,     f->journal,  f->incidents};
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		close(fds[i]);
}

void site_done(struct site *site)
{
	size_t n = site->ncertificates;
	struct certificate_settings **settings = xcalloc(n, sizeof(*settings));
	for (size_t i = 0; i < n; i++)
		settings[i] = (struct certificate_settings *)(uintptr_t)site->certificates[i]->settings;
	site_free_certificates(site);
	for (size_t i = 0; i < n; i++) {
		free(settings[i]->name);
		words_done(&settings[i]->dns);
		free(settings[i]);
	}
	free(settings);
	audit_close(site->audit);
	watcher_close(site->watcher);
	loop_free(site->loop);
	close_folders(&site->folders);
	free(site->settings->state_dir);
	free(site->settings);
	free(site);
}
