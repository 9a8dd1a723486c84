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
	l.owner, rest, ok1 = bytes.Cut(text, []byte{'\t'})
	l.ttl, rest, ok2 = bytes.Cut(rest, []byte{'\t'})
	if !ok1 || !ok2 || !bytes.HasPrefix(rest, []byte("IN\t")) {
		return false
	}
	typ, l.rdata, ok3 = bytes.Cut(rest[3:], []byte{'\t'})
	if !ok3 {
		return false
	}
	l.typ, ok3 = zone.TypeByName(typ)
	return ok3
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
	word := func() (w []byte) {
		w, rest, _ = bytes.Cut(rest, []byte{' '})
		return w
	}
	number := func(bits int) uint64 {
		var v uint64
		w := word()
		for _, c := range w {
			if c < '0' || c > '9' || v>>bits != 0 {
				err = errSignature
			}
			v = v*10 + uint64(c-'0')
		}
		if len(w) == 0 || v>>bits != 0 {
			err = errSignature
		}
		return v
	}
	instant := func() uint32 {
		t, ok := parseInstant(word())
		if !ok {
			err = errSignature
		}
		return uint32(t)
	}
	covered, ok := zone.TypeByName(word())
	if !ok || l.typ != dns.TypeRRSIG {
		return s, errSignature
	}
	s.covered = covered
	s.algorithm, s.labels, s.ttl = uint8(number(8)), uint8(number(8)), uint32(number(32))
	s.expiration, s.inception = instant(), instant()
	s.tag = uint16(number(16))
	s.signer = word()
	s.signature = rest
	if len(s.signer) == 0 || len(rest) == 0 {
		err = errSignature
	}
	return s, err
}

// parseInstant reads YYYYMMDDHHmmSS; package time takes ten times as long.
func parseInstant(w []byte) (int64, bool) {
	if len(w) != 14 {
		return 0, false
	}
	var f [6]int64
	for i, at := 0, 0; i < 6; i++ {
		n := 2
		if i == 0 {
			n = 4
		}
		for _, c := range w[at : at+n] {
			if c < '0' || c > '9' {
				return 0, false
			}
			f[i] = f[i]*10 + int64(c-'0')
		}
		at += n
	}
	y, m, d := f[0], f[1], f[2]
	if y < 1970 || m < 1 || m > 12 || d < 1 || d > 31 || f[3] > 23 || f[4] > 59 || f[5] > 59 {
		return 0, false
	}
	// Days since the epoch in the proleptic Gregorian calendar; years begin in March.
	if m <= 2 {
		y--
		m += 12
	}
	days := 365*y + y/4 - y/100 + y/400 + (153*(m-3)+2)/5 + d - 1 - 719468
	return days*86400 + f[3]*3600 + f[4]*60 + f[5], true
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
	text, _, _ := bytes.Cut(c.p.data[at:], []byte{'\t'})
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
		text, _, _ := bytes.Cut(c.p.data[c.p.groups[g]:], []byte{'\t'})
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
	word, _, _ := bytes.Cut(l.rdata, []byte{' '})
	covered, ok := zone.TypeByName(word)
	return ok && covered == typ
}

// isTTL reports whether the TTL of a line is a number.
func (l *textLine) isTTL(ttl uint32) bool {
	var room [10]byte
	return bytes.Equal(l.ttl, strconv.AppendUint(room[:0], uint64(ttl), 10))
}
