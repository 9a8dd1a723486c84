package build

import (
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
	add := func(file string) {
		apex, err := domain.FromFileName(file)
		if strings.HasPrefix(file, ".") || err != nil || t.Config.Find(apex) != nil || slices.Contains(out, apex) || !t.wasPublished(apex) {
			return
		}
		out = append(out, apex)
	}
	for _, dir := range []string{t.Config.Paths.Signed, t.Config.Paths.Unsigned, t.lastGoodDir()} {
		for _, name := range fileNames(dir) {
			add(name)
		}
	}
	for _, name := range fileNames(t.Config.Paths.State) {
		if file, ok := strings.CutSuffix(name, ".json"); ok {
			add(file)
		}
	}
	return out
}

func fileNames(dir string) []string {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil
	}
	var out []string
	for _, e := range entries {
		if e.Type().IsRegular() {
			out = append(out, e.Name())
		}
	}
	return out
}

// wasPublished reports whether a file of ours holds the zone, or its state says
// that one did.
func (t *Tree) wasPublished(apex domain.Name) bool {
	if t.readHead(apex).err == nil || readHead(apex, t.lastGoodPath(apex)).err == nil {
		return true
	}
	s, err := t.loadState(apex)
	return err == nil && s.Serial != 0
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
	if err := t.makeDirs(); err != nil {
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
	signed := t.PublishedPath(apex)
	for _, path := range []string{signed, t.lastGoodPath(apex)} {
		head := readHead(apex, path)
		if head.err != nil {
			continue
		}
		kept = filepath.Join(t.retiredDir(), fmt.Sprintf("%s.%d", apex.FileName(), head.serial))
		if err := durable.Copy(path, kept); err != nil {
			return "", fmt.Errorf("keep the last zone: %w", err)
		}
		break
	}
	if server != nil {
		if err := server.DelZone(ctx, apex); err != nil {
			return "", fmt.Errorf("take %s from the name server (nothing is removed here yet): %w", apex, err)
		}
	}
	// The state goes last: what is left is found again by it.
	for _, path := range []string{signed, t.unsignedPath(apex), t.lastGoodPath(apex), t.statePath(apex)} {
		if err := durable.Remove(path); err != nil {
			return kept, err
		}
	}
	return kept, nil
}

func (t *Tree) retiredDir() string { return filepath.Join(t.Config.Paths.State, "retired") }
