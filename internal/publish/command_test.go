package publish_test

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"zonebuild/internal/domain"
	"zonebuild/internal/lab"
	"zonebuild/internal/publish"
)

// sh is a program of an operator's.
func sh(script string) []string { return []string{"/bin/sh", "-c", script} }

func newCommand(t *testing.T) (*publish.Command, domain.Name, string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "a.test")
	if err := os.WriteFile(file, zoneText("a.test", 42), 0o644); err != nil {
		t.Fatal(err)
	}
	return &publish.Command{File: func(domain.Name) string { return file }, Timeout: 10 * time.Second}, domain.MustParse("a.test"), file
}

func TestCommand(t *testing.T) {
	t.Setenv("INHERITED", "yes")
	c, apex, file := newCommand(t)
	out := filepath.Join(t.TempDir(), "out")
	t.Setenv("OUT", out)
	c.CheckArgv = sh(`test "$ZONE $FILE $SERIAL $INHERITED" = "a.test ` + file + ` 42 yes"`)
	c.ReloadArgv = sh(`echo "$ZONE $SERIAL" >> "$OUT"`)
	c.ConfirmArgv = sh(`echo " $SERIAL "`)
	if err := c.Check(t.Context(), apex, file); err != nil {
		t.Error(err)
	}
	if refused := c.Reload(t.Context(), []domain.Name{apex, apex}); len(refused) != 0 {
		t.Error(refused)
	}
	if got := read(t, out); got != "a.test 42\na.test 42\n" {
		t.Errorf("reload got %q", got)
	}
	if s, err := c.Serial(t.Context(), apex); err != nil || s.Serial != 42 || s.Server != "/bin/sh" {
		t.Errorf("confirm: %+v, %v", s, err)
	}
}

func TestCommandFails(t *testing.T) {
	c, apex, file := newCommand(t)
	check := func(script string) error {
		c.CheckArgv = sh(script)
		return c.Check(t.Context(), apex, file)
	}
	tests := []struct{ name, script, want string }{
		{"status", "exit 3", "run /bin/sh: exit status 3"},
		{"words", "echo out; echo err >&2; exit 1", `run /bin/sh: exit status 1: err\nout`},
		{"control bytes", `printf '\033[2J' >&2; exit 1`, `run /bin/sh: exit status 1: \x1b[2J`},
		{"long", `yes x | head -c 100000 >&2; exit 1`, "run /bin/sh: exit status 1: " + strings.Repeat(`x\n`, 150) + "..."},
		{"signal", "kill -9 $$", "run /bin/sh: signal: killed"},
	}
	for _, tt := range tests {
		if err := check(tt.script); err == nil || err.Error() != tt.want {
			t.Errorf("%s: got %v, want %s", tt.name, err, tt.want)
		}
	}
	c.CheckArgv = []string{"/nonexistent/check"}
	if err := c.Check(t.Context(), apex, file); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no program: %v", err)
	}
	if err := c.Check(t.Context(), apex, file+".none"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
	c.ConfirmArgv = sh("exit 1")
	if _, err := c.Serial(t.Context(), apex); !errors.Is(err, publish.ErrUnreachable) {
		t.Errorf("confirm fails: %v", err)
	}
	for _, script := range []string{"echo", "echo serial 42", "echo 4294967296", "echo -1"} {
		c.ConfirmArgv = sh(script)
		if _, err := c.Serial(t.Context(), apex); !errors.Is(err, publish.ErrUnreachable) || !strings.Contains(err.Error(), "printed no serial") {
			t.Errorf("%s: %v", script, err)
		}
	}
}

// A program that hangs is killed with its children, and does not hold us up.
func TestCommandHangs(t *testing.T) {
	c, apex, file := newCommand(t)
	pid := filepath.Join(t.TempDir(), "pid")
	c.CheckArgv = sh("sleep 1000 & echo $! > " + pid + "; wait")
	c.Timeout = 300 * time.Millisecond
	start := time.Now()
	err := c.Check(t.Context(), apex, file)
	if err == nil || err.Error() != "run /bin/sh: no end within 300ms" || time.Since(start) > 10*time.Second {
		t.Errorf("%v after %v", err, time.Since(start))
	}
	c.Timeout = time.Hour
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(100*time.Millisecond, cancel)
	if err := c.Check(ctx, apex, file); err == nil {
		t.Error("no error after the caller gave up")
	}
}

// Without programs, nothing is checked or told, and the addresses are asked.
func TestCommandAddresses(t *testing.T) {
	c, apex, file := newCommand(t)
	if err := c.Check(t.Context(), apex, file); err != nil {
		t.Error(err)
	}
	if _, err := c.Serial(t.Context(), apex); !errors.Is(err, publish.ErrNoServer) {
		t.Errorf("no address: %v", err)
	}
	c.Confirm = []netip.AddrPort{nameserver(t, nil, soaOf(7, nil))}
	c.ReloadArgv = sh("exit 0")
	c.Reload(t.Context(), []domain.Name{apex})
	if s, err := c.Serial(t.Context(), apex); err != nil || s.Serial != 7 || !s.WasServed {
		t.Errorf("%+v, %v", s, err)
	}
}

// Of what a program prints without end the beginning is kept.
func TestRunOutput(t *testing.T) {
	out, err := publish.Run(t.Context(), time.Minute, "", sh("yes error | head -c 50000000"), nil)
	if err != nil || len(out) != 1<<20 {
		t.Errorf("%d octets of standard output are kept, %v", len(out), err)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err = publish.Run(t.Context(), time.Minute, "", sh("yes error | head -c 50000000 >&2; exit 3"), nil)
	runtime.ReadMemStats(&after)
	if got := after.TotalAlloc - before.TotalAlloc; err == nil || got > 16<<20 {
		t.Errorf("50 MB of standard error took %d octets of memory, %v", got, err)
	}
}

// A program that ends well has, whatever it leaves behind.
func TestRunLeavesChild(t *testing.T) {
	pid := filepath.Join(t.TempDir(), "pid")
	out, err := publish.Run(t.Context(), time.Minute, "", sh("sleep 1000 & echo $! >"+pid+"; echo done"), nil)
	if child, convErr := strconv.Atoi(strings.TrimSpace(read(t, pid))); convErr == nil {
		defer syscall.Kill(child, syscall.SIGKILL)
	}
	if err != nil || out != "done\n" {
		t.Errorf("%q, %v", out, err)
	}
	if _, err := publish.Run(t.Context(), time.Minute, "", sh("sleep 2 & exit 3"), nil); err == nil || err.Error() != "run /bin/sh: exit status 3" {
		t.Errorf("one that fails: %v", err)
	}
}

// A program that is interrupted can clean up; one that does not care is killed.
func TestRunInterrupted(t *testing.T) {
	dir := t.TempDir()
	for _, script := range []string{
		"trap 'rm lock; exit 1' TERM; touch lock; while :; do sleep 0.1; done",
		"trap '' TERM; touch lock; trap 'rm lock' EXIT; while :; do sleep 0.1; done",
	} {
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() {
			_, err := publish.Run(ctx, time.Hour, dir, sh(script), nil)
			ended <- err
		}()
		lock := filepath.Join(dir, "lock")
		lab.Until(t, "it holds the lock", func() error {
			_, err := os.Stat(lock)
			return err
		})
		cancel()
		if err := <-ended; err == nil || !strings.HasPrefix(err.Error(), "run /bin/sh: interrupted") {
			t.Errorf("%v", err)
		}
		_, err := os.Stat(lock)
		if cares := strings.HasPrefix(script, "trap 'rm"); cares != errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: %v", script, err)
		}
	}
}
