package watch

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"zonebuild/internal/domain"
)

// startJob starts a reload or a build, one at a time. They take turns where both are to
// be: a storm of reloads keeps nothing from being built.
func (r *run) startJob(now, wall time.Time) {
	if !r.idle() {
		return
	}
	settled := r.settled(now)
	config := r.checkouts[r.setup.Config]
	turn := !r.loaded || !settled || r.schedule.wait(now, wall, beat) > 0 || r.outdated && now.Sub(r.started) < r.patience
	if r.reload && turn && reached(r.reloadAt, now) && (config == nil || !config.updating) {
		r.reload, r.loading, r.loaded, r.outdated = false, now, true, false
		ask := config.asksSoon()
		ctx, end := context.WithCancel(r.work)
		r.endLoad = end
		r.start(func() func() { return r.loadSetup(ctx, ask) })
		return
	}
	if !settled {
		return
	}
	if zones := r.schedule.take(now, wall); len(zones) > 0 {
		r.building, r.begun, r.loaded = now, true, false
		r.startBuild(zones)
	}
}

// askReload notes that a person asked for a reload, and says what it waits for.
func (r *run) askReload(now time.Time) {
	r.reload, r.reloadAt, r.asked = true, now, now
	if c := r.checkouts[r.setup.Config]; c != nil && c.updating {
		r.sayWaits("the update of " + c.Name + " that runs, which is ended soon")
	}
}

// sayWaits says once what the reload waits for.
func (r *run) sayWaits(why string) {
	if why != r.waits {
		r.Log.Warn("the configuration is not read yet", "waits-for", why)
	}
	r.waits = why
}

// loadSetup asks for the setup again, unless somebody is writing where it lies.
func (r *run) loadSetup(ctx context.Context, ask func() hold) func() {
	if h := ask(); !h.free() {
		return func() {
			r.endLoad()
			r.loading, r.reload, r.reloadAt = time.Time{}, true, time.Now().Add(8*lockPoll)
			r.sayWaits(h.why())
		}
	}
	setup, err := r.Load(ctx)
	return func() {
		r.endLoad()
		r.loading, r.waits = time.Time{}, ""
		switch {
		case r.reload: // somebody asked again meanwhile
		case errors.Is(err, ErrMute):
			r.reload, r.reloadAt = true, time.Now().Add(laterLoad)
		default:
			r.asked = time.Time{}
		}
		r.alarmf(AlarmReload, "", err != nil, "load the configuration: %v", err)
		if err == nil {
			r.use(setup)
		}
	}
}

// startBuild builds zones. Sources that are in somebody's hands just then are
// held: zones built meanwhile are built again with what they hold afterwards.
func (r *run) startBuild(zones []domain.Name) {
	moves, holds := &moving{asks: map[string]func() string{}, locks: map[string]string{}}, map[string]hold{}
	request := Request{Zones: zones, Revisions: map[string]string{}, Moving: moves.ask}
	asks := map[string]func() hold{}
	for _, name := range slices.Sorted(maps.Keys(r.checkouts)) {
		c := r.checkouts[name]
		if c.revision != "" {
			request.Revisions[name] = c.revision
		}
		if c.unwhole() {
			request.Held = append(request.Held, name)
		} else { // of a lock that the last look found, too: it may be gone
			asks[name] = c.asksSoon()
			moves.asks[name] = c.Locked
		}
	}
	setup := r.setup
	r.start(func() func() {
		for name, ask := range asks {
			if h := ask(); !h.free() {
				holds[name] = h
				request.Held = append(request.Held, name)
			}
		}
		slices.Sort(request.Held)
		r.Log.Debug("build", "zones", len(zones), "held", request.Held)
		results, err := setup.Builder.Build(r.work, request)
		moves.found(holds)
		return func() { r.built(request, results, holds, err) }
	})
}

// built takes the results, and why checkouts were held when it began or came to be
// meanwhile.
func (r *run) built(request Request, results []Result, holds map[string]hold, err error) {
	r.building = time.Time{}
	now, wall := time.Now(), r.wall()
	if !errors.Is(err, context.Canceled) {
		if err != nil {
			r.failed++
			r.Log.Error("build", "err", err)
		} else {
			r.failed = 0
		}
		// Once may be a zone that was retired meanwhile.
		r.alarmf(AlarmPass, "", r.failed > 1, "nothing is built: %v", err)
	}
	for _, res := range results {
		for _, f := range res.Left {
			r.left[f.Path] = leftFile{f, now}
		}
	}
	r.schedule.settle(request.Zones, results, now, wall)
	for _, name := range request.Held {
		if c := r.checkouts[name]; c != nil {
			c.missed(request.Zones)
		}
	}
	for name, h := range holds {
		c := r.checkouts[name]
		if c == nil {
			continue
		}
		c.missed(request.Zones)
		r.holdSeen(c, h, now)
		for _, s := range r.sources { // which find out when it is gone
			if s.checkout == c {
				s.quiet.note(now)
			}
		}
	}
}

// hangs says what the running build does for so long though it takes no time; "" = that
// is not known of anything.
func (r *run) hangs(least time.Duration) string {
	if r.building.IsZero() || r.setup.Hangs == nil {
		return ""
	}
	return r.setup.Hangs(least)
}
