package tlsa

import (
	"cmp"
	"slices"
	"time"
)

// Bounds of what is kept of the addresses of a host.
const (
	maxSights = 64                 // of addresses that are gone
	someTTL   = 24 * 60 * 60       // seconds; of an address record of which that is not known
	maxStay   = 7 * 24 * time.Hour // of an address record in a cache (RFC 8767 §4)
)

// takeHosts notes which records match what each address of the host serves.
func (s *stepper) takeHosts() {
	if s.Group.Lines[0].ProbeOff {
		s.st.Hosts = nil
		return
	}
	for _, o := range s.Observed.Hosts {
		i := slices.IndexFunc(s.st.Hosts, func(v HostSight) bool { return v.Addr == o.Addr })
		if i < 0 {
			i = len(s.st.Hosts)
			s.st.Hosts = append(s.st.Hosts, HostSight{Addr: o.Addr})
		}
		known := &s.st.Hosts[i]
		known.Gone, known.Until, known.NoRoute = time.Time{}, time.Time{}, o.Reach == NoRoute
		known.TTL = max(known.TTL, s.Observed.HostTTL)
		if o.Reach != Answered || len(o.Chains) == 0 {
			continue
		}
		at := o.At
		if at.After(s.Now) || at.IsZero() {
			at = s.Now
		}
		v := HostSight{Addr: o.Addr, At: at, TTL: known.TTL}
		for _, chain := range o.Chains {
			v.Chains = append(v.Chains, s.matching(chain))
			v.Keys = append(v.Keys, leafKey(chain))
		}
		s.st.Hosts[i] = v
		s.hosts = append(s.hosts, v)
	}
	if s.Observed.HostsKnown {
		s.dropHosts()
	}
}

// dropHosts forgets addresses that the host has no more, when no cache and no
// server gives them away any longer: until then clients come to them.
func (s *stepper) dropHosts() {
	for i := range s.st.Hosts {
		v := &s.st.Hosts[i]
		listed := slices.ContainsFunc(s.Observed.Hosts, func(o HostSeen) bool { return o.Addr == v.Addr })
		if !listed && v.Gone.IsZero() {
			v.Gone = s.now
		}
		if !v.Gone.IsZero() { // a way that was longer counts, though it is forgotten meanwhile
			stay := min(time.Duration(cmp.Or(v.TTL, someTTL))*time.Second, maxStay)
			v.Until = latest(v.Until, v.Gone.Add(stay+s.way()+s.Params.Jitter))
		}
	}
	s.st.Hosts = slices.DeleteFunc(s.st.Hosts, func(v HostSight) bool {
		return !v.Gone.IsZero() && (s.Group.Lines[0].Probe.IsValid() || !s.now.Before(v.Until))
	})
	gone := 0
	s.st.Hosts = slices.DeleteFunc(s.st.Hosts, func(v HostSight) bool {
		if v.Gone.IsZero() {
			return false
		}
		if gone++; gone <= maxSights {
			return false
		}
		s.st.Crowd = latest(s.st.Crowd, v.Until)
		return true
	})
}

// outOfReach reports whether nobody can look at an address from here, whoever it
// is: it is of a family that this machine has no route to, and never had as far as
// one knows. A route that is lost for a while makes no address go unseen.
func (s *stepper) outOfReach(v HostSight) bool {
	if !v.NoRoute || !v.At.IsZero() {
		return false
	}
	is4 := v.Addr.Addr().Is4()
	return !slices.ContainsFunc(s.st.Hosts, func(o HostSight) bool { return !o.At.IsZero() && o.Addr.Addr().Is4() == is4 }) &&
		!slices.ContainsFunc(s.st.Servers, func(o ServerSight) bool { return !o.At.IsZero() && o.Addr.Addr().Is4() == is4 })
}

// leafKey names the public key of a served certificate; "" if that cannot be read.
func leafKey(chain [][]byte) string {
	if c := newChain(chain); len(c) > 0 && c[0].spki != nil {
		return keyName(c[0].spki)
	}
	return ""
}

// matching gives the records, present and wanted, that match a served chain.
func (s *stepper) matching(ders [][]byte) []Record {
	chain := newChain(ders)
	var out []Record
	try := func(r Record) {
		if !slices.Contains(out, r) && chain.depth(r) >= 0 {
			out = append(out, r)
		}
	}
	for _, t := range s.st.Records {
		try(t.Record)
	}
	for _, list := range append(slices.Clone(s.live), s.next, s.Hand) {
		for _, r := range list {
			try(r)
		}
	}
	slices.SortFunc(out, compareRecords)
	return out
}

// settleLive finds since when every address of the host serves the keys of the
// files, and nothing else.
func (s *stepper) settleLive() {
	live := s.liveRecords()
	switch {
	case !s.broken && !s.Observed.HostsKnown && !s.st.LiveSince.IsZero() && slices.Equal(live, s.st.LiveOf) && s.allServe():
		// nothing new; but nothing goes now either
	case s.broken || !s.Observed.HostsKnown || !s.allServe():
		s.st.LiveSince, s.st.LiveOf = time.Time{}, nil
	case s.st.LiveSince.IsZero() || !slices.Equal(live, s.st.LiveOf):
		s.st.LiveSince, s.st.LiveOf = s.now, live
	}
}

// allServe reports whether each address that can be looked at serves what it
// should; there must be one.
func (s *stepper) allServe() bool {
	some := false
	for _, v := range s.st.Hosts {
		if s.outOfReach(v) {
			continue
		}
		if some = true; !s.serves(v) {
			return false
		}
	}
	return some && !s.now.Before(s.st.Crowd)
}

// serves reports whether an address was last seen with each live key, in one of
// its chains, and with no chain of a key that is neither live nor pinned by hand.
func (s *stepper) serves(v HostSight) bool {
	if v.At.IsZero() || len(v.Chains) == 0 {
		return false
	}
	for _, of := range s.live {
		if !slices.ContainsFunc(v.Chains, func(chain []Record) bool { return intersect(chain, of) }) {
			return false
		}
	}
	allowed := append(s.liveRecords(), s.Hand...)
	return !slices.ContainsFunc(v.Chains, func(chain []Record) bool { return !intersect(chain, allowed) })
}

func intersect(a, b []Record) bool {
	return slices.ContainsFunc(a, func(r Record) bool { return slices.Contains(b, r) })
}
