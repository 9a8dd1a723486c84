package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// knot is a configuration of Knot DNS with one zone and a store of keys of its
// own, for kzonesign or knotd.
type knot struct {
	dir, conf, zone, addr string
}

// newKnot makes the configuration, and takes over the keys that all tools use.
// load is the zonefile-load of the zone: difference-no-serial is how knotd signs
// only what changed in a file that somebody else writes.
func (b *bench) newKnot(ctx context.Context, s *shape, name, load string) (*knot, error) {
	k := &knot{dir: b.path(name)}
	if err := os.RemoveAll(k.dir); err != nil {
		return nil, err
	}
	for _, d := range []string{"zones", "out", "run", "db"} {
		if err := os.MkdirAll(filepath.Join(k.dir, d), 0o755); err != nil {
			return nil, err
		}
	}
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	k.addr = net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	k.zone = filepath.Join(k.dir, "zones", s.apex+".zone")
	k.conf = filepath.Join(k.dir, "knot.conf")
	if err := create(k.zone, joined(s.primary)); err != nil {
		return nil, err
	}
	denial := ""
	if s.optOut {
		denial = "    nsec3: on\n    nsec3-iterations: 0\n    nsec3-salt-length: 0\n    nsec3-opt-out: on\n"
	}
	text := fmt.Sprintf(`server:
    rundir: "%[1]s/run"
    listen: 127.0.0.1@%[2]d
log:
  - target: stderr
    any: warning
database:
    storage: "%[1]s/db"
policy:
  - id: bench
    manual: on
    signing-threads: %[3]d
    cds-cdnskey-publish: none
    rrsig-lifetime: 14d
    rrsig-refresh: 7d
%[4]stemplate:
  - id: default
    storage: "%[1]s/zones"
    file: "%%s.zone"
    dnssec-signing: on
    dnssec-policy: bench
    adjust-threads: %[3]d
    serial-policy: increment
    zonefile-load: %[5]s
    zonefile-sync: -1
    journal-content: all
    journal-max-usage: 8G
zone:
  - domain: %[6]s
`, k.dir, port, b.cores, denial, load, s.apex)
	if err := os.WriteFile(k.conf, []byte(text), 0o644); err != nil {
		return nil, err
	}
	bases, err := s.bases()
	if err != nil {
		return nil, err
	}
	keymgr, _ := find("keymgr")
	for _, base := range bases {
		if _, err := b.run(ctx, keymgr, "-c", k.conf, s.apex, "import-bind", base+".private"); err != nil {
			return nil, err
		}
	}
	return k, nil
}

// freePort is a port of the loopback interface that was free a moment ago.
func freePort() (int, error) {
	c, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer c.Close()
	return c.LocalAddr().(*net.UDPAddr).Port, nil
}

// knotd is a running server.
type knotd struct {
	*knot
	*launched
}

const (
	pollPause    = 2 * time.Millisecond
	serveTimeout = time.Hour // until a zone of any size was signed and is served
)

// startKnotd starts the server and waits until it serves the signed zone.
func (b *bench) startKnotd(ctx context.Context, k *knot, apex string) (d *knotd, err error) {
	for range portTries { // the port of a moment ago may be somebody's for a moment
		if d, err = b.tryKnotd(ctx, k, apex); err == nil || !strings.Contains(err.Error(), "address already in use") {
			return d, err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(portPause):
		}
	}
	return nil, err
}

// Bounds of waiting for a port.
const (
	portTries = 10
	portPause = 500 * time.Millisecond
)

func (b *bench) tryKnotd(ctx context.Context, k *knot, apex string) (*knotd, error) {
	path, _ := find("knotd")
	l, err := b.launch(ctx, filepath.Join(k.dir, "log"), path, "-c", k.conf)
	if err != nil {
		return nil, err
	}
	d := &knotd{k, l}
	if err := d.await(ctx, apex, dns.TypeSOA); err != nil {
		d.stop()
		return nil, err
	}
	return d, nil
}

// await asks until the answer has the RRset with a signature.
func (d *knotd) await(ctx context.Context, name string, typ uint16) error {
	ctx, cancel := context.WithTimeout(ctx, serveTimeout)
	defer cancel()
	q := new(dns.Msg).SetQuestion(dns.Fqdn(name), typ)
	q.SetEdns0(1232, true)
	client := &dns.Client{Timeout: time.Second}
	tick := time.NewTicker(pollPause)
	defer tick.Stop()
	for {
		if a, _, err := client.ExchangeContext(ctx, q, d.addr); err == nil && a.Rcode == dns.RcodeSuccess && len(a.Answer) == 2 {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait until knotd serves %s: %w", name, ctx.Err())
		case <-d.ended:
			t, err := d.wait()
			return fmt.Errorf("knotd ended: %w: %s", err, t.said)
		case <-tick.C:
		}
	}
}
