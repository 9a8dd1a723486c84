package publish_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"zonebuild/internal/domain"
	"zonebuild/internal/publish"
)

// played is a server that answers each question as a script says, its last
// line for ever. Each answer takes a millisecond.
type played struct {
	publish.None
	script []answer

	mu      sync.Mutex
	asked   int
	atOnce  int // questions under way
	mostNow int
}

type answer struct {
	served publish.Served
	err    error
	took   time.Duration
}

func (p *played) Serial(ctx context.Context, _ domain.Name) (publish.Served, error) {
	p.mu.Lock()
	a := p.script[min(p.asked, len(p.script)-1)]
	p.asked++
	p.atOnce++
	p.mostNow = max(p.mostNow, p.atOnce)
	p.mu.Unlock()
	select {
	case <-time.After(max(a.took, time.Millisecond)):
	case <-ctx.Done():
		a.err = fmt.Errorf("%w: %w", publish.ErrUnreachable, ctx.Err())
	}
	p.mu.Lock()
	p.atOnce--
	p.mu.Unlock()
	return a.served, a.err
}

func TestConfirm(t *testing.T) {
	serves := func(serial uint32) answer { return answer{served: publish.Served{Serial: serial, Server: "ns"}} }
	fails := answer{err: fmt.Errorf("%w (ns answers SERVFAIL)", publish.ErrFailedLoad)}
	newly := answer{served: publish.Served{WasServed: true}, err: fails.err}
	refuses := answer{err: fmt.Errorf("%w (ns answers REFUSED)", publish.ErrUnknownZone)}
	silent := answer{err: publish.ErrUnreachable, took: time.Hour}
	down := answer{err: fmt.Errorf("%w: connection refused", publish.ErrUnreachable)}
	odd := answer{err: errors.New("ns answers NOTIMP")}
	no := func(a answer, n int) (out []answer) {
		for range n {
			out = append(out, a)
		}
		return out
	}
	tests := []struct {
		name    string
		script  []answer
		want    uint32
		outcome publish.Outcome
		served  uint32
		reason  string // in the error or the note
		most    time.Duration
		least   time.Duration
	}{
		{"at once", []answer{serves(2)}, 2, publish.Confirmed, 2, "", time.Millisecond, 0},
		{"after the old one", []answer{serves(1), serves(1), serves(2)}, 2, publish.Confirmed, 2, "", 20 * time.Millisecond, 15 * time.Millisecond},
		{"a newer one", []answer{serves(9)}, 2, publish.Confirmed, 9, "ns serves 9, which is newer than 2", time.Millisecond, 0},
		{"newer past the end of the numbers", []answer{serves(3)}, 1<<32 - 5, publish.Confirmed, 3, "newer", time.Millisecond, 0},
		{"old for ever", []answer{serves(1)}, 2, publish.Unconfirmed, 1, "ns still serves 1", time.Minute, time.Minute},
		{"half of the numbers apart is in no order", []answer{serves(1 << 31)}, 0, publish.Unconfirmed, 1 << 31, "still serves", time.Minute, time.Minute},
		{"no server", []answer{{err: publish.ErrNoServer}}, 2, publish.Confirmed, 2, "", time.Millisecond, 0},
		{"silent", []answer{silent}, 2, publish.Unconfirmed, 0, "does not answer", time.Minute, time.Minute},
		{"down", []answer{down}, 2, publish.Unconfirmed, 0, "connection refused", time.Minute, time.Minute},
		{"down, then up", append(no(down, 20), serves(2)), 2, publish.Confirmed, 2, "", 20 * time.Second, 8 * time.Second},
		{"refused", []answer{refuses}, 2, publish.Unconfirmed, 0, "does not serve the zone", time.Minute, time.Minute},
		{"odd", []answer{odd}, 2, publish.Unconfirmed, 0, "NOTIMP", time.Minute, time.Minute},

		{"fails after it was served", []answer{newly}, 2, publish.FailedLoad, 0, "SERVFAIL", 10 * time.Millisecond, time.Millisecond},
		{"fails after it was seen served", []answer{serves(1), fails}, 2, publish.FailedLoad, 1, "SERVFAIL", 30 * time.Millisecond, 5 * time.Millisecond},
		{"one failure proves nothing", []answer{serves(1), fails, serves(2)}, 2, publish.Confirmed, 2, "", 30 * time.Millisecond, 0},
		{"failures that do not run", []answer{newly, refuses, newly, refuses, serves(2)}, 2, publish.Confirmed, 2, "", time.Second, 0},
		{"was broken, is mended", append(no(fails, 10), serves(2)), 2, publish.Confirmed, 2, "", 6 * time.Second, time.Second},
		{"was broken and stays so", []answer{fails}, 2, publish.FailedLoad, 0, "SERVFAIL", 12 * time.Second, 10 * time.Second},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				apex := domain.MustParse("a.test")
				r := publish.Confirm(t.Context(), &played{script: tt.script}, map[domain.Name]uint32{apex: tt.want}, time.Minute)[apex]
				if r.Outcome != tt.outcome || r.Served != tt.served {
					t.Errorf("%s, serial %d: %v; want %s, %d", r.Outcome, r.Served, r.Err, tt.outcome, tt.served)
				}
				if said := fmt.Sprint(r.Err, " ", r.Note); tt.reason != "" && !strings.Contains(said, tt.reason) {
					t.Errorf("said %q, want %q", said, tt.reason)
				}
				if (r.Err == nil) != (r.Outcome == publish.Confirmed) {
					t.Errorf("%s with error %v", r.Outcome, r.Err)
				}
				if r.Took > tt.most || r.Took < tt.least {
					t.Errorf("took %v, want %v to %v", r.Took, tt.least, tt.most)
				}
			})
		})
	}
}

// The rate of questions stays far below what servers allow a source.
func TestConfirmIsPolite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &played{script: []answer{{served: publish.Served{Serial: 1}}}}
		apex := domain.MustParse("a.test")
		publish.Confirm(t.Context(), s, map[domain.Name]uint32{apex: 2}, time.Minute)
		if s.asked < 60 || s.asked > 70 {
			t.Errorf("%d questions in a minute", s.asked)
		}
	})
}

func TestConfirmMany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &played{script: []answer{{served: publish.Served{Serial: 1}, took: 10 * time.Millisecond}}}
		want := map[domain.Name]uint32{}
		for i := range 1000 {
			want[domain.MustParse(fmt.Sprintf("z%d.test", i))] = 1
		}
		start := time.Now()
		results := publish.Confirm(t.Context(), s, want, time.Minute)
		if len(results) != 1000 || s.asked != 1000 || s.mostNow > 8 || time.Since(start) > 2*time.Second {
			t.Errorf("%d results, %d questions, %d at once, %v", len(results), s.asked, s.mostNow, time.Since(start))
		}
		for apex, r := range results {
			if r.Outcome != publish.Confirmed {
				t.Errorf("%s: %v", apex, r)
			}
		}
	})
}

// A caller that gives up gets what is known by then.
func TestConfirmInterrupted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		s := &played{script: []answer{{err: publish.ErrUnreachable, took: time.Hour}}}
		want := map[domain.Name]uint32{}
		for i := range 20 {
			want[domain.MustParse(fmt.Sprintf("z%d.test", i))] = 1
		}
		start := time.Now()
		results := publish.Confirm(ctx, s, want, time.Hour)
		if len(results) != 20 || time.Since(start) > 2*time.Second {
			t.Errorf("%d results after %v", len(results), time.Since(start))
		}
		for apex, r := range results {
			if r.Outcome != publish.Unconfirmed || r.Err == nil {
				t.Errorf("%s: %+v", apex, r)
			}
		}
	})
}
