package verify

import (
	"bytes"
	"cmp"
	"errors"
	"slices"

	"github.com/miekg/dns"

	"zonebuild/internal/domain"
)

const (
	chunkBits = 20
	chunkSize = 1 << chunkBits // no name or rdata straddles two chunks
	maxChunks = 1 << (32 - chunkBits)
)

var errFull = errors.New("more than 4 GiB of record data")

// ref is a place in an arena: number of the chunk and offset in it.
type ref uint32

// arena holds octets in chunks, so that growing copies nothing.
type arena struct{ chunks [][]byte }

// add stores b, at most 65,535 octets. The first chunk grows as needed, since
// most zones are small.
func (a *arena) add(b []byte) (ref, error) {
	last := len(a.chunks) - 1
	if last < 0 || len(a.chunks[last])+len(b) > chunkSize {
		if len(a.chunks) == maxChunks {
			return 0, errFull
		}
		last++
		a.chunks = append(a.chunks, nil)
		if last > 0 {
			a.chunks[last] = make([]byte, 0, chunkSize)
		}
	}
	r := ref(last<<chunkBits | len(a.chunks[last]))
	a.chunks[last] = append(a.chunks[last], b...)
	return r, nil
}

func (a *arena) at(r ref, n int) []byte {
	off := int(r & (chunkSize - 1))
	return a.chunks[r>>chunkBits][off : off+n : off+n]
}

// name is an owner: canonical wire form in the arena.
type name struct {
	at ref
	n  uint8
}

// rec is a record; its rdata is canonical wire data in the arena.
type rec struct {
	name  uint32 // index in zone.names
	at    ref
	ttl   uint32
	line  uint32
	typ   uint16
	rdlen uint16

	known   bool // the trusted file has this line
	trusted bool // and its RRset has as many there
}

// zone is what was read. After settle, names are in canonical order without
// repetition, records by name, type, rdata without repetition.
type zone struct {
	data    arena
	names   []name
	recs    []rec
	ordered bool // names came in canonical order

	firstSOA []byte // owner of the first SOA of the file
	count    struct{ rrsig, nsec, nsec3, dnskey int }
}

func (z *zone) nameAt(i uint32) []byte { return z.data.at(z.names[i].at, int(z.names[i].n)) }
func (z *zone) rdata(i int) []byte     { return z.data.at(z.recs[i].at, int(z.recs[i].rdlen)) }
func (z *zone) owner(i int) []byte     { return z.nameAt(z.recs[i].name) }

// add appends a record.
func (z *zone) add(r *record) error {
	if n := len(z.names); n == 0 || !r.sameOwner {
		order := 1
		if n > 0 {
			order = domain.Compare(r.owner, z.nameAt(uint32(n-1)))
		} else {
			z.ordered = true
		}
		if order < 0 {
			z.ordered = false
		}
		if order != 0 {
			at, err := z.data.add(r.owner)
			if err != nil {
				return err
			}
			z.names = append(z.names, name{at, uint8(len(r.owner))})
		}
	}
	at, err := z.data.add(r.rdata)
	if err != nil {
		return err
	}
	z.recs = append(z.recs, rec{uint32(len(z.names) - 1), at, r.ttl, r.line, r.typ, uint16(len(r.rdata)), r.known, r.known})
	switch r.typ {
	case dns.TypeSOA:
		if z.firstSOA == nil {
			z.firstSOA = bytes.Clone(r.owner)
		}
	case dns.TypeRRSIG:
		z.count.rrsig++
	case dns.TypeNSEC:
		z.count.nsec++
	case dns.TypeNSEC3:
		z.count.nsec3++
	case dns.TypeDNSKEY:
		z.count.dnskey++
	}
	return nil
}

// settle puts everything into canonical order (RFC 4034 §6) and drops repeated
// records (RFC 2181 §5), each of which is a fault.
func (z *zone) settle(f *faults) {
	if !z.ordered {
		z.sortNames()
	}
	for lo := 0; lo < len(z.recs); {
		hi := z.end(lo)
		if group := z.recs[lo:hi]; !slices.IsSortedFunc(group, z.compare) {
			slices.SortStableFunc(group, z.compare)
		}
		lo = hi
	}
	kept := 0
	for i := range z.recs {
		r := z.recs[i]
		if kept > 0 && z.recs[kept-1].name == r.name && z.compare(z.recs[kept-1], r) == 0 {
			f.errorf(r.line, "duplicate", z.nameAt(r.name), "%s record stands in the file more than once", typeText(r.typ)).
				At(f.pos(z.recs[kept-1].line), "first one")
			continue
		}
		z.recs[kept] = r
		kept++
	}
	z.recs = z.recs[:kept]
}

// end gives the index after the last record that has the owner of record lo.
func (z *zone) end(lo int) int {
	hi := lo + 1
	for hi < len(z.recs) && z.recs[hi].name == z.recs[lo].name {
		hi++
	}
	return hi
}

// compare orders records of one owner: type, then rdata (RFC 4034 §6.3).
func (z *zone) compare(a, b rec) int {
	if a.typ != b.typ {
		return cmp.Compare(a.typ, b.typ)
	}
	return bytes.Compare(z.data.at(a.at, int(a.rdlen)), z.data.at(b.at, int(b.rdlen)))
}

func (z *zone) sortNames() {
	order := make([]uint32, len(z.names))
	for i := range order {
		order[i] = uint32(i)
	}
	slices.SortStableFunc(order, func(a, b uint32) int { return domain.Compare(z.nameAt(a), z.nameAt(b)) })
	rank := make([]uint32, len(order))
	sorted := make([]name, 0, len(order))
	for k, i := range order {
		if k == 0 || !bytes.Equal(z.nameAt(order[k-1]), z.nameAt(i)) {
			sorted = append(sorted, z.names[i])
		}
		rank[i] = uint32(len(sorted) - 1)
	}
	z.names = sorted
	for i := range z.recs {
		z.recs[i].name = rank[z.recs[i].name]
	}
	slices.SortStableFunc(z.recs, func(a, b rec) int { return cmp.Compare(a.name, b.name) })
	z.ordered = true
}
