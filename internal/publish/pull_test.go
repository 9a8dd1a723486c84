package publish_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"zonebuild/internal/cli"
	"zonebuild/internal/domain"
	"zonebuild/internal/lab"
	"zonebuild/internal/publish"
)

func TestPullTakesOverWhatIsNewAndRight(t *testing.T) {
	y := newYard(t)
	y.offer(t, "a.test", y.sign(t, "a.test", 1))
	y.offer(t, "b.test", y.sign(t, "b.test", 7))
	y.offer(t, ".a.test.tmp", []byte("half"))
	y.offer(t, "notes.txt~", []byte("no zone"))

	y.want(t, "first", "a.test published 1", "b.test published 7")
	y.want(t, "nothing new", "a.test unchanged 1", "b.test unchanged 7")
	before := y.mtime(t, "a.test")
	y.offer(t, "a.test", y.sign(t, "a.test", 2))
	y.want(t, "one new", "a.test published 2", "b.test unchanged 7")
	if !y.mtime(t, "a.test").After(before) {
		t.Error("the modification time did not advance")
	}
	if got := y.server.reloads(); got != "a.test. b.test.|a.test." {
		t.Errorf("reloads: %s", got)
	}
	if got := y.has(t, "a.test"); got != y.offered(t, "a.test") {
		t.Error("the file in place is not the offered one")
	}
}

func TestPullRejects(t *testing.T) {
	y := newYard(t)
	good := y.sign(t, "a.test", 10)
	cases := map[string]struct {
		make func() []byte
		want string
	}{
		"same serial":   {func() []byte { return y.sign(t, "a.test", 10) }, "serial 10 of the offered file is not ahead of the present 10"},
		"older":         {func() []byte { return y.sign(t, "a.test", 9) }, "serial 9 of the offered file is not ahead"},
		"half of space": {func() []byte { return y.sign(t, "a.test", 10+1<<31) }, "is not ahead"},
		"unsigned":      {func() []byte { return zoneText("a.test", 11) }, "unsigned"},
		"other zone":    {func() []byte { return y.sign(t, "b.test", 11) }, "verify"},
		"expired": {func() []byte {
			return lab.LDNSSign(t, "a.test", string(zoneText("a.test", 11)), y.now.AddDate(0, -1, 0), y.keys(t, "a.test")...)
		}, "verify"},
		"cut": {func() []byte {
			b := y.sign(t, "a.test", 11)
			lines := strings.SplitAfter(string(b), "\n")
			return []byte(strings.Join(lines[:len(lines)-4], ""))
		}, "verify"},
		"tampered": {func() []byte {
			return []byte(strings.ReplaceAll(string(y.sign(t, "a.test", 11)), "192.0.2.2", "192.0.2.3"))
		}, "is bad"},
		"empty":   {func() []byte { return nil }, "verify"},
		"garbage": {func() []byte { return []byte("\x00\xff\n(\n") }, "verify"},
	}
	y.offer(t, "a.test", good)
	y.offer(t, "b.test", y.sign(t, "b.test", 1))
	y.want(t, "first", "a.test published 10", "b.test published 1")
	serial := uint32(1)
	for name, tt := range cases {
		t.Run(name, func(t *testing.T) {
			serial++
			y.offer(t, "a.test", tt.make())
			y.offer(t, "b.test", y.sign(t, "b.test", serial)) // one bad zone does not stop the others
			all := y.want(t, name, "a.test rejected 10", fmt.Sprintf("b.test published %d", serial))
			if !strings.Contains(all[0].Error, tt.want) || all[0].Code != cli.ExitRejected {
				t.Errorf("error %q, exit %d; want %q, 3", all[0].Error, all[0].Code, tt.want)
			}
			if y.has(t, "a.test") != string(good) {
				t.Error("the file in place changed")
			}
		})
	}
	left, err := filepath.Glob(y.o.To + "/.*.tmp")
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %q %v", left, err)
	}
}

// TestPullReadsNoTraps: the directory is somebody else's.
func TestPullReadsNoTraps(t *testing.T) {
	y := newYard(t)
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, zoneText("link.test", 1), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(secret, y.o.From+"/link.test"); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(y.o.From+"/fifo.test", 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(y.o.From+"/dir.test", 0o755); err != nil {
		t.Fatal(err)
	}
	y.offer(t, "ok.test", zoneText("ok.test", 1))
	y.want(t, "traps", "fifo.test failed 0", "link.test failed 0", "ok.test published 1")
}

func TestPullUnsigned(t *testing.T) {
	y := newYard(t)
	y.offer(t, "a.test", zoneText("a.test", 1))
	y.want(t, "unsigned", "a.test published 1")
	y.offer(t, "a.test", y.sign(t, "a.test", 2))
	y.want(t, "signed", "a.test published 2")
	y.offer(t, "a.test", zoneText("a.test", 3))
	y.want(t, "unsigned again", "a.test rejected 2")

	// A present file that is damaged does not make the host forget.
	remove(t, y.o.To+"/a.test")
	if err := os.WriteFile(y.o.To+"/a.test", []byte("(damaged"), 0o644); err != nil {
		t.Fatal(err)
	}
	y.want(t, "over a damaged one", "a.test rejected 2")
	if good, err := os.ReadFile(y.o.To + "/.pull/good/a.test"); err != nil || y.has(t, "a.test") != string(good) {
		t.Errorf("the damaged file was not put back: %v", err)
	}

	// Somebody on this host says that it is meant.
	y.o.Unsigned = []domain.Name{domain.MustParse("a.test")}
	y.want(t, "meant", "a.test published 3")
}

// TestPullRestores: what is lost or damaged in the zone directory comes back
// from the last good copy, with the same serial.
func TestPullRestores(t *testing.T) {
	for name, harm := range map[string]func(path string) error{
		"lost":    os.Remove,
		"emptied": func(path string) error { return os.Truncate(path, 0) },
		"cut":     func(path string) error { return os.Truncate(path, 250) },
		"other":   func(path string) error { return os.WriteFile(path, []byte("x\n"), 0o644) },
	} {
		t.Run(name, func(t *testing.T) {
			y := newYard(t)
			file := y.builder("a.test", 5)
			y.offer(t, "a.test", file)
			y.want(t, "first", "a.test published 5")
			if err := harm(y.o.To + "/a.test"); err != nil {
				t.Fatal(err)
			}
			if all := y.want(t, "harmed", "a.test restored 5"); !all[0].Confirmed || all[0].Code != 0 {
				t.Errorf("%+v", all[0])
			}
			if y.has(t, "a.test") != string(file) {
				t.Error("the file is not as it was")
			}
			y.want(t, "again", "a.test unchanged 5")

			// Whatever is offered meanwhile is judged by what was there.
			if err := harm(y.o.To + "/a.test"); err != nil {
				t.Fatal(err)
			}
			y.offer(t, "a.test", y.builder("a.test", 4))
			y.want(t, "harmed, and an older one offered", "a.test rejected 5")
			if y.has(t, "a.test") != string(file) {
				t.Error("the file is not as it was")
			}
			y.offer(t, "a.test", y.builder("a.test", 6))
			y.want(t, "a newer one", "a.test published 6")
		})
	}
}

// TestPullNeverStepsBack: a newer file that was installed but never confirmed is
// lost. Neither its predecessor nor an unsigned zone takes its place, and the
// server keeps what it serves.
func TestPullNeverStepsBack(t *testing.T) {
	y := newYard(t)
	one, two := y.sign(t, "a.test", 1), y.sign(t, "a.test", 2)
	y.offer(t, "a.test", one)
	y.want(t, "first", "a.test published 1")
	y.offer(t, "a.test", two)
	y.server.down = true
	y.want(t, "unconfirmed", "a.test published 2")
	y.server.down = false
	y.server.serve("a.test", 2)
	remove(t, y.o.To+"/a.test")
	for what, offered := range map[string][]byte{"damaged": two[:len(two)/2], "the one before": one, "unsigned": zoneText("a.test", 3)} {
		y.offer(t, "a.test", offered)
		y.want(t, what, "a.test rejected 2")
		if y.has(t, "a.test") != "" {
			t.Errorf("%s: an older file took the place", what)
		}
	}
	y.offer(t, "a.test", two)
	y.want(t, "the same again", "a.test published 2")
	if y.has(t, "a.test") != string(two) || strings.Contains(y.server.reloads(), "a.test|a.test|a.test|a.test") {
		t.Errorf("%q", y.server.reloads())
	}
}

// TestPullWritesNothing: when nothing is new, no file is touched, and what was said
// is not said again.
func TestPullWritesNothing(t *testing.T) {
	y := newYard(t)
	y.offer(t, "a.test", y.builder("a.test", 1))
	y.want(t, "first", "a.test published 1")
	stamps := func() (out []string) {
		err := filepath.WalkDir(y.o.To, func(path string, e os.DirEntry, err error) error {
			if info, err := e.Info(); err == nil && !e.IsDir() && e.Name() != "lock" {
				out = append(out, fmt.Sprint(path, info.ModTime().UnixNano()))
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	before := stamps()
	y.want(t, "again", "a.test unchanged 1")
	if after := stamps(); strings.Join(after, "\n") != strings.Join(before, "\n") {
		t.Errorf("%q, before %q", after, before)
	}
	y.offer(t, "a.test", []byte("x\n"))
	if all := y.want(t, "bad", "a.test rejected 1"); !all[0].News {
		t.Error("a rejection is news")
	}
	if all := y.want(t, "bad again", "a.test rejected 1"); all[0].News {
		t.Error("the same rejection is no news")
	}
}

// TestPullDamagedMemory: a last good copy that is damaged, too, is not believed;
// the offered file comes back.
func TestPullDamagedMemory(t *testing.T) {
	y := newYard(t)
	file := y.builder("a.test", 5)
	y.offer(t, "a.test", file)
	y.want(t, "first", "a.test published 5")
	for _, path := range []string{y.o.To + "/a.test", y.o.To + "/.pull/good/a.test"} {
		if err := os.Truncate(path, 250); err != nil {
			t.Fatal(err)
		}
	}
	y.want(t, "both damaged", "a.test published 5")
	if y.has(t, "a.test") != string(file) {
		t.Error("the file is not back")
	}
}

func TestPullNeverDeletes(t *testing.T) {
	y := newYard(t)
	y.offer(t, "a.test", zoneText("a.test", 1))
	y.offer(t, "b.test", zoneText("b.test", 1))
	y.want(t, "first", "a.test published 1", "b.test published 1")
	remove(t, y.o.From+"/a.test")
	y.want(t, "a is gone", "a.test gone 0", "b.test unchanged 1")
	if y.has(t, "a.test") == "" {
		t.Error("the file of a zone that is not offered any more was removed")
	}
	remove(t, y.o.From+"/b.test")
	if _, err := publish.Pull(t.Context(), y.o); err == nil || !strings.Contains(err.Error(), "is it mounted?") {
		t.Errorf("an empty directory: %v", err)
	}
}

// TestPullPutsBack: a file that the checker lets pass and the server cannot load.
func TestPullPutsBack(t *testing.T) {
	y := newYard(t)
	one := y.sign(t, "a.test", 1)
	y.offer(t, "a.test", one)
	y.want(t, "first", "a.test published 1")
	before := y.mtime(t, "a.test")

	y.server.breaks = "a.test 2"
	y.offer(t, "a.test", y.sign(t, "a.test", 2))
	all := y.want(t, "broken", "a.test put-back 1")
	if all[0].Code != cli.ExitFailed || !all[0].Confirmed {
		t.Errorf("%+v", all[0])
	}
	if y.has(t, "a.test") != string(one) || !y.mtime(t, "a.test").After(before) {
		t.Error("the last good file is not back, with a new time")
	}
	y.server.mu.Lock()
	y.server.told = nil
	y.server.mu.Unlock()
	all = y.want(t, "the same again", "a.test rejected 1")
	if got := y.server.reloads(); got != "" || all[0].Code != cli.ExitRejected {
		t.Errorf("a file that failed was tried again: %q %+v", got, all[0])
	}
	y.offer(t, "a.test", y.sign(t, "a.test", 3))
	y.want(t, "another", "a.test published 3")
}

// TestPullAfterACrash: the file was renamed, the server never told.
func TestPullAfterACrash(t *testing.T) {
	y := newYard(t)
	one, two := y.sign(t, "a.test", 1), y.sign(t, "a.test", 2)
	y.offer(t, "a.test", one)
	y.want(t, "first", "a.test published 1")
	y.offer(t, "a.test", two)
	if err := os.WriteFile(y.o.To+"/a.test", two, 0o644); err != nil {
		t.Fatal(err)
	}
	y.want(t, "resumed", "a.test confirmed 2")

	// The same, and the server cannot load it: what was good before comes back.
	three := y.sign(t, "a.test", 3)
	y.offer(t, "a.test", three)
	if err := os.WriteFile(y.o.To+"/.a.test.new", three, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(y.o.To+"/.a.test.new", y.o.To+"/a.test"); err != nil {
		t.Fatal(err)
	}
	y.server.breaks = "a.test 3"
	y.want(t, "resumed and broken", "a.test put-back 2")
}

func TestPullServerDown(t *testing.T) {
	y := newYard(t)
	y.o.Timeout = 50 * time.Millisecond
	y.server.down = true
	y.offer(t, "a.test", y.sign(t, "a.test", 1))
	all := y.want(t, "down", "a.test published 1")
	if all[0].Confirmed || all[0].Code != cli.ExitFailed || !strings.Contains(all[0].Error, "confirm serial 1") {
		t.Errorf("%+v", all[0])
	}
	y.server.down = false
	y.want(t, "up again", "a.test confirmed 1")
}

func TestPullCheckerRefuses(t *testing.T) {
	y := newYard(t)
	y.server.refuse = errors.New("line 3: no")
	y.offer(t, "a.test", y.sign(t, "a.test", 1))
	all := y.want(t, "refused", "a.test failed 0")
	if !strings.Contains(all[0].Error, "line 3: no") || y.has(t, "a.test") != "" {
		t.Errorf("%+v", all[0])
	}
}

// TestPullWithoutMemory: ZONEDIR was lost, the server still serves.
func TestPullWithoutMemory(t *testing.T) {
	y := newYard(t)
	y.server.serve("a.test", 5)
	y.offer(t, "a.test", y.sign(t, "a.test", 4))
	y.want(t, "behind what is served", "a.test rejected 0")
	y.offer(t, "a.test", y.sign(t, "a.test", 5))
	y.want(t, "what is served", "a.test published 5")
}

func TestPullBodyDigest(t *testing.T) {
	y := newYard(t)
	body := zoneText("a.test", 1)
	head := func(b []byte) []byte {
		return fmt.Appendf(nil, "; zonebuild 1 input=%064x body=%s next=9999-12-31T23:59:59Z\n%s", 0, publish.Digest(b), body)
	}
	y.offer(t, "a.test", head(body[:len(body)-4]))
	if all := y.want(t, "cut", "a.test rejected 0"); !strings.Contains(all[0].Error, "cut short or was changed") {
		t.Error(all[0].Error)
	}
	y.offer(t, "a.test", head(body))
	y.want(t, "whole", "a.test published 1")
}

// yard is a builder's directory, a server's, and a server.
type yard struct {
	o      publish.PullOptions
	server *fakeServer
	now    time.Time
	made   map[string][]string
}

func newYard(t *testing.T) *yard {
	t.Helper()
	y := &yard{now: time.Now().UTC(), made: map[string][]string{}}
	to := t.TempDir()
	y.server = &fakeServer{dir: to, now: map[domain.Name]uint32{}, failed: map[domain.Name]bool{}}
	y.o = publish.PullOptions{From: t.TempDir(), To: to, Now: y.now, Server: y.server, Timeout: 2 * time.Second}
	return y
}

func zoneText(zone string, serial uint32) []byte {
	return fmt.Appendf(nil, "%[1]s. 300 IN SOA ns.%[1]s. host.%[1]s. %[2]d 3600 600 86400 300\n"+
		"%[1]s. 300 IN NS ns.%[1]s.\nns.%[1]s. 300 IN A 192.0.2.1\nwww.%[1]s. 300 IN A 192.0.2.2\n", zone, serial)
}

func (y *yard) keys(t *testing.T, zone string) []string {
	t.Helper()
	lab.Need(t, "ldns-keygen", "ldns-signzone")
	if y.made[zone] == nil {
		ksk, zsk := lab.LDNSKeys(t, zone)
		y.made[zone] = []string{ksk, zsk}
	}
	return y.made[zone]
}

func (y *yard) sign(t *testing.T, zone string, serial uint32) []byte {
	t.Helper()
	return lab.LDNSSign(t, zone, string(zoneText(zone, serial)), y.now, y.keys(t, zone)...)
}

// builder is an unsigned zone in the form of this project's files.
func (y *yard) builder(zone string, serial uint32) []byte {
	body := zoneText(zone, serial)
	return fmt.Appendf(nil, "; zonebuild 1 input=%064x body=%s next=9999-12-31T23:59:59Z\n%s", 0, publish.Digest(body), body)
}

func (y *yard) offer(t *testing.T, name string, data []byte) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(y.o.From, name), data, 0o644); err != nil {
		t.Fatal(err)
	}
}

func (y *yard) offered(t *testing.T, name string) string { return read(t, y.o.From+"/"+name) }
func (y *yard) has(t *testing.T, name string) string     { return read(t, y.o.To+"/"+name) }

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	return string(b)
}

func remove(t *testing.T, path string) {
	t.Helper()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
}

func (y *yard) mtime(t *testing.T, name string) time.Time {
	t.Helper()
	info, err := os.Stat(y.o.To + "/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return info.ModTime()
}

// want pulls and compares: "ZONE ACTION SERIAL" of each zone.
func (y *yard) want(t *testing.T, what string, want ...string) []publish.Pulled {
	t.Helper()
	all, err := publish.Pull(t.Context(), y.o)
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	var got []string
	for _, z := range all {
		got = append(got, fmt.Sprintf("%s %s %d", strings.TrimSuffix(z.Zone.String(), "."), z.Action, z.Serial))
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Fatalf("%s: got %q, want %q\n%+v", what, got, want, all)
	}
	return all
}

// fakeServer loads zone files as a name server does, but for what it is told
// to break.
type fakeServer struct {
	dir    string
	breaks string // "ZONE SERIAL" that it cannot load
	down   bool
	refuse error

	mu     sync.Mutex
	now    map[domain.Name]uint32
	failed map[domain.Name]bool
	told   []string
}

func (f *fakeServer) serve(zone string, serial uint32) { f.now[domain.MustParse(zone)] = serial }

func (f *fakeServer) reloads() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return strings.Join(f.told, "|")
}

func (f *fakeServer) Check(context.Context, domain.Name, string) error { return f.refuse }

func (f *fakeServer) Reload(_ context.Context, apexes []domain.Name) map[domain.Name]error {
	f.mu.Lock()
	defer f.mu.Unlock()
	var names []string
	for _, apex := range apexes {
		if f.down {
			return map[domain.Name]error{apex: publish.ErrUnreachable}
		}
		names = append(names, apex.String())
		serial, err := publish.SerialOf(apex, filepath.Join(f.dir, apex.FileName()))
		f.failed[apex] = err != nil || f.breaks == fmt.Sprintf("%s %d", apex.FileName(), serial)
		f.now[apex] = serial
	}
	f.told = append(f.told, strings.Join(names, " "))
	return nil
}

func (f *fakeServer) Serial(_ context.Context, apex domain.Name) (publish.Served, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	serial, known := f.now[apex]
	switch {
	case f.down:
		return publish.Served{}, publish.ErrUnreachable
	case f.failed[apex]:
		return publish.Served{}, publish.ErrFailedLoad
	case !known:
		return publish.Served{}, publish.ErrUnknownZone
	}
	return publish.Served{Serial: serial, Server: "fake"}, nil
}
