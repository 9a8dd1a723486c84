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
