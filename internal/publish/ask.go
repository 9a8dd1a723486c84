package publish

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"

	"github.com/miekg/dns"

	"zonebuild/internal/authority"
	"zonebuild/internal/domain"
)

// edeNotReady is the extended error of a zone that is configured but not
// loaded (RFC 8914 §4.15).
const edeNotReady = 14

// AskAll asks every address at the same time. All must answer; the answer is
// that of the server furthest behind. Errors: those of Server.Serial; a failed load
// goes before other errors, ErrNoServer means that there is no address.
func AskAll(ctx context.Context, servers []netip.AddrPort, apex domain.Name) (Served, error) {
	if len(servers) == 0 {
		return Served{}, ErrNoServer
	}
	answers := make([]Served, len(servers))
	errs := make([]error, len(servers))
	var wg sync.WaitGroup
	for i, server := range servers {
		wg.Go(func() {
			answers[i], errs[i] = QuerySOA(ctx, server, apex)
			hear(ctx, answers[i], errs[i])
		})
	}
	wg.Wait()
	var lowest Served
	var failed error
	for i, s := range answers {
		switch err := errs[i]; {
		case err != nil && (failed == nil || errors.Is(err, ErrFailedLoad) && !errors.Is(failed, ErrFailedLoad)):
			failed, lowest = err, s
		case failed == nil && (i == 0 || newer(lowest.Serial, s.Serial)):
			lowest = s
		}
	}
	return lowest, failed
}

// hearing is the key of the function in a context that hears each answer.
type hearing struct{}

// WithHearer has f told what each server says when Server.Serial is asked with the
// context: its result is one answer of several. f is called from several goroutines; the
// name of the server is in Served beside an error, too.
func WithHearer(ctx context.Context, f func(Served, error)) context.Context {
	return context.WithValue(ctx, hearing{}, f)
}

func hear(ctx context.Context, s Served, err error) {
	if f, ok := ctx.Value(hearing{}).(func(Served, error)); ok {
		f(s, err)
	}
}

// QuerySOA asks one server once. Errors: those of Server.Serial.
func QuerySOA(ctx context.Context, server netip.AddrPort, apex domain.Name) (Served, error) {
	s := Served{Server: server.String()}
	in, err := authority.Exchange(ctx, server, authority.Question(apex, dns.TypeSOA, false))
	if err != nil {
		return s, fmt.Errorf("%w: %w", ErrUnreachable, err)
	}
	return s, s.read(in, apex)
}

// read judges an answer.
func (s *Served) read(in *dns.Msg, apex domain.Name) error {
	if opt := in.IsEdns0(); opt != nil {
		for _, o := range opt.Option {
			if ede, ok := o.(*dns.EDNS0_EDE); ok && ede.InfoCode == edeNotReady {
				return fmt.Errorf("%w (%s answers %s, extended error 14)", ErrFailedLoad, s.Server, authority.Rcode(in))
			}
		}
	}
	switch in.Rcode {
	case dns.RcodeSuccess:
	case dns.RcodeServerFailure:
		return fmt.Errorf("%w (%s answers SERVFAIL)", ErrFailedLoad, s.Server)
	case dns.RcodeRefused, dns.RcodeNotAuth, dns.RcodeNameError:
		return fmt.Errorf("%w (%s answers %s)", ErrUnknownZone, s.Server, authority.Rcode(in))
	default:
		return fmt.Errorf("%s answers %s", s.Server, authority.Rcode(in))
	}
	if !in.Authoritative {
		return fmt.Errorf("%w (%s answers without authority)", ErrUnknownZone, s.Server)
	}
	for _, rr := range in.Answer {
		if soa, ok := rr.(*dns.SOA); ok && dns.CanonicalName(soa.Hdr.Name) == dns.CanonicalName(apex.String()) {
			s.Serial = soa.Serial
			return nil
		}
	}
	return fmt.Errorf("%w (%s answers without SOA)", ErrUnknownZone, s.Server)
}
