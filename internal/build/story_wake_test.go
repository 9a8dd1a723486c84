package build_test

import (
	"os"
	"slices"
	"testing"
	"time"

	"zonebuild/internal/build"
	"zonebuild/tlsa"
)

// TestRolloverWakes: whoever builds only when the last pass said that something ends,
// as a daemon does, moves a rollover on as fast as it may go.
func TestRolloverWakes(t *testing.T) {
	t.Parallel()
	s, w, a := mailSite(t, "", mailLine)
	passes := 0
	once := func() build.Result {
		t.Helper()
		passes++
		return one(t, s.build(ok), "example.org")
	}
	// next goes on to when the last pass asks for another.
	next := func(r build.Result) build.Result {
		t.Helper()
		at := r.After.Expires
		if at.IsZero() {
			t.Fatalf("in %s: nothing is ever to be done again", s.phase())
		}
		if at.After(s.now.Add(time.Hour)) {
			t.Fatalf("at %s: the next step is at %s, more than an hour away", s.now, at)
		}
		s.now = later(at, s.now.Add(10*time.Second))
		return once()
	}
	until := func(r build.Result, phase tlsa.Phase, within time.Duration) build.Result {
		t.Helper()
		for end := s.now.Add(within); s.phase() != phase; {
			if r = next(r); s.now.After(end) {
				t.Fatalf("in %s at %s, %s was to come within %s", s.phase(), s.now, phase, within)
			}
		}
		return r
	}

	r := until(once(), tlsa.PhaseSteady, time.Minute)
	if got := r.After.TLSA; len(got) != 1 || got[0].Owner.String() != smtp || got[0].Phase != tlsa.PhaseSteady || got[0].Next != r.After.Expires {
		t.Errorf("%+v, expires %s", got, r.After.Expires)
	}
	for _, f := range r.After.Files { // what the pass left is no news
		info, err := os.Stat(f.Path)
		if err != nil || info.Size() != f.Size || info.ModTime().UnixNano() != f.MTime {
			t.Errorf("%s is not as the pass says that it left it: %v", f.Path, err)
		}
	}
	if !slices.ContainsFunc(r.After.Files, func(f build.FileAfter) bool { return f.Path == s.path("state/tlsa/example.org.json") }) {
		t.Errorf("the state of the rollovers is missing in %v", r.After.Files)
	}
	b := newCertificate(t, "mail.example.org")
	s.write("certs/next.pem", b.pem())
	s.now = s.now.Add(time.Minute)
	r = until(once(), tlsa.PhaseWaiting, time.Minute)
	ready := r.After.TLSA[0].ReadyAt
	r = until(r, tlsa.PhaseReady, 3*time.Hour)
	if late := s.now.Sub(ready); late != 0 {
		t.Errorf("ready %s after it could be", late)
	}

	w.hosts["192.0.2.25"], w.hosts["192.0.2.26"] = []certificate{b}, []certificate{b}
	s.write("certs/mail.pem", b.pem())
	s.remove("certs/next.pem")
	s.now = s.now.Add(time.Minute)
	deployed := s.now
	r = until(once(), tlsa.PhaseLive, time.Minute)
	s.published("in grace", smtp, a.record(), b.record())
	until(r, tlsa.PhaseSteady, 2*time.Hour)
	s.published("withdrawn", smtp, b.record())
	if took := s.now.Sub(deployed); took > time.Hour+15*time.Minute {
		t.Errorf("the old record was withdrawn %s after the deployment, with a grace of an hour", took)
	}
	if passes > 80 {
		t.Errorf("%d passes", passes)
	}

	// What nobody can move on wakes nobody.
	s.write("primary/example.org", "ns1 A 192.0.2.53\n_25._tcp.mail TLSA broken\n")
	s.now = s.now.Add(time.Hour)
	if got := one(t, s.build(rejected), "example.org").After; !got.Expires.IsZero() {
		t.Errorf("the sources are broken, and yet %+v", got)
	}
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// TestChallengeWakes: the pass that the last one asked for drops a challenge that
// nobody cleaned up.
func TestChallengeWakes(t *testing.T) {
	t.Parallel()
	files := smallZone("")
	files["zonebuild.toml"] = "[[drop-box]]\npath = \"dnsextra\"\nmax-age = \"1h\"\n"
	s := newSite(t, files)
	s.now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	if r := one(t, s.build(ok), "example.org"); !r.After.Expires.IsZero() {
		t.Errorf("there is no challenge, and yet one expires at %s", r.After.Expires)
	}
	s.now = s.now.Add(time.Minute)
	s.write("dnsextra/_acme-challenge.example.org", "_acme-challenge.example.org. 60 IN TXT \"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQ\"\n")
	r := one(t, s.build(ok), "example.org")
	if want := s.now.Add(time.Hour); !r.After.Expires.Equal(want) || len(s.lines("signed/example.org", "TXT")) != 1 {
		t.Fatalf("expires at %s, want %s", r.After.Expires, want)
	}
	s.now = r.After.Expires.Add(-time.Second)
	s.build(ok)
	if n := len(s.lines("signed/example.org", "TXT")); n != 1 {
		t.Errorf("a second before its time: %d challenges", n)
	}
	s.now = r.After.Expires
	r = one(t, s.build(ok), "example.org")
	if n := len(s.lines("signed/example.org", "TXT")); n != 0 || !r.After.Expires.IsZero() {
		t.Errorf("%d challenges, and the next expires at %s", n, r.After.Expires)
	}
}
