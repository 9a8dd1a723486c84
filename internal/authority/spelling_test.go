package authority_test

import (
	"net/netip"
	"os"
	"testing"

	"github.com/miekg/dns"

	"zonebuild/internal/authority"
	"zonebuild/internal/domain"
	"zonebuild/internal/lab"
)

// TestSpellings: a server writes a name with a space as it likes; it is the name
// that was asked for all the same.
func TestSpellings(t *testing.T) {
	lab.Need(t, "nsd")
	dir := t.TempDir()
	zone := "$TTL 60\n@ SOA ns.test. h.test. 1 60 60 600 60\n@ NS ns.test.\na\\032b A 192.0.2.1\nc\\064d A 192.0.2.2\n"
	if err := os.WriteFile(dir+"/example", []byte(zone), 0o644); err != nil {
		t.Fatal(err)
	}
	d := lab.NSD(t, lab.NSDOptions{Dir: dir, Zones: []string{"example"}})
	server := netip.MustParseAddrPort(d.Addr())
	for _, name := range []string{`a\032b.example`, `a\ b.example`, `C\@D.example`, `c\064d.example`} {
		apex := domain.MustParse(name)
		in, err := authority.Exchange(t.Context(), server, authority.Question(apex, dns.TypeA, false))
		if err != nil || len(in.Answer) != 1 {
			t.Errorf("%s: %v %v", name, in, err)
		}
		set, err := authority.Resolver{server}.LookUp(t.Context(), apex, dns.TypeA)
		if err != nil || len(set) != 1 {
			t.Errorf("look up %s: %v %v", name, set, err)
		}
	}
}
