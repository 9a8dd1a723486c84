package verify

import (
	"bytes"
	"cmp"
	"crypto/sha1"
	"encoding/base32"
	"encoding/binary"
	"slices"
	"sort"
	"strings"

	"github.com/miekg/dns"

	"zonebuild/internal/domain"
)

// maxIterations is the most that RFC 5155 §10.3 allows for any key; beyond it
// nothing is hashed.
const maxIterations = 2500

type hash [sha1.Size]byte

func (h hash) String() string {
	return strings.ToLower(base32.HexEncoding.WithPadding(base32.NoPadding).EncodeToString(h[:]))
}

// hashedName is a name that may or must have an NSEC3 record: an owner, or an
// empty non-terminal above it.
type hashedName struct {
	hash     hash
	first    uint32 // index of the first record of the owner
	strip    uint8  // labels that an empty non-terminal is above it
	role     role
	optional bool // insecure delegation, or only above such
	found    bool
}

// nsec3Record is an NSEC3 record of the zone.
type nsec3Record struct {
	hash  hash
	rec   uint32
	named bool
}

// nsec3Chain is the chain of NSEC3 records (RFC 5155 §7.1).
type nsec3Chain struct {
	on      bool
	broken  bool   // parameters that nothing can be hashed with
	params  []byte // hash algorithm, iterations, salt with its length
	names   []hashedName
	open    []int // empty non-terminals above the last name, outermost first
	last    []byte
	records []nsec3Record
	optOut  bool
}

// start reads the NSEC3PARAM set of the apex (RFC 5155 §4).
func (n *nsec3Chain) start(c *checker, set rrset, ok bool) {
	i := -1
	if ok {
		i = set.lo
		if set.hi-set.lo > 1 {
			c.errorf(c.recs[set.lo+1].line, "nsec3param", c.apex, "more than one NSEC3PARAM").At(c.pos(c.recs[set.lo].line), "other one")
		}
		if flags := c.rdata(i)[1]; flags != 0 {
			c.errorf(c.recs[i].line, "nsec3param", c.apex, "NSEC3PARAM has flags %d: name servers do not use it", flags)
		}
	} else {
		i = slices.IndexFunc(c.recs, func(r rec) bool { return r.typ == dns.TypeNSEC3 })
		c.errorf(c.recs[i].line, "nsec3param", c.apex, "zone has NSEC3 records but no NSEC3PARAM")
	}
	n.params = nsec3Params(c.rdata(i))
	line := c.recs[i].line
	if algorithm := n.params[0]; algorithm != dns.SHA1 {
		c.errorf(line, "nsec3-params", c.apex, "cannot check NSEC3 records: unknown hash algorithm %d", algorithm)
		n.broken = true
	}
	switch iterations := n.iterations(); {
	case iterations > maxIterations:
		c.errorf(line, "nsec3-iterations", c.apex, "%d NSEC3 iterations, RFC 5155 allows %d at most", iterations, maxIterations)
		n.broken = true
	case iterations > 0:
		c.warnf(line, "nsec3-iterations", c.apex, "%d NSEC3 iterations: validators may treat the zone as insecure (RFC 9276 wants 0)", iterations)
	}
}

// nsec3Params gives the parameters in NSEC3 or NSEC3PARAM rdata, without flags.
func nsec3Params(b []byte) []byte {
	return append([]byte{b[0]}, b[2:5+int(b[4])]...)
}

func (n *nsec3Chain) iterations() int { return int(binary.BigEndian.Uint16(n.params[1:])) }

// hashOf is RFC 5155 §5.
func (n *nsec3Chain) hashOf(name []byte) hash {
	var room [domain.MaxWire + 255]byte
	salt := n.params[4:]
	h := sha1.Sum(append(append(room[:0], name...), salt...))
	for range n.iterations() {
		h = sha1.Sum(append(append(room[:0], h[:]...), salt...))
	}
	return h
}

// visit takes the next name in canonical order that is authoritative or a
// delegation point, and the empty non-terminals that it makes.
func (n *nsec3Chain) visit(c *checker, name []byte, sets []rrset, first int, r role) {
	if !n.on || n.broken {
		return
	}
	optional := false
	if r == cut {
		_, secure := find(sets, dns.TypeDS)
		optional = !secure
	}
	for len(n.open) > 0 && !domain.IsWithin(name, n.wire(c, n.names[n.open[len(n.open)-1]])) {
		n.open = n.open[:len(n.open)-1]
	}
	if !optional {
		for _, i := range n.open {
			n.names[i].optional = false
		}
	}
	for strip := domain.CountLabels(name) - domain.CountLabels(c.apex) - 1; strip > 0; strip-- {
		if above := above(name, strip); n.last == nil || !domain.IsWithin(n.last, above) {
			n.open = append(n.open, len(n.names))
			n.names = append(n.names, hashedName{first: uint32(first), strip: uint8(strip), optional: optional})
		}
	}
	n.names = append(n.names, hashedName{first: uint32(first), role: r, optional: optional})
	n.last = name
}

// above takes so many labels off a name.
func above(name []byte, labels int) []byte {
	for range labels {
		name = name[1+int(name[0]):]
	}
	return name
}

func (n *nsec3Chain) wire(c *checker, h hashedName) []byte {
	return above(c.owner(int(h.first)), int(h.strip))
}

// add takes the NSEC3 set of a name.
func (n *nsec3Chain) add(c *checker, name []byte, set rrset) {
	r := c.recs[set.lo]
	if !n.on {
		c.errorf(r.line, "nsec3-extra", name, "NSEC3 in a zone that has no NSEC3PARAM")
		return
	}
	if n.broken {
		return
	}
	if set.hi-set.lo > 1 {
		c.errorf(c.recs[set.lo+1].line, "nsec3-extra", name, "second NSEC3").At(c.pos(r.line), "first NSEC3")
	}
	h, ok := appendBase32(nil, name[1:1+int(name[0])])
	if !ok || len(h) != len(hash{}) || !bytes.Equal(above(name, 1), c.apex) {
		c.errorf(r.line, "nsec3-hash", name, "owner of NSEC3 is no hash at the apex")
		return
	}
	b := c.rdata(set.lo)
	if !bytes.Equal(nsec3Params(b), n.params) {
		c.errorf(r.line, "nsec3-params", name, "hash algorithm, iterations or salt of NSEC3 are not those of the NSEC3PARAM")
		return
	}
	if b[1]&^1 != 0 {
		c.errorf(r.line, "nsec3-params", name, "NSEC3 has unknown flags %d", b[1])
	}
	n.optOut = n.optOut || b[1]&1 != 0
	if r.ttl != c.minTTL {
		c.errorf(r.line, "nsec3-ttl", name, "NSEC3 has TTL %d, not %d: the lesser of the SOA's TTL and minimum (RFC 9077)", r.ttl, c.minTTL)
	}
	n.records = append(n.records, nsec3Record{hash: hash(h), rec: uint32(set.lo)})
}

// finish compares the names with the records, both in the order of hashes.
func (n *nsec3Chain) finish(c *checker) {
	if !n.on || n.broken {
		return
	}
	if n.optOut {
		c.report.Denial = DenialOptOut
	}
	parallel((len(n.names)+blockSize-1)/blockSize, func() func(int) {
		return func(b int) {
			for i := b * blockSize; i < min((b+1)*blockSize, len(n.names)); i++ {
				n.names[i].hash = n.hashOf(n.wire(c, n.names[i]))
			}
		}
	})
	slices.SortFunc(n.records, func(a, b nsec3Record) int { return bytes.Compare(a.hash[:], b.hash[:]) })
	slices.SortFunc(n.names, func(a, b hashedName) int {
		return cmp.Or(bytes.Compare(a.hash[:], b.hash[:]), cmp.Compare(a.first, b.first), cmp.Compare(a.strip, b.strip))
	})
	n.match(c)
	n.aboveFound(c)
	for i, r := range n.records {
		b := c.rdata(int(r.rec))
		next := b[5+int(b[4]):]
		next = next[1 : 1+int(next[0])]
		want := n.records[(i+1)%len(n.records)].hash
		line, owner := c.recs[r.rec].line, c.owner(int(r.rec))
		if !bytes.Equal(next, want[:]) {
			c.errorf(line, "nsec3-chain", owner, "next hash is not %s", want)
		}
		if !r.named {
			c.errorf(line, "nsec3-extra", owner, "no name of the zone has this hash")
		}
	}
}

// match finds the record of each name.
func (n *nsec3Chain) match(c *checker) {
	k := 0
	for i := range n.names {
		h := &n.names[i]
		for k < len(n.records) && bytes.Compare(n.records[k].hash[:], h.hash[:]) < 0 {
			k++
		}
		if i > 0 && n.names[i-1].hash == h.hash {
			c.errorf(c.recs[h.first].line, "nsec3-hash", n.wire(c, *h), "hash is the same as that of %s: the zone needs another salt",
				nameText(n.wire(c, n.names[i-1])))
		}
		if k == len(n.records) || n.records[k].hash != h.hash {
			if !h.optional || !n.coveredByOptOut(c, k) {
				n.missing(c, *h)
			}
			continue
		}
		h.found, n.records[k].named = true, true
		var sets []rrset
		if h.strip == 0 {
			sets, _ = c.sets(c.walk.scratch[:0], int(h.first), c.end(int(h.first)))
			c.walk.scratch = sets
		}
		r := int(n.records[k].rec)
		b := c.rdata(r)
		rest := b[5+int(b[4]):]
		c.bitmap("nsec3-bitmap", "NSEC3 of "+nameText(n.wire(c, *h)), c.owner(r), c.recs[r].line, rest[1+int(rest[0]):], sets, h.role)
	}
}

// coveredByOptOut reports whether the record before index k has the opt-out
// flag; the hash in question is between the two.
func (n *nsec3Chain) coveredByOptOut(c *checker, k int) bool {
	if len(n.records) == 0 {
		return false
	}
	before := n.records[(k+len(n.records)-1)%len(n.records)]
	return c.rdata(int(before.rec))[1]&1 != 0
}

func (n *nsec3Chain) missing(c *checker, h hashedName) {
	what := "name has no NSEC3"
	if h.strip > 0 {
		what = "empty non-terminal has no NSEC3"
	}
	if h.optional {
		what += ", and no opt-out span covers it"
	}
	c.errorf(c.recs[h.first].line, "nsec3-missing", n.wire(c, h), "%s (its hash is %s)", what, h.hash)
}

// aboveFound wants the empty non-terminals above an insecure delegation that
// has an NSEC3 of its own: only those above names left out may be left out.
func (n *nsec3Chain) aboveFound(c *checker) {
	var out []string // wire forms of the empty non-terminals left out
	byName := map[string]hashedName{}
	for _, h := range n.names {
		if h.strip > 0 && h.optional && !h.found {
			wire := string(n.wire(c, h))
			byName[wire] = h
			out = append(out, wire)
		}
	}
	if len(out) == 0 {
		return
	}
	sort.Strings(out)
	for _, h := range n.names {
		if h.strip > 0 || !h.optional || !h.found {
			continue
		}
		name := n.wire(c, h)
		for name = above(name, 1); len(name) > len(c.apex); name = above(name, 1) {
			if ent, ok := byName[string(name)]; ok {
				delete(byName, string(name))
				ent.optional = false
				n.missing(c, ent)
			}
		}
	}
}
