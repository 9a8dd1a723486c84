package tlsa

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"zonebuild/internal/diag"
	"zonebuild/internal/domain"
)

// story is one owner with two servers and two addresses of the host, of which
// all is as it should be unless the test says otherwise. Each step publishes
// what the last one decided.
type story struct {
	t         *testing.T
	in        Input
	keys      map[string]FileKey
	chains    map[string][][]byte
	published Published
	shows     []*Published // what the servers show; nil: not reached
	unlisted  bool         // no resolver tells which servers there are
	serves    [2]string    // what the hosts serve; "": not reached, "no route", "gone"
	said      lines
}

func newStory(t *testing.T, lines ...Line) *story {
	s := &story{t: t, keys: map[string]FileKey{"gone": {Err: fs.ErrNotExist}, "broken": {Err: errors.New("not PEM")}}, chains: map[string][][]byte{}}
	for i := range 20 {
		name := string(rune('A' + i))
		der := simCert(1000 + i)
		m, err := parseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		m.DNSNames, m.IsCA = []string{"h.example"}, name == "T"
		s.keys[name], s.chains[name] = FileKey{Material: m}, [][]byte{der}
	}
	service := Service{domain.MustParse("h.example"), 25, "tcp"}
	if len(lines) == 0 {
		lines = []Line{{Next: "n"}}
	}
	for i := range lines {
		l := &lines[i]
		l.Pos, l.Service = diag.Pos{File: "m", Line: i + 1, Column: 1}, service
		l.Owner, _ = service.Owner()
		l.CertFile = fmt.Sprintf("c%d", i)
		if l.Kind == (Kind{}) {
			l.Kind = DefaultKind
		}
		if l.TTL == 0 {
			l.TTL = 3600
		}
	}
	s.in = Input{Group: Group{service, lines[0].Owner, lines}, Keys: make([]Keys, len(lines)), Params: DefaultParams(), Now: simEpoch}
	s.shows = []*Published{{TTL: 900}, {TTL: 900}}
	s.serves = [2]string{"A", "A"}
	s.files("A", "gone")
	return s
}

// files sets the contents of the first line's files.
func (s *story) files(live, next string) { s.in.Keys[0] = Keys{s.keys[live], s.keys[next]} }

// name of a record: that of its key, with its kind unless that is the default.
func (s *story) name(r Record) string {
	for _, name := range []string{"A", "B", "C", "D", "E", "F", "G", "H", "I", "J", "K", "L", "M", "N", "O", "T"} {
		if o, err := Associate(r.Kind, s.keys[name].Material); err == nil && o == r {
			if r.Kind != DefaultKind {
				return name + "(" + r.Kind.String() + ")"
			}
			return name
		}
	}
	return "?"
}

func (s *story) record(name string) Record {
	r, err := Associate(DefaultKind, s.keys[name].Material)
	if err != nil {
		s.t.Fatal(err)
	}
	return r
}

// step lets time go by, steps, and publishes what comes out to all servers that
// follow. It notes the outcome as a line.
func (s *story) step(after time.Duration, followers ...int) Set {
	s.in.Now = s.in.Now.Add(after)
	s.in.Published = s.published
	s.in.Observed = Observed{ServersKnown: !s.unlisted, HostsKnown: true, HostTTL: 7200}
	for i, p := range s.shows {
		seen := ServerSeen{Addr: address(2, i)}
		if p != nil {
			seen.Reach, seen.Records, seen.TTL = Answered, p.Records, p.TTL
		}
		s.in.Observed.Servers = append(s.in.Observed.Servers, seen)
	}
	for i, name := range s.serves {
		seen := HostSeen{Addr: address(3, i)}
		if name == "gone" {
			continue
		}
		if name == "no route" {
			seen.Addr = netip.AddrPortFrom(netip.MustParseAddr("2001:db8::1"), 25)
			seen.Reach = NoRoute
		} else if name != "" {
			seen.Reach, seen.At = Answered, s.in.Now
			for name := range strings.SplitSeq(name, "+") {
				seen.Chains = append(seen.Chains, s.chains[name])
			}
		}
		s.in.Observed.Hosts = append(s.in.Observed.Hosts, seen)
	}
	if s.in.Group.Lines[0].ProbeOff {
		s.in.Observed.Hosts = nil
	}
	set, st, faults := Step(s.in)
	s.in.State, s.in.Marks = st, Marks{}
	var names lines
	for _, r := range set.Records {
		names = append(names, s.name(r))
	}
	slices.Sort(names)
	line := fmt.Sprintf("%s: %s", set.Phase, strings.Join(names, " "))
	if set.Ready {
		line += " READY"
	}
	if set.Guarded {
		line += " GUARDED"
	}
	for _, w := range set.Waits {
		line += "; " + w
	}
	for _, d := range faults {
		line += " [" + d.Code + "]"
	}
	s.said = append(s.said, line)
	s.published = Published{set.Records, set.TTL, true}
	if len(set.Records) == 0 {
		s.published = Published{TTL: 900}
	}
	now := s.published
	for i := range s.shows {
		if s.shows[i] != nil && (len(followers) == 0 || slices.Contains(followers, i)) {
			s.shows[i] = &now
		}
	}
	return set
}

func (s *story) want(want string) {
	s.t.Helper()
	want = strings.ReplaceAll(strings.TrimSpace(want), "\t", "")
	if got := s.said.String(); got != want {
		s.t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// TestRollover is a rollover from S0 to S7.
func TestRollover(t *testing.T) {
	s := newStory(t)
	s.step(0)
	s.step(time.Minute)
	s.files("A", "B")
	s.step(time.Minute, 0) // the second server lags
	s.step(time.Minute, 0)
	s.shows[1] = &s.published
	s.step(time.Minute)
	s.step(2*time.Hour + 4*time.Minute + 59*time.Second)
	s.step(time.Second)
	s.serves[0] = "B"
	s.step(time.Minute)
	s.files("B", "gone")
	s.step(time.Minute)
	s.serves[1] = ""
	s.step(400 * 24 * time.Hour)
	s.serves[1] = "B"
	s.step(time.Minute)
	s.step(time.Hour, 0)
	s.step(time.Minute, 0)
	s.shows[1] = &s.published
	s.step(time.Minute)
	s.want(`
		new: A; the zone with the record is not published yet
		steady: A
		publishing: A B; the zone with the record is not published yet
		publishing: A B; 192.0.2.2:25 does not show the record
		waiting: A B; caches, until 2026-01-01T02:09:00Z
		waiting: A B; caches, until 2026-01-01T02:09:00Z
		ready: A B READY
		mixed: A B READY; 192.0.3.1:25 does not serve the keys of all files, or serves another one
		mixed: A B; 192.0.3.2:25 does not serve the keys of all files, or serves another one
		mixed: A B; 192.0.3.2:25 does not serve the keys of all files, or serves another one
		live: A B; the grace, until 2027-02-05T03:12:00Z
		withdraw: B; 192.0.2.1:25 still serves a withdrawn record
		withdraw: B; 192.0.2.2:25 still serves a withdrawn record
		steady: B`)
}

// TestClockRestarts: what makes the wait for the caches begin anew, or longer.
func TestClockRestarts(t *testing.T) {
	begin := func(t *testing.T) *story {
		s := newStory(t)
		s.step(0)
		s.files("A", "B")
		s.step(time.Minute)
		s.step(time.Minute)
		s.said = nil
		return s
	}
	for name, c := range map[string]struct {
		do   func(*story)
		want string
	}{
		"nothing": {func(*story) {}, "ready: A B READY"},
		"a server loses it": {func(s *story) {
			s.shows[0] = &Published{Records: []Record{s.record("A")}, TTL: 3600}
			s.step(time.Minute)
		}, "publishing: A B; 192.0.2.1:25 does not show the record\nwaiting: A B; caches, until 2026-01-01T04:13:00Z"},
		"a server is new":        {func(s *story) { s.shows = append(s.shows, nil); s.step(0) }, "publishing: A B; 192.0.2.3:25 has not answered\npublishing: A B; 192.0.2.3:25 has not answered"},
		"a server is silent":     {func(s *story) { s.shows[0] = nil; s.step(0) }, "waiting: A B; caches, until 2026-01-01T02:07:00Z\nready: A B READY"},
		"the TTL was raised":     {func(s *story) { s.in.Group.Lines[0].TTL = 7200; s.step(0); s.step(0) }, "waiting: A B; caches, until 2026-01-01T02:07:00Z\nwaiting: A B; caches, until 2026-01-01T04:07:00Z\nwaiting: A B; caches, until 2026-01-01T04:07:00Z"},
		"the TTL was lowered":    {func(s *story) { s.in.Group.Lines[0].TTL = 60; s.step(0); s.step(0) }, "waiting: A B; caches, until 2026-01-01T02:07:00Z\nwaiting: A B; caches, until 2026-01-01T02:07:00Z\nready: A B READY"},
		"the zone loses it":      {func(s *story) { s.published.Records = []Record{s.record("A")}; s.step(0) }, "publishing: A B; the zone with the record is not published yet\nwaiting: A B; caches, until 2026-01-01T04:12:00Z"},
		"the clock is set back":  {func(s *story) { s.step(-240 * time.Hour) }, "waiting: A B; caches, until 2026-01-01T02:07:00Z [tlsa-clock]\nwaiting: A B; caches, until 2026-01-01T02:07:00Z [tlsa-clock]"},
		"the state is lost":      {func(s *story) { s.in.State = State{}; s.step(0) }, "waiting: A B; caches, until 2026-01-03T00:07:00Z [tlsa-state-lost]\nwaiting: A B; caches, until 2026-01-03T00:07:00Z"},
		"the next file is gone":  {func(s *story) { s.files("A", "gone"); s.step(0); s.files("A", "B") }, "live: A B; the grace, until 2026-01-01T01:02:00Z\nready: A B READY"},
		"the next file is junk":  {func(s *story) { s.files("A", "broken"); s.step(0) }, "steady: A B [tlsa-next]\nsteady: A B [tlsa-next]"},
		"the next file is other": {func(s *story) { s.files("A", "C"); s.step(0) }, "live: A B C; the grace, until 2026-01-01T01:02:00Z\nwaiting: A C; caches, until 2026-01-01T04:12:00Z"},
	} {
		t.Run(name, func(t *testing.T) {
			s := begin(t)
			c.do(s)
			s.step(2*time.Hour + 5*time.Minute)
			s.t = t
			s.want(c.want)
		})
	}
}

func TestGuard(t *testing.T) {
	t.Run("new host with another key", func(t *testing.T) {
		s := newStory(t)
		s.serves[1] = "X"
		s.chains["X"] = [][]byte{simCert(1)}
		s.step(0)
		s.in.Marks.Accept = true
		s.step(time.Minute)
		s.step(time.Minute)
		s.want(`
			new:  GUARDED; the guard refused the new records [tlsa-guard] [tlsa-mismatch] [tlsa-mismatch]
			new: A; the zone with the record is not published yet [tlsa-mismatch]
			steady: A [tlsa-mismatch]`)
	})
	t.Run("new host that nobody sees", func(t *testing.T) {
		s := newStory(t)
		s.serves = [2]string{}
		s.step(0)
		s.want("new: A; the zone with the record is not published yet [tlsa-unseen]")
	})
	t.Run("new host with its next key", func(t *testing.T) {
		s := newStory(t)
		s.serves = [2]string{"B", "A"}
		s.files("A", "B")
		s.step(0)
		s.want("mixed: A B; 192.0.3.1:25 does not serve the keys of all files, or serves another one")
	})
	t.Run("lost key", func(t *testing.T) {
		s := newStory(t)
		s.step(0)
		s.serves = [2]string{"Q", "Q"}
		s.files("B", "gone")
		s.step(time.Minute)
		s.in.Marks.Accept = true
		s.step(time.Minute)
		s.files("B", "D")
		s.step(time.Minute) // a next key
		s.files("C", "D")
		s.step(time.Minute) // which does not vouch for a CERTFILE
		brief(s)
		s.want(`
			new: A
			new: A GUARDED
			mixed: A B
			mixed: A B D
			mixed: A B D GUARDED`)
	})
	t.Run("next key that is announced and goes live", func(t *testing.T) {
		s := newStory(t)
		s.step(0)
		s.files("A", "B")
		s.step(time.Minute)
		s.files("B", "gone")
		s.serves = [2]string{"Q", "Q"}
		s.step(time.Minute)
		brief(s)
		s.want(`
			new: A
			publishing: A B
			mixed: A B`)
	})
	t.Run("host that goes down", func(t *testing.T) {
		s := newStory(t)
		s.step(0)
		s.serves = [2]string{"C", "C"}
		s.files("B", "gone")
		s.step(time.Minute)
		s.serves = [2]string{}
		s.step(time.Hour) // nothing is seen: it stands
		s.in.Group.Lines[0].TTL = 600
		s.files("D", "E")
		s.step(time.Hour) // also for another file that is wrong
		s.files("C", "E")
		s.step(time.Hour) // this is what was seen last
		brief(s)
		s.want(`
			new: A
			new: A GUARDED
			new: A GUARDED
			new: A GUARDED
			mixed: A C E`)
	})
	t.Run("new host that goes down", func(t *testing.T) {
		s := newStory(t)
		s.serves = [2]string{"C", "C"}
		s.step(0)
		s.serves = [2]string{}
		s.files("B", "gone")
		s.step(time.Hour)
		s.files("C", "gone")
		s.step(time.Hour)
		brief(s)
		s.want(`
			new:  GUARDED
			new:  GUARDED
			new: C`)
	})
	t.Run("host that was never refused and goes down", func(t *testing.T) {
		s := newStory(t)
		s.step(0)
		s.serves = [2]string{}
		s.files("B", "gone")
		s.step(time.Hour)
		brief(s)
		s.want(`
			new: A
			mixed: A B`)
	})
}

// brief leaves phases and records of what was said.
func brief(s *story) {
	for i, l := range s.said {
		l, _, _ = strings.Cut(l, ";")
		s.said[i], _, _ = strings.Cut(l, " [")
	}
}

// TestSurprise: a renewal with a fresh key is published at once; the old record
// stays until it is seen that nobody needs it, or until it is retired.
func TestSurprise(t *testing.T) {
	s := newStory(t)
	s.step(0)
	s.step(time.Minute)
	s.files("B", "gone")
	s.step(time.Minute)
	s.serves[0] = "B"
	s.in.Marks.Retire = true
	s.step(time.Minute)
	s.in.Marks = Marks{Retire: true, Accept: true}
	s.step(3 * time.Hour)
	s.want(`
		new: A; the zone with the record is not published yet
		steady: A
		mixed: A B; 192.0.3.1:25 does not serve the keys of all files, or serves another one; 192.0.3.2:25 does not serve the keys of all files, or serves another one [tlsa-surprise]
		mixed: A B; 192.0.3.2:25 does not serve the keys of all files, or serves another one [tlsa-retire] [tlsa-surprise]
		withdraw: B; 192.0.2.1:25 still serves a withdrawn record [tlsa-mismatch]`)
}

// TestMountOnlyAdds: nothing that is written to certs/ ends a record that
// somebody may be deploying, and it adds a bounded number.
func TestMountOnlyAdds(t *testing.T) {
	s := newStory(t)
	s.step(0)
	s.files("A", "B")
	s.step(time.Minute)
	s.step(3 * time.Hour)
	s.step(3 * time.Hour)
	s.said = nil
	s.files("A", "gone") // B is ready: somebody may have begun
	s.step(240 * time.Hour)
	s.files("broken", "broken")
	s.in.Marks.Retire = true
	s.step(240 * time.Hour)
	for _, junk := range []string{"C", "D", "E", "F", "G", "H", "I", "J", "K", "L", "M"} {
		s.files(junk, "gone")
		s.step(time.Hour)
	}
	s.said = s.said[:3]
	s.step(time.Hour)
	s.files("A", "gone")
	s.step(time.Hour)
	s.step(time.Hour)
	s.said = append(s.said[:3], s.said[4:]...)
	for i, l := range s.said {
		s.said[i], _, _ = strings.Cut(l, ";")
	}
	s.in.Marks.Retire = true
	s.step(time.Hour)
	s.want(`
		live: A B
		mixed: A B
		mixed: A B C
		live: A B C D E F G H I J K L
		live: A B C D E F G H I J K L
		withdraw: A; 192.0.2.1:25 still serves a withdrawn record`)
}

func TestManyKeys(t *testing.T) {
	t.Run("RSA and ECDSA", func(t *testing.T) {
		s := newStory(t, Line{}, Line{})
		s.in.Keys[1] = Keys{Live: s.keys["K"]}
		s.serves = [2]string{"A+K", "A+K"}
		s.step(0)
		s.step(time.Minute)
		s.files("B", "gone")
		s.step(time.Minute)
		s.serves = [2]string{"B+K", "K"} // of the second address only one chain was seen
		s.step(3 * time.Hour)
		s.step(3 * time.Hour)
		s.serves[1] = "B+K"
		s.step(time.Hour)
		s.step(time.Hour)
		s.want(`
			new: A K; the zone with the record is not published yet
			steady: A K
			mixed: A B K; 192.0.3.1:25 does not serve the keys of all files, or serves another one; 192.0.3.2:25 does not serve the keys of all files, or serves another one [tlsa-surprise]
			mixed: A B K; 192.0.3.2:25 does not serve the keys of all files, or serves another one [tlsa-surprise]
			mixed: A B K; 192.0.3.2:25 does not serve the keys of all files, or serves another one
			live: A B K; the grace, until 2026-01-01T08:02:00Z
			withdraw: B K; 192.0.2.1:25 still serves a withdrawn record`)
	})
	t.Run("trust anchor", func(t *testing.T) {
		s := newStory(t, Line{Kind: Kind{DANETA, SPKI, SHA256}})
		s.step(0)
		s.files("T", "gone")
		s.chains["A"] = append(s.chains["A"], s.chains["T"]...)
		s.step(time.Minute)
		s.want(`
			new: ; no file could be read [tlsa-file] [tlsa-mismatch] [tlsa-mismatch]
			new: T(2 1 1); the zone with the record is not published yet`)
	})
	t.Run("by hand", func(t *testing.T) {
		s := newStory(t)
		s.in.Hand = []Record{s.record("K")}
		s.serves[1] = "K"
		s.step(0)
		s.want("new: A; the zone with the record is not published yet [tlsa-hand-written]")
	})
}

// TestDigestOfALine: a digest that one of two lines asks for is published for the
// keys of both, at once: clients that know it go by that alone.
func TestDigestOfALine(t *testing.T) {
	sha512 := Kind{DANEEE, SPKI, SHA512}
	s := newStory(t, Line{}, Line{})
	s.in.Keys[1] = Keys{s.keys["B"], s.keys["gone"]}
	s.serves = [2]string{"A+B", "A+B"}
	s.step(0)
	s.in.Group.Lines[1].Kind = sha512
	s.step(time.Minute)
	s.in.Group.Lines[1].Kind = DefaultKind
	s.step(time.Minute)
	s.step(2 * time.Hour)
	brief(s)
	s.want(`
		new: A B
		new: A A(3 1 2) B B(3 1 2)
		live: A A(3 1 2) B B(3 1 2)
		withdraw: A B`)
	s = newStory(t, Line{}, Line{Kind: sha512})
	s.in.Keys[1] = Keys{s.keys["B"], s.keys["gone"]}
	s.serves = [2]string{"A+B", "A+B"}
	s.step(0)
	brief(s)
	s.want("new: A A(3 1 2) B B(3 1 2)")
}

// TestDigestLags: a server that still shows the stronger digest, of other keys only,
// has not got the next key: to clients that know that digest it is as if it lacked.
func TestDigestLags(t *testing.T) {
	for _, clock := range []bool{false, true} {
		s := newStory(t, Line{Next: "n"})
		s.in.Params.Clock = clock
		// State lost, with a set of which nobody knows why it is so: B only as SHA-256.
		a512, err := Associate(Kind{DANEEE, SPKI, SHA512}, s.keys["A"].Material)
		if err != nil {
			t.Fatal(err)
		}
		s.files("A", "B")
		old := Published{Records: []Record{s.record("A"), a512, s.record("B")}, TTL: 3600, Confirmed: true}
		s.published = old
		s.shows = []*Published{&old, &old}
		set := s.step(0, 0) // the second server lags from here on
		for range 3 {
			set = s.step(200*24*time.Hour, 0)
		}
		if !clock && set.Ready {
			t.Errorf("ready, with a server that shows %v", s.shows[1].Records)
		}
		for range 3 { // the old version is published again, as a refused zone does
			s.published = old
			set = s.step(200*24*time.Hour, 0)
		}
		if set.Ready {
			t.Errorf("clock %t: ready, although it is not published", clock)
		}
		s.step(time.Minute)
		s.step(time.Minute)
		if s.step(3 * 24 * time.Hour); !strings.Contains(s.said[len(s.said)-1], "READY") {
			t.Errorf("clock %t: %s", clock, s.said[len(s.said)-1])
		}
	}
}

// TestDigests: a change from SHA-256 to SHA-512 never leaves a client, of those
// that know both or of those that know one, with a digest of other keys only.
func TestDigests(t *testing.T) {
	s := newStory(t)
	s.step(0)
	s.in.Group.Lines[0].Kind.MatchingType = SHA512
	s.files("B", "gone") // together with a surprise: the old key is not known
	s.step(time.Minute)
	s.step(time.Minute)
	s.serves = [2]string{"B", "B"}
	for range 6 {
		s.step(time.Hour)
	}
	for i, l := range s.said {
		s.said[i], _, _ = strings.Cut(l, ";")
		s.said[i], _, _ = strings.Cut(s.said[i], " [")
	}
	s.want(`
		new: A
		mixed: A B
		mixed: A B
		live: A B
		withdraw: B
		live: B B(3 1 2)
		withdraw: B(3 1 2)
		steady: B(3 1 2)
		steady: B(3 1 2)`)
}
