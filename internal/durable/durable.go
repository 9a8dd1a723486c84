// Package durable is the only place that knows how a file is replaced so that a
// crash at any instant leaves the old or the new one, whole: temporary file in
// the same directory, fsync, rename, fsync of the directory. It also holds the
// locks between processes and the distrustful reading of foreign directories.
//
// A failure at any step leaves the target as it was and removes the temporary
// file. Callers serialize writers of one file with a Lock.
package durable

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Options of a written file.
type Options struct {
	Mode  os.FileMode // set whatever the umask; 0 is 0644
	Group *int        // gid; nil leaves what the system gives
}

// File is a file being written. Nobody sees it under its name before Commit.
type File struct {
	*os.File
	dir, name string
	done      bool
}

// Stage begins a new version of dir/name. A temporary file that a killed
// process left behind is removed.
func Stage(dir, name string, o Options) (*File, error) {
	path := filepath.Join(dir, "."+name+".tmp")
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("stage %s: %w", name, err)
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, fmt.Errorf("stage %s: %w", name, err)
	}
	s := &File{File: f, dir: dir, name: name}
	if err := s.own(o); err != nil {
		s.Discard()
		return nil, fmt.Errorf("stage %s: %w", name, err)
	}
	return s, nil
}

// own sets owner, group and mode. Root leaves no root-owned file in another
// user's directory.
func (f *File) own(o Options) error {
	uid, gid := -1, -1
	if owner, ok := foreignOwner(f.dir); ok {
		uid, gid = owner.uid, owner.gid
	}
	if o.Group != nil {
		gid = *o.Group
	}
	if uid >= 0 || gid >= 0 {
		if err := f.Chown(uid, gid); err != nil {
			return err
		}
	}
	mode := o.Mode
	if mode == 0 {
		mode = 0o644
	}
	return f.Chmod(mode)
}

type owner struct{ uid, gid int }

// foreignOwner is the owner of dir, if that is another user and we are root.
func foreignOwner(dir string) (owner, bool) {
	if os.Geteuid() != 0 {
		return owner{}, false
	}
	info, err := os.Stat(dir)
	if err != nil {
		return owner{}, false
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok || st.Uid == 0 {
		return owner{}, false
	}
	return owner{int(st.Uid), int(st.Gid)}, true
}

// Path is where the bytes are before Commit.
func (f *File) Path() string { return f.File.Name() }

// Commit makes the file durable and gives it its name. Its modification time
// becomes strictly later than that of the version it replaces and than after,
// by which name servers tell that there is something to load.
func (f *File) Commit(after time.Time) error {
	err := f.commit(after)
	if err != nil {
		f.Discard()
		return fmt.Errorf("commit %s: %w", filepath.Join(f.dir, f.name), err)
	}
	return nil
}

func (f *File) commit(after time.Time) error {
	if f.done {
		return fs.ErrClosed
	}
	target := filepath.Join(f.dir, f.name)
	if err := f.advance(target, after); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	if err := os.Rename(f.Path(), target); err != nil {
		return err
	}
	f.done = true
	return syncDir(f.dir)
}

// advance sets the modification time if the present one is not late enough.
func (f *File) advance(target string, after time.Time) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	mtime := info.ModTime()
	if old, err := os.Lstat(target); err == nil && old.ModTime().After(after) {
		after = old.ModTime()
	}
	if mtime.After(after) {
		return nil
	}
	// A millisecond, because some file systems store no finer time.
	mtime = after.Truncate(time.Millisecond).Add(2 * time.Millisecond)
	return os.Chtimes(f.Path(), mtime, mtime)
}

// Discard removes the temporary file. After Commit it does nothing.
func (f *File) Discard() error {
	if f.done {
		return nil
	}
	f.done = true
	f.Close()
	if err := os.Remove(f.Path()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// WriteFile replaces path by data.
func WriteFile(path string, data []byte, o Options) error {
	f, err := Stage(filepath.Dir(path), filepath.Base(path), o)
	if err != nil {
		return err
	}
	defer f.Discard()
	if _, err := f.Write(data); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return f.Commit(time.Time{})
}

// CreateFile is WriteFile for a file that must not exist yet: an existing one
// is an error that wraps fs.ErrExist.
func CreateFile(path string, data []byte, o Options) error {
	dir, name := filepath.Split(path)
	f, err := Stage(filepath.Clean(dir), name, o)
	if err != nil {
		return err
	}
	defer f.Discard()
	if _, err := f.Write(data); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err := f.Sync(); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err := os.Link(f.Path(), path); err != nil { // a rename would overwrite
		return fmt.Errorf("create %s: %w", path, err)
	}
	if err := f.Discard(); err != nil {
		return err
	}
	return syncDir(filepath.Clean(dir))
}

// Remove removes path durably. A file that is not there is no error.
func Remove(path string) error {
	if err := os.Remove(path); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	}
	return syncDir(filepath.Dir(path))
}

// Link makes to another name of the file from, replacing what is there. Where
// links are refused, or lead across file systems, it is a copy.
func Link(from, to string) error {
	if same(from, to) {
		return nil
	}
	temp := filepath.Join(filepath.Dir(to), "."+filepath.Base(to)+".tmp")
	if err := os.Remove(temp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.Link(from, temp); err != nil {
		data, err := os.ReadFile(from)
		if err != nil {
			return err
		}
		return WriteFile(to, data, Options{})
	}
	if err := os.Rename(temp, to); err != nil {
		os.Remove(temp)
		return err
	}
	return syncDir(filepath.Dir(to))
}

func same(a, b string) bool {
	ia, err := os.Stat(a)
	if err != nil {
		return false
	}
	ib, err := os.Stat(b)
	return err == nil && os.SameFile(ia, ib)
}

// MkdirAll is os.MkdirAll with an explicit mode, owned as a written file is.
func MkdirAll(path string, mode os.FileMode) error {
	if info, err := os.Stat(path); err == nil {
		if !info.IsDir() {
			return &fs.PathError{Op: "mkdir", Path: path, Err: syscall.ENOTDIR}
		}
		return nil
	}
	parent := filepath.Dir(path)
	if parent != path {
		if err := MkdirAll(parent, mode); err != nil {
			return err
		}
	}
	if err := os.Mkdir(path, mode); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	if o, ok := foreignOwner(parent); ok {
		if err := os.Chown(path, o.uid, o.gid); err != nil {
			return err
		}
	}
	if err := os.Chmod(path, mode); err != nil {
		return err
	}
	return syncDir(parent)
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	if err := d.Sync(); err != nil && !errors.Is(err, syscall.EINVAL) && !errors.Is(err, syscall.ENOTSUP) {
		return fmt.Errorf("sync %s: %w", dir, err)
	}
	return nil
}
