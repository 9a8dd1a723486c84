package dane_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"math/big"
	"net/netip"
	"strings"
	"testing"
	"time"

	"zonebuild/internal/dane"
	"zonebuild/internal/domain"
	"zonebuild/internal/lab"
	"zonebuild/internal/starttls"
	"zonebuild/tlsa"
)

// TestMX: the servers of a domain (RFC 7672 §2.2), and the names that count.
func TestMX(t *testing.T) {
	one, byDomain := shown(t, "mx1.example", nil), shown(t, "example.org", nil)
	s := lab.TLSServer(t, lab.TLSOptions{Speak: "smtp", Certs: map[string][]tls.Certificate{"mx1.example": {one}, "mx2.example": {byDomain}, "example.org": {byDomain}, "pkix.example": {one}}})
	p := port(t, s.Addr())
	at := func(name string) string { return fmt.Sprintf("_%d._tcp.%s TLSA", p, name) }
	anchor := of(t, tlsa.Kind{Usage: 2, Selector: 0, MatchingType: 0}, byDomain)
	base := map[string]string{
		"mx1.example. A": "127.0.0.1", at("mx1.example."): of(t, tlsa.DefaultKind, one),
		"mx2.example. A": "127.0.0.1", at("mx2.example."): of(t, tlsa.DefaultKind, byDomain),
		"mx9.example. A": "127.0.0.9", at("mx9.example."): nobodys,
		"pkix.example. A": "127.0.0.1", at("pkix.example."): of(t, tlsa.Kind{Usage: 1, Selector: 1, MatchingType: 1}, one),
		"example.org. A": "127.0.0.1", at("example.org."): of(t, tlsa.DefaultKind, byDomain),
	}
	var many strings.Builder
	for i := range 60 {
		fmt.Fprintf(&many, "10 h%d.example.\n", i)
	}
	for _, c := range []struct{ name, mx, want string }{
		{"one", "10 mx1.example.", "validated; mx1.example. 10, validated"},
		{"in the order of preference, each once", "20 mx1.example.\n10 mx2.example.\n30 mx1.example.", "validated; mx2.example. 10, validated; mx1.example. 20, validated"},
		{"one of two is down", "10 mx9.example.\n20 mx1.example.", "partial; mx9.example. 10, unreachable (unreachable: connection refused); mx1.example. 20, validated"},
		{"one has no records", "10 none.example.\n20 mx1.example.", "partial; none.example. 10, no-address (none.example. has no IPv4 address: the table says so); mx1.example. 20, validated"},
		{"none: the domain is its own", "", "validated; example.org., validated"},
		{"insecure", "insecure: 10 mx1.example.", "insecure; example.org., insecure (the MX records of example.org. are insecure: the table says so)"},
		{"insecure absence", "insecure", "insecure; example.org., insecure (the MX records of example.org. are insecure: the table says so)"},
		{"bogus", "bogus", "bogus; example.org., bogus (MX records of example.org.: the table says so)"},
		{"silent", "silent", "dns-failure; example.org., dns-failure (MX records of example.org.: the table says so)"},
		{"no such domain", "nxdomain", "no-address; example.org., no-address (example.org. does not exist: the table says so)"},
		{"null", "0 .", "no-address; example.org., no-address (example.org. takes no mail (RFC 7505))"},
		{"null and another", "0 .\n10 mx1.example.", "partial; mx1.example. 10, validated; example.org., no-address (the MX set of example.org. names what is no host: the name . beside others in the MX set)"},
		{"usages 0 and 1 do not count", "10 pkix.example.", "unusable; pkix.example. 10, unusable (usages 0 and 1 are unusable in mail between servers (RFC 7672 §3.1.3))"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := &world{answers: map[string]string{"example.org. MX": c.mx}}
			for k, v := range base {
				w.answers[k] = v
			}
			if c.mx == "" {
				delete(w.answers, "example.org. MX")
			}
			r, err := dane.VerifyMX(t.Context(), domain.MustParse("example.org"), p, dane.Options{Source: w, At: time.Now(), ByPort: true, No6: true})
			if err != nil {
				t.Fatal(err)
			}
			if got := summary(&r); got != c.want {
				t.Errorf("\ngot  %s\nwant %s", got, c.want)
			}
		})
	}

	t.Run("names", func(t *testing.T) {
		// A certificate for the domain is right for its server with usage 2
		// (RFC 7672 §3.2.2), where the MX set is secure; alone the host is not.
		w := &world{answers: map[string]string{"example.org. MX": "10 mx2.example.", "mx2.example. A": "127.0.0.1", at("mx2.example."): anchor}}
		leafKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		ca, err := x509.ParseCertificate(byDomain.Certificate[0])
		if err != nil {
			t.Fatal(err)
		}
		der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
			SerialNumber: big.NewInt(2), DNSNames: []string{"example.org"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		}, ca, leafKey.Public(), byDomain.PrivateKey)
		if err != nil {
			t.Fatal(err)
		}
		chained := tls.Certificate{Certificate: [][]byte{der}, PrivateKey: leafKey}
		s.Show("mx2.example", chained)
		o := dane.Options{Source: w, At: time.Now(), ByPort: true, No6: true}
		r, err := dane.VerifyMX(t.Context(), domain.MustParse("example.org"), p, o)
		if err != nil || r.Verdict != dane.Validated || fmt.Sprint(r.Checks[0].Names) != "[mx2.example. example.org.]" {
			t.Errorf("%v: %s, %v", err, summary(&r), r.Checks[0].Names)
		}
		o.ByPort, o.Protocol = false, starttls.SMTP
		r, err = dane.Verify(t.Context(), tlsa.Service{Host: domain.MustParse("mx2.example"), Port: p, Proto: "tcp"}, o)
		if err != nil || r.Checks[0].Results[0].Cause != tlsa.WrongName || r.Checks[0].Results[0].Reason != "the certificate does not name mx2.example." {
			t.Errorf("%v: %s", err, summary(&r))
		}
		// The certificate ends in an hour.
		o.At = time.Now().Add(2 * time.Hour)
		r, err = dane.VerifyMX(t.Context(), domain.MustParse("example.org"), p, o)
		if err != nil || r.Checks[0].Results[0].Cause != tlsa.WrongTime {
			t.Errorf("%v: %s", err, summary(&r))
		}
	})

	t.Run("alias", func(t *testing.T) {
		w := &world{answers: map[string]string{"alias.example. CNAME": "example.org.", "example.org. MX": "10 mx1.example."}}
		for k, v := range base {
			w.answers[k] = v
		}
		r, err := dane.VerifyMX(t.Context(), domain.MustParse("alias.example"), p, dane.Options{Source: w, At: time.Now(), ByPort: true, No6: true})
		if err != nil || r.Verdict != dane.Validated || fmt.Sprint(r.Checks[0].Names) != "[mx1.example. alias.example. example.org.]" {
			t.Errorf("%v: %s, %v", err, summary(&r), r.Checks[0].Names)
		}
	})

	t.Run("by host, on the port of mail", func(t *testing.T) {
		for port, want := range map[uint16]dane.Verdict{25: dane.Unusable, 587: dane.Unsupported} {
			w := &world{answers: map[string]string{"pkix.example. A": "127.0.0.1", fmt.Sprintf("_%d._tcp.pkix.example. TLSA", port): base[at("pkix.example.")]}}
			r, err := dane.Verify(t.Context(), tlsa.Service{Host: domain.MustParse("pkix.example"), Port: port, Proto: "tcp"},
				dane.Options{Source: w, At: time.Now(), ByPort: true, Probe: []netip.AddrPort{netip.MustParseAddrPort(s.Addr())}})
			if err != nil || r.Verdict != want {
				t.Errorf("%v: %s", err, summary(&r))
			}
		}
	})

	t.Run("too many", func(t *testing.T) {
		w := &world{answers: map[string]string{"example.org. MX": many.String()}}
		r, err := dane.VerifyMX(t.Context(), domain.MustParse("example.org"), p, dane.Options{Source: w, At: time.Now(), ByPort: true})
		last := &r.Checks[len(r.Checks)-1]
		if err != nil || len(r.Checks) != 51 || last.Results[0].Reason != "example.org. has 60 hosts, and at most 50 are asked" || last.Results[0].Verdict != dane.Unsupported {
			t.Errorf("%v: %s", err, summary(&r))
		}
	})
}

// TestSRV: the servers of a service (RFC 7673).
func TestSRV(t *testing.T) {
	c := shown(t, "im.example", nil)
	s := lab.TLSServer(t, lab.TLSOptions{Certs: map[string][]tls.Certificate{"": {c}}})
	p := port(t, s.Addr())
	w := &world{answers: map[string]string{
		"_imaps._tcp.example.org. SRV":              fmt.Sprintf("20 0 %d im.example.\n10 1 1 down.example.\n10 5 %d im.example.\n5 0 0 zero.example.", p, p),
		"_imap._tcp.example.org. SRV":               "0 0 0 .",
		"_pop3._tcp.example.org. SRV":               "insecure: 0 0 110 im.example.",
		"im.example. A":                             "127.0.0.1",
		fmt.Sprintf("_%d._tcp.im.example. TLSA", p): of(t, tlsa.DefaultKind, c),
		"down.example. A":                           "127.0.0.9",
		"_1._tcp.down.example. TLSA":                nobodys,
		"_xmpps-client._tcp.example.org. SRV":       "0 0 5223 im.example.",
		"_sip._udp.example.org. SRV":                "0 0 5061 im.example.",
		"_5061._udp.im.example. TLSA":               nobodys,
		"_submission._tcp.example.org. SRV":         "bogus",
	}}
	o := dane.Options{Source: w, At: time.Now(), ByPort: true, No6: true}
	for _, q := range []struct{ service, proto, want string }{
		{"imaps", "tcp", "partial; im.example. 10, validated; down.example. 10, unreachable (unreachable: connection refused); example.org., no-address (the SRV set of example.org. names what is no host: zero.example. has port 0)"},
		{"imap", "tcp", "no-address; example.org., no-address (_imap._tcp.example.org. says that there is no such service (RFC 2782))"},
		{"pop3", "tcp", "insecure; example.org., insecure (the SRV records of _pop3._tcp.example.org. are insecure: the table says so)"},
		{"submission", "tcp", "bogus; example.org., bogus (SRV records of _submission._tcp.example.org.: the table says so)"},
		{"ldap", "tcp", "no-address; example.org., no-address (there are no SRV records of _ldap._tcp.example.org.: the table says so)"},
		{"xmpps-client", "tcp", "no-tlsa; im.example. 0, no-tlsa (there are no TLSA records of _5223._tcp.im.example.: the table says so)"},
		{"sip", "udp", "unsupported; im.example. 0, unsupported (nobody here speaks TLS over udp)"},
	} {
		r, err := dane.VerifySRV(t.Context(), q.service, q.proto, domain.MustParse("example.org"), o)
		if err != nil {
			t.Fatal(err)
		}
		if got := summary(&r); got != q.want {
			t.Errorf("%s\ngot  %s\nwant %s", q.service, got, q.want)
		}
	}
	r, err := dane.VerifySRV(t.Context(), "imaps", "tcp", domain.MustParse("example.org"), o)
	if err != nil || fmt.Sprint(r.Checks[0].Names) != "[im.example. example.org.]" {
		t.Errorf("%v: %v", err, r.Checks[0].Names)
	}
	if _, err := dane.VerifySRV(t.Context(), strings.Repeat("x", 64), "tcp", domain.MustParse("example.org"), o); err == nil {
		t.Error("a service of 64 letters is taken")
	}
}
