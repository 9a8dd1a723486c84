package durable

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

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

// MkdirAll makes path and the directories above it that do not exist, durably.
// They have mode, whatever the umask, and are owned as written files are. A
// directory that exists stays as it is.
func MkdirAll(path string, mode os.FileMode) error {
	info, err := os.Stat(path)
	switch {
	case err == nil && info.IsDir():
		return nil
	case err == nil:
		return &fs.PathError{Op: "mkdir", Path: path, Err: syscall.ENOTDIR}
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	parent := filepath.Dir(path)
	if parent != path {
		if err := MkdirAll(parent, mode); err != nil {
			return err
		}
	}
	if err := os.Mkdir(path, mode); err != nil {
		if errors.Is(err, fs.ErrExist) {
			return nil // another process was faster
		}
		return err
	}
	if err := settle(path, parent, mode); err != nil {
		return fmt.Errorf("mkdir %s: %w", path, cause(err))
	}
	return nil
}

// Share gives a directory or regular file that is there a mode, and a group unless that
// is nil. Through no link in its place. What is so already is left alone.
func Share(path string, group *int, mode os.FileMode) error {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if !info.IsDir() && !info.Mode().IsRegular() {
		return fmt.Errorf("share %s: %w", path, ErrNotRegular)
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if group != nil && (!ok || int(st.Gid) != *group) {
		if err := f.Chown(-1, *group); err != nil {
			return fmt.Errorf("share %s: %w", path, cause(err))
		}
	}
	if info.Mode().Perm() != mode.Perm() {
		if err := f.Chmod(mode.Perm()); err != nil {
			return fmt.Errorf("share %s: %w", path, cause(err))
		}
	}
	return nil
}

// settle gives a new directory its owner and mode. By descriptor: the owner of
// the parent could put a link in its place, and root would give the target away.
func settle(path, parent string, mode os.FileMode) error {
	d, err := os.OpenFile(path, os.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	defer d.Close()
	if o, ok := foreignOwner(parent); ok {
		if err := d.Chown(o.uid, o.gid); err != nil {
			return err
		}
	}
	if err := d.Chmod(mode); err != nil {
		return err
	}
	return syncDir(parent)
}
