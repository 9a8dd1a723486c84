package acmeclient

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Bounds on repeating what fails. Let's Encrypt pauses an account after five failed
// validations of a name in an hour; whoever loops is out for everything.
const (
	maxFailures   = 5
	failureWindow = time.Hour
	keepFailures  = 31 * 24 * time.Hour
	keepEach      = 8    // of one subject
	keepAll       = 4096 // in all
	journalName   = "journal"
)

// ErrTooManyFailures says that a name failed so often that the CA is left alone.
var ErrTooManyFailures = errors.New("too many failures")

// Failure is one that the CA has counted too, or one run that came to nothing.
type Failure struct {
	Subject string    `json:"subject"` // an identifier as "dns:NAME", an order as "order:NAME"
	At      time.Time `json:"at"`
}

// History is what failed since the subject last succeeded, oldest first.
type History []Failure

// subjectOf is what the CA counts by: a name and its wildcard are one.
func subjectOf(id string) string { return "dns:" + strings.TrimPrefix(id, "*.") }

// of gives the times of a subject. One that is ahead by more than maxAhead is from before
// the clock was set back, and does not count: how long ago it was nobody knows, and it
// would block until the clock is there again.
func (h History) of(subject string, now time.Time) []time.Time {
	var times []time.Time
	for _, f := range h {
		if f.Subject == subject && f.At.Sub(now) <= maxAhead {
			times = append(times, f.At)
		}
	}
	slices.SortFunc(times, time.Time.Compare)
	return times
}

// Blocked says whether one of the identifiers failed five times within an hour,
// which one, and until when it must rest.
func (h History) Blocked(identifiers []string, now time.Time) (name string, until time.Time) {
	for _, id := range identifiers {
		times := h.of(subjectOf(id), now)
		if len(times) < maxFailures {
			continue
		}
		end := times[len(times)-maxFailures].Add(failureWindow)
		if end.After(now) && end.After(until) {
			name, until = id, end
		}
	}
	return name, until
}

// RetryAt is when an order may be tried again: 1 minute after its first failure,
// then 10, then 100 minutes, then daily. The zero time is at once.
func (h History) RetryAt(order string, now time.Time) time.Time {
	times := h.of("order:"+order, now)
	if len(times) == 0 {
		return time.Time{}
	}
	steps := []time.Duration{time.Minute, 10 * time.Minute, 100 * time.Minute, 24 * time.Hour}
	at := times[len(times)-1].Add(steps[min(len(times), len(steps))-1])
	if !at.After(now) {
		return time.Time{}
	}
	return at
}

// add notes a failure and forgets what is too old, too far ahead, or too much.
func (h History) add(subject string, now time.Time) History {
	out := make(History, 0, min(len(h)+1, keepAll))
	same := 0
	for _, f := range slices.Backward(h) {
		if f.Subject == subject {
			if same++; same >= keepEach {
				continue
			}
		}
		if age := now.Sub(f.At); age >= -maxAhead && age <= keepFailures && len(out) < keepAll-1 {
			out = append(out, f)
		}
	}
	slices.Reverse(out)
	return append(out, Failure{subject, now.UTC()})
}

// without forgets subjects that succeeded.
func (h History) without(subjects ...string) History {
	return slices.DeleteFunc(slices.Clone(h), func(f Failure) bool { return slices.Contains(subjects, f.Subject) })
}

// Journal is what the client remembers between two runs.
type Journal struct {
	Failures  History              `json:"failures"`
	NotBefore map[string]time.Time `json:"not-before,omitempty"` // of an order: the CA's Retry-After
	Orders    []Ordered            `json:"orders,omitempty"`
}

// Journal reads the journal, for a status or to decide what is due. One that is
// damaged begins anew: it is about what not to do, and must not end all renewals.
func (c *Client) Journal() (Journal, error) {
	var j Journal
	_, err := c.load(journalName, &j)
	if errors.Is(err, ErrDamaged) {
		return Journal{}, nil
	}
	return j, err
}

// RetryAt is when an order may be tried again, for both reasons: its failures, and
// what the CA asked for. The zero time is at once.
func (j Journal) RetryAt(order string, now time.Time) time.Time {
	at := j.Failures.RetryAt(order, now)
	if asked := j.asked(order, now); asked.After(at) {
		at = asked
	}
	return at
}

// asked is until when the CA wants to be left alone. More than it can ask for is
// from before the clock was set back.
func (j Journal) asked(order string, now time.Time) time.Time {
	if at := j.NotBefore[order]; at.After(now) && at.Sub(now) <= maxRetryAfter {
		return at
	}
	return time.Time{}
}

// held says why an order must not be made now; nil if it may. Beyond: whatever there were
// of them.
func (c *Client) held(o *Order, beyond bool) error {
	j, err := c.Journal()
	if err != nil {
		return err
	}
	now := c.now()
	proved := o.Phase == PhaseFinalizing || o.Phase == PhaseIssued
	if name, until := j.Failures.Blocked(o.Identifiers, now); name != "" && !proved {
		return fmt.Errorf("%w: %s failed %d times within an hour, it rests until %s", ErrTooManyFailures, name, maxFailures, stamp(until))
	}
	if until, why := j.Full(o.Directory, o.Identifiers, now); !until.IsZero() && o.URL == "" && !beyond {
		return fmt.Errorf("%w: %s, the next one may be made at %s", ErrTooManyOrders, why, stamp(until))
	}
	if at := j.asked(o.Name, now); !at.IsZero() {
		return &Problem{Class: ErrRateLimited, Detail: "the CA has not been asked again", Until: at}
	}
	return nil
}

// remember changes the journal by what became of an order.
func (c *Client) remember(o *Order, got *Certificate, failed error) error {
	c.journal.Lock()
	defer c.journal.Unlock()
	j, err := c.Journal()
	if err != nil {
		return err
	}
	now := c.now()
	if j.NotBefore == nil {
		j.NotBefore = map[string]time.Time{}
	}
	for name, at := range j.NotBefore {
		if name == o.Name || !at.After(now) {
			delete(j.NotBefore, name)
		}
	}
	if failed == nil {
		subjects := []string{"order:" + o.Name}
		for _, id := range o.Identifiers {
			subjects = append(subjects, subjectOf(id))
		}
		j.Failures = j.Failures.without(subjects...)
		leaf := got.Chain[0]
		j.ordered(o, max(1, leaf.NotAfter.Sub(leaf.NotBefore)), now)
		return c.save(journalName, j)
	}
	for _, name := range lostNames(failed) {
		j.Failures = j.Failures.add(subjectOf(name), now)
	}
	j.Failures = j.Failures.add("order:"+o.Name, now)
	var p *Problem
	if errors.As(failed, &p) && p.Until.After(now) {
		j.NotBefore[o.Name] = p.Until.UTC()
	}
	return c.save(journalName, j)
}

// lostNames are the identifiers whose validation failed, in a tree of errors.
func lostNames(err error) []string {
	if l, ok := err.(*lost); ok {
		return []string{l.name}
	}
	switch e := err.(type) {
	case interface{ Unwrap() error }:
		return lostNames(e.Unwrap())
	case interface{ Unwrap() []error }:
		var names []string
		for _, sub := range e.Unwrap() {
			names = append(names, lostNames(sub)...)
		}
		return names
	}
	return nil
}
