package build

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"zonebuild/internal/cli"
	"zonebuild/internal/config"
	"zonebuild/internal/diag"
	"zonebuild/internal/dnssec"
	"zonebuild/internal/domain"
	"zonebuild/internal/durable"
	"zonebuild/internal/guard"
	"zonebuild/zone"
)

// Check compiles zones and returns every fault, those of their public keys too; it
// writes nothing.
func (t *Tree) Check(ctx context.Context, names []domain.Name, now time.Time) (diag.List, error) {
	zones, err := t.choose(names)
	if err != nil {
		return nil, err
	}
	if err := t.scanBoxes(ctx, now, false); err != nil {
		return nil, err
	}
	all, _ := t.boxFaults()
	for _, z := range zones {
		_, _, faults := t.compile(z)
		all = append(all, faults...)
		if z.Policy.Signed() {
			_, faults = dnssec.LoadKeys(t.keys, z.Name, dnssec.LoadOptions{PublicOnly: true})
			all = append(all, faults...)
		}
	}
	all.Sort()
	return all, nil
}

// Difference is what publishing the sources of a zone would change.
type Difference struct {
	Zone        domain.Name     `json:"zone"`
	Changes     []zone.Change   `json:"changes"`
	Refusals    []guard.Finding `json:"refusals,omitempty"`
	Diagnostics diag.List       `json:"diagnostics,omitempty"`
}

// Diff compares the sources of zones with their last good records.
func (t *Tree) Diff(ctx context.Context, names []domain.Name, o Options) ([]Difference, error) {
	zones, err := t.choose(names)
	if err != nil {
		return nil, err
	}
	o.DryRun = true
	if err := t.scanBoxes(ctx, o.Now, false); err != nil {
		return nil, err
	}
	p := &pass{ctx: ctx, tree: t, o: o, mounted: t.notMounted()}
	out := []Difference{}
	for _, z := range zones {
		d := Difference{Zone: z.Name}
		j := p.start(z)
		j.head = t.readHead(z.Name)
		p.readBack(j)
		is, src, faults := t.compile(z)
		d.Diagnostics = faults
		if is != nil {
			var was *zone.Zone
			if j.prev != nil {
				was = j.prev.Zone
			}
			d.Changes = zone.Diff(was, is)
			j.input = src.input
			d.Refusals = p.preCheck(j, is, src)
		}
		out = append(out, d)
	}
	return out, nil
}

// ZoneStatus is what is known of a zone now.
type ZoneStatus struct {
	Zone       domain.Name `json:"zone"`
	InTree     bool        `json:"in_tree"`
	Serial     uint32      `json:"serial,omitempty"`
	Published  time.Time   `json:"published,omitzero"`
	Confirmed  bool        `json:"confirmed"`
	Records    int         `json:"records"`
	Signatures int         `json:"signatures"`
	Oldest     time.Time   `json:"oldest_expiration,omitzero"`
	Keys       []KeyStatus `json:"keys,omitempty"`
	Alarms     []Alarm     `json:"alarms,omitempty"`
	Refused    []Refusal   `json:"refused,omitempty"`
	Next       string      `json:"next"` // what happens next
	NextAt     time.Time   `json:"next_at,omitzero"`
}

// KeyStatus is one key of a zone.
type KeyStatus struct {
	Tag       uint16 `json:"tag"`
	Algorithm uint8  `json:"algorithm"`
	Role      string `json:"role"` // KSK, ZSK or CSK
	Published bool   `json:"published"`
	Signs     bool   `json:"signs"`
}

// Status reports on zones; with no names, on all zones of the tree and on those
// that are still published but are no longer in it.
func (t *Tree) Status(names []domain.Name, now time.Time) ([]ZoneStatus, error) {
	zones, err := t.choose(names)
	if err != nil {
		return nil, err
	}
	out := []ZoneStatus{}
	for _, z := range zones {
		s := t.published(z.Name, now)
		if s.InTree = t.Config.Find(z.Name) != nil; !s.InTree {
			s.Next += "; it is not in the tree (zonebuild retire " + z.Name.String() + ")"
		}
		if z.Policy.Sign == config.SignTrue {
			keys, faults := dnssec.LoadKeys(t.keys, z.Name, dnssec.LoadOptions{})
			if faults.HasErrors() {
				s.Alarms = append(s.Alarms, Alarm{Code: "keys", Message: faults[0].String(), Since: now})
			}
			for i := range keys {
				s.Keys = append(s.Keys, keyStatus(&keys[i]))
			}
		}
		out = append(out, s)
	}
	return out, nil
}

func keyStatus(k *dnssec.Key) KeyStatus {
	role := "ZSK"
	switch {
	case k.KSK && k.ZSK:
		role = "CSK"
	case k.KSK:
		role = "KSK"
	}
	return KeyStatus{k.Tag, k.DNSKEY.Algorithm, role, k.Published, k.SignsZone || k.SignsKeys}
}

func (t *Tree) published(apex domain.Name, now time.Time) ZoneStatus {
	s := ZoneStatus{Zone: apex}
	state, err := t.loadState(apex)
	if err != nil {
		s.Alarms = append(s.Alarms, Alarm{Code: "state-damaged", Message: err.Error(), Since: now})
	}
	s.Alarms = append(s.Alarms, state.Alarms...)
	s.Refused = state.Refused
	head := t.readHead(apex)
	if head.err != nil {
		s.Next = "the next build publishes it"
		if head.exists {
			s.Alarms = append(s.Alarms, Alarm{Code: "signed-damaged", Message: fmt.Sprintf("signed/: %s", head.err), Since: now})
		}
		return s
	}
	s.Serial, s.Published = head.serial, state.Published
	s.Confirmed = state.Confirmed && state.Serial == head.serial
	prev, _, err := t.readPublished(apex, t.PublishedPath(apex))
	if err != nil {
		s.Alarms = append(s.Alarms, Alarm{Code: "signed-damaged", Message: err.Error(), Since: now})
		prev, err = t.Previous(apex)
	}
	if err == nil {
		s.Records, s.Signatures = prev.Counts()
		if e, ok := prev.OldestExpiration(now.Unix()); ok {
			s.Oldest = time.Unix(e, 0).UTC()
		}
	}
	switch {
	case !s.Confirmed:
		s.Next = "the next build asks the name server again"
	case !head.header.Next.IsZero():
		s.Next, s.NextAt = "signatures are made anew", head.header.Next
	default:
		s.Next = "nothing until the records change"
	}
	return s
}

// orphans are published zones that are not in the tree.
func (t *Tree) orphans() []domain.Name {
	var out []domain.Name
	for _, dir := range []string{t.Config.Paths.Signed, t.Config.Paths.Unsigned} {
		entries, err := os.ReadDir(dir)
		if err != nil {
			continue
		}
		for _, e := range entries {
			apex, err := domain.FromFileName(e.Name())
			if strings.HasPrefix(e.Name(), ".") || err != nil || t.Config.Find(apex) != nil ||
				t.PublishedPath(apex) != filepath.Join(dir, e.Name()) || t.readHead(apex).err != nil {
				continue
			}
			out = append(out, apex)
		}
	}
	return out
}

// Approve lets the candidate that a guard refused through, once. Errors: the
// guard has no override, or has refused nothing.
func (t *Tree) Approve(ctx context.Context, apex domain.Name, code string, now time.Time) (Refusal, error) {
	if t.Config.Find(apex) == nil {
		return Refusal{}, cli.Usagef("zone %s is not in the tree", apex)
	}
	i := slices.IndexFunc(guard.Table(), func(g guard.Guard) bool { return g.Code == code })
	switch {
	case code == "load-failed":
	case i < 0:
		return Refusal{}, cli.Usagef("there is no guard %q (docs/guards.md lists them)", code)
	case !guard.Table()[i].Override:
		return Refusal{}, cli.Usagef("guard %s has no override", code)
	}
	var approved Refusal
	err := t.withState(ctx, apex, func(s *State) error {
		if code == "load-failed" {
			if s.FailedInput == "" {
				return fmt.Errorf("approve %s %s: no input is held back", apex, code)
			}
			approved = Refusal{Guard: code, Candidate: s.FailedInput, Message: "the input is tried again", At: now}
			s.FailedInput = ""
			return nil
		}
		i := slices.IndexFunc(s.Refused, func(r Refusal) bool { return r.Guard == code })
		if i < 0 {
			return fmt.Errorf("approve %s %s: the guard has not refused this zone", apex, code)
		}
		approved = s.Refused[i]
		s.Approved = append(s.Approved, Refusal{code, approved.Candidate, approved.Message, now.UTC()})
		return nil
	})
	return approved, err
}

// withState changes the state of a zone under its lock.
func (t *Tree) withState(ctx context.Context, apex domain.Name, f func(*State) error) error {
	if err := t.makeDirs(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, lockWait)
	defer cancel()
	lock, err := durable.LockWait(ctx, t.lockPath(apex))
	if err != nil {
		return fmt.Errorf("lock %s: %w", apex, err)
	}
	defer lock.Unlock()
	s, err := t.loadState(apex)
	if err != nil {
		return err
	}
	if err := f(s); err != nil {
		return err
	}
	return t.saveState(apex, s)
}

func (t *Tree) lockPath(apex domain.Name) string {
	return filepath.Join(t.Config.Paths.State, apex.FileName()+".lock")
}

// Retire takes a zone that is no longer in the tree out of publication. Its
// last file is kept in state/retired/, its keys are left alone. Errors: the zone is
// still in the tree, or was never published.
func (t *Tree) Retire(ctx context.Context, apex domain.Name) (kept string, err error) {
	if t.Config.Find(apex) != nil {
		return "", fmt.Errorf("retire %s: it is still in the tree, remove it from there first", apex)
	}
	name := apex.FileName()
	signed := t.PublishedPath(apex)
	head := t.readHead(apex)
	if !head.exists {
		return "", fmt.Errorf("retire %s: it is not published", apex)
	}
	dir := filepath.Join(t.Config.Paths.State, "retired")
	if err := t.makeDirs(); err != nil {
		return "", err
	}
	if err := durable.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	lock, err := durable.TryLock(t.lockPath(apex))
	if err != nil {
		return "", fmt.Errorf("lock %s: %w", apex, err)
	}
	defer lock.Unlock()
	kept = filepath.Join(dir, fmt.Sprintf("%s.%d", name, head.serial))
	if err := durable.Link(signed, kept); err != nil {
		return "", fmt.Errorf("keep the last zone: %w", err)
	}
	for _, path := range []string{signed, t.unsignedPath(apex), t.lastGoodPath(apex), t.statePath(apex)} {
		if err := durable.Remove(path); err != nil {
			return kept, err
		}
	}
	return kept, nil
}
