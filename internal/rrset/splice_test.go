package rrset

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"zonebuild/internal/domain"
)

// recordsOf are the records of a set as texts.
func recordsOf(s *Set) (out []string) {
	for i := range s.Len() {
		ttl, _ := s.TTL(i)
		out = append(out, fmt.Sprintf("%s %d %d %x %s", s.Name(i), ttl, s.Type(i), s.Rdata(i), s.Pos(i)))
	}
	return out
}

// randomSet is a set of one file, a record a line.
func randomSet(t *testing.T, r *rand.Rand, name string, n int) *Set {
	t.Helper()
	var b Builder
	at, err := b.AddFile(name)
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		owner := domain.MustParse(fmt.Sprintf("h%d.example.org", r.IntN(30)))
		if err := b.Add([]byte(owner.Wire()), uint16(1+r.IntN(3)), 300, []byte{byte(r.IntN(4))}, Pos{File: at, Line: uint32(i + 1), Column: 1}); err != nil {
			t.Fatal(err)
		}
	}
	return b.Set()
}

// TestEdited: a sorted set in which the lines of one file were replaced is the one
// that is sorted of what is there then, and its owners are shared.
func TestEdited(t *testing.T) {
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 2))
		a, b := randomSet(t, r, "a", r.IntN(60)), randomSet(t, r, "b", 10+r.IntN(60))
		sorted, err := Sort(a, b)
		if err != nil {
			t.Fatal(err)
		}
		from := r.IntN(b.Len())
		to := from + r.IntN(b.Len()-from+1)
		mid := randomSet(t, r, "b", r.IntN(6))
		for i := range mid.index {
			mid.index[i].line += uint32(from)
		}
		e := Edit{File: 1, From: uint32(from + 1), To: uint32(to + 1), Lines: mid.Len() - (to - from), Add: mid.Sorted(), Own: true}
		before := recordsOf(sorted)
		got, places, err := sorted.Edited(e)
		if err != nil {
			t.Fatal(err)
		}
		spliced, err := b.Splice(mid, e.Lines, Piece{Lo: from, Hi: to, To: mid.Len()})
		if err != nil {
			t.Fatal(err)
		}
		want, err := Sort(a, spliced)
		if err != nil {
			t.Fatal(err)
		}
		// Equal records may stand in another order: their places are the texts' ends.
		x, y := recordsOf(got), recordsOf(want)
		slices.Sort(x)
		slices.Sort(y)
		if !slices.Equal(x, y) {
			t.Fatalf("seed %d:\n%q\nwant\n%q", seed, x, y)
		}
		if !slices.Equal(before, recordsOf(sorted)) {
			t.Fatalf("seed %d: the set that was edited is another", seed)
		}
		for i := 1; i < got.Len(); i++ {
			if got.SameOwner(i-1, i) != bytes.Equal(got.Owner(i-1), got.Owner(i)) {
				t.Fatalf("seed %d: records %d and %d: one owner: %t", seed, i-1, i, got.SameOwner(i-1, i))
			}
			if c := domain.Compare(got.Owner(i-1), got.Owner(i)); c > 0 || c == 0 && got.Type(i-1) > got.Type(i) ||
				c == 0 && got.Type(i-1) == got.Type(i) && bytes.Compare(got.Rdata(i-1), got.Rdata(i)) > 0 {
				t.Fatalf("seed %d: record %d is out of order", seed, i)
			}
		}
		if len(places) != mid.Len() {
			t.Fatalf("seed %d: %d places", seed, len(places))
		}
		for k, at := range places {
			if !bytes.Equal(got.Owner(at), e.Add.Owner(k)) || !bytes.Equal(got.Rdata(at), e.Add.Rdata(k)) {
				t.Fatalf("seed %d: record %d of the edit is not at its place", seed, k)
			}
		}
		sameButDiffering(t, sorted, got)
		sameButDiffering(t, sorted, randomSet(t, r, "c", 40).Sorted())
	}
}

// sameButDiffering wants two sets to be the same between the stretches that Differ
// gives, and these to begin and end with owners, no two of which are wholly the same.
func sameButDiffering(t *testing.T, a, b *Set) {
	t.Helper()
	bare := func(s *Set, lo, hi int) (out []string) {
		for i := lo; i < hi; i++ {
			ttl, _ := s.TTL(i)
			out = append(out, fmt.Sprintf("%s %d %d %x", s.Name(i), ttl, s.Type(i), s.Rdata(i)))
		}
		return out
	}
	i, j := 0, 0
	whole := func(s *Set, lo, hi int) bool {
		return (lo == 0 || lo == s.Len() || !s.SameOwner(lo-1, lo)) && (hi == 0 || hi == s.Len() || !s.SameOwner(hi-1, hi))
	}
	Differ(a, b, -1, -1, func(aLo, aHi, bLo, bHi int) bool {
		if !slices.Equal(bare(a, i, aLo), bare(b, j, bLo)) {
			t.Fatalf("records %d to %d differ from %d to %d", i, aLo, j, bLo)
		}
		if !whole(a, aLo, aHi) || !whole(b, bLo, bHi) || slices.Equal(bare(a, aLo, aHi), bare(b, bLo, bHi)) {
			t.Fatalf("a stretch is %q, %q", bare(a, aLo, aHi), bare(b, bLo, bHi))
		}
		i, j = aHi, bHi
		return true
	})
	if !slices.Equal(bare(a, i, a.Len()), bare(b, j, b.Len())) {
		t.Fatalf("behind %d and %d they differ", i, j)
	}
}
