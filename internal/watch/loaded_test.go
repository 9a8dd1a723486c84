package watch

import (
	"testing"
	"testing/synctest"
	"time"
)

// TestLoopOutdated: what Load read and an update or somebody else changed before the
// first look at it is loaded again, before anything is built of it.
func TestLoopOutdated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1)
		w.sources = append(w.sources, Source{Name: "config", Checkout: "git", Mends: true, Loaded: true})
		read, is := 0, 0 // what the last Load saw, and what there is
		w.onLoad = func() { read = is }
		w.outdated = func() bool {
			w.mu.Lock()
			defer w.mu.Unlock()
			return read != is
		}
		u := &updater{w: w, do: func() { w.set(func() { is++ }) }}
		inCheckout(w, u, time.Hour)
		w.config = "git"
		stop := w.run()
		same(t, "at the start", w.after(time.Minute), "2s z000 git@r1")
		if w.loads != 2 {
			t.Errorf("after the first update: loaded %d times", w.loads)
		}
		// Right behind a reload.
		w.set(func() {
			w.onLoad = func() {
				read = is
				if w.loads == 3 {
					is++
				}
			}
		})
		w.hup <- struct{}{}
		same(t, "behind a reload", w.after(time.Minute), "0s z000 git@r1")
		if w.loads != 4 {
			t.Errorf("behind a reload: loaded %d times", w.loads)
		}
		ends(t, stop)
	})
}
