package daemon

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"zonebuild/internal/build"
	"zonebuild/internal/domain"
	"zonebuild/tlsa"
)

// newCertificate makes a self-signed certificate of a new key, and the data of its
// record 3 1 1.
func newCertificate(t *testing.T, names ...string) (text, data string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	as := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: names[0]}, DNSNames: names,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(240 * time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, as, as, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	spki, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(spki)
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})), hex.EncodeToString(sum[:])
}

// mailSite is a tree of two zones, one of which has a mail server with a certificate.
func mailSite(t *testing.T) (s *testSite, data string) {
	t.Helper()
	s = newSite(t, false)
	config := readFile(t, s.path("zonebuild.toml"))
	s.write("zonebuild.toml", "resolver = [\"127.0.0.1@9\"]\n"+config+"[policy]\nsign = false\n[tlsa]\nobserve = \"clock\"\n")
	s.write("soa/example.net", "$TTL 1h\n@ SOA ns1.example.org. hostmaster 1 2h 30m 4w 1h\n@ NS ns1.example.org.\n")
	s.write("primary/example.net", "www A 192.0.2.1\n")
	s.write("primary/example.org", "ns1 A 192.0.2.53\nmail A 192.0.2.25\n")
	s.write("certs.map", "live/mail/cert.pem mail.example.org 25 next=next.pem probe=off\n")
	text, data := newCertificate(t, "mail.example.org")
	s.write("certs/archive/mail/cert1.pem", text)
	s.link("../../archive/mail/cert1.pem", "certs/live/mail/cert.pem")
	return s, data
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// link switches a symbolic link, as an ACME client does.
func (s *testSite) link(to, name string) {
	s.t.Helper()
	if err := os.MkdirAll(filepath.Dir(s.path(name)), 0o755); err != nil {
		s.t.Fatal(err)
	}
	tmp := s.path(name) + ".new"
	if err := os.Symlink(to, tmp); err != nil {
		s.t.Fatal(err)
	}
	if err := os.Rename(tmp, s.path(name)); err != nil {
		s.t.Fatal(err)
	}
}

// TestCertificates: a certificate that is replaced, a next key, and what `zonebuild
// tlsa` says by hand are noticed when they come, not at the next look at the hosts.
func TestCertificates(t *testing.T) {
	s, first := mailSite(t)
	s.start()
	s.until("the record is published", s.published("3 1 1 "+first))
	s.until("the other zone", func() bool { return strings.Contains(s.said(), "zone example.net. published") })

	text, second := newCertificate(t, "mail.example.org")
	s.write("certs/archive/mail/cert2.pem", strings.Repeat("# a comment\n", 3000)+text) // longer than a file of a drop box may be
	s.link("../../archive/mail/cert2.pem", "certs/live/mail/cert.pem")
	s.until("the new record is published", s.published("3 1 1 "+second))
	if !s.published("3 1 1 " + first)() {
		t.Error("the old record is gone already")
	}
	passes := func(zone string) int { return strings.Count(s.said(), "zone "+zone+".") }
	s.until("the file that no line names concerns all", func() bool { return passes("example.net") == 2 })
	text, third := newCertificate(t, "mail.example.org")
	s.write("certs/next.pem", text)
	s.until("the next key is published", s.published("3 1 1 "+third))
	if n := passes("example.net"); n != 2 {
		t.Errorf("%d passes of a zone that no line of the map concerns", n-2)
	}

	mark := func(what string) {
		t.Helper()
		service := tlsa.Service{Host: domain.MustParse("mail.example.org"), Port: 25, Proto: "tcp"}
		if err := s.open().MarkTLSA(context.Background(), service, what); err != nil {
			t.Fatal(err)
		}
	}
	mark(build.MarkRetire)
	s.until("the old record is gone", not(s.published("3 1 1 "+first)))
	if !s.published("3 1 1 "+second)() || !s.published("3 1 1 "+third)() {
		t.Error("a record that is wanted is gone")
	}
}
