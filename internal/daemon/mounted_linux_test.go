package daemon

import (
	"fmt"
	"strings"
	"testing"

	"zonebuild/internal/lab"
)

// TestThousandFragments: a thousand challenges come over a read-only mount and go
// again while the daemon runs; nsd answers every one, and none any more. Then the
// mount goes away and comes back, and another file system is mounted over sources.
func TestThousandFragments(t *testing.T) {
	if !lab.InNamespace(t) {
		return
	}
	s := newSite(t, true)
	config := readFile(t, s.path("zonebuild.toml"))
	s.write("zonebuild.toml", config+"marker = \".mounted\"\n")
	s.write("jail/.mounted", "")
	lab.BindReadOnly(t, s.path("jail"), s.path("dnsextra"))
	s.start()
	s.until("the zone is confirmed", func() bool { return s.status().Confirmed })

	const batch, rounds = 100, 10
	host := func(round, i int) string { return fmt.Sprintf("_acme-challenge.h%d-%d.example.org", round, i) }
	value := func(round, i int) string { return fmt.Sprintf("%s%03d%03d", goodValue[:37], round, i) }
	write := func(owner, value string) {
		t.Helper()
		s.write("jail/"+owner, fmt.Sprintf("%s. 60 IN TXT %q\n", owner, value))
	}
	gone := func(owner string) func() bool {
		return func() bool { v := s.txt(owner + "."); return v != nil && len(v) == 0 }
	}
	for round := range rounds + 1 {
		for i := range batch {
			if round < rounds {
				write(host(round, i), value(round, i))
			}
			if round > 0 {
				s.remove("jail/" + host(round-1, i))
			}
		}
		for i := range batch {
			if round < rounds {
				s.until(host(round, i)+" is answered", s.answers(host(round, i)+".", value(round, i)))
			}
			if round > 0 {
				s.until(host(round-1, i)+" is gone", gone(host(round-1, i)))
			}
		}
	}

	write("_acme-challenge.example.org", goodValue)
	s.until("the last is answered", s.answers("_acme-challenge.example.org.", goodValue))
	lab.Unmount(t, s.path("dnsextra"))
	s.until("it is noticed", func() bool { return strings.Contains(s.boxes(), "[box-not-mounted]") })
	write("_acme-challenge.meanwhile.example.org", goodValue)
	s.remove("jail/_acme-challenge.example.org")
	s.write("primary/example.org", "ns1 A 192.0.2.53\nwww TXT changed\n")
	s.until("a change is published meanwhile", s.answers("www.example.org.", "changed"))
	if !s.answers("_acme-challenge.example.org.", goodValue)() {
		t.Error("what was accepted before is gone with the mount")
	}
	lab.BindReadOnly(t, s.path("jail"), s.path("dnsextra"))
	s.until("what came meanwhile is answered", s.answers("_acme-challenge.meanwhile.example.org.", goodValue))
	s.until("what went meanwhile is gone", gone("_acme-challenge.example.org"))

	for range 2 {
		lab.Mount(t, "none", s.path("primary"), "tmpfs", 0, "")
		s.write("primary/example.org", "ns1 A 192.0.2.53\nwww TXT over\n")
		s.until("what is mounted over it is published", s.answers("www.example.org.", "over"))
		s.write("primary/example.org", "ns1 A 192.0.2.53\nwww TXT again\n")
		s.until("and so is a change there", s.answers("www.example.org.", "again"))
		lab.Unmount(t, s.path("primary"))
		s.until("what is below it is back", s.answers("www.example.org.", "changed"))
	}
	s.until("all is confirmed", func() bool { return s.status().Confirmed && len(s.status().Alarms) == 0 })
}
