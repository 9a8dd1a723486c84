package lines

import (
	"crypto/x509"
	"time"
)

// patience is how long a line waits after something that did not help: 1, 10 and 100
// minutes, then a day.
func patience(tries int) time.Duration {
	steps := []time.Duration{time.Minute, 10 * time.Minute, 100 * time.Minute, 24 * time.Hour}
	return steps[min(max(tries, 0), len(steps)-1)]
}

// maxPatience is the longest wait; a time that is further away is from before the
// clock was set back, and does not count.
const maxPatience = 24 * time.Hour

// Stored says when the live certificate came, and how many before it came in haste.
// A CA that suggests a time in the past for each new certificate, or a clock that is
// ahead, must not make a line order for ever.
type Stored struct {
	At    time.Time `json:"at,omitzero"`
	Quick int       `json:"quick,omitempty"` // certificates in a row that came within a third of the lifetime
}

// next is what is noted of a certificate that is stored now.
func (s Stored) next(leaf *x509.Certificate, now time.Time) Stored {
	n := Stored{At: now.UTC().Truncate(time.Second)}
	if age := now.Sub(s.At); age >= 0 && age < lifetime(leaf)/3 {
		n.Quick = s.Quick + 1
	}
	return n
}

// again is the earliest time at which the certificate may be due. At most a tenth of
// the lifetime is waited: that much is always left.
func (s Stored) again(leaf *x509.Certificate, now time.Time) time.Time {
	if s.At.IsZero() || s.At.After(now) {
		return time.Time{}
	}
	return s.At.Add(min(patience(s.Quick), lifetime(leaf)/10))
}

func lifetime(leaf *x509.Certificate) time.Duration { return leaf.NotAfter.Sub(leaf.NotBefore) }

// Retry is the back-off of what asks the CA, whatever failed: the CA, what is looked
// at before an order, or the disk.
type Retry struct {
	Tries int       `json:"tries,omitempty"` // in a row
	Since time.Time `json:"since,omitzero"`  // the first of them
	At    time.Time `json:"at,omitzero"`     // not before
}

// failed is the back-off after one more failure.
func (b Retry) failed(now time.Time) Retry {
	now = now.UTC().Truncate(time.Second)
	n := Retry{Tries: b.Tries + 1, Since: b.Since, At: now.Add(patience(b.Tries))}
	if n.Since.IsZero() || n.Since.After(now) {
		n.Since = now
	}
	return n
}

// until is when it may be tried again; zero: at once.
func (b Retry) until(now time.Time) time.Time { return believed(b.At, now) }

// believed is a time of waiting, but for one that no wait leads to.
func believed(at, now time.Time) time.Time {
	if at.Sub(now) > maxPatience {
		return time.Time{}
	}
	return at
}
