package watch

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"time"
)

// Bounds of the loop.
const (
	beat       = 5 * time.Second        // the longest time without a turn
	startWait  = 10 * time.Second       // for the first look at all sources, before the first build
	reloadWait = 3 * time.Second        // likewise behind a reload: at most, something is built twice
	lookWait   = time.Minute            // for a look, until an alarm
	lookRest   = 4                      // times as long as a look took nobody looks again
	buildWait  = 30 * time.Minute       // for a build, until an alarm
	step       = 30 * time.Second       // by which the calendar may differ from the running clock between two turns
	fullEvery  = time.Hour              // all content is read again
	lockPoll   = 250 * time.Millisecond // while a checkout is locked
	lockAlarm  = 5 * time.Minute
	stopGrace  = 75 * time.Second      // for the running build at the end; systemd waits for 90
	fetchLast  = 3 * time.Second       // for a running update, at the end and before a reload
	updateLong = 2 * time.Minute       // for an update, until an alarm
	stopLast   = 10 * time.Second      // after it was told to stop
	askWait    = 5 * time.Second       // for the answer whether a checkout is locked, before a build
	askGrace   = 10 * time.Millisecond // likewise, for one that was given up before
	hangWait   = time.Minute           // for what takes a build no time, until an alarm
	stopHangs  = 10 * time.Second      // likewise, until the end does not wait for it
	hangLast   = 3 * time.Second       // for looks, and for a build that hangs, after they were told to stop
	laterLoad  = 10 * time.Second      // until a configuration that does not answer is loaded again
)

// Loop decides when to build which zones. Run may be called once.
type Loop struct {
	// Load gives the setup: at the start, and again for each Reload and each
	// Effect that asks for it. No build runs meanwhile. After an error the old
	// setup stays; at the start the error ends the loop.
	Load   func(ctx context.Context) (*Setup, error)
	Reload <-chan struct{} // SIGHUP; nil = never

	Beat  func(Status) // called at each turn, at least every 5 seconds; nil = nobody listens
	Alarm func(Alarm)  // nil = nobody listens
	Log   *slog.Logger
	Wall  func() time.Time // the calendar; nil = time.Now
}

// Run builds until the context ends; the running build is waited for then, and after
// 75 seconds told to stop, an update after 3. Errors: the first Load,
// and a build that does not come back when it is told to.
func (l *Loop) Run(ctx context.Context) error {
	r := &run{
		Loop: l, done: make(chan func()), gone: make(chan struct{}),
		raised: map[alarmKey]string{}, started: time.Now(),
	}
	defer close(r.gone)
	r.work, r.cancel = context.WithCancel(context.WithoutCancel(ctx))
	defer r.cancel()
	r.fetch, r.endFetch = context.WithCancel(r.work)
	defer r.endFetch()
	setup, err := l.Load(ctx)
	if ctx.Err() != nil && setup == nil {
		return nil
	}
	if err != nil {
		return fmt.Errorf("load the configuration: %w", err)
	}
	r.use(setup)
	defer func() { r.setup.close() }()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for ctx.Err() == nil {
		timer.Reset(r.turn())
		select {
		case <-ctx.Done():
		case <-l.Reload:
			r.askReload(time.Now())
		case name, open := <-r.setup.Hints:
			r.hint(name)
			if !open {
				r.setup.Hints = nil
			}
		case then := <-r.done:
			then()
		case <-timer.C:
		}
	}
	return r.stop(timer)
}

func (s *Setup) close() {
	if s.Close != nil {
		s.Close()
	}
}

// run is the state of a loop. Only the loop's own goroutine touches it: what
// others do for it comes back as a function to call.
type run struct {
	*Loop
	setup     *Setup
	sources   []*source
	checkouts map[string]*checkout
	schedule  schedule
	left      map[string]leftFile // what the builder wrote, by path

	work     context.Context // of all that is started; it outlives the loop's
	cancel   context.CancelFunc
	fetch    context.Context // of updates
	endFetch context.CancelFunc
	done     chan func()
	gone     chan struct{} // closed when nobody receives from done any more

	started  time.Time     // with this setup, or with the first of those of which nothing was built
	patience time.Duration // with the first looks
	begun    bool          // a build of it did
	building time.Time     // since when; zero = no build runs
	loading  time.Time     // likewise; it is not a build's turn
	loaded   bool          // the last job was a load
	outdated bool          // it found something else than there is now: for a while nothing is built of it
	endLoad  context.CancelFunc
	updating int // checkouts
	looking  int // looks that run, also those of an older setup
	reload   bool
	reloadAt time.Time // not before
	asked    time.Time // by a person; zero = by none
	waits    string    // why it waits, as it was said
	failed   int       // builds in a row, as a whole
	ticked   struct{ now, wall time.Time }
	raised   map[alarmKey]string // what was told
}

// leftFile is a file as a build left it.
type leftFile struct {
	File
	told time.Time // when the build had ended
}

type alarmKey struct{ code, subject string }

// start runs work in a goroutine; what it returns is called by the loop.
func (r *run) start(work func() (then func())) {
	go func() {
		then := work()
		select {
		case r.done <- then:
		case <-r.gone:
		}
	}()
}

func (r *run) wall() time.Time {
	if r.Wall != nil {
		return r.Wall()
	}
	return time.Now().Round(0) // without the reading of the running clock
}

// use begins with a setup.
func (r *run) use(setup *Setup) {
	if r.setup != nil {
		r.setup.close()
	}
	if r.setup == nil {
		r.started, r.patience = time.Now(), startWait
	} else if r.begun { // else reloads that come one behind the other would keep from building
		r.started, r.patience = time.Now(), reloadWait
	}
	r.setup, r.begun = setup, false
	r.checkouts = newCheckouts(setup.Checkouts, r.checkouts)
	sources := make([]*source, len(setup.Sources))
	for i := range setup.Sources {
		sources[i] = newSource(&setup.Sources[i], r.checkouts)
		sources[i].inherit(r.source(sources[i].Name))
	}
	r.sources, r.left = sources, map[string]leftFile{}
	r.schedule.keep(setup.Builder.Zones())
	r.schedule.checkAll()
	maps.DeleteFunc(r.raised, func(k alarmKey, _ string) bool {
		c := r.checkouts[k.subject]
		gone := k.subject != "" && r.source(k.subject) == nil && c == nil || k.code == AlarmUpdate && c != nil && c.Updater == nil
		if gone {
			r.tell(Alarm{Code: k.code, Subject: k.subject, Clear: true})
		}
		return gone
	})
}

// turn starts all that is due and tells how long nothing else will be.
func (r *run) turn() time.Duration {
	now, wall := time.Now(), r.wall()
	r.watchClock(now, wall)
	next := now.Add(beat)
	for _, c := range r.checkouts {
		next = earlier(next, r.turnCheckout(c, now))
	}
	for _, s := range r.sources {
		next = earlier(next, r.turnSource(s, now))
	}
	r.startJob(now, wall)
	if r.reload && now.Before(r.reloadAt) {
		next = earlier(next, r.reloadAt)
	}
	if r.idle() && r.settled(now) {
		next = earlier(next, now.Add(r.schedule.wait(now, wall, beat)))
	} else if r.idle() {
		next = earlier(next, r.started.Add(r.patience))
	}
	switch what := r.hangs(hangWait); {
	case what != "":
		r.alarmf(AlarmBuild, "", true, "a build hangs: to %s takes more than %s", what, hangWait)
	case !r.loading.IsZero() && now.Sub(r.loading) >= hangWait:
		r.alarmf(AlarmBuild, "", true, "nothing is built while the configuration is read, for more than %s: is a mount dead?", hangWait)
	default:
		r.alarmf(AlarmBuild, "", !r.building.IsZero() && now.Sub(r.building) >= buildWait, "a build runs for more than %s", buildWait)
	}
	r.beat(now)
	return max(next.Sub(now), 0)
}

// watchClock has all zones looked at when the calendar was set: what was due
// then is not what is due now.
func (r *run) watchClock(now, wall time.Time) {
	if was := r.ticked; !was.now.IsZero() {
		if by := wall.Sub(was.wall) - now.Sub(was.now); by.Abs() >= step {
			r.Log.Warn("the clock was set", "by", by)
			r.schedule.checkAll()
		}
	}
	r.ticked.now, r.ticked.wall = now, wall
}

// idle reports whether a build may begin.
func (r *run) idle() bool { return r.building.IsZero() && r.loading.IsZero() }

// settled reports whether the sources were looked at once. Whatever changes
// after that look, the next one finds. One that hangs is not waited for long.
func (r *run) settled(now time.Time) bool {
	return now.Sub(r.started) >= r.patience || !slices.ContainsFunc(r.sources, func(s *source) bool { return !s.seen && !s.takes(now, startWait) })
}

// hint notes that something may have changed in a source.
func (r *run) hint(name string) {
	if s := r.source(name); s != nil {
		s.quiet.note(time.Now())
		s.hinted = true
	}
}

func (r *run) source(name string) *source {
	for _, s := range r.sources {
		if s.Name == name {
			return s
		}
	}
	return nil
}

// alarmf raises or clears an alarm, if that is news.
func (r *run) alarmf(code, subject string, on bool, format string, args ...any) {
	k := alarmKey{code, subject}
	was, stands := r.raised[k]
	switch {
	case on:
		if message := fmt.Sprintf(format, args...); !stands || message != was {
			r.raised[k] = message
			r.tell(Alarm{Code: code, Subject: subject, Message: message})
		}
	case stands:
		delete(r.raised, k)
		r.tell(Alarm{Code: code, Subject: subject, Clear: true})
	}
}

func (r *run) tell(a Alarm) {
	if r.Alarm != nil {
		r.Alarm(a)
	}
}

func (r *run) beat(now time.Time) {
	if r.Beat != nil {
		r.Beat(r.status(now))
	}
}

func (r *run) status(now time.Time) Status {
	r.schedule.sum()
	st := Status{Building: r.building, Waiting: r.schedule.ready, Zones: len(r.schedule.zones), NextDue: r.schedule.soonest.due}
	for name, c := range r.checkouts {
		if c.held() {
			st.Held = append(st.Held, name)
		}
	}
	slices.Sort(st.Held)
	for _, s := range r.sources {
		if s.stuck(now) {
			st.Stuck = append(st.Stuck, s.Name)
		}
	}
	return st
}
