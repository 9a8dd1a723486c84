package tlsa

import (
	"cmp"
	"container/heap"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"

	"zonebuild/internal/diag"
	"zonebuild/internal/domain"
)

// The simulation lets a year go by over one owner: an operator who renews, hosts
// that get their keys late, servers that lag, people who write nonsense to
// certs/. Afterwards every client is asked: whatever RRset a server gave away
// may be in a cache for its TTL, and at any instant of that it is held against
// what each address of the host serves. Time is continuous: intervals are
// compared, so no instant is left out.

const (
	simYear = 365 * simDay
	simDay  = 24 * 3600
	simHour = 3600
)

// simEpoch is second 0 of a simulation.
var simEpoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func instant(t int64) time.Time { return simEpoch.Add(time.Duration(t) * time.Second) }

// simCert is a certificate with a key of its own, of no real algorithm.
func simCert(key int) []byte {
	var b cryptobyte.Builder
	seq := func(b *cryptobyte.Builder, f func(*cryptobyte.Builder)) { b.AddASN1(asn1.SEQUENCE, f) }
	algorithm := func(b *cryptobyte.Builder) {
		seq(b, func(b *cryptobyte.Builder) { b.AddASN1ObjectIdentifier([]int{1, 3, 6, 1, 4, 1, 32473, 1}) })
	}
	seq(&b, func(b *cryptobyte.Builder) {
		seq(b, func(b *cryptobyte.Builder) {
			b.AddASN1BigInt(big.NewInt(int64(key)))
			algorithm(b)
			seq(b, func(*cryptobyte.Builder) {})
			seq(b, func(b *cryptobyte.Builder) {
				b.AddASN1GeneralizedTime(simEpoch.AddDate(-1, 0, 0))
				b.AddASN1GeneralizedTime(simEpoch.AddDate(9, 0, 0))
			})
			seq(b, func(*cryptobyte.Builder) {})
			seq(b, func(b *cryptobyte.Builder) {
				algorithm(b)
				b.AddASN1BitString(fmt.Appendf(nil, "key %d", key))
			})
		})
		algorithm(b)
		b.AddASN1BitString([]byte("signature"))
	})
	return b.BytesOrPanic()
}

// event is something that happens at a second of the year.
type event struct {
	at, seq int64
	do      func()
}

type events []event

func (e events) Len() int { return len(e) }
func (e events) Less(i, j int) bool {
	return cmp.Or(cmp.Compare(e[i].at, e[j].at), cmp.Compare(e[i].seq, e[j].seq)) < 0
}
func (e events) Swap(i, j int) { e[i], e[j] = e[j], e[i] }
func (e *events) Push(x any)   { *e = append(*e, x.(event)) }
func (e *events) Pop() any {
	last := (*e)[len(*e)-1]
	*e = (*e)[:len(*e)-1]
	return last
}

// rrsetVersion is what a server may give away; version 0 is absence.
type rrsetVersion struct {
	records []Record
	ttl     int64
}

type serverLog struct {
	from    int64
	version int
}

type simServer struct {
	log        []serverLog
	slow       int64 // longest time a transfer takes
	claim      int64 // what the SOA record says of that; lowered, it is true only later
	unseen     bool  // the builder cannot reach it
	regressing bool
}

type hostLog struct {
	from     int64
	key      int
	surprise bool // deployed although the step did not say ready
}

type simHost struct {
	logs   [][]hostLog // by line of the map
	unseen bool
	gone   int64 // when the address left the zone; 0 = it has not
	late   int64 // longest time until all servers know that
}

// content of a file of certs/: a key, or one of these.
const (
	absent  = -1
	garbage = -2
)

// mutation makes the step, or what it sees, wrong, to prove that the
// simulation notices.
type mutation struct {
	in  func(*Input)
	out func(now time.Time, st *State, set *Set)
	k0  bool
}

type simulation struct {
	t       *testing.T
	r       *rand.Rand
	queue   events
	seq     int64
	now     int64
	mutant  mutation
	keys    []FileKey
	chains  [][][][]byte // by key
	servers []*simServer
	hosts   []*simHost

	versions []rrsetVersion
	state    State
	lines    []Line // one, or one for RSA and one for ECDSA
	live     []int  // contents of their files
	next     []int
	stay     int64  // TTL of the address records
	deaf     bool   // no resolver answers any more
	refused  bool   // nothing is published
	down     bool   // the builder does not run
	clock    bool   // the servers are not asked
	back     int64  // the builder's clock is behind by
	busy     []bool // the operator rolls a key
	fresh    int    // number of the next key that is made
	tick     int64
	idle     int            // passes without an event
	plan     int            // number of the planned pass
	passed   int64          // the last pass with a clock that is right
	counts   map[string]int // what happened, so that a test can see that all of it did
}

func newSimulation(t *testing.T, seed uint64, mutant mutation) *simulation {
	s := &simulation{t: t, r: rand.New(rand.NewPCG(seed, 6)), mutant: mutant, counts: map[string]int{}}
	line := Line{Pos: diag.Pos{File: "certs.map", Line: 1, Column: 1}, Service: Service{domain.MustParse("h.example"), 25, "tcp"}, CertFile: "c", Next: "n", Kind: DefaultKind, TTL: s.someTTL()}
	line.Owner, _ = line.Service.Owner()
	s.lines = []Line{line}
	if s.r.IntN(3) == 0 {
		line.Pos.Line, line.CertFile, line.Next = 2, "c2", "n2"
		s.lines = append(s.lines, line)
		s.counts["two lines"]++
	}
	s.stay = int64(s.someTTL())
	s.tick = []int64{600, simHour, simHour, 3 * simHour, 3 * simHour, 6 * simHour, 6 * simHour, 12 * simHour}[s.r.IntN(8)]
	s.versions = []rrsetVersion{{ttl: 900}}
	for i := range 1 + s.r.IntN(3) {
		v := &simServer{log: []serverLog{{0, 0}}}
		if i > 0 {
			v.slow = 60 + s.r.Int64N([]int64{600, simDay, 5 * simDay}[s.r.IntN(3)])
		}
		v.claim = v.slow
		s.servers = append(s.servers, v)
	}
	s.clock = s.r.IntN(5) == 0
	for range s.lines {
		s.live, s.next, s.busy = append(s.live, s.newKey()), append(s.next, absent), append(s.busy, false)
	}
	for range 1 + s.r.IntN(3) {
		h := &simHost{}
		for _, key := range s.live {
			h.logs = append(h.logs, []hostLog{{0, key, false}})
		}
		s.hosts = append(s.hosts, h)
	}
	if s.r.IntN(4) == 0 { // the first certificate that is found is another one
		right := s.live[0]
		s.live[0] = s.newKey()
		s.after(simDay, func() { s.live[0] = right })
	}
	if s.r.IntN(6) == 0 {
		s.after(s.r.Int64N(300*simDay), func() { s.deaf = true; s.counts["no resolver"]++ })
	}
	return s
}

func (s *simulation) someTTL() uint32 { return []uint32{60, 300, 3600, 14400, 86400}[s.r.IntN(5)] }

func (s *simulation) newKey() int {
	cert := simCert(s.fresh)
	m, err := parseCertificate(cert)
	if err != nil {
		s.t.Fatal(err)
	}
	m.DNSNames = []string{"h.example"}
	s.keys = append(s.keys, FileKey{Material: m})
	s.chains = append(s.chains, [][][]byte{{cert}})
	s.fresh++
	return s.fresh - 1
}

func (s *simulation) after(d int64, do func()) {
	s.seq++
	heap.Push(&s.queue, event{s.now + d, s.seq, do})
}

func (s *simulation) file(content int) FileKey {
	switch content {
	case absent:
		return FileKey{Err: fs.ErrNotExist}
	case garbage:
		return FileKey{Err: errors.New("not the DER of a certificate")}
	}
	return s.keys[content]
}

// propagate is the longest that a zone is on its way, as its SOA record has it.
func (s *simulation) propagate() time.Duration {
	slowest := int64(0)
	for _, v := range s.servers {
		slowest = max(slowest, v.claim)
	}
	return time.Duration(slowest+1) * time.Second
}

// used is until when clients come to an address.
func (s *simulation) used(h *simHost) int64 {
	if h.gone == 0 {
		return simYear + 100*simDay
	}
	return h.gone + s.stay + h.late
}

// soon plans the next pass. While nothing happens they are rarer, for speed; an
// event of the operator or an attacker makes them frequent again.
func (s *simulation) soon() {
	tick := s.tick
	switch s.state.Phase {
	case PhaseSteady, PhaseMixed:
		s.idle++
	case PhaseLive, PhaseNew, PhaseWithdraw:
		s.idle = min(s.idle+1, 3)
	default:
		s.idle = 0
	}
	tick = max(tick, min(s.tick<<min(s.idle, 8), simDay))
	s.plan++
	plan := s.plan
	s.after(tick/2+s.r.Int64N(tick), func() {
		if plan == s.plan {
			s.pass()
		}
	})
}

// published is the newest version; the first server has it always.
func (s *simulation) published() int { return len(s.versions) - 1 }

func (v *simServer) serves() int { return v.log[len(v.log)-1].version }

func (v *simServer) take(now int64, version int) {
	if v.serves() != version {
		v.log = append(v.log, serverLog{now, version})
	}
}

func (v *simHost) key(line int) int { return v.logs[line][len(v.logs[line])-1].key }

func (s *simulation) deploy(h *simHost, line, key int, surprise bool) {
	if h.gone == 0 && h.key(line) != key {
		s.idle = 0
		h.logs[line] = append(h.logs[line], hostLog{s.now, key, surprise})
	}
}

func address(kind byte, i int) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, kind, byte(i + 1)}), 25)
}

func (s *simulation) observe() Observed {
	o := Observed{ServersKnown: s.r.IntN(20) > 0 && !s.deaf, HostsKnown: s.r.IntN(20) > 0, HostTTL: uint32(s.stay)}
	for i, v := range s.servers {
		if s.deaf && i > 0 { // the configured address is that of the first
			break
		}
		seen := ServerSeen{Addr: address(2, i)}
		if !v.unseen && !s.clock {
			version := s.versions[v.serves()]
			seen.Reach, seen.Records, seen.TTL = Answered, version.records, uint32(version.ttl)
		}
		o.Servers = append(o.Servers, seen)
	}
	for i, h := range s.hosts {
		if h.gone > 0 {
			continue
		}
		seen := HostSeen{Addr: address(3, i)}
		if !h.unseen {
			seen.Reach, seen.At = Answered, instant(s.now-s.back)
			for line := range s.lines {
				seen.Chains = append(seen.Chains, s.chains[h.key(line)]...)
			}
		}
		o.Hosts = append(o.Hosts, seen)
	}
	return o
}
