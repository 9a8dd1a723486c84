// Package lines keeps certificate lines: certificates of one set of names that
// follow each other, renewed in time, with private keys that are pinned by TLSA
// records (RFC 6698, RFC 7671 §8) and therefore change in one order only: the next
// key is published, every server has it, every cache has had the time to forget
// what was before; then a certificate for it is issued and put in place, the
// services are told, and asked what they serve; only then the old key is history.
//
// What a line does next is a pure function, Decide, of what stands on the disk, of
// what was seen of DNS, and of the time. A Keeper carries it out, and every step is
// such that a process which dies in it leaves a state from which Decide goes on.
//
// On the disk, LINES is lines-dir, KEYS keys-dir and STATE state-dir of
// acmehook.toml:
//
//	LINES/NAME/live            -> archive/0007, the only switch: one atomic rename
//	LINES/NAME/next            -> archive/key-ID, with pubkey.pem of the next key
//	LINES/NAME/archive/0007/   cert.pem chain.pem fullchain.pem, and links to the keys
//	KEYS/NAME/ID.pem           private keys, mode 0600
//	STATE/line-NAME.json       clocks, hooks that are due: nothing that another file says
//	STATE/live-NAME.json       what was said by hand of its services, until it is taken in
//	STATE/deploy-NAME.out      what the last hook printed, which may be a secret: mode 0600
//
// Everything in LINES is public; the links there to private keys lead out of it.
//
// It refuses to use a key before its TLSA records allow it, but by the operator's
// explicit word; it makes no certificate for a key of the account; it gives no
// text of a CA to a program, and no secret to anybody.
package lines

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"net/netip"
	"time"

	"zonebuild/internal/acmeclient"
	"zonebuild/internal/config"
	"zonebuild/tlsa"
)

// Key is a key pair of a line. Its private half is in a file, or, where there is a
// certificate request instead, nowhere here.
type Key struct {
	ID      string    // in file names; "csr-…" for one that is elsewhere
	Created time.Time // zero: not known
	SPKI    []byte    // SubjectPublicKeyInfo, DER
	CSR     []byte    // DER; nil = the private half is in a file
}

// Hash names a key by its public half: hexadecimal SHA-256 of the SPKI.
func (k *Key) Hash() string {
	if k == nil {
		return ""
	}
	return hash(k.SPKI)
}

func hash(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// Generation is a certificate of a line with its key.
type Generation struct {
	Number int
	Chain  []*x509.Certificate // the leaf first
	Key    *Key                // nil: its file is gone, or cannot be used

	Combined bool   // combined.pem is there, where it belongs
	Astray   bool   // privkey.pem leads to another place than where the key is: that was moved
	KeyFault string // why the key's file, which is there, cannot be used
	Damaged  string // what is wrong with the files, of which one still had the certificate
}

// Leaf is the certificate itself.
func (g *Generation) Leaf() *x509.Certificate { return g.Chain[0] }

// ID names the certificate: hexadecimal SHA-256 of it. Numbers may come again, when
// the files of a line are lost and its state is not.
func (g *Generation) ID() string { return hash(g.Leaf().Raw) }

// Hash names the key that the certificate is for.
func (g *Generation) Hash() string { return hash(g.Leaf().RawSubjectPublicKeyInfo) }

// Files are what stands on the disk of a line.
type Files struct {
	Live *Generation // nil: none yet
	Next *Key        // that is to be published; nil: none, or it is the live one
	// Wanted is the key of a certificate request that is to be the next one and is
	// not yet.
	Wanted *Key

	NextFault string // why the file of the next key, which is there, cannot be used
}

// State is what is kept of a line beside its files, as JSON. The zero value is that
// of a line which was never seen, or whose state was lost: clocks start anew, hooks
// run again, nothing is used early.
type State struct {
	Gate     Gate      `json:"gate"`
	Rollover time.Time `json:"rollover,omitzero"` // a key change was asked for
	InUse    InUse     `json:"in_use,omitzero"`
	// ChangeFailed is the Hash of a next key for which the CA gave no certificate.
	ChangeFailed string              `json:"change_failed,omitempty"`
	Stored       Stored              `json:"stored,omitzero"`
	Source       Source              `json:"source,omitzero"`
	Retry        Retry               `json:"retry,omitzero"`
	KeyRetry     Retry               `json:"key_retry,omitzero"` // of the next key
	Revoked      Revoked             `json:"revoked,omitzero"`
	Deploy       Deploy              `json:"deploy"`
	Served       map[string]Serving  `json:"served,omitempty"` // by service
	Lags         map[string]Lag      `json:"lags,omitempty"`   // by service
	Seed         []byte              `json:"seed,omitempty"`   // of the renewal's instant
	Renewal      *acmeclient.Renewal `json:"renewal,omitempty"`
	Error        string              `json:"error,omitempty"` // of the last run that tried something; empty: it went well
	ErrorAt      time.Time           `json:"error_at,omitzero"`
}

// InUse says since when the live key is live, which may be long after it was made.
type InUse struct {
	Key   string    `json:"key"`   // Generation.Hash
	Since time.Time `json:"since"` // of its first certificate here, as far as that is known
}

// inUse is what is known of the key of a certificate: where the state is new, no more
// than that certificate says.
func (s State) inUse(g *Generation) InUse {
	if s.InUse.Key == g.Hash() {
		return s.InUse
	}
	return InUse{Key: g.Hash(), Since: g.Leaf().NotBefore}
}

// Deploy says which hooks have been run for which certificate.
type Deploy struct {
	Generation int       `json:"generation"`        // for who reads it
	Cert       string    `json:"cert"`              // Generation.ID
	Ran        []string  `json:"ran,omitempty"`     // hooks that succeeded, in their order, by hookID
	Failed     string    `json:"failed,omitempty"`  // the hook that did not; what follows is of it alone
	Tries      int       `json:"tries,omitempty"`   // in a row
	RetryAt    time.Time `json:"retry_at,omitzero"` // not before
	Error      string    `json:"error,omitempty"`
}

// Serving says what a service was last seen with.
type Serving struct {
	Generation int       `json:"generation"` // for who reads it
	Cert       string    `json:"cert"`       // Generation.ID
	Key        string    `json:"key"`        // Generation.Hash
	At         time.Time `json:"at"`
	ByHand     bool      `json:"by_hand,omitempty"`
	NoRoute    []string  `json:"no_route,omitempty"` // addresses that there is no way to from here
}

// Lag says why a service is not known to serve the live certificate.
type Lag struct {
	Since time.Time `json:"since"`
	Text  string    `json:"text"`
	Told  bool      `json:"told,omitempty"` // it was logged
}

// Revoked says what was revoked last.
type Revoked struct {
	Cert   string    `json:"cert"` // Generation.ID
	Reason string    `json:"reason"`
	At     time.Time `json:"at"`
	Key    string    `json:"key,omitempty"` // Hash of a key that others have: it gets no certificate any more
}

// CA is what a Keeper needs of an account at a CA; *acmeclient.Client is one.
type CA interface {
	Obtain(ctx context.Context, solver acmeclient.Solver, r acmeclient.Request) (*acmeclient.Certificate, error)
	Resume(ctx context.Context, solver acmeclient.Solver, name string) (*acmeclient.Certificate, error)
	Abandon(ctx context.Context, solver acmeclient.Solver, name string) error
	Forget(name string) error
	Order(name string) (acmeclient.Order, bool, error)
	Renewal(ctx context.Context, name string, leaf *x509.Certificate, seed []byte) (acmeclient.Renewal, error)
	Journal() (acmeclient.Journal, error)
}

var _ CA = (*acmeclient.Client)(nil)

// Sight is what was seen of the TLSA RRset of a service.
type Sight struct {
	Service string
	Owner   string
	Servers []ServerSight
	Trouble string // why nothing can be concluded, or DNSSEC does not hold; empty: all is well

	Insecure  string        // how DNSSEC proves that it proves nothing here; empty: it does not
	Checked   bool          // DNSSEC was asked too
	Proved    []tlsa.Record // that it proved; none: that there are none
	ProvedTTL uint32        // seconds, of these
	Notes     []string      // who could not be asked, and is not waited for
}

// ServerSight is the answer of one address of an authoritative server.
type ServerSight struct {
	Server  string
	Silent  string        // why there was no answer with authority; empty: there was
	Records []tlsa.Record // none: it said that there are none
	TTL     uint32        // seconds; of the RRset, or of its absence
}

// Shown is what one address of a service served.
type Shown struct {
	Addr   netip.AddrPort
	Chains [][][]byte // DER, the leaf first: to a client without preference, then to those that want RSA and ECDSA
	One    bool       // it has TLS 1.3 alone, where a client cannot say which of several keys it wants
	Err    error      // why it is not known
}

// find is the chain of a leaf; nil: it is not shown.
func (v Shown) find(leaf []byte) [][]byte {
	for _, c := range v.Chains {
		if len(c) > 0 && bytes.Equal(c[0], leaf) {
			return c
		}
	}
	return nil
}

// Observer looks at the world.
type Observer interface {
	// Look asks every address of every authoritative server for the TLSA RRsets.
	Look(ctx context.Context, services []config.Service) []Sight
	// Probe asks every address of a service which certificates it serves: as a client
	// without preference and, where that does not see all the leaves that are wanted, as
	// ones that prefer RSA and ECDSA. Error: the addresses are not known.
	Probe(ctx context.Context, s config.Service, want [][]byte) ([]Shown, error)
}
