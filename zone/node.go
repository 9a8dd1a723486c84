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
func (z *Zone) Nodes() iter.Seq[Node] {
	return func(yield func(Node) bool) {
		s := z.records
		var cut []byte // the last delegation point: what is below follows at once
		for lo := 0; lo < s.Len(); {
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
