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
