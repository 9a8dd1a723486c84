package rrset

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"slices"
)

// Sorted gives the records of s in canonical order. Equal records keep the
// order of the input. The data is shared with s.
func (s *Set) Sorted() *Set {
	runs := s.runs()
	slices.SortFunc(runs.list, func(a, b run) int {
		if c := cmp.Compare(a.head, b.head); c != 0 {
			return c
		}
		if c := bytes.Compare(runs.key(a), runs.key(b)); c != 0 {
			return c
		}
		return cmp.Compare(a.lo, b.lo)
	})
	out := &Set{chunks: s.chunks, files: s.files, index: make([]entry, 0, len(s.index))}
	for i := 0; i < len(runs.list); {
		start := len(out.index)
		j := i
		for j < len(runs.list) && runs.list[j].head == runs.list[i].head && bytes.Equal(runs.key(runs.list[j]), runs.key(runs.list[i])) {
			out.index = append(out.index, s.index[runs.list[j].lo:runs.list[j].hi]...)
			j++
		}
		i = j
		group := out.index[start:]
		if len(group) > 1 {
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
	}
	return out
}

// run is a stretch of records with one owner; head is the first eight octets
// of its sort key, which decide nearly every comparison.
type run struct {
	lo, hi   int32
	off, len uint32
	head     uint64
}

type runList struct {
	list []run
	keys []byte
}

func (r *runList) key(x run) []byte { return r.keys[x.off : x.off+x.len] }

func (s *Set) runs() *runList {
	r := &runList{}
	suffix := s.commonSuffix()
	for i := 0; i < len(s.index); {
		j := s.OwnerEnd(i)
		off := len(r.keys)
		owner := s.Owner(i)
		r.keys = appendSortKey(r.keys, owner[:len(owner)-suffix])
		var head [8]byte
		copy(head[:], r.keys[off:])
		r.list = append(r.list, run{int32(i), int32(j), uint32(off), uint32(len(r.keys) - off), binary.BigEndian.Uint64(head[:])})
		i = j
	}
	return r
}

// commonSuffix is the length of the shortest owner if all others end in it (as
// they do in a zone, whose apex it is), and 1 (the root label) otherwise.
func (s *Set) commonSuffix() int {
	if len(s.index) == 0 {
		return 0
	}
	shortest := s.Owner(0)
	for i := range s.index {
		if o := s.Owner(i); len(o) < len(shortest) {
			shortest = o
		}
	}
	for i := range s.index {
		o := s.Owner(i)
		cut := len(o) - len(shortest)
		k := 0
		for k < cut {
			k += int(o[k]) + 1
		}
		if k != cut || !bytes.Equal(o[cut:], shortest) {
			return 1
		}
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

// Merge puts sets together in the order given. The bytes of large sets are
// adopted, those of small ones copied.
func Merge(sets ...*Set) (*Set, error) {
	if len(sets) == 1 {
		return sets[0], nil
	}
	out := &Set{}
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
	out := &Set{chunks: s.chunks, files: s.files, index: make([]entry, 0, len(s.index))}
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
// false. TTLs that were left open stay open.
func (s *Set) Filter(keep func(i int) bool) *Set {
	out := &Set{chunks: s.chunks, files: s.files}
	for i, e := range s.index {
		if keep(i) {
			out.index = append(out.index, e)
		}
	}
	return out
}

// WithRdata gives a copy of s in which record i has other rdata. The other
// records share their bytes with s.
func (s *Set) WithRdata(i int, rdata []byte) (*Set, error) {
	out := &Set{files: s.files, index: slices.Clone(s.index), chunks: slices.Clone(s.chunks)}
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
