package dnssec

import (
	"runtime"
	"sort"
	"sync"

	"github.com/miekg/dns"

	"zonebuild/internal/domain"
	"zonebuild/internal/rrset"
)

// partRecords is how many records of a zone are worth a second core.
const partRecords = 2_000

// layOut puts the RRsets into output order and looks for each signature in the
// previous zone, a part of the zone on each core. It reports whether the denial
// chain has a record that is new or other.
func (p *Plan) layOut() (changedDenial bool) {
	s := p.zone.Records()
	from := p.zone.Parts(max(1, min(runtime.GOMAXPROCS(0), s.Len()/partRecords)))
	parts := make([]layer, len(from))
	var wg sync.WaitGroup
	for i := range parts {
		hi := s.Len()
		if i+1 < len(from) {
			hi = from[i+1]
		}
		l := &parts[i]
		*l = layer{p: p, lo: from[i], hi: hi}
		if i == 0 {
			l.layOut()
			continue
		}
		wg.Go(l.layOut)
	}
	wg.Wait()
	return p.join(parts)
}

// join puts the parts together.
func (p *Plan) join(parts []layer) (changedDenial bool) {
	items, slots := 0, 0
	for i := range parts {
		items += len(parts[i].items)
		slots += len(parts[i].slots)
	}
	p.items = make([]item, 0, items)
	p.slots, p.expires = make([]uint32, 0, slots), make([]uint32, 0, slots)
	if p.prev != nil {
		p.spans = make([]span, 0, items)
	}
	sets, same := 0, 0
	soonest := int64(0)
	for i := range parts {
		l := &parts[i]
		for _, it := range l.items {
			if it.slot >= 0 {
				it.slot += int32(len(p.slots))
			}
			p.items = append(p.items, it)
		}
		p.slots, p.expires = append(p.slots, l.slots...), append(p.expires, l.expires...)
		p.spans = append(p.spans, l.spans...)
		p.New, p.Due, p.Kept = p.New+l.new, p.Due+l.due, p.Kept+l.kept
		sets, same = sets+l.sets, same+l.same
		changedDenial = changedDenial || l.changedDenial
		soonest, p.oldest = earlier(soonest, l.soonest), earlier(p.oldest, l.oldest)
		*l = layer{}
	}
	if p.Kept > 0 {
		p.Next = p.policy.due(soonest)
	}
	p.Changed = p.prev == nil || same < sets || same < p.prev.sets
	return changedDenial
}

// earlier is the earlier of two instants; 0 is none.
func earlier(a, b int64) int64 {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}

// layer lays out a part of a zone.
type layer struct {
	p      *Plan
	lo, hi int // the records of the zone

	c *cursor     // in the text of the previous zone
	q quick       // likewise
	h *heldCursor // in its layout; nil when that is of no use

	items          []item
	slots, expires []uint32
	spans          []span

	sets, same    int // RRsets of the zone; those that the previous one had
	changedDenial bool
	new, due      int
	kept          int
	soonest       int64 // expiration of all that is kept; 0 = nothing is
	oldest        int64 // likewise, of what outlives the plan
}

// layOut goes over the names of the part, and over the records of the chain from
// the first of them to the next part.
func (l *layer) layOut() {
	p := l.p
	s := p.zone.Records()
	denial := p.denialFrom(l.lo)
	l.c, l.h = newCursor(p.prev), newHeldCursor(p)
	l.q.c = l.c
	if l.lo > 0 {
		first := s.Owner(l.lo)
		l.c.jump(first)
		l.h.jump(first)
	}
	room := p.denialFrom(l.hi) - denial + p.made.Len() // counted: it is much of what a plan takes
	for i := l.lo; i < l.hi; i = s.RRsetEnd(i) {
		room++
	}
	l.items = make([]item, 0, room)
	l.slots, l.expires = make([]uint32, 0, room), make([]uint32, 0, room)
	if p.prev != nil {
		l.spans = make([]span, 0, room)
	}
	count := func(same bool) {
		if l.sets++; same {
			l.same++
		}
	}
	soaLo, soaHi := p.zone.SOA(), p.zone.SOA()+1
	// upTo adds the records of the chain whose owners come before that of
	// record i of the zone; those of NSEC3 stand between the names.
	upTo := func(i int) {
		for ; denial < p.denial.Len(); denial++ {
			owner := p.denial.Owner(denial)
			if i < s.Len() && domain.Compare(owner, s.Owner(i)) >= 0 {
				return
			}
			l.seek(owner)
			l.changedDenial = !l.add(fromDenial, denial, denial+1, true) || l.changedDenial
		}
	}
	for n := range p.zone.NodesIn(l.lo, l.hi) {
		l.seek(s.Owner(n.Lo))
		atApex := n.Lo <= soaLo && soaLo < n.Hi
		if atApex {
			count(l.add(fromZone, soaLo, soaHi, true))
		}
		for lo := n.Lo; lo < n.Hi; {
			hi := s.RRsetEnd(lo)
			if lo != soaLo {
				count(l.add(fromZone, lo, hi, n.Signs(s.Type(lo))))
			}
			lo = hi
		}
		if atApex {
			for lo := 0; lo < p.made.Len(); {
				hi := p.made.RRsetEnd(lo)
				l.add(fromMade, lo, hi, true)
				lo = hi
			}
		}
		upTo(n.Hi)
	}
}

// denialFrom is the first record of the chain that does not come before record i of the
// zone.
func (p *Plan) denialFrom(i int) int {
	s := p.zone.Records()
	switch i {
	case 0:
		return 0
	case s.Len():
		return p.denial.Len()
	}
	first := s.Owner(i)
	return sort.Search(p.denial.Len(), func(k int) bool { return domain.Compare(p.denial.Owner(k), first) >= 0 })
}

// seek goes to an owner, which must not be before the last one.
func (l *layer) seek(owner []byte) {
	if l.h != nil {
		l.h.seek(owner)
	} else {
		l.q.seek(owner)
	}
}

// add appends an RRset of the owner that was sought and settles its signatures. It
// reports whether the previous zone had this RRset too.
func (l *layer) add(from uint8, lo, hi int, signed bool) (same bool) {
	p := l.p
	it := item{lo: int32(lo), hi: int32(hi), slot: -1, from: from}
	s := p.set(from)
	if l.h != nil && l.addHeld(it, s, signed) || l.h == nil && signed && l.addQuick(it, s) {
		return true
	}
	l.c.seek(s.Owner(lo))
	at, same := l.c.same(s, lo, hi)
	if signed {
		it.slot = int32(len(l.slots))
		for _, k := range p.signers(it) {
			kept, expires := uint32(unkept), uint32(0)
			if same && !p.replaced[k] {
				if line, sig := l.c.signature(s.Type(lo), &p.keys[k]); line != nil && p.keeps(l.c, line, &sig, s, lo) {
					kept, expires = line.from, sig.expiration
					at.extend(line)
					l.account(expires, from == fromZone && lo == p.zone.SOA() || s.Type(lo) == dns.TypeZONEMD)
				}
			}
			l.slots, l.expires = append(l.slots, kept), append(l.expires, expires)
			if kept == unkept {
				at = span{}
				if l.new++; same {
					l.due++
				}
			}
		}
	}
	l.append(it, at)
	return same
}

func (l *layer) append(it item, at span) {
	l.items = append(l.items, it)
	if l.p.prev != nil {
		l.spans = append(l.spans, at)
	}
}

// addHeld is add for an RRset of which the layout of the previous zone says that
// it was the same, and that all its signatures stay.
func (l *layer) addHeld(it item, s *rrset.Set, signed bool) bool {
	old, ok := l.h.find(it, s)
	if !ok {
		return false
	}
	was := l.h.items[old]
	if was.slot >= 0 != signed {
		return false
	}
	at := l.h.span(old)
	if signed {
		signers := l.p.signers(it)
		expires := l.h.expires[was.slot : int(was.slot)+len(signers)]
		for _, e := range expires {
			if !l.p.lasts(near(e, l.p.now)) {
				return false
			}
		}
		it.slot = int32(len(l.slots))
		for _, e := range expires {
			l.slots, l.expires = append(l.slots, at.from), append(l.expires, e)
			l.account(e, false)
		}
	}
	l.append(it, at)
	return true
}

// addQuick is add for a signed RRset whose lines are those that come next.
func (l *layer) addQuick(it item, s *rrset.Set) bool {
	first := len(l.slots)
	at, slots, expires, ok := l.q.same(l.p, s, int(it.lo), int(it.hi), l.p.signers(it), l.slots, l.expires)
	if !ok {
		return false
	}
	it.slot, l.slots, l.expires = int32(first), slots, expires
	for _, e := range expires[first:] {
		l.account(e, false)
	}
	l.append(it, at)
	return true
}

// extend adds a line to a part of the file if it stands right behind it; else
// nothing is left of that part.
func (s *span) extend(l *textLine) {
	if s.from == s.to || s.to != l.from {
		*s = span{}
		return
	}
	s.to = l.to
}

// account counts a signature that is kept. One that goes with the next serial in
// any case does not outlive the plan.
func (l *layer) account(expires uint32, passing bool) {
	l.kept++
	expiration := near(expires, l.p.now)
	l.soonest = earlier(l.soonest, expiration)
	if !passing {
		l.oldest = earlier(l.oldest, expiration)
	}
}
