package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	ucli "github.com/urfave/cli/v2"

	"zonebuild/dnsextra"
	"zonebuild/internal/acmeclient"
	"zonebuild/internal/cli"
	"zonebuild/internal/config"
	"zonebuild/internal/domain"
)

// program is one run of the command.
type program struct {
	out, err io.Writer
	env      func(string) string
	clock    func() time.Time
	limits   acmeclient.Limits // how patient it is with a CA; zero = as usual
}

func (p *program) run(ctx context.Context, args []string) int {
	app := p.app()
	spec := specOf(app)
	printer := cli.Printer{Program: "acmehook", Out: p.out, Err: p.err, JSON: cli.Given(args, spec, "json")}
	err := app.RunContext(ctx, append([]string{app.Name}, cli.Arrange(args, spec)...))
	if err != nil && ctx.Err() != nil && errors.Is(err, context.Canceled) {
		err = cli.WithCode(cli.ExitInterrupted, err)
	}
	return printer.Finish(err)
}

func (p *program) app() *ucli.App {
	app := &ucli.App{
		Name:      "acmehook",
		Usage:     "put the dns-01 challenges of an ACME CA into a drop box, and keep certificates",
		UsageText: "acmehook [-C DIR] COMMAND [ARGUMENTS]",
		Description: "DIR holds acmehook.toml and the drop box, dnsextra/ by default.\n\n" +
			"Exit status: 0 done; 1 failed, a retry may help; 3 the name or the value was refused;\n" +
			"4 checked, and the answer is no; 64 wrong usage; 130 interrupted.",
		Flags: []ucli.Flag{
			&ucli.StringFlag{Name: "C", Value: ".", Usage: "work in `DIR`"},
			&ucli.StringFlag{Name: "group", Usage: "`GROUP` of the files that are written (default: acmehook.toml)"},
			&ucli.StringFlag{Name: "timeout", Usage: "`TIME`, such as 10m, of waiting (default: acmehook.toml)"},
		},
		Commands: []*ucli.Command{
			p.hookCommand(dialect{"add", "add a challenge: [--wait] NAME VALUE", "acmehook -C /jail add --wait _acme-challenge.example.org LHDhK3oGRvkiefQnx7OOczTY5Tic_xZ6HcMOc_gmtoM", raw(true)}),
			p.hookCommand(dialect{"remove", "remove a challenge: NAME VALUE", "acmehook -C /jail remove _acme-challenge.example.org LHDhK3oGRvkiefQnx7OOczTY5Tic_xZ6HcMOc_gmtoM", raw(false)}),
			p.listCommand(), p.cleanCommand(), p.checkCommand(), p.selftestCommand(), p.shCommand(), p.versionCommand(),
		},
		Writer: p.out, ErrWriter: p.err,
		HideVersion: true, HideHelpCommand: true,
		ExitErrHandler: func(*ucli.Context, error) {},
		OnUsageError:   usageError,
		Action:         noCommand,
	}
	app.Commands = append(app.Commands, p.lineCommands()...)
	for _, d := range dialects() {
		app.Commands = append(app.Commands, p.hookCommand(d))
	}
	for _, c := range app.Commands {
		c.OnUsageError = usageError
		c.HideHelpCommand = true
	}
	return app
}

func usageError(_ *ucli.Context, err error, _ bool) error {
	return cli.Usagef("%s (acmehook --help)", strings.TrimSuffix(err.Error(), "."))
}

func noCommand(c *ucli.Context) error {
	if c.Args().Present() {
		return cli.Usagef("unknown command %q (acmehook --help lists them)", c.Args().First())
	}
	return cli.Usagef("no command is given (acmehook --help lists them)")
}

func specOf(app *ucli.App) cli.ArgSpec {
	help := cli.Option{Names: []string{"help", "h"}}
	options := func(flags []ucli.Flag) []cli.Option {
		out := []cli.Option{help}
		for _, f := range flags {
			_, isBool := f.(*ucli.BoolFlag)
			out = append(out, cli.Option{Names: f.Names(), TakesValue: !isBool})
		}
		return out
	}
	spec := cli.ArgSpec{Options: options(app.Flags)}
	for _, c := range app.Commands {
		spec.Commands = append(spec.Commands, cli.ArgSpec{Names: c.Names(), Options: options(c.Flags), Raw: c.SkipFlagParsing})
	}
	return spec
}

// hookCommand is a command whose words are a client's: none is an option, but for
// a --wait in front of those of clients that look by themselves.
func (p *program) hookCommand(d dialect) *ucli.Command {
	mayWait := d.name == "lego" || d.name == "getssl-add"
	return &ucli.Command{
		Name: d.name, Usage: d.usage, Description: "Example: " + d.example, SkipFlagParsing: true,
		Action: func(c *ucli.Context) error {
			args := c.Args().Slice()
			if len(args) == 1 && (args[0] == "--help" || args[0] == "-h") {
				return ucli.ShowCommandHelp(c, d.name)
			}
			wait := mayWait && len(args) > 0 && args[0] == "--wait"
			if wait {
				args = args[1:]
			}
			call, err := d.read(args, p.env)
			if err != nil {
				return err
			}
			call.wait = call.wait || wait && call.add
			if call.refuse {
				return cli.Exit(cli.ExitFailed)
			}
			if len(call.list) == 0 {
				return nil
			}
			h, err := p.open(c)
			if err != nil {
				return err
			}
			return h.do(c.Context, call)
		},
	}
}

// hook is an opened directory.
type hook struct {
	*program
	config *config.Hook
	writer *dnsextra.Writer
	now    time.Time
}

func (p *program) open(c *ucli.Context) (*hook, error) {
	h, err := p.load(c)
	if err != nil {
		return nil, err
	}
	if info, err := os.Stat(h.config.DropBox); err != nil || !info.IsDir() {
		return nil, fmt.Errorf("open the drop box %s: no such directory", h.config.DropBox)
	}
	return h, nil
}

// load reads the configuration, for what needs no drop box.
func (p *program) load(c *ucli.Context) (*hook, error) {
	dir := c.String("C")
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		return nil, cli.Usagef("-C %s: no such directory", dir)
	}
	cfg, faults := config.LoadHook(dir)
	if faults.HasErrors() {
		if err := p.printer(c).Diagnostics(faults); err != nil {
			return nil, err
		}
		return nil, cli.Exit(cli.ExitRejected)
	}
	if text := c.String("timeout"); text != "" {
		var err error
		if cfg.Timeout, err = config.ParseDuration(text); err != nil {
			return nil, cli.Usagef("--timeout: %s", err)
		}
	}
	if text := c.String("group"); text != "" {
		gid, err := config.ParseGroup(text)
		if err != nil {
			return nil, cli.Usagef("--group: %s", err)
		}
		cfg.Group = &gid
	}
	w := &dnsextra.Writer{Dir: cfg.DropBox, Group: cfg.Group}
	for _, owner := range cfg.Alias {
		w.Aliases = append(w.Aliases, owner)
	}
	return &hook{p, cfg, w, p.clock().UTC().Truncate(time.Second)}, nil
}

// challenge makes of a client's words what goes into the drop box.
func (h *hook) challenge(a pair) (dnsextra.Challenge, error) {
	c := dnsextra.Challenge{Value: a.value, Expires: h.now.Add(h.config.Lifetime)}
	owner, err := h.owner(a.name, a.owner)
	if err == nil {
		c.Owner = owner
		err = dnsextra.CheckValue(a.value)
	}
	if err != nil {
		return c, cli.WithCode(cli.ExitRejected, err)
	}
	return c, nil
}

// owner is where the challenge of a name stands. An alias of the configuration
// goes before the name's own.
func (h *hook) owner(name string, isOwner bool) (domain.Name, error) {
	text, err := toASCII(strings.TrimSuffix(name, "."))
	if err != nil {
		return domain.Name{}, err
	}
	if !isOwner {
		text = strings.TrimPrefix(text, "*.")
		if n, err := domain.Parse(text); err == nil {
			if owner, ok := h.config.Alias[n]; ok {
				return owner, nil
			}
		}
		text = "_acme-challenge." + text
	}
	owner, err := dnsextra.ParseOwner(text, h.writer.Aliases)
	if err != nil {
		return owner, err
	}
	proved := dnsextra.Challenge{Owner: owner}.Proves()
	if alias, ok := h.config.Alias[proved]; ok && isOwner && proved != owner {
		return alias, nil
	}
	allowed := len(h.config.Names) == 0
	for _, n := range h.config.Names {
		allowed = allowed || proved.IsWithin(n)
	}
	for _, a := range h.writer.Aliases {
		allowed = allowed || owner == a
	}
	if !allowed {
		return owner, fmt.Errorf("owner %s: acmehook.toml does not allow to prove %s", owner, proved)
	}
	return owner, nil
}

// do carries out a call: all is checked before anything is written.
func (h *hook) do(ctx context.Context, c call) error {
	var list []dnsextra.Challenge
	for _, a := range c.list {
		ch, err := h.challenge(a)
		if err != nil {
			return err
		}
		list = append(list, ch)
	}
	for _, ch := range list {
		var err error
		if c.add {
			err = h.writer.Add(ctx, ch)
		} else {
			err = h.writer.Remove(ch)
		}
		if err != nil {
			return err
		}
	}
	if !c.wait {
		return nil
	}
	more, err := h.pending(c.also)
	if err != nil {
		return err
	}
	return h.await(ctx, append(list, more...), false)
}

// pending are the challenges of names that stand in the drop box already: those of
// the same order.
func (h *hook) pending(names []string) ([]dnsextra.Challenge, error) {
	if len(names) == 0 {
		return nil, nil
	}
	owners := map[domain.Name]bool{}
	for _, name := range names {
		if owner, err := h.owner(name, false); err == nil {
			owners[owner] = true
		}
	}
	all, _, err := h.writer.List()
	var out []dnsextra.Challenge
	for _, c := range all {
		if owners[c.Owner] && h.now.Before(c.Expires) {
			out = append(out, c)
		}
	}
	return out, err
}
