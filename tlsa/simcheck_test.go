package tlsa

import (
	"fmt"
	"maps"
	"math"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"
)

// violation is the first client that fails without an excuse, or "".
func (s *simulation) violation() string {
	ok := map[[2]int]bool{} // by version and key
	for i, v := range s.versions {
		for k := range s.fresh {
			ok[[2]int{i, k}] = len(v.records) == 0 || accepts(v, s.chains[k][0])
		}
	}
	for si, server := range s.servers {
		for i, l := range server.log {
			if i > 0 && l.version == 0 {
				return fmt.Sprintf("server %d: no records from second %d on", si, l.from)
			}
		}
	}
	for hi, h := range s.hosts {
		for _, log := range h.logs {
			for i, l := range log {
				until := s.used(h)
				if i+1 < len(log) {
					until = log[i+1].from
				}
				if v := s.failure(ok, l, until); v != "" {
					return fmt.Sprintf("address %d %s", hi, v)
				}
			}
		}
	}
	return ""
}

// failure is the first client that fails at an address that serves a key until
// some second.
func (s *simulation) failure(ok map[[2]int]bool, l hostLog, until int64) string {
	// A client that asked before everywhere has no right to a surprise.
	everywhere := int64(math.MinInt64)
	if l.surprise {
		everywhere = s.everywhere(ok, l.key, l.from)
	}
	for si, server := range s.servers {
		for j, given := range server.log {
			end := int64(simYear)
			if j+1 < len(server.log) {
				end = server.log[j+1].from
			}
			asked := max(given.from, everywhere) // earliest; the latest is before end
			ttl := s.versions[given.version].ttl
			if ok[[2]int{given.version, l.key}] || asked >= end || end-1+ttl < l.from || asked >= until {
				continue
			}
			return fmt.Sprintf("serves key %d (surprise %t) from second %d to %d; server %d gave version %d (TTL %d), which does not match, from %d to %d",
				l.key, l.surprise, l.from, until, si, given.version, ttl, given.from, end)
		}
	}
	return ""
}

// everywhere is since when all servers give versions that match a key: the
// beginning of the stretch that holds an instant, or that begins first after it.
func (s *simulation) everywhere(ok map[[2]int]bool, key int, at int64) int64 {
	var turns []int64
	for _, server := range s.servers {
		for _, l := range server.log {
			turns = append(turns, l.from)
		}
	}
	slices.Sort(turns)
	since, holds := int64(math.MaxInt64), false
	for _, t := range slices.Compact(turns) {
		now := true
		for _, server := range s.servers {
			i := len(server.log) - 1
			for server.log[i].from > t {
				i--
			}
			now = now && server.log[i].version > 0 && ok[[2]int{server.log[i].version, key}]
		}
		switch {
		case now && !holds:
			if t > at {
				if since == math.MaxInt64 {
					since = t
				}
				return since
			}
			since = t
		case !now && t <= at:
			since = math.MaxInt64
		case !now && since != math.MaxInt64:
			return since
		}
		holds = now
	}
	return since
}

// seeds is the number of years: few by default, TLSA_YEARS for more.
func seeds(t *testing.T) uint64 {
	if v := os.Getenv("TLSA_YEARS"); v != "" {
		n, err := strconv.ParseUint(v, 10, 32)
		if err != nil {
			t.Fatalf("TLSA_YEARS: %v", err)
		}
		return n
	}
	if testing.Short() {
		return 15
	}
	return 60
}

// TestSimulatedYear: in no year does a client fail that has a right not to.
func TestSimulatedYear(t *testing.T) {
	total := map[string]int{}
	for seed := range seeds(t) {
		s := newSimulation(t, seed, mutation{})
		s.run()
		if v := s.violation(); v != "" {
			t.Fatalf("seed %d: %s", seed, v)
		}
		for k, n := range s.counts {
			total[k] += n
		}
	}
	for _, k := range slices.Sorted(maps.Keys(total)) {
		t.Logf("%8d %s", total[k], k)
	}
	for _, k := range []string{
		"announced", "surprise", "broken", "hostile", "rolled back in time", "regressed", "retired", "guarded", "two lines", "no resolver", "refused", "address gone", "address new", "SOA lowered", "SOA raised",
		"phase new", "phase steady", "phase publishing", "phase waiting", "phase ready", "phase mixed", "phase live", "phase withdraw",
	} {
		if total[k] == 0 && !testing.Short() {
			t.Errorf("never happened: %s", k)
		}
	}
}

// TestSimulationFails: each rule is needed; without it a client fails.
func TestSimulationFails(t *testing.T) {
	for name, m := range map[string]mutation{
		"no TTL is waited for": {k0: true},
		"old records go with time": {out: func(now time.Time, st *State, set *Set) {
			old := func(r Record) bool {
				v := st.tracked(r)
				return !v.Left.IsZero() && now.Sub(v.Left) > 14*24*time.Hour
			}
			set.Records = slices.DeleteFunc(set.Records, old)
			st.Records = slices.DeleteFunc(st.Records, func(v Tracked) bool { return !slices.Contains(set.Records, v.Record) })
		}},
		"a server that is not reached counts as seen": {in: func(in *Input) {
			for i := range in.Observed.Servers {
				if v := &in.Observed.Servers[i]; v.Reach != Answered {
					v.Reach, v.Records, v.TTL = Answered, in.Published.Records, in.Published.TTL
				}
			}
		}},
		"a host that is not reached is left out": {in: func(in *Input) {
			in.Observed.Hosts = slices.DeleteFunc(slices.Clone(in.Observed.Hosts), func(v HostSeen) bool { return v.Reach != Answered })
			in.Observed.HostsKnown = true
		}},
		"TTLs of the past are forgotten": {in: func(in *Input) {
			in.State.TTLs = nil
			for i := range in.Observed.Servers {
				in.Observed.Servers[i].TTL = in.Group.Lines[0].TTL
			}
			in.Published.TTL = in.Group.Lines[0].TTL
		}},
		"an old key that comes back ends newer ones": {in: func(in *Input) {
			for i := range in.State.Records {
				in.State.Records[i].Promised = false
			}
		}},
		"servers that answer are all there are": {in: func(in *Input) { in.Observed.ServersKnown = true }},
		"an address that is gone is forgotten": {in: func(in *Input) {
			in.State.Hosts = slices.DeleteFunc(slices.Clone(in.State.Hosts), func(v HostSight) bool { return !v.Gone.IsZero() })
		}},
		"the SOA record of before is forgotten": {in: func(in *Input) { in.State.Ways = nil }},
		"the clock is believed":                 {in: func(in *Input) { in.State.Clock = time.Time{} }},
	} {
		t.Run(name, func(t *testing.T) {
			for seed := range uint64(400) {
				s := newSimulation(t, seed, m)
				s.run()
				if s.violation() != "" {
					t.Logf("seed %d: %s", seed, s.violation())
					return
				}
			}
			t.Error("the simulation does not notice")
		})
	}
}
