package dnsextra

import (
	"cmp"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/miekg/dns"

	"zonebuild/internal/diag"
	"zonebuild/internal/domain"
	"zonebuild/internal/durable"
	"zonebuild/internal/rrset"
	"zonebuild/zone"
)

// Bounds on the work that a drop box can make, and how long a challenge may stand.
const (
	maxEntries       = 4096 // names that are listed
	maxFaults        = 20   // that are told, of each box
	DefaultMaxValues = 64
	DefaultTTL       = 60
	DefaultMaxAge    = 24 * time.Hour
)

// Box is a drop box as the builder's configuration has it.
type Box struct {
	Dir       string
	Names     []domain.Name // it may prove these and what is below them; none = any
	Aliases   []domain.Name // owners of another form that it may write
	TTL       uint32        // of its records, whatever the files say
	MaxValues int           // challenges at a time
	MaxAge    time.Duration // since the builder first saw one
	Owner     *uint32       // uid that its files must have; nil = any
	Marker    string        // file that is there while the box is mounted; "" = always
	Report    string        // file that tells the jail what was refused; "" = none
	Away      bool          // it is not to be read now, or does not answer: what was accepted before stays
	MayHide   bool          // its challenges may make a name exist for which a wildcard answers
	Step      func()        // called behind each file that was read: the box answers; nil = nobody listens
}

// Seen is a challenge that the builder accepted: what state/ keeps of it.
type Seen struct {
	Box   string      `json:"box"`
	File  string      `json:"file"`
	Owner domain.Name `json:"owner"`
	Value string      `json:"value"`
	Since time.Time   `json:"since"` // first sight
}

// Set is what the drop boxes hold: the challenges that were accepted.
type Set struct {
	Seen   []Seen    // to be kept for the next scan; sorted
	Live   []Seen    // of these, to be published
	Faults diag.List // of files that were left out; warnings
	boxes  map[string]*Box
}

// Scan reads the drop boxes once. seen is what the last scan kept. Nothing in a
// box can stop it, make it wait, or make it read much: what is not right is left
// out, with a warning. Errors there are none.
func Scan(boxes []Box, seen []Seen, now time.Time) *Set {
	s := &Set{boxes: map[string]*Box{}}
	for i := range boxes {
		b := &boxes[i]
		s.boxes[b.Dir] = b
		scan := &scanner{box: b, now: now, set: s, known: map[string]Seen{}}
		for _, old := range seen {
			if old.Box == b.Dir {
				scan.known[key(old.Owner, old.Value)] = old
			}
		}
		scan.run()
	}
	s.order(now)
	return s
}

// Join makes one set of what scans at one instant found, of other boxes each.
func Join(now time.Time, sets ...*Set) *Set {
	s := &Set{boxes: map[string]*Box{}}
	for _, one := range sets {
		s.Seen, s.Faults = append(s.Seen, one.Seen...), append(s.Faults, one.Faults...)
		maps.Copy(s.boxes, one.boxes)
	}
	s.order(now)
	return s
}

// order sorts what was found, and says what is to be published.
func (s *Set) order(now time.Time) {
	slices.SortFunc(s.Seen, func(a, b Seen) int {
		return cmp.Or(cmp.Compare(a.Box, b.Box), a.Owner.Compare(b.Owner), cmp.Compare(a.Value, b.Value), cmp.Compare(a.File, b.File))
	})
	s.Seen = slices.CompactFunc(s.Seen, func(a, b Seen) bool { return a.Box == b.Box && a.Owner == b.Owner && a.Value == b.Value })
	for _, e := range s.Seen {
		if now.Sub(e.Since) < s.boxes[e.Box].MaxAge {
			s.Live = append(s.Live, e)
		}
	}
	s.Faults.Sort()
}

func key(owner domain.Name, value string) string { return owner.Wire() + value }

// scanner is the reading of one box.
type scanner struct {
	box    *Box
	now    time.Time
	set    *Set
	known  map[string]Seen // accepted before
	faults int
	fresh  []Seen // not accepted before
	kept   int
}

func (s *scanner) warnf(file string, line int, code, format string, args ...any) {
	if s.faults++; s.faults > maxFaults {
		return
	}
	path := s.box.Dir
	if file != "" {
		path = filepath.Join(path, file)
	}
	s.set.Faults.Warnf(diag.Pos{File: path, Line: line}, code, "", format, args...)
}

func (s *scanner) run() {
	if s.box.Away {
		s.keepAll()
		return
	}
	if s.box.Marker != "" {
		if _, err := os.Lstat(filepath.Join(s.box.Dir, s.box.Marker)); err != nil {
			s.warnf("", 0, "box-not-mounted", "%s is not there: what was accepted before stays until it is too old", s.box.Marker)
			s.keepAll()
			return
		}
	}
	names, all, err := list(s.box.Dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return
	case err != nil:
		s.warnf("", 0, "box-unreadable", "list the drop box: %s", pathless(err))
		s.keepAll()
		return
	case !all:
		s.warnf("", 0, "box-full", "more than %d files: what was accepted before stays, nothing new is read", maxEntries)
		names = s.knownFiles()
	}
	for _, name := range names {
		if name != s.box.Marker {
			s.file(name)
		}
		if s.box.Step != nil {
			s.box.Step()
		}
	}
	s.admit()
	if more := s.faults - maxFaults; more > 0 {
		s.set.Faults.Warnf(diag.Pos{File: s.box.Dir}, "box-more", "", "%d more files are left out", more)
	}
}

// list gives the names in a directory, sorted; not all of them when there are
// too many.
func list(dir string) (names []string, all bool, err error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, false, err
	}
	defer f.Close()
	entries, err := f.ReadDir(maxEntries + 1)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, false, err
	}
	for _, e := range entries {
		if isFileName(e.Name()) {
			names = append(names, e.Name())
		} else if !strings.HasPrefix(e.Name(), ".") && len(entries) <= maxEntries {
			names = append(names, e.Name()) // told, not read
		}
	}
	slices.Sort(names)
	return names, len(entries) <= maxEntries, nil
}

// keepAll goes on with what was accepted before.
func (s *scanner) keepAll() {
	for _, old := range s.known {
		if s.now.Sub(old.Since) < s.box.MaxAge {
			s.set.Seen = append(s.set.Seen, old)
		}
	}
}

func (s *scanner) knownFiles() []string {
	var out []string
	for _, old := range s.known {
		out = append(out, old.File)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// file reads one file and files what it holds as known or fresh.
func (s *scanner) file(name string) {
	if !isFileName(name) {
		s.warnf(name, 0, "box-name", "left out: the name is no owner of a challenge")
		return
	}
	data, info, err := durable.ReadRegular(s.box.Dir, name, maxFile)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return // gone since the listing
	case err != nil:
		s.warnf(name, 0, "box-file", "left out: %s", pathless(err))
		return
	}
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		switch {
		case st.Nlink != 1:
			s.warnf(name, 0, "box-file", "left out: the file has %d names", st.Nlink)
			return
		case s.box.Owner != nil && st.Uid != *s.box.Owner:
			s.warnf(name, 0, "box-file", "left out: it belongs to user %d, not %d", st.Uid, *s.box.Owner)
			return
		}
	}
	challenges, bad := parse(name, data, s.box.Aliases)
	if bad != nil {
		s.warnf(name, bad.line, "box-content", "left out: %s", bad.err)
		return
	}
	for _, c := range challenges {
		s.challenge(name, c)
	}
}

func (s *scanner) challenge(name string, c Challenge) {
	if !s.box.mayProve(c) {
		s.warnf(name, 0, "box-scope", "left out: this drop box may not prove %s", c.Proves())
		return
	}
	if !c.Expires.IsZero() && !s.now.Before(c.Expires) {
		return // its writer wants it gone
	}
	entry := Seen{s.box.Dir, name, c.Owner, c.Value, s.now.UTC()}
	if old, ok := s.known[key(c.Owner, c.Value)]; ok {
		if entry.Since = old.Since; entry.Since.After(s.now) { // the clock went back
			entry.Since = s.now.UTC()
		}
		if s.now.Sub(entry.Since) >= s.box.MaxAge {
			s.warnf(name, 0, "box-old", "left out: it was first seen more than %s ago", s.box.MaxAge)
			s.set.Seen = append(s.set.Seen, entry) // so that its age is not forgotten
			return
		}
		s.kept++
		s.set.Seen = append(s.set.Seen, entry)
		return
	}
	s.fresh = append(s.fresh, entry)
}

// admit takes as many new challenges as the box may have.
func (s *scanner) admit() {
	free := max(0, s.box.MaxValues-s.kept)
	if len(s.fresh) > free {
		s.warnf("", 0, "box-full", "%d challenges, at most %d are published: new ones wait", s.kept+len(s.fresh), s.box.MaxValues)
		s.fresh = s.fresh[:free]
	}
	s.set.Seen = append(s.set.Seen, s.fresh...)
}

func (b *Box) mayProve(c Challenge) bool {
	if len(b.Names) == 0 || slices.Contains(b.Aliases, c.Owner) {
		return true
	}
	name := c.Proves()
	return slices.ContainsFunc(b.Names, func(n domain.Name) bool { return name.IsWithin(n) })
}

func pathless(err error) error {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Err
	}
	for e := err; e != nil; e = errors.Unwrap(e) {
		if e == durable.ErrNotRegular || e == durable.ErrTooLarge {
			return e
		}
	}
	return err
}

// Fragments gives challenges of one zone as guests, one fragment each, so that one
// that does not fit is left out alone. The records are made here: no text of a
// drop box comes into a zone.
func (s *Set) Fragments(list []Seen) []zone.Fragment {
	var out []zone.Fragment
	for _, e := range list {
		path, box := filepath.Join(e.Box, e.File), s.boxes[e.Box]
		var b rrset.Builder
		file, err := b.AddFile(path)
		if err == nil {
			rdata := append([]byte{byte(len(e.Value))}, e.Value...)
			err = b.Add([]byte(e.Owner.Wire()), dns.TypeTXT, int64(box.TTL), rdata, rrset.Pos{File: file, Line: 1})
		}
		if err != nil {
			continue // cannot happen: one small record in one file
		}
		digest := sha256.Sum256(fmt.Appendf(nil, "%s %d %s %t", e.Owner, box.TTL, e.Value, box.MayHide))
		out = append(out, zone.Fragment{
			Name: path, Guest: true, MayHide: box.MayHide, Records: b.Set(), TTL: -1, Files: []zone.Source{{Name: path, Digest: digest}},
		})
	}
	return out
}
