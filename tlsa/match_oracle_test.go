package tlsa

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"zonebuild/internal/domain"
	"zonebuild/internal/lab"
)

// issued is a certificate with its key.
type issued struct {
	*x509.Certificate
	key *ecdsa.PrivateKey
}

// issue makes a certificate; by nil it is self-signed.
func issue(t testing.TB, name string, by *issued, edit func(*x509.Certificate)) *issued {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	c := &x509.Certificate{
		SerialNumber: big.NewInt(now.UnixNano()), Subject: pkix.Name{CommonName: name}, NotBefore: now.Add(-48 * time.Hour), NotAfter: now.Add(48 * time.Hour),
		BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	edit(c)
	parent, signer := c, key
	if by != nil {
		parent, signer = by.Certificate, by.key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, key.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	if c, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	return &issued{c, key}
}

func ca(c *x509.Certificate)   { c.IsCA = true }
func leaf(c *x509.Certificate) { c.DNSNames = []string{"ok.signed.lab"} }

// TestMatchAsOpenSSL holds the verdict on chains and records of all usages
// against that of openssl s_client, which speaks to a real server.
func TestMatchAsOpenSSL(t *testing.T) {
	lab.Need(t, "openssl")
	root := issue(t, "root", nil, ca)
	inter := issue(t, "inter", root, ca)
	good := issue(t, "ok.signed.lab", inter, leaf)
	other := issue(t, "other", nil, ca)
	self := issue(t, "ok.signed.lab", nil, leaf)
	direct := issue(t, "ok.signed.lab", root, leaf)
	expired := issue(t, "ok.signed.lab", inter, func(c *x509.Certificate) { leaf(c); c.NotAfter = time.Now().Add(-time.Hour) })
	wrong := issue(t, "x.signed.lab", inter, func(c *x509.Certificate) { c.DNSNames = []string{"x.signed.lab"} })
	noCA := issue(t, "no CA", root, leaf)
	below := issue(t, "ok.signed.lab", noCA, leaf)
	deadCA := issue(t, "dead", root, func(c *x509.Certificate) { ca(c); c.NotAfter = time.Now().Add(-time.Hour) })
	late := issue(t, "ok.signed.lab", deadCA, leaf)

	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "roots.pem"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: root.Raw}), 0o644); err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(root.Certificate)
	chains := []struct {
		name  string
		chain []*issued
		named []*issued // by records
	}{
		{"full", []*issued{good, inter, root}, []*issued{good, inter, root, other}},
		{"without root", []*issued{good, inter}, []*issued{good, inter, root, other}},
		{"leaf only", []*issued{good}, []*issued{good, inter, root}},
		{"self-signed", []*issued{self}, []*issued{self, other}},
		{"self-signed twice", []*issued{self, self}, []*issued{self}},
		{"stranger behind", []*issued{good, other}, []*issued{other, inter}},
		{"direct", []*issued{direct}, []*issued{direct, root}},
		{"expired", []*issued{expired, inter, root}, []*issued{expired, inter, root}},
		{"wrong name", []*issued{wrong, inter, root}, []*issued{wrong, inter, root}},
		{"issuer is no CA", []*issued{below, noCA}, []*issued{below, noCA, root}},
		{"issuer expired", []*issued{late, deadCA, root}, []*issued{late, deadCA, root}},
		{"out of order", []*issued{good, root, inter}, []*issued{good, inter, root}},
	}
	matching := []uint8{Full, SHA256, SHA512}
	if testing.Short() {
		matching = matching[:2]
	}
	gate := make(chan struct{}, 4)
	for _, c := range chains {
		t.Run(c.name, func(t *testing.T) {
			addr := serve(t, c.chain)
			var ders [][]byte
			for _, x := range c.chain {
				ders = append(ders, x.Raw)
			}
			var wg sync.WaitGroup
			defer wg.Wait()
			for ci, named := range c.named {
				m, err := parseCertificate(named.Raw)
				if err != nil {
					t.Fatal(err)
				}
				for n := range 8 * len(matching) {
					r, err := Associate(Kind{uint8(n % 4), uint8(n / 4 % 2), matching[n/8]}, m)
					if err != nil {
						t.Fatal(err)
					}
					got := MatchServer(MatchInput{Records: []Record{r}, Chain: ders, Names: []domain.Name{domain.MustParse("ok.signed.lab")}, Roots: roots, Now: time.Now()})
					gate <- struct{}{}
					wg.Go(func() {
						defer func() { <-gate }()
						said, ok := lab.Try(t, "openssl", "s_client", "-brief", "-connect", addr, "-verify_return_error", "-CAfile", filepath.Join(dir, "roots.pem"),
							"-dane_ee_no_namechecks", "-dane_tlsa_domain", "ok.signed.lab", "-dane_tlsa_rrdata", fmt.Sprintf("%s %s", r.Kind, hex.EncodeToString([]byte(r.Data))))
						// OpenSSL lets the key of a self-signed leaf be its own anchor.
						if own := r.Kind == (Kind{2, 1, 0}) && named == self; own && (got.OK || !ok) {
							t.Errorf("%s: %s; openssl: %t", r.Kind, got.Reason, ok)
						} else if !own && got.OK != ok {
							t.Errorf("%s of certificate %d: %s at depth %d (%s); openssl: %t\n%s", r.Kind, ci, got.Reason, got.Depth, got.Detail, ok, said)
						}
					})
				}
			}
		})
	}
}

// serve answers with a chain until the test ends.
func serve(t *testing.T, chain []*issued) string {
	var c tls.Certificate
	for _, x := range chain {
		c.Certificate = append(c.Certificate, x.Raw)
	}
	c.PrivateKey = chain[0].key
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{c}})
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { shake(conn) })
		}
	})
	t.Cleanup(func() { l.Close(); wg.Wait() })
	return l.Addr().String()
}

func shake(conn net.Conn) {
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	if conn.(*tls.Conn).Handshake() == nil {
		conn.Read(make([]byte, 1)) // until the other side has seen enough
	}
}
