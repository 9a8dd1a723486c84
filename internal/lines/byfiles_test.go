package lines

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestLinked: a file is as new as the newest link on the way to it, whatever is behind.
func TestLinked(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"0001", "0002"} {
		if err := os.MkdirAll(filepath.Join(dir, "archive", name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	link := func(target, name string) {
		t.Helper()
		os.Remove(filepath.Join(dir, name))
		if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	at := func(name string) time.Time {
		t.Helper()
		at := changed(filepath.Join(dir, name))
		if at.IsZero() {
			t.Fatalf("%s: no time", name)
		}
		return at
	}
	path := filepath.Join(dir, "live", "cert.pem")
	if got := linked(path, maxLinks); !got.IsZero() {
		t.Errorf("without any link: %v", got)
	}
	link("archive/0001", "live")
	link(filepath.Join(dir, "live", "cert.pem"), "cert.pem")
	if got := linked(filepath.Join(dir, "cert.pem"), maxLinks); !got.Equal(at("cert.pem")) {
		t.Errorf("%v, want %v", got, at("cert.pem"))
	}
	before := at("cert.pem")
	for !at("live").After(before) { // until the clock of the file system has gone on
		link("archive/0002", "live")
	}
	if got := linked(filepath.Join(dir, "cert.pem"), maxLinks); !got.Equal(at("live")) {
		t.Errorf("%v, want %v", got, at("live"))
	}
	link("round", "round") // leads nowhere, and holds nobody up
	if got := linked(filepath.Join(dir, "round", "cert.pem"), maxLinks); !got.Equal(at("round")) {
		t.Errorf("%v, want %v", got, at("round"))
	}
}
