package verify

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"math"
	"slices"
	"strings"

	"github.com/miekg/dns"

	"zonebuild/internal/domain"
)

// loadForeign reads a master file of any form with the parser of miekg/dns,
// which stops at its first error. Its parser knows no place of a record, so
// the bytes it takes are counted.
func loadForeign(r io.Reader, origin string, z *zone, f *faults) error {
	count := &lineCounter{in: bufio.NewReader(r), line: 1, fresh: true}
	p := dns.NewZoneParser(count, origin, "")
	rec := record{}
	for {
		count.start = 0
		rr, ok := p.Next()
		if !ok {
			break
		}
		if count.start == 0 {
			// A record without bytes of its own: a line may make 65,536 of them.
			f.errorf(count.line-1, "syntax", nil, "$GENERATE in a signed zone")
			return nil
		}
		rec.line = count.start
		h := rr.Header()
		if h.Class != dns.ClassINET {
			f.errorf(rec.line, "class", nil, "%s record has class %s, not IN", typeText(h.Rrtype), dns.Class(h.Class))
			continue
		}
		if h.Ttl > math.MaxInt32 {
			f.errorf(rec.line, "ttl-range", nil, "TTL %d is above 2147483647", h.Ttl)
			continue
		}
		owner, rdata, err := packRR(rr)
		if err == nil && isMeta(h.Rrtype) {
			err = errors.New("its type cannot stand in a zone")
		}
		if err != nil {
			f.errorf(rec.line, "syntax", nil, "read %s record: %v", typeText(h.Rrtype), err)
			continue
		}
		rec.sameOwner = bytes.Equal(owner, rec.owner)
		rec.owner, rec.rdata, rec.ttl, rec.typ = owner, rdata, h.Ttl, h.Rrtype
		if err := z.add(&rec); err != nil {
			return err
		}
	}
	if count.err != nil && count.err != io.EOF {
		return count.err
	}
	if err := p.Err(); err != nil {
		line := count.start
		if line == 0 {
			line = count.line
		}
		f.errorf(line, "syntax", nil, "%v", bareParseError(err))
	}
	return nil
}

// packRR gives the owner and the rdata in canonical wire form.
func packRR(rr dns.RR) (owner, rdata []byte, err error) {
	switch rr := rr.(type) {
	case *dns.NSEC: // miekg/dns packs types in ascending order only
		rr.TypeBitMap = sortedTypes(rr.TypeBitMap)
	case *dns.NSEC3:
		rr.TypeBitMap = sortedTypes(rr.TypeBitMap)
	case *dns.CSYNC:
		rr.TypeBitMap = sortedTypes(rr.TypeBitMap)
	}
	buf := make([]byte, dns.Len(rr)+64)
	n, err := dns.PackRR(rr, buf, 0, nil, false)
	if err != nil {
		buf = make([]byte, math.MaxUint16+domain.MaxWire+10)
		n, err = dns.PackRR(rr, buf, 0, nil, false)
	}
	if err != nil {
		return nil, nil, bareParseError(err)
	}
	k, err := domain.WireLen(buf[:n])
	if err != nil {
		return nil, nil, err
	}
	if rr.Header().Name == "" || n < k+10 { // the parser lets a line begin without an owner
		return nil, nil, errors.New("no owner")
	}
	if n-k-10 > math.MaxUint16 {
		return nil, nil, errors.New("rdata longer than 65535 octets")
	}
	owner, rdata = domain.ToLower(buf[:k:k]), buf[k+10:n]
	return owner, rdata, canonicalRdata(rr.Header().Rrtype, rdata)
}

func sortedTypes(t []uint16) []uint16 {
	t = slices.Clone(t)
	slices.Sort(t)
	return slices.Compact(t)
}

// bareParseError takes the prefix of miekg/dns off, and the place in a file
// that its parser sees as nameless.
func bareParseError(err error) error {
	s := strings.TrimPrefix(strings.TrimPrefix(err.Error(), ": "), "dns: ")
	if i := strings.LastIndex(s, " at line: "); i >= 0 {
		s = s[:i]
	}
	return errors.New(s)
}

// lineCounter counts lines, and keeps the line on which the first word after
// start was zeroed stands, comments and directives left out. The parser takes
// one byte at a time from an io.ByteReader and none in advance.
type lineCounter struct {
	in    *bufio.Reader
	line  uint32
	start uint32
	fresh bool // at the beginning of a line
	skip  bool // in a comment or directive
	err   error
}

// Read is never called: the parser prefers ReadByte.
func (c *lineCounter) Read(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	ch, err := c.ReadByte()
	if err != nil {
		return 0, err
	}
	b[0] = ch
	return 1, nil
}

func (c *lineCounter) ReadByte() (byte, error) {
	ch, err := c.in.ReadByte()
	if err != nil {
		c.err = err
		return 0, err
	}
	switch {
	case ch == '\n':
		c.line++
		c.fresh, c.skip = true, false
		return ch, nil
	case ch == ';' && c.start == 0, ch == '$' && c.fresh:
		c.skip = true
	case ch != ' ' && ch != '\t' && ch != '\r' && !c.skip && c.start == 0:
		c.start = c.line
	}
	c.fresh = false
	return ch, nil
}
