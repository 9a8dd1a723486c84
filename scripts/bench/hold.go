package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"runtime/debug"
	"time"

	"zonebuild/internal/build"
	"zonebuild/internal/publish"
)

// held is the answer of the process that holds a tree.
type held struct {
	Seconds float64 `json:"seconds"`
	Made    int     `json:"made"` // signatures
	Serial  uint32  `json:"serial"`
}

// holdChild is this program run as one that keeps a tree open, as a daemon
// does: it builds once, then for each round number on its input it adds a TXT
// record to the zone, builds, and prints what that took, until signed/ is on
// disk.
func holdChild(ctx context.Context, dir, apex string, in io.Reader, out io.Writer) error {
	t, faults, err := build.Open(dir)
	if err != nil {
		return err
	}
	if faults.HasErrors() {
		return fmt.Errorf("%v", faults)
	}
	defer t.Close()
	t.Keep()
	debug.SetGCPercent(25) // as zonebuild does
	answer := json.NewEncoder(out)
	do := func(round int) error {
		start := time.Now()
		if round > 0 {
			if err := addTXT(filepath.Join(dir, "primary", apex), round); err != nil {
				return err
			}
		}
		var end committed
		report, err := t.Build(ctx, build.Options{Now: start, NewZone: true, Server: &publish.None{}, Log: slog.New(&end)})
		if err != nil {
			return err
		}
		r := report.Zones[0]
		if report.Code != 0 {
			return fmt.Errorf("build %s: %s %s %v", apex, r.Action, r.Error, r.Diagnostics)
		}
		return answer.Encode(held{end.at.Sub(start).Seconds(), r.NewSigs, r.Serial})
	}
	if err := do(0); err != nil {
		return err
	}
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		round := 0
		if _, err := fmt.Sscan(lines.Text(), &round); err != nil {
			return fmt.Errorf("read the round: %w", err)
		}
		if err := do(round); err != nil {
			return err
		}
	}
	return lines.Err()
}

// committed is a log that notes when a zone stood in signed/.
type committed struct{ at time.Time }

func (*committed) Enabled(context.Context, slog.Level) bool { return true }
func (c *committed) WithAttrs([]slog.Attr) slog.Handler     { return c }
func (c *committed) WithGroup(string) slog.Handler          { return c }

func (c *committed) Handle(_ context.Context, r slog.Record) error {
	if r.Message == build.Committed {
		c.at = time.Now()
	}
	return nil
}
