package config

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"zonebuild/internal/diag"
)

// Revision says that the sources in a checkout are not read there, but of a revision of it
// that was exported (docs/vcs.md). Two are alike as long as the checkout and the place are.
type Revision struct {
	Top string // the checkout; absolute
	Dir string // a symbolic link to the exported files; absolute
}

// Name is the exported revision; "" = it cannot be told.
func (r *Revision) Name() string {
	to, err := os.Readlink(r.Dir)
	if err != nil {
		return ""
	}
	return filepath.Base(to)
}

// Links in state/: to the exported files, and to their checkout.
const (
	revisionLink = "revision"
	CheckoutLink = "checkout"
)

// maxUp bounds how many directories above a source are searched for its checkout.
const maxUp = 64

// RevisionDir is where a revision is exported to: a symbolic link to the directory that
// holds it.
func (c *Config) RevisionDir() (string, error) {
	return filepath.Abs(filepath.Join(c.Paths.State, revisionLink))
}

// Checkout is the work tree of git that the sources are in, as the directory that has
// `.git`: that of soa/, or else of primary/, or else of the tree. None of it but that needs
// to be there. "" = there is none.
func (c *Config) Checkout() string {
	for _, from := range []string{c.Paths.SOA, c.Paths.Primary, c.Tree} {
		if c.Revision != nil {
			return c.Revision.Top
		}
		if top := checkoutOf(from); top != "" {
			return top
		}
	}
	return ""
}

// BesideRevision are those of soa/, primary/ and certs.map that are in another checkout than
// the one whose revision is read: they are read as they lie there.
func (c *Config) BesideRevision() (paths []string) {
	for _, path := range []string{c.Paths.SOA, c.Paths.Primary, c.Paths.CertsMap} {
		top := checkoutOf(path)
		if c.Revision != nil && !c.InRevision(path) && top != "" && top != checkoutOf(c.Tree) {
			paths = append(paths, path)
		}
	}
	return paths
}

func checkoutOf(path string) string {
	dir, err := filepath.Abs(path)
	if err != nil {
		return ""
	}
	for range maxUp {
		if _, err := os.Lstat(filepath.Join(dir, ".git")); err == nil {
			return dir
		}
		up := filepath.Dir(dir)
		if up == dir {
			break
		}
		dir = up
	}
	return ""
}

// findRevision looks whether a revision was exported. Its checkout is the one around the
// sources or, while that is away, the one that it was exported from.
func (l *loader) findRevision() {
	link := filepath.Join(l.inTree(l.Paths.State), revisionLink)
	info, err := os.Lstat(link)
	if err != nil || info.Mode()&fs.ModeSymlink == 0 {
		return
	}
	at := diag.Pos{File: filepath.Join(l.Paths.State, revisionLink)}
	r := &Revision{}
	if r.Dir, err = filepath.Abs(link); err != nil {
		l.errorf(at, "config-read", "find the exported revision: %s", cause(err))
		return
	}
	if _, err := os.Stat(link); errors.Is(err, fs.ErrNotExist) {
		l.errorf(at, "config-read", "the exported revision %s is not there: watch --follow-git makes it anew; without that, remove this link", r.Name())
		return
	}
	was, err := os.Readlink(filepath.Join(filepath.Dir(link), CheckoutLink))
	if err != nil {
		was = ""
	}
	for _, of := range []func(path string) string{checkoutOf, func(path string) string { return around(was, path) }} {
		for _, from := range []string{l.Paths.SOA, l.Paths.Primary, "."} {
			if r.Top = of(l.inTree(from)); r.Top != "" {
				l.Revision = r
				return
			}
		}
	}
	l.errorf(at, "config-read", "a revision was exported here, but no checkout of git (.git) is around soa/: put that back, or remove this link")
}

// around is a checkout if a path is in it; "" = it is not.
func around(checkout, path string) string {
	abs, err := filepath.Abs(path)
	if err != nil || !filepath.IsAbs(checkout) || abs != checkout && !strings.HasPrefix(abs, strings.TrimSuffix(checkout, "/")+"/") {
		return ""
	}
	return checkout
}

// Of gives the place in the revision of a path in the checkout; ok is false for any other
// path, and without a revision.
func (r *Revision) Of(path string) (rel string, ok bool) {
	if r == nil {
		return "", false
	}
	abs, err := filepath.Abs(path)
	switch {
	case err != nil || abs == r.Dir || strings.HasPrefix(abs, r.Dir+"/"):
		return "", false
	case abs == r.Top:
		return ".", true
	}
	top := strings.TrimSuffix(r.Top, "/") + "/"
	if !strings.HasPrefix(abs, top) {
		return "", false
	}
	return abs[len(top):], true
}

// inRevision is where a path of settled Paths is read: collected files may be in the
// checkout without being of the revision.
func (l *loader) inRevision(path string, collected bool) string {
	of := l.Exported(path)
	if of == path || collected && !HoldsFiles(of) { // what is not exported is not touched: it may hang
		return path
	}
	return of
}

// HoldsFiles reports whether a directory of collected files is more than a place for
// them, kept in version control by a file such as .gitkeep.
func HoldsFiles(dir string) bool {
	entries, err := os.ReadDir(dir)
	return err == nil && slices.ContainsFunc(entries, func(e fs.DirEntry) bool { return e.Name()[0] != '.' })
}

// SourcePath is where a source of the configuration is read: a relative name begins in the
// tree, and what is in the checkout of an exported revision is read of that.
func (c *Config) SourcePath(name string) string {
	if !filepath.IsAbs(name) {
		name = filepath.Join(c.Tree, name)
	}
	return c.Exported(name)
}

// Exported is where a path, such as one of Paths, is read: of the exported revision, if it
// is in the checkout of that.
func (c *Config) Exported(path string) string {
	if rel, ok := c.Revision.Of(path); ok {
		return filepath.Join(c.Revision.Dir, rel)
	}
	return path
}

// InRevision reports whether a path of Paths is one of an exported revision.
func (c *Config) InRevision(path string) bool {
	if c.Revision == nil {
		return false
	}
	abs, err := filepath.Abs(path)
	return err == nil && (abs == c.Revision.Dir || strings.HasPrefix(abs, c.Revision.Dir+"/"))
}

// Shown is how messages name a file that SourcePath gave: as in the tree.
func (c *Config) Shown(path string) string {
	if r := c.Revision; r != nil {
		if rel, err := filepath.Rel(r.Dir, path); err == nil && filepath.IsLocal(rel) {
			path = filepath.Join(r.Top, rel)
		}
	}
	tree, err := filepath.Abs(c.Tree)
	if err != nil {
		return path
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return path
	}
	if rel, err := filepath.Rel(tree, abs); err == nil && filepath.IsLocal(rel) {
		return rel
	}
	return path
}
