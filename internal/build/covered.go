package build

import (
	"slices"

	"github.com/miekg/dns"

	"zonebuild/internal/diag"
	"zonebuild/internal/domain"
	"zonebuild/internal/rrset"
	"zonebuild/tlsa"
)

// covered is an owner for which a wildcard of primary/ answers with TLSA records, as
// long as no line of the map makes it exist.
type covered struct {
	Owner domain.Name `json:"owner"`
	By    domain.Name `json:"by"`
}

// coveredBy is the wildcard with TLSA records that an owner is synthesized from (RFC
// 4592 §3.3.1): the one below the closest name above it that exists.
func coveredBy(sets []*rrset.Set, owner, apex domain.Name) (by domain.Name, ok bool) {
	exists := func(n domain.Name) bool { // it, or anything below it
		return slices.ContainsFunc(sets, func(s *rrset.Set) bool {
			lo, hi := s.Find([]byte(n.Wire()))
			return lo < hi || lo < s.Len() && s.Name(lo).IsWithin(n)
		})
	}
	if exists(owner) {
		return by, false
	}
	for n := owner; n.IsBelow(apex); {
		n = n.Parent()
		w, err := domain.Parse("*." + n.String())
		if err == nil && slices.ContainsFunc(sets, func(s *rrset.Set) bool {
			lo, hi := s.FindRRset([]byte(w.Wire()), dns.TypeTLSA)
			return lo < hi
		}) {
			return w, true
		}
		if exists(n) {
			break
		}
	}
	return by, false
}

// replaced warns of wildcards whose records are not those of the owners of lines any
// more. They do not join: a wildcard says nothing of the keys of one service.
func (h *handTLSA) replaced(groups []tlsa.Group) (faults diag.List) {
	for _, g := range groups {
		if i := slices.IndexFunc(h.Covered, func(c covered) bool { return c.Owner == g.Owner }); i >= 0 {
			faults.Warnf(g.Lines[0].Pos, "tlsa-wildcard", g.Owner.String(),
				"the TLSA records of %s, written by hand, are not those of this owner any more: its own stand in their place", h.Covered[i].By)
		}
	}
	return faults
}
