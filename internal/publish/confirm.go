package publish

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"zonebuild/internal/domain"
)

// Outcome of waiting for a serial.
type Outcome uint8

const (
	Unconfirmed Outcome = iota // nobody knows: the file stays, the next run asks again
	Confirmed                  // the serial, or a newer one, is served
	FailedLoad                 // the server proved that it could not load the zone
)

// String gives "unconfirmed", "confirmed" or "failed load".
func (o Outcome) String() string {
	switch o {
	case Confirmed:
		return "confirmed"
	case FailedLoad:
		return "failed load"
	}
	return "unconfirmed"
}

// Result is how the wait for one zone ended.
type Result struct {
	Outcome Outcome
	Served  uint32        // last serial seen; 0 if none was
	Err     error         // why it is not confirmed
	Note    string        // what is odd about a confirmation: a newer serial
	Unasked bool          // confirmed because there is nobody to ask
	Took    time.Duration // until the outcome was known
}

// Bounds of the polling.
const (
	firstPause   = 5 * time.Millisecond
	longestPause = time.Second
	askTimeout   = 5 * time.Second // for one question
	askers       = 8               // questions at a time

	// patience is how long a zone that is not known to have been served before may
	// answer SERVFAIL: it may have been broken, and the reload that mends it takes
	// some 2 s for a million records, and waits for the reloads of others.
	patience = 10 * time.Second
)

// Confirm asks until each zone is served with the wanted serial or the time is
// up. The reload must have been accepted already. Without a server to ask,
// publishing is its own confirmation.
//
// FailedLoad needs proof: SERVFAIL or extended error 14 in two answers running,
// of a zone that was served just before the reload or after it, or else in all
// answers for ten seconds (half the timeout, if that is less). Everything else that is not the serial is
// Unconfirmed, with the reason in Err.
func Confirm(ctx context.Context, s Server, want map[domain.Name]uint32, timeout time.Duration) map[domain.Name]Result {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	results := make(map[domain.Name]Result, len(want))
	var mu sync.Mutex
	var wg sync.WaitGroup
	places := make(chan struct{}, askers)
	for apex, serial := range want {
		wg.Go(func() {
			w := wait{server: s, apex: apex, want: serial, places: places, start: time.Now(), patience: min(patience, timeout/2)}
			w.run(ctx)
			w.result.Took = time.Since(w.start)
			mu.Lock()
			defer mu.Unlock()
			results[apex] = w.result
		})
	}
	wg.Wait()
	return results
}

// wait is the wait for one zone.
type wait struct {
	server   Server
	apex     domain.Name
	want     uint32
	places   chan struct{} // holds one for each question under way
	start    time.Time
	patience time.Duration

	result   Result
	served   bool      // it was served before the reload, or since
	failures int       // answers running that say the load failed
	since    time.Time // the first of them
}

func (w *wait) run(ctx context.Context) {
	for pause := firstPause; ; pause = min(2*pause, longestPause) {
		select {
		case w.places <- struct{}{}:
		case <-ctx.Done():
			w.unanswered(ctx.Err())
			return
		}
		ask, cancel := context.WithTimeout(ctx, askTimeout)
		served, err := w.server.Serial(ask, w.apex)
		cancel()
		<-w.places
		if err != nil && ctx.Err() != nil {
			w.unanswered(err) // our own time was up, which says nothing of the server
			return
		}
		if w.decided(served, err) {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
	}
}

// unanswered gives a wait that nobody ever answered a reason.
func (w *wait) unanswered(err error) {
	if w.result.Err == nil {
		w.result.Err = err
	}
}

// decided takes an answer and reports whether it settles the matter.
func (w *wait) decided(served Served, err error) bool {
	if !errors.Is(err, ErrFailedLoad) {
		w.failures = 0
	}
	r := &w.result
	switch {
	case errors.Is(err, ErrNoServer):
		*r = Result{Outcome: Confirmed, Served: w.want, Unasked: true}
		return true
	case err == nil && served.Serial == w.want:
		*r = Result{Outcome: Confirmed, Served: served.Serial}
		return true
	case err == nil && newer(served.Serial, w.want):
		*r = Result{Outcome: Confirmed, Served: served.Serial, Note: fmt.Sprintf("%s serves %d, which is newer than %d", served.Server, served.Serial, w.want)}
		return true
	case err == nil:
		w.served = true
		*r = Result{Served: served.Serial, Err: fmt.Errorf("%s still serves %d", served.Server, served.Serial)}
	case errors.Is(err, ErrFailedLoad):
		w.served = w.served || served.WasServed
		r.Err = err
		w.failures++
		if w.failures == 1 {
			w.since = time.Now()
			return false
		}
		if w.served || time.Since(w.since) >= w.patience {
			r.Outcome = FailedLoad
			return true
		}
	default:
		r.Err = err
	}
	return false
}
