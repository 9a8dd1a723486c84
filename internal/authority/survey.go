package authority

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/miekg/dns"

	"zonebuild/internal/domain"
)

// Survey is what the servers of a zone and its parent say of it.
type Survey struct {
	Zone    domain.Name
	Answers []Answer // one per address
	DS      []*dns.DS
	DSErr   error // why it is not known which DS the parent has
}

// Answer is what one address says of the apex.
type Answer struct {
	Server Server
	Err    error // no answer, or none with authority
	SOA    *dns.SOA
	NS     []dns.RR
	DNSKEY []*dns.DNSKEY
	Sigs   []*dns.RRSIG // over these three sets
}

// Take asks every server for SOA, NS and DNSKEY with their signatures, all at
// the same time, and a resolver for the DS.
func Take(ctx context.Context, apex domain.Name, servers []Server, r Resolver) Survey {
	s := Survey{Zone: apex, Answers: make([]Answer, len(servers))}
	var wg sync.WaitGroup
	for i, server := range servers {
		wg.Go(func() { s.Answers[i] = ask(ctx, apex, server) })
	}
	if apex != domain.Root {
		set, err := r.LookUp(ctx, apex, dns.TypeDS)
		for _, rr := range set {
			s.DS = append(s.DS, rr.(*dns.DS))
		}
		s.DSErr = err
	}
	wg.Wait()
	return s
}

func ask(ctx context.Context, apex domain.Name, server Server) Answer {
	a := Answer{Server: server}
	for _, typ := range []uint16{dns.TypeSOA, dns.TypeNS, dns.TypeDNSKEY} {
		in, err := Exchange(ctx, server.Addr, Question(apex, typ, true))
		switch {
		case err != nil:
			a.Err = fmt.Errorf("no answer: %w", err)
			return a
		case in.Rcode != dns.RcodeSuccess:
			a.Err = fmt.Errorf("answers %s", Rcode(in))
			return a
		case !in.Authoritative:
			a.Err = fmt.Errorf("answers without authority")
			return a
		}
		for _, rr := range recordsOf(in.Answer, apex, typ) {
			switch rr := rr.(type) {
			case *dns.SOA:
				a.SOA = rr
			case *dns.NS:
				a.NS = append(a.NS, rr)
			case *dns.DNSKEY:
				a.DNSKEY = append(a.DNSKEY, rr)
			}
		}
		for _, rr := range recordsOf(in.Answer, apex, dns.TypeRRSIG) {
			if sig := rr.(*dns.RRSIG); sig.TypeCovered == typ {
				a.Sigs = append(a.Sigs, sig)
			}
		}
	}
	if a.SOA == nil {
		a.Err = fmt.Errorf("answers without SOA")
	}
	return a
}

// Oldest is the expiration that comes first among the signatures; ok is false
// without any.
func (a *Answer) Oldest(now time.Time) (first time.Time, ok bool) {
	for _, s := range a.Sigs {
		if e := near(s.Expiration, now); !ok || e.Before(first) {
			first, ok = e, true
		}
	}
	return first, ok
}

// near is the instant of a signature's time, a serial number modulo 2^32
// (RFC 4034 §3.1.5).
func near(v uint32, now time.Time) time.Time {
	n := now.Unix()
	return time.Unix(n+int64(int32(v-uint32(n))), 0).UTC()
}
