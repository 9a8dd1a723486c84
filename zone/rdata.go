package zone

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/miekg/dns"

	"zonebuild/internal/diag"
	"zonebuild/internal/domain"
)

// rdataFault is a fault of one rdata; at is the token it is about.
type rdataFault struct {
	at  int
	msg string
}

func (f *rdataFault) Error() string { return f.msg }

func faultAt(at int, format string, args ...any) error {
	return &rdataFault{at, fmt.Sprintf(format, args...)}
}

// appendRdata appends the canonical wire form of the rdata in tokens. Its
// errors are *rdataFault; file text in them is escaped and cut short.
func appendRdata(dst []byte, typ uint16, tokens []token, origin domain.Name) ([]byte, error) {
	if len(tokens) == 0 {
		return dst, faultAt(-1, "no rdata")
	}
	if typ != dns.TypeSVCB && typ != dns.TypeHTTPS {
		// Elsewhere key="value" is one text to some readers and two to others.
		for i, t := range tokens {
			if t.pair {
				return dst, faultAt(i, "white space is missing before the quote in %s", quote(t.text))
			}
		}
	}
	start := len(dst)
	var err error
	switch fields := layout(typ); {
	case string(tokens[0].text) == `\#` && !tokens[0].quoted:
		dst, err = appendGeneric(dst, typ, tokens)
	case typ == dns.TypeLOC:
		dst, err = appendLOC(dst, tokens)
	case fields == "":
		dst, err = appendByLibrary(dst, typ, tokens, origin)
	default:
		dst, err = appendFields(dst, fields, tokens, origin)
	}
	if err != nil {
		return dst[:start], err
	}
	if len(dst)-start > 65535 {
		return dst[:start], faultAt(0, "rdata longer than 65535 octets")
	}
	if err := checkLengths(typ, dst[start:]); err != nil {
		return dst[:start], faultAt(len(tokens)-1, "%s", err)
	}
	return dst, nil
}

func appendFields(dst []byte, fields string, tokens []token, origin domain.Name) ([]byte, error) {
	i := 0
	for f := 0; f < len(fields); f++ {
		if i == len(tokens) && fields[f] != 't' {
			return dst, faultAt(-1, "rdata ends early: %s is missing", fieldName(fields[f]))
		}
		if i < len(tokens) && tokens[i].quoted && !isText(fields[f]) {
			return dst, faultAt(i, "%s is not quoted", fieldName(fields[f]))
		}
		var err error
		rest := 1
		switch c := fields[f]; c {
		case 'S':
			rest = len(tokens) - i
			for k := i; k < len(tokens) && err == nil; k++ {
				if dst, err = appendString(dst, tokens[k].text); err != nil {
					err = faultAt(k, "%s", err)
				}
			}
		case 'h', 'b':
			rest = len(tokens) - i
			dst, err = appendBlob(dst, c, tokens[i:])
		case 't':
			rest = len(tokens) - i
			dst, err = appendBitmap(dst, tokens[i:])
		default:
			dst, err = appendField(dst, c, tokens[i], origin)
		}
		if err != nil {
			var f *rdataFault
			if errors.As(err, &f) {
				return dst, err
			}
			return dst, faultAt(i, "%s", err)
		}
		i += rest
	}
	if i < len(tokens) {
		return dst, faultAt(i, "unexpected %s after the rdata", quote(tokens[i].text))
	}
	return dst, nil
}

// isText reports whether quotes may stand around a field.
func isText(c byte) bool { return c == 's' || c == 'S' || c == 'X' }

func fieldName(c byte) string {
	switch c {
	case 'a':
		return "an IPv4 address"
	case 'q':
		return "an IPv6 address"
	case 'n':
		return "a name"
	case 's', 'S', 'X':
		return "a text"
	case 'u':
		return "a word"
	case 'T', 't':
		return "a type"
	case 'h', 'H':
		return "hexadecimal data"
	case 'b', 'c':
		return "base64 data"
	}
	return "a number"
}

// appendField appends one field that is one token.
func appendField(dst []byte, c byte, t token, origin domain.Name) ([]byte, error) {
	switch c {
	case 'a', 'q':
		read := appendIPv4
		if c == 'q' {
			read = appendIPv6
		}
		out, ok := read(dst, t.text)
		if !ok {
			return dst, fmt.Errorf("%s is not %s", quote(t.text), fieldName(c))
		}
		return out, nil
	case 'n':
		out, err := domain.AppendText(dst, t.text, origin)
		if err != nil {
			return dst, fmt.Errorf("name %s: %w", quote(t.text), err)
		}
		return out, nil
	case '1', '2', '4':
		bits := int(c-'0') * 8
		v, err := parseUint(t.text, bits)
		if err != nil {
			return dst, err
		}
		return appendInt(dst, v, bits), nil
	case 'd':
		v, err := parseTTL(t.text, 1<<32-1)
		if err != nil {
			return dst, err
		}
		return binary.BigEndian.AppendUint32(dst, v), nil
	case 'g':
		if v, ok := dns.StringToAlgorithm[strings.ToUpper(string(t.text))]; ok {
			return append(dst, v), nil
		}
		v, err := parseUint(t.text, 8)
		return append(dst, byte(v)), err
	case 'T':
		v, ok := TypeByName(t.text)
		if !ok {
			return dst, fmt.Errorf("unknown type %s", quote(t.text))
		}
		return binary.BigEndian.AppendUint16(dst, v), nil
	case 'x':
		v, err := parseSigTime(t.text)
		return binary.BigEndian.AppendUint32(dst, v), err
	case 's':
		return appendString(dst, t.text)
	case 'u':
		if !isAlnum(t.text) || len(t.text) > 255 {
			return dst, fmt.Errorf("%s is not a word of letters and digits", quote(t.text))
		}
		return appendString(dst, t.text)
	case 'X':
		return appendUnescaped(dst, t.text)
	case 'H':
		if string(t.text) == "-" {
			return append(dst, 0), nil
		}
		b, err := hex.DecodeString(string(t.text))
		if err != nil || len(b) > 255 {
			return dst, fmt.Errorf("bad salt %s", quote(t.text))
		}
		return append(append(dst, byte(len(b))), b...), nil
	case 'c':
		b, err := base32Hex().DecodeString(strings.ToUpper(string(t.text)))
		if err != nil || len(b) == 0 || len(b) > 255 {
			return dst, fmt.Errorf("bad hash %s", quote(t.text))
		}
		return append(append(dst, byte(len(b))), b...), nil
	}
	return dst, fmt.Errorf("layout letter %q", c)
}

func appendInt(dst []byte, v uint64, bits int) []byte {
	for s := bits - 8; s >= 0; s -= 8 {
		dst = append(dst, byte(v>>s))
	}
	return dst
}

func parseUint(text []byte, bits int) (uint64, error) {
	v, err := strconv.ParseUint(string(text), 10, bits)
	if err != nil {
		return 0, fmt.Errorf("%s is not a number from 0 to %d", quote(text), uint64(1)<<bits-1)
	}
	return v, nil
}

// parseTTL reads seconds, or numbers with the units w d h m s ("1h30m").
func parseTTL(text []byte, max uint64) (uint32, error) {
	var total, v uint64
	digits := 0
	for _, c := range text {
		var unit uint64
		switch c | 0x20 {
		case 'w':
			unit = 7 * 24 * 3600
		case 'd':
			unit = 24 * 3600
		case 'h':
			unit = 3600
		case 'm':
			unit = 60
		case 's':
			unit = 1
		default:
			if c < '0' || c > '9' || digits == 10 {
				return 0, fmt.Errorf("%s is not a time in seconds", quote(text))
			}
			v = v*10 + uint64(c-'0')
			digits++
			continue
		}
		if digits == 0 {
			return 0, fmt.Errorf("%s is not a time in seconds", quote(text))
		}
		total += v * unit
		v, digits = 0, 0
		if total > max {
			return 0, fmt.Errorf("%s is more than %d seconds", quote(text), max)
		}
	}
	if len(text) == 0 {
		return 0, errors.New("empty time")
	}
	if digits > 0 && digits < len(text) { // 1h30: minutes to its author, seconds to ldns
		return 0, fmt.Errorf("%s is not a time in seconds", quote(text))
	}
	total += v
	if total > max {
		return 0, fmt.Errorf("%s is more than %d seconds", quote(text), max)
	}
	return uint32(total), nil
}

// parseSigTime reads YYYYMMDDHHmmSS or seconds since the epoch (RFC 4034 §3.2).
func parseSigTime(text []byte) (uint32, error) {
	if len(text) == 14 {
		t, err := time.Parse("20060102150405", string(text))
		if err != nil {
			return 0, fmt.Errorf("%s is not a time", quote(text))
		}
		return uint32(t.Unix()), nil
	}
	v, err := parseUint(text, 32)
	return uint32(v), err
}

// appendString appends a character-string of at most 255 octets.
func appendString(dst, text []byte) ([]byte, error) {
	at := len(dst)
	dst, err := appendUnescaped(append(dst, 0), text)
	if err != nil {
		return dst, err
	}
	n := len(dst) - at - 1
	if n > 255 {
		return dst, fmt.Errorf("text of %d octets: a character-string holds at most 255, split it", n)
	}
	dst[at] = byte(n)
	return dst, nil
}

func isAlnum(text []byte) bool {
	for _, c := range text {
		if (c < '0' || c > '9') && (c|0x20 < 'a' || c|0x20 > 'z') {
			return false
		}
	}
	return len(text) > 0
}

func appendUnescaped(dst, text []byte) ([]byte, error) {
	for {
		n := bytes.IndexByte(text, '\\')
		if n < 0 {
			return append(dst, text...), nil
		}
		dst = append(dst, text[:n]...)
		c, taken, err := unescapeAny(text[n:])
		if err != nil {
			return dst, fmt.Errorf("%w in %s", err, quote(text))
		}
		dst = append(dst, c)
		text = text[n+taken:]
	}
}

// unescapeAny is domain.Unescape, but lets a text escape any byte by itself.
func unescapeAny(b []byte) (byte, int, error) {
	if len(b) >= 2 && (b[1] < '0' || b[1] > '9') {
		return b[1], 2, nil
	}
	return domain.Unescape(b)
}

// appendBlob joins tokens and decodes them as hex ('h') or base64 ('b').
func appendBlob(dst []byte, kind byte, tokens []token) ([]byte, error) {
	text := tokens[0].text
	if len(tokens) > 1 {
		text = nil
		for _, t := range tokens {
			text = append(text, t.text...)
		}
	}
	if kind == 'h' {
		out, err := hex.AppendDecode(dst, text)
		if err != nil || len(text) == 0 {
			return dst, faultAt(0, "%s is not hexadecimal data of whole octets", quote(text))
		}
		return out, nil
	}
	out, err := base64.StdEncoding.Strict().AppendDecode(dst, text)
	if err != nil || len(text) == 0 {
		return dst, faultAt(0, "%s is not base64 data", quote(text))
	}
	return out, nil
}

func appendBitmap(dst []byte, tokens []token) ([]byte, error) {
	types := make([]uint16, 0, len(tokens))
	for i, t := range tokens {
		v, ok := TypeByName(t.text)
		if !ok {
			return dst, faultAt(i, "unknown type %s", quote(t.text))
		}
		types = append(types, v)
	}
	return AppendBitmap(dst, types), nil
}

// AppendBitmap appends the type bit maps field for types (RFC 4034 §4.1.2).
func AppendBitmap(dst []byte, types []uint16) []byte {
	if !slices.IsSorted(types) {
		types = slices.Sorted(slices.Values(types))
	}
	for i := 0; i < len(types); {
		window := types[i] >> 8
		at := len(dst)
		dst = append(dst, byte(window), 0)
		for ; i < len(types) && types[i]>>8 == window; i++ {
			octet := int(types[i]&0xff) / 8
			for len(dst)-at-2 <= octet {
				dst = append(dst, 0)
			}
			dst[at+2+octet] |= 0x80 >> (types[i] & 7)
		}
		dst[at+1] = byte(len(dst) - at - 2)
	}
	return dst
}

// checkLengths refuses digests whose length their type does not allow; no
// server and hardly any verifier looks at that.
func checkLengths(typ uint16, rdata []byte) error {
	want, have, what := 0, 0, ""
	switch typ {
	case dns.TypeSVCB, dns.TypeHTTPS:
		return checkSvcParams(rdata)
	case dns.TypeDS, dns.TypeCDS:
		if len(rdata) == 5 && rdata[2] == 0 && rdata[3] == 0 { // delete form, RFC 8078 §4
			return nil
		}
		if len(rdata) > 4 {
			want, have, what = map[byte]int{1: 20, 2: 32, 4: 48}[rdata[3]], len(rdata)-4, fmt.Sprintf("digest type %d", rdata[3])
		}
	case dns.TypeTLSA, dns.TypeSMIMEA:
		if len(rdata) > 3 {
			want, have, what = map[byte]int{1: 32, 2: 64}[rdata[2]], len(rdata)-3, fmt.Sprintf("matching type %d", rdata[2])
		}
	case dns.TypeSSHFP:
		if len(rdata) > 2 {
			want, have, what = map[byte]int{1: 20, 2: 32}[rdata[1]], len(rdata)-2, fmt.Sprintf("fingerprint type %d", rdata[1])
		}
	}
	if want != 0 && want != have {
		return fmt.Errorf("data of %d octets, %s needs %d", have, what, want)
	}
	return nil
}

// checkSvcParams refuses parameters that make clients ignore the whole RRset
// (RFC 9460 §2.2, §7.1.1, §8); no server looks at all of that.
func checkSvcParams(rdata []byte) error {
	if len(rdata) < 2 {
		return nil
	}
	n, err := domain.WireLen(rdata[2:])
	if err != nil {
		return nil
	}
	values := make(map[dns.SVCBKey][]byte)
	for rest := rdata[2+n:]; len(rest) >= 4; {
		key, size := dns.SVCBKey(binary.BigEndian.Uint16(rest)), int(binary.BigEndian.Uint16(rest[2:]))
		if len(rest) < 4+size {
			return nil
		}
		values[key] = rest[4 : 4+size]
		rest = rest[4+size:]
	}
	if alpn, ok := values[dns.SVCB_ALPN]; ok && len(alpn) == 0 {
		return errors.New("alpn holds no protocol")
	} else if _, alone := values[dns.SVCB_NO_DEFAULT_ALPN]; alone && !ok {
		return errors.New("no-default-alpn without alpn")
	}
	mandatory := values[dns.SVCB_MANDATORY]
	for ; len(mandatory) >= 2; mandatory = mandatory[2:] {
		key := dns.SVCBKey(binary.BigEndian.Uint16(mandatory))
		if _, ok := values[key]; !ok || key == dns.SVCB_MANDATORY {
			return fmt.Errorf("mandatory lists %s, which no client can find", key)
		}
	}
	return nil
}

// quote makes file text fit for a message: escaped and at most 40 bytes.
func quote(text []byte) string {
	if len(text) > 40 {
		return `"` + diag.Escape(string(text[:37])) + `..."`
	}
	return `"` + diag.Escape(string(text)) + `"`
}
