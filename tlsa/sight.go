package tlsa

import (
	"net/netip"
	"slices"
	"time"
)

// takePublished follows what stands in the published zone.
func (s *stepper) takePublished() {
	ours := slices.DeleteFunc(slices.Clone(s.Published.Records), func(r Record) bool { return slices.Contains(s.Hand, r) && !s.isWanted(r) })
	if len(s.Hand) > 0 {
		s.warnf(nil, "tlsa-hand-written", "%d TLSA records are written by hand at this owner: they stand beside those of the map", len(s.Hand))
	}
	s.st.Records = slices.DeleteFunc(s.st.Records, func(t Tracked) bool { return slices.Contains(s.Hand, t.Record) && !s.isWanted(t.Record) })
	lost := s.st.Phase == "" && len(ours) > 0
	if lost {
		s.warnf(nil, "tlsa-state-lost", "nothing is known of the published records: nothing is withdrawn, and all clocks begin now")
		s.st.extend(MaxTTL, s.now) // whatever it was before
	}
	for i := range s.st.Records {
		t := &s.st.Records[i]
		in := slices.Contains(ours, t.Record)
		switch {
		case t.In && !in:
			t.restart()
		case !t.In && in:
			t.Restart = s.now // before, some version without it was published
		}
		t.In = in
	}
	for _, r := range ours {
		if s.st.tracked(r) == nil {
			s.st.Records = append(s.st.Records, Tracked{
				Record: r, Added: s.now, In: true, Live: lost && s.isLive(r), Promised: true, FirstLive: s.now, Restart: s.now,
			})
		}
	}
	if s.Published.TTL > s.st.TTL && s.st.TTL > 0 {
		for i := range s.st.Records {
			s.st.Records[i].Restart = s.now
		}
	}
	s.takeWay(lost)
	s.takeConfirmed()
}

// takeServers notes which authoritative server shows which record since when.
func (s *stepper) takeServers() {
	for _, o := range s.Observed.Servers {
		i := slices.IndexFunc(s.st.Servers, func(v ServerSight) bool { return v.Addr == o.Addr })
		if i < 0 {
			i = len(s.st.Servers)
			s.st.Servers = append(s.st.Servers, ServerSight{Addr: o.Addr})
		}
		v := &s.st.Servers[i]
		if v.NoRoute = o.Reach == NoRoute; o.Reach != Answered {
			continue
		}
		if !v.At.IsZero() {
			s.st.extend(v.TTL, s.now) // until a moment ago, for all one knows
		}
		v.At, v.TTL, v.Records = s.now, o.TTL, s.worthKeeping(o.Records)
		for j := range s.st.Records {
			t := &s.st.Records[j]
			_, known := t.seenOn(o.Addr)
			switch has := s.counts(t.Record, o.Records); {
			case has && !known:
				t.Seen = append(t.Seen, ServerSince{o.Addr, s.now})
			case !has:
				t.forget(o.Addr)
				t.ByHand = time.Time{}
			}
		}
	}
	if !s.Observed.ServersKnown {
		return
	}
	s.st.Listed = s.now
	gone := func(a netip.AddrPort) bool {
		return !slices.ContainsFunc(s.Observed.Servers, func(o ServerSeen) bool { return o.Addr == a })
	}
	s.st.Servers = slices.DeleteFunc(s.st.Servers, func(v ServerSight) bool { return gone(v.Addr) })
	for i := range s.st.Records {
		t := &s.st.Records[i]
		t.Seen = slices.DeleteFunc(t.Seen, func(v ServerSince) bool { return gone(v.Addr) })
	}
}

// worthKeeping bounds what a server can make grow in state/: the records that are
// tracked, and some others.
func (s *stepper) worthKeeping(records []Record) []Record {
	var out []Record
	others := 0
	for _, r := range records {
		if s.st.tracked(r) == nil {
			if others++; others > MaxRecords {
				continue
			}
		}
		out = append(out, r)
	}
	return out
}

// takeTTLs keeps the history of TTLs (RFC 7671 §8: RRsets in caches count).
func (s *stepper) takeTTLs() {
	until, unseen := s.now, false
	if s.Params.Clock {
		until = s.now.Add(s.way())
	}
	if len(s.Published.Records) > 0 {
		if s.st.TTL > 0 {
			s.st.extend(s.st.TTL, until)
		}
		s.st.extend(s.Published.TTL, until)
		s.st.TTL = s.Published.TTL
	}
	for _, v := range s.st.Servers {
		if v.At.IsZero() {
			unseen = unseen || !v.NoRoute
			continue
		}
		s.st.extend(v.TTL, s.now)
	}
	for i := range s.st.TTLs {
		if unseen && !s.Params.Clock { // it may serve any of them
			s.st.extend(s.st.TTLs[i].TTL, s.now)
		}
	}
	s.st.TTLs = slices.DeleteFunc(s.st.TTLs, func(v TTLSpan) bool { return !s.now.Before(v.Until.Add(s.wait(v.TTL))) })
}

// wait is K TTLs and the jitter.
func (s *stepper) wait(ttl uint32) time.Duration {
	return time.Duration(s.Params.K)*time.Duration(ttl)*time.Second + s.Params.Jitter
}

func (s *stepper) markSeen() {
	if !s.Marks.Seen {
		return
	}
	for i := range s.st.Records {
		if t := &s.st.Records[i]; t.In && t.ByHand.IsZero() {
			t.ByHand = s.now
		}
	}
}
