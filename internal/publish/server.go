// Package publish tells a name server of a new zone and waits until it serves
// it. It knows a server by what it must be able to do (Server); it holds the
// server that is nobody (None), the one behind commands (Command), the waiting
// (Confirm) and the pulling end in a name server's jail (Pull).
//
// What a server says of a reload is never believed: a zone is served when an
// SOA query says so (docs/decisions.md).
package publish

import (
	"context"
	"errors"
	"fmt"
	"net/netip"

	"github.com/miekg/dns"

	"zonebuild/internal/domain"
)

// Server is a name server. The methods are safe for concurrent use.
type Server interface {
	// Check runs the server's own checker over the staged bytes.
	Check(ctx context.Context, apex domain.Name, file string) error
	// Reload tells the server that zones changed. It returns those that the
	// server refused; accepted does not mean loaded.
	Reload(ctx context.Context, apexes []domain.Name) map[domain.Name]error
	// Serial asks what is served now. Errors: ErrFailedLoad, ErrUnknownZone,
	// ErrUnreachable, ErrNoServer.
	Serial(ctx context.Context, apex domain.Name) (Served, error)
}

// Served is an answer to an SOA query.
type Served struct {
	Serial uint32
	Server string // who said so
}

// Errors of Server.Serial, possibly wrapped.
var (
	ErrFailedLoad  = errors.New("the server has the zone but could not load it")
	ErrUnknownZone = errors.New("the server does not serve the zone")
	ErrUnreachable = errors.New("the server does not answer")
	ErrNoServer    = errors.New("no server is configured")
)

// edeNotReady is the extended error of a zone that is configured but not
// loaded (RFC 8914 §4.15).
const edeNotReady = 14

// QuerySOA asks one server for the SOA, over TCP and, where that is refused,
// UDP: servers limit the rate of UDP answers.
func QuerySOA(ctx context.Context, server netip.AddrPort, apex domain.Name) (Served, error) {
	s := Served{Server: server.String()}
	var in *dns.Msg
	var err error
	for _, network := range []string{"tcp", "udp"} {
		q := new(dns.Msg)
		q.SetQuestion(apex.String(), dns.TypeSOA)
		q.RecursionDesired = false
		q.SetEdns0(1232, false)
		client := dns.Client{Net: network}
		if in, _, err = client.ExchangeContext(ctx, q, server.String()); err == nil {
			break
		}
		if ctx.Err() != nil {
			break
		}
	}
	if err != nil {
		return s, fmt.Errorf("%w: %w", ErrUnreachable, err)
	}
	return s, s.read(in, apex)
}

func (s *Served) read(in *dns.Msg, apex domain.Name) error {
	if opt := in.IsEdns0(); opt != nil {
		for _, o := range opt.Option {
			if ede, ok := o.(*dns.EDNS0_EDE); ok && ede.InfoCode == edeNotReady {
				return fmt.Errorf("%w (%s)", ErrFailedLoad, s.Server)
			}
		}
	}
	switch {
	case in.Rcode == dns.RcodeServerFailure:
		return fmt.Errorf("%w (%s answers SERVFAIL)", ErrFailedLoad, s.Server)
	case in.Rcode != dns.RcodeSuccess:
		return fmt.Errorf("%w (%s answers %s)", ErrUnknownZone, s.Server, dns.RcodeToString[in.Rcode])
	case !in.Authoritative:
		return fmt.Errorf("%w (%s answers without authority)", ErrUnknownZone, s.Server)
	}
	for _, rr := range in.Answer {
		if soa, ok := rr.(*dns.SOA); ok && dns.CanonicalName(soa.Hdr.Name) == apex.String() {
			s.Serial = soa.Serial
			return nil
		}
	}
	return fmt.Errorf("%w (%s answers without SOA)", ErrUnknownZone, s.Server)
}

// AskAll asks every address; the answer is that of the one furthest behind.
func AskAll(ctx context.Context, servers []netip.AddrPort, apex domain.Name) (Served, error) {
	if len(servers) == 0 {
		return Served{}, ErrNoServer
	}
	var lowest Served
	for i, a := range servers {
		s, err := QuerySOA(ctx, a, apex)
		if err != nil {
			return s, err
		}
		if i == 0 || int32(s.Serial-lowest.Serial) < 0 {
			lowest = s
		}
	}
	return lowest, nil
}

// None is no server at all. With addresses, it asks there whether a zone that
// others carry on has arrived.
type None struct{ Confirm []netip.AddrPort }

// Check has nothing to check with.
func (*None) Check(context.Context, domain.Name, string) error { return nil }

// Reload has nobody to tell.
func (*None) Reload(context.Context, []domain.Name) map[domain.Name]error { return nil }

// Serial asks the addresses; without any the error is ErrNoServer.
func (n *None) Serial(ctx context.Context, apex domain.Name) (Served, error) {
	return AskAll(ctx, n.Confirm, apex)
}
