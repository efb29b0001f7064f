#include "settings/options.h"

#include <stddef.h>

#include "base/memory.h"
#include "settings/settings.h"

#define SECOND ((int64_t)1000)
#define HOUR   (3600 * SECOND)
#define DAY    (24 * HOUR)

static const char *const sandbox_names[] = {
	[SANDBOX_AUTO] = "auto", [SANDBOX_REQUIRE] = "require", [SANDBOX_STRICT] = "strict", NULL};
static const char *const reload_names[] = {
	[RELOAD_AUTO] = "auto", [RELOAD_SIGNAL] = "signal", [RELOAD_SYSTEMD] = "systemd", NULL};
static const char *const rehearsal_names[] = {[REHEARSAL_AUTO] = "auto", [REHEARSAL_OWN_PROOF] = "own-proof", NULL};
static const char *const manage_names[] = {[MANAGE_SWAP] = "swap", [MANAGE_OBSERVE] = "observe", NULL};
static const char *const profile_names[] = {
	[PROFILE_AUTO] = "auto", [PROFILE_PUBLIC] = "public", [PROFILE_PRIVATE] = "private", NULL};
static const char *const event_names[] = {[ON_EVENT_SWAP] = "swap", [ON_EVENT_CONFIRM] = "confirm", NULL};
static const char *const starttls_names[] = {
	[STARTTLS_NONE] = "none", [STARTTLS_SMTP] = "smtp", [STARTTLS_IMAP] = "imap", [STARTTLS_POP3] = "pop3", NULL};
static const char *const key_names[] = {"ecdsa-p256", "ecdsa-p384", "rsa-2048", "rsa-3072", "rsa-4096", NULL};
_Static_assert(ARRAY_SIZE(sandbox_names) == SANDBOX_STRICT + 2, "a name for each");
_Static_assert(ARRAY_SIZE(reload_names) == RELOAD_SYSTEMD + 2, "a name for each");
_Static_assert(ARRAY_SIZE(rehearsal_names) == REHEARSAL_OWN_PROOF + 2, "a name for each");
_Static_assert(ARRAY_SIZE(manage_names) == MANAGE_OBSERVE + 2, "a name for each");
_Static_assert(ARRAY_SIZE(profile_names) == PROFILE_PRIVATE + 2, "a name for each");
_Static_assert(ARRAY_SIZE(event_names) == ON_EVENT_CONFIRM + 2, "a name for each");
_Static_assert(ARRAY_SIZE(starttls_names) == STARTTLS_POP3 + 2, "a name for each");

#define TOP(member)          .place = PLACE_TOP, .offset = offsetof(struct settings, member)
#define SERVER(member)       .place = PLACE_SERVER, .offset = offsetof(struct server_settings, member)
#define CERTIFICATE(member)  .place = PLACE_CERTIFICATE, .offset = offsetof(struct certificate_settings, member)
#define CONSUMER(member)     .place = PLACE_CONSUMER, .offset = offsetof(struct consumer_settings, member)
#define CA(member)           .place = PLACE_CA, .offset = offsetof(struct certificate_settings, member)
#define CHECK(member)        .place = PLACE_CHECK, .offset = offsetof(struct certificate_settings, member)
#define TEXT(k, f, v)        .key = k, .type = OPTION_TEXT, .form = &(f), .value = v
#define ONE_OF(k, n, v)      .key = k, .type = OPTION_ENUM, .names = n, .value = v
#define TIME(k, v, from, to) .key = k, .type = OPTION_DURATION, .value = v, .min = from, .max = to
#define WORDS(k, f)          .key = k, .type = OPTION_WORDS, .form = &(f)
#define COMMAND(k)           .key = k, .type = OPTION_COMMAND, .form = &form_path
#define GROUPS(k, in, structure, outer, count)                                                                         \
	.key = k, .type = OPTION_GROUPS, .inner = in, .size = sizeof(struct structure),                                \
	.count_offset = offsetof(struct outer, count)

/* clang-format off */
const struct option option_table[] = {
	{TOP(state_dir), TEXT("state_dir", form_path, "/var/lib/certswap"),
	 .help = "What has to outlive a restart: drop boxes, generations of certificates and keys, journal, log."},
	{TOP(run_dir), TEXT("run_dir", form_path, "/run/certswap"),
	 .help = "What has not: the control socket."},
	{TOP(trust), TEXT("trust", form_path, "/etc/ssl/certs/ca-certificates.crt"),
	 .help = "PEM file of the roots that a chain has to end in. A certificate may name its own."},
	{TOP(intermediates), TEXT("intermediates", form_path, "/etc/certswap/intermediates"),
	 .help = "Folder of PEM files that may complete a chain that came without its intermediate certificates."},
	{TOP(metrics_file), TEXT("metrics_file", form_path, ""), .words = "none",
	 .help = "Prometheus text file to keep up to date, for example in the folder of node_exporter's textfile collector."},
	{TOP(alert), COMMAND("alert"), .words = "none",
	 .help = "Command with its arguments that gets each event as one JSON object on its standard input."},
	{TOP(worker_user), TEXT("worker_user", form_user, "_certswap"),
	 .help = "User that the workers run as; best one that owns nothing and is in no other group. "
		 "Where it is missing and the agent was started as root, uid 65534 is taken, with a warning."},
	{TOP(sandbox), ONE_OF("sandbox", sandbox_names, "auto"),
	 .help = "Whether to run where the kernel lacks a part of the sandbox: "
		 "auto does, with a warning; require refuses, without worker_user too; "
		 "strict as well, and ends a worker at any system call that it has no use for instead of refusing the call."},
	{TOP(fetch_deny), WORDS("fetch_deny", form_range),
	 .value = "169.254.0.0/16 fe80::/10 100.100.100.200 168.63.129.16 fd00:ec2::/32 fd20:ce::254",
	 .words = "link-local addresses and the metadata services of clouds",
	 .help = "Addresses that are never connected to when a CA is asked, whatever names and redirects lead there."},
	{TOP(fetch_proxy), TEXT("fetch_proxy", form_url, ""), .words = "none",
	 .help = "URL of the HTTP proxy through which CAs are asked. It looks up their names, so fetch_deny "
		 "then only holds back addresses that stand in a URL."},
	{TOP(servers), GROUPS("servers", PLACE_SERVER, server_settings, settings, nservers),
	 .help = "The web servers to reload."},
	{TOP(certificates), GROUPS("certificates", PLACE_CERTIFICATE, certificate_settings, settings, ncertificates),
	 .help = "The managed certificates. More may stand in certificates.d."},

	{SERVER(name), TEXT("name", form_name, NULL), .required = true,
	 .help = "What certificates call it by; each name once."},
	{SERVER(kind), TEXT("kind", form_name, NULL), .required = true,
	 .help = "nginx, apache, or the name of another folder of hooks."},
	{SERVER(config), TEXT("config", form_path, ""), .words = "the layout's",
	 .help = "Its main configuration file."},
	{SERVER(binary), TEXT("binary", form_path, ""), .words = "the layout's",
	 .help = "Its program."},
	{SERVER(pidfile), TEXT("pidfile", form_path, ""), .words = "the layout's",
	 .help = "The file that holds the number of its parent process."},
	{SERVER(arguments), WORDS("arguments", form_line), .words = "those of the running parent",
	 .help = "More arguments of its command line."},
	{SERVER(environment_file), TEXT("environment_file", form_path, ""), .words = "the layout's",
	 .help = "File that sets its environment, as Debian's envvars of Apache."},
	{SERVER(reload), ONE_OF("reload", reload_names, "auto"),
	 .help = "How it is told: signal sends one to the parent; systemd asks the service manager; "
		 "auto signals to reload and uses systemd to start where it is a unit."},
	{SERVER(rehearsal), ONE_OF("rehearsal", rehearsal_names, "auto"),
	 .help = "What comes before a reload that could kill it: auto starts a second one, hidden, with the candidate; "
		 "own-proof rests on certswap's own checks of every pair."},
	{SERVER(timeout_ms), TIME("timeout", "30s", SECOND, HOUR),
	 .help = "How long one hook may take."},

	{CERTIFICATE(name), TEXT("name", form_name, NULL), .required = true,
	 .help = "Its name in commands, folders and messages; each name once, over all files."},
	{CERTIFICATE(dns), WORDS("dns", form_host), .words = "the names of the live certificate",
	 .help = "Host names, wildcards and IP addresses that every candidate has to cover."},
	{CERTIFICATE(servers), WORDS("servers", form_name), .words = "none",
	 .help = "Names of the servers that serve it."},
	{CERTIFICATE(probe), WORDS("probe", form_place), .words = "what the servers listen on",
	 .help = "Where a handshake shows what is served: HOST:PORT, [IPV6]:PORT or unix:/path."},
	{CERTIFICATE(manage), ONE_OF("manage", manage_names, "swap"),
	 .help = "observe watches, proves and alerts, and never touches anything."},
	{CERTIFICATE(watch), WORDS("watch", form_path), .words = "none",
	 .help = "Folders that somebody else fills, for example an ACME client; they are only read."},
	{CERTIFICATE(trust), TEXT("trust", form_path, NULL), .words = "the main one",
	 .help = "PEM file of the roots for this certificate alone."},
	{CERTIFICATE(profile), ONE_OF("profile", profile_names, "auto"),
	 .help = "Whether the rules for public CAs apply; auto: where the root is one of the system's, and not one that was added on this host."},
	{CERTIFICATE(key_type), .key = "key_type", .type = OPTION_TEXT, .names = key_names, .value = "ecdsa-p256",
	 .help = "Type of the keys that are made here."},
	{CERTIFICATE(key_owner), TEXT("key_owner", form_user, "root"),
	 .help = "Owner of the files of a generation."},
	{CERTIFICATE(key_group), TEXT("key_group", form_user, "root"),
	 .help = "Their group."},
	{CERTIFICATE(key_mode), .key = "key_mode", .type = OPTION_MODE, .value = "0600",
	 .help = "Mode of the files that hold the key: readable by the owner, writable by nobody else, "
		 "readable by the group at most."},
	{CERTIFICATE(pins), WORDS("pins", form_pin), .words = "none",
	 .help = "Public keys that clients have pinned, each as sha256/ and the base64 of the "
		 "SHA-256 of its SubjectPublicKeyInfo."},
	{CERTIFICATE(on_notice), ONE_OF("on_notice", event_names, "swap"),
	 .help = "What follows a notice of revocation: swap at once, or wait for a person (confirm)."},
	{CERTIFICATE(on_revoked), ONE_OF("on_revoked", event_names, "swap"),
	 .help = "The same, where the certificate was found revoked: confirm waits for a person, whatever confirm_by says."},
	{CERTIFICATE(confirm_by_ms), .key = "confirm_by", .type = OPTION_DEADLINE, .value = "6h", .min = 0, .max = 30 * DAY,
	 .help = "So long before the deadline what waits for a person goes by itself; never leaves it to the person."},
	{CERTIFICATE(reissue), COMMAND("reissue"), .words = "none",
	 .help = "Command that gets a new certificate with a new key; run in an incident. What it gets arrives through watch."},
	{CERTIFICATE(reissue_max), .key = "reissue_max", .type = OPTION_INTEGER, .value = "3", .min = 0, .max = 100,
	 .help = "How many certificates may be issued for one incident."},
	{CERTIFICATE(reissue_timeout_ms), TIME("reissue_timeout", "30m", SECOND, DAY),
	 .help = "How long one run of the command may take; then it is killed."},
	{CERTIFICATE(after_swap), COMMAND("after_swap"), .words = "none",
	 .help = "Command to run once the replacement of a noticed or revoked certificate was proved on the wire, with "
		 "CERTSWAP_OLD_CERT, CERTSWAP_OLD_SERIAL and CERTSWAP_REASON in its environment."},
	{CERTIFICATE(rotate_tickets), .key = "rotate_tickets", .type = OPTION_BOOL, .value = "false",
	 .help = "After a compromise of the key make new session ticket key files too."},
	{CERTIFICATE(drain_ms), TIME("drain", "0s", 0, 7 * DAY),
	 .help = "After a compromise end the server's old workers after this long; 0s leaves them."},
	{CERTIFICATE(consumers), GROUPS("consumers", PLACE_CONSUMER, consumer_settings, certificate_settings, nconsumers),
	 .help = "Other programs of this host that read the same files, such as a mail server. Once the web servers have "
		 "committed, each is told to read them again and looked at; until each has shown the new pair, or was waived, an "
		 "incident is only partly replaced. One that fails never takes the web servers back: it is tried again, "
		 "with growing pauses."},
	{CERTIFICATE(staple), .key = "staple", .type = OPTION_BOOL, .value = "false",
	 .help = "nginx staples STATE/certificates/NAME/live/ocsp.der (ssl_stapling_file): each pair goes live with an OCSP response for "
		 "its own serial number, or waits for one; before the response ends a new one takes its place, with a reload."},
	{.place = PLACE_CERTIFICATE, .key = "ca", .type = OPTION_GROUP, .inner = PLACE_CA,
	 .help = "What is known of the CA."},
	{.place = PLACE_CERTIFICATE, .key = "check", .type = OPTION_GROUP, .inner = PLACE_CHECK,
	 .help = "Where to ask whether it is revoked."},

	{CONSUMER(name), TEXT("name", form_name, NULL), .required = true,
	 .help = "Its name; each once in a certificate."},
	{CONSUMER(reload), COMMAND("reload"), .required = true,
	 .help = "Command that makes it read the files again, within 60s. It finds CERTSWAP_CERTIFICATE, CERTSWAP_CONSUMER and "
		 "CERTSWAP_LIVE (the folder of the pair) in its environment."},
	{CONSUMER(probe), TEXT("probe", form_endpoint, ""), .words = "not probed",
	 .help = "Where a handshake shows what it serves, asked with the first name of the certificate."},
	{CONSUMER(starttls), ONE_OF("starttls", starttls_names, "none"),
	 .help = "What is spoken before TLS begins."},

	{CA(ca_contact), TEXT("contact", form_line, ""),
	 .help = "Whom to write to."},
	{CA(ca_order), TEXT("order", form_line, ""),
	 .help = "The CA's number of the order, for the mail."},
	{CA(ca_hours), TEXT("hours", form_hours, ""), .words = "always",
	 .help = "When its desk answers, for example Mon-Fri 09:00-18:00, in local time."},
	{CA(ca_lead_time_ms), TIME("lead_time", "", 0, 90 * DAY), .words = "not known",
	 .help = "How long it takes from the order to the certificate."},
	{CA(ca_revokes_old_after_ms), TIME("revokes_old_after", "", 0, 90 * DAY), .words = "it does not",
	 .help = "How long after a reissue it revokes the old certificate by itself."},

	{CHECK(check_crl), .key = "crl", .type = OPTION_CRL, .value = "true",
	 .help = "Whether CRLs are read; a text file:/path names a mirror on this host instead."},
	{CHECK(check_ocsp), .key = "ocsp", .type = OPTION_BOOL, .value = "true",
	 .help = "Whether OCSP responders are asked."},
	{CHECK(check_ari), TEXT("ari", form_url, ""), .words = "not asked",
	 .help = "URL of the ACME directory to ask for renewal information (RFC 9773)."},
	{CHECK(check_interval_ms), TIME("interval", "15m", SECOND, 7 * DAY),
	 .help = "How often."},
};
/* clang-format on */
const size_t option_count = ARRAY_SIZE(option_table);
