package dnssec

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"sort"
	"strconv"

	"github.com/miekg/dns"

	"zonebuild/internal/domain"
	"zonebuild/internal/rrset"
	"zonebuild/zone"
)

// textLine is one line of a published file, cut at its tabs: owner, TTL, class,
// type, rdata (zone.AppendRecord).
type textLine struct {
	from, to   uint32 // in the file, with the newline
	owner, ttl []byte
	typ        uint16
	rdata      []byte
}

// lineScanner walks over the lines of a published file. Lines that begin with a
// semicolon are passed over.
type lineScanner struct {
	data []byte
	at   uint32
	line textLine
	err  error
}

func (r *lineScanner) next() bool {
	for r.err == nil && int(r.at) < len(r.data) {
		rest := r.data[r.at:]
		n := bytes.IndexByte(rest, '\n')
		if n < 0 {
			r.line.from = r.at
			r.err = r.fault("the last line is cut short")
			return false
		}
		text := rest[:n]
		r.line.from, r.line.to = r.at, r.at+uint32(n)+1
		r.at = r.line.to
		if n > 0 && text[0] == ';' {
			continue
		}
		if !r.line.cut(text) {
			r.err = r.fault("not a line as this program writes it")
			return false
		}
		return true
	}
	return false
}

func (r *lineScanner) fault(what string) error {
	return fmt.Errorf("line %d: %s", 1+bytes.Count(r.data[:r.line.from], []byte{'\n'}), what)
}

func (l *textLine) cut(text []byte) bool {
	var ok1, ok2, ok3 bool
	var rest, typ []byte
	l.owner, rest, ok1 = cutAt(text, '\t')
	l.ttl, rest, ok2 = cutAt(rest, '\t')
	if !ok1 || !ok2 || !bytes.HasPrefix(rest, []byte("IN\t")) {
		return false
	}
	typ, l.rdata, ok3 = cutAt(rest[3:], '\t')
	if !ok3 {
		return false
	}
	l.typ, ok3 = zone.TypeByName(typ)
	return ok3
}

// cutAt is bytes.Cut for one byte, which is what most of the reading is.
func cutAt(b []byte, sep byte) (before, after []byte, found bool) {
	if i := bytes.IndexByte(b, sep); i >= 0 {
		return b[:i], b[i+1:], true
	}
	return b, nil, false
}

// textSig is the rdata of an RRSIG as text.
type textSig struct {
	covered               uint16
	algorithm, labels     uint8
	ttl                   uint32
	expiration, inception uint32 // as in the rdata: modulo 2^32
	tag                   uint16
	signer, signature     []byte
}

var errSignature = errors.New("not an RRSIG as this program writes it")

// signature reads the rdata of an RRSIG (RFC 4034 §3.2).
func (l *textLine) signature() (s textSig, err error) {
	rest := l.rdata
	ok := l.typ == dns.TypeRRSIG
	number := func(bits int) uint64 {
		var v uint64
		i := 0
		for ; i < len(rest) && rest[i] != ' '; i++ {
			if c := rest[i]; c < '0' || c > '9' || v>>bits != 0 {
				ok = false
			}
			v = v*10 + uint64(rest[i]-'0')
		}
		ok = ok && i > 0 && i < len(rest) && v>>bits == 0
		rest = rest[min(i+1, len(rest)):]
		return v
	}
	instant := func() uint32 {
		const size = 14
		if len(rest) <= size || rest[size] != ' ' {
			ok = false
			return 0
		}
		t, good := parseInstant(rest[:size])
		ok, rest = ok && good, rest[size+1:]
		return uint32(t)
	}
	word, rest, _ := cutAt(rest, ' ')
	covered, known := zone.TypeByName(word)
	s.covered, ok = covered, ok && known
	s.algorithm, s.labels, s.ttl = uint8(number(8)), uint8(number(8)), uint32(number(32))
	s.expiration, s.inception = instant(), instant()
	s.tag = uint16(number(16))
	s.signer, s.signature, _ = cutAt(rest, ' ')
	if !ok || len(s.signer) == 0 || len(s.signature) == 0 {
		return s, errSignature
	}
	return s, nil
}

// parseInstant reads YYYYMMDDHHmmSS; package time takes twenty times as long.
func parseInstant(w []byte) (int64, bool) {
	if len(w) != 14 {
		return 0, false
	}
	var bad byte
	two := func(at int) int64 {
		a, b := w[at]-'0', w[at+1]-'0'
		if a > 9 || b > 9 {
			bad = 1
		}
		return int64(a)*10 + int64(b)
	}
	y, m, d := two(0)*100+two(2), two(4), two(6)
	hour, minute, second := two(8), two(10), two(12)
	if bad != 0 || y < 1970 || m < 1 || m > 12 || d < 1 || d > 31 || hour > 23 || minute > 59 || second > 59 {
		return 0, false
	}
	// Days since the epoch in the proleptic Gregorian calendar; years begin in March.
	if m <= 2 {
		y--
		m += 12
	}
	days := 365*y + y/4 - y/100 + y/400 + (153*(m-3)+2)/5 + d - 1 - 719468
	return days*86400 + hour*3600 + minute*60 + second, true
}

// rdataOf is the wire form of a signature.
func (s *textSig) rdataOf(dst []byte) ([]byte, error) {
	dst = binary.BigEndian.AppendUint16(dst, s.covered)
	dst = append(dst, s.algorithm, s.labels)
	dst = binary.BigEndian.AppendUint32(dst, s.ttl)
	dst = binary.BigEndian.AppendUint32(dst, s.expiration)
	dst = binary.BigEndian.AppendUint32(dst, s.inception)
	dst = binary.BigEndian.AppendUint16(dst, s.tag)
	dst, err := domain.AppendText(dst, s.signer, domain.Root)
	if err != nil {
		return dst, err
	}
	return base64.StdEncoding.AppendDecode(dst, s.signature)
}

// lineAt is the line that begins at an offset.
func (p *Previous) lineAt(at uint32) (l textLine) {
	r := lineScanner{data: p.data, at: at}
	r.next() // scan has read it once
	return r.line
}

// signatureAt is the signature in the line that begins at an offset.
func (p *Previous) signatureAt(at uint32) textSig {
	l := p.lineAt(at)
	s, _ := l.signature() // likewise
	return s
}

// cursor walks the owners of a previous zone beside those of a new one.
type cursor struct {
	p     *Previous
	g     int    // the group it stands at; -1 before the first
	owner []byte // of that group
	lines []textLine
	isAt  bool // the group is that of the owner that was sought
	read  bool // lines are those of the group
	text  []byte
	apex  []byte // as text
}

// newCursor stands before the first owner; p may be nil.
func newCursor(p *Previous) *cursor {
	c := &cursor{p: p, g: -1}
	if p != nil {
		c.apex = domain.AppendPresentation(nil, []byte(p.apex.Wire()))
	}
	return c
}

// step goes to the next owner.
func (c *cursor) step() bool {
	if c.p == nil || c.g+1 >= len(c.p.groups) {
		if c.p != nil {
			c.g = len(c.p.groups)
		}
		return false
	}
	c.g++
	c.read = false
	at := c.p.groups[c.g]
	text, _, _ := cutAt(c.p.data[at:], '\t')
	c.owner, _ = domain.AppendText(c.owner[:0], text, domain.Root) // scan has read it once
	return true
}

// jump goes before the first owner that is not before the one given.
func (c *cursor) jump(owner []byte) {
	if c.p == nil {
		return
	}
	var wire []byte
	g := sort.Search(len(c.p.groups), func(g int) bool {
		text, _, _ := cutAt(c.p.data[c.p.groups[g]:], '\t')
		wire, _ = domain.AppendText(wire[:0], text, domain.Root) // scan has read it once
		return domain.Compare(wire, owner) >= 0
	})
	if c.g = g - 2; g > 0 {
		c.step()
	} else {
		c.g = -1
	}
}

// seek moves to owner, which must not be before the last one sought.
func (c *cursor) seek(owner []byte) {
	if c.p == nil {
		return
	}
	for c.g < 0 || c.g < len(c.p.groups) && domain.Compare(c.owner, owner) < 0 {
		if !c.step() {
			break
		}
	}
	if c.isAt = c.g >= 0 && c.g < len(c.p.groups) && bytes.Equal(c.owner, owner); c.isAt && !c.read {
		c.open()
	}
}

// open reads the lines of the present group.
func (c *cursor) open() {
	c.lines, c.read = c.lines[:0], true
	end := c.p.end
	if c.g+1 < len(c.p.groups) {
		end = c.p.groups[c.g+1]
	}
	r := lineScanner{data: c.p.data[:end], at: c.p.groups[c.g]}
	for r.next() {
		c.lines = append(c.lines, r.line)
	}
}

// rrset is the range of the lines of typ at the owner sought.
func (c *cursor) rrset(typ uint16) (lo, hi int) {
	if !c.isAt {
		return 0, 0
	}
	for lo = 0; lo < len(c.lines) && c.lines[lo].typ != typ; lo++ {
	}
	for hi = lo; hi < len(c.lines) && c.lines[hi].typ == typ; hi++ {
	}
	return lo, hi
}

// same reports whether the previous zone has the RRset [lo, hi) of s, and where.
// The serial of an SOA does not count, nor do the serial and the digest of a
// ZONEMD.
func (c *cursor) same(s *rrset.Set, lo, hi int) (at span, ok bool) {
	typ := s.Type(lo)
	plo, phi := c.rrset(typ)
	if phi-plo != hi-lo {
		return at, false
	}
	if typ == dns.TypeSOA || typ == dns.TypeZONEMD {
		return at, c.p.sameButSerial(s, lo, hi)
	}
	at = span{c.lines[plo].from, c.lines[phi-1].to}
	old := c.p.data[at.from:at.to]
	for i := lo; i < hi; i++ {
		c.text = zone.AppendRecordOf(c.text[:0], s, i)
		if !bytes.HasPrefix(old, c.text) {
			return span{}, false
		}
		old = old[len(c.text):]
	}
	return at, len(old) == 0
}

// sameButSerial compares SOA and ZONEMD sets of the apex.
func (p *Previous) sameButSerial(s *rrset.Set, lo, hi int) bool {
	plo, phi := p.top.FindRRset(s.Owner(lo), s.Type(lo))
	if phi-plo != hi-lo {
		return false
	}
	ttl, _ := s.TTL(lo)
	for i := range hi - lo {
		a, b := p.top.Rdata(plo+i), s.Rdata(lo+i)
		if t, _ := p.top.TTL(plo + i); t != ttl || len(a) != len(b) {
			return false
		}
		if s.Type(lo) == dns.TypeZONEMD {
			if a[4] != b[4] || a[5] != b[5] {
				return false
			}
		} else if n := len(a) - 20; !bytes.Equal(a[:n], b[:n]) || !bytes.Equal(a[n+4:], b[n+4:]) {
			return false
		}
	}
	return true
}

// span is a part of the previous file; from == to is none.
type span struct{ from, to uint32 }

// signature finds the RRSIG over typ by the key of that algorithm and tag.
func (c *cursor) signature(typ uint16, k *Key) (l *textLine, s textSig) {
	for i := range c.lines {
		if l = &c.lines[i]; l.typ != dns.TypeRRSIG || !l.covers(typ) {
			continue
		}
		s, err := l.signature()
		if err == nil && s.covered == typ && s.algorithm == k.DNSKEY.Algorithm && s.tag == k.Tag {
			return l, s
		}
	}
	return nil, textSig{}
}

// covers reports whether an RRSIG is of a type, by its first word alone.
func (l *textLine) covers(typ uint16) bool {
	word, _, _ := cutAt(l.rdata, ' ')
	covered, ok := zone.TypeByName(word)
	return ok && covered == typ
}

// isTTL reports whether the TTL of a line is a number.
func (l *textLine) isTTL(ttl uint32) bool {
	var room [10]byte
	return bytes.Equal(l.ttl, strconv.AppendUint(room[:0], uint64(ttl), 10))
}
