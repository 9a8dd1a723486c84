package rrset

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"runtime"
	"slices"
	"sort"
	"sync"

	"zonebuild/internal/domain"
)

// Bounds on how a set is sorted by several cores. What comes out is the same
// for any number of them.
const (
	partMin  = 1 << 14 // records of a part: below, to start a goroutine costs more than it gains
	partsMax = 16      // parts that are merged at once
)

// Sort gives the records of all sets in canonical order. Equal records keep the order
// of the sets. The bytes of large sets are shared, those of small ones copied. Errors:
// ErrFull, ErrFiles.
func Sort(sets ...*Set) (*Set, error) {
	n := 0
	for _, s := range sets {
		n += len(s.index)
	}
	return sortIn(partsOf(n), sets)
}

func sortIn(n int, sets []*Set) (*Set, error) {
	if len(sets) == 1 {
		return sets[0].sortedIn(n), nil
	}
	out := &Set{sorted: true}
	var from sources
	for _, s := range sets {
		src, err := out.adopt(s, from.len())
		if err != nil {
			return nil, err
		}
		from = append(from, src)
	}
	from.sort(out, n)
	return out, nil
}

// Sorted gives the records of s in canonical order. Equal records keep the
// order of the input. The data is shared with s.
func (s *Set) Sorted() *Set { return s.sortedIn(partsOf(len(s.index))) }

func (s *Set) sortedIn(n int) *Set {
	out := &Set{chunks: s.chunks, files: s.files, sorted: true, patches: s.patches}
	sources{{Set: s}}.sort(out, n)
	return out
}

// partsOf is how many parts of so many records are sorted beside each other.
func partsOf(n int) int { return max(1, min(runtime.GOMAXPROCS(0), n/partMin, partsMax)) }

// sort sorts n parts of the records beside each other, cuts the sorted parts at the
// same keys, and merges what is between two cuts, again beside each other, into the
// index of out.
func (f sources) sort(out *Set, n int) {
	suffix := f.commonSuffix(n)
	parts := make([]runList, n)
	f.eachPart(n, func(k, lo, hi int) {
		parts[k] = f.runs(lo, hi, suffix)
		parts[k].sort()
	})
	cuts := cutParts(parts)
	starts := make([]int, n+1) // of what is between the cuts, in the index
	for k := range n {
		starts[k+1] = starts[k]
		for p := range parts {
			for _, r := range parts[p].list[cuts[k][p]:cuts[k+1][p]] {
				starts[k+1] += int(r.hi - r.lo)
			}
		}
	}
	out.index = make([]entry, f.len())
	beside(n, func(k int) {
		f.merge(out, out.index[starts[k]:starts[k]:starts[k+1]], parts, cuts[k], cuts[k+1])
	})
}

// beside calls f for 0 to n-1, each on its own goroutine, and waits.
func beside(n int, f func(k int)) {
	var wg sync.WaitGroup
	for k := 1; k < n; k++ {
		wg.Go(func() { f(k) })
	}
	f(0)
	wg.Wait()
}

// eachPart cuts the records into n parts at changes of the owner.
func (f sources) eachPart(n int, do func(k, lo, hi int)) {
	at := make([]int, n+1)
	for k := 1; k <= n; k++ {
		at[k] = max(f.len()*k/n, at[k-1])
		if at[k] > at[k-1] && at[k] < f.len() {
			s := f.of(at[k] - 1)
			at[k] = s.first + s.OwnerEnd(at[k]-1-s.first)
		}
	}
	beside(n, func(k int) { do(k, at[k], at[k+1]) })
}

// run is a stretch of records with one owner; head holds the first octets of its
// sort key, which decide nearly every comparison. A key of more octets is in the keys
// of its list: a shorter one ends in 0, and no other one goes on with the 0 behind it.
type run struct {
	lo, hi   int32
	off, len uint32
	head     [2]uint64
}

type runList struct {
	list []run
	keys []byte
}

func (r *runList) sort() {
	slices.SortFunc(r.list, func(a, b run) int {
		if c := compareRuns(a, r.keys, b, r.keys); c != 0 {
			return c
		}
		return cmp.Compare(a.lo, b.lo)
	})
}

// compareRuns compares the owners of two runs, whose keys are in these buffers.
func compareRuns(a run, aKeys []byte, b run, bKeys []byte) int {
	switch {
	case a.head[0] != b.head[0]:
		return cmp.Compare(a.head[0], b.head[0])
	case a.head[1] != b.head[1]:
		return cmp.Compare(a.head[1], b.head[1])
	}
	return bytes.Compare(aKeys[a.off:a.off+a.len], bKeys[b.off:b.off+b.len])
}

// runs are those of records lo to hi, whose owners all end in a suffix of that
// many octets.
func (f sources) runs(lo, hi, suffix int) runList {
	n := 0
	f.within(lo, hi, func(s *source, lo, hi int) {
		for i := lo; i < hi; i++ {
			if i == lo || s.index[i].owner != s.index[i-1].owner {
				n++
			}
		}
	})
	r := runList{list: make([]run, 0, n)}
	f.within(lo, hi, func(s *source, lo, hi int) {
		for i := lo; i < hi; {
			j := s.OwnerEnd(i)
			off := len(r.keys)
			owner := s.Owner(i)
			r.keys = appendSortKey(r.keys, owner[:len(owner)-suffix])
			var head [16]byte
			if copy(head[:], r.keys[off:]) < len(head) {
				r.keys = r.keys[:off]
			}
			r.list = append(r.list, run{
				int32(s.first + i), int32(s.first + j), uint32(off), uint32(len(r.keys) - off),
				[2]uint64{binary.BigEndian.Uint64(head[:8]), binary.BigEndian.Uint64(head[8:])},
			})
			i = j
		}
	})
	return r
}

// cutParts gives, for each of len(parts)+1 cuts, the place of its key in each
// sorted part. No owner stands on both sides of a cut.
func cutParts(parts []runList) [][]int {
	n := len(parts)
	cuts := make([][]int, n+1)
	longest := &parts[0]
	for p := range parts {
		if len(parts[p].list) > len(longest.list) {
			longest = &parts[p]
		}
	}
	for k := range cuts {
		cuts[k] = make([]int, n)
		for p := range parts {
			part := &parts[p]
			switch {
			case k == 0:
			case k == n || len(longest.list) == 0:
				cuts[k][p] = len(part.list)
			default:
				cut := longest.list[len(longest.list)*k/n]
				cuts[k][p] = sort.Search(len(part.list), func(i int) bool {
					return compareRuns(part.list[i], part.keys, cut, longest.keys) >= 0
				})
			}
		}
	}
	return cuts
}

// merge appends the records of the runs from each part's place in from to that in
// to, in canonical order, as out has them.
func (f sources) merge(out *Set, dst []entry, parts []runList, from, to []int) {
	at := slices.Clone(from)
	for {
		least := -1 // the part with the least owner; the first of several
		for p := range parts {
			if at[p] < to[p] && (least < 0 ||
				compareRuns(parts[p].list[at[p]], parts[p].keys, parts[least].list[at[least]], parts[least].keys) < 0) {
				least = p
			}
		}
		if least < 0 {
			return
		}
		start := len(dst)
		owner, keys := parts[least].list[at[least]], parts[least].keys
		for p := least; p < len(parts); p++ {
			for ; at[p] < to[p] && compareRuns(parts[p].list[at[p]], parts[p].keys, owner, keys) == 0; at[p]++ {
				r := &parts[p].list[at[p]]
				s := f.of(int(r.lo))
				for _, e := range s.index[int(r.lo)-s.first : int(r.hi)-s.first] {
					e.owner += s.base
					e.rdata += s.base
					e.file += s.file
					dst = append(dst, e)
				}
			}
		}
		out.sortGroup(dst[start:])
	}
}

// sortGroup sorts the records of one owner, and lets them share its bytes.
func (s *Set) sortGroup(group []entry) {
	if len(group) == 1 {
		return
	}
	slices.SortStableFunc(group, func(a, b entry) int {
		if c := cmp.Compare(a.typ, b.typ); c != 0 {
			return c
		}
		return bytes.Compare(s.bytes(a.rdata, int(a.rdlen)), s.bytes(b.rdata, int(b.rdlen)))
	})
	for k := range group {
		group[k].owner = group[0].owner
	}
}

// commonSuffix is the length of the shortest owner if all others end in it (as
// they do in a zone, whose apex it is), and 1 (the root label) otherwise. It looks at
// n parts of the records beside each other.
func (f sources) commonSuffix(n int) int {
	var shortest []byte
	for k := range f {
		s := &f[k]
		for i := range s.index {
			if shortest == nil || int(s.index[i].ownlen) < len(shortest) {
				shortest = s.Owner(i)
			}
		}
	}
	within := make([]bool, n)
	f.eachPart(n, func(k, lo, hi int) {
		within[k] = true
		f.within(lo, hi, func(s *source, lo, hi int) {
			for i := lo; i < hi && within[k]; i++ {
				if i == lo || s.index[i].owner != s.index[i-1].owner {
					within[k] = domain.IsWithin(s.Owner(i), shortest)
				}
			}
		})
	})
	if slices.Contains(within, false) {
		return 1
	}
	return len(shortest)
}

// appendSortKey appends the labels of wire (no root label) from the right,
// each with 0x00 and 0x01 escaped and a 0x00 behind it, so that comparing keys
// as octets is comparing names by RFC 4034 §6.1.
func appendSortKey(dst, wire []byte) []byte {
	var off [128]uint8
	n := 0
	for i := 0; i < len(wire); i += int(wire[i]) + 1 {
		off[n] = uint8(i)
		n++
	}
	for n > 0 {
		n--
		l := wire[off[n]:]
		for _, c := range l[1 : 1+int(l[0])] {
			if c <= 1 {
				dst = append(dst, 1)
				c++
			}
			dst = append(dst, c)
		}
		dst = append(dst, 0)
	}
	return dst
}
