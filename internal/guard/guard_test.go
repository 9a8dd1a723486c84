package guard

import (
	"slices"
	"testing"
	"time"
)

func base() Facts {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	return Facts{
		Now: now, LastPublished: now.Add(-time.Hour), SignedUntil: now.Add(13 * 24 * time.Hour), Signed: true, WasSigned: true,
		Serial: 10, Previous: 9, HasPrevious: true, Served: 9, HasServed: true,
		OldestLeft: 8 * 24 * time.Hour, ExpiryFloor: 7 * 24 * time.Hour, HostBefore: 20, HostNow: 20, ShrinkLimit: 30,
	}
}

// approve lets guards through.
func approve(codes ...string) func(Finding) bool {
	return func(f Finding) bool { return slices.Contains(codes, f.Code) }
}

// TestTable has for each guard what it lets pass at the very edge, and what it
// refuses, with the words.
func TestTable(t *testing.T) {
	day := 24 * time.Hour
	tests := []struct {
		code   string
		pass   func(*Facts)
		refuse func(*Facts)
		says   string
	}{
		{"serial-forward", func(f *Facts) { f.Serial = 1 << 31; f.Previous = 1; f.HasServed = false }, func(f *Facts) { f.Serial = 9 }, "serial 9 is not ahead of the published 9"},
		{"serial-forward", func(f *Facts) { f.Previous = 1<<32 - 1; f.Served = 1<<32 - 1 }, func(f *Facts) { f.Served = 10 }, "serial 10 is not ahead of the served 10"},
		{"serial-forward", func(f *Facts) { f.Serial, f.KeepsSerial = 9, true }, func(f *Facts) { f.Serial, f.KeepsSerial = 8, true }, "serial 8 is not ahead of the published 9"},
		{"key-set", func(*Facts) {}, func(f *Facts) { f.MissingKeys = []string{"13+4711"} }, "published keys without key files: [13+4711]: put the files back (keys are never made anew for a zone that has some)"},
		{"unsigned-after-signed", func(f *Facts) { f.Signed, f.WasSigned = false, false }, func(f *Facts) { f.Signed = false }, "the zone was published signed and would become unsigned: remove the DS at the parent first and wait for its TTL"},
		{"expiry-floor", func(f *Facts) { f.OldestLeft = f.ExpiryFloor }, func(f *Facts) { f.OldestLeft = f.ExpiryFloor - time.Second }, "a signature has 167h59m59s left, the floor is 168h0m0s"},
		{"clock-jump", func(f *Facts) { f.LastPublished = f.Now.Add(ClockBack) }, func(f *Facts) { f.LastPublished = f.Now.Add(ClockBack + time.Second) }, "the clock says 2026-03-01T12:00:00Z, the zone was published at 2026-03-01T12:05:01Z: is the clock right?"},
		{"clock-jump", func(f *Facts) { f.LastPublished, f.SignedUntil = f.Now.Add(-14*day), f.Now }, func(f *Facts) { f.LastPublished, f.SignedUntil = f.Now.Add(-14*day), f.Now.Add(-time.Second) }, "the clock says 2026-03-01T12:00:00Z, and all signatures of the zone published at 2026-02-15T12:00:00Z ran out by 2026-03-01T11:59:59Z: is the clock right?"},
		{"clock-jump", func(f *Facts) { f.LastPublished, f.SignedUntil = f.Now.Add(-60*day), time.Time{} }, func(f *Facts) { f.LastPublished, f.SignedUntil = f.Now.Add(-60*day), f.Now.Add(-day) }, "the clock says 2026-03-01T12:00:00Z, and all signatures of the zone published at 2025-12-31T12:00:00Z ran out by 2026-02-28T12:00:00Z: is the clock right?"},
		{"clock-jump", func(f *Facts) { f.LastPublished = time.Time{} }, func(f *Facts) { f.LastPublished = f.Now.Add(365 * day) }, "the clock says 2026-03-01T12:00:00Z, the zone was published at 2027-03-01T12:00:00Z: is the clock right?"},
		{"clock-jump", func(f *Facts) { f.LastPublished, f.WasAhead = f.Now.Add(365*day), true }, func(f *Facts) {
			f.LastPublished, f.SignedUntil, f.WasAhead = f.Now.Add(-14*day), f.Now.Add(-time.Second), true
		}, "the clock says 2026-03-01T12:00:00Z, and all signatures of the zone published at 2026-02-15T12:00:00Z ran out by 2026-03-01T11:59:59Z: is the clock right?"},
		{"source-empty", func(f *Facts) { f.PrimaryEmpty, f.HasPrevious = true, false }, func(f *Facts) { f.PrimaryEmpty = true }, "the primary/ sources hold no record"},
		{"shrink", func(f *Facts) { f.HostNow = 14 }, func(f *Facts) { f.HostNow = 13 }, "7 of 20 records would go, more than 30 %"},
		{"shrink", func(f *Facts) { f.HostBefore, f.HostNow = 9, 0 }, func(f *Facts) { f.HostBefore, f.HostNow = 10, 6 }, "4 of 10 records would go, more than 30 %"},
		{"shrink", func(f *Facts) { f.HostNow, f.ShrinkLimit = 0, 0 }, func(f *Facts) { f.HostNow, f.ShrinkLimit = 0, 99 }, "20 of 20 records would go, more than 99 %"},
		{"shrink", func(f *Facts) { f.Vanished = 6 }, func(f *Facts) { f.Vanished = 20 }, "20 of 20 records would go, more than 30 %"},
		{"ds-first", func(f *Facts) { f.DS = "x" }, func(f *Facts) { f.First, f.WasSigned, f.DS = true, false, "no DS fits" }, "no DS fits: state with --new-zone that there is none, or give it as ds = [...]"},
		{"parent-ds", func(f *Facts) { f.ParentInTree = true }, func(f *Facts) { f.ParentInTree, f.DS = true, "no DS fits" }, "no DS fits"},
	}
	tried := map[string]bool{}
	for _, tt := range tests {
		tried[tt.code] = true
		f := base()
		tt.pass(&f)
		if got := Check(f, approve()); len(got) != 0 {
			t.Errorf("%s: refuses at the edge: %+v", tt.code, got)
		}
		f = base()
		tt.refuse(&f)
		got := Check(f, approve())
		if len(got) != 1 || got[0].Code != tt.code || got[0].Message != tt.says {
			t.Errorf("%s: %+v\nwant %s", tt.code, got, tt.says)
			continue
		}
		if after := Check(f, approve(tt.code)); (len(after) == 0) != got[0].Override {
			t.Errorf("%s: approved, and %+v", tt.code, after)
		}
		if len(Check(f, approve("another"))) != 1 {
			t.Errorf("%s: the approval of another guard counts", tt.code)
		}
	}
	seen := map[string]bool{}
	for _, g := range Table() {
		if seen[g.Code] || !tried[g.Code] {
			t.Errorf("%s stands twice, or has no test", g.Code)
		}
		seen[g.Code] = true
	}
}
