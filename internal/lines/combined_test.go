package lines

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestCombinedLater: a line that is to have combined.pem from now on gets it, and the
// hooks are told.
func TestCombinedLater(t *testing.T) {
	w := still(t, 60)
	w.line.Combined, w.line.DHParams = true, filepath.Join(w.hook.StateDir, "dh.pem")
	if err := w.run(Word{}); err == nil {
		t.Fatal("without DH parameters")
	}
	if err := w.run(Word{}); err != nil { // not again at once
		t.Fatal(err)
	}
	if err := os.WriteFile(w.line.DHParams, []byte("DH\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	w.served, w.now = nil, w.now.Add(time.Hour)
	if err := w.run(Word{}); err != nil || w.served == nil {
		t.Fatalf("%v, told %v", err, w.served != nil)
	}
	path := filepath.Join(PathsOf(w.hook, "mail").Line, "live", "combined.pem")
	b, err := os.ReadFile(path)
	info, _ := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 || !strings.HasPrefix(string(b), "-----BEGIN PRIVATE KEY") || strings.Count(string(b), "BEGIN CERT") != 2 || !strings.HasSuffix(string(b), "DH\n") {
		t.Errorf("%v %v", info, err)
	}
	if w.files().Live.Number != 1 || w.orders != 1 {
		t.Errorf("%d orders", w.orders)
	}
}
