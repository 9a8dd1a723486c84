package starttls

import (
	"context"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"zonebuild/internal/lab"
)

// TestFakesSpeak: the fake servers hold the dialogues of openssl's client, so
// what our client can do with the fakes is the protocol.
func TestFakesSpeak(t *testing.T) {
	lab.Need(t, "openssl")
	names := map[Protocol]string{XMPPClient: "xmpp"}
	config := &tls.Config{Certificates: []tls.Certificate{selfSigned(t, "host.example")}}
	for protocol, dialogue := range fakes() {
		t.Run(protocol.String(), func(t *testing.T) {
			served := make(chan error, 1)
			addr := listen(t, func(conn net.Conn) { served <- serve(conn, dialogue, config) })
			args := []string{"s_client", "-connect", addr.String(), "-brief"}
			if protocol != Direct {
				name := protocol.String()
				if other, ok := names[protocol]; ok {
					name = other
				}
				args = append(args, "-starttls", name, "-name", "host.example")
			}
			said, ok := lab.Try(t, "openssl", args...)
			if !ok || !strings.Contains(said, "CONNECTION ESTABLISHED") {
				t.Fatalf("openssl %s: %s", strings.Join(args, " "), said)
			}
			if err := <-served; err != nil {
				t.Fatalf("the server: %v", err)
			}
		})
	}
}

// makeKey makes a key and a certificate of its own in files of a directory.
func makeKey(t *testing.T, dir, name string, key ...string) {
	t.Helper()
	args := append([]string{"req", "-x509", "-nodes", "-subj", "/CN=host.example", "-days", "2",
		"-keyout", filepath.Join(dir, name+".key"), "-out", filepath.Join(dir, name+".pem"), "-newkey"}, key...)
	lab.Run(t, "openssl", args...)
}

func der(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(b)
	if block == nil {
		t.Fatalf("%s: no PEM", path)
	}
	return block.Bytes
}

// serverOf runs openssl s_server until the test ends.
func serverOf(t *testing.T, args ...string) netip.AddrPort {
	t.Helper()
	for range 5 {
		port := lab.FreePort(t)
		addr := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(port))
		cmd := exec.Command("openssl", append([]string{"s_server", "-accept", addr.String(), "-quiet", "-www"}, args...)...)
		var said strings.Builder
		cmd.Stdout, cmd.Stderr = &said, &said
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		ended := make(chan struct{})
		go func() { cmd.Wait(); close(ended) }()
		stop := func() { cmd.Process.Kill(); <-ended }
		for end := time.Now().Add(20 * time.Second); time.Now().Before(end); {
			if c, err := net.Dial("tcp", addr.String()); err == nil {
				c.Close()
				t.Cleanup(stop)
				return addr
			}
			select {
			case <-ended: // another was quicker at the port, or it cannot at all
				end = time.Time{}
			case <-time.After(5 * time.Millisecond):
			}
		}
		stop()
		if !strings.Contains(said.String(), "in use") {
			t.Fatalf("openssl s_server %s: %s", strings.Join(args, " "), said.String())
		}
	}
	t.Fatal("openssl s_server finds no port")
	return netip.AddrPort{}
}

// TestKeys: what each key of a real server gives, with each version of TLS.
func TestKeys(t *testing.T) {
	lab.Need(t, "openssl")
	dir := t.TempDir()
	for name, args := range map[string][]string{
		"rsa":       {"rsa:2048"},
		"rsa512":    {"rsa:512"},
		"rsapss":    {"rsa-pss", "-pkeyopt", "rsa_keygen_bits:2048"},
		"p256":      {"ec", "-pkeyopt", "ec_paramgen_curve:P-256"},
		"p521":      {"ec", "-pkeyopt", "ec_paramgen_curve:P-521"},
		"p224":      {"ec", "-pkeyopt", "ec_paramgen_curve:P-224"},
		"secp256k1": {"ec", "-pkeyopt", "ec_paramgen_curve:secp256k1"},
		"brainpool": {"ec", "-pkeyopt", "ec_paramgen_curve:brainpoolP256r1"},
		"explicit":  {"ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-pkeyopt", "ec_param_enc:explicit"},
		"ed25519":   {"ed25519"},
		"ed448":     {"ed448"},
	} {
		makeKey(t, dir, name, args...)
	}
	makeDSA(t, dir)
	lab.Run(t, "openssl", "req", "-x509", "-nodes", "-subj", "/CN=host.example", "-days", "2", "-set_serial", "-5",
		"-key", filepath.Join(dir, "p256.key"), "-out", filepath.Join(dir, "negative.pem"))
	lab.Run(t, "openssl", "pkey", "-in", filepath.Join(dir, "p256.key"), "-out", filepath.Join(dir, "negative.key"))

	old := []string{"-cipher", "ALL:@SECLEVEL=0"}
	tests := []struct {
		name    string
		key     string
		server  []string
		want    KeyType
		version uint16 // 0: not looked at
		shown   string // the name of the key; "": no chain
		err     error
		text    string // in the error
	}{
		{name: "rsa 1.3", key: "rsa", version: tls.VersionTLS13, shown: "RSA-2048"},
		{name: "rsa 1.2", key: "rsa", server: []string{"-tls1_2"}, version: tls.VersionTLS12, shown: "RSA-2048"},
		{name: "rsa 1.1", key: "rsa", server: append([]string{"-tls1_1"}, old...), version: tls.VersionTLS11, shown: "RSA-2048"},
		{name: "rsa 1.0", key: "rsa", server: append([]string{"-tls1"}, old...), version: tls.VersionTLS10, shown: "RSA-2048"},
		{name: "rsa key exchange", key: "rsa", server: []string{"-tls1_2", "-cipher", "AES128-SHA"}, version: tls.VersionTLS12, shown: "RSA-2048"},
		{name: "p256 1.0", key: "p256", server: append([]string{"-tls1"}, old...), version: tls.VersionTLS10, shown: "P-256"},
		{name: "p521", key: "p521", shown: "P-521"},
		{name: "ed25519", key: "ed25519", version: tls.VersionTLS13, shown: "Ed25519"},
		{name: "ed25519 1.2", key: "ed25519", server: []string{"-tls1_2"}, version: tls.VersionTLS12, shown: "Ed25519"},
		{name: "client certificate 1.3", key: "rsa", server: []string{"-Verify", "1"}, version: tls.VersionTLS13, shown: "RSA-2048"},
		{name: "client certificate 1.2", key: "rsa", server: []string{"-Verify", "1", "-tls1_2"}, version: tls.VersionTLS12, shown: "RSA-2048"},
		{name: "client certificate without proof", key: "rsa", server: []string{"-Verify", "1", "-tls1_2", "-cipher", "AES128-SHA"},
			shown: "RSA-2048", err: ErrHandshake, text: "handshake failed: the server's alert is: handshake failure"},

		{name: "rsa wanted", key: "rsa", want: RSA, version: tls.VersionTLS12, shown: "RSA-2048"},
		{name: "ecdsa wanted", key: "p256", want: ECDSA, version: tls.VersionTLS12, shown: "P-256"},
		{name: "ecdsa wanted, of both", key: "rsa", server: []string{"-dcert", "p256.pem", "-dkey", "p256.key"}, want: ECDSA, version: tls.VersionTLS12, shown: "P-256"},
		{name: "rsa wanted, of both", key: "rsa", server: []string{"-dcert", "p256.pem", "-dkey", "p256.key"}, want: RSA, version: tls.VersionTLS12, shown: "RSA-2048"},
		{name: "ecdsa wanted of rsa", key: "rsa", want: ECDSA, err: ErrNoSuchKey, text: "no key of that type: handshake failed: the server's alert is: handshake failure"},
		{name: "rsa wanted of ecdsa", key: "p256", want: RSA, err: ErrNoSuchKey, text: "no key of that type"},
		{name: "rsa wanted of 1.3", key: "rsa", server: []string{"-tls1_3"}, want: RSA, err: ErrHandshake, text: "protocol version"},
		{name: "ecdsa wanted of ed448", key: "ed448", want: ECDSA, shown: "Ed448", err: ErrUnsupportedKey, text: "unsupported key: Ed448"},

		{name: "ed448", key: "ed448", shown: "Ed448", err: ErrUnsupportedKey, text: "unsupported key: Ed448"},
		{name: "ed448 1.3 alone", key: "ed448", server: []string{"-tls1_3"}, err: ErrUnsupportedKey, text: "unsupported key: one of TLS 1.3 that is neither RSA, ECDSA nor Ed25519"},
		{name: "ed448 1.3 alone, no X25519", key: "ed448", server: []string{"-tls1_3", "-groups", "P-521"}, err: ErrUnsupportedKey, text: "unsupported key: one of TLS 1.3"},
		{name: "rsa 1.3 alone, X448 alone", key: "rsa", server: []string{"-tls1_3", "-groups", "X448"}, err: ErrHandshake, text: "handshake failed: the server's alert is: handshake failure"},
		{name: "secp256k1", key: "secp256k1", shown: "secp256k1", err: ErrUnsupportedKey, text: "unsupported key: secp256k1"},
		{name: "brainpool", key: "brainpool", shown: "brainpoolP256r1", err: ErrUnsupportedKey, text: "unsupported key: brainpoolP256r1"},
		{name: "p224", key: "p224", shown: "P-224", err: ErrUnsupportedKey, text: "unsupported key: P-224"},
		{name: "explicit curve", key: "explicit", shown: "EC with parameters of its own", err: ErrUnsupportedKey, text: "unsupported key: EC with parameters of its own"},
		{name: "rsapss", key: "rsapss", shown: "RSASSA-PSS", err: ErrUnsupportedKey, text: "unsupported key: RSASSA-PSS"},
		{name: "dsa", key: "dsa", server: append([]string{"-tls1_2"}, old...), shown: "DSA", err: ErrUnsupportedKey, text: "unsupported key: DSA"},
		{name: "rsa512", key: "rsa512", server: old, shown: "RSA-512", err: ErrUnsupportedKey, text: "unsupported key: RSA-512"},

		{name: "negative serial", key: "negative", shown: "P-256", err: ErrCertificate, text: "unreadable certificate: number 1 of 1: x509: negative serial number"},
		{name: "dhe alone", key: "rsa", server: []string{"-tls1_2", "-cipher", "DHE-RSA-AES128-GCM-SHA256"}, shown: "RSA-2048",
			err: ErrHandshake, text: "handshake failed: the server's alert is: handshake failure; a client with more algorithms is offered cipher suite 0x009E"},
		{name: "sha-1 signatures alone", key: "rsa", server: append([]string{"-tls1_2", "-sigalgs", "RSA+SHA1"}, old...), shown: "RSA-2048", err: ErrHandshake},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Chdir(dir)
			args := append([]string{"-cert", test.key + ".pem", "-key", test.key + ".key"}, test.server...)
			addr := serverOf(t, args...)
			s, err := Dial(context.Background(), addr, Options{ServerName: "host.example", KeyType: test.want, Timeout: 10 * time.Second})
			if !errors.Is(err, test.err) || err != nil && !strings.Contains(err.Error(), test.text) {
				t.Fatalf("error %v\nwant  %v: %s", err, test.err, test.text)
			}
			if s.Key != test.shown || test.version != 0 && s.Version != test.version {
				t.Errorf("key %q, version %x; want %q, %x", s.Key, s.Version, test.shown, test.version)
			}
			if (len(s.Chain) > 0) != (test.shown != "") {
				t.Fatalf("a chain of %d", len(s.Chain))
			}
			if len(s.Chain) > 0 && !holds(t, dir, s.Chain[0]) {
				t.Error("the chain is not of these certificates")
			}
		})
	}

	t.Run("negative serial, allowed", func(t *testing.T) {
		t.Chdir(dir)
		t.Setenv("GODEBUG", "x509negativeserial=1")
		addr := serverOf(t, "-cert", "negative.pem", "-key", "negative.key")
		if s, err := Dial(context.Background(), addr, Options{}); err != nil || s.Version != tls.VersionTLS13 {
			t.Errorf("%v, version %x", err, s.Version)
		}
	})
	t.Run("sha-1 signatures, allowed", func(t *testing.T) {
		t.Chdir(dir)
		t.Setenv("GODEBUG", "tlssha1=1")
		addr := serverOf(t, append([]string{"-cert", "rsa.pem", "-key", "rsa.key", "-tls1_2", "-sigalgs", "RSA+SHA1"}, old...)...)
		if _, err := Dial(context.Background(), addr, Options{}); err != nil {
			t.Error(err)
		}
	})
}

func makeDSA(t *testing.T, dir string) {
	t.Helper()
	params := filepath.Join(dir, "dsa.params")
	lab.Run(t, "openssl", "genpkey", "-genparam", "-algorithm", "DSA", "-pkeyopt", "dsa_paramgen_bits:1024", "-out", params)
	makeKey(t, dir, "dsa", "dsa:"+params)
}

// holds says whether one of the files of a directory is the certificate.
func holds(t *testing.T, dir string, want []byte) bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.pem"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no certificate: %v", err)
	}
	for _, f := range files {
		if string(der(t, f)) == string(want) {
			return true
		}
	}
	return false
}
