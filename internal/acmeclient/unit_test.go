package acmeclient

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/crypto/acme"

	"zonebuild/internal/domain"
)

func TestNew(t *testing.T) {
	dir := t.TempDir()
	none := filepath.Join(dir, "none.pem")
	if err := os.WriteFile(none, []byte("hello"), 0o644); err != nil {
		t.Fatal(err)
	}
	fifo := filepath.Join(dir, "fifo")
	if err := syscall.Mkfifo(fifo, 0o644); err != nil {
		t.Fatal(err)
	}
	weak, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	p224, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		change func(*Config)
		want   string
	}{
		{func(c *Config) {}, ""},
		{func(c *Config) { c.Directory = "http://ca.example/dir" }, `directory "http://ca.example/dir": an https URL is wanted`},
		{func(c *Config) { c.Directory = "https://a:b@ca.example/dir" }, `directory "https://a:b@ca.example/dir": an https URL is wanted`},
		{func(c *Config) { c.Directory = "/dir" }, `directory "/dir": an https URL is wanted`},
		{func(c *Config) { c.Directory = "https://[::1/" }, `directory: missing ']' in host`},
		{func(c *Config) { c.Store = nil }, "no store"},
		{func(c *Config) { c.Key = nil }, "no account key"},
		{func(c *Config) { c.Key = weak }, "account key: RSA of 1024 bits, 2048 to 8192 are wanted"},
		{func(c *Config) { c.Key = p224 }, "account key: neither ECDSA on a NIST curve nor RSA"},
		{func(c *Config) { c.UserAgent = "a\r\nX: b" }, "the User-Agent is not printable ASCII"},
		{func(c *Config) { c.RootsFile = none }, "read the roots: " + none + " holds no certificate"},
		{func(c *Config) { c.RootsFile = fifo }, "read the roots: open " + fifo + ": not a regular file"},
	} {
		config := Config{Directory: "https://ca.example/dir", Key: p256(t), Store: FileStore{dir}}
		row.change(&config)
		_, err := New(config)
		if row.want == "" && err != nil || row.want != "" && (err == nil || err.Error() != "set up the ACME client: "+row.want) {
			t.Errorf("\n got %v\nwant %s", err, row.want)
		}
	}
}

// A URL is asked only on https, and only on the hosts of the configuration.
func TestPermit(t *testing.T) {
	c, err := New(Config{Directory: "https://CA.example/dir", Hosts: []string{"other.example:8443", "2001:db8::1"}, Key: p256(t), Store: FileStore{t.TempDir()}})
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{
		"https://ca.example/x":          "",
		"https://ca.example:443/x":      "",
		"https://other.example:8443/x":  "",
		"https://[2001:db8::1]/x":       "",
		"https://ca.example:444/x":      "it sends us to another host, ca.example:444",
		"https://other.example/x":       "it sends us to another host, other.example",
		"https://ca.example.evil/x":     "it sends us to another host, ca.example.evil",
		"https://evil@ca.example/x":     "a URL with a password",
		"http://ca.example/x":           `it sends us to "http", not to https`,
		"file:///etc/passwd":            `it sends us to "file", not to https`,
		"https:///x":                    "it sends us to another host, ",
		"//ca.example/x":                `it sends us to "", not to https`,
		"https://127.0.0.1:6443/secret": "it sends us to another host, 127.0.0.1:6443",
	} {
		u, err := url.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		if err := c.http.Transport.(*guard).permit(u); err != nil {
			got = strings.TrimPrefix(err.Error(), "malformed by the CA: ")
		}
		if got != want {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
	}
}

func TestIdentifiers(t *testing.T) {
	long := make([]string, 101)
	for i := range long {
		long[i] = fmt.Sprint("h", i, ".example.org")
	}
	for _, row := range []struct {
		names []string
		want  string
	}{
		{[]string{"WWW.Example.org.", "*.example.org", "example.org"}, "*.example.org example.org www.example.org"},
		{[]string{"xn--bcher-kva.example"}, "xn--bcher-kva.example"},
		{nil, "0 names, 1 to 100 are wanted"},
		{long, "101 names, 1 to 100 are wanted"},
		{[]string{"a.example", "A.example."}, "a name stands there twice"},
		{[]string{"bücher.example"}, `name "bücher.example": byte that needs an escape (write a non-ASCII name as A-labels)`},
		{[]string{""}, "name empty name"},
		{[]string{"."}, `name ".": a host name of two labels or more is wanted, or * before one`},
		{[]string{"org"}, `name "org": a host name of two labels or more is wanted, or * before one`},
		{[]string{"*.*.example.org"}, `name "*.*.example.org": a host name of two labels or more is wanted, or * before one`},
		{[]string{"a*.example.org"}, `name "a*.example.org": a host name of two labels or more is wanted, or * before one`},
		{[]string{"www.*.example.org"}, `name "www.*.example.org": a host name of two labels or more is wanted, or * before one`},
		{[]string{"192.0.2.1"}, `name "192.0.2.1": a host name of two labels or more is wanted, or * before one`},
		{[]string{"_a.example.org"}, `name "_a.example.org": a host name of two labels or more is wanted, or * before one`},
		{[]string{"-a.example.org"}, `name "-a.example.org": a host name of two labels or more is wanted, or * before one`},
		{[]string{`a\.b.example.org`}, `name "a\\.b.example.org": a host name of two labels or more is wanted, or * before one`},
		{[]string{"a/b.example.org"}, `name "a/b.example.org": a host name of two labels or more is wanted, or * before one`},
		{[]string{strings.Repeat("a", 64) + ".example.org"}, `name "` + strings.Repeat("a", 64) + `.example.org": label longer than 63 octets`},
	} {
		got, err := identifiers(row.names)
		text := strings.Join(got, " ")
		if err != nil {
			text = err.Error()
		}
		if text != row.want {
			t.Errorf("%q\n got %s\nwant %s", row.names, text, row.want)
		}
	}
}

func TestCheckCSR(t *testing.T) {
	key, account := p256(t), p256(t)
	weak, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	staple := pkix.Extension{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 1, 24}, Value: []byte{0x30, 3, 2, 1, 5}}
	for _, row := range []struct {
		name string
		csr  x509.CertificateRequest
		key  crypto.Signer
		want string
	}{
		{"good", x509.CertificateRequest{DNSNames: []string{"b.example", "A.example"}}, key, ""},
		{"common name", x509.CertificateRequest{DNSNames: []string{"b.example", "a.example"}, Subject: pkix.Name{CommonName: "a.example"}}, key, ""},
		{"other common name", x509.CertificateRequest{DNSNames: []string{"b.example", "a.example"}, Subject: pkix.Name{CommonName: "c.example"}}, key, `its common name "c.example" is none of the names`},
		{"more", x509.CertificateRequest{DNSNames: []string{"b.example", "a.example", "c.example"}}, key, "it is for c.example too"},
		{"less", x509.CertificateRequest{DNSNames: []string{"b.example"}}, key, "it is not for a.example"},
		{"address", x509.CertificateRequest{DNSNames: []string{"b.example", "a.example"}, IPAddresses: []net.IP{{127, 0, 0, 1}}}, key, "it asks for more than DNS names"},
		{"mail", x509.CertificateRequest{DNSNames: []string{"b.example", "a.example"}, EmailAddresses: []string{"a@example.org"}}, key, "it asks for more than DNS names"},
		{"must-staple", x509.CertificateRequest{DNSNames: []string{"b.example", "a.example"}, ExtraExtensions: []pkix.Extension{staple}}, key,
			"it asks for must-staple, which no CA without OCSP can serve: a client that honours it would refuse the certificate"},
		{"account", x509.CertificateRequest{DNSNames: []string{"b.example", "a.example"}}, account, "the account's key must not be a certificate's (RFC 8555 §11.1)"},
		{"weak", x509.CertificateRequest{DNSNames: []string{"b.example", "a.example"}}, weak, "RSA key of 1024 bits, 2048 to 8192 are wanted"},
	} {
		der, err := x509.CreateCertificateRequest(rand.Reader, &row.csr, row.key)
		if err != nil {
			t.Fatal(err)
		}
		c := newClient(t, newFakeCA(t), func(c *Config) { c.Key = account })
		_, err = c.plan(Request{Name: "a", Identifiers: []string{"a.example", "b.example"}, CSR: der})
		if row.want == "" && err != nil || row.want != "" && (err == nil || err.Error() != "the certificate request: "+row.want) {
			t.Errorf("%s:\n got %v\nwant %s", row.name, err, row.want)
		}
	}
	der, err := NewCSR(key, []string{"a.example"})
	if err != nil {
		t.Fatal(err)
	}
	der[len(der)-1] ^= 1
	if _, err := checkCSR(der, []string{"a.example"}, account.Public()); err == nil || !strings.HasPrefix(err.Error(), "its signature: x509: ") {
		t.Errorf("%v", err)
	}
	if _, err := checkCSR(der[:9], nil, nil); err == nil {
		t.Error("half a request")
	}
	c := newClient(t, newFakeCA(t))
	for _, r := range []Request{{Name: "a", Identifiers: []string{"a.example"}}, {Name: "a", Identifiers: []string{"a.example"}, Key: key, CSR: der}} {
		if _, err := c.plan(r); err == nil || err.Error() != "either a key or a certificate request is wanted" {
			t.Errorf("%v", err)
		}
	}
}

func TestFileStore(t *testing.T) {
	dir := t.TempDir()
	outside := filepath.Join(filepath.Dir(dir), "x.json")
	s := FileStore{dir}
	for _, umask := range []int{0, 0o077} {
		old := syscall.Umask(umask)
		err := s.Save("order-a", []byte("{}"))
		syscall.Umask(old)
		if err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(filepath.Join(dir, "order-a.json"))
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%v %v", info.Mode(), err)
		}
	}
	if data, err := s.Load("order-a"); err != nil || string(data) != "{}" {
		t.Errorf("%q %v", data, err)
	}
	if _, err := s.Load("none"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v", err)
	}
	if err := errors.Join(s.Remove("order-a"), s.Remove("order-a")); err != nil {
		t.Error(err)
	}
	for _, name := range []string{"", ".", "..", "../x", "a/b", ".a", "-a", "A", "a\n", "a\x00", strings.Repeat("a", 101)} {
		want := fmt.Sprintf("%q is no name of [a-z0-9._-] that begins with a letter or a digit", name)
		_, err := s.Load(name)
		for _, err := range []error{err, s.Save(name, nil), s.Remove(name)} {
			if err == nil || err.Error() != want {
				t.Errorf("%v, want %s", err, want)
			}
		}
	}
	if _, err := os.Stat(outside); err == nil {
		t.Error("a file outside of the directory")
	}
	// What another put there is not followed and not waited for.
	if err := os.Symlink("/etc/passwd", filepath.Join(dir, "order-b.json")); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(filepath.Join(dir, "order-c.json"), 0o600); err != nil {
		t.Fatal(err)
	}
	c := newClient(t, newFakeCA(t), func(c *Config) { c.Store = s })
	for _, name := range []string{"b", "c"} {
		if _, _, err := c.Order(name); err == nil || !strings.HasSuffix(err.Error(), "not a regular file") {
			t.Errorf("%v", err)
		}
	}
	if err := s.Save("order-d", []byte(`{"name":"e"}`)); err != nil {
		t.Fatal(err)
	}
	if _, _, err := c.Order("d"); err == nil || err.Error() != "load order-d: the record is damaged: it is no record of an order" {
		t.Errorf("%v", err)
	}
}

func TestHistory(t *testing.T) {
	start := time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC)
	at := func(minutes int) time.Time { return start.Add(time.Duration(minutes) * time.Minute) }
	of := func(subject string, minutes ...int) History {
		var h History
		for _, m := range minutes {
			h = append(h, Failure{subject, at(m)})
		}
		return h
	}
	for _, row := range []struct {
		h     History
		now   int
		until int // 0 = not blocked
	}{
		{nil, 0, 0},
		{of("dns:a", 0, 1, 2, 3), 4, 0},
		{of("dns:a", 0, 1, 2, 3, 4), 4, 60},
		{of("dns:a", 0, 1, 2, 3, 4), 59, 60},
		{of("dns:a", 0, 1, 2, 3, 4), 60, 0},
		{of("dns:a", 0, 10, 20, 30, 61), 61, 0},
		{of("dns:a", 0, 10, 20, 30, 40, 50), 51, 70},
		{of("dns:b", 0, 1, 2, 3, 4), 4, 0},
		{of("dns:c", 0, 1, 2, 3, 4), 4, 60}, // of its wildcard too
		{of("order:a", 0, 1, 2, 3, 4), 4, 0},
		{of("dns:a", 9000, 9001, 9002, 9003, 9004), 4, 0}, // the clock was set back
		{of("dns:a", 0, 1, 2, 3, 9004), 4, 0},
		{of("dns:a", 30, 31, 32, 33, 34), 4, 90}, // by less than an hour
	} {
		name, until := row.h.Blocked([]string{"a", "*.c"}, at(row.now))
		if (name != "") != (row.until != 0) || name != "" && !until.Equal(at(row.until)) {
			t.Errorf("%v at %d: %q until %s", row.h, row.now, name, until)
		}
	}
	for _, row := range []struct {
		h    History
		now  int
		want int // 0 = at once
	}{
		{nil, 0, 0},
		{of("order:a", 0), 0, 1},
		{of("order:a", 0), 1, 0},
		{of("order:a", 0, 1), 1, 11},
		{of("order:a", 0, 1, 11), 11, 111},
		{of("order:a", 0, 1, 11, 111), 111, 111 + 1440},
		{of("order:a", 0, 1, 11, 111, 1551), 1551, 1551 + 1440},
		{of("order:a", 99999), 5, 0}, // the clock was set back
		{of("order:a", 0, 99999), 5, 0},
		{of("order:a", 30), 5, 31}, // by less than an hour
		{of("order:b", 0), 0, 0},
	} {
		got := row.h.RetryAt("a", at(row.now))
		if row.want == 0 && !got.IsZero() || row.want != 0 && !got.Equal(at(row.want)) {
			t.Errorf("%v at %d: %s", row.h, row.now, got)
		}
	}
	// It stays small, whatever happens, and the present always counts.
	var h History
	for i := range 2 * keepAll {
		h = append(h, Failure{fmt.Sprint("dns:", i), at(i)})
	}
	h = h.add("dns:last", at(2*keepAll))
	if len(h) != keepAll || h[len(h)-1].Subject != "dns:last" || h[0].Subject != fmt.Sprint("dns:", keepAll+1) {
		t.Errorf("%d failures from %v", len(h), h[0])
	}
	h = nil
	for i := range 100 {
		h = h.add("dns:a", at(i))
	}
	if len(h) != keepEach || !h[0].At.Equal(at(100-keepEach)) {
		t.Errorf("%v", h)
	}
	if h = h.add("dns:b", at(60*24*40)); len(h) != 1 {
		t.Errorf("what is older than a month stays: %v", h)
	}
	// What fails after the clock was set back is all that counts.
	h = of("order:a", 99990, 99999).add("order:a", at(5))
	if got := h.RetryAt("a", at(5)); !got.Equal(at(6)) || len(h) != 1 {
		t.Errorf("%s: %v", got, h)
	}
	// Retry-After of more than a day is from a clock that was wrong.
	j := Journal{NotBefore: map[string]time.Time{"a": at(100), "b": at(60 * 48)}}
	if got := j.RetryAt("a", at(0)); !got.Equal(at(100)) {
		t.Errorf("%s", got)
	}
	if got := j.RetryAt("b", at(0)); !got.IsZero() {
		t.Errorf("%s", got)
	}
}

// TestSecrets: neither the record nor the journal nor an error holds a private key.
func TestSecrets(t *testing.T) {
	f, z := newFakeCA(t), newZone(t)
	dir := t.TempDir()
	c := register(t, f, func(c *Config) { c.Store = FileStore{dir} })
	key := p256(t)
	z.fail = func(call string) error {
		if call == "wait" {
			return errors.New("no")
		}
		return nil
	}
	_, err := c.Obtain(t.Context(), z, Request{Name: "a", Identifiers: []string{"example.org"}, Key: key})
	if err == nil {
		t.Fatal("no error")
	}
	texts := [][]byte{[]byte(err.Error()), fmt.Appendf(nil, "%+v", err)}
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(files) != 2 {
		t.Fatalf("%q %v", files, err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(file)
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s %v %v", file, info.Mode(), err)
		}
		texts = append(texts, data)
	}
	for _, secret := range []crypto.Signer{key, c.key} {
		d, err := secret.(*ecdsa.PrivateKey).Bytes()
		if err != nil {
			t.Fatal(err)
		}
		for _, form := range [][]byte{d, fmt.Appendf(nil, "%x", d), []byte(encode(d)), fmt.Appendf(nil, "%d", d)} {
			if slices.ContainsFunc(texts, func(text []byte) bool { return bytes.Contains(text, form) }) {
				t.Error("a private key shows")
			}
		}
	}
}

// The owner of a challenge is the name below _acme-challenge, of a wildcard too.
func TestRecord(t *testing.T) {
	c := newClient(t, newFakeCA(t))
	for _, name := range []string{"example.org", "*.example.org"} {
		ch, err := c.record(task{name: name, challenge: &acme.Challenge{Token: "t"}})
		if err != nil || ch.Owner != domain.MustParse("_acme-challenge.example.org.") || len(ch.Value) != 43 {
			t.Errorf("%+v %v", ch, err)
		}
	}
}
