// Command bench compares zonebuild with the signers and verifiers that one could
// take instead: on the same zones, with the same keys, in one call, one run at a
// time. It prints medians and ratios beside the bars that the project has set
// itself, and writes them as JSON (docs/scale.md).
//
// It judges no absolute time but those of a change in one of many zones and of a
// challenge that a daemon publishes: the ratios are of one machine in one hour. A tool that fails, or writes a zone
// with another number of signatures, ends it: a broken invocation is fast.
//
//	bench [-n HOSTS] [-runs N] [-only SECTION,...] [-sizes N,...] [-out FILE] ZONEBUILD
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// bench is one call.
type bench struct {
	*room
	zonebuild string // the path of ours
	n, runs   int
	sizeList  []int
	brief     bool
	stderr    io.Writer

	sections []section
	rows     []row
	missing  map[string]bool
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	err := run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	interrupted := ctx.Err() != nil
	stop()
	var status exitStatus
	switch {
	case errors.As(err, &status):
		os.Exit(int(status))
	case interrupted:
		fmt.Fprintln(os.Stderr, "bench: interrupted")
		os.Exit(130)
	case errors.Is(err, flag.ErrHelp):
		os.Exit(64)
	case err != nil:
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// run reads the arguments, does the work and cleans up after it.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) (err error) {
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(stderr)
	n := flags.Int("n", 100_000, "hosts and delegations; a tenth of it is the number of small zones")
	runs := flags.Int("runs", 3, "runs of each tool")
	only := flags.String("only", "", "sections, with commas: "+strings.Join(names(), ",")+" (default all)")
	list := flags.String("sizes", "10000,100000", "numbers of hosts of the section size")
	out := flags.String("out", "", "write the results here, as JSON")
	brief := flags.Bool("brief", false, "print one line for each section, and neither runs nor bars")
	child := flags.String("child", "", "for the program's own use: a process that is measured")
	if err := flags.Parse(args); err != nil {
		return flag.ErrHelp
	}
	switch *child {
	case "run":
		if flags.NArg() < 2 {
			return flag.ErrHelp
		}
		return runChild(ctx, flags.Arg(0), flags.Args()[1:], stdin, stdout)
	case childFloor, childFloorAll:
		return floorChild(*n, *child == childFloorAll, stdout)
	case "rebuild":
		return rebuildChild(ctx, flags.Arg(0), flags.Arg(1), *n, stdout)
	case "hold":
		return holdChild(ctx, flags.Arg(0), flags.Arg(1), stdin, stdout)
	}
	sizes, err := numbers(*list)
	if err != nil {
		return err
	}
	chosen, err := choose(*only)
	if err != nil {
		return err
	}
	if flags.NArg() != 1 || *n < 10 || *runs < 1 {
		flags.Usage()
		return flag.ErrHelp
	}
	b := &bench{
		room: &room{cores: runtime.GOMAXPROCS(0)}, n: *n, runs: *runs, sizeList: sizes, brief: *brief, stderr: stderr, missing: map[string]bool{},
	}
	if b.zonebuild, err = filepath.Abs(flags.Arg(0)); err != nil {
		return err
	}
	if b.self, err = os.Executable(); err != nil {
		return err
	}
	if b.dir, err = os.MkdirTemp("", "zonebuild-bench-"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(b.dir)) }()
	before := load()
	for _, s := range chosen {
		if err := s.do(b, ctx); err != nil {
			return err
		}
	}
	r := b.results(ctx, time.Now())
	r.Load = before
	text := r.table()
	if b.brief {
		text = r.lines()
	}
	if _, err := io.WriteString(stdout, text); err != nil {
		return err
	}
	if *out != "" {
		if err := write(*out, r); err != nil {
			return err
		}
	}
	if len(r.Missing) > 0 && slices.Contains([]string{"1", "true"}, os.Getenv("CI")) {
		return fmt.Errorf("not installed: %s", strings.Join(r.Missing, ", "))
	}
	return nil
}

// piece is a section that can be asked for.
type piece struct {
	name string
	do   func(*bench, context.Context) error
}

func pieces() []piece {
	return []piece{
		{"host", (*bench).signHosts},
		{"tld", (*bench).signDelegations},
		{"again", (*bench).again},
		{"many", (*bench).many},
		{"verify", (*bench).verify},
		{"size", (*bench).sizes},
		{"watch", (*bench).watch},
	}
}

func names() (out []string) {
	for _, p := range pieces() {
		out = append(out, p.name)
	}
	return out
}

// choose finds the sections of a list, all for none.
func choose(list string) (out []piece, err error) {
	if list == "" {
		return pieces(), nil
	}
	for name := range strings.SplitSeq(list, ",") {
		i := slices.Index(names(), strings.TrimSpace(name))
		if i < 0 {
			return nil, fmt.Errorf("no section %q: there are %s", name, strings.Join(names(), ", "))
		}
		out = append(out, pieces()[i])
	}
	return out, nil
}

func numbers(list string) (out []int, err error) {
	for word := range strings.SplitSeq(list, ",") {
		n, err := strconv.Atoi(strings.TrimSpace(word))
		if err != nil || n < 1 {
			return nil, fmt.Errorf("read -sizes: %q is no number of hosts", word)
		}
		out = append(out, n)
	}
	return out, nil
}

// describe begins a section.
func (b *bench) describe(name, title string) {
	b.sections = append(b.sections, section{name, title})
	b.progress("%s: %s", name, title)
}

// has tells whether all programs are installed, and remembers those that are not.
func (b *bench) has(programs ...string) bool {
	all := true
	for _, p := range programs {
		if _, ok := find(p); !ok {
			b.missing[p], all = true, false
		}
	}
	return all
}

// setPeak sets the peak of a process that lived through all runs of a row.
func (b *bench) setPeak(section, name string, peak int64) {
	for i := range b.rows {
		if w := &b.rows[i]; w.Section == section && w.Name == name && peak > 0 {
			w.Peaks = []int64{peak}
		}
	}
}

func (b *bench) results(ctx context.Context, now time.Time) *results {
	r := &results{
		Date: now.UTC().Format(time.DateOnly), CPU: machine(), Cores: b.cores, Go: runtime.Version(), N: b.n, Runs: b.runs,
		Versions: map[string]string{}, Missing: slices.Sorted(maps.Keys(b.missing)),
		Sections: b.sections, Rows: b.rows, Sizes: b.sizeList,
	}
	for program, flag := range map[string]string{"ldns-signzone": "-v", "dnssec-signzone": "-V", "kzonesign": "-V", "knotd": "-V", b.zonebuild: "version"} {
		if path, ok := find(program); ok {
			r.Versions[filepath.Base(program)] = version(ctx, path, flag)
		}
	}
	r.Bars = r.judge()
	return r
}

// write writes the results, and makes their directory.
func write(path string, r *results) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return create(path, func(w io.Writer) error {
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		return e.Encode(r)
	})
}

// watch measures what no process of its own does.
type watch struct{ start time.Time }

func startWatch() watch          { return watch{time.Now()} }
func (w watch) seconds() float64 { return time.Since(w.start).Seconds() }
