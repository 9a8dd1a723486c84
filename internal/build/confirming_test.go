package build_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"zonebuild/internal/build"
	"zonebuild/internal/domain"
	"zonebuild/internal/lab"
	"zonebuild/internal/publish"
)

// slow is a name server that answers for some zones when it is let go.
type slow struct {
	publish.None
	mu      sync.Mutex
	reloads []string
	asked   map[domain.Name]int
	answers map[domain.Name]answer // for the zones that it knows at once
	gate    chan struct{}          // until it is closed the others wait
	healed  uint32                 // serial that is served when a load succeeds again
}

type answer struct {
	publish.Served
	err error
}

func newSlow() *slow {
	return &slow{asked: map[domain.Name]int{}, answers: map[domain.Name]answer{}, gate: make(chan struct{})}
}

func (s *slow) Reload(_ context.Context, apexes []domain.Name) map[domain.Name]error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, apex := range apexes {
		s.reloads = append(s.reloads, apex.String())
		if a := s.answers[apex]; a.err != nil { // it can load the next file
			a.Serial, a.err = s.healed, nil
			s.answers[apex] = a
		}
	}
	return nil
}

func (s *slow) Serial(ctx context.Context, apex domain.Name) (publish.Served, error) {
	s.mu.Lock()
	s.asked[apex]++
	a, ok := s.answers[apex]
	gate := s.gate
	s.mu.Unlock()
	if ok {
		return a.Served, a.err
	}
	select {
	case <-gate:
	case <-ctx.Done():
		return publish.Served{}, publish.ErrUnreachable
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	a, ok = s.answers[apex]
	if !ok {
		return publish.Served{}, publish.ErrUnreachable
	}
	return a.Served, a.err
}

func (s *slow) serve(apex string, serial uint32, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answers[domain.MustParse(apex)] = answer{publish.Served{Serial: serial, Server: "slow", WasServed: true}, err}
}

func (s *slow) told() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := s.reloads
	s.reloads = nil
	return out
}

// resident is a tree that stays open, as a daemon's, with what asks beside it.
type resident struct {
	*site
	tree   *build.Tree
	beside *build.Beside
	woken  chan domain.Name
}

func (s *site) resident() *resident {
	r := &resident{site: s, tree: s.open(), woken: make(chan domain.Name, 100)}
	begun := time.Now()
	r.beside = &build.Beside{Wake: func(apex domain.Name) { r.woken <- apex }, Clock: func() time.Duration { return time.Since(begun) }}
	r.tree.Keep()
	s.t.Cleanup(r.beside.End)
	return r
}

// pass builds zones as a daemon does.
func (r *resident) pass(zones ...string) map[string]build.Result {
	r.t.Helper()
	o := r.options()
	o.Beside, o.PassBusy = r.beside, true
	for _, z := range zones {
		o.Zones = append(o.Zones, domain.MustParse(z))
	}
	report, err := r.tree.Build(r.t.Context(), o)
	if err != nil {
		r.t.Fatal(err)
	}
	out := map[string]build.Result{}
	for _, z := range report.Zones {
		out[strings.TrimSuffix(z.Zone.String(), ".")] = z
	}
	return out
}

func (r *resident) wake(apex string) {
	r.t.Helper()
	lab.Until(r.t, apex+" is woken", func() error {
		select {
		case is := <-r.woken:
			if is != domain.MustParse(apex) {
				r.t.Fatalf("%s is woken, not %s", is, apex)
			}
			return nil
		default:
			return errors.New("not yet")
		}
	})
}

func (r *resident) confirmedState(apex string) bool {
	r.t.Helper()
	all, err := r.open().Status([]domain.Name{domain.MustParse(apex)}, r.at())
	if err != nil {
		r.t.Fatal(err)
	}
	return all[0].Confirmed
}

func orgAndNet() map[string]string {
	files := smallZone("")
	files["soa/example.net"] = strings.ReplaceAll(files["soa/example.org"], "ns1", "ns1.example.org.")
	files["primary/example.net"] = "www A 192.0.2.80\n"
	return files
}

// TestConfirmBeside: a pass does not wait for a server that is silent; what was asked
// meanwhile the next pass finds, without telling the server again, and a zone that was
// published again is asked for its newer serial.
func TestConfirmBeside(t *testing.T) {
	s := newSite(t, orgAndNet())
	server := newSlow()
	s.server = server
	r := s.resident()
	server.serve("example.net", 1, nil) // not yet known
	first := r.pass()
	server.serve("example.net", first["example.net"].Serial, nil)
	for name, z := range first {
		if z.Action != build.Published || z.Confirmed || !z.After.Asked || z.Code != 0 {
			t.Errorf("%s: %s confirmed %t asked %t code %d %s", name, z.Action, z.Confirmed, z.After.Asked, z.Code, z.Error)
		}
	}
	r.wake("example.net")
	server.told()
	if z := r.pass("example.net")["example.net"]; z.Action != build.Confirmed || !z.After.Confirmed || z.After.Asked || !r.confirmedState("example.net") {
		t.Errorf("example.net: %s confirmed %t", z.Action, z.After.Confirmed)
	}
	if z := r.pass("example.org")["example.org"]; !z.After.Asked || len(z.After.Alarms) > 0 {
		t.Errorf("example.org is not asked for any more: %+v", z)
	}
	if told := server.told(); len(told) > 0 {
		t.Errorf("the server is told again of %q", told)
	}

	s.write("primary/example.org", "ns1 A 192.0.2.53\nnew A 192.0.2.1\n")
	second := r.pass("example.org")["example.org"]
	if second.Serial == first["example.org"].Serial || !second.After.Asked {
		t.Fatalf("example.org: %+v", second)
	}
	if told := server.told(); !slices.Equal(told, []string{"example.org."}) {
		t.Errorf("the server is told of %q", told)
	}
	server.serve("example.org", second.Serial, nil)
	close(server.gate)
	r.wake("example.org")
	if z := r.pass("example.org")["example.org"]; z.Action != build.Confirmed || z.Serial != second.Serial || !r.confirmedState("example.org") {
		t.Errorf("example.org: %s serial %d", z.Action, z.Serial)
	}
	select {
	case apex := <-r.woken:
		t.Errorf("%s is woken for a serial that is published no more", apex)
	default:
	}
}

// TestFailedLoadBeside: a load of which it is found out behind its pass that it failed
// is rolled back, and its input waits for another one.
func TestFailedLoadBeside(t *testing.T) {
	s := newSite(t, smallZone("www A 192.0.2.80\n"))
	server := newSlow()
	s.server = server
	r := s.resident()
	close(server.gate)
	first := r.pass()["example.org"]
	server.serve("example.org", first.Serial, nil)
	r.wake("example.org")
	if z := r.pass()["example.org"]; z.Action != build.Confirmed {
		t.Fatalf("%+v", z)
	}

	s.write("primary/example.org", "ns1 A 192.0.2.53\nbad A 192.0.2.66\n")
	if z := r.pass()["example.org"]; !z.After.Asked {
		t.Fatalf("%+v", z)
	}
	server.healed = first.Serial + 1000
	server.serve("example.org", 0, publish.ErrFailedLoad)
	r.wake("example.org")
	z := r.pass()["example.org"]
	if z.Action != build.RolledBack || strings.Contains(s.read("signed/example.org"), "192.0.2.66") || !strings.Contains(s.read("signed/example.org"), "192.0.2.80") {
		t.Fatalf("%s: %s\n%s", z.Action, z.Error, s.read("signed/example.org"))
	}
	server.serve("example.org", z.Serial, nil)
	for range 2 { // the input that failed is not tried again
		if z := r.pass()["example.org"]; !slices.ContainsFunc(z.After.Alarms, func(a build.Alarm) bool { return a.Code == "load-failed" }) {
			t.Errorf("%s %q %+v", z.Action, z.Kept, z.After.Alarms)
		}
		if strings.Contains(s.read("signed/example.org"), "192.0.2.66") {
			t.Fatal("what failed is published again")
		}
	}
	s.write("primary/example.org", "ns1 A 192.0.2.53\ngood A 192.0.2.99\n")
	r.pass()
	if !strings.Contains(s.read("signed/example.org"), "192.0.2.99") {
		t.Error("another input is not published")
	}
}
