package build_test

import (
	"strings"
	"testing"

	"zonebuild/internal/build"
	"zonebuild/internal/cli"
	"zonebuild/internal/durable"
)

// TestBusyPassedOver: a zone that another process is at work on stalls itself alone,
// and is said to be that process's.
func TestBusyPassedOver(t *testing.T) {
	s := newSite(t, orgAndNet())
	r := s.resident()
	first := r.pass()
	lock, err := durable.TryLock(s.path("state/example.net.lock"))
	if err != nil {
		t.Fatal(err)
	}
	s.write("primary/example.org", "ns1 A 192.0.2.53\nnew A 192.0.2.1\n")
	s.write("primary/example.net", "www A 192.0.2.81\n")
	for range 2 {
		now := r.pass("example.net", "example.org")
		if z := now["example.net"]; z.Action != build.Busy || z.Code != cli.ExitFailed || !strings.Contains(z.Error, "(pid ") || len(z.After.Files) > 0 {
			t.Errorf("example.net: %s code %d %q", z.Action, z.Code, z.Error)
		}
		if z := now["example.org"]; z.Serial == first["example.org"].Serial || z.Code != 0 {
			t.Errorf("example.org: %s serial %d", z.Action, z.Serial)
		}
	}
	lock.Unlock()
	if z := r.pass()["example.net"]; z.Action != build.Published || len(z.After.Alarms) > 0 {
		t.Errorf("when it is free: %s %v", z.Action, z.After.Alarms)
	}
}
