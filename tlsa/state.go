package tlsa

import (
	"net/netip"
	"slices"
	"time"
)

// Reach says what became of an attempt to ask a server.
type Reach uint8

const (
	Unreachable Reach = iota // neither a mismatch nor a sighting
	NoRoute                  // this machine has no route to the address family
	Answered
)

// ServerSeen is what one address of an authoritative server answered.
type ServerSeen struct {
	Addr    netip.AddrPort
	Reach   Reach
	Records []Record // the whole TLSA RRset at the owner; none = it proved or said that there is none
	TTL     uint32   // of the RRset; without one, of the negative answer (RFC 2308 §5)
}

// HostSeen is what one address of the service served.
type HostSeen struct {
	Addr   netip.AddrPort
	Reach  Reach
	At     time.Time
	Chains [][][]byte // each chain that was served (RSA, ECDSA), DER, leaf first
}

// Observed is what was seen of an owner. Known says that the list is all there
// is; a look-up that failed leaves it false, and then nothing is concluded from
// what is missing in the list.
type Observed struct {
	Servers      []ServerSeen
	ServersKnown bool
	Hosts        []HostSeen
	HostsKnown   bool
	HostTTL      uint32 // of the address records of the host, in seconds; 0 = not known
}

// Published is the TLSA RRset at the owner in the published zone.
type Published struct {
	Records   []Record
	TTL       uint32
	Confirmed bool // that zone is known to be served by its primary server
}

// Marks are what the operator said by hand, once.
type Marks struct {
	Seen   bool // all servers that cannot be asked serve the published set now
	Retire bool // records that no file asks for any more may go
	Accept bool // the guard lets the set pass
}

// Params are the waits of a rollover (RFC 7671 §8.1).
type Params struct {
	K         int           // TTLs between next published everywhere and ready; below 1 it is 2
	Jitter    time.Duration // added to each wait
	Grace     time.Duration // old records stay so long after the last host has changed
	Clock     bool          // servers cannot be asked by design: Propagate after the confirmation counts
	Propagate time.Duration // longest way of the present zone to all servers; SOA refresh + retry
}

// DefaultParams waits two TTLs and five minutes, and keeps old records for an
// hour after the last host was seen with the new key.
func DefaultParams() Params {
	return Params{K: 2, Jitter: 5 * time.Minute, Grace: time.Hour, Propagate: 2 * time.Hour}
}

// State is what is kept of an owner between steps, as JSON in state/. Its zero
// value is that of an owner that was never seen, or whose state was lost.
type State struct {
	Records   []Tracked     `json:"records,omitempty"`
	Servers   []ServerSight `json:"servers,omitempty"`
	Listed    time.Time     `json:"listed,omitzero"` // when Servers were last known to be all there are
	Hosts     []HostSight   `json:"hosts,omitempty"`
	Crowd     time.Time     `json:"crowd,omitzero"` // until then the host may have addresses that are not in Hosts
	TTLs      []TTLSpan     `json:"ttls,omitempty"`
	TTL       uint32        `json:"ttl,omitempty"`  // of the published RRset at the last step
	Ways      []WaySpan     `json:"ways,omitempty"` // the last one is the present one
	Phase     Phase         `json:"phase"`
	Since     time.Time     `json:"since"`               // of Phase
	LiveOf    []Record      `json:"live,omitempty"`      // records of the files' keys at LiveSince
	LiveSince time.Time     `json:"live_since,omitzero"` // every address of the host serves them
	Clock     time.Time     `json:"clock"`               // latest time of any step: time does not go back
	Guarded   bool          `json:"guarded,omitempty"`   // the last step refused new records
	Behind    bool          `json:"behind,omitempty"`    // the system's clock was behind it at the last step
}

// Tracked is a record of the RRset with its clocks.
type Tracked struct {
	Record    Record        `json:"record"`
	Added     time.Time     `json:"added"`
	File      string        `json:"file,omitempty"`      // CERTFILE of its line
	In        bool          `json:"in,omitempty"`        // stood in the published zone
	Live      bool          `json:"live,omitempty"`      // of a CERTFILE, not of a next=
	Ready     bool          `json:"ready,omitempty"`     // every cache has it
	Promised  bool          `json:"promised,omitempty"`  // was live, or Ready as a next key: somebody may be deploying it
	FirstLive time.Time     `json:"first_live,omitzero"` // first of a CERTFILE
	Surprise  bool          `json:"surprise,omitempty"`  // became live before it was Ready
	Left      time.Time     `json:"left,omitzero"`       // since when no file asks for it
	Seen      []ServerSince `json:"seen,omitempty"`      // without interruption
	ByHand    time.Time     `json:"by_hand,omitzero"`    // Marks.Seen
	Confirmed time.Time     `json:"confirmed,omitzero"`  // first served by the primary server
	Arrives   time.Time     `json:"arrives,omitzero"`    // at the last server, if nobody asks them
	Restart   time.Time     `json:"not_before,omitzero"` // no clock runs from before
}

// ServerSince says since when a server shows a record.
type ServerSince struct {
	Addr netip.AddrPort `json:"addr"`
	At   time.Time      `json:"at"`
}

// ServerSight is the last answer of an authoritative server.
type ServerSight struct {
	Addr    netip.AddrPort `json:"addr"`
	NoRoute bool           `json:"no_route,omitempty"`
	At      time.Time      `json:"at,omitzero"` // zero = it never answered
	TTL     uint32         `json:"ttl,omitempty"`
	Records []Record       `json:"records,omitempty"`
}

// HostSight is what an address of the service served last: for each chain the
// records that match it.
type HostSight struct {
	Addr   netip.AddrPort `json:"addr"`
	At     time.Time      `json:"at,omitzero"` // zero = it was never seen
	Chains [][]Record     `json:"chains,omitempty"`
	Keys   []string       `json:"keys,omitempty"` // SHA-256 of the public key of each chain's leaf; "" = not read

	NoRoute bool      `json:"no_route,omitempty"`
	TTL     uint32    `json:"ttl,omitempty"`  // greatest of its address record
	Gone    time.Time `json:"gone,omitzero"`  // since when it is no address of the host
	Until   time.Time `json:"until,omitzero"` // when no cache has it any more
}

// TTLSpan says until when a TTL was served, of any version of the RRset or of
// its absence. Caches may hold that version for one TTL more.
type TTLSpan struct {
	TTL   uint32    `json:"ttl"`
	Until time.Time `json:"until"`
}

// Phase is where a rollover stands.
type Phase string

// Phases, in the order of a rollover; "" is none yet.
const (
	PhaseNew        Phase = "new"        // S0: the first RRset is not seen everywhere yet
	PhaseSteady     Phase = "steady"     // S1: nothing to do
	PhasePublishing Phase = "publishing" // S2: next is on its way to the servers
	PhaseWaiting    Phase = "waiting"    // S3: next is everywhere, caches run out
	PhaseReady      Phase = "ready"      // S4: next may be deployed
	PhaseMixed      Phase = "mixed"      // S5: hosts change, or old keys wait for it
	PhaseLive       Phase = "live"       // S6: all hosts have changed; grace
	PhaseWithdraw   Phase = "withdraw"   // S7: old records leave the servers
)

func (st State) clone() State {
	st.Records = slices.Clone(st.Records)
	for i := range st.Records {
		st.Records[i].Seen = slices.Clone(st.Records[i].Seen)
	}
	st.Servers = slices.Clone(st.Servers)
	st.Hosts = slices.Clone(st.Hosts)
	st.TTLs, st.Ways = slices.Clone(st.TTLs), slices.Clone(st.Ways)
	return st
}

// tracked gives the entry of a record, or nil.
func (st *State) tracked(r Record) *Tracked {
	for i := range st.Records {
		if st.Records[i].Record == r {
			return &st.Records[i]
		}
	}
	return nil
}

// extend notes that a TTL is served until t at least.
func (st *State) extend(ttl uint32, t time.Time) {
	for i := range st.TTLs {
		if s := &st.TTLs[i]; s.TTL == ttl {
			if t.After(s.Until) {
				s.Until = t
			}
			return
		}
	}
	st.TTLs = append(st.TTLs, TTLSpan{ttl, t})
}

func (t *Tracked) seenOn(addr netip.AddrPort) (time.Time, bool) {
	for _, s := range t.Seen {
		if s.Addr == addr {
			return s.At, true
		}
	}
	return time.Time{}, false
}

func (t *Tracked) forget(addr netip.AddrPort) {
	t.Seen = slices.DeleteFunc(t.Seen, func(s ServerSince) bool { return s.Addr == addr })
}

// shift moves all instants that f says to another.
func (st *State) shift(f func(time.Time) time.Time) {
	for i := range st.Records {
		t := &st.Records[i]
		t.Left, t.ByHand, t.Confirmed, t.Arrives, t.Restart = f(t.Left), f(t.ByHand), f(t.Confirmed), f(t.Arrives), f(t.Restart)
		for j := range t.Seen {
			t.Seen[j].At = f(t.Seen[j].At)
		}
	}
	for i := range st.TTLs {
		st.TTLs[i].Until = f(st.TTLs[i].Until)
	}
	for i := range st.Ways {
		st.Ways[i].Until = f(st.Ways[i].Until)
	}
	for i := range st.Hosts {
		st.Hosts[i].Gone, st.Hosts[i].Until = f(st.Hosts[i].Gone), f(st.Hosts[i].Until)
	}
	st.LiveSince, st.Listed, st.Crowd = f(st.LiveSince), f(st.Listed), f(st.Crowd)
}

// restart makes all clocks of the record begin anew.
func (t *Tracked) restart() {
	t.Seen, t.ByHand, t.Confirmed, t.Arrives, t.Ready = nil, time.Time{}, time.Time{}, time.Time{}, false
}
