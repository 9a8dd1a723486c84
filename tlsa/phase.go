package tlsa

import (
	"crypto/sha256"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/miekg/dns"

	"zonebuild/internal/rrset"
	"zonebuild/zone"
)

// result says what came out of the step and how things stand.
func (s *stepper) result() Set {
	set := Set{TTL: s.Group.TTL(), Guarded: s.guarded}
	if (s.broken || s.guarded) && len(s.Published.Records) > 0 {
		set.TTL = s.Published.TTL
	}
	slices.SortFunc(s.st.Records, func(a, b Tracked) int { return compareRecords(a.Record, b.Record) })
	for _, t := range s.st.Records {
		if !slices.Contains(s.Hand, t.Record) {
			set.Records = append(set.Records, t.Record)
		}
		if t.Surprise {
			s.warnf(nil, "tlsa-surprise", "%s: a key that was not announced, or not long enough; caches without it fail until %s", short(t.Record), s.until(&t))
		}
	}
	for _, v := range s.hosts {
		for _, chain := range v.Chains {
			if !slices.ContainsFunc(chain, func(r Record) bool { return s.st.tracked(r) != nil || slices.Contains(s.Hand, r) }) {
				s.warnf(nil, "tlsa-mismatch", "%s serves a key that no record matches", v.Addr)
			}
		}
	}
	set.Ready, set.ReadyAt = s.ready()
	phase, waits := s.phase(set)
	if phase != s.st.Phase {
		s.st.Phase, s.st.Since = phase, s.now
	}
	set.Phase, set.Since, set.Waits = phase, s.st.Since, waits
	return set
}

func (s *stepper) until(t *Tracked) string {
	at := s.publishedAt(t)
	if at.IsZero() {
		return "it is everywhere and they have run out"
	}
	return s.readyAt(at).UTC().Format(time.RFC3339)
}

// ready reports whether the keys of all next= files may be deployed, and when
// they may be as far as that is known.
func (s *stepper) ready() (ready bool, at time.Time) {
	ready = len(s.staged) > 0 && !s.nextBroken
	for _, r := range s.staged {
		t := s.st.tracked(r)
		if t == nil {
			return false, time.Time{}
		}
		from := s.publishedAt(t)
		if from.IsZero() {
			return false, time.Time{}
		}
		at = latest(at, s.readyAt(from))
		ready = ready && t.Ready
	}
	return ready, at
}

func (s *stepper) phase(set Set) (Phase, []string) {
	leaving := slices.ContainsFunc(s.st.Records, func(t Tracked) bool { return !t.Left.IsZero() })
	switch {
	case s.guarded:
		p := s.st.Phase
		if p == "" {
			p = PhaseNew
		}
		return p, []string{"the guard refused the new records"}
	case len(s.st.Records) == 0:
		return PhaseNew, []string{"no file could be read"}
	case leaving && !s.st.LiveSince.IsZero():
		return PhaseLive, s.waitsForGrace()
	case leaving:
		return PhaseMixed, s.waitsForHosts()
	case slices.ContainsFunc(s.st.Hosts, s.servesNext):
		return PhaseMixed, s.waitsForHosts()
	case len(s.next) > 0 && set.Ready:
		return PhaseReady, nil
	case len(s.next) > 0 && !set.ReadyAt.IsZero():
		return PhaseWaiting, []string{"caches, until " + set.ReadyAt.UTC().Format(time.RFC3339)}
	case len(s.next) > 0:
		return PhasePublishing, s.waitsForServers(s.next)
	case s.staleServer().IsValid():
		return PhaseWithdraw, []string{fmt.Sprintf("%s still serves a withdrawn record", s.staleServer())}
	}
	if w := s.waitsForServers(s.liveRecords()); len(w) > 0 && (s.st.Phase == "" || s.st.Phase == PhaseNew) {
		return PhaseNew, w
	}
	return PhaseSteady, nil
}

func (s *stepper) servesNext(v HostSight) bool {
	return slices.ContainsFunc(v.Chains, func(chain []Record) bool {
		return intersect(chain, s.next) && !intersect(chain, s.liveRecords())
	})
}

// staleServer is one that was last seen with a record that is not published.
func (s *stepper) staleServer() netip.AddrPort {
	for _, v := range s.st.Servers {
		for _, r := range v.Records {
			if s.st.tracked(r) == nil && !slices.Contains(s.Hand, r) {
				return v.Addr
			}
		}
	}
	return netip.AddrPort{}
}

// waitsForServers names what keeps records from being everywhere.
func (s *stepper) waitsForServers(records []Record) []string {
	var out []string
	add := func(text string) {
		if !slices.Contains(out, text) {
			out = append(out, text)
		}
	}
	for _, r := range records {
		t := s.st.tracked(r)
		switch {
		case t == nil || !t.In:
			add("the zone with the record is not published yet")
			continue
		case !s.publishedAt(t).IsZero():
			continue
		}
		for _, v := range s.st.Servers {
			if _, seen := t.seenOn(v.Addr); seen || v.NoRoute {
				continue
			}
			if v.At.IsZero() {
				add(fmt.Sprintf("%s has not answered", v.Addr))
			} else {
				add(fmt.Sprintf("%s does not show the record", v.Addr))
			}
		}
		switch {
		case s.Params.Clock && t.ByHand.IsZero():
			add("the way to all servers")
		case !s.Params.Clock && !s.listed(t) && len(s.st.Servers) > 0:
			add("no resolver tells which name servers the zone has: set resolver, or observe = \"clock\", or `zonebuild tlsa seen`")
		case len(out) == 0:
			add("no authoritative server can be asked: set observe = \"clock\", or `zonebuild tlsa seen`")
		}
	}
	return out
}

// waitsForHosts names the addresses that keep old records from going.
func (s *stepper) waitsForHosts() []string {
	retire := fmt.Sprintf("`zonebuild tlsa retire %s %d`", s.Group.Host, s.Group.Port)
	if s.Group.Lines[0].ProbeOff {
		return []string{"the host is not looked at: " + retire}
	}
	var out []string
	for _, v := range s.st.Hosts {
		switch {
		case s.outOfReach(v):
		case !v.Gone.IsZero() && (v.At.IsZero() || !s.serves(v)):
			out = append(out, fmt.Sprintf("%s is no address of the host any more, but caches may have it until %s", v.Addr, v.Until.UTC().Format(time.RFC3339)))
		case v.At.IsZero():
			out = append(out, fmt.Sprintf("%s was not seen: %s if it has the new key", v.Addr, retire))
		case !s.serves(v):
			out = append(out, fmt.Sprintf("%s does not serve the keys of all files, or serves another one", v.Addr))
		}
	}
	if s.now.Before(s.st.Crowd) {
		out = append(out, "addresses that the host had, until "+s.st.Crowd.UTC().Format(time.RFC3339))
	}
	if s.broken {
		out = append(out, "a file that can be read")
	}
	if len(out) == 0 {
		out = append(out, "the addresses of the host are not known")
	}
	return out
}

func (s *stepper) waitsForGrace() []string {
	out := s.waitsForServers(s.liveRecords())
	end := s.st.LiveSince
	for _, t := range s.st.Records {
		switch {
		case t.Left.IsZero():
		case !s.superseded(t):
			out = append(out, fmt.Sprintf("%s goes when a newer key is live, or by `zonebuild tlsa retire %s %d`", short(t.Record), s.Group.Host, s.Group.Port))
		default:
			end = latest(end, t.Left)
		}
	}
	if end = end.Add(s.Params.Grace); s.now.Before(end) {
		out = append(out, "the grace, until "+end.UTC().Format(time.RFC3339))
	}
	if len(out) == 0 {
		out = append(out, "a look at the host since the file changed")
	}
	return out
}

// Fragment is the set as a guest of the zone: it is left out when it does not
// fit beside the hand-written records. It may make a name exist for which a
// wildcard answers: the map is the operator's. Its place is the first line of the group.
func (set Set) Fragment(g Group) (zone.Fragment, error) {
	pos := g.Lines[0].Pos
	var b rrset.Builder
	file, err := b.AddFile(pos.File)
	for _, r := range set.Records {
		if err != nil {
			break
		}
		err = b.Add([]byte(g.Owner.Wire()), dns.TypeTLSA, int64(set.TTL), r.Rdata(), rrset.Pos{File: file, Line: uint32(pos.Line), Column: pos.Column})
	}
	if err != nil {
		return zone.Fragment{}, fmt.Errorf("make the TLSA records of %s: %w", g.Owner, err)
	}
	digest := sha256.Sum256(fmt.Appendf(nil, "%s %d %s", g.Owner, set.TTL, set.Records))
	return zone.Fragment{
		Name: pos.File, Guest: true, MayHide: true, Records: b.Set(), TTL: -1, Files: []zone.Source{{Name: pos.File, Digest: digest}},
	}, nil
}
