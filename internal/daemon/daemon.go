// Package daemon is `zonebuild watch`: it joins internal/watch, which knows when,
// with internal/build, which knows how. It holds what a process needs that runs for
// months: its lock, the reload of its configuration, its alarms, its heartbeat for a
// supervisor (sd_notify) and its pages for a monitoring system (Prometheus).
//
// It refuses to run twice for a tree, and to take a configuration that has a fault.
// It decides nothing of a zone: a cron job that runs `build` beside it does the
// same.
package daemon

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"zonebuild/internal/build"
	"zonebuild/internal/cli"
	"zonebuild/internal/config"
	"zonebuild/internal/diag"
	"zonebuild/internal/durable"
	"zonebuild/internal/publish"
	"zonebuild/internal/watch"
)

// Daemon keeps the zones of one tree. Its fields are set before Run.
type Daemon struct {
	Dir      string                                    // the tree
	ServerOf func(*build.Tree) (publish.Server, error) // the name server of a configuration
	Said     func(r *build.Report, revision string)    // told of each pass, one at a time; nil = nobody listens
	Faults   func(diag.List)                           // told of the configuration's, at the start and when a reload finds others
	Now      func() time.Time                          // the calendar
	Log      *slog.Logger
	Reload   <-chan struct{} // SIGHUP
	NewZone  bool            // as build.Options has it
	NoEvents bool            // look by polling only

	Follow     Follow                       // a revision of git; the zero value follows none
	Listen     net.Listener                 // of the pages; nil = there are none; Run closes it
	OpenListen func() (net.Listener, error) // likewise, when the tree is ours; nil = Listen
	Notify     *Notify                      // of the supervisor; nil = there is none

	lockMu    sync.Mutex // of what follows; nobody holds it while he waits for a disk
	lock      *durable.Lock
	follower  *gitFollower
	refused   error  // why there is no lock
	over      bool   // it was let go of
	state     string // the directory of the lock
	faults    diag.List
	keeping   atomic.Bool // the lock is looked at
	mu        sync.Mutex
	site      *site
	alarms    alarms
	ledger    ledger
	teller    teller
	end       context.CancelFunc
	stopPages func()
	serving   bool
	beside    build.Beside
	opening   *opening // one that nobody waits for any more
	woken     woken
	words     chan func()   // of say
	silent    chan struct{} // closed when nobody is told any more
	telling   sync.WaitGroup
	asking    atomic.Bool // a revision
	lastBeat  watch.Status
	beatAt    time.Time
	turned    time.Duration // of that beat
	started   time.Time
	clock     func() time.Duration // since the start, whatever is done to the calendar
	calendar  *calendar            // nil: Now is believed
	believe   time.Duration        // of calendar; 0 = as ever
}

// Run works until the context ends, and ends well then. Errors: another daemon has
// the tree (it says which process), the first configuration has a fault (nothing of
// it is in the error but the code, when Faults was told), and a build that does not
// come back.
func (d *Daemon) Run(ctx context.Context) error {
	d.started = d.Now()
	d.ledger.zones = map[zoneName]zoneFacts{}
	d.woken.poke = make(chan struct{}, 1)
	begun := time.Now()
	d.clock = func() time.Duration { return time.Since(begun) }
	d.beside.Wake, d.beside.Clock, d.beside.Mute = d.woken.add, d.clock, d.mute
	d.calendar = &calendar{wall: d.Now, running: runningClock(), believe: cmp.Or(d.believe, believeStep), log: d.Log}
	loop := &watch.Loop{Load: d.load, Reload: d.Reload, Beat: d.beat, Alarm: d.alarm, Log: d.Log, Wall: d.wall}
	ctx, d.end = context.WithCancel(ctx)
	defer d.end()
	d.stopPages = func() {}
	defer func() { d.stopPages() }()
	defer d.closeLock()
	defer d.endTelling()
	defer d.beside.End()
	defer d.speak()()
	go func() { // systemd waits for this word, not for the last build
		<-ctx.Done()
		d.Notify.send("STOPPING=1")
	}()
	if err := loop.Run(ctx); err != nil {
		return d.unloaded(err)
	}
	return d.refusal()
}

// mute says that builds go on without a source, long before somebody is alarmed.
func (d *Daemon) mute(source string, mute bool) {
	if mute {
		d.Log.Warn("a source does not answer: what was read of it last stands", "source", source)
	} else {
		d.Log.Info("a source answers again", "source", source)
	}
}

// refusal is why this daemon has no lock; nil = it has, or there was nothing to lock.
func (d *Daemon) refusal() error {
	d.lockMu.Lock()
	defer d.lockMu.Unlock()
	return d.refused
}

// refuse notes it.
func (d *Daemon) refuse(err error) error {
	d.lockMu.Lock()
	defer d.lockMu.Unlock()
	d.refused = err
	return err
}

// believed is the time of day that zones are built by, as calendar.now has it.
func (d *Daemon) believed() (now time.Time, wasAhead bool) {
	if d.calendar == nil {
		return d.Now(), false
	}
	return d.calendar.now()
}

func (d *Daemon) wall() time.Time {
	now, _ := d.believed()
	return now
}

// lastWords is how long the end waits for alarm-command: what it was told and nobody
// noted, the next daemon tells again.
const lastWords = 3 * time.Second

// endTelling waits for what is being told.
func (d *Daemon) endTelling() {
	ended := make(chan struct{})
	go func() {
		d.telling.Wait()
		close(ended)
	}()
	select {
	case <-ended:
	case <-time.After(lastWords):
	}
}

// unloaded keeps the exit code of what load found.
func (d *Daemon) unloaded(err error) error {
	if refused := d.refusal(); refused != nil {
		return refused
	}
	var coded *cli.Error
	if errors.As(err, &coded) {
		return coded
	}
	return err
}

// closeLock lets go of the tree. Where the disk hangs, the end of the process does.
func (d *Daemon) closeLock() {
	d.lockMu.Lock()
	lock := d.lock
	d.over = true
	d.lockMu.Unlock()
	if lock == nil {
		return
	}
	ended := make(chan struct{})
	go func() {
		lock.Unlock()
		close(ended)
	}()
	select {
	case <-ended:
	case <-time.After(lastWords):
	}
}

// loadSlow is how long a load takes at most, unless something hangs.
const loadSlow = 10 * time.Second

// load reads the configuration and makes the setup of the loop.
func (d *Daemon) load(ctx context.Context) (*watch.Setup, error) {
	defer time.AfterFunc(loadSlow, func() {
		d.Log.Warn("the configuration is still being read: does the disk answer?", "tree", d.Dir)
	}).Stop()
	tree, faults, err := d.openTree(ctx)
	if d.Faults != nil && !slices.EqualFunc(faults, d.faults, func(a, b diag.Diagnostic) bool { return a.String() == b.String() }) {
		d.Faults(faults)
	}
	d.faults = faults
	if err != nil {
		return nil, err
	}
	if tree == nil {
		return nil, refusal(faults, d.serving)
	}
	d.mu.Lock()
	gone := d.site != nil && d.site.tree.Config.Given && !tree.Config.Given
	d.mu.Unlock()
	if gone {
		tree.Close()
		return nil, errGone
	}
	s, err := d.newSite(ctx, tree)
	if err == nil && !d.serving {
		err = d.openPages()
	}
	if err == nil {
		err = s.open()
	}
	if err != nil {
		tree.Close()
		return nil, err
	}
	d.mu.Lock()
	d.site = s
	d.mu.Unlock()
	d.Notify.send("READY=1\nSTATUS=" + statusLine(watch.Status{Zones: len(s.known)}))
	return s.setup(), nil
}

// openPages opens the pages, when the tree is ours: of a second daemon for it the address
// would say less.
func (d *Daemon) openPages() (err error) {
	if d.Listen == nil && d.OpenListen != nil {
		if d.Listen, err = d.OpenListen(); err != nil {
			return d.refuse(err)
		}
	}
	stop, err := d.serve()
	if err == nil {
		d.stopPages, d.serving = stop, true
	}
	return err
}

// errGone keeps a checkout, a copy or an editor that takes the file away for a moment
// from what the defaults would do: tell no server, and take the zones from soa/ alone.
var errGone = errors.New(config.File + " is gone, or says nothing any more (a restart begins with the defaults)")

// refusal is why a configuration is not taken: in full for the alarm, or, when the
// faults were printed and the program ends, the exit code alone.
func refusal(faults diag.List, running bool) error {
	if !running {
		return cli.Exit(cli.ExitRejected)
	}
	for _, f := range faults {
		if f.Severity == diag.Error {
			return errors.New(f.String())
		}
	}
	return errors.New("it has faults")
}

// lockWait is how long the start waits for another daemon to end.
const lockWait = 200 * time.Millisecond

// takeLock takes the tree for the daemon's life.
func (d *Daemon) takeLock(ctx context.Context, c *config.Config) error {
	state, err := filepath.Abs(c.Paths.State)
	if err != nil {
		return fmt.Errorf("find the state: %w", err)
	}
	d.lockMu.Lock()
	has, ours := d.lock != nil, d.state
	d.lockMu.Unlock()
	if has {
		if state != ours {
			return errors.New("paths.state is another: that takes a restart")
		}
		return nil
	}
	if err := durable.MkdirAll(state, 0o755); err != nil {
		return err
	}
	// Whoever asks for the status looks at the lock: that is over in an instant.
	ctx, cancel := context.WithTimeout(ctx, lockWait)
	defer cancel()
	lock, err := durable.LockWait(ctx, filepath.Join(state, "watch.lock"))
	if errors.Is(err, durable.ErrLocked) {
		err = fmt.Errorf("another daemon does: %w", err)
	}
	if err != nil {
		return d.refuse(fmt.Errorf("watch %s: %w", d.Dir, err))
	}
	d.lockMu.Lock()
	d.lock, d.state = lock, state
	d.lockMu.Unlock()
	return d.alarms.load(filepath.Join(state, "watch"))
}

// keepLock takes the lock again whose file somebody removed: a second daemon would not
// find it. One that was faster has the tree, and this one ends. It asks the disk, which
// may hang: the loop does not wait for it.
func (d *Daemon) keepLock() {
	d.lockMu.Lock()
	ours, path, done := d.lock, filepath.Join(d.state, "watch.lock"), d.over || d.refused != nil
	d.lockMu.Unlock()
	if ours == nil || done || ours.Stands() {
		return
	}
	lock, err := durable.TryLock(path)
	if errors.Is(err, durable.ErrLocked) {
		_ = d.refuse(fmt.Errorf("watch %s: the lock was removed, and another daemon runs: %w", d.Dir, err))
		d.end()
		return
	}
	if err != nil {
		return // state/ is away: the next pass makes it, and the next beat the lock
	}
	d.lockMu.Lock()
	defer d.lockMu.Unlock()
	if d.over {
		lock.Unlock()
		return
	}
	d.Log.Warn("the lock was removed: it is taken again", "path", path)
	d.lock.Unlock()
	d.lock = lock
}

// beat tells the supervisor, the pages and the log that the loop turns.
func (d *Daemon) beat(s watch.Status) {
	d.mu.Lock()
	d.lastBeat, d.beatAt, d.turned = s, d.Now(), d.clock()
	d.mu.Unlock()
	if d.keeping.CompareAndSwap(false, true) {
		d.telling.Go(func() {
			defer d.keeping.Store(false)
			d.keepLock()
		})
	}
	d.Notify.beat(statusLine(s), d.Now())
	d.repeatAlarms()
	d.tellZones()
}

func statusLine(s watch.Status) string {
	text := fmt.Sprintf("%d zones", s.Zones)
	switch {
	case !s.Building.IsZero():
		text += ", building"
	case s.Waiting > 0:
		text += fmt.Sprintf(", %d to build", s.Waiting)
	}
	if len(s.Held) > 0 {
		text += fmt.Sprintf(", held: %v", s.Held)
	}
	if len(s.Stuck) > 0 {
		text += fmt.Sprintf(", stuck: %v", s.Stuck)
	}
	return text
}
