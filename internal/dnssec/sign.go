package dnssec

import (
	"crypto/rsa"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/miekg/dns"

	"zonebuild/internal/rrset"
	"zonebuild/internal/verify"
	"zonebuild/zone"
)

// Signed is a signed zone, ready to be written. Its signatures are made while it
// is: they need no room then.
type Signed struct {
	plan   *Plan
	zone   *zone.Zone // with the new serial
	made   *rrset.Set // plan.made, with the digest of the zone
	ledger *verify.Ledger
	ends   []uint32 // of the items, in what was written; nil unless they are wanted

	// Of a zone with a digest, which covers them all, signatures are made first.
	sigs  []byte   // the new ones, one behind the other
	where []uint32 // per slot: offset in sigs, of a new one

	// Progress, if there is one, hears how many of the new signatures were made, from
	// several goroutines but one at a time.
	Progress func(done, total int)

	Records    int       // without signatures
	Signatures int       // all of them
	New        int       // of these, made now
	Oldest     time.Time // the expiration that comes first
	Next       time.Time // when the first signature falls due
}

// Sign prepares the signatures of a plan for a zone with the given serial, which
// becomes that of the plan. The SOA is always signed anew, and so is the ZONEMD, after
// all others.
func Sign(p *Plan, serial uint32) (*Signed, error) {
	z, err := p.zone.WithSerial(serial)
	if err != nil {
		return nil, err
	}
	p.zone = z // the index of the other one is let go
	s := &Signed{plan: p, zone: z, made: p.made}
	for i := range p.items {
		if it := &p.items[i]; it.slot >= 0 && (s.isDigest(*it) || it.from == fromZone && int(it.lo) == z.SOA()) {
			for j := range p.signers(*it) {
				p.slots[int(it.slot)+j] = unkept
			}
		}
	}
	s.count()
	return s, nil
}

func (s *Signed) isDigest(it item) bool {
	return it.from == fromMade && s.plan.made.Type(int(it.lo)) == dns.TypeZONEMD
}

// Ledger says what each new signature covers, once the zone was written.
func (s *Signed) Ledger() *verify.Ledger { return s.ledger }

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

// scratch is what a worker uses again and again, and the marks of what it signed.
type scratch struct {
	data, sig, rdata []byte
	marks            []verify.Mark
}

func (s *Signed) set(it item) *rrset.Set {
	switch it.from {
	case fromZone:
		return s.zone.Records()
	case fromMade:
		return s.made
	}
	return s.plan.denial
}

// sign makes a signature of it by key k: the rdata of its RRSIG, and its mark.
func (s *Signed) sign(it item, k *Key, buf *scratch) ([]byte, error) {
	set := s.set(it)
	buf.rdata = s.appendRRSIGHead(buf.rdata[:0], it, k)
	buf.data = append(buf.data[:0], buf.rdata...)
	buf.data = appendSignedRRs(buf.data, set, int(it.lo), int(it.hi))
	sig, err := k.SignData(buf.sig[:0], buf.data)
	if err != nil {
		return nil, fmt.Errorf("sign %s %s with key %d: %w", set.Name(int(it.lo)), zone.TypeName(set.Type(int(it.lo))), k.Tag, err)
	}
	if len(sig) != signatureSize(k) {
		return nil, fmt.Errorf("sign with key %d: signature of %d octets", k.Tag, len(sig))
	}
	buf.sig = sig
	buf.marks = append(buf.marks, s.ledger.MarkOf(buf.data, sig))
	buf.rdata = append(buf.rdata, sig...)
	return buf.rdata, nil
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
			slot := int(it.slot) + j
			if p.slots[slot] != unkept {
				continue
			}
			s.New++
			set := s.set(it)
			e := p.policy.expiration(p.now, set.Owner(int(it.lo)), set.Type(int(it.lo)))
			p.expires[slot] = uint32(e)
			oldest = earlier(oldest, e)
		}
	}
	s.Oldest, s.Next = time.Unix(oldest, 0).UTC(), p.policy.due(oldest)
}

// Zone is the zone that was signed, with its serial.
func (s *Signed) Zone() *zone.Zone { return s.zone }
