package durable

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// WriteFile replaces path by data.
func WriteFile(path string, data []byte, o Options) error {
	f, err := stageWith(path, data, o)
	if err != nil {
		return err
	}
	defer f.Discard()
	return f.Commit(time.Time{})
}

// CreateFile is WriteFile for a file that must not exist yet: an existing one
// is an error that wraps fs.ErrExist, whoever made it in the meantime.
func CreateFile(path string, data []byte, o Options) error {
	f, err := stageWith(path, data, o)
	if err != nil {
		return err
	}
	defer f.Discard()
	if err := f.create(path); err != nil {
		return fmt.Errorf("create %s: %w", path, cause(err))
	}
	return nil
}

func (f *File) create(path string) error {
	if err := f.o.try("sync", f.f.Sync); err != nil {
		return err
	}
	err := f.o.try("link", func() error { return os.Link(f.Path(), path) }) // a rename would overwrite
	switch {
	case linksRefused(err):
		// Only the callers' lock keeps another from coming between.
		if _, err := os.Lstat(path); err == nil {
			return fs.ErrExist
		}
		if err := os.Rename(f.Path(), path); err != nil {
			return err
		}
	case err != nil:
		return err
	}
	if err := f.Discard(); err != nil {
		return err
	}
	return f.o.try("syncdir", func() error { return syncDir(f.dir) })
}

// stageWith stages data under its own messages.
func stageWith(path string, data []byte, o Options) (*File, error) {
	f, err := Stage(filepath.Dir(path), filepath.Base(path), o)
	if err != nil {
		return nil, err
	}
	if _, err := f.Write(data); err != nil {
		f.Discard()
		return nil, err
	}
	return f, nil
}

// CreateLog opens a new and empty file of mode 0600 for output that need not outlive a
// crash, in the place of what is there: who still writes to the old one does so to a
// file without a name.
func CreateLog(path string) (*os.File, error) {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	return os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE|os.O_EXCL, 0o600)
}

// Remove removes path durably. A file that is not there is no error.
func Remove(path string) error {
	if err := os.Remove(path); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	}
	if err := syncDir(filepath.Dir(path)); err != nil {
		return fmt.Errorf("remove %s: %w", path, cause(err))
	}
	return nil
}

// Copy makes to a file of its own with the bytes and permissions of the regular
// file from, replacing what is there. Never a second name of it: what damages
// the one in place must leave the other.
func Copy(from, to string) error {
	if err := copyFile(from, to, Options{}); err != nil {
		return fmt.Errorf("copy %s to %s: %w", from, to, cause(err))
	}
	return nil
}

// linksRefused reports whether a link was refused for what it is: on a file
// system that has none, of another user's file, or too many of one.
func linksRefused(err error) bool {
	for _, e := range []error{
		syscall.EXDEV, syscall.EPERM, syscall.EMLINK, syscall.ENOTSUP, syscall.EOPNOTSUPP, syscall.ENOSYS,
	} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

func copyFile(from, to string, o Options) error {
	dir, name := filepath.Split(from)
	r, info, err := OpenRegular(filepath.Clean(dir), name, 0)
	if err != nil {
		return err
	}
	defer r.Close()
	o.Mode = info.Mode().Perm()
	f, err := Stage(filepath.Dir(to), filepath.Base(to), o)
	if err != nil {
		return err
	}
	defer f.Discard()
	// From file to file: the system copies without us.
	if err := o.try("write", func() error { _, err := io.Copy(f.f, r); return err }); err != nil {
		return err
	}
	return f.commit(time.Time{})
}
