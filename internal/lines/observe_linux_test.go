package lines

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"

	"zonebuild/internal/authority"
	"zonebuild/internal/config"
	"zonebuild/internal/domain"
	"zonebuild/internal/validate"
)

// answers is a name server for everything, which has these keys at any TLSA owner, and
// says that ns1 and ns2.example.org are the name servers, at the addresses.
type answers struct {
	keys  atomic.Value // []string
	hosts [2]string
}

// ServeDNS answers with authority.
func (a *answers) ServeDNS(w dns.ResponseWriter, q *dns.Msg) {
	m := new(dns.Msg).SetReply(q)
	m.Authoritative = true
	asked := q.Question[0]
	put := func(format string, args ...any) {
		rr, err := dns.NewRR(asked.Name + " 300 IN " + fmt.Sprintf(format, args...))
		if err == nil {
			m.Answer = append(m.Answer, rr)
		}
	}
	switch asked.Qtype {
	case dns.TypeNS:
		if asked.Name == "example.org." {
			put("NS ns1.example.org.")
			put("NS ns2.example.org.")
		}
	case dns.TypeA:
		for i, host := range a.hosts {
			if asked.Name == fmt.Sprintf("ns%d.example.org.", i+1) {
				put("A %s", host)
			}
		}
	case dns.TypeTLSA:
		for _, key := range a.keys.Load().([]string) {
			sum := sha256.Sum256([]byte(key))
			put("TLSA 3 1 1 %s", hex.EncodeToString(sum[:]))
		}
	}
	w.WriteMsg(m)
}

// listen serves on an address until the test ends or it is told to stop.
func (a *answers) listen(t *testing.T, addr string) (stop func(), at netip.AddrPort) {
	t.Helper()
	l, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	s := &dns.Server{Listener: l, Handler: a}
	started := make(chan struct{})
	s.NotifyStartedFunc = func() { close(started) }
	go s.ActivateAndServe()
	<-started
	t.Cleanup(func() { s.Shutdown() })
	return func() { s.Shutdown() }, netip.MustParseAddrPort(l.Addr().String())
}

// proof is what DNSSEC says of a TLSA RRset.
type proof struct {
	status validate.Status
	keys   []string
}

// LookUp is validate.Source's.
func (p proof) LookUp(_ context.Context, name domain.Name, _ uint16) (validate.Answer, error) {
	a := validate.Answer{Status: p.status, Reason: "so it is", Name: name, Exists: validate.NoData}
	for _, key := range p.keys {
		sum := sha256.Sum256([]byte(key))
		a.Exists = validate.Data
		a.RRs = append(a.RRs, &dns.TLSA{
			Hdr:   dns.RR_Header{Name: name.String(), Rrtype: dns.TypeTLSA, Class: dns.ClassINET, Ttl: 600},
			Usage: 3, Selector: 1, MatchingType: 1, Certificate: hex.EncodeToString(sum[:]),
		})
	}
	return a, nil
}

// TestLookBelievesNobody (on Linux, where 127.0.0.2 is there without more): what one server says is not enough. The NS set counts beside
// the servers of the configuration, and so does what DNSSEC proves.
func TestLookBelievesNobody(t *testing.T) {
	one, two := &answers{}, &answers{}
	one.hosts = [2]string{"127.0.0.1", "127.0.0.2"}
	_, at := one.listen(t, "127.0.0.1:0")
	stop, second := two.listen(t, fmt.Sprintf("127.0.0.2:%d", at.Port()))
	service := config.Service{Name: "s", Host: domain.MustParse("example.org"), Port: 25, Proto: "tcp", TLSA: true}
	key := &Key{SPKI: []byte("next")}
	both, live := []string{"live", "next"}, []string{"live"}
	for _, c := range []struct {
		name       string
		configured bool
		one, two   []string
		proof      validate.Source
		want       verdict
		why        string
	}{
		{"all have it", false, both, both, proof{validate.Secure, both}, present, ""},
		{"all have it, configured", true, both, both, proof{validate.Secure, both}, present, ""},
		{"a liar beside the zone", true, both, both, proof{validate.Secure, live}, absent, "the records that DNSSEC proves lack"},
		{"an unsigned zone", true, both, both, proof{validate.Insecure, both}, unknown, "DNSSEC: insecure: so it is"},
		{"one of the NS set lags", true, both, live, nil, absent, "ns2.example.org. (" + strings.TrimSuffix(second.Addr().String(), ".")},
		{"one of the NS set lags, proved all the same", true, both, live, proof{validate.Secure, both}, absent, "ns2.example.org."},
		{"nobody has any", false, nil, nil, proof{validate.Secure, nil}, none, ""},
	} {
		one.keys.Store(c.one)
		two.keys.Store(c.two)
		n := Network{Finder: authority.Finder{Resolver: authority.Resolver{at}, Port: at.Port(), No6: true}, Validate: c.proof}
		if c.configured {
			n.Servers = []authority.Server{{Addr: at}}
		}
		sights := n.Look(t.Context(), []config.Service{service})
		if got, why := judge(sights[0], key); got != c.want || !strings.HasPrefix(why, c.why) || len(sights[0].Servers) != 2 {
			t.Errorf("%s: %v %q, %+v", c.name, got, why, sights[0])
		}
	}

	// One that cannot be heard is waited for, unless the configuration has others and none
	// of the NS set beside them is heard; then it is named.
	stop()
	one.keys.Store(both)
	n := Network{Finder: authority.Finder{Resolver: authority.Resolver{at}, Port: at.Port(), No6: true}}
	if got, why := judge(n.Look(t.Context(), []config.Service{service})[0], key); got != unknown {
		t.Errorf("%v %q", got, why)
	}
	n.Servers = []authority.Server{{Addr: at}}
	sight := n.Look(t.Context(), []config.Service{service})[0]
	if got, why := judge(sight, key); got != present || len(sight.Notes) != 1 || !strings.HasPrefix(sight.Notes[0], "ns2.example.org. (127.0.0.2") {
		t.Errorf("%v %q %q", got, why, sight.Notes)
	}
	// Where one of the NS set is heard, it is not out of reach: all of it must be.
	hidden := &answers{}
	hidden.keys.Store(both)
	_, apart := hidden.listen(t, "127.0.0.1:0")
	n.Servers = []authority.Server{{Addr: apart}}
	sight = n.Look(t.Context(), []config.Service{service})[0]
	if got, why := judge(sight, key); got != unknown || !strings.HasPrefix(why, "ns2.example.org. (127.0.0.2") || len(sight.Notes) > 0 {
		t.Errorf("%v %q %q", got, why, sight.Notes)
	}
	n.Servers = []authority.Server{{Addr: at}}
	n.Finder.Resolver = authority.Resolver{netip.MustParseAddrPort("127.0.0.1:9")}
	sight = n.Look(t.Context(), []config.Service{service})[0]
	if got, why := judge(sight, key); got != present || len(sight.Notes) != 1 || !strings.Contains(sight.Notes[0], "cannot be found") {
		t.Errorf("%v %q %q", got, why, sight.Notes)
	}
	g := Gate{}.Watch(key, []Sight{sight}, time.Unix(0, 0))
	if len(g.Owners[sight.Owner].Notes) != 1 {
		t.Errorf("%+v", g)
	}
}
