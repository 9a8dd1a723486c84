package watch

import (
	"slices"
	"time"

	"zonebuild/internal/domain"
)

// source is what the loop knows of a Source.
type source struct {
	*Source
	checkout *checkout // nil: none

	seen    bool      // it was looked at once
	looked  time.Time // when the look that runs began; zero = none runs
	running *look     // it; that of an older setup, too
	hinted  bool      // a hint came since the last look began
	quiet   quiet
	poll    time.Time // of the next look without a hint
	full    time.Time // of the next that reads all content
	rest    time.Time // until which it is not looked at
	rate    rate
	pending map[string]Change // found, not yet acted upon
}

func newSource(s *Source, checkouts map[string]*checkout) *source {
	limit := s.Limit
	if s.Distrusted && limit == (Limit{}) {
		limit = BoxLimit()
	}
	return &source{Source: s, checkout: checkouts[s.Checkout], rate: rate{limit: limit}, pending: map[string]Change{}}
}

// inherit waits for the look that runs for an older setup, if it is at the same: where
// nothing answers, one look hangs, however often the configuration is read.
func (s *source) inherit(old *source) {
	if old != nil && !old.looked.IsZero() && slices.Equal(old.Paths, s.Paths) {
		s.looked, s.running = old.looked, old.running
	}
}

func (s *source) interval() time.Duration {
	switch {
	case s.Poll > 0:
		return s.Poll
	case s.Distrusted:
		return 2 * time.Second
	}
	return 10 * time.Second
}

// due is when the source is to be looked at next.
func (s *source) due() time.Time {
	t := s.poll
	if s.quiet.active() {
		t = earlier(t, s.quiet.due())
	}
	t = later(later(t, s.rate.next()), s.rest)
	if s.checkout != nil && !s.checkout.free() {
		t = later(t, s.checkout.asked.Add(s.checkout.lockPoll()))
	}
	return t
}

func (s *source) stuck(now time.Time) bool { return s.takes(now, lookWait) }

// takes reports whether a look runs that long.
func (s *source) takes(now time.Time, least time.Duration) bool {
	return !s.looked.IsZero() && now.Sub(s.looked) >= least
}

// turnSource starts a look, if one is due, and tells when the next will be.
func (r *run) turnSource(s *source, now time.Time) time.Time {
	r.alarmf(AlarmStuck, s.Name, s.stuck(now), "%s does not answer for %s: is its mount dead?", s.Name, lookWait)
	if s.stuck(now) {
		return now.Add(beat)
	}
	if !s.looked.IsZero() {
		return s.looked.Add(lookWait)
	}
	if s.Output && !r.building.IsZero() {
		return now.Add(beat) // the end of the build turns the loop
	}
	if c := s.checkout; c != nil && (c.updating || c.Updater != nil && !c.good && s.seen && !s.Mends) {
		return now.Add(beat) // and so does the end of an update
	}
	if due := s.due(); now.Before(due) {
		return due
	}
	full := !now.Before(s.full)
	if full {
		s.full = now.Add(fullEvery)
	}
	why := &look{full: full, hinted: s.hinted}
	s.looked, s.running, s.poll = now, why, now.Add(s.interval())
	s.hinted, s.quiet.last = false, time.Time{}
	r.looking++
	setup, name, ask := r.setup, s.Name, s.checkout.asks()
	first := s.Loaded && !s.seen && setup.Outdated != nil
	r.start(func() func() {
		var sight Sight
		h := ask()
		if h.free() {
			sight = setup.Look(r.work, name, full)
			// What Load read may have changed before that look, such as by the first
			// update; what changes behind it, the next finds.
			why.outdated = first && setup.Outdated()
			h = ask() // one that came meanwhile makes a sight of half a revision
		}
		return func() {
			r.looking--
			if r.setup == setup {
				r.saw(s, why, sight, h)
			} else if s := r.source(name); s != nil && s.running == why { // what it saw is old
				s.looked, s.running = time.Time{}, nil
			}
		}
	})
	return s.looked.Add(lookWait)
}

// look says why a source was looked at.
type look struct {
	full     bool
	hinted   bool
	outdated bool // the first one found something else than Load read
}

// saw takes what a look found, and acts on it when nothing more seems to come.
func (r *run) saw(s *source, why *look, sight Sight, h hold) {
	now := time.Now()
	// Looking takes a fifth of the time at most, whatever goes on there.
	began := s.looked
	s.rest = now.Add(min(lookRest*now.Sub(began), s.interval()))
	s.looked, s.running = time.Time{}, nil
	for _, c := range sight.Changes {
		s.pending[c.Path] = c
	}
	if s.checkout != nil {
		r.holdSeen(s.checkout, h, now)
	}
	if !h.free() || s.Output && !r.building.IsZero() { // to be looked at again, when it is over
		s.quiet.note(now)
		if why.full {
			s.full = now
		}
		return
	}
	if !s.seen && !r.begun { // what is there now, the first builds read
		clear(s.pending)
	}
	s.seen = true
	if why.outdated {
		r.Log.Info("the configuration or the list of zones changed since it was read", "source", s.Name)
		r.reload, r.reloadAt, r.outdated = true, now, true
	}
	if len(s.pending) == 0 && !sight.Unsettled {
		if !s.quiet.active() {
			s.quiet.first = time.Time{}
		}
		return
	}
	// A poll falls into the middle of a burst as well as anywhere else.
	moving := sight.Unsettled || s.quiet.active() || !why.hinted && len(sight.Changes) > 0
	if moving && !s.quiet.overdue(now) {
		s.quiet.note(now)
		return
	}
	r.accept(s, began, now)
}

// accept has the zones built that the changes of a source concern, as the look found them
// that began then.
func (r *run) accept(s *source, began, now time.Time) {
	s.quiet.first = s.quiet.last // what came during the look is a new burst
	var zones []domain.Name
	all, news := false, 0
	for path, c := range s.pending {
		left := r.left[path]
		own := c.Kind != Vanished && left.File == c.File
		if !own && left.told.After(began) { // it may have been seen before that build: the next look tells
			s.quiet.note(now)
			continue
		}
		if delete(s.pending, path); own {
			continue
		}
		e := r.setup.Concerns(c)
		if e.Reload {
			r.reload, r.reloadAt = true, now
		}
		all = all || e.All
		zones = append(zones, e.Zones...)
		news++
	}
	if news == 0 {
		return
	}
	r.Log.Debug("changed", "source", s.Name, "files", news, "zones", len(zones), "all", all)
	if all {
		r.schedule.changeAll()
	} else {
		r.schedule.change(zones)
	}
	s.rate.spend(now)
}
