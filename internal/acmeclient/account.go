package acmeclient

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/crypto/acme"
)

// EAB binds an account to one that the operator has with the CA (RFC 8555
// §7.3.4). Its key is a secret: it prints as its name.
type EAB struct {
	KeyID string
	Key   []byte // of the HMAC, decoded
}

// String names the key and does not show it.
func (e EAB) String() string { return fmt.Sprintf("external account %q", e.KeyID) }

// GoString is String, for %#v.
func (e EAB) GoString() string { return e.String() }

// Registration is what a new account is made of.
type Registration struct {
	Contact     []string // mailto: URLs; may be empty
	TermsAgreed bool     // to the terms that Directory names
	EAB         *EAB
}

// Account is an account at the CA.
type Account struct {
	URL     string
	Contact []string // escaped
	Status  string   // "valid", or it is of no use any more
	Created bool     // just now
}

const maxContacts = 10

// Register makes an account for the key, or finds the one that it has. Errors:
// ErrTerms with their URL, ErrEAB, ErrUnauthorized for one that was deactivated.
func (c *Client) Register(ctx context.Context, r Registration) (Account, error) {
	const doing = "register the account"
	if err := checkContact(r.Contact); err != nil {
		return Account{}, fmt.Errorf("%s: %w", doing, err)
	}
	d, err := c.discover(ctx)
	if err != nil {
		return Account{}, fmt.Errorf("%s: %w", doing, err)
	}
	if found, err := c.Find(ctx); err == nil || !errors.Is(err, ErrNoAccount) {
		return found, err
	}
	switch {
	case d.Meta.Terms != "" && !r.TermsAgreed:
		return Account{}, fmt.Errorf("%s: %w: %s", doing, ErrTerms, clean(d.Meta.Terms))
	case d.Meta.NeedsEAB && r.EAB == nil:
		return Account{}, fmt.Errorf("%s: %w", doing, ErrEAB)
	}
	a := &acme.Account{Contact: r.Contact}
	if r.EAB != nil {
		a.ExternalAccountBinding = &acme.ExternalAccountBinding{KID: r.EAB.KeyID, Key: r.EAB.Key}
	}
	var made *acme.Account
	err = c.try(ctx, doing, func() (err error) {
		made, err = c.acme.Register(ctx, a, acme.AcceptTOS)
		return err
	})
	if errors.Is(err, acme.ErrAccountAlreadyExists) || err == nil && made == nil {
		return c.Find(ctx)
	}
	if err != nil {
		return Account{}, err
	}
	account, err := c.accept(doing, made)
	account.Created = err == nil
	return account, err
}

// Find asks for the account of the key. Errors: ErrNoAccount.
func (c *Client) Find(ctx context.Context) (Account, error) {
	return c.find(ctx, c.acme)
}

func (c *Client) find(ctx context.Context, with *acme.Client) (Account, error) {
	const doing = "find the account"
	if _, err := c.discover(ctx); err != nil {
		return Account{}, fmt.Errorf("%s: %w", doing, err)
	}
	var a *acme.Account
	err := c.try(ctx, doing, func() (err error) {
		a, err = with.GetReg(ctx, "")
		return err
	})
	if err != nil {
		return Account{}, err
	}
	return c.accept(doing, a)
}

// accept takes an account that the CA sent.
func (c *Client) accept(doing string, a *acme.Account) (Account, error) {
	if err := c.checkURL("account URL", a.URI); err != nil {
		return Account{}, fmt.Errorf("%s: %w", doing, err)
	}
	account := Account{URL: a.URI, Status: clean(a.Status)}
	for i, contact := range a.Contact {
		if i == maxContacts {
			break
		}
		account.Contact = append(account.Contact, clean(contact))
	}
	if a.Status != acme.StatusValid {
		return account, fmt.Errorf("%s: %w: the account is %q", doing, ErrUnauthorized, account.Status)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.account, c.acme.KID = a.URI, acme.KeyID(a.URI)
	return account, nil
}

// Account is the URL of the key's account, as CAA records name it (RFC 8657 §3).
// It is asked for once. Errors: ErrNoAccount.
func (c *Client) Account(ctx context.Context) (string, error) {
	c.mu.Lock()
	known := c.account
	c.mu.Unlock()
	if known != "" {
		return known, nil
	}
	a, err := c.Find(ctx)
	return a.URL, err
}

// UpdateContact replaces the contacts. None at all is refused: the CA would keep
// the old ones.
func (c *Client) UpdateContact(ctx context.Context, contact []string) (Account, error) {
	const doing = "update the account"
	err := checkContact(contact)
	if err == nil && len(contact) == 0 {
		err = errors.New("no contact")
	}
	if err == nil {
		_, err = c.Account(ctx)
	}
	if err != nil {
		return Account{}, fmt.Errorf("%s: %w", doing, err)
	}
	err = c.try(ctx, doing, func() (err error) {
		_, err = c.acme.UpdateReg(ctx, &acme.Account{Contact: contact})
		return err
	})
	if err != nil {
		return Account{}, err
	}
	return c.Find(ctx)
}

// Deactivate ends the account for ever.
func (c *Client) Deactivate(ctx context.Context) error {
	const doing = "deactivate the account"
	if _, err := c.Account(ctx); err != nil {
		return fmt.Errorf("%s: %w", doing, err)
	}
	if err := c.try(ctx, doing, func() error { return c.acme.DeactivateReg(ctx) }); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.account, c.acme.KID = "", ""
	return nil
}

// RollOver gives the account another key (RFC 8555 §7.3.5). The caller has stored
// that key before, and puts it in the place of the old one afterwards. When it was
// killed between, RollOver from the old key succeeds again, as the account has
// the new one already.
func (c *Client) RollOver(ctx context.Context, key crypto.Signer) error {
	const doing = "change the account's key"
	if err := checkAccountKey(key.Public()); err != nil {
		return fmt.Errorf("%s: %w", doing, err)
	}
	d, err := c.discover(ctx)
	if err != nil {
		return fmt.Errorf("%s: %w", doing, err)
	}
	if d.KeyChange == "" {
		return fmt.Errorf("%s: %w: the CA has no keyChange", doing, ErrRefused)
	}
	account, err := c.Account(ctx)
	if err != nil && !errors.Is(err, ErrNoAccount) {
		return fmt.Errorf("%s: %w", doing, err)
	}
	if err == nil {
		err = c.try(ctx, doing, func() error { return c.acme.AccountKeyRollover(ctx, key) })
	} else {
		err = fmt.Errorf("%s: %w", doing, err)
	}
	if err != nil {
		// The answer may have been lost, in this process or in one before.
		with := c.wrapped(key)
		if found, findErr := c.find(ctx, with); findErr != nil || account != "" && found.URL != account {
			return err
		}
	}
	c.key = key
	c.acme = c.wrapped(key)
	c.mu.Lock()
	c.acme.KID = acme.KeyID(c.account)
	c.mu.Unlock()
	_, err = c.acme.Discover(ctx)
	return c.fault(doing, err)
}

func checkContact(contact []string) error {
	if len(contact) > maxContacts {
		return fmt.Errorf("more than %d contacts", maxContacts)
	}
	for _, one := range contact {
		address, ok := strings.CutPrefix(one, "mailto:")
		if !ok || !strings.Contains(address, "@") || strings.ContainsFunc(address, func(r rune) bool { return r <= ' ' || r > '~' || r == ',' || r == '?' }) {
			return fmt.Errorf("contact %q: mailto:NAME@DOMAIN is wanted", one)
		}
	}
	return nil
}
