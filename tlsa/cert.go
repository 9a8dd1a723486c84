package tlsa

import (
	"bytes"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

// Faults of what stands in a certificate file. Their texts never quote it.
var (
	ErrPrivateKey = errors.New("a private key: it does not belong here, move it away and replace the key")
	ErrEmpty      = errors.New("the file is empty")
)

// maxCertificates bounds a chain file.
const maxCertificates = 32

// ParseMaterial reads what a CERTFILE holds: in PEM a certificate, a chain of
// which the first is the leaf, a certificate request or a public key, or one of
// them in DER. Text around PEM blocks is passed over. Errors: ErrEmpty,
// ErrPrivateKey, and what else it may be.
func ParseMaterial(data []byte) (*Material, error) {
	switch {
	case len(bytes.TrimSpace(data)) == 0:
		return nil, ErrEmpty
	case bytes.Contains(data, []byte("PRIVATE KEY")):
		return nil, ErrPrivateKey
	case bytes.Contains(data, []byte("-----BEGIN ")):
		return parsePEM(data)
	}
	return parseDER(data)
}

func parsePEM(data []byte) (*Material, error) {
	begun := bytes.Count(data, []byte("-----BEGIN "))
	if begun > maxCertificates {
		return nil, fmt.Errorf("more than %d PEM blocks", maxCertificates)
	}
	var found []*Material
	for {
		var block *pem.Block
		if block, data = pem.Decode(data); block == nil {
			break
		}
		m, err := parseBlock(block)
		if err != nil {
			return nil, fmt.Errorf("PEM block %d: %w", len(found)+1, err)
		}
		found = append(found, m)
	}
	// pem.Decode passes over what is broken: a chain that is only half written.
	if len(found) != begun {
		return nil, fmt.Errorf("%d of %d PEM blocks are broken or cut short", begun-len(found), begun)
	}
	for _, m := range found[1:] {
		if m.Cert == nil || found[0].Cert == nil {
			return nil, fmt.Errorf("a %s and a %s in one file: one of them only, or a chain of certificates", found[0].Form, m.Form)
		}
		if m.issuer == found[0].subject && !bytes.Equal(m.Cert, found[0].Cert) {
			return nil, errors.New("the first certificate issued another one of the file: the leaf comes first")
		}
	}
	return found[0], nil
}

func parseBlock(b *pem.Block) (*Material, error) {
	switch b.Type {
	case "CERTIFICATE", "X509 CERTIFICATE":
		return parseCertificate(b.Bytes)
	case "CERTIFICATE REQUEST", "NEW CERTIFICATE REQUEST":
		return parseRequest(b.Bytes)
	case "PUBLIC KEY":
		return parsePublicKey(b.Bytes)
	case "RSA PUBLIC KEY":
		return nil, errors.New("a public key of PKCS #1: write it as PUBLIC KEY (openssl rsa -RSAPublicKey_in -pubout)")
	}
	return nil, errors.New("neither CERTIFICATE, CERTIFICATE REQUEST nor PUBLIC KEY")
}

// parseDER tells the three forms, and private keys, by how they begin.
func parseDER(der []byte) (*Material, error) {
	input := cryptobyte.String(der)
	var outer, first cryptobyte.String
	switch {
	case !input.ReadASN1(&outer, asn1.SEQUENCE) || !input.Empty():
		return nil, errDER
	case outer.PeekASN1Tag(asn1.INTEGER): // RFC 8017 A.1.2, RFC 5915 §3, RFC 5208 §5, PKCS #12
		return nil, ErrPrivateKey
	case outer.PeekASN1Tag(asn1.SEQUENCE):
		probe := outer
		if probe.ReadASN1(&first, asn1.SEQUENCE) && first.PeekASN1Tag(asn1.OBJECT_IDENTIFIER) {
			if probe.PeekASN1Tag(asn1.OCTET_STRING) { // RFC 5958 §3: an encrypted key
				return nil, ErrPrivateKey
			}
			return parsePublicKey(der)
		}
	}
	if m, err := parseRequest(der); err == nil {
		return m, nil
	}
	m, err := parseCertificate(der)
	if err != nil {
		return nil, errDER
	}
	return m, nil
}

// isClean reports whether a path of the map stays below its directory as it
// is written.
func isClean(name string) bool {
	if name == "" || strings.HasPrefix(name, "/") || strings.Contains(name, "\\") {
		return false
	}
	for part := range strings.SplitSeq(name, "/") {
		if part == "" || part == "." || part == ".." {
			return false
		}
	}
	return true
}
