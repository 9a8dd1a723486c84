package zone

import (
	"bytes"
	"encoding/base32"
	"encoding/hex"
	"strings"

	"github.com/miekg/dns"

	"zonebuild/internal/domain"
)

func base32Hex() *base32.Encoding { return base32.HexEncoding.WithPadding(base32.NoPadding) }

// TypeByName reads a mnemonic in any case, or TYPEnnn (RFC 3597 §5).
func TypeByName(text []byte) (uint16, bool) {
	switch string(text) { // what a signed zone is full of
	case "RRSIG":
		return dns.TypeRRSIG, true
	case "NSEC":
		return dns.TypeNSEC, true
	case "NSEC3":
		return dns.TypeNSEC3, true
	case "A":
		return dns.TypeA, true
	case "AAAA":
		return dns.TypeAAAA, true
	case "NS":
		return dns.TypeNS, true
	case "DS":
		return dns.TypeDS, true
	}
	var buf [16]byte
	if len(text) == 0 || len(text) > len(buf) {
		return 0, false
	}
	up := buf[:copy(buf[:], text)]
	for i, c := range up {
		if 'a' <= c && c <= 'z' {
			up[i] = c - 'a' + 'A'
		}
	}
	if t, ok := dns.StringToType[string(up)]; ok && t != 0 {
		return t, true
	}
	if num, ok := bytes.CutPrefix(up, []byte("TYPE")); ok && len(num) > 0 && (num[0] != '0' || len(num) == 1) {
		v, err := parseUint(num, 16)
		return uint16(v), err == nil && v != 0
	}
	return 0, false
}

// TypeName is the mnemonic of a type, or TYPEnnn.
func TypeName(typ uint16) string {
	switch typ { // what a zone is full of
	case dns.TypeA:
		return "A"
	case dns.TypeAAAA:
		return "AAAA"
	case dns.TypeNSEC:
		return "NSEC"
	case dns.TypeRRSIG:
		return "RRSIG"
	}
	if s, ok := dns.TypeToString[typ]; ok {
		return s
	}
	return dns.Type(typ).String()
}

// appendGeneric reads \# LENGTH HEX (RFC 3597 §5) and, for a type that is
// known, brings its names into canonical form and refuses malformed rdata.
func appendGeneric(dst []byte, typ uint16, tokens []token) ([]byte, error) {
	if len(tokens) < 2 {
		return dst, faultAt(0, `length is missing after \#`)
	}
	n, err := parseUint(tokens[1].text, 16)
	if err != nil {
		return dst, faultAt(1, "%s", err)
	}
	var text []byte
	for _, t := range tokens[2:] {
		text = append(text, t.text...)
	}
	rdata, err := hex.DecodeString(string(text))
	if err != nil {
		return dst, faultAt(min(2, len(tokens)-1), "bad hexadecimal data")
	}
	if len(rdata) != int(n) {
		return dst, faultAt(1, `\# says %d octets, there are %d`, n, len(rdata))
	}
	if _, known := dns.TypeToRR[typ]; !known {
		return append(dst, rdata...), nil
	}
	rdata, err = canonicalRdata(typ, rdata)
	if err != nil {
		return dst, faultAt(2, "bad %s rdata", TypeName(typ))
	}
	return append(dst, rdata...), nil
}

// canonicalRdata checks that rdata is well-formed for its type and lower-cases
// the names of the types that RFC 4034 §6.2 lists.
func canonicalRdata(typ uint16, rdata []byte) ([]byte, error) {
	if fields := layout(typ); fields != "" {
		if !walkFields(fields, rdata, func(kind byte, field []byte) {
			if kind == 'n' {
				domain.ToLower(field)
			}
		}) {
			return nil, dns.ErrRdata
		}
		return rdata, nil
	}
	rr, err := unpackRdata(typ, rdata)
	if typ == dns.TypeAMTRELAY && relayLength(rdata) == len(rdata) {
		return rdata, nil // whatever the library makes of the D bit
	}
	if err != nil {
		return nil, err
	}
	packed, err := packRdata(rr)
	if err != nil || len(packed) != len(rdata) {
		return rdata, nil // the library cannot write what it reads
	}
	return packed, nil
}

// relayLength is how long the rdata of an AMTRELAY must be (RFC 8777 §4.2), -1
// for what is none.
func relayLength(rdata []byte) int {
	if len(rdata) < 2 {
		return -1
	}
	switch rdata[1] & 0x7f {
	case 0:
		return 2
	case 1:
		return 2 + 4
	case 2:
		return 2 + 16
	case 3:
		if n, err := domain.WireLen(rdata[2:]); err == nil {
			return 2 + n
		}
	}
	return -1
}

// appendByLibrary lets miekg/dns read the rdata of a type without a layout.
func appendByLibrary(dst []byte, typ uint16, tokens []token, origin domain.Name) ([]byte, error) {
	var b strings.Builder
	b.WriteString(". 0 IN " + TypeName(typ))
	for _, t := range tokens {
		b.WriteByte(' ')
		if t.quoted {
			b.WriteByte('"')
		}
		b.Write(t.text)
		if t.quoted {
			b.WriteByte('"')
		}
	}
	b.WriteByte('\n')
	p := dns.NewZoneParser(strings.NewReader(b.String()), origin.String(), "")
	rr, ok := p.Next()
	if !ok || rr == nil {
		return dst, faultAt(0, "bad %s rdata", TypeName(typ))
	}
	rdata, err := packRdata(rr)
	if err != nil {
		return dst, faultAt(0, "bad %s rdata", TypeName(typ))
	}
	// What the library reads it must also write, and whole: it drops the relay of
	// an AMTRELAY with discovery, for one.
	back, err := unpackRdata(typ, rdata)
	whole := err == nil && (dns.IsDuplicate(rr, back) || strings.EqualFold(rr.String(), back.String()))
	if !whole || typ == dns.TypeAMTRELAY && relayLength(rdata) != len(rdata) {
		return dst, faultAt(0, `bad %s rdata, or a form that only \# LENGTH HEX can give (RFC 3597)`, TypeName(typ))
	}
	return append(dst, rdata...), nil
}

func packRdata(rr dns.RR) ([]byte, error) {
	buf := make([]byte, dns.Len(rr)+64)
	off, err := dns.PackRR(rr, buf, 0, nil, false)
	if err != nil {
		return nil, err
	}
	head, err := domain.WireLen(buf)
	if err != nil || off < head+10 {
		return nil, dns.ErrRdata
	}
	return buf[head+10 : off], nil
}

func unpackRdata(typ uint16, rdata []byte) (dns.RR, error) {
	if len(rdata) == 0 {
		return nil, dns.ErrRdata
	}
	h := dns.RR_Header{Name: ".", Rrtype: typ, Class: dns.ClassINET, Rdlength: uint16(len(rdata))}
	rr, off, err := dns.UnpackRRWithHeader(h, rdata, 0)
	if err != nil {
		return nil, err
	}
	if off != len(rdata) {
		return nil, dns.ErrRdata
	}
	return rr, nil
}
