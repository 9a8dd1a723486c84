package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"strings"

	"zonebuild/internal/diag"
)

// Printer says everything to the user. Out carries only what was asked for;
// faults, notes and errors go to Err.
type Printer struct {
	Program string // before each error
	Out     io.Writer
	Err     io.Writer
	JSON    bool // reports and faults as JSON
	Lines   bool // faults as JSON, for a log of JSON lines
}

// Report prints a report as one JSON document on Out. The names of the fields
// are those of the value's struct tags and are part of the interface.
func (p Printer) Report(report any) error {
	b, err := json.MarshalIndent(report, "", "  ")
	if err != nil {
		return fmt.Errorf("encode report: %w", err)
	}
	if _, err := p.Out.Write(append(b, '\n')); err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	return nil
}

// Diagnostics prints faults on Err, one per line: as a compiler does, or as
// objects with the message_type "diagnostic". The order is that of the list.
func (p Printer) Diagnostics(list diag.List) error {
	var b strings.Builder
	for _, d := range list {
		if !p.JSON && !p.Lines {
			b.WriteString(oneLine(d.String()) + "\n")
			continue
		}
		object, err := json.Marshal(d)
		if err != nil {
			return fmt.Errorf("encode diagnostic: %w", err)
		}
		// A diagnostic is a flat object that is never empty.
		b.WriteString(`{"message_type":"diagnostic",` + string(object[1:]) + "\n")
	}
	if _, err := io.WriteString(p.Err, b.String()); err != nil {
		return fmt.Errorf("write diagnostics: %w", err)
	}
	return nil
}

type exitError struct {
	MessageType string `json:"message_type"`
	Code        int    `json:"code"`
	Message     string `json:"message"`
}

// Finish prints err, if there is one, as the last thing of a run and gives the
// exit code: `program: message` for each line of the message, or one object
// with the message_type "exit_error". Without JSON, an Error without a cause
// prints nothing.
func (p Printer) Finish(err error) int {
	code := Code(err)
	switch {
	case err == nil:
	case p.JSON || p.Lines && !silent(err):
		b, _ := json.Marshal(exitError{"exit_error", code, err.Error()}) // a struct of strings: cannot fail
		fmt.Fprintf(p.Err, "%s\n", b)
	case silent(err):
	default:
		for line := range strings.Lines(err.Error()) {
			fmt.Fprintf(p.Err, "%s: %s\n", p.Program, oneLine(strings.TrimSuffix(line, "\n")))
		}
	}
	return code
}

func silent(err error) bool {
	e, ok := err.(*Error)
	return ok && e.Err == nil
}

// oneLine keeps hostile input that found its way into a message from forging
// lines or moving the cursor. Spaces and printable letters stay as they are.
func oneLine(s string) string {
	if strings.IndexFunc(s, func(r rune) bool { return r < ' ' || r > '~' }) < 0 {
		return s
	}
	return diag.Escape(s)
}

// LogOptions are the global options that shape the log.
type LogOptions struct {
	Format  string // "text" or "json"; "" is text
	Quiet   bool   // warnings and errors only
	Verbose bool   // debugging too; wins over Quiet
	Time    bool   // the time in text lines, for daemons; JSON lines always have it
}

// Logger makes the program's logger. Lines of a one-shot command carry no time:
// cron and journald add their own, and equal runs give equal output.
func (o LogOptions) Logger(w io.Writer) (*slog.Logger, error) {
	ho := &slog.HandlerOptions{Level: o.level()}
	switch o.Format {
	case "", "text":
		if !o.Time {
			ho.ReplaceAttr = dropTime
		}
		return slog.New(slog.NewTextHandler(w, ho)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(w, ho)), nil
	}
	return nil, Usagef("log format %q: must be text or json", o.Format)
}

func (o LogOptions) level() slog.Level {
	switch {
	case o.Verbose:
		return slog.LevelDebug
	case o.Quiet:
		return slog.LevelWarn
	}
	return slog.LevelInfo
}

func dropTime(groups []string, a slog.Attr) slog.Attr {
	if len(groups) == 0 && a.Key == slog.TimeKey {
		return slog.Attr{}
	}
	return a
}
