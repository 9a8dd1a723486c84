package daemon

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"zonebuild/internal/build"
)

// teller tells alarm-command of the alarms of zones, behind the passes: a program that
// hangs, and one that fails, holds up no zone and is tried again by the clock.
type teller struct {
	mu    sync.Mutex
	zones map[zoneName]standingOf
	again time.Time // by the running clock: not before
	busy  bool
}

// standingOf is what stands in a zone, and what does no more. asked are alarms of which
// the program was told, or is being told just now, perhaps before the state knew; ended
// are those of them that a pass found to be over; done are those of which it was told
// that they are, perhaps before the state knew.
type standingOf struct{ stand, over, asked, ended, done []build.Alarm }

func has(list []build.Alarm, a build.Alarm) bool {
	return slices.ContainsFunc(list, func(b build.Alarm) bool { return a.Code == b.Code && a.Since.Equal(b.Since) })
}

func without(list []build.Alarm, a build.Alarm) []build.Alarm {
	return slices.DeleteFunc(slices.Clone(list), func(b build.Alarm) bool { return a.Code == b.Code && a.Since.Equal(b.Since) })
}

func (s *standingOf) words(now time.Time) []build.Telling {
	return build.Tellings(s.stand, append(slices.Clone(s.over), s.ended...), now)
}

func (s *standingOf) empty() bool { return len(s.stand)+len(s.over)+len(s.ended)+len(s.done) == 0 }

// take notes what stands after a pass. What could not be noted in the state, as on a
// disk that is read-only, is remembered here.
func (t *teller) take(report *build.Report) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.zones == nil {
		t.zones = map[zoneName]standingOf{}
	}
	for i := range report.Zones {
		z := &report.Zones[i]
		if z.After.Files == nil && z.After.Alarms == nil {
			continue // in other hands
		}
		was := t.zones[z.Zone]
		is := standingOf{stand: slices.Clone(z.After.Alarms), over: slices.Clone(z.After.Over), ended: was.ended}
		for i := range is.stand {
			a := &is.stand[i]
			for _, old := range was.stand {
				if old.Code == a.Code && (old.Since.Equal(a.Since) || z.After.Files == nil) && old.Said.After(a.Said) {
					a.Said = old.Said
				}
			}
		}
		for _, a := range was.done {
			if has(is.over, a) {
				is.over, is.done = without(is.over, a), append(is.done, a)
			}
		}
		for _, a := range was.asked {
			switch {
			case has(is.stand, a) || z.After.Files == nil:
				is.asked = append(is.asked, a)
			case !has(is.over, a) && !has(is.ended, a):
				is.ended = append(is.ended, a)
			}
		}
		if t.zones[z.Zone] = is; is.empty() {
			delete(t.zones, z.Zone)
		}
	}
}

// keep forgets zones that are gone.
func (t *teller) keep(known map[zoneName]bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	maps.DeleteFunc(t.zones, func(n zoneName, _ standingOf) bool { return !known[n] })
}

// tellingOf is a word about a zone.
type tellingOf struct {
	zone zoneName
	build.Telling
}

// due are the words that are to be told now; those about a zone in their order.
func (t *teller) due(now time.Time) (out []tellingOf) {
	for n, is := range t.zones {
		for _, w := range is.words(now) {
			out = append(out, tellingOf{n, w})
		}
	}
	slices.SortStableFunc(out, func(a, b tellingOf) int {
		return cmp.Or(a.Since.Compare(b.Since), a.zone.Compare(b.zone))
	})
	return out
}

// told notes that a word was told.
func (t *teller) told(w tellingOf, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	is := t.zones[w.zone]
	if w.Clears() {
		is.over, is.ended, is.done = without(is.over, w.Alarm), without(is.ended, w.Alarm), append(slices.Clone(is.done), w.Alarm)
	} else if i := slices.IndexFunc(is.stand, func(a build.Alarm) bool { return a.Code == w.Code && a.Since.Equal(w.Since) }); i >= 0 {
		is.stand[i].Said = now
	}
	if t.zones[w.zone] = is; is.empty() {
		delete(t.zones, w.zone)
	}
}

// ask reports whether a word is still to be told, since what it is about may have changed
// while others were, and notes that it is.
func (t *teller) ask(w tellingOf, now time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	is := t.zones[w.zone]
	due := slices.ContainsFunc(is.words(now), func(x build.Telling) bool {
		return x.Event == w.Event && x.Code == w.Code && x.Since.Equal(w.Since)
	})
	if due && !w.Clears() && !has(is.asked, w.Alarm) {
		is.asked = append(slices.Clone(is.asked), w.Alarm)
		t.zones[w.zone] = is
	}
	return due
}

// tellZones tells what is due, in a goroutine of its own.
func (d *Daemon) tellZones() {
	d.mu.Lock()
	s := d.site
	d.mu.Unlock()
	t := &d.teller
	t.mu.Lock()
	defer t.mu.Unlock()
	if s == nil || s.tree.Config.AlarmCommand == nil || t.busy || time.Now().Before(t.again) {
		return
	}
	words := t.due(d.Now())
	if len(words) == 0 {
		return
	}
	t.busy = true
	d.telling.Go(func() {
		ok := s.tellAll(words)
		t.mu.Lock()
		defer t.mu.Unlock()
		if t.busy = false; !ok {
			t.again = time.Now().Add(alarmRetry)
		}
	})
}

// tellAll reports whether alarm-command took all words.
func (s *site) tellAll(words []tellingOf) bool {
	ctx := context.Background()
	for _, w := range words {
		now := s.Now()
		if !s.teller.ask(w, now) {
			continue
		}
		if err := s.tree.Tell(ctx, w.zone, w.Telling); err != nil {
			s.Log.Warn("tell alarm-command", "zone", w.zone, "alarm", w.Code, "err", err)
			return false
		}
		s.teller.told(w, now)
		if err := s.tree.Told(ctx, w.zone, w.Telling, now); err != nil {
			s.Log.Warn("note that alarm-command was told", "zone", w.zone, "alarm", w.Code, "err", err)
		}
	}
	return true
}
