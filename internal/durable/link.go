package durable

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Link makes path a symbolic link to target, in the place of what link or file is
// there: whoever follows it finds the old target or the new one, and never none.
func Link(target, path string) error {
	if err := link(target, path); err != nil {
		return fmt.Errorf("link %s: %w", path, cause(err))
	}
	return nil
}

func link(target, path string) error {
	dir, temp := filepath.Dir(path), tempPath(path)
	if err := os.Remove(temp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.Symlink(target, temp); err != nil {
		return err
	}
	err := error(nil)
	if owner, ok := foreignOwner(dir); ok {
		err = os.Lchown(temp, owner.uid, owner.gid)
	}
	if err == nil {
		err = os.Rename(temp, path)
	}
	if err != nil {
		os.Remove(temp) // the first error is the one to tell
		return err
	}
	return syncDir(dir)
}

// Rename gives a directory that is whole its name, durably; there must be none of that
// name, and both names are in one directory. What is in it was written durably before.
func Rename(from, to string) error {
	if err := syncDir(from); err != nil {
		return fmt.Errorf("rename %s: %w", from, cause(err))
	}
	if err := os.Rename(from, to); err != nil {
		return fmt.Errorf("rename %s to %s: %w", from, to, cause(err))
	}
	if err := syncDir(filepath.Dir(to)); err != nil {
		return fmt.Errorf("rename %s to %s: %w", from, to, cause(err))
	}
	return nil
}
