package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
)

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
	if err := b.compete(ctx, "many", 1, []entrant{{
		name: "first build", role: ours, run: zonebuild("build", "--new-zone"),
		check: func(took) (int, error) { return countAll(t, n) },
	}}); err != nil {
		return err
	}
	round := 0
	return b.compete(ctx, "many", b.runs, []entrant{
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
	return b.compete(ctx, "size", b.runs, entrants)
}

func sizeName(n int) string { return group(n) + " hosts" }
