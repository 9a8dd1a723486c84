package watch

import (
	"os"
	"path/filepath"
	"strings"

	"zonebuild/internal/durable"
)

// maxUp bounds how many directories above a path are searched.
const maxUp = 64

// VCSLock gives a Checkout's Locked: it looks for the lock file of the version
// control system in whose work tree one of the paths lies: git's index.lock
// (also of a linked work tree), Mercurial's wlock, Bazaar's, and the journal that
// Subversion has while it writes to its data base. It changes nothing.
func VCSLock(paths ...string) func() string {
	return func() string {
		asked := map[string]bool{}
		for _, path := range paths {
			real, err := filepath.EvalSymlinks(path)
			if err != nil {
				real = filepath.Clean(path)
			}
			for range maxUp {
				if asked[real] {
					break
				}
				asked[real] = true
				if lock := lockIn(real); lock != "" {
					return lock
				}
				up := filepath.Dir(real)
				if up == real {
					break
				}
				real = up
			}
		}
		return ""
	}
}

// journal is where Subversion's data base keeps what a transaction replaces. It knows of
// no lock file for the time of a whole update; whoever updates may make .svn/lock.
const journal = ".svn/wc.db-journal"

// lockIn gives the lock that stands in a directory.
func lockIn(dir string) string {
	locks := []string{".git/index.lock", ".hg/wlock", ".bzr/checkout/lock/held", journal, ".svn/lock"}
	if git := linkedGit(dir); git != "" {
		locks = append(locks, filepath.Join(git, "index.lock"))
	}
	for _, lock := range locks {
		path := lock
		if !filepath.IsAbs(path) {
			path = filepath.Join(dir, lock)
		}
		// Mercurial's is a link to nothing. Subversion's journal stands there empty when
		// nobody writes.
		if info, err := os.Lstat(path); err == nil && (lock != journal || info.Size() > 0) {
			return path
		}
	}
	return ""
}

// linkedGit is where git keeps the state of a linked work tree, which has a file
// `.git` that says so; "" = dir is none.
func linkedGit(dir string) string {
	path := filepath.Join(dir, ".git")
	if info, err := os.Lstat(path); err != nil || !info.Mode().IsRegular() {
		return ""
	}
	text, _, err := durable.ReadFile(path, 8<<10)
	if err != nil {
		return ""
	}
	to, ok := strings.CutPrefix(strings.TrimSpace(string(text)), "gitdir: ")
	if !ok {
		return ""
	}
	if !filepath.IsAbs(to) {
		to = filepath.Join(dir, to)
	}
	return to
}
