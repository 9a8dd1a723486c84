package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	ucli "github.com/urfave/cli/v2"

	"zonebuild/internal/build"
	"zonebuild/internal/cli"
	"zonebuild/internal/config"
	"zonebuild/internal/diag"
	"zonebuild/internal/domain"
)

// program is one run of the command: its streams, and the global options.
type program struct {
	out, err io.Writer
}

func (p *program) run(ctx context.Context, args []string) int {
	out := &reportWriter{to: p.out}
	p.out = out
	app := p.app()
	spec := specOf(app)
	printer := cli.Printer{Program: "zonebuild", Out: p.out, Err: p.err, JSON: cli.Given(args, spec, "json")}
	app.Before = func(c *ucli.Context) error {
		printer.Lines = c.String("log-format") == "json"
		return nil
	}
	err := app.RunContext(ctx, append([]string{app.Name}, cli.Arrange(args, spec)...))
	switch {
	case err != nil && ctx.Err() != nil && errors.Is(err, context.Canceled):
		err = cli.WithCode(cli.ExitInterrupted, errors.New("interrupted"))
	case out.err != nil && cli.Code(err) != cli.ExitUsage:
		err = errors.Join(err, fmt.Errorf("write report: %w", out.err))
	}
	return printer.Finish(err)
}

// reportWriter remembers that a report did not reach its reader: a full disk
// must not look like an answer.
type reportWriter struct {
	to  io.Writer
	err error
}

func (w *reportWriter) Write(b []byte) (int, error) {
	n, err := w.to.Write(b)
	if err != nil && w.err == nil {
		w.err = err
	}
	return n, err
}

func (p *program) app() *ucli.App {
	app := &ucli.App{
		Name:      "zonebuild",
		Usage:     "compile, sign and publish DNS zones kept in version control",
		UsageText: "zonebuild [-C TREE] COMMAND [OPTIONS] [ARGUMENTS]",
		Description: "Exit status: 0 done; 1 failed, a retry may help; 3 some input was rejected, the\n" +
			"other zones are done; 4 checked, and the answer is no; 64 wrong usage;\n130 interrupted.",
		Flags: []ucli.Flag{
			&ucli.StringFlag{Name: "C", Value: ".", Usage: "work in the data tree `TREE`"},
			&ucli.StringFlag{Name: "now", Usage: "decide everything as if it were `RFC3339`; not with a live name server"},
			&ucli.StringFlag{Name: "log-format", Value: "text", Usage: "`FORMAT` of the log on stderr: text or json"},
			&ucli.BoolFlag{Name: "q", Usage: "say nothing but warnings and errors"},
			&ucli.BoolFlag{Name: "verbose", Usage: "say more"},
		},
		Commands: []*ucli.Command{
			p.buildCommand(), p.watchCommand(), p.initCommand(), p.checkCommand(), p.diffCommand(), p.approveCommand(),
			p.keygenCommand(), p.dsCommand(), p.verifyCommand(), p.verifyServedCommand(), p.verifyDANECommand(), p.statusCommand(), p.retireCommand(),
			p.publishCommand(), p.tlsaCommand(), p.versionCommand(),
		},
		Writer: p.out, ErrWriter: p.err,
		HideVersion:     true, // its -v would panic beside a flag of that name
		HideHelpCommand: true,
		ExitErrHandler:  func(*ucli.Context, error) {},
		OnUsageError:    usageError,
		CommandNotFound: nil,
		Action:          noCommand,
	}
	strict(app.Commands)
	return app
}

// strict makes commands and their sub-commands say what is wrong as the program does.
func strict(commands []*ucli.Command) {
	for _, c := range commands {
		c.OnUsageError = usageError
		c.HideHelpCommand = true
		strict(c.Subcommands)
	}
}

func usageError(c *ucli.Context, err error, _ bool) error {
	return cli.Usagef("%s (zonebuild %s--help)", strings.TrimSuffix(err.Error(), "."), commandWord(c))
}

func commandWord(c *ucli.Context) string {
	if c.Command == nil || c.Command.Name == "" || c.Command.Name == c.App.Name {
		return ""
	}
	return strings.TrimPrefix(c.Command.HelpName, "zonebuild ") + " "
}

func noCommand(c *ucli.Context) error {
	if c.Args().Present() {
		return cli.Usagef("unknown command %q (zonebuild --help lists them)", c.Args().First())
	}
	return cli.Usagef("no command is given (zonebuild --help lists them)")
}

// specOf describes the command line to cli.Arrange.
func specOf(app *ucli.App) cli.ArgSpec {
	spec := cli.ArgSpec{Options: append(optionsOf(app.Flags), helpOption())}
	spec.Commands = specsOf(app.Commands)
	return spec
}

func specsOf(commands []*ucli.Command) (out []cli.ArgSpec) {
	for _, c := range commands {
		out = append(out, cli.ArgSpec{
			Names:    append([]string{c.Name}, c.Aliases...),
			Options:  append(optionsOf(c.Flags), helpOption()),
			Commands: specsOf(c.Subcommands),
			Raw:      c.SkipFlagParsing,
		})
	}
	return out
}

func helpOption() cli.Option { return cli.Option{Names: []string{"help", "h"}} }

func optionsOf(flags []ucli.Flag) []cli.Option {
	var out []cli.Option
	for _, f := range flags {
		_, isBool := f.(*ucli.BoolFlag)
		out = append(out, cli.Option{Names: f.Names(), TakesValue: !isBool})
	}
	return out
}

// jsonFlag is on every command that reports.
func jsonFlag() ucli.Flag {
	return &ucli.BoolFlag{Name: "json", Usage: "report as one JSON document"}
}

// session is what a command works with.
type session struct {
	printer cli.Printer
	log     *slog.Logger
	now     time.Time
	fixed   bool // now was given
	quiet   bool
	verbose bool
	all     bool   // say again what the last run said
	timed   bool   // each line has its time: the log of a daemon
	dir     string // -C

	revision string // of the sources, where it is known
}

func (p *program) session(c *ucli.Context) (*session, error) {
	s := &session{now: time.Now().UTC().Truncate(time.Second), quiet: c.Bool("q"), verbose: c.Bool("verbose"), all: c.Bool("verbose") || p.terminal(), dir: c.String("C")}
	if info, err := os.Stat(s.dir); err != nil || !info.IsDir() {
		return nil, cli.Usagef("-C %s: no such directory", s.dir)
	}
	s.printer = cli.Printer{Program: "zonebuild", Out: p.out, Err: p.err, JSON: c.Bool("json"), Lines: c.String("log-format") == "json"}
	var err error
	if c.IsSet("now") {
		if s.now, err = instant("now", c.String("now")); err != nil {
			return nil, err
		}
		s.fixed = true
	}
	s.log, err = cli.LogOptions{Format: c.String("log-format"), Quiet: c.Bool("q"), Verbose: c.Bool("verbose")}.Logger(p.err)
	return s, err
}

// Signatures have 32 bits for their times, which mean what is within 68 years of
// the reader's clock (RFC 4034 §3.1.5).
const (
	firstYear = 2000
	lastYear  = 2105
)

// instant reads the time of an option.
func instant(option, text string) (time.Time, error) {
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return t, cli.Usagef("--%s %q: not a time such as 2026-01-31T12:00:00Z", option, text)
	}
	if t = t.UTC(); t.Year() < firstYear || t.Year() > lastYear {
		return t, cli.Usagef("--%s %s: not between the years %d and %d", option, text, firstYear, lastYear)
	}
	return t, nil
}

// terminal reports whether a person is watching: cron is told only what is new.
func (p *program) terminal() bool {
	f, ok := p.err.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&(os.ModeDevice|os.ModeCharDevice) == os.ModeDevice|os.ModeCharDevice && f.Name() != os.DevNull
}

// path is where a file of the command line is: as with make and git, -C comes
// first.
func (s *session) path(name string) string {
	if filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(s.dir, name)
}

// program is a program of the command line: one with a slash is a path.
func (s *session) program(name string) string {
	if !strings.Contains(name, "/") {
		return name
	}
	return s.path(name)
}

// writes is for commands that write to a tree: --now is for tests, and must not
// get into what a live server is given.
func (s *session) writes(t *build.Tree) error {
	if s.fixed && t.Config.Publish.Server != config.ServerNone {
		return cli.Usagef("--now is for tests: it is refused with publish.server = %q", t.Config.Publish.Server)
	}
	return nil
}

// tree opens the data tree; faults of the configuration are printed.
func (s *session) tree(c *ucli.Context) (*build.Tree, error) {
	t, faults, err := build.Open(s.dir)
	if err != nil {
		return nil, err
	}
	if c.Command.Name == "build" { // what cron runs: warnings are for check
		faults = slices.DeleteFunc(faults, func(d diag.Diagnostic) bool { return d.Severity == diag.Warning })
	}
	if err := s.printer.Diagnostics(faults); err != nil {
		return nil, err
	}
	if t == nil {
		return nil, cli.Exit(cli.ExitRejected)
	}
	if r := t.Config.Revision; r != nil && (c.Command.Name != "build" || s.verbose) {
		s.log.Info("the sources are read of an exported revision, not of the checkout", "revision", r.Name(), "checkout", r.Top)
	}
	if len(t.Config.Zones) == 0 {
		s.log.Warn("there is no zone in the tree", "tree", s.dir)
	}
	return t, nil
}

// open is openTree for a command whose arguments are zones.
func (p *program) open(c *ucli.Context) (*session, *build.Tree, []domain.Name, error) {
	names, err := zones(c)
	if err != nil {
		return nil, nil, nil, err
	}
	s, t, err := p.openTree(c)
	return s, t, names, err
}

// openTree begins a command that works in a tree, which the caller closes.
func (p *program) openTree(c *ucli.Context) (*session, *build.Tree, error) {
	s, err := p.session(c)
	if err != nil {
		return nil, nil, err
	}
	t, err := s.tree(c)
	return s, t, err
}

// zones are the arguments as names.
func zones(c *ucli.Context) ([]domain.Name, error) {
	var out []domain.Name
	for _, a := range c.Args().Slice() {
		n, err := domain.Parse(a)
		if err != nil {
			return nil, cli.Usagef("zone %s", err)
		}
		out = append(out, n)
	}
	return out, nil
}

// oneZone is the only argument, as a name.
func oneZone(c *ucli.Context) (domain.Name, error) {
	if c.NArg() != 1 {
		return domain.Name{}, cli.Usagef("%s needs one zone", c.Command.Name)
	}
	list, err := zones(c)
	if err != nil {
		return domain.Name{}, err
	}
	return list[0], nil
}

func plural(n int, word string) string {
	if n == 1 {
		return "1 " + word
	}
	return fmt.Sprintf("%d %ss", n, word)
}

// rejected is the error of a command that printed faults.
func rejected(list diag.List) error {
	if list.HasErrors() {
		return cli.Exit(cli.ExitRejected)
	}
	return nil
}
