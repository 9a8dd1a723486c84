package lines

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// script writes a program.
func script(t *testing.T, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+text+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestHookLeavesDaemon: the exit status decides, whoever still holds what was open.
func TestHookLeavesDaemon(t *testing.T) {
	for _, out := range []string{"", "out"} {
		dir := t.TempDir()
		pid := filepath.Join(dir, "pid")
		h := Hook{Argv: []string{script(t, dir, "x", "sleep 300 & echo $! >"+pid+"; cat >/dev/null; exit 0")}, Env: []string{plainPath}, Dir: dir, Stdin: []byte("x"), Timeout: time.Minute}
		if out != "" {
			h.Output = filepath.Join(dir, out)
		}
		start := time.Now()
		err := RunHook(t.Context(), h)
		kill(t, pid)
		if err != nil || time.Since(start) > 30*time.Second {
			t.Errorf("%v after %s", err, time.Since(start))
		}
	}
}

// kill ends the process that a file names.
func kill(t *testing.T, file string) {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := RunHook(t.Context(), Hook{Argv: []string{"kill", strings.TrimSpace(string(b))}, Env: []string{plainPath}, Dir: "/", Timeout: time.Minute}); err != nil {
		t.Error(err)
	}
}

// TestHookIsFound: by the documented path and not by our own; a path with a slash from
// where we are, not from the program's directory.
func TestHookIsFound(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	dir := t.TempDir()
	h := Hook{Argv: []string{"sh", "-c", "exit 0"}, Env: []string{plainPath}, Dir: dir, Timeout: time.Minute}
	if err := RunHook(t.Context(), h); err != nil {
		t.Error(err)
	}
	h.Argv = []string{"no-such-program"}
	if err := RunHook(t.Context(), h); err == nil || err.Error() != "run no-such-program: no such program in "+programPath {
		t.Errorf("%v", err)
	}
	t.Chdir(dir)
	script(t, dir, "hook", "exit 0")
	h.Argv, h.Dir = []string{"./hook"}, "/"
	if err := RunHook(t.Context(), h); err != nil {
		t.Error(err)
	}
}

// TestHookIsSilent: what a program prints is in a file of ours, anew each time and cut,
// and in no error.
func TestHookIsSilent(t *testing.T) {
	dir := t.TempDir()
	h := Hook{
		Argv: []string{script(t, dir, "x", "echo SECRET; head -c 200000 /dev/zero >&2; exit 3")}, Env: []string{plainPath},
		Dir: dir, Timeout: time.Minute, Output: filepath.Join(dir, "out"),
	}
	for range 2 {
		if err := RunHook(t.Context(), h); err == nil || err.Error() != "run "+h.Argv[0]+": exit status 3 (what it printed is in "+h.Output+")" {
			t.Errorf("%v", err)
		}
		b, err := os.ReadFile(h.Output)
		if err != nil || len(b) != maxSaid || !strings.HasPrefix(string(b), "SECRET\n") {
			t.Errorf("%d octets %v", len(b), err)
		}
		if info, err := os.Stat(h.Output); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%v %v", info, err)
		}
	}
	h.Argv = []string{script(t, dir, "y", "sleep 300")}
	h.Timeout = 50 * time.Millisecond
	if err := RunHook(t.Context(), h); err == nil || err.Error() != "run "+h.Argv[0]+": no end within 50ms" {
		t.Errorf("%v", err)
	}
}
