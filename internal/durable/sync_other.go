//go:build !linux

package durable

import (
	"io/fs"
	"os"
	"path/filepath"
)

// syncFile flushes one file: there is no call for all of them.
func syncFile(f *os.File) error { return f.Sync() }

// syncTree flushes the names in a directory and in those below it.
func syncTree(dir string) error {
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return err
		}
		return syncDir(path)
	})
}
