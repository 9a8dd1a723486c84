package build_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"math/big"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"zonebuild/internal/build"
	"zonebuild/internal/domain"
	"zonebuild/tlsa"
)

// certificate is one of a test's with its key.
type certificate struct {
	der []byte
	key crypto.Signer
}

// newCertificate makes a self-signed certificate of a new P-256 key.
func newCertificate(t testing.TB, names ...string) certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return certificateOf(t, key, names...)
}

func certificateOf(t testing.TB, key crypto.Signer, names ...string) certificate {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: names[0]}, DNSNames: names,
		NotBefore: time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC), NotAfter: time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC),
	}, &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: names[0]}}, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return certificate{der, key}
}

func (c certificate) pem() string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.der}))
}

func (c certificate) tls() tls.Certificate {
	return tls.Certificate{Certificate: [][]byte{c.der}, PrivateKey: c.key}
}

// record is the rdata of its TLSA record 3 1 1, made without our own code.
func (c certificate) record() string {
	spki, err := x509.MarshalPKIXPublicKey(c.key.Public())
	if err != nil {
		panic(err)
	}
	sum := sha256.Sum256(spki)
	return "3 1 1 " + hex.EncodeToString(sum[:])
}

// world is what servers and hosts answer in a test: an Observer without a network.
type world struct {
	s *site

	mu      sync.Mutex
	lags    map[string]string // server → the text of the zone that it still has
	silent  map[string]bool   // servers and hosts that do not answer
	servers []string
	hosts   map[string][]certificate // address of a host → what it serves
	looks   int
	deaf    bool // no resolver answers: the first server is asked, and may not be all
}

func newWorld(s *site) *world {
	w := &world{s: s, lags: map[string]string{}, silent: map[string]bool{}, servers: []string{"192.0.2.53:53", "192.0.2.54:53"}, hosts: map[string][]certificate{}}
	s.looks = w
	return w
}

// Servers shows what signed/ZONE holds.
func (w *world) Servers(_ context.Context, apex, owner domain.Name) ([]tlsa.ServerSeen, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.looks++
	var out []tlsa.ServerSeen
	for i, addr := range w.servers {
		if w.deaf && i > 0 {
			break
		}
		seen := tlsa.ServerSeen{Addr: netip.MustParseAddrPort(addr), Reach: tlsa.Answered, TTL: 3600}
		text, lags := w.lags[addr]
		if !lags {
			b, _ := os.ReadFile(w.s.path("signed", apex.FileName())) // before the first build there is none
			text = string(b)
		}
		for line := range strings.Lines(text) {
			f := strings.Split(strings.TrimSpace(line), "\t")
			if len(f) != 5 || f[0] != owner.String() || f[3] != "TLSA" {
				continue
			}
			ttl, _ := strconv.ParseUint(f[1], 10, 32)
			var r tlsa.Record
			if err := r.UnmarshalText([]byte(f[4])); err != nil {
				w.s.t.Error(err)
			}
			seen.TTL, seen.Records = uint32(ttl), append(seen.Records, r)
		}
		if w.silent[addr] {
			seen = tlsa.ServerSeen{Addr: seen.Addr}
		}
		out = append(out, seen)
	}
	return out, !w.deaf
}

// Hosts shows what the hosts serve.
func (w *world) Hosts(_ context.Context, g tlsa.Group, addrs []netip.Addr) ([]tlsa.HostSeen, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.looks++
	var out []tlsa.HostSeen
	for _, a := range addrs {
		seen := tlsa.HostSeen{Addr: netip.AddrPortFrom(a, g.Port)}
		if certs := w.hosts[a.String()]; len(certs) > 0 && !w.silent[a.String()] {
			seen.Reach = tlsa.Answered
			for _, c := range certs {
				seen.Chains = append(seen.Chains, [][]byte{c.der})
			}
		}
		out = append(out, seen)
	}
	return out, len(addrs) > 0
}

// looked gives how often it was asked since the last time.
func (w *world) looked() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := w.looks
	w.looks = 0
	return n
}

// tlsaOf are the TLSA records of an owner in signed/ZONE.
func (s *site) tlsaOf(zone, owner string) []string {
	s.t.Helper()
	var out []string
	for _, line := range s.lines("signed/"+zone, "TLSA") {
		if rest, ok := strings.CutPrefix(line, owner+" "); ok {
			out = append(out, rest)
		}
	}
	return out
}

// published wants the TLSA records of an owner to be these.
func (s *site) published(what, owner string, want ...string) {
	s.t.Helper()
	apex := owner[strings.Index(owner, "example"):]
	got := s.tlsaOf(strings.TrimSuffix(apex, "."), owner)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		s.t.Fatalf("%s: %q are published, not %q", what, got, want)
	}
}

// phase is that of the first line of the map.
func (s *site) phase() tlsa.Phase {
	s.t.Helper()
	all, err := s.open().TLSA(s.t.Context(), s.at())
	if err != nil {
		s.t.Fatal(err)
	}
	if len(all) == 0 {
		return ""
	}
	return all[0].Phase
}

// pass builds at a later time, twice, as cron does: what the first one published is
// seen by the second.
func (s *site) pass(after time.Duration) build.Report {
	s.t.Helper()
	s.now = s.now.Add(after)
	s.build(ok)
	s.now = s.now.Add(2 * time.Minute)
	return s.build(ok)
}
