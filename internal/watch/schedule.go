package watch

import (
	"hash/fnv"
	"slices"
	"time"

	"zonebuild/internal/domain"
)

// Bounds of the schedule.
const (
	maxChanged   = 256       // zones of one build whose input changed
	maxDue       = 64        // zones of one build that are due by the clock: changes come between
	defaultSlice = time.Hour // for which signatures can wait

	askLeast, askMost     = time.Second, 5 * time.Minute       // until an unconfirmed zone is asked for again
	retryLeast, retryMost = 5 * time.Second, 10 * time.Minute  // until a failed zone is tried again
	stillLeast, stillMost = 10 * time.Second, 10 * time.Minute // until a zone is built that was due, was built, and is still due
	busyLeast, busyMost   = time.Second, 10 * time.Second      // until a zone is tried again that another process has
)

// plan is when one zone is to be built.
type plan struct {
	first   bool      // it was not built since the start
	changed bool      // its input did
	due     time.Time // by the calendar; zero = never
	retry   time.Time // by the running clock; zero = no
	tries   int       // without success
	busy    bool      // it is being built
	alone   bool      // a build with others gave no result: they shall not suffer from it
}

// schedule is the plan of all zones. It is a function of what it is told: it
// reads no clock. now is the running clock, which nobody sets; wall is the
// calendar, by which signatures end.
type schedule struct {
	zones   map[domain.Name]*plan
	turned  bool // the last build was for changed zones: those due are next
	clean   bool // what follows holds
	soonest struct{ due, retry time.Time }
	ready   int // zones that are to be built at once
}

// keep makes the schedule hold exactly these zones; new ones are to be built.
func (s *schedule) keep(zones []domain.Name) {
	old := s.zones
	s.zones = make(map[domain.Name]*plan, len(zones))
	for _, z := range zones {
		if p := old[z]; p != nil {
			s.zones[z] = p
		} else {
			s.zones[z] = &plan{first: true}
		}
	}
	s.clean = false
}

// change notes that the input of zones is another.
func (s *schedule) change(zones []domain.Name) {
	for _, z := range zones {
		if p := s.zones[z]; p != nil {
			p.changed = true
		}
	}
	s.clean = false
}

// checkAll has every zone built again, behind those that are urgent: the
// calendar was set, or the configuration is another.
func (s *schedule) checkAll() {
	for _, p := range s.zones {
		p.first = true
	}
	s.clean = false
}

// changeAll notes that the input of every zone is another.
func (s *schedule) changeAll() {
	for _, p := range s.zones {
		p.changed = true
	}
	s.clean = false
}

// sum finds what is next; it goes over all zones, but only after a change.
func (s *schedule) sum() {
	if s.clean {
		return
	}
	s.soonest.due, s.soonest.retry, s.ready = time.Time{}, time.Time{}, 0
	for _, p := range s.zones {
		switch {
		case p.busy:
			continue
		case p.changed, p.first:
			s.ready++
			continue
		}
		s.soonest.due = soonest(s.soonest.due, p.due)
		s.soonest.retry = soonest(s.soonest.retry, p.retry)
	}
	s.clean = true
}

// soonest is the earlier of two times that may be zero, which is never.
func soonest(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// wait is how long nothing has to be built; at most most.
func (s *schedule) wait(now, wall time.Time, most time.Duration) time.Duration {
	s.sum()
	if s.ready > 0 {
		return 0
	}
	if !s.soonest.due.IsZero() {
		most = min(most, s.soonest.due.Sub(wall))
	}
	if !s.soonest.retry.IsZero() {
		most = min(most, s.soonest.retry.Sub(now))
	}
	return max(most, 0)
}

// take gives the zones of the next build, and notes that they are being built.
// Changed ones and those due by the clock take turns: neither a steady stream of
// changes nor a flood of due signatures makes the others wait for ever.
func (s *schedule) take(now, wall time.Time) []domain.Name {
	if s.wait(now, wall, time.Second) > 0 {
		return nil
	}
	var changed, due []domain.Name
	for z, p := range s.zones {
		switch {
		case p.busy:
		case p.changed:
			changed = append(changed, z)
		case p.isDue(now, wall):
			due = append(due, z)
		}
	}
	turn, most := changed, maxChanged
	if s.turned = len(changed) > 0 && (len(due) == 0 || !s.turned); !s.turned {
		turn, most = due, maxDue
	}
	// The longest due first; new zones have no due time, and come before all.
	slices.SortFunc(turn, func(a, b domain.Name) int {
		if c := s.zones[a].due.Compare(s.zones[b].due); c != 0 && !s.turned {
			return c
		}
		return a.Compare(b)
	})
	turn = turn[:min(len(turn), most)]
	if i := slices.IndexFunc(turn, func(z domain.Name) bool { return s.zones[z].alone }); i == 0 {
		turn = turn[:1]
	} else if i > 0 {
		turn = turn[:i]
	}
	for _, z := range turn {
		p := s.zones[z]
		p.busy, p.changed, p.first = true, false, false
	}
	s.clean = false
	return turn
}

func (p *plan) isDue(now, wall time.Time) bool {
	return p.first || reached(p.due, wall) || reached(p.retry, now)
}

func reached(t, now time.Time) bool { return !t.IsZero() && !now.Before(t) }

// settle takes the results of a build of zones.
func (s *schedule) settle(zones []domain.Name, results []Result, now, wall time.Time) {
	got := make(map[domain.Name]Result, len(results))
	for _, r := range results {
		got[r.Zone] = r
	}
	for _, z := range zones {
		p := s.zones[z]
		if p == nil {
			continue // it left the tree meanwhile
		}
		r, told := got[z]
		if !told {
			r.Outcome = Failed
		}
		p.busy, p.alone = false, !told
		p.settle(z, r, told, now, wall)
	}
	s.clean = false
}

func (p *plan) settle(z domain.Name, r Result, told bool, now, wall time.Time) {
	if told && r.Outcome != Busy { // of which nothing is known
		p.due = soonest(inPhase(z, r.Due, r.Slice), r.Expires)
	}
	p.retry = time.Time{}
	again := func(least, most time.Duration) {
		p.retry = now.Add(backOff(p.tries, least, most))
		p.tries++
	}
	// A due time that is over would have the zone built at once and again at
	// once: its next build comes by back-off alone.
	still := reached(p.due, wall)
	if still {
		p.due = time.Time{}
	}
	switch {
	case r.Outcome == Failed:
		again(retryLeast, retryMost)
	case r.Outcome == Busy:
		again(busyLeast, busyMost)
	case r.Outcome == Unconfirmed:
		again(askLeast, askMost)
	case r.Outcome == Asked: // should the answer not come; whether it is a success, is not known yet
		p.retry = now.Add(askMost)
	case still:
		again(stillLeast, stillMost)
	default:
		p.tries = 0
	}
}

// inPhase is the first instant from due on that is the zone's own within each
// slice: zones that are due at once are built one after the other, and what is
// due in one zone within a slice is built together.
func inPhase(z domain.Name, due time.Time, slice time.Duration) time.Time {
	if due.IsZero() {
		return due
	}
	if slice <= 0 {
		slice = defaultSlice
	}
	h := fnv.New64a()
	h.Write([]byte(z.Wire()))
	phase := time.Duration(h.Sum64() % uint64(slice))
	since := time.Duration((due.UnixNano() - int64(phase)) % int64(slice))
	if since < 0 {
		since += slice
	}
	if since == 0 {
		return due
	}
	return due.Add(slice - since)
}
