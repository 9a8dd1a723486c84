package validate

import (
	"zonebuild/internal/domain"
)

// nsec says that between two names of a zone there is none (RFC 4034 §4).
type nsec struct {
	owner, next domain.Name
	types       types
}

// covers reports whether a name of the zone lies between. Where the next name is
// below it, it exists all the same, without records.
func (n *nsec) covers(name, apex domain.Name) bool {
	switch {
	case n.owner.Compare(name) >= 0:
		return false
	case name.IsBelow(n.owner) && n.types.hides():
		return false
	case n.next == apex: // the last of the zone
		return true
	}
	return n.owner.Compare(n.next) < 0 && name.Compare(n.next) < 0
}

// encloser is the longest ancestor that a covered name has in the zone: one that
// it shares with one of the two.
func (n *nsec) encloser(name domain.Name) domain.Name {
	a, b := common(name, n.owner), common(name, n.next)
	if a.Labels() > b.Labels() {
		return a
	}
	return b
}

func common(a, b domain.Name) domain.Name {
	for !b.IsWithin(a) {
		a = a.Parent()
	}
	return a
}

func covering(list []nsec, name, apex domain.Name) *nsec {
	for i := range list {
		if list[i].covers(name, apex) {
			return &list[i]
		}
	}
	return nil
}

func matching(list []nsec, name domain.Name) *nsec {
	for i := range list {
		if list[i].owner == name {
			return &list[i]
		}
	}
	return nil
}

// denyNSEC proves that a name does not exist, or not with this type (RFC 4035
// §5.4).
func denyNSEC(list []nsec, name domain.Name, typ uint16, apex domain.Name) (proof, bool) {
	if n := matching(list, name); n != nil {
		return proof{exists: NoData, delegation: n.types.delegates()}, n.types.lacks(name, typ)
	}
	n := covering(list, name, apex)
	if n == nil {
		return proof{}, false
	}
	if n.next.IsBelow(name) { // an empty non-terminal
		return proof{exists: NoData}, true
	}
	wildcard, ok := wildcardOf(n.encloser(name))
	if !ok {
		return proof{exists: NXDomain}, true // no room for one
	}
	if w := matching(list, wildcard); w != nil {
		return proof{exists: NoData, wildcard: true}, w.types.lacks(wildcard, typ) && !w.types.delegates()
	}
	switch w := covering(list, wildcard, apex); {
	case w == nil:
		return proof{}, false
	case w.next.IsBelow(wildcard):
		return proof{exists: NoData, wildcard: true}, true
	}
	return proof{exists: NXDomain}, true
}

// expandedNSEC proves that a name and all between it and its ancestor of so many
// labels do not exist (RFC 4035 §5.3.4).
func expandedNSEC(list []nsec, name domain.Name, labels int, apex domain.Name) bool {
	n := covering(list, name, apex)
	return n != nil && n.encloser(name).Labels() == labels
}

// wildcardOf is the wildcard below a name, unless it would be too long.
func wildcardOf(name domain.Name) (domain.Name, bool) {
	w, err := domain.FromWire([]byte("\x01*" + name.Wire()))
	return w, err == nil
}
