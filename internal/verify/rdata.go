package verify

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"slices"

	"github.com/miekg/dns"

	"zonebuild/internal/domain"
)

// decoder turns rdata from presentation format into canonical wire form. It
// holds scratch room only.
type decoder struct {
	join  []byte
	types []uint16
	times [2]sigTimeText
}

// rdata appends the rdata of a record of type typ whose words c gives; line is
// the whole line, for the types that are left to miekg/dns.
func (d *decoder) rdata(dst []byte, typ uint16, c *cursor, line []byte) ([]byte, error) {
	if c.generic() {
		return d.generic(dst, typ, c)
	}
	var err error
	switch typ {
	case dns.TypeA, dns.TypeAAAA:
		dst, err = d.address(dst, typ, c)
	case dns.TypeNS, dns.TypeCNAME, dns.TypePTR, dns.TypeDNAME:
		dst, err = d.name(dst, c)
	case dns.TypeSOA:
		dst, err = d.soa(dst, c)
	case dns.TypeMX:
		if dst, err = d.numbers(dst, c, 2); err == nil {
			dst, err = d.name(dst, c)
		}
	case dns.TypeSRV:
		if dst, err = d.numbers(dst, c, 2, 2, 2); err == nil {
			dst, err = d.name(dst, c)
		}
	case dns.TypeTXT, dns.TypeSPF:
		return d.strings(dst, c)
	case dns.TypeCAA:
		dst, err = d.caa(dst, c)
	case dns.TypeTLSA, dns.TypeSMIMEA:
		if dst, err = d.numbers(dst, c, 1, 1, 1); err == nil {
			return d.hex(dst, c)
		}
	case dns.TypeSSHFP:
		if dst, err = d.numbers(dst, c, 1, 1); err == nil {
			return d.hex(dst, c)
		}
	case dns.TypeZONEMD:
		if dst, err = d.numbers(dst, c, 4, 1, 1); err == nil {
			return d.hex(dst, c)
		}
	case dns.TypeDS, dns.TypeCDS:
		if dst, err = d.numbers(dst, c, 2); err == nil {
			if dst, err = d.algorithm(dst, c); err == nil {
				if dst, err = d.numbers(dst, c, 1); err == nil {
					return d.hex(dst, c)
				}
			}
		}
	case dns.TypeDNSKEY, dns.TypeCDNSKEY:
		if dst, err = d.numbers(dst, c, 2, 1); err == nil {
			if dst, err = d.algorithm(dst, c); err == nil {
				return d.base64(dst, c)
			}
		}
	case dns.TypeRRSIG:
		return d.rrsig(dst, c)
	case dns.TypeNSEC:
		w, err := c.word()
		if err != nil {
			return dst, err
		}
		// The case of the next name is part of the signed data (RFC 6840 §5.1).
		if dst, err = appendName(dst, w); err != nil {
			return dst, err
		}
		return d.bitmap(dst, c)
	case dns.TypeNSEC3:
		return d.nsec3(dst, c)
	case dns.TypeNSEC3PARAM:
		dst, err = d.nsec3Params(dst, c)
	default:
		return d.foreign(dst, typ, c, line)
	}
	if err != nil {
		return dst, err
	}
	return dst, c.end()
}

// generic reports whether \# is next (RFC 3597 §5), and steps over it.
func (c *cursor) generic() bool {
	ahead := *c
	w, quoted, err := ahead.next()
	if err != nil || quoted || string(w) != `\#` {
		return false
	}
	*c = ahead
	return true
}

func (d *decoder) generic(dst []byte, typ uint16, c *cursor) ([]byte, error) {
	start := len(dst)
	w, err := c.word()
	if err != nil {
		return dst, err
	}
	n, ok := number(w, math.MaxUint16)
	if !ok {
		return dst, fmt.Errorf("length %q is no number up to 65535", w)
	}
	if n == 0 {
		err = c.end()
	} else {
		dst, err = d.hex(dst, c)
	}
	if err != nil {
		return dst, err
	}
	if len(dst)-start != int(n) {
		return dst, fmt.Errorf("%d octets follow the length %d", len(dst)-start, n)
	}
	return dst, canonicalRdata(typ, dst[start:])
}

// foreign leaves the line to miekg/dns.
func (d *decoder) foreign(dst []byte, typ uint16, c *cursor, line []byte) ([]byte, error) {
	if !c.whole() {
		return dst, errForm
	}
	rr, err := dns.NewRR(string(line))
	if err != nil {
		return dst, bareParseError(err)
	}
	if rr == nil || rr.Header().Rrtype != typ {
		return dst, errors.New("no record on the line")
	}
	_, rdata, err := packRR(rr)
	if err != nil {
		return dst, err
	}
	return append(dst, rdata...), nil
}

func (d *decoder) address(dst []byte, typ uint16, c *cursor) ([]byte, error) {
	w, err := c.word()
	if err != nil {
		return dst, err
	}
	a, err := netip.ParseAddr(string(w))
	if err != nil || a.Zone() != "" || a.Is4() != (typ == dns.TypeA) {
		return dst, fmt.Errorf("%q is no such address", w)
	}
	if a.Is4() {
		b := a.As4()
		return append(dst, b[:]...), nil
	}
	b := a.As16()
	return append(dst, b[:]...), nil
}

// name appends a name in lower case (RFC 4034 §6.2).
func (d *decoder) name(dst []byte, c *cursor) ([]byte, error) {
	w, err := c.word()
	if err != nil {
		return dst, err
	}
	start := len(dst)
	dst, err = appendName(dst, w)
	domain.ToLower(dst[start:])
	return dst, err
}

func (d *decoder) soa(dst []byte, c *cursor) ([]byte, error) {
	dst, err := d.name(dst, c)
	if err == nil {
		dst, err = d.name(dst, c)
	}
	for range 5 {
		var w []byte
		if err == nil {
			w, err = c.word()
		}
		if err != nil {
			return dst, err
		}
		v, ok := number(w, math.MaxUint32)
		if !ok {
			return dst, errForm // may be a time with units
		}
		dst = binary.BigEndian.AppendUint32(dst, uint32(v))
	}
	return dst, nil
}

// numbers appends decimal numbers of 1, 2 or 4 octets.
func (d *decoder) numbers(dst []byte, c *cursor, sizes ...int) ([]byte, error) {
	for _, size := range sizes {
		w, err := c.word()
		if err != nil {
			return dst, err
		}
		limit := uint64(1)<<(8*size) - 1
		v, ok := number(w, limit)
		if !ok {
			return dst, fmt.Errorf("%q is no number up to %d", w, limit)
		}
		for i := size - 1; i >= 0; i-- {
			dst = append(dst, byte(v>>(8*i)))
		}
	}
	return dst, nil
}

// algorithm appends an algorithm, which may be a mnemonic (RFC 4034 §2.2).
func (d *decoder) algorithm(dst []byte, c *cursor) ([]byte, error) {
	w, err := c.word()
	if err != nil {
		return dst, err
	}
	if v, ok := number(w, math.MaxUint8); ok {
		return append(dst, byte(v)), nil
	}
	if v, ok := dns.StringToAlgorithm[string(w)]; ok {
		return append(dst, v), nil
	}
	return dst, fmt.Errorf("%q is no algorithm", w)
}

// strings appends character-strings up to the end, at least one.
func (d *decoder) strings(dst []byte, c *cursor) ([]byte, error) {
	for n := 0; ; n++ {
		w, quoted, err := c.next()
		switch {
		case err != nil:
			return dst, err
		case w == nil && !quoted && n == 0:
			return dst, errEnd
		case w == nil && !quoted:
			return dst, nil
		}
		at := len(dst)
		if dst, err = appendString(append(dst, 0), w); err != nil {
			return dst, err
		}
		if len(dst)-at-1 > math.MaxUint8 {
			return dst, errors.New("string longer than 255 octets")
		}
		dst[at] = byte(len(dst) - at - 1)
	}
}

func appendString(dst, w []byte) ([]byte, error) {
	for i := 0; i < len(w); i++ {
		if w[i] != '\\' {
			dst = append(dst, w[i])
			continue
		}
		ch, n, err := domain.Unescape(w[i:])
		if err != nil {
			return dst, err
		}
		dst = append(dst, ch)
		i += n - 1
	}
	return dst, nil
}

// caa reads flags, tag and value (RFC 8659 §4.1.1).
func (d *decoder) caa(dst []byte, c *cursor) ([]byte, error) {
	dst, err := d.numbers(dst, c, 1)
	if err != nil {
		return dst, err
	}
	tag, err := c.word()
	if err != nil {
		return dst, err
	}
	if len(tag) > math.MaxUint8 {
		return dst, errors.New("tag longer than 255 octets")
	}
	for _, ch := range tag {
		if (ch < '0' || ch > '9') && (ch|0x20 < 'a' || ch|0x20 > 'z') {
			return dst, fmt.Errorf("%q is no tag", tag)
		}
	}
	dst = append(append(dst, byte(len(tag))), tag...)
	value, quoted, err := c.next()
	if err != nil {
		return dst, err
	}
	if value == nil && !quoted {
		return dst, errEnd
	}
	return appendString(dst, value)
}

// rest joins all words up to the end, at least one.
func (d *decoder) rest(c *cursor) ([]byte, error) {
	w, err := c.word()
	if err != nil {
		return nil, err
	}
	joined := false
	for {
		more, quoted, err := c.next()
		switch {
		case err != nil:
			return nil, err
		case quoted:
			return nil, fmt.Errorf("quoted string %q where none can be", more)
		case more == nil:
			return w, nil
		}
		if !joined {
			d.join = append(d.join[:0], w...)
			joined = true
		}
		d.join = append(d.join, more...)
		w = d.join
	}
}

func (d *decoder) hex(dst []byte, c *cursor) ([]byte, error) {
	w, err := d.rest(c)
	if err != nil {
		return dst, err
	}
	start := len(dst)
	dst = slices.Grow(dst, hex.DecodedLen(len(w)))[:start+hex.DecodedLen(len(w))]
	if _, err := hex.Decode(dst[start:], w); err != nil {
		return dst[:start], fmt.Errorf("bad hexadecimal data: %w", err)
	}
	return dst, nil
}

func (d *decoder) base64(dst []byte, c *cursor) ([]byte, error) {
	w, err := d.rest(c)
	if err != nil {
		return dst, err
	}
	start := len(dst)
	dst = slices.Grow(dst, base64.StdEncoding.DecodedLen(len(w)))[:start+base64.StdEncoding.DecodedLen(len(w))]
	n, err := base64.StdEncoding.Decode(dst[start:], w)
	if err != nil {
		return dst[:start], fmt.Errorf("bad base64 data: %w", err)
	}
	return dst[:start+n], nil
}
