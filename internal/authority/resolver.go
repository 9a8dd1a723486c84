package authority

import (
	"context"
	"errors"
	"fmt"
	"net/netip"

	"github.com/miekg/dns"

	"zonebuild/internal/domain"
)

// Resolver is a list of recursive resolvers, asked in turn until one answers.
type Resolver []netip.AddrPort

// ErrNoResolver says that there is nobody to ask.
var ErrNoResolver = errors.New("no resolver is configured")

// SystemResolver is the one of /etc/resolv.conf.
func SystemResolver() (Resolver, error) {
	conf, err := dns.ClientConfigFromFile("/etc/resolv.conf")
	if err != nil {
		return nil, fmt.Errorf("find a resolver: %w", err)
	}
	var r Resolver
	for _, s := range conf.Servers {
		if ip, err := netip.ParseAddr(s); err == nil {
			r = append(r, netip.AddrPortFrom(ip, 53))
		}
	}
	if len(r) == 0 {
		return nil, ErrNoResolver
	}
	return r, nil
}

// LookUp gives the records of a name and type; none when the name or the type
// does not exist. Validation is off: a bogus chain must not hide the records
// that show why. Errors: no resolver gave an answer.
func (r Resolver) LookUp(ctx context.Context, name domain.Name, typ uint16) ([]dns.RR, error) {
	q := Question(name, typ, true)
	q.RecursionDesired, q.CheckingDisabled = true, true
	last := ErrNoResolver
	for _, server := range r {
		in, err := Exchange(ctx, server, q)
		switch {
		case err != nil:
			last = err
			continue
		case in.Rcode != dns.RcodeSuccess && in.Rcode != dns.RcodeNameError:
			last = fmt.Errorf("%s answers %s", server, Rcode(in))
			continue
		}
		return recordsOf(in.Answer, name, typ), nil
	}
	return nil, last
}

// recordsOf are the records of a name and type among others.
func recordsOf(list []dns.RR, name domain.Name, typ uint16) []dns.RR {
	var out []dns.RR
	for _, rr := range list {
		h := rr.Header()
		if h.Rrtype != typ || h.Class != dns.ClassINET {
			continue
		}
		if owner, err := domain.Parse(h.Name); err == nil && owner == name { // one name has many spellings
			out = append(out, rr)
		}
	}
	return out
}
