package daemon

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"zonebuild/internal/build"
	"zonebuild/internal/cli"
	"zonebuild/internal/publish"
)

// Bounds of the operator's programs.
const (
	updateTimeout   = 10 * time.Minute
	revisionTimeout = 10 * time.Second
	maxRevision     = 200 // octets
)

// updaters update one checkout, one after the other.
type updaters []interface {
	Update(ctx context.Context) (string, error)
}

// Update ends at the first that fails.
func (u updaters) Update(ctx context.Context) (string, error) {
	var out []string
	for _, one := range u {
		rev, err := one.Update(ctx)
		if err != nil {
			return "", err
		}
		if rev != "" {
			out = append(out, rev)
		}
	}
	return strings.Join(out, " "), nil
}

// updater runs the programs of a [source.NAME].
type updater struct {
	dir              string
	update, revision []string
}

// Update fetches what is new and asks for its revision.
func (u *updater) Update(ctx context.Context) (string, error) {
	if _, err := publish.Run(ctx, updateTimeout, u.dir, u.update, nil); err != nil {
		return "", err
	}
	if u.revision == nil {
		return "", nil
	}
	return askRevision(ctx, u.dir, u.revision)
}

// askRevision gives the first line that a program prints.
func askRevision(ctx context.Context, dir string, argv []string) (string, error) {
	out, err := publish.Run(ctx, revisionTimeout, dir, argv, nil)
	if err != nil {
		return "", err
	}
	out, _, _ = strings.Cut(strings.TrimSpace(out), "\n")
	return out[:min(len(out), maxRevision)], nil
}

// Follow says which revision of git the tree is to be at.
type Follow struct {
	Ref            string // such as origin/main; "" = none is followed
	AllowedSigners string // of ssh-keygen(1), for those who may sign commits; "" = signatures are not asked for
}

// check refuses what cannot be right.
func (f Follow) check(tree *build.Tree) error {
	switch {
	case strings.HasPrefix(f.Ref, "-"):
		return cli.Usagef("--follow-git %q: no name of a revision", f.Ref)
	case f.AllowedSigners == "":
		return nil
	}
	signers, err := filepath.Abs(f.AllowedSigners)
	if err != nil {
		return fmt.Errorf("find --allowed-signers: %w", err)
	}
	for _, dir := range []string{tree.Config.Paths.SOA, tree.Config.Paths.Primary} {
		if abs, err := filepath.Abs(dir); err == nil && under(signers, abs) {
			return cli.Usagef("--allowed-signers %s: a commit could change who may sign it: keep it outside the checkout", f.AllowedSigners)
		}
	}
	return nil
}

// gitFollower moves a work tree to a revision, forwards only, and only to one that is
// signed by somebody who may.
type gitFollower struct {
	Follow
	dir string
}

var errNotForward = errors.New("it does not follow the present one: history was rewritten")

// Update gives the commit at which the work tree is then. After an error it is
// where it was.
func (g *gitFollower) Update(ctx context.Context) (string, error) {
	commit, err := g.git(ctx, "rev-parse", "--verify", "--quiet", "--end-of-options", g.Ref+"^{commit}")
	if err != nil {
		return "", fmt.Errorf("find %s: %w", g.Ref, err)
	}
	at, err := g.git(ctx, "rev-parse", "--verify", "--quiet", "HEAD^{commit}")
	if err == nil && at != commit {
		if _, err := g.git(ctx, "merge-base", "--is-ancestor", at, commit); err != nil {
			return "", fmt.Errorf("follow %s to %s: %w", g.Ref, commit, errNotForward)
		}
	}
	if g.AllowedSigners != "" {
		signers, err := filepath.Abs(g.AllowedSigners)
		if err != nil {
			return "", fmt.Errorf("find --allowed-signers: %w", err)
		}
		// A key of OpenPGP or X.509 that this user's programs trust is no allowed signer.
		if _, err := g.git(ctx, "-c", "gpg.ssh.allowedSignersFile="+signers, "-c", "gpg.program=false", "-c", "gpg.openpgp.program=false", "-c", "gpg.x509.program=false", "verify-commit", commit); err != nil {
			return "", fmt.Errorf("verify %s: %w", commit, err)
		}
	}
	if at != commit {
		if _, err := g.git(ctx, "checkout", "--quiet", "--detach", commit); err != nil {
			return "", fmt.Errorf("check out %s: %w", commit, err)
		}
	}
	return commit, nil
}

func (g *gitFollower) git(ctx context.Context, args ...string) (string, error) {
	out, err := publish.Run(ctx, updateTimeout, g.dir, append([]string{"git"}, args...), nil)
	return strings.TrimSpace(out), err
}
