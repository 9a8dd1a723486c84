package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strconv"

	"github.com/miekg/dns"
)

// maxMade is how many signatures one added TXT may take: its own, those of its
// NSEC record and of the one before it, and that of the SOA.
const maxMade = 4

// again is the section `again`: one TXT was added to the zone of hosts.
func (b *bench) again(ctx context.Context) error {
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
	stopHold := h.stop
	defer func() { stopHold() }()

	round := 0
	entrants := []entrant{
		{
			name: nameCold, role: ours,
			prepare: func() error {
				round++
				return addTXT(filepath.Join(cold.dir, "primary", s.apex), round)
			},
			run: func(ctx context.Context) (took, error) { return b.run(ctx, b.zonebuild, "-C", cold.dir, "build") },
			check: func(t took) (int, error) {
				return madeFew(t.said)
			},
		},
		{name: nameHeld, role: ours, run: func(context.Context) (took, error) { return h.next() }, check: func(t took) (int, error) { return madeFew(t.said) }},
	}
	var d *knotd
	if b.has("knotd", "knotc", "keymgr") {
		k, err := b.newKnot(ctx, s, "knotd", "difference-no-serial")
		if err != nil {
			return err
		}
		defer os.RemoveAll(k.dir)
		if d, err = b.startKnotd(ctx, k, s.apex); err != nil {
			return err
		}
		defer func() {
			if d != nil {
				d.stop()
			}
		}()
		entrants = append(entrants, b.reload(d, s))
	}
	if err := b.compete(ctx, "again", entrants); err != nil {
		return err
	}
	// What a running process holds is known when it has ended.
	stopHold = func() int64 { return 0 }
	b.setPeak("again", nameHeld, h.stop())
	if d != nil {
		b.setPeak("again", "knotd", d.stop())
		d = nil
	}
	return nil
}

const (
	nameCold = "zonebuild, cold"
	nameHeld = "zonebuild, held"
)

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
	stop   func() int64
	answer *bufio.Reader
	ask    io.Writer
	round  int
}

func (b *bench) hold(ctx context.Context, t tree, apex string) (*holder, error) {
	cmd := command(ctx, b.self, "-child", "hold", t.dir, apex)
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	cmd.Stderr = b.stderr
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	h := &holder{answer: bufio.NewReader(out), ask: in}
	h.stop = func() int64 {
		in.Close()
		cmd.Wait()
		return peakOf(cmd)
	}
	if _, err := h.read(); err != nil { // of the first build
		h.stop()
		return nil, err
	}
	return h, nil
}

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

// verify is the section `verify`: all verifiers read one file that our signer
// wrote.
func (b *bench) verify(ctx context.Context) error {
	s, err := b.hosts(ctx, b.n)
	if err != nil {
		return err
	}
	dir := b.path("host")
	defer os.RemoveAll(dir)
	t, err := b.treeOf(s, filepath.Join(dir, "tree"), sampled)
	if err != nil {
		return err
	}
	b.describe("verify", fmt.Sprintf("verify the signed zone of %s hosts: %s signatures", group(b.n), group(s.signatures)))
	if _, err := b.run(ctx, b.zonebuild, "-C", t.dir, "build", "--new-zone"); err != nil {
		return err
	}
	file := t.signed(s.apex)
	if _, err := between(file, s.signatures, s.signatures)(took{}); err != nil {
		return err
	}
	with := func(program string, r role, args ...string) entrant {
		return entrant{
			name: filepath.Base(program), role: r, program: program,
			run: func(ctx context.Context) (took, error) {
				path, _ := find(program)
				return b.run(ctx, path, append(args, file)...)
			},
		}
	}
	mine := with(b.zonebuild, ours, "verify", "--zone", s.apex)
	mine.name = "zonebuild verify"
	return b.compete(ctx, "verify", b.present([]entrant{
		mine,
		with("dnssec-verify", peer, "-q", "-o", s.apex),
		with("kzonecheck", peer, "-d", "on", "-o", s.apex),
		with("ldns-verify-zone", peer),
	}))
}

// many is the section `many`: n small zones in one tree.
func (b *bench) many(ctx context.Context) error {
	n := max(1, b.n/10)
	t, err := newTree(b.path("many"), "")
	if err != nil {
		return err
	}
	defer os.RemoveAll(t.dir)
	for i := range n {
		if err := t.add(smallApex(i), func(w io.Writer) error { return writeSmall(w, i) }); err != nil {
			return err
		}
	}
	b.describe("many", fmt.Sprintf("%s zones of %d records in one tree", group(n), smallRecords))
	if _, err := b.run(ctx, b.zonebuild, "-C", t.dir, "keygen", "--all-missing"); err != nil {
		return err
	}
	zonebuild := func(args ...string) func(context.Context) (took, error) {
		return func(ctx context.Context) (took, error) {
			return b.run(ctx, b.zonebuild, append([]string{"-C", t.dir}, args...)...)
		}
	}
	runs := b.runs
	b.runs = 1 // the first build comes once
	err = b.compete(ctx, "many", []entrant{{
		name: "first build", role: ours, run: zonebuild("build", "--new-zone"),
		check: func(took) (int, error) { return countAll(t, n) },
	}})
	b.runs = runs
	if err != nil {
		return err
	}
	round := 0
	return b.compete(ctx, "many", []entrant{
		{name: "nothing changed", role: ours, run: zonebuild("build"), check: func(t took) (int, error) {
			return 0, published(t.said, 0)
		}},
		{name: nameOne, role: ours, run: zonebuild("build"),
			prepare: func() error {
				round++
				return addTXT(filepath.Join(t.dir, "primary", smallApex(round*7919%n)), round)
			},
			check: func(t took) (int, error) {
				if err := published(t.said, 1); err != nil {
					return 0, err
				}
				return madeFew(t.said)
			},
		},
	})
}

const nameOne = "one zone changed"

// published compares how many zones a build says that it published.
func published(said string, want int) error {
	if n := len(regexp.MustCompile(`(?m): published with serial `).FindAllString(said, -1)); n != want {
		return fmt.Errorf("%d zones published, want %d: %s", n, want, said)
	}
	return nil
}

func countAll(t tree, n int) (total int, err error) {
	for i := range n {
		k, err := countSignatures(t.signed(smallApex(i)))
		if err != nil {
			return 0, err
		}
		total += k
	}
	if total < n*smallRecords {
		return total, fmt.Errorf("%d signatures in %d zones", total, n)
	}
	return total, nil
}

// sizes is the section `size`: the same kind of zone, larger and larger, and an
// empty one, whose cost is no zone's.
func (b *bench) sizes(ctx context.Context) error {
	b.describe("size", "cost of a full build per record, an empty zone's subtracted")
	var entrants []entrant
	defer os.RemoveAll(b.path("size"))
	for _, n := range append([]int{0}, b.sizeList...) {
		s, err := b.hosts(ctx, n)
		if err != nil {
			return err
		}
		// All signatures are verified at every size: the sample is of one size
		// and would make small zones look dear.
		t, err := b.treeOf(s, b.path("size", strconv.Itoa(n)), "verify-signatures = \"all\"\n")
		if err != nil {
			return err
		}
		if err := os.RemoveAll(b.path("host")); err != nil {
			return err
		}
		entrants = append(entrants, b.fullBuild(sizeName(n), ours, s, t))
	}
	return b.compete(ctx, "size", entrants)
}

func sizeName(n int) string { return group(n) + " hosts" }
