package watch

import "time"

// Limit bounds how often a source may cause builds: Burst of them as they come,
// then not twice within Gap; after Free more without a rest, each further one
// doubles the gap, up to Max. A source that rests for Burst gaps, and for two of
// those that it has reached, begins anew: over time it causes no more than one
// build in each Gap. The zero Limit is none.
type Limit struct {
	Gap, Max    time.Duration
	Burst, Free int
}

// BoxLimit is for a source that somebody else fills: ten minutes of steady change
// are the work of a robot that renews many certificates, hours are not.
func BoxLimit() Limit {
	return Limit{Gap: 2 * time.Second, Max: 30 * time.Second, Burst: 10, Free: 300}
}

// rate is how a source keeps to its limit. All times are of the running clock,
// not of the calendar: a clock that is set must not hold a source back.
type rate struct {
	limit Limit
	last  time.Time // when it caused a build
	gap   time.Duration
	run   int // builds without a rest
}

// next is the earliest time at which the source may cause another build.
func (r *rate) next() time.Time {
	if r.last.IsZero() {
		return time.Time{}
	}
	return r.last.Add(r.gap)
}

// spend notes that the source caused a build.
func (r *rate) spend(now time.Time) {
	if r.limit.Gap <= 0 {
		return
	}
	rest := max(2*r.gap, time.Duration(r.limit.Burst)*r.limit.Gap)
	if r.last.IsZero() || now.Sub(r.last) >= rest {
		r.run, r.gap = 0, 0
	}
	r.run++
	switch {
	case r.run > r.limit.Burst+r.limit.Free:
		r.gap = min(2*r.gap, max(r.limit.Max, r.limit.Gap))
	case r.run >= r.limit.Burst:
		r.gap = r.limit.Gap
	}
	r.last = now
}

// Bounds of waiting until whoever writes has finished.
const (
	quietFor   = 50 * time.Millisecond // after the last sign of a change
	quietAtEnd = time.Second           // after the first, however long it goes on
)

// quiet tells when a burst of changes is over.
type quiet struct{ first, last time.Time }

func (q *quiet) active() bool { return !q.last.IsZero() }

// note takes a sign of a change.
func (q *quiet) note(now time.Time) {
	if q.first.IsZero() {
		q.first = now
	}
	q.last = now
}

// due is when the burst counts as over; only while it is active.
func (q *quiet) due() time.Time {
	return earlier(q.last.Add(quietFor), q.first.Add(quietAtEnd))
}

// overdue reports whether waiting has come to its end.
func (q *quiet) overdue(now time.Time) bool {
	return !q.first.IsZero() && now.Sub(q.first) >= quietAtEnd
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// backOff doubles from least to most with the number of tries.
func backOff(tries int, least, most time.Duration) time.Duration {
	d := least
	for range min(tries, 32) {
		if d *= 2; d >= most {
			return most
		}
	}
	return d
}
