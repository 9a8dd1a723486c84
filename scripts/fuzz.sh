#!/bin/sh
# Runs every fuzz target of the module by count: go test takes one target of one
# package at a time, and a run by time can fail at random.
#
# usage: fuzz.sh COUNT
set -eu
count=$1
go=${GO:-go}
out=$(mktemp)
trap 'rm -f "$out"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# go test -list prints the targets of a package, then "ok", the package, the time.
$go test -vet=off -list '^Fuzz' ./... >"$out" || {
	cat "$out"
	exit 1
}
targets=$(awk '/^Fuzz/ { names = names " " $1 } /^ok/ { n = split(names, t, " "); for (i = 1; i <= n; i++) print $2 ":" t[i]; names = "" }' "$out")
if [ -z "$targets" ]; then
	echo "fuzz: no target found" >&2
	exit 1
fi
for target in $targets; do
	package=${target%:*}
	name=${target##*:}
	if ! $go test -vet=off -run '^$' -fuzz "^$name\$" -fuzztime "${count}x" -fuzzminimizetime 10x -timeout 10m "$package" >"$out" 2>&1; then
		cat "$out"
		echo "FAIL	$package $name"
		exit 1
	fi
	echo "ok  	$package $name ${count}x"
done
