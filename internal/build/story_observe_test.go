package build_test

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"zonebuild/internal/build"
	"zonebuild/internal/domain"
	"zonebuild/internal/lab"
	"zonebuild/tlsa"
)

// real makes the site's builds look at the world themselves.
func (s *site) real() { s.looks = s.open().Network() }

// allListed says of the servers that were asked that they are all there are, as
// a resolver would.
type allListed struct{ build.Observer }

func (a allListed) Servers(ctx context.Context, apex, owner domain.Name) ([]tlsa.ServerSeen, bool) {
	seen, _ := a.Observer.Servers(ctx, apex, owner)
	return seen, len(seen) > 0
}

// TestTLSAReal: a rollover against a running nsd and a mail server with an RSA and an
// ECDSA certificate, looked at over the network; only the clock is not real. What is
// published is what ldns-dane makes of the certificates.
func TestTLSAReal(t *testing.T) {
	t.Parallel()
	lab.Need(t, "ldns-dane", "nsd")
	old, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	r, a, b := certificateOf(t, old, "mail.example.org"), newCertificate(t, "mail.example.org"), newCertificate(t, "mail.example.org")
	server := lab.TLSServer(t, lab.TLSOptions{Speak: "smtp", Certs: map[string][]tls.Certificate{"mail.example.org": {a.tls(), r.tls()}}})
	_, port, err := net.SplitHostPort(server.Addr())
	if err != nil {
		t.Fatal(err)
	}
	owner := "_" + port + "._tcp.mail.example.org."
	nobody := fmt.Sprintf("resolver = [\"127.0.0.1:%d\"]\n", lab.FreePort(t))
	s := newSite(t, smallZone("mail A 127.0.0.1\n"))
	s.write("zonebuild.toml", nobody)
	s.now = time.Now().UTC().Truncate(time.Second)
	d := s.nsd(domain.MustParse("example.org"))
	s.write("certs.map", fmt.Sprintf("live/ecdsa.pem mail.example.org %[1]s next=live/next.pem starttls=smtp\nlive/rsa.pem mail.example.org %[1]s starttls=smtp\n", port))
	s.write("certs/live/ecdsa.pem", a.pem())
	s.write("certs/live/rsa.pem", r.pem())
	s.real()
	created := func(c certificate) string {
		path := filepath.Join(t.TempDir(), "c.pem")
		if err := os.WriteFile(path, []byte(c.pem()), 0o644); err != nil {
			t.Fatal(err)
		}
		f := strings.Split(strings.TrimSpace(lab.Run(t, "ldns-dane", "-c", path, "create", "mail.example.org", port, "3", "1", "1")), "\t")
		if f[0] != owner {
			t.Fatalf("ldns-dane: %q", f)
		}
		return f[4]
	}
	s.pass(0)
	s.published("new", owner, created(r), created(a))
	s.in("new, and no resolver answers", tlsa.PhaseNew)
	if m := lab.Query(t, d.Addr(), owner, "TLSA", 0); len(m.Answer) != 2 || m.Answer[0].Header().Ttl != 3600 {
		t.Errorf("%v", m)
	}
	if got := server.Seen(); !slices.Contains(got, "mail.example.org") {
		t.Errorf("SNI %q", got)
	}
	s.write("certs/live/next.pem", b.pem())
	s.pass(0)
	s.pass(72 * time.Hour)
	s.in("next, and no resolver answers", tlsa.PhasePublishing)
	all, err := s.open().TLSA(t.Context(), s.at())
	if err != nil {
		t.Fatal(err)
	}
	answer, err := s.open().TLSAReady(t.Context(), tlsa.Service{Host: all[0].Host, Port: all[0].Port, Proto: "tcp"}, s.at())
	if err != nil || answer.Ready || !strings.Contains(answer.Reason, "no resolver tells") {
		t.Errorf("%+v %v", answer, err)
	}
	s.looks = allListed{s.looks} // and they have had it for days
	s.pass(time.Hour)
	s.in("next", tlsa.PhaseReady)

	// The ECDSA key changes in the file; then on the host; that has an RSA key, too.
	s.write("certs/live/ecdsa.pem", b.pem())
	s.remove("certs/live/next.pem")
	s.pass(3 * time.Hour)
	s.in("not deployed", tlsa.PhaseMixed)
	server.Stop()
	s.pass(48 * time.Hour)
	s.published("the host is down", owner, created(r), created(a), created(b))
	server.Start()
	server.Show("mail.example.org", b.tls(), r.tls())
	s.pass(time.Hour)
	s.in("deployed", tlsa.PhaseLive)
	s.pass(2 * time.Hour)
	s.pass(time.Hour)
	s.published("withdrawn", owner, created(r), created(b))
	s.in("withdrawn", tlsa.PhaseSteady)

	// A key in the file that the host does not serve is refused, and what it serves is told.
	s.write("certs/live/ecdsa.pem", a.pem())
	server.Show("mail.example.org", newCertificate(t, "mail.example.org").tls())
	s.pass(0)
	s.published("guarded", owner, created(r), created(b))
	if s.alarms("example.org") != "certificates" {
		t.Errorf("alarms %q", s.alarms("example.org"))
	}

	// The servers are those that a resolver finds, and none of these answers.
	s.write("zonebuild.toml", strings.Replace(s.read("zonebuild.toml"), nobody, "resolver = [\""+d.Addr()+"\"]\n", 1))
	s.write("certs/live/ecdsa.pem", b.pem())
	server.Show("mail.example.org", b.tls(), r.tls())
	s.remove("state/tlsa")
	s.real()
	s.pass(0)
	all, err = s.open().TLSA(t.Context(), s.at())
	if err != nil || all[0].Phase != tlsa.PhaseNew || !strings.Contains(fmt.Sprint(all[0].Waits), "192.0.2.53:53 has not answered") {
		t.Errorf("%v %+v", err, all)
	}
}

// TestTLSAHostile: whatever is in certs/, a build ends soon, and what is published
// stays, with an alarm; the other zone is not concerned.
func TestTLSAHostile(t *testing.T) {
	t.Parallel()
	s, _, a := mailSite(t, "", mailLine)
	s.write("soa/example.net", "$TTL 1h\n@ SOA ns1.example.org. hostmaster 1 2h 30m 4w 1h\n@ NS ns1.example.org.\n")
	s.write("primary/example.net", "www A 192.0.2.1\n")
	s.makeKeys()
	s.pass(0)
	for i := range 10000 {
		s.write(fmt.Sprintf("certs/%d.pem", i), "x")
	}
	file := s.path("certs", "mail.pem")
	secret := filepath.Join(t.TempDir(), "outside.pem")
	other := newCertificate(t, "mail.example.org")
	if err := os.WriteFile(secret, []byte(other.pem()), 0o644); err != nil {
		t.Fatal(err)
	}
	tricks := map[string]func() error{
		"a FIFO":             func() error { return syscall.Mkfifo(file, 0o644) },
		"a link out of it":   func() error { return os.Symlink(secret, file) },
		"a link to a device": func() error { return os.Symlink("/dev/zero", file) },
		"a link to itself":   func() error { return os.Symlink("mail.pem", file) },
		"a directory":        func() error { return os.Mkdir(file, 0o755) },
		"a very large file":  func() error { return os.WriteFile(file, make([]byte, 8<<20), 0o644) },
		"ten thousand blocks": func() error {
			return os.WriteFile(file, []byte(strings.Repeat("-----BEGIN X-----\n-----END X-----\n", 7000)), 0o644)
		},
	}
	for name, trick := range tricks {
		s.remove("certs/mail.pem")
		if err := trick(); err != nil {
			t.Fatal(err)
		}
		begin := time.Now()
		s.pass(time.Hour)
		if took := time.Since(begin); took > 20*time.Second {
			t.Errorf("%s: %s", name, took)
		}
		s.published(name, smtp, a.record())
		if one, two := s.alarms("example.org"), s.alarms("example.net"); one != "certificates" || two != "" {
			t.Errorf("%s: alarms %q, %q", name, one, two)
		}
	}
	s.remove("certs/mail.pem")
	s.write("certs/mail.pem", a.pem())
	s.pass(time.Hour)
	if got := s.alarms("example.org"); got != "" {
		t.Errorf("alarms %q", got)
	}
}

// TestTLSAFull: whoever writes to certs/ adds records up to a bound, and takes none
// away.
func TestTLSAFull(t *testing.T) {
	t.Parallel()
	s, _, a := mailSite(t, "", "mail.pem mail.example.org 25 probe=off\n")
	s.pass(0)
	for range 20 {
		s.write("certs/mail.pem", newCertificate(t, "mail.example.org").pem())
		s.pass(30 * time.Minute)
	}
	got := s.tlsaOf("example.org", smtp)
	if len(got) != tlsa.MaxRecords || !slices.Contains(got, a.record()) || s.alarms("example.org") != "certificates" {
		t.Errorf("%d records, alarms %q: %q", len(got), s.alarms("example.org"), got)
	}
	s.write("certs/mail.pem", a.pem())
	s.pass(30 * time.Minute)
	if err := s.open().MarkTLSA(t.Context(), mailService(), build.MarkRetire); err != nil {
		t.Fatal(err)
	}
	s.pass(0)
	s.published("retired", smtp, a.record())
}
