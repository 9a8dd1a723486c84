package build

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"zonebuild/dnsextra"
	"zonebuild/internal/diag"
	"zonebuild/internal/domain"
	"zonebuild/internal/durable"
	"zonebuild/zone"
)

// boxState is what state/drop-boxes/seen.json holds.
type boxState struct {
	Seen   []dnsextra.Seen `json:"seen"`
	Faults string          `json:"faults,omitempty"` // digest of the faults last told
}

// challenges are the accepted files of the drop boxes in one pass.
type challenges struct {
	boxes []dnsextra.Box
	set   *dnsextra.Set
	live  map[domain.Name][]dnsextra.Seen // by zone
	news  bool                            // the faults differ from those of the last pass
}

// scanBoxes reads the drop boxes once per pass. With keep set, first sights are
// remembered: a challenge's age counts from there, whatever its file says. A
// state that cannot be read is begun anew.
func (t *Tree) scanBoxes(ctx context.Context, now time.Time, keep bool) error {
	c := &challenges{live: map[domain.Name][]dnsextra.Seen{}}
	for _, b := range t.Config.DropBoxes {
		c.boxes = append(c.boxes, dnsextra.Box{
			Dir: b.Path, Names: b.Names, Aliases: b.Aliases, TTL: uint32(b.TTL / time.Second),
			MaxValues: b.MaxValues, MaxAge: b.MaxAge, Owner: b.Owner, Marker: b.Marker, MayHide: b.MayHide,
		})
	}
	t.challenges = c
	dir := filepath.Join(t.Config.Paths.State, "drop-boxes")
	path := filepath.Join(dir, "seen.json")
	if keep && t.hasBoxes(path) {
		if err := durable.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(ctx, lockWait)
		defer cancel()
		lock, err := durable.LockWait(ctx, filepath.Join(dir, "lock"))
		if err != nil {
			return fmt.Errorf("lock the drop boxes: %w", err)
		}
		defer lock.Unlock()
	}
	var was boxState
	old, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(old, &was)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		was = boxState{}
	}
	c.set = dnsextra.Scan(c.boxes, was.Seen, now)
	for _, e := range c.set.Live {
		if apex, ok := t.zoneOf(e.Owner); ok {
			c.live[apex] = append(c.live[apex], e)
		}
	}
	is := boxState{Seen: c.set.Seen, Faults: faultDigest(c.set.Faults)}
	c.news = is.Faults != was.Faults
	if !keep || len(is.Seen) == 0 && is.Faults == "" && old == nil {
		return nil
	}
	b, err := json.MarshalIndent(is, "", "  ")
	if err != nil {
		return fmt.Errorf("encode the state of the drop boxes: %w", err)
	}
	if b = append(b, '\n'); bytes.Equal(b, old) {
		return nil
	}
	return durable.WriteFile(path, b, t.stateMode())
}

// hasBoxes reports whether there is anything to lock: a drop box, or what is
// remembered of one.
func (t *Tree) hasBoxes(state string) bool {
	for _, b := range t.Config.DropBoxes {
		if _, err := os.Lstat(b.Path); err == nil {
			return true
		}
	}
	_, err := os.Lstat(state)
	return err == nil
}

// guests are the challenges of a zone.
func (t *Tree) guests(apex domain.Name) ([]zone.Fragment, diag.List) {
	c := t.challenges
	if c == nil {
		return nil, nil
	}
	return c.set.Fragments(c.live[apex]), nil
}

// zoneOf is the zone of the tree that a name belongs to: the longest match.
func (t *Tree) zoneOf(name domain.Name) (domain.Name, bool) {
	for n := name; ; n = n.Parent() {
		if t.Config.Find(n) != nil {
			return n, true
		}
		if n == domain.Root {
			return n, false
		}
	}
}

// boxFaults are the files that were left out.
func (t *Tree) boxFaults() (faults diag.List, news bool) {
	if t.challenges == nil {
		return nil, false
	}
	return slices.Clone(t.challenges.set.Faults), t.challenges.news
}
