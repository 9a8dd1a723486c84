package build_test

import (
	"context"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"zonebuild/internal/build"
	"zonebuild/internal/domain"
	"zonebuild/internal/durable"
	"zonebuild/internal/lab"
	"zonebuild/internal/publish"
)

// calmTree has zones of all kinds that are passed over when nothing is new.
func calmTree() map[string]string {
	files := map[string]string{
		"zonebuild.toml": `[[zone]]
names = ["example.org", "example.net"]
[[zone]]
names = ["example.com"]
sign = false
serial = "counter"
[[zone]]
names = ["shared.example", "other.example"]
soa = "common/soa"
primary = ["common/a", "common/b"]
[[zone]]
names = ["child.example.com"]
[[zone]]
names = ["example"]
ds-from-child = true
[source.primary]
marker = ".mounted"
`,
		"primary/.mounted": "",
		"common/soa":       "$TTL 1h\n@ SOA ns1.example.org. hostmaster 1 2h 30m 4w 1h\n@ NS ns1.example.org.\n",
		"common/a":         "www A 192.0.2.80\n",
		"common/b":         "@ MX 10 mail.example.org.\n",
		"parts/hosts":      "included A 192.0.2.99\n",
	}
	for _, z := range []string{"example.org", "example.net", "example.com", "child.example.com", "example"} {
		files["soa/"+z] = "$TTL 1h\n@ SOA ns1.example.org. host\\.master 1 2h 30m 4w 1h\n@ NS ns1.example.org.\n"
		files["primary/"+z] = "www A 192.0.2.1\nmail A 192.0.2.2\n"
	}
	files["primary/example"] += "other NS ns1.example.org.\n"
	files["primary/example.org"] += "ns1 A 192.0.2.53\n"
	return files
}

// copied is a tree that can be put back as it was, with its times.
type copied struct {
	*site
	from string
}

func (s *site) copied() copied {
	s.t.Helper()
	c := copied{s, filepath.Join(s.t.TempDir(), "tree")}
	lab.Run(s.t, "cp", "-a", s.dir, c.from)
	return c
}

func (c copied) back() {
	c.t.Helper()
	c.remove(".")
	lab.Run(c.t, "cp", "-a", c.from, c.dir)
}

// files are all files but locks, without the times at which they were written.
func (c copied) files() map[string]string {
	c.t.Helper()
	written := regexp.MustCompile(`"mtime_ns": \d+`)
	out := map[string]string{}
	err := fs.WalkDir(os.DirFS(c.dir), ".", func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() && !strings.HasSuffix(path, ".lock") {
			out[path] = written.ReplaceAllString(c.read(path), "")
		}
		return err
	})
	if err != nil {
		c.t.Fatal(err)
	}
	return out
}

// locks are the zones whose lock was taken since the tree was put back.
func (c copied) locks(before time.Time) (out []string) {
	c.t.Helper()
	names, err := filepath.Glob(c.path("state", "*.lock"))
	if err != nil || len(names) == 0 {
		c.t.Fatal("no lock file", err)
	}
	for _, name := range names {
		info, err := os.Stat(name)
		if err != nil {
			c.t.Fatal(err)
		}
		if info.ModTime().After(before) {
			out = append(out, strings.TrimSuffix(filepath.Base(name), ".lock"))
		}
	}
	return out
}

// unlock makes each zone of the next build one whose lock has to be taken.
func (c copied) unlock() {
	c.t.Helper()
	names, err := filepath.Glob(c.path("state", "*.lock"))
	if err != nil {
		c.t.Fatal(err)
	}
	for _, name := range names {
		if err := os.Remove(name); err != nil {
			c.t.Fatal(err)
		}
	}
}

// silently changes a file, and neither its size nor its modification time.
func (s *site) silently(path, old, is string) {
	s.t.Helper()
	info, err := os.Stat(s.path(path))
	if err != nil {
		s.t.Fatal(err)
	}
	text := s.read(path)
	if len(old) != len(is) || !strings.Contains(text, old) {
		s.t.Fatalf("%s has no %q", path, old)
	}
	s.write(path, strings.Replace(text, old, is, 1))
	if err := os.Chtimes(s.path(path), info.ModTime(), info.ModTime()); err != nil {
		s.t.Fatal(err)
	}
}

// key is a key file of example.org.
func (s *site) key(ext string) string {
	s.t.Helper()
	names, err := filepath.Glob(s.path("keys", "Kexample.org.+*"+ext))
	if err != nil || len(names) == 0 {
		s.t.Fatal("no key", err)
	}
	return "keys/" + filepath.Base(names[0])
}

// TestCalm: whatever changes, a pass that takes no lock of zones of which nothing
// is new does and says what one does that takes them all. That one is what the other
// is held against; it is had by removing the lock files.
func TestCalm(t *testing.T) {
	t.Parallel()
	const (
		all    = "child.example.com example example.com example.net example.org other.example shared.example"
		signed = "child.example.com example example.net example.org other.example shared.example"
	)
	day, mail := 24*time.Hour, newCertificate(t, "mail.example.org")
	tests := []struct {
		name   string
		change func(s *site, o *build.Options)
		locked string // by the pass that locks no more than it must
	}{
		{"nothing", func(s *site, o *build.Options) {}, ""},
		{"primary/", func(s *site, o *build.Options) { s.silently("primary/example.org", "192.0.2.1", "192.0.2.7") }, "example.org"},
		{"soa/", func(s *site, o *build.Options) { s.silently("soa/example.net", "30m", "31m") }, "example.net"},
		{"a shared file", func(s *site, o *build.Options) { s.silently("common/b", "10", "20") }, "other.example shared.example"},
		{"primary/ is gone", func(s *site, o *build.Options) { s.remove("primary/example.org") }, "example.org"},
		{"primary/ is empty", func(s *site, o *build.Options) { s.write("primary/example.org", "") }, "example.org"},
		{"primary/ is a link", func(s *site, o *build.Options) {
			s.write("parts/other", s.read("primary/example.org"))
			s.remove("primary/example.org")
			if err := os.Symlink("../parts/other", s.path("primary/example.org")); err != nil {
				s.t.Fatal(err)
			}
		}, ""},
		{"primary/ is a link to another text", func(s *site, o *build.Options) {
			s.remove("primary/example.org")
			if err := os.Symlink("../parts/hosts", s.path("primary/example.org")); err != nil {
				s.t.Fatal(err)
			}
		}, "example.org"},
		{"the directory is another", func(s *site, o *build.Options) {
			lab.Run(s.t, "cp", "-a", s.path("primary"), s.path("second"))
			s.write("second/example.net", "www A 192.0.2.3\n")
			s.remove("primary")
			if err := os.Symlink("second", s.path("primary")); err != nil {
				s.t.Fatal(err)
			}
		}, "example.net"},
		{"a large fragment", func(s *site, o *build.Options) {
			s.write("primary/example.org", s.read("primary/example.org")+strings.Repeat("; x\n", 10000))
		}, "example.org"},
		{"not mounted", func(s *site, o *build.Options) { s.remove("primary/.mounted") }, all},
		{"an include", func(s *site, o *build.Options) {
			s.write("primary/example.org", s.read("primary/example.org")+"$INCLUDE parts/hosts\n")
		}, "example.org"},
		{"signed/ is gone", func(s *site, o *build.Options) { s.remove("signed/example.org") }, "example.org"},
		{"signed/ is damaged", func(s *site, o *build.Options) { s.write("signed/example.org", s.read("signed/example.org")[:300]) }, "example.org"},
		{"signed/ has another head", func(s *site, o *build.Options) { s.silently("signed/example.org", "input=", "input:") }, "example.org"},
		{"signed/ has another serial", func(s *site, o *build.Options) {
			serial := fmt.Sprint(s.at().Unix())
			s.silently("signed/example.org", serial, "1"+serial[1:len(serial)-1]+"x")
		}, "example.org"},
		{"signed/ has another time", func(s *site, o *build.Options) {
			if err := os.Chtimes(s.path("signed/example.org"), s.at(), s.at().Add(time.Minute)); err != nil {
				s.t.Fatal(err)
			}
		}, "example.org"},
		{"unsigned/ is gone", func(s *site, o *build.Options) { s.remove("unsigned/example.org") }, "example.org"},
		{"unsigned/ is another", func(s *site, o *build.Options) { s.write("unsigned/example.com", "x\n") }, "example.com"},
		{"the last good zone is gone", func(s *site, o *build.Options) { s.remove("state/last-good/example.org") }, "example.org"},
		{"the last good zone is another", func(s *site, o *build.Options) { s.write("state/last-good/example.org", "x\n") }, "example.org"},
		{"the state is gone", func(s *site, o *build.Options) { s.remove("state/example.org.json") }, "example.org"},
		{"the state is damaged", func(s *site, o *build.Options) { s.write("state/example.org.json", "{") }, "example.org"},
		{"the state is of another serial", func(s *site, o *build.Options) {
			s.write("state/example.org.json", strings.Replace(s.read("state/example.org.json"), `"serial": 1`, `"serial": 2`, 1))
		}, "example.org"},
		{"not confirmed", func(s *site, o *build.Options) {
			s.write("state/example.org.json", strings.Replace(s.read("state/example.org.json"), `"confirmed": true`, `"confirmed": false`, 1))
		}, "example.org"},
		{"an alarm", func(s *site, o *build.Options) {
			s.write("state/example.org.json", strings.Replace(s.read("state/example.org.json"), "{", `{"alarms": [{"code": "keys", "message": "m"}],`, 1))
		}, "example.org"},
		{"a refusal", func(s *site, o *build.Options) {
			s.write("state/example.org.json", strings.Replace(s.read("state/example.org.json"), "{", `{"refused": [{"guard": "shrink"}],`, 1))
		}, "example.org"},
		{"an approval", func(s *site, o *build.Options) {
			s.write("state/example.org.json", strings.Replace(s.read("state/example.org.json"), "{", `{"approved": [{"guard": "shrink"}],`, 1))
		}, "example.org"},
		{"an input that failed", func(s *site, o *build.Options) {
			s.write("state/example.org.json", strings.Replace(s.read("state/example.org.json"), "{", `{"failed_input": "00",`, 1))
		}, "example.org"},
		{"the oldest signature is not known", func(s *site, o *build.Options) {
			s.write("state/example.org.json", regexp.MustCompile(`"oldest": "[^"]*",`).ReplaceAllString(s.read("state/example.org.json"), ""))
		}, "example.org"},
		{"a .key file", func(s *site, o *build.Options) { s.silently(s.key(".key"), "; ", ";;") }, "example.org"},
		{"a .state file", func(s *site, o *build.Options) { s.silently(s.key(".state"), "; ", ";;") }, "example.org"},
		{"a .key file is gone", func(s *site, o *build.Options) { s.remove(s.key(".key")) }, "example.org"},
		{"a .private file is gone", func(s *site, o *build.Options) { s.remove(s.key(".private")) }, "example.org"},
		{"a second key", func(s *site, o *build.Options) {
			s.write("keys/Kexample.org.+013+00001.key", "example.org. IN DNSKEY 257 3 13 AAAA\n")
		}, "example.org"},
		{"a child is not confirmed", func(s *site, o *build.Options) {
			s.write("state/other.example.json", strings.Replace(s.read("state/other.example.json"), `"confirmed": true`, `"confirmed": false`, 1))
		}, "other.example"},
		{"another child", func(s *site, o *build.Options) {
			s.write("primary/example", s.read("primary/example")+"net NS ns1.example.org.\n")
		}, "example"},
		{"the policy", func(s *site, o *build.Options) {
			s.write("zonebuild.toml", strings.Replace(s.read("zonebuild.toml"), `names = ["example.org"`, "max-ttl = \"2h\"\nnames = [\"example.org\"", 1))
		}, "example.net example.org"},
		{"others sign", func(s *site, o *build.Options) {
			s.write("zonebuild.toml", strings.Replace(s.read("zonebuild.toml"), "sign = false", "sign = \"external\"", 1))
		}, "example.com"},
		{"the zone left", func(s *site, o *build.Options) {
			s.write("zonebuild.toml", strings.Replace(s.read("zonebuild.toml"), `"example.org", `, "", 1))
		}, "example.org"},
		{"a challenge", func(s *site, o *build.Options) {
			s.write("dnsextra/_acme-challenge.example.org", "_acme-challenge.example.org. 60 IN TXT \""+strings.Repeat("A", 43)+"\"\n")
		}, "example.org"},
		{"a host key", func(s *site, o *build.Options) {
			s.write("sshfp/www.example.org", "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGP6Fw5vgeTiTNFoeLKXXFJeCRlAIKZVr+OkSoVzbJzN\n")
		}, "example.org"},
		{"a host key that is none", func(s *site, o *build.Options) { s.write("sshfp/www.example.org", "x\n") }, "example.org"},
		{"a certificate", func(s *site, o *build.Options) {
			s.write("certs/mail.pem", mail.pem())
			s.write("certs.map", "mail.pem mail.example.org 25 probe=off\n")
		}, "example.org"},
		{"a map that cannot be read", func(s *site, o *build.Options) {
			if err := os.Mkdir(s.path("certs.map"), 0o755); err != nil {
				s.t.Fatal(err)
			}
		}, all},
		{"a rollover of which no line is left", func(s *site, o *build.Options) { s.write("state/tlsa/example.net.json", "{}") }, "example.net"},
		{"a rollover that is damaged", func(s *site, o *build.Options) { s.write("state/tlsa/example.net.json", "{") }, "example.net"},
		{"in doubt", func(s *site, o *build.Options) { o.Doubt = []domain.Name{domain.MustParse("example.net")} }, "example.net"},
		{"one zone", func(s *site, o *build.Options) { o.Zones = []domain.Name{domain.MustParse("example.net")} }, ""},
		{"new zones", func(s *site, o *build.Options) { o.NewZone = true }, ""},
		{"in two days", func(s *site, o *build.Options) { o.Now = o.Now.Add(2 * day) }, signed},
		{"in two weeks", func(s *site, o *build.Options) { o.Now = o.Now.Add(15 * day) }, signed},
		{"the clock is back", func(s *site, o *build.Options) { o.Now = o.Now.Add(-day) }, all},
		{"a dry run", func(s *site, o *build.Options) { o.DryRun = true }, ""},
		{"a dry run of a change", func(s *site, o *build.Options) {
			o.DryRun = true
			s.silently("primary/example.org", "192.0.2.1", "192.0.2.7")
		}, ""},
	}
	s := newSite(t, calmTree())
	s.now = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	s.build(ok)
	s.build(ok) // "example" learns the keys of its children
	if !strings.Contains(s.read("signed/example"), "other.example.\t3600\tIN\tDS\t") {
		t.Fatal("no DS of the child")
	}
	c := s.copied()
	for _, tt := range tests {
		run := func(locked bool) (report string, files map[string]string, locks []string) {
			c.back()
			o := s.options()
			o.NewZone, o.Now = false, s.now.Add(time.Minute)
			tt.change(s, &o)
			before := lastLock(c)
			if locked {
				c.unlock()
			}
			r, err := s.open().Build(t.Context(), o)
			if err != nil {
				t.Fatalf("%s: %v", tt.name, err)
			}
			for i := range r.Zones {
				for k := range r.Zones[i].After.Files {
					r.Zones[i].After.Files[k].MTime = 0
				}
			}
			if !locked {
				locks = c.locks(before)
			}
			return fmt.Sprintf("%+v", r), c.files(), locks
		}
		got, files, locks := run(false)
		want, others, _ := run(true)
		if got != want {
			t.Errorf("%s: got\n%s\nwant\n%s", tt.name, got, want)
		}
		for path := range others {
			if files[path] != others[path] {
				t.Errorf("%s: %s is\n%s\nwant\n%s", tt.name, path, files[path], others[path])
			}
		}
		if len(files) != len(others) {
			t.Errorf("%s: %d files, want %d", tt.name, len(files), len(others))
		}
		slices.Sort(locks)
		if got := strings.Join(locks, " "); got != tt.locked {
			t.Errorf("%s: locked %q, want %q", tt.name, got, tt.locked)
		}
	}
}

// lastLock is when the last lock of the copy was taken.
func lastLock(c copied) (last time.Time) {
	for _, name := range c.locks(time.Time{}) {
		info, err := os.Stat(c.path("state", name+".lock"))
		if err != nil {
			c.t.Fatal(err)
		}
		if info.ModTime().After(last) {
			last = info.ModTime()
		}
	}
	return last
}

// TestCalmBesideOthers: nobody waits for a zone of which nothing is new, and whoever
// builds it at the same time is not misled.
func TestCalmBesideOthers(t *testing.T) {
	t.Parallel()
	s := newSite(t, smallZone("www A 192.0.2.1\n"))
	s.build(ok)
	lock, err := durable.TryLock(s.path("state", "example.org.lock"))
	if err != nil {
		t.Fatal(err)
	}
	if r := s.build(ok); r.Zones[0].Action != build.Unchanged {
		t.Errorf("%+v", r.Zones[0])
	}
	if err := lock.Unlock(); err != nil {
		t.Fatal(err)
	}
	// Each round changes the zone; whoever comes first publishes it, once.
	for round := range 20 {
		s.write("primary/example.org", fmt.Sprintf("ns1 A 192.0.2.53\nround A 192.0.2.%d\n", round))
		var wg sync.WaitGroup
		actions := make([]string, 4)
		for i := range actions {
			tree := s.open()
			wg.Go(func() {
				if r, err := tree.Build(t.Context(), s.options()); err == nil {
					actions[i] = r.Zones[0].Action
				}
			})
		}
		wg.Wait()
		slices.Sort(actions)
		if want := []string{build.Published, build.Unchanged, build.Unchanged, build.Unchanged}; !slices.Equal(actions, want) {
			t.Fatalf("round %d: %q", round, actions)
		}
		if got := s.read("signed/example.org"); !strings.Contains(got, fmt.Sprintf("round.example.org.\t3600\tIN\tA\t192.0.2.%d\n", round)) {
			t.Fatalf("round %d: %s", round, got)
		}
	}
}

// TestManyZones: of 1,000 zones of which one changed, one is parsed, one lock is
// taken, and of each other no more is opened than there is to compare.
func TestManyZones(t *testing.T) {
	t.Parallel()
	lab.Need(t, "strace")
	const n, signed = 1000, 50
	s := &site{t: t, dir: t.TempDir(), server: &publish.None{}}
	var names [2][]string
	for i := range n {
		apex := fmt.Sprintf("zone%03d.example", i)
		s.write("soa/"+apex, "$TTL 1h\n@ SOA ns1 hostmaster 1 2h 30m 4w 1h\n@ NS ns1\n")
		s.write("primary/"+apex, "ns1 A 192.0.2.53\n")
		at := 0
		if i < signed {
			at = 1
		}
		names[at] = append(names[at], apex)
	}
	s.write("unsigned.names", strings.Join(names[0], "\n"))
	s.write("signed.names", strings.Join(names[1], "\n"))
	s.write("zonebuild.toml", "[publish]\nserver = \"none\"\n[[zone]]\nnames-from = \"unsigned.names\"\nsign = false\n[[zone]]\nnames-from = \"signed.names\"\n")
	s.makeKeys()
	p := newProgram(t)
	p.must("-C", s.dir, "build", "--new-zone")
	change := func(i int) {
		apex := fmt.Sprintf("zone%03d.example", i)
		s.write("primary/"+apex, s.read("primary/"+apex)+"more A 192.0.2.54\n")
	}

	var read readSources
	change(700)
	o := s.options()
	o.Log = slog.New(&read)
	if _, err := s.open().Build(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	if got := read.zones; !slices.Equal(got, []string{"zone700.example."}) {
		t.Errorf("parsed %q", got)
	}

	change(20)
	trace := filepath.Join(t.TempDir(), "trace")
	out, err := exec.Command("strace", "-f", "-qq", "-e", "trace=open,openat,flock", "-o", trace, p.path, "-C", s.dir, "build").CombinedOutput()
	if err != nil || strings.Count(string(out), "published with serial") != 1 {
		t.Fatalf("%v\n%s", err, out)
	}
	b, err := os.ReadFile(trace)
	if err != nil {
		t.Fatal(err)
	}
	opened := map[string]int{}
	locks := 0
	for line := range strings.Lines(string(b)) {
		if strings.Contains(line, "LOCK_EX") {
			locks++
		}
		if apex := regexp.MustCompile(`zone\d\d\d\.example`).FindString(line); apex != "" && strings.Contains(line, "open") {
			opened[apex]++
		}
	}
	if locks != 1 {
		t.Errorf("%d locks were taken", locks)
	}
	if len(opened) != n {
		t.Errorf("%d zones were looked at", len(opened))
	}
	for apex, got := range opened {
		want := 4 // soa/, primary/, signed/ and state/
		if slices.Contains(names[1], apex) {
			want += 4 // two files of two keys
		}
		if got != want && apex != "zone020.example" {
			t.Errorf("%s: %d files were opened, want %d", apex, got, want)
		}
	}
}

// readSources is a log that takes down whose sources were read.
type readSources struct {
	mu    sync.Mutex
	zones []string
}

func (r *readSources) Enabled(context.Context, slog.Level) bool { return true }
func (r *readSources) WithAttrs([]slog.Attr) slog.Handler       { return r }
func (r *readSources) WithGroup(string) slog.Handler            { return r }

func (r *readSources) Handle(_ context.Context, rec slog.Record) error {
	if rec.Message == "read the sources" {
		r.mu.Lock()
		defer r.mu.Unlock()
		rec.Attrs(func(a slog.Attr) bool {
			r.zones = append(r.zones, a.Value.String())
			return false
		})
	}
	return nil
}
