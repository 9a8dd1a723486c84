package build

import (
	"maps"
	"slices"
	"time"

	"zonebuild/internal/config"
	"zonebuild/internal/diag"
	"zonebuild/internal/domain"
	"zonebuild/primary"
	"zonebuild/soa"
	"zonebuild/zone"
)

// After is what a daemon has to know of a zone when a pass is over.
type After struct {
	Serial      uint32      // published; 0 = none
	Confirmed   bool        // it was seen served, or there is nobody to ask
	Elsewhere   bool        // others sign it, and give it serials of their own
	Unconfirmed bool        // it was asked for in this pass, in vain
	Asked       bool        // it is being asked for, beside the passes: Beside.Wake tells when the outcome is known
	Published   time.Time   // when; zero = unknown
	Due         time.Time   // of the first signature that is to be made anew; zero = never
	Expires     time.Time   // when the first challenge is dropped, or a rollover is to be moved on; zero = never
	Oldest      time.Time   // expiration of the first signature; zero = unknown, or unsigned
	Files       []FileAfter // that the pass may have written, as it left them
	Sources     []string    // files that the zone was last made of, as Tree.Path takes them; nil = unknown
	Certs       []string    // files of certs/ that its lines of certs.map name, present or not
	TLSA        []TLSAAfter // its rollovers
	Alarms      []Alarm     // that stand
	Over        []Alarm     // that do no more, which alarm-command does not know
}

// FileAfter is a file as a pass left it.
type FileAfter struct {
	Path string
	FileID
}

// after notes it under the lock of the zone: whatever another process writes from
// now on is news.
func (p *pass) after(j *job) {
	t := p.tree
	a := t.afterOf(j.z.Name, t.readHead(j.z.Name), j.state)
	a.Unconfirmed, a.Asked = j.res.After.Unconfirmed, j.res.After.Asked
	a.TLSA, a.Certs = p.rollersAfter(j)
	for _, r := range a.TLSA {
		a.Expires = soonest(a.Expires, r.Next)
	}
	for _, path := range []string{t.statePath(j.z.Name), t.tlsaPath(j.z.Name), t.PublishedPath(j.z.Name)} {
		a.Files = append(a.Files, FileAfter{path, fileID(path)})
	}
	j.res.After = a
}

// findOldest reads the first expiration from a file of which the state does not
// know it: it is older than that part of the state, or the state was lost.
func (p *pass) findOldest(j *job) {
	if head := p.tree.readHead(j.z.Name); !j.state.Signed || !j.state.Oldest.IsZero() || head.err != nil || head.header.Next.IsZero() {
		return
	}
	if prev, _, err := p.tree.readPublished(j.z.Name, p.tree.PublishedPath(j.z.Name)); err == nil {
		if first, _, ok := prev.Expirations(j.now); ok {
			j.state.Oldest = first.UTC()
		}
	}
}

// expires is when the first live challenge of a zone grows too old; zero = never.
func (c *challenges) expires(apex domain.Name) (first time.Time) {
	if c == nil {
		return first
	}
	for _, e := range c.live[apex] {
		for i := range c.boxes {
			if b := &c.boxes[i]; b.Dir == e.Box {
				first = soonest(first, e.Since.Add(b.MaxAge))
			}
		}
	}
	return first
}

// Keep has the tree keep what it reads in soa/ and primary/, and large published
// zones: a pass parses only those files anew that are others, and one with
// Options.Held reads none of the sources.
func (t *Tree) Keep() {
	t.kept, t.last = map[domain.Name]*sources{}, &lastRead{files: map[string]fileRead{}}
	t.holding = &holding{zones: map[domain.Name]heldZone{}, hosts: map[domain.Name]*zone.Host{}}
}

// hostSources are the fragments in soa/ and primary/, read or kept.
func (t *Tree) hostSources(z *config.Zone) *sources {
	if t.kept == nil {
		return t.readHost(z, nil)
	}
	t.keptMu.Lock()
	k := t.kept[z.Name]
	looked := k != nil && k.pass == t.passes
	t.keptMu.Unlock()
	switch {
	case t.held && k == nil:
		return &sources{absent: true}
	case t.held, looked, k != nil && t.same(k):
	default:
		deaf := t.files.ear.deaf()
		fresh := t.readWhole(z, k)
		if fresh != nil && fresh.faults.HasErrors() && t.files.ear.deaf() != deaf {
			fresh = nil // it does not answer
		}
		switch {
		case fresh == nil && k == nil:
			return &sources{absent: true}
		case fresh != nil:
			k = fresh
		}
	}
	t.keptMu.Lock()
	k.pass = t.passes
	t.kept[z.Name] = k
	t.keptMu.Unlock()
	c := *k
	c.fragments, c.faults = slices.Clip(slices.Clone(k.fragments)), slices.Clip(slices.Clone(k.faults))
	return &c
}

// wholeTries bounds the readings of sources that somebody is changing.
const wholeTries = 3

// readWhole reads soa/ and primary/ as they were at one instant: all that was read is
// there once more behind it, and nobody has begun to change the checkout meanwhile. nil
// when that does not come about: then it is half of a revision, and its change is news
// to come.
func (t *Tree) readWhole(z *config.Zone, kept *sources) *sources {
	was := t.readHost(z, kept)
	for range wholeTries {
		if t.isMoving() {
			return nil
		}
		if t.same(was) {
			return was
		}
		again := t.readHost(z, was)
		if was.faults.HasErrors() && faultDigest(again.faults) == faultDigest(was.faults) && !t.isMoving() {
			return again // it is the author's fault, not one of the moment
		}
		was = again
	}
	return nil
}

// same reports whether the files still hold what was read of them.
func (t *Tree) same(k *sources) bool {
	if k.faults.HasErrors() {
		return false // it may be one of a file that could not be read
	}
	for i := range k.fragments {
		f := &k.fragments[i]
		for _, file := range f.Files {
			src, err := zone.ReadFile(t.files, file.Name)
			if err != nil || f.Held() && !f.Holds(src) || !f.Held() && zone.Digest(src) != file.Digest {
				return false
			}
		}
	}
	return true
}

func (s *sources) files() (out []zone.Source) {
	for _, f := range s.fragments {
		out = append(out, f.Files...)
	}
	return out
}

// readHost reads and parses the fragments in soa/ and primary/. Of large ones that
// were kept it parses what changed.
func (t *Tree) readHost(z *config.Zone, kept *sources) *sources {
	s := &sources{}
	take := func(f zone.Fragment, faults diag.List) int {
		s.fragments, s.faults = append(s.fragments, kept.again(f)), append(s.faults, faults...)
		return recordsOf(f)
	}
	s.hostRecords = take(soa.Load(t.files, z.SOA, z.Name))
	primaryRecords := 0
	for _, file := range z.Primary {
		primaryRecords += take(t.loadPrimary(z, file, kept))
	}
	s.hostRecords += primaryRecords
	s.primaryEmpty = len(z.Primary) > 0 && primaryRecords == 0 && !s.faults.HasErrors()
	return s
}

// again gives the fragment that is kept if it was made of the same files: so it is known
// to be the same.
func (s *sources) again(f zone.Fragment) zone.Fragment {
	if s == nil {
		return f
	}
	i := slices.IndexFunc(s.fragments, func(k zone.Fragment) bool { return k.Name == f.Name && slices.Equal(k.Files, f.Files) })
	if i < 0 || len(f.Files) == 0 {
		return f
	}
	return s.fragments[i]
}

func (t *Tree) loadPrimary(z *config.Zone, file string, kept *sources) (zone.Fragment, diag.List) {
	if t.kept == nil {
		return primary.Load(t.files, file, z.Name)
	}
	var was *zone.Fragment
	if kept != nil {
		if i := slices.IndexFunc(kept.fragments, func(f zone.Fragment) bool { return f.Name == file && f.Held() }); i >= 0 {
			was = &kept.fragments[i]
		}
	}
	return primary.LoadAgain(t.files, file, z.Name, was)
}

// KeepOf takes over what another opening of the same tree has kept, of zones that are
// made of the same files: so long as the checkout is held, it stands. None of the two
// builds meanwhile.
func (t *Tree) KeepOf(old *Tree) {
	t.holding = old.holding // a file is known by its identity
	t.keepParts(old)
	for apex, k := range old.kept {
		was, is := old.Config.Find(apex), t.Config.Find(apex)
		if was != nil && is != nil && was.SOA == is.SOA && slices.Equal(was.Primary, is.Primary) && old.Config.Tree == t.Config.Tree {
			again := *k
			again.pass = 0 // of this opening, none has looked at it
			t.kept[apex] = &again
		}
	}
}

// Published are the zones that the tree has and those that are published all the
// same.
func (t *Tree) Published() []domain.Name {
	out := map[domain.Name]bool{}
	for _, apex := range t.orphans() {
		out[apex] = true
	}
	for i := range t.Config.Zones {
		out[t.Config.Zones[i].Name] = true
	}
	return slices.SortedFunc(maps.Keys(out), domain.Name.Compare)
}
