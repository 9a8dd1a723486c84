package durable

import (
	"os"
	"path/filepath"
	"testing"
)

func TestLink(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "live")
	if err := os.Symlink("left by a killed process", filepath.Join(dir, ".live.tmp")); err != nil {
		t.Fatal(err)
	}
	for _, target := range []string{"archive/0001", "archive/0002", "archive/0002"} {
		if err := Link(target, path); err != nil {
			t.Fatal(err)
		}
		if got, err := os.Readlink(path); err != nil || got != target {
			t.Errorf("%q %v", got, err)
		}
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 1 {
		t.Errorf("left behind: %v %v", left, err)
	}
	if err := os.Mkdir(filepath.Join(dir, "dir"), 0o755); err != nil {
		t.Fatal(err)
	}
	full := filepath.Join(dir, "dir")
	if err := Link("x", full); err == nil || err.Error() != "link "+full+": file exists" {
		t.Errorf("%v", err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 2 {
		t.Errorf("left behind: %v %v", left, err)
	}
}

// TestLockIsNoLink: a link in the place of a lock is refused in words.
func TestLockIsNoLink(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	if err := os.Symlink("/etc/passwd", path); err != nil {
		t.Fatal(err)
	}
	if _, err := TryLock(path); err == nil || err.Error() != "lock "+path+": not a regular file with one name" {
		t.Errorf("%v", err)
	}
}

// TestCreateLog: a new file each time, which the writer of the old one does not see.
func TestCreateLog(t *testing.T) {
	path := filepath.Join(t.TempDir(), "out")
	for range 2 {
		f, err := CreateLog(path)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if _, err := f.WriteString("x"); err != nil {
			t.Fatal(err)
		}
		if b, err := os.ReadFile(path); err != nil || string(b) != "x" {
			t.Errorf("%q %v", b, err)
		}
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", info, err)
	}
}

func TestRename(t *testing.T) {
	dir := t.TempDir()
	from, to := filepath.Join(dir, ".new"), filepath.Join(dir, "0001")
	for range 2 {
		if err := MkdirAll(from, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := WriteFile(filepath.Join(from, "f"), []byte("x"), Options{}); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(to); err == nil {
			break
		}
		if err := Rename(from, to); err != nil {
			t.Fatal(err)
		}
	}
	if b, err := os.ReadFile(filepath.Join(to, "f")); err != nil || string(b) != "x" {
		t.Errorf("%q %v", b, err)
	}
	if err := Rename(from, to); err == nil {
		t.Error("written over")
	}
	if err := Rename(filepath.Join(dir, "none"), to); err == nil {
		t.Error("none was renamed")
	}
}
