package dnssec

import (
	"bytes"
	"strconv"

	"github.com/miekg/dns"

	"zonebuild/internal/domain"
	"zonebuild/internal/rrset"
	"zonebuild/zone"
)

// quick compares RRsets with the lines of a published file in the order in which both
// come, without looking at what a line says: those of most owners are as they would be
// written now. What is any other is for the cursor beside it, which it never
// contradicts.
type quick struct {
	c     *cursor
	owner []byte // the one that was sought, as text
	found bool   // its lines are where they are expected
	at    uint32 // of the line to come
	end   uint32 // of the owner's lines
	text  []byte
}

// seek goes to an owner, which must not be before the last one sought. It does not
// move the cursor unless the owner is the next one.
func (q *quick) seek(owner []byte) {
	c := q.c
	if c.p == nil || q.found && bytes.Equal(c.owner, owner) {
		return
	}
	q.found = false
	g := c.g + 1
	if g >= len(c.p.groups) {
		return
	}
	q.owner = domain.AppendPresentation(q.owner[:0], owner)
	line := c.p.data[c.p.groups[g]:]
	if len(line) <= len(q.owner) || line[len(q.owner)] != '\t' || !bytes.Equal(line[:len(q.owner)], q.owner) {
		return
	}
	c.g, c.read, c.isAt = g, false, true
	c.owner = append(c.owner[:0], owner...)
	q.at, q.end, q.found = c.p.groups[g], c.p.end, true
	if g+1 < len(c.p.groups) {
		q.end = c.p.groups[g+1]
	}
}

// same finds the RRset [lo, hi) of s, which is signed, in the lines to come, with
// the signatures that the policy makes, none of which is due. It gives the place of
// all of it, and appends that of each signature and its expiration.
func (q *quick) same(p *Plan, s *rrset.Set, lo, hi int, signers []int, slots, expires []uint32) (at span, _, _ []uint32, ok bool) {
	typ := s.Type(lo)
	if !q.found || typ == dns.TypeSOA || typ == dns.TypeZONEMD {
		return at, slots, expires, false
	}
	ttl, _ := s.TTL(lo)
	rest := q.c.p.data[q.at:q.end]
	has := func(text []byte) bool {
		if !bytes.HasPrefix(rest, text) {
			return false
		}
		rest = rest[len(text):]
		return true
	}
	for i := lo; i < hi; i++ {
		q.text = zone.AppendRest(append(q.text[:0], q.owner...), ttl, typ, s.Rdata(i))
		if !has(q.text) {
			return at, slots, expires, false
		}
	}
	first := len(slots)
	for _, k := range signers {
		key := &p.keys[k]
		from := q.end - uint32(len(rest))
		q.text = append(q.text[:0], q.owner...)
		q.text = append(strconv.AppendUint(append(q.text, '\t'), uint64(ttl), 10), "\tIN\tRRSIG\t"...)
		q.text = append(append(q.text, zone.TypeName(typ)...), ' ')
		q.text = append(strconv.AppendUint(q.text, uint64(key.DNSKEY.Algorithm), 10), ' ')
		q.text = append(strconv.AppendUint(q.text, uint64(labels(s.Owner(lo))), 10), ' ')
		q.text = append(strconv.AppendUint(q.text, uint64(ttl), 10), ' ')
		const times = 2 * (14 + 1)
		if !has(q.text) || len(rest) < times || rest[14] != ' ' || rest[29] != ' ' || p.replaced[k] {
			return at, slots[:first], expires[:first], false
		}
		expiration, ok1 := parseInstant(rest[:14])
		inception, ok2 := parseInstant(rest[15:29])
		rest = rest[times:]
		q.text = append(strconv.AppendUint(q.text[:0], uint64(key.Tag), 10), ' ')
		q.text = append(append(q.text, q.c.apex...), ' ')
		if !ok1 || !ok2 || !has(q.text) || !p.keepsTimes(near(uint32(inception), p.now), near(uint32(expiration), p.now), s.Owner(lo), typ) {
			return at, slots[:first], expires[:first], false
		}
		n := bytes.IndexByte(rest, '\n')
		if n <= 0 {
			return at, slots[:first], expires[:first], false
		}
		rest = rest[n+1:]
		slots, expires = append(slots, from), append(expires, uint32(expiration))
	}
	at = span{q.at, q.end - uint32(len(rest))}
	q.at = at.to
	return at, slots, expires, true
}
