package build

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/miekg/dns"

	"zonebuild/internal/diag"
	"zonebuild/internal/dnssec"
	"zonebuild/internal/domain"
	"zonebuild/tlsa"
)

// leftOwners are those of earlier builds that no line asks for now: the line was
// removed, or the map was cut short. Nobody can tell from the map, so they stay
// until the operator ends them, or until their host leaves the zone as well. Where
// what was known of the zone is lost, all that is published may be such an owner.
func (p *pass) leftOwners(j *job, st *tlsaState, groups []tlsa.Group, able, lost bool) (left []rollover, faults diag.List) {
	t, c := p.tree, p.tree.certs
	candidates := slices.DeleteFunc(slices.Clone(st.Owners), func(o rollover) bool {
		return slices.ContainsFunc(groups, func(g tlsa.Group) bool { return g.Owner == o.Owner })
	})
	if lost || c.partial != "" && able {
		candidates = append(candidates, t.unknownOwners(j, st, groups, lost)...)
	}
	whole := c.partial == "" && !c.gone
	for _, o := range candidates {
		g, err := groupOf(o.Owner, c.name)
		apex, ok := t.zoneOf(o.Owner)
		_, hand := findSet(st.Hand.Sets, o.Owner)
		switch {
		case err != nil, !ok, apex != j.z.Name, hand, len(o.Set.Records) == 0:
			continue
		case o.Marks.Retire && !p.preview:
			continue
		case whole && able && (o.Adopted && !o.Lost || !p.hostStands(j, g)):
			continue
		}
		left = append(left, o)
		switch {
		case c.partial != "":
			faults.Warnf(diag.Pos{File: c.name}, "certs-map-line-gone", o.Owner.String(), "no line that can be read asks for it, its records stay (%s)", c.partial)
		case o.Lost:
			faults.Warnf(diag.Pos{File: c.name}, "certs-map-line-gone", o.Owner.String(),
				"no line asks for it, nor is it written by hand, and what was known of it is lost: its records stay; `zonebuild tlsa retire %s %d/%s` ends them", g.Host, g.Port, g.Proto)
		case c.gone: // that is told of all of them
		default:
			faults.Warnf(diag.Pos{File: c.name}, "certs-map-line-gone", o.Owner.String(),
				"no line asks for it any more, its records stay; `zonebuild tlsa retire %s %d/%s` ends them", g.Host, g.Port, g.Proto)
		}
	}
	slices.SortFunc(left, func(a, b rollover) int { return a.Owner.Compare(b.Owner) })
	return left, faults
}

// groupOf is the group of an owner without lines; its place is the map. Error:
// it is not of the form _PORT._PROTO.HOST.
func groupOf(owner domain.Name, file string) (tlsa.Group, error) {
	labels := strings.SplitN(owner.String(), ".", 3)
	g := tlsa.Group{Owner: owner, Lines: []tlsa.Line{{Pos: diag.Pos{File: file}, ProbeOff: true}}}
	if len(labels) < 3 || !strings.HasPrefix(labels[0], "_") || !strings.HasPrefix(labels[1], "_") {
		return g, fmt.Errorf("read %s: not the owner of TLSA records", owner)
	}
	port, err := strconv.ParseUint(labels[0][1:], 10, 16)
	if err != nil {
		return g, fmt.Errorf("read %s: %w", owner, err)
	}
	g.Port, g.Proto = uint16(port), labels[1][1:]
	g.Host, err = domain.Parse(labels[2])
	g.Lines[0].Service, g.Lines[0].Owner = g.Service, owner
	return g, err
}

// hostStands reports whether the published zone has the host of a service; where
// that cannot be read, it counts as if it had.
func (p *pass) hostStands(j *job, g tlsa.Group) bool {
	s, err := p.reader(j).of(g)
	return err != nil || s.Stands || len(s.Addrs) > 0
}

// standing are the names and types by which a zone has a host: its own, or those
// of a wildcard.
func standing(host, apex domain.Name) (names []domain.Name) {
	names = append(names, host)
	for n := host; n.IsBelow(apex); {
		n = n.Parent()
		if w, err := domain.Parse("*." + n.String()); err == nil {
			names = append(names, w)
		}
	}
	return names
}

var standingTypes = []uint16{dns.TypeA, dns.TypeAAAA, dns.TypeCNAME}

// unknownOwners are TLSA RRsets of the published zone that are neither of a line nor
// written by hand, and of which state/ knows nothing. While a line cannot be read, or
// when state/ was lost, they may be of a line; those of wildcards never are.
func (t *Tree) unknownOwners(j *job, st *tlsaState, groups []tlsa.Group, lost bool) (out []rollover) {
	var asked []tlsa.Group
	for _, s := range t.publishedOwners(j) {
		known := st.find(s.Owner) != nil || slices.ContainsFunc(groups, func(g tlsa.Group) bool { return g.Owner == s.Owner })
		if !known && ofLine(s.Owner) {
			out = append(out, rollover{Owner: s.Owner, Adopted: true, Lost: lost, Set: decided{Records: s.Records, TTL: s.TTL}})
			asked = append(asked, tlsa.Group{Owner: s.Owner})
		}
	}
	if len(out) == 0 {
		return nil
	}
	hand, ok := t.handTLSA(j.z, asked, handTLSA{})
	if !ok {
		return nil // nothing of the zone changes then
	}
	return slices.DeleteFunc(out, func(o rollover) bool { _, found := findSet(hand.Sets, o.Owner); return found })
}

// ofLine reports whether a line of the map can ask for records at an owner.
func ofLine(owner domain.Name) bool {
	g, err := groupOf(owner, "")
	if err != nil || g.Port == 0 || !slices.Contains([]string{"tcp", "udp", "sctp"}, g.Proto) {
		return false
	}
	is, err := g.Service.Owner()
	return err == nil && is == owner && !g.Host.IsWildcard()
}

// publishedOwners are all TLSA RRsets of the published zone. They are searched for once
// in each published file.
func (t *Tree) publishedOwners(j *job) []ownerSet {
	if was := j.state.TLSA; was != nil && was.Searched && j.head.err == nil && was.Of == j.head.id {
		return was.All
	}
	var all []ownerSet
	for _, set := range t.publishedSets(j.z.Name, dns.TypeTLSA) {
		s := ownerSet{Owner: set.Name(0)}
		s.fill(set, 0, set.Len())
		all = append(all, s)
	}
	if j.head.err == nil {
		if j.state.TLSA == nil || j.state.TLSA.Of != j.head.id {
			j.state.TLSA = &publishedTLSA{Of: j.head.id}
		}
		j.state.TLSA.Searched, j.state.TLSA.All = true, all
	}
	return all
}

// stands notes whether a published zone has a host.
func (o *ownerSet) stands(prev *dnssec.Previous, host, apex domain.Name) error {
	for _, name := range standing(host, apex) {
		for _, typ := range standingTypes {
			set, err := prev.RRset(name, typ)
			if err != nil {
				return err
			}
			o.Stands = o.Stands || set.Len() > 0
		}
	}
	return nil
}
