// Package guard holds the conditions under which a candidate zone is not
// published, as one table: code, condition, override. Each row would have
// stopped an outage that happened to somebody (docs/guards.md).
//
// The guards are pure: they judge facts that the caller gathered.
package guard

import (
	"fmt"
	"time"
)

// Guard is one row of the table.
type Guard struct {
	Code     string
	Override bool // `zonebuild approve ZONE CODE` lets the refused candidate through, once
	check    func(Facts) string
}

// Facts are what the guards judge.
type Facts struct {
	Now           time.Time
	LastPublished time.Time // zero: never
	WasAhead      bool      // LastPublished is of a clock that was ahead for a while, and Now is right
	SignedUntil   time.Time // when the last signature of the published zone runs out; zero: it has none

	First        bool   // no signed zone was ever published
	Signed       bool   // the candidate is signed
	WasSigned    bool   // the published zone is, or once was, signed
	Serial       uint32 // of the candidate
	Previous     uint32 // of the published zone
	HasPrevious  bool
	KeepsSerial  bool // serial policy keep: equal serials are the author's business
	Served       uint32
	HasServed    bool
	OldestLeft   time.Duration // least time that a signature of the candidate has left
	ExpiryFloor  time.Duration
	MissingKeys  []string // published DNSKEYs that no key file explains
	HostBefore   int      // records of soa/ and primary/, last time
	HostNow      int
	Vanished     int    // published records whose name and type are gone, generated ones aside
	ShrinkLimit  int    // percent; 0 = off
	PrimaryEmpty bool   // primary/ sources are there but hold no record
	DS           string // why the DS set at the parent does not fit; empty = it does
	ParentInTree bool
}

// Finding is a guard that refuses a candidate.
type Finding struct {
	Code     string `json:"code"`
	Message  string `json:"message"`
	Override bool   `json:"override"`
}

// Bounds of the clock and shrink guards.
const (
	ClockBack = 5 * time.Minute // a clock set back further than this is refused
	ShrinkMin = 10              // zones with fewer records may shrink at will
)

// Table lists all guards in the order in which they are checked.
func Table() []Guard {
	return []Guard{
		{"serial-forward", false, serialForward},
		{"key-set", true, keySet},
		{"unsigned-after-signed", true, unsigned},
		{"expiry-floor", false, expiryFloor},
		{"clock-jump", true, clockJump},
		{"source-empty", true, sourceEmpty},
		{"shrink", true, shrink},
		{"ds-first", true, dsFirst},
		{"parent-ds", true, parentDS},
	}
}

// Check runs all guards and returns those that refuse, but for those with an
// override that were approved.
func Check(f Facts, approved func(Finding) bool) []Finding {
	var out []Finding
	for _, g := range Table() {
		is := Finding{g.Code, g.check(f), g.Override}
		if is.Message != "" && !(g.Override && approved(is)) {
			out = append(out, is)
		}
	}
	return out
}

// ahead is a > b in serial number arithmetic (RFC 1982 §3.2).
func ahead(a, b uint32) bool { return a != b && a-b < 1<<31 }

func serialForward(f Facts) string {
	switch {
	case f.HasPrevious && !ahead(f.Serial, f.Previous) && !(f.KeepsSerial && f.Serial == f.Previous):
		return fmt.Sprintf("serial %d is not ahead of the published %d", f.Serial, f.Previous)
	case f.HasServed && !ahead(f.Serial, f.Served) && !(f.KeepsSerial && f.Serial == f.Served):
		return fmt.Sprintf("serial %d is not ahead of the served %d", f.Serial, f.Served)
	}
	return ""
}

func keySet(f Facts) string {
	if len(f.MissingKeys) == 0 {
		return ""
	}
	return fmt.Sprintf("published keys without key files: %v: put the files back (keys are never made anew for a zone that has some)", f.MissingKeys)
}

func unsigned(f Facts) string {
	if f.WasSigned && !f.Signed {
		return "the zone was published signed and would become unsigned: remove the DS at the parent first and wait for its TTL"
	}
	return ""
}

func expiryFloor(f Facts) string {
	if f.Signed && f.OldestLeft < f.ExpiryFloor {
		return fmt.Sprintf("a signature has %s left, the floor is %s", f.OldestLeft, f.ExpiryFloor)
	}
	return ""
}

func clockJump(f Facts) string {
	if f.LastPublished.IsZero() {
		return ""
	}
	gap := f.Now.Sub(f.LastPublished)
	switch {
	case gap < -ClockBack && !f.WasAhead:
		return fmt.Sprintf("the clock says %s, the zone was published at %s: is the clock right?", stamp(f.Now), stamp(f.LastPublished))
	case f.Signed && !f.SignedUntil.IsZero() && f.Now.After(f.SignedUntil):
		return fmt.Sprintf("the clock says %s, and all signatures of the zone published at %s ran out by %s: is the clock right?", stamp(f.Now), stamp(f.LastPublished), stamp(f.SignedUntil))
	}
	return ""
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

func sourceEmpty(f Facts) string {
	if f.PrimaryEmpty && f.HasPrevious {
		return "the primary/ sources hold no record"
	}
	return ""
}

func shrink(f Facts) string {
	// Names that all became other names leave the count as it was.
	lost := max(f.HostBefore-f.HostNow, min(f.Vanished, f.HostBefore))
	if f.ShrinkLimit == 0 || f.HostBefore < ShrinkMin || lost*100 <= f.HostBefore*f.ShrinkLimit {
		return ""
	}
	return fmt.Sprintf("%d of %d records would go, more than %d %%", lost, f.HostBefore, f.ShrinkLimit)
}

func dsFirst(f Facts) string {
	if f.First && f.Signed && !f.ParentInTree && f.DS != "" {
		return f.DS + ": state with --new-zone that there is none, or give it as ds = [...]"
	}
	return ""
}

func parentDS(f Facts) string {
	if f.ParentInTree && f.DS != "" {
		return f.DS
	}
	return ""
}
