// Package sshfp makes SSHFP records (RFC 4255, RFC 6594, RFC 7479, RFC 8709) of
// the public host keys in a directory: the name of a file is that of a host,
// its lines are keys as OpenSSH writes them (.pub, ssh-keyscan, known_hosts).
//
// A key is decoded and checked before it is hashed, because a fingerprint of
// half a key looks like any other. What is not a plain key of this very host is
// passed over with a warning: DSA, security keys, certificates and their
// authorities, revoked keys, other hosts, ports, addresses, patterns. What
// cannot be understood refuses the whole file, for a set that lacks a key makes
// OpenSSH say that the host has changed: private keys, bytes that are no text,
// damaged keys, unknown lines. Such a host is Broken, and only that host; what
// is published of it may stay.
package sshfp

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/miekg/dns"

	"zonebuild/internal/diag"
	"zonebuild/internal/domain"
	"zonebuild/internal/durable"
	"zonebuild/internal/rrset"
	"zonebuild/zone"
)

// Bounds on the work that the directory can make.
const (
	maxEntries = 16384    // names that are listed
	maxFile    = 64 << 10 // octets of a file
	maxAll     = 16 << 20 // octets of all files of hosts
	maxLines   = 1024     // of a file
	maxKeys    = 64       // of a file, those that are revoked included
	maxFaults  = 20       // that are told of a file, errors and warnings each; of file names
)

// DefaultTTL is the TTL of the records in seconds where Options has none.
const DefaultTTL = 3600

// Options says where the host keys are and what is made of them.
type Options struct {
	Dir    string
	SHA1   bool   // make fingerprints of type 1 (SHA-1) too
	TTL    uint32 // seconds; 0 = DefaultTTL
	Marker string // file that is there while Dir is mounted; "" = always
	Step   func() // called behind each file that was read: the directory answers; nil = nobody listens
}

// Host is one file of the directory: a host of one of the zones.
type Host struct {
	Name    domain.Name
	Apex    domain.Name // of its zone
	File    string      // path; the Name of its fragment
	Records *rrset.Set  // to be published; nil when the host is broken
	Broken  bool        // the file is refused: what is published of the host stays
	Reason  string      // why it is broken, with the place
	Faults  diag.List   // an error says that the host is broken

	digest  [sha256.Size]byte // of all that records and faults come from
	revoked [][]byte          // keys
}

// Set is what the directory held at the time of the scan.
type Set struct {
	Hosts []*Host // in canonical order
	// Unread says why the directory as a whole could not be read: then nothing
	// is known, and what is published of all hosts stays. "" = it was read.
	Unread string
	Faults diag.List // that belong to no zone; warnings
	byZone map[domain.Name][]*Host
}

// Scan reads the directory once. zoneOf gives the zone that a name belongs to.
// It has no errors: what is wrong is in the set. A directory that does not exist
// is an empty one, unless there is a marker to look for.
func Scan(o Options, zoneOf func(domain.Name) (apex domain.Name, ok bool)) *Set {
	names, err := list(o)
	if err != nil {
		return Unread(o, err)
	}
	s := &Set{byZone: map[domain.Name][]*Host{}}
	hosts, size := map[domain.Name]*Host{}, 0
	for _, file := range names {
		if o.Step != nil { // the one before, or the list
			o.Step()
		}
		if file == o.Marker || dropping(file) {
			continue
		}
		path := filepath.Join(o.Dir, file)
		name, err := hostOf(file)
		if err != nil {
			s.Faults.Warnf(diag.Pos{File: path}, "sshfp-file-name", "", "passed over, the file name is that of no host: %s", err)
			continue
		}
		if first := hosts[name]; first != nil {
			first.errorf(diag.Pos{File: path}, "sshfp-twice", "the host is left out: a second file of it").At(diag.Pos{File: first.File}, "the first")
			continue
		}
		apex, ok := zoneOf(name)
		if !ok {
			s.Faults.Warnf(diag.Pos{File: path}, "sshfp-no-zone", name.String(), "passed over, no zone holds this host")
			continue
		}
		h := &Host{Name: name, Apex: apex, File: path}
		if size += h.read(o, file); size > maxAll {
			return Unread(o, fmt.Errorf("more than %d octets", maxAll))
		}
		hosts[name] = h
		s.Hosts = append(s.Hosts, h)
	}
	slices.SortFunc(s.Hosts, func(a, b *Host) int { return a.Name.Compare(b.Name) })
	for _, h := range s.Hosts {
		h.Faults.Sort()
		s.byZone[h.Apex] = append(s.byZone[h.Apex], h)
	}
	s.Faults.Sort()
	if more := len(s.Faults) - maxFaults; more > 0 {
		s.Faults = s.Faults[:maxFaults]
		s.Faults.Warnf(diag.Pos{File: o.Dir}, "sshfp-more", "", "%d more files are passed over", more)
	}
	return s
}

// Unread is the set of a directory of which nothing is known.
func Unread(o Options, err error) *Set {
	s := &Set{Unread: err.Error()}
	s.Faults.Warnf(diag.Pos{File: o.Dir}, "sshfp-unread", "", "the host keys are not read, what is published of them stays: %s", err)
	return s
}

// list gives the names in the directory, sorted. Errors: there is no marker,
// there are too many, the directory cannot be read.
func list(o Options) ([]string, error) {
	if o.Marker != "" {
		if _, err := os.Lstat(filepath.Join(o.Dir, o.Marker)); err != nil {
			return nil, fmt.Errorf("not mounted: %s is not there", o.Marker)
		}
	}
	f, err := os.Open(o.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, zone.PathlessError(err)
	}
	defer f.Close()
	entries, err := f.ReadDir(maxEntries + 1)
	switch {
	case err != nil && !errors.Is(err, io.EOF):
		return nil, zone.PathlessError(err)
	case len(entries) > maxEntries:
		return nil, fmt.Errorf("more than %d files", maxEntries)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	slices.Sort(names)
	return names, nil
}

// dropping reports whether a file is what editors and version control leave.
func dropping(name string) bool {
	return name == "CVS" || strings.HasPrefix(name, ".") || strings.HasPrefix(name, "#") || strings.HasSuffix(name, "~")
}

// hostOf reads the name of a file, with or without a final dot.
func hostOf(file string) (domain.Name, error) {
	name, err := domain.FromFileName(file)
	if err != nil {
		name, err = domain.FromFileName(strings.TrimSuffix(file, "."))
	}
	if err != nil {
		if plain, bad := domain.Parse(file); bad == nil {
			return name, fmt.Errorf("%q is written %q", file, plain.FileName())
		}
		return name, err
	}
	switch {
	case name == domain.Root:
		return name, errors.New("the root is no host")
	case strings.HasPrefix(name.String(), "*"):
		return name, errors.New("a wildcard is no host")
	}
	return name, nil
}

// read reads the host's file and makes its records. It gives the octets it read.
func (h *Host) read(o Options, file string) int {
	ttl := o.TTL
	if ttl == 0 {
		ttl = DefaultTTL
	}
	data, _, err := durable.ReadRegular(o.Dir, file, maxFile)
	h.digest = sha256.Sum256(fmt.Appendf(nil, "sshfp 1 %s %d %t\n%s", h.Name, ttl, o.SHA1, data))
	if err != nil {
		h.errorf(diag.Pos{File: h.File}, "sshfp-file", "the host is left out: %s", causeOf(err))
		return len(data)
	}
	keys, faults := Parse(h.File, h.Name, data)
	h.Faults, h.revoked = append(h.Faults, faults...), keys.Revoked
	if i := slices.IndexFunc(faults, func(d diag.Diagnostic) bool { return d.Severity == diag.Error }); i >= 0 {
		h.breakBy(faults[i])
		return len(data)
	}
	if h.Records, err = records(h, keys.Published, ttl, o.SHA1); err != nil {
		h.errorf(diag.Pos{File: h.File}, "sshfp-file", "the host is left out: %s", err)
	}
	return len(data)
}

// causeOf is an error of durable's without the path, which is said already.
func causeOf(err error) string {
	if inner := errors.Unwrap(err); inner != nil {
		err = inner
	}
	return err.Error()
}

// errorf breaks the host by an error.
func (h *Host) errorf(at diag.Pos, code, format string, args ...any) *diag.Diagnostic {
	d := h.Faults.Errorf(at, code, h.Name.String(), format, args...)
	h.breakBy(*d)
	h.digest = sha256.Sum256(append(h.digest[:], d.Message...))
	return d
}

func (h *Host) breakBy(d diag.Diagnostic) {
	if !h.Broken {
		h.Broken, h.Reason = true, d.Pos.String()+": "+d.Message
	}
	h.Records = nil
}

// records makes the SSHFP RRset of a host (RFC 4255 §3.1).
func records(h *Host, keys []Key, ttl uint32, sha1 bool) (*rrset.Set, error) {
	kinds := []uint8{SHA256}
	if sha1 {
		kinds = []uint8{SHA1, SHA256}
	}
	var b rrset.Builder
	file, err := b.AddFile(h.File)
	if err != nil {
		return nil, err
	}
	for _, k := range keys {
		pos := rrset.Pos{File: file, Line: uint32(k.Line), Column: k.Column}
		for _, kind := range kinds {
			if err := b.Add([]byte(h.Name.Wire()), dns.TypeSSHFP, int64(ttl), k.Rdata(kind), pos); err != nil {
				return nil, err
			}
		}
	}
	return b.Set(), nil
}

// For gives the hosts of a zone as guests, one fragment for each file, so that
// one that does not fit is left out alone. The fragment of a broken host is
// empty, and there all the same: the zone's input has changed, and somebody must
// be told. The faults are warnings, since an error would stop the zone; Host has
// them as they are.
func (s *Set) For(apex domain.Name) ([]zone.Fragment, diag.List) {
	var out []zone.Fragment
	var faults diag.List
	for _, h := range s.byZone[apex] {
		recs := h.Records
		if recs == nil {
			recs = &rrset.Set{}
		}
		out = append(out, zone.Fragment{
			Name: h.File, Guest: true, Records: recs, TTL: -1, Files: []zone.Source{{Name: h.File, Digest: h.digest}},
		})
		for _, d := range h.Faults {
			d.Severity = diag.Warning
			faults = append(faults, d)
		}
	}
	return out, faults
}

// MayStay reports whether a published SSHFP record of a broken host may stay:
// not if it is of a key that the file revokes, as far as it can be read.
func (h *Host) MayStay(rdata []byte) bool {
	return !slices.ContainsFunc(h.revoked, func(blob []byte) bool {
		return len(rdata) > 2 && slices.Equal(rdata[2:], fingerprint(blob, rdata[1]))
	})
}
