package verify

import (
	"bytes"
	"slices"

	"github.com/miekg/dns"

	"zonebuild/internal/domain"
)

// role is what an owner name is to the zone.
type role uint8

const (
	authoritative role = iota
	cut                // has NS and is not the apex: a delegation point
	occluded           // below a delegation point or a DNAME: glue, or nothing at all
	hashed             // holds NSEC3 and its signatures only
	nothing            // holds no data of its own
)

// walker remembers what the canonical order of names makes of the next ones.
type walker struct {
	cut, dname []byte // of the last delegation point and DNAME
	dnameLine  uint32
	scratch    []rrset
	types      []uint16
	bitmap     []byte
}

// owners checks all records of one owner.
func (c *checker) owners(lo, hi int) {
	w := &c.walk
	name := c.owner(lo)
	line := c.recs[lo].line
	if !domain.IsWithin(name, c.apex) {
		c.errorf(line, "out-of-zone", name, "owner is outside the zone")
		return
	}
	sets, sigs := c.sets(w.scratch[:0], lo, hi)
	w.scratch = sets
	c.report.RRsets += len(sets)
	c.report.Signatures += sigs.hi - sigs.lo

	r := c.role(name, sets)
	c.structure(name, line, sets, r)
	if !c.report.Signed {
		return
	}
	switch r {
	case authoritative, cut:
		c.nsec.visit(c, name, line, sets, r)
		c.nsec3.visit(c, name, sets, lo, r)
	default:
		if s, ok := find(sets, dns.TypeNSEC); ok {
			c.errorf(c.recs[s.lo].line, "nsec-extra", name, "NSEC at a name that %s", reason(r))
		}
	}
	if s, ok := find(sets, dns.TypeNSEC3); ok {
		c.nsec3.add(c, name, s)
	}
	c.signatures(name, sets, sigs, r)
}

func reason(r role) string {
	if r == occluded {
		return "is not authoritative data"
	}
	return "has no other data"
}

func (c *checker) role(name []byte, sets []rrset) role {
	w := &c.walk
	if w.cut != nil && domain.IsWithin(name, w.cut) {
		return occluded
	}
	denial, other := false, false
	for _, s := range sets {
		switch s.typ {
		case dns.TypeNSEC3:
			denial = true
		case dns.TypeNSEC:
		default:
			other = true
		}
	}
	isApex := bytes.Equal(name, c.apex)
	switch {
	case denial && !other:
		return hashed
	case w.dname != nil && domain.IsWithin(name, w.dname):
		return occluded
	case !other && !isApex:
		return nothing
	}
	if d, ok := find(sets, dns.TypeDNAME); ok {
		w.dname, w.dnameLine = name, c.recs[d.lo].line
	}
	if _, ok := find(sets, dns.TypeNS); ok && !isApex {
		w.cut = name
		return cut
	}
	return authoritative
}

// structure checks what holds for unsigned zones too.
func (c *checker) structure(name []byte, line uint32, sets []rrset, r role) {
	isApex := bytes.Equal(name, c.apex)
	if r == occluded && (c.walk.cut == nil || !domain.IsWithin(name, c.walk.cut)) {
		c.errorf(line, "dname-below", name, "name is below a DNAME").At(c.pos(c.walk.dnameLine), "DNAME")
	}
	cname, hasCNAME := find(sets, dns.TypeCNAME)
	for _, s := range sets {
		first := c.recs[s.lo]
		for i := s.lo + 1; i < s.hi; i++ {
			if c.recs[i].ttl != first.ttl {
				c.errorf(c.recs[i].line, "ttl-mixed", name, "%s RRset has the TTLs %d and %d", typeText(s.typ), first.ttl, c.recs[i].ttl).
					At(c.pos(first.line), "other TTL")
				break
			}
		}
		switch s.typ {
		case dns.TypeSOA:
			if !isApex {
				c.errorf(first.line, "soa-second", name, "SOA below the apex")
			}
		case dns.TypeDNSKEY:
			if !isApex {
				c.errorf(first.line, "dnskey-misplaced", name, "DNSKEY at a name that is no apex")
			}
		case dns.TypeDS:
			if _, ok := find(sets, dns.TypeNS); isApex || !ok {
				c.errorf(first.line, "ds-misplaced", name, "DS at a name that is no delegation point")
			}
		case dns.TypeCNAME, dns.TypeDNAME:
			if s.hi-s.lo > 1 {
				c.errorf(c.recs[s.lo+1].line, "cname-multiple", name, "more than one %s", typeText(s.typ)).At(c.pos(first.line), "other record")
			}
		}
		if hasCNAME && !besideCNAME(s.typ) {
			c.errorf(c.recs[cname.lo].line, "cname-other-data", name, "CNAME and other data").
				At(c.pos(first.line), "other data")
			hasCNAME = false // once is enough
		}
	}
}

// besideCNAME gives the types that may stand beside a CNAME (RFC 4034 §3, §4;
// RFC 2535 §2.3.5 for KEY and NXT).
func besideCNAME(t uint16) bool {
	switch t {
	case dns.TypeCNAME, dns.TypeNSEC, dns.TypeNSEC3, dns.TypeKEY, dns.TypeSIG, dns.TypeNXT:
		return true
	}
	return false
}

// bitmapOf appends the types that a denial record of a name must list, in
// order (RFC 4035 §2.3, RFC 5155 §7.1). NSEC3 itself is never listed.
func (c *checker) bitmapOf(dst []uint16, sets []rrset, r role) []uint16 {
	start, signed := len(dst), false
	for _, s := range sets {
		if r == cut && s.typ != dns.TypeNS && s.typ != dns.TypeDS && s.typ != dns.TypeNSEC || s.typ == dns.TypeNSEC3 {
			continue
		}
		signed = signed || r != cut || s.typ != dns.TypeNS
		dst = append(dst, s.typ)
	}
	if signed {
		at, _ := slices.BinarySearch(dst[start:], dns.TypeRRSIG)
		dst = slices.Insert(dst, start+at, dns.TypeRRSIG)
	}
	return dst
}
