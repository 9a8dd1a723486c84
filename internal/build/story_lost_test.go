package build_test

import (
	"errors"
	"io/fs"
	"os"
	"strings"
	"testing"
	"time"

	"zonebuild/internal/build"
	"zonebuild/internal/domain"
	"zonebuild/internal/lab"
)

// TestLost: whatever of the outputs is lost, the next run recovers and the
// serial goes forward.
func TestLost(t *testing.T) {
	t.Parallel()
	for name, lost := range map[string][]string{
		"state": {"state"}, "signed": {"signed"}, "unsigned": {"unsigned"},
		"signed and unsigned": {"signed", "unsigned"}, "one zone": {"signed/example.org"},
		"last good": {"state/last-good"}, "all": {"signed", "unsigned", "state"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, smallZone("www A 192.0.2.1\n"))
			s.nsd(domain.MustParse("example.org"))
			s.build(ok)
			first := s.whole("example.org")
			for _, path := range lost {
				s.removeIn(path)
			}
			r := one(t, s.build(ok), "example.org")
			again := s.whole("example.org")
			if again != r.Serial || again < first || !r.Confirmed || r.NewSigs > 0 && again == first {
				t.Errorf("serial %d, before it was %d; %+v", again, first, r)
			}
			if s.alarms("example.org") != "" {
				t.Errorf("alarms: %q", s.alarms("example.org"))
			}
			// What was recovered takes a change, and holds as well.
			s.write("primary/example.org", "ns1 A 192.0.2.53\nwww A 192.0.2.2\n")
			r = one(t, s.build(ok), "example.org")
			if r.Action != build.Published || !r.Confirmed || s.whole("example.org") <= again {
				t.Errorf("after a change: %+v, serial before %d", r, again)
			}
			if r = one(t, s.build(ok), "example.org"); r.Action != build.Unchanged {
				t.Errorf("nothing changed, and yet: %+v", r)
			}
		})
	}
}

// TestForeignHand: a published file that somebody edited is not believed.
func TestForeignHand(t *testing.T) {
	t.Parallel()
	for name, edit := range map[string]func(string) string{
		"another address": func(s string) string { return strings.Replace(s, "192.0.2.1\n", "192.0.2.66\n", 1) },
		"cut":             func(s string) string { return s[:len(s)*2/3] },
		"empty":           func(string) string { return "" },
		"lines swapped":   func(s string) string { return strings.Replace(s, "\n", "\n;\n", 3) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, smallZone("www A 192.0.2.1\n"))
			s.build(ok)
			first := s.whole("example.org")
			edited := edit(s.read("signed/example.org"))
			s.remove("signed/example.org")
			s.write("signed/example.org", edited)
			s.build(ok)
			if again := s.whole("example.org"); again <= first {
				t.Errorf("serial %d after %d", again, first)
			}
			if !strings.Contains(s.read("signed/example.org"), "192.0.2.1\n") {
				t.Error("the record is not as in the sources")
			}
		})
	}
}

// TestMissingKey: a key that vanished is an error and is never made anew; what
// is published stays.
func TestMissingKey(t *testing.T) {
	t.Parallel()
	for _, ext := range []string{".private", ".*"} {
		s := newSite(t, smallZone("www A 192.0.2.1\n"))
		s.build(ok)
		file := s.read("signed/example.org")
		var gone []string
		for _, name := range s.list("keys") {
			if ext == ".*" || strings.HasSuffix(name, ext) {
				s.remove("keys/" + name)
				gone = append(gone, name)
			}
		}
		s.write("primary/example.org", "ns1 A 192.0.2.53\nwww A 192.0.2.2\n")
		report, err := s.open().Build(t.Context(), s.options())
		if err != nil {
			t.Fatal(err)
		}
		r := report.Zones[0]
		if report.Code != failed && report.Code != rejected || s.alarms("example.org") == "" {
			t.Errorf("without %s: %+v, alarms %q", gone, r, s.alarms("example.org"))
		}
		if s.read("signed/example.org") != file {
			t.Errorf("without %s: the published file changed", gone)
		}
		if _, err := s.open().MakeKeys(domain.MustParse("example.org"), build.KeyOptions{Now: s.at()}); err == nil {
			t.Errorf("without %s: keys were made anew", gone)
		}
	}
}

// TestClock: a clock that is a year off publishes nothing, until somebody says
// that it is right, once.
func TestClock(t *testing.T) {
	t.Parallel()
	start := time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)
	for name, to := range map[string]time.Time{"ahead": start.AddDate(1, 0, 0), "back": start.AddDate(-1, 0, 0)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, smallZone("www A 192.0.2.1\n"))
			s.now = start
			s.build(ok)
			first := s.whole("example.org")
			file := s.read("signed/example.org")
			s.write("primary/example.org", "ns1 A 192.0.2.53\nwww A 192.0.2.2\n")
			s.now = to
			for range 2 {
				r := one(t, s.build(rejected), "example.org")
				if r.Action != build.Refused || len(r.Refusals) != 1 || r.Refusals[0].Code != "clock-jump" {
					t.Errorf("%+v", r)
				}
			}
			if s.read("signed/example.org") != file || !strings.HasPrefix(s.alarms("example.org"), "guard") {
				t.Errorf("the file changed, or no alarm: %q", s.alarms("example.org"))
			}
			if _, err := s.open().Approve(t.Context(), domain.MustParse("example.org"), "clock-jump", s.now); err != nil {
				t.Fatal(err)
			}
			r := one(t, s.build(ok), "example.org")
			if r.Action != build.Published || s.whole("example.org") <= first || s.alarms("example.org") != "" {
				t.Errorf("approved: %+v", r)
			}
			// The approval is used up.
			s.now = start
			s.write("primary/example.org", "ns1 A 192.0.2.53\nwww A 192.0.2.3\n")
			if to.After(start) {
				s.build(rejected)
			} else {
				s.now = to.AddDate(2, 0, 0)
				s.build(rejected)
			}
		})
	}
}

// TestTwoAtOnce: two runs over one tree keep out of each other's way.
func TestTwoAtOnce(t *testing.T) {
	t.Parallel()
	s := clusterSite(t)
	done := make(chan int)
	for range 4 {
		tree := s.open()
		go func() {
			report, err := tree.Build(t.Context(), s.options())
			if err != nil {
				t.Error(err)
			}
			done <- report.Code
		}()
	}
	for range 4 {
		if code := <-done; code != ok {
			t.Errorf("exit %d", code)
		}
	}
	for _, z := range s.zones() {
		s.whole(z.String())
	}
	for _, r := range s.build(ok).Zones {
		if r.Action != build.Unchanged {
			t.Errorf("%+v", r)
		}
	}
}

// TestZoneNamedTwice: a run does not wait for its own lock.
func TestZoneNamedTwice(t *testing.T) {
	t.Parallel()
	s := newSite(t, twoZones())
	o := s.options()
	a, b := domain.MustParse("good.example"), domain.MustParse("example.org")
	o.Zones = []domain.Name{a, b, a}
	report, err := s.open().Build(t.Context(), o)
	if err != nil || report.Code != ok || len(report.Zones) != 2 || report.Zones[0].Zone != a {
		t.Errorf("%+v %v", report, err)
	}
}

// TestSourcesNotMounted: an empty mount point is no wish to delete everything.
func TestSourcesNotMounted(t *testing.T) {
	t.Parallel()
	files := twoZones()
	files["zonebuild.toml"] = "[source.primary]\nmarker = \".mounted\"\n"
	files["primary/.mounted"] = ""
	s := newSite(t, files)
	s.build(ok)
	file := s.read("signed/example.org")
	if err := os.Rename(s.path("primary"), s.path("away")); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(s.path("primary"), 0o755); err != nil {
		t.Fatal(err)
	}
	s.build(rejected)
	if s.read("signed/example.org") != file || s.alarms("example.org") != "not-mounted" {
		t.Errorf("alarms: %q", s.alarms("example.org"))
	}
	s.remove("primary")
	if err := os.Rename(s.path("away"), s.path("primary")); err != nil {
		t.Fatal(err)
	}
	if s.build(ok); s.alarms("example.org") != "" {
		t.Errorf("alarms: %q", s.alarms("example.org"))
	}
}

// TestServedSerialIsAhead: signed/ and state/ are gone, and the server is ahead
// of the clock.
func TestServedSerialIsAhead(t *testing.T) {
	t.Parallel()
	lab.Need(t, "nsd", "nsd-checkzone")
	s := newSite(t, smallZone("www A 192.0.2.1\n"))
	s.write("signed/example.org", "example.org. 60 IN SOA ns1.example.org. h.example.org. 3000000000 1 1 1 1\n"+
		"example.org. 60 IN NS ns1.example.org.\nns1.example.org. 60 IN A 192.0.2.53\n")
	s.nsd(domain.MustParse("example.org"))
	s.remove("signed/example.org")
	r := one(t, s.build(ok), "example.org")
	if r.Serial != 3000000001 || !r.Confirmed {
		t.Errorf("%+v", r)
	}
}

func (s *site) list(dir string) []string {
	s.t.Helper()
	entries, err := os.ReadDir(s.path(dir))
	if err != nil {
		s.t.Fatal(err)
	}
	var out []string
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return out
}

// removeIn removes what is in a directory, not the directory itself: a mount
// point, for instance. A file is removed.
func (s *site) removeIn(path string) {
	s.t.Helper()
	entries, err := os.ReadDir(s.path(path))
	if errors.Is(err, fs.ErrNotExist) {
		s.t.Fatal(err)
	}
	if err != nil {
		s.remove(path)
		return
	}
	for _, e := range entries {
		s.remove(path + "/" + e.Name())
	}
}
