package build_test

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"zonebuild/internal/domain"
	"zonebuild/internal/lab"
	"zonebuild/internal/nsd"
)

// order is one client of an ACME CA on its way to a certificate: it puts its
// challenges into the drop box, this builder publishes them, a Pebble asks the
// nsd.
type order struct {
	*site
	ca   *lab.CA
	dir  string // the client's own
	hook string // a program that is acmehook with a dialect
}

const orderNames = "example.org *.example.org www.example.org"

// pebbles are the CA of Debian 12 and the present one.
func pebbles() map[string]func(testing.TB, string) *lab.CA {
	return map[string]func(testing.TB, string) *lab.CA{"Pebble 2.4": lab.Pebble, "Pebble 2.10": lab.NewPebble}
}

func newOrder(t *testing.T, dialect string, ca func(testing.TB, string) *lab.CA) *order {
	t.Helper()
	lab.Need(t, "nsd")
	s := newSite(t, smallZone("www A 192.0.2.1\n"))
	d := s.nsd(domain.MustParse("example.org"))
	s.build(ok)
	s.box()
	o := &order{site: s, ca: ca(t, d.Addr()), dir: t.TempDir()}
	program := filepath.Join(o.dir, "acmehook")
	if out, err := exec.Command("go", "build", "-buildvcs=false", "-o", program, "../../cmd/acmehook").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	o.put("acmehook.toml", fmt.Sprintf("drop-box = %q\nservers = [%q]\ntimeout = \"60s\"\n", s.path("dnsextra"), d.Addr()))
	o.hook = o.put("hook", fmt.Sprintf("#!/bin/sh\nexec %s -C %s %s \"$@\"\n", program, o.dir, dialect))
	if err := os.Chmod(o.hook, 0o755); err != nil {
		t.Fatal(err)
	}
	return o
}

func (o *order) put(name, text string) string {
	o.t.Helper()
	path := filepath.Join(o.dir, name)
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		o.t.Fatal(err)
	}
	return path
}

// run runs the client while a builder works, in a hurry, and wants it to succeed.
func (o *order) run(env []string, program string, args ...string) {
	o.t.Helper()
	cmd := exec.CommandContext(o.t.Context(), lab.Path(o.t, program), args...)
	cmd.Env = append(os.Environ(), env...)
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.Dir = o.dir
	if err := cmd.Start(); err != nil {
		o.t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for {
		select {
		case err := <-ended:
			if err != nil {
				o.t.Fatalf("%s: %v\n%s\nPebble:\n%s", program, err, &out, o.ca.Log())
			}
			return
		case <-time.After(100 * time.Millisecond):
			o.build(ok)
		}
	}
}

// got wants a certificate for all names, an empty drop box, and the zone as before.
func (o *order) got(pattern, before string) {
	o.t.Helper()
	found := false
	files, err := filepath.Glob(filepath.Join(o.dir, pattern))
	if err != nil {
		o.t.Fatal(err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			o.t.Fatal(err)
		}
		block, _ := pem.Decode(text)
		if block == nil || block.Type != "CERTIFICATE" {
			continue
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			o.t.Fatal(err)
		}
		want := strings.Fields(orderNames)
		slices.Sort(want)
		slices.Sort(c.DNSNames)
		found = found || slices.Equal(c.DNSNames, want)
	}
	if !found {
		o.t.Errorf("no certificate for %s in %v", orderNames, files)
	}
	left, err := filepath.Glob(o.path("dnsextra", "_*"))
	if err != nil || len(left) > 0 {
		o.t.Errorf("left in the drop box: %v %v", left, err)
	}
	o.build(ok)
	if after := cutSOA(o.read("unsigned/example.org")); after != before {
		o.t.Errorf("the zone is not as before\n%s", after)
	}
}

func TestCertbot(t *testing.T) {
	for name, ca := range pebbles() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			certbot(t, ca)
		})
	}
}

func certbot(t *testing.T, ca func(testing.TB, string) *lab.CA) {
	lab.Need(t, "certbot")
	o := newOrder(t, "", ca)
	before := cutSOA(o.read("unsigned/example.org"))
	program := filepath.Join(o.dir, "acmehook")
	args := []string{
		"certonly", "-n", "--agree-tos", "--register-unsafely-without-email", "--manual", "--preferred-challenges", "dns",
		"--manual-auth-hook", program + " -C " + o.dir + " certbot-auth", "--manual-cleanup-hook", program + " -C " + o.dir + " certbot-cleanup",
		"--server", o.ca.Directory(), "--config-dir", o.dir + "/etc", "--work-dir", o.dir + "/work", "--logs-dir", o.dir + "/logs",
	}
	for _, name := range strings.Fields(orderNames) {
		args = append(args, "-d", name)
	}
	o.run([]string{"REQUESTS_CA_BUNDLE=" + o.ca.TrustFile()}, "certbot", args...)
	o.got("etc/live/*/cert.pem", before)
}

func TestDehydrated(t *testing.T) {
	// This version of it cannot repeat a request whose nonce was rejected, as the
	// present Pebble does at random.
	for _, chain := range []string{"yes", "no"} {
		t.Run("chain "+chain, func(t *testing.T) {
			t.Parallel()
			lab.Need(t, "dehydrated", "curl")
			o := newOrder(t, "dehydrated", lab.Pebble)
			before := cutSOA(o.read("unsigned/example.org"))
			config := o.put("config", fmt.Sprintf("CA=%q\nCHALLENGETYPE=dns-01\nHOOK=%q\nHOOK_CHAIN=%s\nKEY_ALGO=prime256v1\nACCOUNT_KEYSIZE=2048\nBASEDIR=%q\nCURL_OPTS=\"--cacert %s\"\n",
				o.ca.Directory(), o.hook, chain, o.dir, o.ca.TrustFile()))
			o.put("domains.txt", orderNames+"\n")
			o.run(nil, "dehydrated", "-f", config, "--register", "--accept-terms")
			o.run(nil, "dehydrated", "-f", config, "-c")
			o.got("certs/example.org/cert.pem", before)
		})
	}
}

func TestLego(t *testing.T) {
	for mode, ca := range map[string]func(testing.TB, string) *lab.CA{"": lab.NewPebble, "RAW": lab.Pebble} {
		t.Run("mode "+mode, func(t *testing.T) {
			t.Parallel()
			lab.Need(t, "lego")
			o := newOrder(t, "lego --wait", ca)
			before := cutSOA(o.read("unsigned/example.org"))
			args := []string{"--accept-tos", "--email", "a@example.org", "--server", o.ca.Directory(), "--dns", "exec", "--dns.disable-cp", "--path", o.dir}
			for _, name := range strings.Fields(orderNames) {
				args = append(args, "-d", name)
			}
			o.run([]string{
				"LEGO_CA_CERTIFICATES=" + o.ca.TrustFile(), "LEGO_DISABLE_CNAME_SUPPORT=true", "EXEC_PATH=" + o.hook, "EXEC_MODE=" + mode,
				"EXEC_SEQUENCE_INTERVAL=1", "EXEC_POLLING_INTERVAL=1",
			}, "lego", append(args, "run")...)
			o.got("certificates/*.crt", before)
		})
	}
}

// TestUacme: it trusts the system's certificates only, so it gets others in a mount
// namespace of its own. The present Pebble offers challenges that this version of
// it cannot read.
func TestUacme(t *testing.T) {
	t.Parallel()
	lab.Need(t, "uacme", "unshare")
	lab.NeedRoot(t)
	o := newOrder(t, "uacme", lab.Pebble)
	before := cutSOA(o.read("unsigned/example.org"))
	script := fmt.Sprintf("mount --bind %s /etc/ssl/certs/ca-certificates.crt && exec uacme -a %s -c %s/uacme -t EC -y", o.ca.TrustFile(), o.ca.Directory(), o.dir)
	o.run(nil, "unshare", "-m", "sh", "-c", script+" new")
	o.run(nil, "unshare", "-m", "sh", "-c", script+" -h "+o.hook+" issue example.org '*.example.org' www.example.org")
	o.got("uacme/*/cert.pem", before)
}

// TestShellClients replays the calls of acme.sh and getssl, which Debian does not
// have: both values of a name and its wildcard, seen at the name server, removed.
func TestShellClients(t *testing.T) {
	for client, script := range map[string]string{
		"acme.sh": `"$1" acme.sh >dns_acmehook.sh; . ./dns_acmehook.sh
			for v in "$A" "$B"; do dns_acmehook_add _acme-challenge.example.org "$v" || exit; done
			look; for v in "$A" "$B"; do dns_acmehook_rm _acme-challenge.example.org "$v" || exit; done`,
		"getssl": `DNS_ADD_COMMAND="$1 -C $ACMEHOOK_DIR getssl-add --wait"; DNS_DEL_COMMAND="$1 -C $ACMEHOOK_DIR getssl-del"
			for v in "$A" "$B" "$A"; do eval "$DNS_ADD_COMMAND" example.org "$v" || exit; done
			look; for v in "$A" "$B" "$A"; do eval "$DNS_DEL_COMMAND" example.org "$v" || exit; done`,
	} {
		t.Run(client, func(t *testing.T) {
			t.Parallel()
			lab.Need(t, "dig")
			o := newOrder(t, "", lab.NewPebble)
			before := cutSOA(o.read("unsigned/example.org"))
			program := filepath.Join(o.dir, "acmehook")
			addr, _, _ := strings.Cut(strings.TrimPrefix(o.server.(*nsd.Server).Addresses[0].String(), "127.0.0.1:"), " ")
			look := "look() { test \"$(dig +short +tcp @127.0.0.1 -p " + addr + " _acme-challenge.example.org TXT | sort | tr -d '\\n')\" = \"\\\"$A\\\"\\\"$B\\\"\" || exit 9; }\n"
			o.run([]string{"ACMEHOOK=" + program, "ACMEHOOK_DIR=" + o.dir, "A=" + boxValue(1), "B=" + boxValue(2)}, "sh", "-c", look+script, "sh", program)
			o.build(ok)
			if after := cutSOA(o.read("unsigned/example.org")); after != before {
				t.Errorf("%s\nbefore\n%s", after, before)
			}
		})
	}
}
