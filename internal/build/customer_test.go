package build_test

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"zonebuild/internal/domain"
	"zonebuild/internal/lab"
)

// stage is a zone, the nsd that serves it and the program zonebuild that watches its
// tree, for many clients at once.
type stage struct {
	*site
	addr    string // of nsd
	builder program
	client  string // the program acmehook
}

func newStage(t *testing.T) *stage {
	t.Helper()
	s := newSite(t, smallZone("www A 192.0.2.1\n"))
	d := s.nsd(domain.MustParse("example.org"))
	s.write("zonebuild.toml", "resolver = [\"127.0.0.1@9\"]\n"+s.read("zonebuild.toml"))
	s.box()
	g := &stage{site: s, addr: d.Addr(), builder: newProgram(t), client: filepath.Join(t.TempDir(), "acmehook")}
	if out, err := exec.Command("go", "build", "-buildvcs=false", "-o", g.client, "../../cmd/acmehook").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	g.builder.must("-C", s.dir, "build", "--new-zone")
	daemon, said := exec.Command(g.builder.path, "-C", s.dir, "watch"), &bytes.Buffer{}
	daemon.Stdout, daemon.Stderr = said, said
	if err := daemon.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(daemon.Process.Signal(syscall.SIGTERM), daemon.Wait()); err != nil || t.Failed() {
			t.Errorf("watch: %v\n%s", err, said)
		}
	})
	return g
}

// customer is a directory of acmehook with an account at a CA of its own.
type customer struct {
	*stage
	t      *testing.T
	dir    string
	domain string // below the zone, nobody else's
	modern bool   // the CA is the present Pebble
	ca     *lab.CA
	bind   string // more lines of [account]
}

// lines are the certificates that it keeps from now on.
func (c *customer) lines(text string) {
	c.t.Helper()
	c.put("acmehook.toml", fmt.Sprintf(`drop-box = %q
servers = [%q]
resolver = [%[2]q]
timeout = "60s"

[account]
directory = %q
ca-file = %q
agree-terms = true
max-lifetime = "2000d"
`, c.path("dnsextra"), c.addr, c.ca.Directory(), c.ca.TrustFile())+c.bind+text)
}

func (c *customer) put(name, text string) {
	c.t.Helper()
	if err := os.WriteFile(filepath.Join(c.dir, name), []byte(text), 0o600); err != nil {
		c.t.Fatal(err)
	}
}

// does runs acmehook, wants an exit status, and gives all that was said.
func (c *customer) does(code int, args ...string) string {
	c.t.Helper()
	return acmehook(c.t, c.ca, c.client, c.dir, code, args)
}

// acmehook runs the program in a directory, wants an exit status, and gives all that was said.
func acmehook(t *testing.T, ca *lab.CA, program, dir string, code int, args []string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), program, append([]string{"-C", dir}, args...)...)
	out, err := cmd.CombinedOutput()
	if got := cmd.ProcessState.ExitCode(); got != code {
		t.Fatalf("%v: exit status %d, want %d: %v\n%s\nPebble:\n%s", args, got, code, err, out, ca.Log())
	}
	return string(out)
}

// says is does, with words that must be in what was said.
func (c *customer) says(code int, want string, args ...string) {
	c.t.Helper()
	if out := c.does(code, args...); !strings.Contains(out, want) {
		c.t.Fatalf("%v: %q is not in\n%s", args, want, out)
	}
}

// told is a part of what status says of a line.
type told struct {
	Line       string
	Generation int
	Renewal    struct {
		At, Start time.Time
		Why       string
		Fault     string
	}
	NextKey struct {
		Hash string `json:"spki_sha256"`
	} `json:"next_key"`
	Waits []struct {
		At  time.Time
		Why string
	}
	Alarm struct{ Code string }
}

func (c *customer) status(line string) told {
	c.t.Helper()
	out, _ := exec.CommandContext(c.t.Context(), c.client, "-C", c.dir, "status", line, "--json").Output() // 4 with an alarm
	var all struct{ Lines []told }
	if err := json.Unmarshal(out, &all); err != nil || len(all.Lines) != 1 {
		c.t.Fatalf("%v\n%s", err, out)
	}
	return all.Lines[0]
}

// waits wants the line to be renewed for a reason, later, and gives when.
func (c *customer) waits(line, why string) (told, time.Time) {
	c.t.Helper()
	s := c.status(line)
	for _, w := range s.Waits {
		if w.Why == why {
			return s, w.At
		}
	}
	c.t.Fatalf("%q is not in %+v", why, s)
	return s, time.Time{}
}

// leaf is the live certificate, which clients that trust the CA believe for the names
// and no other; its private key is live with it.
func (c *customer) leaf(line string, names ...string) *x509.Certificate {
	c.t.Helper()
	rest, err := os.ReadFile(filepath.Join(c.dir, "lines", line, "live/fullchain.pem"))
	if err != nil {
		c.t.Fatal(err)
	}
	var leaf *x509.Certificate
	roots, between := x509.NewCertPool(), x509.NewCertPool()
	for block, rest := pem.Decode(rest); block != nil; block, rest = pem.Decode(rest) {
		one, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			c.t.Fatal(err)
		}
		if between.AddCert(one); leaf == nil {
			leaf = one
		}
	}
	_, root := c.ca.Manage("GET", "/roots/0", "")
	if !roots.AppendCertsFromPEM([]byte(root)) {
		c.t.Fatalf("no root: %s", root)
	}
	for _, name := range names {
		if _, err := leaf.Verify(x509.VerifyOptions{DNSName: strings.Replace(name, "*", "any", 1), Roots: roots, Intermediates: between}); err != nil {
			c.t.Errorf("%s: %v", line, err)
		}
	}
	live := filepath.Join(c.dir, "lines", line, "live")
	if _, err := tls.LoadX509KeyPair(filepath.Join(live, "fullchain.pem"), filepath.Join(live, "privkey.pem")); err != nil {
		c.t.Errorf("%s: %v", line, err)
	}
	got := slices.Sorted(slices.Values(leaf.DNSNames))
	if !slices.Equal(got, slices.Sorted(slices.Values(names))) {
		c.t.Errorf("%s: it is for %v, want %v", line, got, names)
	}
	return leaf
}

// standing is what the CA itself says of a certificate.
func (c *customer) standing(cert *x509.Certificate) (status string, reason int) {
	c.t.Helper()
	code, text := c.ca.Manage("GET", fmt.Sprintf("/cert-status-by-serial/%x", cert.SerialNumber), "")
	var answer struct {
		Status string
		Reason int
	}
	if err := json.Unmarshal([]byte(text), &answer); err != nil || code != 200 {
		c.t.Fatalf("%d %v\n%s", code, err, text)
	}
	return answer.Status, answer.Reason
}

// suggest lets the CA say of the live certificate when it is to be renewed.
func (c *customer) suggest(line, answer string) {
	c.t.Helper()
	text, err := os.ReadFile(filepath.Join(c.dir, "lines", line, "live/cert.pem"))
	if err != nil {
		c.t.Fatal(err)
	}
	body, err := json.Marshal(map[string]string{"Certificate": string(text), "ARIResponse": answer})
	if err != nil {
		c.t.Fatal(err)
	}
	if code, said := c.ca.Manage("POST", "/set-renewal-info/", string(body)); code != 200 {
		c.t.Fatal(code, said)
	}
}

// orders is how often the CA was asked for an order.
func (c *customer) orders() int { return strings.Count(c.ca.Log(), "POST /order-plz") }

func spkiHash(leaf *x509.Certificate) string {
	sum := sha256.Sum256(leaf.RawSubjectPublicKeyInfo)
	return hex.EncodeToString(sum[:])
}
