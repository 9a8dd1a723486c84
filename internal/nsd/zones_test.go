package nsd_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
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

// TestAddThousandZones: some 280 zones in one list are enough to block nsd for
// ever if nobody reads its answers.
func TestAddThousandZones(t *testing.T) {
	t.Parallel()
	f := newFixture(t, lab.NSDOptions{Patterns: map[string]string{"zones": `zonefile: "%s"`}})
	f.srv.Pattern = "zones"
	want := map[domain.Name]uint32{}
	var all []domain.Name
	for i := range 1000 {
		zone := fmt.Sprintf("z%d.test", i)
		if err := os.WriteFile(f.ZoneFile(zone), []byte(zoneText(i+1, "192.0.2.2")), 0o644); err != nil {
			t.Fatal(err)
		}
		apex := domain.MustParse(zone)
		all, want[apex] = append(all, apex), uint32(i+1)
	}
	f.wantServed(all, want)

	// All but one change, and one is new: one reload.
	reloads := f.reloads()
	for i := range 1000 {
		f.write(fmt.Sprintf("z%d.test", i), zoneText(i+5001, "192.0.2.3"))
		want[all[i]] += 5000
	}
	f.write("new.test", zoneText(1, "192.0.2.3"))
	apex := domain.MustParse("new.test")
	all, want[apex] = append(all, apex), 1
	f.wantServed(all, want)
	if n := f.reloads() - reloads; n != 1 {
		t.Errorf("%d reloads for 1001 zones, want 1", n)
	}
}

func (f *fixture) wantServed(apexes []domain.Name, want map[domain.Name]uint32) {
	f.t.Helper()
	start := time.Now()
	for apex, err := range f.srv.Reload(f.t.Context(), apexes) {
		f.t.Errorf("reload %s: %v", apex, err)
	}
	told := time.Since(start)
	for apex, r := range publish.Confirm(f.t.Context(), f.srv, want, 30*time.Second) {
		if r.Outcome != publish.Confirmed || r.Served != want[apex] {
			f.t.Errorf("%s: %s, serial %d, %v", apex, r.Outcome, r.Served, r.Err)
		}
	}
	f.t.Logf("%d zones: told after %v, served after %v", len(apexes), told, time.Since(start))
}

// reloads counts the reload commands that nsd saw.
func (f *fixture) reloads() int { return strings.Count(f.Log(), "control cmd: reload") }

func TestUnknownZone(t *testing.T) {
	t.Parallel()
	f := start(t)
	f.write("b.test", zoneText(4, "192.0.2.2"))
	a, b := domain.MustParse("a.test"), domain.MustParse("b.test")

	// Without a pattern, the zone is refused with what nsd.conf needs; others go on.
	for _, apexes := range [][]domain.Name{{b}, {a, b}} {
		refused := f.srv.Reload(t.Context(), apexes)
		stanza := fmt.Sprintf("zone:\n\tname: \"b.test\"\n\tzonefile: %q", f.ZoneFile("b.test"))
		if len(refused) != 1 || refused[b] == nil || !strings.HasSuffix(refused[b].Error(), stanza) {
			t.Errorf("reload %v: %v, want %s", apexes, refused, stanza)
		}
	}

	// A pattern that nsd.conf does not have.
	f.srv.Pattern = "none"
	if err := f.srv.Reload(t.Context(), []domain.Name{b})[b]; err == nil || err.Error() != "add zone to nsd: pattern none does not exist" {
		t.Errorf("unknown pattern: %v", err)
	}
}

// nsd takes a part of the file name of an RFC 2317 zone for a part of the
// zone's name, and has no escape for it.
func TestClasslessZone(t *testing.T) {
	t.Parallel()
	const zone = "0/25.2.0.192.in-addr.arpa"
	dir := t.TempDir()
	file := filepath.Join(dir, domain.MustParse(zone).FileName())
	if err := os.WriteFile(file, []byte(zoneText(1, "192.0.2.2")), 0o644); err != nil {
		t.Fatal(err)
	}
	f := newFixture(t, lab.NSDOptions{Dir: dir, Config: fmt.Sprintf("zone:\n\tname: %q\n\tzonefile: %q\n", zone, dir+"/link")})
	if err := os.Symlink(file, dir+"/link"); err != nil {
		t.Fatal(err)
	}
	f.reload(zone)
	f.wantOutcome(f.confirm(zone, 1, confirmTimeout), publish.Confirmed, "")
	f.write(zone, zoneText(2, "192.0.2.2"))
	f.reload(zone)
	f.wantOutcome(f.confirm(zone, 2, confirmTimeout), publish.Confirmed, "")

	other := domain.MustParse("128/25.2.0.192.in-addr.arpa")
	if err := f.srv.Reload(t.Context(), []domain.Name{other})[other]; err == nil || !strings.Contains(err.Error(), "nsd replaces %2 in a zonefile") {
		t.Errorf("stanza without a warning: %v", err)
	}
}

func TestDelZone(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	f := newFixture(t, lab.NSDOptions{Dir: dir, Zones: []string{"fixed.test"}, Patterns: map[string]string{"p": `zonefile: "%s"`}})
	f.srv.Pattern = "p"
	f.write("a.test", zoneText(3, "192.0.2.2"))
	f.reload("a.test")
	f.wantOutcome(f.confirm("a.test", 3, confirmTimeout), publish.Confirmed, "")
	apex := domain.MustParse("a.test")
	if err := f.srv.DelZone(t.Context(), apex); err != nil {
		t.Fatal(err)
	}
	lab.Until(t, "refuse the zone", func() error {
		if _, err := f.srv.Serial(t.Context(), apex); !errors.Is(err, publish.ErrUnknownZone) {
			return fmt.Errorf("serial: %v", err)
		}
		return nil
	})
	if err := f.srv.DelZone(t.Context(), apex); err != nil {
		t.Errorf("a zone that is not there: %v", err)
	}
	if err := f.srv.DelZone(t.Context(), domain.MustParse("fixed.test")); err == nil || !strings.Contains(err.Error(), "defined in nsd.conf") {
		t.Errorf("a zone of nsd.conf: %v", err)
	}
}

func TestCheck(t *testing.T) {
	checker := lab.Path(t, "nsd-checkzone")
	broken := filepath.Join(t.TempDir(), ".a.test.tmp")
	apex := domain.MustParse("a.test")
	tests := []struct {
		name, checker, text string
		line                int    // -1: versions differ
		want                string // in the error; "" = none
	}{
		{"good", checker, zoneText(1, "192.0.2.2"), 0, ""},
		{"address", checker, zoneText(1, "999.2.0.3"), 4, "nsd-checkzone refuses the zone: line 4: "},
		{"line in the message", checker, zoneText(1, "999.2.0.3"), 4, "(www 300 IN A 999.2.0.3)"},
		{"control bytes in the line", checker, zoneText(1, "999\x1b[2J"), 4, `(www 300 IN A 999\x1b[2J)`},
		{"long line", checker, zoneText(1, strings.Repeat("9", 5000)), 4, strings.Repeat("9", 180) + "...)"},
		{"two faults", checker, zoneText(1, "999.2.0.3\nx 1 IN A 999.3.3.3"), 4, "(and "},
		{"no SOA", checker, "www.a.test. 300 IN A 192.0.2.1\n", -1, "nsd-checkzone refuses the zone: "},
		{"no file", checker, "-", 0, "nsd-checkzone refuses the zone: "},
		{"no checker", "/nonexistent/nsd-checkzone", zoneText(1, "999.2.0.3"), 0, `run /nonexistent/nsd-checkzone: fork/exec /nonexistent/nsd-checkzone: no such file or directory (publish.checkzone = "" turns the check off)`},
		{"no checker in PATH", "no-such-checker", zoneText(1, "999.2.0.3"), 0, `(publish.checkzone = "" turns the check off)`},
		{"off", "", zoneText(1, "999.2.0.3"), 0, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if err := os.WriteFile(broken, []byte(tt.text), 0o644); err != nil {
				t.Fatal(err)
			}
			if tt.text == "-" {
				os.Remove(broken)
			}
			s := &nsd.Server{Checkzone: tt.checker}
			err := s.Check(t.Context(), apex, broken)
			if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("got %v, want %s", err, tt.want)
			}
			var refused *nsd.CheckError
			if errors.As(err, &refused) && tt.line >= 0 && refused.Line != tt.line {
				t.Errorf("line %d, want %d: %v", refused.Line, tt.line, err)
			}
		})
	}
}

// TestControlFaults: what stands at the socket is not always an nsd.
func TestControlFaults(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		serve func(c net.Conn)
		want  string
	}{
		{"closed at once", func(c net.Conn) { c.Close() }, "nsd command \"reload a.test\": "},
		{"no word", func(c net.Conn) { bufio.NewReader(c).ReadString('\n'); c.Close() }, "closed the connection without a word"},
		{"version", func(c net.Conn) { fmt.Fprint(c, "error version mismatch\n"); c.Close() }, "error version mismatch"},
		{"escape", func(c net.Conn) { fmt.Fprint(c, "error \x1b[2J\n"); c.Close() }, `error \x1b[2J`},
		{"endless line", func(c net.Conn) {
			for _, err := c.Write(make([]byte, 1000)); err == nil; _, err = c.Write(make([]byte, 1000)) {
			}
		}, "token too long"},
		{"silence", func(c net.Conn) { <-t.Context().Done(); c.Close() }, "deadline exceeded"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			dir, err := os.MkdirTemp("", "ctl") // short, for the socket's path
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { os.RemoveAll(dir) })
			l, err := net.Listen("unix", dir+"/s")
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			go func() {
				for {
					c, err := l.Accept()
					if err != nil {
						return
					}
					go tt.serve(c)
				}
			}()
			ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
			defer cancel()
			apex := domain.MustParse("a.test")
			s := &nsd.Server{Control: dir + "/s"}
			if err := s.Reload(ctx, []domain.Name{apex})[apex]; err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %s", err, tt.want)
			}
		})
	}
}
