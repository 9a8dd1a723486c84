package build

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"syscall"

	"zonebuild/internal/config"
	"zonebuild/internal/durable"
)

// treeFS reads the sources of a tree. Paths inside it go through os.Root, so no
// symbolic link leads out; an absolute path of the configuration is the
// operator's own word and is read as it is, unless links in it lead to what is
// private. What is in the checkout of an exported revision is read of that, under the
// same names, and no link leads out of it.
type treeFS struct {
	config   *config.Config
	root     *os.Root
	revision *os.Root               // that is exported now; nil = none
	base     string                 // the tree, absolute, where there is one
	private  func(path string) bool // what no fragment may be or include: a fault could quote a secret
	ear      *ear                   // that it is read by
}

// reopen opens the tree's directory and the revision again: others may stand there since,
// such as after a symbolic link was changed.
func (t *treeFS) reopen() error {
	root, err := os.OpenRoot(t.config.Tree)
	if err != nil {
		return fmt.Errorf("open the tree: %w", err)
	}
	revision, base := (*os.Root)(nil), ""
	if r := t.config.Revision; r != nil {
		if base, err = filepath.Abs(t.config.Tree); err == nil {
			revision, err = os.OpenRoot(r.Dir)
		}
		if err != nil {
			root.Close()
			return fmt.Errorf("open the exported revision: %w", err)
		}
	}
	t.close() // it was for reading
	t.root, t.revision, t.base = root, revision, base
	return nil
}

func (t *treeFS) close() error {
	var err error
	for _, root := range []*os.Root{t.root, t.revision} {
		if root != nil {
			err = errors.Join(err, root.Close())
		}
	}
	return err
}

// Open opens a file for reading.
func (t treeFS) Open(name string) (fs.File, error) {
	return hearFile(t.ear, func() (fs.File, error) { return t.open(name) })
}

func (t treeFS) open(name string) (fs.File, error) {
	if filepath.IsAbs(name) {
		return t.openAbs(name)
	}
	real, err := t.resolve(name)
	if err == nil && t.private(real) {
		err = &fs.PathError{Op: "open", Path: name, Err: fs.ErrPermission}
	}
	if err != nil {
		return nil, err
	}
	root, at := t.locate(real)
	return root.OpenFile(at, os.O_RDONLY|syscall.O_NONBLOCK, 0) // a FIFO is not waited for: zone.ReadFile refuses it
}

// openAbs is open of an absolute path. Its file is not the operator's even where its
// directory is: it may be a link.
func (t treeFS) openAbs(name string) (fs.File, error) {
	if t.revision != nil {
		if rel, ok := t.config.Revision.Of(name); ok {
			return t.revision.OpenFile(rel, os.O_RDONLY|syscall.O_NONBLOCK, 0)
		}
	}
	real, err := filepath.EvalSymlinks(name)
	if err != nil {
		return nil, err
	}
	for _, secret := range []string{t.config.Paths.Keys, t.config.Paths.State} {
		dir, err := filepath.Abs(secret)
		if err == nil {
			dir, err = filepath.EvalSymlinks(dir)
		}
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil || strings.HasPrefix(real, dir+"/") {
			return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrPermission}
		}
	}
	f, _, err := durable.Open(real, 0)
	return f, err
}

// openDir opens a directory by a name that resolve gave.
func (t treeFS) openDir(real string) (*os.File, error) {
	root, at := t.locate(real)
	return root.Open(at)
}

// locate says where a path of the tree without symbolic links is read.
func (t treeFS) locate(at string) (*os.Root, string) {
	if t.revision != nil {
		if rel, ok := t.config.Revision.Of(filepath.Join(t.base, at)); ok {
			return t.revision, rel
		}
	}
	return t.root, at
}

// errOutside says how files elsewhere are meant to be had.
var errOutside = errors.New("a symbolic link leads out of the tree: a directory elsewhere is named by [source.NAME] path")

// maxLinks is how many symbolic links a path may hold, as in Linux.
const maxLinks = 40

// resolve follows the symbolic links in a path of the tree.
func (t treeFS) resolve(name string) (string, error) {
	links := 0
	done, rest := "", name
	for rest != "" {
		part, after, _ := strings.Cut(rest, "/")
		at := path.Join(done, part)
		root, there := t.locate(at)
		info, err := root.Lstat(there)
		if err != nil {
			return "", err
		}
		if info.Mode()&fs.ModeSymlink == 0 {
			done, rest = at, after
			continue
		}
		to, err := root.Readlink(there)
		if links++; err == nil && (links > maxLinks || path.IsAbs(to)) {
			err = &fs.PathError{Op: "open", Path: name, Err: errOutside}
		}
		if err != nil {
			return "", err
		}
		if done, rest = "", path.Join(done, to, after); rest == ".." || strings.HasPrefix(rest, "../") {
			return "", &fs.PathError{Op: "open", Path: name, Err: errOutside}
		}
	}
	return done, nil
}
