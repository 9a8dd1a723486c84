package build

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"slices"

	"github.com/miekg/dns"

	"zonebuild/internal/config"
	"zonebuild/internal/dnssec"
	"zonebuild/internal/domain"
	"zonebuild/internal/rrset"
	"zonebuild/primary"
	"zonebuild/tlsa"
	"zonebuild/zone"
)

// handTLSA are the TLSA records of primary/ at the owners of the map.
type handTLSA struct {
	Of   string     `json:"of,omitempty"` // digest of the files and of the owners
	Sets []ownerSet `json:"sets,omitempty"`

	Covered []covered `json:"covered,omitempty"`
}

// ownerSet is a TLSA RRset.
type ownerSet struct {
	Owner   domain.Name   `json:"owner"`
	TTL     uint32        `json:"ttl,omitempty"`
	Records []tlsa.Record `json:"records,omitempty"`
	Addrs   []netip.Addr  `json:"addresses,omitempty"` // of the host, in a published zone
	AddrTTL uint32        `json:"address_ttl,omitempty"`
	Stands  bool          `json:"host_stands,omitempty"` // the zone has the host, if only by a wildcard or an alias
}

// publishedTLSA is what the published zone holds for the owners of the map: a run
// that changes nothing need not read the zone.
type publishedTLSA struct {
	Of   FileID     `json:"of"` // the published file
	Sets []ownerSet `json:"sets"`

	Searched bool       `json:"searched,omitempty"` // All are all TLSA RRsets of the file
	All      []ownerSet `json:"all,omitempty"`
}

func findSet(list []ownerSet, owner domain.Name) (ownerSet, bool) {
	i := slices.IndexFunc(list, func(s ownerSet) bool { return s.Owner == owner })
	if i < 0 {
		return ownerSet{Owner: owner}, false
	}
	return list[i], true
}

// handTLSA finds the hand-written records at the owners of groups. They are parsed
// only when the files changed and speak of TLSA at all. It is not ok when the files
// cannot be read: then nobody knows which of the published records are whose.
func (t *Tree) handTLSA(z *config.Zone, groups []tlsa.Group, was handTLSA) (is handTLSA, ok bool) {
	if t.held { // the files are in other hands, or do not answer
		all, ok := t.keptPrimary(z)
		if !ok {
			return was, false
		}
		is.find(all, groups, z.Name)
		return is, true
	}
	var files [][]byte
	speaks, includes := false, false
	for _, name := range z.Primary {
		src, err := zone.ReadFile(t.files, name)
		if err != nil {
			return was, false
		}
		files = append(files, src)
		includes = includes || primary.HasInclude(src)
		speaks = speaks || includes || mentions(src, "TLSA") || mentions(src, "TYPE52")
	}
	if !speaks {
		return handTLSA{}, true
	}
	h := sha256.New()
	for _, g := range groups {
		fmt.Fprintln(h, g.Owner)
	}
	for i, name := range z.Primary {
		fmt.Fprintln(h, name, len(files[i]))
		h.Write(files[i])
	}
	is.Of = hex.EncodeToString(h.Sum(nil))
	if is.Of == was.Of && !includes {
		return was, true
	}
	var all []*rrset.Set
	for _, name := range z.Primary {
		f, faults := primary.Load(t.files, name, z.Name)
		if faults.HasErrors() || f.Records == nil {
			return was, false
		}
		all = append(all, f.Records.Sorted())
	}
	is.find(all, groups, z.Name)
	return is, true
}

// find takes what records of primary/ say, which are sorted.
func (is *handTLSA) find(all []*rrset.Set, groups []tlsa.Group, apex domain.Name) {
	for _, s := range all {
		for _, g := range groups {
			if lo, hi := s.FindRRset([]byte(g.Owner.Wire()), dns.TypeTLSA); lo < hi {
				is.Sets = append(is.Sets, ownerSet{Owner: g.Owner, Records: recordsIn(s, lo, hi)})
			}
		}
	}
	for _, g := range groups {
		if by, ok := coveredBy(all, g.Owner, apex); ok {
			is.Covered = append(is.Covered, covered{g.Owner, by})
		}
	}
}

// keptPrimary are the records of primary/ as they were read last, sorted; not ok: they
// were not, or had faults.
func (t *Tree) keptPrimary(z *config.Zone) (all []*rrset.Set, ok bool) {
	t.keptMu.Lock()
	k := t.kept[z.Name]
	t.keptMu.Unlock()
	if k == nil || k.faults.HasErrors() {
		return nil, false
	}
	for _, f := range k.fragments {
		if slices.Contains(z.Primary, f.Name) && f.Records != nil {
			all = append(all, f.Records.Sorted())
		}
	}
	return all, true
}

// handWritten are the records of primary/, as far as they can be read.
func (t *Tree) handWritten(z *config.Zone) *rrset.Set {
	var sets []*rrset.Set
	if t.held {
		sets, _ = t.keptPrimary(z)
	} else {
		for _, name := range z.Primary {
			if f, _ := primary.Load(t.files, name, z.Name); f.Records != nil {
				sets = append(sets, f.Records)
			}
		}
	}
	all, err := rrset.Sort(sets...)
	if err != nil {
		return &rrset.Set{}
	}
	return all
}

// mentions reports whether a text holds a word of capitals, in any case.
func mentions(src []byte, word string) bool {
	for _, first := range []byte{word[0], word[0] | 0x20} {
		for rest := src; ; rest = rest[1:] {
			i := bytes.IndexByte(rest, first)
			if i < 0 || len(rest)-i < len(word) {
				break
			}
			if rest = rest[i:]; bytes.EqualFold(rest[:len(word)], []byte(word)) {
				return true
			}
		}
	}
	return false
}

func recordsIn(s *rrset.Set, lo, hi int) []tlsa.Record {
	var out []tlsa.Record
	for i := lo; i < hi; i++ {
		if r, err := tlsa.FromRdata(s.Rdata(i)); err == nil && !slices.Contains(out, r) {
			out = append(out, r)
		}
	}
	return out
}

// publishedReader knows the published zone of a job, and reads it only if it must.
type publishedReader struct {
	tree  *Tree
	j     *job
	cache *publishedTLSA
	prev  *dnssec.Previous
	err   error
	read  bool
}

// reader of the published zone of a job.
func (p *pass) reader(j *job) *publishedReader {
	if j.reader == nil {
		j.reader = &publishedReader{tree: p.tree, j: j}
	}
	return j.reader
}

// of is the RRset at the owner of a group, and the addresses of its host. Errors:
// what was published cannot be read back.
func (p *publishedReader) of(g tlsa.Group) (ownerSet, error) {
	head := &p.j.head
	if p.cache == nil {
		p.cache = &publishedTLSA{Of: head.id}
		if was := p.j.state.TLSA; was != nil && head.err == nil && was.Of == head.id {
			*p.cache = *was
		}
	}
	if s, ok := findSet(p.cache.Sets, g.Owner); ok {
		return s, nil
	}
	if !p.read {
		p.read = true
		p.prev, p.err = p.tree.Previous(p.j.z.Name)
	}
	s := ownerSet{Owner: g.Owner}
	switch {
	case errors.Is(p.err, fs.ErrNotExist):
		s.Stands = true // for all one knows
		return s, nil
	case p.err != nil:
		return s, p.err
	}
	set, err := p.prev.RRset(g.Owner, dns.TypeTLSA)
	if err != nil {
		return s, err
	}
	s.fill(set, 0, set.Len())
	for _, typ := range []uint16{dns.TypeA, dns.TypeAAAA} {
		set, err := p.prev.RRset(g.Host, typ)
		if err != nil {
			return s, err
		}
		s.addresses(set, 0, set.Len())
	}
	if err := s.stands(p.prev, g.Host, p.j.z.Name); err != nil {
		return s, err
	}
	if head.err == nil && p.prev.Serial() == head.serial {
		p.cache.Sets = append(p.cache.Sets, s)
		p.j.state.TLSA = p.cache
	}
	return s, nil
}

func (o *ownerSet) fill(s *rrset.Set, lo, hi int) {
	if lo == hi {
		return
	}
	o.TTL, _ = s.TTL(lo)
	o.Records = recordsIn(s, lo, hi)
}

func (o *ownerSet) addresses(s *rrset.Set, lo, hi int) {
	for i := lo; i < hi; i++ {
		if a, ok := netip.AddrFromSlice(s.Rdata(i)); ok {
			o.Addrs = append(o.Addrs, a)
			ttl, _ := s.TTL(i)
			o.AddrTTL = max(o.AddrTTL, ttl)
		}
	}
}

// tlsaOf is what a zone that is about to be published holds for the owners of the
// map; nil = it has none.
func (t *Tree) tlsaOf(j *job, z *zone.Zone) *publishedTLSA {
	if t.certs == nil {
		return nil
	}
	groups := t.certs.groups[j.z.Name]
	if r := t.certs.of(j.z.Name); r != nil {
		groups = slices.Concat(groups, r.left)
	}
	if len(groups) == 0 {
		return nil
	}
	is := &publishedTLSA{}
	s := z.Records()
	for _, g := range groups {
		o := ownerSet{Owner: g.Owner}
		lo, hi := s.FindRRset([]byte(g.Owner.Wire()), dns.TypeTLSA)
		o.fill(s, lo, hi)
		for _, typ := range []uint16{dns.TypeA, dns.TypeAAAA} {
			lo, hi := s.FindRRset([]byte(g.Host.Wire()), typ)
			o.addresses(s, lo, hi)
		}
		for _, name := range standing(g.Host, j.z.Name) {
			for _, typ := range standingTypes {
				lo, hi := s.FindRRset([]byte(name.Wire()), typ)
				o.Stands = o.Stands || lo < hi
			}
		}
		is.Sets = append(is.Sets, o)
	}
	return is
}

// rememberTLSA notes that of the file that was just published.
func (j *job) rememberTLSA(is *publishedTLSA) {
	if j.state.TLSA = nil; is == nil || j.head.err != nil {
		return
	}
	is.Of = j.head.id
	j.state.TLSA = is
}
