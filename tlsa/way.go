package tlsa

import (
	"slices"
	"time"
)

// lostWay is the longest way to all servers that is reckoned with when nobody
// knows what the SOA record of before said.
const lostWay = 24 * time.Hour

// WaySpan says until when a way to all servers was the longest one: the sum of
// refresh and retry of the SOA record that was published until then. A secondary
// that has that version may go by it for one such way more (RFC 1035 §3.3.13).
type WaySpan struct {
	Way   time.Duration `json:"way"` // nanoseconds
	Until time.Time     `json:"until"`
}

// takeWay keeps the history of ways. A way that is as short as a later one says
// nothing more.
func (s *stepper) takeWay(lost bool) {
	if lost {
		s.st.Ways = append(s.st.Ways, WaySpan{max(lostWay, s.Params.Propagate), s.now})
	}
	if n := len(s.st.Ways); n > 0 && s.st.Ways[n-1].Until.Before(s.now) {
		s.st.Ways[n-1].Until = s.now // until a moment ago
	}
	s.st.Ways = slices.DeleteFunc(s.st.Ways, func(w WaySpan) bool {
		return w.Way <= s.Params.Propagate || !s.now.Before(w.Until.Add(w.Way))
	})
	s.st.Ways = append(s.st.Ways, WaySpan{s.Params.Propagate, s.now})
}

// way is how long what is published now may be on its way to the last server.
func (s *stepper) way() time.Duration {
	longest := s.Params.Propagate
	for _, w := range s.st.Ways {
		longest = max(longest, w.Way)
	}
	return longest
}

// takeConfirmed notes since when the primary server has a record, and when the
// last one has it that nobody asks.
func (s *stepper) takeConfirmed() {
	for i := range s.st.Records {
		t := &s.st.Records[i]
		switch {
		case !s.counts(t.Record, s.Published.Records):
			t.Confirmed, t.Arrives = time.Time{}, time.Time{}
		case s.Published.Confirmed && t.Confirmed.IsZero():
			t.Confirmed = s.now
		}
		if !t.Confirmed.IsZero() && (t.Arrives.IsZero() || s.now.Before(t.Arrives)) {
			t.Arrives = latest(t.Arrives, t.Confirmed.Add(s.way()))
		}
	}
}
