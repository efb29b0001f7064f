#!/bin/bash
# root.sh CACHE TREE [PACKAGE...]: a small tree of this host's own distribution at TREE, with systemd, nginx, Apache, openssl,
# rpm, the libraries that certswap needs and PACKAGES, to be booted by machine.py or emulated.py. What is made once is kept as
# CACHE.tgz and unpacked from then on.
# The archive is the one that this host's apt is configured with.
set -eu
cache=$1.tgz log=$1.log tree=$2
shift 2
packages=systemd,systemd-sysv,dbus,ca-certificates,procps,iproute2
programs='nginx-light apache2 openssl curl rpm'
libraries='libuv1 libconfig9 libjansson4 libseccomp2'
more=$*

unpack() {
	mkdir -p "$tree"
	tar xzf "$cache" -C "$tree"
}

archive() { # prints the address of the archive that holds this release
	# shellcheck disable=SC2016 # $(...) is apt's own
	apt-get indextargets --format '$(REPO_URI) $(RELEASE) $(COMPONENT)' 'Created-By: Packages' |
		awk -v release="$1" '$2 == release && $3 == "main" { print $1; exit }'
}

make() {
	# shellcheck disable=SC1091
	. /etc/os-release
	mirror=$(archive "$VERSION_CODENAME")
	[ -n "$mirror" ] || { echo "root.sh: apt on this host knows no archive for $VERSION_CODENAME" >&2; exit 1; }
	rm -rf "$tree"
	debootstrap --variant=minbase --include="$packages" "$VERSION_CODENAME" "$tree" "$mirror" >"$log" 2>&1
	# no package may start its service while the tree is not booted
	printf '#!/bin/sh\nexit 101\n' >"$tree/usr/sbin/policy-rc.d"
	chmod +x "$tree/usr/sbin/policy-rc.d"
	apt-config dump Acquire | grep -v '::Cache' >"$tree/etc/apt/apt.conf.d/90host"
	chroot "$tree" env DEBIAN_FRONTEND=noninteractive LC_ALL=C sh -ec "
		apt-get -qq update
		apt-get -qq install -y --no-install-recommends $programs $libraries $more
		apt-get clean" >>"$log" 2>&1
	rm "$tree/usr/sbin/policy-rc.d"
	# both web servers want port 80
	echo 'Listen 8080' >"$tree/etc/apache2/ports.conf"
	echo 'ServerName localhost' >"$tree/etc/apache2/conf-enabled/name.conf"
	sed -i 's/:80>/:8080>/' "$tree"/etc/apache2/sites-available/*.conf
	tar czf "$cache.part" -C "$tree" .
	mv "$cache.part" "$cache"
}

mkdir -p "$(dirname "$tree")"
rm -rf "$tree"
if [ -s "$cache" ]; then unpack; else make || { tail -n 20 "$log" >&2; exit 1; }; fi
