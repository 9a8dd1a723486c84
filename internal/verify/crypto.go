package verify

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"errors"
	"fmt"
	"math"
	"math/big"

	"github.com/miekg/dns"
)

var errAlgorithm = errors.New("unknown algorithm")

// publicKey checks one signature over data. It is safe for concurrent use.
type publicKey interface {
	verify(data, signature []byte) bool
}

// newPublicKey reads the public key field of a DNSKEY. It gives errAlgorithm
// for an algorithm other than 5, 7, 8, 10, 13, 14, 15.
func newPublicKey(algorithm uint8, b []byte) (publicKey, error) {
	switch algorithm {
	case dns.RSASHA1, dns.RSASHA1NSEC3SHA1:
		return newRSA(b, crypto.SHA1)
	case dns.RSASHA256:
		return newRSA(b, crypto.SHA256)
	case dns.RSASHA512:
		return newRSA(b, crypto.SHA512)
	case dns.ECDSAP256SHA256:
		return newECDSA(elliptic.P256(), 32, b)
	case dns.ECDSAP384SHA384:
		return newECDSA(elliptic.P384(), 48, b)
	case dns.ED25519:
		if len(b) != ed25519.PublicKeySize {
			return nil, fmt.Errorf("Ed25519 key of %d octets, not %d", len(b), ed25519.PublicKeySize)
		}
		return ed25519Key(b), nil
	}
	return nil, errAlgorithm
}

type rsaKey struct {
	public *rsa.PublicKey
	hash   crypto.Hash
}

// newRSA reads RFC 3110 §2. Exponents above 2³¹−1 and keys that crypto/rsa
// refuses (below 1,024 bits) cannot be checked.
func newRSA(b []byte, hash crypto.Hash) (publicKey, error) {
	if len(b) < 3 {
		return nil, errors.New("RSA key cut short")
	}
	n := int(b[0])
	b = b[1:]
	if n == 0 {
		n = int(b[0])<<8 | int(b[1])
		b = b[2:]
	}
	if n == 0 || n >= len(b) {
		return nil, errors.New("RSA key cut short")
	}
	e := new(big.Int).SetBytes(b[:n])
	if !e.IsInt64() || e.Int64() > math.MaxInt32 || e.Int64() < 3 || e.Bit(0) == 0 {
		return nil, fmt.Errorf("RSA exponent of %d bits cannot be used", e.BitLen())
	}
	m := new(big.Int).SetBytes(b[n:])
	if m.BitLen() < 1024 || m.BitLen() > 4096 || m.Bit(0) == 0 {
		return nil, fmt.Errorf("RSA modulus of %d bits cannot be used (RFC 5702 §2.1: 1024 to 4096)", m.BitLen())
	}
	return &rsaKey{&rsa.PublicKey{N: m, E: int(e.Int64())}, hash}, nil
}

func (k *rsaKey) verify(data, signature []byte) bool {
	var digest []byte
	switch k.hash {
	case crypto.SHA1:
		d := sha1.Sum(data)
		digest = d[:]
	case crypto.SHA256:
		d := sha256.Sum256(data)
		digest = d[:]
	default:
		d := sha512.Sum512(data)
		digest = d[:]
	}
	if size := k.public.Size(); len(signature) < size {
		// The signature is a number (RFC 3110 §3); some signers drop its zeros.
		signature = append(make([]byte, size-len(signature)), signature...)
	}
	return rsa.VerifyPKCS1v15(k.public, k.hash, digest, signature) == nil
}

type ecdsaKey struct {
	public *ecdsa.PublicKey
	size   int // of a coordinate
}

// newECDSA reads RFC 6605 §4: x and y, which must be a point of the curve.
func newECDSA(curve elliptic.Curve, size int, b []byte) (publicKey, error) {
	if len(b) != 2*size {
		return nil, fmt.Errorf("ECDSA key of %d octets, not %d", len(b), 2*size)
	}
	p, err := ecdsa.ParseUncompressedPublicKey(curve, append([]byte{4}, b...))
	if err != nil {
		return nil, errors.New("ECDSA key is no point of its curve")
	}
	return &ecdsaKey{p, size}, nil
}

func (k *ecdsaKey) verify(data, signature []byte) bool {
	if len(signature) != 2*k.size {
		return false
	}
	var room [maxDER]byte
	der := appendDER(room[:0], signature[:k.size], signature[k.size:])
	if k.size == 32 {
		d := sha256.Sum256(data)
		return ecdsa.VerifyASN1(k.public, d[:], der)
	}
	d := sha512.Sum384(data)
	return ecdsa.VerifyASN1(k.public, d[:], der)
}

// maxDER is how many octets appendDER makes of a signature at most, of which none of the
// two lengths needs a second octet.
const maxDER = 2 + 2*(3+48)

// appendDER makes of r and s what crypto/ecdsa takes: a SEQUENCE of two INTEGERs (RFC 3279
// §2.2.3). ecdsa.Verify does so from big integers, which is a tenth of the time that a
// signature takes.
func appendDER(b, r, s []byte) []byte {
	b = append(b, 0x30, 0)
	for _, v := range [][]byte{r, s} {
		v = bytes.TrimLeft(v, "\x00")
		if len(v) == 0 || v[0] >= 0x80 { // it would be negative, or nothing
			b = append(b, 0x02, byte(len(v)+1), 0)
		} else {
			b = append(b, 0x02, byte(len(v)))
		}
		b = append(b, v...)
	}
	b[1] = byte(len(b) - 2)
	return b
}

// ed25519Key is RFC 8080 §3.
type ed25519Key ed25519.PublicKey

func (k ed25519Key) verify(data, signature []byte) bool {
	return len(signature) == ed25519.SignatureSize && ed25519.Verify(ed25519.PublicKey(k), data, signature)
}
