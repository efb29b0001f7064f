#!/bin/sh
# The hooks of hooks/ against a real nginx and a real Apache in a temporary folder, on free ports of the loopback.
# hooks.sh HOOKS CERTSWAP_EXEC. Exit status 77: neither server is installed.
set -u
HOOKS=$1 EXEC=$2
failed=0 tried=0
D=$(mktemp -d) || exit 1
chmod 755 "$D"
# shellcheck disable=SC2317 # the trap calls it
stop() {
	for pidfile in "$D"/run/nginx.pid "$D"/run/apache.pid; do
		[ -s "$pidfile" ] && kill "$(cat "$pidfile")" 2>/dev/null
	done
	rm -rf "$D"
}
trap stop EXIT

# hook WANTED VERB: runs it the way the daemon does, and compares its exit status
hook() {
	output=$("$EXEC" --timeout 20000 -- "$HOOKS/$KIND/$2" 2>&1)
	status=$?
	if [ "$status" -ne "$1" ]; then
		echo "FAILED: $KIND/$2: exit status $status instead of $1: $output"
		failed=1
	fi
}
# says TEXT: the last hook printed it
says() {
	case $output in *"$1"*) ;; *)
		echo "FAILED: \"$1\" is not in: $output"
		failed=1
		;;
	esac
}
# until_alive: the pid file is written some milliseconds after the start
until_alive() {
	end=$(($(date +%s) + 10))
	until "$EXEC" -- "$HOOKS/$KIND/alive" 2>/dev/null; do
		if [ "$(date +%s)" -gt "$end" ]; then
			echo "FAILED: $KIND does not come up"
			failed=1
			return
		fi
	done
}
# below the ephemeral range: no connection of somebody else can take it before the server does
free_port() { PYTHONPATH=$(dirname "$0")/../e2e python3 -B -c 'import webserver; print(webserver.free_port())'; }

mkdir -p "$D/run" "$D/log" "$D/old" "$D/new" "$D/bad" "$D/other"
for pair in old new; do
	openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$D/$pair/privkey.pem" \
		-out "$D/$pair/fullchain.pem" -days 30 -subj /CN=localhost 2>/dev/null
	sum=$(openssl x509 -in "$D/$pair/fullchain.pem" -outform DER | sha256sum)
	printf '{\n "sha256": "%s",\n "names": [\n  "localhost"\n ]\n}\n' "${sum%% *}" >"$D/$pair/meta.json"
done
cp "$D/old/fullchain.pem" "$D/old/meta.json" "$D/bad/"
cp "$D/new/privkey.pem" "$D/bad/"
ln -s old "$D/live"
export CERTSWAP_RELOAD=auto CERTSWAP_ARGUMENTS='' CERTSWAP_ENVIRONMENT_FILE=''

# what each kind must do with its server in $D; $CERTSWAP_PIDFILE and the rest are set
common_part() {
	tried=1
	hook 1 alive
	says "not running"
	hook 1 reload
	hook 0 configtest
	hook 0 start
	until_alive
	hook 0 alive
	hook 0 start
	says "runs already"
	parent=$(cat "$CERTSWAP_PIDFILE")
	hook 0 reload
	hook 0 configtest
	hook 0 dump
	says "$D/live/fullchain.pem"
	echo $$ >"$D/run/other.pid"
	pidfile=$CERTSWAP_PIDFILE
	CERTSWAP_PIDFILE=$D/run/other.pid
	hook 1 alive
	hook 1 reload
	CERTSWAP_PIDFILE=$pidfile
}

KIND=nginx
export CERTSWAP_SERVER=web CERTSWAP_BINARY CERTSWAP_CONFIG="$D/nginx.conf" CERTSWAP_PIDFILE="$D/run/nginx.pid"
if CERTSWAP_BINARY=$(PATH=$PATH:/usr/sbin command -v nginx); then
	cat >"$D/nginx.conf" <<END
pid $D/run/nginx.pid; error_log $D/log/nginx.log;
events { worker_connections 64; }
http {
	access_log off;
	client_body_temp_path $D/run/a; proxy_temp_path $D/run/b; fastcgi_temp_path $D/run/c;
	uwsgi_temp_path $D/run/d; scgi_temp_path $D/run/e;
	server {
		listen 127.0.0.1:$(free_port) ssl;
		ssl_certificate $D/live/fullchain.pem; ssl_certificate_key $D/live/privkey.pem;
	}
}
END
	common_part
	ln -sfn bad "$D/live"
	hook 1 configtest
	says "key values mismatch"
	ln -sfn old "$D/live"
fi

KIND=apache
CERTSWAP_CONFIG=$D/apache.conf CERTSWAP_PIDFILE=$D/run/apache.pid
modules=/usr/lib/apache2/modules
[ -d "$modules" ] || modules=/usr/lib64/httpd/modules
if CERTSWAP_BINARY=$(PATH=$PATH:/usr/sbin command -v apache2 || PATH=$PATH:/usr/sbin command -v httpd) &&
	[ -e "$modules/mod_ssl.so" ]; then
	cat >"$D/apache.conf" <<END
ServerRoot $D
PidFile \${HOOK_RUN}/apache.pid
ErrorLog $D/log/apache.log
DefaultRuntimeDir $D/run
Mutex file:$D/run default
LoadModule mpm_event_module $modules/mod_mpm_event.so
LoadModule authz_core_module $modules/mod_authz_core.so
LoadModule ssl_module $modules/mod_ssl.so
ServerName localhost
User $(id -un)
Group $(id -gn)
Listen 127.0.0.1:$(free_port)
SSLEngine on
SSLCertificateFile $D/live/fullchain.pem
SSLCertificateKeyFile $D/live/privkey.pem
END
	# Apache refuses to serve as root
	[ "$(id -u)" = 0 ] && sed -i 's/^User .*/User nobody/; s/^Group .*/Group #65534/' "$D/apache.conf"
	echo "HOOK_RUN=$D/run" >"$D/variables"
	CERTSWAP_ENVIRONMENT_FILE=$D/variables
	common_part
	CERTSWAP_ENVIRONMENT_FILE='' # from here on the running parent's own environment must do
	hook 0 configtest
	case $output in *HOOK_RUN*)
		echo "FAILED: the parent's environment was not taken: $output"
		failed=1
		;;
	esac
	export CERTSWAP_CANDIDATE="$D/new" CERTSWAP_LIVE="$D/live"
	if [ "$(id -u)" = 0 ] && unshare -m -n -p -i true 2>/dev/null; then
		hook 0 rehearse
		CERTSWAP_CANDIDATE=$D/bad
		hook 1 rehearse
		says "do not match"
		# a batch: all in their places at once
		CERTSWAP_CANDIDATE="$D/new
$D/bad" CERTSWAP_LIVE="$D/other
$D/live"
		hook 1 rehearse
		says "do not match"
		CERTSWAP_CANDIDATE="$D/new
$D/new"
		hook 0 rehearse
		CERTSWAP_CANDIDATE=$D/bad CERTSWAP_LIVE=$D/live
		ln -sfn bad "$D/live" # with the pair in service it would not start either
		hook 78 rehearse
		CERTSWAP_CANDIDATE='' CERTSWAP_LIVE='' # as it is
		hook 1 rehearse
		says "do not match"
		# a file of the live pair is gone: with the candidate in its place all is well
		mkdir "$D/gone"
		cp "$D/old/privkey.pem" "$D/gone/"
		CERTSWAP_CANDIDATE=$D/new CERTSWAP_LIVE=$D/live
		ln -sfn gone "$D/live"
		hook 0 rehearse
		hook 0 configtest
		CERTSWAP_CANDIDATE=$D/bad CERTSWAP_LIVE=$D/other # another's does not help
		hook 1 configtest
		CERTSWAP_CANDIDATE='' CERTSWAP_LIVE=''
		hook 1 configtest
		says "live/fullchain.pem"
		ln -sfn old "$D/live"
		hook 0 rehearse
	else
		hook 75 rehearse
	fi
	# another pair of the configuration was broken for a moment: that is not this one's fault
	CERTSWAP_CANDIDATE=$D/new CERTSWAP_LIVE=$D/live
	cat >"$D/exec" <<END
#!/bin/sh
echo >>$D/tries
[ "\$(wc -l <$D/tries)" -gt 1 ]
END
	chmod +x "$D/exec"
	if ! output=$(CERTSWAP_EXEC=$D/exec "$HOOKS/apache/rehearse" 2>&1) || [ "$(wc -l <"$D/tries")" -ne 3 ]; then
		echo "FAILED: refused once, and passed with the pair in service and then itself, it counts as refused: $output"
		failed=1
	fi
	hook 0 alive
	[ "$parent" = "$(cat "$CERTSWAP_PIDFILE")" ] || {
		echo "FAILED: the running server was touched"
		failed=1
	}
fi
[ "$tried" = 1 ] || exit 77
[ "$failed" = 0 ] && echo "The hooks do what they should."
exit "$failed"
