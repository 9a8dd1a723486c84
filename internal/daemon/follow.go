package daemon

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"zonebuild/internal/build"
	"zonebuild/internal/cli"
	"zonebuild/internal/publish"
)

// Follow says which revision of git the sources are to be at.
type Follow struct {
	Ref            string // such as origin/main; "" = none is followed
	AllowedSigners string // of ssh-keygen(1), for those who may sign commits; "" = signatures are not asked for
}

// check refuses what cannot be right.
func (f Follow) check(ctx context.Context, tree *build.Tree) error {
	switch {
	case strings.HasPrefix(f.Ref, "-"):
		return cli.Usagef("--follow-git %q: no name of a revision", f.Ref)
	case f.AllowedSigners == "":
		return nil
	}
	signers, err := realPath(f.AllowedSigners)
	if err != nil {
		return fmt.Errorf("find --allowed-signers: %w", err)
	}
	c := tree.Config
	dirs := []string{c.Paths.SOA, c.Paths.Primary}
	g := &gitFollower{Follow: f, dir: workDir(tree)}
	if top, err := g.git(ctx, "rev-parse", "--show-toplevel"); err == nil { // else the first update says it
		dirs = append(dirs, top)
	}
	for _, dir := range dirs {
		if real, err := realPath(dir); err == nil && under(signers, real) {
			return cli.Usagef("--allowed-signers %s: a commit could change who may sign it: keep it outside the checkout", f.AllowedSigners)
		}
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

// workDir is where git works: where the sources are, which may be elsewhere than the tree.
func workDir(tree *build.Tree) string {
	for _, dir := range []string{tree.Config.Paths.SOA, tree.Config.Paths.Primary} {
		if info, err := os.Stat(dir); err == nil && info.IsDir() {
			return dir
		}
	}
	return tree.Config.Tree
}

// gitFollower moves a work tree to a revision, forwards only, and only to one that is
// signed by somebody who may. What is built is that revision: a work tree in which
// anybody changed a file, or added one to the sources, is held back.
type gitFollower struct {
	Follow
	dir   string
	paths []string               // of sources: what is not of the revision has no place there
	keeps func(path string) bool // of these: it may be a source

	mu sync.Mutex // nobody looks while the work tree moves
	at string     // the commit that it was left at; "" = unknown
}

var (
	errNotForward = errors.New("it does not follow the present one: history was rewritten")
	errMoved      = errors.New("somebody moved the work tree")
)

// Update gives the commit at which the work tree is then. After an error it is
// where it was.
func (g *gitFollower) Update(ctx context.Context) (string, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	commit, err := g.git(ctx, "rev-parse", "--verify", "--quiet", "--end-of-options", g.Ref+"^{commit}")
	if err != nil {
		return "", fmt.Errorf("find %s: %w", g.Ref, err)
	}
	at, err := g.head(ctx)
	if err == nil && at != commit {
		if _, err := g.git(ctx, "merge-base", "--is-ancestor", at, commit); err != nil {
			return "", fmt.Errorf("follow %s to %s: %w", g.Ref, commit, errNotForward)
		}
	}
	if err := g.verify(ctx, commit); err != nil {
		return "", err
	}
	if at != commit {
		if _, err := g.git(ctx, "checkout", "--quiet", "--detach", commit); err != nil {
			return "", fmt.Errorf("check out %s: %w", commit, err)
		}
	}
	g.at = commit
	return commit, nil
}

func (g *gitFollower) head(ctx context.Context) (string, error) {
	return g.git(ctx, "rev-parse", "--verify", "--quiet", "HEAD^{commit}")
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

// present gives the commit that is checked out. Errors: it is not signed by somebody
// who may, or the work tree is not clean.
func (g *gitFollower) present(ctx context.Context) (string, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	at, err := g.head(ctx)
	if err != nil {
		return "", err
	}
	if g.at != at { // else it was verified
		if err := g.verify(ctx, at); err != nil {
			return "", err
		}
	}
	if err := g.clean(ctx, at); err != nil {
		return "", err
	}
	g.at = at
	return at, nil
}

// Clean says what of the work tree is not as the last update left it.
func (g *gitFollower) Clean(ctx context.Context) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.at == "" {
		return nil // there was no update
	}
	at, err := g.head(ctx)
	if err != nil {
		return err
	}
	if at != g.at {
		return fmt.Errorf("the work tree is at %s, not at %s: %w", at, g.at, errMoved)
	}
	return g.clean(ctx, at)
}

// clean looks for files that are changed, and for those in the sources that are none
// of the commit, whatever .gitignore says of them.
func (g *gitFollower) clean(ctx context.Context, commit string) error {
	out, err := g.git(ctx, "--no-optional-locks", "status", "--porcelain", "-z", "--untracked-files=no")
	if err != nil {
		return err
	}
	if first, _, _ := strings.Cut(out, "\x00"); first != "" {
		_, path, _ := strings.Cut(strings.TrimSpace(first), " ") // behind what happened to it
		return fmt.Errorf("%q: changed since revision %s: commit it, or take it back", strings.TrimSpace(path), commit)
	}
	top, err := g.git(ctx, "rev-parse", "--show-toplevel")
	if err != nil {
		return err
	}
	args := []string{"ls-files", "--others", "--full-name", "-z", "--"}
	for _, path := range g.paths {
		if real, err := realPath(path); err == nil && under(real, top) { // what is elsewhere is not its business
			args = append(args, real)
		}
	}
	if len(args) == 5 { // it would mean all
		return nil
	}
	if out, err = g.git(ctx, args...); err != nil {
		return err
	}
	for path := range strings.SplitSeq(out, "\x00") {
		if path != "" && g.keeps(path) {
			return fmt.Errorf("%q: no file of revision %s: commit it, or remove it", path, commit)
		}
	}
	return nil
}

func (g *gitFollower) git(ctx context.Context, args ...string) (string, error) {
	out, err := publish.Run(ctx, updateTimeout, g.dir, append([]string{"git"}, args...), nil)
	return strings.TrimSpace(out), err
}
