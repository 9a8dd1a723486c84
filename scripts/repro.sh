#!/bin/sh
# Builds the programs from two copies of the checkout in different directories,
# with empty caches, and compares them: the same sources and the same Go give
# the same bytes, whoever builds them and where.
#
# usage: repro.sh
set -eu
go=${GO:-go}
work=$(mktemp -d)
trap 'chmod -R u+w "$work"; rm -rf "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

zone=UTC
for n in one another/and/deeper; do
	mkdir -p "$work/$n"
	git ls-files -z | xargs -0 tar cf - -- | tar xf - -C "$work/$n"
	(
		cd "$work/$n"
		# A stamp of the revision is left out: these copies have none.
		TZ=$zone LC_ALL=C GOCACHE="$work/cache-${n%%/*}" GOFLAGS='' CGO_ENABLED=0 \
			$go build -trimpath -buildvcs=false -tags urfave_cli_no_docs -o bin/ ./cmd/...
	)
	zone=Pacific/Chatham
done
for program in "$work"/one/bin/*; do
	name=${program##*/}
	if ! cmp "$program" "$work/another/and/deeper/bin/$name"; then
		echo "repro: $name differs" >&2
		exit 1
	fi
	echo "repro: $name is the same ($(sha256sum "$program" | cut -c1-16)...)"
done
