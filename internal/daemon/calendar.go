package daemon

import (
	"log/slog"
	"slices"
	"sync"
	"time"
)

// Bounds of the belief in a clock that was set.
const (
	clockStep   = 5 * time.Minute  // less is no step
	believeStep = 10 * time.Minute // a step ahead has stood for so long when it is believed
	maxEpochs   = 8                // that are remembered
)

// calendar is the time of day as far as it can be believed. Signatures that a clock
// days ahead makes are valid for nobody, so that such a step counts only when it has
// stood for a while; until then the time goes on as the running clock has it, which is
// as good as it was the instant before. A step back is taken at once: the guard
// clock-jump judges it, unless it only undoes a step ahead that was believed.
type calendar struct {
	wall    func() time.Time
	running func() time.Duration // since any instant, also while the machine sleeps; nobody sets it
	believe time.Duration        // believeStep, but in tests
	log     *slog.Logger

	mu     sync.Mutex
	known  bool
	epoch  time.Time     // wall less running, as it is believed
	asks   time.Time     // likewise, of a step ahead that is not believed yet; zero = there is none
	since  time.Duration // of that, by running
	were   []time.Time   // epochs from which steps ahead were believed
	undone bool          // the last step led back to one of them
}

// now is the time of day. wasAhead: what was published later than that was published
// by a clock that was wrong for a while.
func (c *calendar) now() (now time.Time, wasAhead bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	run, wall := c.running(), c.wall().Round(0)
	is := wall.Add(-run)
	by := is.Sub(c.epoch)
	switch {
	case !c.known:
	case by > clockStep:
		if c.asks.IsZero() || is.Sub(c.asks).Abs() > clockStep {
			c.asks, c.since = is, run
			c.log.Warn("the clock was set ahead: it is believed when it stays so", "by", by.Round(time.Second), "for", c.believe)
		}
		if run-c.since < c.believe {
			return c.epoch.Add(run), c.undone
		}
		c.log.Warn("the clock that was set ahead is believed", "by", by.Round(time.Second))
		c.were, c.undone = append(c.were, c.epoch), false
		if len(c.were) > maxEpochs {
			c.were = c.were[1:]
		}
	case by < -clockStep:
		i := slices.IndexFunc(c.were, func(was time.Time) bool { return is.Sub(was).Abs() <= clockStep })
		c.undone = i >= 0
		c.were = c.were[:max(i, 0)]
		c.log.Warn("the clock was set back", "by", -by.Round(time.Second), "as-before", c.undone)
	case !c.asks.IsZero():
		c.log.Warn("the clock is as it was before it was set ahead")
	}
	c.known, c.epoch, c.asks = true, is, time.Time{}
	return wall, c.undone
}
