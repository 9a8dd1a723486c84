package watch

import (
	"context"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// TestLoopReloadStorm: reloads one behind the other, beside somebody who writes in the
// checkout nearly all the time, keep nothing from being built; neither do those that
// take longer than the next one is away.
func TestLoopReloadStorm(t *testing.T) {
	for _, takes := range []time.Duration{time.Millisecond, 200 * time.Millisecond} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, 2)
			inCheckout(w, nil, 0)
			w.config = "git"
			for _, name := range []string{"config", "soa", "certs.map", "more"} {
				w.sources = append(w.sources, Source{Name: name, Checkout: "git"})
			}
			w.onLook = func(string) { time.Sleep(200 * time.Millisecond) } // longer than a reload is away
			w.hangLoad = func(context.Context) { time.Sleep(takes) }
			stop := w.run()
			w.after(time.Minute)
			storm, end := context.WithCancel(t.Context())
			go func() { // git, some 15 times a second
				random := rand.New(rand.NewPCG(1, 5))
				for storm.Err() == nil {
					w.set(func() { w.lock = "/srv/.git/index.lock" })
					time.Sleep(time.Duration(30+random.IntN(30)) * time.Millisecond)
					w.set(func() { w.lock = "" })
					time.Sleep(time.Duration(10+random.IntN(15)) * time.Millisecond)
				}
			}()
			go func() {
				for storm.Err() == nil {
					select {
					case w.hup <- struct{}{}:
					case <-storm.Done():
					}
					time.Sleep(150 * time.Millisecond)
				}
			}()
			w.touch("box/z000.test")
			w.change("primary/z001.test")
			loads := w.loads
			const while = 25 * time.Second
			whole, last, gap := 0, time.Duration(0), time.Duration(0)
			built := w.after(while)
			for _, b := range built {
				at, err := time.ParseDuration(strings.Fields(b)[0])
				if err != nil {
					t.Fatal(err)
				}
				if gap, last = max(gap, at-last), at; !strings.Contains(b, "held") {
					whole++
				}
			}
			gap = max(gap, while-last)
			if whole == 0 || gap > reloadWait+2*time.Second || w.loads-loads < 20 {
				t.Errorf("%d reloads, %d builds of what there is, nothing for %s: %q", w.loads-loads, whole, gap, built)
			}
			end()
			w.after(time.Minute)
			ends(t, stop)
		})
	}
}

// TestLoopReloadsHangingLook: where nothing answers, one look hangs, however often the
// configuration is read; a reload does not wait for it, and its alarm goes on until it
// comes back. Another source of that name is looked at.
func TestLoopReloadsHangingLook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 2)
		w.sources = append(w.sources, Source{Name: "box", Paths: []string{"box"}})
		gate := make(chan struct{})
		looks := func() (n int) {
			w.set(func() {
				for _, l := range w.looks {
					if l.source == "box" {
						n++
					}
				}
			})
			return n
		}
		stop := w.run()
		w.after(time.Minute)
		w.set(func() {
			w.onLook = func(source string) {
				if source == "box" {
					<-gate
				}
			}
		})
		w.change("box/z001.test")
		w.after(30 * time.Second)
		was := looks()
		for range 5 {
			w.hup <- struct{}{}
			same(t, "a reload", w.after(10*time.Second), "0s z000 z001")
		}
		w.hup <- struct{}{}
		w.after(time.Minute)
		if n := looks() - was; n != 0 {
			t.Errorf("%d more looks hang", n)
		}
		same(t, "alarms", w.takeAlarms(), "+source-stuck box box does not answer for 1m0s: is its mount dead?")
		w.set(func() { w.onLook = nil })
		close(gate)
		w.after(time.Minute)
		same(t, "the alarm is over", w.takeAlarms(), "-source-stuck box")
		if looks() == was {
			t.Error("nobody looks there any more")
		}

		gate = make(chan struct{})
		w.set(func() { w.onLook = func(string) { <-gate } })
		w.after(time.Minute)
		was = looks()
		w.set(func() { w.onLook, w.sources[1].Paths = nil, []string{"elsewhere"} })
		w.hup <- struct{}{}
		if w.after(5 * time.Second); looks() == was {
			t.Error("what lies elsewhere is not looked at")
		}
		close(gate)
		w.after(time.Minute)
		ends(t, stop)
	})
}

// TestLoopHangingLoad: a configuration of which the reading hangs is told of, since
// nothing is built meanwhile; the end does not wait for it.
func TestLoopHangingLoad(t *testing.T) {
	for _, heeds := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, 1)
			stop := w.run()
			w.after(time.Minute)
			gate := make(chan struct{})
			w.set(func() {
				w.hangLoad = func(ctx context.Context) {
					if !heeds {
						ctx = context.WithoutCancel(ctx)
					}
					select {
					case <-ctx.Done():
					case <-gate:
					}
				}
			})
			w.hup <- struct{}{}
			w.after(59 * time.Second)
			same(t, "no alarm yet", w.takeAlarms())
			w.after(10 * time.Second)
			same(t, "alarms", w.takeAlarms(), "+build-stuck  nothing is built while the configuration is read, for more than 1m0s: is a mount dead?")
			if !heeds {
				close(gate)
				w.after(time.Second)
				same(t, "it is over", w.takeAlarms(), "-build-stuck")
				gate = make(chan struct{})
				w.hup <- struct{}{}
				w.after(time.Second)
			}
			from, want := time.Now(), time.Duration(0)
			if !heeds {
				want = hangLast
			}
			ends(t, stop)
			if took := time.Since(from); took != want {
				t.Errorf("heeds %v: took %s, want %s", heeds, took, want)
			}
			if !heeds {
				close(gate)
			}
		})
	}
}

// TestAsksSoon: whether a checkout is locked is asked once, and not again while nobody
// has answered.
func TestAsksSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gate := make(chan struct{})
		var asked atomic.Int32
		c := &checkout{Checkout: &Checkout{Name: "tree", Locked: func() string {
			asked.Add(1)
			<-gate
			return "index.lock"
		}}}
		ask := c.asksSoon()
		begun := time.Now()
		if h := ask(); !h.mute || time.Since(begun) != askWait {
			t.Errorf("%+v after %s", h, time.Since(begun))
		}
		begun = time.Now()
		if h := ask(); !h.mute || time.Since(begun) != askGrace || asked.Load() != 1 {
			t.Errorf("again: %+v after %s, asked %d times", h, time.Since(begun), asked.Load())
		}
		close(gate)
		synctest.Wait()
		if h := ask(); h.mute || h.lock != "index.lock" || asked.Load() != 2 {
			t.Errorf("when there is an answer: %+v, asked %d times", h, asked.Load())
		}
	})
}
