// Package rrset holds resource records in a compact form: canonical wire data
// (RFC 4034 §6) in chunked arenas, and a 24-byte index entry per record. An
// RRset is a range of the sorted index; nothing here is a pointer per record,
// so a zone of a million names is a few slices for the garbage collector.
//
// Owners are lower-case wire names, rdata is uncompressed wire data in
// canonical form. The package stores and orders; it judges no record, and it
// refuses only what its index cannot hold.
package rrset

import (
	"bytes"
	"errors"
	"fmt"
	"math"

	"zonebuild/internal/diag"
	"zonebuild/internal/domain"
)

const (
	chunkBits = 20
	chunkSize = 1 << chunkBits // a record never straddles two chunks
	maxChunks = 1 << (32 - chunkBits)
	firstSize = 4 << 10 // small fragments are many, so chunks start small

	// MaxTTL is the largest TTL (RFC 2181 §8).
	MaxTTL = math.MaxInt32
	// MaxRdata is the largest rdata of one record in octets.
	MaxRdata = math.MaxUint16

	ttlUnset = 1 << 31 // flag beside the 31 bits of a TTL
)

// Errors of a Builder that is full.
var (
	ErrFull  = errors.New("more record data than one zone can hold") // 4 GiB
	ErrFiles = errors.New("more than 65536 files of records")
)

type ref uint32 // chunk number and offset in it

type entry struct {
	owner, rdata ref
	ttl          uint32
	line         uint32
	rdlen, typ   uint16
	file         uint16
	ownlen, col  uint8
}

// Pos is the place of a record. Columns beyond 255 are stored as unknown.
type Pos struct {
	File   uint16 // index given by AddFile
	Line   uint32
	Column int
}

// Set is an immutable sequence of records. After Sort it is in canonical
// order: by owner (RFC 4034 §6.1), type number, rdata (RFC 4034 §6.3).
type Set struct {
	chunks [][]byte
	files  []string
	index  []entry
	sorted bool // by Sorted: then records of one owner share its bytes

	patches int // how often it was changed by pieces since all of it was made
}

// Builder collects records for a Set. The zero value is ready to use.
type Builder struct{ s Set }

// AddFile makes name the File of later positions and returns its index. Errors:
// ErrFiles.
func (b *Builder) AddFile(name string) (uint16, error) {
	if len(b.s.files) > math.MaxUint16 {
		return 0, ErrFiles
	}
	b.s.files = append(b.s.files, name)
	return uint16(len(b.s.files) - 1), nil
}

// Add copies a record into the set. The TTL is in seconds; a negative one
// stands for a TTL that the input left open. Errors: ErrFull, rdata too long.
func (b *Builder) Add(owner []byte, typ uint16, ttl int64, rdata []byte, pos Pos) error {
	if len(rdata) > MaxRdata {
		return fmt.Errorf("rdata of %d octets", len(rdata))
	}
	if len(owner) > domain.MaxWire {
		return domain.ErrLongName
	}
	e := entry{typ: typ, rdlen: uint16(len(rdata)), ownlen: uint8(len(owner)), line: pos.Line, file: pos.File}
	if pos.Column <= math.MaxUint8 {
		e.col = uint8(pos.Column)
	}
	if ttl < 0 {
		e.ttl = ttlUnset
	} else {
		e.ttl = uint32(ttl)
	}
	shared := false
	if n := len(b.s.index); n > 0 {
		last := b.s.index[n-1]
		if shared = bytes.Equal(b.s.bytes(last.owner, int(last.ownlen)), owner); shared {
			e.owner = last.owner
		}
	}
	var err error
	if !shared {
		if e.owner, err = b.s.store(owner); err != nil {
			return err
		}
	}
	if e.rdata, err = b.s.store(rdata); err != nil {
		return err
	}
	b.s.index = append(b.s.index, e)
	return nil
}

// Parts gives builders that have room for so many records each, for Join: their indexes
// stand behind that of b from the beginning, so that to join them takes no more room. A
// part may outgrow its own. Until then nothing is added to b.
func (b *Builder) Parts(sizes []int) []Builder {
	at, n := len(b.s.index), len(b.s.index)
	for _, size := range sizes {
		n += size
	}
	room := append(make([]entry, 0, n), b.s.index...)
	b.s.index = room
	parts := make([]Builder, len(sizes))
	for i, size := range sizes {
		parts[i].s.index = room[at : at : at+size]
		at += size
	}
	return parts
}

// hasRoomOf reports whether the indexes of parts are where Parts has put them.
func (b *Builder) hasRoomOf(parts []Builder) bool {
	room := b.s.index[len(b.s.index):cap(b.s.index)]
	for i := range parts {
		own := parts[i].s.index[:cap(parts[i].s.index)]
		if len(own) > len(room) || len(own) > 0 && &own[0] != &room[0] {
			return false
		}
		room = room[len(own):]
	}
	return true
}

// Join moves what the parts hold behind what b holds, in their order. The files of
// their positions are those of b. Errors: ErrFull; nothing was moved then.
func (b *Builder) Join(parts []Builder) error {
	chunks, records := len(b.s.chunks), len(b.s.index)
	for i := range parts {
		chunks += len(parts[i].s.chunks)
		records += len(parts[i].s.index)
	}
	if chunks > maxChunks {
		return ErrFull
	}
	if !b.hasRoomOf(parts) {
		b.s.index = append(make([]entry, 0, records), b.s.index...)
	}
	for i := range parts {
		base := ref(len(b.s.chunks) << chunkBits)
		for _, e := range parts[i].s.index {
			e.owner += base
			e.rdata += base
			b.s.index = append(b.s.index, e)
		}
		b.s.chunks = append(b.s.chunks, parts[i].s.chunks...)
		parts[i] = Builder{}
	}
	return nil
}

// Len is the number of records that were added.
func (b *Builder) Len() int { return len(b.s.index) }

// Set gives what was added, in the order of adding, and resets the builder.
func (b *Builder) Set() *Set {
	s := b.s
	b.s = Set{}
	return &s
}

func (s *Set) store(data []byte) (ref, error) {
	if n := len(s.chunks); n == 0 || len(s.chunks[n-1])+len(data) > cap(s.chunks[n-1]) {
		if n >= maxChunks {
			return 0, ErrFull
		}
		size := firstSize
		if n > 0 {
			size = min(2*cap(s.chunks[n-1]), chunkSize)
		}
		s.chunks = append(s.chunks, make([]byte, 0, max(size, len(data))))
	}
	n := len(s.chunks) - 1
	r := ref(n<<chunkBits | len(s.chunks[n]))
	s.chunks[n] = append(s.chunks[n], data...)
	return r, nil
}

func (s *Set) bytes(r ref, n int) []byte {
	c := s.chunks[r>>chunkBits]
	off := int(r & (chunkSize - 1))
	return c[off : off+n : off+n]
}

// Len is the number of records.
func (s *Set) Len() int { return len(s.index) }

// Files is the number of files that positions may name.
func (s *Set) Files() int { return len(s.files) }

// Owner is the owner of record i in lower-case wire form. The caller must not
// change it.
func (s *Set) Owner(i int) []byte { return s.bytes(s.index[i].owner, int(s.index[i].ownlen)) }

// Name is the owner of record i.
func (s *Set) Name(i int) domain.Name { return domain.FromCanonical(s.Owner(i)) }

// Type is the type of record i.
func (s *Set) Type(i int) uint16 { return s.index[i].typ }

// TTL is the TTL of record i in seconds and whether the input gave one.
func (s *Set) TTL(i int) (uint32, bool) {
	t := s.index[i].ttl
	return t &^ ttlUnset, t&ttlUnset == 0
}

// Rdata is the rdata of record i. The caller must not change it.
func (s *Set) Rdata(i int) []byte { return s.bytes(s.index[i].rdata, int(s.index[i].rdlen)) }

// Pos is the place that record i came from.
func (s *Set) Pos(i int) diag.Pos {
	e := &s.index[i]
	if int(e.file) >= len(s.files) {
		return diag.Pos{}
	}
	return diag.Pos{File: s.files[e.file], Line: int(e.line), Column: int(e.col)}
}

// SameOwner reports whether records i and j have one owner.
func (s *Set) SameOwner(i, j int) bool {
	a, b := &s.index[i], &s.index[j]
	return a.owner == b.owner || !s.sorted && bytes.Equal(s.Owner(i), s.Owner(j))
}

// OwnerEnd is the end of the run of records that share the owner of record i.
func (s *Set) OwnerEnd(i int) int {
	j := i + 1
	for j < len(s.index) && s.SameOwner(i, j) {
		j++
	}
	return j
}

// RRsetEnd is the end of the run that shares owner and type of record i. In a
// sorted set that run is the RRset.
func (s *Set) RRsetEnd(i int) int {
	j := i + 1
	for j < len(s.index) && s.index[j].typ == s.index[i].typ && s.SameOwner(i, j) {
		j++
	}
	return j
}

// Find gives the range of the records of owner in a sorted set; lo == hi when
// there are none, and lo is where they would stand.
func (s *Set) Find(owner []byte) (lo, hi int) { return s.search(owner, 0, len(s.index)) }

// nearMost is how many records away FindNear still gallops.
const nearMost = 64

// FindNear is Find for an owner that is likely to stand near record i, as the
// glue of a delegation does. It is not much slower when it does not.
func (s *Set) FindNear(owner []byte, i int) (lo, hi int) {
	lo, hi = 0, len(s.index)
	if domain.Compare(s.Owner(i), owner) < 0 {
		lo = i + 1
		for step := 1; step <= nearMost && i+step < hi; step *= 2 {
			if domain.Compare(s.Owner(i+step), owner) >= 0 {
				hi = i + step
				break
			}
			lo = i + step + 1
		}
	} else {
		hi = i
		for step := 1; step <= nearMost && i-step >= 0; step *= 2 {
			if domain.Compare(s.Owner(i-step), owner) < 0 {
				lo = i - step + 1
				break
			}
			hi = i - step
		}
	}
	return s.search(owner, lo, hi)
}

// search is Find when all records before lo have lesser owners, and those from
// hi on none.
func (s *Set) search(owner []byte, lo, hi int) (int, int) {
	for lo < hi {
		m := int(uint(lo+hi) >> 1)
		if domain.Compare(s.Owner(m), owner) < 0 {
			lo = m + 1
		} else {
			hi = m
		}
	}
	if lo == len(s.index) || !bytes.Equal(s.Owner(lo), owner) {
		return lo, lo
	}
	return lo, s.OwnerEnd(lo)
}

// FindRRset is Find for the records of one type.
func (s *Set) FindRRset(owner []byte, typ uint16) (lo, hi int) {
	lo, hi = s.Find(owner)
	for lo < hi && s.index[lo].typ != typ {
		lo++
	}
	end := lo
	for end < hi && s.index[end].typ == typ {
		end++
	}
	return lo, end
}
