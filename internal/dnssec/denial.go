package dnssec

import (
	"errors"
	"iter"
	"runtime"
	"sync"

	"github.com/miekg/dns"

	"zonebuild/internal/rrset"
	"zonebuild/zone"
)

// Denial is how a zone proves what it does not hold.
type Denial uint8

const (
	NSEC        Denial = iota // RFC 4034 §4
	NSEC3                     // RFC 5155, no iterations and no salt (RFC 9276 §3.1)
	NSEC3OptOut               // the same, insecure delegations have no record (RFC 5155 §6)
)

// buildNSEC makes the whole chain, a part of the zone on each core.
func (p *Plan) buildNSEC() error {
	s := p.zone.Records()
	from := p.zone.Parts(max(1, min(runtime.GOMAXPROCS(0), s.Len()/partRecords)))
	parts, errs := make([]rrset.Builder, len(from)), make([]error, len(from))
	var wg sync.WaitGroup
	for i := range parts {
		wg.Go(func() {
			hi, next := s.Len(), p.apex()
			if i+1 < len(from) {
				hi, next = from[i+1], s.Owner(from[i+1])
			}
			errs[i] = p.addNSEC(&parts[i], from[i], hi, next)
		})
	}
	wg.Wait()
	var b rrset.Builder
	err := errors.Join(append(errs, b.Join(parts))...)
	p.denial = b.Set() // built in order
	return err
}

// addNSEC adds one NSEC at every name that has authoritative data or is a delegation
// point (RFC 4035 §2.3), of those of records lo to hi, none of which is below one of
// the others. The last one names next.
func (p *Plan) addNSEC(b *rrset.Builder, lo, hi int, next []byte) error {
	var owner, rdata []byte
	var types []uint16
	ttl := p.denialTTL()
	flush := func(next []byte) error {
		if owner == nil {
			return nil
		}
		rdata = zone.AppendBitmap(append(rdata[:0], next...), types)
		return b.Add(owner, dns.TypeNSEC, ttl, rdata, rrset.Pos{})
	}
	for n := range p.named(lo, hi) {
		next := p.zone.Records().Owner(n.Lo)
		if err := flush(next); err != nil {
			return err
		}
		owner = next
		types = append(p.appendTypes(types[:0], n), dns.TypeRRSIG, dns.TypeNSEC)
	}
	return flush(next)
}

// denialTTL is what RFC 9077 §3 wants.
func (p *Plan) denialTTL() int64 {
	soaTTL, _ := p.zone.Records().TTL(p.zone.SOA())
	return int64(min(soaTTL, p.zone.Minimum()))
}

// named walks the names of records lo to hi that are not hidden below a zone cut.
func (p *Plan) named(lo, hi int) iter.Seq[zone.Node] {
	return func(yield func(zone.Node) bool) {
		for n := range p.zone.NodesIn(lo, hi) {
			if n.Standing != zone.Below && !yield(n) {
				return
			}
		}
	}
}

// appendTypes appends the types that a bitmap shows for a name, without those
// of its signatures and of the chain itself: at a delegation only NS and DS.
func (p *Plan) appendTypes(dst []uint16, n zone.Node) []uint16 {
	s := p.zone.Records()
	for i := n.Lo; i < n.Hi; i = s.RRsetEnd(i) {
		if t := s.Type(i); n.Signs(t) || t == dns.TypeNS {
			dst = append(dst, t)
		}
	}
	if string(s.Owner(n.Lo)) == p.zone.Apex().Wire() {
		for i := 0; i < p.made.Len(); i = p.made.RRsetEnd(i) {
			dst = append(dst, p.made.Type(i))
		}
	}
	return dst
}
