package rrset

import (
	"bytes"
	"sort"

	"zonebuild/internal/domain"
)

// MaxPatches is how often a set should be changed by pieces: what was dropped goes
// on taking room in its chunks.
const MaxPatches = 256

// Patches is how often a set was changed by pieces (Splice, Edited) since all of it
// was made.
func (s *Set) Patches() int { return s.patches }

// Piece says that records From to To of another set come in place of records Lo to Hi.
type Piece struct{ Lo, Hi, From, To int }

// Splice gives the records of s with those of mid in the places that the pieces say,
// which are in order, and with the lines of those behind the last one moved down by so
// many. All of them are of one file. The data is shared with both sets. Errors: ErrFull.
func (s *Set) Splice(mid *Set, lines int, pieces ...Piece) (*Set, error) {
	out, base, err := s.patched(mid)
	if err != nil {
		return nil, err
	}
	n := len(s.index)
	for _, p := range pieces {
		n += p.To - p.From - (p.Hi - p.Lo)
	}
	out.index = make([]entry, 0, n)
	at := 0
	for _, p := range pieces {
		out.index = append(out.index, s.index[at:p.Lo]...)
		for _, e := range mid.index[p.From:p.To] {
			e.owner += base
			e.rdata += base
			out.index = append(out.index, e)
		}
		at = p.Hi
	}
	out.index = append(out.index, s.index[at:]...)
	if lines != 0 {
		behind := out.index[len(out.index)-(len(s.index)-at):]
		for i := range behind {
			behind[i].line = uint32(int(behind[i].line) + lines)
		}
	}
	return out, nil
}

// patched is a set without records that has the chunks of s and, from the base on,
// those of more.
func (s *Set) patched(more *Set) (out *Set, base ref, err error) {
	if len(s.chunks)+len(more.chunks) > maxChunks {
		return nil, 0, ErrFull
	}
	out = &Set{files: s.files, sorted: s.sorted, patches: s.patches + 1}
	out.chunks = make([][]byte, 0, len(s.chunks)+len(more.chunks))
	for _, chunks := range [][][]byte{s.chunks, more.chunks} {
		for _, c := range chunks {
			out.chunks = append(out.chunks, c[:len(c):len(c)]) // full, so that store never writes into shared bytes
		}
	}
	return out, ref(len(s.chunks) << chunkBits), nil
}

// Edit is what became of one file of a sorted set: records of the lines before From
// stayed, those of From to To (exclusive) went, those behind moved down by Lines.
// The files of Add, whose records are sorted too, come behind those of the set,
// unless they are of that file.
type Edit struct {
	File     uint16
	From, To uint32
	Lines    int
	Add      *Set
	Own      bool // the records of Add are of File
}

// Edited gives a sorted set after an edit, and where the added records stand. The
// data is shared. Errors: ErrFull, ErrFiles.
func (s *Set) Edited(e Edit) (*Set, []int, error) {
	out, base, err := s.patched(e.Add)
	if err != nil {
		return nil, nil, err
	}
	file := uint16(len(s.files))
	if !e.Own {
		if len(s.files)+len(e.Add.files) > 1<<16 {
			return nil, nil, ErrFiles
		}
		out.files = append(s.files[:len(s.files):len(s.files)], e.Add.files...)
	}
	out.index = make([]entry, 0, len(s.index)+len(e.Add.index))
	places := make([]int, 0, len(e.Add.index))
	at := 0
	for k, add := range e.Add.index {
		place, owner, shared := s.place(e.Add, k)
		out.keep(s.index[at:place], e)
		at = place
		if add.rdata += base; shared {
			add.owner = owner
		} else {
			add.owner += base
		}
		if add.file += file; e.Own {
			add.file = e.File
		}
		places = append(places, len(out.index))
		out.index = append(out.index, add)
	}
	out.keep(s.index[at:], e)
	return out, places, nil
}

// keep appends the entries that an edit leaves.
func (s *Set) keep(entries []entry, e Edit) {
	if e.From == e.To && e.Lines == 0 {
		s.index = append(s.index, entries...)
		return
	}
	for _, is := range entries {
		if is.file == e.File && is.line >= e.From {
			if is.line < e.To {
				continue
			}
			is.line = uint32(int(is.line) + e.Lines)
		}
		s.index = append(s.index, is)
	}
}

// place is where record k of add belongs in a sorted set: behind its equals. If
// others of its owner are there, it gives the owner that they share.
func (s *Set) place(add *Set, k int) (at int, owner ref, shared bool) {
	lo, hi := s.Find(add.Owner(k))
	if lo < hi {
		owner, shared = s.index[lo].owner, true
	}
	typ, rdata := add.Type(k), add.Rdata(k)
	return lo + sort.Search(hi-lo, func(i int) bool {
		if t := s.Type(lo + i); t != typ {
			return t > typ
		}
		return bytes.Compare(s.Rdata(lo+i), rdata) > 0
	}), owner, shared
}

// Differ finds where two sorted sets differ: it calls f for each stretch of owners,
// records aLo to aHi of a and bLo to bHi of b, that are not the same in both, in
// order, until f says no. Records are the same when owner, type, TTL and rdata are; those
// numbered aSkip and bSkip count as the same. What both share in memory, as after
// Splice and Edited, is passed over quickly.
func Differ(a, b *Set, aSkip, bSkip int, f func(aLo, aHi, bLo, bHi int) bool) {
	same := sameRecords(a, b, aSkip, bSkip)
	for i, j := 0, 0; ; {
		for i < len(a.index) && j < len(b.index) && same(i, j) {
			i, j = i+1, j+1
		}
		if i == len(a.index) && j == len(b.index) {
			return
		}
		for i > 0 && j > 0 && (i < len(a.index) && a.SameOwner(i-1, i) || j < len(b.index) && b.SameOwner(j-1, j)) { // to the first of the owner
			i, j = i-1, j-1
		}
		aLo, bLo := i, j
		for more := true; more; {
			order := -1
			switch {
			case i == len(a.index):
				order = 1
			case j < len(b.index):
				order = domain.Compare(a.Owner(i), b.Owner(j))
			}
			if order <= 0 {
				i = a.OwnerEnd(i)
			}
			if order >= 0 {
				j = b.OwnerEnd(j)
			}
			more = (i < len(a.index) || j < len(b.index)) && !(i < len(a.index) && j < len(b.index) && same(i, j))
		}
		if !f(aLo, i, bLo, j) {
			return
		}
	}
}

// sameRecords gives the comparison of Differ.
func sameRecords(a, b *Set, aSkip, bSkip int) func(i, j int) bool {
	shared := make([]bool, min(len(a.chunks), len(b.chunks)))
	for k := range shared {
		x, y := a.chunks[k], b.chunks[k]
		shared[k] = len(x) > 0 && len(y) > 0 && &x[0] == &y[0]
	}
	in := func(r ref) bool { return int(r>>chunkBits) < len(shared) && shared[r>>chunkBits] }
	return func(i, j int) bool {
		x, y := &a.index[i], &b.index[j]
		if i == aSkip || j == bSkip {
			return i == aSkip && j == bSkip
		}
		if x.ttl != y.ttl || x.typ != y.typ || x.rdlen != y.rdlen || x.ownlen != y.ownlen {
			return false
		}
		return (x.owner == y.owner && in(x.owner) || bytes.Equal(a.Owner(i), b.Owner(j))) &&
			(x.rdata == y.rdata && in(x.rdata) || bytes.Equal(a.Rdata(i), b.Rdata(j)))
	}
}
