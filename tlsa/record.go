// Package tlsa makes TLSA records of certificates and keeps them right while
// keys change: the certificate map certs.map, the distrustful reader of certs/,
// association data (RFC 6698 §2.1), the rollover of keys (RFC 7671 §8) as a
// pure step, and a pure matcher of records and served chains (RFC 7671 §4-§10).
//
// It asks nobody and writes nothing: what is published, what servers answered,
// and the time are arguments. It refuses private keys, files outside certs/,
// and to take a record back because of anything that stands in certs/ or of
// time that went by: only what was seen served, or the operator, ends a record.
package tlsa

import (
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"zonebuild/internal/domain"
)

// Certificate usages (RFC 6698 §2.1.1, names of RFC 7218).
const (
	PKIXTA uint8 = iota
	PKIXEE
	DANETA
	DANEEE
)

// Selectors (RFC 6698 §2.1.2).
const (
	Cert uint8 = iota // the certificate
	SPKI              // its public key with the algorithm, DER
)

// Matching types (RFC 6698 §2.1.3).
const (
	Full uint8 = iota // the selected data itself
	SHA256
	SHA512
)

// maxData bounds the association data of a record in octets; a record of
// matching type 0 holds a whole certificate.
const maxData = 8 << 10

// Kind is the three numbers in front of the association data.
type Kind struct {
	Usage, Selector, MatchingType uint8
}

// DefaultKind is 3 1 1: what RFC 7671 §5.1 recommends.
var DefaultKind = Kind{DANEEE, SPKI, SHA256}

// String gives "3 1 1".
func (k Kind) String() string {
	return strconv.Itoa(int(k.Usage)) + " " + strconv.Itoa(int(k.Selector)) + " " + strconv.Itoa(int(k.MatchingType))
}

// known reports whether all three numbers have a meaning (RFC 6698, RFC 7671).
func (k Kind) known() bool {
	return k.Usage <= DANEEE && k.Selector <= SPKI && k.MatchingType <= SHA512
}

// anchors reports whether a record of this kind names a trust anchor (TA) and
// so never the server's own certificate (RFC 7671 §5.2).
func (k Kind) anchors() bool { return k.Usage == PKIXTA || k.Usage == DANETA }

// Record is the data of one TLSA record. Records are equal exactly when == says so.
type Record struct {
	Kind
	Data string // association data, octets
}

// Associate gives the record of a key or certificate (RFC 6698 §2.1).
// Errors: an unknown kind; selector 0 and no certificate; more data than a
// record may hold.
func Associate(k Kind, m *Material) (Record, error) {
	if !k.known() {
		return Record{}, fmt.Errorf("make a TLSA record: %s is no known usage, selector and matching type", k)
	}
	if k.Selector == Cert && m.Cert == nil {
		return Record{}, fmt.Errorf("make a TLSA record: selector 0 needs a certificate, and this is a %s", m.Form)
	}
	data, err := associationData(k, m.Cert, m.SPKI)
	if err != nil {
		return Record{}, fmt.Errorf("make a TLSA record: %w", err)
	}
	return Record{k, data}, nil
}

func associationData(k Kind, cert, spki []byte) (string, error) {
	selected := cert
	if k.Selector == SPKI {
		selected = spki
	}
	if len(selected) == 0 {
		return "", errors.New("nothing to hash") // never the digest of nothing
	}
	switch k.MatchingType {
	case SHA256:
		d := sha256.Sum256(selected)
		return string(d[:]), nil
	case SHA512:
		d := sha512.Sum512(selected)
		return string(d[:]), nil
	}
	if len(selected) > maxData {
		return "", fmt.Errorf("%d octets of data, at most %d are published", len(selected), maxData)
	}
	return string(selected), nil
}

// Check says why no client uses the record (RFC 6698 §4.1: unusable).
func (r Record) Check() error {
	switch {
	case r.Usage > DANEEE:
		return fmt.Errorf("unknown certificate usage %d", r.Usage)
	case r.Selector > SPKI:
		return fmt.Errorf("unknown selector %d", r.Selector)
	case r.MatchingType > SHA512:
		return fmt.Errorf("unknown matching type %d", r.MatchingType)
	case r.MatchingType == SHA256 && len(r.Data) != sha256.Size, r.MatchingType == SHA512 && len(r.Data) != sha512.Size:
		return fmt.Errorf("association data of %d octets, matching type %d has %d", len(r.Data), r.MatchingType, 32*int(r.MatchingType))
	case len(r.Data) == 0:
		return errors.New("no association data")
	}
	return nil
}

// String is the rdata in presentation format: "3 1 1" and lower hex.
func (r Record) String() string { return r.Kind.String() + " " + hex.EncodeToString([]byte(r.Data)) }

// Text is the record as `ldns-dane create` prints it, without the end of line:
// fields parted by tabs, owner with final dot, TTL in seconds.
func (r Record) Text(owner domain.Name, ttl uint32) string {
	return owner.String() + "\t" + strconv.FormatUint(uint64(ttl), 10) + "\tIN\tTLSA\t" + r.String()
}

// Rdata is the wire form (RFC 6698 §2.1).
func (r Record) Rdata() []byte {
	return append([]byte{r.Usage, r.Selector, r.MatchingType}, r.Data...)
}

// FromRdata reads the wire form. Whether the record is usable is not asked.
func FromRdata(b []byte) (Record, error) {
	if len(b) < 3 {
		return Record{}, fmt.Errorf("read a TLSA record: %d octets of rdata", len(b))
	}
	return Record{Kind{b[0], b[1], b[2]}, string(b[3:])}, nil
}

// MarshalText is String.
func (r Record) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText reads what MarshalText wrote, and hex in either case.
func (r *Record) UnmarshalText(text []byte) error {
	f := strings.Fields(string(text))
	if len(f) < 3 {
		return errors.New("read a TLSA record: not of the form USAGE SELECTOR TYPE HEX")
	}
	var n [3]uint8
	for i := range n {
		v, err := strconv.ParseUint(f[i], 10, 8)
		if err != nil {
			return fmt.Errorf("read a TLSA record: %q is not a number from 0 to 255", f[i])
		}
		n[i] = uint8(v)
	}
	data, err := hex.DecodeString(strings.Join(f[3:], ""))
	if err != nil {
		return errors.New("read a TLSA record: data that is not hexadecimal")
	}
	*r = Record{Kind{n[0], n[1], n[2]}, string(data)}
	return nil
}
