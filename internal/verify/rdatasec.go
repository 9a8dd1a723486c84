package verify

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"zonebuild/internal/domain"
)

// rrsig reads RFC 4034 §3.2.
func (d *decoder) rrsig(dst []byte, c *cursor) ([]byte, error) {
	w, err := c.word()
	if err != nil {
		return dst, err
	}
	covered, ok := typeOf(w)
	if !ok {
		return dst, fmt.Errorf("unknown type %q", w)
	}
	dst = binary.BigEndian.AppendUint16(dst, covered)
	if dst, err = d.algorithm(dst, c); err != nil {
		return dst, err
	}
	if dst, err = d.numbers(dst, c, 1, 4); err != nil {
		return dst, err
	}
	for range 2 {
		if w, err = c.word(); err != nil {
			return dst, err
		}
		t, err := d.sigTime(w)
		if err != nil {
			return dst, err
		}
		dst = binary.BigEndian.AppendUint32(dst, t)
	}
	if dst, err = d.numbers(dst, c, 2); err != nil {
		return dst, err
	}
	if dst, err = d.name(dst, c); err != nil {
		return dst, err
	}
	return d.base64(dst, c)
}

// sigTime is sigTime, which mostly has the time of a signature before.
func (d *decoder) sigTime(w []byte) (uint32, error) {
	last := &d.times[0]
	if string(w) != string(last.text[:]) {
		last = &d.times[1]
	}
	if string(w) == string(last.text[:]) {
		return last.value, nil
	}
	t, err := sigTime(w)
	if err == nil && len(w) == len(last.text) {
		d.times[0], d.times[1] = d.times[1], sigTimeText{[14]byte(w), t}
	}
	return t, err
}

type sigTimeText struct {
	text  [14]byte
	value uint32
}

// sigTime reads YYYYMMDDHHmmSS or seconds since 1970 modulo 2³² (RFC 4034 §3.2).
func sigTime(w []byte) (uint32, error) {
	if len(w) != 14 {
		v, ok := number(w, math.MaxUint32)
		if !ok {
			return 0, fmt.Errorf("%q is no time", w)
		}
		return uint32(v), nil
	}
	year, ok1 := number(w[:4], 9999)
	month, ok2 := number(w[4:6], 12)
	day, ok3 := number(w[6:8], 31)
	hour, ok4 := number(w[8:10], 23)
	minute, ok5 := number(w[10:12], 59)
	second, ok6 := number(w[12:], 59)
	if !(ok1 && ok2 && ok3 && ok4 && ok5 && ok6) || month == 0 || day == 0 {
		return 0, fmt.Errorf("%q is no time", w)
	}
	t := time.Date(int(year), time.Month(month), int(day), int(hour), int(minute), int(second), 0, time.UTC)
	if t.Day() != int(day) {
		return 0, fmt.Errorf("%q is no time", w)
	}
	return uint32(t.Unix()), nil
}

// nsec3Params reads RFC 5155 §4.3: hash algorithm, flags, iterations, salt.
func (d *decoder) nsec3Params(dst []byte, c *cursor) ([]byte, error) {
	dst, err := d.numbers(dst, c, 1, 1, 2)
	if err != nil {
		return dst, err
	}
	salt, err := c.word()
	if err != nil {
		return dst, err
	}
	if len(salt) == 1 && salt[0] == '-' {
		return append(dst, 0), nil
	}
	if len(salt) > 2*math.MaxUint8 {
		return dst, errors.New("salt longer than 255 octets")
	}
	dst = append(dst, byte(len(salt)/2))
	one := cursor{b: salt}
	return d.hex(dst, &one)
}

// nsec3 reads RFC 5155 §3.3.
func (d *decoder) nsec3(dst []byte, c *cursor) ([]byte, error) {
	dst, err := d.nsec3Params(dst, c)
	if err != nil {
		return dst, err
	}
	next, err := c.word()
	if err != nil {
		return dst, err
	}
	at := len(dst)
	dst, ok := appendBase32(append(dst, 0), next)
	if !ok || len(dst)-at-1 > math.MaxUint8 || len(dst)-at-1 == 0 {
		return dst, fmt.Errorf("%q is no base32hex hash", next)
	}
	dst[at] = byte(len(dst) - at - 1)
	return d.bitmap(dst, c)
}

// appendBase32 decodes base32hex without padding (RFC 4648 §7), in any case.
func appendBase32(dst, text []byte) ([]byte, bool) {
	var acc uint32
	bits := 0
	for _, ch := range text {
		switch {
		case '0' <= ch && ch <= '9':
			ch -= '0'
		case 'a' <= ch|0x20 && ch|0x20 <= 'v':
			ch = ch | 0x20 - 'a' + 10
		default:
			return dst, false
		}
		acc = acc<<5 | uint32(ch)
		if bits += 5; bits >= 8 {
			bits -= 8
			dst = append(dst, byte(acc>>bits))
		}
	}
	// What is left over must be less than a digit, and zero.
	return dst, bits < 5 && acc&(1<<bits-1) == 0
}

// bitmap reads the types up to the end, which may come in any order.
func (d *decoder) bitmap(dst []byte, c *cursor) ([]byte, error) {
	d.types = d.types[:0]
	for {
		w, quoted, err := c.next()
		switch {
		case err != nil:
			return dst, err
		case quoted:
			return dst, fmt.Errorf("quoted string %q where none can be", w)
		case w == nil:
			if !slices.IsSorted(d.types) {
				slices.Sort(d.types)
			}
			return appendBitmap(dst, d.types), nil
		}
		t, ok := typeOf(w)
		if !ok {
			return dst, fmt.Errorf("unknown type %q", w)
		}
		d.types = append(d.types, t)
	}
}

// appendBitmap appends the type bit map of sorted types (RFC 4034 §4.1.2).
func appendBitmap(dst []byte, types []uint16) []byte {
	window, at := -1, 0
	for _, t := range types {
		if int(t>>8) != window {
			window = int(t >> 8)
			dst = append(dst, byte(window), 0)
			at = len(dst)
		}
		octet := int(t&0xff) / 8
		for len(dst)-at <= octet {
			dst = append(dst, 0)
		}
		dst[at+octet] |= 0x80 >> (t % 8)
		dst[at-1] = byte(len(dst) - at)
	}
	return dst
}

// bitmapTypes reads a type bit map; ok is false unless it is as RFC 4034
// §4.1.2 has it: windows ascending, of 1 to 32 octets, without zeros at the end.
func bitmapTypes(dst []uint16, b []byte) (_ []uint16, ok bool) {
	last := -1
	for len(b) > 0 {
		if len(b) < 3 {
			return dst, false
		}
		window, n := int(b[0]), int(b[1])
		if window <= last || n < 1 || n > 32 || len(b) < 2+n || b[1+n] == 0 {
			return dst, false
		}
		for i, octet := range b[2 : 2+n] {
			for bit := range 8 {
				if octet&(0x80>>bit) != 0 {
					dst = append(dst, uint16(window<<8|i*8|bit))
				}
			}
		}
		last, b = window, b[2+n:]
	}
	return dst, true
}

// sig is the view of an RRSIG's rdata; the rdata was checked when it was read.
type sig struct {
	covered               uint16
	algorithm, labels     uint8
	originalTTL           uint32
	expiration, inception uint32
	tag                   uint16
	signer                []byte
	prefix                []byte // all but the signature
	signature             []byte
}

func parseSig(b []byte) sig {
	n, _ := domain.WireLen(b[18:])
	return sig{
		covered:     binary.BigEndian.Uint16(b),
		algorithm:   b[2],
		labels:      b[3],
		originalTTL: binary.BigEndian.Uint32(b[4:]),
		expiration:  binary.BigEndian.Uint32(b[8:]),
		inception:   binary.BigEndian.Uint32(b[12:]),
		tag:         binary.BigEndian.Uint16(b[16:]),
		signer:      b[18 : 18+n],
		prefix:      b[:18+n],
		signature:   b[18+n:],
	}
}
