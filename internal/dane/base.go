package dane

import (
	"context"
	"encoding/hex"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/miekg/dns"

	"zonebuild/internal/domain"
	"zonebuild/internal/validate"
	"zonebuild/tlsa"
)

// found is what DNS says of a host.
type found struct {
	addrs  []netip.Addr
	failed []Result      // address types of which nothing is known
	status Verdict       // Validated: bases are worth a look
	reason string        // of any other status
	bases  []domain.Name // TLSA base domains in the order in which they are tried
}

// find looks up the addresses of a host, and which names its TLSA records may
// stand at.
func (j *job) find(ctx context.Context, host domain.Name) found {
	f := found{status: Validated}
	var answers []validate.Answer
	for _, t := range []struct {
		typ  uint16
		skip bool
	}{{dns.TypeA, j.o.No4}, {dns.TypeAAAA, j.o.No6}} {
		if t.skip {
			continue
		}
		a := j.lookUp(ctx, host, t.typ)
		if v := failure(a.Status); v != Validated {
			f.failed = append(f.failed, fail(v, fmt.Sprintf("%s records of %s: %s", dns.TypeToString[t.typ], host, a.Reason)))
			continue
		}
		answers = append(answers, a)
		f.addrs = append(f.addrs, addresses(a.RRs)...)
	}
	if len(answers) == 0 {
		f.status = f.failed[0].Verdict
		return f
	}
	// One insecure answer makes the host insecure (RFC 7672 §2.2.2).
	worst := answers[0]
	for _, a := range answers[1:] {
		if a.Status > worst.Status {
			worst = a
		}
	}
	switch {
	case worst.Status == validate.Secure:
		f.bases = []domain.Name{worst.Name}
		if worst.Name != host {
			f.bases = append(f.bases, host)
		}
	case len(worst.Aliases) > 0 && worst.Aliases[0].Status == validate.Secure:
		// The way from here on is insecure, but the host's own zone is not:
		// its TLSA records stay (RFC 7671 §7, RFC 7672 §2.2.2).
		f.bases = []domain.Name{host}
	default:
		f.status, f.reason = Insecure, fmt.Sprintf("the addresses of %s are insecure: %s", host, worst.Reason)
	}
	if len(f.addrs) == 0 && len(f.failed) == 0 {
		if f.status != Insecure {
			f.status, f.reason = NoAddress, fmt.Sprintf("%s has no %s: %s", host, j.wanted(), worst.Reason)
		}
	}
	return f
}

// wanted names what kind of address is asked for.
func (j *job) wanted() string {
	switch {
	case j.o.No6:
		return "IPv4 address"
	case j.o.No4:
		return "IPv6 address"
	}
	return "address"
}

// lookUp asks. That nothing can be asked is an answer like any other.
func (j *job) lookUp(ctx context.Context, name domain.Name, typ uint16) validate.Answer {
	a, err := j.o.Source.LookUp(ctx, name, typ)
	if err != nil {
		return validate.Answer{Status: validate.Indeterminate, Name: name, Reason: err.Error()}
	}
	return a
}

// failure is the verdict that the state of an answer leads to; Validated where
// the answer can be used, secure or not.
func failure(s validate.Status) Verdict {
	switch s {
	case validate.Bogus:
		return Bogus
	case validate.Indeterminate:
		return DNSFailure
	}
	return Validated
}

// addresses are those of A and AAAA records, sorted, each once.
func addresses(rrs []dns.RR) []netip.Addr {
	var out []netip.Addr
	for _, rr := range rrs {
		var ip netip.Addr
		var ok bool
		switch rr := rr.(type) {
		case *dns.A:
			ip, ok = netip.AddrFromSlice(rr.A.To4())
		case *dns.AAAA:
			ip, ok = netip.AddrFromSlice(rr.AAAA.To16())
		}
		if ok {
			out = append(out, ip)
		}
	}
	slices.SortFunc(out, netip.Addr.Compare)
	return slices.Compact(out)
}

// records looks up the TLSA records of a service: at the base domains in turn,
// until one has secure ones (RFC 7671 §7). A look-up that fails ends the search:
// what it hides might be the records that count (RFC 7672 §2.1.2). What is found
// goes into the check.
func (j *job) records(ctx context.Context, c *Check, bases []domain.Name) (Verdict, string) {
	verdict := NoTLSA
	var reasons []string
	for _, base := range bases {
		owner, err := (tlsa.Service{Host: base, Port: c.Port, Proto: c.Proto}).Owner()
		if err != nil {
			reasons = append(reasons, fmt.Sprintf("%s is too long a name to have TLSA records", base))
			continue
		}
		a := j.lookUp(ctx, owner, dns.TypeTLSA)
		c.Base, c.Owner = base, owner
		if v := failure(a.Status); v != Validated {
			return v, fmt.Sprintf("TLSA records of %s: %s", owner, a.Reason)
		}
		switch {
		case a.Status == validate.Insecure:
			verdict = Insecure
			reasons = append(reasons, fmt.Sprintf("the TLSA records of %s are insecure: %s", owner, a.Reason))
		case a.Exists != validate.Data:
			reasons = append(reasons, fmt.Sprintf("there are no TLSA records of %s: %s", owner, a.Reason))
		default:
			c.DNSSEC, c.Expires = a.Reason, a.Expires
			c.Records = tlsaRecords(a.RRs)
			return Validated, ""
		}
	}
	return verdict, strings.Join(reasons, "; ")
}

// tlsaRecords are the records of an RRset in a fixed order.
func tlsaRecords(rrs []dns.RR) []tlsa.Record {
	var out []tlsa.Record
	for _, rr := range rrs {
		if rr, ok := rr.(*dns.TLSA); ok {
			data, err := hex.DecodeString(rr.Certificate)
			if err != nil { // a zone file may hold what no wire does
				data = nil
			}
			out = append(out, tlsa.Record{Kind: tlsa.Kind{Usage: rr.Usage, Selector: rr.Selector, MatchingType: rr.MatchingType}, Data: string(data)})
		}
	}
	slices.SortFunc(out, func(a, b tlsa.Record) int { return slices.Compare(a.Rdata(), b.Rdata()) })
	return slices.Compact(out)
}
