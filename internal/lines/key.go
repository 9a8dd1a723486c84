package lines

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"

	"zonebuild/internal/config"
	"zonebuild/internal/durable"
)

// maxPEM bounds a file of keys or certificates, in octets.
const maxPEM = 1 << 20

// keyTime stands in the name of a key: when it was made, which no copy changes.
const keyTime = "20060102T150405Z"

// NewKey makes a private key of a type of acmehook.toml.
func NewKey(kind string) (crypto.Signer, error) {
	switch kind {
	case "ecdsa-p256":
		return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case "ecdsa-p384":
		return ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	case "rsa-2048":
		return rsa.GenerateKey(rand.Reader, 2048)
	case "rsa-3072":
		return rsa.GenerateKey(rand.Reader, 3072)
	case "rsa-4096":
		return rsa.GenerateKey(rand.Reader, 4096)
	case "ed25519":
		_, key, err := ed25519.GenerateKey(rand.Reader)
		return key, err
	}
	return nil, fmt.Errorf("make a key: unknown type %q", kind)
}

// kindOf is the type of a public key, as in acmehook.toml; "" if it is none of these.
func kindOf(spki []byte) string {
	key, err := x509.ParsePKIXPublicKey(spki)
	if err != nil {
		return ""
	}
	switch key := key.(type) {
	case *ecdsa.PublicKey:
		return map[elliptic.Curve]string{elliptic.P256(): "ecdsa-p256", elliptic.P384(): "ecdsa-p384"}[key.Curve]
	case *rsa.PublicKey:
		return map[int]string{2048: "rsa-2048", 3072: "rsa-3072", 4096: "rsa-4096"}[key.N.BitLen()]
	case ed25519.PublicKey:
		return "ed25519"
	}
	return ""
}

// WriteKey writes a private key as PKCS #8, mode 0600, to a file that must not
// exist. Errors: fs.ErrExist.
func WriteKey(path string, key crypto.Signer) error {
	return writeKey(path, key, durable.Options{Mode: 0o600})
}

func writeKey(path string, key crypto.Signer, o durable.Options) error {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return fmt.Errorf("write the key %s: %w", path, err)
	}
	if err := durable.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("write the key %s: %w", path, err)
	}
	return durable.CreateFile(path, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), o)
}

// ReadKey reads a private key in PEM: PKCS #8, PKCS #1 or SEC 1. A file that others
// may read is refused, for then it is no secret. No error quotes what is in it.
func ReadKey(path string) (crypto.Signer, error) { return readKey(path, nil) }

// readKey is ReadKey of a file that a group may read too.
func readKey(path string, group *int) (crypto.Signer, error) {
	data, info, err := durable.ReadFile(path, maxPEM)
	switch {
	case err != nil:
		return nil, fmt.Errorf("read the key: %w", err)
	case info.Mode().Perm()&0o077 != 0 && !sharedWith(info, group):
		return nil, fmt.Errorf("read the key %s: its mode is %04o, others may read it: chmod 600", path, info.Mode().Perm())
	}
	key, err := ParseKey(data)
	if err != nil {
		return nil, fmt.Errorf("read the key %s: %w", path, err)
	}
	return key, nil
}

// sharedWith reports whether nobody but the owner and a group may read a file.
func sharedWith(info fs.FileInfo, group *int) bool {
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && group != nil && int(st.Gid) == *group && info.Mode().Perm()&0o037 == 0
}

// secret is how private keys of the line are written.
func (p Paths) secret() durable.Options {
	if p.Group != nil {
		return durable.Options{Mode: 0o640, Group: p.Group}
	}
	return durable.Options{Mode: 0o600}
}

// ownFile is how the files of a line are named where its keys are. A directory that
// the operator named may hold more, which is not the line's to change or remove.
var ownFile = regexp.MustCompile(`^([0-9]{8}T[0-9]{6}Z-[0-9a-f]{8}|combined-[0-9]{4,})\.pem$`)

// share lets the group of the line read its keys, also those from before it had one:
// files, their directory, and the way to it, unless the operator named one. The
// account's key and other lines' have modes of their own, and what anybody may read is
// no secret that a mode would mend: it is refused where it is read.
func (p Paths) share() error {
	if p.Group == nil {
		return nil
	}
	if err := durable.MkdirAll(p.Keys, 0o700); err != nil {
		return err
	}
	entries, err := os.ReadDir(p.Keys)
	if err == nil && !p.Apart {
		err = durable.Share(filepath.Dir(p.Keys), nil, 0o711)
	}
	if err == nil && !p.Apart {
		err = durable.Share(p.Keys, p.Group, 0o750)
	}
	for _, e := range entries {
		info, gone := e.Info()
		if err == nil && gone == nil && info.Mode().IsRegular() && info.Mode().Perm()&0o027 == 0 && ownFile.MatchString(e.Name()) {
			err = durable.Share(filepath.Join(p.Keys, e.Name()), p.Group, 0o640)
		}
	}
	return err
}

// ParseKey reads a private key in PEM, behind parameters if there are some.
func ParseKey(data []byte) (crypto.Signer, error) {
	for rest := data; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			return nil, errors.New("there is no private key in it")
		}
		var key any
		var err error
		switch block.Type {
		case "PRIVATE KEY":
			key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
		case "EC PRIVATE KEY":
			key, err = x509.ParseECPrivateKey(block.Bytes)
		case "RSA PRIVATE KEY":
			key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
		case "ENCRYPTED PRIVATE KEY":
			return nil, errors.New("it is encrypted")
		default:
			continue
		}
		signer, ok := key.(crypto.Signer)
		if err != nil || !ok {
			return nil, errors.New("it cannot be parsed")
		}
		return signer, nil
	}
}

func spkiOf(key crypto.Signer) ([]byte, error) { return x509.MarshalPKIXPublicKey(key.Public()) }

// newKey makes a key of the line and stores it.
func (p Paths) newKey(kind string, now time.Time) (*Key, error) {
	signer, err := NewKey(kind)
	if err != nil {
		return nil, err
	}
	spki, err := spkiOf(signer)
	if err != nil {
		return nil, fmt.Errorf("make a key: %w", err)
	}
	k := &Key{ID: now.UTC().Format(keyTime) + "-" + hash(spki)[:8], Created: now.UTC().Truncate(time.Second), SPKI: spki}
	return k, writeKey(p.key(k.ID), signer, p.secret())
}

// keyOf reads the key of an ID again. Errors: fs.ErrNotExist.
func (p Paths) keyOf(id string) (*Key, crypto.Signer, error) {
	if !regexp.MustCompile(`^[0-9A-Za-z-]+$`).MatchString(id) {
		return nil, nil, fmt.Errorf("read the key: %q names none", id)
	}
	signer, err := readKey(p.key(id), p.Group)
	if err != nil {
		return nil, nil, err
	}
	spki, err := spkiOf(signer)
	if err != nil {
		return nil, nil, fmt.Errorf("read the key %s: %w", p.key(id), err)
	}
	made, _, _ := strings.Cut(id, "-")
	created, _ := time.Parse(keyTime, made) // zero for one that somebody else named
	return &Key{ID: id, Created: created, SPKI: spki}, signer, nil
}

// LiveKey reads the private key of a generation. Errors: it is not here.
func (p Paths) LiveKey(g *Generation) (crypto.Signer, error) {
	switch {
	case g.KeyFault != "":
		return nil, errors.New(g.KeyFault)
	case g.Key == nil || g.Key.CSR != nil:
		return nil, errors.New("its private key is not here")
	}
	_, key, err := p.keyOf(g.Key.ID)
	return key, err
}

// requested reads the key of a certificate request; nil if the file is not there.
func requested(path string) (*Key, error) {
	if path == "" {
		return nil, nil
	}
	data, _, err := durable.ReadFile(path, maxPEM)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("read the certificate request: %w", err)
	}
	der := data
	if block, _ := pem.Decode(data); block != nil {
		der = block.Bytes
	}
	csr, err := x509.ParseCertificateRequest(der)
	if err != nil {
		return nil, fmt.Errorf("read the certificate request %s: it cannot be parsed", path)
	}
	spki := csr.RawSubjectPublicKeyInfo
	return &Key{ID: "csr-" + hash(spki)[:16], SPKI: spki, CSR: der}, nil
}

// Requests are the certificate requests of a line whose keys are elsewhere, in DER.
// Errors: none is there, or one cannot be read.
func Requests(l config.Line) (out [][]byte, err error) {
	for _, path := range []string{l.CSR, l.NextCSR} {
		k, err := requested(path)
		if err != nil {
			return nil, err
		}
		if k != nil {
			out = append(out, k.CSR)
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("read the certificate request %s: %w", l.CSR, fs.ErrNotExist)
	}
	return out, nil
}

// listKeys gives the IDs of the private keys that were made or taken over for a line.
func (p Paths) listKeys() ([]string, error) {
	entries, err := os.ReadDir(p.Keys)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("list the keys: %w", err)
	}
	var ids []string
	for _, e := range entries {
		if e.Type().IsRegular() && ownFile.MatchString(e.Name()) && !strings.HasPrefix(e.Name(), "combined-") {
			ids = append(ids, strings.TrimSuffix(e.Name(), ".pem"))
		}
	}
	return ids, nil
}
