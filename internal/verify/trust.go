package verify

import (
	"bytes"
	"sort"

	"github.com/miekg/dns"

	"zonebuild/internal/domain"
)

// trustedText is a file that was verified before, cut at its owners. nil holds
// nothing.
type trustedText struct {
	data   []byte
	owners []trustedOwner
}

// trustedOwner is where the lines of an owner stand.
type trustedOwner struct {
	from, to int
	text     int // octets of the owner
}

// newTrustedText wants one record a line, whole lines, and owners in canonical
// order: otherwise part of an RRset could look like a whole one. Anything else
// is trusted in nothing.
func newTrustedText(data []byte) *trustedText {
	t := &trustedText{data: data}
	var owner, wire, last []byte
	for at := 0; at < len(data); {
		n := bytes.IndexByte(data[at:], '\n')
		if n < 0 {
			return nil
		}
		line := data[at : at+n]
		if len(line) > 0 && line[0] == ';' {
			if owner != nil {
				return nil
			}
			at += n + 1
			continue
		}
		k := bytes.IndexByte(line, '\t')
		if k <= 0 {
			return nil
		}
		if owner == nil || !bytes.Equal(line[:k], owner) {
			var err error
			if wire, err = appendName(wire[:0], line[:k]); err != nil {
				return nil
			}
			domain.ToLower(wire)
			if last != nil && domain.Compare(last, wire) >= 0 {
				return nil
			}
			last = append(last[:0], wire...)
			owner = line[:k]
			t.owners = append(t.owners, trustedOwner{from: at, text: k})
		}
		at += n + 1
		t.owners[len(t.owners)-1].to = at
	}
	return t
}

// ownerOf appends the wire form of the owner with a number.
func (t *trustedText) ownerOf(dst []byte, i int) []byte {
	o := t.owners[i]
	dst, _ = appendName(dst, t.data[o.from:o.from+o.text]) // was read once
	return domain.ToLower(dst)
}

// matcher looks up the lines of a file, owner by owner, in a trusted one. nil
// finds nothing.
type matcher struct {
	t     *trustedText
	next  int    // the owner to look at first
	lines []byte // of the present owner
	rest  []byte // of these, what was not matched in order yet
	all   bool   // each line of the owner so far was the next one there
	wire  []byte
}

func (t *trustedText) match() *matcher {
	if t == nil {
		return nil
	}
	return &matcher{t: t}
}

// open goes to an owner. In a file in canonical order that is the next one or
// near; else it is searched for.
func (m *matcher) open(owner []byte) {
	if m == nil {
		return
	}
	m.lines, m.rest, m.all = nil, nil, true
	n := len(m.t.owners)
	for step := 0; m.next < n; m.next++ {
		m.wire = m.t.ownerOf(m.wire[:0], m.next)
		c := domain.Compare(m.wire, owner)
		if c == 0 {
			o := m.t.owners[m.next]
			m.lines = m.t.data[o.from:o.to]
			m.rest = m.lines
			m.next++
			return
		}
		if step++; c > 0 || step > 4 {
			break
		}
	}
	m.next = sort.Search(n, func(i int) bool {
		m.wire = m.t.ownerOf(m.wire[:0], i)
		return domain.Compare(m.wire, owner) >= 0
	})
	if m.next < n && bytes.Equal(m.t.ownerOf(m.wire[:0], m.next), owner) {
		o := m.t.owners[m.next]
		m.lines = m.t.data[o.from:o.to]
		m.rest = m.lines
		m.next++
	}
}

// has reports whether the trusted file has this line, octet for octet, at the
// present owner.
func (m *matcher) has(line []byte) bool {
	if m == nil || m.lines == nil {
		return false
	}
	if len(m.rest) > len(line) && m.rest[len(line)] == '\n' && bytes.Equal(m.rest[:len(line)], line) {
		m.rest = m.rest[len(line)+1:]
		return true
	}
	m.all = false
	for rest := m.lines; len(rest) > 0; {
		n := bytes.IndexByte(rest, '\n')
		if bytes.Equal(rest[:n], line) {
			m.rest = rest[n+1:]
			return true
		}
		rest = rest[n+1:]
	}
	return false
}

// settle takes the trust from RRsets of which the trusted file has more or other
// records; recs are those of the owner that ends.
func (m *matcher) settle(recs []rec) {
	if m == nil || m.lines == nil || m.all && len(m.rest) == 0 {
		return
	}
	there := map[uint16]int{}
	for rest := m.lines; len(rest) > 0; {
		n := bytes.IndexByte(rest, '\n')
		c := cursor{b: rest[:n]}
		for range 3 {
			c.next()
		}
		word, _, _ := c.next()
		typ, ok := typeOf(word)
		if !ok {
			typ = 0
		}
		there[typ]++
		rest = rest[n+1:]
	}
	here := map[uint16]int{}
	for i := range recs {
		if recs[i].trusted {
			here[recs[i].typ]++
		}
	}
	for i := range recs {
		if typ := recs[i].typ; typ != dns.TypeRRSIG && here[typ] != there[typ] || there[0] > 0 {
			recs[i].trusted = false
		}
	}
}

// isTrusted reports whether the signature, RRset and key of a job stand in the
// trusted file, octet for octet. A tag alone does not tell keys apart.
func (c *checker) isTrusted(j job) bool {
	if !c.recs[j.sig].trusted {
		return false
	}
	for i := j.lo; i < j.hi; i++ {
		if !c.recs[i].trusted {
			return false
		}
	}
	var room [maxColliding]uint16
	found := c.keysFor(room[:0], parseSig(c.rdata(int(j.sig))))
	return len(found) == 1 && c.recs[c.keys[found[0]].rec].known
}
