package main

import (
	"fmt"
	"strings"
	"time"

	ucli "github.com/urfave/cli/v2"

	"zonebuild/internal/build"
	"zonebuild/internal/cli"
	"zonebuild/internal/config"
	"zonebuild/internal/daemon"
	"zonebuild/internal/diag"
	"zonebuild/internal/domain"
	"zonebuild/internal/nsd"
	"zonebuild/internal/watch"
)

func zoneArg(text string) (domain.Name, error) {
	n, err := domain.Parse(text)
	if err != nil {
		return n, cli.Usagef("zone %s", err)
	}
	return n, nil
}

func (p *program) initCommand() *ucli.Command {
	return &ucli.Command{
		Name:        "init",
		Usage:       "make a commented tree with one zone and its keys, ready to build",
		ArgsUsage:   "DIR",
		Description: "Example: zonebuild init /srv/dns --zone example.org",
		Flags: []ucli.Flag{
			&ucli.StringFlag{Name: "zone", Usage: "`NAME` of the first zone"},
			jsonFlag(),
		},
		Action: func(c *ucli.Context) error {
			if c.NArg() != 1 || c.String("zone") == "" {
				return cli.Usagef("init needs a directory and --zone")
			}
			s, err := p.session(c)
			if err != nil {
				return err
			}
			apex, err := zoneArg(c.String("zone"))
			if err != nil {
				return err
			}
			dir := s.path(c.Args().First())
			ds, err := build.Init(dir, apex, s.now)
			if err != nil {
				return err
			}
			if s.printer.JSON {
				return s.printer.Report(struct {
					Tree string      `json:"tree"`
					Zone domain.Name `json:"zone"`
					DS   string      `json:"ds"`
				}{dir, apex, dsText(ds)})
			}
			fmt.Fprintf(s.printer.Out, `made %[1]s with the zone %[2]s and its keys

next:
  1. put your records into %[1]s/soa/%[3]s and %[1]s/primary/%[3]s
  2. zonebuild -C %[1]s build
  3. let your name server read %[1]s/signed/%[3]s, and set [publish] in %[1]s/zonebuild.toml
  4. once it serves the signed zone, give this DS to the parent zone:
     %[4]s
  5. keep %[1]s/keys out of version control, and back it up
`, dir, apex, apex.FileName(), dsText(ds))
			return nil
		},
	}
}

func (p *program) statusCommand() *ucli.Command {
	return &ucli.Command{
		Name:      "status",
		Usage:     "show per zone what is published, its keys, its alarms and what happens next",
		ArgsUsage: "[ZONE...]",
		Description: "Without zones also of the daemon that runs for the tree. Exit status 4 if there is\n" +
			"an alarm.\n\nExample: zonebuild -C /srv/dns status --json",
		Flags: []ucli.Flag{nagiosFlag(), jsonFlag()},
		Action: func(c *ucli.Context) error {
			if err := checkReportForm(c); err != nil {
				return err
			}
			s, t, names, err := p.open(c)
			if err != nil {
				return err
			}
			defer t.Close()
			list, err := t.Status(names, s.now)
			if err != nil {
				return err
			}
			var running *daemon.Standing
			if len(names) == 0 {
				if running, err = daemon.Of(t.Config.Paths.State); err != nil {
					return err
				}
			}
			if c.Bool("nagios") {
				return s.nagiosStatus(list, running)
			}
			// Without a server to ask, publishing is its own confirmation.
			asked := t.Config.Publish.Server != config.ServerNone || len(t.Config.Publish.Confirm) > 0
			code := cli.ExitOK
			for i := range list {
				if len(list[i].Alarms) > 0 {
					code = cli.ExitNo
				}
				if !s.printer.JSON {
					s.printStatus(&list[i], asked)
				}
			}
			if running != nil && len(running.Alarms) > 0 {
				code = cli.ExitNo
			}
			if s.printer.JSON {
				if err := s.printer.Report(struct {
					Zones  []build.ZoneStatus `json:"zones"`
					Daemon *daemon.Standing   `json:"daemon,omitempty"`
				}{list, running}); err != nil {
					return err
				}
			} else if running != nil {
				s.printDaemon(running)
			}
			return cli.Exit(code)
		},
	}
}

// nagiosStatus is critical for an alarm. What is only refused or rejected leaves
// the last good zone served and signed: a warning.
// Of those of the daemon it is one that nothing is built any more.
func (s *session) nagiosStatus(list []build.ZoneStatus, running *daemon.Standing) error {
	const what = "ZONES"
	worst, message, alarms := nagiosOK, "", 0
	add := func(of, code, text string, warning bool) {
		v := nagiosCritical
		if warning {
			v = nagiosWarning
		}
		if alarms++; v > worst {
			worst, message = v, fmt.Sprintf("%s %s: %s", of, code, text)
		}
	}
	for i := range list {
		for _, a := range list[i].Alarms {
			add(list[i].Zone.String(), a.Code, a.Message, a.Code == "input-rejected" || a.Code == "guard" || a.Code == "host-keys" || a.Code == "not-published")
		}
	}
	if running != nil {
		for _, a := range running.Alarms {
			add("watch", a.Code, a.Message, a.Code != watch.AlarmBuild && a.Code != watch.AlarmPass)
		}
	}
	switch {
	case alarms > 1:
		message += fmt.Sprintf(" (and %s)", plural(alarms-1, "more alarm"))
	case alarms == 0:
		message = plural(len(list), "zone") + " published and signed"
	}
	return s.nagios(worst, what, message, fmt.Sprintf("zones=%d", len(list)), fmt.Sprintf("alarms=%d", alarms))
}

func (s *session) printStatus(z *build.ZoneStatus, asked bool) {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n", z.Zone)
	line := func(label, format string, args ...any) {
		fmt.Fprintf(&b, "  %-10s %s\n", label, fmt.Sprintf(format, args...))
	}
	if z.Serial != 0 {
		confirmed := ""
		switch {
		case !asked:
		case z.Confirmed:
			confirmed = ", confirmed"
		default:
			confirmed = ", not confirmed"
		}
		line("serial", "%d, published %s%s", z.Serial, stamp(z.Published), confirmed)
		line("holds", "%s, %s", plural(z.Records, "record"), plural(z.Signatures, "signature"))
	} else {
		line("serial", "not published")
	}
	if !z.Oldest.IsZero() {
		line("expires", "%s (in %s) the first signature", stamp(z.Oldest), days(z.Oldest.Sub(s.now)))
	}
	for _, k := range z.Keys {
		use := "signs"
		switch {
		case !k.Published:
			use = "not published"
		case !k.Signs:
			use = "published only"
		}
		line("key", "%s %d, algorithm %d, %s", k.Role, k.Tag, k.Algorithm, use)
	}
	for _, a := range z.Alarms {
		line("alarm", "%s since %s: %s", a.Code, stamp(a.Since), indented(a.Message))
	}
	for _, r := range z.Refused {
		line("refused", "%s: %s%s", r.Guard, r.Message, override(z.Zone, r.Guard, r.Override))
	}
	next := z.Next
	if !z.NextAt.IsZero() {
		next += " at " + stamp(z.NextAt) + " (in " + days(z.NextAt.Sub(s.now)) + ")"
	}
	line("next", "%s", next)
	fmt.Fprint(s.printer.Out, b.String())
}

func (s *session) printDaemon(d *daemon.Standing) {
	fmt.Fprintf(s.printer.Out, "watch\n")
	if d.PID != 0 {
		fmt.Fprintf(s.printer.Out, "  %-10s %d\n", "pid", d.PID)
	}
	for _, a := range d.Alarms {
		fmt.Fprintf(s.printer.Out, "  %-10s %s since %s: %s\n", "alarm", a.Code, stamp(a.Since), indented(a.Message))
	}
}

// indented keeps the lines of a message below its first one.
func indented(message string) string {
	first, rest, more := strings.Cut(message, "\n")
	if !more {
		return diag.Escape(first)
	}
	out := diag.Escape(first)
	for line := range strings.Lines(rest) {
		text := strings.TrimLeft(strings.TrimSuffix(line, "\n"), "\t")
		out += "\n" + strings.Repeat(" ", 13) + strings.Repeat("\t", len(strings.TrimSuffix(line, "\n"))-len(text)) + diag.Escape(text)
	}
	return out
}

func stamp(t time.Time) string {
	if t.IsZero() {
		return "at an unknown time"
	}
	return t.UTC().Format(time.RFC3339)
}

func days(d time.Duration) string {
	if d < 0 {
		return "the past"
	}
	if d = d.Truncate(time.Minute); d == 0 {
		return "less than a minute"
	}
	if n := d / (24 * time.Hour); n > 0 {
		return fmt.Sprintf("%dd%dh", n, (d%(24*time.Hour))/time.Hour)
	}
	return strings.TrimSuffix(d.String(), "0s")
}

func (p *program) retireCommand() *ucli.Command {
	return &ucli.Command{
		Name:      "retire",
		Usage:     "take a zone that is no longer in the tree out of publication",
		ArgsUsage: "ZONE",
		Description: "The last file is kept in state/retired/, the keys are left alone. Remove the DS\n" +
			"and the delegation at the parent first.\n\nExample: zonebuild -C /srv/dns retire old.example",
		Flags: []ucli.Flag{jsonFlag()},
		Action: func(c *ucli.Context) error {
			name, err := oneZone(c)
			if err != nil {
				return err
			}
			s, t, err := p.openTree(c)
			if err != nil {
				return err
			}
			defer t.Close()
			if err := s.writes(t); err != nil {
				return err
			}
			var server build.Forgetter
			if t.Config.Publish.Server == config.ServerNSD {
				server = &nsd.Server{Control: t.Path(t.Config.Publish.Control)}
			}
			kept, err := t.Retire(c.Context, name, server)
			if err != nil {
				return err
			}
			if s.printer.JSON {
				return s.printer.Report(struct {
					Zone domain.Name `json:"zone"`
					Kept string      `json:"kept"`
				}{name, kept})
			}
			s.log.Info("retire", "zone", name, "kept", kept)
			return nil
		},
	}
}

func (p *program) versionCommand() *ucli.Command {
	return &ucli.Command{
		Name:        "version",
		Usage:       "print the version",
		Description: "Example: zonebuild version --json",
		Flags:       []ucli.Flag{jsonFlag()},
		Action: func(c *ucli.Context) error {
			s, err := p.session(c)
			if err != nil {
				return err
			}
			if s.printer.JSON {
				return s.printer.Report(cli.ThisBuild())
			}
			_, err = fmt.Fprintln(s.printer.Out, "zonebuild", cli.ThisBuild())
			return err
		},
	}
}
