# shellcheck shell=sh
# nginx: where it is, and how its parent was started. Sourced by the hooks of this folder.
# shellcheck source=../common.sh
. "${0%/*}/../common.sh"
CONFIG=${CERTSWAP_CONFIG:-/etc/nginx/nginx.conf}
BINARY=${CERTSWAP_BINARY:-$(first_of /usr/sbin/nginx /usr/local/sbin/nginx /usr/local/nginx/sbin/nginx)}
PIDFILE=${CERTSWAP_PIDFILE:-$(first_of /run/nginx.pid /var/run/nginx.pid /usr/local/nginx/logs/nginx.pid)}

# The arguments of the running parent, one a line. nginx shows its command line joined by blanks ("nginx: master process
# /usr/sbin/nginx -g daemon on; master_process on;"), so what follows -g goes up to the next option.
parent_arguments() {
	title=$(tr '\0' ' ' <"/proc/$PARENT/cmdline" 2>/dev/null) || return
	case $title in 'nginx: master process '*) ;; *) return ;; esac
	printf '%s\n' "${title#nginx: master process }" | tr ' ' '\n' | awk '
		NR == 1 || $0 == "" { next }
		wants == "g" && $0 !~ /^-[cpegqtTsv]$/ { text = text (text == "" ? "" : " ") $0; next }
		wants == "g" { print "-g"; print text; wants = text = "" }
		$0 == "-g" { wants = "g"; next }
		{ print }
		END { if (wants == "g") { print "-g"; print text } }'
}

# server_arguments: "$@" for nginx in $ARGUMENTS, one a line: those of the configuration, else those of the parent
server_arguments() {
	ARGUMENTS=${CERTSWAP_ARGUMENTS:-}
	if [ -z "$ARGUMENTS" ] && find_parent; then
		ARGUMENTS=$(parent_arguments)
	fi
	case $NEWLINE$ARGUMENTS$NEWLINE in
	*"$NEWLINE-c$NEWLINE"*) ;;
	*) ARGUMENTS="-c$NEWLINE$CONFIG${ARGUMENTS:+$NEWLINE$ARGUMENTS}" ;;
	esac
}
