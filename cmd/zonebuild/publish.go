package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	ucli "github.com/urfave/cli/v2"

	"zonebuild/internal/cli"
	"zonebuild/internal/config"
	"zonebuild/internal/domain"
	"zonebuild/internal/nsd"
	"zonebuild/internal/publish"
)

func (p *program) publishCommand() *ucli.Command {
	return &ucli.Command{
		Name:      "publish",
		Usage:     "pull signed zones into a name server's directory, beside that server",
		ArgsUsage: "[ZONE...]",
		Description: "For the name server's jail: no tree, no keys, DIR mounted read-only. A file is taken\n" +
			"over when it verifies, its serial is ahead and the server's checker accepts it; the\n" +
			"file before is put back if the server cannot load it. Nothing new: nothing is said.\n\n" +
			"Example: zonebuild publish --from /mnt/signed --to /var/lib/nsd/zones --server nsd",
		Flags: []ucli.Flag{
			&ucli.StringFlag{Name: "from", Usage: "the builder's signed `DIR`"},
			&ucli.StringFlag{Name: "to", Usage: "the `ZONEDIR` from which the name server reads"},
			&ucli.StringFlag{Name: "server", Value: config.ServerNone, Usage: "`KIND` of name server: none or nsd"},
			&ucli.StringFlag{Name: "control", Value: "/run/nsd/nsd.ctl", Usage: "`SOCKET` of nsd (control-interface)"},
			&ucli.StringSliceFlag{Name: "address", Usage: "`ADDRESS` where nsd answers (default: 127.0.0.1)"},
			&ucli.StringFlag{Name: "checkzone", Value: "nsd-checkzone", Usage: "`PROGRAM` that checks a file for nsd; empty: none"},
			&ucli.StringFlag{Name: "pattern", Usage: "`NAME` of nsd's pattern for zones that it does not know"},
			&ucli.StringSliceFlag{Name: "confirm", Usage: "with --server none: `ADDRESS` that must serve the zone in the end"},
			&ucli.StringFlag{Name: "timeout", Value: "30s", Usage: "`TIME` until a new serial must be served, 1s to 1h"},
			&ucli.StringSliceFlag{Name: "unsigned", Usage: "`ZONE` that may become unsigned though the present file is signed"},
			jsonFlag(),
		},
		Action: p.publish,
	}
}

func (p *program) publish(c *ucli.Context) error {
	s, err := p.session(c)
	if err != nil {
		return err
	}
	names, err := zones(c)
	if err != nil {
		return err
	}
	server, err := s.pullServer(c)
	if err != nil {
		return err
	}
	for _, dir := range []string{"from", "to"} {
		if info, err := os.Stat(s.path(c.String(dir))); c.String(dir) == "" || err != nil || !info.IsDir() {
			return cli.Usagef("--%s %q: no such directory", dir, c.String(dir))
		}
	}
	timeout, err := config.ParseDuration(c.String("timeout"))
	if err != nil || timeout < time.Second || timeout > time.Hour {
		return cli.Usagef("--timeout %q: must be a time such as 90s, from 1s to 1h", c.String("timeout"))
	}
	var unsigned []domain.Name
	for _, text := range c.StringSlice("unsigned") {
		n, err := zoneArg(text)
		if err != nil {
			return err
		}
		unsigned = append(unsigned, n)
	}
	if s.fixed && c.String("server") != config.ServerNone {
		return cli.Usagef("--now is for tests: it is refused with --server %s", c.String("server"))
	}
	report, err := publish.Pull(c.Context, publish.PullOptions{
		From: s.path(c.String("from")), To: s.path(c.String("to")), Now: s.now, Server: server, Timeout: timeout, Zones: names, Unsigned: unsigned,
	})
	return s.sayPulled(report, err)
}

// pullReport is what --json prints.
type pullReport struct {
	Zones []publish.Pulled `json:"zones"`
	Code  int              `json:"exit"`
}

func (s *session) sayPulled(zones []publish.Pulled, err error) error {
	report := pullReport{Zones: append([]publish.Pulled{}, zones...)}
	for i := range zones {
		report.Code = cli.Worst(report.Code, zones[i].Code)
	}
	if err != nil {
		report.Code = cli.Worst(report.Code, cli.Code(err))
	}
	if s.printer.JSON {
		if err := s.printer.Report(report); err != nil {
			return err
		}
	} else {
		for i := range zones {
			s.sayPull(&zones[i])
		}
	}
	if err != nil && !errors.Is(err, context.Canceled) {
		return cli.WithCode(report.Code, err)
	}
	if err != nil {
		return err
	}
	return cli.Exit(report.Code)
}

func (s *session) sayPull(z *publish.Pulled) {
	if z.Restored && !s.quiet {
		s.note("%s: its file was lost or damaged, the last good one with serial %d is back", z.Zone, z.Serial)
	}
	if z.Error != "" && !z.News && !s.all {
		return
	}
	if z.Error != "" {
		s.say("%s: %s: %s", z.Zone, z.Action, z.Error)
		return
	}
	if s.quiet {
		return
	}
	switch z.Action {
	case publish.PullPublished:
		s.note("%s: published with serial %d", z.Zone, z.Serial)
	case publish.PullConfirmed:
		s.note("%s: serial %d is served", z.Zone, z.Serial)
	}
}

// pullServer makes the name server that the options name.
func (s *session) pullServer(c *ucli.Context) (publish.Server, error) {
	for flag, kind := range map[string]string{
		"control": config.ServerNSD, "address": config.ServerNSD, "checkzone": config.ServerNSD, "pattern": config.ServerNSD,
		"confirm": config.ServerNone,
	} {
		if c.IsSet(flag) && c.String("server") != kind {
			return nil, cli.Usagef("--%s has no meaning with --server %s", flag, c.String("server"))
		}
	}
	addresses, err := pullAddresses(c)
	if err != nil {
		return nil, err
	}
	switch c.String("server") {
	case config.ServerNone:
		return &publish.None{Confirm: addresses}, nil
	case config.ServerNSD:
		to, err := filepath.Abs(s.path(c.String("to")))
		if err != nil {
			return nil, fmt.Errorf("find --to: %w", err)
		}
		return &nsd.Server{
			Control: s.path(c.String("control")), Addresses: addresses, Checkzone: s.program(c.String("checkzone")), Pattern: c.String("pattern"),
			ZoneFile: func(apex domain.Name) string { return filepath.Join(to, apex.FileName()) },
		}, nil
	}
	return nil, cli.Usagef("--server %q: must be none or nsd", c.String("server"))
}

func pullAddresses(c *ucli.Context) ([]netip.AddrPort, error) {
	texts := c.StringSlice("confirm")
	if c.String("server") == config.ServerNSD {
		if texts = c.StringSlice("address"); len(texts) == 0 {
			texts = []string{"127.0.0.1"}
		}
	}
	var out []netip.AddrPort
	for _, text := range texts {
		a, err := config.ParseAddress(text)
		if err != nil {
			return nil, cli.Usagef("address %s", err)
		}
		out = append(out, a)
	}
	return out, nil
}
