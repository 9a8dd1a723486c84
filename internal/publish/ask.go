package publish

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/miekg/dns"

	"zonebuild/internal/domain"
)

// Bounds of the asking.
const (
	stepTimeout = 2 * time.Second // for a connection or an answer, TCP and UDP each
	ednsSize    = 1232            // octets of a UDP answer that cross any path whole
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
		wg.Go(func() { answers[i], errs[i] = QuerySOA(ctx, server, apex) })
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

// QuerySOA asks one server once, over TCP, because servers ration what they
// answer over UDP; where that gives no answer, over UDP. Errors: those of
// Server.Serial.
//
// Each question has a connection of its own: NSD leaves an open one with the
// process that has the old zone, and resets it when that process ends.
func QuerySOA(ctx context.Context, server netip.AddrPort, apex domain.Name) (Served, error) {
	s := Served{Server: server.String()}
	q := new(dns.Msg)
	q.SetQuestion(apex.String(), dns.TypeSOA)
	q.RecursionDesired = false
	q.SetEdns0(ednsSize, false)
	in, err := over(ctx, "tcp", server, q)
	if err != nil && ctx.Err() == nil {
		var why error
		if in, why = over(ctx, "udp", server, q); why == nil {
			err = nil
		}
	}
	if err != nil {
		return s, fmt.Errorf("%w: %w", ErrUnreachable, err)
	}
	return s, s.read(in, apex)
}

func over(ctx context.Context, network string, server netip.AddrPort, q *dns.Msg) (*dns.Msg, error) {
	d := net.Dialer{Timeout: stepTimeout}
	c, err := d.DialContext(ctx, network, server.String())
	if err != nil {
		return nil, err
	}
	defer c.Close()
	in, err := exchange(ctx, &dns.Conn{Conn: c, UDPSize: ednsSize}, q)
	if err == nil && in.Truncated {
		return nil, errors.New("the answer is cut short") // by a server that rations answers, for one
	}
	return in, err
}

// exchange sends a question and reads until its answer comes: what does not
// belong to the question is passed over.
func exchange(ctx context.Context, conn *dns.Conn, q *dns.Msg) (*dns.Msg, error) {
	end := time.Now().Add(stepTimeout)
	if t, ok := ctx.Deadline(); ok && t.Before(end) {
		end = t
	}
	if err := conn.SetDeadline(end); err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if err := conn.WriteMsg(q); err != nil {
		return nil, err
	}
	for {
		in, err := conn.ReadMsg()
		if err == nil && answers(in, q) {
			return in, nil
		}
		var broken *dns.Error // not DNS; the next may be
		if err != nil && !errors.As(err, &broken) {
			return nil, err
		}
	}
}

func answers(in, q *dns.Msg) bool {
	if in.Id != q.Id || !in.Response || in.Opcode != q.Opcode {
		return false
	}
	if len(in.Question) == 0 { // some servers leave it out of errors
		return in.Rcode != dns.RcodeSuccess
	}
	a, b := in.Question[0], q.Question[0]
	return len(in.Question) == 1 && a.Qtype == b.Qtype && a.Qclass == b.Qclass && dns.CanonicalName(a.Name) == dns.CanonicalName(b.Name)
}

// read judges an answer.
func (s *Served) read(in *dns.Msg, apex domain.Name) error {
	if opt := in.IsEdns0(); opt != nil {
		for _, o := range opt.Option {
			if ede, ok := o.(*dns.EDNS0_EDE); ok && ede.InfoCode == edeNotReady {
				return fmt.Errorf("%w (%s answers %s, extended error 14)", ErrFailedLoad, s.Server, rcode(in))
			}
		}
	}
	switch in.Rcode {
	case dns.RcodeSuccess:
	case dns.RcodeServerFailure:
		return fmt.Errorf("%w (%s answers SERVFAIL)", ErrFailedLoad, s.Server)
	case dns.RcodeRefused, dns.RcodeNotAuth, dns.RcodeNameError:
		return fmt.Errorf("%w (%s answers %s)", ErrUnknownZone, s.Server, rcode(in))
	default:
		return fmt.Errorf("%s answers %s", s.Server, rcode(in))
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

func rcode(in *dns.Msg) string {
	if s, ok := dns.RcodeToString[in.Rcode]; ok {
		return s
	}
	return fmt.Sprintf("rcode %d", in.Rcode)
}
