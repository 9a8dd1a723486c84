package build_test

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"zonebuild/internal/build"
	"zonebuild/internal/cli"
	"zonebuild/internal/domain"
	"zonebuild/internal/lab"
)

// TestOutages replays what took others off the net (docs/outages.md) and a
// builder can cause: it is refused, or does no harm. Key tags that collide are
// replayed with the keys (TestDuplicateTags), failed and silent loads with nsd.
func TestOutages(t *testing.T) {
	t.Parallel()
	lab.Need(t, "ldns-verify-zone", "dnssec-verify")
	hosts := func(n int, suffix string) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, "h%d%s A 192.0.2.%d\n", i, suffix, i+1)
		}
		return b.String()
	}
	const day = 24 * time.Hour
	for _, tt := range []struct {
		name string
		do   func(s *site) // to a published zone of 40 hosts
		code int
		says string // a fault, a guard, or nothing: published
	}{
		{"RIPE NCC: a TTL above the refresh", func(s *site) {
			s.write("primary/example.org", s.read("primary/example.org")+"x 864000 A 192.0.2.1\n")
		}, rejected, "ttl-refresh"},
		{".se 2009: final dots forgotten", func(s *site) {
			s.write("primary/example.org", "ns1 A 192.0.2.53\n"+hosts(40, ".example.org"))
		}, rejected, "shrink"},
		{".de 2010: a truncated zone", func(s *site) {
			before, _, _ := strings.Cut(s.read("primary/example.org"), "h20 ")
			s.write("primary/example.org", before)
		}, rejected, "shrink"},
		{"Fused: blank files", func(s *site) { s.write("primary/example.org", "; nothing\n") }, rejected, "glue-missing"},
		{"Fused: a broken configuration", func(s *site) { s.write("zonebuild.toml", "[policy\n") }, rejected, ""},
		{"APNIC: another signer's keys", func(s *site) {
			s.remove("keys")
			s.remove("state")
			signed := s.read("signed/example.org")
			s.remove("signed")
			s.makeKeys()
			s.write("signed/example.org", signed)
		}, rejected, "key-set"},
		{"Slack, TDNS: unsigned with a DS in caches", func(s *site) { s.write("zonebuild.toml", "[policy]\nsign = false\n") }, rejected, "unsigned-after-signed"},
		{"a clock that went back", func(s *site) { s.now = s.at().Add(-3 * day) }, rejected, "clock-jump"},
		{"a clock years ahead", func(s *site) { s.now = s.at().Add(3 * 365 * day) }, rejected, "clock-jump"},
		{"Cloudflare: an unknown type", func(s *site) {
			s.write("primary/example.org", s.read("primary/example.org")+"new TYPE65333 \\# 2 abcd\n")
		}, ok, ""},
		{"NSD 396: TTLs of an RRset differ", func(s *site) {
			s.write("primary/example.org", s.read("primary/example.org")+"h1 60 A 192.0.2.99\n")
		}, ok, ""},
		{"Slack: a wildcard", func(s *site) {
			s.write("primary/example.org", s.read("primary/example.org")+"*.apps A 192.0.2.1\n*.apps TXT x\n")
		}, ok, ""},
		{"NSD 57: only an included file changed", func(s *site) {
			s.write("inc/more", "more A 192.0.2.1\n")
			s.write("primary/example.org", s.read("primary/example.org")+"$INCLUDE inc/more\n")
			s.build(ok)
			s.write("inc/more", "more A 192.0.2.2\n")
		}, ok, ""},
		{"deSEC: keys again for a zone that has some", func(s *site) {
			s.remove("keys")
			if _, err := s.open().MakeKeys(domain.MustParse("example.org"), build.KeyOptions{Now: s.at()}); err == nil {
				s.t.Error("keys were made anew")
			}
		}, failed, "key-set"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, map[string]string{
				"soa/example.org":     "$TTL 1h\n@ SOA ns1 hostmaster 1 2h 30m 6d 5m\n@ NS ns1\n",
				"primary/example.org": "ns1 A 192.0.2.53\n" + hosts(40, ""),
			})
			s.build(ok)
			before, serial := s.read("signed/example.org"), s.whole("example.org")
			tt.do(s)
			tree, faults, err := build.Open(s.dir)
			if tree == nil {
				if err != nil || tt.code != cli.ExitRejected || !faults.HasErrors() {
					t.Fatalf("%v %v", err, faults)
				}
			} else {
				tree.Close()
				r := one(t, s.build(tt.code), "example.org")
				said := fmt.Sprintf("%v %v", r.Diagnostics, r.Refusals)
				if tt.says != "" && !strings.Contains(said, tt.says) {
					t.Errorf("%s: %+v", tt.says, r)
				}
			}
			s.now = time.Time{}
			if tt.code != ok && s.read("signed/example.org") != before {
				t.Error("signed/ changed")
			}
			if after := s.whole("example.org"); int32(after-serial) < 0 {
				t.Errorf("serial %d after %d", after, serial)
			}
			lab.Run(t, "ldns-verify-zone", s.path("signed/example.org"))
			lab.Run(t, "dnssec-verify", "-q", "-x", "-o", "example.org", s.path("signed/example.org"))
		})
	}
}

// TestBrokenForMonths: .mm and .zm let signatures expire, Cloudflare kept a last good
// zone and did not sign it. Sources that are broken for 60 days leave a zone that
// is valid on each of them.
func TestBrokenForMonths(t *testing.T) {
	t.Parallel()
	s := newSite(t, smallZone("www A 192.0.2.1\n"))
	s.now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	s.build(ok)
	s.write("primary/example.org", "broken\n")
	var last uint32
	for range 60 {
		s.now = s.now.Add(24 * time.Hour)
		s.build(rejected)
		serial := s.whole("example.org")
		if int32(serial-last) < 0 && last != 0 {
			t.Fatalf("serial %d after %d", serial, last)
		}
		last = serial
	}
	if got := s.alarms("example.org"); got != "input-rejected" {
		t.Errorf("alarms %q", got)
	}
}

// TestRunawaySerials: an OpenDNSSEC ran out of the day's hundred numbers. Here the
// counter goes on, and the next days' serials are ahead of it.
func TestRunawaySerials(t *testing.T) {
	t.Parallel()
	s := newSite(t, smallZone("www A 192.0.2.1\n"))
	s.write("zonebuild.toml", "[policy]\nserial = \"datecounter\"\n")
	s.now = time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	var last uint32
	for i := range 130 {
		s.now = s.now.Add(time.Minute)
		s.write("primary/example.org", fmt.Sprintf("ns1 A 192.0.2.53\nwww TXT %d\n", i))
		r := one(t, s.build(ok), "example.org")
		if last != 0 && r.Serial != last+1 || last == 0 && r.Serial != 2026030100 {
			t.Fatalf("serial %d after %d", r.Serial, last)
		}
		last = r.Serial
	}
	s.now = time.Date(2026, 3, 3, 0, 0, 0, 0, time.UTC)
	s.write("primary/example.org", "ns1 A 192.0.2.53\n")
	if r := one(t, s.build(ok), "example.org"); r.Serial != 2026030300 {
		t.Errorf("serial %d", r.Serial)
	}
	if _, err := os.Stat(s.path("signed/example.org")); err != nil {
		t.Error(err)
	}
}
