package main

import (
	"fmt"
	"strings"

	ucli "github.com/urfave/cli/v2"

	"zonebuild/internal/cli"
	"zonebuild/internal/diag"
)

// verdict is the state of a monitoring plugin; its number is the exit status
// that Nagios and its kin expect.
type verdict int

const (
	nagiosOK verdict = iota
	nagiosWarning
	nagiosCritical
	nagiosUnknown
)

func (v verdict) String() string {
	return []string{"OK", "WARNING", "CRITICAL", "UNKNOWN"}[v]
}

func nagiosFlag() ucli.Flag {
	return &ucli.BoolFlag{Name: "nagios", Usage: "print one line for a monitoring system; exit status 0 ok, 1 warning, 2 critical, 3 unknown"}
}

// nagios prints the one line of a plugin and gives the error with its code.
func (s *session) nagios(v verdict, what, message string, perf ...string) error {
	message = strings.ReplaceAll(diag.Escape(message), "|", "/") // which would begin the measurements
	line := fmt.Sprintf("%s %s - %s", what, v, message)
	if len(perf) > 0 {
		line += " | " + strings.Join(perf, " ")
	}
	if _, err := fmt.Fprintln(s.printer.Out, line); err != nil {
		return cli.WithCode(int(nagiosUnknown), err)
	}
	return cli.Exit(int(v))
}

// checkReportForm refuses two forms of one report.
func checkReportForm(c *ucli.Context) error {
	if c.Bool("nagios") && c.Bool("json") {
		return cli.Usagef("--nagios and --json exclude each other")
	}
	return nil
}
