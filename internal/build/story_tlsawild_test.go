package build_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"zonebuild/internal/domain"
	"zonebuild/internal/lab"
)

// TestTLSAWildcard: where nsd answers for the owner of a line from a wildcard that is
// written by hand, the line that takes it away is warned of, and only there.
func TestTLSAWildcard(t *testing.T) {
	t.Parallel()
	hosts := map[string]string{ // by host: what is written by hand
		"plain.example.org.":   "plain A 192.0.2.1\n",
		"port.example.org.":    "port A 192.0.2.1\n*._tcp.port TLSA HAND\n",
		"host.example.org.":    "host A 192.0.2.1\n*.host TLSA HAND\n",
		"nested.example.org.":  "nested A 192.0.2.1\n*.nested TLSA HAND\n*._tcp.nested TLSA HAND\n",
		"shadow.example.org.":  "shadow A 192.0.2.1\n*.shadow TLSA HAND\n_443._tcp.shadow TXT x\n",
		"txt.example.org.":     "txt A 192.0.2.1\n*._tcp.txt TLSA HAND\n_25._tcp.txt TXT x\n",
		"below.example.org.":   "below A 192.0.2.1\n*._tcp.below TLSA HAND\nx._25._tcp.below TXT x\n",
		"exact.example.org.":   "exact A 192.0.2.1\n*._tcp.exact TLSA HAND\n_25._tcp.exact TLSA HAND\n",
		"other.example.org.":   "other A 192.0.2.1\n*._tcp.other TXT x\n",
		"absent.example.org.":  "",
		"a.wild.example.org.":  "*.wild TLSA HAND\n",
		"b.stand.example.org.": "*.stand TLSA HAND\nb.stand A 192.0.2.1\n",
	}
	var primary, lines strings.Builder
	for host, text := range hosts {
		primary.WriteString(strings.ReplaceAll(text, "HAND", "3 1 1 "+strings.Repeat("ab", 32)))
		fmt.Fprintf(&lines, "mail.pem %s 25\n", host)
	}
	s, _, _ := mailSite(t, "", "")
	s.write("primary/example.org", s.read("primary/example.org")+primary.String())
	d := s.nsd(domain.MustParse("example.org"))
	s.build(ok)
	want := map[string]bool{}
	some := 0
	for host := range hosts {
		owner := "_25._tcp." + host
		m := lab.Query(t, d.Addr(), owner, "TLSA", 0)
		want[owner] = len(m.Answer) > 0 && m.Answer[0].Header().Rrtype == dns.TypeTLSA && host != "exact.example.org."
		if want[owner] {
			some++
		}
	}
	if some != 4 {
		t.Errorf("nsd answers from wildcards for %d owners: %v", some, want)
	}
	s.write("certs.map", lines.String())
	list, err := s.open().Check(t.Context(), nil, s.at())
	if err != nil {
		t.Fatal(err)
	}
	for owner, covered := range want {
		if got := strings.Contains(fmt.Sprint(list), owner+": the TLSA records of *."); got != covered {
			t.Errorf("%s: warned %t, nsd answers from a wildcard %t", owner, got, covered)
		}
	}
	if !strings.Contains(fmt.Sprint(list), "_25._tcp.nested.example.org.: the TLSA records of *._tcp.nested.example.org., written by hand") {
		t.Errorf("not the closest wildcard: %v", list)
	}
	s.pass(0)
	s.quietly("warned")
}
