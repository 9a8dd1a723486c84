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

// Result is how the wait for one zone ended.
type Result struct {
	Outcome Outcome
	Served  uint32 // last serial seen
	Err     error  // why it is not confirmed
}

// Bounds of the polling.
const (
	firstPause   = 5 * time.Millisecond
	longestPause = time.Second
	askTimeout   = 5 * time.Second // for one question
	askers       = 8               // questions at a time
)

// Confirm asks until each zone is served with the wanted serial or the time is
// up. Without a server to ask, publishing is its own confirmation.
func Confirm(ctx context.Context, s Server, want map[domain.Name]uint32, timeout time.Duration) map[domain.Name]Result {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	results := make(map[domain.Name]Result, len(want))
	var mu sync.Mutex
	var wg sync.WaitGroup
	places := make(chan struct{}, askers)
	for apex, serial := range want {
		wg.Go(func() {
			r := confirm(ctx, s, apex, serial, places)
			mu.Lock()
			defer mu.Unlock()
			results[apex] = r
		})
	}
	wg.Wait()
	return results
}

func confirm(ctx context.Context, s Server, apex domain.Name, want uint32, places chan struct{}) Result {
	var r Result
	for pause := firstPause; ; pause = min(2*pause, longestPause) {
		places <- struct{}{}
		ask, cancel := context.WithTimeout(ctx, askTimeout)
		served, err := s.Serial(ask, apex)
		cancel()
		<-places
		switch {
		case errors.Is(err, ErrNoServer):
			return Result{Outcome: Confirmed, Served: want}
		case err == nil && int32(served.Serial-want) >= 0:
			return Result{Outcome: Confirmed, Served: served.Serial}
		case err == nil:
			r = Result{Served: served.Serial, Err: fmt.Errorf("%s still serves %d", served.Server, served.Serial)}
		case errors.Is(err, ErrFailedLoad):
			// A server that is starting, or busy with the load, may say so once
			// or twice; one that goes on for a second has made up its mind.
			if pause >= longestPause {
				return Result{Outcome: FailedLoad, Err: err}
			}
			r.Err = err
		default:
			if r.Err == nil || ctx.Err() == nil {
				r.Err = err
			}
		}
		select {
		case <-ctx.Done():
			return r
		case <-time.After(pause):
		}
	}
}
