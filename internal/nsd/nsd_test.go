package nsd_test

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"zonebuild/internal/domain"
	"zonebuild/internal/lab"
	"zonebuild/internal/nsd"
	"zonebuild/internal/publish"
)

// confirmTimeout is long: only what stays unconfirmed waits for its end.
const confirmTimeout = 15 * time.Second

// fixture is an nsd of the lab and the room that speaks to it.
type fixture struct {
	*lab.NSDServer
	srv *nsd.Server
	t   *testing.T
}

func newFixture(t *testing.T, o lab.NSDOptions) *fixture {
	t.Helper()
	lab.Need(t, "nsd", "nsd-checkzone")
	f := &fixture{NSDServer: lab.NSD(t, o), t: t}
	f.srv = &nsd.Server{
		Control:   f.Control(),
		Addresses: []netip.AddrPort{netip.MustParseAddrPort(f.Addr())},
		Checkzone: lab.Path(t, "nsd-checkzone"),
		ZoneFile:  func(n domain.Name) string { return f.ZoneFile(n.String()) },
	}
	return f
}

// zoneText is a zone with one address record, which may be broken.
func zoneText(serial int, address string) string {
	return fmt.Sprintf("@ 300 IN SOA ns hostmaster %d 3600 600 86400 300\n@ 300 IN NS ns\nns 300 IN A 192.0.2.1\nwww 300 IN A %s\n", serial, address)
}

// write replaces a zone file as a publisher must: with a later mtime.
func (f *fixture) write(zone, text string) {
	f.t.Helper()
	path := f.ZoneFile(zone)
	mtime := time.Now()
	if old, err := os.Stat(path); err == nil && !mtime.After(old.ModTime()) {
		mtime = old.ModTime().Add(time.Millisecond)
	}
	if err := os.WriteFile(path+".new", []byte(text), 0o644); err != nil {
		f.t.Fatal(err)
	}
	if err := os.Chtimes(path+".new", mtime, mtime); err != nil {
		f.t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		f.t.Fatal(err)
	}
}

func (f *fixture) reload(zones ...string) {
	f.t.Helper()
	for apex, err := range f.srv.Reload(f.t.Context(), names(zones...)) {
		f.t.Errorf("reload %s: %v", apex, err)
	}
}

func (f *fixture) confirm(zone string, serial uint32, timeout time.Duration) publish.Result {
	f.t.Helper()
	apex := domain.MustParse(zone)
	return publish.Confirm(f.t.Context(), f.srv, map[domain.Name]uint32{apex: serial}, timeout)[apex]
}

func (f *fixture) wantOutcome(r publish.Result, want publish.Outcome, reason string) {
	f.t.Helper()
	if r.Outcome != want || reason != "" && (r.Err == nil || !strings.Contains(r.Err.Error(), reason)) {
		f.t.Errorf("%s after %v: %v, want %s: %s\n%s", r.Outcome, r.Took, r.Err, want, reason, f.Log())
	}
}

func names(zones ...string) []domain.Name {
	var out []domain.Name
	for _, z := range zones {
		out = append(out, domain.MustParse(z))
	}
	return out
}

// start is an nsd that serves a.test with serial 1.
func start(t *testing.T) *fixture {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(dir+"/a.test", []byte(zoneText(1, "192.0.2.2")), 0o644); err != nil {
		t.Fatal(err)
	}
	f := newFixture(t, lab.NSDOptions{Dir: dir, Zones: []string{"a.test"}})
	f.wantOutcome(f.confirm("a.test", 1, confirmTimeout), publish.Confirmed, "")
	return f
}

// What nsd does with a file at a reload, which decides how this room works.
func TestReloadOutcomes(t *testing.T) {
	tests := []struct {
		name    string
		change  func(f *fixture)
		serial  uint32 // wanted
		outcome publish.Outcome
		reason  string
		timeout time.Duration
	}{
		{"valid", func(f *fixture) { f.write("a.test", zoneText(2, "192.0.2.3")) }, 2, publish.Confirmed, "", confirmTimeout},
		{"lower serial is served", func(f *fixture) {
			f.write("a.test", zoneText(5, "192.0.2.3"))
			f.reload("a.test")
			f.wantOutcome(f.confirm("a.test", 5, confirmTimeout), publish.Confirmed, "")
			f.write("a.test", zoneText(3, "192.0.2.3"))
			f.reload("a.test")
			lab.Until(f.t, "serve serial 3", func() error {
				if s, err := f.srv.Serial(f.t.Context(), domain.MustParse("a.test")); err != nil || s.Serial != 3 {
					return fmt.Errorf("%v, %v", s, err)
				}
				return nil
			})
		}, 3, publish.Confirmed, "", confirmTimeout},
		{"broken", func(f *fixture) { f.write("a.test", zoneText(2, "999.2.0.3")) }, 2, publish.FailedLoad, "could not load", confirmTimeout},
		{"cut in mid-record", func(f *fixture) { f.write("a.test", zoneText(2, "192.0.2.3")[:40]) }, 2, publish.FailedLoad, "could not load", confirmTimeout},
		{"empty", func(f *fixture) { f.write("a.test", "") }, 2, publish.FailedLoad, "could not load", confirmTimeout},
		{"missing: the old zone stays", func(f *fixture) { os.Remove(f.ZoneFile("a.test")) }, 2, publish.Unconfirmed, "still serves 1", time.Second},
		{"mtime equal: the old zone stays", func(f *fixture) {
			old, err := os.Stat(f.ZoneFile("a.test"))
			if err != nil {
				f.t.Fatal(err)
			}
			f.write("a.test", zoneText(2, "192.0.2.3"))
			os.Chtimes(f.ZoneFile("a.test"), old.ModTime(), old.ModTime())
		}, 2, publish.Unconfirmed, "still serves 1", time.Second},
		{"a newer serial is served", func(f *fixture) { f.write("a.test", zoneText(7, "192.0.2.3")) }, 2, publish.Confirmed, "", confirmTimeout},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			f := start(t)
			f.t = t
			tt.change(f)
			f.reload("a.test")
			f.wantOutcome(f.confirm("a.test", tt.serial, tt.timeout), tt.outcome, tt.reason)
		})
	}
}

// After a failed load, the good bytes are taken with a later mtime only.
func TestRecovery(t *testing.T) {
	t.Parallel()
	f := start(t)
	good, err := os.Stat(f.ZoneFile("a.test"))
	if err != nil {
		t.Fatal(err)
	}
	f.write("a.test", zoneText(2, "999.2.0.3"))
	f.reload("a.test")
	f.wantOutcome(f.confirm("a.test", 2, confirmTimeout), publish.FailedLoad, "")

	f.write("a.test", zoneText(1, "192.0.2.2"))
	os.Chtimes(f.ZoneFile("a.test"), good.ModTime(), good.ModTime())
	f.reload("a.test")
	f.wantOutcome(f.confirm("a.test", 1, time.Second), publish.FailedLoad, "SERVFAIL")

	f.write("a.test", zoneText(1, "192.0.2.2"))
	f.reload("a.test")
	f.wantOutcome(f.confirm("a.test", 1, confirmTimeout), publish.Confirmed, "")
}

// A file that nsd's user must not read fails the load: permissions are part of
// what is published.
func TestUnreadable(t *testing.T) {
	t.Parallel()
	o := lab.NSDOptions{Dir: t.TempDir(), Zones: []string{"a.test"}}
	var mode os.FileMode // not even for us, unless we are root
	if os.Getuid() == 0 {
		mode = 0o600
		if err := os.Chmod(filepath.Dir(o.Dir), 0o755); err != nil { // t.TempDir's own
			t.Fatal(err)
		}
		o.Server = "\tusername: nobody\n"
	}
	if err := os.WriteFile(o.Dir+"/a.test", []byte(zoneText(1, "192.0.2.2")), 0o644); err != nil {
		t.Fatal(err)
	}
	f := newFixture(t, o)
	f.wantOutcome(f.confirm("a.test", 1, confirmTimeout), publish.Confirmed, "")
	f.write("a.test", zoneText(2, "192.0.2.2"))
	if err := os.Chmod(f.ZoneFile("a.test"), mode); err != nil {
		t.Fatal(err)
	}
	f.reload("a.test")
	f.wantOutcome(f.confirm("a.test", 2, confirmTimeout), publish.FailedLoad, "could not load")
}

// A directory in the place of the file ends the whole reload in 4.6.1, and the
// load of the zone in later versions: it is confirmed in neither.
func TestDirectory(t *testing.T) {
	t.Parallel()
	f := start(t)
	if err := os.Remove(f.ZoneFile("a.test")); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(f.ZoneFile("a.test"), 0o755); err != nil {
		t.Fatal(err)
	}
	f.reload("a.test")
	if r := f.confirm("a.test", 2, time.Second); r.Outcome == publish.Confirmed {
		t.Errorf("confirmed: %+v", r)
	}
}

func TestDown(t *testing.T) {
	t.Parallel()
	f := start(t)
	f.Kill()
	apex := domain.MustParse("a.test")
	err := f.srv.Reload(t.Context(), names("a.test"))[apex]
	if err == nil || !strings.Contains(err.Error(), "connection refused (is nsd running?)") || !strings.HasPrefix(err.Error(), "reach nsd at ") {
		t.Errorf("reload: %v", err)
	}
	two := f.srv.Reload(t.Context(), names("a.test", "b.test"))
	if len(two) != 2 || two[apex] == nil {
		t.Errorf("reload two: %v", two)
	}
	f.wantOutcome(f.confirm("a.test", 1, 200*time.Millisecond), publish.Unconfirmed, "connection refused")

	f.Restart()
	f.reload("a.test")
	f.wantOutcome(f.confirm("a.test", 1, confirmTimeout), publish.Confirmed, "")

	f.srv = &nsd.Server{Control: f.Control() + ".none"}
	if err := f.srv.Reload(t.Context(), names("a.test"))[apex]; err == nil || !strings.Contains(err.Error(), "control-enable: yes") {
		t.Errorf("no socket: %v", err)
	}
}

// One broken zone at the start of nsd fails alone.
func TestStartWithBrokenZone(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for zone, address := range map[string]string{"a.test": "192.0.2.2", "b.test": "999.9.9.9"} {
		if err := os.WriteFile(dir+"/"+zone, []byte(zoneText(1, address)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	f := newFixture(t, lab.NSDOptions{Dir: dir, Zones: []string{"a.test", "b.test"}})
	f.wantOutcome(f.confirm("a.test", 1, confirmTimeout), publish.Confirmed, "")
	if _, err := f.srv.Serial(t.Context(), domain.MustParse("b.test")); !errors.Is(err, publish.ErrFailedLoad) {
		t.Errorf("b.test: %v, want ErrFailedLoad", err)
	}
	if _, err := f.srv.Serial(t.Context(), domain.MustParse("c.test")); !errors.Is(err, publish.ErrUnknownZone) {
		t.Errorf("c.test: %v, want ErrUnknownZone", err)
	}
}
