package rrset

import (
	"slices"
	"sort"
)

// source is one of the sets that are sorted together, and where its first record,
// chunk and file are among those of all.
type source struct {
	*Set
	first int
	base  ref
	file  uint16
}

// sources are the records of some sets as one sequence. Nothing of them is copied: an
// index is dear where the set is large.
type sources []source

// len is the number of records.
func (f sources) len() int {
	if len(f) == 0 {
		return 0
	}
	last := &f[len(f)-1]
	return last.first + len(last.index)
}

// of gives the set of record i.
func (f sources) of(i int) *source {
	return &f[sort.Search(len(f), func(k int) bool { return f[k].first > i })-1]
}

// within calls do for the sets of records lo to hi, with the numbers that the records
// have in the set.
func (f sources) within(lo, hi int, do func(s *source, lo, hi int)) {
	for lo < hi {
		s := f.of(lo)
		end := min(hi, s.first+len(s.index))
		do(s, lo-s.first, end-s.first)
		lo = end
	}
}

// adopt gives the source of t behind n records, and s what its records refer to: the
// chunks of a large set are shared, the bytes of a small one copied. Errors: ErrFull,
// ErrFiles.
func (s *Set) adopt(t *Set, n int) (source, error) {
	if len(s.files)+len(t.files) > 1<<16 {
		return source{}, ErrFiles
	}
	out := source{Set: t, first: n, file: uint16(len(s.files))}
	s.files = append(s.files, t.files...)
	size := 0
	for _, c := range t.chunks {
		size += len(c)
	}
	if size < chunkSize/4 {
		var err error
		out.Set, err = s.storeAll(t)
		return out, err
	}
	if len(s.chunks)+len(t.chunks) > maxChunks {
		return out, ErrFull
	}
	out.base = ref(len(s.chunks) << chunkBits)
	for _, c := range t.chunks {
		s.chunks = append(s.chunks, c[:len(c):len(c)]) // full, so that store never writes into shared bytes
	}
	return out, nil
}

// storeAll copies the bytes of t into s, and gives t with them.
func (s *Set) storeAll(t *Set) (*Set, error) {
	index := make([]entry, 0, len(t.index))
	for i, e := range t.index {
		var err error
		if i > 0 && t.index[i-1].owner == e.owner {
			e.owner = index[i-1].owner
		} else if e.owner, err = s.store(t.Owner(i)); err != nil {
			return nil, err
		}
		if e.rdata, err = s.store(t.Rdata(i)); err != nil {
			return nil, err
		}
		index = append(index, e)
	}
	return &Set{chunks: s.chunks, index: index}, nil
}

// Edit gives a copy of the index of s in which every record may be changed or
// dropped: f returns the TTL to use and whether to keep record i.
func (s *Set) Edit(f func(i int) (ttl uint32, keep bool)) *Set {
	return s.edit(make([]entry, 0, len(s.index)), f)
}

// EditOwn is Edit without a copy, for who made s and has given it to nobody: s is of no
// use any more. f may still look at record i, the one before it but for its TTL, and
// those behind.
func (s *Set) EditOwn(f func(i int) (ttl uint32, keep bool)) *Set { return s.edit(s.index[:0], f) }

func (s *Set) edit(index []entry, f func(i int) (ttl uint32, keep bool)) *Set {
	out := &Set{chunks: s.chunks, files: s.files, index: index, sorted: s.sorted, patches: s.patches}
	for i, e := range s.index {
		ttl, keep := f(i)
		if !keep {
			continue
		}
		e.ttl = ttl
		out.index = append(out.index, e)
	}
	return out
}

// Filter gives a copy of the index of s without the records for which keep is
// false, s itself when there are none. TTLs that were left open stay open.
func (s *Set) Filter(keep func(i int) bool) *Set {
	i := 0
	for i < len(s.index) && keep(i) {
		i++
	}
	if i == len(s.index) {
		return s
	}
	out := &Set{chunks: s.chunks, files: s.files, index: slices.Clone(s.index[:i]), sorted: s.sorted, patches: s.patches}
	for i++; i < len(s.index); i++ {
		if keep(i) {
			out.index = append(out.index, s.index[i])
		}
	}
	return out
}

// WithRdata gives a copy of s in which record i has other rdata. The other
// records share their bytes with s.
func (s *Set) WithRdata(i int, rdata []byte) (*Set, error) {
	out := &Set{files: s.files, index: slices.Clone(s.index), chunks: slices.Clone(s.chunks), sorted: s.sorted, patches: s.patches}
	if n := len(out.chunks); n > 0 {
		last := out.chunks[n-1]
		out.chunks[n-1] = last[:len(last):len(last)]
	}
	r, err := out.store(rdata)
	if err != nil {
		return nil, err
	}
	out.index[i].rdata, out.index[i].rdlen = r, uint16(len(rdata))
	return out, nil
}
