package main

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	ucli "github.com/urfave/cli/v2"

	"zonebuild/internal/authority"
	"zonebuild/internal/cli"
	"zonebuild/internal/config"
	"zonebuild/internal/diag"
	"zonebuild/internal/domain"
)

func (p *program) verifyServedCommand() *ucli.Command {
	return &ucli.Command{
		Name:      "verify-served",
		Usage:     "ask every address of every name server of a zone whether it serves it right",
		ArgsUsage: "ZONE...",
		Description: "The same serial everywhere, good signatures over SOA, NS and DNSKEY, and a DS at\n" +
			"the parent that fits. It needs no tree. Exit status 4 if something is wrong.\n\n" +
			"Example: zonebuild verify-served --min-left 3d example.org",
		Flags: []ucli.Flag{
			&ucli.BoolFlag{Name: "4", Usage: "ask IPv4 addresses only"},
			&ucli.BoolFlag{Name: "6", Usage: "ask IPv6 addresses only"},
			&ucli.StringSliceFlag{Name: "server", Usage: "`ADDRESS` to ask instead of those of the NS set, such as 192.0.2.1 or 192.0.2.1@5353"},
			&ucli.StringSliceFlag{Name: "resolver", Usage: "`ADDRESS` of the resolver for NS, addresses and DS (default: /etc/resolv.conf)"},
			&ucli.UintFlag{Name: "port", Value: 53, Usage: "`PORT` where the servers of the NS set answer"},
			&ucli.StringFlag{Name: "min-left", Value: "0s", Usage: "`TIME`, such as 3d, that each signature must have left"},
			nagiosFlag(), jsonFlag(),
		},
		Action: p.verifyServed,
	}
}

// servedServer is one address in the report.
type servedServer struct {
	Server string    `json:"server"`
	Serial uint32    `json:"serial,omitempty"`
	Oldest time.Time `json:"oldest_expiration,omitzero"`
	Error  string    `json:"error,omitempty"`
}

// servedZone is what was found of a zone.
type servedZone struct {
	Zone    domain.Name       `json:"zone"`
	Servers []servedServer    `json:"servers"`
	DS      []string          `json:"ds"`
	Skipped []string          `json:"skipped,omitempty"`
	Faults  []authority.Fault `json:"faults"`
	Error   string            `json:"error,omitempty"` // nothing could be asked

	oldest time.Time
}

func (p *program) verifyServed(c *ucli.Context) error {
	if c.NArg() == 0 {
		return cli.Usagef("verify-served needs a zone")
	}
	if c.Bool("4") && c.Bool("6") {
		return cli.Usagef("-4 and -6 exclude each other")
	}
	if err := checkReportForm(c); err != nil {
		return err
	}
	s, err := p.session(c)
	if err != nil {
		return err
	}
	names, err := zones(c)
	if err != nil {
		return err
	}
	minLeft, err := config.ParseDuration(c.String("min-left"))
	if err != nil {
		return cli.Usagef("--min-left: %s", err)
	}
	fixed, err := addressList(c, "server")
	if err != nil {
		return err
	}
	f := authority.Finder{Port: uint16(c.Uint("port")), No4: c.Bool("6"), No6: c.Bool("4")}
	if c.Uint("port") == 0 || c.Uint("port") > 65535 {
		return cli.Usagef("--port: must be from 1 to 65535")
	}
	resolver, err := addressList(c, "resolver")
	if err != nil {
		return err
	}
	if f.Resolver = resolver; len(resolver) == 0 {
		if f.Resolver, err = authority.SystemResolver(); err != nil {
			return err
		}
	}
	var list []servedZone
	for _, name := range names {
		list = append(list, s.served(c.Context, f, fixed, name, minLeft))
	}
	if c.Bool("nagios") {
		return s.nagiosServed(list)
	}
	return s.reportServed(list)
}

func addressList(c *ucli.Context, flag string) ([]netip.AddrPort, error) {
	var out []netip.AddrPort
	for _, text := range c.StringSlice(flag) {
		a, err := config.ParseAddress(text)
		if err != nil {
			return nil, cli.Usagef("--%s: %s", flag, err)
		}
		out = append(out, a)
	}
	return out, nil
}

// served asks for one zone.
func (s *session) served(ctx context.Context, f authority.Finder, fixed []netip.AddrPort, apex domain.Name, minLeft time.Duration) servedZone {
	z := servedZone{Zone: apex, Servers: []servedServer{}, DS: []string{}, Faults: []authority.Fault{}}
	var servers []authority.Server
	for _, a := range fixed {
		if a.Addr().Is4() && !f.No4 || a.Addr().Is6() && !f.No6 {
			servers = append(servers, authority.Server{Addr: a})
		}
	}
	if len(fixed) == 0 {
		var err error
		if servers, z.Skipped, err = f.Servers(ctx, apex); err != nil {
			z.Error = err.Error()
			return z
		}
	}
	survey := authority.Take(ctx, apex, servers, f.Resolver)
	for i := range survey.Answers {
		a := &survey.Answers[i]
		r := servedServer{Server: a.Server.String()}
		if a.Err != nil {
			r.Error = a.Err.Error()
		} else {
			r.Serial = a.SOA.Serial
			r.Oldest, _ = a.Oldest(s.now)
		}
		if !r.Oldest.IsZero() && (z.oldest.IsZero() || r.Oldest.Before(z.oldest)) {
			z.oldest = r.Oldest
		}
		z.Servers = append(z.Servers, r)
	}
	for _, ds := range survey.DS {
		z.DS = append(z.DS, dsText(ds))
	}
	z.Faults = append(z.Faults, authority.Judge(survey, s.now, minLeft)...)
	return z
}

func (s *session) reportServed(list []servedZone) error {
	code := cli.ExitOK
	for i := range list {
		z := &list[i]
		switch {
		case z.Error != "":
			code = cli.Worst(code, cli.ExitFailed)
		case len(z.Faults) > 0:
			code = cli.Worst(code, cli.ExitNo)
		}
	}
	if s.printer.JSON {
		if err := s.printer.Report(struct {
			Zones []servedZone `json:"zones"`
		}{list}); err != nil {
			return err
		}
		return cli.Exit(code)
	}
	for i := range list {
		s.printServed(&list[i])
	}
	return cli.Exit(code)
}

func (s *session) printServed(z *servedZone) {
	if z.Error != "" {
		s.say("%s: %s", z.Zone, z.Error)
		return
	}
	lines := []string{z.Zone.String()}
	add := func(format string, args ...any) { lines = append(lines, "  "+fmt.Sprintf(format, args...)) }
	for _, r := range z.Servers {
		switch {
		case r.Error != "":
			add("%s: %s", r.Server, r.Error)
		case r.Oldest.IsZero():
			add("%s: serial %d, not signed", r.Server, r.Serial)
		default:
			add("%s: serial %d, signatures hold until %s (%s)", r.Server, r.Serial, stamp(r.Oldest), days(r.Oldest.Sub(s.now)))
		}
	}
	for _, ds := range z.DS {
		add("parent: %s", ds)
	}
	for _, text := range z.Skipped {
		add("left out: %s", text)
	}
	for _, line := range lines {
		if !s.quiet {
			fmt.Fprintln(s.printer.Out, diag.Escape(line))
		}
	}
	for _, f := range z.Faults {
		s.say("%s: %s", z.Zone, f)
	}
}

func (s *session) nagiosServed(list []servedZone) error {
	const what = "SERVED"
	var worst verdict
	var message string
	faults := 0
	var oldest time.Time
	for i := range list {
		z := &list[i]
		v, text := nagiosOK, ""
		switch {
		case z.Error != "":
			v, text = nagiosUnknown, z.Error
		case len(z.Faults) > 0:
			v, text = nagiosCritical, z.Faults[0].String()
		}
		if faults += len(z.Faults); v > worst && worst != nagiosCritical || v == nagiosCritical && worst != v {
			worst, message = v, fmt.Sprintf("%s %s", z.Zone, text)
		}
		if !z.oldest.IsZero() && (oldest.IsZero() || z.oldest.Before(oldest)) {
			oldest = z.oldest
		}
	}
	switch {
	case faults > 1:
		message += fmt.Sprintf(" (and %d more)", faults-1)
	case worst == nagiosOK:
		message = fmt.Sprintf("%s %s served right", plural(len(list), "zone"), map[bool]string{true: "is", false: "are"}[len(list) == 1])
	}
	perf := []string{fmt.Sprintf("faults=%d", faults)}
	if !oldest.IsZero() {
		perf = append(perf, fmt.Sprintf("left=%ds", int64(oldest.Sub(s.now)/time.Second)))
	}
	return s.nagios(worst, what, message, perf...)
}
