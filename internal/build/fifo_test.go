package build

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"zonebuild/internal/config"
	"zonebuild/zone"
)

// TestTreeFIFO: no file of the tree is waited for.
func TestTreeFIFO(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mkfifo(filepath.Join(dir, "fifo"), 0o644); err != nil {
		t.Fatal(err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	files := treeFS{config: &config.Config{Tree: dir, Paths: config.Paths{Keys: filepath.Join(dir, "keys"), State: filepath.Join(dir, "state")}}, root: root, private: func(string) bool { return false }}
	for _, name := range []string{"fifo", filepath.Join(dir, "fifo")} {
		done := make(chan error, 1)
		go func() { _, err := zone.ReadFile(files, name); done <- err }()
		select {
		case err := <-done:
			if err == nil || !strings.HasSuffix(err.Error(), "not a regular file") {
				t.Errorf("%s: %v", name, err)
			}
		case <-time.After(5 * time.Second):
			t.Fatalf("%s is waited for", name)
		}
	}
}
