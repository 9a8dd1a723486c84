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

	"zonebuild/internal/domain"
)

func TestLoopFirstBuilds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 130)
		var lens []int
		w.build = func(_ context.Context, r Request) ([]Result, error) {
			lens = append(lens, len(r.Zones))
			return w.results(r, Done), nil
		}
		stop := w.run()
		if !slices.Equal(lens, []int{64, 64, 2}) {
			t.Errorf("first builds of %v zones", lens)
		}
		same(t, "a day without any change", w.after(24*time.Hour))
		full, n := 0, 0
		for _, l := range w.looks {
			if n++; l.full {
				full++
			}
		}
		if n != 24*360+1 || full != 25 {
			t.Errorf("%d looks in a day, %d of all content", n, full)
		}
		ends(t, stop)
		if w.closed != 1 {
			t.Errorf("closed %d times", w.closed)
		}
	})
}

func TestLoopQuietAndCeiling(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 3)
		stop := w.run()
		w.touch("primary/z001.test")
		same(t, "an event", w.after(time.Second), "50ms z001")
		w.change("primary/z002.test") // at 1 s; the next poll comes at 10.05 s
		same(t, "no event", w.after(10*time.Second), "9.1s z002")

		go func() {
			for range 30 {
				w.touch("primary/z000.test")
				time.Sleep(10 * time.Millisecond)
			}
		}()
		same(t, "a burst", w.after(2*time.Second), "340ms z000")

		go func() {
			for range 250 {
				w.touch("primary/z000.test")
				time.Sleep(10 * time.Millisecond)
			}
		}()
		same(t, "a stream", w.after(5*time.Second), "1s z000", "2s z000", "2.54s z000")
		w.touch("primary/all")
		same(t, "of all zones", w.after(time.Second), "50ms z000 z001 z002")
		w.hints <- "primary"
		w.hints <- "none of mine"
		same(t, "an event without a change", w.after(time.Second))
		ends(t, stop)
	})
}

// TestLoopUnsettled: a file that is being written is waited for, but not for ever.
func TestLoopUnsettled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1)
		stop := w.run()
		for _, tt := range []struct {
			looks int
			want  string
		}{{3, "200ms z000"}, {1000, "1s z000"}} {
			w.set(func() { w.unsettled = tt.looks })
			w.touch("primary/z000.test")
			same(t, fmt.Sprint(tt.looks), w.after(1500*time.Millisecond), tt.want)
			w.set(func() { w.unsettled = 0 })
			same(t, "nothing more", w.after(10*time.Second))
		}
		ends(t, stop)
	})
}

// TestLoopBusyBox: a jail that rewrites its file without end gets few builds,
// fewer with time; others do not feel it; after a rest it is served at once.
func TestLoopBusyBox(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 2)
		w.sources = append(w.sources, Source{Name: "box", Distrusted: true, Limit: BoxLimit()})
		stop := w.run()
		stream, end := context.WithCancel(t.Context())
		go func() {
			for stream.Err() == nil {
				w.touch("box/z000.test")
				time.Sleep(5 * time.Millisecond)
			}
		}()
		var at []time.Duration
		for range 10 {
			for _, line := range w.after(time.Minute) {
				s, _, _ := strings.Cut(line, " ")
				d, err := time.ParseDuration(s)
				if err != nil {
					t.Fatal(err)
				}
				at = append(at, d)
			}
			w.touch("primary/z001.test")
			got := w.after(200 * time.Millisecond)
			got = slices.DeleteFunc(got, func(s string) bool { return strings.Contains(s, "z000") })
			same(t, "the other source", got, "50ms z001")
		}
		if len(at) < 200 || len(at) > 310 {
			t.Errorf("%d builds in ten minutes for a busy box", len(at))
		}
		w.after(10 * time.Minute)
		if n := len(w.after(10 * time.Minute)); n < 19 || n > 21 {
			t.Errorf("then %d in as many", n)
		}
		end()
		w.after(2 * time.Minute)
		w.touch("box/z000.test")
		same(t, "after a rest", w.after(time.Second), "50ms z000")
		ends(t, stop)
	})
}

func TestLoopBackOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 2)
		outcome := Unconfirmed
		w.build = func(_ context.Context, r Request) ([]Result, error) {
			out := w.results(r, Done)
			for i := range out {
				if out[i].Zone == w.names[1] {
					out[i].Outcome = outcome
				}
			}
			return out, nil
		}
		stop := w.run()
		same(t, "unconfirmed", w.after(time.Minute), "1s z001", "3s z001", "7s z001", "15s z001", "31s z001")
		got := w.after(time.Hour)
		if n := len(got); n < 12 || n > 16 {
			t.Errorf("%d questions in an hour: %q", n, got)
		}
		w.set(func() { outcome = Done })
		w.after(5 * time.Minute)
		same(t, "confirmed", w.after(time.Hour))

		w.set(func() { outcome = Failed })
		w.touch("primary/z001.test")
		same(t, "failed", w.after(80*time.Second), "50ms z001", "5.05s z001", "15.05s z001", "35.05s z001", "1m15.05s z001")
		w.set(func() { outcome = Held })
		w.after(10 * time.Minute)
		same(t, "refused", w.after(time.Hour))
		ends(t, stop)
	})
}

// TestLoopBuilderErrs: an error, and a result that is missing, are tried again.
func TestLoopBuilderErrs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 2)
		n := 0
		w.build = func(_ context.Context, r Request) ([]Result, error) {
			switch n++; n {
			case 1:
				return nil, errors.New("disk full")
			case 3:
				return nil, nil
			}
			return append(w.results(r, Done), Result{Zone: domain.MustParse("stranger.test")}), nil
		}
		stop := w.run()
		// The first time together, as new zones are; then each for itself.
		same(t, "again", w.after(time.Hour), "5s z000", "5s z001", "15s z001")
		ends(t, stop)
	})
}

func TestLoopStops(t *testing.T) {
	tests := []struct {
		name  string
		build func(context.Context) // what the build does
		took  time.Duration
		want  string
	}{
		{"finishes", func(ctx context.Context) {
			select {
			case <-ctx.Done():
				panic("was told to stop")
			case <-time.After(time.Minute):
			}
		}, time.Minute, "<nil>"},
		{"is told", func(ctx context.Context) { <-ctx.Done() }, stopGrace, "<nil>"},
		{"hangs", func(context.Context) { time.Sleep(time.Hour) }, stopGrace + stopLast, "stop: the running build does not end"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, 1)
				w.build = func(ctx context.Context, r Request) ([]Result, error) {
					tt.build(ctx)
					return w.results(r, Done), nil
				}
				stop := w.run()
				from := time.Now()
				got := fmt.Sprint(stop())
				if took := time.Since(from); got != tt.want || took != tt.took {
					t.Errorf("ended after %s with %s, want %s with %s", took, got, tt.took, tt.want)
				}
				if last := w.beats[len(w.beats)-1]; time.Since(last.at) > beat {
					t.Errorf("the last beat came %s before the end", time.Since(last.at))
				}
				if len(w.calls) != 1 || w.closed != 1 {
					t.Errorf("%d builds, closed %d times", len(w.calls), w.closed)
				}
				time.Sleep(time.Hour) // until the one that hangs comes back: then nothing of the loop is left
			})
		})
	}
}

// TestLoopStopsWithDeadMount: a look that hangs holds nothing that matters.
func TestLoopStopsWithDeadMount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1)
		w.onLook = func(string) { time.Sleep(time.Hour) }
		stop := w.run()
		w.after(time.Minute)
		from := time.Now()
		ends(t, stop)
		if took := time.Since(from); took != hangLast {
			t.Errorf("took %s", took)
		}
		time.Sleep(time.Hour)
	})
}

// TestLoopLooksWithin: what takes long to look at is not looked at all the time.
func TestLoopLooksWithin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1)
		stop := w.run()
		w.set(func() { w.onLook, w.unsettled = func(string) { time.Sleep(300 * time.Millisecond) }, 1<<30 })
		stream, end := context.WithCancel(t.Context())
		go func() {
			for stream.Err() == nil {
				w.hints <- "primary"
				time.Sleep(5 * time.Millisecond)
			}
		}()
		n := len(w.looks)
		w.after(time.Minute)
		if n = len(w.looks) - n; n < 35 || n > 41 {
			t.Errorf("%d looks in a minute", n)
		}
		end()
		w.set(func() { w.unsettled = 0 })
		w.after(time.Minute)
		ends(t, stop)
	})
}

// TestLoopHangingBuild: a build that does not come back is told of, the loop
// goes on turning, and nothing is built twice at a time.
func TestLoopHangingBuild(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1)
		w.build = func(_ context.Context, r Request) ([]Result, error) {
			time.Sleep(time.Hour)
			return w.results(r, Done), nil
		}
		stop := w.run()
		w.touch("primary/z000.test")
		same(t, "meanwhile", w.after(59*time.Minute))
		last := w.beats[len(w.beats)-1]
		if age := time.Since(last.Building); last.Building.IsZero() || age < 58*time.Minute || last.Zones != 1 {
			t.Errorf("the last beat says %+v", last)
		}
		same(t, "behind it", w.after(2*time.Minute), "1m0s z000")
		same(t, "alarms", w.takeAlarms(), "+build-stuck  a build runs for more than 30m0s", "-build-stuck")
		var wide time.Duration
		for i := 1; i < len(w.beats); i++ {
			wide = max(wide, w.beats[i].at.Sub(w.beats[i-1].at))
		}
		if wide > beat {
			t.Errorf("%s without a beat", wide)
		}
		w.after(time.Hour)
		ends(t, stop)
	})
}

func TestLoopReload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1)
		stop := w.run()
		w.set(func() { w.refuse = errors.New("zonebuild.toml:1:1: unknown key") })
		w.hup <- struct{}{}
		same(t, "refused", w.after(time.Second))
		w.touch("primary/z000.test")
		same(t, "the old setup goes on", w.after(time.Second), "50ms z000")
		w.set(func() {
			w.refuse = nil
			w.names = append(w.names, domain.MustParse("new.test"))
		})
		w.touch("primary/config")
		same(t, "taken", w.after(time.Second), "50ms new z000")
		same(t, "alarms", w.takeAlarms(),
			"+reload-failed  load the configuration: zonebuild.toml:1:1: unknown key", "-reload-failed")
		if w.loads != 3 || w.closed != 1 {
			t.Errorf("loaded %d times, closed %d", w.loads, w.closed)
		}

		// While a build runs, the reload waits; the zone that is gone is forgotten.
		w.set(func() {
			w.build = func(_ context.Context, r Request) ([]Result, error) {
				time.Sleep(time.Minute)
				return w.results(r, Failed), nil
			}
		})
		w.touch("primary/all")
		w.after(time.Second)
		w.set(func() { w.names = w.names[1:] })
		w.hup <- struct{}{}
		if w.after(30 * time.Second); w.loads != 3 {
			t.Error("reloaded under a running build")
		}
		same(t, "after the build", w.after(time.Minute), "29.05s new")
		w.after(2 * time.Minute)
		ends(t, stop)
	})
}

// TestLoopHangingLook: a dead mount keeps the other sources from nothing.
func TestLoopHangingLook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 2)
		w.sources = append(w.sources, Source{Name: "dead"})
		w.change("dead/z001.test")
		w.onLook = func(source string) {
			if source == "dead" {
				time.Sleep(time.Hour)
			}
		}
		stop := w.run()
		same(t, "the first build does not wait long", w.after(11*time.Second), "10s z000 z001")
		w.touch("primary/z000.test")
		same(t, "another source", w.after(time.Second), "50ms z000")
		w.after(2 * time.Minute)
		same(t, "alarms", w.takeAlarms(), "+source-stuck dead dead does not answer for 1m0s: is its mount dead?")
		if s := w.beats[len(w.beats)-1]; !slices.Equal(s.Stuck, []string{"dead"}) {
			t.Errorf("the beat says %+v", s)
		}
		if n := len(w.beats); n > 1000 {
			t.Errorf("%d turns in two minutes", n)
		}
		w.set(func() { w.onLook = nil })
		// What it held when it came to life was not there at the first build.
		got := w.after(time.Hour)
		if len(got) != 1 || !strings.HasSuffix(got[0], " z001") {
			t.Errorf("back again: %q", got)
		}
		same(t, "alarms", w.takeAlarms(), "-source-stuck dead")
		ends(t, stop)
	})
}

// TestLoopOutput: what the builder wrote is no news; what others wrote there is.
func TestLoopOutput(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1)
		w.sources = append(w.sources, Source{Name: "signed", Output: true})
		w.build = func(_ context.Context, r Request) ([]Result, error) {
			w.touch("signed/z000.test")
			var own File
			w.set(func() { own = w.news["signed"][0].File })
			time.Sleep(2 * time.Second) // until it is confirmed
			out := w.results(r, Done)
			out[0].Left = []File{own}
			return out, nil
		}
		stop := w.run()
		same(t, "its own", w.after(time.Minute))
		w.touch("primary/z000.test")
		same(t, "its own again", w.after(time.Minute), "50ms z000")

		// A look that began before the build sees what the build wrote.
		w.set(func() {
			w.onLook = func(source string) {
				if source == "signed" {
					time.Sleep(time.Second)
				}
			}
		})
		w.hints <- "signed"
		w.touch("primary/z000.test")
		same(t, "its own, half way", w.after(time.Minute), "50ms z000")

		// One that ends behind a build may have seen what an earlier one wrote.
		own, looks := File{Path: "signed/z000.test", MTime: 1 << 20}, 0
		w.set(func() {
			w.onLook = func(source string) {
				if source != "signed" {
					return
				}
				if looks++; looks == 1 {
					time.Sleep(time.Second)
				} else if looks == 2 {
					w.set(func() { w.news["signed"] = append(w.news["signed"], Change{Source: "signed", File: own}) })
				}
			}
			w.build = func(_ context.Context, r Request) ([]Result, error) {
				time.Sleep(100 * time.Millisecond)
				out := w.results(r, Done)
				out[0].Left = []File{own}
				return out, nil
			}
		})
		w.change("signed/z000.test")
		w.hints <- "signed"
		w.touch("primary/z000.test")
		same(t, "its own, of before", w.after(time.Minute), "50ms z000")
		w.set(func() {
			w.onLook = nil
			w.build = func(_ context.Context, r Request) ([]Result, error) { return w.results(r, Done), nil }
		})
		w.touch("signed/z000.test")
		same(t, "of others", w.after(time.Minute), "50ms z000")
		ends(t, stop)
	})
}

// TestLoopBusy: a zone that another process has is tried again soon, again and again,
// and keeps what it is due for; one that is asked for beside the builds waits for the
// answer, and does not begin anew with its back-off.
func TestLoopBusy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 2)
		due := w.wall().Add(time.Hour)
		outcome := map[string]Outcome{}
		w.build = func(_ context.Context, r Request) ([]Result, error) {
			w.mu.Lock()
			defer w.mu.Unlock()
			var out []Result
			for _, z := range r.Zones {
				res := Result{Zone: z, Outcome: outcome[z.String()]}
				if res.Outcome == Done {
					res.Due, res.Slice = due, time.Second
				}
				out = append(out, res)
			}
			return out, nil
		}
		stop := w.run()
		w.after(time.Second)
		w.set(func() { outcome["z000.test."] = Busy })
		w.touch("primary/z000.test")
		same(t, "busy", w.after(30*time.Second), "50ms z000", "1.05s z000", "3.05s z000", "7.05s z000", "15.05s z000", "25.05s z000")
		w.set(func() { outcome["z000.test."] = Unconfirmed })
		w.after(10 * time.Second)
		w.set(func() { outcome["z000.test."] = Asked })
		got := w.after(20 * time.Minute)
		if len(got) < 3 || len(got) > 6 {
			t.Errorf("while it is asked for: %q", got)
		}
		w.touch("primary/z000.test")
		same(t, "the answer", w.after(time.Second), "50ms z000")
		w.set(func() { outcome["z000.test."] = Done })
		w.touch("primary/z000.test")
		same(t, "done", w.after(time.Minute), "50ms z000")
		if got := w.after(2 * time.Hour); len(got) == 0 {
			t.Error("what is due is not built")
		}
		ends(t, stop)
	})
}
