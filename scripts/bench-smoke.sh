#!/bin/sh
# Signs one zone of N hosts (A and AAAA each) with zonebuild, ldns-signzone and
# dnssec-signzone -P, in turn, with the same keys, and prints the ratios. The
# machine is whatever it is: only the ratios of one run mean something.
#
# usage: bench-smoke.sh PATH/TO/zonebuild [N]
set -eu

program=$(cd "$(dirname "$1")" && pwd)/$(basename "$1")
hosts=${2:-20000}
room=$(mktemp -d)
trap 'rm -rf "$room"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
PATH=$PATH:/usr/sbin
cd "$room"

"$program" init tree --zone example.org >/dev/null
# The hosts come in an order that is neither sorted nor random: 7919 is prime.
awk -v n="$hosts" 'BEGIN {
	print "ns1 A 192.0.2.1"
	print "ns2 A 192.0.2.2"
	for (i = 0; i < n; i++) {
		h = (i * 7919) % n
		printf "host%d A 10.%d.%d.%d\n", h, int(h / 65536) % 256, int(h / 256) % 256, h % 256
		printf "host%d AAAA 2001:db8::%x:%x\n", h, int(h / 65536), h % 65536
	}
}' >tree/primary/example.org
cat tree/soa/example.org tree/primary/example.org >flat

now() { date +%s%N; }
# took NAME COMMAND...: runs it and remembers its time in milliseconds
took() {
	name=$1
	shift
	start=$(now)
	"$@" >"$name.log" 2>&1 || {
		cat "$name.log"
		echo "bench-smoke: $name failed" >&2
		exit 1
	}
	eval "$name=$((($(now) - start) / 1000000))"
}

keys=
for k in tree/keys/*.key; do keys="$keys ${k%.key}"; done
took zonebuild "$program" -C tree build
"$program" init sampled --zone example.org >/dev/null
cp tree/primary/example.org sampled/primary/example.org
echo 'verify-signatures = "sample"' >>sampled/zonebuild.toml # its last table is [policy]
took sampled "$program" -C sampled build
# shellcheck disable=SC2086 # a list of words
took ldns ldns-signzone -o example.org -f ldns.signed flat $keys
took bind dnssec-signzone -S -K tree/keys -P -o example.org -f bind.signed flat
printf 'extra TXT "one more"\n' >>tree/primary/example.org
took again "$program" -C tree build
took verify "$program" verify tree/signed/example.org

# assigned by took
# shellcheck disable=SC2154
{
	printf 'sign %d hosts      ms   zonebuild / it, sampled / it\n' "$hosts"
	ratio() { awk -v a="$1" -v b="$2" 'BEGIN { printf "%.2f", a / b }'; }
	printf 'zonebuild        %6d               (verifies every signature it made)\n' "$zonebuild"
	printf '  sampled        %6d               (verify-signatures = "sample")\n' "$sampled"
	printf 'ldns-signzone    %6d   %s   %s   (does not verify)\n' "$ldns" "$(ratio "$zonebuild" "$ldns")" "$(ratio "$sampled" "$ldns")"
	printf 'dnssec-signzone  %6d   %s   %s   (-P: does not verify)\n' "$bind" "$(ratio "$zonebuild" "$bind")" "$(ratio "$sampled" "$bind")"
	printf 'one TXT added    %6d   %s of the full run\n' "$again" "$(ratio "$again" "$zonebuild")"
	printf 'zonebuild verify %6d\n' "$verify"
}
