package build

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"sync"

	"zonebuild/internal/diag"
	"zonebuild/internal/domain"
	"zonebuild/internal/durable"
	"zonebuild/internal/rrset"
	"zonebuild/tlsa"
	"zonebuild/zone"
)

// maxCertsMap is what is read of certs.map, in octets: more than tlsa.ParseMap takes.
const maxCertsMap = 8 << 20

// mapTries bounds the readings of a map that somebody is writing.
const mapTries = 8

// certificates are certs.map and certs/ in one pass.
type certificates struct {
	groups map[domain.Name][]tlsa.Group // by zone
	faults map[domain.Name]diag.List    // of the map, by zone: warnings
	strays diag.List                    // that belong to no zone
	broken map[string]bool              // those of the faults, as they are told, that are errors to whoever writes the map
	// partial says why an owner that has no line may still be meant; "" = the map
	// says all. gone: there is no map.
	partial string
	name    string // of the map in messages
	gone    bool
	store   *tlsa.Store
	ear     *ear      // that it is read by
	unread  error     // why certs/ cannot be read
	last    *lastRead // what stands of certs/ where it is not read; nil: nothing is kept

	mu   sync.Mutex
	made map[domain.Name]*rollovers
}

// rollovers is what came out of the steps of a zone.
type rollovers struct {
	owners []rollover
	groups []tlsa.Group // of owners
	moving []bool       // likewise: the zone as it is to be published is news to the next step
	faults diag.List    // warnings
	stale  bool         // the sources of the zone cannot be read: nothing moves

	leftOwners []rollover // that no line asks for
	left       []tlsa.Group
}

// scanCerts reads certs.map, and opens certs/, once per pass.
func (t *Tree) scanCerts() {
	c := &certificates{groups: map[domain.Name][]tlsa.Group{}, faults: map[domain.Name]diag.List{}, broken: map[string]bool{}, made: map[domain.Name]*rollovers{}, last: t.last}
	if t.certs != nil {
		t.certs.close()
	}
	t.certs = c
	file := t.Config.Paths.CertsMap
	src, err := t.readMap()
	name := t.Config.Shown(file)
	c.name = name
	switch {
	case errors.Is(err, fs.ErrNotExist):
		c.gone = true
		return
	case errors.Is(err, errAway):
		c.partial = err.Error()
		return
	case errors.Is(err, durable.ErrTooLarge):
		src = make([]byte, maxCertsMap) // the parser says so
	case err != nil:
		c.partial = fmt.Sprintf("read %s: %s", name, zone.PathlessError(err))
		c.strays.Warnf(diag.Pos{File: name}, "certs-map-read", "", "read the certificate map: %s; what is published stays", zone.PathlessError(err))
		return
	}
	m, faults := tlsa.ParseMap(name, src)
	at := map[int]domain.Name{} // the zone of each line
	for _, g := range m.Groups() {
		apex, ok := t.zoneOf(g.Owner)
		if !ok {
			c.strays.Warnf(g.Lines[0].Pos, "certs-map-no-zone", g.Owner.String(), "passed over, no zone holds this host")
			continue
		}
		c.groups[apex] = append(c.groups[apex], g)
		for _, l := range g.Lines {
			at[l.Pos.Line] = apex
		}
	}
	for _, d := range faults {
		if m.Incomplete && c.partial == "" && d.Severity == diag.Error {
			c.partial = d.String()
		}
		isError := d.Severity == diag.Error
		if d.Severity = diag.Warning; isError {
			c.broken[d.String()] = true
		}
		if apex, ok := at[d.Pos.Line]; ok {
			c.faults[apex] = append(c.faults[apex], d)
		} else {
			c.strays = append(c.strays, d)
		}
	}
	named := map[string]bool{}
	for _, g := range m.Groups() {
		for _, l := range g.Lines {
			named[l.CertFile], named[l.Next] = true, true
		}
	}
	c.last.forget(named)
	switch {
	case t.isAway("certs"):
		c.unread = errAway
	case len(c.groups) > 0:
		c.open(t)
	}
}

// errRestless: what is read each time is something else.
var errRestless = errors.New("changed each time it was read")

// readTwice reads until two readings in a row gave the same: somebody may be
// writing.
func readTwice(read func() ([]byte, os.FileInfo, error)) ([]byte, error) {
	last, lastInfo, lastErr := read()
	for range mapTries {
		src, info, err := read()
		switch {
		case err != nil && lastErr != nil && err.Error() == lastErr.Error():
			return nil, err
		case err == nil && lastErr == nil && os.SameFile(info, lastInfo) && info.ModTime().Equal(lastInfo.ModTime()) && bytes.Equal(src, last):
			return src, nil
		}
		last, lastInfo, lastErr = src, info, err
	}
	return nil, errRestless
}

// open opens certs/. Its absence is a fault of every file in it, and must not
// look like that of a next key.
func (c *certificates) open(t *Tree) {
	dir := t.Config.Paths.Certs
	c.ear = t.beside.ear("dir " + dir)
	c.store, c.unread = hear(c.ear, func() (*tlsa.Store, error) {
		if marker := t.Config.Sources["certs"].Marker; marker != "" {
			if _, err := os.Lstat(filepath.Join(dir, marker)); err != nil {
				return nil, fmt.Errorf("not mounted: %s is not there", marker)
			}
		}
		store, err := tlsa.OpenStore(dir)
		if err != nil {
			return nil, fmt.Errorf("%s: %s", dir, zone.PathlessError(err))
		}
		return store, nil
	}, func(s *tlsa.Store) { s.Close() })
	if errors.Is(c.unread, errMute) {
		c.unread = fmt.Errorf("%s: %w", dir, errMute)
	}
}

func (c *certificates) close() {
	if c.store != nil {
		c.store.Close()
		c.store = nil
	}
}

// keys reads the files of a group.
func (c *certificates) keys(g tlsa.Group) []tlsa.Keys {
	unread := c.unread
	if store := c.store; store != nil {
		out, err := hear(c.ear, func() ([]tlsa.Keys, error) { return store.Keys(g), nil }, nil)
		if err == nil {
			for i := range out { // the faults name the files
				out[i].Live.Err, out[i].Next.Err = errors.Unwrap(out[i].Live.Err), errors.Unwrap(out[i].Next.Err)
			}
			c.last.note(g, out)
			return out
		}
		unread = err
	}
	if c.last != nil && unheard(unread) {
		return c.last.keys(g, unread)
	}
	out := make([]tlsa.Keys, len(g.Lines))
	for i := range out {
		out[i].Live.Err, out[i].Next.Err = unread, unread
	}
	return out
}

func (c *certificates) of(apex domain.Name) *rollovers {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.made[apex]
}

func (c *certificates) set(apex domain.Name, r *rollovers) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.made[apex] = r
}

// certGuests are the TLSA records of a zone as its rollovers have them.
func (t *Tree) certGuests(apex domain.Name, _ []zone.Fragment) ([]zone.Fragment, diag.List) {
	if t.certs == nil {
		return nil, nil
	}
	r := t.certs.of(apex)
	if r == nil {
		return nil, nil
	}
	faults := slices.Clone(r.faults)
	var out []zone.Fragment
	owners := slices.Concat(r.owners, r.leftOwners)
	for i, g := range slices.Concat(r.groups, r.left) {
		f, err := tlsa.Set(owners[i].Set).Fragment(g)
		if err != nil { // cannot happen: a set is small
			faults.Warnf(g.Lines[0].Pos, "tlsa-file", g.Owner.String(), "%s", err)
			continue
		}
		out = append(out, f)
	}
	// A new fault is told even where it changes no record.
	out = append(out, zone.Fragment{
		Name: t.Config.Paths.CertsMap, Guest: true, Records: &rrset.Set{}, TTL: -1,
		Files: []zone.Source{{Name: "faults of certs.map", Digest: digestOfFaults(r.faults)}},
	})
	return out, faults
}

// digestOfFaults leaves out numbers: many of them are times.
func digestOfFaults(l diag.List) [sha256.Size]byte {
	number := regexp.MustCompile(`[0-9][0-9a-zA-Zµ:.\-]*`)
	h := sha256.New()
	for _, d := range l {
		fmt.Fprintf(h, "%s %s %s %s\n", d.Pos, d.Code, d.Owner, number.ReplaceAllString(d.Message, "#"))
	}
	return [sha256.Size]byte(h.Sum(nil))
}
