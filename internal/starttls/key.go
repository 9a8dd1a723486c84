package starttls

import (
	"encoding/asn1"
	"fmt"
	"math/big"

	"golang.org/x/crypto/cryptobyte"
	tags "golang.org/x/crypto/cryptobyte/asn1"
)

// Object identifiers of keys and of curves.
const (
	oidRSA = "1.2.840.113549.1.1.1"
	oidEC  = "1.2.840.10045.2.1"
)

// keyNames names the keys that are known by their algorithm alone, and what
// curves are called; usable are those that crypto/tls can shake hands with.
var keyNames = map[string]struct {
	name   string
	usable bool
}{
	"1.3.101.112":             {"Ed25519", true},
	"1.3.101.113":             {"Ed448", false},
	"1.2.840.113549.1.1.10":   {"RSASSA-PSS", false},
	"1.2.840.10040.4.1":       {"DSA", false},
	"2.16.840.1.101.3.4.3.17": {"ML-DSA-44", false},
	"2.16.840.1.101.3.4.3.18": {"ML-DSA-65", false},
	"2.16.840.1.101.3.4.3.19": {"ML-DSA-87", false},

	"1.2.840.10045.3.1.7":   {"P-256", true},
	"1.3.132.0.34":          {"P-384", true},
	"1.3.132.0.35":          {"P-521", true},
	"1.3.132.0.33":          {"P-224", false},
	"1.3.132.0.10":          {"secp256k1", false},
	"1.3.36.3.3.2.8.1.1.7":  {"brainpoolP256r1", false},
	"1.3.36.3.3.2.8.1.1.11": {"brainpoolP384r1", false},
	"1.3.36.3.3.2.8.1.1.13": {"brainpoolP512r1", false},
}

// Sizes of RSA keys that crypto/tls takes, in bits.
const (
	minRSA = 1024
	maxRSA = 8192
)

// keyOf names the key of a certificate, and says whether crypto/tls can use it.
// It reads no more of the certificate than it needs, for crypto/x509 refuses
// some over other things. What cannot be read is "" and taken for usable.
func keyOf(der []byte) (name string, usable bool) {
	var cert, tbs, spki, algorithm cryptobyte.String
	in := cryptobyte.String(der)
	if !in.ReadASN1(&cert, tags.SEQUENCE) || !cert.ReadASN1(&tbs, tags.SEQUENCE) ||
		!tbs.SkipOptionalASN1(tags.Tag(0).Constructed().ContextSpecific()) || // version
		!tbs.SkipASN1(tags.INTEGER) || // serial number
		!tbs.SkipASN1(tags.SEQUENCE) || // signature
		!tbs.SkipASN1(tags.SEQUENCE) || // issuer
		!tbs.SkipASN1(tags.SEQUENCE) || // validity
		!tbs.SkipASN1(tags.SEQUENCE) || // subject
		!tbs.ReadASN1(&spki, tags.SEQUENCE) || !spki.ReadASN1(&algorithm, tags.SEQUENCE) {
		return "", true
	}
	var oid asn1.ObjectIdentifier
	if !algorithm.ReadASN1ObjectIdentifier(&oid) {
		return "", true
	}
	switch oid.String() {
	case oidRSA:
		var bits asn1.BitString
		if !spki.ReadASN1BitString(&bits) {
			return "", true
		}
		return rsaKey(bits.RightAlign())
	case oidEC:
		if !algorithm.ReadASN1ObjectIdentifier(&oid) {
			return "EC with parameters of its own", false
		}
	}
	if k, known := keyNames[oid.String()]; known {
		return k.name, k.usable
	}
	return "algorithm " + oid.String(), false
}

func rsaKey(der []byte) (string, bool) {
	var key cryptobyte.String
	n := new(big.Int)
	in := cryptobyte.String(der)
	if !in.ReadASN1(&key, tags.SEQUENCE) || !key.ReadASN1Integer(n) {
		return "", true
	}
	bits := n.BitLen()
	return fmt.Sprintf("RSA-%d", bits), minRSA <= bits && bits <= maxRSA
}
