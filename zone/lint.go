package zone

import (
	"bytes"
	"encoding/binary"
	"strings"
	"sync/atomic"

	"github.com/miekg/dns"

	"zonebuild/internal/domain"
)

// dns01MaxNegativeTTL is how long a resolver may remember that a challenge was
// not there yet: five minutes, after which most ACME clients have given up.
const dns01MaxNegativeTTL = 300

// warnings runs the rules about what is allowed and rarely meant.
func (c *checker) warnings() {
	var challenges atomic.Bool
	c.inRanges(func(c *checker, r span) {
		for n := range c.owners(r) {
			if bytes.HasPrefix(c.s.Owner(n.lo), []byte("\x0f_acme-challenge")) {
				challenges.Store(true)
			}
			c.checkRepeated(n.lo)
			c.checkWildcardHidden(n.lo)
			for i := n.lo; i < n.hi; i++ {
				c.checkTarget(i, n)
				c.checkSPF(i)
			}
		}
	})
	if c.soa >= 0 {
		c.checkExpire()
		if c.rules.DNS01 || challenges.Load() {
			c.checkNegativeTTL()
		}
	}
}

// checkRepeated notices an owner that ends with the apex twice: the final dot
// was forgotten.
func (c *checker) checkRepeated(lo int) {
	if c.repeatsApex(c.s.Owner(lo)) {
		c.warnf(lo, "apex-repeated", "the name holds the apex twice: is a final dot missing?")
	}
}

func (c *checker) repeatsApex(name []byte) bool {
	n := len(name) - len(c.apex)
	if len(c.apex) == 1 || n <= 0 || !domain.IsWithin(name, c.apex) {
		return false
	}
	stem := name[:n]
	a := c.apex[:len(c.apex)-1] // without the root label
	if !bytes.HasSuffix(stem, a) {
		return false
	}
	for i := 0; i <= len(stem)-len(a); i += 1 + int(stem[i]) { // at a label's begin
		if i == len(stem)-len(a) {
			return true
		}
	}
	return false
}

// checkTarget looks at where a record sends its reader, as far as this zone
// knows: to a name that does not exist, or, for MX and NS, to an alias
// (RFC 2181 §10.3).
func (c *checker) checkTarget(i int, n named) {
	typ := c.s.Type(i)
	to := target(typ, c.s.Rdata(i))
	if to == nil || c.incomplete || !domain.IsWithin(to, c.apex) {
		return
	}
	if c.repeatsApex(to) {
		c.warnf(i, "apex-repeated", "%s %s: the name holds the apex twice: is a final dot missing?", TypeName(typ), domain.FromCanonical(to))
		return
	}
	if n.cut >= 0 && domain.IsWithin(to, c.s.Owner(n.cut)) {
		return // into the delegated zone, as lookUp would find out
	}
	lo, hi, r := c.lookUp(to)
	if r == elsewhere || typ == dns.TypeNS && c.isApex(i) && !c.hasAny(lo, hi, dns.TypeCNAME) {
		return // the servers of the apex are an error's business
	}
	switch {
	case r == absent:
		c.warnf(i, "target-missing", "%s %s: no such name in this zone", TypeName(typ), domain.FromCanonical(to))
	case typ == dns.TypeCNAME:
		if lo == hi {
			c.warnf(i, "target-missing", "%s %s: the name has no records", TypeName(typ), domain.FromCanonical(to))
		}
	case c.hasAny(lo, hi, dns.TypeCNAME):
		if typ == dns.TypeMX || typ == dns.TypeNS {
			c.warnf(i, "target-cname", "%s %s is an alias: write the name that it stands for", TypeName(typ), domain.FromCanonical(to))
		}
	case !c.hasAddress(lo, hi):
		c.warnf(i, "target-missing", "%s %s: the name has no address", TypeName(typ), domain.FromCanonical(to))
	}
}

func (c *checker) isApex(i int) bool { return len(c.s.Owner(i)) == len(c.apex) }

// checkWildcardHidden notices an owner such as _25._tcp.mail or
// _acme-challenge.www whose empty non-terminal makes a name exist for which a
// wildcard answered before (RFC 4592 §2.2.2): it has no addresses any more.
func (c *checker) checkWildcardHidden(lo int) {
	var previous, made []byte // made: the highest name that exists for this owner's sake
	if lo > 0 {
		previous = c.s.Owner(lo - 1)
	}
	encloser := c.s.Owner(lo)
	for len(encloser) > len(c.apex) && !domain.IsWithin(previous, encloser) {
		made, encloser = encloser, parent(encloser)
	}
	if made == nil || bytes.Equal(made, c.s.Owner(lo)) {
		return
	}
	if w, end := c.s.Find(wildcardOf(encloser)); end > w {
		c.warnf(lo, "wildcard-hidden", "makes %s exist, so that the wildcard %s no longer answers for it", domain.FromCanonical(made), c.s.Name(w)).
			At(c.s.Pos(w), "the wildcard")
	}
}

// checkSPF notices an SPF record in several strings: they are joined without a
// space (RFC 7208 §3.3), which many an author did not know.
func (c *checker) checkSPF(i int) {
	if t := c.s.Type(i); t != dns.TypeTXT && t != dns.TypeSPF {
		return
	}
	rdata := c.s.Rdata(i)
	first := int(rdata[0])
	if first+1 == len(rdata) || !strings.HasPrefix(strings.ToLower(string(rdata[1:1+first])), "v=spf1") {
		return
	}
	total := 0
	for at := 0; at < len(rdata); at += 1 + int(rdata[at]) {
		total += int(rdata[at])
	}
	c.warnf(i, "spf-split", "the SPF text of %d octets is split into strings, which are joined without a space", total)
}

// checkExpire wants a secondary that lost its primary to stop before it serves
// expired signatures (RFC 6781 §4.4.1).
func (c *checker) checkExpire() {
	rdata := c.s.Rdata(c.soa)
	expire := binary.BigEndian.Uint32(rdata[len(rdata)-8:])
	if r := c.rules; r.Refresh > r.MaxTTL && expire > r.Refresh-r.MaxTTL {
		c.warnf(c.soa, "soa-expire", "EXPIRE %d is more than refresh minus max-ttl (%d seconds): a secondary would serve expired signatures", expire, r.Refresh-r.MaxTTL)
	}
}

// checkNegativeTTL wants resolvers to forget quickly that a challenge was not
// there (RFC 2308 §5).
func (c *checker) checkNegativeTTL() {
	rdata := c.s.Rdata(c.soa)
	ttl, _ := c.s.TTL(c.soa)
	if negative := min(ttl, binary.BigEndian.Uint32(rdata[len(rdata)-4:])); negative > dns01MaxNegativeTTL {
		c.warnf(c.soa, "negative-ttl", "the negative TTL of %d seconds (MINIMUM, or the SOA's own TTL) is more than %d: challenges of dns-01 are seen late", negative, dns01MaxNegativeTTL)
	}
}
