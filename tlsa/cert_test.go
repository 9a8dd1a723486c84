package tlsa

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"zonebuild/internal/domain"
	"zonebuild/internal/durable"
	"zonebuild/internal/lab"
)

// keyKinds are the arguments by which openssl makes a key, by name.
var keyKinds = map[string][]string{
	"rsa": {"genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"}, "p256": {"genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"},
	"secp256k1": {"genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:secp256k1"}, "ed25519": {"genpkey", "-algorithm", "ED25519"}, "ed448": {"genpkey", "-algorithm", "ED448"},
}

// makeKey and makeCert leave NAME.key and NAME.pem in dir.
func makeKey(t testing.TB, dir, name string, args ...string) {
	lab.RunIn(t, dir, "openssl", append(args, "-out", name+".key")...)
}

func makeCert(t testing.TB, dir, name, host string, more ...string) {
	lab.RunIn(t, dir, "openssl", append([]string{"req", "-new", "-x509", "-key", name + ".key", "-out", name + ".pem", "-subj", "/CN=" + host, "-addext", "subjectAltName=DNS:" + host, "-days", "30"}, more...)...)
}

func read(t testing.TB, elem ...string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(elem...))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func material(t testing.TB, data []byte) *Material {
	t.Helper()
	m, err := ParseMaterial(data)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// TestAgainstTools: for each kind of key, and for certificate, request and
// public key in PEM and DER, the digests are those of openssl, and the printed
// lines of all usages, selectors and matching types those of ldns-dane.
func TestAgainstTools(t *testing.T) {
	lab.Need(t, "openssl", "ldns-dane")
	host := domain.MustParse("ok.signed.lab")
	for kind, args := range keyKinds {
		t.Run(kind, func(t *testing.T) {
			dir := t.TempDir()
			makeKey(t, dir, "k", args...)
			makeCert(t, dir, "k", "ok.signed.lab", "-set_serial", "-5")
			tool := func(args ...string) { lab.RunIn(t, dir, "openssl", args...) }
			tool("pkey", "-in", "k.key", "-pubout", "-out", "k.pub")
			tool("pkey", "-in", "k.key", "-pubout", "-outform", "DER", "-out", "pub.der")
			tool("x509", "-in", "k.pem", "-outform", "DER", "-out", "cert.der")
			tool("req", "-new", "-key", "k.key", "-subj", "/CN=ok.signed.lab", "-out", "k.csr")
			tool("req", "-in", "k.csr", "-outform", "DER", "-out", "csr.der")
			tool("x509", "-in", "k.pem", "-text", "-out", "text.pem")
			spki := strings.Fields(lab.RunIn(t, dir, "openssl", "dgst", "-sha256", "-r", "pub.der"))[0]

			for _, file := range []string{"k.pem", "text.pem", "cert.der", "k.csr", "csr.der", "k.pub", "pub.der"} {
				m := material(t, read(t, dir, file))
				r, err := Associate(DefaultKind, m)
				if err != nil || r.String() != "3 1 1 "+spki {
					t.Errorf("%s: %s, %v; openssl says %s", file, r, err, spki)
				}
				hasCert := strings.HasSuffix(file, ".pem") || file == "cert.der"
				if _, err := Associate(Kind{3, 0, 1}, m); (err == nil) != hasCert {
					t.Errorf("%s: selector 0: %v", file, err)
				}
				if hasCert && (!m.Covers(host) || m.Covers(domain.MustParse("x.signed.lab")) || !m.IsCA) {
					t.Errorf("%s: covers %t, names %q, CA %t", file, m.Covers(host), m.DNSNames, m.IsCA)
				}
			}
			m := material(t, read(t, dir, "k.pem"))
			for u := range uint8(4) {
				for s := range uint8(2) {
					for mt := range uint8(3) {
						k := Kind{u, s, mt}
						f := strings.Fields(k.String())
						want := lab.RunIn(t, dir, "ldns-dane", "-s", "-c", "k.pem", "create", "ok.signed.lab", "4443", f[0], f[1], f[2])
						r, err := Associate(k, m)
						owner, _ := Service{host, 4443, "tcp"}.Owner()
						if got := r.Text(owner, 3600) + "\n"; err != nil || got != want {
							t.Errorf("%s: %v\ngot  %sldns-dane %s", k, err, got, want)
						}
					}
				}
			}
			if kind == "ed448" || kind == "secp256k1" {
				return // crypto/x509 does not know the key
			}
			makeCert(t, dir, "k", "ok.signed.lab")
			block, _ := pem.Decode(read(t, dir, "k.pem"))
			c, err := x509.ParseCertificate(block.Bytes)
			if err != nil {
				t.Fatal(err)
			}
			if m := material(t, read(t, dir, "k.pem")); !bytes.Equal(m.SPKI, c.RawSubjectPublicKeyInfo) || !m.NotAfter.Equal(c.NotAfter) ||
				!m.NotBefore.Equal(c.NotBefore) || m.subject != string(c.RawSubject) || m.issuer != string(c.RawIssuer) || m.IsCA != c.IsCA {
				t.Errorf("another reading than crypto/x509's: %+v", m)
			}
		})
	}
}

// TestVectorRFC7671 is the key of RFC 7671 §9.
func TestVectorRFC7671(t *testing.T) {
	spki, err := hex.DecodeString("3059301306072A8648CE3D020106082A8648CE3D0301070342000471CB1F504F9E4B33971376C005445DACD33CD79A2881C3DED1981F18E7AAA76609DD0E4EF28265C82703030AD60C5DBA6FB8A9397AC0FCF06D424C885D484887")
	if err != nil {
		t.Fatal(err)
	}
	m := material(t, spki)
	for k, want := range map[Kind]string{
		{3, 1, 0}: strings.ToLower("3 1 0 " + hex.EncodeToString(spki)),
		{3, 1, 1}: "3 1 1 3fe246a848798236dd2ab78d39f0651d6b6e7ca8e2984012eb0a2e1ac8a87b72",
	} {
		if r, err := Associate(k, m); err != nil || r.String() != want {
			t.Errorf("%s: %s, %v", k, r, err)
		}
	}
	r, _ := Associate(Kind{3, 1, 2}, m)
	if s := r.String(); !strings.HasPrefix(s, "3 1 2 d4f5af01") || !strings.HasSuffix(s, "19a3214") || len(s) != 6+128 {
		t.Errorf("SHA-512: %s", s)
	}
}

// TestRefusals: what is no material is refused, and never quoted.
func TestRefusals(t *testing.T) {
	lab.Need(t, "openssl")
	dir := t.TempDir()
	tool := func(args ...string) { lab.RunIn(t, dir, "openssl", args...) }
	makeKey(t, dir, "ca", keyKinds["p256"]...)
	makeCert(t, dir, "ca", "ca")
	makeKey(t, dir, "leaf", keyKinds["p256"]...)
	tool("req", "-new", "-key", "leaf.key", "-subj", "/CN=leaf", "-out", "leaf.csr")
	tool("x509", "-req", "-in", "leaf.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-days", "3", "-out", "leaf.pem")
	tool("rsa", "-in", rsaKey(t, dir), "-RSAPublicKey_out", "-out", "pkcs1.pub")
	tool("pkey", "-in", "ca.key", "-outform", "DER", "-out", "pkcs8.der")
	tool("ec", "-in", "ca.key", "-outform", "DER", "-out", "sec1.der")
	tool("rsa", "-in", "rsa.key", "-traditional", "-outform", "DER", "-out", "pkcs1.der")
	tool("pkcs8", "-topk8", "-in", "ca.key", "-outform", "DER", "-passout", "pass:x", "-out", "encrypted.der")
	ca, leaf, csr, key := read(t, dir, "ca.pem"), read(t, dir, "leaf.pem"), read(t, dir, "leaf.csr"), read(t, dir, "ca.key")
	join := func(b ...[]byte) []byte { return bytes.Join(b, nil) }

	if got, want := material(t, join(leaf, ca)), material(t, leaf); !bytes.Equal(got.Cert, want.Cert) {
		t.Error("a full chain does not give its leaf")
	}
	material(t, join(ca, ca)) // self-signed, twice: no other one was issued by it
	for _, c := range []struct {
		name string
		data []byte
		want string
	}{
		{"nothing", nil, "the file is empty"},
		{"white space", []byte(" \n\t"), "the file is empty"},
		{"text", []byte("hello\n"), "not the DER of a certificate, a certificate request or a public key"},
		{"key", key, ErrPrivateKey.Error()},
		{"certificate and key", join(leaf, key), ErrPrivateKey.Error()},
		{"half a key", key[:60], ErrPrivateKey.Error()},
		{"PKCS #8", read(t, dir, "pkcs8.der"), ErrPrivateKey.Error()},
		{"SEC 1", read(t, dir, "sec1.der"), ErrPrivateKey.Error()},
		{"PKCS #1", read(t, dir, "pkcs1.der"), ErrPrivateKey.Error()},
		{"encrypted PKCS #8", read(t, dir, "encrypted.der"), ErrPrivateKey.Error()},
		{"reversed chain", join(ca, leaf), "the first certificate issued another one of the file: the leaf comes first"},
		{"mixed", join(leaf, csr), "a certificate and a certificate request in one file: one of them only, or a chain of certificates"},
		{"cut short", leaf[:len(leaf)-30], "1 of 1 PEM blocks are broken or cut short"},
		{"second cut short", join(leaf, ca[:200]), "1 of 2 PEM blocks are broken or cut short"},
		{"PKCS #1 public key", read(t, dir, "pkcs1.pub"), "PEM block 1: a public key of PKCS #1: write it as PUBLIC KEY (openssl rsa -RSAPublicKey_in -pubout)"},
		{"other block", pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: []byte{48, 0}}), "PEM block 1: neither CERTIFICATE, CERTIFICATE REQUEST nor PUBLIC KEY"},
		{"wrong label", pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: material(t, leaf).Cert}), "PEM block 1: not the DER of a public key"},
		{"no key in it", pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY"}), "PEM block 1: not the DER of a public key"},
		{"many blocks", bytes.Repeat(leaf, maxCertificates+1), "more than 32 PEM blocks"},
	} {
		m, err := ParseMaterial(c.data)
		if err == nil || err.Error() != c.want {
			t.Errorf("%s: %+v, %v\nwant %s", c.name, m, err, c.want)
		}
	}
}

func rsaKey(t testing.TB, dir string) string {
	makeKey(t, dir, "rsa", keyKinds["rsa"]...)
	return "rsa.key"
}

func TestCovers(t *testing.T) {
	for _, c := range []struct {
		pattern, host string
		want          bool
	}{
		{"mail.example.org", "MAIL.example.org", true}, {"*.example.org", "mail.example.org", true}, {"*.example.org", "a.mail.example.org", false},
		{"*.example.org", "example.org", false}, {"*", "org", false}, {"*.org", "example.org", false}, {"m*.example.org", "mail.example.org", false},
		{"mail.example.org.", "mail.example.org", true}, {"", "mail.example.org", false}, {"mail.example.org\x00.evil", "mail.example.org", false},
	} {
		m := &Material{DNSNames: []string{c.pattern}}
		if got := m.Covers(domain.MustParse(c.host)); got != c.want {
			t.Errorf("%q covers %s: %t", c.pattern, c.host, got)
		}
	}
}

// TestStore: links inside the directory are followed, nothing else is, and a
// file that is being replaced is read until it stands still.
func TestStore(t *testing.T) {
	lab.Need(t, "openssl")
	base := t.TempDir()
	dir := filepath.Join(base, "certs")
	for _, d := range []string{"live/x", "archive/x"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	var pems [2][]byte
	for i, name := range []string{"a", "b"} {
		makeKey(t, base, name, keyKinds["p256"]...)
		makeCert(t, base, name, "x")
		pems[i] = read(t, base, name+".pem")
		must(os.WriteFile(filepath.Join(dir, "archive/x/"+name+".pem"), pems[i], 0o644))
	}
	must(os.Symlink("../../archive/x/a.pem", filepath.Join(dir, "live/x/cert.pem")))
	must(os.Symlink(filepath.Join(base, "a.pem"), filepath.Join(dir, "absolute")))
	must(os.Symlink("../a.pem", filepath.Join(dir, "outside")))
	must(os.Symlink("loop", filepath.Join(dir, "loop")))
	must(os.Symlink("gone", filepath.Join(dir, "dangling")))
	must(syscall.Mkfifo(filepath.Join(dir, "fifo"), 0o644))
	must(os.WriteFile(filepath.Join(dir, "large"), bytes.Repeat([]byte("x"), maxCertFile+1), 0o644))
	must(os.WriteFile(filepath.Join(dir, "empty"), nil, 0o644))

	s, err := OpenStore(dir)
	must(err)
	defer s.Close()
	m, err := s.Read("live/x/cert.pem")
	if err != nil || !bytes.Equal(m.SPKI, material(t, pems[0]).SPKI) {
		t.Errorf("through a link: %v", err)
	}
	for name, want := range map[string]error{
		"gone": fs.ErrNotExist, "dangling": fs.ErrNotExist, "absolute": ErrOutside, "outside": ErrOutside, "../a.pem": ErrOutside, "/etc/passwd": ErrOutside, "": ErrOutside,
		"fifo": durable.ErrNotRegular, "live": durable.ErrNotRegular, "large": durable.ErrTooLarge, "empty": ErrEmpty, "loop": syscall.ELOOP,
	} {
		if _, err := s.Read(name); !errors.Is(err, want) || strings.Contains(err.Error(), base) {
			t.Errorf("%q: %v, want %v", name, err, want)
		}
	}

	link := filepath.Join(dir, "live/x/cert.pem")
	turn := func(to string) {
		must(os.Symlink("../../archive/x/"+to, link+".new"))
		must(os.Rename(link+".new", link))
	}
	times := 0
	s.stir = func() {
		if times++; times <= 3 {
			turn([]string{"a.pem", "b.pem"}[times%2])
		}
	}
	m, err = s.Read("live/x/cert.pem")
	if err != nil || times < 4 || !bytes.Equal(m.SPKI, material(t, pems[1]).SPKI) {
		t.Errorf("a link that was switched 3 times: %v after %d readings", err, times)
	}
	times = 3 // b stands there
	s.stir = func() { times++; turn([]string{"a.pem", "b.pem"}[times%2]) }
	if _, err = s.Read("live/x/cert.pem"); !errors.Is(err, ErrUnstable) {
		t.Errorf("a link that never stands still: %v", err)
	}
}

// FuzzParseMaterial: no file crashes the reader; what it gives is a part of
// what it was given, and its digest is not that of nothing.
func FuzzParseMaterial(f *testing.F) {
	spki, _ := hex.DecodeString("302a300506032b65700321006c8f4a4953ccf51f0751795bc3e686d5b002c0250935aac7e13469358d59f3f0")
	f.Add(spki)
	f.Add(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: spki}))
	f.Add([]byte("-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n"))
	f.Add([]byte("\x30\x82\x01\x00\x30\x82"))
	empty := sha256.Sum256(nil)
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := ParseMaterial(data)
		if err != nil {
			return
		}
		r, err := Associate(DefaultKind, m)
		if err != nil || r.Data == string(empty[:]) || !isSPKI(m.SPKI) {
			t.Errorf("%q: %s, %v", data, r, err)
		}
		if m.Cert != nil && !bytes.Contains(m.Cert, m.SPKI) {
			t.Errorf("%q: the key is not the certificate's", data)
		}
		m.Covers(domain.MustParse("x.example"))
	})
}
