package watch

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"zonebuild/internal/lab"
)

// inCheckout has primary held back with a checkout; a drop box stands beside it.
func inCheckout(w *world, u Updater, every time.Duration) {
	w.sources[0].Checkout = "git"
	w.sources = append(w.sources, Source{Name: "box", Distrusted: true})
	w.checkouts = []Checkout{{Name: "git", Updater: u, Every: every, Locked: func() string {
		w.mu.Lock()
		defer w.mu.Unlock()
		return w.lock
	}}}
}

func TestLoopLock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 3)
		inCheckout(w, nil, 0)
		stop := w.run()
		w.set(func() { w.lock = "/srv/.git/index.lock" })
		w.touch("primary/z000.test")
		same(t, "held back", w.after(20*time.Second))
		w.touch("box/z001.test")
		same(t, "a drop box is not", w.after(20*time.Second), "50ms z001 held:git")
		same(t, "no alarm yet", w.takeAlarms())
		w.set(func() { w.lock = "" })
		same(t, "gone", w.after(time.Second), "50ms z000 z001")

		w.set(func() { w.lock = "/srv/.git/index.lock" })
		w.touch("primary/z000.test")
		same(t, "for an hour", w.after(time.Hour))
		same(t, "alarms", w.takeAlarms(), "+source-locked git /srv/.git/index.lock is there for 5m0s: does its program still run? "+
			"Nothing new is taken from git until it is gone")
		w.set(func() { w.lock = "" })
		same(t, "gone", w.after(3*time.Second), "50ms z000")
		same(t, "alarms", w.takeAlarms(), "-source-locked git")

		// One that comes while the source is being read makes that look count for nothing.
		w.set(func() {
			w.onLook = func(source string) {
				if source == "primary" {
					w.set(func() { w.lock, w.onLook = "x", nil })
				}
			}
		})
		w.touch("primary/z002.test")
		same(t, "came meanwhile", w.after(5*time.Second))
		w.set(func() { w.lock = "" })
		same(t, "gone", w.after(time.Second), "50ms z002")
		ends(t, stop)
	})
}

// TestLoopLockComes: what a build read while a lock came is half of a revision; its
// zones are built again once the lock is gone, though nothing else is found.
func TestLoopLockComes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 2)
		inCheckout(w, nil, 0)
		stop := w.run()
		comes := true
		w.build = func(_ context.Context, r Request) ([]Result, error) {
			if r.Moving("git") || r.Moving("other") {
				t.Error("nobody has begun yet")
			}
			if comes {
				comes = false
				w.set(func() { w.lock = "index.lock" })
				if !r.Moving("git") || r.Moving("other") {
					t.Error("it is not told that the lock came")
				}
			}
			return w.results(r, Done), nil
		}
		w.touch("primary/z000.test")
		same(t, "built", w.after(20*time.Second), "50ms z000")
		w.set(func() { w.lock = "" })
		same(t, "gone", w.after(time.Second), "50ms z000")
		same(t, "and then", w.after(time.Hour))
		ends(t, stop)
	})
}

// TestLoopLockedAtStart: signatures are made anew all the same, and what the
// checkout holds is built when the lock is gone.
func TestLoopLockedAtStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 2)
		inCheckout(w, nil, 0)
		w.lock = "x"
		stop := w.run()
		same(t, "held", w.after(time.Minute), "10s z000 z001 held:git")
		w.set(func() { w.lock = "" })
		same(t, "gone", w.after(time.Minute), "250ms z000 z001")
		ends(t, stop)
	})
}

// updater is a version control system: each update takes a while and may fail.
type updater struct {
	w    *world
	runs int
	fail error
	do   func()
}

func (u *updater) Update(ctx context.Context) (string, error) {
	u.w.mu.Lock()
	u.runs++
	n, fail, do := u.runs, u.fail, u.do
	u.w.mu.Unlock()
	time.Sleep(2 * time.Second)
	if do != nil {
		do()
	}
	return fmt.Sprintf("r%d", n), fail
}

func TestLoopUpdate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 2)
		u := &updater{w: w}
		inCheckout(w, u, time.Minute)
		stop := w.run()
		same(t, "the first update comes first", w.after(time.Minute), "2s z000 z001 git@r1")
		// It writes, events come, and nothing is built before it has ended.
		w.set(func() { u.do = func() { w.touch("primary/z000.test"); time.Sleep(10 * time.Second) } })
		same(t, "changed by an update", w.after(time.Minute), "14s z000 git@r2")
		w.set(func() {
			u.fail = errors.New("exit status 1")
			u.do = func() { w.touch("primary/z001.test") }
		})
		same(t, "a failed update", w.after(3*time.Minute))
		w.touch("box/z000.test")
		same(t, "a drop box", w.after(time.Second), "50ms z000 held:git git@r2")
		same(t, "alarms", w.takeAlarms(), "+source-update git update git: exit status 1")
		w.set(func() { u.fail, u.do = nil, nil })
		got := w.after(2 * time.Minute)
		// z000 was built without it; z001 is what the failed update had changed.
		if all := strings.Join(got, "\n"); len(got) != 2 || !strings.Contains(all, " z000 git@r") || !strings.Contains(all, " z001 git@r") {
			t.Errorf("succeeded: %q", got)
		}
		same(t, "alarms", w.takeAlarms(), "-source-update git")
		ends(t, stop)
	})
}

// TestLoopUpdateFails: one that never succeeds keeps nothing from being signed.
func TestLoopUpdateFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1)
		u := &updater{w: w, fail: errors.New("no route to host")}
		inCheckout(w, u, time.Minute)
		stop := w.run()
		same(t, "built", w.after(time.Hour), "2s z000 held:git")
		if u.runs < 55 || u.runs > 60 {
			t.Errorf("%d updates in an hour", u.runs)
		}
		ends(t, stop)
	})
}

// TestVCSLock asks while real git holds its lock: a filter that git runs during
// the checkout waits for the test.
func TestVCSLock(t *testing.T) {
	lab.Need(t, "git", "sh")
	dir := t.TempDir()
	git := func(args ...string) {
		t.Helper()
		lab.RunIn(t, dir, "git", append([]string{"-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "init.defaultBranch=main"}, args...)...)
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	git("init", "-q")
	must(os.MkdirAll(filepath.Join(dir, "primary"), 0o755))
	must(os.WriteFile(filepath.Join(dir, ".gitattributes"), []byte("primary/* filter=slow\n"), 0o644))
	must(os.WriteFile(filepath.Join(dir, "primary/a"), []byte("1\n"), 0o644))
	git("add", ".")
	git("commit", "-q", "-m", "one")
	must(os.WriteFile(filepath.Join(dir, "primary/a"), []byte("2\n"), 0o644))
	git("commit", "-q", "-a", "-m", "two")
	git("worktree", "add", "-q", "--detach", filepath.Join(dir, "linked"))
	must(os.Symlink("primary", filepath.Join(dir, "flip")))
	git("config", "filter.slow.smudge", "touch "+filepath.Join(dir, "begun")+"; while ! [ -e "+filepath.Join(dir, "go")+" ]; do :; done; cat")

	for _, tree := range []string{"", "linked"} {
		top := filepath.Join(dir, tree)
		locked := VCSLock(filepath.Join(top, "primary"), filepath.Join(top, "absent/file"))
		if lock := locked(); lock != "" {
			t.Errorf("%q: locked before: %s", tree, lock)
		}
		done := make(chan bool)
		go func() {
			defer close(done)
			lab.Try(t, "git", "-C", top, "checkout", "-q", "HEAD^")
		}()
		lab.Until(t, "the checkout", func() error { _, err := os.Stat(filepath.Join(dir, "begun")); return err })
		lock := locked()
		if filepath.Base(lock) != "index.lock" {
			t.Errorf("%q: during a checkout: %q", tree, lock)
		}
		if tree == "" && VCSLock(filepath.Join(dir, "flip"))() != lock {
			t.Error("behind a link: not locked")
		}
		must(os.WriteFile(filepath.Join(dir, "go"), nil, 0o644))
		<-done
		if lock := locked(); lock != "" {
			t.Errorf("%q: locked afterwards: %s", tree, lock)
		}
		must(os.Remove(filepath.Join(dir, "go")))
		must(os.Remove(filepath.Join(dir, "begun")))
	}

	for _, lock := range []string{".hg/wlock", ".svn/lock", ".bzr/checkout/lock/held"} {
		top := t.TempDir()
		must(os.MkdirAll(filepath.Join(top, filepath.Dir(lock)), 0o755))
		locked := VCSLock(filepath.Join(top, "a/b/c"))
		if got := locked(); got != "" {
			t.Errorf("%s: %q before", lock, got)
		}
		must(os.Symlink("host:1234", filepath.Join(top, lock)))
		if got := locked(); got != filepath.Join(top, lock) {
			t.Errorf("%s: %q", lock, got)
		}
	}

	// Subversion leaves the journal of its data base behind, empty.
	top := t.TempDir()
	journal := filepath.Join(top, ".svn/wc.db-journal")
	must(os.MkdirAll(filepath.Dir(journal), 0o755))
	for text, want := range map[string]string{"": "", "x": journal} {
		must(os.WriteFile(journal, []byte(text), 0o644))
		if got := VCSLock(top)(); got != want {
			t.Errorf("a journal of %d octets: %q", len(text), got)
		}
	}
}
