package tlsa

import (
	"bytes"
	"cmp"
	"errors"
	"io/fs"
	"slices"
	"time"

	"zonebuild/internal/diag"
)

// MaxRecords bounds an RRset. Some senders cannot use more (12 is the least
// bound that was reported), and whoever writes to certs/ shall not grow it.
const MaxRecords = 12

// clockSlack is how far a clock may go back without a word.
const clockSlack = 5 * time.Minute

// FileKey is what a file of a line holds.
type FileKey struct {
	Material *Material
	Err      error // why there is none; fs.ErrNotExist for an absent file
}

// Keys are those of one line of the map.
type Keys struct {
	Live, Next FileKey // Next counts only when the line has next=
}

// Input is all that a step depends on.
type Input struct {
	Group     Group
	Keys      []Keys // of Group.Lines, in their order
	Published Published
	Hand      []Record // that primary/ has at the same owner
	State     State
	Observed  Observed
	Marks     Marks
	Params    Params
	Now       time.Time
}

// Set is what a step decided for an owner.
type Set struct {
	Records []Record // to be published beside hand-written ones; sorted
	TTL     uint32
	Phase   Phase
	Since   time.Time
	Ready   bool      // the next key may be deployed
	ReadyAt time.Time // when it may be, if nothing changes; zero = not known
	Waits   []string  // what the phase waits for
	Guarded bool      // the guard refused the new set: Records are the old ones
}

// Step moves one owner on: it takes what the files hold, what is published, what
// is known and what was seen now, and gives the RRset to be published, the new
// state, and what there is to say. All that it says are warnings: no fault of
// a certificate stops a zone.
//
// A record is added at once. It goes only when no file asks for it any more and
// every address of the host was seen serving the keys of the files since, or by
// Marks.Retire. While a file is broken nothing goes. The next key is ready when
// every authoritative server has shown it and K times the longest TTL that a
// cache may still hold went by since.
func Step(in Input) (Set, State, diag.List) {
	if in.Params.K < 1 {
		in.Params.K = 2
	}
	return step(in)
}

func step(in Input) (Set, State, diag.List) {
	s := &stepper{Input: in, st: in.State.clone(), now: in.Now.UTC().Truncate(time.Second), nextOf: map[Record]string{}, twins: map[Record]Record{}}
	s.tick()
	s.readFiles()
	s.takePublished()
	s.takeServers()
	s.takeHosts()
	s.takeTTLs()
	s.markSeen()
	s.settleLive()
	s.runClocks()
	before := slices.Clone(s.st.Records)
	s.leave()
	s.withdraw()
	s.add()
	s.guard(before)
	set := s.result()
	s.faults.Sort()
	return set, s.st, s.faults
}

type stepper struct {
	Input
	st     State
	now    time.Time // never before that of the last step
	faults diag.List

	live       [][]Record        // of the CERTFILE of each line that could be read
	nextSets   [][]Record        // of each next= file that could be read
	files      []string          // those CERTFILEs
	next       []Record          // of all next= files, without those that are live
	nextOf     map[Record]string // the CERTFILE of their line
	staged     []Record          // of all next= files
	twins      map[Record]Record // of the same key in the other digest
	kinds      []Kind            // that the map asks for
	hosts      []HostSight
	broken     bool // a file or a line could not be read: nothing may go
	nextBroken bool // of these one that says what is next
	guarded    bool
}

func (s *stepper) warnf(l *Line, code, format string, args ...any) {
	pos := s.Group.Lines[0].Pos
	if l != nil {
		pos = l.Pos
	}
	s.faults.Warnf(pos, code, s.Group.Owner.String(), format, args...)
}

// tick makes the clock of the state monotonic: while the system's clock is
// behind the last step, no time goes by; and what was first seen meanwhile is
// as if it were first seen when the clock has caught up, since nobody knows how
// it caught up. A clock that is set forward is believed: it looks like a builder
// that slept.
func (s *stepper) tick() {
	behind := s.st.Clock.Sub(s.now)
	stood := s.st.Clock
	switch {
	case behind <= 0 && s.st.Behind:
		s.st.shift(func(t time.Time) time.Time {
			if t.Before(stood) {
				return t
			}
			return t.Add(s.now.Sub(stood))
		})
	case behind <= 0:
	case s.Marks.Seen: // the operator vouches for the present time
		s.st.shift(func(t time.Time) time.Time {
			if t.IsZero() {
				return t
			}
			return s.now
		})
		for i := range s.st.Records {
			s.st.Records[i].restart()
		}
		s.st.Hosts, s.st.Servers, s.st.LiveSince, behind = nil, nil, time.Time{}, 0
	default:
		if behind > clockSlack {
			s.warnf(nil, "tlsa-clock", "the clock is %s behind the last step: all waits stand still until it has caught up, or `zonebuild tlsa seen %s %d` begins them anew",
				behind, s.Group.Host, s.Group.Port)
		}
		s.now = stood
	}
	s.st.Clock, s.st.Behind = s.now, behind > 0
}

// readFiles turns the files' keys into records.
func (s *stepper) readFiles() {
	for _, l := range s.Group.Lines {
		if !l.Broken {
			s.kinds = append(s.kinds, l.Kind)
		}
	}
	s.findTwins()
	for i := range s.Group.Lines {
		l, k := &s.Group.Lines[i], s.Keys[i]
		if l.Broken {
			s.broken, s.nextBroken = true, true // the map's own faults tell why
			continue
		}
		if r, err := recordOf(l.Kind, k.Live); err != nil {
			s.broken = true
			s.warnf(l, "tlsa-file", "%s: %s; what is published stays", l.CertFile, err)
		} else {
			s.live, s.files = append(s.live, s.siblings(r, k.Live.Material)), append(s.files, l.CertFile)
			s.judge(l, k.Live.Material)
		}
		if l.Next == "" || k.Next.Material == nil && errors.Is(k.Next.Err, fs.ErrNotExist) {
			continue
		}
		if r, err := recordOf(l.Kind, k.Next); err != nil {
			s.broken, s.nextBroken = true, true
			s.warnf(l, "tlsa-next", "next=%s: %s; what is published stays", l.Next, err)
		} else {
			key := s.siblings(r, k.Next.Material)
			s.nextSets = append(s.nextSets, key)
			for _, r := range key {
				s.nextOf[r] = l.CertFile
			}
		}
	}
	s.staged = slices.Concat(s.nextSets...)
	for _, r := range s.staged {
		if !s.isLive(r) && !slices.Contains(s.next, r) {
			s.next = append(s.next, r)
		}
	}
}

func recordOf(kind Kind, k FileKey) (Record, error) {
	if k.Material == nil {
		return Record{}, cmp.Or(k.Err, errors.New("it was not read"))
	}
	if kind.anchors() && k.Material.Cert != nil && !k.Material.IsCA {
		return Record{}, errors.New("usages 0 and 2 name the certificate of a CA, and this is none")
	}
	return Associate(kind, k.Material)
}

// judge warns of a certificate that is not what one would serve.
func (s *stepper) judge(l *Line, m *Material) {
	switch {
	case m.Cert == nil:
	case !s.Now.Before(m.NotAfter.Add(time.Second)):
		s.warnf(l, "tlsa-expired", "%s expired on %s", l.CertFile, m.NotAfter.UTC().Format(time.DateOnly))
	case s.Now.Before(m.NotBefore):
		s.warnf(l, "tlsa-expired", "%s is valid only from %s", l.CertFile, m.NotBefore.UTC().Format(time.DateOnly))
	}
	if m.Cert != nil && !l.Kind.anchors() && !m.Covers(l.Host) {
		s.warnf(l, "tlsa-name", "%s does not cover %s", l.CertFile, l.Host)
	}
}

func (s *stepper) isLive(r Record) bool {
	return slices.ContainsFunc(s.live, func(of []Record) bool { return slices.Contains(of, r) })
}

func (s *stepper) isWanted(r Record) bool { return s.isLive(r) || slices.Contains(s.next, r) }

// liveRecords are those of all CERTFILEs, sorted.
func (s *stepper) liveRecords() []Record {
	out := slices.Concat(s.live...)
	slices.SortFunc(out, compareRecords)
	return slices.Compact(out)
}

func compareRecords(a, b Record) int { return bytes.Compare(a.Rdata(), b.Rdata()) }
