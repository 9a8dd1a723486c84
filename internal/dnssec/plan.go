package dnssec

import (
	"bytes"
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
	replaced                []bool     // per key: the previous zone has another of its algorithm and tag
	denial                  *rrset.Set // the NSEC or NSEC3 records
	made                    *rrset.Set // the records of the apex that the signer makes
	items                   []item     // RRsets in output order
	slots                   []int32    // per item and signer: record of prev whose RRSIG is kept, or -1
}

// Sets an item can be a range of.
const (
	fromZone = iota
	fromDenial
	fromMade
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
	if err := p.buildChain(); err != nil {
		return nil, err
	}
	p.findReplaced()
	p.explain(p.layOut())
	return p, nil
}

// buildChain makes the signer's records: those of the apex, whose types the chain
// shows, and the chain itself.
func (p *Plan) buildChain() error {
	if p.policy.Denial == NSEC {
		if err := p.buildMade(nil); err != nil {
			return err
		}
		return p.buildNSEC()
	}
	names, salt := p.chooseNames(hashName)
	if err := p.buildMade(salt); err != nil {
		return err
	}
	return p.buildNSEC3(names, salt)
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

// findReplaced looks for keys whose algorithm and tag were another key's in the
// previous zone: those do not tell then whose a signature is.
func (p *Plan) findReplaced() {
	p.replaced = make([]bool, len(p.keys))
	if p.prev == nil {
		return
	}
	for _, old := range p.prev.DNSKEYs() {
		tag := old.KeyTag()
		for i := range p.keys {
			k := &p.keys[i]
			if k.Tag == tag && k.DNSKEY.Algorithm == old.Algorithm && !bytes.Equal(publicBytes(&k.DNSKEY), publicBytes(&old)) {
				p.replaced[i] = true
			}
		}
	}
}

// layOut puts the RRsets into output order and looks for each signature in the
// previous zone. It reports whether the denial chain has a record that is new or
// other.
func (p *Plan) layOut() (changedDenial bool) {
	c := cursor{}
	if p.prev != nil {
		c.s = p.prev.records
	}
	s := p.zone.Records()
	denial := 0
	soaLo, soaHi := p.zone.SOA(), p.zone.SOA()+1
	// upTo adds the records of the chain whose owners come before that of
	// record i of the zone; those of NSEC3 stand between the names.
	upTo := func(i int) {
		for ; denial < p.denial.Len(); denial++ {
			owner := p.denial.Owner(denial)
			if i < s.Len() && domain.Compare(owner, s.Owner(i)) >= 0 {
				return
			}
			c.seek(owner)
			changedDenial = !p.add(&c, fromDenial, denial, denial+1, true) || changedDenial
		}
	}
	for n := range p.zone.Nodes() {
		owner := s.Owner(n.Lo)
		c.seek(owner)
		atApex := n.Lo <= soaLo && soaLo < n.Hi
		if atApex {
			p.add(&c, fromZone, soaLo, soaHi, true)
		}
		for lo := n.Lo; lo < n.Hi; {
			hi := s.RRsetEnd(lo)
			if lo != soaLo {
				p.add(&c, fromZone, lo, hi, n.Signs(s.Type(lo)))
			}
			lo = hi
		}
		if atApex {
			for lo := 0; lo < p.made.Len(); {
				hi := p.made.RRsetEnd(lo)
				p.add(&c, fromMade, lo, hi, true)
				lo = hi
			}
		}
		upTo(n.Hi)
	}
	return changedDenial
}

func (p *Plan) set(from uint8) *rrset.Set {
	switch from {
	case fromDenial:
		return p.denial
	case fromMade:
		return p.made
	}
	return p.zone.Records()
}

func (p *Plan) signers(it item) []int {
	if it.from == fromMade && ofKeys(p.made.Type(int(it.lo))) {
		return p.keySigners
	}
	return p.zoneSigners
}

// add appends an RRset and settles its signatures. It reports whether the
// previous zone had this RRset too.
func (p *Plan) add(c *cursor, from uint8, lo, hi int, signed bool) (same bool) {
	it := item{lo: int32(lo), hi: int32(hi), slot: -1, from: from}
	s := p.set(from)
	typ := s.Type(lo)
	same = c.s != nil && p.sameRRset(c, s, lo, hi)
	if signed {
		it.slot = int32(len(p.slots))
		for _, k := range p.signers(it) {
			kept := int32(-1)
			if same && !p.replaced[k] {
				if i := c.signature(typ, &p.keys[k]); i >= 0 && p.keeps(c.s, i, s, lo, typ) {
					kept = int32(i)
				}
			}
			p.slots = append(p.slots, kept)
			p.account(c.s, kept, same)
		}
	}
	p.items = append(p.items, it)
	return same
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
// of an SOA does not count, nor do the serial and the digest of a ZONEMD.
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
		if s.Type(lo) == dns.TypeZONEMD {
			if len(a) != len(b) || a[4] != b[4] || a[5] != b[5] {
				return false
			}
			continue
		}
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

func (p *Plan) explain(changedDenial bool) {
	switch {
	case p.prev == nil:
		p.Changed = true
		p.Reasons = append(p.Reasons, "there is no signed zone yet")
		return
	case len(p.prev.DNSKEYs()) == 0:
		p.Changed = true
		p.Reasons = append(p.Reasons, "the published zone is not signed")
		return
	case !zone.Equal(p.prev.Zone, p.zone):
		p.Changed = true
		p.Reasons = append(p.Reasons, "the records changed")
	case changedDenial:
		p.Reasons = append(p.Reasons, "the denial chain changed")
	}
	p.explainMade()
	if p.Due > 0 {
		due := fmt.Sprintf("%d signatures are due", p.Due)
		if p.Due == 1 {
			due = "1 signature is due"
		}
		p.Reasons = append(p.Reasons, due)
	}
	if len(p.Reasons) > 0 {
		return
	}
	if n := p.stopped(); n > 0 {
		p.Reasons = append(p.Reasons, fmt.Sprintf("%d signatures are by keys that sign no more", n))
	}
}

// stopped counts the signatures of the previous zone by keys that do not make
// such ones now.
func (p *Plan) stopped() (n int) {
	type by struct {
		tag       uint16
		algorithm uint8
		keys      bool
	}
	signs := map[by]bool{}
	for _, i := range p.zoneSigners {
		signs[by{p.keys[i].Tag, p.keys[i].DNSKEY.Algorithm, false}] = true
	}
	for _, i := range p.keySigners {
		signs[by{p.keys[i].Tag, p.keys[i].DNSKEY.Algorithm, true}] = true
	}
	s := p.prev.records
	for i := range s.Len() {
		if s.Type(i) != dns.TypeRRSIG {
			continue
		}
		r := s.Rdata(i)
		if !signs[by{binary.BigEndian.Uint16(r[16:]), r[2], ofKeys(binary.BigEndian.Uint16(r))}] {
			n++
		}
	}
	return n
}

// explainMade names the sets of the apex that the signer made otherwise before,
// or made and makes no more.
func (p *Plan) explainMade() {
	c := cursor{s: p.prev.records}
	c.seek(p.apex())
	same := map[uint16]bool{}
	for lo := 0; lo < p.made.Len(); lo = p.made.RRsetEnd(lo) {
		same[p.made.Type(lo)] = p.sameRRset(&c, p.made, lo, p.made.RRsetEnd(lo))
	}
	for _, typ := range []uint16{dns.TypeDNSKEY, dns.TypeCDS, dns.TypeCDNSKEY, dns.TypeNSEC3PARAM, dns.TypeZONEMD} {
		lo, hi := c.rrset(typ)
		if is, makes := same[typ]; makes && !is || !makes && hi > lo {
			p.Reasons = append(p.Reasons, fmt.Sprintf("the %s set changed", zone.TypeName(typ)))
		}
	}
}

func (p *Plan) apex() []byte { return []byte(p.zone.Apex().Wire()) }
