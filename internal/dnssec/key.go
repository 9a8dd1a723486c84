package dnssec

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"errors"
	"fmt"

	"github.com/miekg/dns"
	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

// Key is one key of a zone, as its files say.
type Key struct {
	DNSKEY dns.DNSKEY // its TTL means nothing: the policy sets it
	Tag    uint16
	Path   string    // of its files, without extension
	State  *KeyState // its .state file; nil when there is none

	KSK, ZSK  bool // roles; both: a CSK
	Published bool // stands in the DNSKEY set
	SignsZone bool // signs the records
	SignsKeys bool // signs the DNSKEY set

	Signer crypto.Signer // nil without the private key, which is not needed to publish
}

// SignData appends the signature over data (RFC 4034 §3.1.8.1) to dst. It is
// deterministic (RFC 6979 for ECDSA): the same key and data give the same bytes.
// Goroutines may share a key. On an error dst comes back as it was.
func (k *Key) SignData(dst, data []byte) ([]byte, error) {
	if k.Signer == nil {
		return dst, errors.New("the private key is not here")
	}
	var digest []byte
	var opts crypto.Hash
	switch k.DNSKEY.Algorithm {
	case dns.ECDSAP256SHA256, dns.RSASHA256: // PKCS #1 v1.5, RFC 5702 §3
		sum := sha256.Sum256(data)
		digest, opts = sum[:], crypto.SHA256
	case dns.ECDSAP384SHA384:
		sum := sha512.Sum384(data)
		digest, opts = sum[:], crypto.SHA384
	case dns.ED25519:
		digest = data // RFC 8080 §4: the data itself
	default:
		return dst, fmt.Errorf("algorithm %d is not one that signs here", k.DNSKEY.Algorithm)
	}
	sig, err := k.Signer.Sign(nil, digest, opts)
	if err != nil {
		return dst, err
	}
	switch k.DNSKEY.Algorithm {
	case dns.ECDSAP256SHA256:
		return appendFixed(dst, sig, 32)
	case dns.ECDSAP384SHA384:
		return appendFixed(dst, sig, 48)
	}
	return append(dst, sig...), nil
}

// appendFixed turns an ASN.1 ECDSA signature into r and s of fixed width
// (RFC 6605 §4).
func appendFixed(dst, der []byte, width int) ([]byte, error) {
	var r, s []byte
	input := cryptobyte.String(der)
	var inner cryptobyte.String
	if !input.ReadASN1(&inner, asn1.SEQUENCE) || !input.Empty() ||
		!inner.ReadASN1Integer(&r) || !inner.ReadASN1Integer(&s) || !inner.Empty() ||
		len(r) > width || len(s) > width {
		return dst, errors.New("the signer gave a malformed signature")
	}
	for _, v := range [][]byte{r, s} {
		for range width - len(v) {
			dst = append(dst, 0)
		}
		dst = append(dst, v...)
	}
	return dst, nil
}

// matches proves that the private key belongs to the DNSKEY by making one
// signature and verifying it with the public one.
func (k *Key) matches() error {
	probe := []byte("zonebuild: does this private key belong to that DNSKEY?")
	sig, err := k.SignData(nil, probe)
	if err != nil {
		return errors.New("the private key cannot sign") // err could tell of it
	}
	ok := false
	switch pub := k.Signer.Public().(type) {
	case *ecdsa.PublicKey:
		var point []byte
		if point, err = pub.Bytes(); err != nil {
			return errors.New("the public key is no point of its curve")
		}
		ok = bytes.Equal(point[1:], publicBytes(&k.DNSKEY)) && verifyECDSA(pub, probe, sig)
	case ed25519.PublicKey:
		ok = bytes.Equal(pub, publicBytes(&k.DNSKEY)) && ed25519.Verify(pub, probe, sig)
	case *rsa.PublicKey:
		sum := sha256.Sum256(probe)
		ok = bytes.Equal(rsaPublic(pub), publicBytes(&k.DNSKEY)) && rsa.VerifyPKCS1v15(pub, crypto.SHA256, sum[:], sig) == nil
	}
	if !ok {
		return errors.New("the private key does not belong to the public key")
	}
	return nil
}

func publicBytes(k *dns.DNSKEY) []byte {
	rdata, err := dnskeyRdata(k)
	if err != nil {
		return nil
	}
	return rdata[4:]
}

func verifyECDSA(pub *ecdsa.PublicKey, data, sig []byte) bool {
	half := len(sig) / 2
	var b cryptobyte.Builder
	b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
		for _, v := range [][]byte{sig[:half], sig[half:]} {
			b.AddASN1(asn1.INTEGER, func(b *cryptobyte.Builder) {
				v = bytes.TrimLeft(v, "\x00")
				if len(v) == 0 || v[0]&0x80 != 0 {
					b.AddUint8(0)
				}
				b.AddBytes(v)
			})
		}
	})
	der, err := b.Bytes()
	if err != nil {
		return false
	}
	if half == 48 {
		sum := sha512.Sum384(data)
		return ecdsa.VerifyASN1(pub, sum[:], der)
	}
	sum := sha256.Sum256(data)
	return ecdsa.VerifyASN1(pub, sum[:], der)
}

// rsaPublic is the public key field of RFC 3110 §2.
func rsaPublic(pub *rsa.PublicKey) []byte {
	var e []byte
	for v := pub.E; v > 0; v >>= 8 {
		e = append([]byte{byte(v)}, e...)
	}
	return append(append([]byte{byte(len(e))}, e...), pub.N.Bytes()...)
}

// DS makes the DS record of a key (RFC 4034 §5), by the digest type: dns.SHA256
// is the one to publish (RFC 8624 §3.3). It is nil for an unknown type.
func DS(k *Key, digestType uint8) *dns.DS { return k.DNSKEY.ToDS(digestType) }
