package daemon

import (
	"bytes"
	"context"
	"os"
	"path/filepath"

	"zonebuild/internal/config"
	"zonebuild/internal/durable"
)

// export makes a directory of a commit, and then has the link lead there.
func (g *gitFollower) export(ctx context.Context, commit string) error {
	if err := durable.MkdirAll(g.revisions(), 0o755); err != nil {
		return err
	}
	dir := filepath.Join(g.revisions(), commit)
	if _, err := os.Lstat(dir); err != nil { // else it was the present one, and is whole
		if err := g.unpack(ctx, commit, dir); err != nil {
			return err
		}
	}
	g.warn(dir)
	return durable.Link(filepath.Join("revisions", commit), g.link)
}

func (g *gitFollower) unpack(ctx context.Context, commit, dir string) (err error) {
	path := filepath.Join(g.revisions(), "."+commit+".tar")
	// The git of a daemon that was killed may still write to it, unseen from here on.
	if err := durable.Remove(path); err != nil {
		return err
	}
	defer func() {
		if removed := durable.Remove(path); err == nil {
			err = removed
		}
	}()
	if _, err := g.git(ctx, "archive", "--format=tar", "--output="+path, commit); err != nil {
		return err
	}
	archive, _, err := durable.Open(path, 0)
	if err != nil {
		return err
	}
	defer archive.Close()
	return durable.Unpack(archive, dir)
}

// prune removes what was exported but for two: a build of another process may still read
// the one before.
func (g *gitFollower) prune(now, before string) {
	entries, err := os.ReadDir(g.revisions())
	if err != nil {
		g.log.Warn("remove old revisions", "err", err)
	}
	for _, e := range entries {
		if e.Name() == now || e.Name() == before {
			continue
		}
		if err := durable.RemoveAll(filepath.Join(g.revisions(), e.Name())); err != nil {
			g.log.Warn("remove an old revision", "err", err)
		}
	}
}

// warn tells once of files of a revision that its author may believe to count.
func (g *gitFollower) warn(dir string) {
	of := &config.Revision{Top: g.top, Dir: g.link}
	for _, path := range g.ours {
		rel, ok := of.Of(path)
		if !ok || g.warned[path] {
			continue
		}
		there, err := os.Stat(filepath.Join(dir, rel))
		if err != nil {
			continue
		}
		if there.IsDir() && !config.HoldsFiles(filepath.Join(dir, rel)) || !there.IsDir() && sameText(path, filepath.Join(dir, rel)) {
			continue
		}
		g.warned[path] = true
		what := "it is never read of a revision"
		if there.IsDir() {
			what = "it is read of the revision from now on"
		}
		g.log.Warn("the revision has another than the one that counts", "path", path, "why", what)
	}
}

// sayBeside tells once of sources that nobody asks for a signature.
func (g *gitFollower) sayBeside(c *config.Config) {
	for _, path := range c.BesideRevision() {
		if !g.warned[path] {
			g.warned[path] = true
			g.log.Warn("it is in another checkout than the one that is followed: it is read as it lies there, of no verified revision", "path", path)
		}
	}
}

func sameText(a, b string) bool {
	const max = 1 << 20
	x, _, errX := durable.ReadFile(a, max)
	y, _, errY := durable.ReadFile(b, max)
	return errX == nil && errY == nil && bytes.Equal(x, y)
}
