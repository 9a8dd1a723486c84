package acmeclient

import (
	"context"
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"

	"golang.org/x/crypto/acme"
)

// Reason of a revocation (RFC 5280 §5.3.1), of those that a subscriber may give.
type Reason uint8

const (
	Unspecified          Reason = 0
	KeyCompromise        Reason = 1
	AffiliationChanged   Reason = 3
	Superseded           Reason = 4
	CessationOfOperation Reason = 5
)

// ParseReason reads a reason by its name in RFC 5280.
func ParseReason(s string) (Reason, error) {
	switch s {
	case "unspecified", "":
		return Unspecified, nil
	case "keyCompromise":
		return KeyCompromise, nil
	case "affiliationChanged":
		return AffiliationChanged, nil
	case "superseded":
		return Superseded, nil
	case "cessationOfOperation":
		return CessationOfOperation, nil
	}
	return 0, fmt.Errorf("reason %q: unspecified, keyCompromise, affiliationChanged, superseded or cessationOfOperation is wanted", s)
}

// Revoke revokes a certificate in the account's name, or with its own private key
// (key is not nil), which needs no account. One that is revoked already is no error.
func (c *Client) Revoke(ctx context.Context, leaf *x509.Certificate, reason Reason, key crypto.Signer) error {
	const doing = "revoke the certificate"
	d, err := c.discover(ctx)
	switch {
	case err != nil:
		return fmt.Errorf("%s: %w", doing, err)
	case d.RevokeCert == "":
		return fmt.Errorf("%s: %w: the CA has no revokeCert", doing, ErrRefused)
	case key == nil:
		_, err = c.Account(ctx)
	case !sameKey(leaf.PublicKey, key.Public()):
		err = errors.New("the key is not the certificate's")
	default:
		if _, _, known := algorithm(key.Public()); !known {
			err = fmt.Errorf("no request can be signed with a key of type %T: use the account", key.Public())
		}
	}
	if err != nil {
		return fmt.Errorf("%s: %w", doing, err)
	}
	return c.try(ctx, doing, func() error {
		return c.acme.RevokeCert(ctx, key, leaf.Raw, acme.CRLReasonCode(reason))
	})
}
