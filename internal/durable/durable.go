// Package durable is the only place that knows how a file is replaced so that a
// crash at any instant leaves the old or the new one, whole: temporary file in
// the same directory, fsync, rename, fsync of the directory. It also holds the
// locks between processes and the distrustful reading of foreign directories.
//
// A failure at any step before the rename leaves the target as it was and
// removes the temporary file. Only the directory's fsync comes after it: when
// that fails the new file is there, but the error says that it may not last.
//
// The temporary file of NAME is .NAME.tmp, always, so that the one a killed
// process left is found again and removed. Callers therefore serialize the
// writers of one file, with a Lock.
//
// Each file is committed by itself. Writing many first and flushing them
// together was measured (1,000 files on ext4: 0.6-1.2 s, one by one 0.3-1.1 s)
// and wins nothing over a few goroutines that commit side by side.
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

	"golang.org/x/sys/unix"
)

// Options of a written file.
type Options struct {
	Mode  os.FileMode // permissions, set whatever the umask; 0 is 0644
	Group *int        // gid; nil leaves what the system gives

	fault func(step string) error // tests: the error of a step instead of the step
}

// try carries out a step of the writing of a file.
func (o Options) try(step string, do func() error) error {
	if o.fault != nil {
		if err := o.fault(step); err != nil {
			return err
		}
	}
	return do()
}

// File is a file being written. Nobody sees it under its name before Commit.
// It is not safe for concurrent use, but Flush may run beside Write and WriteAt.
type File struct {
	f         *os.File
	dir, name string
	o         Options
	done      bool
}

var (
	_ io.Writer   = (*File)(nil)
	_ io.WriterAt = (*File)(nil)
)

// Stage begins a new version of dir/name. A temporary file that a killed
// process left behind is removed.
func Stage(dir, name string, o Options) (*File, error) {
	s := &File{dir: dir, name: name, o: o}
	if err := s.open(); err != nil {
		s.Discard()
		return nil, fmt.Errorf("stage %s: %w", s.target(), cause(err))
	}
	return s, nil
}

func (f *File) open() error {
	if !isBase(f.name) {
		return fmt.Errorf("%q is no file name", f.name)
	}
	path := tempPath(f.target())
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return f.o.try("open", func() (err error) {
		f.f, err = os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL|unix.O_NOFOLLOW, 0o600)
		if err != nil {
			return err
		}
		return f.own()
	})
}

// own sets owner, group and mode. Root leaves no root-owned file in another
// user's directory.
func (f *File) own() error {
	uid, gid := -1, -1
	if owner, ok := foreignOwner(f.dir); ok {
		uid, gid = owner.uid, owner.gid
	}
	if f.o.Group != nil {
		gid = *f.o.Group
	}
	if uid >= 0 || gid >= 0 {
		if err := f.o.try("chown", func() error { return f.f.Chown(uid, gid) }); err != nil {
			return err
		}
	}
	mode := f.o.Mode.Perm()
	if mode == 0 {
		mode = 0o644
	}
	return f.o.try("chmod", func() error { return f.f.Chmod(mode) })
}

func (f *File) target() string { return filepath.Join(f.dir, f.name) }

// Path is where the bytes are before Commit.
func (f *File) Path() string { return tempPath(f.target()) }

// Name is the name that the file has after Commit, without the directory.
func (f *File) Name() string { return f.name }

// Write appends to the file.
func (f *File) Write(b []byte) (n int, err error) {
	err = f.o.try("write", func() (err error) {
		n, err = f.f.Write(b)
		return err
	})
	return n, f.failed("write", err)
}

// WriteAt writes over what was written, or past its end.
func (f *File) WriteAt(b []byte, off int64) (n int, err error) {
	err = f.o.try("write", func() (err error) {
		n, err = f.f.WriteAt(b, off)
		return err
	})
	return n, f.failed("write", err)
}

// Flush brings to the disk what was written. Commit does so by itself.
func (f *File) Flush() error {
	return f.failed("sync", f.o.try("sync", f.f.Sync))
}

func (f *File) failed(verb string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s %s: %w", verb, f.target(), cause(err))
}

// Commit makes the file durable and gives it its name. Its modification time
// becomes strictly later than that of the version it replaces and than after,
// by which name servers tell that there is something to load.
func (f *File) Commit(after time.Time) error {
	err := f.commit(after)
	if err != nil {
		f.Discard()
	}
	return f.failed("commit", err)
}

func (f *File) commit(after time.Time) error {
	if f.done {
		return fs.ErrClosed
	}
	target := f.target()
	old, none := os.Lstat(target)
	if none == nil && old.ModTime().After(after) {
		after = old.ModTime()
	}
	if err := f.o.try("mtime", func() error { return f.advance(after) }); err != nil {
		return err
	}
	if err := f.o.try("sync", f.f.Sync); err != nil {
		return err
	}
	if err := f.o.try("close", f.f.Close); err != nil {
		return err
	}
	if none == nil && old.Size() >= largeFile {
		defer letGo(target)()
	}
	if err := f.o.try("rename", func() error { return os.Rename(f.Path(), target) }); err != nil {
		return err
	}
	f.done = true
	return f.o.try("syncdir", func() error { return syncDir(f.dir) })
}

// largeFile is from how many octets on it takes noticeable time to free a file.
const largeFile = 1 << 20

// letGo keeps the file at path until the function that it returns is called, which does
// not wait: to free what a large file takes is much of the time of a rename over it.
func letGo(path string) func() {
	old, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return func() {} // there is none, or the rename takes longer
	}
	return func() { go old.Close() }
}

// advance sets the modification time if the present one is not late enough.
// File systems store times as coarsely as 2 s; the first step that one can
// tell apart is taken.
func (f *File) advance(after time.Time) error {
	for _, step := range []time.Duration{0, 2 * time.Millisecond, 2 * time.Second, 4 * time.Second} {
		if step > 0 {
			ts, err := unix.TimeToTimespec(after.Truncate(time.Millisecond).Add(step))
			if err != nil {
				return err
			}
			times := []unix.Timespec{ts, ts}
			// By path, as FreeBSD has no other way with nanoseconds; but never through a link.
			if err := unix.UtimesNanoAt(unix.AT_FDCWD, f.Path(), times, unix.AT_SYMLINK_NOFOLLOW); err != nil {
				return err
			}
		}
		info, err := f.f.Stat()
		if err != nil {
			return err
		}
		if info.ModTime().After(after) {
			return nil
		}
	}
	return fmt.Errorf("the file system stores no modification time after %s", after.UTC().Format(time.RFC3339Nano))
}

// Discard removes the temporary file. After Commit it does nothing.
func (f *File) Discard() error {
	if f.done || f.f == nil {
		return nil
	}
	f.done = true
	f.f.Close()
	if err := os.Remove(f.Path()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// syncDir makes the names in a directory durable. Some file systems have
// nothing to flush there and say so.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	if err := d.Sync(); err != nil && !errors.Is(err, syscall.EINVAL) && !errors.Is(err, syscall.ENOTSUP) {
		return err
	}
	return nil
}

func tempPath(target string) string {
	dir, name := filepath.Split(target)
	return filepath.Join(dir, "."+name+".tmp")
}

// isBase reports whether name stands for a file in a directory and nothing else.
func isBase(name string) bool {
	return name != "." && name == filepath.Base(name) && filepath.IsLocal(name)
}

// cause is the system's error without the path, which the caller names itself:
// often by another name than that of the temporary file.
func cause(err error) error {
	var pe *fs.PathError
	var le *os.LinkError
	switch {
	case errors.As(err, &pe):
		return pe.Err
	case errors.As(err, &le):
		return le.Err
	}
	return err
}
