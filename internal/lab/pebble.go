package lab

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/letsencrypt/pebble/v2/ca"
	"github.com/letsencrypt/pebble/v2/db"
	"github.com/letsencrypt/pebble/v2/va"
	"github.com/letsencrypt/pebble/v2/wfe"
)

// CA is a running Pebble: an ACME server that asks one name server for dns-01.
type CA struct {
	t       testing.TB
	work    string
	addr    string
	pool    *x509.CertPool
	process *process     // of another program, or
	server  *http.Server // of this one
	said    transcript
}

// Pebble starts the ACME server of Debian's package pebble. It looks names up at
// dns (HOST:PORT) and nowhere else, and rejects no nonce at random.
func Pebble(t testing.TB, dns string) *CA {
	t.Helper()
	Need(t, "pebble", "env")
	c := &CA{t: t, work: shortDir(t), pool: x509.NewCertPool()}
	t.Cleanup(c.Stop)
	c.certificate()
	c.process = startAgain(t, c.path("log"), func() (*process, error) {
		c.addr = net.JoinHostPort("127.0.0.1", fmt.Sprint(FreePort(t)))
		config, err := json.Marshal(map[string]any{"pebble": map[string]any{
			"listenAddress": c.addr, "managementListenAddress": net.JoinHostPort("127.0.0.1", fmt.Sprint(FreePort(t))),
			"certificate": c.path("cert.pem"), "privateKey": c.path("key.pem"), "httpPort": 5002, "tlsPort": 5001,
		}})
		if err != nil {
			return nil, err
		}
		writeFile(t, c.path("config.json"), string(config))
		return start("env", c.path("log"), []string{
			"PEBBLE_VA_NOSLEEP=1", "PEBBLE_WFE_NONCEREJECT=0", "PEBBLE_AUTHZREUSE=0",
			"pebble", "-config", c.path("config.json"), "-dnsserver", dns,
		}, []listener{{"tcp", c.addr}}, c.ready)
	})
	return c
}

// NewPebble starts the ACME server of the module, which is years ahead of
// Debian's: it asks for TXT over TCP only, and gives out profiles.
func NewPebble(t testing.TB, dns string) *CA {
	t.Helper()
	c := &CA{t: t, work: shortDir(t), pool: x509.NewCertPool()}
	t.Cleanup(c.Stop)
	c.certificate()
	os.Setenv("PEBBLE_VA_NOSLEEP", "1") // it takes these from nowhere else
	os.Setenv("PEBBLE_AUTHZREUSE", "0")
	logger := log.New(&stream{to: &c.said}, "", 0)
	store := db.NewMemoryStore()
	issuer := ca.New(logger, store, "", "ecdsa", 0, 1, map[string]ca.Profile{"default": {Description: "of a test"}})
	front := wfe.New(logger, store, va.New(logger, 5002, 5001, true, dns, store), issuer, []string{"ca.example"}, true, false, 0, 0)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c.addr = l.Addr().String()
	c.server = &http.Server{Handler: front.Handler(), ErrorLog: logger}
	go c.server.ServeTLS(l, c.path("cert.pem"), c.path("key.pem"))
	return c
}

// Directory is the URL that clients are given.
func (c *CA) Directory() string { return "https://" + c.addr + "/dir" }

// TrustFile is the certificate that clients must trust to talk to it.
func (c *CA) TrustFile() string { return c.path("cert.pem") }

// Log is what it has logged so far, such as why a challenge failed.
func (c *CA) Log() string {
	if c.server != nil {
		c.said.mu.Lock()
		defer c.said.mu.Unlock()
		return c.said.all.String()
	}
	return logged(c.path("log"))
}

// Stop ends it.
func (c *CA) Stop() {
	if c.process != nil {
		c.process.kill()
		c.process = nil
	}
	if c.server != nil {
		c.server.Close()
	}
}

func (c *CA) path(name string) string { return filepath.Join(c.work, name) }

func (c *CA) ready() error {
	client := http.Client{Timeout: time.Second, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: c.pool}, DisableKeepAlives: true}}
	r, err := client.Get(c.Directory())
	if err != nil {
		return err
	}
	defer r.Body.Close()
	_, err = io.Copy(io.Discard, r.Body)
	return err
}

// certificate makes the server's own, which is its own authority.
func (c *CA) certificate() {
	c.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		c.t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "pebble of a test"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour), IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		c.t.Fatal(err)
	}
	private, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		c.t.Fatal(err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		c.t.Fatal(err)
	}
	c.pool.AddCert(certificate)
	writeFile(c.t, c.path("cert.pem"), string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
	if err := os.WriteFile(c.path("key.pem"), pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: private}), 0o600); err != nil {
		c.t.Fatal(err)
	}
}
