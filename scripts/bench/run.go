package main

import (
	"bytes"
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
	cpu     float64 // seconds, of all cores together; 0 if unknown
	peak    int64   // bytes: ru_maxrss
	said    string
}

// room is where everything is made, and how programs are run in it.
type room struct {
	dir   string
	self  string // the path of this program
	cores int
}

func (r *room) path(elem ...string) string { return filepath.Join(append([]string{r.dir}, elem...)...) }

// run runs a program to its end. What it prints goes to a file. An exit status
// but 0 is an error that ends with what the program said last.
func (r *room) run(ctx context.Context, program string, args ...string) (took, error) {
	l, err := r.launch(ctx, r.path("said"), program, args...)
	if err != nil {
		return took{}, err
	}
	t, err := l.wait()
	if ctx.Err() != nil {
		return took{}, ctx.Err()
	}
	if err != nil {
		return t, fmt.Errorf("run %s %s: %w: %s", filepath.Base(program), strings.Join(args, " "), err, strings.TrimSpace(t.said))
	}
	return t, nil
}

// launched is a program that runs as a child of a child. On Linux the peak of a
// process begins with that of the one which it was forked from, and this one is
// larger than some that are measured; and the one between ends the program when
// this one is killed.
type launched struct {
	cmd    *exec.Cmd
	leash  io.Closer
	answer bytes.Buffer
	said   string
	ended  chan struct{}
	err    error
}

func (r *room) launch(ctx context.Context, said, program string, args ...string) (*launched, error) {
	l := &launched{said: said, ended: make(chan struct{})}
	l.cmd = command(ctx, r.self, append([]string{"-child", "run", "--", said, program}, args...)...)
	l.cmd.Dir = r.dir
	l.cmd.Stdout = &l.answer
	var err error
	if l.leash, err = l.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	if err := l.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		l.err = l.cmd.Wait()
		close(l.ended)
	}()
	return l, nil
}

// wait waits for the end of the program.
func (l *launched) wait() (t took, err error) {
	<-l.ended
	if t.said, err = tail(l.said); err != nil {
		return t, err
	}
	if l.err != nil {
		return t, l.err
	}
	_, err = fmt.Sscan(l.answer.String(), &t.seconds, &t.cpu, &t.peak)
	return t, err
}

// stop asks the program to end, and waits for it.
func (l *launched) stop() (took, error) {
	l.leash.Close()
	return l.wait()
}

// runChild is this program run as the parent of one that is measured. It prints
// the seconds, those of the processor, and the peak in bytes. When its input ends, so does the program.
func runChild(ctx context.Context, said string, argv []string, leash io.Reader, out io.Writer) error {
	log, err := os.Create(said)
	if err != nil {
		return err
	}
	defer log.Close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		io.Copy(io.Discard, leash)
		cancel()
	}()
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...) // in the group of this one
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = stopTimeout
	start := time.Now()
	err = cmd.Run()
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil: // it was asked to end
	case errors.As(err, &exit):
		return exitStatus(max(1, exit.ExitCode()))
	case err != nil:
		fmt.Fprintln(log, err)
		return exitStatus(127)
	}
	seconds := time.Since(start).Seconds()
	_, err = fmt.Fprintln(out, seconds, cpuOf(cmd), peakOf(cmd))
	return err
}

// exitStatus is how the measured program ended, which the one between passes on.
type exitStatus int

func (e exitStatus) Error() string { return fmt.Sprintf("exit status %d", int(e)) }

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

// cpuOf is the processor time of a process that has ended.
func cpuOf(cmd *exec.Cmd) float64 {
	if cmd.ProcessState == nil {
		return 0
	}
	return (cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Seconds()
}

// peakNow is the largest resident set so far of a process that runs, 0 where
// the system does not tell.
func peakNow(pid int) int64 {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	var kib int64
	if _, rest, ok := strings.Cut(string(b), "VmHWM:"); ok {
		fmt.Sscan(rest, &kib)
	}
	return kib * 1024
}

// tail is the end of a file, at most 2,000 bytes.
func tail(path string) (string, error) {
	const most = 2000
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	end, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return "", err
	}
	b := make([]byte, min(end, most))
	n, err := f.ReadAt(b, end-int64(len(b)))
	if n == len(b) {
		err = nil
	}
	return string(b[:n]), err
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

// load is the load average of the last minute, -1 where the system does not tell:
// a run on a busy machine says little.
func load() float64 {
	b, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return -1
	}
	l := -1.0
	fmt.Sscan(string(b), &l)
	return l
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
