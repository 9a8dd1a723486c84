package build_test

import (
	"os"
	"strings"
	"testing"
	"time"

	"zonebuild/internal/build"
)

// TestUnsignedFails: a copy in unsigned/ that cannot be written keeps nobody from the
// zone that is signed already: it is served, somebody is told, and the next pass tries
// again.
func TestUnsignedFails(t *testing.T) {
	s := newSite(t, smallZone("www A 192.0.2.80\n"))
	s.build(0)
	path := s.path("unsigned/example.org")
	s.remove("unsigned/example.org")
	if err := os.MkdirAll(path+"/in the way", 0o755); err != nil {
		t.Fatal(err)
	}
	s.write("primary/example.org", "ns1 A 192.0.2.53\nmore A 192.0.2.81\n")
	for range 2 {
		r := s.build(1).Zones[0]
		if r.Action != build.Failed || !strings.Contains(r.Error, "unsigned/example.org") {
			t.Errorf("%+v", r)
		}
		if !strings.Contains(s.read("signed/example.org"), "more.example.org.") || !r.Confirmed {
			t.Errorf("the signed zone waits for it: %+v", r)
		}
	}
	s.remove("unsigned/example.org")
	if r := s.build(0).Zones[0]; r.Action != build.Unchanged || !strings.Contains(s.read("unsigned/example.org"), "more.example.org.") {
		t.Errorf("%+v", r)
	}
}

// TestUnsignedLate: a process that is killed behind the commit leaves an older copy in
// unsigned/, which is made good, whatever the author does in between.
func TestUnsignedLate(t *testing.T) {
	const next = "ns1 A 192.0.2.53\nmore A 192.0.2.81\n"
	for _, between := range []string{"", "ns1 A 192.0.2.300\n"} {
		s := newSite(t, smallZone("www A 192.0.2.80\n"))
		s.build(ok)
		var restore []func()
		for _, path := range []string{"state/example.org.json", "unsigned/example.org"} {
			info, err := os.Stat(s.path(path))
			if err != nil {
				t.Fatal(err)
			}
			text := s.read(path)
			restore = append(restore, func() {
				s.write(path, text)
				if err := os.Chtimes(s.path(path), info.ModTime(), info.ModTime()); err != nil {
					t.Fatal(err)
				}
			})
		}
		s.write("primary/example.org", next)
		s.build(ok)
		for _, f := range restore {
			f()
		}
		if between != "" {
			s.write("primary/example.org", between)
			s.build(rejected)
			s.write("primary/example.org", next)
		}
		if r := s.build(ok).Zones[0]; r.Action != build.Unchanged || !strings.Contains(s.read("unsigned/example.org"), "more.example.org.") {
			t.Errorf("between %q: %+v", between, r)
		}
	}
}

// TestUnsignedHeld: a copy that could not be written is not taken for a good one when
// the last good records are signed anew meanwhile.
func TestUnsignedHeld(t *testing.T) {
	const next = "ns1 A 192.0.2.53\nmore A 192.0.2.81\n"
	s := newSite(t, smallZone("www A 192.0.2.80\n"))
	s.now = time.Now().UTC().Truncate(time.Second)
	s.build(ok)
	was := s.read("unsigned/example.org")
	s.remove("unsigned/example.org")
	if err := os.MkdirAll(s.path("unsigned/example.org/in the way"), 0o755); err != nil {
		t.Fatal(err)
	}
	s.write("primary/example.org", next)
	s.build(1)
	s.remove("unsigned/example.org")
	s.write("unsigned/example.org", was)
	s.write("primary/example.org", "ns1 A 192.0.2.300\n")
	s.now = s.now.Add(8 * 24 * time.Hour)
	if r := s.build(rejected).Zones[0]; r.NewSigs == 0 {
		t.Errorf("nothing was due: %+v", r)
	}
	s.write("primary/example.org", next)
	if s.build(ok); !strings.Contains(s.read("unsigned/example.org"), "more.example.org.") {
		t.Error("the copy stays as it was")
	}
}
