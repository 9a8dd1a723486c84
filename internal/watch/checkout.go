package watch

import (
	"time"

	"zonebuild/internal/domain"
)

// checkout is what the loop knows of a Checkout.
type checkout struct {
	*Checkout
	lock     string    // that stands
	since    time.Time // when it was first seen
	asked    time.Time // when it was last looked for
	updating bool
	good     bool // the last update succeeded
	revision string
	next     time.Time            // update
	zones    map[domain.Name]bool // built while it was held
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

// asks gives the function that asks for the lock, for other goroutines.
func (c *checkout) asks() func() string {
	if c == nil || c.Locked == nil {
		return func() string { return "" }
	}
	return c.Locked
}

// held reports whether nothing of the checkout counts now.
func (c *checkout) held() bool { return c.lock != "" || c.updating || c.Updater != nil && !c.good }

func (c *checkout) lockPoll() time.Duration {
	if c.asked.Sub(c.since) >= lockAlarm {
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
	if c.Updater == nil || c.updating || !r.idle() {
		return now.Add(beat)
	}
	if now.Before(c.next) {
		return c.next
	}
	c.updating = true
	r.updating++
	updater := c.Updater
	r.start(func() func() {
		revision, err := updater.Update(r.work)
		return func() { r.updated(c, revision, err) }
	})
	return now.Add(beat)
}

func (r *run) updated(c *checkout, revision string, err error) {
	now := time.Now()
	r.updating--
	c.updating, c.good, c.next = false, err == nil, now.Add(max(c.Every, time.Second))
	r.alarmf(AlarmUpdate, c.Name, err != nil, "update %s: %v", c.Name, err)
	if err != nil {
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

// lockSeen notes whether a lock stands.
func (r *run) lockSeen(c *checkout, lock string, now time.Time) {
	if lock != "" && c.lock == "" {
		c.since = now
	}
	c.lock, c.asked = lock, now
	r.alarmf(AlarmLocked, c.Name, lock != "" && now.Sub(c.since) >= lockAlarm,
		"%s is there for %s: does its program still run? Nothing new is taken from %s until it is gone", lock, lockAlarm, c.Name)
}
