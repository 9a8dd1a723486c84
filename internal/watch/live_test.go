package watch

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"zonebuild/internal/domain"
	"zonebuild/internal/lab"
)

// live is a loop with real eyes; its builder serves what it reads in a directory.
type live struct {
	t       *testing.T
	box     string
	mu      sync.Mutex
	served  map[string]string
	builds  int
	changed chan struct{} // closed and made anew by each build
}

func (v *live) Zones() []domain.Name { return []domain.Name{domain.MustParse("example.org")} }

func (v *live) Build(_ context.Context, r Request) ([]Result, error) {
	served := map[string]string{}
	entries, _ := os.ReadDir(v.box)
	for _, e := range entries {
		if text, err := os.ReadFile(filepath.Join(v.box, e.Name())); err == nil && e.Name()[0] != '.' {
			served[e.Name()] = string(text)
		}
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.served = served
	v.builds++
	close(v.changed)
	v.changed = make(chan struct{})
	return []Result{{Zone: r.Zones[0]}}, nil
}

// run starts the loop on a drop box; it ends with the test.
func (v *live) run(o eyesOptions, poll time.Duration) {
	v.t.Helper()
	v.changed = make(chan struct{})
	sources := []Source{{Name: "box", Paths: []string{v.box}, Distrusted: true, Poll: poll, Limit: Limit{Gap: 1}}}
	log := slog.New(slog.DiscardHandler)
	l := &Loop{Log: log, Load: func(context.Context) (*Setup, error) {
		eyes, err := open(sources, log, o)
		if err != nil {
			return nil, err
		}
		return &Setup{
			Sources: sources, Builder: v, Hints: eyes.Hints(), Look: eyes.Look, Close: eyes.Close,
			Concerns: func(Change) Effect { return Effect{All: true} },
		}, nil
	}}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- l.Run(ctx) }()
	v.t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			v.t.Error(err)
		}
	})
}

// until waits for a build after which what is served fits.
func (v *live) until(what string, fits func(map[string]string) bool) {
	v.t.Helper()
	late := time.After(30 * time.Second)
	for {
		v.mu.Lock()
		ok, changed := fits(v.served), v.changed
		v.mu.Unlock()
		if ok {
			return
		}
		select {
		case <-changed:
		case <-late:
			v.t.Fatalf("%s: not served; %d files are", what, len(v.served))
		}
	}
}

// drop puts a file into a directory as acmehook does.
func drop(t *testing.T, dir, name, text string) {
	t.Helper()
	tmp := filepath.Join(dir, "."+name+".tmp")
	if err := os.WriteFile(tmp, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(tmp, filepath.Join(dir, name)); err != nil {
		t.Fatal(err)
	}
}

// fragments adds and removes a thousand, in batches, in the directory from,
// which the box shows; then it measures how long a single one takes.
func (v *live) fragments(from string) time.Duration {
	const batch, rounds = 50, 20
	name := func(round, i int) string { return fmt.Sprintf("f%d-%d", round, i) }
	for round := range rounds {
		for i := range batch {
			drop(v.t, from, name(round, i), "x")
			if round > 0 {
				if err := os.Remove(filepath.Join(from, name(round-1, i))); err != nil {
					v.t.Fatal(err)
				}
			}
		}
		v.until(fmt.Sprintf("batch %d", round), func(served map[string]string) bool {
			for i := range batch {
				if served[name(round, i)] == "" {
					return false
				}
			}
			return len(served) == batch
		})
	}
	var took []time.Duration
	for i := range 21 {
		text := fmt.Sprint(i)
		begin := time.Now()
		drop(v.t, from, "one", text)
		v.until("one", func(served map[string]string) bool { return served["one"] == text })
		took = append(took, time.Since(begin))
	}
	slices.Sort(took)
	return took[len(took)/2]
}

func TestLiveFragments(t *testing.T) {
	silent := func() eyesOptions { return newFake().options() }
	for _, tt := range []struct {
		name string
		eyes eyesOptions
		poll time.Duration
	}{
		{"with events", eyesOptions{newNotifier: newNotify}, time.Hour},
		{"without", silent(), 100 * time.Millisecond},
	} {
		t.Run(tt.name, func(t *testing.T) {
			v := &live{t: t, box: t.TempDir()}
			v.run(tt.eyes, tt.poll)
			t.Logf("dropped to built: median %s in %d builds", v.fragments(v.box), v.builds)
		})
	}
}

// TestGitCheckouts changes 500 files by git, again and again, and looks all the
// while: in the end what the looks told is what is there.
func TestGitCheckouts(t *testing.T) {
	lab.Need(t, "git")
	s := newSite(t, []string{"tree/primary"}, Source{Name: "primary", Paths: []string{"tree/primary"}})
	git := func(args ...string) string {
		return lab.RunIn(t, s.path("tree"), "git", append([]string{"-c", "user.name=t", "-c", "user.email=t@example.org"}, args...)...)
	}
	git("init", "-q")
	for rev := range 2 {
		for i := range 500 {
			s.write(fmt.Sprintf("tree/primary/z%d", i), fmt.Sprintf("%d %d", rev, i))
		}
		s.write(fmt.Sprintf("tree/primary/only%d", rev), "x")
		git("add", "-A")
		git("commit", "-q", "-m", "r")
		git("tag", fmt.Sprintf("r%d", rev))
		s.remove(fmt.Sprintf("tree/primary/only%d", rev))
	}
	git("checkout", "-q", "-f", "r1")
	told := map[string]bool{}
	changes := 0
	take := func() {
		for _, c := range s.look("primary") {
			told[c[1:]] = c[0] != '-'
			changes++
		}
	}
	take()
	locked, seenLock := VCSLock(s.path("tree/primary")), 0
	done := make(chan bool)
	go func() {
		defer close(done)
		for i := range 9 {
			lab.Try(t, "git", "-C", s.path("tree"), "checkout", "-q", "-f", fmt.Sprintf("r%d", i%2))
		}
	}()
	for over := false; !over; {
		select {
		case <-done:
			over = true
		case <-s.eyes.Hints():
			if locked() != "" {
				seenLock++
			}
		default:
		}
		take()
	}
	t.Logf("%d changes, lock seen %d times", changes, seenLock)
	e := s.eyes.eyes["primary"]
	for i := range 500 {
		name := fmt.Sprintf("tree/primary/z%d", i)
		if !told[name] {
			t.Fatalf("%s: the last that was told is that it is gone", name)
		}
		digest, _, err := (&walk{eye: e}).hash(s.path("tree/primary"), fmt.Sprintf("z%d", i))
		if err != nil || e.known[s.path(name)].digest != digest {
			t.Fatalf("%s is not what it was last seen as (%v)", name, err)
		}
	}
	if !told["tree/primary/only0"] || told["tree/primary/only1"] {
		t.Errorf("only0 %v, only1 %v", told["tree/primary/only0"], told["tree/primary/only1"])
	}
	s.calm("primary", "tree/primary")
	if more := s.look("primary"); len(more) > 0 {
		t.Errorf("and then %s", strings.Join(more, " "))
	}
}
