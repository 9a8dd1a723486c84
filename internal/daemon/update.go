package daemon

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"time"

	"zonebuild/internal/publish"
	"zonebuild/internal/watch"
)

// Bounds of the operator's programs.
const (
	updateTimeout   = 10 * time.Minute
	revisionTimeout = 10 * time.Second
	maxRevision     = 200 // octets
)

// updaters update one checkout, one after the other.
type updaters struct {
	steps  []*updater
	follow *gitFollower // behind them; nil = none
}

// Update ends at the first that fails. Where a revision of git is followed, what is
// checked out counts even then.
func (u *updaters) Update(ctx context.Context) (string, error) {
	revision, err := u.update(ctx)
	if err == nil || u.follow == nil {
		return revision, err
	}
	at, unknown := u.follow.present(ctx)
	if unknown != nil {
		return "", err
	}
	return at, &watch.UnmovedError{Cause: err}
}

func (u *updaters) update(ctx context.Context) (string, error) {
	var out []string
	for _, one := range u.steps {
		rev, err := one.Update(ctx)
		if err != nil {
			return "", err
		}
		if rev != "" {
			out = append(out, rev)
		}
	}
	if u.follow != nil {
		rev, err := u.follow.Update(ctx)
		if err != nil {
			return "", err
		}
		out = []string{rev} // what the others told is of before
	}
	return strings.Join(slices.Compact(out), " "), nil
}

// updater runs the programs of a [source.NAME].
type updater struct {
	name, dir        string
	update, revision []string
	log              *slog.Logger
}

// Update fetches what is new and asks for its revision, which is for the log alone:
// one that nobody can tell holds nothing back.
func (u *updater) Update(ctx context.Context) (string, error) {
	if _, err := publish.Run(ctx, updateTimeout, u.dir, u.update, nil); err != nil {
		return "", err
	}
	if u.revision == nil {
		return "", nil
	}
	revision, err := askRevision(ctx, u.dir, u.revision)
	if err != nil {
		u.log.Warn("ask for the revision", "source", u.name, "err", err)
	}
	return revision, nil
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
