package soa

import (
	"errors"
	"fmt"
	"time"
)

// Policy says where serials come from.
type Policy string

const (
	UnixTime    Policy = "unixtime"    // seconds since the epoch modulo 2^32, which wraps in 2106
	DateCounter Policy = "datecounter" // YYYYMMDDnn in UTC; beyond 99 a day, on into the next day's numbers
	Counter     Policy = "counter"     // one more than the last, or the author's if that is ahead
	Keep        Policy = "keep"        // the author's, who must raise it
)

// SerialState is what the next serial must be ahead of.
type SerialState struct {
	Previous, Served       uint32 // of the published file, and of the server's answer
	HasPrevious, HasServed bool
}

// ErrNotRaised says that the author who keeps the serials did not raise one.
var ErrNotRaised = errors.New("raise it")

// Compare orders serials by RFC 1982 §3.2. It is not ok when they are exactly
// 2^31 apart: then the order is undefined.
func Compare(a, b uint32) (order int, ok bool) {
	switch d := a - b; {
	case d == 0:
		return 0, true
	case d == 1<<31:
		return 0, false
	case d < 1<<31:
		return 1, true
	}
	return -1, true
}

// Next is the serial of a new version: the policy's value if it is ahead of
// the previous and the served serial, else the further one plus 1; it never
// goes back. fragment is the serial in the soa/ file, the author's. It is never
// 0, which some servers take for "no serial", unless the author keeps a 0.
// Errors: Keep without a raised serial, and a served serial of which nobody can
// say whether it is ahead.
func Next(s SerialState, fragment uint32, p Policy, now time.Time) (uint32, error) {
	last, known, err := s.last()
	if err != nil {
		return 0, err
	}
	var v uint32
	switch p {
	case UnixTime:
		v = uint32(now.Unix())
	case DateCounter:
		y, m, d := now.UTC().Date()
		v = uint32(y)*1e6 + uint32(m)*1e4 + uint32(d)*100
	case Counter:
		v = fragment
	case Keep:
		if !s.behind(fragment) {
			return 0, fmt.Errorf("choose a serial: serial = \"keep\", and %d in the soa/ file is not ahead of %d: %w", fragment, last, ErrNotRaised)
		}
		return fragment, nil
	default:
		return 0, fmt.Errorf("choose a serial: unknown policy %q", p)
	}
	if known && !s.behind(v) {
		v = last + 1
	}
	if v == 0 {
		v = 1
	}
	if !s.behind(v) {
		return 0, fmt.Errorf("choose a serial: none is ahead of both the published %d and the served %d (RFC 1982 §3.2): bring the server to the published file first", s.Previous, s.Served)
	}
	return v, nil
}

// last is the further one of the two serials, if any is known.
func (s SerialState) last() (last uint32, known bool, err error) {
	switch order, ok := Compare(s.Served, s.Previous); {
	case !s.HasServed:
		return s.Previous, s.HasPrevious, nil
	case !s.HasPrevious:
		return s.Served, true, nil
	case !ok:
		return 0, false, fmt.Errorf("choose a serial: the served serial %d and the published %d are 2^31 apart, their order is undefined (RFC 1982 §3.2): bring the server to the published file first", s.Served, s.Previous)
	case order > 0:
		return s.Served, true, nil
	}
	return s.Previous, true, nil
}

// behind reports whether v is ahead of all that is known: being ahead is not
// transitive, and a value far ahead of one serial may be behind the other.
func (s SerialState) behind(v uint32) bool {
	a, okA := Compare(v, s.Previous)
	b, okB := Compare(v, s.Served)
	return (!s.HasPrevious || okA && a > 0) && (!s.HasServed || okB && b > 0)
}
