package build

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"zonebuild/internal/domain"
	"zonebuild/internal/durable"
)

// orphans are zones that are not in the tree but are published, or were and were
// never retired: whatever of their files is left tells.
func (t *Tree) orphans() []domain.Name {
	var out []domain.Name
	add := func(dir, name, file string) {
		apex, err := domain.FromFileName(file)
		if strings.HasPrefix(file, ".") || err != nil || t.Config.Find(apex) != nil || slices.Contains(out, apex) {
			return
		}
		if info, err := os.Lstat(filepath.Join(dir, name)); err != nil || !info.Mode().IsRegular() || !t.wasPublished(apex) {
			return
		}
		if s, _ := t.loadState(apex); s.Retired {
			return
		}
		out = append(out, apex)
	}
	for _, dir := range []string{t.Config.Paths.Signed, t.Config.Paths.Unsigned, t.lastGoodDir()} {
		for _, name := range fileNames(dir) {
			add(dir, name, name)
		}
	}
	for _, name := range fileNames(t.Config.Paths.State) {
		if file, ok := strings.CutSuffix(name, ".json"); ok {
			add(t.Config.Paths.State, name, file)
		}
	}
	slices.SortFunc(out, domain.Name.Compare)
	return out
}

// fileNames are the names in a directory, in no order.
func fileNames(dir string) []string {
	f, err := os.Open(dir)
	if err != nil {
		return nil
	}
	defer f.Close()
	names, err := f.Readdirnames(-1)
	if err != nil {
		return nil
	}
	return names
}

// wasPublished reports whether a file of ours holds the zone, or its state says
// that one did.
func (t *Tree) wasPublished(apex domain.Name) bool {
	if t.readHead(apex).err == nil || readHead(apex, t.lastGoodPath(apex)).err == nil {
		return true
	}
	s, err := t.loadState(apex)
	return err != nil || s.Serial != 0
}

// Forgetter is the name server, as far as Retire needs it.
type Forgetter interface {
	// DelZone makes the server forget a zone; one that it does not have is no error.
	DelZone(ctx context.Context, apex domain.Name) error
}

// Retire takes a zone that is no longer in the tree out of publication. Its
// last file is kept in state/retired/, its keys are left alone. The server, if
// there is one, forgets the zone first: until it did, everything stays, so that
// a retire that failed can be repeated. Errors: the zone is still in the tree,
// was never published, or the server does not let go of it.
func (t *Tree) Retire(ctx context.Context, apex domain.Name, server Forgetter) (kept string, err error) {
	if t.Config.Find(apex) != nil {
		return "", fmt.Errorf("retire %s: it is still in the tree, remove it from there first", apex)
	}
	if !t.wasPublished(apex) {
		return "", fmt.Errorf("retire %s: it is not published", apex)
	}
	if err := t.makeDirs(nil); err != nil {
		return "", err
	}
	if err := durable.MkdirAll(t.retiredDir(), 0o755); err != nil {
		return "", err
	}
	lock, err := durable.TryLock(t.lockPath(apex))
	if err != nil {
		return "", fmt.Errorf("lock %s: %w", apex, err)
	}
	defer lock.Unlock()
	state, err := t.loadState(apex)
	if err != nil {
		state = &State{}
	}
	signed := t.PublishedPath(apex)
	if kept, err = t.keepRetired(apex, state.Serial, signed); err != nil {
		return "", err
	}
	if server != nil && !state.Retired {
		if err := server.DelZone(ctx, apex); err != nil {
			return "", fmt.Errorf("take %s from the name server (nothing is removed here yet): %w", apex, err)
		}
	}
	// From here on no build takes what is left for a zone that lost its sources.
	state.Retired = true
	if err := t.saveState(apex, state); err != nil {
		return kept, err
	}
	for _, path := range []string{signed, t.unsignedPath(apex), t.highPath(apex), t.lastGoodPath(apex), t.tlsaPath(apex), t.statePath(apex)} {
		if err := durable.Remove(path); err != nil {
			return kept, err
		}
	}
	return kept, nil
}

// keepRetired copies the last file of a zone, whole if any is, and in any case
// keeps its serial, which the zone must be ahead of if it comes back.
func (t *Tree) keepRetired(apex domain.Name, serial uint32, signed string) (kept string, err error) {
	if v, ok := t.rememberedSerial(apex); ok && (serial == 0 || ahead(v, serial)) {
		serial = v
	}
	name := func(serial uint32) string {
		return filepath.Join(t.retiredDir(), fmt.Sprintf("%s.%d", apex.FileName(), serial))
	}
	for _, path := range []string{signed, t.lastGoodPath(apex)} {
		if head := readHead(apex, path); head.err == nil {
			kept = name(head.serial)
			if err := durable.Copy(path, kept); err != nil {
				return "", fmt.Errorf("keep the last zone: %w", err)
			}
			if serial == 0 || !ahead(serial, head.serial) {
				return kept, nil
			}
			break
		}
	}
	note := name(serial)
	for _, path := range []string{signed, t.unsignedPath(apex)} { // damaged, but perhaps of use to somebody
		if err := durable.Copy(path, note); err == nil {
			return cmp.Or(kept, note), nil
		}
	}
	if err := durable.WriteFile(note, nil, t.stateMode()); err != nil {
		return "", fmt.Errorf("keep the last serial: %w", err)
	}
	return cmp.Or(kept, note), nil
}

func (t *Tree) retiredDir() string { return filepath.Join(t.Config.Paths.State, "retired") }
