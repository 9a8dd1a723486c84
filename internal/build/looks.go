package build

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	"zonebuild/internal/config"
	"zonebuild/internal/domain"
	"zonebuild/tlsa"
)

// Observer looks at what the world sees of a TLSA RRset. Known says that the list
// is all there is. Both end with their context.
type Observer interface {
	// Servers asks every authoritative server of a zone for the RRset.
	Servers(ctx context.Context, apex, owner domain.Name) (seen []tlsa.ServerSeen, known bool)
	// Hosts looks at the service at each of its addresses; addrs are those that its
	// zone has for the host, if it has any.
	Hosts(ctx context.Context, g tlsa.Group, addrs []netip.Addr) (seen []tlsa.HostSeen, known bool)
}

// Bounds of looking.
const (
	lookSteady = time.Hour        // between two looks at what is at rest
	lookMoving = 5 * time.Minute  // and at what changes
	lookLong   = 24 * time.Hour   // what has not moved for so long is at rest
	lookBudget = 10 * time.Second // of a pass: none begins later
	lookEach   = 10 * time.Second // at one owner
	lookAtOnce = 8
	lookTurns  = 4 // owners that are looked at in a pass whatever the others take
)

// looks are the questions of a pass: so many at a time, and none begins after
// lookBudget. Whoever answers late, or not at all, must not keep others from being
// asked pass after pass: the few owners that were looked at longest ago have their
// turn in slots of their own, at whatever time their zone's turn comes.
type looks struct {
	slots, reserved chan struct{}
	turn            map[domain.Name]bool // owners
	begin           sync.Once
	ctx             context.Context // of lookBudget
	end             context.CancelFunc
}

func newLooks() *looks {
	return &looks{slots: make(chan struct{}, lookAtOnce), reserved: make(chan struct{}, lookTurns)}
}

func (l *looks) context(ctx context.Context) context.Context {
	l.begin.Do(func() { l.ctx, l.end = context.WithTimeout(ctx, lookBudget) })
	return l.ctx
}

func (l *looks) close() {
	l.begin.Do(func() { l.end = func() {} })
	l.end()
}

// takeTurns chooses the owners whose turn it is in this pass: of those that are due,
// the ones that were looked at longest ago.
func (p *pass) takeTurns(zones []*config.Zone) {
	var all []dueLook
	for _, z := range zones {
		groups := p.tree.certs.groups[z.Name]
		if len(groups) == 0 {
			continue
		}
		st, err := p.tree.loadTLSA(z.Name)
		if st == nil || err != nil {
			st = &tlsaState{}
		}
		for _, g := range groups {
			d := dueLook{owner: g.Owner}
			if was := st.find(g.Owner); was != nil {
				since := p.o.Now.Sub(was.Looked)
				if since >= 0 && since < was.rest(p.o.Now) {
					continue
				}
				d.looked = was.Looked
			}
			all = append(all, d)
		}
	}
	p.looks.turn = turns(all)
}

// dueLook is an owner that it is time to look at.
type dueLook struct {
	owner  domain.Name
	looked time.Time // zero = never
}

func turns(all []dueLook) map[domain.Name]bool {
	slices.SortStableFunc(all, func(a, b dueLook) int { return a.looked.Compare(b.looked) })
	out := map[domain.Name]bool{}
	for _, d := range all[:min(len(all), lookTurns)] {
		out[d.owner] = true
	}
	return out
}

// lookAround asks servers and hosts for all owners that it is time for, side by
// side.
func (p *pass) lookAround(j *job, work []rolling) {
	var wg sync.WaitGroup
	order := make([]*rolling, 0, len(work))
	for i := range work {
		if work[i].look {
			order = append(order, &work[i])
		}
	}
	slices.SortStableFunc(order, func(a, b *rolling) int { return a.was.Looked.Compare(b.was.Looked) })
	if p.o.Beside != nil {
		p.lookBeside(j, order)
		return
	}
	begin := p.looks.context(p.ctx)
	var before [2]chan struct{} // by kind of slot: each waits for the one before it
	for _, w := range order {
		kind, slots, until := 0, p.looks.slots, begin.Done()
		if p.looks.turn[w.group.Owner] {
			kind, slots, until = 1, p.looks.reserved, p.ctx.Done()
		}
		wait, next := before[kind], make(chan struct{})
		before[kind] = next
		wg.Go(func() {
			if wait != nil {
				<-wait
			}
			select {
			case <-until:
				close(next)
				return
			default:
			}
			select {
			case slots <- struct{}{}:
				close(next)
				p.look(p.ctx, j, w)
				<-slots
			case <-until:
				close(next)
			}
		})
	}
	wg.Wait()
}

// lookBeside is lookAround for a pass that waits for none: who is late is known to the
// next one.
func (p *pass) lookBeside(j *job, order []*rolling) {
	var wg sync.WaitGroup
	for _, w := range order {
		wg.Go(func() {
			key := fmt.Sprintf("tlsa %s %s %+v %v", j.z.Name, w.group.Owner, w.group.Lines, w.set.Addrs)
			seen, ok := p.o.Beside.ask(j.z.Name, key, p.forLooks.of(lookPatience), func(ctx context.Context) any { return p.observe(ctx, j.z.Name, w.group, w.set) })
			if ok {
				w.observed, w.looked = seen.(tlsa.Observed), true
			}
		})
	}
	wg.Wait()
}

// look asks for one owner.
func (p *pass) look(ctx context.Context, j *job, w *rolling) {
	ctx, cancel := context.WithTimeout(ctx, lookEach)
	defer cancel()
	w.observed, w.looked = p.observe(ctx, j.z.Name, w.group, w.set), true
}

// observe asks the servers and the hosts side by side.
func (p *pass) observe(ctx context.Context, apex domain.Name, g tlsa.Group, set ownerSet) (seen tlsa.Observed) {
	var wg sync.WaitGroup
	if p.tree.Config.TLSA.Observe == config.ObserveDNS {
		wg.Go(func() { seen.Servers, seen.ServersKnown = p.o.Observer.Servers(ctx, apex, g.Owner) })
	}
	if !g.Lines[0].ProbeOff {
		wg.Go(func() {
			seen.Hosts, seen.HostsKnown = p.o.Observer.Hosts(ctx, g, set.Addrs)
			seen.HostTTL = set.AddrTTL
		})
	}
	wg.Wait()
	return seen
}
