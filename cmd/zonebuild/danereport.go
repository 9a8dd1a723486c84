package main

import (
	"fmt"
	"strings"
	"time"

	ucli "github.com/urfave/cli/v2"

	"zonebuild/internal/cli"
	"zonebuild/internal/dane"
	"zonebuild/internal/diag"
	"zonebuild/internal/durable"
	"zonebuild/tlsa"
)

// daneCode is the exit status that a verdict gives.
func daneCode(v dane.Verdict) int {
	switch v.Class() {
	case dane.Yes:
		return cli.ExitOK
	case dane.No:
		return cli.ExitNo
	}
	return cli.ExitFailed
}

func (s *session) reportDANE(plugin bool, r *dane.Report) error {
	switch {
	case plugin:
		return s.nagiosDANE(r)
	case s.printer.JSON:
		if err := s.printer.Report(r); err != nil {
			return err
		}
	default:
		for i := range r.Checks {
			s.printDANE(&r.Checks[i], len(r.Checks) > 1)
		}
	}
	return cli.Exit(daneCode(r.Verdict))
}

// printDANE prints the verdicts on stdout, one address a line as ldns-dane does,
// and all that else is to be said on stderr.
func (s *session) printDANE(c *dane.Check, several bool) {
	if several && !s.quiet {
		s.note("%s:", daneService(c))
	}
	for i := range c.Results {
		r := &c.Results[i]
		fmt.Fprintln(s.printer.Out, diag.Escape(c.Line(r)))
		if s.quiet {
			continue
		}
		about := daneService(c)
		if r.Address.IsValid() {
			about += " (" + r.Address.String() + ")"
		}
		if r.Verdict == dane.Validated && s.verbose {
			s.note("%s: %s at depth %d, %s, %s key", about, r.Record, r.Depth, r.TLS, r.Key)
		}
		for _, k := range r.Keys {
			text := string(k.Verdict)
			if k.Reason != "" {
				text += ": " + k.Reason
			}
			s.note("%s: %s key: %s", about, k.Type, text)
		}
		for _, n := range r.Notes {
			s.note("%s: note: %s", about, n)
		}
	}
	for _, n := range c.Notes {
		if s.quiet {
			break
		}
		s.note("%s: note: %s", daneService(c), n)
	}
}

// daneService is "mail.example.org. 25/tcp".
func daneService(c *dane.Check) string {
	if c.Proto == "" {
		return c.Host.String()
	}
	return fmt.Sprintf("%s %d/%s", c.Host, c.Port, c.Proto)
}

// nagiosDANE: critical is a definite no; what could not be told is unknown, or a
// warning where other addresses validated.
func (s *session) nagiosDANE(r *dane.Report) error {
	all, validated := r.Count()
	v, message := nagiosOK, fmt.Sprintf("%d of %s validated", validated, addressesOf(all))
	if why, class := worstDANE(r); r.Verdict != dane.Validated {
		message = why + "; " + message
		switch {
		case class == dane.No:
			v = nagiosCritical
		case r.Verdict == dane.Partial:
			v = nagiosWarning
		default:
			v = nagiosUnknown
		}
	}
	perf := []string{fmt.Sprintf("addresses=%d", all), fmt.Sprintf("validated=%d", validated)}
	if left, ok := daneLeft(r, s.now); ok {
		perf = append(perf, fmt.Sprintf("left=%ds", int64(left/time.Second)))
	}
	return s.nagios(v, "DANE", strings.TrimSpace(message), perf...)
}

func addressesOf(n int) string {
	if n == 1 {
		return "1 address"
	}
	return fmt.Sprintf("%d addresses", n)
}

// worstDANE is the line of the address with the worst verdict.
func worstDANE(r *dane.Report) (line string, class dane.Class) {
	for i := range r.Checks {
		c := &r.Checks[i]
		for j := range c.Results {
			if v := c.Results[j].Verdict; v != dane.Validated && (line == "" || v.Class() > class) {
				line, class = fmt.Sprintf("%s: %s", daneService(c), c.Line(&c.Results[j])), v.Class()
			}
		}
	}
	return line, class
}

// daneLeft is how long the signatures in DNS hold.
func daneLeft(r *dane.Report, now time.Time) (left time.Duration, ok bool) {
	for i := range r.Checks {
		if e := r.Checks[i].Expires; !e.IsZero() && (!ok || e.Sub(now) < left) {
			left, ok = e.Sub(now), true
		}
	}
	return left, ok
}

// mapReport is the report on certs.map.
type mapReport struct {
	Verdict  dane.Verdict     `json:"verdict"`
	Services []dane.MapReport `json:"services"`
	Faults   diag.List        `json:"diagnostics"`
}

// verifyMap checks certs.map. A line that cannot be read is a fault of the
// input; those that can are checked all the same.
func (s *session) verifyMap(c *ucli.Context, o dane.Options) error {
	t, err := s.tree(c)
	if err != nil {
		return err
	}
	defer t.Close()
	file := t.Config.Paths.CertsMap
	text, _, err := durable.ReadFile(file, maxCertsMap)
	if err != nil {
		return fmt.Errorf("read the certificate map: %w", err)
	}
	m, faults := tlsa.ParseMap(t.Config.Shown(file), text)
	keys, done, err := lineKeys(t.Config.Paths.Certs)
	if err != nil {
		return err
	}
	defer done()
	r := mapReport{Faults: append(diag.List{}, faults...)}
	if r.Verdict, r.Services, err = dane.VerifyMap(c.Context, m, keys, o); err != nil {
		return err
	}
	all := dane.Report{Verdict: r.Verdict}
	for i := range r.Services {
		all.Checks = append(all.Checks, r.Services[i].Checks...)
	}
	code := daneCode(r.Verdict)
	switch {
	case faults.HasErrors() && len(m.Lines) == 0:
		code = cli.ExitRejected
	case faults.HasErrors():
		code = cli.Worst(code, cli.ExitRejected)
	}
	switch {
	case c.Bool("nagios"):
		return s.nagiosMap(&all, faults)
	case s.printer.JSON:
		if err := s.printer.Report(r); err != nil {
			return err
		}
		return cli.Exit(code)
	}
	if err := s.printer.Diagnostics(faults); err != nil {
		return err
	}
	for i := range r.Services {
		for j := range r.Services[i].Checks {
			s.printDANE(&r.Services[i].Checks[j], true)
		}
		for _, n := range r.Services[i].Notes {
			s.say("%s: note: %s", r.Services[i].Service, n)
		}
	}
	if len(r.Services) == 0 {
		s.say("%s: no service is in the map", file)
	}
	return cli.Exit(code)
}

// nagiosMap is nagiosDANE; faults of the map are critical, for nothing was
// checked of their lines.
func (s *session) nagiosMap(all *dane.Report, faults diag.List) error {
	for _, d := range faults {
		if d.Severity == diag.Error {
			return s.nagios(nagiosCritical, "DANE", d.String())
		}
	}
	return s.nagiosDANE(all)
}

// maxCertsMap bounds the map in octets; tlsa.ParseMap wants fewer.
const maxCertsMap = 8 << 20

// lineKeys reads the files of the map's lines.
func lineKeys(dir string) (keys func(tlsa.Group) []tlsa.Keys, done func(), err error) {
	store, err := tlsa.OpenStore(dir)
	if err != nil {
		return nil, nil, err
	}
	return store.Keys, func() { store.Close() }, nil
}
