package tlsa

import (
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"fmt"
	"time"

	"zonebuild/internal/domain"
)

// Reason says in a word how a match came out.
type Reason string

// Reasons, the better the earlier: of several records the best one counts.
const (
	Matched     Reason = "matched"
	WrongName   Reason = "name"        // right but for the name in the certificate
	WrongTime   Reason = "expired"     // right but for the time
	NoPKIX      Reason = "pkix"        // right, but usage 0 or 1 and no chain to a public root
	NoChain     Reason = "chain"       // the anchor matches, the leaf does not lead to it
	Unsupported Reason = "unsupported" // a certificate that cannot be judged here
	Mismatch    Reason = "mismatch"    // no certificate fits
	Ignored     Reason = "ignored"     // a stronger digest stands beside it (RFC 7671 §9)
	Unusable    Reason = "unusable"    // no client can use the record
	NoRecords   Reason = "no-records"
)

// MatchInput is a TLSA RRset and what one server sent.
type MatchInput struct {
	Records []Record
	Chain   [][]byte      // DER, leaf first
	Names   []domain.Name // one of which the certificate must have for usages 0, 1 and 2: TLSA base domain and reference identifiers (RFC 7671 §10)
	Roots   *x509.CertPool
	Now     time.Time
	EEName  bool // usage 3 checks the name too, against RFC 7671 §5.1
}

// Judged is what became of one record.
type Judged struct {
	Record Record
	Reason Reason
	Depth  int    // in the chain that was built; -1 if nothing fits
	Detail string // what is wrong; may be empty
}

// Match is the verdict on a server.
type Match struct {
	OK      bool
	Reason  Reason   // the best of any record
	Record  int      // index of that record; -1 if there is none
	Depth   int      // of the certificate it matches; -1
	Detail  string   // of that record
	Judged  []Judged // all records, in their order
	Notes   []string // what is odd about a server that matches
	Usable  int      // records that a client can use
	Partial []Kind   // kinds of which no record matches although another one does (RFC 7671 §8)
}

// maxChain bounds the certificates that are looked at.
const maxChain = 32

// MatchServer judges a served chain by an RRset (RFC 6698 §2.1, RFC 7671 §4 to
// §10): any usable record that matches makes it valid.
func MatchServer(in MatchInput) Match {
	if len(in.Chain) > maxChain {
		in.Chain = in.Chain[:maxChain]
	}
	m := Match{Reason: NoRecords, Record: -1, Depth: -1}
	j := newJudge(in)
	for i, r := range in.Records {
		v := Judged{Record: r, Depth: -1}
		if err := r.Check(); err != nil {
			v.Reason, v.Detail = Unusable, err.Error()
		} else if m.Usable++; outranked(r, in.Records) {
			v.Reason, v.Detail = Ignored, "a record with SHA-512 stands beside it (RFC 7671 §9)"
		} else {
			v.Reason, v.Depth, v.Detail = j.record(r)
		}
		m.Judged = append(m.Judged, v)
		if m.Record < 0 || rank(v.Reason) < rank(m.Reason) {
			m.Reason, m.Record, m.Depth, m.Detail = v.Reason, i, v.Depth, v.Detail
		}
	}
	if m.OK = m.Reason == Matched; m.OK {
		m.Notes = j.notes(m)
		m.Partial = partial(m.Judged)
	}
	return m
}

func rank(r Reason) int {
	for i, known := range []Reason{Matched, WrongName, WrongTime, NoPKIX, NoChain, Unsupported, Mismatch, Ignored, Unusable} {
		if r == known {
			return i
		}
	}
	return 99
}

// outranked reports whether a client that knows all digests passes over a
// record: of one usage and selector the strongest digest counts, and Full
// always (RFC 7671 §9).
func outranked(r Record, records []Record) bool {
	if r.MatchingType != SHA256 {
		return false
	}
	for _, o := range records {
		if o.MatchingType == SHA512 && o.Usage == r.Usage && o.Selector == r.Selector && o.Check() == nil {
			return true
		}
	}
	return false
}

// partial lists the kinds of which no record fits what is served. Clients that
// know only those fail (RFC 7671 §8).
func partial(judged []Judged) []Kind {
	var out []Kind
	fits := map[Kind]bool{}
	for _, v := range judged {
		fits[v.Record.Kind] = fits[v.Record.Kind] || v.Reason == Matched || v.Depth >= 0
	}
	for _, v := range judged {
		if fit, open := fits[v.Record.Kind]; open && !fit && v.Reason == Mismatch {
			out = append(out, v.Record.Kind)
			delete(fits, v.Record.Kind)
		}
	}
	return out
}

// judge holds what the records are held against.
type judge struct {
	in     MatchInput
	chain  chain
	leaf   *Material           // nil: cannot be read
	certs  []*x509.Certificate // of the chain; nil where crypto/x509 refuses one
	parsed error               // why certs[0] is nil
}

func newJudge(in MatchInput) *judge {
	j := &judge{in: in, chain: newChain(in.Chain), certs: make([]*x509.Certificate, len(in.Chain))}
	if len(in.Chain) == 0 {
		j.parsed = errors.New("the server sent no certificate")
		return j
	}
	j.leaf, _ = parseCertificate(in.Chain[0])
	for i, der := range in.Chain {
		c, err := parseBounded(der)
		if i == 0 {
			j.parsed = err
		}
		if err == nil {
			j.certs[i] = c
		}
	}
	return j
}

// maxRSA bounds the keys that are calculated with, in bits: whoever sends a
// larger one wants to keep the verifier busy.
const maxRSA = 16384

var errLargeKey = fmt.Errorf("an RSA key of more than %d bits", maxRSA)

// parseBounded is x509.ParseCertificate for keys that are not too large.
func parseBounded(der []byte) (*x509.Certificate, error) {
	c, err := x509.ParseCertificate(der)
	if err == nil && isLarge(c.PublicKey) {
		return nil, errLargeKey
	}
	return c, err
}

func isLarge(key any) bool {
	k, is := key.(*rsa.PublicKey)
	return is && k.N.BitLen() > maxRSA
}

// record judges by one usable record.
func (j *judge) record(r Record) (Reason, int, string) {
	if len(j.chain) == 0 {
		return Unsupported, -1, j.parsed.Error()
	}
	switch r.Usage {
	case DANEEE:
		return j.daneEE(r)
	case DANETA:
		return j.daneTA(r)
	case PKIXEE:
		return j.pkixEE(r)
	}
	return j.pkixTA(r)
}

// daneEE looks at the leaf alone; its names and dates count for nothing (RFC
// 7671 §5.1).
func (j *judge) daneEE(r Record) (Reason, int, string) {
	switch {
	case r.Selector == SPKI && j.leaf == nil:
		return Unsupported, -1, "the server's certificate cannot be read"
	case !j.chain[0].is(r):
		return Mismatch, -1, ""
	case j.in.EEName && !j.named():
		return WrongName, 0, j.unnamed()
	}
	return Matched, 0, ""
}

// named reports whether the leaf has one of the names. The common name counts
// only where there is no dNSName (RFC 6125 §6.4.4).
func (j *judge) named() bool {
	m := j.leaf
	if m == nil {
		return false
	}
	if len(m.DNSNames) == 0 && j.certs[0] != nil {
		m = &Material{DNSNames: []string{j.certs[0].Subject.CommonName}}
	}
	for _, n := range j.in.Names {
		if m.Covers(n) {
			return true
		}
	}
	return false
}

func (j *judge) unnamed() string {
	return fmt.Sprintf("the certificate does not name %s", j.names())
}

func (j *judge) names() string {
	text := ""
	for i, n := range j.in.Names {
		if i > 0 {
			text += " or "
		}
		text += n.String()
	}
	return text
}

func (j *judge) notes(m Match) []string {
	var out []string
	if m.Judged[m.Record].Record.Usage == DANEEE && j.leaf != nil {
		if len(j.in.Names) > 0 && !j.named() {
			out = append(out, j.unnamed()+"; usage 3 does not ask for that")
		}
		switch {
		case j.in.Now.After(j.leaf.NotAfter):
			out = append(out, "the certificate expired on "+j.leaf.NotAfter.UTC().Format(time.DateOnly)+"; usage 3 does not mind")
		case j.in.Now.Before(j.leaf.NotBefore):
			out = append(out, "the certificate is valid only from "+j.leaf.NotBefore.UTC().Format(time.DateOnly)+"; usage 3 does not mind")
		}
	}
	for _, v := range m.Judged {
		if v.Reason == Matched {
			continue
		}
		text := short(v.Record) + ": " + string(v.Reason)
		if v.Detail != "" {
			text += ": " + v.Detail
		}
		out = append(out, text)
	}
	return out
}
