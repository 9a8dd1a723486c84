package tlsa

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// TestOutOfSight: servers and hosts that cannot be asked by design.
func TestOutOfSight(t *testing.T) {
	t.Run("seen by hand", func(t *testing.T) {
		s := newStory(t)
		s.shows = []*Published{nil, nil}
		s.files("A", "B")
		s.step(0)
		s.step(time.Minute)
		s.in.Marks.Seen = true
		s.step(time.Minute)
		s.step(48*time.Hour + 5*time.Minute)
		s.want(`
			publishing: A B; the zone with the record is not published yet
			publishing: A B; 192.0.2.1:25 has not answered; 192.0.2.2:25 has not answered
			waiting: A B; caches, until 2026-01-01T02:07:00Z
			ready: A B READY`)
	})
	t.Run("by the clock", func(t *testing.T) {
		s := newStory(t)
		s.shows = []*Published{nil}
		s.in.Params.Clock = true
		s.files("A", "B")
		s.step(0)
		s.step(time.Minute)
		s.step(2 * time.Hour)
		s.step(2*time.Hour + 5*time.Minute)
		s.want(`
			publishing: A B; the zone with the record is not published yet
			publishing: A B; 192.0.2.1:25 has not answered; the way to all servers
			waiting: A B; caches, until 2026-01-01T04:06:00Z
			ready: A B READY`)
	})
	t.Run("by the clock, and the way becomes shorter", func(t *testing.T) {
		s := newStory(t)
		s.shows = []*Published{nil}
		s.in.Params.Clock = true
		s.in.Params.Propagate = 48 * time.Hour
		s.step(0)
		s.step(time.Minute)
		s.step(60 * time.Hour)
		s.files("A", "B")
		s.step(0)
		s.in.Params.Propagate = time.Hour // lowered together with the new record
		s.step(time.Minute)
		s.step(4 * time.Hour)
		s.in.Params.Propagate = 30 * time.Minute
		s.step(time.Minute)
		s.step(43 * time.Hour)
		s.step(48 * time.Hour)
		s.in.Params.Propagate = 1000 * time.Hour // raised when all have it
		s.step(time.Minute)
		for i, l := range s.said {
			s.said[i] = strings.TrimPrefix(l, "publishing: A B; 192.0.2.1:25 has not answered; ")
		}
		s.want(`
			new: A; the zone with the record is not published yet
			new: A; 192.0.2.1:25 has not answered; the way to all servers
			steady: A
			publishing: A B; the zone with the record is not published yet
			the way to all servers
			the way to all servers
			the way to all servers
			the way to all servers
			ready: A B READY
			ready: A B READY`)
	})
	t.Run("servers that nobody lists", func(t *testing.T) {
		s := newStory(t)
		s.unlisted = true
		s.files("A", "B")
		s.step(0)
		s.step(time.Minute)
		s.step(1000 * time.Hour)
		s.unlisted = false
		s.step(time.Minute) // they are the same ones, and show it for long
		s.files("B", "C")
		s.unlisted = true
		s.step(time.Minute) // the list is older than this record
		s.step(1000 * time.Hour)
		s.in.Marks.Seen = true
		s.step(time.Minute)
		s.step(2*time.Hour + 5*time.Minute)
		for i, l := range s.said {
			s.said[i], _, _ = strings.Cut(l, ";")
		}
		s.want(`
			publishing: A B
			publishing: A B
			publishing: A B
			ready: A B READY
			mixed: A B C
			mixed: A B C
			mixed: A B C
			mixed: A B C READY`)
	})
	t.Run("host is never looked at", func(t *testing.T) {
		s := newStory(t, Line{Next: "n", ProbeOff: true})
		s.step(0)
		s.files("B", "gone")
		s.step(time.Minute)
		s.step(10000 * time.Hour)
		s.in.Marks.Retire = true
		s.step(time.Minute)
		s.want(`
			new: A; the zone with the record is not published yet [tlsa-unseen]
			mixed: A B; the host is not looked at: ` + "`zonebuild tlsa retire h.example. 25`" + ` [tlsa-surprise]
			mixed: A B; the host is not looked at: ` + "`zonebuild tlsa retire h.example. 25`" + ` [tlsa-surprise]
			withdraw: B; 192.0.2.1:25 still serves a withdrawn record [tlsa-surprise]`)
	})
}

// TestAddressGoes: a client may have an address in its cache that the host has no
// more; what is served there keeps its record as long.
func TestAddressGoes(t *testing.T) {
	s := newStory(t)
	s.step(0)
	s.step(time.Minute)
	s.files("B", "gone")
	s.step(time.Minute)
	s.serves = [2]string{"B", "gone"}
	s.step(time.Minute)
	s.step(4*time.Hour + 4*time.Minute) // TTL and propagation, without the jitter
	s.serves[1] = ""
	s.step(time.Minute) // it is back
	s.serves[1] = "gone"
	s.step(time.Minute)
	s.step(4*time.Hour + 5*time.Minute)
	s.step(time.Hour)
	for i, l := range s.said {
		s.said[i] = strings.TrimSuffix(l, " [tlsa-surprise]")
	}
	s.want(`
		new: A; the zone with the record is not published yet
		steady: A
		mixed: A B; 192.0.3.1:25 does not serve the keys of all files, or serves another one; 192.0.3.2:25 does not serve the keys of all files, or serves another one
		mixed: A B; 192.0.3.2:25 is no address of the host any more, but caches may have it until 2026-01-01T04:08:00Z
		mixed: A B; 192.0.3.2:25 is no address of the host any more, but caches may have it until 2026-01-01T04:08:00Z
		mixed: A B; 192.0.3.2:25 does not serve the keys of all files, or serves another one
		mixed: A B; 192.0.3.2:25 is no address of the host any more, but caches may have it until 2026-01-01T08:14:00Z
		live: A B; the grace, until 2026-01-01T09:14:00Z
		withdraw: B; 192.0.2.1:25 still serves a withdrawn record`)
}

// TestAddressGoesSlowly: the way to the servers was longer when the address left.
func TestAddressGoesSlowly(t *testing.T) {
	s := newStory(t)
	s.in.Params.Propagate = 72 * time.Hour
	s.step(0)
	s.step(time.Minute)
	s.files("B", "gone")
	s.in.Params.Propagate = time.Hour
	s.step(time.Minute)
	s.serves = [2]string{"B", "gone"}
	s.step(71 * time.Hour) // the servers may still go by the old SOA record
	if set := s.step(70 * time.Hour); set.Phase != PhaseMixed {
		t.Errorf("%+v", set)
	}
	if set := s.step(5 * time.Hour); set.Phase != PhaseLive {
		t.Errorf("%+v", set)
	}
}

// TestManyAddresses: a host whose addresses change each time leaves a bounded state,
// and what is left out of it counts as not seen.
func TestManyAddresses(t *testing.T) {
	s := newStory(t)
	s.step(0)
	s.step(time.Minute)
	s.files("B", "gone")
	s.serves = [2]string{"B", "B"}
	s.step(time.Minute)
	for i := range 500 {
		in := s.in
		in.Now, in.Published = s.in.Now.Add(time.Second), s.published
		in.Observed.Hosts = []HostSeen{{Addr: address(byte(100+i/250), i%250), Reach: Answered, Chains: [][][]byte{s.chains["A"]}}}
		_, s.in.State, _ = Step(in)
		s.in.Now = in.Now
	}
	if n := len(s.in.State.Hosts); n > maxSights+1 {
		t.Errorf("%d addresses are kept", n)
	}
	s.in.State.Hosts = nil // whatever those were
	set := s.step(time.Hour)
	if set.Phase != PhaseMixed || !strings.Contains(fmt.Sprint(set.Waits), "addresses that the host had, until ") {
		t.Errorf("%+v", set)
	}
	if set = s.step(4 * time.Hour); set.Phase != PhaseLive {
		t.Errorf("%+v", set)
	}
}

// TestNoRoute: a family that this machine has no route to is left out, unless it
// had one before; and never all there is.
func TestNoRoute(t *testing.T) {
	run := func(before, after [2]string) Phase {
		s := newStory(t)
		s.serves = before
		s.step(0)
		s.step(time.Minute)
		s.files("B", "gone")
		s.serves = after
		s.step(time.Minute)
		return s.step(time.Minute).Phase
	}
	for _, c := range []struct {
		before, after [2]string
		want          Phase
	}{
		{[2]string{"A", "no route"}, [2]string{"B", "no route"}, PhaseLive},
		{[2]string{"A", "no route"}, [2]string{"A", "no route"}, PhaseMixed},
		{[2]string{"gone", "no route"}, [2]string{"gone", "no route"}, PhaseMixed},
		{[2]string{"A", "A"}, [2]string{"B", ""}, PhaseMixed},
	} {
		if got := run(c.before, c.after); got != c.want {
			t.Errorf("%q, %q: %s, not %s", c.before, c.after, got, c.want)
		}
	}
	s := newStory(t) // the IPv6 address was seen, and then the route was lost
	s.serves = [2]string{"A", "no route"}
	s.step(0)
	s.in.State.Hosts[1].At, s.in.State.Hosts[1].Chains = s.in.Now, [][]Record{{s.record("A")}}
	s.files("B", "gone")
	s.serves[0] = "B"
	s.step(time.Minute)
	if set := s.step(time.Minute); set.Phase != PhaseMixed {
		t.Errorf("a route that was lost: %+v", set)
	}
}
