package rrset

import "slices"

// Merge puts sets together in the order given. The bytes of large sets are
// adopted, those of small ones copied.
func Merge(sets ...*Set) (*Set, error) {
	if len(sets) == 1 {
		return sets[0], nil
	}
	out := &Set{}
	n := 0
	for _, s := range sets {
		n += len(s.index)
	}
	out.index = make([]entry, 0, n)
	for _, s := range sets {
		if len(out.files)+len(s.files) > 1<<16 {
			return nil, ErrFiles
		}
		if err := out.adopt(s); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func (s *Set) adopt(t *Set) error {
	fileBase := uint16(len(s.files))
	s.files = append(s.files, t.files...)
	size := 0
	for _, c := range t.chunks {
		size += len(c)
	}
	if size >= chunkSize/4 {
		if len(s.chunks)+len(t.chunks) > maxChunks {
			return ErrFull
		}
		base := ref(len(s.chunks) << chunkBits)
		for _, c := range t.chunks {
			s.chunks = append(s.chunks, c[:len(c):len(c)]) // full, so that store never writes into shared bytes
		}
		for _, e := range t.index {
			e.owner += base
			e.rdata += base
			e.file += fileBase
			s.index = append(s.index, e)
		}
		return nil
	}
	var last ref
	for i, e := range t.index {
		owner, rdata := t.Owner(i), t.Rdata(i)
		var err error
		if i > 0 && t.index[i-1].owner == e.owner {
			e.owner = last
		} else if e.owner, err = s.store(owner); err != nil {
			return err
		}
		last = e.owner
		if e.rdata, err = s.store(rdata); err != nil {
			return err
		}
		e.file += fileBase
		s.index = append(s.index, e)
	}
	return nil
}

// Edit gives a copy of the index of s in which every record may be changed or
// dropped: f returns the TTL to use and whether to keep record i.
func (s *Set) Edit(f func(i int) (ttl uint32, keep bool)) *Set {
	out := &Set{chunks: s.chunks, files: s.files, index: make([]entry, 0, len(s.index)), sorted: s.sorted, patches: s.patches}
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
