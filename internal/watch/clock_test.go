package watch

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"zonebuild/internal/domain"
)

// signer is a builder of zones whose signatures fall due, spread over six days
// as the policy does by default, and who sees whether they are made in time.
type signer struct {
	w       *world
	due     map[domain.Name][]time.Time // of each signature of a zone
	late    time.Duration               // the worst
	perHour []int                       // signatures by hour, since the first signing
	from    time.Time
}

const (
	validity = 14 * 24 * time.Hour
	refresh  = 7 * 24 * time.Hour
	spread   = 6 * 24 * time.Hour
)

// next is when a signature made now falls due: seven days before the latest
// expiration of its own phase.
func (s *signer) next(z domain.Name, i int, now time.Time) time.Time {
	end := inPhase(domain.MustParse(fmt.Sprintf("s%d.%s", i, z)), now.Add(validity-spread), spread)
	return end.Add(-refresh)
}

func (s *signer) Build(_ context.Context, r Request) ([]Result, error) {
	now := s.w.wall()
	var out []Result
	for _, z := range r.Zones {
		for i, due := range s.due[z] {
			if now.Before(due) {
				continue
			}
			if !due.IsZero() {
				s.late = max(s.late, now.Sub(due))
				s.perHour[int(now.Sub(s.from)/time.Hour)]++
			}
			s.due[z][i] = s.next(z, i, now)
		}
		out = append(out, Result{Zone: z, Due: slices.MinFunc(s.due[z], time.Time.Compare)})
	}
	time.Sleep(20 * time.Millisecond * time.Duration(len(r.Zones)))
	return out, nil
}

// TestLoopDays: 50 zones for 24 days. No signature waits longer than a slice
// after it fell due, and the work is even.
func TestLoopDays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 50)
		w.sources[0].Poll = 10 * time.Minute // to look more often would only take the test longer
		s := &signer{w: w, due: map[domain.Name][]time.Time{}, perHour: make([]int, 24*24+1), from: w.wall()}
		for _, z := range w.names {
			s.due[z] = make([]time.Time, 300) // RRsets
		}
		w.build = s.Build
		stop := w.run()
		w.after(24 * 24 * time.Hour)
		if s.late > defaultSlice+2*time.Second {
			t.Errorf("a signature was made %s after it was due", s.late)
		}
		for z, dues := range s.due {
			if slices.ContainsFunc(dues, func(d time.Time) bool { return w.wall().Sub(d) > defaultSlice }) {
				t.Errorf("%s has signatures that are overdue", z)
			}
		}
		// The first signing makes all; they fall due between the 1st and the 7th day.
		hours := s.perHour[24+1 : 24*24]
		total, most := 0, 0
		for _, n := range hours {
			total, most = total+n, max(most, n)
		}
		mean := float64(total) / float64(len(hours))
		t.Logf("%d builds; signatures per hour: mean %.1f, most %d", len(w.calls), mean, most)
		if n := len(w.calls); n > 50*(24*24+1) {
			t.Errorf("%d builds: more than one of a zone in each slice", n)
		}
		if total < 50*300*3 || float64(most) >= 3*mean {
			t.Errorf("signatures per hour: %d in all, mean %.1f, most %d", total, mean, most)
		}
		ends(t, stop)
	})
}

// TestLoopExpires: what ends by itself is built when it ends, not in a slice later.
func TestLoopExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1)
		end := w.wall().Add(3 * time.Hour)
		w.build = func(_ context.Context, r Request) ([]Result, error) {
			out := w.results(r, Done)
			out[0].Due = w.begin.Add(100 * time.Hour)
			if w.wall().Before(end) {
				out[0].Expires = end
			}
			return out, nil
		}
		stop := w.run()
		same(t, "built", w.after(99*time.Hour), "3h0m0s z000")
		ends(t, stop)
	})
}

// TestLoopStillDue: a builder who is asked and does not get on is not asked
// without end.
func TestLoopStillDue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1)
		w.build = func(_ context.Context, r Request) ([]Result, error) {
			return []Result{{Zone: r.Zones[0], Due: w.begin.Add(-time.Minute), Slice: time.Second}}, nil
		}
		stop := w.run()
		same(t, "built", w.after(80*time.Second), "10s z000", "30s z000", "1m10s z000")
		if n := len(w.after(24 * time.Hour)); n > 150 {
			t.Errorf("%d builds in a day", n)
		}
		ends(t, stop)
	})
}

// TestLoopClockSet: when the calendar jumps, every zone is looked at, and no wait
// of the running clock gets longer.
func TestLoopClockSet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 2)
		w.sources = append(w.sources, Source{Name: "box", Distrusted: true, Limit: BoxLimit()})
		w.build = func(_ context.Context, r Request) ([]Result, error) {
			out := w.results(r, Done)
			for i := range out {
				out[i].Due = w.wall().Add(100 * time.Hour)
			}
			return out, nil
		}
		stop := w.run()
		same(t, "quiet", w.after(24*time.Hour))
		for _, by := range []time.Duration{-5 * 365 * 24 * time.Hour, 10 * 365 * 24 * time.Hour, -time.Hour, time.Minute} {
			w.touch("box/z000.test")
			same(t, "before", w.after(time.Second), "50ms z000")
			w.set(func() { w.skew += by })
			got := w.after(10 * time.Second)
			if len(got) != 1 || !strings.Contains(got[0], " z000") || !strings.Contains(got[0], " z001") {
				t.Errorf("set by %s: %q", by, got)
			}
			w.touch("box/z000.test")
			same(t, "after", w.after(time.Second), "50ms z000")
			w.after(time.Minute)
		}
		w.set(func() { w.skew += 10 * time.Second })
		same(t, "by a little", w.after(time.Minute))
		ends(t, stop)
	})
}

func TestInPhase(t *testing.T) {
	base := time.Date(2026, 3, 1, 12, 0, 0, 123, time.UTC)
	z := domain.MustParse("example.org")
	phases := map[time.Duration]bool{}
	for i := range 1000 {
		due := base.Add(time.Duration(i) * 7 * time.Minute)
		got := inPhase(z, due, time.Hour)
		if d := got.Sub(due); d < 0 || d >= time.Hour {
			t.Fatalf("%s after it is due", d)
		}
		if again := inPhase(z, got, time.Hour); !again.Equal(got) {
			t.Fatalf("%s moves on to %s", got, again)
		}
		phases[time.Duration(got.UnixNano())%time.Hour] = true
	}
	if len(phases) != 1 {
		t.Errorf("%d phases", len(phases))
	}
	for i := range 300 {
		name := domain.MustParse(fmt.Sprintf("z%d.test", i))
		phases[time.Duration(inPhase(name, base, time.Hour).UnixNano())%time.Hour/(10*time.Minute)] = true
	}
	if len(phases) != 7 {
		t.Errorf("the zones lie in %d sixths of an hour", len(phases)-1)
	}
	early := time.Date(1903, 1, 1, 0, 0, 0, 0, time.UTC)
	if d := inPhase(z, early, time.Hour).Sub(early); d < 0 || d >= time.Hour {
		t.Errorf("before 1970: %s", d)
	}
	if !inPhase(z, time.Time{}, time.Hour).IsZero() {
		t.Error("never is not never")
	}
}

func TestRate(t *testing.T) {
	r := rate{limit: Limit{Gap: 2 * time.Second, Max: 10 * time.Second, Burst: 3, Free: 2}}
	now := time.Now()
	if !r.next().IsZero() {
		t.Error("the first has to wait")
	}
	var gaps []string
	for range 9 {
		r.spend(now)
		gaps = append(gaps, r.next().Sub(now).String())
		now = r.next()
	}
	same(t, "gaps", gaps, "0s", "0s", "2s", "2s", "2s", "4s", "8s", "10s", "10s")
	now = now.Add(9 * time.Second)
	r.spend(now)
	if gap := r.next().Sub(now); gap != 10*time.Second {
		t.Errorf("after too short a rest %s", gap)
	}
	now = now.Add(20 * time.Second)
	r.spend(now)
	if gap := r.next().Sub(now); gap != 0 {
		t.Errorf("after a rest %s", gap)
	}

	// Whoever uses the limit as cleverly as he can gets one build in each gap.
	r = rate{limit: BoxLimit()}
	begin := now
	n := 0
	for now.Sub(begin) < 10*time.Hour {
		if r.run == r.limit.Burst {
			now = now.Add(time.Duration(r.limit.Burst) * r.limit.Gap)
		}
		now = later(now, r.next())
		r.spend(now)
		n++
	}
	if most := int(10*time.Hour/r.limit.Gap) + r.limit.Burst; n > most {
		t.Errorf("%d builds, more than %d", n, most)
	}
	none := rate{}
	none.spend(now)
	if !none.next().IsZero() {
		t.Error("no limit limits")
	}
}

// TestScheduleTurns: a stream of changes and a flood of due zones both get on.
func TestScheduleTurns(t *testing.T) {
	var s schedule
	var zones []domain.Name
	for i := range 1000 {
		zones = append(zones, domain.MustParse(fmt.Sprintf("z%d.test", i)))
	}
	s.keep(zones)
	now := time.Now()
	var turns []string
	for range 8 {
		s.change(zones[:2])
		got := s.take(now, now)
		turns = append(turns, fmt.Sprint(len(got)))
		var results []Result
		for _, z := range got {
			results = append(results, Result{Zone: z})
		}
		s.settle(got, results, now, now)
	}
	same(t, "zones of each build", turns, "2", "64", "2", "64", "2", "64", "2", "64")

	// An error that hits all is not for all the next time.
	s = schedule{}
	s.keep(zones[:3])
	s.settle(s.take(now, now), nil, now, now)
	later := now.Add(time.Minute)
	turns = nil
	for range 3 {
		got := s.take(later, later)
		turns = append(turns, fmt.Sprint(len(got)))
		s.settle(got, []Result{{Zone: got[0]}}, later, later)
	}
	same(t, "one by one", turns, "1", "1", "1")

	// While a zone is being built, its change waits; nothing is built twice at once.
	s = schedule{}
	s.keep(zones[:1])
	first := s.take(now, now)
	s.change(zones[:1])
	if again := s.take(now, now); len(first) != 1 || len(again) != 0 {
		t.Errorf("took %d, then %d", len(first), len(again))
	}
	s.settle(first, []Result{{Zone: zones[0]}}, now, now)
	if again := s.take(now, now); len(again) != 1 {
		t.Error("the change was forgotten")
	}
}
