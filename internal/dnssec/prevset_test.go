package dnssec

import (
	"fmt"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"zonebuild/internal/domain"
	"zonebuild/zone"
)

// TestPreviousRRset: what a published zone holds is found again, by name and type.
func TestPreviousRRset(t *testing.T) {
	apex := domain.MustParse("example.org")
	text := "@ 3600 SOA ns hostmaster 1 2h 30m 4w 1h\n@ 3600 NS ns\nns 3600 A 192.0.2.1\nns 3600 AAAA 2001:db8::1\n"
	for i := range 50 {
		text += fmt.Sprintf("h%d 60 SSHFP 4 2 %064x\nh%[1]d 60 SSHFP 3 2 %064[1]x\nh%[1]d 60 A 192.0.2.%[1]d\n", i, i)
	}
	text += "*.w 300 TXT \"a\\009b\"\na\\.b 300 TXT \"x\"\n"
	f, faults := zone.Parse("zone", []byte(text), zone.ParseOptions{Apex: apex})
	if len(faults) > 0 {
		t.Fatal(faults)
	}
	z, faults := zone.Compile(apex, f)
	if z == nil {
		t.Fatal(faults)
	}
	var b strings.Builder
	if _, err := z.WriteTo(&b); err != nil {
		t.Fatal(err)
	}
	p, err := ReadPrevious(apex, "zone", []byte(b.String()))
	if err != nil {
		t.Fatal(err)
	}
	s := z.Records()
	for i := 0; i < s.Len(); i = s.RRsetEnd(i) {
		got, err := p.RRset(s.Name(i), s.Type(i))
		if err != nil || got.Len() != s.RRsetEnd(i)-i {
			t.Fatalf("%s %s: %v, %d records", s.Name(i), zone.TypeName(s.Type(i)), err, got.Len())
		}
		for k := range got.Len() {
			if string(zone.AppendRecordOf(nil, got, k)) != string(zone.AppendRecordOf(nil, s, i+k)) {
				t.Errorf("%s", zone.AppendRecordOf(nil, got, k))
			}
		}
	}
	for _, name := range []string{"nosuch.example.org", "zz.example.org", "0.example.org", "example.com", ".", "w.example.org"} {
		if got, err := p.RRset(domain.MustParse(name), dns.TypeA); err != nil || got.Len() != 0 {
			t.Errorf("%s: %v %d", name, err, got.Len())
		}
	}
	if got, err := p.RRset(domain.MustParse("h1.example.org"), dns.TypeTLSA); err != nil || got.Len() != 0 {
		t.Errorf("%v %d", err, got.Len())
	}
	all, err := p.RRsets(dns.TypeSSHFP)
	if err != nil || len(all) != 50 {
		t.Fatalf("%v, %d sets", err, len(all))
	}
	for i, set := range all {
		if set.Len() != 2 || i > 0 && all[i-1].Name(0).Compare(set.Name(0)) >= 0 {
			t.Errorf("%d: %d records of %s", i, set.Len(), set.Name(0))
		}
	}
	if n := p.Count(func(_ []byte, typ uint16) bool { return typ == dns.TypeSSHFP }); n != 100 {
		t.Errorf("%d records", n)
	}
}
