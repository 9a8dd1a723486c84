package dnssec

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/miekg/dns"

	"zonebuild/internal/domain"
	"zonebuild/internal/rrset"
	"zonebuild/zone"
)

// Plan is what has to be done to a zone, and why.
type Plan struct {
	Reasons []string  // why a new signed zone is needed; empty = it is not
	Changed bool      // records differ from the previous zone (the serial aside)
	Due     int       // signatures over unchanged RRsets that must be made anew
	Kept    int       // signatures of the previous zone that are kept
	New     int       // signatures to be made
	Next    time.Time // when the first signature of the previous zone falls due

	zone   *zone.Zone
	keys   []Key
	policy Policy
	now    int64
	prev   *Previous

	zoneSigners, keySigners []int      // indexes of keys
	denial                  *rrset.Set // the NSEC records
	dnskeys                 *rrset.Set // the DNSKEY RRset
	items                   []item     // RRsets in output order
	slots                   []int32    // per item and signer: record of prev whose RRSIG is kept, or -1
}

// Sets an item can be a range of.
const (
	fromZone = iota
	fromDenial
	fromKeys
)

// item is one RRset of the output.
type item struct {
	lo, hi int32
	slot   int32 // first of its slots; -1 for an RRset that is not signed
	from   uint8
}

// ErrKeys says that the keys at hand cannot sign the zone.
var ErrKeys = errors.New("no usable keys")

// NewPlan decides what to do. prev is nil for a first build, or when the previous
// file cannot be trusted. Errors: ErrKeys.
func NewPlan(z *zone.Zone, keys []Key, policy Policy, prev *Previous, now time.Time) (*Plan, error) {
	p := &Plan{zone: z, keys: keys, policy: policy, prev: prev, now: now.Unix()}
	if err := p.chooseSigners(); err != nil {
		return nil, err
	}
	if err := p.buildDNSKEY(); err != nil {
		return nil, err
	}
	if err := p.buildNSEC(); err != nil {
		return nil, err
	}
	changedRRsets := p.layOut()
	p.explain(changedRRsets)
	return p, nil
}

func (p *Plan) chooseSigners() error {
	type uses struct{ zone, keys bool }
	algorithms := map[uint8]*uses{}
	for i := range p.keys {
		k := &p.keys[i]
		use := algorithms[k.DNSKEY.Algorithm]
		if use == nil && (k.Published || k.SignsZone || k.SignsKeys) {
			use = &uses{}
			algorithms[k.DNSKEY.Algorithm] = use
		}
		if k.SignsZone && k.Signer != nil {
			p.zoneSigners = append(p.zoneSigners, i)
			use.zone = true
		}
		if k.SignsKeys && k.Signer != nil {
			p.keySigners = append(p.keySigners, i)
			use.keys = true
		}
	}
	if len(algorithms) == 0 {
		return fmt.Errorf("%w: %s has none (zonebuild keygen %[2]s)", ErrKeys, p.zone.Apex())
	}
	for alg, use := range algorithms { // RFC 6840 §5.11
		if !use.zone {
			return fmt.Errorf("%w: no key of algorithm %d signs the records of %s", ErrKeys, alg, p.zone.Apex())
		}
		if !use.keys {
			return fmt.Errorf("%w: no key of algorithm %d signs the DNSKEY set of %s", ErrKeys, alg, p.zone.Apex())
		}
	}
	return nil
}

func (p *Plan) buildDNSKEY() error {
	var b rrset.Builder
	for i := range p.keys {
		if !p.keys[i].Published {
			continue
		}
		rdata, err := dnskeyRdata(&p.keys[i].DNSKEY)
		if err != nil {
			return err
		}
		if err := b.Add([]byte(p.zone.Apex().Wire()), dns.TypeDNSKEY, int64(p.policy.DNSKEYTTL), rdata, rrset.Pos{}); err != nil {
			return err
		}
	}
	p.dnskeys = b.Set().Sorted()
	return nil
}

func dnskeyRdata(k *dns.DNSKEY) ([]byte, error) {
	b := binary.BigEndian.AppendUint16(nil, k.Flags)
	b = append(b, k.Protocol, k.Algorithm)
	return base64.StdEncoding.AppendDecode(b, []byte(k.PublicKey))
}

func dnskeyFromRdata(apex domain.Name, rdata []byte) dns.DNSKEY {
	return dns.DNSKEY{
		Hdr:       dns.RR_Header{Name: apex.String(), Rrtype: dns.TypeDNSKEY, Class: dns.ClassINET},
		Flags:     binary.BigEndian.Uint16(rdata),
		Protocol:  rdata[2],
		Algorithm: rdata[3],
		PublicKey: base64.StdEncoding.EncodeToString(rdata[4:]),
	}
}

// buildNSEC makes the denial chain: one NSEC at every name that has
// authoritative data or is a delegation point (RFC 4035 §2.3).
func (p *Plan) buildNSEC() error {
	var b rrset.Builder
	var owner, rdata []byte
	var types []uint16
	apex := []byte(p.zone.Apex().Wire())
	soaTTL, _ := p.zone.Records().TTL(p.zone.SOA())
	ttl := int64(min(soaTTL, p.zone.Minimum())) // RFC 9077 §3.2
	flush := func(next []byte) error {
		if owner == nil {
			return nil
		}
		rdata = zone.AppendBitmap(append(rdata[:0], next...), types)
		return b.Add(owner, dns.TypeNSEC, ttl, rdata, rrset.Pos{})
	}
	s := p.zone.Records()
	for n := range p.zone.Nodes() {
		if n.Standing == zone.Below {
			continue
		}
		if err := flush(s.Owner(n.Lo)); err != nil {
			return err
		}
		owner, types = s.Owner(n.Lo), types[:0]
		for i := n.Lo; i < n.Hi; i = s.RRsetEnd(i) {
			if t := s.Type(i); n.Signs(t) || t == dns.TypeNS {
				types = append(types, t)
			}
		}
		types = append(types, dns.TypeRRSIG, dns.TypeNSEC)
		if bytes.Equal(owner, apex) {
			types = append(types, dns.TypeDNSKEY)
		}
	}
	if err := flush(apex); err != nil {
		return err
	}
	p.denial = b.Set() // built in order
	return nil
}

// layOut puts the RRsets into output order and looks for each signature in the
// previous zone. It returns the number of RRsets that are new or other.
func (p *Plan) layOut() (changed int) {
	c := cursor{}
	if p.prev != nil {
		c.s = p.prev.records
	}
	s := p.zone.Records()
	denial := 0
	soaLo, soaHi := p.zone.SOA(), p.zone.SOA()+1
	for n := range p.zone.Nodes() {
		owner := s.Owner(n.Lo)
		c.seek(owner)
		atApex := n.Lo <= soaLo && soaLo < n.Hi
		if atApex {
			changed += p.add(&c, fromZone, soaLo, soaHi, true)
		}
		for lo := n.Lo; lo < n.Hi; {
			hi := s.RRsetEnd(lo)
			if lo != soaLo {
				changed += p.add(&c, fromZone, lo, hi, n.Signs(s.Type(lo)))
			}
			lo = hi
		}
		if atApex {
			p.add(&c, fromKeys, 0, p.dnskeys.Len(), true)
		}
		if n.Standing != zone.Below {
			changed += p.add(&c, fromDenial, denial, denial+1, true)
			denial++
		}
	}
	return changed
}

func (p *Plan) set(from uint8) *rrset.Set {
	switch from {
	case fromDenial:
		return p.denial
	case fromKeys:
		return p.dnskeys
	}
	return p.zone.Records()
}

func (p *Plan) signers(it item) []int {
	if it.from == fromKeys {
		return p.keySigners
	}
	return p.zoneSigners
}

// add appends an RRset and settles its signatures; it returns 1 if the previous
// zone had another RRset there.
func (p *Plan) add(c *cursor, from uint8, lo, hi int, signed bool) int {
	it := item{lo: int32(lo), hi: int32(hi), slot: -1, from: from}
	s := p.set(from)
	typ := s.Type(lo)
	same := c.s != nil && p.sameRRset(c, s, lo, hi)
	if signed {
		it.slot = int32(len(p.slots))
		for _, k := range p.signers(it) {
			kept := int32(-1)
			if same {
				if i := c.signature(typ, &p.keys[k]); i >= 0 && p.keeps(c.s, i, s, lo, typ) {
					kept = int32(i)
				}
			}
			p.slots = append(p.slots, kept)
			p.account(c.s, kept, same)
		}
	}
	p.items = append(p.items, it)
	if same {
		return 0
	}
	return 1
}

// account counts a signature and, for a kept one, moves Next to the instant at
// which it falls due, if that is earlier.
func (p *Plan) account(prev *rrset.Set, kept int32, same bool) {
	if kept < 0 {
		p.New++
		if same {
			p.Due++
		}
		return
	}
	p.Kept++
	_, expiration := sigTimes(prev.Rdata(int(kept)), p.now)
	if due := p.policy.due(expiration); p.Next.IsZero() || due.Before(p.Next) {
		p.Next = due
	}
}

// sameRRset reports whether the previous zone has this very RRset. The serial
// of an SOA does not count.
func (p *Plan) sameRRset(c *cursor, s *rrset.Set, lo, hi int) bool {
	plo, phi := c.rrset(s.Type(lo))
	if phi-plo != hi-lo {
		return false
	}
	ttl, _ := s.TTL(lo)
	for i := range hi - lo {
		if t, _ := c.s.TTL(plo + i); t != ttl {
			return false
		}
		a, b := c.s.Rdata(plo+i), s.Rdata(lo+i)
		if s.Type(lo) == dns.TypeSOA {
			n := len(a) - 20
			if len(a) != len(b) || !bytes.Equal(a[:n], b[:n]) || !bytes.Equal(a[n+4:], b[n+4:]) {
				return false
			}
			continue
		}
		if !bytes.Equal(a, b) {
			return false
		}
	}
	return true
}

// keeps reports whether the RRSIG that is record i of prev is the one that the
// policy makes for the RRset, is not due, and has begun.
func (p *Plan) keeps(prev *rrset.Set, i int, s *rrset.Set, lo int, typ uint16) bool {
	r := prev.Rdata(i)
	ttl, _ := s.TTL(lo)
	rrsigTTL, _ := prev.TTL(i)
	owner := s.Owner(lo)
	apex := p.zone.Apex().Wire()
	if rrsigTTL != ttl || binary.BigEndian.Uint32(r[4:]) != ttl || r[3] != labels(owner) || !bytes.HasPrefix(r[18:], []byte(apex)) {
		return false
	}
	inception, expiration := sigTimes(r, p.now)
	if inception > p.now || expiration-p.now <= int64(p.policy.Refresh/time.Second) {
		return false
	}
	// A signature that another policy made has other times: the RRset's phase
	// and the offset are functions of the policy alone.
	signed := inception + int64(p.policy.InceptionOffset/time.Second)
	return expiration == p.policy.expiration(signed, owner, typ)
}

// labels is the Labels field of an RRSIG: neither the root nor a leftmost "*"
// counts (RFC 4034 §3.1.3).
func labels(owner []byte) uint8 {
	n := domain.CountLabels(owner)
	if len(owner) > 1 && owner[0] == 1 && owner[1] == '*' {
		n--
	}
	return uint8(n)
}

func (p *Plan) explain(changedRRsets int) {
	switch {
	case p.prev == nil:
		p.Changed = true
		p.Reasons = append(p.Reasons, "there is no signed zone yet")
		return
	case !zone.Equal(p.prev.Zone, p.zone):
		p.Changed = true
		p.Reasons = append(p.Reasons, "the records changed")
	case changedRRsets > 0:
		p.Reasons = append(p.Reasons, "the denial chain changed")
	}
	c := cursor{s: p.prev.records}
	c.seek([]byte(p.zone.Apex().Wire()))
	if !p.sameRRset(&c, p.dnskeys, 0, p.dnskeys.Len()) {
		p.Reasons = append(p.Reasons, "the DNSKEY set changed")
	}
	if p.Due > 0 {
		p.Reasons = append(p.Reasons, fmt.Sprintf("%d signatures are due", p.Due))
	}
}
