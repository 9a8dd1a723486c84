package build_test

import (
	"context"
	"encoding/json"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"zonebuild/internal/build"
	"zonebuild/internal/cli"
	"zonebuild/internal/domain"
	"zonebuild/internal/publish"
)

// moody is a name server that cannot load files that hold a word.
type moody struct {
	mu     sync.Mutex
	file   string
	poison string
	broken bool
	serial uint32
}

func (m *moody) Check(context.Context, domain.Name, string) error { return nil }

func (m *moody) Reload(_ context.Context, apexes []domain.Name) map[domain.Name]error {
	m.mu.Lock()
	defer m.mu.Unlock()
	b, err := os.ReadFile(m.file)
	if m.broken = err != nil || m.poison != "" && strings.Contains(string(b), m.poison); !m.broken {
		m.serial, err = build.SerialOf(apexes[0], m.file)
	}
	if err != nil {
		return map[domain.Name]error{apexes[0]: err}
	}
	return nil
}

func (m *moody) Serial(context.Context, domain.Name) (publish.Served, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.broken {
		return publish.Served{Server: "moody"}, publish.ErrFailedLoad
	}
	return publish.Served{Serial: m.serial, Server: "moody"}, nil
}

// TestRollBack: a zone that the server cannot load gives way to the last good
// records with a higher serial, and is not tried again until it changes.
func TestRollBack(t *testing.T) {
	s := newSite(t, smallZone("www A 192.0.2.1\n"))
	s.write("zonebuild.toml", "publish.timeout = \"4s\"\n")
	server := &moody{file: s.path("signed/example.org"), poison: "192.0.2.66"}
	s.server = server
	first := one(t, s.build(ok), "example.org")

	s.write("primary/example.org", "ns1 A 192.0.2.53\nwww A 192.0.2.66\n")
	r := one(t, s.build(cli.ExitFailed), "example.org")
	if r.Action != build.RolledBack || !r.Confirmed || r.Serial <= first.Serial+1 {
		t.Errorf("%+v", r)
	}
	if text := s.read("signed/example.org"); strings.Contains(text, "192.0.2.66") || !strings.Contains(text, "192.0.2.1\n") {
		t.Error("the last good records are not published")
	}
	if server.serial != r.Serial {
		t.Errorf("served %d, rolled back to %d", server.serial, r.Serial)
	}
	if got := s.alarms("example.org"); got != "load-failed" {
		t.Errorf("alarms: %q", got)
	}
	again := one(t, s.build(rejected), "example.org")
	if again.Serial != r.Serial || again.Action == build.Published {
		t.Errorf("the same input is tried again: %+v", again)
	}
	// The operator mends the server: the same input may be tried again.
	server.poison = ""
	if _, err := s.open().Approve(t.Context(), domain.MustParse("example.org"), "load-failed", s.at()); err != nil {
		t.Fatal(err)
	}
	r = one(t, s.build(ok), "example.org")
	if r.Action != build.Published || !strings.Contains(s.read("signed/example.org"), "192.0.2.66") || s.alarms("example.org") != "" {
		t.Errorf("%+v", r)
	}
}

// TestNothingToRollBackTo: without a confirmed zone, a failed load is only said.
func TestNothingToRollBackTo(t *testing.T) {
	s := newSite(t, smallZone("www A 192.0.2.66\n"))
	s.write("zonebuild.toml", "publish.timeout = \"4s\"\n")
	s.server = &moody{file: s.path("signed/example.org"), poison: "192.0.2.66"}
	if r := one(t, s.build(cli.ExitFailed), "example.org"); r.Action != build.Failed || r.Error == "" {
		t.Errorf("%+v", r)
	}
}

// TestAlarmCommand: told at the raise, once a day, and at the end.
func TestAlarmCommand(t *testing.T) {
	s := newSite(t, smallZone("www A 192.0.2.1\n"))
	s.now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	s.write("zonebuild.toml", "alarm-command = [\"sh\", \"-c\", \"cat >>"+s.path("told")+"\"]\n")
	s.build(ok)
	good := s.read("primary/example.org")
	s.write("primary/example.org", "www A nonsense\n")
	s.build(rejected)
	s.build(rejected)
	s.now = s.now.Add(25 * time.Hour)
	s.build(rejected)
	s.write("primary/example.org", good)
	s.build(ok)
	var events []string
	for line := range strings.Lines(s.read("told")) {
		var e struct{ Event, Zone, Code, Message string }
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatal(err)
		}
		if e.Zone != "example.org." || e.Code != "input-rejected" || !strings.HasPrefix(e.Message, "primary/example.org:1:7: ") {
			t.Errorf("%+v", e)
		}
		events = append(events, e.Event)
	}
	if got := strings.Join(events, " "); got != "raise daily clear" {
		t.Errorf("told: %s", got)
	}
}

// TestSourcesGone: an empty soa/ must not let a published zone expire.
func TestSourcesGone(t *testing.T) {
	s := newSite(t, smallZone("www A 192.0.2.1\n"))
	s.now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	s.build(ok)
	if err := os.Rename(s.path("soa"), s.path("gone")); err != nil {
		t.Fatal(err)
	}
	s.now = s.now.AddDate(0, 0, 7)
	r := one(t, s.build(rejected), "example.org")
	if !r.Orphan || r.NewSigs == 0 || !strings.Contains(s.read("signed/example.org"), "192.0.2.1\n") {
		t.Errorf("%+v", r)
	}
	s.whole("example.org")
	if err := os.Rename(s.path("gone"), s.path("soa")); err != nil {
		t.Fatal(err)
	}
	s.build(ok)
	if s.alarms("example.org") != "" {
		t.Error(s.alarms("example.org"))
	}
}

// TestCrashBeforeState: a file whose publication the state knows nothing of is
// taken over, told to the server and confirmed.
func TestCrashBeforeState(t *testing.T) {
	s := newSite(t, smallZone("www A 192.0.2.1\n"))
	server := &moody{file: s.path("signed/example.org")}
	s.server = server
	s.build(ok)
	state := s.read("state/example.org.json")
	s.write("primary/example.org", "ns1 A 192.0.2.53\nwww A 192.0.2.2\n")
	server.file = s.path("nothing") // the crash comes before the reload
	s.build(cli.ExitFailed)
	s.write("state/example.org.json", state)
	server.file = s.path("signed/example.org")
	r := one(t, s.build(ok), "example.org")
	if r.Action != build.Confirmed || server.serial != s.whole("example.org") {
		t.Errorf("%+v, served %d", r, server.serial)
	}
}
