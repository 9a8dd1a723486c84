// Package primary holds the primary/ fragments of a zone: the records that
// people write. $INCLUDE reads files of the same tree; $GENERATE is bounded. An SOA is refused, as are the records that the
// signer makes.
package primary

import (
	"bytes"
	"io/fs"

	"github.com/miekg/dns"

	"zonebuild/internal/diag"
	"zonebuild/internal/domain"
	"zonebuild/zone"
)

// Load reads the fragment named file from fsys, for the zone apex. Paths of
// $INCLUDE are relative to the root of fsys, which must refuse those that no
// fault may quote.
func Load(fsys fs.FS, file string, apex domain.Name) (zone.Fragment, diag.List) {
	return read(fsys, file, apex, nil, false)
}

// LoadAgain is Load, with the same result, for one who keeps what is read: of a large
// file of which was is an earlier reading by LoadAgain, only the lines that changed
// are read. was may be nil.
func LoadAgain(fsys fs.FS, file string, apex domain.Name, was *zone.Fragment) (zone.Fragment, diag.List) {
	return read(fsys, file, apex, was, true)
}

func read(fsys fs.FS, file string, apex domain.Name, was *zone.Fragment, hold bool) (zone.Fragment, diag.List) {
	src, err := zone.ReadFile(fsys, file)
	if err != nil {
		var faults diag.List
		faults.Errorf(diag.Pos{File: file}, "source-missing", apex.String(), "read the primary/ fragment: %s", zone.PathlessError(err))
		return zone.Fragment{Name: file, TTL: -1, Incomplete: true}, faults
	}
	o := zone.ParseOptions{Apex: apex, Include: fsys, Generate: true, Hold: hold}
	if was != nil {
		if f, ok := zone.ParseAgain(was, file, src, o); ok && f.Records.Filter(func(i int) bool { return f.Records.Type(i) != dns.TypeSOA }) == f.Records {
			return f, nil
		}
	}
	f, faults := zone.Parse(file, src, o)
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
	const directive = "$INCLUDE"
	for {
		at := bytes.IndexByte(src, '$')
		if at < 0 {
			return false
		}
		src = src[at:]
		// A letter beyond ASCII may become one of these: the window has room for it.
		if bytes.HasPrefix(bytes.ToUpper(src[:min(len(src), 2*len(directive))]), []byte(directive)) {
			return true
		}
		src = src[1:]
	}
}
