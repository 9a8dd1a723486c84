// Package primary holds the primary/ fragments of a zone: the records that
// people write. $INCLUDE reads files of the same tree, never of keys/ or
// state/; $GENERATE is bounded. An SOA is refused, as are the records that the
// signer makes.
package primary

import (
	"io/fs"
	"path"
	"strings"

	"github.com/miekg/dns"

	"zonebuild/internal/diag"
	"zonebuild/internal/domain"
	"zonebuild/zone"
)

// Load reads the fragment named file from fsys, for the zone apex. Paths of
// $INCLUDE are relative to the root of fsys; those for which private returns
// true are refused, so that no fault can quote a secret.
func Load(fsys fs.FS, file string, apex domain.Name, private func(path string) bool) (zone.Fragment, diag.List) {
	src, err := zone.ReadFile(fsys, file)
	if err != nil {
		var faults diag.List
		faults.Errorf(diag.Pos{File: file}, "source-missing", apex.String(), "read the primary/ fragment: %s", zone.PathlessError(err))
		return zone.Fragment{Name: file, TTL: -1, Incomplete: true}, faults
	}
	f, faults := zone.Parse(file, src, zone.ParseOptions{Apex: apex, Include: included{fsys, private}, Generate: true})
	all := f.Records
	f.Records = all.Filter(func(i int) bool {
		if all.Type(i) != dns.TypeSOA {
			return true
		}
		faults.Errorf(all.Pos(i), "soa-in-primary", all.Name(i).String(), "SOA in a primary/ fragment: it belongs in soa/")
		f.Incomplete = true
		return false
	})
	return f, faults
}

// HasInclude reports whether the text of a fragment may include other files.
func HasInclude(src []byte) bool {
	return strings.Contains(strings.ToUpper(string(src)), "$INCLUDE")
}

// included is the part of a tree that fragments may include.
type included struct {
	fsys    fs.FS
	private func(string) bool
}

func (i included) Open(name string) (fs.File, error) {
	if i.private != nil && i.private(path.Clean(name)) {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrPermission}
	}
	return i.fsys.Open(name)
}
