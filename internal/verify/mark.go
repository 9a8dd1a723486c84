package verify

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"slices"
)

// Mode says which of the signatures that are new (in the ledger) get a
// public-key operation.
type Mode uint8

// Modes, by the words of the policy key verify-signatures.
const (
	Auto   Mode = iota // all up to AutoLimit new ones, beyond that as Sample
	All                // all
	Sample             // those of the apex and SampleSize spread over the zone; the ledger for the rest
)

// Bounds of Auto and Sample.
const (
	AutoLimit  = 100_000
	SampleSize = 2_000
)

// ParseMode reads "auto", "all" or "sample".
func ParseMode(s string) (Mode, error) {
	for _, m := range []Mode{Auto, All, Sample} {
		if s == m.String() {
			return m, nil
		}
	}
	return Auto, fmt.Errorf("unknown mode %q: want auto, all or sample", s)
}

// String gives the word that ParseMode reads.
func (m Mode) String() string {
	switch m {
	case Auto:
		return "auto"
	case All:
		return "all"
	case Sample:
		return "sample"
	}
	return fmt.Sprintf("Mode(%d)", m)
}

// MarshalText gives the word that ParseMode reads.
func (m Mode) MarshalText() ([]byte, error) { return []byte(m.String()), nil }

// UnmarshalText is ParseMode.
func (m *Mode) UnmarshalText(text []byte) (err error) {
	*m, err = ParseMode(string(text))
	return err
}

// Mark identifies one signature together with what it covers: the first 16
// octets of SHA-256(SHA-256(signed data, RFC 4034 §3.1.8.1) || signature).
type Mark [16]byte

// MarkOf is the mark of a signature; the digest is SHA-256 of the signed data,
// whatever the algorithm of the key.
func MarkOf(signedDataDigest [sha256.Size]byte, signature []byte) Mark {
	// Signatures of at most 4,096 bits stay on the stack.
	var room [sha256.Size + 512]byte
	sum := sha256.Sum256(append(append(room[:0], signedDataDigest[:]...), signature...))
	return Mark(sum[:16])
}

// Ledger is the set of the marks of the signatures that the signer has just
// made. It is immutable and safe for concurrent use; nil is no ledger.
type Ledger struct{ marks []Mark }

// NewLedger takes the marks, in any order; repeated ones count once. The slice is
// the ledger's from then on.
func NewLedger(marks []Mark) *Ledger {
	slices.SortFunc(marks, compareMarks)
	return &Ledger{slices.Compact(marks)}
}

// Has reports whether m is in the ledger.
func (l *Ledger) Has(m Mark) bool {
	_, ok := l.find(m)
	return ok
}

// Len is the number of marks.
func (l *Ledger) Len() int {
	if l == nil {
		return 0
	}
	return len(l.marks)
}

func (l *Ledger) find(m Mark) (int, bool) {
	if l == nil {
		return 0, false
	}
	return slices.BinarySearchFunc(l.marks, m, compareMarks)
}

func compareMarks(a, b Mark) int { return bytes.Compare(a[:], b[:]) }

// stride says that each stride-th mark of the ledger gets a public-key
// operation. Marks are digests, so that is a sample spread over the zone, and
// the same one in each run.
func (l *Ledger) stride(m Mode) int {
	n := l.Len()
	if m == All || m == Auto && n <= AutoLimit || n <= SampleSize {
		return 1
	}
	return n / SampleSize
}
