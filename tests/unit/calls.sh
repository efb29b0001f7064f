#!/bin/sh
# calls.sh WORKER LIST: the system calls that get through the sandbox of each role, as the worker finds them from inside,
# are those of LIST and no others. A new one is a decision: it is written there, with its reason where it is allowed.
set -eu
[ "$(uname -m)" = x86_64 ] || exit 77 # the list is of this architecture
found=$(mktemp)
trap 'rm -f "$found"' EXIT
"$1" selftest --calls >"$found"
diff "$2" "$found"
