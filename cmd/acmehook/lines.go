package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	ucli "github.com/urfave/cli/v2"

	"zonebuild/dnsextra"
	"zonebuild/internal/acmeclient"
	"zonebuild/internal/authority"
	"zonebuild/internal/cli"
	"zonebuild/internal/config"
	"zonebuild/internal/diag"
	"zonebuild/internal/domain"
	"zonebuild/internal/durable"
	"zonebuild/internal/lines"
	"zonebuild/internal/validate"
)

func (p *program) lineCommands() []*ucli.Command {
	return []*ucli.Command{
		p.initCommand(), p.accountCommand(), p.issueCommand(), p.renewCommand(), p.runCommand(),
		p.rollOverCommand(), p.liveCommand(), p.statusCommand(), p.revokeCommand(), p.triggerCommand(), p.importCommand(),
	}
}

func (p *program) issueCommand() *ucli.Command {
	return &ucli.Command{
		Name: "issue", Usage: "obtain the first certificate of a line", ArgsUsage: "NAME",
		Description: "Also takes up what failed before, without waiting. Exit status 4 if it has to wait\nfor DNS.\n\nExample: acmehook -C /jail issue mail",
		Flags:       []ucli.Flag{dryRunFlag()},
		Action: func(c *ucli.Context) error {
			h, line, err := p.oneLine(c, true)
			if err != nil {
				return err
			}
			if c.Bool("dry-run") {
				return h.dryRun(c.Context, []config.Line{line})
			}
			return h.locked(c.Context, func() error {
				k, err := h.keeper()
				if err != nil {
					return err
				}
				if err := k.Run(c.Context, line, lines.Word{Now: true}); err != nil {
					return err
				}
				s, err := k.Status(line)
				if err == nil && s.NotAfter.IsZero() {
					return cli.Nof("line %s: no certificate yet: %s", line.Name, s.WhyNot())
				}
				return err
			})
		},
	}
}

func (p *program) renewCommand() *ucli.Command {
	return &ucli.Command{
		Name: "renew", Usage: "renew what is due, or with --force one line at once", ArgsUsage: "[NAME]",
		Description: "Example: acmehook -C /jail renew mail --force",
		Flags: []ucli.Flag{
			&ucli.BoolFlag{Name: "force", Usage: "whatever the time"},
			&ucli.BoolFlag{Name: "force-new-key", Usage: "use a new key at once, whatever DNS says of it; needs --i-accept-dane-breakage"},
			&ucli.BoolFlag{Name: "i-accept-dane-breakage", Usage: "clients that heed TLSA records will refuse the services until caches have forgotten the old ones"},
			&ucli.BoolFlag{Name: "beyond-limits", Usage: "with one of these: also after 5 certificates for the same names in 7 days, or 10 orders in an hour"},
			dryRunFlag(),
		},
		Action: func(c *ucli.Context) error {
			w := lines.Word{Renew: c.Bool("force"), Break: c.Bool("force-new-key"), Now: c.Bool("force") || c.Bool("force-new-key"), Beyond: c.Bool("beyond-limits")}
			if w.Beyond && !w.Now {
				return cli.Usagef("--beyond-limits goes with --force or --force-new-key")
			}
			if w.Break != c.Bool("i-accept-dane-breakage") {
				return cli.Usagef("--force-new-key and --i-accept-dane-breakage are given together or not at all")
			}
			if c.Bool("dry-run") {
				if w.Break {
					return cli.Usagef("--dry-run changes nothing: --force-new-key goes with no dry run")
				}
				h, err := p.open(c)
				if err != nil {
					return err
				}
				list, err := h.chosen(c.Args().Slice())
				if err != nil {
					return err
				}
				return h.dryRun(c.Context, list)
			}
			if c.NArg() == 0 {
				if w.Renew || w.Break {
					return cli.Usagef("renew --force needs one name")
				}
				return p.runAll(c)
			}
			h, line, err := p.oneLine(c, true)
			if err != nil {
				return err
			}
			return h.locked(c.Context, func() error {
				k, err := h.keeper()
				if err != nil {
					return err
				}
				return k.Run(c.Context, line, w)
			})
		},
	}
}

func (p *program) runCommand() *ucli.Command {
	return &ucli.Command{
		Name: "run", Usage: "do whatever is due for all lines; for cron or a timer, every few minutes to hours",
		Description: "Says nothing when nothing is due. A run beside another one ends at once.\n\nExample: acmehook -C /jail run",
		Action:      p.runAll,
	}
}

func (p *program) runAll(c *ucli.Context) error {
	if c.NArg() > 0 {
		return cli.Usagef("%s takes no such argument: %s", c.Command.Name, c.Args().First())
	}
	h, err := p.open(c)
	if err != nil {
		return err
	}
	if len(h.config.Lines) == 0 {
		return errNoLines()
	}
	err = h.lockedNow(func() error { return h.runLines(c.Context) })
	if errors.Is(err, durable.ErrLocked) {
		return nil
	}
	return err
}

func errNoLines() error { return cli.Rejectedf("acmehook.toml has no [line.NAME]") }

// runLines does what is due for all lines, and tells what somebody must look at:
// also when nothing could be done at all.
func (h *hook) runLines(ctx context.Context) error {
	k, err := h.keeper()
	if err != nil {
		k = &lines.Keeper{Config: h.config, Hook: lines.RunHook, Now: h.clock}
		return errors.Join(err, k.Ring(ctx))
	}
	var faults []error
	for _, line := range h.config.Lines {
		if err := k.Run(ctx, line, lines.Word{}); err != nil {
			faults = append(faults, err)
		}
		if ctx.Err() != nil {
			return errors.Join(faults...)
		}
	}
	return errors.Join(append(faults, k.Ring(ctx))...)
}

func (p *program) rollOverCommand() *ucli.Command {
	return &ucli.Command{
		Name: "rollover", Usage: "start a key change: run carries it out when DNS allows it", ArgsUsage: "NAME",
		Description: "Example: acmehook -C /jail rollover mail",
		Action: func(c *ucli.Context) error {
			h, line, err := p.oneLine(c, false)
			if err != nil {
				return err
			}
			return h.locked(c.Context, func() error {
				k := &lines.Keeper{Config: h.config, Now: h.clock}
				return k.RollOver(line)
			})
		},
	}
}

func (p *program) liveCommand() *ucli.Command {
	return &ucli.Command{
		Name: "live", Usage: "say that the services which cannot be asked serve the live certificate", ArgsUsage: "NAME",
		Description: "For services with probe = \"none\". Prints which. Waits for nobody: a deploy program may\ncall it.\n\nExample: acmehook -C /jail live mail",
		Action: func(c *ucli.Context) error {
			h, line, err := p.oneLine(c, false)
			if err != nil {
				return err
			}
			k := &lines.Keeper{Config: h.config, Now: h.clock}
			names, err := k.Say(line)
			if errors.Is(err, lines.ErrNoneToConfirm) {
				return cli.WithCode(cli.ExitRejected, err)
			}
			for _, name := range names {
				fmt.Fprintln(p.out, name)
			}
			return err
		},
	}
}

// oneLine opens the directory for the line that the argument names.
func (p *program) oneLine(c *ucli.Context, box bool) (*hook, config.Line, error) {
	if c.NArg() != 1 {
		return nil, config.Line{}, cli.Usagef("%s needs the name of one line", c.Command.Name)
	}
	open := p.load
	if box {
		open = p.open
	}
	h, err := open(c)
	if err != nil {
		return nil, config.Line{}, err
	}
	line, ok := h.config.Line(c.Args().First())
	if !ok {
		return nil, line, cli.Usagef("acmehook.toml has no [line.%s]", c.Args().First())
	}
	return h, line, nil
}

// locked does something while no other process changes lines or account; it waits
// for one that does.
func (h *hook) locked(ctx context.Context, do func() error) error {
	ctx, cancel := context.WithTimeout(ctx, h.config.Timeout)
	defer cancel()
	return h.withLock(func(path string) (*durable.Lock, error) { return durable.LockWait(ctx, path) }, do)
}

// lockedNow is locked without waiting. Errors: durable.ErrLocked.
func (h *hook) lockedNow(do func() error) error { return h.withLock(durable.TryLock, do) }

func (h *hook) withLock(lock func(path string) (*durable.Lock, error), do func() error) error {
	for dir, mode := range map[string]os.FileMode{h.config.StateDir: 0o700, h.config.KeysDir: 0o700, h.config.LinesDir: 0o755, h.storeDir(): 0o700} {
		if err := durable.MkdirAll(dir, mode); err != nil {
			return err
		}
	}
	l, err := lock(filepath.Join(h.config.StateDir, "lock"))
	if err != nil {
		return err
	}
	err = do()
	return errors.Join(err, l.Unlock())
}

func (h *hook) storeDir() string { return filepath.Join(h.config.StateDir, "acme") }

// client is the account at the CA. It asks nobody yet.
func (h *hook) client() (*acmeclient.Client, error) {
	a := h.config.Account
	if a == nil {
		return nil, cli.Rejectedf("acmehook.toml has no [account]")
	}
	key, err := lines.ReadKey(a.Key)
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("there is no account yet (acmehook init makes it): %w", err)
	}
	if err != nil {
		return nil, err
	}
	config := h.clientConfig()
	config.Key, config.Store = key, acmeclient.FileStore{Dir: h.storeDir()}
	return acmeclient.New(config)
}

// clientConfig is what every account at the CA has in common.
func (h *hook) clientConfig() acmeclient.Config {
	a := h.config.Account
	limits := h.limits
	limits.Lifetime = a.Lifetime
	return acmeclient.Config{
		Directory: a.Directory, RootsFile: a.CAFile, Hosts: a.Hosts, UserAgent: "acmehook/" + cli.Version(), Limits: limits, Now: h.clock,
	}
}

// keeper joins lines, CA, drop box and DNS.
func (h *hook) keeper() (*lines.Keeper, error) {
	client, err := h.client()
	if err != nil {
		return nil, err
	}
	f, err := h.finder()
	if err != nil {
		return nil, err
	}
	n := lines.Network{Finder: f}
	for _, a := range h.config.Servers {
		n.Servers = append(n.Servers, authority.Server{Addr: a})
	}
	if n.Validate, err = h.source(); err != nil {
		return nil, err
	}
	k := &lines.Keeper{
		Config: h.config, CA: adviser{client, h}, Solver: solver{h}, Observer: n, Hook: lines.RunHook, Now: h.clock,
		Log: func(line, text string) { fmt.Fprintf(h.err, "acmehook: line %s: %s\n", line, diag.Escape(text)) },
	}
	k.Before = h.preflight(client, n.Validate)
	return k, nil
}

// source proves what DNS says, from the anchors of the configuration; nil if nothing
// is to be proved.
func (h *hook) source() (validate.Source, error) {
	if !h.config.DNSSEC {
		return nil, nil
	}
	f, err := h.finder()
	if err != nil {
		return nil, err
	}
	v := &validate.Validator{Resolver: validate.Recursive(f.Resolver), Anchors: validate.RootAnchors(), Now: h.clock()}
	if h.config.Anchors != "" {
		f, _, err := durable.Open(h.config.Anchors, 1<<20)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		if v.Anchors, err = validate.ReadAnchors(f, h.config.Anchors); err != nil {
			return nil, err
		}
	}
	return v, nil
}

// solver answers challenges by the drop box and what every server says of it.
type solver struct{ *hook }

func (s solver) find(owner domain.Name, value string) (dnsextra.Challenge, error) {
	fresh := *s.hook
	fresh.now = s.clock().UTC().Truncate(time.Second)
	return fresh.challenge(pair{name: owner.String(), owner: true, value: value})
}

// Present writes the challenge's file.
func (s solver) Present(ctx context.Context, owner domain.Name, value string) error {
	c, err := s.find(owner, value)
	if err != nil {
		return err
	}
	return s.writer.Add(ctx, c)
}

// Wait asks every address of every name server.
func (s solver) Wait(ctx context.Context, all []acmeclient.Challenge) error {
	var list []dnsextra.Challenge
	for _, a := range all {
		c, err := s.find(a.Owner, a.Value)
		if err != nil {
			return err
		}
		list = append(list, c)
	}
	return s.await(ctx, list, false)
}

// CleanUp removes the challenge's file.
func (s solver) CleanUp(_ context.Context, owner domain.Name, value string) error {
	c, err := s.find(owner, value)
	if err != nil {
		return err
	}
	return s.writer.Remove(c)
}
