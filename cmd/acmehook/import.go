package main

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	ucli "github.com/urfave/cli/v2"

	"zonebuild/internal/cli"
	"zonebuild/internal/config"
	"zonebuild/internal/diag"
	"zonebuild/internal/lines"
)

func (p *program) importCommand() *ucli.Command {
	return &ucli.Command{
		Name: "import", Usage: "take over account and certificates of certbot or acme.sh", ArgsUsage: "certbot|acme.sh DIR",
		Description: "Takes the key of the account at the CA of [account], if there is none yet, and for every\nline without certificate the one for the same names. For the others it prints what a\n[line.NAME] would be. The directory of the other client stays as it is.\n\nExample: acmehook -C /jail import certbot /etc/letsencrypt",
		Action: func(c *ucli.Context) error {
			client := c.Args().First()
			if c.NArg() != 2 || client != "certbot" && client != "acme.sh" {
				return cli.Usagef("import needs certbot or acme.sh, and the directory of it")
			}
			h, err := p.load(c)
			if err != nil {
				return err
			}
			return h.locked(c.Context, func() error { return h.takeOver(client, c.Args().Get(1)) })
		},
	}
}

func (h *hook) takeOver(client, dir string) error {
	if a := h.config.Account; a != nil {
		if _, err := os.Stat(a.Key); errors.Is(err, os.ErrNotExist) {
			key, err := lines.AccountKey(client, dir, a.Directory)
			if err == nil && key != nil {
				err = lines.WriteKey(a.Key, key)
			}
			switch {
			case err != nil:
				return err
			case key != nil:
				fmt.Fprintf(h.out, "account: %s\n", diag.Escape(a.Key))
			}
		}
	}
	find := lines.ACMEsh
	if client == "certbot" {
		find = lines.Certbot
	}
	found, faults := find(dir)
	for _, f := range found {
		i := slices.IndexFunc(h.config.Lines, func(l config.Line) bool {
			names := slices.Clone(l.Names)
			slices.Sort(names)
			return slices.Equal(names, f.Names())
		})
		if i < 0 {
			fmt.Fprintf(h.out, "# no line has the names of %s\n[line.%q]\nnames = [\"%s\"]\n", diag.Escape(f.Name), diag.Escape(strings.TrimSuffix(f.Name, "_ecc")), diag.Escape(strings.Join(f.Names(), "\", \"")))
			continue
		}
		l := h.config.Lines[i]
		if s, err := (&lines.Keeper{Config: h.config, Now: h.clock}).Status(l); err == nil && !s.NotAfter.IsZero() {
			continue // it has one
		}
		if err := lines.Adopt(h.config, l, f, h.clock()); err != nil {
			faults = append(faults, err)
			continue
		}
		fmt.Fprintf(h.out, "line %s: %s\n", l.Name, diag.Escape(f.Name))
	}
	return errors.Join(faults...)
}
