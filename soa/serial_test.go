package soa

import (
	"slices"
	"testing"
	"testing/quick"
	"time"
)

func TestNext(t *testing.T) {
	now := time.Date(2026, 11, 21, 23, 59, 0, 0, time.UTC)
	prev := func(v uint32) SerialState { return SerialState{Previous: v, HasPrevious: true} }
	tests := []struct {
		name     string
		s        SerialState
		fragment uint32
		p        Policy
		want     uint32
		err      string
	}{
		{"first unixtime", SerialState{}, 7, UnixTime, uint32(now.Unix()), ""},
		{"same second", prev(uint32(now.Unix())), 7, UnixTime, uint32(now.Unix()) + 1, ""},
		{"clock set back", prev(uint32(now.Unix()) + 500), 7, UnixTime, uint32(now.Unix()) + 501, ""},
		{"served is ahead", SerialState{5, 9, true, true}, 1, Counter, 10, ""},
		{"served is behind", SerialState{9, 5, true, true}, 1, Counter, 10, ""},
		{"only served", SerialState{Served: 41, HasServed: true}, 1, Counter, 42, ""},
		{"undefined", SerialState{1, 1<<31 + 1, true, true}, 1, Counter, 0, "choose a serial: the served serial 2147483649 and the published 1 are 2^31 apart, their order is undefined (RFC 1982 §3.2): bring the server to the published file first"},
		{"date", SerialState{}, 1, DateCounter, 2026112100, ""},
		{"date counts", prev(2026112100), 1, DateCounter, 2026112101, ""},
		{"date beyond 99", prev(2026112199), 1, DateCounter, 2026112200, ""},
		{"counter starts at the fragment", SerialState{}, 100, Counter, 100, ""},
		{"counter wraps", prev(1<<32 - 1), 100, Counter, 100, ""},
		{"wrap skips 0", prev(1<<32 - 1), 1<<32 - 1, Counter, 1, ""},
		{"date of the next day", prev(2026112200), 1, DateCounter, 2026112201, ""},
		{"date after unixtime", prev(1795234768), 1, DateCounter, 2026112100, ""},
		{"unixtime after date", prev(2026112100), 1, UnixTime, 2026112101, ""},
		{"keep", prev(4), 5, Keep, 5, ""},
		{"keep a first", SerialState{}, 0, Keep, 0, ""},
		{"keep, behind the served", SerialState{4, 9, true, true}, 5, Keep, 0, "choose a serial: serial = \"keep\", and 5 in the soa/ file is not ahead of 9: raise it"},
		{"keep, ahead of the served only", SerialState{16, 1<<31 - 1, true, true}, 1<<31 + 18, Keep, 0, "choose a serial: serial = \"keep\", and 2147483666 in the soa/ file is not ahead of 2147483647: raise it"},
		{"unknown policy", prev(4), 5, "often", 0, "choose a serial: unknown policy \"often\""},
		{"no successor", SerialState{1, 1 << 31, true, true}, 1, Counter, 0, "choose a serial: none is ahead of both the published 1 and the served 2147483648 (RFC 1982 §3.2): bring the server to the published file first"},
		{"counter far ahead", prev(1), 1<<31 + 5, Counter, 2, ""},
		{"keep unraised", prev(5), 5, Keep, 0, "choose a serial: serial = \"keep\", and 5 in the soa/ file is not ahead of 5: raise it"},
		{"unixtime after 2106", prev(5), 1, UnixTime, 6, ""},
		{"unixtime wraps", prev(1<<32 - 5), 1, UnixTime, 2, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			at := now
			if slices.Contains([]string{"unixtime after 2106", "unixtime wraps"}, tt.name) {
				at = time.Unix(1<<32+2, 0)
			}
			got, err := Next(tt.s, tt.fragment, tt.p, at)
			if got != tt.want || (err == nil) != (tt.err == "") || err != nil && err.Error() != tt.err {
				t.Errorf("got %d, %v; want %d, %q", got, err, tt.want, tt.err)
			}
		})
	}
}

func TestCompare(t *testing.T) {
	tests := []struct {
		a, b  uint32
		order int
		ok    bool
	}{
		{7, 7, 0, true},
		{8, 7, 1, true},
		{7, 8, -1, true},
		{0, 1<<32 - 1, 1, true},
		{1 << 31, 1, 1, true}, // 2^31 - 1 apart, the most that counts
		{1<<31 + 1, 1, 0, false},
		{1, 1<<31 + 1, 0, false},
		{1<<31 + 2, 1, -1, true},
	}
	for _, tt := range tests {
		if order, ok := Compare(tt.a, tt.b); order != tt.order || ok != tt.ok {
			t.Errorf("%d and %d: got %d, %v", tt.a, tt.b, order, ok)
		}
	}
}

// TestNeverBack checks, for any inputs, that a serial is ahead of all before it.
func TestNeverBack(t *testing.T) {
	ahead := func(s SerialState, near int8, fragment uint32, at int64, pick uint8) bool {
		switch pick >> 6 { // chance alone seldom finds neighbours
		case 0:
			s.Served = s.Previous + uint32(int32(near))
		case 1:
			s.Served = s.Previous + 1<<31 + uint32(int32(near))
		case 2:
			fragment = s.Previous + uint32(int32(near))
		}
		p := []Policy{UnixTime, DateCounter, Counter, Keep}[pick%4]
		v, err := Next(s, fragment, p, time.Unix(at%(1<<40), 0))
		switch {
		case err == nil:
			return s.behind(v) && (v != 0 || p == Keep)
		case p == Keep:
			return !s.behind(fragment) || s.HasPrevious && s.HasServed && s.Served-s.Previous == 1<<31
		}
		// Only two serials that are about 2^31 apart have no successor.
		return s.HasPrevious && s.HasServed && s.Served-s.Previous-(1<<31-2) <= 4
	}
	if err := quick.Check(ahead, &quick.Config{MaxCount: 50000}); err != nil {
		t.Error(err)
	}
}
