# shellcheck shell=sh
# Apache: where it is, and with what arguments and environment its parent was started. Sourced by the hooks here.
# shellcheck source=../common.sh
. "${0%/*}/../common.sh"
CONFIG=${CERTSWAP_CONFIG:-$(first_of /etc/apache2/apache2.conf /etc/httpd/conf/httpd.conf)}
BINARY=${CERTSWAP_BINARY:-$(first_of /usr/sbin/apache2 /usr/sbin/httpd /usr/local/apache2/bin/httpd)}
PIDFILE=${CERTSWAP_PIDFILE:-$(first_of /run/apache2/apache2.pid /run/httpd/httpd.pid /var/run/apache2/apache2.pid)}

# The arguments of the running parent, one a line, without what only says "start" or "in the foreground".
parent_arguments() {
	tr '\0' '\n' <"/proc/$PARENT/cmdline" 2>/dev/null | awk '
		NR == 1 || /^-(DFOREGROUND|DNO_DETACH|DONE_PROCESS|X)$/ { next }
		last == "-k" { last = ""; next }
		last == "-D" && /^(FOREGROUND|NO_DETACH|ONE_PROCESS)$/ { last = ""; next }
		last == "-D" { print last }
		$0 == "-k" || $0 == "-D" { last = $0; next }
		{ last = ""; print }'
}

# The environment that the configuration is read with (APACHE_RUN_DIR ...): the file that was named; else that of the
# running parent; else the envvars beside the configuration (Debian).
take_environment() {
	if [ -n "${CERTSWAP_ENVIRONMENT_FILE:-}" ]; then
		source_environment "$CERTSWAP_ENVIRONMENT_FILE"
	elif [ -n "$PARENT" ] && [ -r "/proc/$PARENT/environ" ]; then
		variables=$(tr '\0' '\n' <"/proc/$PARENT/environ" 2>/dev/null)
		while IFS= read -r variable; do
			case ${variable%%=*} in
			'' | *[!A-Za-z0-9_]* | [0-9]* | CERTSWAP_* | PWD | OLDPWD | SHLVL | _ | PPID | UID | EUID | NOTIFY_SOCKET | INVOCATION_ID | JOURNAL_STREAM) ;;
			*) case $variable in *=*) export "${variable?}" ;; esac ;;
			esac
		done <<END
$variables
END
	elif [ -r "${CONFIG%/*}/envvars" ]; then
		source_environment "${CONFIG%/*}/envvars"
	fi
}
source_environment() {
	[ -r "$1" ] || leave $REFUSED "can't read the environment file $1 (option environment_file)"
	set +u
	APACHE_CONFDIR=${CONFIG%/*}
	export APACHE_CONFDIR
	set -a
	# shellcheck source=/dev/null
	. "$1"
	set +a
	set -u
}

# prepare: $PARENT (or empty), the environment, and $ARGUMENTS, one a line
prepare() {
	find_parent || PARENT=''
	ARGUMENTS=${CERTSWAP_ARGUMENTS:-}
	if [ -z "$ARGUMENTS" ] && [ -n "$PARENT" ]; then
		ARGUMENTS=$(parent_arguments)
	fi
	case $NEWLINE$ARGUMENTS in
	*"$NEWLINE-f"*) ;;
	*) ARGUMENTS="-f$NEWLINE$CONFIG${ARGUMENTS:+$NEWLINE$ARGUMENTS}" ;;
	esac
	take_environment
}

# mpm_stays REPORT: Apache ends at a graceful restart for which another multi-processing module was enabled, though both its test and a
# start are well; $WHY says so. REPORT is that of -D DUMP_MODULES. One that is built in can't have changed.
mpm_stays() {
	running=$(grep -o 'mod_mpm_[a-z]*\.so' "/proc/$PARENT/maps" 2>/dev/null | head -n 1)
	running=${running#mod_}
	running=${running%.so}
	case $1 in
	*" ${running}_module"*) return 0 ;;
	*) [ -n "$running" ] || return 0 ;;
	esac
	WHY="Apache runs with $running, and its configuration has another module in its place: it has to be restarted, a graceful restart would end it"
	return 1
}

# with_candidates HOW [OPTION...]: calls HOW with the options of certswap-exec that put the folders of CERTSWAP_CANDIDATE in the places of
# those of CERTSWAP_LIVE, line by line, and OPTION...
# shellcheck disable=SC2034 # used by the files that source this one
EXEC=${CERTSWAP_EXEC:-${0%/*}/../../certswap-exec}
with_candidates() {
	how=$1
	shift
	while IFS= read -r new <&3 && IFS= read -r live <&4; do
		set -- "$@" --candidate "$new" --live "$live"
	done 3<<NEW 4<<LIVE
$CERTSWAP_CANDIDATE
NEW
$CERTSWAP_LIVE
LIVE
	"$how" "$@"
}
