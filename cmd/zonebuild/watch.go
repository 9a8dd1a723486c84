package main

import (
	"encoding/json"
	"net"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"time"

	ucli "github.com/urfave/cli/v2"

	"zonebuild/internal/build"
	"zonebuild/internal/cli"
	"zonebuild/internal/daemon"
	"zonebuild/internal/diag"
)

func (p *program) watchCommand() *ucli.Command {
	return &ucli.Command{
		Name:  "watch",
		Usage: "run as a daemon that keeps every zone built, signed fresh and confirmed",
		Description: "What changes in the tree is published at once; signatures are made anew in time;\n" +
			"what the server serves is asked again. SIGHUP reads the configuration again, SIGTERM\n" +
			"ends it after the running publish. `build`, `approve` and `keygen` work beside it.\n\n" +
			"Example: zonebuild -C /srv/dns watch --listen 127.0.0.1:9353",
		Flags: []ucli.Flag{
			&ucli.BoolFlag{Name: "json", Usage: "report each pass in which something was done as one line of JSON"},
			&ucli.StringFlag{Name: "listen", Usage: "`ADDRESS` for /metrics, /healthz and /status.json, such as 127.0.0.1:9353"},
			&ucli.BoolFlag{Name: "listen-anywhere", Usage: "let --listen be another address than one of the loopback interface"},
			&ucli.StringFlag{Name: "follow-git", Usage: "build the revision `REF` of the checkout, such as origin/main, whatever is in its files; forwards only"},
			&ucli.StringFlag{Name: "allowed-signers", Usage: "with --follow-git: take only commits that are signed by a key in `FILE`"},
			&ucli.BoolFlag{Name: "no-events", Usage: "look by polling only: drop boxes each 2 seconds, other sources each 10"},
			&ucli.BoolFlag{Name: "new-zone", Usage: "state that zones signed for the first time have no DS at their parent"},
		},
		Action: p.watch,
	}
}

func (p *program) watch(c *ucli.Context) error {
	if c.Args().Present() {
		return cli.Usagef("watch takes no zones: it keeps all of the tree")
	}
	s, err := p.session(c)
	if err != nil {
		return err
	}
	s.all = s.verbose
	if os.Getenv("JOURNAL_STREAM") == "" { // the journal knows when a line came
		s.timed = true
		if s.log, err = (cli.LogOptions{Format: c.String("log-format"), Quiet: s.quiet, Verbose: s.verbose, Time: true}).Logger(p.err); err != nil {
			return err
		}
	}
	if s.fixed {
		return cli.Usagef("--now is for tests: it is refused with watch")
	}
	follow := daemon.Follow{Ref: c.String("follow-git"), AllowedSigners: c.String("allowed-signers")}
	if follow.Ref == "" && follow.AllowedSigners != "" {
		return cli.Usagef("--allowed-signers has no meaning without --follow-git")
	}
	addr := c.String("listen")
	if err := checkListen(addr, c.Bool("listen-anywhere")); err != nil {
		return err
	}
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	defer signal.Stop(hup)
	reload := make(chan struct{}, 1)
	go func() {
		for range hup {
			select {
			case reload <- struct{}{}:
			default: // one is waiting
			}
		}
	}()
	d := &daemon.Daemon{
		Dir: s.dir, ServerOf: serverOf, Now: func() time.Time { return time.Now().Round(0) }, Log: s.log, Reload: reload,
		NewZone: c.Bool("new-zone"), NoEvents: c.Bool("no-events"), OpenListen: func() (net.Listener, error) { return listen(addr) },
		Follow: follow,
		Notify: daemon.NewNotify(os.Getenv, os.Getpid(), s.log),
		Faults: func(faults diag.List) { // warnings are for check
			s.printFaults(slices.DeleteFunc(slices.Clone(faults), func(d diag.Diagnostic) bool { return d.Severity == diag.Warning }))
		},
		Said: func(r *build.Report, revision string) {
			if s.printer.JSON {
				if err := s.printPass(r, revision); err != nil {
					s.log.Warn("print what was done", "err", err)
				}
				return
			}
			s.revision = revision
			if err := s.sayReport(r); err != nil {
				s.log.Warn("print what was done", "err", err)
			}
		},
	}
	return d.Run(c.Context)
}

// passLine is what `watch --json` prints of a pass in which something was done: a line.
type passLine struct {
	Time     time.Time      `json:"time"`
	Revision string         `json:"revision,omitempty"`
	Zones    []build.Result `json:"zones"` // but for those of which nothing changed
	Boxes    diag.List      `json:"drop_boxes,omitempty"`
	Sources  diag.List      `json:"sources,omitempty"`
	Code     int            `json:"exit"`
}

func (s *session) printPass(r *build.Report, revision string) error {
	line := passLine{Time: time.Now().UTC().Truncate(time.Millisecond), Revision: revision, Zones: []build.Result{}, Code: r.Code}
	for i := range r.Zones {
		if z := &r.Zones[i]; s.all || z.Action != build.Unchanged && (z.News || z.FaultsNew || z.Reasons != nil || z.Action == build.Confirmed) {
			line.Zones = append(line.Zones, *z)
		}
	}
	if r.BoxesNew || s.all {
		line.Boxes = r.Boxes
	}
	if r.StrayNew || s.all {
		line.Sources = r.Strays
	}
	if len(line.Zones) == 0 && !r.BoxesNew && !r.StrayNew && !s.all {
		return nil
	}
	return json.NewEncoder(s.printer.Out).Encode(&line)
}

func (s *session) printFaults(faults diag.List) {
	if err := s.printer.Diagnostics(faults); err != nil {
		s.log.Warn("print the faults", "err", err)
	}
}

// checkListen judges the address of the pages, which have no password.
func checkListen(addr string, anywhere bool) error {
	if addr == "" {
		if anywhere {
			return cli.Usagef("--listen-anywhere has no meaning without --listen")
		}
		return nil
	}
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return cli.Usagef("--listen %q: not an address such as 127.0.0.1:9353", addr)
	}
	if ip := net.ParseIP(host); !anywhere && (ip == nil || !ip.IsLoopback()) {
		return cli.Usagef("--listen %s: not of the loopback interface; everybody who reaches it reads the pages (--listen-anywhere lets it)", addr)
	}
	return nil
}

// listen opens the address of the pages; nil without one.
func listen(addr string) (net.Listener, error) {
	if addr == "" {
		return nil, nil
	}
	return net.Listen("tcp", addr)
}
