/* A site made by hand in the test's folder, as STATE: settings, the folders, the audit log, certificates with a live
 * and a standby generation. No worker, no web server. */
#ifndef TEST_SITE_HELP_H
#define TEST_SITE_HELP_H
#include "test_files_help.h"

#include "site/audit.h"
#include "site/certificate.h"
#include "site/site.h"

/* As FILES_TEST. libuv keeps two descriptors for the process from its first loop on. */
#define SITE_TEST(suite, name)                                                                                         \
	static void suite##_##name##_body(void);                                                                       \
	Test(suite, name, .timeout = 60)                                                                               \
	{                                                                                                              \
		loop_free(loop_new());                                                                                 \
		files_begin();                                                                                         \
		suite##_##name##_body();                                                                               \
		files_end();                                                                                           \
	}                                                                                                              \
	static void suite##_##name##_body(void)

struct site *site_make(int state, const char *path);
void site_done(struct site *site);

/* A certificate that holds this. The digests are made of the two words: the same word is the same certificate or key.
 */
struct certificate *site_add(struct site *site, const char *name);
void site_hold(struct meta *meta, const char *serial, const char *issuer, const char *certificate, const char *key);
struct digest site_digest(const char *word);
#endif
