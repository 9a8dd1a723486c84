package publish

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"zonebuild/internal/diag"
	"zonebuild/internal/domain"
)

// Command is a name server behind the operator's own programs. Each is a list
// of arguments, never a shell string; ZONE (without final dot), FILE and SERIAL
// are in its environment, beside that of zonebuild. An exit status other than 0
// is a refusal. Use it by pointer.
type Command struct {
	Dir         string   // where the programs work; "" = the present directory
	CheckArgv   []string // judges FILE before it gets its name; none: nothing is checked
	ReloadArgv  []string // run for each zone; none: nobody is told
	ConfirmArgv []string // prints the serial that is served, alone
	Confirm     []netip.AddrPort
	File        func(domain.Name) string                            // where a zone's file is
	SerialOf    func(apex domain.Name, file string) (uint32, error) // nil = SerialOf of this package
	Timeout     time.Duration                                       // of one program; 0 = one minute

	before Before
}

// Check runs the check program on a staged file.
func (c *Command) Check(ctx context.Context, apex domain.Name, file string) error {
	if len(c.CheckArgv) == 0 {
		return nil
	}
	_, err := c.run(ctx, c.CheckArgv, apex, file)
	return err
}

// Reload runs the reload program for each zone, one after the other.
func (c *Command) Reload(ctx context.Context, apexes []domain.Name) map[domain.Name]error {
	if len(c.ReloadArgv) == 0 {
		return nil
	}
	if len(c.ConfirmArgv) == 0 {
		c.before.Note(ctx, apexes, c.Serial)
	}
	refused := map[domain.Name]error{}
	for _, apex := range apexes {
		if _, err := c.run(ctx, c.ReloadArgv, apex, c.File(apex)); err != nil {
			refused[apex] = err
		}
	}
	return refused
}

// Serial runs the confirm program, whose output is the served serial, or asks
// the addresses. A program that fails proves nothing: the error is ErrUnreachable.
func (c *Command) Serial(ctx context.Context, apex domain.Name) (Served, error) {
	if len(c.ConfirmArgv) == 0 {
		s, err := AskAll(ctx, c.Confirm, apex)
		s.WasServed = c.before.Was(apex)
		return s, err
	}
	s, err := c.askProgram(ctx, apex)
	hear(ctx, s, err)
	return s, err
}

func (c *Command) askProgram(ctx context.Context, apex domain.Name) (Served, error) {
	s := Served{Server: c.ConfirmArgv[0]}
	out, err := c.run(ctx, c.ConfirmArgv, apex, c.File(apex))
	if err != nil {
		return s, fmt.Errorf("%w: %w", ErrUnreachable, err)
	}
	serial, err := strconv.ParseUint(strings.TrimSpace(out), 10, 32)
	if err != nil {
		return s, fmt.Errorf("%w: %s printed no serial but %q", ErrUnreachable, s.Server, shorten(out))
	}
	s.Serial = uint32(serial)
	return s, nil
}

func (c *Command) run(ctx context.Context, argv []string, apex domain.Name, file string) (string, error) {
	serialOf := c.SerialOf
	if serialOf == nil {
		serialOf = SerialOf
	}
	serial, err := serialOf(apex, file)
	if err != nil {
		return "", fmt.Errorf("run %s: %w", argv[0], err)
	}
	timeout := c.Timeout
	if timeout == 0 {
		timeout = time.Minute
	}
	if file, err = filepath.Abs(file); err != nil {
		return "", fmt.Errorf("run %s: %w", argv[0], err)
	}
	return Run(ctx, timeout, c.Dir, argv, nil, fmt.Sprintf("SERIAL=%d", serial), "ZONE="+strings.TrimSuffix(apex.String(), "."), "FILE="+file)
}

// Bounds of a program's output, in octets.
const (
	maxOutput = 1 << 20 // what is kept
	maxQuoted = 300     // what stands in a message
)

// Run runs a program of the operator's with extra environment and input, and
// gives the first MiB of its standard output. It works in dir, from where a relative
// path of the program counts, too. When its time ends it is killed, with the
// programs that it started; when the context does, it gets a SIGTERM and a second
// before that, so that it can remove its locks. One that ends well has done so,
// even if it leaves a program behind that holds its output open.
func Run(ctx context.Context, timeout time.Duration, dir string, argv []string, stdin []byte, env ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Dir = dir
	cmd.Env = append(cmd.Environ(), env...)
	cmd.Stdin = bytes.NewReader(stdin)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error {
		signal := syscall.SIGKILL
		if !errors.Is(ctx.Err(), context.DeadlineExceeded) {
			signal = syscall.SIGTERM
		}
		return syscall.Kill(-cmd.Process.Pid, signal)
	}
	cmd.WaitDelay = time.Second
	var out, said head
	cmd.Stdout, cmd.Stderr = &out, &said
	err := cmd.Run()
	if err == nil || errors.Is(err, exec.ErrWaitDelay) && ctx.Err() == nil {
		return out.String(), nil
	}
	switch {
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		err = fmt.Errorf("no end within %s", timeout)
	case ctx.Err() != nil:
		if cmd.Process != nil { // what did not heed the first signal
			_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		}
		err = errors.New("interrupted")
	}
	if words := strings.TrimSpace(said.String() + out.String()); words != "" {
		return "", fmt.Errorf("run %s: %w: %s", argv[0], err, shorten(words))
	}
	return "", fmt.Errorf("run %s: %w", argv[0], err)
}

// shorten makes output fit for a message.
func shorten(s string) string {
	s = strings.TrimSpace(s)
	if len(s) > maxQuoted {
		s = s[:maxQuoted] + "..."
	}
	return diag.Escape(s)
}

// head keeps the beginning of what is written to it. The buffer is no embedded one:
// io.Copy would find its ReadFrom, and keep everything.
type head struct{ kept bytes.Buffer }

// Write never fails: what is too much is lost.
func (h *head) Write(b []byte) (int, error) {
	h.kept.Write(b[:min(len(b), maxOutput-h.kept.Len())])
	return len(b), nil
}

func (h *head) String() string { return h.kept.String() }
