package main

import (
	"fmt"
	"os"
	"slices"

	ucli "github.com/urfave/cli/v2"

	"zonebuild/internal/cli"
	"zonebuild/internal/diag"
	"zonebuild/internal/verify"
)

func (p *program) verifyCommand() *ucli.Command {
	return &ucli.Command{
		Name:      "verify",
		Usage:     "verify every signature and the denial chain of a signed zone file",
		ArgsUsage: "FILE",
		Description: "Any signer's file will do; it needs no tree. Exit status 4 if the zone is not right.\n\n" +
			"Example: zonebuild verify signed/example.org",
		Flags: []ucli.Flag{
			&ucli.StringFlag{Name: "zone", Usage: "`NAME` of the zone (default: the owner of its SOA)"},
			jsonFlag(),
		},
		Action: func(c *ucli.Context) error {
			if c.NArg() != 1 {
				return cli.Usagef("verify needs one file")
			}
			s, err := p.session(c)
			if err != nil {
				return err
			}
			o := verify.Options{Now: s.now}
			if c.String("zone") != "" {
				if o.Apex, err = zoneArg(c.String("zone")); err != nil {
					return err
				}
			}
			if _, err := os.Stat(c.Args().First()); err != nil {
				return err
			}
			report, faults := verify.File(c.Args().First(), o)
			if s.printer.JSON {
				err = s.printer.Report(struct {
					Report      verify.Report `json:"report"`
					Diagnostics diag.List     `json:"diagnostics"`
				}{report, append(diag.List{}, faults...)})
			} else {
				err = s.printer.Diagnostics(faults)
			}
			if err != nil {
				return err
			}
			if slices.ContainsFunc(faults, func(d diag.Diagnostic) bool { return d.Code == "read" }) {
				return cli.Exit(cli.ExitFailed) // nothing was checked
			}
			if faults.HasErrors() {
				return cli.Exit(cli.ExitNo)
			}
			if !s.printer.JSON && !s.quiet {
				fmt.Fprintf(s.printer.Out, "%s serial %d: %s, %s verified, the first expires %s\n",
					report.Apex, report.Serial, plural(report.Records-report.Signatures, "record"), plural(report.Signatures, "signature"), stamp(report.Oldest))
			}
			return nil
		},
	}
}
