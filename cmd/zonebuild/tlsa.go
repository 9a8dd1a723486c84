package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	ucli "github.com/urfave/cli/v2"

	"zonebuild/internal/build"
	"zonebuild/internal/cli"
	"zonebuild/internal/diag"
	"zonebuild/internal/domain"
	"zonebuild/internal/durable"
	"zonebuild/tlsa"
)

func (p *program) tlsaCommand() *ucli.Command {
	return &ucli.Command{
		Name:        "tlsa",
		Usage:       "show and steer how TLSA records follow the keys of certificates",
		ArgsUsage:   "COMMAND [ARGUMENTS]",
		Description: "Example: zonebuild -C /srv/dns tlsa status",
		Subcommands: []*ucli.Command{
			p.tlsaStatusCommand(), p.tlsaReadyCommand(), p.tlsaPrintCommand(),
			p.tlsaMarkCommand(build.MarkRetire, "let records go that no file asks for any more",
				"For hosts that cannot be seen, or keys that are lost. What a host is seen serving stays\n(to let that go too: accept)."),
			p.tlsaMarkCommand(build.MarkAccept, "let a set pass that the guard refused",
				"For a new host, or a key that is lost: the files in certs/ are right, whatever is served."),
			p.tlsaMarkCommand(build.MarkSeen, "state that all servers serve the published records",
				"For servers that cannot be asked. The waits for caches begin now."),
		},
		Action: noSubcommand,
	}
}

func noSubcommand(c *ucli.Context) error {
	if c.Args().Present() {
		return cli.Usagef("unknown command %q (zonebuild %s --help lists them)", c.Command.Name+" "+c.Args().First(), c.Command.Name)
	}
	return cli.Usagef("%s needs a command (zonebuild %[1]s --help lists them)", c.Command.Name)
}

// serviceArgs reads HOST PORT[/PROTO].
func serviceArgs(command string, args []string) (s tlsa.Service, err error) {
	if len(args) != 2 {
		return s, cli.Usagef("tlsa %s needs a host and a port", command)
	}
	if s.Host, err = domain.Parse(args[0]); err != nil {
		return s, cli.Usagef("host %s", err)
	}
	port, proto, given := strings.Cut(args[1], "/")
	if s.Proto = proto; !given {
		s.Proto = "tcp"
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n == 0 || !slices.Contains([]string{"tcp", "udp", "sctp"}, s.Proto) {
		return s, cli.Usagef("port %q: must be from 1 to 65535, with /tcp, /udp or /sctp behind it or without", args[1])
	}
	s.Port = uint16(n)
	if _, err := s.Owner(); err != nil {
		return s, cli.Usagef("host %s", err)
	}
	return s, nil
}

func (p *program) tlsaStatusCommand() *ucli.Command {
	return &ucli.Command{
		Name:        "status",
		Usage:       "show per line of certs.map where its rollover stands and what it waits for",
		Description: "Nobody is asked: what a build saw last is shown. Exit status 4 if a line needs\nsomebody's attention.\n\nExample: zonebuild -C /srv/dns tlsa status --json",
		Flags:       []ucli.Flag{jsonFlag()},
		Action: func(c *ucli.Context) error {
			if c.Args().Present() {
				return cli.Usagef("tlsa status takes no arguments")
			}
			s, t, err := p.openTree(c)
			if err != nil {
				return err
			}
			defer t.Close()
			list, err := t.TLSA(c.Context, s.now)
			if err != nil {
				return err
			}
			code := cli.ExitOK
			for i := range list {
				if list[i].Alarm() {
					code = cli.ExitNo
				}
				if !s.printer.JSON {
					s.printTLSA(&list[i])
				}
			}
			if s.printer.JSON {
				if list == nil {
					list = []build.TLSALine{}
				}
				if err := s.printer.Report(struct {
					Lines []build.TLSALine `json:"lines"`
				}{list}); err != nil {
					return err
				}
			}
			return cli.Exit(code)
		},
	}
}

func (s *session) printTLSA(l *build.TLSALine) {
	var b strings.Builder
	line := func(label, format string, args ...any) {
		fmt.Fprintf(&b, "  %-10s %s\n", label, diag.Escape(fmt.Sprintf(format, args...)))
	}
	fmt.Fprintf(&b, "%s %d/%s\n", l.Host, l.Port, l.Proto)
	files := l.CertFile
	if l.Next != "" {
		files += " next=" + l.Next
	}
	if l.Left {
		line("line", "%s: none any more", l.Place)
	} else {
		line("line", "%s: %s", l.Place, files)
	}
	state := string(l.Phase)
	if state == "" {
		state = "not built yet"
	} else {
		state += " since " + stamp(l.Since)
	}
	if l.Stale {
		state += ", as the last build saw it: the sources of " + l.Zone.String() + " cannot be read"
	}
	line("state", "%s", state)
	for _, r := range l.Records {
		line("record", "%s", r)
	}
	for _, w := range l.Waits {
		line("waits for", "%s", w)
	}
	switch {
	case l.Ready:
		line("next key", "ready: it may be deployed")
	case !l.ReadyAt.IsZero():
		line("next key", "ready at %s (in %s)", stamp(l.ReadyAt), days(l.ReadyAt.Sub(s.now)))
	}
	for _, f := range l.Faults {
		line("warning", "%s [%s]", f.Message, f.Code)
	}
	fmt.Fprint(s.printer.Out, b.String())
}

func (p *program) tlsaReadyCommand() *ucli.Command {
	return &ucli.Command{
		Name:      "ready",
		Usage:     "tell whether the next key of a service may be deployed",
		ArgsUsage: "HOST PORT[/PROTO]",
		Description: "Exit status 0 when every cache that holds TLSA records has that of the next key, 4\n" +
			"when not yet, 1 when that cannot be told.\n\nExample: zonebuild -C /srv/dns tlsa ready mail.example.org 25",
		Flags: []ucli.Flag{jsonFlag()},
		Action: func(c *ucli.Context) error {
			service, err := serviceArgs("ready", c.Args().Slice())
			if err != nil {
				return err
			}
			s, t, err := p.openTree(c)
			if err != nil {
				return err
			}
			defer t.Close()
			answer, err := t.TLSAReady(c.Context, service, s.now)
			if err != nil {
				return err
			}
			switch {
			case s.printer.JSON:
				if err := s.printer.Report(answer); err != nil {
					return err
				}
			case answer.Ready:
				fmt.Fprintln(s.printer.Out, "ready")
			default:
				fmt.Fprintln(s.printer.Out, "not ready:", diag.Escape(answer.Reason))
			}
			if answer.Ready {
				return nil
			}
			return cli.Exit(cli.ExitNo)
		},
	}
}

func (p *program) tlsaPrintCommand() *ucli.Command {
	return &ucli.Command{
		Name:      "print",
		Usage:     "print the TLSA record of a certificate, as ldns-dane create does",
		ArgsUsage: "CERTFILE HOST PORT[/PROTO] [USAGE SELECTOR MATCHING-TYPE]",
		Description: "The file is a certificate, a chain, a certificate request or a public key. Needs no\n" +
			"tree.\n\nExample: zonebuild tlsa print mail.pem mail.example.org 25 3 1 1",
		Flags: []ucli.Flag{jsonFlag()},
		Action: func(c *ucli.Context) error {
			args := c.Args().Slice()
			if len(args) != 3 && len(args) != 6 {
				return cli.Usagef("tlsa print needs a file, a host and a port, and usage, selector and matching type or none of them")
			}
			service, err := serviceArgs("print", args[1:3])
			if err != nil {
				return err
			}
			kind := tlsa.DefaultKind
			if len(args) == 6 {
				if kind, err = tlsa.ParseKind(args[3], args[4], args[5]); err != nil {
					return cli.Usagef("%s", err)
				}
			}
			s, err := p.session(c)
			if err != nil {
				return err
			}
			data, _, err := durable.ReadFile(s.path(args[0]), 256<<10)
			if err != nil {
				return fmt.Errorf("read the certificate: %w", err)
			}
			m, err := tlsa.ParseMaterial(data)
			if err != nil {
				return fmt.Errorf("read %s: %w", args[0], err)
			}
			r, err := tlsa.Associate(kind, m)
			if err != nil {
				return fmt.Errorf("make a TLSA record of %s: %w", args[0], err)
			}
			if m.Cert != nil && kind.Usage%2 == 1 && !m.Covers(service.Host) {
				s.log.Warn("the certificate does not name the host", "file", args[0], "host", service.Host)
			}
			owner, err := service.Owner()
			if err != nil {
				return cli.Usagef("host %s", err)
			}
			if s.printer.JSON {
				return s.printer.Report(struct {
					Owner  domain.Name `json:"owner"`
					TTL    uint32      `json:"ttl"`
					Record tlsa.Record `json:"record"`
				}{owner, tlsa.DefaultTTL, r})
			}
			fmt.Fprintln(s.printer.Out, r.Text(owner, tlsa.DefaultTTL))
			return nil
		},
	}
}

func (p *program) tlsaMarkCommand(mark, usage, more string) *ucli.Command {
	return &ucli.Command{
		Name:        mark,
		Usage:       usage,
		ArgsUsage:   "HOST PORT[/PROTO]",
		Description: more + " The next build acts on it, once.\n\nExample: zonebuild -C /srv/dns tlsa " + mark + " mail.example.org 25",
		Flags:       []ucli.Flag{jsonFlag()},
		Action: func(c *ucli.Context) error {
			service, err := serviceArgs(mark, c.Args().Slice())
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
			if err := t.MarkTLSA(c.Context, service, mark); err != nil {
				return err
			}
			if s.printer.JSON {
				return s.printer.Report(struct {
					Host  domain.Name `json:"host"`
					Port  uint16      `json:"port"`
					Proto string      `json:"proto"`
					Mark  string      `json:"mark"`
				}{service.Host, service.Port, service.Proto, mark})
			}
			s.log.Info("tlsa "+mark, "service", service)
			return nil
		},
	}
}
