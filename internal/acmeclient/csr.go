package acmeclient

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"slices"
	"strings"

	"zonebuild/internal/domain"
)

const maxIdentifiers = 100 // of a certificate, as of Let's Encrypt's

// ErrMustStaple says why a request with that extension (RFC 7633) is refused.
var ErrMustStaple = errors.New("it asks for must-staple, which no CA without OCSP can serve: a client that honours it would refuse the certificate")

// identifiers are the names of an order in the form of the protocol: A-labels in
// lower case without final dot, sorted. A wildcard has "*" as its first label.
func identifiers(names []string) ([]string, error) {
	if len(names) == 0 || len(names) > maxIdentifiers {
		return nil, fmt.Errorf("%d names, 1 to %d are wanted", len(names), maxIdentifiers)
	}
	out := make([]string, 0, len(names))
	for _, text := range names {
		n, err := domain.Parse(text)
		if err != nil {
			return nil, fmt.Errorf("name %w", err)
		}
		name := strings.TrimSuffix(n.String(), ".")
		if !isHost(strings.TrimPrefix(name, "*.")) {
			return nil, fmt.Errorf("name %q: a host name of two labels or more is wanted, or * before one", text)
		}
		out = append(out, name)
	}
	slices.Sort(out)
	if d := slices.Compact(slices.Clone(out)); len(d) != len(out) {
		return nil, errors.New("a name stands there twice")
	}
	return out, nil
}

// isHost reports whether a name is of letters, digits and hyphens and is no address.
func isHost(name string) bool {
	labels := strings.Split(name, ".")
	for _, l := range labels {
		if l == "" || l[0] == '-' || l[len(l)-1] == '-' {
			return false
		}
		for _, r := range l {
			if (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-' {
				return false
			}
		}
	}
	last := labels[len(labels)-1]
	return len(labels) > 1 && strings.ContainsFunc(last, func(r rune) bool { return r < '0' || r > '9' })
}

// NewCSR is a certificate request for the names, without common name. Errors: a
// name is none, the key is too weak or of no kind that certificates have.
func NewCSR(key crypto.Signer, names []string) ([]byte, error) {
	names, err := identifiers(names)
	if err == nil {
		err = checkCertificateKey(key.Public())
	}
	var csr []byte
	if err == nil {
		csr, err = x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{DNSNames: names}, key)
	}
	if err != nil {
		return nil, fmt.Errorf("make a certificate request: %w", err)
	}
	return csr, nil
}

// checkCSR says whether a request of the caller's asks for the names and nothing else.
func checkCSR(der []byte, names []string, account crypto.PublicKey) (*x509.CertificateRequest, error) {
	csr, err := x509.ParseCertificateRequest(der)
	if err != nil {
		return nil, err
	}
	if err := csr.CheckSignature(); err != nil {
		return nil, fmt.Errorf("its signature: %w", err)
	}
	if err := checkCertificateKey(csr.PublicKey); err != nil {
		return nil, err
	}
	if sameKey(csr.PublicKey, account) {
		return nil, errors.New("the account's key must not be a certificate's (RFC 8555 §11.1)")
	}
	for _, e := range csr.Extensions {
		if e.Id.Equal(asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 1, 24}) {
			return nil, ErrMustStaple
		}
	}
	if len(csr.IPAddresses)+len(csr.EmailAddresses)+len(csr.URIs) > 0 {
		return nil, errors.New("it asks for more than DNS names")
	}
	if err := sameNames(csr.DNSNames, names); err != nil {
		return nil, err
	}
	if cn := csr.Subject.CommonName; cn != "" && !slices.Contains(names, strings.ToLower(cn)) {
		return nil, fmt.Errorf("its common name %q is none of the names", clean(cn))
	}
	return csr, nil
}

// sameNames compares names without regard to order and case; want is sorted.
func sameNames(got, want []string) error {
	names := make([]string, len(got))
	for i, n := range got {
		names[i] = strings.ToLower(n)
	}
	slices.Sort(names)
	names = slices.Compact(names)
	for _, n := range names {
		if !slices.Contains(want, n) {
			return fmt.Errorf("it is for %s too", clean(n))
		}
	}
	for _, n := range want {
		if !slices.Contains(names, n) {
			return fmt.Errorf("it is not for %s", n)
		}
	}
	return nil
}

func checkCertificateKey(key crypto.PublicKey) error {
	switch key := key.(type) {
	case *rsa.PublicKey:
		if bits := key.N.BitLen(); bits < minRSABits || bits > maxRSABits {
			return fmt.Errorf("RSA key of %d bits, %d to %d are wanted", bits, minRSABits, maxRSABits)
		}
		return nil
	case *ecdsa.PublicKey:
		if _, _, known := algorithm(key); known && key.Curve.Params().BitSize >= 256 {
			return nil
		}
	case ed25519.PublicKey:
		return nil
	}
	return fmt.Errorf("a key of type %T", key)
}

func sameKey(a, b crypto.PublicKey) bool {
	k, ok := a.(interface{ Equal(crypto.PublicKey) bool })
	return ok && k.Equal(b)
}
