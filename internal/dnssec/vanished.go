package dnssec

import (
	"bytes"
	"runtime"
	"sync"

	"github.com/miekg/dns"

	"zonebuild/internal/domain"
	"zonebuild/internal/rrset"
	"zonebuild/zone"
)

// Vanished counts the records of the zone whose name and type z does not have,
// but for those of which spare says that they come and go. spare is called from
// several goroutines.
func (p *Previous) Vanished(z *zone.Zone, spare func(owner []byte, typ uint16) bool) (n int) {
	if p.layout != nil {
		return vanished(p.layout.zone.Records(), z.Records(), spare)
	}
	counts := make([]int, max(1, min(runtime.GOMAXPROCS(0), len(p.groups)/partRecords)))
	var wg sync.WaitGroup
	for i := range counts {
		wg.Go(func() {
			counts[i] = p.vanished(z.Records(), len(p.groups)*i/len(counts), len(p.groups)*(i+1)/len(counts), spare)
		})
	}
	wg.Wait()
	for _, c := range counts {
		n += c
	}
	return n
}

// vanished is Vanished for the owners from one number to another.
func (p *Previous) vanished(is *rrset.Set, from, to int, spare func(owner []byte, typ uint16) bool) (n int) {
	c := newCursor(p)
	c.g = from - 1
	at := -1
	for c.g+1 < to && c.step() {
		if at < 0 {
			at, _ = is.Find(c.owner)
		}
		for at < is.Len() && domain.Compare(is.Owner(at), c.owner) < 0 {
			at = is.OwnerEnd(at)
		}
		there := at < is.Len() && bytes.Equal(is.Owner(at), c.owner)
		if kinds := p.kinds[c.g]; there && kinds&otherKind == 0 && kinds&^kindsAt(is, at) == 0 {
			continue
		}
		atApex := string(c.owner) == p.apex.Wire()
		c.open()
		for _, l := range c.lines {
			if l.typ == dns.TypeRRSIG || madeBySigner(l.typ, atApex) || spare(c.owner, l.typ) || there && hasType(is, at, l.typ) {
				continue
			}
			n++
		}
	}
	return n
}

// vanished is Vanished for a zone that is held.
func vanished(was, is *rrset.Set, spare func(owner []byte, typ uint16) bool) (n int) {
	rrset.Differ(was, is, -1, -1, func(lo, end, at, _ int) bool {
		for lo < end {
			hi := was.RRsetEnd(lo)
			for at < is.Len() && domain.Compare(is.Owner(at), was.Owner(lo)) < 0 {
				at = is.OwnerEnd(at)
			}
			there := at < is.Len() && bytes.Equal(is.Owner(at), was.Owner(lo))
			if !spare(was.Owner(lo), was.Type(lo)) && !(there && hasType(is, at, was.Type(lo))) {
				n += hi - lo
			}
			lo = hi
		}
		return true
	})
	return n
}

// kindsAt are the kinds of the owner of a record.
func kindsAt(s *rrset.Set, at int) (kinds uint8) {
	for i, end := at, s.OwnerEnd(at); i < end; i++ {
		kinds |= kindOf(s.Type(i))
	}
	return kinds
}

func hasType(s *rrset.Set, at int, typ uint16) bool {
	for i := at; i < s.Len() && s.SameOwner(at, i); i++ {
		if s.Type(i) == typ {
			return true
		}
	}
	return false
}
