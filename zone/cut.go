package zone

import (
	"sync/atomic"

	"github.com/miekg/dns"

	"zonebuild/internal/domain"
)

// checkCuts judges what stands at and below zone cuts (RFC 2181 §6): glue that a
// name server in the zone needs (RFC 9471) and that is missing, and records
// that are no glue, which nobody would ever be answered.
func (c *checker) checkCuts() {
	glue := newBits(c.s.Len())
	var occluded atomic.Bool
	c.inRanges(func(c *checker, r span) {
		hides := false
		for n := range c.owners(r) {
			if n.below() {
				hides = true
				continue
			}
			from, to := c.typeIn(n, dns.TypeNS)
			for i := from; i < to; i++ {
				c.checkServer(i, c.s.Owner(n.lo), glue)
			}
			if n.cut >= 0 {
				hides = hides || n.hi > to || from > n.lo
			}
		}
		if hides {
			occluded.Store(true)
		}
	})
	if occluded.Load() {
		c.inRanges(func(c *checker, r span) { c.checkOccluded(r, glue) })
	}
}

// checkServer marks the addresses of the name server that NS record i names,
// and reports a server in the zone that has none.
func (c *checker) checkServer(i int, owner []byte, glue bits) {
	server := c.s.Rdata(i)
	if !domain.IsWithin(server, c.apex) {
		return
	}
	lo, hi := c.s.FindNear(server, i)
	for j := lo; j < hi; j++ {
		if isAddress(c.s.Type(j)) {
			glue.set(j)
		}
	}
	if c.incomplete || c.hasAddress(lo, hi) {
		return
	}
	name := domain.FromCanonical(server)
	atApex := len(owner) == len(c.apex)
	switch cut := c.cutAbove(server); {
	case cut >= 0 && domain.IsWithin(server, owner) && !atApex:
		c.errorf(i, "glue-missing", "NS %s is below this delegation and has no address here", name)
	case cut >= 0 && atApex:
		c.errorf(i, "glue-missing", "NS %s is below the delegation %s and has no address here", name, c.s.Name(cut))
	case cut >= 0:
		c.warnf(i, "glue-sibling", "NS %s is below the delegation %s and has no address here: it is found only while that one works", name, c.s.Name(cut))
	case atApex:
		if from, to, r := c.lookUp(server); r == absent || r == present && !c.hasAny(from, to, dns.TypeA, dns.TypeAAAA, dns.TypeCNAME) {
			c.errorf(i, "glue-missing", "NS %s is in this zone and has no address", name)
		}
	}
}

// checkOccluded refuses what a delegation hides: all but NS and DS at the cut,
// and glue.
func (c *checker) checkOccluded(r span, glue bits) {
	for n := range c.owners(r) {
		if n.cut < 0 {
			continue
		}
		for i := n.lo; i < n.hi; i = c.s.RRsetEnd(i) {
			t := c.s.Type(i)
			if isAddress(t) && (glue.has(i) || c.incomplete) || // the NS that makes it glue may be missing
				!n.below() && (t == dns.TypeNS || t == dns.TypeDS || t == dns.TypeCNAME) {
				continue // a CNAME beside the NS has a fault of its own
			}
			c.errorf(i, "occluded", "the delegation %s hides this %s record", c.s.Name(n.cut), TypeName(t)).At(c.s.Pos(n.cut), "the delegation")
		}
	}
}

func isAddress(typ uint16) bool { return typ == dns.TypeA || typ == dns.TypeAAAA }

// bits is a set of record indexes. Several cores may add to it, but not look
// at it meanwhile.
type bits []uint64

func newBits(n int) bits { return make(bits, (n+63)/64) }

func (b bits) set(i int)      { atomic.OrUint64(&b[i/64], 1<<(i%64)) }
func (b bits) has(i int) bool { return b[i/64]&(1<<(i%64)) != 0 }
