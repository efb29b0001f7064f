# shellcheck shell=bash
# Installs what a section of tests/packages names and this machine has not. Sourced by ./demo and ./test, from the
# project's folder.

# packages_in SECTION...: the names in those sections, one a line
packages_in() {
    awk -v sections=" $* " '
        /^\[/ { inside = index(sections, " " substr($1, 2, length($1) - 2) " "); next }
        inside && NF && $1 !~ /^#/ { print $1 }' tests/packages
}

# packages_missing SECTION...: of those, the ones that are not installed
packages_missing() {
    local name
    packages_in "$@" | while read -r name; do
        [ "$(dpkg-query -W -f '${db:Status-Status}' "$name" 2>/dev/null)" = installed ] || printf '%s\n' "$name"
    done
}

# A subshell, so that its trap is its own. A package that is installed here must not start a web server on this machine:
# policy-rc.d says so to every maintainer script, and goes again; where the machine has one, that one rules.
packages_install() (
    as_root=()
    if [ "$(id -u)" -ne 0 ]; then
        command -v sudo >/dev/null || {
            printf 'Not root, and there is no sudo. Install these first: %s\n' "$*" >&2
            exit 1
        }
        as_root=(sudo)
    fi
    policy=/usr/sbin/policy-rc.d
    if [ ! -e $policy ]; then
        trap '"${as_root[@]}" rm -f $policy' EXIT
        trap 'exit 130' INT TERM HUP
        printf '#!/bin/sh\nexit 101\n' | "${as_root[@]}" tee $policy >/dev/null
        "${as_root[@]}" chmod 0755 $policy
    fi
    apt=("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q -y -o DPkg::Lock::Timeout=900)
    "${apt[@]}" update && "${apt[@]}" install --no-install-recommends "$@"
)

# packages_need SECTION...: installs what is missing; nothing, without asking for root, where all is there
packages_need() {
    local missing log=build/packages.log
    command -v dpkg-query >/dev/null || {
        printf 'This machine has no dpkg. Needed, by their names in Debian: %s\n' "$(packages_in "$@" | tr '\n' ' ')" >&2
        return 0
    }
    mapfile -t missing < <(packages_missing "$@")
    [ ${#missing[@]} -gt 0 ] || return 0
    printf 'Installing %s\n' "${missing[*]}"
    mkdir -p build
    packages_install "${missing[@]}" >$log 2>&1 || {
        tail -n 20 $log >&2
        printf 'The packages could not be installed (all of it: %s)\n' $log >&2
        return 1
    }
}
