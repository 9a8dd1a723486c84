package watch

import (
	"errors"
	"fmt"
	"time"
)

// stop waits for what runs: a look is told to stop at once, and so is a build that
// hangs; the others get time.
func (r *run) stop(timer *time.Timer) error {
	end, told, hung := time.Now().Add(stopGrace), false, ""
	patience := time.Now().Add(fetchLast + stopLast) // with updates
	defer time.AfterFunc(fetchLast, r.endFetch).Stop()
	if !r.loading.IsZero() { // it changes nothing
		r.endLoad()
	}
	for {
		now := time.Now()
		busy := !r.building.IsZero() || r.updating > 0 && now.Before(patience)
		switch {
		case !busy && r.looking == 0 && r.loading.IsZero():
			return nil
		case !told && hung == "" && r.hangs(stopHangs) != "":
			hung = r.hangs(stopHangs)
			end = now
			continue
		case !told && (!busy || reached(end, now)):
			r.cancel()
			end, told = now.Add(stopLast), true
			if hung != "" || !busy {
				end = now.Add(hangLast)
			}
		case told && reached(end, now) && hung != "" && !r.building.IsZero():
			return fmt.Errorf("stop: the running build hangs: it does not come to an end to %s", hung)
		case told && reached(end, now) && !r.building.IsZero():
			return errors.New("stop: the running build does not end")
		case told && reached(end, now):
			return nil // a look, a load or an update that hangs holds nothing that matters
		}
		r.beat(now)
		wait := min(beat, end.Sub(now), time.Second)
		if now.Before(patience) {
			wait = min(wait, patience.Sub(now))
		}
		timer.Reset(wait)
		select {
		case then := <-r.done:
			then()
		case <-timer.C:
		}
	}
}
