package verify

import (
	"bytes"
	"math"
	"runtime"
	"sort"
	"sync"

	"github.com/miekg/dns"

	"zonebuild/internal/domain"
)

// Trusted is a signed file that was verified before and is unchanged since, which
// the caller must know by its digest; it is cut at its owners. nil is no such
// file. It is immutable and safe for concurrent use.
type Trusted struct {
	data   []byte
	owners []trustedOwner
	apart  bool // a change can be judged by what is around it (Change)
}

// trustedOwner is where the lines of an owner stand, and what they are.
type trustedOwner struct {
	from, to        uint32
	expires, begins uint32 // the first expiration and the last inception of its signatures, as in RRSIGs
	text            uint16 // octets of the owner
	has             uint8
}

// What an owner may have.
const (
	hasSigs  = 1 << iota
	hasNSEC  // so it is no glue
	hasNS    // a delegation, or the apex
	hasDNAME // hides what is below it
	hasWhole // a record that depends on the whole zone: of NSEC3, or a digest
)

// Trust takes the text of such a file, and leaves it alone from then on. It wants
// one record a line, whole lines, and owners in canonical order: otherwise part of
// an RRset could look like a whole one. Anything else is trusted in nothing: nil.
func Trust(data []byte) *Trusted {
	if len(data) > math.MaxUint32 {
		return nil
	}
	n := max(1, min(runtime.GOMAXPROCS(0), len(data)/partSize))
	parts := make([]trustScan, n)
	var wg sync.WaitGroup
	cut := 0
	for i := range parts {
		p := &parts[i]
		p.data, p.at, p.end, p.head = data, cut, len(data), i == 0
		if i+1 < n {
			k := bytes.IndexByte(data[max(cut, len(data)/n*(i+1)):], '\n')
			if k < 0 {
				return nil
			}
			p.end = max(cut, len(data)/n*(i+1)) + k + 1
		}
		cut = p.end
		wg.Go(p.scan)
	}
	wg.Wait()
	t := &Trusted{data: data, apart: true}
	total := 0
	for i := range parts {
		total += len(parts[i].owners)
	}
	t.owners = make([]trustedOwner, 0, total)
	var last []byte
	for i := range parts {
		p := &parts[i]
		if !p.ok {
			return nil
		}
		t.apart = t.apart && !p.odd
		if len(p.owners) == 0 {
			continue
		}
		owners := p.owners
		if last != nil {
			switch order := domain.Compare(last, p.first); {
			case order > 0:
				return nil
			case order == 0: // the cut went through an owner
				t.owners[len(t.owners)-1].join(&owners[0])
				owners = owners[1:]
			}
		}
		last = p.last
		t.owners = append(t.owners, owners...)
	}
	for i := range t.owners {
		t.apart = t.apart && t.owners[i].has&hasWhole == 0
	}
	t.apart = t.apart && len(t.owners) > 0 && t.owners[0].has&hasNSEC != 0
	return t
}

// join takes what follows of the same owner.
func (o *trustedOwner) join(more *trustedOwner) {
	o.to = more.to
	if more.has&hasSigs != 0 {
		o.period(more.expires, more.begins)
	}
	o.has |= more.has
}

// period takes the times of a signature.
func (o *trustedOwner) period(expires, begins uint32) {
	if o.has&hasSigs == 0 || int32(expires-o.expires) < 0 {
		o.expires = expires
	}
	if o.has&hasSigs == 0 || int32(begins-o.begins) > 0 {
		o.begins = begins
	}
	o.has |= hasSigs
}

// trustScan goes over whole lines of a file.
type trustScan struct {
	data    []byte
	at, end int
	head    bool // it begins with the file: there may be comments
	owners  []trustedOwner
	ok      bool // it is a file to be trusted
	odd     bool // it has lines in another form than the one that is known here

	first, last, wire []byte // owners
	times             decoder
}

func (p *trustScan) scan() {
	for p.at < p.end {
		if !p.line() {
			return
		}
	}
	p.ok = true
}

// owner reads all lines of the owner that stands at p.at.
func (p *trustScan) owner() bool {
	for p.at < len(p.data) {
		before, at := len(p.owners), p.at
		if !p.line() {
			return false
		}
		if before > 0 && len(p.owners) > before {
			p.owners, p.at = p.owners[:before], at
			break
		}
	}
	return len(p.owners) == 1
}

func (p *trustScan) line() bool {
	n := bytes.IndexByte(p.data[p.at:], '\n')
	if n < 0 {
		return false
	}
	line := p.data[p.at : p.at+n]
	from := p.at
	p.at += n + 1
	if n > 0 && line[0] == ';' {
		return len(p.owners) == 0 && p.head
	}
	k := bytes.IndexByte(line, '\t')
	if k <= 0 || k > math.MaxUint16 {
		return false
	}
	var o *trustedOwner
	if i := len(p.owners) - 1; i >= 0 {
		o = &p.owners[i]
	}
	if o == nil || int(o.text) != k || !bytes.Equal(line[:k], p.data[o.from:o.from+uint32(k)]) {
		var err error
		if p.wire, err = appendName(p.wire[:0], line[:k]); err != nil {
			return false
		}
		domain.ToLower(p.wire)
		if o == nil {
			p.first = bytes.Clone(p.wire)
		} else if domain.Compare(p.last, p.wire) >= 0 {
			return false
		}
		p.last = append(p.last[:0], p.wire...)
		p.owners = append(p.owners, trustedOwner{from: uint32(from), text: uint16(k)})
		o = &p.owners[len(p.owners)-1]
	}
	o.to = uint32(p.at)
	p.odd = !p.note(o, line[k+1:]) || p.odd
	return true
}

// note takes what matters of a line behind its owner. It reports whether the line has
// the form in which the writer puts it: what is read here in a hurry must mean the
// same to the reader of records.
func (p *trustScan) note(o *trustedOwner, rest []byte) bool {
	ttl, rest, _ := cutAt(rest, '\t')
	if _, ok := number(ttl, math.MaxUint32); !ok {
		return false
	}
	rest, ok := bytes.CutPrefix(rest, []byte("IN\t"))
	if !ok {
		return false
	}
	typ, rdata, ok := cutAt(rest, '\t')
	if !ok || bytes.HasPrefix(rdata, []byte(`\#`)) && bytes.Equal(typ, []byte("RRSIG")) {
		return false
	}
	switch t, known := typeOf(typ); {
	case !known || typeText(t) != string(typ):
		return false
	case t == dns.TypeNSEC:
		o.has |= hasNSEC
	case t == dns.TypeNS:
		o.has |= hasNS
	case t == dns.TypeDNAME:
		o.has |= hasDNAME
	case t == dns.TypeNSEC3 || t == dns.TypeNSEC3PARAM || t == dns.TypeZONEMD:
		o.has |= hasWhole
	case t == dns.TypeRRSIG:
		for range 4 {
			_, rdata, _ = cutAt(rdata, ' ')
		}
		var at [2]uint32
		for i := range at {
			var w []byte
			w, rdata, _ = cutAt(rdata, ' ')
			v, err := p.times.sigTime(w)
			if err != nil {
				return false
			}
			at[i] = v
		}
		o.period(at[0], at[1])
	}
	return true
}

// cutAt is bytes.Cut for one byte.
func cutAt(b []byte, sep byte) (before, after []byte, found bool) {
	if i := bytes.IndexByte(b, sep); i >= 0 {
		return b[:i], b[i+1:], true
	}
	return b, nil, false
}

// ownerOf appends the wire form of the owner with a number.
func (t *Trusted) ownerOf(dst []byte, i int) []byte {
	o := &t.owners[i]
	dst, _ = appendName(dst, t.data[o.from:o.from+uint32(o.text)]) // was read once
	return domain.ToLower(dst)
}

// matcher looks up the lines of a file, owner by owner, in a trusted one. nil
// finds nothing.
type matcher struct {
	t     *Trusted
	next  int    // the owner to look at first
	lines []byte // of the present owner
	rest  []byte // of these, what was not matched in order yet
	all   bool   // each line of the owner so far was the next one there
	wire  []byte
}

func (t *Trusted) match() *matcher {
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
