package build_test

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"zonebuild/internal/lab"
)

// shop is a line of certificates for a service behind TLSA records.
type shop struct {
	*order
	t       *testing.T
	program string
	server  *lab.TLS
}

func newShop(t *testing.T, ca func(testing.TB, string) *lab.CA) *shop {
	t.Helper()
	s := &shop{order: newOrder(t, "", ca), t: t}
	s.program = filepath.Join(s.dir, "acmehook")
	toml, err := os.ReadFile(filepath.Join(s.dir, "acmehook.toml"))
	if err != nil {
		t.Fatal(err)
	}
	addr := s.dns()
	s.write("soa/example.org", "$TTL 1h\n@ 2 SOA ns1 hostmaster 1 2h 30m 4w 1\n@ NS ns1\n") // nobody remembers for long that there is no TLSA
	s.build(ok)
	anchors := ""
	for line := range strings.Lines(s.read("signed/example.org")) {
		if strings.Contains(line, "\tDNSKEY\t257 ") {
			anchors += line
		}
	}
	s.put("anchors", anchors)
	s.server = lab.TLSServer(t, lab.TLSOptions{Certs: map[string][]tls.Certificate{}})
	s.put("acmehook.toml", string(toml)+fmt.Sprintf(`
resolver = [%q]
anchors = "anchors"
ttls = 1
margin = "0s"

[account]
directory = %q
ca-file = %q
contact = ["mailto:hostmaster@example.org"]
agree-terms = true
max-lifetime = "2000d"

[line.shop]
names = ["example.org", "*.example.org", "www.example.org"]
services = ["web"]
deploy = [["sh", "-c", "test ! -e broken && echo $ACMEHOOK_GENERATION >>hooks"]]
combined = true

[service.web]
host = "www.example.org"
port = 443
probe = [%q]
`, addr, s.ca.Directory(), s.ca.TrustFile(), s.server.Addr()))
	return s
}

// dns is where the name server answers.
func (s *shop) dns() string {
	_, rest, _ := strings.Cut(func() string { b, _ := os.ReadFile(filepath.Join(s.dir, "acmehook.toml")); return string(b) }(), "servers = [\"")
	addr, _, _ := strings.Cut(rest, "\"")
	return addr
}

// says runs acmehook while nobody builds, and wants an exit status.
func (s *shop) says(status int, args ...string) string {
	s.t.Helper()
	return acmehook(s.t, s.ca, s.program, s.dir, status, args)
}

func (s *shop) file(name string) string {
	s.t.Helper()
	b, err := os.ReadFile(filepath.Join(s.dir, name))
	if err != nil {
		s.t.Fatal(err)
	}
	return string(b)
}

// pin is the TLSA record of what stands in a file.
func (s *shop) pin(name string) string {
	s.t.Helper()
	block, _ := pem.Decode([]byte(s.file(name)))
	der := block.Bytes
	if block.Type == "CERTIFICATE" {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			s.t.Fatal(err)
		}
		der = c.RawSubjectPublicKeyInfo
	}
	sum := sha256.Sum256(der)
	return "_443._tcp.www 1 TLSA 3 1 1 " + hex.EncodeToString(sum[:]) + "\n"
}

// serve lets the service load the live certificate.
func (s *shop) serve() {
	s.t.Helper()
	c, err := tls.LoadX509KeyPair(filepath.Join(s.dir, "lines/shop/live/fullchain.pem"), filepath.Join(s.dir, "lines/shop/live/privkey.pem"))
	if err != nil {
		s.t.Fatal(err) // certificate and key do not match
	}
	s.server.Show("", c)
}

func (s *shop) client(args ...string) {
	s.t.Helper()
	s.run(nil, s.program, append([]string{"-C", s.dir}, args...)...)
}

// TestLine follows a line from the account to its second key, over a real name
// server and the present Pebble.
func TestLine(t *testing.T) {
	for name, ca := range pebbles() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			line(t, ca)
		})
	}
}

func line(t *testing.T, ca func(testing.TB, string) *lab.CA) {
	s := newShop(t, ca)
	if out := s.says(1, "run"); !strings.Contains(out, "acmehook init makes it") {
		t.Errorf("without account: %s", out)
	}
	account := s.says(0, "init")
	if again := s.says(0, "init"); again != account || !strings.HasPrefix(account, "https://") {
		t.Errorf("account %q, then %q", account, again)
	}
	s.client("issue", "shop")
	first := s.pin("lines/shop/live/cert.pem")
	if left, err := filepath.Glob(s.path("dnsextra", "_*")); err != nil || len(left) > 0 {
		t.Errorf("left in the drop box: %v %v", left, err)
	}
	for name, mode := range map[string]os.FileMode{
		"lines/shop/live/privkey.pem": 0o600, "lines/shop/live/combined.pem": 0o600, "lines/shop/live/cert.pem": 0o644, "lines/shop/live/chain.pem": 0o644,
		"keys/account.key": 0o600, "keys": 0o700, "state": 0o700,
	} {
		if info, err := os.Stat(filepath.Join(s.dir, name)); err != nil || info.Mode().Perm() != mode {
			t.Errorf("%s: %v %v", name, info.Mode(), err)
		}
	}
	s.serve()
	s.client("run") // it asks the service, and makes the next key
	if s.says(0, "run") != "" {
		t.Error("it talks although nothing is due")
	}
	if out := s.file("lines/hooks"); out != "1\n" {
		t.Errorf("hooks: %q", out)
	}
	next := s.pin("lines/shop/next/pubkey.pem")
	if next == first {
		t.Fatal("the next key is the live one")
	}

	// The live key is pinned; the certificate renews with it, whatever is asked of keys.
	s.write("primary/example.org", s.read("primary/example.org")+first)
	s.build(ok)
	s.says(0, "rollover", "shop")
	s.client("renew", "shop", "--force")
	if s.pin("lines/shop/live/cert.pem") != first {
		t.Fatal("the key changed before its TLSA was there")
	}
	s.serve()
	s.client("run")
	if out := s.says(0, "status"); !strings.Contains(out, "lacks those of the next key") {
		t.Errorf("status: %s", out)
	}

	// Both keys are pinned, and caches have forgotten: it changes by itself.
	s.write("primary/example.org", s.read("primary/example.org")+next)
	s.build(ok)
	lab.Until(t, "the key changes", func() error {
		s.client("run")
		if s.pin("lines/shop/live/cert.pem") != next {
			return fmt.Errorf("it is still the first: %s", s.says(0, "status"))
		}
		return nil
	})
	var status struct {
		Lines []struct {
			Generation int
			Services   []struct{ Serves bool }
		}
	}
	if err := json.Unmarshal([]byte(s.says(0, "status", "--json")), &status); err != nil || status.Lines[0].Generation != 3 || status.Lines[0].Services[0].Serves {
		t.Errorf("%+v %v", status, err)
	}
	s.serve()
	s.client("run")
	if s.pin("lines/shop/next/pubkey.pem") == next {
		t.Error("there is no next key after the change")
	}
	if out := s.file("lines/hooks"); out != "1\n2\n3\n" {
		t.Errorf("hooks: %q", out)
	}
	s.says(0, "revoke", "shop", "--reason", "superseded")
	s.says(0, "account", "update")
	s.says(0, "account", "deactivate")
	s.says(1, "renew", "shop", "--force")
	leak := strings.Split(s.file("keys/account.key"), "\n")[1]
	if strings.Contains(s.file("state/line-shop.json"), leak) {
		t.Error("a key in the state")
	}
}

// TestLineKilled: a process that is killed at any instant leaves what the next run
// goes on with, and the CA is asked for no second certificate.
func TestLineKilled(t *testing.T) {
	t.Parallel()
	s := newShop(t, lab.NewPebble)
	s.says(0, "init")
	r := rand.New(rand.NewPCG(3, 4))
	killed := 0
	live := filepath.Join(s.dir, "lines/shop/live")
	attempt := func(most int, args ...string) {
		cmd := exec.Command(s.program, append([]string{"-C", s.dir}, args...)...)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() { ended <- cmd.Wait() }()
		deadline := time.After(time.Duration(r.IntN(most)) * time.Millisecond) // a random instant is the point
		for {
			select {
			case <-ended:
				return
			case <-deadline:
				cmd.Process.Kill()
				<-ended
				killed++
				return
			case <-time.After(20 * time.Millisecond):
				s.build(ok)
			}
		}
	}
	for n := range 100 {
		if _, err := os.Stat(live); err == nil {
			break
		}
		attempt(20+5*n, "run")
	}
	s.client("run")
	s.serve()
	s.client("run")
	if n := strings.Count(s.ca.Log(), "Issued certificate serial"); n != 1 || killed < 3 {
		t.Errorf("%d certificates, %d processes were killed", n, killed)
	}
	for range 20 {
		attempt(600, "renew", "shop", "--force")
		s.serve() // whatever is live: certificate and key match
	}
	s.client("run")
	s.serve()
	s.client("run")
	if left, err := filepath.Glob(s.path("dnsextra", "_*")); err != nil || len(left) > 0 {
		t.Errorf("left in the drop box: %v %v", left, err)
	}
	if s.says(0, "run") != "" {
		t.Error("it does not come to rest")
	}
}

// TestLinePreflight: what is broken here costs nothing at the CA.
func TestLinePreflight(t *testing.T) {
	t.Parallel()
	s := newShop(t, lab.NewPebble)
	s.says(0, "init")
	s.write("primary/example.org", s.read("primary/example.org")+"@ CAA 0 issue \"ca.example.net\"\n")
	s.build(ok)
	if out := s.says(1, "issue", "shop"); !strings.Contains(out, "CAA at example.org. does not allow") {
		t.Errorf("%s", out)
	}
	if strings.Contains(s.ca.Log(), "POST /order-plz") {
		t.Error("the CA was asked for an order")
	}
}

// TestImportCertbot takes over what certbot has made, and renews it as the same
// account with the same key.
func TestImportCertbot(t *testing.T) {
	t.Parallel()
	lab.Need(t, "certbot")
	s := newShop(t, lab.Pebble)
	args := []string{
		"certonly", "-n", "--agree-tos", "--register-unsafely-without-email", "--manual", "--preferred-challenges", "dns", "--key-type", "ecdsa",
		"--manual-auth-hook", s.program + " -C " + s.dir + " certbot-auth", "--manual-cleanup-hook", s.program + " -C " + s.dir + " certbot-cleanup",
		"--server", s.ca.Directory(), "--config-dir", s.dir + "/etc", "--work-dir", s.dir + "/work", "--logs-dir", s.dir + "/logs",
	}
	for _, name := range strings.Fields(orderNames) {
		args = append(args, "-d", name)
	}
	s.run([]string{"REQUESTS_CA_BUNDLE=" + s.ca.TrustFile()}, "certbot", args...)
	if out := s.says(0, "import", "certbot", s.dir+"/etc"); out != "account: "+s.dir+"/keys/account.key\nline shop: example.org\n" {
		t.Errorf("%q", out)
	}
	if out := s.says(0, "import", "certbot", s.dir+"/etc"); out != "" {
		t.Errorf("again: %q", out)
	}
	var account struct{ Created bool }
	if err := json.Unmarshal([]byte(s.says(0, "init", "--json")), &account); err != nil || account.Created {
		t.Errorf("%+v %v", account, err)
	}
	before := s.pin("etc/live/example.org/cert.pem")
	if s.pin("lines/shop/live/cert.pem") != before {
		t.Error("another certificate")
	}
	s.serve()
	s.client("renew", "shop", "--force")
	if s.pin("lines/shop/live/cert.pem") != before {
		t.Error("another key")
	}
}
