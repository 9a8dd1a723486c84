package tlsa

import (
	"cmp"
	"container/heap"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"math/rand/v2"
	"net/netip"
	"slices"
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
	unseen     bool  // the builder cannot reach it
	regressing bool
}

type hostLog struct {
	from     int64
	key      int
	surprise bool // deployed although the step did not say ready
}

type simHost struct {
	log    []hostLog
	unseen bool
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
	line     Line
	live     int // contents of the files
	next     int
	down     bool  // the builder does not run
	back     int64 // the builder's clock is behind by
	busy     bool  // the operator rolls a key
	fresh    int   // number of the next key that is made
	tick     int64
	idle     int            // passes without an event
	plan     int            // number of the planned pass
	passed   int64          // the last pass with a clock that is right
	counts   map[string]int // what happened, so that a test can see that all of it did
}

func newSimulation(t *testing.T, seed uint64, mutant mutation) *simulation {
	s := &simulation{t: t, r: rand.New(rand.NewPCG(seed, 6)), mutant: mutant, next: absent, counts: map[string]int{}}
	s.line = Line{Pos: diag.Pos{File: "certs.map", Line: 1, Column: 1}, Service: Service{domain.MustParse("h.example"), 25, "tcp"}, CertFile: "c", Next: "n", Kind: DefaultKind, TTL: s.someTTL()}
	s.line.Owner, _ = s.line.Service.Owner()
	s.tick = []int64{600, simHour, simHour, 3 * simHour, 3 * simHour, 6 * simHour, 6 * simHour, 12 * simHour}[s.r.IntN(8)]
	s.versions = []rrsetVersion{{ttl: 900}}
	for i := range 1 + s.r.IntN(3) {
		v := &simServer{log: []serverLog{{0, 0}}}
		if i > 0 {
			v.slow = 60 + s.r.Int64N([]int64{600, simDay, 5 * simDay}[s.r.IntN(3)])
		}
		s.servers = append(s.servers, v)
	}
	s.live = s.newKey()
	for range 1 + s.r.IntN(3) {
		s.hosts = append(s.hosts, &simHost{log: []hostLog{{0, s.live, false}}})
	}
	if s.r.IntN(4) == 0 { // the first certificate that is found is another one
		right := s.live
		s.live = s.newKey()
		s.after(simDay, func() { s.live = right })
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

// soon plans the next pass. While nothing happens they are rarer, for speed; an
// event of the operator or an attacker makes them frequent again.
func (s *simulation) soon() {
	tick := s.tick
	if s.state.Phase == PhaseSteady || s.state.Phase == PhaseMixed {
		s.idle++
		tick = max(tick, min(s.tick<<min(s.idle, 8), simDay))
	} else {
		s.idle = 0
	}
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

func (v *simHost) key() int { return v.log[len(v.log)-1].key }

func (s *simulation) deploy(h *simHost, key int, surprise bool) {
	if h.key() != key {
		s.idle = 0
		h.log = append(h.log, hostLog{s.now, key, surprise})
	}
}

func address(kind byte, i int) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, kind, byte(i + 1)}), 25)
}

func (s *simulation) observe() Observed {
	o := Observed{ServersKnown: s.r.IntN(20) > 0, HostsKnown: s.r.IntN(20) > 0}
	for i, v := range s.servers {
		seen := ServerSeen{Addr: address(2, i)}
		if !v.unseen {
			version := s.versions[v.serves()]
			seen.Reach, seen.Records, seen.TTL = Answered, version.records, uint32(version.ttl)
		}
		o.Servers = append(o.Servers, seen)
	}
	for i, h := range s.hosts {
		seen := HostSeen{Addr: address(3, i)}
		if !h.unseen {
			seen.Reach, seen.At, seen.Chains = Answered, instant(s.now-s.back), s.chains[h.key()]
		}
		o.Hosts = append(o.Hosts, seen)
	}
	return o
}

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
		Group: Group{s.line.Service, s.line.Owner, []Line{s.line}}, Keys: []Keys{{s.file(s.live), s.file(s.next)}},
		Published: Published{v.records, uint32(v.ttl), true}, State: s.state, Observed: s.observe(), Params: DefaultParams(), Now: instant(s.now - s.back),
	}
	in.Params.Jitter = time.Minute
	if s.state.Phase == PhaseMixed && !s.busy && s.r.IntN(20) == 0 && s.allHave(s.live) {
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
	if (!slices.Equal(set.Records, v.records) || int64(set.TTL) != v.ttl) && len(set.Records) > 0 && s.r.IntN(30) > 0 { // or the zone has another fault
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

func (s *simulation) allHave(key int) bool {
	return !slices.ContainsFunc(s.hosts, func(h *simHost) bool { return h.key() != key })
}

// operate deploys the next key when the step says that it may be.
func (s *simulation) operate(set Set) {
	if s.busy || !set.Ready || s.next < 0 || s.next == s.live || s.r.IntN(4) == 0 {
		return
	}
	s.counts["announced"]++
	s.rollOut(s.next, false)
	s.live, s.next = s.next, absent
	if s.r.IntN(2) == 0 {
		s.next = s.newKey()
	}
}

// rollOut brings a key to all addresses of the host, to some of them late.
func (s *simulation) rollOut(key int, surprise bool) {
	s.busy = true
	last := int64(0)
	for _, h := range s.hosts {
		delay := int64(0)
		if s.r.IntN(3) == 0 {
			delay = s.r.Int64N([]int64{simHour, simDay, 40 * simDay}[s.r.IntN(3)])
		}
		last = max(last, delay)
		s.after(delay, func() { s.deploy(h, key, surprise) })
	}
	s.after(last+1, func() { s.busy = false })
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
	file := &s.live
	if s.r.IntN(2) == 0 {
		file = &s.next
	}
	names := []string{"same key", "next", "next", "next", "surprise", "broken", "hostile", "rolled back", "TTL", "TTL", "down", "state lost", "server unseen", "host unseen", "regress", "clock", "digest"}
	name := names[s.r.IntN(len(names))]
	s.counts[name]++
	switch name {
	case "next":
		if s.next == absent {
			s.next = s.newKey()
		}
	case "surprise":
		if !s.busy {
			key := s.newKey()
			s.live = key
			s.rollOut(key, true)
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
		s.line.TTL = s.someTTL()
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
		s.line.Kind.MatchingType = SHA256 + SHA512 - s.line.Kind.MatchingType
	}
}

// regress makes a server go back to an older version while a next key is on
// its way, long enough to be seen. At other times that breaks clients whatever
// the builder does.
func (s *simulation) regress() {
	v := s.servers[s.r.IntN(len(s.servers))]
	version := s.versions[v.serves()]
	if s.state.Phase != PhasePublishing && s.state.Phase != PhaseWaiting || v.unseen || s.down || s.busy || len(s.servers) == 1 || v == s.servers[0] {
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
	return !slices.ContainsFunc(s.hosts, func(h *simHost) bool { return !accepts(v, s.chains[h.key()][0]) })
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
