package publish

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"zonebuild/internal/diag"
	"zonebuild/internal/domain"
)

// Command is a name server behind the operator's own programs. Each is a list
// of arguments, never a shell string; ZONE, FILE and SERIAL are in its
// environment. An exit status other than 0 is a refusal.
type Command struct {
	CheckArgv, ReloadArgv, ConfirmArgv []string
	Confirm                            []netip.AddrPort // asked when there is no ConfirmArgv
	File                               func(domain.Name) string
	SerialOf                           func(apex domain.Name, file string) (uint32, error)
	Timeout                            time.Duration // of one program
}

// Check runs the check program on a staged file.
func (c *Command) Check(ctx context.Context, apex domain.Name, file string) error {
	if c.CheckArgv == nil {
		return nil
	}
	_, err := c.run(ctx, c.CheckArgv, apex, file)
	return err
}

// Reload runs the reload program for each zone.
func (c *Command) Reload(ctx context.Context, apexes []domain.Name) map[domain.Name]error {
	refused := map[domain.Name]error{}
	for _, apex := range apexes {
		if _, err := c.run(ctx, c.ReloadArgv, apex, c.File(apex)); err != nil {
			refused[apex] = err
		}
	}
	return refused
}

// Serial runs the confirm program, whose output is the served serial, or asks
// the addresses.
func (c *Command) Serial(ctx context.Context, apex domain.Name) (Served, error) {
	if c.ConfirmArgv == nil {
		return AskAll(ctx, c.Confirm, apex)
	}
	out, err := c.run(ctx, c.ConfirmArgv, apex, c.File(apex))
	if err != nil {
		return Served{}, fmt.Errorf("%w: %w", ErrUnreachable, err)
	}
	serial, err := strconv.ParseUint(strings.TrimSpace(out), 10, 32)
	if err != nil {
		return Served{}, fmt.Errorf("%w: %s printed no serial", ErrUnreachable, c.ConfirmArgv[0])
	}
	return Served{uint32(serial), c.ConfirmArgv[0]}, nil
}

const maxOutput = 300 // octets of a program's output in a message

func (c *Command) run(ctx context.Context, argv []string, apex domain.Name, file string) (string, error) {
	serial, err := c.SerialOf(apex, file)
	if err != nil {
		return "", err
	}
	return Run(ctx, c.Timeout, argv, nil, fmt.Sprintf("SERIAL=%d", serial), "ZONE="+strings.TrimSuffix(apex.String(), "."), "FILE="+file)
}

// Run runs a program of the operator's with extra environment and input, and
// gives its output. It ends with its time.
func Run(ctx context.Context, timeout time.Duration, argv []string, stdin []byte, env ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Env = append(os.Environ(), env...)
	cmd.Stdin = bytes.NewReader(stdin)
	cmd.WaitDelay = time.Second
	var out, all bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &all
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			err = errors.New("it took too long")
		}
		said := strings.TrimSpace(all.String() + out.String())
		if len(said) > maxOutput {
			said = said[:maxOutput] + "..."
		}
		if said != "" {
			return "", fmt.Errorf("run %s: %w: %s", argv[0], err, diag.Escape(said))
		}
		return "", fmt.Errorf("run %s: %w", argv[0], err)
	}
	return out.String(), nil
}
