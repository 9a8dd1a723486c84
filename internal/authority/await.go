package authority

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"

	"zonebuild/internal/domain"
)

// Expected is a TXT value that must be answered at an owner.
type Expected struct {
	Owner domain.Name
	Value string
}

// AwaitOptions say what to wait for, and when a silent server is given up.
type AwaitOptions struct {
	Servers    []Server
	Want       []Expected
	Gone       bool          // wait until nobody answers the values any more
	DeadAfter  time.Duration // a server that never answered for so long may be left out
	MinServers int           // if so many others show the values (Enough)
	Progress   func(waiting []string)
	Stop       func() error // an error ends the wait at once
}

const (
	firstPoll = 200 * time.Millisecond
	lastPoll  = 3 * time.Second
)

// serverState is what is known of one server.
type serverState struct {
	shows bool
	last  time.Time // it answered; zero: never
	why   string    // it does not show them
}

// Await asks until every server answers every value. One that answers without
// them always blocks: a CA may ask it. Errors: the context ended; the text names
// the servers that lag.
func Await(ctx context.Context, o AwaitOptions) error {
	if len(o.Servers) == 0 || len(o.Want) == 0 {
		return errors.New("wait for the challenges: nobody to ask, or nothing to ask for")
	}
	states := make([]serverState, len(o.Servers))
	start := time.Now()
	for pause := firstPoll; ; pause = min(2*pause, lastPoll) {
		var wg sync.WaitGroup
		for i := range o.Servers {
			if !states[i].shows {
				wg.Go(func() { states[i].ask(ctx, o.Servers[i], o.Want, o.Gone) })
			}
		}
		wg.Wait()
		waiting, done := o.judge(states, start, time.Now())
		if done {
			return nil
		}
		if o.Stop != nil {
			if err := o.Stop(); err != nil {
				return err
			}
		}
		if o.Progress != nil {
			o.Progress(waiting)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for the challenges: %s: %w", strings.Join(waiting, "; "), ctx.Err())
		case <-time.After(pause):
		}
	}
}

// judge says whom to wait for; done when nobody is left, or only the dead.
func (o *AwaitOptions) judge(states []serverState, start, now time.Time) (waiting []string, done bool) {
	show, lag := 0, 0
	for i := range states {
		s := &states[i]
		switch {
		case s.shows:
			show++
			continue
		case now.Sub(start) < o.DeadAfter, now.Sub(s.last) < o.DeadAfter:
			lag++
		}
		waiting = append(waiting, o.Servers[i].String()+" "+s.why)
	}
	dead := lag == 0 && Enough(show, len(states), o.MinServers)
	return waiting, len(waiting) == 0 || dead
}

// Enough reports whether so many of all servers answer right that those which do not
// answer at all are left out: as many as are wanted, or all but one where there are
// fewer, and one at least. Of two name servers one may be dead for months, and
// certificates must not expire for that: a CA asks the other one then, too.
func Enough(right, all, wanted int) bool { return right >= max(1, min(wanted, all-1)) }

func (s *serverState) ask(ctx context.Context, server Server, want []Expected, gone bool) {
	for _, owner := range owners(want) {
		in, err := Exchange(ctx, server.Addr, Question(owner, dns.TypeTXT, false))
		switch {
		case err != nil:
			s.why = "does not answer: " + err.Error()
			return
		case in.Rcode != dns.RcodeSuccess && in.Rcode != dns.RcodeNameError:
			s.last, s.why = time.Now(), "answers "+Rcode(in)
			return
		case !in.Authoritative:
			s.last, s.why = time.Now(), "answers without authority"
			return
		}
		s.last = time.Now()
		var values []string
		for _, rr := range recordsOf(in.Answer, owner, dns.TypeTXT) {
			values = append(values, strings.Join(rr.(*dns.TXT).Txt, ""))
		}
		for _, w := range want {
			if w.Owner == owner && slices.Contains(values, w.Value) == gone {
				s.why = fmt.Sprintf("answers %s the value at %s", map[bool]string{true: "still", false: "without"}[gone], owner)
				return
			}
		}
	}
	s.shows = true
}

func owners(want []Expected) []domain.Name {
	var out []domain.Name
	for _, w := range want {
		if !slices.Contains(out, w.Owner) {
			out = append(out, w.Owner)
		}
	}
	return out
}

// Zone is the zone that a name belongs to: the nearest name at or above it with
// an NS set. Ask it for the name that is to be proved, not for a challenge's
// owner: a resolver would remember that the challenge was not there.
func (f Finder) Zone(ctx context.Context, name domain.Name) (domain.Name, error) {
	for n := name; n != domain.Root; n = n.Parent() {
		set, err := f.Resolver.LookUp(ctx, n, dns.TypeNS)
		if err != nil {
			return n, fmt.Errorf("look up the zone of %s: %w", name, err)
		}
		if len(set) > 0 {
			return n, nil
		}
	}
	return domain.Root, fmt.Errorf("look up the zone of %s: no name above it has an NS set", name)
}

// maxAliases is how long a chain of CNAMEs may be.
const maxAliases = 8

// FollowCNAME asks the servers of a zone themselves where the TXT of a name is
// to be found: the end of a chain of CNAMEs within what they serve.
func FollowCNAME(ctx context.Context, servers []Server, name domain.Name) (domain.Name, error) {
	for range maxAliases {
		target, found, err := cnameAt(ctx, servers, name)
		if err != nil || !found {
			return name, err
		}
		name = target
	}
	return name, fmt.Errorf("follow the CNAME at %s: more than %d in a chain", name, maxAliases)
}

func cnameAt(ctx context.Context, servers []Server, name domain.Name) (target domain.Name, found bool, err error) {
	for _, server := range servers {
		in, failed := Exchange(ctx, server.Addr, Question(name, dns.TypeCNAME, false))
		if failed != nil {
			err = failed
			continue
		}
		for _, rr := range recordsOf(in.Answer, name, dns.TypeCNAME) {
			target, err := domain.Parse(rr.(*dns.CNAME).Target)
			return target, true, err
		}
		return name, false, nil
	}
	return name, false, fmt.Errorf("ask for a CNAME at %s: %w", name, err)
}
