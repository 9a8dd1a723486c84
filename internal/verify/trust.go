package verify

import (
	"bytes"
	"cmp"
	"io"
	"slices"

	"github.com/miekg/dns"

	"zonebuild/internal/domain"
)

// jobSet is a set of indexes of jobs; nil is empty.
type jobSet []uint64

func (s jobSet) has(i int) bool { return s != nil && s[i/64]&(1<<(i%64)) != 0 }
func (s jobSet) add(i int)      { s[i/64] |= 1 << (i % 64) }

// readTrusted gives the jobs whose signature, RRset and key stand in the
// trusted file, octet for octet. That file must be in line form and its owners
// in canonical order: otherwise part of an RRset could look like a whole one,
// and nothing in it is trusted.
func (c *checker) readTrusted() jobSet {
	if c.options.Trusted == nil || len(c.jobs) == 0 {
		return nil
	}
	t := &trustReader{c: c, found: make(jobSet, len(c.jobs)/64+1)}
	lines := newLineReader(c.options.Trusted)
	for {
		rec, err := lines.next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil
		}
		if !rec.sameOwner {
			order := domain.Compare(rec.owner, t.owner)
			if t.owner == nil {
				order = 1
			}
			if order < 0 {
				return nil
			}
			if order > 0 {
				t.group()
				t.owner = append(t.owner[:0], rec.owner...)
				t.recs, t.room = t.recs[:0], t.room[:0]
			}
		}
		at := len(t.room)
		t.room = append(t.room, rec.rdata...)
		t.recs = append(t.recs, trustRecord{rec.typ, at, len(t.room)})
	}
	t.group()
	return t.found
}

// trustReader holds the records of one owner of the trusted file.
type trustReader struct {
	c     *checker
	owner []byte
	recs  []trustRecord
	room  []byte
	next  int // first job that is not before owner
	found jobSet
}

type trustRecord struct {
	typ    uint16
	lo, hi int // in room
}

// group compares the records of an owner with the jobs of the same owner.
func (t *trustReader) group() {
	c := t.c
	if len(t.recs) == 0 {
		return
	}
	if !slices.IsSortedFunc(t.recs, t.compare) {
		slices.SortFunc(t.recs, t.compare)
	}
	if bytes.Equal(t.owner, c.apex) {
		for i := range c.keys {
			c.keys[i].trusted = t.hasRecord(dns.TypeDNSKEY, c.keys[i].rdata)
		}
	}
	for t.next < len(c.jobs) && domain.Compare(c.owner(int(c.jobs[t.next].lo)), t.owner) < 0 {
		t.next++
	}
	for ; t.next < len(c.jobs); t.next++ {
		j := c.jobs[t.next]
		if !bytes.Equal(c.owner(int(j.lo)), t.owner) {
			return
		}
		b := c.rdata(int(j.sig))
		if t.hasRecord(dns.TypeRRSIG, b) && t.hasSet(j) && c.trustedKey(parseSig(b)) {
			t.found.add(t.next)
		}
	}
}

// compare orders as zone.compare does.
func (t *trustReader) compare(a, b trustRecord) int {
	if a.typ != b.typ {
		return cmp.Compare(a.typ, b.typ)
	}
	return bytes.Compare(t.room[a.lo:a.hi], t.room[b.lo:b.hi])
}

func (t *trustReader) hasRecord(typ uint16, rdata []byte) bool {
	_, ok := slices.BinarySearchFunc(t.recs, typ, func(r trustRecord, typ uint16) int {
		if r.typ != typ {
			return cmp.Compare(r.typ, typ)
		}
		return bytes.Compare(t.room[r.lo:r.hi], rdata)
	})
	return ok
}

// hasSet reports whether the RRset of a job is the same here.
func (t *trustReader) hasSet(j job) bool {
	c := t.c
	typ := c.recs[j.lo].typ
	at, _ := slices.BinarySearchFunc(t.recs, typ, func(r trustRecord, typ uint16) int {
		return cmp.Or(cmp.Compare(r.typ, typ), 1) // before the first of the type
	})
	n := int(j.hi - j.lo)
	if len(t.recs)-at < n || len(t.recs)-at > n && t.recs[at+n].typ == typ {
		return false
	}
	for i, r := range t.recs[at : at+n] {
		if r.typ != typ || !bytes.Equal(t.room[r.lo:r.hi], c.rdata(int(j.lo)+i)) {
			return false
		}
	}
	return true
}

// trustedKey reports whether a signature is of one key only and the trusted
// file has this key: a tag alone does not tell keys apart.
func (c *checker) trustedKey(s sig) bool {
	var room [maxColliding]uint16
	found := c.keysFor(room[:0], s)
	return len(found) == 1 && c.keys[found[0]].trusted
}
