package build

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
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
	full  map[domain.Name]string          // zones that a box which is too full concerns: what it says
	news  bool                            // the faults differ from those of the last pass
	dirs  map[string]bool                 // boxes that are there
}

// scanBoxes reads the drop boxes once per pass. With keep set, first sights are
// remembered: a challenge's age counts from there, whatever its file says. A
// state that cannot be read is begun anew.
func (t *Tree) scanBoxes(ctx context.Context, now time.Time, keep bool) error {
	c := &challenges{live: map[domain.Name][]dnsextra.Seen{}, full: map[domain.Name]string{}, dirs: map[string]bool{}}
	for _, b := range t.Config.DropBoxes {
		c.boxes = append(c.boxes, dnsextra.Box{
			Dir: b.Path, Names: b.Names, Aliases: b.Aliases, TTL: uint32(b.TTL / time.Second),
			MaxValues: b.MaxValues, MaxAge: b.MaxAge, Owner: b.Owner, Marker: b.Marker, Report: b.Report, MayHide: b.MayHide, Away: t.isAway("dnsextra"),
		})
	}
	dir := filepath.Join(t.Config.Paths.State, "drop-boxes")
	path := filepath.Join(dir, "seen.json")
	if t.hasBoxes(c, path) && keep {
		if err := durable.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		lock, err := t.lockScan(ctx, filepath.Join(dir, "lock"))
		if err != nil {
			return fmt.Errorf("lock the drop boxes: %w", err)
		}
		if lock != nil {
			defer lock.Unlock()
		}
		keep = lock != nil
	}
	var was boxState
	old, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(old, &was)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		was = boxState{}
	}
	c.set = t.readBoxes(c.boxes, was.Seen, now)
	if last := t.challenges; t.isAway("dnsextra") && last != nil { // nobody looked: they are not over
		c.set.Faults = last.set.Faults
	}
	t.challenges = c
	c.share(t)
	c.findFull(t)
	is := boxState{Seen: c.set.Seen, Faults: faultDigest(c.set.Faults)}
	c.news = is.Faults != was.Faults && (keep || t.beside == nil)
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

// share gives each challenge to its zone: the longest match of those of the tree, and of
// those that are published all the same, whose sources may only be away.
func (c *challenges) share(t *Tree) {
	if len(c.set.Live) == 0 {
		return
	}
	listing := t.beside.does("list what is published")
	orphans := map[domain.Name]bool{}
	for _, apex := range t.orphans() {
		orphans[apex] = true
	}
	listing()
	for _, e := range c.set.Live {
		for n := e.Owner; ; n = n.Parent() {
			if orphans[n] || t.Config.Find(n) != nil {
				c.live[n] = append(c.live[n], e)
				break
			}
			if n == domain.Root {
				break
			}
		}
	}
}

// lockScan takes a lock that others hold for the time of a scan. A daemon does not wait
// for one who hangs, and has no lock then: what it finds it does not note, until it has.
func (t *Tree) lockScan(ctx context.Context, path string) (*durable.Lock, error) {
	wait := lockWait
	if t.beside != nil {
		wait = scanWait
	}
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	lock, err := durable.LockWait(ctx, path)
	if t.beside != nil && errors.Is(err, durable.ErrLocked) {
		return nil, nil
	}
	return lock, err
}

// scanWait is how long a daemon waits for another process that reads what it wants to
// read itself.
const scanWait = 2 * time.Second

// readBoxes reads the boxes side by side: one that hangs keeps no other from being read.
func (t *Tree) readBoxes(boxes []dnsextra.Box, seen []dnsextra.Seen, now time.Time) *dnsextra.Set {
	sets := make([]*dnsextra.Set, len(boxes))
	sideBySide(len(boxes), len(boxes), func(i int) {
		one := boxes[i : i+1 : i+1]
		var err error
		sets[i], err = hearSteps(t.beside.ear("dir "+one[0].Dir), func(step func()) (*dnsextra.Set, error) {
			heard := slices.Clone(one)
			heard[0].Step = step
			return dnsextra.Scan(heard, seen, now), nil
		}, nil)
		if err != nil {
			away := slices.Clone(one)
			away[0].Away = true
			sets[i] = dnsextra.Scan(away, seen, now)
			sets[i].Faults.Warnf(diag.Pos{File: one[0].Dir}, "box-unreadable", "", "list the drop box: %s", err)
		}
	})
	return dnsextra.Join(now, sets...)
}

// findFull says which zones an overfull box concerns: those with challenges in
// it, or, when it has none that stand, the first of the tree, so that somebody is
// told.
func (c *challenges) findFull(t *Tree) {
	for _, f := range c.set.Faults {
		if f.Code != "box-full" {
			continue
		}
		concerned := false
		for apex, list := range c.live {
			if slices.ContainsFunc(list, func(e dnsextra.Seen) bool { return e.Box == f.Pos.File }) {
				c.full[apex], concerned = f.Pos.File+": "+f.Message, true
			}
		}
		if !concerned && len(t.Config.Zones) > 0 {
			c.full[t.Config.Zones[0].Name] = f.Pos.File + ": " + f.Message
		}
	}
}

// report writes for each box what was refused of it. What zones that were not
// compiled in this pass refused before still holds. A report that does not answer is
// passed over: what is refused of files is told when it does.
func (t *Tree) report(results []Result, now time.Time) error {
	for i := range t.challenges.boxes {
		b := &t.challenges.boxes[i]
		if b.Report == "" {
			continue
		}
		e := t.beside.ear("file " + b.Report)
		old, err := hear(e, func() ([]byte, error) { return readReport(b.Report), nil }, nil)
		if err != nil {
			continue
		}
		was := dnsextra.ParseReport(old)
		is := dnsextra.Report{Time: was.Time, Refused: t.refused(b.Dir, was, results)}
		if was.Refused != nil && slices.Equal(is.Refused, was.Refused) {
			continue
		}
		is.Time = now.UTC()
		text, err := json.MarshalIndent(is, "", "  ")
		if err != nil {
			return fmt.Errorf("encode a report: %w", err)
		}
		_, err = hear(e, func() (any, error) {
			return nil, durable.WriteFile(b.Report, append(text, '\n'), durable.Options{Mode: 0o644})
		}, nil)
		if err != nil && !errors.Is(err, errMute) {
			return fmt.Errorf("report to the drop box: %w", err)
		}
	}
	return nil
}

func readReport(path string) []byte {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil // it is written anew
	}
	return b
}

func (t *Tree) refused(box string, was dnsextra.Report, results []Result) []dnsextra.Refused {
	out := []dnsextra.Refused{}
	add := func(f diag.Diagnostic) {
		if filepath.Dir(f.Pos.File) == box {
			out = append(out, dnsextra.Refused{File: filepath.Base(f.Pos.File), Code: f.Code, Message: f.Message})
		}
	}
	for _, f := range t.challenges.set.Faults {
		add(f)
	}
	compiled := map[domain.Name]bool{}
	for i := range results {
		if compiled[results[i].Zone] = results[i].compiled; !results[i].compiled {
			continue
		}
		for _, f := range results[i].Diagnostics {
			if f.Code == "guest-dropped" {
				add(f)
			}
		}
	}
	for apex, list := range t.challenges.live {
		for _, e := range list {
			if old, ok := was.Find(e.File); ok && !compiled[apex] && e.Box == box && old.Code == "guest-dropped" {
				out = append(out, old)
			}
		}
	}
	slices.SortFunc(out, func(a, b dnsextra.Refused) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Message, b.Message))
	})
	return slices.Compact(out)
}

// hasBoxes finds out which drop boxes there are, and reports whether there is anything to
// lock: a box, or what is remembered of one.
func (t *Tree) hasBoxes(c *challenges, state string) bool {
	var mu sync.Mutex
	any := false
	sideBySide(len(c.boxes), len(c.boxes), func(i int) {
		path := c.boxes[i].Dir
		dir, there := isDir(t.beside.ear("dir "+path), path)
		mu.Lock()
		defer mu.Unlock()
		c.dirs[path], any = dir, any || there
	})
	_, err := os.Lstat(state)
	return any || err == nil
}

// guests are the challenges of a zone.
func (t *Tree) guests(apex domain.Name, _ []zone.Fragment) ([]zone.Fragment, diag.List) {
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
