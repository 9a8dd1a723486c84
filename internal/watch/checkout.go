package watch

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"zonebuild/internal/domain"
)

// checkout is what the loop knows of a Checkout.
type checkout struct {
	*Checkout
	hold               // that stands
	since    time.Time // when its lock was first seen
	asked    time.Time // when it was last looked for
	updating bool
	began    time.Time          // the update that runs
	end      context.CancelFunc // of it
	ended    bool               // it was told to, for a reload
	good     bool               // the last update left a whole revision
	failed   error              // of the last update
	revision string
	next     time.Time                // update
	zones    map[domain.Name]bool     // built while it was held
	question atomic.Pointer[question] // a job's about its lock that runs
}

// hold is why nothing of a checkout counts at an instant: a lock file, or a disk that does
// not answer. The zero hold is none.
type hold struct {
	lock string
	mute bool
}

func (h hold) free() bool { return h.lock == "" && !h.mute }

func (h hold) why() string {
	if h.mute {
		return ErrMute.Error()
	}
	return h.lock
}

// newCheckouts keeps what is known of those that there were before.
func newCheckouts(list []Checkout, old map[string]*checkout) map[string]*checkout {
	out := map[string]*checkout{}
	for i := range list {
		c := old[list[i].Name]
		if c == nil {
			c = &checkout{zones: map[domain.Name]bool{}}
		}
		c.Checkout = &list[i]
		out[c.Name] = c
	}
	return out
}

// asks gives the function that asks whether the checkout is held, for other goroutines.
func (c *checkout) asks() func() hold {
	if c == nil || c.Locked == nil {
		return func() hold { return hold{} }
	}
	locked := c.Locked
	return func() hold { return hold{lock: locked()} }
}

// asksSoon is asks for what a build or a reload waits for: a disk that does not answer
// soon holds the checkout. The looks find out when it does.
func (c *checkout) asksSoon() func() hold {
	if c == nil || c.Locked == nil {
		return c.asks()
	}
	last, locked := &c.question, c.Locked
	return func() hold {
		if q := last.Load(); q != nil { // one job asks at a time, and nobody waits for this one any more
			select {
			case <-q.answered:
			case <-time.After(askGrace):
				return hold{mute: true}
			}
		}
		q := &question{answered: make(chan struct{})}
		last.Store(q)
		go func() {
			q.lock = locked()
			last.Store(nil)
			close(q.answered)
		}()
		timer := time.NewTimer(askWait)
		defer timer.Stop()
		select {
		case <-q.answered:
			return hold{lock: q.lock}
		case <-timer.C:
			return hold{mute: true}
		}
	}
}

// question is a job's about the lock of a checkout.
type question struct {
	answered chan struct{} // closed when lock is known
	lock     string
}

// held reports whether nothing of the checkout counts now.
func (c *checkout) held() bool { return !c.free() || c.unwhole() }

// unwhole reports whether an update has it in hand, or left no whole revision.
func (c *checkout) unwhole() bool { return c.updating || c.Updater != nil && !c.good }

func (c *checkout) lockPoll() time.Duration {
	if c.lock == "" || c.asked.Sub(c.since) >= lockAlarm {
		return 8 * lockPoll
	}
	return lockPoll
}

// missed notes zones that were built without what is new in the checkout.
func (c *checkout) missed(zones []domain.Name) {
	for _, z := range zones {
		c.zones[z] = true
	}
}

// turnCheckout starts an update, if one is due, and tells when the next will be.
// None begins while a build reads the files.
func (r *run) turnCheckout(c *checkout, now time.Time) time.Time {
	if len(c.zones) > 0 && !c.held() {
		zones := make([]domain.Name, 0, len(c.zones))
		for z := range c.zones {
			zones = append(zones, z)
		}
		clear(c.zones)
		r.schedule.change(zones)
	}
	if c.updating {
		if reached(c.began.Add(updateLong), now) {
			r.tellUpdate(c, now)
		}
		return r.hurry(c, now)
	}
	if c.Updater == nil || !r.idle() || r.reload && reached(r.reloadAt, now) {
		return now.Add(beat)
	}
	if now.Before(c.next) {
		return c.next
	}
	c.updating, c.began, c.ended = true, now, false
	r.updating++
	updater := c.Updater
	ctx, end := context.WithCancel(r.fetch)
	c.end = end
	r.start(func() func() {
		defer end()
		revision, err := updater.Update(ctx)
		return func() { r.updated(c, revision, err) }
	})
	return now.Add(beat)
}

// hurry ends a running update that a person waits for who asked for a reload: it may be
// what he mended. It tells when to ask again.
func (r *run) hurry(c *checkout, now time.Time) time.Time {
	next := earlier(now.Add(beat), later(now.Add(time.Second), c.began.Add(updateLong)))
	if r.asked.IsZero() || !r.reload || c.Name != r.setup.Config || c.ended {
		return next
	}
	if end := r.reloadAt.Add(fetchLast); now.Before(end) { // one that is tried again may be later than it was asked for
		return earlier(next, end)
	}
	r.Log.Warn("the update is ended for the reload", "source", c.Name)
	c.ended = true
	c.end()
	return next
}

func (r *run) updated(c *checkout, revision string, err error) {
	now := time.Now()
	r.updating--
	var unmoved *UnmovedError
	c.failed, c.good = err, err == nil || errors.As(err, &unmoved)
	c.updating, c.next = false, now.Add(max(c.Every, time.Second))
	if c.ended && err != nil { // another begins behind the reload
		c.next = now
	}
	r.tellUpdate(c, now)
	if !c.good {
		return
	}
	if c.revision != revision {
		r.Log.Info("updated", "source", c.Name, "revision", revision)
	}
	c.revision = revision
	for _, s := range r.sources {
		if s.checkout == c {
			s.poll, s.hinted = now, true // no quiet is needed: its writer has ended
		}
	}
}

// tellUpdate tells of updates of a checkout that there still is.
func (r *run) tellUpdate(c *checkout, now time.Time) {
	err := c.failed
	if c.updating && now.Sub(c.began) >= updateLong {
		err = fmt.Errorf("it runs for more than %s: nothing new is taken until it ends", updateLong)
	}
	if r.checkouts[c.Name] != c || c.Updater == nil {
		err = nil
	}
	r.alarmf(AlarmUpdate, c.Name, err != nil, "update %s: %v", c.Name, err)
}

// holdSeen notes whether a lock stands.
func (r *run) holdSeen(c *checkout, h hold, now time.Time) {
	if h.lock != "" && c.lock == "" {
		c.since = now
	}
	c.hold, c.asked = h, now
	r.alarmf(AlarmLocked, c.Name, h.lock != "" && now.Sub(c.since) >= lockAlarm,
		"%s is there for %s: does its program still run? Nothing new is taken from %s until it is gone", h.lock, lockAlarm, c.Name)
}
