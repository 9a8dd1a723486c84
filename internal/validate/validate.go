// Package validate tells whether what DNS says is true: it follows the chain of
// trust from an anchor down to a record, or to the proof that there is none
// (RFC 4033-4035, 5155, 6840), and believes nobody on the way: the resolver that
// it asks only fetches.
//
// What it refuses: algorithms with SHA-1 (5 and 7) are not supported, as RFC
// 9905 §2 wants, so that a zone signed with nothing else is insecure; a DS with
// SHA-1 counts only where no usable one has a better digest (RFC 4509 §3); a
// denial by NSEC3 with more than 150 iterations proves nothing, and what hangs
// on it is insecure, not bogus, since its owner broke no promise (RFC 9276
// §3.2). The work for one answer is bounded: a zone that wants more of it
// (CVE-2023-50387, CVE-2023-50868) is bogus, or its state cannot be told.
//
// It reads no clock and writes nothing: one Validator is for one instant.
package validate

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/miekg/dns"

	"zonebuild/internal/domain"
)

// Bounds of one look-up.
const (
	DefaultTimeout   = 30 * time.Second // of LookUp, all its questions together
	maxAliases       = 16               // CNAME and DNAME records followed
	maxQuestions     = 256
	maxVerifications = 1024 // signatures tried
	maxHashes        = 4096 // names hashed for NSEC3, each with up to 150 iterations
	maxCached        = 10000
)

// Status is the state of an answer (RFC 4035 §4.3), from the best to the worst.
type Status uint8

const (
	Secure        Status = iota // a chain of signatures leads to it from an anchor
	Insecure                    // it is proved that no chain leads to it
	Indeterminate               // it could not be told: no answer, no anchor
	Bogus                       // there must be a chain, and there is none
)

// String gives the word of RFC 4035 §4.3.
func (s Status) String() string {
	switch s {
	case Secure:
		return "secure"
	case Insecure:
		return "insecure"
	case Bogus:
		return "bogus"
	}
	return "indeterminate"
}

// MarshalText makes the status a word in JSON.
func (s Status) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Existence is what an answer says of a name and type.
type Existence uint8

const (
	Unknown  Existence = iota // nothing: there was no answer, or a bogus one
	Data                      // the name has records of the type
	NoData                    // the name exists, such records do not
	NXDomain                  // the name does not exist
)

// String gives a word for a report.
func (e Existence) String() string {
	switch e {
	case Data:
		return "data"
	case NoData:
		return "no data"
	case NXDomain:
		return "no such name"
	}
	return "unknown"
}

// MarshalText makes the existence a word in JSON.
func (e Existence) MarshalText() ([]byte, error) { return []byte(e.String()), nil }

// Alias is one CNAME, or a CNAME that follows from a DNAME (RFC 6672 §3.3).
type Alias struct {
	From, To domain.Name
	Status   Status
}

// Link is a zone that a look-up came through, for a report.
type Link struct {
	Zone   domain.Name
	Status Status
	Reason string
}

// Answer is what is known of a name and type.
type Answer struct {
	Status   Status      // of the whole: the worst of all aliases and of the last answer
	Reason   string      // why the status is what it is
	RRs      []dns.RR    // the RRset of the last name; also that of an insecure answer, never of a bogus one
	Name     domain.Name // the last name, after the aliases
	Aliases  []Alias     // in the order they were followed
	Exists   Existence
	Wildcard bool          // the last answer came from a wildcard (RFC 4592)
	TTL      time.Duration // for so long at most it may be kept (RFC 4035 §5.3.3)
	Expires  time.Time     // the earliest expiration of the signatures that were used; zero where none was
	Chain    []Link        // the zones from the anchor down, of every alias in turn
}

// Source gives answers. Errors: the question cannot be asked, or the context has
// ended; an answer that could not be had is none, but Indeterminate.
type Source interface {
	LookUp(ctx context.Context, name domain.Name, typ uint16) (Answer, error)
}

// Faults of a question.
var (
	ErrType = errors.New("records of this type are not signed")
	ErrName = errors.New("no name")
)

// Validator validates by itself. Its fields must not change after the first
// LookUp; LookUp may then be called from many goroutines. What it has learned of
// zones it keeps for good, as for one instant nothing of it gets old: a new
// instant wants a new Validator.
type Validator struct {
	Resolver Exchanger // who is asked: Recursive, but in tests
	Anchors  []Anchor  // RootAnchors, but where another tree is meant
	Now      time.Time // the instant that signatures must be valid at
	Timeout  time.Duration

	mu   sync.Mutex
	cuts map[cutKey]*flight
}

// job is one look-up, with what it may still do.
type job struct {
	v             *Validator
	ctx           context.Context
	questions     int
	verifications int
	hashes        int
}

// LookUp gives the records of a name and type, or their proved absence, after
// following the aliases. Errors: ErrType, ErrName, or that of the context.
func (v *Validator) LookUp(ctx context.Context, name domain.Name, typ uint16) (Answer, error) {
	if err := askable(name, typ); err != nil {
		return Answer{}, fmt.Errorf("look up %s %s: %w", name, typeName(typ), err)
	}
	inner, cancel := context.WithTimeout(ctx, timeoutOr(v.Timeout))
	defer cancel()
	j := &job{v: v, ctx: inner}
	a := follow(name, typ, j.hop)
	if err := ctx.Err(); err != nil {
		return Answer{}, fmt.Errorf("look up %s %s: %w", name, typeName(typ), err)
	}
	return a, nil
}

// askable refuses meta types, and RRSIG, which nothing signs (RFC 4035 §2.2).
func askable(name domain.Name, typ uint16) error {
	switch {
	case name.IsZero():
		return ErrName
	case typ == dns.TypeNone, typ == dns.TypeRRSIG, typ == dns.TypeSIG, typ == dns.TypeOPT, typ >= 128 && typ <= 255:
		return ErrType
	}
	return nil
}

func typeName(typ uint16) string { return dns.Type(typ).String() }

// follow goes from alias to alias.
func follow(name domain.Name, typ uint16, next func(domain.Name, uint16) hop) Answer {
	a := Answer{Status: Secure, Name: name}
	seen := map[domain.Name]bool{name: true}
	ttl := ^uint32(0)
	for {
		h := next(a.Name, typ)
		a.take(h, &ttl)
		if h.status >= Indeterminate {
			return a
		}
		if !h.alias {
			a.RRs, a.Exists, a.Wildcard = h.rrs, h.exists, h.wildcard
			return a
		}
		a.Aliases = append(a.Aliases, Alias{From: a.Name, To: h.target, Status: h.status})
		a.Name = h.target
		if seen[a.Name] || len(a.Aliases) > maxAliases {
			a.Status, a.Reason = Indeterminate, fmt.Sprintf("the aliases of %s lead in a circle", name)
			if !seen[a.Name] {
				a.Reason = fmt.Sprintf("%s has more than %d aliases", name, maxAliases)
			}
			return a
		}
		seen[a.Name] = true
	}
}

// take adds a hop to what is known.
func (a *Answer) take(h hop, ttl *uint32) {
	if h.status > a.Status || a.Reason == "" || a.Status == Secure && h.status == Secure {
		a.Reason = h.reason
	}
	a.Status = max(a.Status, h.status)
	*ttl = min(*ttl, h.ttl)
	a.TTL = time.Duration(*ttl) * time.Second
	if h.status == Bogus || h.status == Indeterminate {
		a.TTL = 0
	}
	a.Expires = earlier(a.Expires, h.expires)
	var links []Link
	for z := h.zone; z != nil; z = z.up {
		links = append(links, Link{z.name, z.status, z.reason})
		a.Expires = earlier(a.Expires, z.expires)
	}
	for i := len(links) - 1; i >= 0; i-- {
		if !a.walked(links[i].Zone) {
			a.Chain = append(a.Chain, links[i])
		}
	}
}

func (a *Answer) walked(zone domain.Name) bool {
	for _, l := range a.Chain {
		if l.Zone == zone {
			return true
		}
	}
	return false
}

// earlier is the first of two instants; the zero time is none.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
