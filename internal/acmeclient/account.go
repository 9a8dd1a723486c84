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
// ErrTerms with their URL, ErrEAB, ErrAccountOver.
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
	if err != nil {
		return account, err
	}
	c.adopt(account.URL)
	account.Created = true
	return account, nil
}

// Find asks for the account of the key. Errors: ErrNoAccount, ErrAccountOver.
func (c *Client) Find(ctx context.Context) (Account, error) {
	a, err := c.find(ctx, c.acme)
	if err == nil {
		c.adopt(a.URL)
	}
	return a, err
}

// find asks with a key that need not be the client's.
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
	if errors.Is(err, ErrUnauthorized) { // a CA need not show an account that was deactivated
		err = over{err}
	}
	if err != nil {
		return Account{}, err
	}
	return c.accept(doing, a)
}

// over marks the error of an account that is of no use any more.
type over struct{ error }

func (o over) Unwrap() []error { return []error{o.error, ErrAccountOver} }

// accept checks an account that the CA sent.
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
		return account, over{fmt.Errorf("%s: %w: the account is %q", doing, ErrUnauthorized, account.Status)}
	}
	return account, nil
}

// adopt keeps the URL of the client's own account.
func (c *Client) adopt(url string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.account != url { // the library reads its own under another lock
		c.account, c.acme.KID = url, acme.KeyID(url)
	}
}

// Account is the URL of the key's account, as CAA records name it (RFC 8657 §3).
// It is asked for once. Errors: ErrNoAccount, ErrAccountOver.
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
		with := c.wrapped(c.key) // the library takes the new key as soon as the CA says yes
		with.KID = acme.KeyID(account)
		err = c.try(ctx, doing, func() error { return with.AccountKeyRollover(ctx, key) })
	} else {
		err = fmt.Errorf("%s: %w", doing, err)
	}
	// The answer may have been lost, in this process or in one before, and there are
	// CAs that say yes when the key is another account's: only the new key can tell.
	found, missing := c.find(ctx, c.wrapped(key))
	switch {
	case missing != nil && err != nil:
		return err
	case missing != nil:
		return fmt.Errorf("%s: %w", doing, missing)
	case account != "" && found.URL != account && err != nil:
		return err
	case account != "" && found.URL != account:
		return fmt.Errorf("%s: %w: the new key is that of the account %s", doing, ErrRefused, clean(found.URL))
	}
	account = found.URL
	c.key, c.acme = key, c.wrapped(key)
	c.adopt(account)
	c.acme.KID = acme.KeyID(account)
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
