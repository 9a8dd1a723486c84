package daemon

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
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
	if errors.Is(err, fs.ErrNotExist) { // it comes back, and what was exported counts until then
		realTop, err = top, nil
	}
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
	if (d.Follow.Ref != "") == (c.Revision != nil) && (tree != nil || d.serving || err != nil) {
		if err != nil && tree != nil {
			tree.Close()
			tree = nil
		}
		return tree, faults, err
	}
	// A start with a revision that cannot be taken ends here, unless a newer one can be.
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
	g, err := d.follower.again(d.Follow, c, d.Log)
	if err != nil {
		return err
	}
	if d.Follow.Ref == "" {
		d.Log.Warn("no revision is followed any more: the sources are those of the checkout", "checkout", g.top)
		return g.end()
	}
	_, err = g.Update(ctx)
	if err == nil {
		return nil
	}
	if _, none := g.present(ctx); none == nil { // and the first update behind the start tells why
		return nil
	}
	d.Log.Warn("there is no revision yet: nothing is read of the checkout", "checkout", g.top, "err", err)
	if g.there() { // what was taken once is what the next has to follow
		return nil
	}
	return g.empty()
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
	at     string          // the exported commit that was verified last; "" = none
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
	if err := g.remember(); err != nil {
		return "", err
	}
	at := g.before()
	if at != "" && at != commit {
		if _, err := g.git(ctx, "merge-base", "--is-ancestor", at, commit); err != nil {
			return "", fmt.Errorf("follow %s from %s to %s: %w", g.Ref, at, commit, errNotForward)
		}
	}
	if err := g.verify(ctx, commit); err != nil {
		return "", err
	}
	if at != commit || !g.there() {
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

// before is the commit that was exported last, also where somebody took it away since.
func (g *gitFollower) before() string {
	if at := g.exported(); at != "" {
		return at
	}
	return g.at
}

// there reports whether what the link says is exported can be read: it may have been
// removed, or be left out of a backup.
func (g *gitFollower) there() bool {
	info, err := os.Stat(g.link)
	return err == nil && info.IsDir() && g.exported() != ""
}

// remember notes which checkout it is: what was exported of it counts also while it is away.
func (g *gitFollower) remember() error {
	path := filepath.Join(filepath.Dir(g.link), config.CheckoutLink)
	if to, err := os.Readlink(path); err == nil && to == g.top {
		return nil
	}
	if err := durable.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return durable.Link(g.top, path)
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
	for _, link := range []string{g.link, filepath.Join(filepath.Dir(g.link), config.CheckoutLink)} {
		if err := durable.Remove(link); err != nil {
			return err
		}
	}
	return durable.RemoveAll(g.revisions())
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
		if header, _ := g.git(ctx, "cat-file", "commit", commit); !hasSignature(header) {
			err = errNotSigned // of which git says nothing
		}
		return fmt.Errorf("verify %s: %w", commit, err)
	}
	return nil
}

var errNotSigned = errors.New("it bears no signature")

// hasSignature reports whether a commit has one, of whoever.
func hasSignature(commit string) bool {
	header, _, _ := strings.Cut(commit, "\n\n")
	return strings.Contains(header, "\ngpgsig")
}

// present gives the commit that is exported. Errors: there is none, or it is not signed by
// somebody who may.
func (g *gitFollower) present(ctx context.Context) (string, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	at := g.before()
	if at == "" {
		return "", errors.New("no revision was exported yet")
	}
	if g.at != at { // else it was verified
		if err := g.verify(ctx, at); err != nil {
			return "", err
		}
	}
	if !g.there() {
		if err := g.export(ctx, at); err != nil {
			return "", fmt.Errorf("export %s: %w", at, err)
		}
	}
	g.at = at
	return at, nil
}

// git runs git. What refs/replace/ puts in the place of commits and files is signed by nobody.
func (g *gitFollower) git(ctx context.Context, args ...string) (string, error) {
	out, err := publish.Run(ctx, updateTimeout, g.top, append([]string{"git", "--no-replace-objects"}, args...), nil)
	return strings.TrimSpace(out), err
}
