package zone

import (
	"iter"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/miekg/dns"

	"zonebuild/internal/diag"
	"zonebuild/internal/domain"
)

// rangeMin is how many records a range has at least: those of most zones are
// checked before another core would have begun.
const rangeMin = 1 << 13

// span is records lo to hi, whole owners.
type span struct{ lo, hi int }

// inRanges cuts the records into ranges and checks these on all cores, each with
// a checker of its own. The faults come in the order of the ranges, so that
// nobody can tell how many there were.
func (c *checker) inRanges(check func(c *checker, r span)) {
	cores := runtime.GOMAXPROCS(0)
	ranges := c.ranges(min(c.s.Len()/c.rangeMin, 4*cores)) // some are dearer than others
	if len(ranges) == 1 {
		check(c, ranges[0])
		return
	}
	faults := make([]diag.List, len(ranges))
	var taken atomic.Int64
	var wg sync.WaitGroup
	for range min(cores, len(ranges)) {
		wg.Go(func() {
			for k := int(taken.Add(1)) - 1; k < len(ranges); k = int(taken.Add(1)) - 1 {
				own := *c
				own.faults = &faults[k]
				check(&own, ranges[k])
			}
		})
	}
	wg.Wait()
	for _, list := range faults {
		*c.faults = append(*c.faults, list...)
	}
}

// ranges gives at most n ranges, and at least one.
func (c *checker) ranges(n int) []span {
	var out []span
	lo := 0
	for k := 1; k < n; k++ {
		if at := c.s.Len() * k / n; at > lo {
			hi := c.s.OwnerEnd(at - 1)
			out = append(out, span{lo, hi})
			lo = hi
		}
	}
	return append(out, span{lo, c.s.Len()})
}

// named is one owner: records lo to hi, and the NS record of the highest zone cut
// at or above it, -1 without one. The apex is no cut.
type named struct{ lo, hi, cut int }

// below reports whether the owner is under a zone cut.
func (n named) below() bool { return n.cut >= 0 && n.cut < n.lo }

// owners walks the owners of a range.
func (c *checker) owners(r span) iter.Seq[named] {
	return func(yield func(named) bool) {
		if r.lo == r.hi {
			return
		}
		cut := -1
		for n := c.s.Owner(r.lo); len(n) > len(c.apex); n = parent(n) {
			if from, to := c.s.FindRRset(n, dns.TypeNS); from < to {
				cut = from
			}
		}
		for lo := r.lo; lo < r.hi; {
			n := named{lo: lo, hi: c.s.OwnerEnd(lo)}
			owner := c.s.Owner(lo)
			if cut >= 0 && !domain.IsWithin(owner, c.s.Owner(cut)) {
				cut = -1
			}
			if cut < 0 && len(owner) > len(c.apex) {
				if from, to := c.typeIn(n, dns.TypeNS); from < to {
					cut = from
				}
			}
			n.cut = cut
			if !yield(n) {
				return
			}
			lo = n.hi
		}
	}
}

// typeIn is the RRset of a type among the records of an owner.
func (c *checker) typeIn(n named, typ uint16) (from, to int) {
	from = n.lo
	for from < n.hi && c.s.Type(from) != typ {
		from++
	}
	for to = from; to < n.hi && c.s.Type(to) == typ; to++ {
	}
	return from, to
}
