package dnssec

import (
	"bytes"
	"errors"
	"slices"
	"sort"

	"github.com/miekg/dns"

	"zonebuild/internal/domain"
	"zonebuild/internal/rrset"
	"zonebuild/zone"
)

// layout is what a zone was written from, and where each RRset stands in its file.
// With it the next plan compares records instead of text. It is immutable.
type layout struct {
	zone         *zone.Zone
	denial, made *rrset.Set
	policy       Policy
	keys         []signer
	now          int64
	items        []item
	from         uint32   // where the first line begins
	ends         []uint32 // where the lines of each item end
	expires      []uint32 // per slot
}

// signer is what of a key decides which signatures there are.
type signer struct {
	algorithm         uint8
	tag               uint16
	public            string
	records, keyRRset bool
}

func signersOf(p *Plan) (out []signer) {
	for i := range p.keys {
		k := &p.keys[i]
		out = append(out, signer{k.DNSKEY.Algorithm, k.Tag, k.DNSKEY.PublicKey, slices.Contains(p.zoneSigners, i), slices.Contains(p.keySigners, i)})
	}
	return out
}

// Hold makes WriteTo remember what Previous needs.
func (s *Signed) Hold() { s.ends = make([]uint32, 0, len(s.plan.items)) }

// Previous is the zone that WriteTo wrote last, as one that is published: the
// same as ReadPrevious of the file, without reading it, and quicker to plan with. src
// is the whole file; what stands before the zone in it are comments. Errors: the
// file is not what was written, or Hold was not called.
func (s *Signed) Previous(file string, src []byte) (*Previous, error) {
	p := s.plan
	if len(s.ends) != len(p.items) || len(p.items) == 0 {
		return nil, errors.New("the zone was not held while it was written")
	}
	size := s.ends[len(s.ends)-1]
	if uint64(len(src)) < uint64(size) {
		return nil, errors.New("the file is shorter than the zone")
	}
	out := newPrevious(p.zone.Apex(), file, src)
	out.sets, out.host, out.signatures = 0, s.zone.Records().Len(), len(p.slots)
	l := &layout{
		zone: s.zone, denial: p.denial, made: s.made, policy: p.policy, keys: signersOf(p), now: p.now,
		items: p.items, from: uint32(len(src)) - size, ends: s.ends, expires: p.expires,
	}
	out.layout, out.end = l, uint32(len(src))
	for i := range l.ends {
		l.ends[i] += l.from
	}
	var owner []byte
	for i, it := range l.items {
		if is := s.set(it).Owner(int(it.lo)); i == 0 || !bytes.Equal(is, owner) {
			owner = is
			out.groups = append(out.groups, l.span(i).from)
		}
		if out.records += int(it.hi - it.lo); it.from == fromZone {
			out.sets++
		}
		if it.slot < 0 {
			continue
		}
		keys := it.from == fromMade && ofKeys(s.made.Type(int(it.lo)))
		for j, k := range p.signers(it) {
			out.noteSignature(signedBy{p.keys[k].DNSKEY.Algorithm, p.keys[k].Tag, keys}, l.expires[int(it.slot)+j])
		}
	}
	out.signatures = len(p.slots)
	s.ends = nil // they are the layout's
	return out, out.readTop()
}

// set is the set that an item is a range of.
func (l *layout) set(it item) *rrset.Set {
	switch it.from {
	case fromDenial:
		return l.denial
	case fromMade:
		return l.made
	}
	return l.zone.Records()
}

func (l *layout) span(i int) span {
	if i == 0 {
		return span{l.from, l.ends[0]}
	}
	return span{l.ends[i-1], l.ends[i]}
}

func (l *layout) owner(i int) []byte {
	it := l.items[i]
	return l.set(it).Owner(int(it.lo))
}

// heldCursor walks a layout beside the owners of a new zone.
type heldCursor struct {
	*layout
	at, end int // the items of the owner that was sought
}

// newHeldCursor stands before the first item. It is nil when the layout does not
// tell which signatures are kept: the policy or the keys are others, or the clock
// was set back behind it.
func newHeldCursor(p *Plan) *heldCursor {
	if p.prev == nil || p.prev.layout == nil {
		return nil
	}
	l := p.prev.layout
	if l.policy != p.policy || p.policy.ZoneMD != 0 || p.now < l.now || !slices.Equal(l.keys, signersOf(p)) || slices.Contains(p.replaced, true) {
		return nil
	}
	return &heldCursor{layout: l}
}

// jump goes to the first owner that is not before the one given.
func (h *heldCursor) jump(owner []byte) {
	if h == nil {
		return
	}
	h.at = sort.Search(len(h.items), func(i int) bool { return domain.Compare(h.owner(i), owner) >= 0 })
	h.end = h.at
}

// seek goes to an owner, which must not be before the last one sought.
func (h *heldCursor) seek(owner []byte) {
	if h.at < h.end && bytes.Equal(h.owner(h.at), owner) {
		return
	}
	for h.at = h.end; h.at < len(h.items); h.at = h.end {
		is := h.owner(h.at)
		c := domain.Compare(is, owner)
		if c > 0 {
			h.end = h.at
			return
		}
		for h.end = h.at + 1; h.end < len(h.items) && bytes.Equal(h.owner(h.end), is); h.end++ {
		}
		if c == 0 {
			return
		}
	}
	h.end = h.at
}

// find looks for an RRset among the items of the present owner. The SOA is another
// one with each serial.
func (h *heldCursor) find(it item, s *rrset.Set) (int, bool) {
	lo, hi := int(it.lo), int(it.hi)
	typ := s.Type(lo)
	if typ == dns.TypeSOA {
		return 0, false
	}
	for i := h.at; i < h.end; i++ {
		was := h.items[i]
		old := h.set(was)
		if was.from != it.from || old.Type(int(was.lo)) != typ {
			continue
		}
		if was.hi-was.lo != it.hi-it.lo {
			return 0, false
		}
		for k := range hi - lo {
			a, _ := old.TTL(int(was.lo) + k)
			b, _ := s.TTL(lo + k)
			if a != b || !bytes.Equal(old.Rdata(int(was.lo)+k), s.Rdata(lo+k)) {
				return 0, false
			}
		}
		return i, true
	}
	return 0, false
}
