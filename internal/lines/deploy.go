package lines

import (
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"zonebuild/internal/config"
	"zonebuild/internal/starttls"
)

// deploy runs the hooks that are due, in their order; the first that fails stops
// them, and is tried again later: after 1, 10 and 100 minutes, then daily.
func (r *run) deploy(ctx context.Context, g *Generation) error {
	d := &r.state.Deploy
	if d.Cert != g.ID() {
		*d = Deploy{Generation: g.Number, Cert: g.ID()}
	}
	for {
		i := d.done(r.line.Deploy)
		if i == len(r.line.Deploy) {
			return nil
		}
		id := hookID(r.line.Deploy[i])
		if d.Failed != id {
			d.Failed, d.Tries = id, 0
		}
		h, err := r.hook(g, r.line.Deploy[i])
		if err == nil {
			err = r.Hook(ctx, h)
		}
		if err != nil && ctx.Err() != nil { // cut off, like what waits: that is no fault of its own
			return fmt.Errorf("deploy: %w", err)
		}
		if err != nil {
			d.RetryAt = r.Now().UTC().Truncate(time.Second).Add(patience(d.Tries))
			d.Tries++
			d.Error = err.Error()
			return errors.Join(fmt.Errorf("deploy: %w", err), r.save())
		}
		*d = Deploy{Generation: g.Number, Cert: g.ID()}
		for _, argv := range r.line.Deploy[:i+1] {
			d.Ran = append(d.Ran, hookID(argv))
		}
		if err := r.save(); err != nil { // what succeeded is not run again after a crash
			return err
		}
	}
}

// hookID names a hook by its arguments: hexadecimal SHA-256.
func hookID(argv []string) string { return hash([]byte(strings.Join(argv, "\x00"))) }

// done is how many hooks from the first one on need not be run for the certificate.
// The operator may have edited the list meanwhile: a hook that was not run is due, and
// so is what stands behind it, which may depend on it; one that is gone is not missed.
func (d Deploy) done(hooks [][]string) int {
	ran := d.Ran
	for i, argv := range hooks {
		at := slices.Index(ran, hookID(argv))
		if at < 0 {
			return i
		}
		ran = ran[at+1:]
	}
	return len(hooks)
}

// failing reports whether the hook that is due is the one that failed.
func (d Deploy) failing(hooks [][]string) bool {
	i := d.done(hooks)
	return i < len(hooks) && d.Tries > 0 && d.Failed == hookID(hooks[i])
}

// combine writes the combined.pem of the live generation; the hooks are run for it.
func (r *run) combine(g *Generation) error {
	var full []byte
	for _, c := range g.Chain {
		full = append(full, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})...)
	}
	if err := r.paths.addCombined(r.paths.generation(g.Number), g.Number, r.line, g.Key, full); err != nil {
		return fmt.Errorf("write combined.pem: %w", err)
	}
	r.state.Deploy, r.state.Retry = Deploy{}, Retry{}
	return r.save()
}

// hook is what a program is told: nothing that a CA wrote, and no secret.
func (r *run) hook(g *Generation, argv []string) (Hook, error) {
	live, err := filepath.Abs(filepath.Join(r.paths.Line, "live"))
	if err != nil {
		return Hook{}, err
	}
	return Hook{
		Argv: argv, Dir: r.Config.LinesDir, Timeout: r.line.Timeout, Output: filepath.Join(r.Config.StateDir, "deploy-"+r.line.Name+".out"),
		Env: []string{
			plainPath,
			"ACMEHOOK_LINE=" + r.line.Name,
			"ACMEHOOK_LIVE=" + live,
			"ACMEHOOK_NAMES=" + strings.Join(r.line.Names, " "),
			fmt.Sprintf("ACMEHOOK_GENERATION=%d", g.Number),
		},
	}, nil
}

// graceLag is how long it is no news that a service has not loaded the certificate.
const graceLag = 2 * time.Minute

// probe asks the services which have not been seen with the live certificate. One
// that serves another is told when that is news, and becomes an alarm with time: to
// load a certificate takes some.
func (r *run) probe(ctx context.Context, g *Generation) error {
	r.probed = true
	for _, s := range r.services {
		if s.ProbeOff || r.state.Served[s.Name].Cert == g.ID() {
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
		if !known || lag.Since.After(r.Now()) { // or the clock was set back
			lag.Since = r.Now().UTC().Truncate(time.Second)
		}
		text := err.Error()
		if old := r.Now().Sub(lag.Since) >= graceLag; old && (!lag.Told || lag.Text != text) {
			r.Log(r.line.Name, fmt.Sprintf("service %s: %s", s.Name, text))
			lag.Told = true
		}
		lag.Text = text
		if r.state.Lags == nil {
			r.state.Lags = map[string]Lag{}
		}
		r.state.Lags[s.Name] = lag
	}
	return nil
}

// ask wants every address of a service to serve the live certificate, maybe beside that
// of another line.
func (r *run) ask(ctx context.Context, s config.Service, g *Generation) error {
	shown, err := r.Observer.Probe(ctx, s, [][]byte{g.Leaf().Raw})
	if err != nil {
		return err
	}
	shown, away, err := reachable(s, shown)
	if err != nil {
		return err
	}
	for _, v := range shown {
		switch {
		case v.Err != nil:
			return fmt.Errorf("%s: %w", v.Addr, v.Err)
		case v.find(g.Leaf().Raw) != nil:
		case v.One && r.shared(s):
			return fmt.Errorf("%s still serves another certificate, and with TLS 1.3 alone only one of several can be seen", v.Addr)
		default:
			return fmt.Errorf("%s still serves another certificate", v.Addr)
		}
	}
	r.state.confirm(s.Name, g, Serving{At: r.Now().UTC().Truncate(time.Second), NoRoute: away})
	return nil
}

// shared reports whether a service has certificates of other lines too.
func (r *run) shared(s config.Service) bool {
	return slices.ContainsFunc(r.Config.Lines, func(l config.Line) bool {
		return l.Name != r.line.Name && slices.Contains(l.Services, s.Name)
	})
}

// reachable leaves out the addresses that there is no way to from here, as for a host
// without IPv6: that says nothing of the service. Those that the configuration names are
// meant to be asked. Error: there is none that can be.
func reachable(s config.Service, shown []Shown) (there []Shown, away []string, err error) {
	if len(shown) == 0 {
		return nil, nil, errors.New("it has no address")
	}
	for _, v := range shown {
		if len(s.Probe) == 0 && errors.Is(v.Err, starttls.ErrNoRoute) {
			away = append(away, v.Addr.String())
			continue
		}
		there = append(there, v)
	}
	if len(there) == 0 {
		return nil, nil, fmt.Errorf("%s: %w", shown[0].Addr, shown[0].Err)
	}
	return there, away, nil
}

// RollOver asks for a key change, as soon as it may be.
func (k *Keeper) RollOver(l config.Line) error {
	if l.CSR != "" {
		f, err := PathsOf(k.Config, l.Name).Read(l)
		if err != nil {
			return fmt.Errorf("line %s: %w", l.Name, err)
		}
		if f.Next == nil && f.Wanted == nil {
			return fmt.Errorf("line %s: a key is changed by a certificate request for another one (csr, next-csr), and there is none", l.Name)
		}
	}
	s, err := LoadState(k.Config, l.Name)
	if err != nil {
		return fmt.Errorf("line %s: %w", l.Name, err)
	}
	if s.Rollover.IsZero() {
		s.Rollover = k.Now().UTC().Truncate(time.Second)
	}
	return SaveState(k.Config, l.Name, s)
}

// Revoke notes that the live certificate was revoked, why, and whether its key must get
// no certificate any more because others have it. The line renews then; with a key that
// others have it waits for the gate of the next key, or for the operator's word.
func (k *Keeper) Revoke(l config.Line, g *Generation, reason string, compromised bool) error {
	s, err := LoadState(k.Config, l.Name)
	if err != nil {
		return fmt.Errorf("line %s: %w", l.Name, err)
	}
	s.Revoked = Revoked{Cert: g.ID(), Reason: reason, At: k.Now().UTC().Truncate(time.Second), Key: s.Revoked.Key}
	if compromised {
		s.Revoked.Key = g.Hash()
	}
	return SaveState(k.Config, l.Name, s)
}
