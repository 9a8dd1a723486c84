package lab

import (
	"fmt"
	"maps"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// UnboundOptions say how a validating resolver is set up.
type UnboundOptions struct {
	Stubs   map[string]string // zone → HOST:PORT of a server that has it
	Anchors []string          // trust anchors: DS or DNSKEY records in presentation format
	Now     time.Time         // the instant of the validation; zero = the clock's
	Server  string            // more lines of the server: clause
	Files   map[string]string // zone → file that it serves itself, once the ZONEMD in it is right
}

// Resolver is a running Unbound of the test's.
type Resolver struct {
	t       testing.TB
	work    string
	addr    string
	process *process
}

// Unbound starts a validating resolver that knows of the world only its stubs.
// Zones of other names than the stubs' are out of its reach.
func Unbound(t testing.TB, o UnboundOptions) *Resolver {
	t.Helper()
	Need(t, "unbound")
	program, _ := find("unbound")
	r := &Resolver{t: t, work: shortDir(t)}
	t.Cleanup(r.Stop)
	r.process = startAgain(t, r.logPath(), func() (*process, error) {
		r.addr = net.JoinHostPort("127.0.0.1", fmt.Sprint(FreePort(t)))
		config := filepath.Join(r.work, "unbound.conf")
		writeFile(t, config, r.config(o))
		return start(program, r.logPath(), []string{"-d", "-p", "-c", config}, []listener{{"tcp", r.addr}}, func() error {
			_, err := exchange(r.addr, "version.bind.", "TXT", CH|TCP)
			return err
		})
	})
	return r
}

// Addr is where it answers, UDP and TCP.
func (r *Resolver) Addr() string { return r.addr }

// Log is what it has logged so far, such as why an answer is bogus.
func (r *Resolver) Log() string { return logged(r.logPath()) }

// Stop ends it.
func (r *Resolver) Stop() {
	if r.process != nil {
		r.process.kill()
		r.process = nil
	}
}

func (r *Resolver) logPath() string { return filepath.Join(r.work, "log") }

func (r *Resolver) config(o UnboundOptions) string {
	host, port, _ := net.SplitHostPort(r.addr)
	var b strings.Builder
	fmt.Fprintf(&b, `server:
	interface: %s
	port: %s
	username: ""
	chroot: ""
	directory: %q
	pidfile: ""
	use-syslog: no
	logfile: ""
	num-threads: 1
	verbosity: 1
	val-log-level: 2
	do-ip6: no
	do-not-query-localhost: no
	access-control: 127.0.0.0/8 allow
	module-config: "validator iterator"
	unblock-lan-zones: yes
	local-zone: "test." nodefault
	local-zone: "invalid." nodefault
	local-zone: "127.in-addr.arpa." nodefault
	hide-version: no
	ede: yes
	root-hints: ""
	harden-below-nxdomain: yes
	qname-minimisation: no
	target-fetch-policy: "0 0 0 0 0"
	outbound-msg-retry: 3
`, host, port, r.work)
	if !o.Now.IsZero() {
		fmt.Fprintf(&b, "\tval-override-date: %q\n", o.Now.UTC().Format("20060102150405"))
	}
	for _, a := range o.Anchors {
		fmt.Fprintf(&b, "\ttrust-anchor: '%s'\n", strings.TrimSpace(a))
	}
	b.WriteString(o.Server)
	b.WriteString("\nremote-control:\n\tcontrol-enable: no\n")
	for _, zone := range slices.Sorted(maps.Keys(o.Stubs)) {
		host, port, err := net.SplitHostPort(o.Stubs[zone])
		if err != nil {
			r.t.Fatalf("stub %s: %v", zone, err)
		}
		fmt.Fprintf(&b, "stub-zone:\n\tname: %q\n\tstub-addr: %s@%s\n\tstub-prime: no\n", zone, host, port)
	}
	for _, zone := range slices.Sorted(maps.Keys(o.Files)) {
		fmt.Fprintf(&b, "auth-zone:\n\tname: %q\n\tzonefile: %q\n\tzonemd-check: yes\n\tzonemd-reject-absence: yes\n\tfallback-enabled: no\n", zone, o.Files[zone])
	}
	return b.String()
}
