package dnssec

import (
	"bytes"
	"errors"
	"fmt"
	"math"
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
	slots                   []uint32   // per item and signer: the line of prev whose RRSIG is kept (of an item with a span, any line), or unkept
	expires                 []uint32   // per slot: the expiration of a signature that is kept
	oldest                  int64      // expiration of the kept signature that is the first to run out; 0 = none
	spans                   []span     // per item: the lines of prev that stay as they are
}

// unkept is no line of a file.
const unkept = math.MaxUint32

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
	p.findReplaced()
	changedDenial, err := p.arrange()
	if err != nil {
		return nil, err
	}
	p.explain(changedDenial)
	return p, nil
}

// arrange makes the signer's records (those of the apex, whose types the chain shows,
// and the chain itself) and lays all out. It reports whether the chain has a record
// that is new or other.
func (p *Plan) arrange() (changedDenial bool, err error) {
	if p.policy.Denial == NSEC {
		if err := p.buildMade(nil); err != nil {
			return false, err
		}
		if changedDenial, ok := p.follow(); ok {
			return changedDenial, nil
		}
		if err := p.buildNSEC(); err != nil {
			return false, err
		}
		return p.layOut(), nil
	}
	names, salt := p.chooseNames(hashName)
	if err := p.buildMade(salt); err != nil {
		return false, err
	}
	if err := p.buildNSEC3(names, salt); err != nil {
		return false, err
	}
	return p.layOut(), nil
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

// keeps reports whether an RRSIG of the previous zone is the one that the policy
// makes for the RRset, is not due, and has begun.
func (p *Plan) keeps(c *cursor, l *textLine, sig *textSig, s *rrset.Set, lo int) bool {
	ttl, _ := s.TTL(lo)
	owner := s.Owner(lo)
	if sig.ttl != ttl || !l.isTTL(ttl) || sig.labels != labels(owner) || !bytes.Equal(sig.signer, c.apex) {
		return false
	}
	return p.keepsTimes(near(sig.inception, p.now), near(sig.expiration, p.now), owner, s.Type(lo))
}

// keepsTimes is keeps for the times of a signature.
func (p *Plan) keepsTimes(inception, expiration int64, owner []byte, typ uint16) bool {
	if inception > p.now || !p.lasts(expiration) {
		return false
	}
	// A signature that another policy made has other times: the RRset's phase
	// and the offset are functions of the policy alone.
	signed := inception + int64(p.policy.InceptionOffset/time.Second)
	return expiration == p.policy.expiration(signed, owner, typ)
}

// lasts reports whether a signature with that expiration is not due.
func (p *Plan) lasts(expiration int64) bool {
	return expiration-p.now > int64(p.policy.Refresh/time.Second)
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
		p.Reasons = append(p.Reasons, "there is no signed zone yet")
		return
	case len(p.prev.DNSKEYs()) == 0:
		p.Changed = true
		p.Reasons = append(p.Reasons, "the published zone is not signed")
		return
	case p.Changed:
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
	signs := map[signedBy]bool{}
	for _, i := range p.zoneSigners {
		signs[signedBy{p.keys[i].DNSKEY.Algorithm, p.keys[i].Tag, false}] = true
	}
	for _, i := range p.keySigners {
		signs[signedBy{p.keys[i].DNSKEY.Algorithm, p.keys[i].Tag, true}] = true
	}
	for by, count := range p.prev.by {
		if !signs[by] {
			n += count
		}
	}
	return n
}

// explainMade names the sets of the apex that the signer made otherwise before,
// or made and makes no more.
func (p *Plan) explainMade() {
	c := newCursor(p.prev)
	c.seek(p.apex())
	same := map[uint16]bool{}
	for lo := 0; lo < p.made.Len(); lo = p.made.RRsetEnd(lo) {
		_, same[p.made.Type(lo)] = c.same(p.made, lo, p.made.RRsetEnd(lo))
	}
	for _, typ := range []uint16{dns.TypeDNSKEY, dns.TypeCDS, dns.TypeCDNSKEY, dns.TypeNSEC3PARAM, dns.TypeZONEMD} {
		lo, hi := c.rrset(typ)
		if is, makes := same[typ]; makes && !is || !makes && hi > lo {
			p.Reasons = append(p.Reasons, fmt.Sprintf("the %s set changed", zone.TypeName(typ)))
		}
	}
}

func (p *Plan) apex() []byte { return []byte(p.zone.Apex().Wire()) }
