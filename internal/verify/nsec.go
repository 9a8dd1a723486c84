package verify

import (
	"bytes"
	"slices"
	"strings"

	"github.com/miekg/dns"

	"zonebuild/internal/domain"
)

// readDenial finds which denial of existence the zone has. A zone on the way
// from one to the other may have both (RFC 5155 §10.4, §10.5); then both must
// be whole.
func (c *checker) readDenial(lo, hi int) {
	sets, _ := c.sets(nil, lo, hi)
	_, hasNSEC := find(sets, dns.TypeNSEC)
	params, hasParams := find(sets, dns.TypeNSEC3PARAM)
	c.nsec3.on = hasParams || c.count.nsec3 > 0 && !hasNSEC
	c.nsec.on = hasNSEC || !c.nsec3.on
	switch {
	case c.nsec3.on:
		c.report.Denial = DenialNSEC3
		c.nsec3.start(c, params, hasParams)
	case c.count.nsec > 0:
		c.report.Denial = DenialNSEC
	default:
		c.errorf(0, "nsec-missing", c.apex, "zone has neither NSEC nor NSEC3")
		c.nsec.on = false
	}
}

// nsecChain is the chain of NSEC records (RFC 4034 §4, RFC 4035 §2.3).
type nsecChain struct {
	on   bool
	prev int // index of the last NSEC plus 1; 0 if its name had none

	behindGap map[string]bool // owners in an excerpt before which others were left out
	open      bool            // others were left out at its end
}

// visit takes the next name in canonical order that is authoritative or a
// delegation point: each has one NSEC, whose next name is the next one.
func (n *nsecChain) visit(c *checker, name []byte, line uint32, sets []rrset, r role) {
	set, ok := find(sets, dns.TypeNSEC)
	if !n.on {
		if ok {
			c.errorf(c.recs[set.lo].line, "nsec-extra", name, "NSEC in a zone that has none at its apex")
		}
		return
	}
	if !n.behindGap[string(name)] {
		n.link(c, name)
	}
	n.prev = 0
	if !ok {
		c.errorf(line, "nsec-missing", name, "name has no NSEC")
		return
	}
	n.prev = set.lo + 1
	nsec := c.recs[set.lo]
	if set.hi-set.lo > 1 {
		c.errorf(c.recs[set.lo+1].line, "nsec-extra", name, "second NSEC").At(c.pos(nsec.line), "first NSEC")
	}
	if nsec.ttl != c.minTTL {
		c.errorf(nsec.line, "nsec-ttl", name, "NSEC has TTL %d, not %d: the lesser of the SOA's TTL and minimum (RFC 9077)", nsec.ttl, c.minTTL)
	}
	b := c.rdata(set.lo)
	k, _ := domain.WireLen(b)
	c.bitmap("nsec-bitmap", "NSEC", name, nsec.line, b[k:], sets, r)
}

// link compares the next name of the NSEC before with the name that came.
func (n *nsecChain) link(c *checker, name []byte) {
	if n.prev == 0 {
		return
	}
	i := n.prev - 1
	b := c.rdata(i)
	k, _ := domain.WireLen(b)
	// Its case is as the signer had it; names are the same in any case.
	next := domain.ToLower(bytes.Clone(b[:k]))
	if !bytes.Equal(next, name) {
		c.errorf(c.recs[i].line, "nsec-chain", c.owner(i), "next name is %s, not %s", nameText(next), nameText(name))
	}
}

// finish closes the chain at the apex.
func (n *nsecChain) finish(c *checker) {
	if n.on && !n.open {
		n.link(c, c.apex)
	}
}

// bitmap compares a type bit map with the types that are there.
func (c *checker) bitmap(code, what string, name []byte, line uint32, got []byte, sets []rrset, r role) {
	w := &c.walk
	w.types = c.bitmapOf(w.types[:0], sets, r)
	w.bitmap = appendBitmap(w.bitmap[:0], w.types)
	if bytes.Equal(got, w.bitmap) {
		return
	}
	have, _ := bitmapTypes(nil, got)
	var wrong []string
	for _, t := range have {
		if !slices.Contains(w.types, t) {
			wrong = append(wrong, "lists "+typeText(t)+", which is not there")
		}
	}
	for _, t := range w.types {
		if !slices.Contains(have, t) {
			wrong = append(wrong, "lacks "+typeText(t))
		}
	}
	c.errorf(line, code, name, "%s %s", what, strings.Join(wrong, ", "))
}
