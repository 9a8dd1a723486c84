package starttls

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"fmt"
	"testing"
)

// FuzzKey: of a certificate that crypto/x509 reads, the key is the same; of
// none does reading fail but by giving no name.
func FuzzKey(f *testing.F) {
	f.Add(selfSigned(f, "host.example").Certificate[0])
	f.Add([]byte{0x30, 0x02, 0x30, 0x00})
	f.Fuzz(func(t *testing.T, der []byte) {
		name, usable := keyOf(der)
		if name == "" && !usable {
			t.Error("a key without a name cannot be called unsupported")
		}
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			return
		}
		want := name
		switch k := cert.PublicKey.(type) {
		case *rsa.PublicKey:
			want = fmt.Sprintf("RSA-%d", k.N.BitLen())
		case *ecdsa.PublicKey:
			want = k.Params().Name
		case ed25519.PublicKey:
			want = "Ed25519"
		}
		if name != want {
			t.Errorf("key %q, want %q", name, want)
		}
	})
}
