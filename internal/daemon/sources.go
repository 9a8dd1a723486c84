package daemon

import (
	"context"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"zonebuild/internal/config"
	"zonebuild/internal/domain"
	"zonebuild/internal/watch"
)

// Names of sources. A drop box is named by its path behind "box ".
const (
	sourceConfig  = "config"
	sourceSOA     = "soa"
	sourcePrimary = "primary"
	sourceMap     = "certs.map"
	sourceCerts   = "certs"
	sourceSSHFP   = "sshfp"
	sourceKeys    = "keys"
	sourceState   = "state"
	sourceOut     = "published" // the daemon looks itself
	sourceServed  = "served"    // likewise
	sourceLooked  = "looked"    // zones about which an answer came behind a pass
	sourceBox     = "box "
)

// checkoutTree is what version control keeps: soa/, primary/, certs.map and the
// configuration.
const checkoutTree = "tree"

// checkoutOf is the checkout that a configured source is updated with.
func checkoutOf(source string) string {
	if source == sourceSOA || source == sourcePrimary {
		return checkoutTree
	}
	return source
}

// Bounds of what is looked at, beside those of internal/watch; those of files are what
// their readers take.
const (
	treeDepth = 8         // directories in soa/ and primary/, and in certs/
	maxCert   = 256 << 10 // octets of a file of certs/
	maxHost   = 64 << 10  // and of sshfp/
)

// sources are what the eyes watch.
func (s *site) sources() []watch.Source {
	c := s.tree.Config
	p := &c.Paths
	loaded := append([]string{filepath.Join(c.Tree, config.File)}, c.NamesFrom...)
	for _, path := range []string{p.Certs, p.SSHFP} {
		if of := c.Exported(path); c.InRevision(of) { // whether it is there decides what is read
			loaded = append(loaded, of)
		}
	}
	list := []watch.Source{
		{Name: sourceConfig, Paths: loaded, Checkout: checkoutTree, Mends: true, Loaded: true},
		{Name: sourceSOA, Paths: s.soaPaths(), Depth: treeDepth, Keep: s.keeps(sourceSOA), Checkout: checkoutTree, Loaded: true},
		{Name: sourcePrimary, Paths: s.primaryPaths(), Depth: treeDepth, Keep: s.keeps(sourcePrimary), Checkout: checkoutTree},
		{Name: sourceMap, Paths: []string{p.CertsMap}, Checkout: checkoutTree},
		{Name: sourceCerts, Paths: []string{p.Certs}, Distrusted: true, Depth: treeDepth, MaxSize: maxCert, Checkout: s.updated(sourceCerts)},
		{Name: sourceSSHFP, Paths: []string{p.SSHFP}, Distrusted: true, Depth: 2, MaxSize: maxHost, Checkout: s.updated(sourceSSHFP)},
		{Name: sourceKeys, Paths: []string{p.Keys}, Keep: func(base string) bool { return base[0] == 'K' }, Output: true},
		{Name: sourceState, Paths: []string{p.State, filepath.Join(p.State, "tlsa")}, Keep: func(base string) bool { return base[0] != '.' && strings.HasSuffix(base, ".json") }, Output: true},
	}
	for i := range c.DropBoxes {
		b := &c.DropBoxes[i]
		marker := b.Marker
		list = append(list, watch.Source{
			Name: sourceBox + b.Path, Paths: []string{b.Path}, Distrusted: true, Checkout: s.updated("dnsextra"),
			Keep: func(base string) bool { return base[0] != '.' || base == marker },
		})
	}
	return list
}

// updated is the checkout of a source that a program of the operator's updates.
func (s *site) updated(name string) string {
	if s.tree.Config.Sources[name].Update == nil {
		return ""
	}
	return name
}

// keeps says which names in a directory of the tree count: no droppings of editors,
// but the marker.
func (s *site) keeps(source string) func(string) bool {
	marker := s.tree.Config.Sources[source].Marker
	return func(base string) bool {
		if base == marker {
			return true
		}
		return notDropped(base)
	}
}

// notDropped reports whether a name is none that editors and version control leave.
func notDropped(base string) bool {
	return base[0] != '.' && base[0] != '#' && !strings.HasSuffix(base, "~") && !strings.HasSuffix(base, ".tmp")
}

func (s *site) soaPaths() []string {
	paths := []string{s.tree.Config.Paths.SOA}
	for i := range s.tree.Config.Zones {
		paths = append(paths, s.tree.Config.SourcePath(s.tree.Config.Zones[i].SOA))
	}
	return outside(paths)
}

// primaryPaths are primary/, and files elsewhere that zones are made of.
func (s *site) primaryPaths() []string {
	paths := []string{s.tree.Config.Paths.Primary}
	soa, err := filepath.Abs(s.tree.Config.Paths.SOA)
	for path := range s.index {
		if err != nil || !under(path, soa) {
			paths = append(paths, path)
		}
	}
	return outside(paths)
}

// outside leaves out, behind the first, which is a directory, what lies in it.
func outside(paths []string) []string {
	dir, err := filepath.Abs(paths[0])
	if err != nil {
		return paths
	}
	out := []string{paths[0]}
	for _, path := range paths[1:] {
		if abs, err := filepath.Abs(path); err != nil || !under(abs, dir) {
			out = append(out, path)
		}
	}
	slices.Sort(out[1:])
	return slices.Compact(out)
}

func under(path, dir string) bool { return strings.HasPrefix(path, dir+string(filepath.Separator)) }

// follow reports whether files that zones include lie outside primary/, so that
// they are to be watched by name.
func (s *site) follow() bool { return len(s.primaryPaths()) > 1 }

// checkouts are what is held back while others change it.
func (s *site) checkouts() []watch.Checkout {
	c := s.tree.Config
	tree := watch.Checkout{Name: checkoutTree, Locked: s.locks()}
	var list []watch.Checkout
	var steps []*updater
	for _, name := range slices.Sorted(maps.Keys(c.Sources)) {
		src := c.Sources[name]
		if src.Update == nil {
			continue
		}
		u := &updater{name: name, dir: c.Tree, update: src.Update, revision: src.Revision, log: s.Log}
		if checkoutOf(name) == checkoutTree {
			steps = append(steps, u)
			if tree.Every == 0 || src.Interval < tree.Every {
				tree.Every = src.Interval
			}
			continue
		}
		list = append(list, watch.Checkout{Name: name, Updater: u, Every: src.Interval})
	}
	if s.follower != nil && tree.Every == 0 {
		tree.Every = config.Interval
	}
	if len(steps) > 0 || s.follower != nil {
		tree.Updater = &updaters{steps, s.follower}
	}
	return append(list, tree)
}

// locks looks for locks where sources are read: an exported revision has none.
func (s *site) locks() func() string {
	c := s.tree.Config
	if c.Revision == nil {
		return watch.VCSLock(c.Tree, c.Paths.SOA, c.Paths.Primary)
	}
	var paths []string
	for _, path := range []string{c.Paths.SOA, c.Paths.Primary} {
		if !c.InRevision(path) {
			paths = append(paths, path)
		}
	}
	if paths == nil {
		return nil
	}
	return watch.VCSLock(paths...)
}

// look compares a source with what it was.
func (s *site) look(ctx context.Context, source string, full bool) watch.Sight {
	switch source {
	case sourceOut:
		return s.lookPublished()
	case sourceServed:
		return s.lookServed(ctx)
	case sourceLooked:
		return s.woken.take()
	}
	return s.eyes.Look(ctx, source, full)
}

// concerns says what a change means.
func (s *site) concerns(c watch.Change) watch.Effect {
	base := filepath.Base(c.Path)
	switch {
	case c.Source == sourceConfig:
		return watch.Effect{Reload: true}
	case c.Source == sourceSOA, c.Source == sourcePrimary:
		return s.ofFragment(c)
	case c.Source == sourceState:
		return s.ofState(c.Path)
	case c.Source == sourceCerts:
		return s.ofCert(c.Path)
	case c.Source == sourceOut, c.Source == sourceServed, c.Source == sourceLooked:
		return s.ofZone(base)
	case c.Source == sourceKeys:
		name, _, _ := strings.Cut(strings.TrimPrefix(base, "K"), "+")
		return s.ofZone(strings.TrimSuffix(name, "."))
	case c.Source == sourceSSHFP, strings.HasPrefix(c.Source, sourceBox):
		owner, _, _ := strings.Cut(base, "+")
		return s.ofOwner(owner)
	}
	return watch.Effect{All: true}
}

// ofFragment: a file that appears in soa/ or goes may be a zone that does.
func (s *site) ofFragment(c watch.Change) watch.Effect {
	s.mu.Lock()
	zones := slices.Clone(s.index[c.Path])
	s.mu.Unlock()
	if soa, err := filepath.Abs(s.tree.Config.Paths.SOA); c.Source == sourceSOA && err == nil && filepath.Dir(c.Path) == soa {
		if known := len(zones) > 0; !known && c.Kind == watch.Appeared || known && c.Kind == watch.Vanished {
			return watch.Effect{Zones: zones, Reload: true}
		}
	}
	if len(zones) == 0 {
		return watch.Effect{All: true} // a directory, or a file that is missed somewhere
	}
	return watch.Effect{Zones: zones}
}

// ofState: an approval, a pass of `build`, or a zone that was retired. What was
// confirmed of a zone is its parent's business, too; what somebody said of its
// rollovers is not.
func (s *site) ofState(path string) watch.Effect {
	apex, err := domain.FromFileName(strings.TrimSuffix(filepath.Base(path), ".json"))
	if err != nil || !s.known[apex] {
		return watch.Effect{}
	}
	e := watch.Effect{Zones: []domain.Name{apex}}
	if filepath.Base(filepath.Dir(path)) == "tlsa" {
		return e
	}
	e.Reload = s.tree.Config.Find(apex) == nil
	if parent := s.parent(apex); parent != (domain.Name{}) {
		e.Zones = append(e.Zones, parent)
	}
	return e
}

// ofCert: the zones whose lines of certs.map name a file of certs/. One that no line
// names may be what a link leads to.
func (s *site) ofCert(path string) watch.Effect {
	s.mu.Lock()
	defer s.mu.Unlock()
	if zones := s.certs[path]; len(zones) > 0 {
		return watch.Effect{Zones: slices.Clone(zones)}
	}
	return watch.Effect{All: true}
}

func (s *site) ofZone(file string) watch.Effect {
	apex, err := domain.FromFileName(file)
	if err != nil || !s.known[apex] {
		return watch.Effect{All: true}
	}
	return watch.Effect{Zones: []domain.Name{apex}}
}

// ofOwner: the zone that an owner name lies in, which names the file.
func (s *site) ofOwner(file string) watch.Effect {
	n, err := domain.Parse(file)
	if err != nil {
		return watch.Effect{All: true}
	}
	for ; ; n = n.Parent() {
		if s.tree.Config.Find(n) != nil {
			return watch.Effect{Zones: []domain.Name{n}}
		}
		if n == domain.Root {
			return watch.Effect{All: true}
		}
	}
}
