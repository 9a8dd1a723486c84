// Package verify reads a signed zone file and says whether a validator would
// believe it: structure (RFC 1035, RFC 2181, RFC 6672), keys, signatures and
// denial of existence (RFC 4034, RFC 4035, RFC 5155, RFC 6840, RFC 9077), and
// the zone digest (RFC 8976).
//
// It judges the bytes that a name server will load, so it has its own reader
// and shares no code with the compiler and the signer: a fault of theirs must
// not be repeated here. A file with one record per line is scanned directly;
// any other master file is left to the parser of miekg/dns.
//
// It refuses what it cannot check: an algorithm that it does not know is an
// error with words of its own. It holds no keys, asks no server, and follows
// no $INCLUDE.
package verify

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/miekg/dns"

	"zonebuild/internal/diag"
	"zonebuild/internal/domain"
	"zonebuild/internal/durable"
)

// Options says what to expect of the zone.
type Options struct {
	// Apex is the name of the zone; zero: the owner of the first SOA.
	Apex domain.Name
	// Now is the instant at which signatures must be valid.
	Now time.Time
	// MinLeft is how long each signature must stay valid after Now.
	MinLeft time.Duration
	// Ledger holds the marks of the signatures that were made just now. With
	// nil, each signature that Trusted does not hold gets a public-key operation.
	Ledger *Ledger
	// Mode says which signatures of the Ledger get a public-key operation.
	Mode Mode
	// Trusted is the file of before: what it has too was settled then, by a public-key
	// operation or by a Ledger, and is not looked at again.
	Trusted *Trusted
	// DS is what the parent publishes; if any, at least one must match a key
	// that signs the DNSKEY set.
	DS []*dns.DS
	// AllowUnsigned lets a zone without keys and signatures pass.
	AllowUnsigned bool
	// Progress, if there is one, hears how many of all signatures have been settled,
	// from several goroutines.
	Progress func(done, total int)
}

// KeyInfo is a DNSKEY of the apex.
type KeyInfo struct {
	Tag       uint16 `json:"tag"`
	Algorithm uint8  `json:"algorithm"`
	Flags     uint16 `json:"flags"`
}

// Forms of denial of existence, as Report.Denial names them.
const (
	DenialNone   = "none"
	DenialNSEC   = "nsec"
	DenialNSEC3  = "nsec3"
	DenialOptOut = "nsec3-opt-out"
)

// Report is what was read and how it was checked. Its numbers are right as far
// as the file could be read; the faults say whether the zone is good.
type Report struct {
	Apex       domain.Name `json:"apex"`
	Serial     uint32      `json:"serial"`
	Signed     bool        `json:"signed"`
	Denial     string      `json:"denial"`
	Records    int         `json:"records"`
	RRsets     int         `json:"rrsets"` // RRSIGs not counted
	Signatures int         `json:"signatures"`
	Verified   int         `json:"verified"`  // by a public-key operation
	ByLedger   int         `json:"by_ledger"` // by their mark alone
	Trusted    int         `json:"trusted"`   // as in the trusted file
	Keys       []KeyInfo   `json:"keys"`

	// Oldest is the earliest expiration of all signatures, with the RRset it
	// covers; zero without signatures.
	Oldest      time.Time `json:"oldest,omitzero"`
	OldestOwner string    `json:"oldest_owner,omitempty"`
	OldestType  string    `json:"oldest_type,omitempty"`
	// Latest is the latest inception of all signatures.
	Latest time.Time `json:"latest,omitzero"`
}

func newReport() Report { return Report{Denial: DenialNone, Keys: []KeyInfo{}} }

// File verifies the zone file at path. A file that cannot be read is a fault
// with the code "read".
func File(path string, o Options) (Report, diag.List) {
	f, _, err := durable.Open(path, 0)
	if err != nil {
		var l diag.List
		l.Errorf(diag.Pos{File: path}, "read", "", "open zone file: %v", bareError(err))
		return newReport(), l
	}
	defer f.Close()
	return Reader(path, f, o)
}

// Bytes verifies a zone file in memory; name stands in the faults.
func Bytes(name string, data []byte, o Options) (Report, diag.List) {
	return Reader(name, bytes.NewReader(data), o)
}

// Reader verifies the zone file in r from its beginning; name stands in the
// faults. The file is read twice if it is not in line form.
func Reader(name string, r io.ReadSeeker, o Options) (Report, diag.List) {
	f := &faults{file: name}
	z, err := load(r, o.Apex, o.Trusted, f)
	if err != nil {
		f.errorf(0, "read", nil, "read zone file: %v", bareError(err))
		return newReport(), f.done()
	}
	c := newChecker(z, f, o)
	c.check()
	return c.report, f.done()
}

// bareError takes the operation and the path off an error of package os: the
// fault has them already.
func bareError(err error) error {
	if p, ok := err.(*os.PathError); ok {
		return fmt.Errorf("%w", p.Err)
	}
	return err
}
