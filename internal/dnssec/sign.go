package dnssec

import (
	"bufio"
	"crypto/rsa"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"

	"zonebuild/internal/rrset"
	"zonebuild/internal/verify"
	"zonebuild/zone"
)

// Signed is a signed zone, ready to be written.
type Signed struct {
	plan  *Plan
	zone  *zone.Zone // with the new serial
	sigs  []byte     // the new signatures, one behind the other
	where []uint32   // per slot: offset in sigs, of a new one
	made  *rrset.Set // plan.made, with the digest of the zone

	Records    int       // without signatures
	Signatures int       // all of them
	New        int       // of these, made now
	Oldest     time.Time // the expiration that comes first
	Next       time.Time // when the first signature falls due
}

// batch is how many RRsets a worker takes at a time: enough to make the
// hand-over cheap, few enough to keep the cores evenly busy to the end.
const batch = 64

// Sign makes the signatures of a plan for a zone with the given serial. The
// SOA is always signed anew, and so is the ZONEMD, after all others. The ledger says what each new signature covers.
func Sign(p *Plan, serial uint32) (*Signed, *verify.Ledger, error) {
	z, err := p.zone.WithSerial(serial)
	if err != nil {
		return nil, nil, err
	}
	s := &Signed{plan: p, zone: z, where: make([]uint32, len(p.slots)), made: p.made}
	var size uint64
	var todo []int32 // items with a new signature
	for i := range p.items {
		it := &p.items[i]
		if it.slot < 0 {
			continue
		}
		last := it.from == fromMade && p.made.Type(int(it.lo)) == dns.TypeZONEMD
		fresh := false
		for j, k := range p.signers(*it) {
			slot := int(it.slot) + j
			if last || it.from == fromZone && int(it.lo) == z.SOA() {
				p.slots[slot] = unkept
			}
			if p.slots[slot] != unkept {
				continue
			}
			fresh = !last
			s.where[slot] = uint32(size)
			size += uint64(signatureSize(&p.keys[k]))
		}
		if fresh {
			todo = append(todo, int32(i))
		}
	}
	if size > math.MaxUint32 {
		return nil, nil, errors.New("more than 4 GiB of signatures")
	}
	s.sigs = make([]byte, size)
	marks, err := s.run(todo)
	if err != nil {
		return nil, nil, err
	}
	if p.policy.ZoneMD != 0 {
		if marks, err = s.setDigest(marks); err != nil {
			return nil, nil, err
		}
	}
	s.count()
	s.New = len(marks)
	return s, verify.NewLedger(marks), nil
}

func signatureSize(k *Key) int {
	switch k.DNSKEY.Algorithm {
	case dns.ECDSAP384SHA384:
		return 96
	case dns.RSASHA256, dns.RSASHA512:
		if pub, ok := k.Signer.Public().(*rsa.PublicKey); ok {
			return pub.Size()
		}
	}
	return 64
}

// run signs the items in todo on all cores.
func (s *Signed) run(todo []int32) ([]verify.Mark, error) {
	var next atomic.Int64
	var wg sync.WaitGroup
	workers := max(1, min(runtime.GOMAXPROCS(0), (len(todo)+batch-1)/batch))
	all := make([]verify.Mark, 0, len(todo)+1) // of one key each, and of a ZONEMD
	marks := make([][]verify.Mark, workers)
	errs := make([]error, workers)
	for w := range workers {
		wg.Go(func() {
			var buf scratch
			marks[w] = make([]verify.Mark, 0, len(todo)/workers+batch)
			for {
				lo := int(next.Add(batch)) - batch
				if lo >= len(todo) || errs[w] != nil {
					return
				}
				for _, i := range todo[lo:min(lo+batch, len(todo))] {
					if errs[w] = s.signItem(s.plan.items[i], &buf, &marks[w]); errs[w] != nil {
						next.Store(int64(len(todo)))
						return
					}
				}
			}
		})
	}
	wg.Wait()
	for w := range workers {
		if errs[w] != nil {
			return nil, errs[w]
		}
		all = append(all, marks[w]...)
		marks[w] = nil
	}
	return all, nil
}

// scratch is what a worker uses again and again.
type scratch struct{ data, sig []byte }

func (s *Signed) set(it item) *rrset.Set {
	switch it.from {
	case fromZone:
		return s.zone.Records()
	case fromMade:
		return s.made
	}
	return s.plan.denial
}

func (s *Signed) signItem(it item, buf *scratch, marks *[]verify.Mark) error {
	p, set := s.plan, s.set(it)
	for j, ki := range p.signers(it) {
		slot := int(it.slot) + j
		if p.slots[slot] != unkept {
			continue
		}
		k := &p.keys[ki]
		buf.data = s.appendRRSIGHead(buf.data[:0], it, k)
		buf.data = appendSignedRRs(buf.data, set, int(it.lo), int(it.hi))
		sig, digest, err := k.SignData(buf.sig[:0], buf.data)
		if err != nil {
			return fmt.Errorf("sign %s %s with key %d: %w", set.Name(int(it.lo)), zone.TypeName(set.Type(int(it.lo))), k.Tag, err)
		}
		if len(sig) != signatureSize(k) {
			return fmt.Errorf("sign with key %d: signature of %d octets", k.Tag, len(sig))
		}
		buf.sig = sig
		copy(s.sigs[s.where[slot]:], sig)
		*marks = append(*marks, verify.MarkOf(digest, sig))
	}
	return nil
}

// appendRRSIGHead appends the RRSIG rdata without the signature
// (RFC 4034 §3.1).
func (s *Signed) appendRRSIGHead(dst []byte, it item, k *Key) []byte {
	p, set := s.plan, s.set(it)
	owner, typ := set.Owner(int(it.lo)), set.Type(int(it.lo))
	ttl, _ := set.TTL(int(it.lo))
	dst = binary.BigEndian.AppendUint16(dst, typ)
	dst = append(dst, k.DNSKEY.Algorithm, labels(owner))
	dst = binary.BigEndian.AppendUint32(dst, ttl)
	dst = binary.BigEndian.AppendUint32(dst, uint32(p.policy.expiration(p.now, owner, typ)))
	dst = binary.BigEndian.AppendUint32(dst, uint32(p.now-int64(p.policy.InceptionOffset/time.Second)))
	dst = binary.BigEndian.AppendUint16(dst, k.Tag)
	return append(dst, p.zone.Apex().Wire()...)
}

// appendSignedRRs appends the RRs of an RRset as they are signed
// (RFC 4034 §3.1.8.1); the set is in canonical order and form.
func appendSignedRRs(dst []byte, set *rrset.Set, lo, hi int) []byte {
	ttl, _ := set.TTL(lo)
	for i := lo; i < hi; i++ {
		dst = append(dst, set.Owner(lo)...)
		dst = binary.BigEndian.AppendUint16(dst, set.Type(lo))
		dst = binary.BigEndian.AppendUint16(dst, dns.ClassINET)
		dst = binary.BigEndian.AppendUint32(dst, ttl)
		rdata := set.Rdata(i)
		dst = binary.BigEndian.AppendUint16(dst, uint16(len(rdata)))
		dst = append(dst, rdata...)
	}
	return dst
}

// rrsig is the rdata of the signature in a slot of it, by key k.
func (s *Signed) rrsig(dst []byte, it item, slot int, k *Key) []byte {
	if kept := s.plan.slots[slot]; kept != unkept {
		sig := s.plan.prev.signatureAt(kept)
		dst, _ = sig.rdataOf(dst) // were it damaged, the digest would be wrong, which the verifier sees
		return dst
	}
	dst = s.appendRRSIGHead(dst, it, k)
	at := s.where[slot]
	return append(dst, s.sigs[at:at+uint32(signatureSize(k))]...)
}

func (s *Signed) count() {
	p := s.plan
	oldest := p.oldest
	for _, it := range p.items {
		s.Records += int(it.hi - it.lo)
		if it.slot < 0 {
			continue
		}
		for j := range p.signers(it) {
			s.Signatures++
			if p.slots[int(it.slot)+j] != unkept {
				continue
			}
			set := s.set(it)
			if e := p.policy.expiration(p.now, set.Owner(int(it.lo)), set.Type(int(it.lo))); oldest == 0 || e < oldest {
				oldest = e
			}
		}
	}
	s.Oldest, s.Next = time.Unix(oldest, 0).UTC(), p.policy.due(oldest)
}

// Zone is the zone that was signed, with its serial.
func (s *Signed) Zone() *zone.Zone { return s.zone }

// WriteTo writes the signed zone as a master file: owners in canonical order,
// the SOA first, behind each RRset its signatures. What stays as it was is copied
// from the previous file, in pieces as long as they come.
func (s *Signed) WriteTo(w io.Writer) (int64, error) {
	b := bufio.NewWriterSize(w, 256<<10)
	var text []byte
	var n int64
	var run span
	write := func(text []byte) error {
		n += int64(len(text))
		_, err := b.Write(text)
		return err
	}
	flush := func() error {
		from, to := run.from, run.to
		run = span{}
		if from == to {
			return nil
		}
		return write(s.plan.prev.data[from:to])
	}
	for i, it := range s.plan.items {
		if s.plan.spans != nil {
			switch at := s.plan.spans[i]; {
			case at.from == at.to:
			case at.from == run.to:
				run.to = at.to
				continue
			default:
				if err := flush(); err != nil {
					return n, err
				}
				run = at
				continue
			}
		}
		if err := flush(); err != nil {
			return n, err
		}
		text = s.appendItem(text[:0], it)
		if err := write(text); err != nil {
			return n, err
		}
	}
	if err := flush(); err != nil {
		return n, err
	}
	return n, b.Flush()
}

// appendItem appends the lines of an RRset and of its signatures.
func (s *Signed) appendItem(dst []byte, it item) []byte {
	p, set := s.plan, s.set(it)
	for i := int(it.lo); i < int(it.hi); i++ {
		dst = zone.AppendRecordOf(dst, set, i)
	}
	if it.slot < 0 {
		return dst
	}
	ttl, _ := set.TTL(int(it.lo))
	var rdata []byte
	for j, k := range p.signers(it) {
		slot := int(it.slot) + j
		if kept := p.slots[slot]; kept != unkept {
			l := p.prev.lineAt(kept)
			dst = append(dst, p.prev.data[l.from:l.to]...)
			continue
		}
		rdata = s.rrsig(rdata[:0], it, slot, &p.keys[k])
		dst = zone.AppendRecord(dst, set.Owner(int(it.lo)), ttl, dns.TypeRRSIG, rdata)
	}
	return dst
}
