package sshfp

import (
	"bytes"
	"crypto/ecdh"
	"crypto/ed25519"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math/big"
	"strings"
)

// Fingerprint types (RFC 4255 §3.1.2, RFC 6594 §3.2).
const (
	SHA1   uint8 = 1
	SHA256 uint8 = 2
)

// Algorithm numbers of SSHFP (RFC 4255 §3.1.1, RFC 6594 §3.1, RFC 7479, RFC 8709
// §5). Number 2, DSA, is read but never published.
const (
	RSA     uint8 = 1
	ECDSA   uint8 = 3
	Ed25519 uint8 = 4
	Ed448   uint8 = 6
)

// Bounds of keys.
const (
	minRSA    = 1024  // bits; OpenSSH refuses less
	maxRSA    = 16384 // bits; OpenSSH makes no more
	maxRSAExp = 64    // bits of the public exponent; OpenSSL's bound for large keys
	ed448Size = 57    // octets (RFC 8032 §5.2.5)
)

// errNoNumber is for a key that is whole, as far as one can tell, but of a type
// that SSHFP cannot say or nobody accepts.
var errNoNumber = errors.New("SSHFP has no algorithm number for it")

// Key is a public host key.
type Key struct {
	Type         string // as in the file, such as "ssh-ed25519"
	Algorithm    uint8  // of SSHFP
	Blob         []byte // in wire form (RFC 4253 §6.6)
	Line, Column int    // where its type stands
}

// Rdata is the data of the key's SSHFP record with a fingerprint of a type.
func (k Key) Rdata(kind uint8) []byte {
	return append([]byte{k.Algorithm, kind}, fingerprint(k.Blob, kind)...)
}

// fingerprint hashes a whole key (RFC 4255 §3.1.3); nil for an unknown type.
func fingerprint(blob []byte, kind uint8) []byte {
	switch kind {
	case SHA1:
		sum := sha1.Sum(blob)
		return sum[:]
	case SHA256:
		sum := sha256.Sum256(blob)
		return sum[:]
	}
	return nil
}

// numberOf is the algorithm number of a type of keys; 0 without one.
func numberOf(typ string) uint8 {
	switch typ {
	case "ssh-rsa":
		return RSA
	case "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521":
		return ECDSA
	case "ssh-ed25519":
		return Ed25519
	case "ssh-ed448":
		return Ed448
	}
	return 0
}

// nameOf is the mnemonic of an algorithm number.
func nameOf(algorithm uint8) string {
	switch algorithm {
	case RSA:
		return "RSA"
	case ECDSA:
		return "ECDSA"
	case Ed25519:
		return "Ed25519"
	}
	return "Ed448"
}

// checkBlob checks a whole key of a type and gives its algorithm number. Errors:
// errNoNumber; what is wrong with the key.
func checkBlob(typ string, blob []byte) (uint8, error) {
	w := wire{blob}
	inner, err := w.text()
	switch {
	case err != nil:
		return 0, err
	case string(inner) != typ:
		return 0, fmt.Errorf("the line says %s, the key is of type %s", quote(typ), quote(string(inner)))
	}
	algorithm := numberOf(typ)
	switch algorithm {
	case RSA:
		err = w.rsa()
	case ECDSA:
		err = w.ecdsa(strings.TrimPrefix(typ, "ecdsa-sha2-"))
	case Ed25519:
		err = w.octets(ed25519.PublicKeySize)
	case Ed448:
		err = w.octets(ed448Size)
	default:
		return 0, errNoNumber
	}
	if err == nil && len(w.rest) > 0 {
		err = fmt.Errorf("%d octets behind the key", len(w.rest))
	}
	return algorithm, err
}

// wire reads the data types of RFC 4251 §5.
type wire struct{ rest []byte }

func (w *wire) text() ([]byte, error) {
	if len(w.rest) < 4 {
		return nil, errors.New("the key is cut short")
	}
	n := binary.BigEndian.Uint32(w.rest)
	if uint64(n) > uint64(len(w.rest)-4) {
		return nil, errors.New("the key is cut short")
	}
	s := w.rest[4 : 4+n]
	w.rest = w.rest[4+n:]
	return s, nil
}

// mpint reads a positive number. One with needless zeros is refused: a server
// sends its key without them, so the fingerprint would be of no use.
func (w *wire) mpint() (*big.Int, error) {
	b, err := w.text()
	switch {
	case err != nil:
		return nil, err
	case len(b) == 0 || b[0]&0x80 != 0:
		return nil, errors.New("a number of the key is not positive")
	case b[0] == 0 && (len(b) == 1 || b[1]&0x80 == 0):
		return nil, errors.New("a number of the key has needless zeros")
	}
	return new(big.Int).SetBytes(b), nil
}

// rsa reads exponent and modulus (RFC 4253 §6.6).
func (w *wire) rsa() error {
	e, err := w.mpint()
	if err != nil {
		return err
	}
	n, err := w.mpint()
	if err != nil {
		return err
	}
	switch bits := n.BitLen(); {
	case bits < minRSA || bits > maxRSA:
		return fmt.Errorf("RSA modulus of %d bits, %d to %d are in use", bits, minRSA, maxRSA)
	case n.Bit(0) == 0:
		return errors.New("RSA modulus is even")
	case e.BitLen() > maxRSAExp:
		return fmt.Errorf("RSA exponent of %d bits, at most %d are in use", e.BitLen(), maxRSAExp)
	case e.Bit(0) == 0 || e.BitLen() == 1:
		return fmt.Errorf("RSA exponent is %d", e)
	}
	return nil
}

// ecdsa reads the name of the curve and a point (RFC 5656 §3.1). crypto/ecdh
// takes points of the curve in uncompressed form only.
func (w *wire) ecdsa(curve string) error {
	name, err := w.text()
	if err != nil {
		return err
	}
	if string(name) != curve {
		return fmt.Errorf("curve %s in a key of curve %s", quote(string(name)), curve)
	}
	point, err := w.text()
	if err != nil {
		return err
	}
	curves := map[string]ecdh.Curve{"nistp256": ecdh.P256(), "nistp384": ecdh.P384(), "nistp521": ecdh.P521()}
	if _, err := curves[curve].NewPublicKey(bytes.Clone(point)); err != nil {
		return fmt.Errorf("no point of curve %s", curve)
	}
	return nil
}

// octets reads a key that is so many octets (RFC 8709 §4).
func (w *wire) octets(size int) error {
	b, err := w.text()
	if err == nil && len(b) != size {
		err = fmt.Errorf("key of %d octets, not %d", len(b), size)
	}
	return err
}

// quote makes a piece of a foreign text fit for a message.
func quote(s string) string {
	const most = 60
	if len(s) > most {
		s = s[:most] + "..."
	}
	return fmt.Sprintf("%q", s)
}
