package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/miekg/dns"

	"zonebuild/internal/build"
	"zonebuild/internal/durable"
	"zonebuild/internal/publish"
)

// Rows of the section `watch`.
const (
	nameEvents    = "dropped, with events"
	namePolls     = "dropped, polled"
	nameTenth     = "after a tenth"
	nameAllBuilds = "after all builds"

	boxPoll     = 2.0 // seconds between two looks at a drop box
	dropsInARow = 9   // more of them would be slowed down: a drop box may not keep a daemon busy
	answerWait  = time.Minute
	rebuilds    = 10_000
)

// watch is the section `watch`: from a challenge that is dropped until nsd answers it,
// and what a process that builds again and again comes to hold.
func (b *bench) watch(ctx context.Context) error {
	dir := b.path("watch")
	defer os.RemoveAll(dir)
	b.describe("watch", fmt.Sprintf("a challenge until nsd answers it, in a zone of %d records; the heap after many builds", smallRecords))
	drops, builds := dropsInARow, rebuilds
	if b.brief {
		drops, builds = 3, 200
	}
	if b.has("nsd", "nsd-checkzone") {
		for _, w := range []struct {
			name string
			args []string
		}{{nameEvents, nil}, {namePolls, []string{"--no-events"}}} {
			if err := b.dropped(ctx, filepath.Join(dir, w.name), w.name, drops, w.args); err != nil {
				return fmt.Errorf("watch: %s: %w", w.name, err)
			}
		}
	}
	t, err := newTree(filepath.Join(dir, "again"), "")
	if err != nil {
		return err
	}
	if err := t.add(smallApex(0), func(w io.Writer) error { return writeSmall(w, 0) }); err != nil {
		return err
	}
	if _, err := b.run(ctx, b.zonebuild, "-C", t.dir, "keygen", "--all-missing"); err != nil {
		return err
	}
	said, err := b.run(ctx, b.self, "-child", "rebuild", "-n", strconv.Itoa(builds), t.dir, smallApex(0))
	if err != nil {
		return err
	}
	var h rebuilt
	if err := json.Unmarshal([]byte(said.said), &h); err != nil {
		return fmt.Errorf("watch: read what the builds held: %w: %s", err, said.said)
	}
	b.rows = append(b.rows,
		row{Section: "watch", Name: nameTenth, Role: ours, Seconds: []float64{h.Tenth.Seconds}, Peaks: []int64{h.Tenth.Heap}},
		row{Section: "watch", Name: nameAllBuilds, Role: ours, Seconds: []float64{h.All.Seconds}, Peaks: []int64{h.All.Heap}})
	return nil
}

// dropped runs a daemon beside nsd and measures how long each challenge takes.
func (b *bench) dropped(ctx context.Context, dir, name string, drops int, args []string) (err error) {
	apex := smallApex(1)
	t, err := newTree(dir, "")
	if err != nil {
		return err
	}
	if err := t.add(apex, func(w io.Writer) error { return writeSmall(w, 1) }); err != nil {
		return err
	}
	for _, d := range []string{"signed", "dnsextra"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			return err
		}
	}
	port, err := freePort()
	if err != nil {
		return err
	}
	addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	work, err := os.MkdirTemp("", "bench") // the path of a socket must be short
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(work)) }()
	conf := filepath.Join(work, "nsd.conf")
	if err := os.WriteFile(conf, fmt.Appendf(nil, `server:
	ip-address: 127.0.0.1
	port: %[1]d
	server-count: 1
	username: ""
	chroot: ""
	database: ""
	zonesdir: %[2]q
	pidfile: "%[3]s/pid"
	xfrdfile: "%[3]s/xfrd"
	xfrdir: "%[3]s"
	zonelistfile: "%[3]s/zones"
	rrl-ratelimit: 0
remote-control:
	control-enable: yes
	control-interface: "%[3]s/ctl"
zone:
	name: %[4]q
	zonefile: %[4]q
`, port, filepath.Join(dir, "signed"), work, apex), 0o644); err != nil {
		return err
	}
	checkzone, _ := find("nsd-checkzone")
	toml := fmt.Sprintf("resolver = [\"127.0.0.1@9\"]\n[publish]\nserver = \"nsd\"\ncontrol = \"%s/ctl\"\naddress = [%q]\ncheckzone = %q\n", work, addr, checkzone)
	if err := os.WriteFile(filepath.Join(dir, "zonebuild.toml"), []byte(toml), 0o644); err != nil {
		return err
	}
	if _, err := b.run(ctx, b.zonebuild, "-C", dir, "keygen", "--all-missing"); err != nil {
		return err
	}
	nsd, _ := find("nsd")
	server, err := b.launch(ctx, b.path("nsd.log"), nsd, "-d", "-c", conf)
	if err != nil {
		return err
	}
	defer server.stop()
	daemon, err := b.launch(ctx, b.path("watch.log"), b.zonebuild, append([]string{"-C", dir, "watch", "--new-zone"}, args...)...)
	if err != nil {
		return err
	}
	defer daemon.stop()
	await := func(name string, typ uint16) error { return answered(ctx, addr, name, typ, server, daemon) }
	if err := await(apex, dns.TypeDNSKEY); err != nil {
		return err
	}
	r := row{Section: "watch", Name: name, Role: ours}
	for i := range drops {
		if err := b.settle(ctx); err != nil {
			return err
		}
		owner := fmt.Sprintf("_acme-challenge.h%d.%s", i, apex)
		begun := time.Now()
		if err := durable.WriteFile(filepath.Join(dir, "dnsextra", owner), fmt.Appendf(nil, "%s. 60 IN TXT \"%043d\"\n", owner, i), durable.Options{}); err != nil {
			return err
		}
		if err := await(owner, dns.TypeTXT); err != nil {
			return err
		}
		r.Seconds = append(r.Seconds, time.Since(begun).Seconds())
		b.progress("watch %d/%d: %s %.3f s", i+1, drops, name, r.Seconds[i])
	}
	b.rows = append(b.rows, r)
	return nil
}

// answered waits until a server answers with records; one of the programs may end.
func answered(ctx context.Context, addr, name string, typ uint16, programs ...*launched) error {
	ctx, cancel := context.WithTimeout(ctx, answerWait)
	defer cancel()
	q := new(dns.Msg).SetQuestion(dns.Fqdn(name), typ)
	client := &dns.Client{Timeout: time.Second}
	tick := time.NewTicker(pollPause)
	defer tick.Stop()
	for {
		if a, _, err := client.ExchangeContext(ctx, q, addr); err == nil && a.Rcode == dns.RcodeSuccess && len(a.Answer) > 0 {
			return nil
		}
		for _, p := range programs {
			select {
			case <-p.ended:
				t, err := p.wait()
				return fmt.Errorf("a program ended: %w: %s", err, strings.TrimSpace(t.said))
			default:
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait until %s is answered: %w", name, ctx.Err())
		case <-tick.C:
		}
	}
}

// rebuilt is what a process that builds again and again holds.
type rebuilt struct {
	Tenth heap `json:"tenth"`
	All   heap `json:"all"`
}

type heap struct {
	Heap    int64   `json:"heap"`    // octets, when nothing is left to be collected
	Seconds float64 `json:"seconds"` // of one build, the mean so far
}

// rebuildChild is this program run as one that builds a zone n times, each time with
// another record, as a daemon does.
func rebuildChild(ctx context.Context, dir, apex string, n int, out io.Writer) error {
	t, faults, err := build.Open(dir)
	if err != nil || faults.HasErrors() {
		return fmt.Errorf("open %s: %v %w", dir, faults, err)
	}
	defer t.Close()
	t.Keep()
	begun := time.Now()
	path := filepath.Join(dir, "primary", apex)
	base, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var answer rebuilt
	for i := 1; i <= n; i++ {
		if err := os.WriteFile(path, fmt.Appendf(nil, "%schanging TXT \"%d\"\n", base, i), 0o644); err != nil {
			return err
		}
		report, err := t.Build(ctx, build.Options{Now: time.Now(), NewZone: true, Server: &publish.None{}, Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			return err
		}
		if r := report.Zones[0]; r.Action != build.Published {
			return fmt.Errorf("build %d of %s: %s %s %v", i, apex, r.Action, r.Error, r.Diagnostics)
		}
		h := heap{Seconds: time.Since(begun).Seconds() / float64(i)}
		switch i {
		case max(1, n/10):
			h.Heap = inUse()
			answer.Tenth = h
		case n:
			h.Heap = inUse()
			answer.All = h
		}
	}
	return json.NewEncoder(out).Encode(answer)
}

// inUse is what is in use when nothing is left to be collected.
func inUse() int64 {
	runtime.GC()
	runtime.GC() // what had a finalizer
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc + m.StackInuse)
}
