package main

import (
	"errors"
	"fmt"
	"path/filepath"

	ucli "github.com/urfave/cli/v2"

	"zonebuild/internal/authority"
	"zonebuild/internal/cli"
	"zonebuild/internal/config"
	"zonebuild/internal/diag"
	"zonebuild/internal/durable"
	"zonebuild/internal/lines"
)

func (p *program) triggerCommand() *ucli.Command {
	return &ucli.Command{
		Name: "trigger", Usage: "reload the services that serve another certificate than their files have", ArgsUsage: "[SERVICE...]",
		Description: "Needs no account and no drop box: it also runs alone on the host of the services.\nSays nothing of services that are right.\n\nExample: acmehook -C /etc/acmehook trigger",
		Flags:       []ucli.Flag{jsonFlag()},
		Action: func(c *ucli.Context) error {
			h, err := p.load(c)
			if err != nil {
				return err
			}
			list := h.config.Services
			switch {
			case c.NArg() > 0:
				list = nil
			case len(list) == 0:
				return cli.Rejectedf("acmehook.toml has no [service.NAME]")
			}
			for _, name := range c.Args().Slice() {
				s, ok := h.config.Service(name)
				if !ok {
					return cli.Usagef("acmehook.toml has no [service.%s]", name)
				}
				list = append(list, s)
			}
			err = durable.MkdirAll(h.config.StateDir, 0o700)
			var lock *durable.Lock
			if err == nil {
				lock, err = durable.TryLock(filepath.Join(h.config.StateDir, "trigger.lock"))
			}
			switch {
			case errors.Is(err, durable.ErrLocked):
				return nil
			case lines.Unwritable(err): // to look needs no state; to tell a service does, and says so
				return h.pull(c, list)
			case err != nil:
				return err
			}
			return errors.Join(h.pull(c, list), lock.Unlock())
		},
	}
}

func (h *hook) pull(c *ucli.Context, list []config.Service) error {
	n := lines.Network{Finder: authority.Finder{Resolver: h.config.Resolver}}
	for _, s := range list {
		if len(s.Probe) == 0 && !s.ProbeOff && len(n.Finder.Resolver) == 0 {
			f, err := h.finder()
			if err != nil {
				return err
			}
			n.Finder = f
		}
	}
	t := &lines.Trigger{Config: h.config, Observer: n, Hook: lines.RunHook, Now: h.clock}
	all := []lines.Pulled{}
	code := cli.ExitOK
	for _, s := range list {
		got := t.Pull(c.Context, s)
		all = append(all, got)
		text := ""
		switch {
		case got.Error != "":
			code = cli.ExitFailed
			text = got.Error
		case got.Did != "nothing":
			text = got.Did + ": " + got.Why
		}
		if text != "" && !c.Bool("json") {
			fmt.Fprintf(h.out, "%s: %s\n", got.Service, diag.Escape(text))
		}
	}
	if c.Bool("json") {
		if err := h.printer(c).Report(struct {
			Services []lines.Pulled `json:"services"`
		}{all}); err != nil {
			return err
		}
	}
	return cli.Exit(code)
}
