package dnssec

import (
	"github.com/miekg/dns"

	"zonebuild/internal/rrset"
)

// place is where a zone differs from the one that is held, in whole owners: records
// lo to hi of it stand where those from wasLo to wasHi stood. The first owner is one
// that stayed, whose NSEC names the next, or the apex.
type place struct{ lo, hi, wasLo, wasHi int }

// maxPlaces bounds in how many places a zone is followed: with more it is no dearer to
// lay all out.
const maxPlaces = 256

// follow lays out a zone that differs from the held one in few places: these, and the
// apex, are laid out anew, and all else is taken over as it was. It does what buildNSEC
// and layOut do together; ok is false when they have to.
func (p *Plan) follow() (changedDenial, ok bool) {
	h := newHeldCursor(p)
	if h == nil || p.policy.Denial != NSEC || h.denial.Len() == 0 || h.denial.Patches() >= rrset.MaxPatches {
		return false, false
	}
	if ttl, _ := h.denial.TTL(0); int64(ttl) != p.denialTTL() {
		return false, false
	}
	places, ok := p.places(h.layout)
	if !ok {
		return false, false
	}
	was := h.zone.Records()
	item := func(record int) int { // the first item at or behind a record of the held zone
		if record == was.Len() {
			return len(h.items)
		}
		h.jump(was.Owner(record))
		return h.at
	}
	moved, err := p.followChain(h.denial, was, places)
	if err != nil {
		return false, false
	}
	var parts []layer
	for k, at := range places {
		l := layer{p: p, lo: at.lo, hi: at.hi}
		l.layOut()
		rest := layer{p: p}
		end := was.Len()
		if k+1 < len(places) {
			end = places[k+1].wasLo
		}
		if !rest.takeOver(h.layout, item(at.wasHi), item(end), int32(at.hi-at.wasHi), int32(moved[k])) {
			return false, false
		}
		parts = append(parts, l, rest)
	}
	return p.join(parts), true
}

// places finds where the zone differs from a held one; the first is at the apex. ok is
// false for a change that is large, or that moves what is beside it: of delegations, or
// below them.
func (p *Plan) places(l *layout) (out []place, ok bool) {
	is, was := p.zone.Records(), l.zone.Records()
	out, ok = []place{{0, is.OwnerEnd(0), 0, was.OwnerEnd(0)}}, true
	still := func(s *rrset.Set, lo, hi int) bool {
		for i := lo; i < hi; i++ {
			if s.Type(i) == dns.TypeNS && string(s.Owner(i)) != p.zone.Apex().Wire() || (i == lo || !s.SameOwner(i-1, i)) && p.zone.IsBelowCut(s.Name(i)) {
				return false
			}
		}
		return true
	}
	rrset.Differ(was, is, l.zone.SOA(), p.zone.SOA(), func(wasLo, wasHi, lo, hi int) bool {
		at := place{lo, hi, wasLo, wasHi}
		if ok = len(out) < maxPlaces && still(is, lo, hi) && still(was, wasLo, wasHi); !ok {
			return false
		}
		for at.lo > 0 { // to an owner in front that has an NSEC
			n := at.lo - 1
			for n > 0 && is.SameOwner(n-1, n) {
				n--
			}
			at.wasLo -= at.lo - n
			if at.lo = n; !p.zone.IsBelowCut(is.Name(n)) {
				break
			}
		}
		if last := &out[len(out)-1]; at.lo < last.hi {
			last.hi, last.wasHi = max(last.hi, at.hi), max(last.wasHi, at.wasHi)
			return true
		}
		out = append(out, at)
		return true
	})
	return out, ok
}

// followChain makes the NSEC records of the places anew, and takes over the others of
// the held chain. It gives by how much those behind each place moved.
func (p *Plan) followChain(held, was *rrset.Set, places []place) (moved []int, err error) {
	is := p.zone.Records()
	var b rrset.Builder
	var pieces []rrset.Piece
	by := 0
	for _, at := range places {
		next := p.apex()
		if at.hi < is.Len() {
			next = is.Owner(at.hi)
		}
		piece := rrset.Piece{Hi: held.Len(), From: b.Len()}
		piece.Lo, _ = held.Find(was.Owner(at.wasLo))
		if at.wasHi < was.Len() {
			piece.Hi, _ = held.Find(was.Owner(at.wasHi))
		}
		if err := p.addNSEC(&b, at.lo, at.hi, next); err != nil {
			return nil, err
		}
		piece.To = b.Len()
		by += piece.To - piece.From - (piece.Hi - piece.Lo)
		pieces, moved = append(pieces, piece), append(moved, by)
	}
	p.denial, err = held.Splice(b.Set(), 0, pieces...)
	return moved, err
}

// takeOver takes items of a held zone as they are, of which none is of the apex, with
// all their signatures, and moves them within their sets. It reports whether none of
// these is due.
func (l *layer) takeOver(held *layout, lo, hi int, records, denial int32) bool {
	if lo >= hi {
		return true
	}
	p := l.p
	each := len(p.zoneSigners)
	l.items = make([]item, 0, hi-lo)
	l.spans = make([]span, 0, hi-lo)
	l.slots, l.expires = make([]uint32, 0, (hi-lo)*each), make([]uint32, 0, (hi-lo)*each)
	for i := lo; i < hi; i++ {
		it, at := held.items[i], held.span(i)
		switch it.from {
		case fromZone:
			it.lo, it.hi = it.lo+records, it.hi+records
			l.sets++
			l.same++
		case fromDenial:
			it.lo, it.hi = it.lo+denial, it.hi+denial
		default:
			return false
		}
		if it.slot >= 0 {
			expires := held.expires[it.slot : int(it.slot)+each]
			it.slot = int32(len(l.slots))
			for _, e := range expires {
				if !p.lasts(near(e, p.now)) {
					return false
				}
				l.slots, l.expires = append(l.slots, at.from), append(l.expires, e)
				l.account(e, false)
			}
		}
		l.items, l.spans = append(l.items, it), append(l.spans, at)
	}
	return true
}
