package validate_test

import (
	"context"
	"encoding/hex"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"zonebuild/internal/domain"
	"zonebuild/internal/validate"
)

// chain answers from records in wire form, one after the other.
type chain []dns.RR

func (c chain) Exchange(_ context.Context, q *dns.Msg) (*dns.Msg, error) {
	m := new(dns.Msg)
	for _, rr := range c {
		if rr.Header().Name == q.Question[0].Name && covered(rr) == q.Question[0].Qtype {
			m.Answer = append(m.Answer, rr)
		}
	}
	return m, nil
}

// TestRFC9102 is the AuthenticationChain of RFC 9102 Appendix A.1, with its trust
// anchor, in the time its signatures were valid.
func TestRFC9102(t *testing.T) {
	text, err := os.ReadFile("testdata/rfc9102.hex")
	if err != nil {
		t.Fatal(err)
	}
	wire, err := hex.DecodeString(strings.Join(strings.Fields(string(text)), ""))
	if err != nil {
		t.Fatal(err)
	}
	var c chain
	for off := 0; off < len(wire); {
		var rr dns.RR
		if rr, off, err = dns.UnpackRR(wire, off); err != nil {
			t.Fatal(err)
		}
		c = append(c, rr)
	}
	anchors, err := validate.ReadAnchors(strings.NewReader(". IN DS 47005 13 2 2eb6e9f2480126691594d649a5a613de3052e37861634641bb568746f2ffc4d4\n"), "RFC 9102")
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		now    string
		want   validate.Status
		reason string
	}{
		{"2018-11-27T23:59:59Z", validate.Bogus, "DNSKEY of .: RRSIG not valid before 2018-11-28T00:00:00Z"},
		{"2018-11-28T00:00:00Z", validate.Secure, "_443._tcp.www.example.com. TLSA is signed by example.com."},
		{"2020-12-02T00:00:00Z", validate.Secure, "_443._tcp.www.example.com. TLSA is signed by example.com."},
		{"2020-12-02T00:00:01Z", validate.Bogus, "DNSKEY of .: RRSIG expired at 2020-12-02T00:00:00Z"},
	} {
		now, err := time.Parse(time.RFC3339, tt.now)
		if err != nil {
			t.Fatal(err)
		}
		v := &validate.Validator{Resolver: c, Anchors: anchors, Now: now}
		a, err := v.LookUp(t.Context(), domain.MustParse("_443._tcp.www.example.com"), dns.TypeTLSA)
		if err != nil || a.Status != tt.want || a.Reason != tt.reason {
			t.Errorf("at %s: %s (%s), %v", tt.now, a.Status, a.Reason, err)
		}
		if tt.want != validate.Secure {
			continue
		}
		if tlsa := a.RRs[0].(*dns.TLSA); len(a.RRs) != 1 || tlsa.Certificate != "8bd1da95272f7fa4ffb24137fc0ed03aae67e5c4d8b3c50734e1050a7920b922" {
			t.Errorf("at %s: %v", tt.now, a.RRs)
		}
		if len(a.Chain) != 3 || a.Chain[2].Zone != domain.MustParse("example.com") || !a.Expires.Equal(time.Date(2020, 12, 2, 0, 0, 0, 0, time.UTC)) {
			t.Errorf("at %s: %v, expires %v", tt.now, a.Chain, a.Expires)
		}
	}
}
