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
	keepIdle    = 2 * time.Second // how long an unused connection is kept
	mostIdle    = askers          // connections kept to one server
	ednsSize    = 1232            // octets of a UDP answer that cross any path whole
)

// edeNotReady is the extended error of a zone that is configured but not
// loaded (RFC 8914 §4.15).
const edeNotReady = 14

// Asker asks servers for SOA records over TCP connections that it keeps for a
// moment, so that many zones cost few of the server's connections, and none of
// the answers that it rations over UDP. The zero value is ready; it is safe for
// concurrent use and needs no closing. A nil Asker keeps nothing.
type Asker struct {
	mu   sync.Mutex
	idle map[netip.AddrPort][]*idleConn
}

type idleConn struct {
	conn  *dns.Conn
	close *time.Timer
}

// QuerySOA asks one server once. Errors: those of Server.Serial.
func QuerySOA(ctx context.Context, server netip.AddrPort, apex domain.Name) (Served, error) {
	return (*Asker)(nil).SOA(ctx, server, apex)
}

// All asks every address at the same time. All must answer; the answer is that
// of the server furthest behind. Errors: those of Server.Serial; a failed load
// goes before other errors, ErrNoServer means that there is no address.
func (k *Asker) All(ctx context.Context, servers []netip.AddrPort, apex domain.Name) (Served, error) {
	if len(servers) == 0 {
		return Served{}, ErrNoServer
	}
	answers := make([]Served, len(servers))
	errs := make([]error, len(servers))
	var wg sync.WaitGroup
	for i, server := range servers {
		wg.Go(func() { answers[i], errs[i] = k.SOA(ctx, server, apex) })
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

// SOA asks one server, over TCP and, where that gives no answer, UDP.
func (k *Asker) SOA(ctx context.Context, server netip.AddrPort, apex domain.Name) (Served, error) {
	s := Served{Server: server.String()}
	q := new(dns.Msg)
	q.SetQuestion(apex.String(), dns.TypeSOA)
	q.RecursionDesired = false
	q.SetEdns0(ednsSize, false)
	in, err := k.overTCP(ctx, server, q)
	if err != nil && ctx.Err() == nil {
		var why error
		if in, why = overUDP(ctx, server, q); why == nil {
			err = nil
		}
	}
	if err != nil {
		return s, fmt.Errorf("%w: %w", ErrUnreachable, err)
	}
	return s, s.read(in, apex)
}

// overTCP uses a connection that was kept, if the server still has it too.
func (k *Asker) overTCP(ctx context.Context, server netip.AddrPort, q *dns.Msg) (*dns.Msg, error) {
	if conn := k.take(server); conn != nil {
		if in, err := exchange(ctx, conn, q); err == nil {
			k.keep(server, conn)
			return in, nil
		}
		conn.Close()
	}
	conn, err := connect(ctx, "tcp", server)
	if err != nil {
		return nil, err
	}
	in, err := exchange(ctx, conn, q)
	if err != nil {
		conn.Close()
		return nil, err
	}
	k.keep(server, conn)
	return in, nil
}

func overUDP(ctx context.Context, server netip.AddrPort, q *dns.Msg) (*dns.Msg, error) {
	conn, err := connect(ctx, "udp", server)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	in, err := exchange(ctx, conn, q)
	if err == nil && in.Truncated {
		return nil, errors.New("the answer over UDP is cut short") // also by a server that rations answers
	}
	return in, err
}

func connect(ctx context.Context, network string, server netip.AddrPort) (*dns.Conn, error) {
	d := net.Dialer{Timeout: stepTimeout}
	c, err := d.DialContext(ctx, network, server.String())
	if err != nil {
		return nil, err
	}
	return &dns.Conn{Conn: c, UDPSize: ednsSize}, nil
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

func (k *Asker) take(server netip.AddrPort) *dns.Conn {
	if k == nil {
		return nil
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	for n := len(k.idle[server]); n > 0; n = len(k.idle[server]) {
		last := k.idle[server][n-1]
		k.idle[server] = k.idle[server][:n-1]
		if last.close.Stop() { // else it is being closed
			return last.conn
		}
	}
	return nil
}

func (k *Asker) keep(server netip.AddrPort, conn *dns.Conn) {
	if k == nil {
		conn.Close()
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.idle[server]) >= mostIdle {
		// The eldest is the likeliest to have been closed.
		if k.idle[server][0].close.Stop() {
			k.idle[server][0].conn.Close()
		}
		k.idle[server] = k.idle[server][1:]
	}
	if k.idle == nil {
		k.idle = map[netip.AddrPort][]*idleConn{}
	}
	k.idle[server] = append(k.idle[server], &idleConn{conn, time.AfterFunc(keepIdle, func() { conn.Close() })})
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
