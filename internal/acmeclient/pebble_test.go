package acmeclient

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"zonebuild/internal/domain"
	"zonebuild/internal/lab"
)

// zone is a name server of a test, and the Solver that writes into it.
type zone struct {
	addr string

	mu    sync.Mutex
	txt   map[Challenge]bool
	calls []string
	most  int // values at one time

	fail func(call string) error
}

var _ Solver = (*zone)(nil)

func newZone(t testing.TB) *zone {
	t.Helper()
	z := &zone{txt: map[Challenge]bool{}}
	for range 20 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		p, err := net.ListenPacket("udp", l.Addr().String())
		if err != nil {
			l.Close()
			continue
		}
		z.addr = l.Addr().String()
		for _, s := range []*dns.Server{{Listener: l, Handler: z}, {PacketConn: p, Handler: z}} {
			started := make(chan struct{})
			s.NotifyStartedFunc = func() { close(started) }
			go s.ActivateAndServe()
			<-started
			t.Cleanup(func() { s.Shutdown() })
		}
		return z
	}
	t.Fatal("no port that is free for TCP and UDP")
	return nil
}

func (z *zone) ServeDNS(w dns.ResponseWriter, q *dns.Msg) {
	m := new(dns.Msg).SetReply(q)
	m.Authoritative = true
	z.mu.Lock()
	for ch := range z.txt {
		if q.Question[0].Qtype == dns.TypeTXT && strings.EqualFold(q.Question[0].Name, ch.Owner.String()) {
			m.Answer = append(m.Answer, &dns.TXT{Hdr: dns.RR_Header{Name: q.Question[0].Name, Rrtype: dns.TypeTXT, Class: dns.ClassINET}, Txt: []string{ch.Value}})
		}
	}
	z.mu.Unlock()
	w.WriteMsg(m)
}

func (z *zone) call(name string) error {
	z.calls = append(z.calls, name)
	if z.fail != nil {
		return z.fail(name)
	}
	return nil
}

func (z *zone) Present(_ context.Context, owner domain.Name, value string) error {
	z.mu.Lock()
	defer z.mu.Unlock()
	if err := z.call("present " + owner.String()); err != nil {
		return err
	}
	z.txt[Challenge{owner, value}] = true
	z.most = max(z.most, len(z.txt))
	return nil
}

func (z *zone) Wait(ctx context.Context, all []Challenge) error {
	z.mu.Lock()
	defer z.mu.Unlock()
	return z.call("wait")
}

func (z *zone) CleanUp(ctx context.Context, owner domain.Name, value string) error {
	z.mu.Lock()
	defer z.mu.Unlock()
	if err := z.call("clean up " + owner.String()); err != nil {
		return err
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	delete(z.txt, Challenge{owner, value})
	return nil
}

func (z *zone) empty(t testing.TB) {
	t.Helper()
	z.mu.Lock()
	defer z.mu.Unlock()
	if len(z.txt) > 0 {
		t.Errorf("left in the zone: %v", z.txt)
	}
}

// testLimits are quick where a test waits, and as strict.
func testLimits() Limits {
	return Limits{Pause: time.Millisecond, NoncePause: time.Microsecond, Poll: 5 * time.Millisecond, MaxPoll: 20 * time.Millisecond, Issue: 20 * time.Second, Lifetime: 2000 * 24 * time.Hour}
}

func p256(t testing.TB) crypto.Signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// authority is an ACME server as the tests know it.
type authority interface {
	Directory() string
	TrustFile() string
	Log() string
}

func issuedBy(ca authority) int { return strings.Count(ca.Log(), "Issued certificate serial") }

// newClient has an account key of its own and a directory for its state.
func newClient(t testing.TB, ca authority, change ...func(*Config)) *Client {
	t.Helper()
	config := Config{
		Directory: ca.Directory(), Key: p256(t), RootsFile: ca.TrustFile(), Store: FileStore{t.TempDir()}, Limits: testLimits(), UserAgent: "test",
	}
	for _, f := range change {
		f(&config)
	}
	c, err := New(config)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// register is newClient with an account.
func register(t testing.TB, ca authority, change ...func(*Config)) *Client {
	t.Helper()
	c := newClient(t, ca, change...)
	if _, err := c.Register(t.Context(), Registration{TermsAgreed: true}); err != nil {
		t.Fatalf("%v\n%s", err, ca.Log())
	}
	return c
}

// pebbles are the CA of Debian 12 and the present one.
func pebbles() map[string]func(testing.TB, string) authority {
	return map[string]func(testing.TB, string) authority{
		"2.4":  func(t testing.TB, dns string) authority { return lab.Pebble(t, dns) },
		"2.10": func(t testing.TB, dns string) authority { return newPebble(t, dns, pebbleOptions{}) },
	}
}

type pebbleOptions = lab.PebbleOptions

func newPebble(t testing.TB, dns string, o pebbleOptions) *lab.CA {
	t.Helper()
	return lab.PebbleWith(t, dns, o)
}

func checkIssued(t testing.TB, got *Certificate, key crypto.Signer, names ...string) {
	t.Helper()
	leaf := got.Chain[0]
	if !sameKey(leaf.PublicKey, key.Public()) {
		t.Error("the certificate is for another key")
	}
	slices.Sort(names)
	sans := slices.Clone(leaf.DNSNames)
	slices.Sort(sans)
	if !slices.Equal(sans, names) {
		t.Errorf("names %v, want %v", sans, names)
	}
	if len(got.Chain) < 2 {
		t.Errorf("%d certificates in the chain", len(got.Chain))
	}
	block, _ := pem.Decode(got.PEM)
	if block == nil || !bytes.Equal(block.Bytes, leaf.Raw) {
		t.Error("the PEM does not begin with the leaf")
	}
	if len(got.Notes) > 0 {
		t.Errorf("notes: %q", got.Notes)
	}
}

func TestIssue(t *testing.T) {
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	for version, start := range pebbles() {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			z := newZone(t)
			ca := start(t, z.addr)
			c := register(t, ca)
			keys := map[string]crypto.Signer{"ecdsa": p256(t), "rsa": rsaKey}
			if version == "2.4" {
				keys["ed25519"] = ed
			}
			for _, kind := range slices.Sorted(maps.Keys(keys)) {
				key := keys[kind]
				names := []string{"example.org", "*.example.org", "www.example.org"}
				got, err := c.Obtain(t.Context(), z, Request{Name: kind, Identifiers: names, Key: key, KeyRef: kind + ".pem"})
				if err != nil {
					t.Fatalf("%s: %v\n%s", kind, err, ca.Log())
				}
				checkIssued(t, got, key, names...)
				if z.most != 3 || got.Key != kind+".pem" {
					t.Errorf("%d challenges at a time, key %q", z.most, got.Key)
				}
				z.empty(t)
				if err := c.Forget(kind); err != nil {
					t.Error(err)
				}
			}
			if version == "2.10" { // which takes no Ed25519: nothing is left of the order, or of its challenge
				_, err := c.Obtain(t.Context(), z, Request{Name: "ed25519", Identifiers: []string{"example.org"}, Key: ed})
				if !errors.Is(err, ErrCSR) {
					t.Errorf("Ed25519: %v", err)
				}
				if _, found, err := c.Order("ed25519"); found || err != nil {
					t.Errorf("a record is left: %v", err)
				}
				z.empty(t)
			}
			// Renewed with the key that it had.
			got, err := c.Obtain(t.Context(), z, Request{Name: "again", Identifiers: []string{"Example.org."}, Key: keys["ecdsa"]})
			if err != nil {
				t.Fatal(err)
			}
			checkIssued(t, got, keys["ecdsa"], "example.org")
			if n := issuedBy(ca); n != len(keys)+1 {
				t.Errorf("%d certificates issued", n)
			}
			if err := c.Forget("again"); err != nil {
				t.Error(err)
			}
			if _, found, err := c.Order("again"); found || err != nil {
				t.Errorf("a record is left: %v", err)
			}
		})
	}
}

func TestOwnCSR(t *testing.T) {
	t.Parallel()
	z := newZone(t)
	ca := newPebble(t, z.addr, pebbleOptions{})
	c := register(t, ca)
	key := p256(t)
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{DNSNames: []string{"www.example.org"}}, key)
	if err != nil {
		t.Fatal(err)
	}
	got, err := c.Obtain(t.Context(), z, Request{Name: "csr", Identifiers: []string{"www.example.org"}, CSR: csr})
	if err != nil {
		t.Fatal(err)
	}
	checkIssued(t, got, key, "www.example.org")
}
