package zone

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"zonebuild/internal/diag"
	"zonebuild/internal/domain"
)

// compileAs compiles the host's fragments and others beside them.
func compileAs(t *testing.T, r Rules, guests bool, host string, others []string) (*Zone, diag.List) {
	t.Helper()
	apex := domain.MustParse("example.org")
	var fragments []Fragment
	for i, text := range append([]string{soaText, host}, others...) {
		f, faults := Parse([]string{"soa", "host", "g0", "g1", "g2", "g3"}[i], []byte(text), ParseOptions{Apex: apex})
		if faults.HasErrors() {
			t.Fatalf("%q: %v", text, faults)
		}
		f.Guest = guests && i > 1
		fragments = append(fragments, f)
	}
	return r.Compile(apex, fragments...)
}

// rrsetsOf is each RRset of a zone: its TTL and its records.
func rrsetsOf(z *Zone) (ttls map[string]uint32, records map[string]bool) {
	ttls, records = make(map[string]uint32), make(map[string]bool)
	s := z.Records()
	for i := range s.Len() {
		key := s.Name(i).String() + " " + TypeName(s.Type(i))
		ttls[key], _ = s.TTL(i)
		records[key+" "+string(AppendRdata(nil, s.Type(i), s.Rdata(i)))] = true
	}
	return ttls, records
}

// TestGuestModel: the zone is the host's records with the host's TTLs and the
// records of the guests that were admitted, and nothing else; each other guest
// has one warning; and what was admitted has no fault as a host fragment either.
func TestGuestModel(t *testing.T) {
	rules := Rules{Refresh: 7200}
	big := "big 300 TXT " + strings.Repeat("\""+strings.Repeat("x", 255)+"\" ", 250) + "\n"
	host := strings.Replace(hostText, "sub	NS	ns1\n", "sub 300 NS ns1\nat.a.b 300 TXT host\n", 1) + big
	admitted, dropped := 0, 0
	for seed := range uint64(400) {
		r := rand.New(rand.NewPCG(seed, 7))
		pick := func(list ...string) string { return list[r.IntN(len(list))] }
		var guests []string
		for range 1 + r.IntN(4) {
			var b strings.Builder
			for range 1 + r.IntN(3) {
				owner := pick("www", "WWW", "alias", "x", "@", "a.sub", "sub", "b.tree", "tree", "_acme-challenge", "_acme-challenge.www",
					"*", "*.x", "*x", "ns1", "y.x", "b", "c.b", "_25._tcp.mail.apps", "mail.apps", "big", "\\000", "a\\.b")
				if r.IntN(3) > 0 {
					owner = pick("www", "x", "_acme-challenge", "y.x", "_acme-challenge.www", "big")
				}
				record := pick("TXT a", "TXT \"host\"", "TXT a b", "A 192.0.2.1", "A 192.0.2.9", "TLSA 3 1 1 "+strings.Repeat("00", 32),
					"TYPE65280 \\# 1 00", "HTTPS 1 .", "TXT "+strings.Repeat("\""+strings.Repeat("y", 255)+"\" ", 4))
				if r.IntN(8) == 0 {
					record = pick("CNAME www", "NS ns1", "DNAME www", "DS 1 13 1 "+strings.Repeat("00", 20))
				}
				ttl := 1 + r.IntN(600)
				if r.IntN(10) == 0 {
					ttl = 7198 + r.IntN(4)
				}
				fmt.Fprintf(&b, "%s %d %s\n", owner, ttl, record)
			}
			guests = append(guests, b.String())
		}
		alone, faults := compileAs(t, rules, true, host, nil)
		if faults.HasErrors() {
			t.Fatal(lines(faults))
		}
		z, faults := compileAs(t, rules, true, host, guests)
		if z == nil || faults.HasErrors() {
			t.Fatalf("%q: %s", guests, lines(faults))
		}
		warned := make(map[string]int)
		for _, d := range faults {
			if d.Code == "guest-dropped" {
				warned[d.Pos.File]++
			}
		}
		var in []string
		wantTTLs, wantRecords := rrsetsOf(alone)
		hostTTLs := maps.Clone(wantTTLs)
		for i, text := range guests {
			switch warned[fmt.Sprintf("g%d", i)] {
			case 0:
				in = append(in, text)
			case 1:
				dropped++
				continue
			default:
				t.Fatalf("%q: a guest has two warnings: %s", guests, lines(faults))
			}
			g, _ := Parse("g", []byte(text), ParseOptions{Apex: z.Apex()})
			for k := range g.Records.Len() {
				key := g.Records.Name(k).String() + " " + TypeName(g.Records.Type(k))
				ttl, _ := g.Records.TTL(k)
				if have, ok := wantTTLs[key]; !ok || hostTTLs[key] == 0 && ttl < have {
					wantTTLs[key] = ttl
				}
				wantRecords[key+" "+string(AppendRdata(nil, g.Records.Type(k), g.Records.Rdata(k)))] = true
			}
		}
		admitted += len(in)
		gotTTLs, gotRecords := rrsetsOf(z)
		if !maps.Equal(gotTTLs, wantTTLs) || !maps.Equal(gotRecords, wantRecords) {
			t.Fatalf("%q:\n%v\n%v\nwant\n%v\n%v", guests, gotTTLs, slices.Sorted(maps.Keys(gotRecords)), wantTTLs, slices.Sorted(maps.Keys(wantRecords)))
		}
		if z.Records().Type(z.SOA()) != 6 || z.Serial() != 1 {
			t.Fatal("the SOA is not where the zone says")
		}
		if _, faults := compileAs(t, rules, false, host, in); faults.HasErrors() {
			t.Fatalf("%q are admitted, and would be errors of the host: %s", in, lines(faults))
		}
	}
	if admitted < 100 || dropped < 100 {
		t.Errorf("%d guests were admitted, %d dropped: the test says little", admitted, dropped)
	}
}

// TestGuestOdd: what no reader of the project makes, and the seam allows.
func TestGuestOdd(t *testing.T) {
	apex := domain.MustParse("example.org")
	parse := func(name, text string) Fragment {
		f, _ := Parse(name, []byte(text), ParseOptions{Apex: apex})
		f.Guest = name != "soa"
		return f
	}
	text := func(n int) string {
		return strings.Repeat("\""+strings.Repeat("x", 255)+"\" ", n)
	}
	for _, tt := range []struct {
		name   string
		guests []Fragment
		want   string
	}{
		{"a faulty record", []Fragment{parse("g", "x 60 TXT a\ny 60 A nonsense\n")}, "g:1:1: warning: x.example.org.: the file is left out: a part of it could not be read [guest-dropped]\n"},
		{"only a faulty record", []Fragment{parse("g", "y 60 A nonsense\n")}, "g: warning: the file is left out: a part of it could not be read [guest-dropped]\n"},
		{"never read", []Fragment{{Name: "g", Guest: true}}, "g: warning: the file is left out: a part of it could not be read [guest-dropped]\n"},
		{"empty", []Fragment{parse("g", "")}, ""},
		{"like a wildcard", []Fragment{parse("g", "*x 60 TXT a\n")}, "g:1:1: warning: *x.example.org.: the file is left out: its owner begins with an asterisk but is no wildcard [guest-dropped]\n"},
		{"outlives its signature", []Fragment{parse("g", "x 7200 TXT a\n")}, "g:1:1: warning: x.example.org.: the file is left out: its TTL 7200 is not below the policy's refresh of 7200 seconds [guest-dropped]\n"},
		{"outside", []Fragment{func() Fragment {
			f, _ := Parse("g", []byte("x 60 TXT a\n"), ParseOptions{Apex: domain.MustParse("example.com")})
			f.Guest = true
			return f
		}()}, "g:1:1: warning: x.example.com.: the file is left out: its owner is outside the zone [guest-dropped]\n"},
		{"too large, together", []Fragment{parse("g", "x 60 TXT "+text(200)+"\n"), parse("h", "y 60 TXT a\nx 60 TXT "+text(60)+"\n"), parse("i", "x 60 TXT "+text(40)+"\n")},
			"h:2:1: warning: x.example.org.: the file is left out: the TXT records would need a message of 66615 octets, at most 65535 are possible [guest-dropped]\n"},
		{"may hide", []Fragment{func() Fragment {
			f := parse("g", "a.b.c 60 TXT a\n")
			f.MayHide = true
			return f
		}()}, "g:1:1: warning: a.b.c.example.org.: makes c.example.org. exist, so that the wildcard *.example.org. no longer answers for it [wildcard-hidden] (the wildcard at soa:5:1)\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			host, faults := Parse("soa", []byte(soaText+"* 60 A 192.0.2.1\n"), ParseOptions{Apex: apex})
			if faults.HasErrors() {
				t.Fatal(faults)
			}
			z, faults := Rules{Refresh: 7200}.Compile(apex, append([]Fragment{host}, tt.guests...)...)
			if z == nil {
				t.Fatal(lines(faults))
			}
			faults = slices.DeleteFunc(faults, func(d diag.Diagnostic) bool { return d.Code == "soa-expire" })
			if got := lines(faults); got != tt.want {
				t.Errorf("got\n%swant\n%s", got, tt.want)
			}
			var b bytes.Buffer
			if _, err := z.WriteTo(&b); err != nil || !strings.Contains(b.String(), "\n*.example.org.\t60\t") {
				t.Error(err, b.String())
			}
		})
	}
}
