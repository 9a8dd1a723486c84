package zone

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"zonebuild/internal/diag"
	"zonebuild/internal/domain"
)

const hostText = `www	300	A	192.0.2.1
alias	CNAME	www
sub	NS	ns1
tree	DNAME	example.net.
*.apps	A	192.0.2.1
_acme-challenge	300	TXT	"host"
`

// compileGuests compiles the host's fragments with guests beside them.
func compileGuests(t *testing.T, guests ...string) (*Zone, diag.List) {
	t.Helper()
	apex := domain.MustParse("example.org")
	s, _ := Parse("soa", []byte(soaText), ParseOptions{Apex: apex})
	p, _ := Parse("host", []byte(hostText), ParseOptions{Apex: apex})
	fragments := []Fragment{s, p}
	for i, text := range guests {
		g, faults := Parse(fmt.Sprintf("g%d", i), []byte(text), ParseOptions{Apex: apex})
		if faults.HasErrors() {
			t.Fatalf("%q: %v", text, faults)
		}
		g.Guest = true
		fragments = append(fragments, g)
	}
	return Compile(apex, fragments...)
}

// TestGuest: a guest's file joins whole or is left out whole, with the reason.
func TestGuest(t *testing.T) {
	for _, tt := range []struct{ text, want string }{
		{"_acme-challenge.www 60 TXT a\n", ""},
		{"_acme-challenge 60 TXT a\n", ""},
		{"x A 192.0.2.1\n", "g0:1:1: warning: x.example.org.: the file is left out: a record has no TTL [guest-dropped]\n"},
		{"x 60 TXT a\nalias 60 TXT b\n", "g0:2:1: warning: alias.example.org.: the file is left out: a CNAME stands at its owner (host:2:1) [guest-dropped]\n"},
		{"a.sub 60 TXT b\n", "g0:1:1: warning: a.sub.example.org.: the file is left out: its owner is in the delegated zone sub.example.org. [guest-dropped]\n"},
		{"sub 60 TXT b\n", "g0:1:1: warning: sub.example.org.: the file is left out: its owner is in the delegated zone sub.example.org. [guest-dropped]\n"},
		{"a.b.tree 60 TXT b\n", "g0:1:1: warning: a.b.tree.example.org.: the file is left out: its owner is below the DNAME tree.example.org. [guest-dropped]\n"},
		{"_acme-challenge.shop.apps 60 TXT b\n", "g0:1:1: warning: _acme-challenge.shop.apps.example.org.: the file is left out: it would make shop.apps.example.org. exist, for which a wildcard answers [guest-dropped]\n"},
		{"_acme-challenge.apps 60 TXT b\n", ""},
		{"x 60 CNAME www\n", "g0:1:1: warning: x.example.org.: the file is left out: a guest may not bring CNAME [guest-dropped]\n"},
		{"x 60 NS ns1\n", "g0:1:1: warning: x.example.org.: the file is left out: a guest may not bring NS [guest-dropped]\n"},
	} {
		z, faults := compileGuests(t, tt.text)
		if got := lines(faults); got != tt.want || z == nil {
			t.Errorf("%q:\n%swant\n%s", tt.text, got, tt.want)
		}
	}
}

// TestGuestsCannot: whatever guests bring, the zone compiles, no record of the
// host is gone or has another TTL, and each guest is in it whole or not at all.
func TestGuestsCannot(t *testing.T) {
	alone, faults := compileGuests(t)
	if faults.HasErrors() {
		t.Fatal(lines(faults))
	}
	text := func(z *Zone) string {
		var b bytes.Buffer
		if _, err := z.WriteTo(&b); err != nil {
			t.Fatal(err)
		}
		return b.String()
	}
	host := strings.Split(strings.TrimSpace(text(alone)), "\n")
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 2))
		var guests []string
		for range 1 + r.IntN(4) {
			var b strings.Builder
			for range 1 + r.IntN(3) {
				owner := []string{"www", "alias", "x", "@", "a.sub", "sub", "b.tree", "_acme-challenge", "_acme-challenge.www", "*", "ns1", "y.x"}[r.IntN(12)]
				record := []string{"TXT a", "TXT \"host\"", "A 192.0.2.1", "A 192.0.2.9", "CNAME www", "NS ns1", "DS 1 13 1 0000000000000000000000000000000000000000", "DNAME www", "TLSA 3 1 1 " + strings.Repeat("00", 32)}[r.IntN(9)]
				fmt.Fprintf(&b, "%s %d %s\n", owner, 1+r.IntN(600), record)
			}
			guests = append(guests, b.String())
		}
		z, faults := compileGuests(t, guests...)
		if z == nil || faults.HasErrors() {
			t.Fatalf("%q: %v", guests, faults)
		}
		got := text(z)
		for _, line := range host {
			if !strings.Contains(got, line+"\n") {
				t.Fatalf("%q: %s is gone from\n%s", guests, line, got)
			}
		}
		for i, guest := range guests {
			dropped := strings.Contains(lines(faults), fmt.Sprintf("g%d:", i))
			for _, f := range faults {
				if f.Code != "guest-dropped" {
					dropped = dropped && f.Pos.File != fmt.Sprintf("g%d", i)
				}
			}
			if dropped {
				continue
			}
			for line := range strings.Lines(guest) {
				f := strings.Fields(line)
				if owner := strings.TrimPrefix(f[0]+".example.org.", "@."); !strings.Contains(got, owner+"\t") {
					t.Fatalf("%q: %s was admitted and is not in\n%s", guests, line, got)
				}
			}
		}
	}
}
