package tlsa

import (
	"errors"
	"strings"
	"time"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"

	"zonebuild/internal/domain"
)

// Material is what records are made of: a public key and, where there is one,
// its certificate.
type Material struct {
	SPKI []byte // SubjectPublicKeyInfo as it stands in the file, DER
	Cert []byte // the whole certificate, DER; nil for a CSR or a public key
	Form string // "certificate", "certificate request" or "public key"

	// Of a certificate only.
	NotBefore, NotAfter time.Time // NotAfter is the last second it is valid
	DNSNames            []string  // as written in its subjectAltName
	IsCA                bool
	subject, issuer     string // DER
}

var errDER = errors.New("not the DER of a certificate, a certificate request or a public key")

// oids of the two extensions that are read (RFC 5280 §4.2.1.6, §4.2.1.9).
const (
	oidSubjectAltName   = "\x55\x1d\x11"
	oidBasicConstraints = "\x55\x1d\x13"
)

// parseCertificate walks a certificate (RFC 5280 §4.1). crypto/x509 is not
// asked, as it refuses negative serial numbers and much else that servers have
// and DANE does not mind; algorithms need not be known.
func parseCertificate(der []byte) (*Material, error) {
	bad := errors.New("not the DER of a certificate")
	input := cryptobyte.String(der)
	var outer, tbs, validity cryptobyte.String
	if !input.ReadASN1(&outer, asn1.SEQUENCE) || !input.Empty() || !outer.ReadASN1(&tbs, asn1.SEQUENCE) ||
		!skip(&outer, asn1.SEQUENCE, asn1.BIT_STRING) || !outer.Empty() {
		return nil, bad
	}
	m := &Material{Cert: der, Form: "certificate"}
	var issuer, subject, spki cryptobyte.String
	if !tbs.SkipOptionalASN1(asn1.Tag(0).Constructed().ContextSpecific()) || // version
		!skip(&tbs, asn1.INTEGER, asn1.SEQUENCE) || // serial number, signature
		!tbs.ReadASN1Element(&issuer, asn1.SEQUENCE) || !tbs.ReadASN1(&validity, asn1.SEQUENCE) ||
		!tbs.ReadASN1Element(&subject, asn1.SEQUENCE) || !tbs.ReadASN1Element(&spki, asn1.SEQUENCE) {
		return nil, bad
	}
	var ok bool
	if m.NotBefore, ok = readTime(&validity); !ok {
		return nil, bad
	}
	if m.NotAfter, ok = readTime(&validity); !ok {
		return nil, bad
	}
	if !isSPKI(spki) {
		return nil, bad
	}
	m.SPKI, m.issuer, m.subject = spki, string(issuer), string(subject)
	if !tbs.SkipOptionalASN1(asn1.Tag(1).ContextSpecific()) || !tbs.SkipOptionalASN1(asn1.Tag(2).ContextSpecific()) {
		return nil, bad
	}
	var extensions cryptobyte.String
	var has bool
	if !tbs.ReadOptionalASN1(&extensions, &has, asn1.Tag(3).Constructed().ContextSpecific()) || !tbs.Empty() || has && !m.readExtensions(extensions) {
		return nil, bad
	}
	return m, nil
}

func (m *Material) readExtensions(s cryptobyte.String) bool {
	var list cryptobyte.String
	if !s.ReadASN1(&list, asn1.SEQUENCE) {
		return false
	}
	for !list.Empty() {
		var e, oid, value cryptobyte.String
		if !list.ReadASN1(&e, asn1.SEQUENCE) || !e.ReadASN1(&oid, asn1.OBJECT_IDENTIFIER) ||
			!e.SkipOptionalASN1(asn1.BOOLEAN) || !e.ReadASN1(&value, asn1.OCTET_STRING) {
			return false
		}
		switch string(oid) {
		case oidSubjectAltName:
			m.readNames(value)
		case oidBasicConstraints:
			var fields, flag cryptobyte.String
			m.IsCA = value.ReadASN1(&fields, asn1.SEQUENCE) && fields.ReadASN1(&flag, asn1.BOOLEAN) && string(flag) == "\xff"
		}
	}
	return true
}

// readNames takes the dNSNames of a subjectAltName; one that cannot be read
// leaves the certificate without names, which is a warning and no fault.
func (m *Material) readNames(value cryptobyte.String) {
	var names cryptobyte.String
	if !value.ReadASN1(&names, asn1.SEQUENCE) {
		return
	}
	for !names.Empty() {
		var name cryptobyte.String
		var tag asn1.Tag
		if !names.ReadAnyASN1(&name, &tag) {
			return
		}
		if tag == asn1.Tag(2).ContextSpecific() {
			m.DNSNames = append(m.DNSNames, string(name))
		}
	}
}

func readTime(s *cryptobyte.String) (t time.Time, ok bool) {
	if s.PeekASN1Tag(asn1.UTCTime) {
		return t, s.ReadASN1UTCTime(&t)
	}
	return t, s.ReadASN1GeneralizedTime(&t)
}

// parseRequest walks a PKCS #10 certificate request (RFC 2986 §4).
func parseRequest(der []byte) (*Material, error) {
	input := cryptobyte.String(der)
	var outer, info, spki cryptobyte.String
	if !input.ReadASN1(&outer, asn1.SEQUENCE) || !input.Empty() || !outer.ReadASN1(&info, asn1.SEQUENCE) ||
		!skip(&outer, asn1.SEQUENCE, asn1.BIT_STRING) || !outer.Empty() ||
		!skip(&info, asn1.INTEGER, asn1.SEQUENCE) || !info.ReadASN1Element(&spki, asn1.SEQUENCE) || !isSPKI(spki) {
		return nil, errors.New("not the DER of a certificate request")
	}
	return &Material{SPKI: spki, Form: "certificate request"}, nil
}

func parsePublicKey(der []byte) (*Material, error) {
	if !isSPKI(der) {
		return nil, errors.New("not the DER of a public key")
	}
	return &Material{SPKI: der, Form: "public key"}, nil
}

// isSPKI reports whether b is one SubjectPublicKeyInfo with a key in it.
func isSPKI(b []byte) bool {
	s := cryptobyte.String(b)
	var fields, algorithm, key cryptobyte.String
	return s.ReadASN1(&fields, asn1.SEQUENCE) && s.Empty() && fields.ReadASN1(&algorithm, asn1.SEQUENCE) &&
		skip(&algorithm, asn1.OBJECT_IDENTIFIER) && fields.ReadASN1(&key, asn1.BIT_STRING) && fields.Empty() && len(key) > 1
}

func skip(s *cryptobyte.String, tags ...asn1.Tag) bool {
	for _, t := range tags {
		if !s.SkipASN1(t) {
			return false
		}
	}
	return true
}

// Covers reports whether the certificate names a host (RFC 6125 §6.4: a
// wildcard stands for one whole leftmost label). The subject's common name
// does not count (RFC 9525 §2).
func (m *Material) Covers(host domain.Name) bool {
	for _, s := range m.DNSNames {
		if covers(s, host) {
			return true
		}
	}
	return false
}

func covers(pattern string, host domain.Name) bool {
	if strings.HasSuffix(pattern, "..") {
		return false
	}
	n, err := domain.Parse(pattern)
	switch {
	case err != nil:
		return false
	case n == host:
		return true
	}
	return n.IsWildcard() && n.Labels() > 2 && n.Labels() == host.Labels() && n.Parent() == host.Parent()
}
