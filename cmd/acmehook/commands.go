package main

import (
	"crypto/rand"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"time"

	ucli "github.com/urfave/cli/v2"

	"zonebuild/dnsextra"
	"zonebuild/internal/cli"
)

// listed is a challenge in a report.
type listed struct {
	Owner   string    `json:"owner"`
	Value   string    `json:"value"`
	Expires time.Time `json:"expires,omitzero"`
}

func listOf(list []dnsextra.Challenge) []listed {
	out := []listed{}
	for _, c := range list {
		out = append(out, listed{c.Owner.String(), c.Value, c.Expires})
	}
	return out
}

func (p *program) printer(c *ucli.Context) cli.Printer {
	return cli.Printer{Program: "acmehook", Out: p.out, Err: p.err, JSON: c.Bool("json")}
}

func jsonFlag() ucli.Flag {
	return &ucli.BoolFlag{Name: "json", Usage: "report as one JSON document"}
}

func (p *program) listCommand() *ucli.Command {
	return &ucli.Command{
		Name: "list", Usage: "show the challenges in the drop box", Description: "Example: acmehook -C /jail list --json",
		Flags: []ucli.Flag{jsonFlag()},
		Action: func(c *ucli.Context) error {
			h, err := p.open(c)
			if err != nil {
				return err
			}
			list, others, err := h.writer.List()
			if err != nil {
				return err
			}
			if c.Bool("json") {
				return p.printer(c).Report(struct {
					Challenges []listed `json:"challenges"`
					Others     int      `json:"other_files"`
				}{listOf(list), others})
			}
			for _, ch := range list {
				until := ""
				if !ch.Expires.IsZero() {
					until = " until " + ch.Expires.UTC().Format(time.RFC3339)
				}
				fmt.Fprintf(p.out, "%s %s%s\n", ch.Owner, ch.Value, until)
			}
			return nil
		},
	}
}

func (p *program) cleanCommand() *ucli.Command {
	return &ucli.Command{
		Name: "clean", Usage: "remove the challenges that have expired", Description: "Example: acmehook -C /jail clean",
		Flags: []ucli.Flag{jsonFlag()},
		Action: func(c *ucli.Context) error {
			h, err := p.open(c)
			if err != nil {
				return err
			}
			gone, err := h.writer.Clean(h.now)
			if c.Bool("json") && err == nil {
				return p.printer(c).Report(struct {
					Removed []listed `json:"removed"`
				}{listOf(gone)})
			}
			return err
		},
	}
}

func (p *program) selftestCommand() *ucli.Command {
	return &ucli.Command{
		Name: "selftest", Usage: "publish a canary and see it come and go", ArgsUsage: "NAME",
		Description: "Proves the whole way from the drop box to every name server, for a timer.\n" +
			"Exit status 1 if it does not come, or does not go, within the timeout.\n\nExample: acmehook -C /jail selftest example.org",
		Flags: []ucli.Flag{jsonFlag()},
		Action: func(c *ucli.Context) error {
			if c.NArg() != 1 {
				return cli.Usagef("selftest needs one name")
			}
			h, err := p.open(c)
			if err != nil {
				return err
			}
			sum := sha256.Sum256([]byte(rand.Text()))
			canary, err := h.challenge(pair{name: c.Args().First(), value: base64.RawURLEncoding.EncodeToString(sum[:])})
			if err != nil {
				return err
			}
			if err := h.writer.Add(c.Context, canary); err != nil {
				return err
			}
			start := time.Now()
			err = h.await(c.Context, []dnsextra.Challenge{canary}, false)
			came := time.Since(start)
			if failed := h.writer.Remove(canary); err == nil {
				err = failed
			}
			if err != nil {
				return err
			}
			start = time.Now()
			if err := h.await(c.Context, []dnsextra.Challenge{canary}, true); err != nil {
				return err
			}
			went := time.Since(start)
			if c.Bool("json") {
				return p.printer(c).Report(struct {
					Owner string  `json:"owner"`
					Came  float64 `json:"came_seconds"`
					Went  float64 `json:"went_seconds"`
				}{canary.Owner.String(), came.Seconds(), went.Seconds()})
			}
			fmt.Fprintf(p.out, "%s: served everywhere after %s, gone after %s\n", canary.Owner, elapsed(came), elapsed(went))
			return nil
		},
	}
}

//go:embed dns_acmehook.sh
var acmeSh string

func (p *program) shCommand() *ucli.Command {
	return &ucli.Command{
		Name: "acme.sh", Usage: "print dns_acmehook.sh, the file for acme.sh's dnsapi/",
		Description: "Example: acmehook acme.sh >~/.acme.sh/dnsapi/dns_acmehook.sh",
		Action: func(*ucli.Context) error {
			_, err := fmt.Fprint(p.out, acmeSh)
			return err
		},
	}
}

func (p *program) versionCommand() *ucli.Command {
	return &ucli.Command{
		Name: "version", Usage: "print the version", Description: "Example: acmehook version --json", Flags: []ucli.Flag{jsonFlag()},
		Action: func(c *ucli.Context) error {
			if c.Bool("json") {
				return p.printer(c).Report(cli.ThisBuild())
			}
			_, err := fmt.Fprintln(p.out, "acmehook", cli.ThisBuild())
			return err
		},
	}
}
