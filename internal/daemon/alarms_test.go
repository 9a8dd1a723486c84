package daemon

import (
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// standing are the codes of the alarms that another process sees.
func (s *testSite) standing() []string {
	s.t.Helper()
	d, err := Of(s.path("state"))
	if err != nil {
		s.t.Fatal(err)
	}
	if d == nil {
		return []string{"no daemon"}
	}
	if d.PID != os.Getpid() {
		s.t.Errorf("the daemon is process %d", d.PID)
	}
	var out []string
	for _, a := range d.Alarms {
		out = append(out, a.Code)
	}
	return out
}

// TestAlarmCommand: the command is told of the alarms of zones and of the daemon once
// when they come, each day, and when they are over, and a restart changes nothing of
// that.
func TestAlarmCommand(t *testing.T) {
	s := newSite(t, false)
	s.write("zonebuild.toml", `alarm-command = ["sh", "-c", "cat >>alarms"]
[source.certs]
update = ["test", "!", "-e", "unreachable"]
interval = "1s"
`)
	var ahead atomic.Int64
	s.clock = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	told := func() (out []string) {
		b, _ := os.ReadFile(s.path("alarms"))
		for line := range strings.Lines(string(b)) {
			f := strings.SplitN(line, `","`, 4)
			out = append(out, strings.Join(f[:3], " "))
		}
		return out
	}
	const (
		zone   = `zone":"example.org. code":"input-rejected`
		source = `source":"certs code":"source-update`
	)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("told %q", told())
		}
	})
	tells := func(what string, n int, want ...string) {
		t.Helper()
		s.until(what, func() bool {
			got := told()
			return len(got) == n && !slices.ContainsFunc(want, func(w string) bool { return !slices.Contains(got, w) })
		})
	}
	s.start()
	s.until("the zone is published", s.published("www"))
	if got := s.standing(); len(got) != 0 {
		t.Errorf("alarms %q", got)
	}
	s.write("unreachable", "")
	s.write("primary/example.org", "broken\n")
	tells("raised", 2, `{"event":"raise `+zone, `{"event":"raise `+source)
	s.until("it is told to others", func() bool { return slices.Equal(s.standing(), []string{"source-update"}) })

	s.stop()
	if got := s.standing(); !slices.Equal(got, []string{"no daemon"}) {
		t.Errorf("nobody runs, and yet: %q", got)
	}
	s.start()
	s.until("it stands again", func() bool { return slices.Equal(s.standing(), []string{"source-update"}) })
	s.until("the zone was built again", func() bool { return strings.Count(s.said(), "zone example.org. rejected") >= 2 })
	tells("nothing new", 2)

	ahead.Store(int64(25 * time.Hour))
	tells("a day later", 4, `{"event":"daily `+zone, `{"event":"daily `+source)

	s.remove("unreachable")
	s.write("primary/example.org", "ns1 A 192.0.2.53\nwww A 192.0.2.80\n")
	tells("over", 6, `{"event":"clear `+zone, `{"event":"clear `+source)
	s.until("nothing stands", func() bool { return len(s.standing()) == 0 })
}
