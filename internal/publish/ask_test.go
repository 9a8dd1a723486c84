package publish_test

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"

	"zonebuild/internal/domain"
	"zonebuild/internal/publish"
)

// nameserver answers over UDP and TCP at one address as told; a network without
// a handler is not listened on.
func nameserver(t *testing.T, udp, tcp dns.HandlerFunc) netip.AddrPort {
	t.Helper()
	for range 50 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		p, err := net.ListenPacket("udp", l.Addr().String())
		if err != nil { // somebody has the port for UDP
			l.Close()
			continue
		}
		if tcp == nil {
			l.Close()
		} else {
			serve(t, &dns.Server{Listener: l, Handler: tcp})
		}
		if udp == nil {
			p.Close()
		} else {
			serve(t, &dns.Server{PacketConn: p, Handler: udp})
		}
		return netip.MustParseAddrPort(p.LocalAddr().String())
	}
	t.Fatal("no port is free for UDP and TCP")
	return netip.AddrPort{}
}

func serve(t *testing.T, s *dns.Server) {
	started := make(chan struct{})
	s.NotifyStartedFunc = func() { close(started) }
	done := make(chan struct{})
	go func() {
		s.ActivateAndServe()
		close(done)
	}()
	<-started
	t.Cleanup(func() {
		s.Shutdown()
		<-done
	})
}

// soaOf answers with a serial; change may spoil the answer.
func soaOf(serial uint32, change func(m *dns.Msg)) dns.HandlerFunc {
	return func(w dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg).SetReply(q)
		m.Authoritative = true
		m.Answer = []dns.RR{&dns.SOA{
			Hdr: dns.RR_Header{Name: q.Question[0].Name, Rrtype: dns.TypeSOA, Class: dns.ClassINET, Ttl: 60},
			Ns:  "ns.a.test.", Mbox: "host.a.test.", Serial: serial, Refresh: 1, Retry: 1, Expire: 1, Minttl: 1,
		}}
		if change != nil {
			change(m)
		}
		w.WriteMsg(m)
	}
}

func ede(code uint16) func(m *dns.Msg) {
	return func(m *dns.Msg) {
		m.Answer, m.Rcode = nil, dns.RcodeServerFailure
		m.SetEdns0(1232, false)
		m.IsEdns0().Option = append(m.IsEdns0().Option, &dns.EDNS0_EDE{InfoCode: code, ExtraText: "x"})
	}
}

func TestQuerySOA(t *testing.T) {
	never := func(dns.ResponseWriter, *dns.Msg) {}
	rcode := func(n int) dns.HandlerFunc {
		return soaOf(1, func(m *dns.Msg) { m.Answer, m.Rcode = nil, n })
	}
	tests := []struct {
		name     string
		udp, tcp dns.HandlerFunc
		serial   uint32
		err      error
		said     string
	}{
		{"TCP", nil, soaOf(7, nil), 7, nil, ""},
		{"TCP before UDP", soaOf(1, nil), soaOf(7, nil), 7, nil, ""},
		{"UDP where TCP is refused", soaOf(7, nil), nil, 7, nil, ""},
		{"UDP where TCP is silent", soaOf(7, nil), never, 7, nil, ""},
		{"nobody", nil, nil, 0, publish.ErrUnreachable, "connection refused"},
		{"the name in other letters", nil, soaOf(7, func(m *dns.Msg) {
			m.Answer[0].Header().Name, m.Question[0].Name = "A.TEST.", "A.Test."
		}), 7, nil, ""},

		{"SERVFAIL", nil, rcode(dns.RcodeServerFailure), 0, publish.ErrFailedLoad, "answers SERVFAIL"},
		{"extended error 14", nil, soaOf(1, ede(14)), 0, publish.ErrFailedLoad, "answers SERVFAIL, extended error 14"},
		{"another extended error", nil, soaOf(1, ede(22)), 0, publish.ErrFailedLoad, "answers SERVFAIL"},
		{"REFUSED", nil, rcode(dns.RcodeRefused), 0, publish.ErrUnknownZone, "answers REFUSED"},
		{"NOTAUTH", nil, rcode(dns.RcodeNotAuth), 0, publish.ErrUnknownZone, "answers NOTAUTH"},
		{"NXDOMAIN of the parent", nil, rcode(dns.RcodeNameError), 0, publish.ErrUnknownZone, "answers NXDOMAIN"},
		{"a resolver", nil, soaOf(7, func(m *dns.Msg) { m.Authoritative = false }), 0, publish.ErrUnknownZone, "without authority"},
		{"a referral", nil, soaOf(7, func(m *dns.Msg) { m.Answer, m.Ns = nil, m.Answer }), 0, publish.ErrUnknownZone, "without SOA"},
		{"another's SOA", nil, soaOf(7, func(m *dns.Msg) { m.Answer[0].Header().Name = "test." }), 0, publish.ErrUnknownZone, "without SOA"},
		{"NOTIMP", nil, rcode(dns.RcodeNotImplemented), 0, nil, "answers NOTIMP"},

		{"an answer of somebody else", func(w dns.ResponseWriter, q *dns.Msg) {
			soaOf(66, func(m *dns.Msg) { m.Id++ })(w, q)
			soaOf(67, func(m *dns.Msg) { m.Question[0].Name = "b.test." })(w, q)
			soaOf(68, func(m *dns.Msg) { m.Response = false })(w, q)
			w.Write([]byte("no DNS"))
			soaOf(7, nil)(w, q)
		}, nil, 7, nil, ""},
		{"cut short", soaOf(7, func(m *dns.Msg) { m.Answer, m.Truncated = nil, true }), nil, 0, publish.ErrUnreachable, "refused"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			addr := nameserver(t, tt.udp, tt.tcp)
			s, err := publish.QuerySOA(t.Context(), addr, domain.MustParse("a.test"))
			if s.Serial != tt.serial || s.Server != addr.String() {
				t.Errorf("answer %+v, want serial %d of %s", s, tt.serial, addr)
			}
			if (err == nil) != (tt.err == nil && tt.said == "") || tt.err != nil && !errors.Is(err, tt.err) || err != nil && !strings.Contains(err.Error(), tt.said) {
				t.Errorf("error %v, want %v, %q", err, tt.err, tt.said)
			}
			for _, other := range []error{publish.ErrFailedLoad, publish.ErrUnknownZone, publish.ErrUnreachable} {
				if errors.Is(err, other) && !errors.Is(tt.err, other) {
					t.Errorf("error %v is %v too", err, other)
				}
			}
		})
	}
}

func TestQuestion(t *testing.T) {
	got := make(chan *dns.Msg, 1)
	addr := nameserver(t, nil, func(w dns.ResponseWriter, q *dns.Msg) {
		got <- q.Copy()
		soaOf(1, nil)(w, q)
	})
	if _, err := publish.QuerySOA(t.Context(), addr, domain.MustParse("a.test")); err != nil {
		t.Fatal(err)
	}
	q := <-got
	if q.RecursionDesired || q.IsEdns0() == nil || q.IsEdns0().UDPSize() != 1232 || q.IsEdns0().Do() {
		t.Errorf("question:\n%v", q)
	}
}

func TestQuerySOAEndsWithItsContext(t *testing.T) {
	asked := make(chan struct{})
	addr := nameserver(t, nil, func(dns.ResponseWriter, *dns.Msg) { close(asked) })
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-asked
		cancel()
	}()
	start := time.Now()
	_, err := publish.QuerySOA(ctx, addr, domain.MustParse("a.test"))
	if !errors.Is(err, publish.ErrUnreachable) || time.Since(start) > time.Second {
		t.Errorf("%v after %v", err, time.Since(start))
	}
}

func TestAskAll(t *testing.T) {
	apex := domain.MustParse("a.test")
	ahead, behind := nameserver(t, nil, soaOf(3, nil)), nameserver(t, nil, soaOf(1<<32-2, nil))
	broken := nameserver(t, nil, soaOf(0, ede(14)))
	down := nameserver(t, nil, nil)
	tests := []struct {
		name    string
		servers []netip.AddrPort
		serial  uint32
		server  netip.AddrPort
		err     error
	}{
		{"none", nil, 0, netip.AddrPort{}, publish.ErrNoServer},
		{"the one behind", []netip.AddrPort{ahead, behind}, 1<<32 - 2, behind, nil},
		{"the one behind, first", []netip.AddrPort{behind, ahead}, 1<<32 - 2, behind, nil},
		{"all must answer", []netip.AddrPort{ahead, down}, 0, down, publish.ErrUnreachable},
		{"a failed load goes first", []netip.AddrPort{down, broken, ahead}, 0, broken, publish.ErrFailedLoad},
	}
	for _, tt := range tests {
		var mu sync.Mutex
		heard := map[string]error{}
		ctx := publish.WithHearer(t.Context(), func(s publish.Served, err error) {
			mu.Lock()
			defer mu.Unlock()
			heard[s.Server] = err
		})
		s, err := publish.AskAll(ctx, tt.servers, apex)
		for _, server := range tt.servers {
			if err, ok := heard[server.String()]; !ok || (err == nil) != (server == ahead || server == behind) {
				t.Errorf("%s: of %s was heard %v, %t", tt.name, server, err, ok)
			}
		}
		if !errors.Is(err, tt.err) || s.Serial != tt.serial || tt.server.IsValid() && s.Server != tt.server.String() {
			t.Errorf("%s: %+v, %v", tt.name, s, err)
		}
	}

	// None told nobody: that a server failed is not the fault of the file.
	none := &publish.None{Confirm: []netip.AddrPort{broken}}
	if _, err := none.Serial(t.Context(), apex); err == nil || errors.Is(err, publish.ErrFailedLoad) {
		t.Errorf("None: %v", err)
	}
}

// Before asks for each zone, but not on and on where nobody answers.
func TestBefore(t *testing.T) {
	var b publish.Before
	var apexes []domain.Name
	for _, z := range []string{"a.test", "b.test", "c.test"} {
		apexes = append(apexes, domain.MustParse(z))
	}
	b.Note(t.Context(), apexes, func(_ context.Context, apex domain.Name) (publish.Served, error) {
		if apex == apexes[1] {
			return publish.Served{}, publish.ErrFailedLoad
		}
		return publish.Served{Serial: 1}, nil
	})
	if !b.Was(apexes[0]) || b.Was(apexes[1]) || !b.Was(apexes[2]) {
		t.Errorf("served before: %v %v %v", b.Was(apexes[0]), b.Was(apexes[1]), b.Was(apexes[2]))
	}
	many := make([]domain.Name, 1000)
	for i := range many {
		many[i] = apexes[i%3]
	}
	var asked atomic.Int32
	b.Note(t.Context(), many, func(context.Context, domain.Name) (publish.Served, error) {
		asked.Add(1)
		return publish.Served{}, publish.ErrUnreachable
	})
	if asked.Load() > 20 || b.Was(apexes[0]) {
		t.Errorf("%d questions to a server that does not answer; served before: %v", asked.Load(), b.Was(apexes[0]))
	}
}
