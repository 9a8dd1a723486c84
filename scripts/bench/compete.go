package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
)

// role says what an entrant's numbers are compared with.
type role string

const (
	ours     role = "ours"
	peer     role = "peer"     // does the same work as ours
	verifier role = "verifier" // signs, and verifies what it signed
	floor    role = "floor"
	floorAll role = "floor-all" // of what signs, and verifies what it signed
)

// entrant is one way to do a piece of work.
type entrant struct {
	name    string
	role    role
	program string // "" is this one: it is always there

	prepare func() error                        // not timed
	run     func(context.Context) (took, error) // once more in each round
	check   func(took) (signatures int, err error)
	clean   func() error // removes what it wrote
}

// row is what an entrant cost in one section.
type row struct {
	Section    string    `json:"section"`
	Name       string    `json:"name"`
	Role       role      `json:"role"`
	Seconds    []float64 `json:"seconds"`
	CPU        []float64 `json:"cpu_seconds,omitempty"`
	Peaks      []int64   `json:"peak_bytes,omitempty"`
	Signatures int       `json:"signatures,omitempty"`
}

// compete has every entrant do its work in each round, one at a time; each
// round begins with another one, so that no place in it is an advantage.
func (b *bench) compete(ctx context.Context, section string, rounds int, entrants []entrant) error {
	rows := make([]row, len(entrants))
	for i, e := range entrants {
		rows[i] = row{Section: section, Name: e.name, Role: e.role}
	}
	for round := range rounds {
		for i := range entrants {
			i = (i + round) % len(entrants)
			t, n, err := b.once(ctx, entrants[i])
			if err != nil {
				return fmt.Errorf("%s: %s: %w", section, entrants[i].name, err)
			}
			rows[i].Seconds = append(rows[i].Seconds, t.seconds)
			if t.cpu > 0 {
				rows[i].CPU = append(rows[i].CPU, t.cpu)
			}
			if t.peak > 0 {
				rows[i].Peaks = append(rows[i].Peaks, t.peak)
			}
			rows[i].Signatures = n
			b.progress("%s %d/%d: %s %.2f s", section, round+1, rounds, entrants[i].name, t.seconds)
		}
	}
	b.rows = append(b.rows, rows...)
	return nil
}

func (b *bench) once(ctx context.Context, e entrant) (t took, signatures int, err error) {
	if e.clean != nil {
		defer func() { err = errors.Join(err, e.clean()) }()
	}
	if e.prepare != nil {
		if err := e.prepare(); err != nil {
			return t, 0, err
		}
	}
	if err := b.settle(ctx); err != nil {
		return t, 0, err
	}
	if t, err = e.run(ctx); err != nil {
		return t, 0, err
	}
	if e.check != nil {
		signatures, err = e.check(t)
	}
	return t, signatures, err
}

// present leaves out the entrants whose program is not installed, and remembers
// them.
func (b *bench) present(entrants []entrant) (out []entrant) {
	for _, e := range entrants {
		if e.program != "" {
			if _, ok := find(e.program); !ok {
				b.missing[e.program] = true
				continue
			}
		}
		out = append(out, e)
	}
	return out
}

// progress tells a terminal's user where a long run stands.
func (b *bench) progress(format string, args ...any) {
	if !b.brief {
		fmt.Fprintf(b.stderr, format+"\n", args...)
	}
}

// remover removes paths.
func remover(paths ...string) func() error {
	return func() error {
		for _, p := range paths {
			if err := os.RemoveAll(p); err != nil {
				return err
			}
		}
		return nil
	}
}

// between is the check of a file with at least lo and at most hi signatures.
func between(path string, lo, hi int) func(took) (int, error) {
	return func(took) (int, error) {
		n, err := countSignatures(path)
		if err == nil && (n < lo || n > hi) {
			err = fmt.Errorf("%d signatures in %s, want %d to %d: the tool did not do the same work", n, path, lo, hi)
		}
		return n, err
	}
}

// joined writes a flat zone file for those who read one: the soa/ fragment and
// the primary/ one.
func joined(primary func(io.Writer) error) func(io.Writer) error {
	return func(w io.Writer) error {
		if err := writeApex(w); err != nil {
			return err
		}
		return primary(w)
	}
}
