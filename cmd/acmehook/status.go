package main

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	ucli "github.com/urfave/cli/v2"

	"zonebuild/internal/cli"
	"zonebuild/internal/config"
	"zonebuild/internal/diag"
	"zonebuild/internal/lines"
)

func (p *program) statusCommand() *ucli.Command {
	return &ucli.Command{
		Name: "status", Usage: "tell where each line is, and what happens next", ArgsUsage: "[NAME...]",
		Description: "Asks nobody. Exit status 4 if a line needs to be looked at: no certificate, one that\nexpires soon or has expired, a hook that keeps failing.\n\nExample: acmehook -C /jail status --json",
		Flags:       []ucli.Flag{jsonFlag()},
		Action: func(c *ucli.Context) error {
			h, err := p.load(c)
			if err != nil {
				return err
			}
			list, err := h.chosen(c.Args().Slice())
			if err != nil {
				return err
			}
			if len(list) == 0 { // a monitor must not take another directory for a line at rest
				return errNoLines()
			}
			k := &lines.Keeper{Config: h.config, Now: h.clock}
			client, noAccount := h.client()
			if noAccount == nil { // without account there are no orders
				k.CA = client
			}
			all := []lines.Status{}
			var faults []error
			code := cli.ExitOK
			for _, l := range list {
				s, err := k.Status(l)
				if err != nil { // what cannot be read must be looked at too
					s.Error, s.Alarm = err.Error(), &lines.Alarm{Code: "line-unreadable", Message: err.Error()}
				}
				if s.Alarm != nil {
					code = cli.ExitNo
				}
				if noAccount != nil {
					s.Waits = append(s.Waits, lines.Wait{Why: noAccount.Error()})
				}
				all = append(all, s)
				if !c.Bool("json") {
					fmt.Fprint(p.out, statusText(s, h.now))
				}
			}
			if c.Bool("json") {
				faults = append(faults, p.printer(c).Report(struct {
					Lines []lines.Status `json:"lines"`
				}{all}))
			}
			if err := errors.Join(faults...); err != nil {
				return err
			}
			return cli.Exit(code)
		},
	}
}

// chosen are the lines of the names, or all.
func (h *hook) chosen(names []string) ([]config.Line, error) {
	if len(names) == 0 {
		return h.config.Lines, nil
	}
	var out []config.Line
	for _, name := range names {
		l, ok := h.config.Line(name)
		if !ok {
			return nil, cli.Usagef("acmehook.toml has no [line.%s]", name)
		}
		out = append(out, l)
	}
	return out, nil
}

// statusText is a paragraph for people.
func statusText(s lines.Status, now time.Time) string {
	var b strings.Builder
	put := func(format string, args ...any) {
		text := diag.Escape(fmt.Sprintf(format, args...))
		fmt.Fprintf(&b, "  %s\n", text)
	}
	stamp := func(t time.Time) string { return t.UTC().Format(time.RFC3339) }
	fmt.Fprintf(&b, "%s: %s\n", s.Line, diag.Escape(strings.Join(s.Names, " ")))
	switch {
	case s.NotAfter.IsZero() && s.Alarm != nil && s.Alarm.Code == "line-unreadable":
	case s.NotAfter.IsZero():
		put("no certificate")
	default:
		put("certificate: generation %d, valid until %s", s.Generation, stamp(s.NotAfter))
	}
	if r := s.Renewal; r != nil && !r.Start.IsZero() {
		put("the CA suggests to renew from %s to %s", stamp(r.Start), stamp(r.End))
	}
	if r := s.Revoked; r != nil {
		put("revoked %s: %s", stamp(r.At), r.Reason)
	}
	if s.Key != nil {
		put("key: %s", keyText(s.Key, now))
	}
	if s.NextKey != nil {
		put("next key: %s", keyText(s.NextKey, now))
	}
	for _, owner := range slices.Sorted(maps.Keys(s.Gate)) {
		for _, note := range s.Gate[owner].Notes {
			put("not heard of %s: %s", owner, note)
		}
	}
	for _, v := range s.Services {
		switch {
		case v.Serves && len(v.NoRoute) > 0:
			put("service %s: serves it, seen %s; no way from here to %s", v.Name, stamp(v.At), strings.Join(v.NoRoute, ", "))
		case v.Serves:
			put("service %s: serves it, seen %s", v.Name, stamp(v.At))
		case v.Lag != "":
			put("service %s: %s", v.Name, v.Lag)
		default:
			put("service %s: not seen with it", v.Name)
		}
	}
	for _, d := range s.Steps {
		put("due: %s", d)
	}
	for _, w := range s.Waits {
		if w.At.IsZero() {
			put("waits: %s", w.Why)
		} else {
			put("later: %s: %s", stamp(w.At), w.Why)
		}
	}
	if s.Error != "" {
		put("last run: %s", strings.ReplaceAll(s.Error, "\n", "; "))
	}
	if s.Alarm != nil {
		put("ALARM: %s [%s]", s.Alarm.Message, s.Alarm.Code)
	}
	return b.String()
}

// keyText is a key and its age.
func keyText(k *lines.KeyStatus, now time.Time) string {
	days := func(since time.Time) int { return int(now.Sub(since) / (24 * time.Hour)) }
	text := k.ID
	if !k.Created.IsZero() {
		text += fmt.Sprintf(", %d days old", days(k.Created))
	}
	if !k.InUse.IsZero() {
		text += fmt.Sprintf(", in use for %d days", days(k.InUse))
	}
	return text
}
