package main

import (
	"crypto/tls"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"zonebuild/internal/cli"
	"zonebuild/internal/lab"
)

// certificate is what a service would load of a line.
func (y *yard) certificate(line string) tls.Certificate {
	y.t.Helper()
	c, err := tls.LoadX509KeyPair(y.path("lines/"+line+"/live/fullchain.pem"), y.path("lines/"+line+"/live/privkey.pem"))
	if err != nil {
		y.t.Fatal(err)
	}
	return c
}

// count is how often a program that appends a line was run.
func (y *yard) count(name string, want int) {
	y.t.Helper()
	b, _ := os.ReadFile(y.path(name))
	if got := strings.Count(string(b), "\n"); got != want {
		y.t.Fatalf("%s: %d times, want %d", name, got, want)
	}
}

// TestTwoKinds: lines of RSA and of ECDSA at one service: both settle, both count, and
// the service is told of either.
func TestTwoKinds(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, 0} {
		y := newYard(t)
		ca := lab.NewFakeCA(t)
		server := lab.TLSServer(t, lab.TLSOptions{MaxVersion: version, Certs: map[string][]tls.Certificate{}})
		y.configure(ca, "[line.rsa]\nnames = [\"example.org\"]\nkey-type = \"rsa-2048\"\nservices = [\"web\"]\n"+
			"[line.mail]\nnames = [\"example.org\"]\nservices = [\"web\"]\n"+
			"[service.web]\nhost = \"example.org\"\nport = 443\ntlsa = false\nprobe = [\""+server.Addr()+"\"]\nreload = [\"sh\", \"-c\", \"echo >>"+y.path("done")+"\"]\ntimeout = \"1s\"\n")
		y.does(cli.ExitOK, "init")
		y.does(cli.ExitOK, "run")
		server.Show("", y.certificate("mail"), y.certificate("rsa"))
		y.does(cli.ExitOK, "run")
		y.past += 2 * time.Hour
		y.does(cli.ExitOK, "run")
		if said := y.does(cli.ExitOK, "status"); strings.Count(said, "service web: serves it") != 2 || strings.Contains(said, "ALARM") {
			t.Fatalf("up to version %x: %s", version, said)
		}
		y.does(cli.ExitOK, "trigger")
		y.count("done", 0)
		old := y.certificate("rsa")
		y.does(cli.ExitOK, "renew", "rsa", "--force")
		y.says(cli.ExitFailed, "serves another certificate than its files have", "trigger")
		y.count("done", 1)
		server.Show("", y.certificate("mail"), y.certificate("rsa"))
		y.does(cli.ExitOK, "trigger")
		y.count("done", 1)
		server.Show("", old) // and where the other one is missing altogether
		y.past += 2 * time.Minute
		y.says(cli.ExitFailed, "serves another certificate than its files have", "trigger")
	}
}

// TestOneKindSeen: of a server with TLS 1.3 alone one certificate is all that can be
// seen: that is said, and no reason to tell it again and again.
func TestOneKindSeen(t *testing.T) {
	y := newYard(t)
	ca := lab.NewFakeCA(t)
	server := lab.TLSServer(t, lab.TLSOptions{MinVersion: tls.VersionTLS13, Certs: map[string][]tls.Certificate{}})
	y.configure(ca, "[line.rsa]\nnames = [\"example.org\"]\nkey-type = \"rsa-2048\"\nservices = [\"web\"]\n"+
		"[line.mail]\nnames = [\"example.org\"]\nservices = [\"web\"]\n"+
		"[service.web]\nhost = \"example.org\"\nport = 443\ntlsa = false\nprobe = [\""+server.Addr()+"\"]\nreload = [\"sh\", \"-c\", \"echo >>"+y.path("done")+"\"]\ntimeout = \"1s\"\n")
	y.does(cli.ExitOK, "init")
	y.does(cli.ExitOK, "run")
	server.Show("", y.certificate("mail"), y.certificate("rsa"))
	y.past += time.Hour
	y.says(cli.ExitOK, "line rsa: service web: "+server.Addr()+" still serves another certificate, and with TLS 1.3 alone only one of several can be seen", "run")
	y.does(cli.ExitOK, "trigger")
	y.count("done", 0)
}

// TestNoRoute: an address that this host has no way to, as one of IPv6 from a host
// without, keeps no line from its key change and makes no alarm. No connection goes to
// the address for all (RFC 919); one that the configuration names is meant.
func TestNoRoute(t *testing.T) {
	y := newYard(t)
	ca := lab.NewFakeCA(t)
	server := lab.TLSServer(t, lab.TLSOptions{Certs: map[string][]tls.Certificate{}})
	addr := netip.MustParseAddrPort(server.Addr())
	y.record("example.org. 60 IN A " + addr.Addr().String())
	y.record("example.org. 60 IN A 255.255.255.255")
	away := fmt.Sprintf("255.255.255.255:%d", addr.Port())
	table := func(probe string) {
		y.configure(ca, fakeLine+"dane = false\nservices = [\"web\"]\n"+
			fmt.Sprintf("[service.web]\nhost = \"example.org\"\nport = %d\nstarttls = \"none\"\nreload = [\"sh\", \"-c\", \"echo >>%s\"]\ntimeout = \"1s\"\n%s", addr.Port(), y.path("done"), probe))
		y.write("acmehook.toml", strings.Replace(y.read("acmehook.toml"), "127.0.0.1@9", strings.Replace(y.addr, ":", "@", 1), 1))
	}
	table("")
	y.does(cli.ExitOK, "init")
	y.does(cli.ExitOK, "run")
	server.Show("", y.certificate("mail"))
	y.does(cli.ExitOK, "run")
	y.past += 2 * time.Hour
	y.does(cli.ExitOK, "run")
	if s := y.status(); !s.Services[0].Serves || s.Alarm.Code != "" || s.NextKey.ID == "" {
		t.Fatalf("%+v", s)
	}
	y.says(cli.ExitOK, "; no way from here to "+away, "status")
	if said := y.does(cli.ExitOK, "trigger"); said != "" {
		t.Errorf("it says %q", said)
	}
	table(fmt.Sprintf("probe = [%q, %q]\n", server.Addr(), away))
	y.says(cli.ExitFailed, "web: "+away+": ", "trigger")
	// Where there is a way to none, nothing is known.
	y.mu.Lock()
	y.records = y.records[1:]
	y.mu.Unlock()
	table("")
	y.says(cli.ExitFailed, "web: "+away+": ", "trigger")
	y.count("done", 0)
}

// TestTriggerChain: a service that shows the right certificate without the others that
// clients need does not serve what its file has.
func TestTriggerChain(t *testing.T) {
	issuer := newYard(t)
	issuer.configure(lab.PebbleWith(t, issuer.addr, lab.PebbleOptions{}), mail)
	issuer.does(cli.ExitOK, "init")
	issuer.does(cli.ExitOK, "issue", "mail")
	cert, key := []byte(issuer.read("lines/mail/live/fullchain.pem")), []byte(issuer.read("lines/mail/live/privkey.pem"))
	alone, _, _ := strings.Cut(string(cert), "-----END CERTIFICATE-----\n")
	leaf, err := tls.X509KeyPair([]byte(alone+"-----END CERTIFICATE-----\n"), key)
	if err != nil {
		t.Fatal(err)
	}
	whole, err := tls.X509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	server := lab.TLSServer(t, lab.TLSOptions{Certs: map[string][]tls.Certificate{"": {leaf}}})
	y := &yard{t: t, dir: t.TempDir()}
	y.write("full.pem", string(cert))
	y.write("acmehook.toml", fmt.Sprintf("[service.web]\nhost = \"example.org\"\nport = 443\nprobe = [%q]\ncertificate = \"full.pem\"\nreload = [\"sh\", \"-c\", \"echo >>%s\"]\ntimeout = \"1s\"\n", server.Addr(), y.path("done")))
	y.says(cli.ExitFailed, server.Addr()+" serves its certificate without the others of its file's chain", "trigger")
	y.count("done", 1)
	server.Show("", whole)
	if said := y.does(cli.ExitOK, "trigger"); said != "" {
		t.Errorf("it says %q", said)
	}
	y.count("done", 1)
}
