package zone

import (
	"iter"

	"github.com/miekg/dns"

	"zonebuild/internal/domain"
)

// Standing says what a zone is for a name that it holds records of.
type Standing uint8

const (
	Authoritative Standing = iota // all RRsets are the zone's own
	Delegation                    // a zone cut: NS (and glue) are the child's, DS is the zone's
	Below                         // under a zone cut: glue, or occluded; nothing is signed
)

// Node is one owner name: records Lo to Hi of the zone's set.
type Node struct {
	Lo, Hi   int
	Standing Standing
}

// Nodes walks the owner names in canonical order (RFC 4035 §2.2-2.4 decides
// their standing).
func (z *Zone) Nodes() iter.Seq[Node] { return z.NodesIn(0, z.records.Len()) }

// NodesIn walks those of the records from lo to hi. Record lo has to be the first of an
// owner that is not below a delegation, or 0; hi the first of another owner, or the
// number of records.
func (z *Zone) NodesIn(lo, hi int) iter.Seq[Node] {
	return func(yield func(Node) bool) {
		s := z.records
		var cut []byte // the last delegation point: what is below follows at once
		for lo := lo; lo < hi; {
			n := Node{Lo: lo, Hi: s.OwnerEnd(lo)}
			owner := s.Owner(lo)
			switch {
			case cut != nil && domain.IsWithin(owner, cut):
				n.Standing = Below
			case len(owner) > len(z.apex.Wire()) && z.hasType(n, dns.TypeNS):
				n.Standing = Delegation
				cut = owner
			}
			if !yield(n) {
				return
			}
			lo = n.Hi
		}
	}
}

// Parts cuts the records into at most n parts of about one size, for as many
// cores: it gives their first records. No name in one part is below a delegation
// in another.
func (z *Zone) Parts(n int) []int {
	s := z.records
	parts := []int{0}
	for k := 1; k < n; k++ {
		at := s.Len() / n * k
		for at < s.Len() && (at == 0 || s.SameOwner(at, at-1) || z.IsBelowCut(s.Name(at))) {
			at++
		}
		if at < s.Len() && at > parts[len(parts)-1] {
			parts = append(parts, at)
		}
	}
	return parts
}

// IsBelowCut reports whether a name of the zone is below one of its delegations.
func (z *Zone) IsBelowCut(name domain.Name) bool {
	for n := name; n != z.apex; {
		if n = n.Parent(); n == z.apex {
			break
		}
		if lo, hi := z.records.FindRRset([]byte(n.Wire()), dns.TypeNS); hi > lo {
			return true
		}
	}
	return false
}

func (z *Zone) hasType(n Node, typ uint16) bool {
	for i := n.Lo; i < n.Hi; i++ {
		if z.records.Type(i) == typ {
			return true
		}
	}
	return false
}

// Signs reports whether an RRset of the type is authoritative data at n.
func (n Node) Signs(typ uint16) bool {
	switch n.Standing {
	case Below:
		return false
	case Delegation:
		return typ == dns.TypeDS
	}
	return true
}
