package daemon

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"

	"zonebuild/internal/build"
	"zonebuild/internal/domain"
	"zonebuild/internal/publish"
	"zonebuild/internal/watch"
)

// days are 24 simulated ones of 50 zones, signed with real keys.
type days struct {
	t  *testing.T
	s  *testSite
	mu sync.Mutex // the loop turns while a pass tells

	first   map[domain.Name]time.Time // the first expiration in each published file
	perHour []int                     // signatures made, since the first signing
	from    time.Time
	least   time.Duration // that any signature had left, at any time
	builds  int
}

// said takes what a pass published, and reads it as others would.
func (d *days) said(r *build.Report, _ string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for i := range r.Zones {
		z := &r.Zones[i]
		d.builds++
		if z.Code != 0 {
			d.t.Errorf("%s at %s: %s %s", z.Zone, time.Now(), z.Action, z.Error)
		}
		if z.Action != build.Published {
			continue
		}
		if _, again := d.first[z.Zone]; again {
			d.perHour[int(time.Since(d.from)/time.Hour)] += z.NewSigs
		}
		d.first[z.Zone] = d.expiration(z.Zone)
	}
}

func (d *days) expiration(apex domain.Name) (first time.Time) {
	f, err := os.Open(d.s.path("signed/" + apex.FileName()))
	if err != nil {
		d.t.Error(err)
		return first
	}
	defer f.Close()
	parser := dns.NewZoneParser(f, "", "")
	for rr, ok := parser.Next(); ok; rr, ok = parser.Next() {
		if sig, is := rr.(*dns.RRSIG); is {
			if at := time.Unix(int64(sig.Expiration), 0); first.IsZero() || at.Before(first) {
				first = at
			}
		}
	}
	if parser.Err() != nil {
		d.t.Error(parser.Err())
	}
	return first
}

// beat looks each few seconds how long the signatures still hold.
func (d *days) beat(watch.Status) {
	now := time.Now()
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, at := range d.first {
		d.least = min(d.least, at.Sub(now))
	}
}

// TestDays: for 24 days no signature comes below its refresh time by more than the
// slice in which several are made together, and the work is even. Nothing of it is
// simulated but the time.
func TestDays(t *testing.T) {
	t.Parallel()
	const zones, hosts = 50, 12
	const refresh, slice = 7 * 24 * time.Hour, time.Hour
	s := &testSite{t: t, dir: memoryDir(t)}
	var names []string
	for i := range zones {
		names = append(names, fmt.Sprintf("z%02d.test", i))
	}
	s.write("zonebuild.toml", "resolver = [\"127.0.0.1@9\"]\n[[zone]]\nnames = [\""+strings.Join(names, `", "`)+"\"]\nsoa = \"primary/common-soa\"\nprimary = [\"primary/common-hosts\"]\n")
	s.write("primary/common-soa", "$TTL 1h\n@ SOA ns1 hostmaster 1 2h 30m 4w 1h\n@ NS ns1\n")
	var text strings.Builder
	for i := range hosts {
		fmt.Fprintf(&text, "ns%d A 192.0.2.%d\n", i, i)
	}
	s.write("primary/common-hosts", text.String())
	synctest.Test(t, func(t *testing.T) {
		tree := s.open()
		for _, apex := range tree.MissingKeys() {
			if _, err := tree.MakeKeys(apex, build.KeyOptions{Now: time.Now().UTC()}); err != nil {
				t.Fatal(err)
			}
		}
		d := &days{t: t, s: s, first: map[domain.Name]time.Time{}, perHour: make([]int, 24*24+1), from: time.Now(), least: refresh}
		all := &Daemon{
			Dir: s.dir, ServerOf: func(*build.Tree) (publish.Server, error) { return &publish.None{}, nil }, Said: d.said,
			Now: time.Now, Log: slog.New(slog.DiscardHandler), NewZone: true, started: time.Now(),
		}
		all.ledger.zones = map[zoneName]zoneFacts{}
		defer all.closeLock()
		loop := &watch.Loop{Log: all.Log, Beat: d.beat, Load: func(ctx context.Context) (*watch.Setup, error) {
			tree, faults, err := build.Open(s.dir)
			if err != nil || faults.HasErrors() {
				return nil, fmt.Errorf("open the tree: %v %w", faults, err)
			}
			site, err := all.newSite(ctx, tree)
			if err != nil {
				return nil, err
			}
			return &watch.Setup{Builder: site, Close: func() { tree.Close() }}, nil // nothing changes in the sources
		}}
		ctx, cancel := context.WithTimeout(t.Context(), 24*24*time.Hour)
		defer cancel()
		if err := loop.Run(ctx); err != nil {
			t.Fatal(err)
		}
		if len(d.first) != zones {
			t.Fatalf("%d zones were published", len(d.first))
		}
		if d.least < refresh-slice-time.Minute {
			t.Errorf("a signature had %s left: it is to be made anew when it has %s, and may wait for %s", d.least, refresh, slice)
		}
		hours := d.perHour[24 : 24*24] // no signature falls due in the first day
		total, most := 0, 0
		for _, n := range hours {
			total, most = total+n, max(most, n)
		}
		mean := float64(total) / float64(len(hours))
		t.Logf("%d builds; the least that was left: %s; signatures an hour: mean %.1f, most %d", d.builds, d.least, mean, most)
		if total < zones*hosts*3 || float64(most) >= 3*mean {
			t.Errorf("signatures an hour: %d in all, mean %.1f, most %d", total, mean, most)
		}
	})
}

// memoryDir is a directory in memory where there is one: a disk would spend minutes on
// what is made sure of in thousands of builds, and nobody pulls the plug here.
func memoryDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "zonebuild")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}
