// Package dane verifies TLS services by DANE as a client does that insists on
// it (RFC 6698, 7671, 7672, 7673): it finds the hosts of a service and their
// addresses, the TLSA records that count for them, connects to every address,
// and gives one verdict for each.
//
// What DNS says is judged by a validate.Source and never by a resolver's word
// alone, unless that source wants it so. It refuses to take an answer that it
// did not get for one that it got: an address that cannot be reached neither
// validates nor fails, and a key that crypto/tls cannot use is no mismatch.
//
// Answers and servers are hostile: hosts, addresses and time are bounded, and
// what is left out because of that never counts as validated.
package dane

import (
	"crypto/x509"
	"net/netip"
	"time"

	"zonebuild/internal/domain"
	"zonebuild/internal/starttls"
	"zonebuild/internal/validate"
	"zonebuild/tlsa"
)

// Bounds of one report.
const (
	maxHosts     = 50 // of an MX or SRV set
	maxAddresses = 50 // of a host
	atOnce       = 8  // addresses that are connected to side by side
	wholeTime    = 10 * time.Minute
)

// Options say how to verify.
type Options struct {
	Source     validate.Source
	At         time.Time         // the instant at which certificates must be valid
	Roots      *x509.CertPool    // of the public CAs, for usages 0 and 1; nil: there are none
	No4, No6   bool              // leave IPv4, IPv6 out
	Protocol   starttls.Protocol // what the service speaks before TLS
	ByPort     bool              // the protocol follows from port or service, and Protocol counts for nothing
	ServerName domain.Name       // for SNI; zero: the TLSA base domain
	KeyTypes   bool              // also ask for an RSA and for an ECDSA key, in TLS 1.2
	EEName     bool              // usage 3 checks the name too, against RFC 7671 §5.1
	Timeout    time.Duration     // of each step of a connection; 0: starttls.DefaultTimeout
	Probe      []netip.AddrPort  // connect to these instead of the host's addresses
	NoServer   bool              // ask DNS alone, and connect to nobody
}

// Report is what was found.
type Report struct {
	Verdict Verdict `json:"verdict"` // of all addresses together
	Checks  []Check `json:"checks"`  // of one host each, in the order in which clients try them
}

// Check is what was found of one host.
type Check struct {
	Host       domain.Name   `json:"host"`
	Port       uint16        `json:"port,omitempty"`
	Proto      string        `json:"proto,omitempty"`      // "tcp", "udp", "sctp"
	Preference *uint16       `json:"preference,omitempty"` // of the MX or SRV record
	StartTLS   string        `json:"starttls,omitempty"`
	Base       domain.Name   `json:"tlsa_base_domain,omitzero"` // RFC 7671 §7
	Owner      domain.Name   `json:"tlsa_owner,omitzero"`
	SNI        string        `json:"sni,omitempty"`
	Names      []domain.Name `json:"reference_names,omitempty"` // for usages 0 to 2
	Records    []tlsa.Record `json:"tlsa,omitempty"`
	DNSSEC     string        `json:"dnssec,omitempty"`           // why the TLSA records are believed, or not
	Expires    time.Time     `json:"signatures_expire,omitzero"` // the first of those that were used
	Notes      []string      `json:"notes,omitempty"`            // about all of its addresses
	Results    []Result      `json:"results"`                    // never empty

	served [][]byte // the certificates that were shown first, in DER
}

// Result is the verdict on one address, or on a host that has none to be asked.
type Result struct {
	Address netip.Addr   `json:"address,omitzero"` // not valid: there is no address
	Port    uint16       `json:"port,omitempty"`
	Verdict Verdict      `json:"verdict"`
	Reason  string       `json:"reason,omitempty"` // of any verdict but validated
	Cause   tlsa.Reason  `json:"cause,omitempty"`  // of a mismatch
	Record  *tlsa.Record `json:"record,omitempty"` // that matches, or comes nearest
	Depth   int          `json:"depth"`            // of the certificate it matches; -1: none
	TLS     string       `json:"tls,omitempty"`    // version
	Key     string       `json:"key,omitempty"`    // of the server's certificate
	Keys    []KeyResult  `json:"keys,omitempty"`   // with Options.KeyTypes
	Notes   []string     `json:"notes,omitempty"`
}

// KeyResult is the verdict on the key of one type.
type KeyResult struct {
	Type    string  `json:"type"` // "RSA", "ECDSA"
	Verdict Verdict `json:"verdict"`
	Reason  string  `json:"reason,omitempty"`
}

// fail is a result without a look at a server.
func fail(v Verdict, reason string) Result { return Result{Verdict: v, Reason: reason, Depth: -1} }
