package watch

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestLoopMuteCheckout: where nobody answers whether a checkout is locked, builds do
// without it, and what they missed is built when there is an answer.
func TestLoopMuteCheckout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 2)
		w.sources[0].Checkout = "tree"
		w.sources = append(w.sources, Source{Name: "box"})
		gate := make(chan struct{})
		w.set(func() { w.lock = "" })
		hang := false
		w.checkouts = []Checkout{{Name: "tree", Locked: func() string {
			w.mu.Lock()
			wait := hang
			w.mu.Unlock()
			if wait {
				<-gate
			}
			return ""
		}}}
		stop := w.run()
		w.after(time.Minute)
		w.set(func() { hang = true })
		w.touch("box/z000.test")
		got := w.after(10 * time.Second)
		same(t, "the first build waits for an answer, not for long", got, "5.05s z000 held:tree")
		w.touch("box/z001.test")
		same(t, "the next does not", w.after(time.Second), "60ms z001 held:tree")
		if n := len(w.after(5 * time.Minute)); n > 0 {
			t.Errorf("%d builds of nothing", n)
		}
		same(t, "alarms", w.takeAlarms(), "+source-stuck primary primary does not answer for 1m0s: is its mount dead?")
		w.set(func() { hang = false })
		close(gate)
		same(t, "what was missed", w.after(time.Minute), "0s z000 z001")
		same(t, "the alarm is over", w.takeAlarms(), "-source-stuck primary")
		ends(t, stop)
	})
}

// TestLoopBuildHangs: a build of which is known what it hangs in is told of soon, and
// the end does not wait for it.
func TestLoopBuildHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1)
		forever := make(chan struct{})
		w.build = func(context.Context, Request) ([]Result, error) { // heeds nothing
			<-forever
			return nil, nil
		}
		stop := w.run()
		w.after(time.Second)
		w.set(func() { w.hung = "list keys" })
		w.after(10 * time.Second)
		same(t, "alarms", w.takeAlarms(), "+build-stuck  a build hangs: to list keys takes more than 1m0s")
		begun := time.Now()
		err := stop()
		if err == nil || !strings.Contains(err.Error(), "list keys") || time.Since(begun) > 5*time.Second {
			t.Errorf("%v after %s", err, time.Since(begun))
		}
		close(forever)
	})
}

// TestLoopMuteConfiguration: a configuration that does not answer is tried again by
// itself, and builds go on.
func TestLoopMuteConfiguration(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1)
		stop := w.run()
		w.after(time.Minute)
		w.set(func() { w.refuse = fmt.Errorf("open it: %w", ErrMute) })
		w.hup <- struct{}{}
		w.after(time.Minute)
		w.touch("primary/z000.test")
		same(t, "a build", w.after(time.Second), "50ms z000")
		loads := w.loads
		w.set(func() { w.refuse = nil })
		w.after(time.Minute)
		if w.loads != loads+1 {
			t.Errorf("%d more loads", w.loads-loads)
		}
		if got := w.takeAlarms(); !slices.Equal(got, []string{"+reload-failed  load the configuration: open it: it does not answer: is its mount dead?", "-reload-failed"}) {
			t.Errorf("alarms: %q", got)
		}
		ends(t, stop)
	})
}

// TestLoopMuteConfigurationUpdated: while a configuration that somebody asked for does not
// answer, updates of its checkout get their time, and it gets its turns between them.
func TestLoopMuteConfigurationUpdated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1)
		u := &endless{}
		inCheckout(w, u, time.Second)
		w.config = "git"
		stop := w.run()
		w.after(time.Minute)
		w.set(func() { w.refuse = fmt.Errorf("open it: %w", ErrMute) })
		w.hup <- struct{}{}
		w.after(time.Minute)
		if u.begun < 3 || u.begun > 6 || w.loads < 4 || w.loads > 7 {
			t.Errorf("%d updates, %d loads", u.begun, w.loads)
		}
		w.set(func() { w.refuse = nil })
		w.after(time.Minute)
		ends(t, stop)
	})
}

// endless is an updater that ends when it is told to.
type endless struct{ begun int }

func (u *endless) Update(ctx context.Context) (string, error) {
	u.begun++
	<-ctx.Done()
	return "", errors.New("interrupted")
}
