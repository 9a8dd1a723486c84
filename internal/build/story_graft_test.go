package build_test

import (
	"os"
	"strings"
	"testing"

	"zonebuild/internal/domain"
	"zonebuild/internal/lab"
)

// TestChallengesWhateverTheAuthor: where the author's files cannot be taken, the last
// good records stay published, and the challenges come and go all the same, answered by
// nsd.
func TestChallengesWhateverTheAuthor(t *testing.T) {
	t.Parallel()
	long := ""
	for i := range 20 {
		long += "h" + string(rune('a'+i)) + " A 192.0.2.1\n"
	}
	for _, tt := range []struct {
		name, alarm string
		code        int
		damage      func(*site)
		mend        func(*site)
	}{
		{"a typo", "input-rejected", rejected, func(s *site) { s.write("primary/example.org", "www AA 192.0.2.1\n") }, nil},
		{"a vanished file", "input-rejected", rejected, func(s *site) { s.remove("primary/example.org") }, nil},
		{"most is gone", "guard", rejected, func(s *site) { s.write("primary/example.org", "ns1 A 192.0.2.53\n") }, nil},
		{"not mounted", "not-mounted", rejected, func(s *site) { s.remove("soa/.mounted") }, func(s *site) { s.write("soa/.mounted", "") }},
		{"nothing there", "", rejected, func(s *site) {
			if err := os.Rename(s.path("soa"), s.path("away")); err != nil {
				s.t.Fatal(err)
			}
			if err := os.Mkdir(s.path("soa"), 0o755); err != nil {
				s.t.Fatal(err)
			}
		}, func(s *site) {
			s.remove("soa")
			if err := os.Rename(s.path("away"), s.path("soa")); err != nil {
				s.t.Fatal(err)
			}
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			hosts := "ns1 A 192.0.2.53\n" + long
			s := newSite(t, smallZone(hosts))
			s.write("primary/example.org", hosts)
			s.write("soa/.mounted", "")
			d := s.nsd(domain.MustParse("example.org"))
			s.write("zonebuild.toml", strings.Replace(s.read("zonebuild.toml"), "[publish]", "[source.soa]\nmarker = \".mounted\"\n[publish]", 1))
			w := s.box()
			add := func(n int) {
				t.Helper()
				if err := w.Add(t.Context(), s.challenge("_acme-challenge.example.org", n)); err != nil {
					t.Fatal(err)
				}
			}
			answers := func(want ...int) {
				t.Helper()
				got := map[string]bool{}
				m := lab.Query(t, d.Addr(), "_acme-challenge.example.org", "TXT", 0)
				for _, rr := range m.Answer {
					got[strings.Trim(rr.String()[strings.LastIndexByte(rr.String(), '\t')+1:], `"`)] = true
				}
				for _, n := range want {
					if !got[boxValue(n)] {
						t.Errorf("no challenge %d: %v", n, m.Answer)
					}
				}
				if len(got) != len(want) {
					t.Errorf("%d challenges, want %v", len(got), want)
				}
			}
			add(1)
			s.build(ok)
			answers(1)
			tt.damage(s)
			add(2)
			s.build(tt.code)
			answers(1, 2)
			if tt.alarm != "" && s.alarms("example.org") != tt.alarm {
				t.Errorf("alarms %q", s.alarms("example.org"))
			}
			if err := w.Remove(s.challenge("_acme-challenge.example.org", 1)); err != nil {
				t.Fatal(err)
			}
			s.build(tt.code)
			answers(2)
			serial := s.whole("example.org")
			s.build(tt.code)
			if again := s.whole("example.org"); again != serial {
				t.Errorf("published again with serial %d for nothing", again)
			}
			if m := lab.Query(t, d.Addr(), "hb.example.org", "A", 0); len(m.Answer) != 1 {
				t.Errorf("the last good records: %v", m)
			}
			if tt.mend != nil {
				tt.mend(s)
			} else {
				s.write("primary/example.org", hosts)
			}
			if err := w.Remove(s.challenge("_acme-challenge.example.org", 2)); err != nil {
				t.Fatal(err)
			}
			s.build(ok)
			answers()
			if s.alarms("example.org") != "" {
				t.Errorf("alarms %q", s.alarms("example.org"))
			}
		})
	}
}
