#!/bin/sh
# Installs what the tests run beside the Go toolchain: other people's signers,
# verifiers and servers, and a C compiler for the race detector.
#
# Silent when nothing is missing. With apt-get, the missing packages are
# installed (with sudo when not root), and no service is started by that: an nsd
# or unbound of Debian's would take port 53, prometheus port 9090. Postfix, of which
# the tests want one tool, is left out where it would take the place of another mail
# server, and gets no configuration, without which it never starts. Elsewhere the
# missing tools are named, and the exit code is 1.
set -eu

# The one list: Debian package, and a tool of it that shows its presence where
# there is no dpkg. "-" has no tool of its own.
list() {
	cat <<'LIST'
nsd                nsd-checkzone
ldnsutils          ldns-verify-zone
bind9-utils        dnssec-verify
bind9-dnsutils     dig
knot               keymgr
knot-dnssecutils   kzonecheck
unbound            unbound
openssl            openssl
postfix            posttls-finger
gnutls-bin         danetool
dns-root-data      -
openssh-server     sshd
openssh-client     ssh-keygen
mount              mount
gcc                cc
libc6-dev          -
shellcheck         shellcheck
procps             ps
util-linux         flock
strace             strace
pebble             pebble
certbot            certbot
dehydrated         dehydrated
lego               lego
uacme              uacme
curl               curl
subversion         svn
prometheus         promtool
systemd            systemd-analyze
LIST
}

PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
policy=/usr/sbin/policy-rc.d
saved=$policy.before-zonebuild
mark='# for the time of an installation by scripts/packages.sh of zonebuild'

say() { printf 'packages: %s\n' "$*" >&2; }

# missing prints the packages of the list that dpkg does not know as installed.
missing() {
	names=$(list | awk '{ print $1 }')
	# shellcheck disable=SC2086 # one word for each package
	have=$(dpkg-query -W -f '${Package} ${db:Status-Status}\n' $names 2>/dev/null |
		awk '$2 == "installed" { print $1 }') || true
	for name in $names; do
		[ "$name" != postfix ] || [ -z "$(mail_server)" ] || continue
		printf '%s\n' "$have" | grep -qx "$name" || printf '%s\n' "$name"
	done
}

# mail_server prints the mail server that dpkg knows as installed, if it is another
# one than Postfix.
mail_server() {
	# shellcheck disable=SC2016 # the fields are dpkg's
	dpkg-query -W -f '${Package}|${db:Status-Status}|${Provides}\n' 2>/dev/null |
		awk -F '|' '$1 != "postfix" && $2 == "installed" && $3 ~ /(^|[ ,])mail-transport-agent([ ,]|$)/ { print $1; exit }'
}

# absent prints the packages whose tool is not found, with the tool.
absent() {
	list | while read -r name tool; do
		[ "$tool" = - ] || command -v "$tool" >/dev/null 2>&1 || printf '%s (%s)\n' "$name" "$tool"
	done
}

as_root() {
	if [ "$(id -u)" -eq 0 ]; then
		"$@"
	else
		sudo "$@"
	fi
}

# deny_services keeps packages from starting what they install. A policy that is
# there already stays if it denies too, and comes back afterwards if not. One of
# ours was left by a run that was killed.
deny_services() {
	if ! grep -qsxF "$mark" "$policy"; then
		if [ -x "$policy" ]; then
			answer=0
			"$policy" nsd start >/dev/null 2>&1 || answer=$?
			[ "$answer" -ne 101 ] || return 0
		fi
		if [ -e "$policy" ] || [ -L "$policy" ]; then
			as_root mv "$policy" "$saved"
		fi
	fi
	trap allow_services EXIT
	trap 'exit 129' HUP
	trap 'exit 130' INT
	trap 'exit 143' TERM
	as_root sh -c "printf '%s\n' '#!/bin/sh' '$mark' 'exit 101' >'$policy' && chmod 755 '$policy'"
}

allow_services() {
	as_root rm -f "$policy"
	if [ -e "$saved" ] || [ -L "$saved" ]; then
		as_root mv "$saved" "$policy"
	fi
}

install() {
	# shellcheck disable=SC2086 # one word for each package
	as_root env DEBIAN_FRONTEND=noninteractive \
		apt-get -o DPkg::Lock::Timeout=300 -qq install --yes --no-install-recommends $1 >&2
}

if ! command -v apt-get >/dev/null 2>&1 || ! command -v dpkg-query >/dev/null 2>&1; then
	absent=$(absent)
	[ -n "$absent" ] || exit 0
	say "not found, and there is no apt-get to install them (Debian's names, tools in brackets):"
	printf '%s\n' "$absent" >&2
	exit 1
fi

missing=$(missing | tr '\n' ' ')
missing=${missing% }
[ -n "$missing" ] || exit 0
if [ "$(id -u)" -ne 0 ] && ! command -v sudo >/dev/null 2>&1; then
	say "neither root nor sudo; install them yourself: $missing"
	exit 1
fi
say "install $missing"
deny_services
case " $missing " in
*" postfix "*)
	if command -v debconf-set-selections >/dev/null 2>&1; then
		echo 'postfix postfix/main_mailer_type select No configuration' | as_root debconf-set-selections
	fi
	;;
esac
# Old or absent package lists are the usual cause of a first failure.
install "$missing" 2>/dev/null || {
	as_root apt-get -o DPkg::Lock::Timeout=300 -qq update >&2
	install "$missing"
} || {
	say "install: apt-get failed"
	exit 1
}
