package verify

import (
	"encoding/binary"
	"math/rand/v2"
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
	for _, room := range []int{0, 1, 1000} {
		l := NewLedger(room)
		if l.Has(Mark{1, 1}) || l.Len() != 0 {
			t.Error("an empty ledger holds something")
		}
		same := l.MarkOf([]byte("data"), []byte("signature"))
		for i := range 1000 { // all of them at the same place
			l.Add(Mark{1 << 63, uint64(2*i + 1)}, same)
		}
		if l.Len() != 1001 || !l.Has(same) || !l.Has(Mark{1 << 63, 1999}) || l.Has(Mark{1 << 63, 2001}) || l.Has(Mark{1, 1}) {
			t.Errorf("room for %d: %d marks", room, l.Len())
		}
		for _, m := range []Mark{
			l.MarkOf([]byte("date"), []byte("signature")), l.MarkOf([]byte("data"), []byte("signaturf")), l.MarkOf(nil, nil),
			NewLedger(0).MarkOf([]byte("data"), []byte("signature")),
		} {
			if l.Has(m) {
				t.Errorf("the mark of something else is in the ledger")
			}
		}
	}
}

// largeLedger holds the signatures of a zone, and more as if the zone were large.
func largeLedger(t *testing.T, zone lines) *Ledger {
	l := NewLedger(0)
	zone.addTo(t, l)
	for i := range 3 * SampleSize {
		l.Add(Mark{uint64(i) << 47, 1})
	}
	return l
}

// The sample is of signatures of all types, and of about as many as are wanted.
func TestSampleIsSpread(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	const all, n = 60_000, 30
	var chosen [3]int // as if of A, AAAA and NSEC in turn
	for i := range all {
		signature := binary.LittleEndian.AppendUint64(nil, random.Uint64())
		if isSampled(signature, n) {
			chosen[i%3]++
		}
	}
	for i, got := range chosen {
		if want := all / n / 3; got < want*4/5 || got > want*6/5 {
			t.Errorf("type %d: %d chosen, want about %d", i, got, want)
		}
	}
	if !isSampled([]byte("short"), n) || !isSampled(make([]byte, 64), n) {
		t.Error("a strange signature is not looked at")
	}
}

// The marks of the ledger settle signatures; what is neither in it nor in the
// trusted file gets a public-key operation, and so do samples and the apex.
func TestSettledBy(t *testing.T) {
	all := lines(fixture(t, "nsec"))
	whole, large := NewLedger(0), largeLedger(t, all)
	all.addTo(t, whole)
	n := whole.Len()
	changed := slices.Clone(all)
	changed.edit("mail", "A", "192.0.2.3", "192.0.2.33")
	changed.sign("mail", "A")
	apex := 0
	for _, s := range all {
		if strings.HasPrefix(s, "example.org.\t") && strings.Contains(s, "RRSIG\t") {
			apex++
		}
	}
	tests := []struct {
		name                        string
		zone                        lines
		o                           Options
		verified, byLedger, trusted int // byLedger < 0: some, not all
	}{
		{"nothing", all, Options{}, n, 0, 0},
		{"whole ledger", all, Options{Ledger: whole}, n, 0, 0},
		{"empty ledger", all, Options{Ledger: NewLedger(0)}, n, 0, 0},
		{"large ledger, all", all, Options{Ledger: large, Mode: All}, n, 0, 0},
		{"large ledger, auto", all, Options{Ledger: large, Mode: Auto}, n, 0, 0},
		{"large ledger, sample", all, Options{Ledger: large, Mode: Sample}, -1, -1, 0},
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
	ledger := largeLedger(t, all)
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
