package verify

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"zonebuild/internal/diag"
	"zonebuild/internal/domain"
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

// Looking for what is not there ends, however full the table is.
func TestLedgerFull(t *testing.T) {
	for room := range 10 {
		l := NewLedger(room)
		for i := range 3 * (room + 1) {
			l.Add(Mark{uint64(i) << 60, 1})
			if l.Has(Mark{uint64(i) << 60, 3}) || !l.Has(Mark{uint64(i) << 60, 1}) {
				t.Errorf("room for %d, %d marks: wrong", room, i+1)
			}
		}
	}
}

// The sample is of signatures of all types, and of about as many as are wanted.
func TestSampleIsSpread(t *testing.T) {
	const names, n = 20_000, 30
	for _, rrtype := range []uint16{dns.TypeA, dns.TypeAAAA, dns.TypeNSEC} {
		chosen := 0
		for i := range names {
			name := domain.MustParse(fmt.Sprintf("host%d.example.org", i))
			data := binary.BigEndian.AppendUint16([]byte(name.Wire()), rrtype)
			if isChosen(data, n) {
				chosen++
			}
		}
		if want := names / n; chosen < want*4/5 || chosen > want*6/5 { // the same in each run
			t.Errorf("type %d: %d chosen, want about %d", rrtype, chosen, want)
		}
	}
}

// largeLedger holds the signatures of a zone, and so many more, as if the zone were large,
// that each second one gets a public-key operation.
func largeLedger(t *testing.T, zone lines) *Ledger {
	l := NewLedger(0)
	zone.addTo(t, l)
	for i := range 2 * SampleSize {
		l.Add(Mark{uint64(i) << 47, 1})
	}
	return l
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
				if r.ByLedger == 0 || r.ByLedger >= n-apex { // about half of them
					t.Errorf("%d by ledger", r.ByLedger)
				}
				tt.o.Ledger = largeLedger(t, all) // with a key of its own
				if again, _ := Bytes("zone", tt.zone.text(), tt.o); again.ByLedger != r.ByLedger {
					t.Errorf("the same file has %d by ledger, then %d", r.ByLedger, again.ByLedger)
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

// A signer that believes in its bad signatures is found out by the sample, also if it gives
// the same for all: whichever that is.
func TestSampleFindsBadSignatures(t *testing.T) {
	good := lines(fixture(t, "nsec"))
	var signed []int
	for i, line := range good {
		if name, _, _ := strings.Cut(line, "\t"); name != "example.org." && strings.Contains(line, "\tRRSIG\t") {
			signed = append(signed, i)
		}
	}
	signature := func(line string) (before, sig string) {
		at := strings.LastIndex(line, " ") + 1
		return line[:at], line[at:]
	}
	check := func(spoil func(sig string) string) {
		t.Helper()
		bad := slices.Clone(good)
		for _, i := range signed {
			before, sig := signature(good[i])
			bad[i] = before + spoil(sig)
		}
		r, l := Bytes("zone", bad.text(), Options{Now: fixtureNow, Ledger: largeLedger(t, bad), Mode: Sample})
		if len(l) == 0 || len(l) >= len(signed) || r.ByLedger == 0 {
			t.Errorf("%d of %d bad signatures found, %d by ledger", len(l), len(signed), r.ByLedger)
		}
		for _, d := range l {
			if d.Code != "rrsig-bad" {
				t.Error(d)
			}
		}
	}
	check(func(sig string) string {
		if sig[0] == 'A' {
			return "B" + sig[1:]
		}
		return "A" + sig[1:]
	})
	for _, i := range signed {
		_, same := signature(good[i])
		check(func(string) string { return same })
	}
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
