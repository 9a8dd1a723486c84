package verify

import (
	"fmt"
	"hash/crc32"
	"hash/maphash"
	"math/bits"
)

// Mode says which of the signatures that are new (in the ledger) get a
// public-key operation.
type Mode uint8

// Modes, by the words of the policy key verify-signatures.
const (
	Auto   Mode = iota // all up to AutoLimit new ones, beyond that as Sample
	All                // all
	Sample             // those of the apex and about SampleSize spread over the zone; the ledger for the rest
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

// Mark identifies one signature together with what it covers, within a ledger: a
// keyed hash of the signed data (RFC 4034 §3.1.8.1), and one of the signature. The
// ledger's key is random and never leaves the process.
type Mark struct{ data, signature uint64 }

// Ledger is the set of the marks of the signatures that the signer has just
// made. Any goroutine may make marks, and look for them unless one adds some; nil is
// no ledger.
type Ledger struct {
	seed  maphash.Seed
	table []Mark // by the hash of the data, each at its place or behind; the zero Mark is none
	n     int
}

// NewLedger has room for n marks before it grows.
func NewLedger(n int) *Ledger {
	return &Ledger{seed: maphash.MakeSeed(), table: make([]Mark, n+n/2+2)}
}

// MarkOf is the mark of a signature over data in this ledger.
func (l *Ledger) MarkOf(data, signature []byte) Mark {
	return Mark{maphash.Bytes(l.seed, data), maphash.Bytes(l.seed, signature) | 1} // never zero
}

// Add takes marks, in any order; repeated ones count once.
func (l *Ledger) Add(marks ...Mark) {
	for _, m := range marks {
		if 4*(l.n+1) > 3*len(l.table) {
			l.grow()
		}
		if at, ok := l.find(m); !ok {
			l.table[at] = m
			l.n++
		}
	}
}

func (l *Ledger) grow() {
	old := l.table
	l.table, l.n = make([]Mark, 2*len(old)+8), 0
	for _, m := range old {
		if m != (Mark{}) {
			l.Add(m)
		}
	}
}

// Has reports whether m is in the ledger.
func (l *Ledger) Has(m Mark) bool {
	if l == nil || l.n == 0 {
		return false
	}
	_, ok := l.find(m)
	return ok
}

// find gives the place of m, or the free one that it belongs to. A quarter of the
// table is always free.
func (l *Ledger) find(m Mark) (int, bool) {
	hi, _ := bits.Mul64(m.data, uint64(len(l.table)))
	for at := int(hi); ; at++ {
		if at == len(l.table) {
			at = 0
		}
		switch l.table[at] {
		case m:
			return at, true
		case Mark{}:
			return at, false
		}
	}
}

// Len is the number of marks.
func (l *Ledger) Len() int {
	if l == nil {
		return 0
	}
	return l.n
}

// oneIn is the number of marks of which one is chosen for a public-key operation.
func (l *Ledger) oneIn(m Mode) uint64 {
	n := l.Len()
	if m == All || m == Auto && n <= AutoLimit || n <= SampleSize {
		return 1
	}
	return uint64(n / SampleSize)
}

// isChosen chooses one signature of n by a checksum of what it covers (RFC 4034
// §3.1.8.1): the same ones of the same file, spread over the zone and its types, others once
// it is signed anew, and some of them where a signer gives the same octets for all.
func isChosen(data []byte, n uint64) bool { return uint64(crc32.ChecksumIEEE(data))%n == 0 }
