package verify

import (
	"encoding/binary"
	"slices"
	"strings"
	"testing"

	"zonebuild/internal/diag"
)

func TestParseMode(t *testing.T) {
	for _, m := range []Mode{Auto, All, Sample} {
		if got, err := ParseMode(m.String()); got != m || err != nil {
			t.Errorf("%v: %v, %v", m, got, err)
		}
	}
	if _, err := ParseMode("some"); err == nil || err.Error() != `unknown mode "some": want auto, all or sample` {
		t.Errorf("some: %v", err)
	}
}

func TestLedger(t *testing.T) {
	var none *Ledger
	if none.Has(Mark{}) || none.Len() != 0 {
		t.Error("nil ledger holds something")
	}
	l := NewLedger([]Mark{{3}, {1}, {3}})
	if l.Len() != 2 || !l.Has(Mark{1}) || !l.Has(Mark{3}) || l.Has(Mark{2}) {
		t.Errorf("ledger: %v", l)
	}
}

// The marks of the ledger settle signatures; what is neither in it nor in the
// trusted file gets a public-key operation, and so do samples and the apex.
func TestSettledBy(t *testing.T) {
	all := lines(fixture(t, "nsec"))
	marks := all.marks(t)
	many := slices.Clone(marks) // as if the zone were large
	for i := range 3 * SampleSize {
		var m Mark
		binary.BigEndian.PutUint32(m[:], uint32(i)<<17)
		many = append(many, m)
	}
	changed := slices.Clone(all)
	changed.edit("mail", "A", "192.0.2.3", "192.0.2.33")
	changed.sign("mail", "A")
	apex := 0
	for _, s := range all {
		if strings.HasPrefix(s, "example.org.\t") && strings.Contains(s, "RRSIG\t") {
			apex++
		}
	}
	n := len(marks)
	tests := []struct {
		name                        string
		zone                        lines
		o                           Options
		verified, byLedger, trusted int // byLedger < 0: some, not all
	}{
		{"nothing", all, Options{}, n, 0, 0},
		{"whole ledger", all, Options{Ledger: NewLedger(marks)}, n, 0, 0},
		{"empty ledger", all, Options{Ledger: NewLedger(nil)}, n, 0, 0},
		{"large ledger, all", all, Options{Ledger: NewLedger(many), Mode: All}, n, 0, 0},
		{"large ledger, auto", all, Options{Ledger: NewLedger(many), Mode: Auto}, n, 0, 0},
		{"large ledger, sample", all, Options{Ledger: NewLedger(many), Mode: Sample}, -1, -1, 0},
		{"trusted", all, Options{Trusted: Trust(all.text())}, 0, 0, n},
		{"trusted, one signed anew", changed, Options{Trusted: Trust(all.text())}, 1, 0, n - 1},
		{"trusted file in another order", all, Options{Trusted: Trust(reversed(all).text())}, n, 0, 0},
		{"trusted file is no zone", all, Options{Trusted: Trust([]byte("( nothing"))}, n, 0, 0},
		{"trusted file of other keys", all, Options{Trusted: Trust(otherKeys(all).text())}, n, 0, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.o.Now = fixtureNow
			r, l := Bytes("zone", tt.zone.text(), tt.o)
			for _, d := range l {
				t.Error(d)
			}
			if r.Verified+r.ByLedger+r.Trusted != r.Signatures || r.Signatures != n {
				t.Errorf("%+v", r)
			}
			if tt.byLedger < 0 {
				if r.ByLedger == 0 || r.ByLedger > n-apex {
					t.Errorf("%d by ledger", r.ByLedger)
				}
				return
			}
			if r.Verified != tt.verified || r.ByLedger != tt.byLedger || r.Trusted != tt.trusted {
				t.Errorf("verified %d, by ledger %d, trusted %d; want %d, %d, %d", r.Verified, r.ByLedger, r.Trusted, tt.verified, tt.byLedger, tt.trusted)
			}
		})
	}
}

func reversed(l lines) lines {
	l = slices.Clone(l)
	slices.Reverse(l)
	return l
}

// otherKeys gives the zone without its ZSK, which made all signatures but that
// of the DNSKEY set: nothing of it can be trusted, and that one is not the same.
func otherKeys(l lines) lines {
	l = slices.Clone(l)
	l.dropWord("@", "DNSKEY", "256")
	return l
}

// A mark is of the data too: what changed after signing is not in the ledger.
func TestLedgerCoversData(t *testing.T) {
	all := lines(fixture(t, "nsec"))
	marks := all.marks(t)
	for i := range 4 * SampleSize {
		var m Mark
		binary.BigEndian.PutUint32(m[:], uint32(i)<<17)
		marks = append(marks, m)
	}
	ledger := NewLedger(marks)
	bad := slices.Clone(all)
	for i, line := range bad {
		bad[i] = strings.Replace(line, "192.0.2.", "192.0.3.", 1)
	}
	_, l := Bytes("zone", bad.text(), Options{Now: fixtureNow, Ledger: ledger, Mode: Sample})
	// Addresses of ns1, ns2, mail, web and the wildcard, and the hint of svcb.
	if len(l) != 6 || slices.ContainsFunc(l, func(d diag.Diagnostic) bool { return d.Code != "rrsig-bad" }) {
		t.Errorf("faults: %v", l)
	}
}
