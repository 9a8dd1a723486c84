package dnssec

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"math"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/miekg/dns"
)

// setDigest makes all signatures, then the ZONEMD record, and signs it
// (RFC 8976 §3).
func (s *Signed) setDigest() error {
	p := s.plan
	if err := s.signAll(); err != nil {
		return err
	}
	at := slices.IndexFunc(p.items, s.isDigest)
	it := p.items[at]
	rdata := binary.BigEndian.AppendUint32(nil, s.zone.Serial())
	rdata = append(rdata, zonemdSimple, p.policy.ZoneMD)
	rdata = s.appendDigest(rdata, at)
	var err error
	if s.made, err = p.made.WithRdata(int(it.lo), rdata); err != nil {
		return err
	}
	var buf scratch
	err = s.store(it, &buf)
	s.ledger.Add(buf.marks...)
	return err
}

// signAll makes the signatures of all items but the digest's, and keeps them.
func (s *Signed) signAll() error {
	p := s.plan
	s.where = make([]uint32, len(p.slots))
	var size uint64
	for _, it := range p.items {
		if it.slot < 0 {
			continue
		}
		for j, k := range p.signers(it) {
			if slot := int(it.slot) + j; p.slots[slot] == unkept {
				s.where[slot] = uint32(size)
				size += uint64(signatureSize(&p.keys[k]))
			}
		}
	}
	if size > math.MaxUint32 {
		return errors.New("more than 4 GiB of signatures")
	}
	s.sigs = make([]byte, size)
	workers := max(1, min(runtime.GOMAXPROCS(0), (len(p.items)+batch-1)/batch))
	bufs, errs := make([]scratch, workers), make([]error, workers)
	var next atomic.Int64
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for errs[w] == nil {
				lo := int(next.Add(batch)) - batch
				if lo >= len(p.items) {
					return
				}
				for _, it := range p.items[lo:min(lo+batch, len(p.items))] {
					if it.slot < 0 || s.isDigest(it) {
						continue
					}
					if errs[w] = s.store(it, &bufs[w]); errs[w] != nil {
						next.Store(int64(len(p.items)))
						return
					}
				}
			}
		})
	}
	wg.Wait()
	for w := range workers {
		s.ledger.Add(bufs[w].marks...)
	}
	return errors.Join(errs...)
}

// store makes the new signatures of an item and keeps them.
func (s *Signed) store(it item, buf *scratch) error {
	for j, k := range s.plan.signers(it) {
		slot := int(it.slot) + j
		if s.plan.slots[slot] != unkept {
			continue
		}
		if _, err := s.sign(it, &s.plan.keys[k], buf); err != nil {
			return err
		}
		copy(s.sigs[s.where[slot]:], buf.sig)
	}
	return nil
}

// appendDigest hashes all records in canonical order and form, but for the
// ZONEMD set, which is item skip, and its signatures (RFC 8976 §3.3).
func (s *Signed) appendDigest(dst []byte, skip int) []byte {
	type record struct {
		typ   uint16
		ttl   uint32
		rdata []byte
	}
	h := zonemdHash(s.plan.policy.ZoneMD)
	var owner, line []byte
	var records []record
	flush := func() {
		slices.SortFunc(records, func(a, b record) int {
			if c := cmp.Compare(a.typ, b.typ); c != 0 {
				return c
			}
			return bytes.Compare(a.rdata, b.rdata)
		})
		for _, r := range records {
			line = append(line[:0], owner...)
			line = binary.BigEndian.AppendUint16(line, r.typ)
			line = binary.BigEndian.AppendUint16(line, dns.ClassINET)
			line = binary.BigEndian.AppendUint32(line, r.ttl)
			line = binary.BigEndian.AppendUint16(line, uint16(len(r.rdata)))
			h.Write(append(line, r.rdata...))
		}
		records = records[:0]
	}
	for i, it := range s.plan.items {
		set := s.set(it)
		if name := set.Owner(int(it.lo)); !bytes.Equal(name, owner) {
			flush()
			owner = name
		}
		if i == skip {
			continue
		}
		ttl, _ := set.TTL(int(it.lo))
		for r := int(it.lo); r < int(it.hi); r++ {
			records = append(records, record{set.Type(r), ttl, set.Rdata(r)})
		}
		if it.slot < 0 {
			continue
		}
		for j, k := range s.plan.signers(it) {
			records = append(records, record{dns.TypeRRSIG, ttl, s.digested(it, int(it.slot)+j, &s.plan.keys[k])})
		}
	}
	flush()
	return h.Sum(dst)
}

// digested is the rdata of a signature as the digest covers it.
func (s *Signed) digested(it item, slot int, k *Key) []byte {
	if kept := s.plan.slots[slot]; kept != unkept {
		sig := s.plan.prev.signatureAt(kept)
		rdata, _ := sig.rdataOf(nil) // were it damaged, the digest would be wrong, which the verifier sees
		return rdata
	}
	var buf scratch
	rdata, _ := s.rrsig(it, slot, k, &buf) // it is there
	return rdata
}
