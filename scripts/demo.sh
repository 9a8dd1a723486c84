#!/bin/sh
# The main job on real input, in a few seconds and without a server: keys,
# signed zones, their proof by a second reader, and a change that signs only what
# it touches. Every line after "$ " is a command that was run as it stands.
#
# usage: demo.sh PATH/TO/zonebuild
set -eu

here=$(cd "$(dirname "$0")/.." && pwd)
program=$(cd "$(dirname "$1")" && pwd)/$(basename "$1")
room=$(mktemp -d)
trap 'rm -rf "$room"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
mkdir "$room/bin"
ln -s "$program" "$room/bin/zonebuild"
PATH=$room/bin:$PATH
cp -R "$here/examples/cluster" "$room/cluster"
cd "$room"

step() { printf '\n# %s\n' "$1"; }
run() {
	printf '$ %s\n' "$1"
	status=0
	sh -c "$1" >out 2>&1 || status=$?
	cat out
	[ "$status" -eq 0 ] || exit "$status"
}

step 'a tree of zones, as it is kept in version control'
run 'cd cluster && ls . soa primary parked'

step 'keys for every zone that has none (they never leave keys/)'
run 'zonebuild -C cluster keygen --all-missing'

step 'compile, sign, verify, publish; no parent has a DS of these zones yet'
run 'zonebuild -C cluster build --new-zone'

step 'nothing changed: nothing is written, and nothing is said'
run 'zonebuild -C cluster build'
if [ -s out ]; then
	echo 'demo: an unchanged tree was built again' >&2
	exit 1
fi

step 'prove a signed zone with the separate reader, every signature of it'
run 'zonebuild verify cluster/signed/example.org'

step 'what the parent zone must publish'
run 'zonebuild -C cluster ds example.org'

step 'move the web server, and look before building'
run "sed 's/^www  .*/www             A       192.0.2.84/' cluster/primary/example.org >new && mv new cluster/primary/example.org"
run 'zonebuild -C cluster diff example.org'

step 'build again: of all RRsets only the changed ones are signed anew'
run 'zonebuild -C cluster build'
grep -q ', [1-9][0-9]* kept' out || {
	echo 'demo: signatures that need not change were made anew' >&2
	exit 1
}

step 'where it stands'
run 'zonebuild -C cluster status example.org'
