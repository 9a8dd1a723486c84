package daemon

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"zonebuild/internal/build"
	"zonebuild/internal/cli"
	"zonebuild/internal/config"
	"zonebuild/internal/diag"
	"zonebuild/internal/durable"
	"zonebuild/internal/publish"
)

// Follow says which revision of git the sources are read of.
type Follow struct {
	Ref            string // such as origin/main; "" = none is followed
	AllowedSigners string // of ssh-keygen(1), for those who may sign commits; "" = signatures are not asked for
}

// check refuses what cannot be right.
func (f Follow) check(c *config.Config) error {
	if strings.HasPrefix(f.Ref, "-") {
		return cli.Usagef("--follow-git %q: no name of a revision", f.Ref)
	}
	top := c.Checkout()
	if top == "" {
		return cli.Usagef("--follow-git %s: no checkout of git (.git) is around soa/ or the tree", f.Ref)
	}
	realTop, err := realPath(top)
	if err != nil {
		return fmt.Errorf("find the checkout: %w", err)
	}
	within := func(real string) bool { return real == realTop || under(real, realTop) }
	link, err := c.RevisionDir()
	if err != nil {
		return fmt.Errorf("find the state: %w", err)
	}
	of := &config.Revision{Top: top, Dir: link}
	for _, path := range []string{c.Paths.SOA, c.Paths.Primary, c.Paths.CertsMap} {
		if _, ok := of.Of(path); ok || c.InRevision(path) {
			continue
		}
		if real, err := realPath(path); err == nil && within(real) {
			return cli.Usagef("--follow-git %s: %s leads into the checkout by a symbolic link: name %s itself", f.Ref, path, real)
		}
	}
	if f.AllowedSigners == "" {
		return nil
	}
	signers, err := realPath(f.AllowedSigners)
	if err != nil {
		return fmt.Errorf("find --allowed-signers: %w", err)
	}
	if within(signers) {
		return cli.Usagef("--allowed-signers %s: a commit could change who may sign it: keep it outside the checkout", f.AllowedSigners)
	}
	return nil
}

// realPath is an absolute path without symbolic links.
func realPath(path string) (string, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	return filepath.EvalSymlinks(abs)
}

// open opens the tree, with the sources of the revision that is followed, or of the
// checkout again where none is any more.
func (d *Daemon) open(ctx context.Context) (*build.Tree, diag.List, error) {
	tree, faults, err := build.Open(d.Dir)
	if err != nil || tree == nil && d.Follow.Ref == "" {
		return nil, faults, err
	}
	c := (*config.Config)(nil)
	if tree != nil {
		c = tree.Config
	} else {
		c, _ = config.Load(d.Dir) // the list of zones may be of the revision
	}
	if d.Follow.Ref != "" {
		err = d.Follow.check(c)
	}
	if (d.Follow.Ref != "") == (c.Revision != nil) {
		if err != nil && tree != nil {
			tree.Close()
			tree = nil
		}
		return tree, faults, err
	}
	if tree != nil {
		tree.Close()
	}
	if err == nil {
		err = d.takeLock(ctx, c)
	}
	if err != nil {
		return nil, faults, err
	}
	if err := d.beginFollowing(ctx, c); err != nil {
		return nil, faults, err
	}
	return build.Open(d.Dir)
}

// beginFollowing exports the revision for the first time, or ends what an earlier daemon
// began.
func (d *Daemon) beginFollowing(ctx context.Context, c *config.Config) error {
	g, err := newFollower(d.Follow, c, d.Log)
	if err != nil {
		return err
	}
	if d.Follow.Ref == "" {
		d.Log.Warn("no revision is followed any more: the sources are those of the checkout", "checkout", g.top)
		return g.end()
	}
	if _, err := g.Update(ctx); err != nil { // the first update behind the start tells why
		return g.empty()
	}
	return nil
}

// gitFollower exports a revision of a repository, forwards only, and only one that is
// signed by somebody who may. The work tree is not touched, and nothing in it counts.
type gitFollower struct {
	Follow
	top  string   // the checkout
	link string   // state/revision
	ours []string // of the tree, whatever a revision has in their places
	log  *slog.Logger

	mu     sync.Mutex
	at     string          // the exported commit that was verified; "" = none
	warned map[string]bool // of ours
}

func newFollower(f Follow, c *config.Config, log *slog.Logger) (*gitFollower, error) {
	link, err := c.RevisionDir()
	if err != nil {
		return nil, fmt.Errorf("find the state: %w", err)
	}
	g := &gitFollower{Follow: f, top: c.Checkout(), link: link, log: log, warned: map[string]bool{}}
	for _, path := range []string{filepath.Join(c.Tree, config.File), c.Paths.Certs, c.Paths.SSHFP} {
		if !c.InRevision(path) {
			g.ours = append(g.ours, path)
		}
	}
	return g, nil
}

// again is newFollower of what may be another configuration; it remembers which commit was
// verified, and what was told.
func (g *gitFollower) again(f Follow, c *config.Config, log *slog.Logger) (*gitFollower, error) {
	n, err := newFollower(f, c, log)
	if err != nil || g == nil || g.top != n.top || g.link != n.link {
		return n, err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	n.at, n.warned = g.at, maps.Clone(g.warned)
	return n, nil
}

var errNotForward = errors.New("it does not follow the present one: history was rewritten")

// Update gives the commit that is exported then. After an error it is the one that it was.
func (g *gitFollower) Update(ctx context.Context) (string, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	commit, err := g.git(ctx, "rev-parse", "--verify", "--quiet", "--end-of-options", g.Ref+"^{commit}")
	if err != nil {
		return "", fmt.Errorf("find %s: %w", g.Ref, err)
	}
	at := g.exported()
	if at != "" && at != commit {
		if _, err := g.git(ctx, "merge-base", "--is-ancestor", at, commit); err != nil {
			return "", fmt.Errorf("follow %s from %s to %s: %w", g.Ref, at, commit, errNotForward)
		}
	}
	if err := g.verify(ctx, commit); err != nil {
		return "", err
	}
	if at != commit {
		if err := g.export(ctx, commit); err != nil {
			return "", fmt.Errorf("export %s: %w", commit, err)
		}
		g.prune(commit, at)
	}
	g.at = commit
	return commit, nil
}

// exported is the commit that the link leads to; "" = none.
func (g *gitFollower) exported() string {
	to, err := os.Readlink(g.link)
	if err != nil || filepath.Base(to) == noRevision {
		return ""
	}
	return filepath.Base(to)
}

// noRevision stands for a revision of which there is none yet: without any source.
const noRevision = "none"

func (g *gitFollower) revisions() string { return filepath.Join(filepath.Dir(g.link), "revisions") }

// empty has the sources be none.
func (g *gitFollower) empty() error {
	if err := durable.MkdirAll(filepath.Join(g.revisions(), noRevision), 0o755); err != nil {
		return err
	}
	return durable.Link(filepath.Join("revisions", noRevision), g.link)
}

// end has the sources be those of the checkout.
func (g *gitFollower) end() error {
	if err := durable.Remove(g.link); err != nil {
		return err
	}
	return durable.RemoveAll(g.revisions())
}

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
	path := filepath.Join(g.revisions(), ".archive.tar")
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

// prune removes what was exported but for two: `+"`build`"+` may still read the one before.
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
		if !there.IsDir() && sameText(path, filepath.Join(dir, rel)) {
			continue
		}
		g.warned[path] = true
		what := "it is never read of a revision"
		if there.IsDir() {
			what = "a reload will have it read of the revision"
		}
		g.log.Warn("the revision has another than the one that counts", "path", path, "why", what)
	}
}

func sameText(a, b string) bool {
	const max = 1 << 20
	x, _, errX := durable.ReadFile(a, max)
	y, _, errY := durable.ReadFile(b, max)
	return errX == nil && errY == nil && bytes.Equal(x, y)
}

// verify asks for the signature of a commit.
func (g *gitFollower) verify(ctx context.Context, commit string) error {
	if g.AllowedSigners == "" {
		return nil
	}
	signers, err := filepath.Abs(g.AllowedSigners)
	if err != nil {
		return fmt.Errorf("find --allowed-signers: %w", err)
	}
	// A key of OpenPGP or X.509 that this user's programs trust is no allowed signer.
	if _, err := g.git(ctx, "-c", "gpg.ssh.allowedSignersFile="+signers, "-c", "gpg.program=false", "-c", "gpg.openpgp.program=false", "-c", "gpg.x509.program=false", "verify-commit", commit); err != nil {
		return fmt.Errorf("verify %s: %w", commit, err)
	}
	return nil
}

// present gives the commit that is exported. Errors: there is none, or it is not signed by
// somebody who may.
func (g *gitFollower) present(ctx context.Context) (string, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	at := g.exported()
	if at == "" {
		return "", errors.New("no revision was exported yet")
	}
	if g.at != at { // else it was verified
		if err := g.verify(ctx, at); err != nil {
			return "", err
		}
	}
	g.at = at
	return at, nil
}

func (g *gitFollower) git(ctx context.Context, args ...string) (string, error) {
	out, err := publish.Run(ctx, updateTimeout, g.top, append([]string{"git"}, args...), nil)
	return strings.TrimSpace(out), err
}
