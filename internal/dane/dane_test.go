package dane_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"zonebuild/internal/dane"
	"zonebuild/internal/domain"
	"zonebuild/internal/lab"
	"zonebuild/internal/validate"
	"zonebuild/tlsa"
)

// world answers from a table: "NAME TYPE" → records, or a word for the state of
// the answer. "insecure: RECORDS" are insecure records. What is not in it is
// proved not to be there.
type world struct {
	answers map[string]string
	mu      sync.Mutex
	asked   []string
}

func (w *world) LookUp(ctx context.Context, name domain.Name, typ uint16) (validate.Answer, error) {
	a := validate.Answer{Name: name, Reason: "the table says so", Exists: validate.NoData}
	w.mu.Lock()
	w.asked = append(w.asked, name.String()+" "+dns.TypeToString[typ])
	w.mu.Unlock()
	for range 8 {
		text, ok := w.answers[a.Name.String()+" "+dns.TypeToString[typ]]
		alias := false
		if !ok {
			text, alias = w.answers[a.Name.String()+" CNAME"]
		}
		status := validate.Secure
		if rest, is := strings.CutPrefix(text, "insecure: "); is || text == "insecure" {
			status, text = validate.Insecure, rest
		}
		a.Status = max(a.Status, status)
		switch text {
		case "bogus":
			a.Status, a.Exists = validate.Bogus, validate.Unknown
			return a, nil
		case "silent":
			a.Status, a.Exists = validate.Indeterminate, validate.Unknown
			return a, nil
		case "nxdomain":
			a.Exists = validate.NXDomain
			return a, nil
		case "error":
			return a, errors.New("the source is broken")
		case "insecure":
			return a, nil
		case "hang":
			<-ctx.Done()
			return a, ctx.Err()
		}
		if alias {
			to := domain.MustParse(text)
			a.Aliases = append(a.Aliases, validate.Alias{From: a.Name, To: to, Status: status})
			a.Name = to
			continue
		}
		for line := range strings.Lines(text) {
			rr, err := dns.NewRR(a.Name.String() + " 60 " + dns.TypeToString[typ] + " " + line)
			if err != nil {
				panic(err)
			}
			a.RRs = append(a.RRs, rr)
			a.Exists = validate.Data
		}
		return a, nil
	}
	return a, errors.New("a loop in the table")
}

// shown makes a certificate that signs itself.
func shown(t testing.TB, name string, key crypto.Signer) tls.Certificate {
	t.Helper()
	if key == nil {
		k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		key = k
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(48 * time.Hour),
		IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// of is the TLSA record of a certificate.
func of(t testing.TB, kind tlsa.Kind, c tls.Certificate) string {
	t.Helper()
	m, err := tlsa.ParseMaterial(c.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	r, err := tlsa.Associate(kind, m)
	if err != nil {
		t.Fatal(err)
	}
	return r.String()
}

const nobodys = "3 1 1 2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b"

// summary is a report in short: HOST BASE: ADDRESS VERDICT (REASON)…
func summary(r *dane.Report) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s", r.Verdict)
	for i := range r.Checks {
		c := &r.Checks[i]
		fmt.Fprintf(&b, "; %s", c.Host)
		if c.Preference != nil {
			fmt.Fprintf(&b, " %d", *c.Preference)
		}
		if !c.Base.IsZero() && c.Base != c.Host {
			fmt.Fprintf(&b, " at %s", c.Base)
		}
		for j := range c.Results {
			x := &c.Results[j]
			fmt.Fprintf(&b, ", %s", x.Verdict)
			if x.Reason != "" {
				fmt.Fprintf(&b, " (%s)", x.Reason)
			}
		}
	}
	return b.String()
}

func port(t testing.TB, addr string) uint16 {
	t.Helper()
	a, err := netip.ParseAddrPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	return a.Port()
}

// TestBaseDomain: where the TLSA records of a host are looked for, by what is
// secure on the way to its addresses (RFC 7671 §7).
func TestBaseDomain(t *testing.T) {
	host, target := shown(t, "host.example", nil), shown(t, "target.example", nil)
	s := lab.TLSServer(t, lab.TLSOptions{Certs: map[string][]tls.Certificate{"host.example": {host}, "target.example": {target}}})
	p := port(t, s.Addr())
	at := func(name string) string { return fmt.Sprintf("_%d._tcp.%s TLSA", p, name) }
	hosts, targets := of(t, tlsa.DefaultKind, host), of(t, tlsa.DefaultKind, target)
	const a = "127.0.0.1"
	for _, c := range []struct {
		name    string
		answers map[string]string
		want    string
	}{
		{"plain", map[string]string{"host.example. A": a, at("host.example."): hosts}, "validated; host.example., validated"},
		{"alias, records at the target", map[string]string{"host.example. CNAME": "target.example.", "target.example. A": a, at("target.example."): targets},
			"validated; host.example. at target.example., validated"},
		{"alias, records at both", map[string]string{"host.example. CNAME": "target.example.", "target.example. A": a, at("host.example."): nobodys, at("target.example."): targets},
			"validated; host.example. at target.example., validated"},
		{"alias, records at the name", map[string]string{"host.example. CNAME": "target.example.", "target.example. A": a, at("host.example."): hosts},
			"validated; host.example., validated"},
		{"alias, none", map[string]string{"host.example. CNAME": "target.example.", "target.example. A": a},
			"no-tlsa; host.example., no-tlsa (there are no TLSA records of _N._tcp.target.example.: the table says so; there are no TLSA records of _N._tcp.host.example.: the table says so)"},
		{"two aliases", map[string]string{"host.example. CNAME": "mid.example.", "mid.example. CNAME": "target.example.", "target.example. A": a, at("mid.example."): nobodys, at("host.example."): hosts},
			"validated; host.example., validated"},
		{"alias, insecure target", map[string]string{"host.example. CNAME": "target.example.", "target.example. A": "insecure: " + a, at("target.example."): nobodys, at("host.example."): hosts},
			"validated; host.example., validated"},
		{"alias, insecure hop", map[string]string{"host.example. CNAME": "mid.example.", "mid.example. CNAME": "insecure: target.example.", "target.example. A": a, at("target.example."): nobodys, at("host.example."): hosts},
			"validated; host.example., validated"},
		{"insecure alias", map[string]string{"host.example. CNAME": "insecure: target.example.", "target.example. A": a, at("target.example."): targets, at("host.example."): hosts},
			"insecure; host.example., insecure (the addresses of host.example. are insecure: the table says so)"},
		{"insecure addresses", map[string]string{"host.example. A": "insecure: " + a, at("host.example."): hosts},
			"insecure; host.example., insecure (the addresses of host.example. are insecure: the table says so)"},
		{"one family insecure", map[string]string{"host.example. A": a, "host.example. AAAA": "insecure: ::1", at("host.example."): hosts},
			"insecure; host.example., insecure (the addresses of host.example. are insecure: the table says so), insecure (the addresses of host.example. are insecure: the table says so)"},
		{"insecure absence", map[string]string{"host.example. A": "insecure", "host.example. AAAA": "insecure"},
			"insecure; host.example., insecure (the addresses of host.example. are insecure: the table says so)"},
		{"no address", map[string]string{}, "no-address; host.example., no-address (host.example. has no address: the table says so)"},
		{"one family bogus", map[string]string{"host.example. A": a, "host.example. AAAA": "bogus", at("host.example."): hosts},
			"partial; host.example., bogus (AAAA records of host.example.: the table says so), validated"},
		{"both families bogus", map[string]string{"host.example. A": "bogus", "host.example. AAAA": "bogus"},
			"bogus; host.example., bogus (A records of host.example.: the table says so), bogus (AAAA records of host.example.: the table says so)"},
		{"none and bogus", map[string]string{"host.example. AAAA": "bogus", at("host.example."): hosts},
			"bogus; host.example., bogus (AAAA records of host.example.: the table says so)"},
		{"silent and bogus", map[string]string{"host.example. A": "silent", "host.example. AAAA": "bogus"},
			"bogus; host.example., dns-failure (A records of host.example.: the table says so), bogus (AAAA records of host.example.: the table says so)"},
		{"silent", map[string]string{"host.example. A": "silent", "host.example. AAAA": "error"},
			"dns-failure; host.example., dns-failure (A records of host.example.: the table says so), dns-failure (AAAA records of host.example.: the source is broken)"},
		{"records insecure", map[string]string{"host.example. A": a, at("host.example."): "insecure: " + hosts},
			"insecure; host.example., insecure (the TLSA records of _N._tcp.host.example. are insecure: the table says so)"},
		{"records bogus", map[string]string{"host.example. A": a, at("host.example."): "bogus"},
			"bogus; host.example., bogus (TLSA records of _N._tcp.host.example.: the table says so)"},
		{"records silent", map[string]string{"host.example. A": a, at("host.example."): "silent"},
			"dns-failure; host.example., dns-failure (TLSA records of _N._tcp.host.example.: the table says so)"},
		{"bogus at the target hides nothing", map[string]string{"host.example. CNAME": "target.example.", "target.example. A": a, at("target.example."): "bogus", at("host.example."): hosts},
			"bogus; host.example. at target.example., bogus (TLSA records of _N._tcp.target.example.: the table says so)"},
		{"insecure at the target", map[string]string{"host.example. CNAME": "target.example.", "target.example. A": a, at("target.example."): "insecure: " + targets},
			"insecure; host.example., insecure (the TLSA records of _N._tcp.target.example. are insecure: the table says so; there are no TLSA records of _N._tcp.host.example.: the table says so)"},
		{"the same address twice", map[string]string{"host.example. A": a + "\n" + a, at("host.example."): hosts}, "validated; host.example., validated"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := &world{answers: c.answers}
			r, err := dane.Verify(t.Context(), tlsa.Service{Host: domain.MustParse("host.example"), Port: p, Proto: "tcp"}, dane.Options{Source: w, At: time.Now(), ByPort: true})
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.ReplaceAll(summary(&r), fmt.Sprint(p), "N"); got != c.want {
				t.Errorf("\ngot  %s\nwant %s\nasked %q", got, c.want, w.asked)
			}
		})
	}
}

// TestVerdicts: what the whole is called, by its parts.
func TestVerdicts(t *testing.T) {
	for _, c := range []struct {
		parts []dane.Verdict
		want  dane.Verdict
		class dane.Class
	}{
		{nil, dane.Untested, dane.Unknown},
		{[]dane.Verdict{dane.Untested}, dane.Untested, dane.Unknown},
		{[]dane.Verdict{dane.Untested, dane.Validated, dane.Untested}, dane.Validated, dane.Yes},
		{[]dane.Verdict{dane.Validated, dane.Unreachable}, dane.Partial, dane.No},
		{[]dane.Verdict{dane.Mismatch, dane.Validated}, dane.Partial, dane.No},
		{[]dane.Verdict{dane.Unreachable, dane.Untested}, dane.Unreachable, dane.Unknown},
		{[]dane.Verdict{dane.Untested, dane.Unreachable, dane.Bogus, dane.Mismatch}, dane.Bogus, dane.No},
		{[]dane.Verdict{dane.Unsupported, dane.NoHandshake}, dane.Unsupported, dane.Unknown},
	} {
		if got := dane.Together(c.parts); got != c.want || got.Class() != c.class {
			t.Errorf("%v: %s, class %d; want %s, %d", c.parts, got, got.Class(), c.want, c.class)
		}
	}
}

// TestBounds: many addresses, records that are none, and a caller who has gone.
func TestBounds(t *testing.T) {
	var many strings.Builder
	for i := range 60 {
		fmt.Fprintf(&many, "127.0.9.%d\n", i)
	}
	w := &world{answers: map[string]string{"host.example. A": many.String(), "_1._tcp.host.example. TLSA": nobodys}}
	service := tlsa.Service{Host: domain.MustParse("host.example"), Port: 1, Proto: "tcp"}
	r, err := dane.Verify(t.Context(), service, dane.Options{Source: w, At: time.Now()})
	if err != nil || len(r.Checks[0].Results) != 51 || r.Checks[0].Results[0].Reason != "host.example. has 60 addresses, and at most 50 are asked" {
		t.Errorf("%v: %s", err, summary(&r))
	}

	ctx, cancel := context.WithCancel(t.Context())
	hanging := &world{answers: map[string]string{"host.example. A": "hang"}}
	time.AfterFunc(10*time.Millisecond, cancel)
	if _, err := dane.Verify(ctx, service, dane.Options{Source: hanging}); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}

	// A name that leaves no room for _PORT._TCP before it, and a name that no
	// client can put into a ClientHello.
	long := strings.Repeat("a23456789.", 24) + "example"
	w = &world{answers: map[string]string{long + ". A": "127.0.0.9"}}
	r, err = dane.Verify(t.Context(), tlsa.Service{Host: domain.MustParse(long), Port: 12345, Proto: "tcp"}, dane.Options{Source: w})
	if err != nil || r.Verdict != dane.NoTLSA || !strings.Contains(r.Checks[0].Results[0].Reason, "too long a name") {
		t.Errorf("%v: %s", err, summary(&r))
	}
	w = &world{answers: map[string]string{`a\032b.example. A`: "127.0.0.1", `_1._tcp.a\032b.example. TLSA`: nobodys}}
	odd := domain.MustParse(`a\032b.example`)
	w.answers[odd.String()+" A"], w.answers["_1._tcp."+odd.String()+" TLSA"] = "127.0.0.1", nobodys
	r, err = dane.Verify(t.Context(), tlsa.Service{Host: odd, Port: 1, Proto: "tcp"}, dane.Options{Source: w, No6: true})
	if err != nil || r.Verdict != dane.Unsupported {
		t.Errorf("%v: %s", err, summary(&r))
	}
}

// TestOptions: the names that are asked for, families, probes, and who is left
// alone.
func TestOptions(t *testing.T) {
	c := shown(t, "host.example", nil)
	s := lab.TLSServer(t, lab.TLSOptions{Certs: map[string][]tls.Certificate{"": {c}}})
	p := port(t, s.Addr())
	w := &world{answers: map[string]string{
		"host.example. A": "127.0.0.1", "host.example. AAAA": "::1", fmt.Sprintf("_%d._tcp.host.example. TLSA", p): of(t, tlsa.DefaultKind, c),
	}}
	verify := func(o dane.Options) dane.Report {
		t.Helper()
		o.Source, o.At = w, time.Now()
		r, err := dane.Verify(t.Context(), tlsa.Service{Host: domain.MustParse("host.example"), Port: p, Proto: "tcp"}, o)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	if r := verify(dane.Options{No6: true}); r.Verdict != dane.Validated || len(r.Checks[0].Results) != 1 || r.Checks[0].SNI != "host.example" {
		t.Errorf("%s", summary(&r))
	}
	if r := verify(dane.Options{No4: true}); len(r.Checks[0].Results) != 1 || r.Checks[0].Results[0].Address != netip.IPv6Loopback() {
		t.Errorf("%s", summary(&r))
	}
	if r := verify(dane.Options{No6: true, ServerName: domain.MustParse("other.example")}); r.Verdict != dane.Validated {
		t.Errorf("%s", summary(&r))
	}
	if r := verify(dane.Options{Probe: []netip.AddrPort{netip.MustParseAddrPort(s.Addr())}}); r.Verdict != dane.Validated || len(r.Checks[0].Results) != 1 {
		t.Errorf("%s", summary(&r))
	}
	before := len(s.Seen())
	if r := verify(dane.Options{NoServer: true}); r.Verdict != dane.Untested {
		t.Errorf("%s", summary(&r))
	}
	if seen := s.Seen(); len(seen) != before || !slices.Contains(seen, "host.example") || !slices.Contains(seen, "other.example") {
		t.Errorf("%q", seen)
	}
}
