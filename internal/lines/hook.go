package lines

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"zonebuild/internal/diag"
	"zonebuild/internal/durable"
)

// Hook is a program that is told of something.
type Hook struct {
	Argv    []string
	Env     []string // all of it: nothing is inherited
	Dir     string
	Stdin   []byte // nil: none
	Timeout time.Duration
	Output  string // file of mode 0600 that gets what it prints; "" = nobody does
	Lists   bool   // what it prints is wanted, and so not what it complains of
}

// programPath is where programs without a slash are looked for, whatever our own PATH
// is: cron has a shorter one than a shell.
const programPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// plainPath is all of a program's environment that is not about its task.
const plainPath = "PATH=" + programPath

// maxSaid bounds what is kept of a program's output, in octets.
const maxSaid = 64 << 10

// RunHook runs a program; its exit status decides, also when it leaves a daemon
// behind. When its time or the context ends it is killed, with the programs that it
// started, but for those that began a session of their own. What it prints goes to a
// file that its owner alone can read, and into no error: it may print a key.
func RunHook(ctx context.Context, h Hook) error {
	if err := runHook(ctx, h); err != nil {
		where := ""
		if info, failed := os.Stat(h.Output); h.Output != "" && failed == nil && info.Size() > 0 {
			where = fmt.Sprintf(" (what it printed is in %s)", h.Output)
		}
		return fmt.Errorf("run %s: %w%s", diag.Escape(h.Argv[0]), err, where)
	}
	return nil
}

func runHook(ctx context.Context, h Hook) (failed error) {
	path, err := program(h.Argv[0])
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, h.Timeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, h.Argv[1:]...)
	cmd.Args[0] = h.Argv[0]
	cmd.Dir, cmd.Env = h.Dir, h.Env
	if h.Stdin != nil {
		cmd.Stdin = bytes.NewReader(h.Stdin)
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second
	if h.Output != "" {
		// A file and not a pipe: a daemon that keeps it holds nobody up, and may go on
		// writing into what has no name any more after the next run.
		said, err := durable.CreateLog(h.Output)
		if err != nil {
			return err
		}
		defer said.Close()
		bound := newBound(said)
		defer func() {
			if bound.end() && h.Lists && failed == nil {
				failed = errors.New("it prints too much")
			}
		}()
		cmd.Stdout = said
		if !h.Lists {
			cmd.Stderr = said
		}
	}
	err = cmd.Run()
	switch {
	case err == nil, errors.Is(err, exec.ErrWaitDelay) && cmd.ProcessState != nil && cmd.ProcessState.Success():
		return nil
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return fmt.Errorf("no end within %s", h.Timeout)
	case ctx.Err() != nil:
		return errors.New("interrupted")
	}
	return err
}

// bound keeps a file that somebody else appends to from filling the disk.
type bound struct {
	file *os.File
	stop chan struct{}
	done chan bool // whether something was cut
}

func newBound(file *os.File) *bound {
	b := &bound{file: file, stop: make(chan struct{}), done: make(chan bool, 1)}
	go b.watch()
	return b
}

func (b *bound) watch() {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for cut := false; ; {
		select {
		case <-tick.C:
			cut = b.cut() || cut
		case <-b.stop:
			b.done <- b.cut() || cut
			return
		}
	}
}

// cut shortens the file, and reports whether it was too long.
func (b *bound) cut() bool {
	info, err := b.file.Stat()
	return err == nil && info.Size() > maxSaid && b.file.Truncate(maxSaid) == nil
}

// end is called once, and reports whether the file was ever too long.
func (b *bound) end() bool {
	close(b.stop)
	return <-b.done
}

// program finds a program: by its path, or in programPath.
func program(name string) (string, error) {
	if strings.Contains(name, "/") {
		return filepath.Abs(name)
	}
	for _, dir := range filepath.SplitList(programPath) {
		path := filepath.Join(dir, name)
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() && info.Mode().Perm()&0o111 != 0 {
			return path, nil
		}
	}
	return "", fmt.Errorf("no such program in %s", programPath)
}
