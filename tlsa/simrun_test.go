package tlsa

import (
	"container/heap"
	"encoding/json"
	"slices"
	"time"
)

// pass is a run of the builder, and a look of the operator at what it says.
func (s *simulation) pass() {
	s.soon()
	if s.down {
		return
	}
	if s.back == 0 {
		s.passed = s.now
	}
	v := s.versions[s.published()]
	in := Input{
		Group:     Group{s.lines[0].Service, s.lines[0].Owner, slices.Clone(s.lines)},
		Published: Published{v.records, uint32(v.ttl), true}, State: s.state, Observed: s.observe(), Params: DefaultParams(), Now: instant(s.now - s.back),
	}
	for i := range s.lines {
		in.Keys = append(in.Keys, Keys{s.file(s.live[i]), s.file(s.next[i])})
	}
	in.Params.Jitter, in.Params.Clock, in.Params.Propagate = time.Minute, s.clock, s.propagate()
	if s.state.Phase == PhaseMixed && !slices.Contains(s.busy, true) && s.r.IntN(20) == 0 && s.allHave() {
		in.Marks.Retire = true // the operator knows that no host needs the others
		s.counts["retired"]++
	}
	run := Step
	if s.mutant.in != nil {
		s.mutant.in(&in)
	}
	if s.mutant.k0 {
		in.Params.K, in.Params.Jitter, run = 0, 0, step
	}
	set, st, _ := run(in)
	if s.mutant.out != nil {
		s.mutant.out(in.Now, &st, &set)
	}
	s.counts["phase "+string(set.Phase)]++
	if set.Guarded {
		s.counts["guarded"]++
	}
	s.state = st
	if s.r.IntN(50) == 0 {
		s.state = s.reread(st)
	}
	if len(set.Records) == 0 && len(v.records) > 0 {
		s.t.Fatalf("second %d: all records withdrawn", s.now)
	}
	if (!slices.Equal(set.Records, v.records) || int64(set.TTL) != v.ttl) && len(set.Records) > 0 && !s.refused && s.r.IntN(30) > 0 { // or the zone has another fault
		s.publish(rrsetVersion{set.Records, int64(set.TTL)})
	}
	s.operate(set)
}

func (s *simulation) reread(st State) State {
	text, err := json.Marshal(st)
	if err != nil {
		s.t.Fatal(err)
	}
	var back State
	if err := json.Unmarshal(text, &back); err != nil {
		s.t.Fatal(err)
	}
	return back
}

func (s *simulation) publish(v rrsetVersion) {
	s.versions = append(s.versions, v)
	s.servers[0].take(s.now, s.published())
	for _, server := range s.servers[1:] {
		s.after(1+s.r.Int64N(server.slow), func() {
			if !server.regressing {
				server.take(s.now, s.published())
			}
		})
	}
}

// allHave reports whether no address that clients come to needs another key than
// those in the files.
func (s *simulation) allHave() bool {
	return !slices.ContainsFunc(s.hosts, func(h *simHost) bool {
		for line, key := range s.live {
			if h.key(line) != key && s.now < s.used(h) {
				return true
			}
		}
		return false
	})
}

// operate deploys the next key when the step says that it may be.
func (s *simulation) operate(set Set) {
	for line := range s.lines {
		next := s.next[line]
		if s.busy[line] || !set.Ready || next < 0 || next == s.live[line] || s.r.IntN(4) == 0 {
			continue
		}
		s.counts["announced"]++
		s.rollOut(line, next, false)
		s.live[line], s.next[line] = next, absent
		if s.r.IntN(2) == 0 {
			s.next[line] = s.newKey()
		}
	}
}

// rollOut brings a key to all addresses of the host, to some of them late.
func (s *simulation) rollOut(line, key int, surprise bool) {
	s.busy[line] = true
	last := int64(0)
	for _, h := range s.hosts {
		delay := int64(0)
		if s.r.IntN(3) == 0 {
			delay = s.r.Int64N([]int64{simHour, simDay, 40 * simDay}[s.r.IntN(3)])
		}
		last = max(last, delay)
		s.after(delay, func() { s.deploy(h, line, key, surprise) })
	}
	s.after(last+1, func() { s.busy[line] = false })
	if s.r.IntN(10) == 0 {
		s.after(s.tick+1, func() { s.rollBack(line, key) })
	}
}

// rollBack writes over a key that is being rolled out with the one that a host
// still serves.
func (s *simulation) rollBack(line, key int) {
	old := s.hosts[s.r.IntN(len(s.hosts))].key(line)
	if s.live[line] != key || old == key {
		return
	}
	s.live[line] = old
	s.counts["rolled back in time"]++
	s.after(1+s.r.Int64N(5*simDay), func() {
		if s.live[line] == old {
			s.live[line] = key
		}
	})
}

// run lets a year go by.
func (s *simulation) run() {
	s.pass()
	s.after(5*simDay, s.trouble)
	for len(s.queue) > 0 && s.queue[0].at < simYear {
		e := heap.Pop(&s.queue).(event)
		s.now = e.at
		e.do()
	}
}

// trouble is the next thing that happens, every few days.
func (s *simulation) trouble() {
	s.after(s.r.Int64N(6*simDay), s.trouble)
	s.idle = 0
	s.soon()
	span := 1 + s.r.Int64N([]int64{2 * simHour, 2 * simDay, 10 * simDay}[s.r.IntN(3)])
	line := s.r.IntN(len(s.lines))
	file := &s.live[line]
	if s.r.IntN(2) == 0 {
		file = &s.next[line]
	}
	names := []string{"same key", "next", "next", "next", "surprise", "broken", "hostile", "rolled back", "TTL", "TTL", "down", "state lost", "server unseen", "host unseen", "regress", "clock", "digest", "refused", "address", "SOA"}
	name := names[s.r.IntN(len(names))]
	s.counts[name]++
	switch name {
	case "next":
		if s.next[line] == absent {
			s.next[line] = s.newKey()
		}
	case "surprise":
		if !s.busy[line] {
			key := s.newKey()
			s.live[line] = key
			s.rollOut(line, key, true)
		}
	case "broken", "hostile", "rolled back":
		was, is := *file, garbage
		switch {
		case name == "hostile":
			is = s.newKey()
		case name == "rolled back" && s.fresh > 0:
			is = s.r.IntN(s.fresh)
		case s.r.IntN(2) == 0:
			is = absent
		}
		*file = is
		s.after(span, func() {
			if *file == is {
				*file = was
			}
		})
	case "TTL":
		s.lines[line].TTL = s.someTTL()
	case "down":
		s.down = true
		s.after(s.r.Int64N(7*simDay), func() { s.down = false })
	case "state lost":
		if s.back == 0 { // with the clock behind, nothing is left that knew better
			s.state = State{}
		}
	case "server unseen":
		if v := s.servers[s.r.IntN(len(s.servers))]; !v.regressing {
			v.unseen = true
			s.after(span, func() { v.unseen = false })
		}
	case "host unseen":
		h := s.hosts[s.r.IntN(len(s.hosts))]
		h.unseen = true
		s.after(span, func() { h.unseen = false })
	case "regress":
		s.regress()
	case "clock":
		if s.back == 0 {
			// Until it has caught up: a clock that is set forward later is told from
			// a builder that slept by nobody.
			s.back = s.now - s.passed + 1 + s.r.Int64N(10*simDay)
			s.after(min(span, s.passed+s.back-s.now), func() { s.back = 0 })
		}
	case "digest":
		s.lines[line].Kind.MatchingType = SHA256 + SHA512 - s.lines[line].Kind.MatchingType
	case "refused":
		s.refused = true
		s.after(span, func() { s.refused = false })
	case "address":
		s.readdress()
	case "SOA":
		s.resize(s.servers[s.r.IntN(len(s.servers))])
	}
}

// readdress takes an address out of the zone, with whatever it serves, or puts a
// new one into it.
func (s *simulation) readdress() {
	stay := slices.DeleteFunc(slices.Clone(s.hosts), func(h *simHost) bool { return h.gone > 0 })
	like := stay[s.r.IntN(len(stay))]
	switch {
	case len(stay) > 1 && s.r.IntN(2) == 0:
		like.gone = s.now
		for _, v := range s.servers {
			like.late = max(like.late, v.slow, v.claim)
		}
		s.counts["address gone"]++
	case len(s.hosts) < 10:
		h := &simHost{}
		for _, log := range like.logs {
			last := log[len(log)-1]
			h.logs = append(h.logs, []hostLog{{s.now, last.key, last.surprise}})
		}
		s.hosts = append(s.hosts, h)
		s.counts["address new"]++
	}
}

// resize changes what the SOA record says of the longest way to a server. One
// that has the old record goes by that.
func (s *simulation) resize(v *simServer) {
	if v == s.servers[0] || v.slow != v.claim {
		return
	}
	was := v.claim
	v.claim = 60 + s.r.Int64N([]int64{600, simDay, 5 * simDay}[s.r.IntN(3)])
	if v.claim >= was {
		v.slow = v.claim
		s.counts["SOA raised"]++
		return
	}
	s.counts["SOA lowered"]++
	s.after(was, func() { v.slow = v.claim })
}

// regress makes a server go back to an older version while a next key is on
// its way, long enough to be seen. At other times that breaks clients whatever
// the builder does.
func (s *simulation) regress() {
	v := s.servers[s.r.IntN(len(s.servers))]
	version := s.versions[v.serves()]
	if s.state.Phase != PhasePublishing && s.state.Phase != PhaseWaiting || v.unseen || s.down || slices.Contains(s.busy, true) || len(s.servers) == 1 || v == s.servers[0] || s.clock || s.deaf {
		return
	}
	for old := v.serves() - 1; old > 0; old-- {
		lacks := slices.ContainsFunc(version.records, func(r Record) bool { return !slices.Contains(s.versions[old].records, r) })
		if lacks && s.allMatched(s.versions[old]) {
			v.regressing = true
			v.take(s.now, old)
			s.counts["regressed"]++
			s.after(3*s.tick, func() { v.regressing = false; v.take(s.now, s.published()) })
			return
		}
	}
}

func (s *simulation) allMatched(v rrsetVersion) bool {
	return !slices.ContainsFunc(s.hosts, func(h *simHost) bool {
		for line := range s.lines {
			if !accepts(v, s.chains[h.key(line)][0]) {
				return true
			}
		}
		return false
	})
}

// accepts reports whether all kinds of clients take a chain by an RRset: those
// that use the strongest digest (RFC 7671 §9), and those that know SHA-256 only.
func accepts(v rrsetVersion, chain [][]byte) bool {
	for _, strongest := range []uint8{SHA256, SHA512} {
		digest := uint8(0)
		for _, r := range v.records {
			if r.MatchingType <= strongest {
				digest = max(digest, r.MatchingType)
			}
		}
		if digest == 0 { // this client can use no record: it is as if there were none
			continue
		}
		if !slices.ContainsFunc(v.records, func(r Record) bool { return r.MatchingType == digest && Associated(r, chain) }) {
			return false
		}
	}
	return true
}
