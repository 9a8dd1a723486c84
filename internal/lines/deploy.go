package lines

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"zonebuild/internal/config"
	"zonebuild/internal/diag"
)

// deploy runs the hooks that are due, in their order; the first that fails stops
// them, and is tried again later: after 1, 10 and 100 minutes, then daily.
func (r *run) deploy(ctx context.Context, g *Generation) error {
	d := &r.state.Deploy
	if d.Generation != g.Number {
		*d = Deploy{Generation: g.Number}
	}
	for d.Done < len(r.line.Deploy) {
		h, err := r.hook(g, r.line.Deploy[d.Done])
		if err == nil {
			err = r.Hook(ctx, h)
		}
		if err != nil {
			steps := []time.Duration{time.Minute, 10 * time.Minute, 100 * time.Minute, 24 * time.Hour}
			d.RetryAt = r.Now().UTC().Truncate(time.Second).Add(steps[min(d.Tries, len(steps)-1)])
			d.Tries++
			d.Error = err.Error()
			return errors.Join(fmt.Errorf("deploy: %w", err), r.save())
		}
		d.Done, d.Tries, d.RetryAt, d.Error = d.Done+1, 0, time.Time{}, ""
		if err := r.save(); err != nil { // what succeeded is not run again after a crash
			return err
		}
	}
	return nil
}

// hook is what a program is told: nothing that a CA wrote, and no secret.
func (r *run) hook(g *Generation, argv []string) (Hook, error) {
	live, err := filepath.Abs(filepath.Join(r.paths.Line, "live"))
	if err != nil {
		return Hook{}, err
	}
	return Hook{
		Argv: argv, Dir: r.Config.LinesDir, Timeout: r.line.Timeout,
		Env: []string{
			plainPath,
			"ACMEHOOK_LINE=" + r.line.Name,
			"ACMEHOOK_LIVE=" + live,
			"ACMEHOOK_NAMES=" + strings.Join(r.line.Names, " "),
			fmt.Sprintf("ACMEHOOK_GENERATION=%d", g.Number),
		},
	}, nil
}

// maxSaid bounds what is kept of a program's output, in octets.
const maxSaid = 2000

// head keeps the beginning of what is written to it. The buffer is not embedded: its
// ReadFrom would take all there is.
type head struct{ text bytes.Buffer }

// Write never fails: what is too much is lost.
func (h *head) Write(b []byte) (int, error) {
	h.text.Write(b[:min(len(b), maxSaid-h.text.Len())])
	return len(b), nil
}

// RunHook runs a program. When its time or the context ends it is killed, with the
// programs that it started. Errors quote what it printed, escaped and cut.
func RunHook(ctx context.Context, h Hook) error {
	ctx, cancel := context.WithTimeout(ctx, h.Timeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, h.Argv[0], h.Argv[1:]...)
	cmd.Dir, cmd.Env = h.Dir, h.Env
	if h.Stdin != nil {
		cmd.Stdin = bytes.NewReader(h.Stdin)
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second
	var said head
	cmd.Stdout, cmd.Stderr = &said, &said
	if h.Stdout != nil {
		cmd.Stdout = h.Stdout
	}
	err := cmd.Run()
	switch {
	case err == nil:
		return nil
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		err = fmt.Errorf("no end within %s", h.Timeout)
	case ctx.Err() != nil:
		err = errors.New("interrupted")
	}
	if words := strings.TrimSpace(said.text.String()); words != "" {
		return fmt.Errorf("run %s: %w: %s", h.Argv[0], err, diag.Escape(words))
	}
	return fmt.Errorf("run %s: %w", h.Argv[0], err)
}

// probe asks the services which have not been seen with the live certificate. One
// that serves another is told when that is news, and becomes an alarm with time: to
// load a certificate takes some.
func (r *run) probe(ctx context.Context, g *Generation) error {
	r.probed = true
	for _, s := range r.services {
		if s.ProbeOff || r.state.Served[s.Name].Generation == g.Number {
			continue
		}
		err := r.ask(ctx, s, g)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err == nil {
			delete(r.state.Lags, s.Name)
			if err := r.save(); err != nil {
				return err
			}
			continue
		}
		lag, known := r.state.Lags[s.Name]
		if text := err.Error(); !known || lag.Text != text {
			r.Log(r.line.Name, fmt.Sprintf("service %s: %s", s.Name, text))
			lag.Text = text
		}
		if !known {
			lag.Since = r.Now().UTC().Truncate(time.Second)
		}
		if r.state.Lags == nil {
			r.state.Lags = map[string]Lag{}
		}
		r.state.Lags[s.Name] = lag
	}
	return nil
}

// ask wants every address of a service to serve the live certificate.
func (r *run) ask(ctx context.Context, s config.Service, g *Generation) error {
	shown, err := r.Observer.Probe(ctx, s)
	if err != nil {
		return err
	}
	if len(shown) == 0 {
		return errors.New("it has no address")
	}
	for _, v := range shown {
		switch {
		case v.Err != nil:
			return fmt.Errorf("%s: %w", v.Addr, v.Err)
		case !bytes.Equal(v.Leaf, g.Leaf().Raw):
			return fmt.Errorf("%s still serves another certificate", v.Addr)
		}
	}
	r.confirm(s.Name, g, false)
	return nil
}

// confirm notes that a service serves the live certificate.
func (r *run) confirm(service string, g *Generation, byHand bool) {
	if r.state.Served == nil {
		r.state.Served = map[string]Serving{}
	}
	r.state.Served[service] = Serving{Generation: g.Number, Key: g.Hash(), At: r.Now().UTC().Truncate(time.Second), ByHand: byHand}
}

// Confirm notes by hand that the services which cannot be asked serve the live
// certificate, and gives their names. Error: there is no certificate.
func (k *Keeper) Confirm(l config.Line) ([]string, error) {
	r := &run{Keeper: k, line: l, paths: PathsOf(k.Config, l.Name)}
	files, err := r.paths.Read(l)
	if err != nil {
		return nil, fmt.Errorf("line %s: %w", l.Name, err)
	}
	if files.Live == nil {
		return nil, fmt.Errorf("line %s: there is no certificate yet", l.Name)
	}
	if r.state, err = LoadState(k.Config, l.Name); err != nil {
		return nil, fmt.Errorf("line %s: %w", l.Name, err)
	}
	var names []string
	for _, s := range k.Config.ServicesOf(l) {
		if s.ProbeOff {
			r.confirm(s.Name, files.Live, true)
			names = append(names, s.Name)
		}
	}
	return names, r.save()
}

// RollOver asks for a key change, as soon as it may be.
func (k *Keeper) RollOver(l config.Line) error {
	s, err := LoadState(k.Config, l.Name)
	if err != nil {
		return fmt.Errorf("line %s: %w", l.Name, err)
	}
	if s.Rollover.IsZero() {
		s.Rollover = k.Now().UTC().Truncate(time.Second)
	}
	return SaveState(k.Config, l.Name, s)
}
