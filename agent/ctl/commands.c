#include "ctl/commands.h"

#include "base/memory.h"

#define PAIR_OPTIONS (OPTION_BIT(PASSWORD_FILE) | OPTION_BIT(ACCEPT) | OPTION_BIT(WHY))
#define WAIT_OPTIONS (OPTION_BIT(NO_WAIT) | OPTION_BIT(TIMEOUT))

const struct command command_table[] = {
	{"status", "[NAME]", 0, 1, OPTION_BIT(JSON) | OPTION_BIT(WATCH), "Shows the certificates, or all about one",
	 "SERVED is the serial number of the live pair, and whether every place that was looked at "
	 "shows it. Exit status 1 where a certificate that was named does not exist.",
	 command_status},
	{"check", "FILE...", 1, OPERANDS_MANY,
	 OPTION_BIT(DNS) | OPTION_BIT(KEY) | OPTION_BIT(TRUST) | OPTION_BIT(PROFILE) | OPTION_BIT(PASSWORD_FILE) |
		 OPTION_BIT(JSON),
	 "Proves a pair the way the agent would, without the agent",
	 "The files are recognised by their content: PEM, DER, PKCS#7, PKCS#12, in any order. Exit "
	 "status 0 if the pair could go live, 1 if a finding keeps it from that.",
	 command_check},
	{"submit", "FILE...", 1, OPERANDS_MANY, OPTION_BIT(NAME) | OPTION_BIT(JSON) | PAIR_OPTIONS | WAIT_OPTIONS,
	 "Hands a pair to the agent, which proves it and puts it live",
	 "The files are a closed set, paired among themselves and with keys that wait for their "
	 "certificate. If they make no pair, nothing of them is kept. It returns once fresh handshakes"
	 " show the new certificate.",
	 command_submit},
	{"notice", "[NAME]", 0, 1,
	 OPTION_BIT(SERIAL) | OPTION_BIT(FINGERPRINT) | OPTION_BIT(ISSUER) | OPTION_BIT(CASE) | OPTION_BIT(REASON) |
		 OPTION_BIT(SCOPE) | OPTION_BIT(REVOKE_AT) | OPTION_BIT(RECEIVED_AT) | OPTION_BIT(REF) |
		 OPTION_BIT(YES) | OPTION_BIT(JSON) | WAIT_OPTIONS,
	 "Tells the agent that the CA will revoke a certificate",
	 "Name the certificate by its NAME here, by --serial (with --issuer where several fit) or by "
	 "--fingerprint. Without --case and --revoke-at the agent reckons with 24 hours.",
	 command_notice},
	{"triage", "FILE", 1, 1,
	 OPTION_BIT(NOTICE) | OPTION_BIT(ISSUER) | OPTION_BIT(CASE) | OPTION_BIT(REASON) | OPTION_BIT(SCOPE) |
		 OPTION_BIT(REVOKE_AT) | OPTION_BIT(RECEIVED_AT) | OPTION_BIT(REF) | OPTION_BIT(YES) | OPTION_BIT(JSON),
	 "Says which certificates here stand in a CA's list of serial numbers or fingerprints",
	 "FILE is text or CSV, .gz too, of any length; - is standard input. Serials are taken as they "
	 "are spelled: hexadecimal with or without colons, spaces, 0x or leading zeros, or decimal. "
	 "Without --notice it needs no agent. Exit status 0 where none stands in it, or (--notice) "
	 "each incident was opened; 1 where some do.",
	 command_triage},
	{"withdraw", "INCIDENT", 1, 1, OPTION_BIT(WHY) | OPTION_BIT(JSON),
	 "Ends an incident whose notice was wrong, and lifts the denials it brought", NULL, command_withdraw},
	{"close", "INCIDENT", 1, 1, OPTION_BIT(WHY) | OPTION_BIT(JSON),
	 "Ends an incident that is replaced and only awaits the revocation", "What it denied stays denied.",
	 command_close},
	{"adopt", "[NAME...]", 0, OPERANDS_MANY,
	 OPTION_BIT(DRY_RUN) | OPTION_BIT(OBSERVE) | OPTION_BIT(SKIP_CLIENT) | OPTION_BIT(JSON) | WAIT_OPTIONS,
	 "Takes over the pairs that the web servers' configuration names",
	 "The present pair is proved and becomes the first generation; then its files become links to "
	 "it, or, where an ACME client keeps them, the directives that name them are changed. NAME: of"
	 " the pair, of a host, or a path.",
	 command_adopt},
	{"release", "NAME", 1, 1, OPTION_BIT(ORIGINAL) | OPTION_BIT(WHY) | OPTION_BIT(JSON) | WAIT_OPTIONS,
	 "Gives back what adopt took over",
	 "Links become files with the pair that is live; with --original with the bytes that were there before adopt.",
	 command_release},
	{"waive", "NAME CONSUMER", 2, 2, OPTION_BIT(WHY) | OPTION_BIT(JSON),
	 "Says that a consumer need not show the live pair; needs --why",
	 "It counts for this pair alone: after the next swap the consumer is asked again.", command_waive},
	{"standby", "NAME [FILE...]", 1, OPERANDS_MANY, OPTION_BIT(DROP) | OPTION_BIT(JSON) | PAIR_OPTIONS,
	 "Proves a pair and keeps it for the day of need", "With --drop and no files the standby pair is removed.",
	 command_standby},
	{"swap", "NAME", 1, 1, OPTION_BIT(TO) | OPTION_BIT(ACCEPT) | OPTION_BIT(WHY) | OPTION_BIT(JSON) | WAIT_OPTIONS,
	 "Swaps by hand, to the standby pair or to a generation", NULL, command_swap},
	{"rollback", "NAME", 1, 1, OPTION_BIT(ACCEPT) | OPTION_BIT(WHY) | OPTION_BIT(JSON) | WAIT_OPTIONS,
	 "Goes back to the pair that was live before", NULL, command_rollback},
	{"confirm", "NAME", 1, 1, OPTION_BIT(ACCEPT) | OPTION_BIT(WHY) | OPTION_BIT(JSON) | WAIT_OPTIONS,
	 "Lets the replacement go live that waits for a person's word", NULL, command_confirm},
	{"incidents", "", 0, 0, OPTION_BIT(ALL) | OPTION_BIT(JSON), "Lists the open incidents", NULL,
	 command_incidents},
	{"incident", "ID", 1, 1, OPTION_BIT(JSON), "Tells what happened in an incident, in order", NULL,
	 command_incident},
	{"csr", "NAME", 1, 1, OPTION_BIT(NEW_KEY) | OPTION_BIT(PINS) | OPTION_BIT(OUT) | OPTION_BIT(JSON),
	 "Prints a request (CSR) of a key that waits here for its certificate",
	 "The key never leaves this host. What comes back from the CA is known by its public key, in whatever form.",
	 command_csr},
	{"request", "NAME", 1, 1, OPTION_BIT(LANG) | OPTION_BIT(OUT) | OPTION_BIT(JSON),
	 "Writes the mail to the CA's desk: reissue first, then revoke",
	 "It holds the request (CSR) of a key that waits here, serial number, case, CRL reason, the "
	 "time asked for, and what `ca` in the configuration says. Nothing is sent. On standard error:"
	 " whether the desk is open in time.",
	 command_request},
	{"drill", "NAME", 1, 1, OPTION_BIT(CASE) | OPTION_BIT(LIVE) | OPTION_BIT(TIMEOUT) | OPTION_BIT(JSON),
	 "Tries what the day of a revocation needs, and says what would have stopped you",
	 "Standby pair, waiting key, the reissue command's own dry run, the CA's desk, a rehearsal "
	 "with each server, the alert command. What is served is not touched; with --live a copy of "
	 "the live pair is swapped in, and that is measured. Exit status 1 where something would have "
	 "stopped you.",
	 command_drill},
	{"deny list", "", 0, 0, OPTION_BIT(JSON), "Lists the keys and certificates that are refused", NULL,
	 command_deny_list},
	{"deny add", "FILE|SPKI", 1, 1, OPTION_BIT(WHY) | OPTION_BIT(PASSWORD_FILE) | OPTION_BIT(JSON),
	 "Refuses a key from now on, from every source, for every certificate here",
	 "FILE holds the key, a certificate or a CSR; SPKI is the SHA-256 of the SubjectPublicKeyInfo in hexadecimal.",
	 command_deny_add},
	{"deny confirm", "SPKI", 1, 1, OPTION_BIT(WHY) | OPTION_BIT(JSON), "Makes a provisional denial final",
	 "What has this key and is no longer needed is then removed.", command_deny_confirm},
	{"deny remove", "SPKI", 1, 1, OPTION_BIT(WHY) | OPTION_BIT(JSON), "Allows a key again; needs --why", NULL,
	 command_deny_remove},
	{"discover", "", 0, 0,
	 OPTION_BIT(CHECK) | OPTION_BIT(LOADS) | OPTION_BIT(EXCEPT) | OPTION_BIT(TRUST) | OPTION_BIT(JSON),
	 "Finds which certificates the web servers of this host serve, and what is wrong with them",
	 "Reads the configuration of each nginx and Apache that runs, or is installed, proves each "
	 "pair as `check` does, and names what else on this host reads its files. It needs no agent "
	 "and changes nothing. Run it as root: keys can't be looked at otherwise. With --check the "
	 "exit status is 1 where a certificate that is served is revoked, with --loads where a pair "
	 "would keep that server from starting, 3 where that can't be told.",
	 command_discover},
	{"log", "", 0, 0, OPTION_BIT(FOLLOW) | OPTION_BIT(VERIFY) | OPTION_BIT(JSON),
	 "Prints the audit log, or checks its chain of hashes",
	 "Each line holds the SHA-256 of the line before. --verify names the first line that does not "
	 "fit (exit status 1) and prints the hash of the last one: kept elsewhere, it also shows when "
	 "lines at the end were taken off.",
	 command_log},
	{"metrics", "", 0, 0, 0, "Prints the state in Prometheus' text format", NULL, command_metrics},
	{"config test", "", 0, 0, 0, "Tests the configuration and shows every mistake with its line", NULL,
	 command_config_test},
	{"config dump", "", 0, 0, 0, "Prints the configuration in force, defaults included", NULL, command_config_dump},
	{"config reload", "", 0, 0, OPTION_BIT(JSON), "Has certswapd read the configuration again",
	 "One with mistakes is refused whole (exit status 2), and the one before stays in force.",
	 command_config_reload},
	{"help", "[COMMAND]", 0, 2, OPTION_BIT(WORDS), "Lists the commands, or tells about one", NULL, command_help},
};
const size_t command_count = ARRAY_SIZE(command_table);
