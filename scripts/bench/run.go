package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// stopTimeout is how long a process may take to end once it was asked to.
const stopTimeout = 5 * time.Second

// took is what one run of a program cost.
type took struct {
	seconds float64
	peak    int64 // bytes: ru_maxrss
	said    string
}

// room is where everything is made, and how programs are run in it.
type room struct {
	dir   string
	cores int
}

func (r *room) path(elem ...string) string { return filepath.Join(append([]string{r.dir}, elem...)...) }

// run runs a program to its end. What it prints goes to a file, so that this
// process stays small: on Linux the peak of a child begins with that of the
// process it was forked from. An exit status but 0 is an error that ends with
// what the program said last.
func (r *room) run(ctx context.Context, program string, args ...string) (took, error) {
	log, err := os.Create(r.path("said"))
	if err != nil {
		return took{}, err
	}
	defer log.Close()
	cmd := command(ctx, program, args...)
	cmd.Dir = r.dir
	cmd.Stdout, cmd.Stderr = log, log
	start := time.Now()
	err = cmd.Run()
	t := took{seconds: time.Since(start).Seconds(), peak: peakOf(cmd), said: tail(log)}
	if ctx.Err() != nil {
		return t, ctx.Err()
	}
	if err != nil {
		return t, fmt.Errorf("run %s %s: %w: %s", filepath.Base(program), strings.Join(args, " "), err, strings.TrimSpace(t.said))
	}
	return t, nil
}

// command is a program in a process group of its own, which is asked to end,
// with its children, when ctx does, and killed a little later.
func command(ctx context.Context, program string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	cmd.WaitDelay = stopTimeout
	return cmd
}

// peakOf is the largest resident set of a process that has ended. Linux and
// FreeBSD count it in KiB.
func peakOf(cmd *exec.Cmd) int64 {
	if cmd.ProcessState == nil {
		return 0
	}
	if u, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
		return int64(u.Maxrss) * 1024
	}
	return 0
}

// tail is the end of a file, at most 2,000 bytes.
func tail(f *os.File) string {
	const most = 2000
	end, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return ""
	}
	b := make([]byte, min(end, most))
	n, _ := f.ReadAt(b, end-int64(len(b)))
	return string(b[:n])
}

// settle writes to the disk what earlier runs left to be written, so that it is
// not the next one that waits for it.
func (r *room) settle(ctx context.Context) error {
	_, err := r.run(ctx, "sync")
	return err
}

// find looks in PATH and where servers live, which a user's PATH on Debian does
// not name.
func find(program string) (string, bool) {
	if p, err := exec.LookPath(program); err == nil {
		p, err = filepath.Abs(p)
		return p, err == nil
	}
	for _, dir := range []string{"/usr/local/sbin", "/usr/sbin", "/sbin"} {
		if p, err := exec.LookPath(filepath.Join(dir, program)); err == nil {
			return p, true
		}
	}
	return "", false
}

// machine says what the numbers were measured on.
func machine() string {
	model := runtime.GOARCH
	if b, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(b)) {
			if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == "model name" {
				model = strings.TrimSpace(value)
				break
			}
		}
	} else if out, err := exec.Command("sysctl", "-n", "hw.model").Output(); err == nil {
		model = strings.TrimSpace(string(out))
	}
	return model
}

// version is the first line of what a program says about itself with any of the
// arguments, "" if nothing.
func version(ctx context.Context, program string, args ...string) string {
	out, err := command(ctx, program, args...).CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return ""
	}
	for line := range strings.Lines(string(out)) {
		if line = strings.TrimSpace(line); line != "" {
			return line
		}
	}
	return ""
}
