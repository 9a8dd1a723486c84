package zone

import (
	"github.com/miekg/dns"

	"zonebuild/internal/domain"
)

// reach is what a zone knows of a name that one of its records points to.
type reach uint8

const (
	elsewhere reach = iota // outside the apex, under a zone cut or a DNAME: not ours to say
	absent                 // neither the name nor a wildcard for it
	present                // records that answer for it; none for an empty non-terminal
)

// lookUp finds the records that answer for a name (RFC 1034 §4.3.2, RFC 4592
// §3.3): its own, or those of the wildcard at its closest encloser.
func (c *checker) lookUp(name []byte) (lo, hi int, r reach) {
	if c.cutAbove(name) >= 0 || !domain.IsWithin(name, c.apex) {
		return 0, 0, elsewhere
	}
	if lo, hi = c.s.Find(name); lo < hi || c.exists(lo, name) {
		return lo, hi, present
	}
	for encloser := parent(name); ; encloser = parent(encloser) {
		at, end := c.s.Find(encloser)
		if at == end && !c.exists(at, encloser) {
			continue // the apex exists: the loop ends
		}
		if dnameAt, e := c.s.FindRRset(encloser, dns.TypeDNAME); e > dnameAt {
			return 0, 0, elsewhere
		}
		if lo, hi = c.s.Find(wildcardOf(encloser)); lo < hi {
			return lo, hi, present
		}
		return lo, lo, absent
	}
}

// exists reports whether name is an empty non-terminal; at is where its records would
// stand, and there those below it do.
func (c *checker) exists(at int, name []byte) bool {
	return at < c.s.Len() && domain.IsWithin(c.s.Owner(at), name)
}

// cutAbove is the NS record of the highest zone cut at or above a name, -1
// without one. The apex is no cut.
func (c *checker) cutAbove(name []byte) int {
	found := -1
	for n := name; domain.IsWithin(n, c.apex) && len(n) > len(c.apex); n = parent(n) {
		if lo, hi := c.s.FindRRset(n, dns.TypeNS); hi > lo {
			found = lo
		}
	}
	return found
}

// parent is a wire name without its leftmost label; the root has none.
func parent(name []byte) []byte { return name[1+int(name[0]):] }

func wildcardOf(encloser []byte) []byte { return append([]byte{1, '*'}, encloser...) }

// target is the name that a record sends its reader to, nil for other types and
// for "." where that means "nowhere" (RFC 7505, RFC 2782, RFC 9460 §2.5).
func target(typ uint16, rdata []byte) []byte {
	var name []byte
	switch typ {
	case dns.TypeNS, dns.TypeCNAME:
		return rdata
	case dns.TypeMX:
		name = rdata[2:]
	case dns.TypeSRV:
		name = rdata[6:]
	case dns.TypeSVCB, dns.TypeHTTPS:
		n, err := domain.WireLen(rdata[2:])
		if err != nil {
			return nil // a form that RFC 3597 let through
		}
		name = domain.ToLower(append([]byte(nil), rdata[2:2+n]...))
	}
	if len(name) <= 1 {
		return nil
	}
	return name
}

// hasAddress reports whether records lo to hi hold an A or AAAA.
func (c *checker) hasAddress(lo, hi int) bool { return c.hasAny(lo, hi, dns.TypeA, dns.TypeAAAA) }

func (c *checker) hasAny(lo, hi int, types ...uint16) bool {
	for i := lo; i < hi; i++ {
		for _, t := range types {
			if c.s.Type(i) == t {
				return true
			}
		}
	}
	return false
}
