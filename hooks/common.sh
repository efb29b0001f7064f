# shellcheck shell=sh
# What the hooks of all kinds share; sourced, not run. POSIX sh. The environment is that of "A hook" in certswap-hooks(7):
# CERTSWAP_SERVER _CONFIG _BINARY _PIDFILE _ARGUMENTS _ENVIRONMENT_FILE _RELOAD.
# Exit status of a hook: 0 done, 1 refused, 75 can't tell; of rehearse also 78: broken without the candidate too.
set -u
umask 022
# shellcheck disable=SC2034 # used by the files that source this one
DONE=0 REFUSED=1 CANT_TELL=75 BROKEN_BEFORE=78
# shellcheck disable=SC2034 # the same
NEWLINE='
'

# say TEXT: for the operator. leave STATUS TEXT
say() { printf '%s: %s\n' "${CERTSWAP_SERVER:-${0##*/}}" "$*" >&2; }
leave() {
	status=$1
	shift
	say "$*"
	exit "$status"
}

# first_of PATH...: the first that exists, else the first
first_of() {
	for path; do
		if [ -e "$path" ]; then
			printf '%s\n' "$path"
			return
		fi
	done
	printf '%s\n' "$1"
}

# is_binary PID: 0 the process is $BINARY, 1 it is not or has ended, 75 this user may not know, or it is a program of the
# same name elsewhere ($OTHER)
is_binary() {
	OTHER=''
	# a process that has ended has no exe any more, reaped or not
	# shellcheck disable=SC3013 # the shells that lack -ef go on below
	[ "/proc/$1/exe" -ef "$BINARY" ] 2>/dev/null && return 0
	# the state stands behind the last ')': the name of a program may hold anything
	state=''
	{ while read -r line; do state=${line##*) }; done <"/proc/$1/stat"; } 2>/dev/null || return 1
	case $state in '' | [ZX]*) return 1 ;; esac
	wanted=$(readlink -f "$BINARY") || wanted=$BINARY
	if exe=$(readlink "/proc/$1/exe" 2>/dev/null); then
		exe=${exe% (deleted)} # replaced by an upgrade; still the one that serves
		[ "$exe" = "$wanted" ] || [ "$exe" = "$BINARY" ] && return 0
		[ "${exe##*/}" = "${wanted##*/}" ] || return 1
		OTHER=$exe # most likely the server itself, installed elsewhere: not "not running"
		return $CANT_TELL
	fi
	# another user's process: its command line says enough to say no, not to say yes for certain
	cmdline=$(tr '\0' ' ' <"/proc/$1/cmdline" 2>/dev/null)
	case $cmdline in *"${wanted##*/}"*) return $CANT_TELL ;; esac
	return 1
}

# find_parent: PID of the running parent in $PARENT; 0 it runs, 1 it does not, 75 can't tell; $WHY says why
find_parent() {
	PARENT='' WHY=''
	if [ ! -e "$PIDFILE" ]; then
		WHY="not running: there is no pid file $PIDFILE (option pidfile)"
		return $REFUSED
	fi
	if [ ! -r "$PIDFILE" ]; then
		WHY="can't read the pid file $PIDFILE"
		return $CANT_TELL
	fi
	pid=''
	read -r pid <"$PIDFILE" || true
	case $pid in
	'' | *[!0-9]*)
		WHY="not running: the pid file $PIDFILE holds no number"
		return $REFUSED
		;;
	esac
	is_binary "$pid"
	status=$?
	case $status in
	0) PARENT=$pid ;;
	"$CANT_TELL")
		WHY="process $pid of the pid file $PIDFILE is $OTHER, not $BINARY: where it is the server, set binary = \"$OTHER\""
		[ -n "$OTHER" ] || WHY="process $pid of $PIDFILE belongs to another user: can't tell whether it is $BINARY" ;;
	*) WHY="not running: process $pid of the pid file $PIDFILE is gone or is not $BINARY" ;;
	esac
	return $status
}

# signal_parent NAME: sends it, or leaves with the reason
signal_parent() {
	find_parent || leave $? "$WHY"
	kill -s "$1" "$PARENT" || leave $REFUSED "the signal $1 did not reach process $PARENT"
	exit $DONE
}

under_systemd() { [ -d /run/systemd/system ] && command -v systemctl >/dev/null 2>&1; }

can_go_outside() { under_systemd && [ "$(id -u)" = 0 ] && command -v systemd-run >/dev/null 2>&1; }
# certswap-commands.service runs us: there is no sandbox to leave
is_outside() { [ -n "${CERTSWAP_OUTSIDE:-}" ]; }

# unit_of_parent: the systemd service that the running parent belongs to
unit_of_parent() {
	under_systemd && [ -n "$PARENT" ] || return 1
	sed -n 's|^[^:]*:[^:]*:.*/\([^/]*\.service\)$|\1|p' "/proc/$PARENT/cgroup" 2>/dev/null | head -n 1 | grep .
}

# reload_unit: for reload = "systemd"
reload_unit() {
	find_parent || leave $? "$WHY"
	unit=$(unit_of_parent) || leave $REFUSED "process $PARENT belongs to no systemd service: use reload = \"signal\""
	systemctl reload "$unit" || leave $REFUSED "systemctl reload $unit failed: see systemctl status $unit"
	exit $DONE
}

# start_unit UNIT...: starts the first unit that is there; returns 1 where there is none
start_unit() {
	under_systemd || return 1
	for unit; do
		[ "$(systemctl show -p LoadState --value "$unit" 2>/dev/null)" = loaded ] || continue
		systemctl reset-failed "$unit" 2>/dev/null || true
		systemctl start "$unit" || leave $REFUSED "systemctl start $unit failed: see systemctl status $unit"
		exit $DONE
	done
	return 1
}

# start_program PROGRAM ARGUMENT...: out of our session, and out of our service's cgroup and sandbox where there is one
start_program() {
	if can_go_outside; then
		set -- systemd-run --quiet --collect --property=Type=forking "$@"
	elif command -v setsid >/dev/null 2>&1; then
		set -- setsid -w "$@"
	fi
	"$@" </dev/null || leave $REFUSED "the start failed (exit status $?): $*"
	exit $DONE
}

# on_server HOW ARGUMENT...: calls HOW with $BINARY, the lines of $ARGUMENTS, and then ARGUMENT...
on_server() {
	how=$1
	shift
	count=$#
	set -- "$@" "$BINARY"
	while IFS= read -r argument; do set -- "$@" "$argument"; done <<END
$ARGUMENTS
END
	while [ "$count" -gt 0 ]; do
		argument=$1
		shift
		set -- "$@" "$argument"
		count=$((count - 1))
	done
	"$how" "$@"
}
run_plain() { "$@"; }

# outside PROGRAM ARGUMENT...: as a service of its own, out of certswapd's sandbox, with the environment that we have now (names only in
# the arguments, the values go beside them); as it is where there is no systemd
outside() {
	if ! is_outside && can_go_outside; then
		for variable in $(env | sed -n 's/^\([A-Za-z_][A-Za-z0-9_]*\)=.*/\1/p'); do
			case $variable in CERTSWAP_* | PATH | PWD | OLDPWD | SHLVL | _) ;; *) set -- "--setenv=$variable" "$@" ;; esac
		done
		set -- systemd-run --quiet --wait --pipe --collect --property=RuntimeMaxSec=60 "$@"
	fi
	"$@"
}

# run_test PROGRAM ARGUMENT...: as it is; where our own service's sandbox is in the way (it opens its pid file and logs
# for writing, and binds its ports), once more as a service of its own
run_test() {
	output=$("$@" 2>&1 </dev/null)
	status=$?
	case $status:$output in
	0:*) ;;
	*'Read-only file system'* | *'Permission denied'* | *'failed to get a socket'*)
		if ! is_outside && can_go_outside; then
			output=$(outside "$@" 2>&1 </dev/null)
			status=$?
		fi
		;;
	esac
	printf '%s\n' "$output"
	[ $status -eq 0 ] || leave $REFUSED "the configuration test failed: $*"
	exit $DONE
}

# rotate_files SIZE...: new random bytes of the same size for each path on standard input whose size is one of these; owner, mode and
# label stay, and no moment has half a file. Prints the files; 1 where one could not be done.
rotate_files() {
	failed=0
	while IFS= read -r path; do
		file=$(readlink -f -- "$path") || file=$path
		size=$(stat -c %s -- "$file" 2>/dev/null) || size=none
		case " $* " in
		*" $size "*) ;;
		*)
			say "$path is left alone: its size is $size bytes, a ticket key file has $*"
			failed=1
			continue
			;;
		esac
		new=$file.certswap-new
		if rm -f -- "$new" && (umask 077 && head -c "$size" /dev/urandom >"$new") && chown --reference="$file" -- "$new" &&
			chmod --reference="$file" -- "$new" && { chcon --reference="$file" -- "$new" 2>/dev/null || true; } &&
			sync -- "$new" && mv -fT -- "$new" "$file"; then
			printf '%s\n' "$path"
		else
			rm -f -- "$new"
			say "$path could not be written"
			failed=1
		fi
	done
	[ "$failed" = 0 ]
}

# named_in_dump: 0 where the configuration in force names $CERTSWAP_CANDIDATE, 1 where it does not, 75 where that can't be told
named_in_dump() {
	dump=$("${0%/*}/dump" 2>&1) || leave $CANT_TELL "$dump"
	printf '%s\n' "$dump" | grep -qF -- "${CERTSWAP_CANDIDATE:?}/" && exit $DONE
	exit $REFUSED
}

# absolute FOLDER: makes the paths on standard input absolute, without quotes, each once
absolute() { sed -e "s/^[\"']//" -e "s/[\"'][[:space:]]*\$//" -e 's/[[:space:]]*$//' -e "s|^[^/]|$1/&|" | sort -u; }

# children_of_parent: their pids
children_of_parent() { cat "/proc/$PARENT/task/$PARENT/children" 2>/dev/null; }
