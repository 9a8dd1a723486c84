package build

import (
	"zonebuild/internal/dnssec"
	"zonebuild/internal/domain"
	"zonebuild/internal/rrset"
)

// publishedSet is an RRset of a published zone, nil when nothing can be read back.
// To read is to read the whole zone.
func publishedSet(read func() (*dnssec.Previous, error), owner domain.Name, typ uint16) *rrset.Set {
	prev, err := read()
	if err != nil {
		return nil // nothing was published, or the pass says that it was damaged
	}
	set, err := prev.RRset(owner, typ)
	if err != nil {
		return nil
	}
	return set
}

// publishedSets are all RRsets of a type in the published zone.
func (t *Tree) publishedSets(apex domain.Name, typ uint16) []*rrset.Set {
	prev, err := t.Previous(apex)
	if err != nil {
		return nil
	}
	sets, err := prev.RRsets(typ)
	if err != nil {
		return nil
	}
	return sets
}

// moved is a published set as part of a fragment of a file that cannot be read: the
// records that may stay, nil for all of them, with that file as their place.
func moved(was *rrset.Set, file string, mayStay func(rdata []byte) bool) *rrset.Set {
	var b rrset.Builder
	at, err := b.AddFile(file)
	if err != nil {
		return &rrset.Set{} // cannot happen: it is the first
	}
	for i := range was.Len() {
		if mayStay != nil && !mayStay(was.Rdata(i)) {
			continue
		}
		ttl, _ := was.TTL(i)
		if err := b.Add(was.Owner(i), was.Type(i), int64(ttl), was.Rdata(i), rrset.Pos{File: at}); err != nil {
			break // cannot happen: a zone held them
		}
	}
	return b.Set()
}
