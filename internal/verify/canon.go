package verify

import (
	"errors"

	"github.com/miekg/dns"

	"zonebuild/internal/domain"
)

const typeA6 = 38

// layout says where the rdata of a type holds the names that its canonical
// form has in lower case: after skip octets and strings character-strings.
type layout struct{ skip, strings, names int }

// layoutOf is the list of RFC 4034 §6.2 without NSEC and HINFO (RFC 6840 §5.1).
func layoutOf(typ uint16) (layout, bool) {
	switch typ {
	case dns.TypeNS, dns.TypeCNAME, dns.TypePTR, dns.TypeDNAME, dns.TypeMD, dns.TypeMF,
		dns.TypeMB, dns.TypeMG, dns.TypeMR, dns.TypeNXT:
		return layout{0, 0, 1}, true
	case dns.TypeSOA, dns.TypeMINFO, dns.TypeRP:
		return layout{0, 0, 2}, true
	case dns.TypeMX, dns.TypeAFSDB, dns.TypeRT, dns.TypeKX:
		return layout{2, 0, 1}, true
	case dns.TypePX:
		return layout{2, 0, 2}, true
	case dns.TypeNAPTR:
		return layout{4, 3, 1}, true
	case dns.TypeSRV:
		return layout{6, 0, 1}, true
	case dns.TypeSIG, dns.TypeRRSIG:
		return layout{18, 0, 1}, true
	}
	return layout{}, false
}

var errRdata = errors.New("rdata is not as its type has it")

// canonicalRdata brings wire rdata into canonical form in place, and refuses
// what the rest of the package could not read.
func canonicalRdata(typ uint16, b []byte) error {
	at := 0
	l, ok := layoutOf(typ)
	if typ == typeA6 && len(b) > 0 && b[0] > 0 && b[0] <= 128 {
		l, ok = layout{1 + (128-int(b[0])+7)/8, 0, 1}, true
	}
	if ok {
		at = l.skip
		for range l.strings {
			if at >= len(b) {
				return errRdata
			}
			at += int(b[at]) + 1
		}
		for range l.names {
			if at > len(b) {
				return errRdata
			}
			n, err := domain.WireLen(b[at:])
			if err != nil {
				return err
			}
			domain.ToLower(b[at : at+n])
			at += n
		}
	}
	if !wellFormed(typ, b, b[min(at, len(b)):]) {
		return errRdata
	}
	return nil
}

// wellFormed checks the length and the form of the types that this package
// looks into; rest is what follows the names.
func wellFormed(typ uint16, b, rest []byte) bool {
	switch typ {
	case dns.TypeA:
		return len(b) == 4
	case dns.TypeAAAA:
		return len(b) == 16
	case dns.TypeSOA:
		return len(rest) == 20
	case dns.TypeNS, dns.TypeCNAME, dns.TypePTR, dns.TypeDNAME, dns.TypeMX, dns.TypeSRV:
		return len(rest) == 0
	case dns.TypeTXT, dns.TypeSPF:
		at := 0
		for at < len(b) {
			at += int(b[at]) + 1
		}
		return at == len(b) && at > 0
	case dns.TypeCAA:
		return len(b) >= 2 && len(b) >= 2+int(b[1]) && b[1] > 0
	case dns.TypeTLSA, dns.TypeSMIMEA:
		return len(b) > 3
	case dns.TypeSSHFP:
		return len(b) > 2
	case dns.TypeDS, dns.TypeCDS, dns.TypeDNSKEY, dns.TypeCDNSKEY:
		return len(b) > 4
	case dns.TypeZONEMD:
		return len(b) > 6
	case dns.TypeRRSIG:
		return len(rest) > 0
	case dns.TypeNSEC:
		n, err := domain.WireLen(b)
		if err != nil {
			return false
		}
		_, ok := bitmapTypes(nil, b[n:])
		return ok
	case dns.TypeNSEC3PARAM:
		return len(b) >= 5 && len(b) == 5+int(b[4])
	case dns.TypeNSEC3:
		if len(b) < 5 || len(b) < 6+int(b[4]) {
			return false
		}
		h := b[5+int(b[4]):]
		if h[0] == 0 || len(h) < 1+int(h[0]) {
			return false
		}
		_, ok := bitmapTypes(nil, h[1+int(h[0]):])
		return ok
	}
	return true
}
