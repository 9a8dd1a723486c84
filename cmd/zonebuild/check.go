package main

import (
	"fmt"

	ucli "github.com/urfave/cli/v2"

	"zonebuild/internal/build"
	"zonebuild/internal/cli"
	"zonebuild/internal/diag"
)

func (p *program) checkCommand() *ucli.Command {
	return &ucli.Command{
		Name:      "check",
		Usage:     "compile and print every fault, write nothing",
		ArgsUsage: "[ZONE...]",
		Description: "Exit status 3 if a zone has an error, or a line of certs.map cannot be read; warnings\n" +
			"alone are 0. With --config-only, no file but the configuration is read.\n\nExample: zonebuild -C /srv/dns check example.org",
		Flags: []ucli.Flag{jsonFlag(), &ucli.BoolFlag{Name: "config-only", Usage: "check the configuration, and no zone"}},
		Action: func(c *ucli.Context) error {
			if c.Bool("config-only") && c.Args().Present() {
				return cli.Usagef("--config-only checks no zone")
			}
			s, t, names, err := p.open(c)
			if err != nil {
				return err
			}
			defer t.Close()
			var list diag.List
			if !c.Bool("config-only") {
				list, err = t.Check(c.Context, names, s.now)
			}
			if err != nil {
				return err
			}
			if s.printer.JSON {
				err = s.printer.Report(struct {
					Diagnostics diag.List `json:"diagnostics"`
				}{append(diag.List{}, list...)})
			} else {
				err = s.printer.Diagnostics(list)
			}
			if err != nil {
				return err
			}
			return rejected(list)
		},
	}
}

func (p *program) diffCommand() *ucli.Command {
	return &ucli.Command{
		Name:      "diff",
		Usage:     "show which records a build would add and remove, and which guards would refuse",
		ArgsUsage: "[ZONE...]",
		Description: "Compares the sources with the last good records. A line \"+\" is added, with\n" +
			"the place it stands at, a line \"-\" is removed.\n\nExample: zonebuild -C /srv/dns diff example.org",
		Flags:  []ucli.Flag{jsonFlag()},
		Action: p.diff,
	}
}

func (p *program) diff(c *ucli.Context) error {
	s, t, names, err := p.open(c)
	if err != nil {
		return err
	}
	defer t.Close()
	list, err := t.Diff(c.Context, names, build.Options{Now: s.now, Log: s.log})
	if err != nil {
		return err
	}
	var all diag.List
	for _, d := range list {
		all = append(all, d.Diagnostics...)
	}
	if s.printer.JSON {
		if err := s.printer.Report(struct {
			Zones []build.Difference `json:"zones"`
		}{list}); err != nil {
			return err
		}
		return rejected(all)
	}
	if err := s.printer.Diagnostics(all); err != nil {
		return err
	}
	for _, d := range list {
		if d.Kept != "" {
			fmt.Fprintf(s.printer.Out, "! %s: %s (the last good records stay)\n", d.Zone, d.Kept)
		}
		for _, ch := range d.Changes {
			sign, place := "-", ""
			if ch.Added {
				sign, place = "+", "\t; "+ch.Pos.String()
			}
			fmt.Fprintf(s.printer.Out, "%s %s%s\n", sign, ch.Record, place)
		}
		for _, f := range d.Refusals {
			fmt.Fprintf(s.printer.Out, "! %s: would be refused: %s [%s]%s\n", d.Zone, f.Message, f.Code, override(d.Zone, f.Code, f.Override))
		}
	}
	return rejected(all)
}

func (p *program) approveCommand() *ucli.Command {
	return &ucli.Command{
		Name:      "approve",
		Usage:     "let the candidate that a guard refused through, once",
		ArgsUsage: "ZONE GUARD",
		Description: "The approval holds for exactly the records that were refused.\n\n" +
			"Example: zonebuild -C /srv/dns approve example.org shrink",
		Flags: []ucli.Flag{jsonFlag()},
		Action: func(c *ucli.Context) error {
			if c.NArg() != 2 {
				return cli.Usagef("approve needs a zone and a guard")
			}
			s, err := p.session(c)
			if err != nil {
				return err
			}
			name, err := zoneArg(c.Args().First())
			if err != nil {
				return err
			}
			t, err := s.tree(c)
			if err != nil {
				return err
			}
			defer t.Close()
			if err := s.writes(t); err != nil {
				return err
			}
			a, err := t.Approve(c.Context, name, c.Args().Get(1), s.now)
			if err != nil {
				return err
			}
			s.log.Info("approve", "zone", name, "guard", a.Guard, "candidate", a.Candidate, "refused", a.Message)
			if s.printer.JSON {
				return s.printer.Report(a)
			}
			return nil
		},
	}
}
