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
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
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
	manage  string // where the management door of another program is
	pool    *x509.CertPool
	process *process     // of another program, or
	server  *http.Server // of this one
	admin   http.Handler // of this one
	said    transcript
}

// Pebble starts the ACME server of Debian's package pebble. It looks names up at
// dns (HOST:PORT) and nowhere else, and rejects no nonce at random.
func Pebble(t testing.TB, dns string) *CA {
	t.Helper()
	return DebianPebble(t, dns, PebbleOptions{})
}

// DebianPebble is Pebble with options, of which it knows Nonces, EAB, Alternates and
// Reuse. Renewal information (RFC 9773), alreadyReplaced and profiles are younger.
func DebianPebble(t testing.TB, dns string, o PebbleOptions) *CA {
	t.Helper()
	Need(t, "pebble", "env")
	if len(o.Profiles) > 0 || o.RetryAfter > 0 {
		t.Fatal("start pebble: that of Debian has no such option")
	}
	c := &CA{t: t, work: shortDir(t), pool: x509.NewCertPool()}
	t.Cleanup(c.Stop)
	c.certificate()
	c.process = startAgain(t, c.path("log"), func() (*process, error) {
		c.addr = net.JoinHostPort("127.0.0.1", fmt.Sprint(FreePort(t)))
		c.manage = net.JoinHostPort("127.0.0.1", fmt.Sprint(FreePort(t)))
		config, err := json.Marshal(map[string]any{"pebble": map[string]any{
			"listenAddress": c.addr, "managementListenAddress": c.manage,
			"certificate": c.path("cert.pem"), "privateKey": c.path("key.pem"), "httpPort": 5002, "tlsPort": 5001,
			"externalAccountBindingRequired": len(o.EAB) > 0, "externalAccountMACKeys": o.EAB,
		}})
		if err != nil {
			return nil, err
		}
		writeFile(t, c.path("config.json"), string(config))
		return start("env", c.path("log"), []string{
			"PEBBLE_VA_NOSLEEP=1", fmt.Sprint("PEBBLE_WFE_NONCEREJECT=", o.Nonces), fmt.Sprint("PEBBLE_AUTHZREUSE=", o.Reuse), fmt.Sprint("PEBBLE_ALTERNATE_ROOTS=", o.Alternates),
			"pebble", "-config", c.path("config.json"), "-dnsserver", dns,
		}, []listener{{"tcp", c.addr}, {"tcp", c.manage}}, c.ready)
	})
	return c
}

// PebbleOptions say how a Pebble is set up.
type PebbleOptions struct {
	Nonces     int               // per cent of nonces that are rejected at random
	Profiles   map[string]uint64 // the seconds that their certificates are valid; none: one, "default"
	EAB        map[string]string // keys of external accounts by their names, base64url; some: an account needs one
	Alternates int               // chains beside the first
	Reuse      int               // per cent of authorizations that are used again; with 0 still one in a hundred
	RetryAfter int               // seconds that it wants clients to wait
}

// NewPebble starts the ACME server of the module, which is years ahead of
// Debian's: it asks for TXT over TCP only, gives out profiles, and rejects one
// nonce in twenty.
func NewPebble(t testing.TB, dns string) *CA {
	t.Helper()
	return PebbleWith(t, dns, PebbleOptions{Nonces: 5})
}

// PebbleWith is NewPebble with options.
func PebbleWith(t testing.TB, dns string, o PebbleOptions) *CA {
	t.Helper()
	c := &CA{t: t, work: shortDir(t), pool: x509.NewCertPool()}
	t.Cleanup(c.Stop)
	c.certificate()
	logger := log.New(&stream{to: &c.said}, "", 0)
	store := db.NewMemoryStore()
	for id, key := range o.EAB {
		if err := store.AddExternalAccountKeyByID(id, key); err != nil {
			t.Fatal(err)
		}
	}
	profiles := map[string]ca.Profile{}
	for name, seconds := range o.Profiles {
		profiles[name] = ca.Profile{Description: "of a test: " + name, ValidityPeriod: seconds}
	}
	if len(profiles) == 0 {
		profiles["default"] = ca.Profile{Description: "of a test"}
	}
	issuer := ca.New(logger, store, "", "ecdsa", o.Alternates, 1, profiles)
	front := inEnvironment(t, map[string]string{ // it takes these from nowhere else
		"PEBBLE_VA_NOSLEEP": "1", "PEBBLE_AUTHZREUSE": fmt.Sprint(o.Reuse), "PEBBLE_WFE_NONCEREJECT": fmt.Sprint(o.Nonces),
	}, func() wfe.WebFrontEndImpl {
		return wfe.New(logger, store, va.New(logger, 5002, 5001, true, dns, store), issuer, []string{"ca.example"}, true, len(o.EAB) > 0, o.RetryAfter, o.RetryAfter)
	})
	c.admin = front.ManagementHandler()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c.addr = l.Addr().String()
	c.server = &http.Server{Handler: front.Handler(), ErrorLog: logger}
	go c.server.ServeTLS(l, c.path("cert.pem"), c.path("key.pem"))
	return c
}

// inEnvironment does something with variables set. All tests of a process have one
// environment; what they take turns by is their own program's file.
func inEnvironment[T any](t testing.TB, set map[string]string, do func() T) T {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(program)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	for name, value := range set {
		os.Setenv(name, value)
	}
	return do()
}

// Manage uses the management door.
func (c *CA) Manage(method, path, body string) (status int, answer string) {
	c.t.Helper()
	var r *http.Response
	if c.admin != nil {
		w := httptest.NewRecorder()
		q := httptest.NewRequest(method, path, strings.NewReader(body))
		q.Header.Set("User-Agent", "test")
		c.admin.ServeHTTP(w, q)
		r = w.Result()
	} else {
		q, err := http.NewRequest(method, "https://"+c.manage+path, strings.NewReader(body))
		if err != nil {
			c.t.Fatal(err)
		}
		if r, err = c.client().Do(q); err != nil {
			c.t.Fatal(err)
		}
	}
	defer r.Body.Close()
	text, err := io.ReadAll(r.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	return r.StatusCode, string(text)
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

func (c *CA) client() *http.Client {
	return &http.Client{Timeout: queryTimeout, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: c.pool}, DisableKeepAlives: true}}
}

func (c *CA) ready() error {
	r, err := c.client().Get(c.Directory())
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
