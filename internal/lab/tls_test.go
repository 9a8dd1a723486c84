package lab_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"zonebuild/internal/lab"
)

// certificate signs one for a name by its own key.
func certificate(t *testing.T, name string, key crypto.Signer) tls.Certificate {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()),
		Subject:      pkix.Name{CommonName: name},
		DNSNames:     []string{name},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func keys(t *testing.T) (*ecdsa.PrivateKey, *rsa.PrivateKey) {
	t.Helper()
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	old, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return ec, old
}

// TestTLSServer: openssl's client sees what stands in the options, by SNI and by
// algorithm, directly and after STARTTLS; a renewal and an outage show.
func TestTLSServer(t *testing.T) {
	lab.Need(t, "openssl")
	ec, old := keys(t)
	a, aOld := certificate(t, "a.example", ec), certificate(t, "a-rsa.example", old)
	other, renewed := certificate(t, "other.example", ec), certificate(t, "renewed.example", ec)
	for _, speak := range []string{"", "smtp"} {
		s := lab.TLSServer(t, lab.TLSOptions{Speak: speak, Certs: map[string][]tls.Certificate{"a.example": {a, aOld}, "": {other}}})
		client := func(args ...string) string {
			t.Helper()
			args = append([]string{"s_client", "-brief", "-connect", s.Addr()}, args...)
			if speak != "" {
				args = append(args, "-starttls", speak)
			}
			said, _ := lab.Try(t, "openssl", args...)
			return said
		}
		sees := func(want string, args ...string) {
			t.Helper()
			if said := client(args...); !strings.Contains(said, want) {
				t.Errorf("%q %v: no %q in\n%s", speak, args, want, said)
			}
		}
		sees("CN = a.example", "-servername", "A.example")
		sees("CN = a-rsa.example", "-servername", "a.example", "-tls1_2", "-cipher", "aRSA")
		sees("CN = other.example", "-servername", "b.example")
		sees("CN = other.example", "-noservername")
		sees("TLSv1.2", "-tls1_2", "-noservername")
		s.Show("a.example", renewed)
		sees("CN = renewed.example", "-servername", "a.example")
		sees("CN = other.example", "-servername", "b.example")
		want := []string{"A.example", "a.example", "b.example", "", "", "a.example", "b.example"}
		if got := s.Seen(); !slices.Equal(got, want) {
			t.Errorf("seen %q, want %q", got, want)
		}

		s.Stop()
		if c, err := net.Dial("tcp", s.Addr()); err == nil {
			c.Close()
			t.Error("a stopped server takes a connection")
		}
		s.Start()
		sees("CN = renewed.example", "-servername", "a.example")
	}
}

func TestTLSServerVersions(t *testing.T) {
	ec, _ := keys(t)
	s := lab.TLSServer(t, lab.TLSOptions{MaxVersion: tls.VersionTLS10, Certs: map[string][]tls.Certificate{"": {certificate(t, "a.example", ec)}}})
	c, err := tls.Dial("tcp", s.Addr(), &tls.Config{MinVersion: tls.VersionTLS10, InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if v := c.ConnectionState().Version; v != tls.VersionTLS10 {
		t.Errorf("version %s", tls.VersionName(v))
	}
	if c, err := tls.Dial("tcp", s.Addr(), &tls.Config{InsecureSkipVerify: true}); err == nil {
		c.Close()
		t.Error("a client of TLS 1.2 gets through")
	}
}
