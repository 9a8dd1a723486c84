package zone

import (
	"github.com/miekg/dns"

	"zonebuild/internal/diag"
	"zonebuild/internal/domain"
	"zonebuild/internal/rrset"
)

// Rules are what a zone's policy asks of its records. The zero value asks
// nothing.
type Rules struct {
	Refresh uint32 // seconds before its expiration at which a signature is made anew; 0 = the zone is not signed
	MaxTTL  uint32 // seconds; 0 = no bound
	DNS01   bool   // challenges of an ACME CA are published in the zone
}

// checker runs the rules on sorted records: one function a rule, one code a
// kind of fault (docs/diagnostics.md). What the records do wrong is an error,
// what they may have been meant otherwise is a warning.
type checker struct {
	s     *rrset.Set
	name  domain.Name // of the apex
	apex  []byte      // the same in wire form
	soa   int         // index of the SOA record, -1 without one
	rules Rules

	rangeMin int  // records of a range that a core checks
	hasDNAME bool // some record is a DNAME

	incomplete bool // records are missing: rules about what is absent are silent
	faults     *diag.List
}

// errors runs the rules that stop a zone.
func (c *checker) errors() {
	c.checkSOA()
	c.checkApexNS()
	c.inRanges(func(c *checker, r span) {
		for lo := r.lo; lo < r.hi; {
			hi := c.s.OwnerEnd(lo)
			c.checkOwner(lo, hi)
			lo = hi
		}
	})
	c.checkBelowDNAME()
	c.checkCuts()
}

// checkOwner runs the rules that one owner can break by itself.
func (c *checker) checkOwner(lo, hi int) {
	c.checkCNAME(lo, hi)
	c.checkDNAME(lo, hi)
	c.checkWildcard(lo, hi)
	c.checkDS(lo, hi)
	for i := lo; i < hi; {
		end := c.s.RRsetEnd(i)
		c.checkSize(i, end)
		c.checkTTL(i)
		i = end
	}
}

func (c *checker) errorf(i int, code, format string, args ...any) *diag.Diagnostic {
	return c.faults.Errorf(c.s.Pos(i), code, c.s.Name(i).String(), format, args...)
}

func (c *checker) warnf(i int, code, format string, args ...any) *diag.Diagnostic {
	return c.faults.Warnf(c.s.Pos(i), code, c.s.Name(i).String(), format, args...)
}

// checkSOA wants one SOA, at the apex (RFC 1035 §5.2).
func (c *checker) checkSOA() {
	for i := range c.s.Len() {
		switch typ := c.s.Type(i); {
		case typ != dns.TypeSOA:
			c.hasDNAME = c.hasDNAME || typ == dns.TypeDNAME
		case c.s.Name(i) != c.name:
			c.errorf(i, "soa-not-apex", "SOA outside the apex %s", c.name)
		case c.soa >= 0:
			c.errorf(i, "soa-second", "second SOA").At(c.s.Pos(c.soa), "the first")
		default:
			c.soa = i
		}
	}
	if c.soa < 0 && !c.incomplete {
		c.faults.Errorf(c.somewhere(), "soa-missing", c.name.String(), "no SOA: it belongs in soa/")
	}
}

// somewhere is a place for a fault about something that is absent.
func (c *checker) somewhere() diag.Pos {
	if c.s.Len() == 0 {
		return diag.Pos{}
	}
	return diag.Pos{File: c.s.Pos(0).File}
}

// checkApexNS wants name servers at the apex (RFC 1035 §5.2).
func (c *checker) checkApexNS() {
	if lo, hi := c.s.FindRRset(c.apex, dns.TypeNS); lo == hi && !c.incomplete {
		pos := c.somewhere()
		if c.soa >= 0 {
			pos = c.s.Pos(c.soa)
		}
		c.faults.Errorf(pos, "ns-missing", c.name.String(), "no NS at the apex")
	}
}

// checkCNAME refuses other data beside a CNAME and a second CNAME
// (RFC 2181 §10.1).
func (c *checker) checkCNAME(lo, hi int) {
	first := -1
	for i := lo; i < hi; i++ {
		if c.s.Type(i) != dns.TypeCNAME {
			continue
		}
		if first >= 0 {
			c.errorf(i, "cname-second", "second CNAME").At(c.s.Pos(first), "the first")
			continue
		}
		first = i
		if other := otherType(c.s, lo, hi, dns.TypeCNAME); other >= 0 {
			c.errorf(i, "cname-other-data", "CNAME and other data").At(c.s.Pos(other), "other data")
		}
	}
}

func otherType(s *rrset.Set, lo, hi int, typ uint16) int {
	for i := lo; i < hi; i++ {
		if s.Type(i) != typ {
			return i
		}
	}
	return -1
}

// checkDNAME wants at most one DNAME at a name (RFC 6672 §2.4).
func (c *checker) checkDNAME(lo, hi int) {
	first := -1
	for i := lo; i < hi; i++ {
		if c.s.Type(i) != dns.TypeDNAME {
			continue
		}
		if first >= 0 {
			c.errorf(i, "dname-second", "second DNAME").At(c.s.Pos(first), "the first")
		}
		first = i
	}
}

// checkWildcard refuses owners whose leftmost label begins with an asterisk
// and is more than that, since signers and validators disagree whether such a
// name is a wildcard, so that a signature over it may hold for other names too;
// and NS and DS at a wildcard, whose meaning is undefined (RFC 4592 §4.2, §4.6).
func (c *checker) checkWildcard(lo, hi int) {
	owner := c.s.Owner(lo)
	switch {
	case len(owner) < 3 || owner[1] != '*':
	case isWildcardLike(owner):
		c.errorf(lo, "wildcard-like", "the label begins with an asterisk but is no wildcard")
	default:
		for i := lo; i < hi; i = c.s.RRsetEnd(i) {
			if t := c.s.Type(i); t == dns.TypeNS || t == dns.TypeDS {
				c.errorf(i, "wildcard-delegation", "%s at a wildcard: no delegation is made of it", TypeName(t))
			}
		}
	}
}

func isWildcardLike(owner []byte) bool { return owner[0] > 1 && owner[1] == '*' }

// checkDS refuses a DS at the apex, where it would be the parent's, and one
// without a delegation (RFC 4035 §2.4).
func (c *checker) checkDS(lo, hi int) {
	hasNS := false
	for i := lo; i < hi; i++ {
		switch c.s.Type(i) {
		case dns.TypeNS:
			hasNS = true
		case dns.TypeDS:
			switch {
			case c.s.Name(i) == c.name:
				c.errorf(i, "ds-at-apex", "DS at the apex: it belongs in the parent zone")
			case !hasNS && !c.incomplete: // NS sorts before DS
				c.errorf(i, "ds-without-ns", "DS without NS")
			}
		}
	}
}

// checkSize wants an RRset to fit into one message (RFC 1035 §4.2.2): header,
// question, and each record with a compressed owner.
func (c *checker) checkSize(lo, hi int) {
	if hi-lo == 1 && len(c.s.Rdata(lo)) < 32<<10 {
		return
	}
	if size := messageSize(c.s, c.s.Owner(lo), lo, hi); size > dns.MaxMsgSize {
		c.errorf(lo, "rrset-too-large", "the %d %s records need a message of %d octets, at most %d are possible", hi-lo, TypeName(c.s.Type(lo)), size, dns.MaxMsgSize)
	}
}

func messageSize(s *rrset.Set, owner []byte, lo, hi int) int {
	size := 12 + len(owner) + 4
	for i := lo; i < hi; i++ {
		size += recordSize(s, i)
	}
	return size
}

func recordSize(s *rrset.Set, i int) int { return 2 + 10 + len(s.Rdata(i)) }

// checkTTL wants signatures that outlive the caches of their RRset: one that is
// about to be replaced has the refresh time left (RFC 6781 §4.4.1).
func (c *checker) checkTTL(i int) {
	ttl, _ := c.s.TTL(i)
	switch {
	case c.rules.Refresh > 0 && ttl >= c.rules.Refresh:
		c.errorf(i, "ttl-refresh", "TTL %d is not below the policy's refresh of %d seconds: a cache would keep expired signatures", ttl, c.rules.Refresh)
	case c.rules.MaxTTL > 0 && ttl > c.rules.MaxTTL:
		c.warnf(i, "ttl-above-max", "TTL %d is more than the policy's max-ttl of %d seconds", ttl, c.rules.MaxTTL)
	}
}

// checkBelowDNAME refuses names below a DNAME: they would never be answered
// (RFC 6672 §2.4).
func (c *checker) checkBelowDNAME() {
	if !c.hasDNAME {
		return
	}
	var above domain.Name
	at := -1
	for n := range c.owners(span{0, c.s.Len()}) {
		name := c.s.Name(n.lo)
		if at >= 0 && name.IsBelow(above) {
			c.errorf(n.lo, "below-dname", "below a DNAME").At(c.s.Pos(at), "the DNAME")
			continue
		}
		if d, end := c.typeIn(n, dns.TypeDNAME); end > d {
			above, at = name, d
		}
	}
}
