package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"

	"github.com/miekg/dns"
)

// maxMade is how many signatures one added TXT may take: its own, those of its
// NSEC record and of the one before it, and that of the SOA.
const maxMade = 4

// again is the section `again`: one TXT was added to the zone of hosts.
func (b *bench) again(ctx context.Context) (err error) {
	s, err := b.hosts(ctx, b.n)
	if err != nil {
		return err
	}
	dir := b.path("host")
	defer os.RemoveAll(dir)
	b.describe("again", fmt.Sprintf("sign %s hosts again after one added TXT", group(b.n)))
	cold, err := b.treeOf(s, filepath.Join(dir, "cold"), "")
	if err != nil {
		return err
	}
	if _, err := b.run(ctx, b.zonebuild, "-C", cold.dir, "build", "--new-zone"); err != nil {
		return err
	}
	kept, err := b.treeOf(s, filepath.Join(dir, "held"), "")
	if err != nil {
		return err
	}
	h, err := b.hold(ctx, kept, s.apex)
	if err != nil {
		return err
	}
	defer h.stop()
	few := func(t took) (int, error) { return madeFew(t.said) }
	round := 0
	entrants := []entrant{
		{
			name: nameCold, role: ours,
			prepare: func() error {
				round++
				return addTXT(filepath.Join(cold.dir, "primary", s.apex), round)
			},
			run:   func(ctx context.Context) (took, error) { return b.run(ctx, b.zonebuild, "-C", cold.dir, "build") },
			check: few,
		},
		{name: nameHeld, role: ours, run: func(context.Context) (took, error) { return h.next() }, check: few},
	}
	if b.has("knotd", "knotc", "keymgr") {
		k, err := b.newKnot(ctx, s, "knotd", "difference-no-serial")
		if err != nil {
			return err
		}
		defer os.RemoveAll(k.dir)
		d, err := b.startKnotd(ctx, k, s.apex)
		if err != nil {
			return err
		}
		entrants = append(entrants, b.reload(d, s))
		defer func() {
			t, stopped := d.stop() // its peak is known when it has ended
			b.setPeak("again", "knotd", t.peak)
			err = errors.Join(err, stopped)
		}()
	}
	if err := b.compete(ctx, "again", b.runs, entrants); err != nil {
		return err
	}
	b.setPeak("again", nameHeld, h.peak())
	return nil
}

// reload is the change in a running knotd, until it serves the new records with
// their signatures.
func (b *bench) reload(d *knotd, s *shape) entrant {
	round := 0
	knotc, _ := find("knotc")
	return entrant{
		name: "knotd", role: peer,
		run: func(ctx context.Context) (took, error) {
			round++
			w := startWatch()
			if err := addTXT(d.zone, round); err != nil {
				return took{}, err
			}
			if _, err := b.run(ctx, knotc, "-c", d.conf, "zone-reload", s.apex); err != nil {
				return took{}, err
			}
			if err := d.await(ctx, addedName(round)+"."+s.apex, dns.TypeTXT); err != nil {
				return took{}, err
			}
			return took{seconds: w.seconds()}, nil
		},
	}
}

// madeFew reads how many signatures a build made, and refuses too many.
func madeFew(said string) (int, error) {
	m := regexp.MustCompile(`(\d+) signatures? made`).FindStringSubmatch(said)
	if m == nil {
		return 0, fmt.Errorf("no signatures were made: %s", said)
	}
	n, err := strconv.Atoi(m[1])
	if err == nil && n > maxMade {
		err = fmt.Errorf("%d signatures were made for one added TXT, want at most %d", n, maxMade)
	}
	return n, err
}

// holder is the running child that holds a tree.
type holder struct {
	cmd    *exec.Cmd
	ask    io.WriteCloser
	answer *bufio.Reader
	round  int
}

func (b *bench) hold(ctx context.Context, t tree, apex string) (h *holder, err error) {
	h = &holder{cmd: command(ctx, b.self, "-child", "hold", t.dir, apex)}
	if h.ask, err = h.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := h.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	h.answer, h.cmd.Stderr = bufio.NewReader(out), b.stderr
	if err := h.cmd.Start(); err != nil {
		return nil, err
	}
	if _, err := h.read(); err != nil { // of the first build
		h.stop()
		return nil, err
	}
	return h, nil
}

// stop lets the child end, by the end of its input.
func (h *holder) stop() {
	h.ask.Close()
	h.cmd.Wait()
}

func (h *holder) peak() int64 { return peakNow(h.cmd.Process.Pid) }

func (h *holder) next() (took, error) {
	h.round++
	if _, err := fmt.Fprintln(h.ask, h.round); err != nil {
		return took{}, err
	}
	a, err := h.read()
	return took{seconds: a.Seconds, said: fmt.Sprintf("%d signatures made", a.Made)}, err
}

func (h *holder) read() (a held, err error) {
	line, err := h.answer.ReadBytes('\n')
	if err != nil {
		return a, fmt.Errorf("the process that holds the zone ended: %w", err)
	}
	return a, json.Unmarshal(line, &a)
}

// Names of the rows that the bars compare.
const (
	nameCold = "zonebuild, cold"
	nameHeld = "zonebuild, held" // in a process that holds the tree
)
