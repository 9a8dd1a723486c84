package build

import (
	"bytes"
	"context"
	"crypto/sha256"
	"slices"

	"github.com/miekg/dns"

	"zonebuild/dnsextra"
	"zonebuild/internal/domain"
	"zonebuild/internal/rrset"
	"zonebuild/zone"
)

// boxed is a challenge that a zone was published with.
type boxed struct {
	Owner domain.Name `json:"owner"`
	Value string      `json:"value"`
}

// boxedIn are the challenges in records that were made: those of now, and of those
// that it was published with before.
func (p *pass) boxedIn(j *job, records *rrset.Set) (out []boxed) {
	add := func(owner domain.Name, value string) {
		is := boxed{owner, value}
		if findTXT(records, owner, value) >= 0 && !slices.Contains(out, is) {
			out = append(out, is)
		}
	}
	for _, e := range p.challengesOf(j) {
		add(e.Owner, e.Value)
	}
	for _, b := range j.state.Boxed {
		add(b.Owner, b.Value)
	}
	return out
}

func (p *pass) challengesOf(j *job) []dnsextra.Seen {
	if p.tree.challenges == nil {
		return nil
	}
	return p.tree.challenges.live[j.z.Name]
}

// findTXT is the index of a TXT record of one string; -1 = there is none.
func findTXT(s *rrset.Set, owner domain.Name, value string) int {
	rdata := append([]byte{byte(len(value))}, value...)
	lo, hi := s.FindRRset([]byte(owner.Wire()), dns.TypeTXT)
	for i := lo; i < hi; i++ {
		if bytes.Equal(s.Rdata(i), rdata) {
			return i
		}
	}
	return -1
}

// keepUp keeps the last good records of a zone signed while nothing of its sources
// may be read: a daemon was started while its checkout was in other hands. Challenges
// come and go all the same. What was refused and what was approved stays as it is.
func (p *pass) keepUp(ctx context.Context, j *job) {
	j.res.Action, j.res.Waits = Waiting, true
	if j.prev == nil {
		return
	}
	last, err := j.prev.Zone()
	if err != nil {
		j.fail("build-failed", err)
		return
	}
	j.held = "its sources are in other hands"
	candidate := p.graft(j, last)
	p.publish(ctx, j, candidate)
	if j.grafted && j.res.Action == Waiting && j.res.Reasons != nil {
		j.res.Action = Published
	}
}

// graft is the published zone with the challenges of now in place of those that it
// was published with. The input of what becomes of it is none that sources have.
func (p *pass) graft(j *job, last *zone.Zone) *zone.Zone {
	records := last.Records()
	live := p.challengesOf(j)
	gone := map[int]bool{}
	for _, b := range j.state.Boxed {
		still := slices.ContainsFunc(live, func(e dnsextra.Seen) bool { return e.Owner == b.Owner && e.Value == b.Value })
		if i := findTXT(records, b.Owner, b.Value); i >= 0 && !still {
			gone[i] = true
		}
	}
	var fresh []dnsextra.Seen
	for _, e := range live {
		if findTXT(records, e.Owner, e.Value) < 0 {
			fresh = append(fresh, e)
		}
	}
	if len(gone)+len(fresh) == 0 {
		return last
	}
	base := zone.Fragment{
		Name:    p.tree.PublishedPath(j.z.Name),
		Records: records.Filter(func(i int) bool { return !gone[i] }), TTL: -1,
	}
	made, faults := zone.Compile(j.z.Name, append([]zone.Fragment{base}, p.tree.challenges.set.Fragments(fresh)...)...)
	if made == nil {
		p.o.Log.Warn("put the challenges into the published zone", "zone", j.z.Name, "err", firstError(faults))
		return last
	}
	j.grafted, j.prevIn = true, sha256.Sum256(append([]byte("challenges "), j.prevIn[:]...))
	return made
}
