package build

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"zonebuild/internal/cli"
	"zonebuild/internal/config"
	"zonebuild/internal/diag"
	"zonebuild/internal/dnssec"
	"zonebuild/internal/domain"
	"zonebuild/internal/durable"
	"zonebuild/internal/publish"
)

// Options of a pass.
type Options struct {
	Now time.Time
	// WasAhead states that the clock was ahead for a while and is right again: what was
	// published later than Now was signed by that, and is signed anew without an approval.
	WasAhead bool
	Zones    []domain.Name // none = all
	DryRun   bool          // plan and judge, write nothing
	NewZone  bool          // states that no DS exists for zones published signed for the first time
	Server   publish.Server
	// Observer looks at servers and hosts for the rollover of keys. Without one,
	// and in a dry run, nobody looks.
	Observer Observer
	Beside   *Beside // asks for it, so that no zone waits; nil = the pass does
	Log      *slog.Logger
	Took     func(stage string, d time.Duration) // told how long work took by Clock, from several goroutines; nil = nobody listens
	Clock    func() time.Duration                // a running clock; needed with Took

	// Progress, if there is one, hears of zones with many new signatures, from
	// several goroutines.
	Progress func(Progress)

	TellLater bool // somebody else tells alarm-command, from After.Alarms and After.Over
	PassBusy  bool // a zone that another process is at work on is passed over (Busy), not waited for

	Held   bool          // soa/, primary/ and certs.map are in other hands: what is kept of them stands (Tree.Keep)
	Away   []string      // of "dnsextra", "certs" and "sshfp", likewise
	Moving func() bool   // likewise, since the pass began: asked when they were read; nil = nobody knows
	Doubt  []domain.Name // zones that were seen served with another serial than the published one
}

// Progress is how far a stage of a zone is, in signatures.
type Progress struct {
	Zone        domain.Name
	Stage       string // StageSign or StageVerify
	Records     int
	Done, Total int
}

// progress gives what tells of a stage of a zone; nil when nobody wants to know.
func (p *pass) progress(j *job, stage string) func(done, total int) {
	if p.o.Progress == nil {
		return nil
	}
	return func(done, total int) { p.o.Progress(Progress{j.z.Name, stage, j.res.Records, done, total}) }
}

// Report is what a pass did.
type Report struct {
	Zones    []Result  `json:"zones"`
	Boxes    diag.List `json:"drop_boxes,omitempty"` // files that were left out: warnings
	BoxesNew bool      `json:"-"`                    // they differ from those of the last run
	Strays   diag.List `json:"sources,omitempty"`    // faults of sshfp/ and certs.map that belong to no zone: warnings
	StrayNew bool      `json:"-"`                    // likewise
	Code     int       `json:"exit"`
}

// Bounds of a pass.
const (
	batchZones = 256              // zones that are told to the server and confirmed together
	atOnce     = 16               // small files of zones that are written at a time
	lockWait   = 60 * time.Second // for another process at the same zone

	busyPatience = 200 * time.Millisecond // of a pass with PassBusy, with all that others are at work on
	askWait      = 3 * time.Second        // for the served serial, before signing
)

type pass struct {
	ctx        context.Context
	tree       *Tree
	o          Options
	mounted    error // why the sources count as absent
	unanswered atomic.Bool
	looks      *looks
	forLooks   patience
	forDS      patience
	forLocks   patience
	preview    bool // of rollovers, as of now: also where nothing is new
	hush       hush
	buffers    sync.Pool  // of *[]byte with headBytes each
	telling    sync.Mutex // held while alarm-command runs
	deaf       bool       // it fails; under telling
}

func (t *Tree) newPass(ctx context.Context, o Options) *pass {
	p := &pass{ctx: ctx, tree: t, o: o, looks: newLooks()}
	p.buffers.New = func() any {
		b := make([]byte, headBytes)
		return &b
	}
	if !o.Held {
		p.mounted = t.notMounted()
	}
	return p
}

// Build takes the zones of a tree from their sources to the name server.
// Errors: a zone that is not in the tree, and directories that cannot be made.
func (t *Tree) Build(ctx context.Context, o Options) (Report, error) {
	report := Report{Zones: []Result{}}
	listing := o.Beside.does("list %s and what is published", t.Config.Paths.Keys)
	listed := aside(t.refresh)
	zones, err := t.choose(o.Zones)
	report.Zones = slices.Grow(report.Zones, len(zones))
	if unlisted := listed(); err == nil {
		err = unlisted
	}
	listing()
	if err != nil {
		return report, err
	}
	t.held, t.moving, t.away = o.Held, o.Moving, o.Away
	defer t.rest()
	t.listen(o.Beside)
	over := o.Beside.listen()
	defer func() { over(namesOf(zones)) }()
	if !o.DryRun {
		if err := t.makeDirs(o.Beside); err != nil {
			return report, err
		}
	}
	if err := t.scanBoxes(ctx, o.Now, !o.DryRun); err != nil {
		return report, err
	}
	report.Boxes, report.BoxesNew = t.boxFaults()
	t.scanHostKeys()
	t.scanCerts()
	defer t.certs.close() // somebody may want to unmount it
	if report.Strays, report.StrayNew, err = t.strayFaults(ctx, !o.DryRun); err != nil {
		return report, err
	}
	p := t.newPass(ctx, o)
	defer p.looks.close()
	if o.Observer != nil && !o.DryRun {
		p.takeTurns(zones)
	}
	p.findHush()
	for rest := zones; len(rest) > 0 && ctx.Err() == nil; {
		n := min(batchZones, len(rest))
		for _, r := range p.batch(rest[:n]) {
			report.Zones = append(report.Zones, r)
			report.Code = cli.Worst(report.Code, r.Code)
		}
		rest = rest[n:]
	}
	if !o.DryRun {
		if err := t.report(report.Zones, o.Now); err != nil {
			return report, err
		}
	}
	return report, ctx.Err()
}

// batch passes over the zones of which nothing is new, runs the others up to their
// commit side by side, tells the server of all of them at once, and waits until it
// serves them. The locks are taken in the order of the names, one after the other:
// two passes that hold some and wait for others must not wait for each other.
func (p *pass) batch(zones []*config.Zone) []Result {
	out := make([]Result, len(zones))
	calm := make([]bool, len(zones))
	quick := make([]*glimpse, len(zones))
	p.tree.openSources(zones)
	sideBySide(len(zones), runtime.GOMAXPROCS(0), func(i int) { out[i], quick[i], calm[i] = p.calm(zones[i]) })
	p.tree.closeSources()
	var order []int
	for i := range zones {
		if !calm[i] {
			order = append(order, i)
		}
	}
	slices.SortFunc(order, func(a, b int) int { return zones[a].Name.Compare(zones[b].Name) })
	jobs := make([]*job, len(order))
	started := make(chan *job)
	var wg sync.WaitGroup
	for range min(len(jobs), 2*runtime.GOMAXPROCS(0)) {
		wg.Go(func() {
			for j := range started {
				p.prepare(p.ctx, j)
			}
		})
	}
	for at, i := range order {
		jobs[at] = p.start(zones[i])
		jobs[at].quick = quick[i]
		if jobs[at].lock != nil || p.o.DryRun {
			started <- jobs[at]
		}
	}
	close(started)
	wg.Wait()
	p.announce(jobs)
	for _, j := range jobs {
		j.endUnsigned(p)
	}
	p.finishAll(jobs)
	for at, i := range order {
		out[i] = jobs[at].res
	}
	return out
}

// finishAll finishes the zones of which there is something to tell in their order,
// and then the others side by side: what they wait for is mostly the disk.
func (p *pass) finishAll(jobs []*job) {
	var silent []*job
	for _, j := range jobs {
		if j.lock != nil && len(j.alarmsBefore)+len(j.state.Alarms) == 0 {
			silent = append(silent, j)
			continue
		}
		p.finish(j)
	}
	sideBySide(len(silent), atOnce, func(i int) { p.finish(silent[i]) })
}

// start locks a zone and loads its state.
func (p *pass) start(z *config.Zone) *job {
	j := &job{z: z, now: p.o.Now, state: &State{}, res: Result{Zone: z.Name, Orphan: p.tree.Config.Find(z.Name) == nil}}
	defer p.o.Beside.does("read the state of %s", z.Name)()
	if !p.o.DryRun {
		lock, err := p.lock(z.Name)
		if err != nil {
			j.busy = errors.Is(err, durable.ErrLocked)
			if j.fail("build-failed", fmt.Errorf("lock %s: %w", z.Name, err)); j.busy && p.o.PassBusy {
				j.res.Action = Busy
			}
			return j
		}
		j.lock = lock
	}
	state, err := p.tree.loadState(z.Name)
	j.state = state
	j.alarmsBefore, j.before = slices.Clone(state.Alarms), slices.Clone(state.Refused)
	state.clear("state-damaged", "signed-damaged")
	if err != nil {
		p.o.Log.Warn("read state", "zone", z.Name, "err", err)
		state.raise("state-damaged", err.Error(), j.now)
	}
	if slices.Contains(p.o.Doubt, z.Name) {
		state.Confirmed = false
		if p.o.Beside != nil {
			p.o.Beside.forget(z.Name)
		}
	}
	if says, full := p.full(z.Name); full {
		state.raise("box-full", says, j.now)
	} else {
		state.clear("box-full")
	}
	p.hostKeyAlarm(j)
	if p.o.NewZone && !j.state.Signed && z.Policy.Signed() { // of a zone that was published, it says nothing
		j.state.NewZone = true
	}
	return j
}

// lock takes the lock of a zone. Whoever only looks at it is gone in an instant; for
// others a pass with PassBusy does not wait.
func (p *pass) lock(apex domain.Name) (*durable.Lock, error) {
	ctx, cancel := context.WithTimeout(p.ctx, lockWait)
	defer cancel()
	if p.o.PassBusy {
		enough := p.forLocks.of(busyPatience)
		go func() {
			select {
			case <-enough:
				cancel()
			case <-ctx.Done():
			}
		}()
	}
	return durable.LockWait(ctx, p.tree.lockPath(apex))
}

func (p *pass) full(apex domain.Name) (says string, full bool) {
	if p.tree.challenges == nil {
		return "", false
	}
	says, full = p.tree.challenges.full[apex]
	return says, full
}

// finish saves the state and lets go of the zone.
func (p *pass) finish(j *job) {
	j.state.keepAges(j.alarmsBefore)
	j.news(p.o.DryRun)
	if p.o.DryRun {
		return
	}
	if j.lock == nil {
		if !j.busy { // nothing can be remembered, so somebody has to be told each time
			p.alarms(j)
			j.res.After.Alarms = slices.Clone(j.state.Alarms)
		}
		return
	}
	defer p.o.Beside.does("save the state of %s", j.z.Name)()
	p.alarms(j)
	p.findOldest(j)
	if err := p.tree.saveState(j.z.Name, j.state); err != nil {
		j.res.Action, j.res.News = Failed, true
		j.res.Error = strings.TrimPrefix(j.res.Error+"; "+err.Error(), "; ")
		j.res.Code = cli.Worst(j.res.Code, cli.ExitFailed)
		j.state.raise("build-failed", err.Error(), j.now)
		p.alarms(j)
	}
	p.after(j)
	j.lock.Unlock()
}

// served is the serial that the server answers now, if it answers. After one
// server that is silent the others are not waited for again, by a daemon for a minute.
func (p *pass) served(ctx context.Context, apex domain.Name) (uint32, bool) {
	if p.unanswered.Load() {
		return 0, false
	}
	wait := askWait
	if p.o.Beside != nil {
		if wait = besideAskWait; p.o.Beside.isSilent() {
			return 0, false
		}
	}
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	s, err := p.o.Server.Serial(ctx, apex)
	if errors.Is(err, publish.ErrUnreachable) {
		p.unanswered.Store(true)
		if p.o.Beside != nil {
			p.o.Beside.noteSilent()
		}
	}
	return s.Serial, err == nil
}

// Previous is the published zone of a name, for reports. Errors: it cannot be
// read, and neither can its last confirmed copy.
func (t *Tree) Previous(apex domain.Name) (*dnssec.Previous, error) {
	prev, _, err := t.readPublished(apex, t.PublishedPath(apex))
	if err != nil {
		var why error
		if prev, _, why = t.readPublished(apex, t.lastGoodPath(apex)); why != nil {
			return nil, err
		}
	}
	return prev, nil
}
