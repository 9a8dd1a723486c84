package zone

import (
	"bytes"
	"cmp"
	"encoding/json"

	"github.com/miekg/dns"

	"zonebuild/internal/diag"
	"zonebuild/internal/domain"
	"zonebuild/internal/rrset"
)

// Change is one record that two zones do not share.
type Change struct {
	Added  bool // else removed
	Record string
	Pos    diag.Pos // where it stands, for an added one
}

// MarshalJSON puts the place into the names that a diagnostic has for it.
func (c Change) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Added  bool   `json:"added"`
		Record string `json:"record"`
		File   string `json:"file,omitempty"`
		Line   int    `json:"line,omitempty"`
		Column int    `json:"column,omitempty"`
	}{c.Added, c.Record, c.Pos.File, c.Pos.Line, c.Pos.Column})
}

// Diff lists the records that stand in one of two zones only, in canonical
// order. A change of the SOA serial alone is no change. was may be nil.
func Diff(was, is *Zone) []Change {
	var out []Change
	var old *rrset.Set
	if was == nil {
		old = (&rrset.Builder{}).Set()
	} else {
		old = was.records
		if s, err := is.WithSerial(was.Serial()); err == nil {
			is = s
		}
	}
	cur := is.records
	add := func(added bool, s *rrset.Set, i int) {
		c := Change{Added: added, Record: string(bytes.TrimSuffix(AppendRecordOf(nil, s, i), []byte{'\n'}))}
		if added {
			c.Pos = s.Pos(i)
		}
		out = append(out, c)
	}
	i, j := 0, 0
	for i < old.Len() || j < cur.Len() {
		switch c := compareAt(old, i, cur, j); {
		case c < 0:
			add(false, old, i)
			i++
		case c > 0:
			add(true, cur, j)
			j++
		default:
			a, _ := old.TTL(i)
			b, _ := cur.TTL(j)
			if a != b {
				add(false, old, i)
				add(true, cur, j)
			}
			i++
			j++
		}
	}
	return out
}

// compareAt orders record i of a and record j of b canonically; the end of a
// set is after everything.
func compareAt(a *rrset.Set, i int, b *rrset.Set, j int) int {
	switch {
	case i >= a.Len():
		return 1
	case j >= b.Len():
		return -1
	}
	if c := domain.Compare(a.Owner(i), b.Owner(j)); c != 0 {
		return c
	}
	if c := cmp.Compare(a.Type(i), b.Type(j)); c != 0 {
		return c
	}
	return bytes.Compare(a.Rdata(i), b.Rdata(j))
}

// Equal reports whether two zones hold the same records but for the serial.
func Equal(a, b *Zone) bool {
	if a.records.Len() != b.records.Len() {
		return false
	}
	for i := range a.records.Len() {
		ta, _ := a.records.TTL(i)
		tb, _ := b.records.TTL(i)
		if ta != tb || i != a.soa && compareAt(a.records, i, b.records, i) != 0 {
			return false
		}
	}
	return a.soa == b.soa && sameSOA(a.records.Rdata(a.soa), b.records.Rdata(b.soa))
}

func sameSOA(a, b []byte) bool {
	n := len(a) - 20
	return len(a) == len(b) && bytes.Equal(a[:n], b[:n]) && bytes.Equal(a[n+4:], b[n+4:])
}

// Types counts the records of a zone that hold data, without the SOA.
func (z *Zone) Types() map[uint16]int {
	out := make(map[uint16]int)
	for i := range z.records.Len() {
		if t := z.records.Type(i); t != dns.TypeSOA {
			out[t]++
		}
	}
	return out
}
