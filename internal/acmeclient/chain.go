package acmeclient

import (
	"bytes"
	"context"
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// Bounds of a certificate that is believed.
const (
	maxChain      = 10              // certificates that are sent
	maxAlternates = 5               // other chains that are looked at
	maxSkew       = 5 * time.Minute // by which a CA's clock may be ahead
	maxBackdate   = 48 * time.Hour  // by which a validity may begin before the order
	maxPEM        = 256 << 10       // octets of a chain
	chainType     = "application/pem-certificate-chain"
)

// Certificate is what was obtained, and checked.
type Certificate struct {
	Chain   []*x509.Certificate // the leaf first
	PEM     []byte              // the same
	URL     string              // at the CA
	Key     string              // Request.KeyRef
	Profile string              // that was asked for
	Notes   []string            // what did not stop it, such as that no chain had the wanted issuer
}

// expected is what a chain must be.
type expected struct {
	key   crypto.PublicKey
	names []string      // sorted
	since time.Time     // when it was ordered
	life  time.Duration // at most
	now   time.Time
}

// checkChain reads a chain and says whether it is exactly what was ordered
// (RFC 8555 §9.1: certificates and nothing else, each signed by the next).
func checkChain(text []byte, want expected) ([]*x509.Certificate, error) {
	chain, err := parseChain(text)
	if err == nil {
		if wrong := checkLeaf(chain[0], want); wrong != nil { // this certificate will not become another
			return nil, dead{fmt.Errorf("%w: %w", ErrMalformedByCA, wrong)}
		}
		err = checkIssuers(chain, want.now)
	}
	if err != nil { // the CA may send a better chain for it
		return nil, fmt.Errorf("%w: %w", ErrMalformedByCA, err)
	}
	return chain, nil
}

func parseChain(text []byte) ([]*x509.Certificate, error) {
	if len(text) > maxPEM {
		return nil, fmt.Errorf("a chain of more than %d octets", maxPEM)
	}
	var chain []*x509.Certificate
	for rest := bytes.TrimSpace(text); len(rest) > 0; rest = bytes.TrimSpace(rest) {
		if len(chain) == maxChain {
			return nil, fmt.Errorf("a chain of more than %d certificates", maxChain)
		}
		if !bytes.HasPrefix(rest, []byte("-----BEGIN ")) { // pem.Decode would skip it
			return nil, errors.New("the chain holds something else than PEM blocks")
		}
		begin := len(rest)
		block, after := pem.Decode(rest)
		if block == nil {
			return nil, errors.New("the chain holds a broken PEM block")
		}
		if block.Type != "CERTIFICATE" || len(block.Headers) > 0 {
			return nil, fmt.Errorf("the chain holds a PEM block %q", clean(block.Type))
		}
		// What pem.Decode skips or overlooks, others who read the file may not (RFC 8555 §9.1).
		if !bytes.Equal(squeezed(rest[:begin-len(after)]), squeezed(pem.EncodeToMemory(block))) {
			return nil, errors.New("the chain holds a broken PEM block")
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("certificate %d: %s", len(chain)+1, clean(strings.TrimPrefix(err.Error(), "x509: ")))
		}
		chain, rest = append(chain, c), after
	}
	if len(chain) == 0 {
		return nil, errors.New("a chain without a certificate")
	}
	return chain, nil
}

// squeezed is text without white space.
func squeezed(text []byte) []byte { return bytes.Join(bytes.Fields(text), nil) }

func checkLeaf(leaf *x509.Certificate, want expected) error {
	const refused = "the certificate is not what was ordered: "
	life := leaf.NotAfter.Sub(leaf.NotBefore)
	switch {
	case !sameKey(leaf.PublicKey, want.key):
		return errors.New(refused + "it is for another key")
	case len(leaf.UnhandledCriticalExtensions) > 0:
		return errors.New(refused + "it has a critical extension that nobody knows")
	case leaf.IsCA:
		return errors.New(refused + "it is a CA's")
	case len(leaf.IPAddresses)+len(leaf.EmailAddresses)+len(leaf.URIs) > 0:
		return errors.New(refused + "it is for more than DNS names")
	case leaf.Subject.CommonName != "" && !slices.Contains(want.names, strings.ToLower(leaf.Subject.CommonName)):
		return fmt.Errorf(refused+"its common name is %s", clean(leaf.Subject.CommonName))
	case len(leaf.ExtKeyUsage) > 0 && !slices.Contains(leaf.ExtKeyUsage, x509.ExtKeyUsageServerAuth) && !slices.Contains(leaf.ExtKeyUsage, x509.ExtKeyUsageAny):
		return errors.New(refused + "it is not for servers")
	case leaf.NotBefore.After(want.now.Add(maxSkew)):
		return fmt.Errorf(refused+"it is not valid before %s", stamp(leaf.NotBefore))
	case !leaf.NotAfter.After(want.now):
		return fmt.Errorf(refused+"it expired at %s", stamp(leaf.NotAfter))
	case leaf.NotBefore.Before(want.since.Add(-maxBackdate)):
		return fmt.Errorf(refused+"it is an old one, of %s", stamp(leaf.NotBefore))
	case life > want.life:
		return fmt.Errorf(refused+"it is valid for %d days, more than the %d of max-lifetime", int(life/(24*time.Hour)), int(want.life/(24*time.Hour)))
	}
	if err := sameNames(leaf.DNSNames, want.names); err != nil {
		return fmt.Errorf(refused+"%w", err)
	}
	return nil
}

func checkIssuers(chain []*x509.Certificate, now time.Time) error {
	for i, c := range chain[1:] {
		if now.Before(c.NotBefore.Add(-maxSkew)) || !now.Before(c.NotAfter) {
			return fmt.Errorf("certificate %d of the chain is not valid now", i+2)
		}
		if err := chain[i].CheckSignatureFrom(c); err != nil || !bytes.Equal(chain[i].RawIssuer, c.RawSubject) {
			return fmt.Errorf("certificate %d of the chain did not sign the one before it", i+2)
		}
	}
	return nil
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// collect fetches a certificate that was issued, checks it, and looks for a chain
// whose top has the wanted issuer.
func (c *Client) collect(ctx context.Context, o *Order) (*Certificate, error) {
	const doing = "fetch the certificate"
	csr, err := x509.ParseCertificateRequest(o.CSR)
	if err != nil {
		return nil, fmt.Errorf("%s: the stored request: %w", doing, err)
	}
	want := expected{key: csr.PublicKey, names: o.Identifiers, since: o.Created, life: c.limits.Lifetime}
	chain, alternates, err := c.fetchChain(ctx, o.Certificate, want)
	if err != nil {
		return nil, gone(err)
	}
	got := &Certificate{URL: o.Certificate, Key: o.Key, Profile: o.Profile, Chain: chain, Notes: o.notes}
	if o.Issuer != "" && !topIs(chain, o.Issuer) {
		c.chooseChain(ctx, got, o.Issuer, alternates, want)
	}
	for _, cert := range got.Chain {
		got.PEM = append(got.PEM, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw})...)
	}
	return got, nil
}

func topIs(chain []*x509.Certificate, issuer string) bool {
	return chain[len(chain)-1].Issuer.CommonName == issuer
}

func (c *Client) chooseChain(ctx context.Context, got *Certificate, issuer string, alternates []string, want expected) {
	for _, u := range alternates {
		other, _, err := c.fetchChain(ctx, u, want)
		switch {
		case err != nil:
			got.Notes = append(got.Notes, fmt.Sprintf("another chain: %v", err))
		case !bytes.Equal(other[0].Raw, got.Chain[0].Raw):
			got.Notes = append(got.Notes, "another chain: it is of another certificate")
		case topIs(other, issuer):
			got.Chain = other
			return
		}
	}
	got.Notes = append(got.Notes, fmt.Sprintf("no chain ends with the issuer %q", issuer))
}

// fetchChain fetches one chain and the URLs of the others (RFC 8555 §7.4.2).
func (c *Client) fetchChain(ctx context.Context, from string, want expected) (chain []*x509.Certificate, alternates []string, err error) {
	err = c.try(ctx, "fetch the certificate", func() error {
		r, err := c.post(ctx, from, nil, chainType)
		if err != nil {
			return err
		}
		want.now = c.now()
		if chain, err = checkChain(r.body, want); err != nil {
			return err
		}
		alternates = c.alternates(from, r.header)
		return nil
	})
	return chain, alternates, err
}

// alternates reads Link headers (RFC 8288): those with rel="alternate".
func (c *Client) alternates(from string, h http.Header) []string {
	base, err := url.Parse(from)
	if err != nil {
		return nil
	}
	var urls []string
	for _, line := range h.Values("Link") {
		for _, link := range strings.Split(line, ",") {
			target, params, ok := strings.Cut(strings.TrimSpace(link), ">")
			if !ok || !strings.HasPrefix(target, "<") || !isAlternate(params) {
				continue
			}
			u, err := base.Parse(target[1:])
			if err == nil && c.checkURL("alternate", u.String()) == nil && len(urls) < maxAlternates {
				urls = append(urls, u.String())
			}
		}
	}
	return urls
}

func isAlternate(params string) bool {
	for _, p := range strings.Split(params, ";") {
		name, value, _ := strings.Cut(strings.TrimSpace(p), "=")
		if strings.EqualFold(name, "rel") && slices.Contains(strings.Fields(strings.ToLower(strings.Trim(value, `"`))), "alternate") {
			return true
		}
	}
	return false
}
