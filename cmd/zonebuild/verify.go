package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"
	ucli "github.com/urfave/cli/v2"

	"zonebuild/internal/cli"
	"zonebuild/internal/config"
	"zonebuild/internal/diag"
	"zonebuild/internal/durable"
	"zonebuild/internal/verify"
)

func (p *program) verifyCommand() *ucli.Command {
	return &ucli.Command{
		Name:      "verify",
		Usage:     "verify every signature and the denial chain of a signed zone file",
		ArgsUsage: "FILE",
		Description: "Any signer's file will do; it needs no tree. Exit status 4 if the zone is not right.\n\n" +
			"Example: zonebuild verify --min-left 3d signed/example.org",
		Flags: []ucli.Flag{
			&ucli.StringFlag{Name: "zone", Usage: "`NAME` of the zone (default: the owner of its SOA)"},
			&ucli.StringFlag{Name: "at", Usage: "the instant `RFC3339` at which signatures must hold (default: now)"},
			&ucli.StringFlag{Name: "min-left", Usage: "`TIME`, such as 3d, for which each must hold beyond that"},
			&ucli.StringSliceFlag{Name: "ds", Usage: "`FILE` with DS records, or one record: a key must match one of them"},
			nagiosFlag(), jsonFlag(),
		},
		Action: p.verify,
	}
}

func (p *program) verify(c *ucli.Context) error {
	if c.NArg() != 1 {
		return cli.Usagef("verify needs one file")
	}
	if err := checkReportForm(c); err != nil {
		return err
	}
	s, err := p.session(c)
	if err != nil {
		return err
	}
	o, err := s.verifyOptions(c)
	if err != nil {
		return err
	}
	file := s.path(c.Args().First())
	long := p.longWork(s)
	o.Progress = long.verify
	report, faults := verify.File(file, o)
	long.end()
	unread := slices.ContainsFunc(faults, func(d diag.Diagnostic) bool { return d.Code == "read" })
	switch {
	case c.Bool("nagios"):
		return s.nagiosVerified(&report, faults, unread)
	case s.printer.JSON:
		err = s.printer.Report(struct {
			Report      verify.Report `json:"report"`
			Diagnostics diag.List     `json:"diagnostics"`
		}{report, append(diag.List{}, faults...)})
	default:
		err = s.printer.Diagnostics(faults)
	}
	switch {
	case err != nil:
		return err
	case unread:
		return cli.Exit(cli.ExitFailed) // nothing was checked
	case faults.HasErrors():
		return cli.Exit(cli.ExitNo)
	}
	if !s.printer.JSON && !s.quiet {
		fmt.Fprintln(s.printer.Out, verified(&report))
	}
	return nil
}

func verified(r *verify.Report) string {
	return fmt.Sprintf("%s serial %d: %s, %s verified, the first expires %s",
		r.Apex, r.Serial, plural(r.Records-r.Signatures, "record"), plural(r.Signatures, "signature"), stamp(r.Oldest))
}

func (s *session) nagiosVerified(r *verify.Report, faults diag.List, unread bool) error {
	const what = "ZONE"
	first := func(v verdict, severity diag.Severity) error {
		i := slices.IndexFunc(faults, func(d diag.Diagnostic) bool { return d.Severity == severity })
		more := ""
		if len(faults) > 1 {
			more = fmt.Sprintf(" (and %d more)", len(faults)-1)
		}
		return s.nagios(v, what, faults[i].String()+more)
	}
	switch {
	case unread:
		return first(nagiosUnknown, diag.Error)
	case faults.HasErrors():
		return first(nagiosCritical, diag.Error)
	case len(faults) > 0:
		return first(nagiosWarning, diag.Warning)
	}
	return s.nagios(nagiosOK, what, verified(r), fmt.Sprintf("signatures=%d", r.Signatures), fmt.Sprintf("left=%ds", int64(r.Oldest.Sub(s.now)/time.Second)))
}

func (s *session) verifyOptions(c *ucli.Context) (o verify.Options, err error) {
	if text := c.String("at"); c.IsSet("at") {
		if s.fixed {
			return o, cli.Usagef("--at and --now say the same")
		}
		if s.now, err = instant("at", text); err != nil {
			return o, err
		}
	}
	o.Now = s.now
	if c.String("zone") != "" {
		if o.Apex, err = zoneArg(c.String("zone")); err != nil {
			return o, err
		}
	}
	if text := c.String("min-left"); text != "" {
		if o.MinLeft, err = config.ParseDuration(text); err != nil {
			return o, cli.Usagef("--min-left: %s", err)
		}
	}
	for _, text := range c.StringSlice("ds") {
		set, err := s.dsArgument(text)
		if err != nil {
			return o, err
		}
		o.DS = append(o.DS, set...)
	}
	return o, nil
}

// maxDS bounds a file of DS records, in octets.
const maxDS = 1 << 20

// dsArgument reads the DS records of a file, or one that is the argument itself.
func (s *session) dsArgument(text string) ([]*dns.DS, error) {
	src, _, err := durable.ReadFile(s.path(text), maxDS)
	switch {
	case errors.Is(err, fs.ErrNotExist) && strings.ContainsAny(text, " \t"):
		src = []byte(text + "\n")
	case err != nil:
		return nil, cli.Usagef("--ds: %s", err)
	}
	var out []*dns.DS
	parser := dns.NewZoneParser(bytes.NewReader(src), "", text)
	parser.SetDefaultTTL(0)
	for rr, ok := parser.Next(); ok; rr, ok = parser.Next() {
		if ds, is := rr.(*dns.DS); is {
			out = append(out, ds)
		}
	}
	if err := parser.Err(); err != nil {
		return nil, cli.Usagef("--ds: not a DS record such as \"example.org. DS 12345 13 2 49FD...\": %s", err)
	}
	if len(out) == 0 {
		return nil, cli.Usagef("--ds %s: no DS record in it", text)
	}
	return out, nil
}
