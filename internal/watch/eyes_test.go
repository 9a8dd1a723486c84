package watch

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/fsnotify/fsnotify"

	"zonebuild/internal/lab"
)

// site is a directory that eyes watch in a test.
type site struct {
	t    *testing.T
	dir  string
	eyes *Eyes
	said syncBuffer
}

type syncBuffer struct {
	mu sync.Mutex
	bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.Buffer.Write(p)
}

func (b *syncBuffer) lines() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return strings.FieldsFunc(b.String(), func(r rune) bool { return r == '\n' })
}

// newSite makes directories and opens eyes; the paths of the sources are
// relative to the site's directory. The first look is done.
func newSite(t *testing.T, dirs []string, sources ...Source) *site {
	return newSiteWith(t, eyesOptions{newNotify, false}, dirs, sources...)
}

func newSiteWith(t *testing.T, o eyesOptions, dirs []string, sources ...Source) *site {
	t.Helper()
	s := &site{t: t, dir: t.TempDir()}
	for _, d := range dirs {
		s.must(os.MkdirAll(s.path(d), 0o755))
	}
	for i := range sources {
		for j, p := range sources[i].Paths {
			sources[i].Paths[j] = s.path(p)
		}
	}
	eyes, err := open(sources, slog.New(slog.NewTextHandler(&s.said, nil)), o)
	s.must(err)
	t.Cleanup(eyes.Close)
	s.eyes = eyes
	for _, src := range sources {
		s.look(src.Name)
	}
	return s
}

func (s *site) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

func (s *site) path(name string) string { return filepath.Join(s.dir, name) }

func (s *site) write(name, text string) {
	s.t.Helper()
	s.must(os.WriteFile(s.path(name), []byte(text), 0o644))
}

func (s *site) rename(from, to string) { s.t.Helper(); s.must(os.Rename(s.path(from), s.path(to))) }
func (s *site) remove(name string)     { s.t.Helper(); s.must(os.RemoveAll(s.path(name))) }
func (s *site) link(to, name string)   { s.t.Helper(); s.must(os.Symlink(to, s.path(name))) }

// look gives what changed as "+new", "~changed" and "-gone".
func (s *site) look(source string) []string {
	return s.brief(s.eyes.Look(s.t.Context(), source, false))
}

func (s *site) brief(sight Sight) []string {
	out := []string{}
	for _, c := range sight.Changes {
		name, err := filepath.Rel(s.dir, c.Path)
		if err != nil {
			name = c.Path
		}
		out = append(out, string("~+-"[c.Kind])+name)
	}
	return out
}

// hinted waits for a hint of the source.
func (s *site) hinted(source string) {
	s.t.Helper()
	late := time.After(20 * time.Second)
	for {
		select {
		case name := <-s.eyes.Hints():
			if name == source {
				return
			}
		case <-late:
			s.t.Fatalf("no hint of %s", source)
		}
	}
}

// calm takes the hints that are still under way: it makes an event of its own
// at the end, which comes behind them.
func (s *site) calm(source, dir string) {
	s.t.Helper()
	for range 2 {
		s.write(filepath.Join(dir, ".calm"), "")
		s.hinted(source)
		s.remove(filepath.Join(dir, ".calm"))
		s.hinted(source)
	}
	s.look(source)
}

func TestLook(t *testing.T) {
	s := newSite(t, []string{"soa", "soa/sub", "soa/sub/deep"}, Source{Name: "soa", Paths: []string{"soa", "one", "later"}, Depth: 1})
	old := time.Now().Add(-time.Hour)
	steps := []struct {
		what string
		do   func()
		want []string
	}{
		{"nothing", func() {}, nil},
		{"new", func() { s.write("soa/a", "1"); s.write("one", "x") }, []string{"+one", "+soa/a"}},
		{"same content", func() { s.write("soa/a", "1") }, nil},
		{"other content", func() { s.write("soa/a", "2") }, []string{"~soa/a"}},
		{"same content in a new file", func() { s.write("soa/.t", "2"); s.rename("soa/.t", "soa/a") }, nil},
		{"a file with a dot", func() { s.write("soa/.a.swp", "x") }, nil},
		{"other content, size and time as before", func() {
			s.must(os.Chtimes(s.path("soa/a"), old, old))
			s.look("soa")
			s.write("soa/a", "3")
			s.must(os.Chtimes(s.path("soa/a"), old, old))
		}, []string{"~soa/a"}},
		{"renamed", func() { s.rename("soa/a", "soa/b") }, []string{"-soa/a", "+soa/b"}},
		{"a directory below", func() { s.write("soa/sub/c", "1"); s.write("soa/sub/deep/d", "1") }, []string{"+soa/sub/c"}},
		{"a link", func() { s.link("b", "soa/l") }, []string{"+soa/l"}},
		{"what a link names", func() { s.write("soa/b", "4") }, []string{"~soa/b", "~soa/l"}},
		{"a link to nothing", func() { s.remove("soa/b") }, []string{"-soa/b", "~soa/l"}},
		{"no link", func() { s.remove("soa/l") }, []string{"-soa/l"}},
		{"a path that comes later", func() { s.must(os.Mkdir(s.path("later"), 0o755)); s.write("later/x", "") }, []string{"+later", "+later/x"}},
		{"and goes", func() { s.remove("later") }, []string{"-later", "-later/x"}},
		{"a directory for a file", func() { s.remove("one"); s.must(os.Mkdir(s.path("one"), 0o755)) }, []string{"~one"}},
		{"a FIFO", func() { s.must(syscall.Mkfifo(s.path("soa/f"), 0o644)) }, []string{"+soa/f"}},
		{"still", func() {}, nil},
		{"all of it", func() { s.remove("soa") }, []string{"-soa", "-soa/f", "-soa/sub", "-soa/sub/c"}},
		{"and back", func() { s.must(os.Mkdir(s.path("soa"), 0o755)); s.write("soa/a", "3") }, []string{"+soa", "+soa/a"}},
	}
	for _, step := range steps {
		step.do()
		if got := s.look("soa"); !slices.Equal(got, step.want) && len(got)+len(step.want) > 0 {
			t.Errorf("%s: got %q, want %q", step.what, got, step.want)
		}
		if got := s.look("soa"); len(got) > 0 {
			t.Errorf("%s: told again: %q", step.what, got)
		}
	}
	if got := s.eyes.Look(t.Context(), "none", true); len(got.Changes) > 0 {
		t.Errorf("a source that there is not: %v", got)
	}
	if _, err := Open([]Source{{Name: "a"}, {Name: "a"}}, slog.Default()); err == nil || err.Error() != "watch a: there are two sources of that name" {
		t.Errorf("two of one name: %v", err)
	}
}

// TestLookFull: what leaves no trace in the times is found by reading all.
func TestLookFull(t *testing.T) {
	s := newSite(t, []string{"d"}, Source{Name: "d", Paths: []string{"d"}})
	s.write("d/a", "1")
	s.look("d")
	e := s.eyes.eyes["d"]
	k := e.known[s.path("d/a")]
	s.write("d/a", "2")
	st, err := stat(s.path("d/a"), true)
	s.must(err)
	k.stamp, k.read = st, time.Now().Add(time.Hour) // as if it was read long after it was written
	e.known[s.path("d/a")] = k
	if got := s.look("d"); len(got) > 0 {
		t.Errorf("the stamp is the same: %q", got)
	}
	k.read = time.Unix(0, st.ctime).Add(sameTick / 2)
	e.known[s.path("d/a")] = k
	same(t, "read so soon that the times tell nothing", s.look("d"), "~d/a")
	e.known[s.path("d/a")] = known{stamp: st, read: time.Now().Add(time.Hour)}
	same(t, "a full look", s.brief(s.eyes.Look(t.Context(), "d", true)), "~d/a")
}

// TestSavePatterns: however a file is saved, there is a hint, and the change is
// seen once.
func TestSavePatterns(t *testing.T) {
	lab.Need(t, "sh", "sed", "cp", "install")
	patterns := map[string]string{
		"redirect":         `echo NEW > d/zone`,
		"append":           `echo NEW >> d/zone`,
		"truncate, write":  `: > d/zone; echo NEW > d/zone`,
		"write, rename":    `echo NEW > d/.zone.tmp && mv d/.zone.tmp d/zone`,
		"sed -i":           `sed -i s/OLD/NEW/ d/zone`,
		"cp":               `echo NEW > new && cp new d/zone`,
		"cp -p, old times": `echo NEW > new && touch -d 2001-01-01 new && cp -p new d/zone`,
		"install":          `echo NEW > new && install -m 644 new d/zone`,
		"mv from outside":  `echo NEW > new && mv new d/zone`,
		"ln -f":            `echo NEW > new && ln -f new d/zone`,
		"backup, rename":   `mv d/zone d/.zone~ && echo NEW > d/zone && rm d/.zone~`,
		"swap file":        `echo x > d/.zone.swp; echo x > d/4913; rm d/4913; echo NEW > d/zone; rm d/.zone.swp`,
		"dd in place":      `printf NEW | dd of=d/zone conv=notrunc status=none`,
	}
	for name, script := range patterns {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, []string{"d"}, Source{Name: "d", Paths: []string{"d"}})
			s.write("d/zone", "OLD\n")
			s.look("d")
			s.calm("d", "d")
			lab.RunIn(t, s.dir, "sh", "-c", script)
			s.hinted("d")
			same(t, "seen", s.look("d"), "~d/zone")
		})
	}
}

// TestReplaced: after each way to replace what is watched, one look finds it,
// and from then on events come again.
func TestReplaced(t *testing.T) {
	tests := []struct {
		name   string
		before func(*site)
		do     func(*site)
		want   []string
	}{
		{"link flipped", func(s *site) {
			s.must(os.MkdirAll(s.path("rel/1"), 0o755))
			s.must(os.MkdirAll(s.path("rel/2"), 0o755))
			s.write("rel/1/a", "1")
			s.write("rel/2/a", "2")
			s.link("rel/1", "d")
		}, func(s *site) { s.link("rel/2", ".d"); s.rename(".d", "d") }, []string{"~d/a"}},
		{"link above flipped", func(s *site) {
			s.must(os.MkdirAll(s.path("rel/1/d"), 0o755))
			s.must(os.MkdirAll(s.path("rel/2/d"), 0o755))
			s.write("rel/1/d/a", "1")
			s.write("rel/2/d/b", "2")
			s.link("rel/1", "checkout")
			s.link("checkout/d", "d")
		}, func(s *site) { s.link("rel/2", ".c"); s.rename(".c", "checkout") }, []string{"-d/a", "+d/b"}},
		{"..data flipped", func(s *site) {
			s.must(os.MkdirAll(s.path("d/..1"), 0o755))
			s.must(os.MkdirAll(s.path("d/..2"), 0o755))
			s.write("d/..1/a", "1")
			s.write("d/..2/a", "2")
			s.link("..1", "d/..data")
			s.link("..data/a", "d/a")
		}, func(s *site) { s.link("..2", "d/..tmp"); s.rename("d/..tmp", "d/..data") }, []string{"~d/a"}},
		{"directory replaced", func(s *site) {
			s.must(os.MkdirAll(s.path("d"), 0o755))
			s.must(os.MkdirAll(s.path("new"), 0o755))
			s.write("d/a", "1")
			s.write("new/a", "2")
		}, func(s *site) { s.rename("d", "old"); s.rename("new", "d") }, []string{"~d/a"}},
		{"directory removed and made again", func(s *site) {
			s.must(os.MkdirAll(s.path("d"), 0o755))
			s.write("d/a", "1")
		}, func(s *site) {
			for range 20 {
				s.remove("d")
				s.must(os.MkdirAll(s.path("d"), 0o755))
			}
			s.write("d/a", "2")
		}, []string{"~d/a"}},
		{"parents removed and made again", func(s *site) {
			s.must(os.MkdirAll(s.path("x/y"), 0o755))
			s.link("x/y", "d")
			s.write("x/y/a", "1")
		}, func(s *site) {
			s.remove("x")
			s.must(os.MkdirAll(s.path("x/y"), 0o755))
			s.write("d/a", "2")
		}, []string{"~d/a"}},
		{"comes into being", func(*site) {}, func(s *site) {
			s.must(os.MkdirAll(s.path("d"), 0o755))
			s.write("d/a", "2")
		}, []string{"+d", "+d/a"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, nil, Source{Name: "d", Paths: []string{"d"}})
			tt.before(s)
			s.look("d")
			s.look("d")
			tt.do(s)
			s.hinted("d") // the way up to it is watched, too
			same(t, "after", s.look("d"), tt.want...)
			name := strings.TrimPrefix(tt.want[len(tt.want)-1], "~")
			name = strings.TrimPrefix(name, "+")
			s.calm("d", "d")
			s.write(name, "3")
			if tt.name != "..data flipped" { // of a file elsewhere to which a link leads, the poll tells
				s.hinted("d")
			}
			same(t, "and then", s.look("d"), "~"+name)
		})
	}
}

// TestHostileBox: nothing in a drop box makes a look wait, read much or fail.
func TestHostileBox(t *testing.T) {
	s := newSite(t, []string{"box", "box/sub"}, Source{Name: "box", Paths: []string{"box"}, Distrusted: true, Depth: 1})
	s.write("secret", "s")
	s.must(syscall.Mkfifo(s.path("box/fifo"), 0o644))
	s.must(syscall.Mkfifo(s.path("box/sub/fifo"), 0o644))
	s.link("../secret", "box/out")
	s.link("/dev/zero", "box/zero")
	s.link("/etc", "box/etc")
	s.must(os.WriteFile(s.path("box/huge"), nil, 0o644))
	s.must(os.Truncate(s.path("box/huge"), 1<<40))
	s.write("box/\n\x1b[2J", "x")
	s.write("box/good", "x")
	t.Chdir(s.path("box"))
	l, err := net.Listen("unix", "socket")
	s.must(err)
	defer l.Close()
	from := time.Now()
	same(t, "all sorts", s.look("box"), "+box/\n\x1b[2J", "+box/etc", "+box/fifo", "+box/good", "+box/huge", "+box/out",
		"+box/socket", "+box/sub/fifo", "+box/zero")
	if took := time.Since(from); took > 5*time.Second {
		t.Errorf("took %s", took)
	}
	s.write("secret", "t")
	same(t, "what a link names", s.look("box"))
	s.link("good", "box/.link")
	s.rename("box/.link", "box/out")
	same(t, "another link", s.look("box"), "~box/out")
	s.must(os.Truncate(s.path("box/huge"), 1<<39))
	same(t, "still huge, but another", s.look("box"), "~box/huge")
	same(t, "all is quiet", s.look("box"))
	s.write("box/huge", "1")
	same(t, "no longer huge", s.look("box"), "~box/huge")
}

// TestFullBox: too many names are one change, and what was there before stays.
func TestFullBox(t *testing.T) {
	s := newSite(t, []string{"box"}, Source{Name: "box", Paths: []string{"box"}, Distrusted: true, MaxFiles: 100})
	s.write("box/good", "x")
	same(t, "good", s.look("box"), "+box/good")
	flood := func(n int) {
		for i := range n {
			s.write(fmt.Sprintf("box/f%05d", i), "x")
		}
	}
	flood(17000) // more than the queue of inotify holds
	same(t, "flooded", s.look("box"), "~box")
	if n := len(s.eyes.eyes["box"].known); n != 2 {
		t.Errorf("%d paths are known", n)
	}
	flood(100)
	same(t, "still", s.look("box"))
	for i := range 17000 {
		s.must(os.Remove(s.path(fmt.Sprintf("box/f%05d", i))))
	}
	same(t, "clean", s.look("box"), "~box")
	s.calm("box", "box")
	s.write("box/good", "y")
	s.hinted("box")
	same(t, "good again", s.look("box"), "~box/good")
}

// fakeNotifier is a system that has no watches left, or tells what it is told to.
type fakeNotifier struct {
	mu     sync.Mutex
	fail   error
	only   string // the directory that it fails for; "" = all
	added  []string
	gone   []string
	events chan fsnotify.Event
	errs   chan error
}

func (f *fakeNotifier) Add(path string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.added = append(f.added, filepath.Base(path))
	if f.only != "" && f.only != filepath.Base(path) {
		return nil
	}
	return f.fail
}

func (f *fakeNotifier) Remove(path string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.gone = append(f.gone, filepath.Base(path))
	return nil
}
func (f *fakeNotifier) Events() <-chan fsnotify.Event { return f.events }
func (f *fakeNotifier) Errors() <-chan error          { return f.errs }
func (f *fakeNotifier) Close() error                  { return nil }

func newFake() *fakeNotifier {
	return &fakeNotifier{events: make(chan fsnotify.Event), errs: make(chan error)}
}

func (f *fakeNotifier) options() eyesOptions {
	return eyesOptions{newNotifier: func() (notifier, error) { return f, nil }}
}

func TestNoWatchesLeft(t *testing.T) {
	f := newFake()
	f.fail = syscall.ENOSPC
	sources := []Source{{Name: "a", Paths: []string{"a"}}, {Name: "b", Paths: []string{"b"}}}
	s := newSiteWith(t, f.options(), []string{"a", "b"}, sources...)
	for range 3 {
		s.look("a")
		s.look("b")
	}
	s.write("a/x", "1")
	same(t, "polled", s.look("a"), "+a/x")
	if said := s.said.lines(); len(said) != 1 || !strings.HasSuffix(said[0], `level=WARN msg="watch the sources by polling only" err="no space left on device"`) {
		t.Errorf("said %q", said)
	}
	if len(f.added) != 2 {
		t.Errorf("tried %q", f.added)
	}
	f.mu.Lock()
	f.fail = nil
	f.mu.Unlock()
	s.eyes.Look(t.Context(), "a", true) // an hour later
	if !slices.Contains(f.added[2:], "a") {
		t.Errorf("then tried %q", f.added[2:])
	}

	none := eyesOptions{newNotifier: func() (notifier, error) { return nil, syscall.EMFILE }}
	s = newSiteWith(t, none, []string{"a", "b"}, Source{Name: "a", Paths: []string{"a"}}, Source{Name: "b", Paths: []string{"b"}})
	s.write("b/x", "1")
	same(t, "polled", s.look("b"), "+b/x")
	if said := s.said.lines(); len(said) != 1 {
		t.Errorf("said %q", said)
	}
}

// TestOneUnwatchable: a directory that cannot be watched keeps no other from it.
func TestOneUnwatchable(t *testing.T) {
	f := newFake()
	f.fail, f.only = syscall.EACCES, "bad"
	s := newSiteWith(t, f.options(), []string{"d/bad"}, Source{Name: "d", Paths: []string{"d"}, Depth: 1})
	s.look("d")
	s.must(os.MkdirAll(s.path("d/new"), 0o755))
	for range 2 {
		s.look("d")
	}
	if !slices.Contains(f.added, "new") {
		t.Errorf("tried %q", f.added)
	}
	if n := len(slices.DeleteFunc(slices.Clone(f.added), func(base string) bool { return base != "bad" })); n != 1 {
		t.Errorf("tried %d times what cannot be", n)
	}
}

// TestOverflow: events that were lost are a hint.
func TestOverflow(t *testing.T) {
	f := newFake()
	s := newSiteWith(t, f.options(), []string{"a"}, Source{Name: "a", Paths: []string{"a"}})
	f.errs <- fsnotify.ErrEventOverflow
	s.hinted("a")
	f.errs <- errors.New("anything else")
	s.hinted("a")
}

// TestLetsGo: no watch stays on a directory that is no longer meant.
func TestLetsGo(t *testing.T) {
	f := newFake()
	s := newSiteWith(t, f.options(), []string{"d/sub", "other"}, Source{Name: "d", Paths: []string{"d"}, Depth: 1})
	s.rename("d/sub", "sub")
	s.look("d")
	s.rename("d", "old")
	s.rename("other", "d")
	s.look("d")
	same(t, "let go of", f.gone, "sub", "d")
}

// TestListenBounded: a flood of events makes few hints, and most are not even read.
func TestListenBounded(t *testing.T) {
	f := newFake()
	s := newSiteWith(t, f.options(), []string{"a"}, Source{Name: "a", Paths: []string{"a"}})
	read, hints := 0, 0
	from := time.Now()
	end := time.After(300 * time.Millisecond)
	for done := false; !done; {
		select {
		case f.events <- fsnotify.Event{Name: s.path("a/x"), Op: fsnotify.Write}:
			read++
		case <-s.eyes.Hints():
			hints++
		case <-end:
			done = true
		}
	}
	periods := int(time.Since(from)/pace) + 2
	if hints == 0 || hints > periods || read > periods*perPace {
		t.Errorf("%d events were read and %d hints given in %d periods", read, hints, periods)
	}
	// What happens beside the source is no hint.
	s.hintless(f, fsnotify.Event{Name: s.path("b"), Op: fsnotify.Create})
	f.events <- fsnotify.Event{Name: s.path("a"), Op: fsnotify.Create}
	s.hinted("a")
}

// hintless hands over an event and sees that nothing is told of it.
func (s *site) hintless(f *fakeNotifier, ev fsnotify.Event) {
	s.t.Helper()
	drain := time.After(10 * pace)
	for done := false; !done; {
		select {
		case <-s.eyes.Hints():
		case <-drain:
			done = true
		}
	}
	f.events <- ev
	select {
	case <-s.eyes.Hints():
		s.t.Errorf("a hint of %s", ev)
	case <-time.After(10 * pace):
	}
}

// TestKqueue: where a watch takes a descriptor for each file, drop boxes and
// large directories are polled only.
func TestKqueue(t *testing.T) {
	f := newFake()
	o := f.options()
	o.kqueue = true
	s := newSiteWith(t, o, []string{"box", "big", "small"}, Source{Name: "box", Paths: []string{"box"}, Distrusted: true},
		Source{Name: "big", Paths: []string{"big", "small"}})
	for i := range kqueueDir + 1 {
		s.write(fmt.Sprintf("big/f%d", i), "x")
	}
	s.look("big")
	s.look("box")
	if !slices.Equal(f.added, []string{"big", "small"}) || !slices.Equal(f.gone, []string{"big"}) {
		t.Errorf("watched %q, let go of %q", f.added, f.gone)
	}
	s.write("box/x", "1")
	same(t, "polled", s.look("box"), "+box/x")
}

func TestFollow(t *testing.T) {
	s := newSite(t, []string{"a"}, Source{Name: "included", Paths: nil})
	s.write("a/x", "1")
	s.write("a/y", "1")
	s.must(s.eyes.Follow("included", []string{s.path("a/x")}))
	same(t, "followed", s.look("included"), "+a/x")
	s.write("a/x", "2")
	s.hinted("included")
	same(t, "changed", s.look("included"), "~a/x")
	s.must(s.eyes.Follow("included", []string{s.path("a/y")}))
	same(t, "another", s.look("included"), "-a/x", "+a/y")
	if err := s.eyes.Follow("none", nil); err == nil || err.Error() != "follow none: there is no such source" {
		t.Error(err)
	}
}

// TestCloseWhileLooking: no look fails, and nobody waits for ever.
func TestCloseWhileLooking(t *testing.T) {
	s := newSite(t, []string{"a", "b"}, Source{Name: "a", Paths: []string{"a"}}, Source{Name: "b", Paths: []string{"b"}})
	var wg sync.WaitGroup
	ctx, cancel := context.WithCancel(t.Context())
	var mu sync.Mutex
	seen := map[string]bool{}
	for _, name := range []string{"a", "b"} {
		wg.Go(func() {
			for ctx.Err() == nil {
				for _, c := range s.eyes.Look(ctx, name, true).Changes {
					mu.Lock()
					seen[filepath.Base(c.Path)] = true
					mu.Unlock()
				}
			}
		})
	}
	lab.Until(t, "both are seen", func() error {
		s.write("a/a1", "1")
		s.write("b/b1", "1")
		mu.Lock()
		defer mu.Unlock()
		if !seen["a1"] || !seen["b1"] {
			return fmt.Errorf("seen %v", seen)
		}
		return nil
	})
	s.eyes.Close()
	s.eyes.Close()
	cancel()
	wg.Wait()
	if len(s.said.lines()) > 0 {
		t.Errorf("said %q", s.said.lines())
	}
}
