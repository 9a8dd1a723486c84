package daemon

import (
	"errors"
	"log/slog"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"

	"zonebuild/internal/lab"
)

// TestCalendar: what is believed of a clock, minute by minute.
func TestCalendar(t *testing.T) {
	const day = 24 * time.Hour
	begin := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	run, skew := 1000*time.Hour, time.Duration(0)
	c := &calendar{
		wall: func() time.Time { return begin.Add(run + skew) }, running: func() time.Duration { return run },
		believe: believeStep, log: slog.New(slog.DiscardHandler),
	}
	for i, step := range []struct {
		pass, set time.Duration // of the running clock; by which the calendar is set
		want      time.Duration // by which what is believed is off
		undone    bool
	}{
		{0, 0, 0, false},
		{30 * day, 2 * time.Minute, 2 * time.Minute, false}, // it is slewed
		{time.Minute, 5 * day, 2 * time.Minute, false},      // ahead, and not believed
		{9 * time.Minute, 0, 2 * time.Minute, false},
		{30 * time.Second, -5 * day, 2 * time.Minute, false}, // as it was
		{time.Hour, 5 * day, 2 * time.Minute, false},         // again
		{9 * time.Minute, day, 2 * time.Minute, false},       // further: it is another step
		{9 * time.Minute, 0, 2 * time.Minute, false},
		{time.Minute, 0, 6*day + 2*time.Minute, false},               // it stays so
		{time.Minute, 4 * time.Minute, 6*day + 6*time.Minute, false}, // no step
		{time.Hour, day, 6*day + 6*time.Minute, false},
		{believeStep, 0, 7*day + 6*time.Minute, false},
		{time.Hour, -7 * day, 6 * time.Minute, true}, // both are undone at once
		{day, -time.Minute, 5 * time.Minute, true},
		{time.Minute, 3 * day, 5 * time.Minute, true}, // another is not believed
		{believeStep, 0, 3*day + 5*time.Minute, false},
		{time.Minute, -2 * day, day + 5*time.Minute, false},    // back, but not to where it was
		{time.Minute, -day, 5 * time.Minute, false},            // that is forgotten
		{time.Minute, -3 * day, -3*day + 5*time.Minute, false}, // back
	} {
		run, skew = run+step.pass, skew+step.set
		now, undone := c.now()
		if off := now.Sub(begin.Add(run)); off != step.want || undone != step.undone {
			t.Errorf("%d: believed %s off, %v; want %s, %v", i, off, undone, step.want, step.undone)
		}
	}
}

// TestCalendarRuns: the clock that nobody sets goes on.
func TestCalendarRuns(t *testing.T) {
	clock := runningClock()
	was, begin := clock(), time.Now()
	lab.Until(t, "20 ms go by", func() error {
		if time.Since(begin) < 20*time.Millisecond {
			return errors.New("not yet")
		}
		return nil
	})
	if by := clock() - was; by < 20*time.Millisecond {
		t.Errorf("20 ms are %s", by)
	}
}

// inception is the latest in a published file.
func (s *testSite) inception() (last time.Time) {
	s.t.Helper()
	f, err := os.Open(s.path("signed/example.org"))
	if err != nil {
		s.t.Fatal(err)
	}
	defer f.Close()
	parser := dns.NewZoneParser(f, "", "")
	for rr, ok := parser.Next(); ok; rr, ok = parser.Next() {
		if sig, is := rr.(*dns.RRSIG); is {
			if at := time.Unix(int64(sig.Inception), 0); at.After(last) {
				last = at
			}
		}
	}
	if parser.Err() != nil || last.IsZero() {
		s.t.Fatalf("read the published zone: %v", parser.Err())
	}
	return last
}

// TestClockAhead: a clock that is days ahead for a while makes nothing that is not
// valid yet; one that stays so does, and all is mended by itself when it is right again.
func TestClockAhead(t *testing.T) {
	for _, ahead := range []time.Duration{5 * 24 * time.Hour, 8 * 24 * time.Hour} {
		for _, stays := range []bool{false, true} {
			s := newSite(t, false)
			clock := &skewed{}
			s.clock = clock.now
			if stays {
				s.believe = 10 * time.Millisecond
			}
			s.start()
			s.until("the zone is published", s.published("www"))
			clock.set(ahead)
			s.until("it is noticed", func() bool { return strings.Contains(s.said(), "the clock was set ahead") })
			s.write("primary/example.org", "ns1 A 192.0.2.53\nduring A 192.0.2.81\n")
			s.until("a change is published", s.published("during"))
			if stays {
				s.until("signatures by the wrong clock", func() bool { return time.Until(s.inception()) > 24*time.Hour })
			} else if at := s.inception(); time.Until(at) > 0 {
				t.Errorf("ahead by %s: a signature is valid from %s", ahead, at)
			}
			clock.set(0)
			s.write("primary/example.org", "ns1 A 192.0.2.53\nafter A 192.0.2.82\n")
			s.until("a change is published behind it", s.published("after"))
			s.until("all are valid", func() bool { return time.Until(s.inception()) <= 0 })
			if strings.Contains(s.said(), "refused") {
				t.Error("it was refused")
			}
			s.stop()
		}
	}
}

// skewed is a clock that the test sets.
type skewed struct{ by atomic.Int64 }

func (c *skewed) set(by time.Duration) { c.by.Store(int64(by)) }

func (c *skewed) now() time.Time { return time.Now().Add(time.Duration(c.by.Load())) }
