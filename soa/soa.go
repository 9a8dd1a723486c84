// Package soa holds the soa/ fragment of a zone (its $TTL, the SOA and the
// apex NS records) and the policies for the SOA serial (RFC 1982).
//
// The fragment is the only place for an SOA. It may not include other files or
// generate records: it is short, and it decides whether a zone exists.
package soa

import (
	"io/fs"

	"zonebuild/internal/diag"
	"zonebuild/internal/domain"
	"zonebuild/zone"
)

// Load reads the fragment named file from fsys, for the zone apex. A file that
// cannot be read is an error in the list.
func Load(fsys fs.FS, file string, apex domain.Name) (zone.Fragment, diag.List) {
	src, err := zone.ReadFile(fsys, file)
	if err != nil {
		var faults diag.List
		faults.Errorf(diag.Pos{File: file}, "source-missing", apex.String(), "read the soa/ fragment: %s", zone.PathlessError(err))
		return zone.Fragment{Name: file, TTL: -1, Incomplete: true}, faults
	}
	return zone.Parse(file, src, zone.ParseOptions{Apex: apex})
}
