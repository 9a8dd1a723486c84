package lines

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"zonebuild/internal/config"
	"zonebuild/internal/durable"
)

// Found is a certificate of another client, with its key.
type Found struct {
	Name  string // as that client calls it
	Chain []*x509.Certificate
	Key   crypto.Signer
	Made  time.Time // of the key's file
}

// Names are those in the certificate, sorted.
func (f Found) Names() []string { return sorted(f.Chain[0].DNSNames) }

// Certbot finds the certificates in a directory of certbot's (/etc/letsencrypt).
// Errors are of single ones, which are left out.
func Certbot(dir string) ([]Found, []error) {
	return findIn(filepath.Join(dir, "live"), func(name string) (string, string) { return "fullchain.pem", "privkey.pem" })
}

// ACMEsh finds the certificates in a directory of acme.sh's (~/.acme.sh).
func ACMEsh(dir string) ([]Found, []error) {
	return findIn(dir, func(name string) (string, string) {
		return "fullchain.cer", strings.TrimSuffix(name, "_ecc") + ".key"
	})
}

func findIn(dir string, files func(name string) (chain, key string)) (out []Found, faults []error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, []error{fmt.Errorf("import: %w", err)}
	}
	for _, e := range entries {
		if !e.IsDir() {
			continue
		}
		chainFile, keyFile := files(e.Name())
		f := Found{Name: e.Name()}
		data, _, err := durable.ReadFile(filepath.Join(dir, e.Name(), chainFile), maxPEM)
		if errors.Is(err, fs.ErrNotExist) {
			continue // no certificate, but something else of that client
		}
		if err == nil {
			f.Chain, err = ParseChain(data)
		}
		path := filepath.Join(dir, e.Name(), keyFile)
		if err == nil {
			f.Key, err = ReadKey(path)
		}
		if err == nil {
			err = belongs(f.Key, f.Chain[0])
		}
		if err != nil {
			faults = append(faults, fmt.Errorf("import %s: %w", e.Name(), err))
			continue
		}
		if info, err := os.Stat(path); err == nil {
			f.Made = info.ModTime()
		}
		out = append(out, f)
	}
	return out, faults
}

func belongs(key crypto.Signer, leaf *x509.Certificate) error {
	spki, err := spkiOf(key)
	if err == nil && !bytes.Equal(spki, leaf.RawSubjectPublicKeyInfo) {
		err = errors.New("the private key is not that of the certificate")
	}
	return err
}

// Adopt makes a certificate of another client the next generation of a line, mostly the
// first. The line must have none that is live, and the same names.
func Adopt(h *config.Hook, l config.Line, f Found, now time.Time) error {
	p := PathsOf(h, l.Name)
	files, err := p.Read(l)
	switch {
	case err != nil:
		return fmt.Errorf("import %s: %w", f.Name, err)
	case files.Live != nil:
		return fmt.Errorf("import %s: the line %s has a certificate", f.Name, l.Name)
	case l.CSR != "":
		return fmt.Errorf("import %s: the keys of the line %s are elsewhere", f.Name, l.Name)
	case !slices.Equal(f.Names(), sorted(l.Names)):
		return fmt.Errorf("import %s: it is for %s", f.Name, strings.Join(f.Names(), " "))
	}
	spki, err := spkiOf(f.Key)
	if err != nil {
		return fmt.Errorf("import %s: %w", f.Name, err)
	}
	made := f.Made
	if made.IsZero() || made.After(now) {
		made = now
	}
	k := &Key{ID: made.UTC().Format(keyTime) + "-" + hash(spki)[:8], Created: made, SPKI: spki}
	if err := writeKey(p.key(k.ID), f.Key, p.secret()); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("import %s: %w", f.Name, err)
	}
	number, err := p.fresh(files) // the generations of before, if there are some, stay
	if err != nil {
		return fmt.Errorf("import %s: %w", f.Name, err)
	}
	if err := p.install(l, f.Chain, k, number); err != nil {
		return fmt.Errorf("import %s: %w", f.Name, err)
	}
	return nil
}

// AccountKey finds the key of the account that another client has at a CA; nil if
// it has none. Errors: there are several, or one that cannot be read.
func AccountKey(client, dir, directory string) (crypto.Signer, error) {
	u, err := url.Parse(directory)
	if err != nil {
		return nil, fmt.Errorf("import the account: %w", err)
	}
	pattern := filepath.Join(dir, "ca", u.Host, u.Path, "account.key")
	if client == "certbot" {
		pattern = filepath.Join(dir, "accounts", u.Host, u.Path, "*", "private_key.json")
	}
	if strings.ContainsAny(dir+u.Host+u.Path, `*?[\`) {
		return nil, fmt.Errorf("import the account: %s: no such name of a directory", pattern)
	}
	files, err := filepath.Glob(pattern)
	switch {
	case err != nil:
		return nil, fmt.Errorf("import the account: %w", err)
	case len(files) == 0:
		return nil, nil
	case len(files) > 1:
		return nil, fmt.Errorf("import the account: there are %d at this CA: %s", len(files), strings.Join(files, ", "))
	}
	if client != "certbot" {
		return ReadKey(files[0])
	}
	data, _, err := durable.ReadFile(files[0], maxPEM)
	if err != nil {
		return nil, fmt.Errorf("import the account: %w", err)
	}
	key, err := parseJWK(data)
	if err != nil {
		return nil, fmt.Errorf("import the account %s: %w", files[0], err)
	}
	return key, nil
}

// parseJWK reads a private key as RFC 7518 §6 writes it. No error quotes what is in it.
func parseJWK(data []byte) (crypto.Signer, error) {
	var j struct{ Kty, Crv, N, E, D, P, Q string }
	bad := errors.New("it is no private key of RSA, P-256 or P-384 in JSON")
	if json.Unmarshal(data, &j) != nil {
		return nil, bad
	}
	number := func(s string) *big.Int {
		b, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(s, "="))
		if err != nil || len(b) > 2048 {
			return new(big.Int)
		}
		return new(big.Int).SetBytes(b)
	}
	switch j.Kty {
	case "RSA":
		e := number(j.E)
		if !e.IsInt64() || e.Int64() > 1<<31-1 {
			return nil, bad
		}
		k := &rsa.PrivateKey{
			PublicKey: rsa.PublicKey{N: number(j.N), E: int(e.Int64())}, D: number(j.D), Primes: []*big.Int{number(j.P), number(j.Q)},
		}
		if k.N.BitLen() < 2048 || k.Primes[0].Sign() == 0 || k.Primes[1].Sign() == 0 || k.Validate() != nil {
			return nil, bad
		}
		k.Precompute()
		return k, nil
	case "EC":
		curve := map[string]elliptic.Curve{"P-256": elliptic.P256(), "P-384": elliptic.P384()}[j.Crv]
		d := number(j.D)
		if curve == nil || d.BitLen() > curve.Params().BitSize {
			return nil, bad
		}
		k, err := ecdsa.ParseRawPrivateKey(curve, d.FillBytes(make([]byte, (curve.Params().BitSize+7)/8)))
		if err != nil {
			return nil, bad
		}
		return k, nil
	}
	return nil, bad
}
