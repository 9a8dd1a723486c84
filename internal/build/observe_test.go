package build

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"zonebuild/internal/authority"
	"zonebuild/internal/domain"
	"zonebuild/internal/lab"
	"zonebuild/internal/starttls"
	"zonebuild/tlsa"
)

func certOf(t *testing.T, key crypto.Signer) tls.Certificate {
	t.Helper()
	c := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "x"}, NotAfter: time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC)}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// TestTLSALookAt: which chains an address is seen with, and when it is not seen.
func TestTLSALookAt(t *testing.T) {
	t.Parallel()
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	ecKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	r, e := certOf(t, rsaKey), certOf(t, ecKey)
	for name, c := range map[string]struct {
		o      lab.TLSOptions
		chains int
	}{
		"both":             {lab.TLSOptions{Certs: map[string][]tls.Certificate{"": {e, r}}}, 2},
		"RSA":              {lab.TLSOptions{Certs: map[string][]tls.Certificate{"": {r}}}, 1},
		"ECDSA":            {lab.TLSOptions{Certs: map[string][]tls.Certificate{"": {e}}}, 1},
		"TLS 1.3 alone":    {lab.TLSOptions{Certs: map[string][]tls.Certificate{"": {e}}, MinVersion: tls.VersionTLS13}, 1},
		"TLS 1.2 at most":  {lab.TLSOptions{Certs: map[string][]tls.Certificate{"": {e, r}}, MaxVersion: tls.VersionTLS12}, 2},
		"another protocol": {lab.TLSOptions{Certs: map[string][]tls.Certificate{"": {e}}, Speak: "smtp"}, 0},
	} {
		server := lab.TLSServer(t, c.o)
		seen := lookAt(t.Context(), netip.MustParseAddrPort(server.Addr()), starttls.Options{ServerName: "mail.example.org", Timeout: 2 * time.Second})
		if len(seen.Chains) != c.chains || (seen.Reach == tlsa.Answered) != (c.chains > 0) {
			t.Errorf("%s: %d chains, reach %d", name, len(seen.Chains), seen.Reach)
		}
	}
	for _, version := range []uint16{tls.VersionTLS10, tls.VersionTLS12} {
		addr := serve(t, &tls.Config{Certificates: []tls.Certificate{r}, MinVersion: tls.VersionTLS10, MaxVersion: version})
		if seen := lookAt(t.Context(), addr, starttls.Options{Timeout: 2 * time.Second}); seen.Reach != tlsa.Answered || len(seen.Chains) != 1 {
			t.Errorf("RSA up to version %x: %+v", version, seen)
		}
	}
	if seen := lookAt(t.Context(), netip.MustParseAddrPort(fmt.Sprintf("127.0.0.1:%d", lab.FreePort(t))), starttls.Options{}); seen.Reach != tlsa.Unreachable {
		t.Errorf("nobody there: %+v", seen)
	}
}

// serve shakes hands as crypto/tls does, and gives the address.
func serve(t *testing.T, config *tls.Config) netip.AddrPort {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				if s := tls.Server(c, config); s.Handshake() == nil {
					s.Read(make([]byte, 1))
				}
			}()
		}
	}()
	return netip.MustParseAddrPort(l.Addr().String())
}

// TestTLSALookHalf: an address that answers the first connection only was not seen:
// the chain that was not shown may be of the old key.
func TestTLSALookHalf(t *testing.T) {
	t.Parallel()
	ecKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	config := &tls.Config{Certificates: []tls.Certificate{certOf(t, ecKey)}, GetConfigForClient: func(h *tls.ClientHelloInfo) (*tls.Config, error) {
		if h.SupportedVersions[0] < tls.VersionTLS13 { // not the first kind of client
			h.Conn.Close()
		}
		return nil, nil
	}, MaxVersion: tls.VersionTLS12}
	if seen := lookAt(t.Context(), serve(t, config), starttls.Options{Timeout: 2 * time.Second}); seen.Reach != tlsa.Unreachable || len(seen.Chains) > 0 {
		t.Errorf("%+v", seen)
	}
}

// TestTLSAAsk: what an nsd says of an RRset that is there, of one that is not, and of
// a zone that it does not have; and how a host is found through aliases.
func TestTLSAAsk(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	text := "$TTL 1h\n@ SOA ns1 hostmaster 1 2h 30m 4w 10m\n@ NS ns1\nns1 A 127.0.0.1\n_25._tcp.mail 600 TLSA 3 1 1 " +
		"E3B0C44298FC1C149AFBF4C8996FB92427AE41E4649B934CA495991B7852B855\nmail A 192.0.2.1\nmail AAAA 2001:db8::1\na CNAME b\nb CNAME mail\nl CNAME l\n"
	if err := os.WriteFile(filepath.Join(dir, "example.org"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	d := lab.NSD(t, lab.NSDOptions{Dir: dir, Zones: []string{"example.org"}})
	addr := netip.MustParseAddrPort(d.Addr())
	lab.Until(t, "nsd serves the zone", func() error {
		if m := lab.Query(t, d.Addr(), "example.org", "SOA", 0); len(m.Answer) == 0 {
			return fmt.Errorf("%v", m)
		}
		return nil
	})
	ask := func(owner string) tlsa.ServerSeen { return askTLSA(t.Context(), addr, domain.MustParse(owner)) }
	if s := ask("_25._tcp.mail.example.org"); s.Reach != tlsa.Answered || s.TTL != 600 || len(s.Records) != 1 ||
		s.Records[0].String() != "3 1 1 e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855" {
		t.Errorf("%+v", s)
	}
	if s := ask("_443._tcp.mail.example.org"); s.Reach != tlsa.Answered || s.TTL != 600 || len(s.Records) != 0 { // MINIMUM
		t.Errorf("%+v", s)
	}
	if s := ask("_25._tcp.mail.example.net"); s.Reach != tlsa.Unreachable {
		t.Errorf("%+v", s)
	}
	n := &network{resolver: authority.Resolver{addr}, addresses: []netip.AddrPort{addr}, zones: map[domain.Name]*serversOf{}}
	for host, want := range map[string]string{
		"mail.example.org": "[192.0.2.1 2001:db8::1] true", "a.example.org": "[192.0.2.1 2001:db8::1] true",
		"l.example.org": "[] false", "nosuch.example.org": "[] false", "example.net": "[] false",
	} {
		addrs, known := n.lookUp(t.Context(), domain.MustParse(host))
		if got := fmt.Sprint(addrs, known); got != want {
			t.Errorf("%s: %s, want %s", host, got, want)
		}
	}
	if addrs, known := n.serversOf(t.Context(), domain.MustParse("example.org")); fmt.Sprint(addrs, known) != "[127.0.0.1:53] true" {
		t.Errorf("%v %t", addrs, known)
	}
	if addrs, known := n.serversOf(t.Context(), domain.MustParse("example.net")); len(addrs) != 1 || addrs[0] != addr || known {
		t.Errorf("%v %t", addrs, known)
	}
	for text, want := range map[string]string{
		"c.pem mail.example.org 25":                         "smtp mail.example.org. true",
		"c.pem mail.example.org 443":                        "none mail.example.org. true",
		"c.pem mail.example.org 25 starttls=off sni=x.test": "none x.test. true",
		"c.pem mail.example.org 2525 starttls=lmtp":         "lmtp mail.example.org. true",
		"c.pem mail.example.org 853/udp":                    "none mail.example.org. false",
	} {
		m, faults := tlsa.ParseMap("certs.map", []byte(text))
		if len(faults) > 0 {
			t.Fatal(faults)
		}
		o, ok := dialOptions(m.Groups()[0])
		if got := fmt.Sprint(o.Protocol, " ", o.ServerName, " ", ok); got != want {
			t.Errorf("%s: %s", text, got)
		}
	}
	m, _ := tlsa.ParseMap("certs.map", []byte(fmt.Sprintf("c.pem mail.example.org 443 probe=127.0.0.1:%d\n", lab.FreePort(t))))
	if seen, known := n.Hosts(t.Context(), m.Groups()[0], nil); len(seen) != 1 || !known || seen[0].Reach != tlsa.Unreachable || seen[0].Addr.Addr().String() != "127.0.0.1" {
		t.Errorf("%+v %t", seen, known)
	}
}
