package build_test

import (
	"errors"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// program is the command itself, for what only a process of its own can
// suffer: kill -9, a full disk, another user's directory.
type program struct {
	t    testing.TB
	path string
}

func newProgram(t testing.TB) program {
	t.Helper()
	path := filepath.Join(t.TempDir(), "zonebuild")
	out, err := exec.Command("go", "build", "-buildvcs=false", "-o", path, "../../cmd/zonebuild").CombinedOutput()
	if err != nil {
		t.Fatalf("build the program: %v\n%s", err, out)
	}
	return program{t, path}
}

// run runs it to its end and gives what it printed and its exit code.
func (p program) run(args ...string) (said string, code int) {
	p.t.Helper()
	return p.finish(exec.Command(p.path, args...))
}

func (p program) finish(cmd *exec.Cmd) (said string, code int) {
	p.t.Helper()
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		p.t.Fatalf("run %s: %v", strings.Join(cmd.Args, " "), err)
	}
	return string(out), cmd.ProcessState.ExitCode()
}

// must is run for a run that has to succeed.
func (p program) must(args ...string) string {
	p.t.Helper()
	said, code := p.run(args...)
	if code != 0 {
		p.t.Fatalf("zonebuild %s: exit %d\n%s", strings.Join(args, " "), code, said)
	}
	return said
}

// killed runs it and kills it after a time. It reports whether the run was
// still going on.
func (p program) killed(after time.Duration, args ...string) bool {
	p.t.Helper()
	cmd := exec.Command(p.path, args...)
	if err := cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	timer := time.AfterFunc(after, func() { cmd.Process.Kill() })
	defer timer.Stop()
	if err := cmd.Wait(); err != nil {
		var exit *exec.ExitError
		if !errors.As(err, &exit) {
			p.t.Fatal(err)
		}
	}
	status, is := cmd.ProcessState.Sys().(syscall.WaitStatus)
	return is && status.Signaled()
}
