package daemon

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"zonebuild/internal/build"
	"zonebuild/internal/cli"
	"zonebuild/internal/config"
	"zonebuild/internal/domain"
	"zonebuild/internal/publish"
	"zonebuild/internal/watch"
)

// site is one configuration of the tree at work.
type site struct {
	*Daemon
	tree     *build.Tree
	server   *timed
	eyes     *watch.Eyes
	list     []watch.Source
	began    time.Time
	waiting  bool                 // it was said; of Build alone
	gone     chan struct{}        // closed when it is no longer at work
	known    map[domain.Name]bool // zones that there are, also those that left the tree
	building atomic.Bool
	busy     map[domain.Name]bool // zones that another process had at the last pass; of Build alone

	mu     sync.Mutex
	index  map[string][]domain.Name // zones by the path of a file of soa/ or primary/ that they are made of
	made   map[domain.Name][]string // the paths that index has of a zone
	certs  map[string][]domain.Name // as index, of certs/
	doubt  map[domain.Name]bool     // seen served with another serial than the published one
	files  map[string]build.FileID  // published files, as the last pass left them
	survey survey
}

func (d *Daemon) newSite(ctx context.Context, tree *build.Tree) (*site, error) {
	if err := d.takeLock(ctx, tree.Config); err != nil {
		return nil, err
	}
	tree.Keep()
	d.mu.Lock()
	was := &tree.Config.Publish
	if d.site != nil {
		tree.KeepOf(d.site.tree)
		was = &d.site.tree.Config.Publish
	}
	d.mu.Unlock()
	server, err := d.ServerOf(tree)
	if err != nil {
		return nil, err
	}
	s := &site{
		Daemon: d, began: time.Now(), gone: make(chan struct{}), tree: tree, server: &timed{Server: server, ledger: &d.ledger}, known: map[domain.Name]bool{}, busy: map[domain.Name]bool{},
		index: map[string][]domain.Name{}, made: map[domain.Name][]string{}, certs: map[string][]domain.Name{}, doubt: map[domain.Name]bool{}, files: map[string]build.FileID{},
	}
	for _, apex := range tree.Published() {
		s.known[apex] = true
	}
	for i := range tree.Config.Zones {
		if err := s.noteSources(tree.Config.Zones[i].Name, nil); err != nil {
			return nil, err
		}
	}
	if d.Follow.Ref != "" {
		if d.follower, err = d.follower.again(d.Follow, tree.Config, d.Log); err != nil {
			return nil, err
		}
		d.follower.sayBeside(tree.Config)
	}
	d.ledger.keep(s.known, reflect.DeepEqual(was, &tree.Config.Publish), s.isAsked())
	d.teller.keep(s.known)
	return s, nil
}

// open begins to watch.
func (s *site) open() (err error) {
	s.list = s.sources()
	if s.NoEvents {
		s.eyes, err = watch.OpenPolling(s.list, s.Log)
	} else {
		s.eyes, err = watch.Open(s.list, s.Log)
	}
	return err
}

// note has a path concern a zone.
func note(index map[string][]domain.Name, file string, apex domain.Name) error {
	path, err := filepath.Abs(file)
	if err != nil {
		return fmt.Errorf("find %s: %w", file, err)
	}
	if !slices.Contains(index[path], apex) {
		index[path] = append(index[path], apex)
	}
	return nil
}

// noteSources has the files that a zone is made of concern it, and those that it no
// longer includes concern it no more. It is called under mu, or before the site is used.
func (s *site) noteSources(apex domain.Name, included []string) error {
	files := slices.Clone(included)
	if z := s.tree.Config.Find(apex); z != nil {
		files = append(append(files, z.SOA), z.Primary...)
	}
	is := map[string]bool{}
	for _, file := range files {
		path, err := filepath.Abs(s.tree.Config.SourcePath(file))
		if err != nil {
			return fmt.Errorf("find %s: %w", file, err)
		}
		is[path] = true
	}
	for _, path := range s.made[apex] {
		if is[path] {
			continue
		}
		s.index[path] = slices.DeleteFunc(s.index[path], func(n domain.Name) bool { return n == apex })
		if len(s.index[path]) == 0 {
			delete(s.index, path)
		}
	}
	for path := range is {
		if !slices.Contains(s.index[path], apex) {
			s.index[path] = append(s.index[path], apex)
		}
	}
	s.made[apex] = slices.Collect(maps.Keys(is))
	return nil
}

func (s *site) setup() *watch.Setup {
	return &watch.Setup{
		Sources: append(slices.Clone(s.list), s.ownSources()...), Checkouts: s.checkouts(), Builder: s,
		Config: checkoutTree, Hints: s.hints(), Look: s.look, Concerns: s.concerns, Outdated: s.outdated, Hangs: s.beside.Hangs,
		Close: func() {
			close(s.gone)
			s.eyes.Close()
			if !s.building.Load() { // else a pass hangs that nobody waits for, and the program ends
				s.tree.Close()
			}
		},
	}
}

// outdated reports whether zonebuild.toml, the files it names or the list of soa/ say
// something else now than when the site was made of them.
func (s *site) outdated() bool {
	is, faults := config.Load(s.Dir)
	return faults.HasErrors() || !is.Same(s.tree.Config)
}

// Zones are those of the tree and those that are still published.
func (s *site) Zones() []domain.Name {
	return slices.SortedFunc(maps.Keys(s.known), domain.Name.Compare)
}

// Build is one pass over zones. While the checkout is held, nothing in it is read:
// what was read of it last stands, with the challenges of now; a zone of which
// nothing was read yet stays as it is published, and is signed anew in time.
func (s *site) Build(ctx context.Context, r watch.Request) ([]watch.Result, error) {
	s.mu.Lock()
	doubt := slices.Collect(maps.Keys(s.doubt))
	s.mu.Unlock()
	s.building.Store(true)
	defer s.building.Store(false)
	begun, wasAhead := s.believed()
	revision := s.askRevisions(r)
	report, err := s.tree.Build(ctx, build.Options{
		Now: begun.UTC().Truncate(time.Second), WasAhead: wasAhead, Zones: r.Zones, NewZone: s.NewZone, Server: s.server, Observer: s.tree.Network(), Log: s.Log,
		Beside: &s.beside, TellLater: true, PassBusy: true, Held: slices.Contains(r.Held, checkoutTree), Away: r.Held, Moving: func() bool { return r.Moving(checkoutTree) }, Doubt: doubt, Took: s.ledger.addStage, Clock: s.running,
	})
	s.teller.take(&report)
	s.tellZones()
	s.sayWaiting(&report)
	s.sayBusy(&report)
	if err == nil || len(report.Zones) > 0 { // one that fails as a whole is none
		s.ledger.pass(&report, begun, s.wall())
	}
	if s.Said != nil && (err == nil || len(report.Zones) > 0) {
		s.say(func() { s.Said(&report, revision(&report)) })
	}
	var out []watch.Result
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range report.Zones {
		z := &report.Zones[i]
		delete(s.doubt, z.Zone)
		out = append(out, s.result(z))
	}
	if s.follow() {
		if err := s.eyes.Follow(sourcePrimary, s.primaryPaths()); err != nil {
			s.Log.Warn("watch what is included", "err", err)
		}
	}
	if errors.Is(err, context.Canceled) {
		return nil, err
	}
	return out, err
}

// sayWaiting says once, for as long as it goes on, that zones are kept up as they are
// published: nothing of their sources was read since the start.
func (s *site) sayWaiting(report *build.Report) {
	waiting := slices.ContainsFunc(report.Zones, func(z build.Result) bool { return z.Waits })
	if waiting && !s.waiting {
		s.Log.Warn("nothing is read of the checkout: the published records stand, with the challenges of now")
	}
	s.waiting = s.waiting && len(report.Zones) == 0 || waiting
}

// sayBusy has a zone that another process is at work on told of once.
func (s *site) sayBusy(report *build.Report) {
	for i := range report.Zones {
		z := &report.Zones[i]
		busy := z.Action == build.Busy
		z.News = z.News && !(busy && s.busy[z.Zone])
		if delete(s.busy, z.Zone); busy {
			s.busy[z.Zone] = true
		}
	}
}

// result translates what became of a zone.
func (s *site) result(z *build.Result) watch.Result {
	r := watch.Result{Zone: z.Zone, Outcome: outcome(z), Due: z.After.Due, Expires: z.After.Expires}
	if z.After.Sources != nil {
		if err := s.noteSources(z.Zone, z.After.Sources); err != nil {
			s.Log.Warn("watch the sources", "zone", z.Zone, "err", err)
		}
	}
	for _, file := range z.After.Certs {
		if err := note(s.certs, filepath.Join(s.tree.Config.Paths.Certs, file), z.Zone); err != nil {
			s.Log.Warn("watch a certificate", "zone", z.Zone, "err", err)
		}
	}
	if zone := s.tree.Config.Find(z.Zone); zone != nil && zone.Policy.Refresh > 0 {
		r.Slice = min(time.Hour, zone.Policy.Refresh/8)
	}
	for _, f := range z.After.Files {
		path, err := filepath.Abs(f.Path)
		if err != nil {
			continue
		}
		if strings.HasSuffix(path, ".json") {
			if filepath.Base(filepath.Dir(path)) != "tlsa" && s.parent(z.Zone) != (domain.Name{}) && z.Action != build.Unchanged {
				continue // it is news to the parent, which takes its DS from there
			}
			r.Left = append(r.Left, watch.File{Path: path, Size: f.Size, MTime: f.MTime})
		} else {
			s.files[z.Zone.FileName()] = f.FileID
		}
	}
	return r
}

// parent is the zone of the tree that takes the DS of another from there.
func (s *site) parent(child domain.Name) domain.Name {
	for n := child; n != domain.Root; {
		n = n.Parent()
		if z := s.tree.Config.Find(n); z != nil {
			if z.Policy.DSFromChild {
				return n
			}
			return domain.Name{}
		}
	}
	return domain.Name{}
}

// outcome tells which results a retry may change: all that rest on more than the
// files, such as guards that ask the parent, and mounts.
func outcome(z *build.Result) watch.Outcome {
	switch {
	case z.Action == build.Busy:
		return watch.Busy
	case z.After.Unconfirmed:
		return watch.Unconfirmed
	case z.After.Asked && z.Code == cli.ExitOK:
		return watch.Asked
	case z.Code == cli.ExitOK:
		return watch.Done
	case z.Action == build.Rejected && z.Kept == "":
		return watch.Held
	}
	return watch.Failed
}

// running is how long the site is at work, by the clock that nobody sets.
func (s *site) running() time.Duration { return time.Since(s.began) }

// timed is the name server, with a watch on its stages.
type timed struct {
	publish.Server
	ledger *ledger
}

// Serial asks the server, and notes what each of its addresses says.
func (t *timed) Serial(ctx context.Context, apex domain.Name) (publish.Served, error) {
	ctx = publish.WithHearer(ctx, func(s publish.Served, err error) { t.ledger.heard(ctx, apex, s, err) })
	return t.Server.Serial(ctx, apex)
}

// Check runs the server's checker.
func (t *timed) Check(ctx context.Context, apex domain.Name, file string) error {
	defer t.ledger.stage("check", time.Now())
	return t.Server.Check(ctx, apex, file)
}

// Reload tells the server.
func (t *timed) Reload(ctx context.Context, apexes []domain.Name) map[domain.Name]error {
	defer t.ledger.stage("reload", time.Now())
	return t.Server.Reload(ctx, apexes)
}
