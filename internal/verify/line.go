package verify

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"

	"github.com/miekg/dns"

	"zonebuild/internal/domain"
)

// maxLine bounds a line; a longer one is left to the whole parser.
const maxLine = 64 << 10

// errForm says that a file is not in line form and needs a whole parser.
var errForm = errors.New("not one record per line")

// lineError is a fault of one line; reading goes on after it.
type lineError struct {
	code string
	err  error
}

func (e *lineError) Error() string { return e.err.Error() }
func (e *lineError) Unwrap() error { return e.err }

func syntaxError(format string, args ...any) error {
	return &lineError{"syntax", fmt.Errorf(format, args...)}
}

// record is one record as read. Its octets are valid until the next one.
type record struct {
	owner     []byte // canonical wire form
	rdata     []byte // canonical wire form
	ttl       uint32
	line      uint32
	typ       uint16
	sameOwner bool // as the record before
	known     bool // in the trusted file
}

// lineReader reads a file with one record per line:
//
//	owner. TTL [IN] TYPE rdata ; comment
//
// with absolute names and a TTL in seconds. Whatever else a master file may
// hold (RFC 1035 §5.1: directives, relative names, owners left out,
// parentheses) makes it give errForm.
type lineReader struct {
	in        *bufio.Reader
	line      uint32
	text      []byte // of the present line, as it stands there
	ownerText []byte // of the record before
	rec       record
	dec       decoder
}

func newLineReader(r io.Reader) *lineReader {
	return &lineReader{in: bufio.NewReaderSize(r, maxLine)}
}

// next gives the next record, io.EOF after the last, a *lineError for a line
// that cannot be a record, errForm, or the error of the reader.
func (l *lineReader) next() (*record, error) {
	for {
		text, err := l.in.ReadSlice('\n')
		l.line++
		switch {
		case err == bufio.ErrBufferFull:
			return nil, errForm
		case err != nil && err != io.EOF:
			return nil, err
		case err == io.EOF && len(text) == 0:
			return nil, io.EOF
		}
		if n := len(text); n > 0 && text[n-1] == '\n' {
			text = text[:n-1]
		}
		l.text = text
		if n := len(text); n > 0 && text[n-1] == '\r' {
			text = text[:n-1]
		}
		if len(text) == 0 || text[0] == ';' || len(bytes.TrimLeft(text, " \t")) == 0 {
			continue
		}
		l.rec.line = l.line
		err = l.parse(text)
		if err == nil {
			return &l.rec, nil
		}
		l.ownerText = l.ownerText[:0] // the record before is not that of this line
		if _, ok := err.(*lineError); !ok && err != errForm {
			err = syntaxError("%w", err)
		}
		return nil, err
	}
}

func (l *lineReader) parse(text []byte) error {
	if text[0] == ' ' || text[0] == '\t' || text[0] == '$' || text[0] == '(' {
		return errForm
	}
	c := cursor{b: text}
	owner, err := c.word()
	if err != nil {
		return err
	}
	if err := l.owner(owner); err != nil {
		return err
	}
	tok, err := c.word()
	if err != nil {
		return err
	}
	ttl, ok := number(tok, math.MaxUint32)
	if !ok {
		return errForm
	}
	if tok, err = c.word(); err != nil {
		return err
	}
	class := uint16(dns.ClassINET)
	if n, ok := classOf(tok); ok {
		class = n
		if tok, err = c.word(); err != nil {
			return err
		}
	}
	typ, ok := typeOf(tok)
	if !ok {
		if _, isTTL := number(tok, math.MaxUint32); isTTL {
			return errForm
		}
		return syntaxError("unknown type %q", tok)
	}
	if isMeta(typ) {
		return syntaxError("type %s cannot stand in a zone", typeText(typ))
	}
	if class != dns.ClassINET {
		return &lineError{"class", fmt.Errorf("class is %s, not IN", dns.Class(class))}
	}
	if ttl > math.MaxInt32 {
		return &lineError{"ttl-range", fmt.Errorf("TTL %d is above 2147483647", ttl)}
	}
	l.rec.typ, l.rec.ttl = typ, uint32(ttl)
	l.rec.rdata, err = l.dec.rdata(l.rec.rdata[:0], typ, &c, text)
	if err != nil {
		if err == errForm {
			return err
		}
		return syntaxError("read %s record: %w", typeText(typ), err)
	}
	if len(l.rec.rdata) > math.MaxUint16 {
		return syntaxError("read %s record: rdata longer than 65535 octets", typeText(typ))
	}
	return nil
}

// owner reads the owner, which mostly is that of the line before.
func (l *lineReader) owner(text []byte) error {
	if bytes.Equal(text, l.ownerText) && len(l.rec.owner) > 0 {
		l.rec.sameOwner = true
		return nil
	}
	l.rec.sameOwner = false
	wire, err := appendName(l.rec.owner[:0], text)
	l.rec.owner = wire
	l.ownerText = l.ownerText[:0]
	if err != nil {
		l.rec.owner = wire[:0]
		if err == errForm {
			return err
		}
		return syntaxError("read owner name: %w", err)
	}
	domain.ToLower(wire)
	l.ownerText = append(l.ownerText, text...)
	return nil
}

// appendName appends the wire form of an absolute name in the case it has; a
// relative one is errForm.
func appendName(dst, text []byte) ([]byte, error) {
	start := len(dst)
	dst, relative, err := domain.AppendLabels(dst, text)
	switch {
	case err != nil:
		return dst[:start], err
	case relative:
		return dst[:start], errForm
	}
	dst = append(dst, 0)
	if len(dst)-start > domain.MaxWire {
		return dst[:start], domain.ErrLongName
	}
	return dst, nil
}

// cursor walks over the words of a line.
type cursor struct {
	b []byte
	i int
}

var errEnd = errors.New("rdata ends too early")

// next gives the next word, without the quotes if quoted, and nil at the end
// of the line or at a comment. Escapes stay as they are.
func (c *cursor) next() (word []byte, quoted bool, err error) {
	b, i := c.b, c.i
	for i < len(b) && (b[i] == ' ' || b[i] == '\t') {
		i++
	}
	if i == len(b) || b[i] == ';' {
		c.i = len(b)
		return nil, false, nil
	}
	if b[i] == '"' {
		return c.quoted(i + 1)
	}
	start := i
	for i < len(b) {
		ch := b[i]
		if ch >= '*' && ch != ';' && ch != '\\' && ch != 0x7f { // nearly all
			i++
			continue
		}
		switch {
		case ch == ' ' || ch == '\t' || ch == ';':
			c.i = i
			return b[start:i], false, nil
		case ch == '\\':
			i++
		case ch == '(' || ch == ')' || ch == '"':
			return nil, false, errForm
		case ch < ' ' || ch == 0x7f:
			return nil, false, fmt.Errorf("raw control byte %#02x", ch)
		}
		i++
	}
	if i > len(b) {
		return nil, false, domain.ErrEscape
	}
	c.i = i
	return b[start:i], false, nil
}

func (c *cursor) quoted(start int) ([]byte, bool, error) {
	for i := start; i < len(c.b); i++ {
		switch ch := c.b[i]; {
		case ch == '\\':
			i++
		case ch == '"':
			c.i = i + 1
			if c.i < len(c.b) && c.b[c.i] != ' ' && c.b[c.i] != '\t' && c.b[c.i] != ';' {
				return nil, false, errForm // two words without a blank: parsers differ
			}
			return c.b[start:i:i], true, nil
		case ch < ' ' && ch != '\t' || ch == 0x7f:
			return nil, false, fmt.Errorf("raw control byte %#02x", ch)
		}
	}
	return nil, false, errForm // the string goes on in the next line, or nowhere
}

// word is next for a word that must be there and must not be quoted.
func (c *cursor) word() ([]byte, error) {
	w, quoted, err := c.next()
	switch {
	case err != nil:
		return nil, err
	case w == nil:
		return nil, errEnd
	case quoted:
		return nil, fmt.Errorf("quoted string %q where none can be", w)
	}
	return w, nil
}

// end says that nothing may follow.
func (c *cursor) end() error {
	w, _, err := c.next()
	if err == nil && w != nil {
		err = fmt.Errorf("%q after the end of the rdata", w)
	}
	return err
}

// whole reports whether the record ends with the line, whatever its words are.
func (c *cursor) whole() bool {
	quoted := false
	for i := c.i; i < len(c.b); i++ {
		switch ch := c.b[i]; {
		case ch == '\\':
			i++
		case ch == '"':
			quoted = !quoted
		case quoted:
		case ch == ';':
			return true
		case ch == '(' || ch == ')':
			return false
		}
	}
	return !quoted
}

// number reads a decimal number of at most limit.
func number(b []byte, limit uint64) (uint64, bool) {
	if len(b) == 0 || len(b) > 10 {
		return 0, false
	}
	var v uint64
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0, false
		}
		v = v*10 + uint64(c-'0')
	}
	return v, v <= limit
}

// classOf reads a class mnemonic or CLASSnnn (RFC 3597 §5).
func classOf(b []byte) (uint16, bool) {
	if len(b) == 2 && b[0]|0x20 == 'i' && b[1]|0x20 == 'n' {
		return dns.ClassINET, true
	}
	s := string(bytes.ToUpper(b))
	if n, ok := dns.StringToClass[s]; ok {
		return n, true
	}
	if rest, ok := bytes.CutPrefix([]byte(s), []byte("CLASS")); ok {
		n, ok := number(rest, math.MaxUint16)
		return uint16(n), ok
	}
	return 0, false
}

// typeOf reads a type mnemonic or TYPEnnn (RFC 3597 §5).
func typeOf(b []byte) (uint16, bool) {
	switch string(b) { // faster than the map, for what a signed zone is full of
	case "A":
		return dns.TypeA, true
	case "AAAA":
		return dns.TypeAAAA, true
	case "NS":
		return dns.TypeNS, true
	case "TXT":
		return dns.TypeTXT, true
	case "RRSIG":
		return dns.TypeRRSIG, true
	case "NSEC":
		return dns.TypeNSEC, true
	case "NSEC3":
		return dns.TypeNSEC3, true
	}
	if n, ok := dns.StringToType[string(b)]; ok {
		return n, true
	}
	s := string(bytes.ToUpper(b))
	if n, ok := dns.StringToType[s]; ok {
		return n, true
	}
	if rest, ok := bytes.CutPrefix([]byte(s), []byte("TYPE")); ok {
		n, ok := number(rest, math.MaxUint16)
		return uint16(n), ok
	}
	return 0, false
}

// isMeta reports whether a type is for messages only (RFC 6895 §3.1).
func isMeta(t uint16) bool { return t == 0 || t == dns.TypeOPT || 128 <= t && t <= 255 }
