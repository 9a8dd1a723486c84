package watch

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestLoopUnmoved: an update that fails, but left a whole revision in place, is an
// alarm and holds nothing back.
func TestLoopUnmoved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 2)
		u := &updater{w: w, fail: &UnmovedError{errors.New("no route to host")}}
		inCheckout(w, u, time.Minute)
		stop := w.run()
		same(t, "at the start", w.after(10*time.Second), "2s z000 z001 git@r1")
		w.touch("primary/z000.test")
		same(t, "later", w.after(time.Second), "50ms z000 git@r1")
		same(t, "alarms", w.takeAlarms(), "+source-update git update git: no route to host")
		ends(t, stop)
	})
}

// TestLoopReloadHeld: the configuration is not read while somebody writes there.
func TestLoopReloadHeld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1)
		u := &updater{w: w}
		inCheckout(w, u, time.Hour)
		w.config = "git"
		u.do = func() {
			w.hup <- struct{}{}
			time.Sleep(time.Minute)
			w.set(func() {
				if w.loads != 1 {
					t.Error("loaded in the middle of an update")
				}
			})
		}
		stop := w.run()
		w.after(61 * time.Second)
		if w.after(5 * time.Second); w.loads != 2 {
			t.Errorf("after the update: loaded %d times", w.loads)
		}
		w.set(func() { w.lock = "/srv/.git/index.lock" })
		w.hup <- struct{}{}
		if w.after(5 * time.Minute); w.loads != 2 {
			t.Error("loaded under a lock")
		}
		w.touch("box/z000.test")
		same(t, "what waits holds nothing up", w.after(time.Second), "50ms z000 held:git git@r1")
		w.set(func() { w.lock = "" })
		if w.after(3 * time.Second); w.loads != 3 {
			t.Errorf("after the lock: loaded %d times", w.loads)
		}
		ends(t, stop)
	})
}

// TestLoopHungUpdate: an update that hangs is an alarm in minutes, and a reload that a
// person asks for ends it, says so, and has another begin.
func TestLoopHungUpdate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1)
		inCheckout(w, hanging(true), time.Minute)
		w.config = "git"
		stop := w.run()
		w.touch("box/z000.test")
		w.after(updateLong - time.Second)
		same(t, "no alarm yet", w.takeAlarms())
		w.after(3 * time.Second)
		same(t, "alarms", w.takeAlarms(), "+source-update git update git: it runs for more than 2m0s: nothing new is taken until it ends")
		u := &updater{w: w}
		w.set(func() { w.checkouts[0].Updater = u })
		w.hup <- struct{}{}
		w.after(fetchLast - time.Second)
		if w.loads != 1 {
			t.Error("loaded in the middle of an update")
		}
		same(t, "what the other brings", w.after(20*time.Second), "3s z000 git@r1")
		if w.loads != 2 || u.runs != 1 {
			t.Errorf("loaded %d times, updated %d", w.loads, u.runs)
		}
		same(t, "alarms", w.takeAlarms(), "+source-update git update git: interrupted", "-source-update git")
		for _, text := range []string{`"the configuration is not read yet" waits-for="the update of git that runs, which is ended soon"`, "the update is ended for the reload"} {
			if !w.logged(text) {
				t.Errorf("it does not say: %s", text)
			}
		}

		// A reload that no person asked for waits for an update.
		w.set(func() { u.do = func() { time.Sleep(28 * time.Second) } })
		w.hup <- struct{}{}
		w.after(50 * time.Second)
		runs := u.runs
		w.touch("box/config")
		if w.after(10 * time.Second); w.loads != 3 || runs != 2 {
			t.Errorf("loaded %d times", w.loads)
		}
		if w.after(20 * time.Second); w.loads != 4 || u.runs != runs {
			t.Errorf("loaded %d times, updated %d and %d", w.loads, runs, u.runs)
		}
		same(t, "alarms", w.takeAlarms())
		ends(t, stop)
	})
}

// TestLoopReloadWaits: of a reload that waits for a lock it is said once what for.
func TestLoopReloadWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1)
		inCheckout(w, nil, 0)
		w.config = "git"
		stop := w.run()
		w.set(func() { w.lock = "/srv/.git/index.lock" })
		w.hup <- struct{}{}
		w.after(time.Minute)
		w.set(func() {
			if n := strings.Count(w.log.String(), "waits-for=/srv/.git/index.lock"); n != 1 {
				t.Errorf("said %d times", n)
			}
		})
		ends(t, stop)
	})
}

// TestLoopMends: a wrong update command is mended by mending it, and its alarm does not
// outlive it.
func TestLoopMends(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1)
		u := &updater{w: w, fail: errors.New("exit status 1")}
		inCheckout(w, u, 10*time.Second)
		w.config = "git"
		w.sources = append(w.sources, Source{Name: "config", Checkout: "git", Mends: true})
		stop := w.run()
		w.after(time.Minute)
		same(t, "alarms", w.takeAlarms(), "+source-update git update git: exit status 1")
		w.set(func() { u.fail = errors.New("BAD SIGNATURE") })
		w.after(time.Minute)
		same(t, "another reason", w.takeAlarms(), "+source-update git update git: BAD SIGNATURE")
		w.set(func() { w.checkouts[0].Updater = nil })
		w.change("config/config")
		if w.after(time.Minute); w.loads != 2 {
			t.Errorf("loaded %d times", w.loads)
		}
		same(t, "there is no update any more", w.takeAlarms(), "-source-update git")

		// One that was running when its checkout went away.
		w.set(func() {
			w.checkouts[0].Updater = u
			u.do = func() { time.Sleep(30 * time.Second) }
		})
		w.config = ""
		w.hup <- struct{}{}
		w.after(5 * time.Second)
		w.set(func() { w.checkouts[0].Updater = nil })
		w.hup <- struct{}{}
		w.after(time.Minute)
		same(t, "an update of what is no more", w.takeAlarms())
		ends(t, stop)
	})
}

// TestLoopPassFails: builds that fail as a whole are an alarm.
func TestLoopPassFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1)
		w.build = func(context.Context, Request) ([]Result, error) { return nil, errors.New("read-only file system") }
		stop := w.run()
		same(t, "once", w.takeAlarms())
		w.after(time.Minute)
		same(t, "again", w.takeAlarms(), "+pass-failed  nothing is built: read-only file system")
		w.set(func() {
			w.build = func(_ context.Context, r Request) ([]Result, error) { return w.results(r, Done), nil }
		})
		w.after(10 * time.Minute)
		same(t, "mended", w.takeAlarms(), "-pass-failed")
		ends(t, stop)
	})
}

// TestLoopStopsUpdate: an update that hangs is told to end soon; one that does not heed
// it is not waited for.
func TestLoopStopsUpdate(t *testing.T) {
	for _, heeds := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, 1)
			inCheckout(w, hanging(heeds), time.Hour)
			stop := w.run()
			w.after(time.Minute)
			from := time.Now()
			ends(t, stop)
			want := fetchLast
			if !heeds {
				want += stopLast
			}
			if took := time.Since(from); took != want {
				t.Errorf("heeds %v: took %s, want %s", heeds, took, want)
			}
			time.Sleep(time.Hour)
		})
	}
}

// hanging is an updater that ends by being told, or after an hour.
type hanging bool

func (h hanging) Update(ctx context.Context) (string, error) {
	if h {
		<-ctx.Done()
	} else {
		time.Sleep(time.Hour)
	}
	return "", errors.New("interrupted")
}

// TestFollowDuringLook: other paths are set while a look hangs.
func TestFollowDuringLook(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "a"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	looking, goOn := make(chan bool), make(chan bool)
	e, err := Open([]Source{{Name: "primary", Paths: []string{dir}, Keep: func(string) bool {
		looking <- true
		<-goOn
		return true
	}}}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	ended := make(chan Sight, 1)
	go func() { ended <- e.Look(t.Context(), "primary", false) }()
	<-looking
	if err := e.Follow("primary", []string{filepath.Join(dir, "a")}); err != nil { // it would wait for ever
		t.Error(err)
	}
	close(goOn)
	if s := <-ended; len(s.Changes) != 2 {
		t.Errorf("the look that ran: %v", s.Changes)
	}
	if s := e.Look(t.Context(), "primary", false); len(s.Changes) != 1 || s.Changes[0].Kind != Vanished || s.Changes[0].Path != dir {
		t.Errorf("the next: %v", s.Changes)
	}
}
