package main

import (
	"fmt"
	"path/filepath"
	"strings"

	ucli "github.com/urfave/cli/v2"

	"zonebuild/internal/build"
	"zonebuild/internal/cli"
	"zonebuild/internal/config"
	"zonebuild/internal/diag"
	"zonebuild/internal/domain"
	"zonebuild/internal/nsd"
	"zonebuild/internal/publish"
)

func (p *program) buildCommand() *ucli.Command {
	return &ucli.Command{
		Name:      "build",
		Usage:     "compile, sign, verify and publish what changed or is due",
		ArgsUsage: "[ZONE...]",
		Description: "Nothing changed: nothing is written or said, and the exit status is 0.\n\n" +
			"Example: zonebuild -C /srv/dns build",
		Flags: []ucli.Flag{
			&ucli.BoolFlag{Name: "dry-run", Usage: "say what would be done, write nothing"},
			&ucli.BoolFlag{Name: "new-zone", Usage: "state that zones signed for the first time have no DS at their parent"},
			jsonFlag(),
		},
		Action: p.build,
	}
}

func (p *program) build(c *ucli.Context) error {
	s, t, names, err := p.open(c)
	if err != nil {
		return err
	}
	defer t.Close()
	if err := s.writes(t); err != nil && !c.Bool("dry-run") {
		return err
	}
	server, err := serverOf(t)
	if err != nil {
		return err
	}
	long := p.longWork(s)
	report, err := t.Build(c.Context, build.Options{
		Now: s.now, Zones: names, DryRun: c.Bool("dry-run"), NewZone: c.Bool("new-zone"), Server: server, Observer: t.Network(), Log: s.log,
		Progress: long.build,
	})
	long.end()
	if s.printer.JSON {
		if err != nil {
			report.Code = cli.Worst(report.Code, cli.Code(err))
		}
		if err := s.printer.Report(report); err != nil {
			return err
		}
	} else {
		if err := s.sayReport(&report); err != nil {
			return err
		}
	}
	if err != nil {
		return err
	}
	return cli.Exit(report.Code)
}

// sayReport tells what a pass did.
func (s *session) sayReport(report *build.Report) error {
	if report.BoxesNew || s.all {
		if err := s.printer.Diagnostics(report.Boxes); err != nil {
			return err
		}
	}
	if report.StrayNew || s.all {
		if err := s.printer.Diagnostics(report.Strays); err != nil {
			return err
		}
	}
	for i := range report.Zones {
		if err := s.sayResult(&report.Zones[i]); err != nil {
			return err
		}
	}
	return nil
}

// maxFaults of one zone are printed by a build: cron sends mail.
const maxFaults = 50

// sayResult tells what happened to a zone: faults when they are new, one line
// for what was done.
func (s *session) sayResult(r *build.Result) error {
	if r.FaultsNew || s.all {
		shown := r.Diagnostics[:min(len(r.Diagnostics), maxFaults)]
		if err := s.printer.Diagnostics(shown); err != nil {
			return err
		}
		if more := len(r.Diagnostics) - len(shown); more > 0 {
			s.say("%s: %d more (zonebuild check %s prints all)", r.Zone, more, r.Zone)
		}
	}
	if r.Orphan && (r.FaultsNew || s.all) {
		s.say("%s: published, but not in the tree any more; its last good records stay (to end that: zonebuild retire %s)", r.Zone, r.Zone)
	}
	if r.News || s.all {
		for _, f := range r.Refusals {
			s.say("%s: refused: %s [%s]%s", r.Zone, f.Message, f.Code, override(r.Zone, f.Code, f.Override))
		}
		if r.Kept != "" {
			s.say("%s: %s (the last good records stay)", r.Zone, r.Kept)
		}
		if r.Error != "" {
			s.sayError(r)
		}
	}
	if s.quiet {
		return nil
	}
	switch r.Action {
	case build.Unchanged:
		if s.verbose {
			s.note("%s: serial %d, nothing changed", r.Zone, r.Serial)
		}
	case build.Published, build.Unconfirmed, build.RolledBack:
		what := map[string]string{
			build.Published: "published", build.Unconfirmed: "made, but not seen served yet,", build.RolledBack: "rolled back, last good records published",
		}[r.Action]
		s.note("%s: %s with serial %d: %s; %s made, %d kept%s", r.Zone, what, r.Serial, strings.Join(r.Reasons, ", "), plural(r.NewSigs, "signature"), r.KeptSigs, s.ofRevision())
	case build.Confirmed:
		s.note("%s: serial %d is served", r.Zone, r.Serial)
	case build.WouldChange:
		s.note("%s: would be published with serial %d: %s; %s to make, %d to keep", r.Zone, r.Serial, strings.Join(r.Reasons, ", "), plural(r.NewSigs, "signature"), r.KeptSigs)
	case build.Rejected, build.Refused, build.Waiting:
		if len(r.Reasons) > 0 {
			s.note("%s: the last good records are published again with serial %d: %s", r.Zone, r.Serial, strings.Join(r.Reasons, ", "))
		}
	}
	return nil
}

// ofRevision is the end of a line that tells of a publish.
func (s *session) ofRevision() string {
	if s.revision == "" {
		return ""
	}
	return "; revision " + s.revision
}

// sayError tells of a failure. The lines behind the first are to be copied, such
// as those that nsd.conf needs.
func (s *session) sayError(r *build.Result) {
	first, rest, _ := strings.Cut(r.Error, "\n")
	s.say("%s: %s", r.Zone, first)
	if s.printer.Lines {
		return // the report has it all
	}
	for line := range strings.Lines(rest) {
		text := strings.TrimLeft(strings.TrimSuffix(line, "\n"), "\t")
		indent := strings.Repeat("\t", len(strings.TrimSuffix(line, "\n"))-len(text))
		fmt.Fprintf(s.printer.Err, "%s%s\n", indent, diag.Escape(text))
	}
}

// note tells on stderr what was done, say what was not: one line each, in the
// form of the log.
func (s *session) note(format string, args ...any) {
	if s.printer.Lines || s.timed {
		s.log.Info(fmt.Sprintf(format, args...))
		return
	}
	s.say(format, args...)
}

func (s *session) say(format string, args ...any) {
	if s.printer.Lines || s.timed {
		s.log.Warn(fmt.Sprintf(format, args...))
		return
	}
	fmt.Fprintf(s.printer.Err, "zonebuild: %s\n", diag.Escape(fmt.Sprintf(format, args...)))
}

func override(zone domain.Name, code string, has bool) string {
	if !has {
		return ""
	}
	return fmt.Sprintf(" (to let it through once: zonebuild approve %s %s)", zone, code)
}

// serverOf makes the name server that the configuration names.
func serverOf(t *build.Tree) (publish.Server, error) {
	cfg := t.Config
	addresses := cfg.Publish.Address
	here, err := filepath.Abs(".")
	if err != nil {
		return nil, err
	}
	file := func(n domain.Name) string {
		path := t.PublishedPath(n)
		if !filepath.IsAbs(path) {
			path = filepath.Join(here, path)
		}
		return path
	}
	switch cfg.Publish.Server {
	case config.ServerNSD:
		return &nsd.Server{
			Control: t.Path(cfg.Publish.Control), Addresses: addresses,
			Checkzone: t.Program(cfg.Publish.Checkzone), Pattern: cfg.Publish.Pattern,
			ZoneFile: file, Timeout: cfg.Publish.Timeout,
		}, nil
	case config.ServerCommand:
		return &publish.Command{
			Dir:       cfg.Tree,
			CheckArgv: cfg.Publish.Check, ReloadArgv: cfg.Publish.Reload, ConfirmArgv: cfg.Publish.ConfirmCommand,
			Confirm: addresses, File: file, SerialOf: build.SerialOf, Timeout: cfg.Publish.Timeout,
		}, nil
	}
	return &publish.None{Confirm: cfg.Publish.Confirm}, nil
}
