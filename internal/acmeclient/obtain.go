package acmeclient

import (
	"context"
	"crypto"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/crypto/acme"
)

// Request is a certificate that is wanted.
type Request struct {
	Name        string            // of its record in the Store: one order at a time under each
	Identifiers []string          // names; a wildcard as *.NAME
	Key         crypto.Signer     // of the certificate, or
	CSR         []byte            // DER, made where the key is
	KeyRef      string            // what the caller calls the private key; it comes back with the certificate
	Profile     string            // "" = the CA's choice
	Replaces    *x509.Certificate // that this one renews (RFC 9773 §5); nil = none
	Issuer      string            // common name of the issuer at the top of the wanted chain; "" = the CA's first
	Beyond      bool              // also when there were too many orders for these names
}

// Errors about records.
var (
	ErrNoOrder    = errors.New("there is no order")
	ErrUnfinished = errors.New("an order for something else is not finished")
)

// errDead marks an order from which no certificate will come.
var errDead = errors.New("the order is lost")

func encode(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// Obtain orders a certificate and returns it, checked. An order under the same
// name for the same thing that was interrupted goes on; one for another thing is
// given up if it was not finalized yet, and is ErrUnfinished otherwise (Resume or
// Abandon it). The record stays until Forget, which the caller calls when it has
// stored the certificate: until then the same request gives the same certificate.
// The context bounds the whole; Limits bound only its parts.
//
// Errors: a Problem, the classes of this package, those of solver and Store,
// ErrTooManyFailures, ErrTooManyOrders, and the context's. After each the order can be tried again.
func (c *Client) Obtain(ctx context.Context, solver Solver, r Request) (*Certificate, error) {
	got, err := c.obtain(ctx, solver, r)
	if err != nil {
		return nil, fmt.Errorf("obtain %s: %w", r.Name, err)
	}
	return got, nil
}

func (c *Client) obtain(ctx context.Context, solver Solver, r Request) (*Certificate, error) {
	wanted, err := c.plan(r)
	if err != nil {
		return nil, err
	}
	old, found, err := c.Order(r.Name)
	if err != nil {
		return nil, err
	}
	if wanted.Account, err = c.Account(ctx); err != nil {
		return nil, err
	}
	switch {
	case !found:
	case sameOrder(&old, wanted):
		return c.drive(ctx, solver, &old, r.Beyond)
	case old.Phase == PhaseFinalizing || old.Phase == PhaseIssued:
		return nil, fmt.Errorf("%w: %v, %s", ErrUnfinished, old.Identifiers, old.Phase)
	default:
		if err := c.giveUp(ctx, solver, &old); err != nil {
			return nil, err
		}
	}
	if err := c.saveOrder(wanted); err != nil {
		return nil, err
	}
	return c.drive(ctx, solver, wanted, r.Beyond)
}

// plan is the record that a request begins with.
func (c *Client) plan(r Request) (*Order, error) {
	if err := checkName(r.Name); err != nil {
		return nil, err
	}
	names, err := identifiers(r.Identifiers)
	if err != nil {
		return nil, err
	}
	csr := r.CSR
	switch {
	case (r.Key != nil) == (csr != nil):
		return nil, errors.New("either a key or a certificate request is wanted")
	case r.Key != nil:
		if csr, err = NewCSR(r.Key, names); err != nil {
			return nil, err
		}
	}
	if _, err := checkCSR(csr, names, c.key.Public()); err != nil {
		return nil, fmt.Errorf("the certificate request: %w", err)
	}
	o := &Order{
		Name: r.Name, Directory: c.directory, Identifiers: names, Key: r.KeyRef, CSR: csr, Profile: r.Profile, Issuer: r.Issuer,
		Phase: PhaseNew, Created: c.now(),
	}
	if r.Replaces != nil {
		o.Replaces, _ = CertID(r.Replaces) // without an ID the CA cannot know it
	}
	return o, nil
}

// sameOrder reports whether an unfinished order is for what is wanted now.
func sameOrder(old, wanted *Order) bool {
	a, errA := x509.ParseCertificateRequest(old.CSR)
	b, errB := x509.ParseCertificateRequest(wanted.CSR)
	return errA == nil && errB == nil && sameKey(a.PublicKey, b.PublicKey) && slices.Equal(old.Identifiers, wanted.Identifiers) &&
		old.Directory == wanted.Directory && old.Account == wanted.Account && old.Profile == wanted.Profile && old.Key == wanted.Key
}

// Resume goes on with the order under a name, whatever it is for. Errors: ErrNoOrder.
func (c *Client) Resume(ctx context.Context, solver Solver, name string) (*Certificate, error) {
	got, err := c.resume(ctx, solver, name)
	if err != nil {
		return nil, fmt.Errorf("resume %s: %w", name, err)
	}
	return got, nil
}

func (c *Client) resume(ctx context.Context, solver Solver, name string) (*Certificate, error) {
	o, found, err := c.Order(name)
	switch {
	case err != nil:
		return nil, err
	case !found:
		return nil, ErrNoOrder
	case o.Directory != c.directory:
		return nil, fmt.Errorf("%w: it is at %s", ErrUnfinished, o.Directory)
	}
	account, err := c.Account(ctx)
	if err != nil {
		return nil, err
	}
	if account != o.Account {
		return nil, fmt.Errorf("%w: it is of the account %s", ErrUnfinished, clean(o.Account))
	}
	return c.drive(ctx, solver, &o, false)
}

// Forget removes the record of an order whose certificate is stored.
func (c *Client) Forget(name string) error {
	if err := checkName(name); err != nil {
		return err
	}
	return c.store.Remove(orderName(name))
}

// Abandon gives an order up: its challenges are removed, and its record.
func (c *Client) Abandon(ctx context.Context, solver Solver, name string) error {
	o, found, err := c.Order(name)
	if err != nil || !found {
		return err
	}
	return c.giveUp(ctx, solver, &o)
}

func (c *Client) giveUp(ctx context.Context, solver Solver, o *Order) error {
	if err := c.cleanUp(ctx, solver, o); err != nil {
		return together(err, c.saveOrder(o))
	}
	return c.Forget(o.Name)
}

// drive takes an order to its certificate, unless it failed too often, and
// remembers what became of it.
func (c *Client) drive(ctx context.Context, solver Solver, o *Order, beyond bool) (*Certificate, error) {
	if err := c.held(o, beyond); err != nil {
		return nil, err
	}
	got, err := c.revive(ctx, solver, o)
	if errors.Is(ctx.Err(), context.Canceled) {
		return got, err // neither the CA's fault nor the zone's
	}
	if noted := c.remember(o, got, err); noted != nil && err != nil {
		err = together(err, noted)
	} else if noted != nil {
		got.Notes = append(got.Notes, noted.Error())
	}
	return got, err
}

// revive is advance; an order that an earlier run made and that has died since is
// made anew, once.
func (c *Client) revive(ctx context.Context, solver Solver, o *Order) (*Certificate, error) {
	resumed := o.URL != ""
	got, err := c.advance(ctx, solver, o)
	if resumed && errors.Is(err, errDead) {
		o.note(c.cleanUp(ctx, solver, o))
		o.Phase, o.URL, o.Certificate, o.Created = PhaseNew, "", "", c.now()
		if err := c.saveOrder(o); err != nil {
			return nil, err
		}
		got, err = c.advance(ctx, solver, o)
	}
	if errors.Is(err, errDead) {
		err = together(err, c.giveUp(ctx, solver, o))
	}
	return got, err
}

// dead marks the error of an order from which nothing comes any more.
type dead struct{ error }

func (d dead) Unwrap() []error { return []error{d.error, errDead} }

func (c *Client) advance(ctx context.Context, solver Solver, o *Order) (*Certificate, error) {
	if o.Certificate != "" {
		return c.collect(ctx, o)
	}
	if o.URL == "" {
		o.Created = c.now()
		err := c.newOrder(ctx, o)
		if said := (*Problem)(nil); errors.As(err, &said) { // what it has not heard of it does not count
			err = together(err, c.noteOrder(o))
		}
		if err != nil {
			return nil, err
		}
		o.Phase = PhaseOrdered
		if err := c.saveOrder(o); err != nil {
			return nil, err
		}
		o.note(c.noteOrder(o))
	}
	solved, sent := false, false
	for p := c.pace(); ; {
		got, wait, err := c.look(ctx, o)
		if err != nil {
			return nil, gone(err)
		}
		if got.Status != acme.StatusPending { // a run that was killed may have left some
			o.note(c.cleanUp(ctx, solver, o))
		}
		switch {
		case got.Status == acme.StatusPending && !solved:
			if err := c.solve(ctx, solver, o, got); err != nil {
				if errors.Is(err, errInvalid) {
					return nil, dead{err}
				}
				return nil, together(err, c.saveOrder(o))
			}
			solved, p = true, c.pace()
			continue
		case got.Status == acme.StatusReady && !sent:
			o.Phase = PhaseFinalizing
			if err := c.saveOrder(o); err != nil {
				return nil, err
			}
			if err := c.finalize(ctx, got, o.CSR); err != nil {
				return nil, refused(err)
			}
			sent, p = true, c.pace()
			continue
		case got.Status == acme.StatusValid:
			if err := c.checkURL("certificate URL", got.CertURL); err != nil {
				return nil, fmt.Errorf("look at the order: %w", err)
			}
			o.Phase, o.Certificate = PhaseIssued, got.CertURL
			if err := c.saveOrder(o); err != nil {
				return nil, err
			}
			return c.collect(ctx, o)
		case got.Status == acme.StatusInvalid:
			return nil, c.invalid(got)
		case got.Status != acme.StatusPending && got.Status != acme.StatusReady && got.Status != acme.StatusProcessing:
			return nil, fmt.Errorf("look at the order: %w: it is %q", ErrMalformedByCA, clean(got.Status))
		}
		switch err := p.wait(ctx, wait); {
		case err == errTooLong:
			return nil, fmt.Errorf("look at the order: %w: it is still %q after %s", ErrTemporary, got.Status, c.limits.Issue)
		case err != nil:
			return nil, fmt.Errorf("look at the order: %w", err)
		}
	}
}

// gone marks the order as dead when the CA does not know it any more.
func gone(err error) error {
	var p *Problem
	if errors.As(err, &p) && p.Status == 404 {
		return dead{err}
	}
	return err
}

// refused marks the order as dead when the CA refused the request itself.
func refused(err error) error {
	var p *Problem
	if errors.As(err, &p) && (p.Class == ErrCSR || p.Class == ErrCAA || p.Class == ErrRejectedIdentifier) {
		return dead{err}
	}
	return err
}

func (c *Client) invalid(got *acme.Order) error {
	p := &Problem{Class: ErrRefused, Detail: "it is invalid"}
	if got.Error != nil {
		p = problem(got.Error, c.now())
		p.Status = 0
	}
	return dead{fmt.Errorf("look at the order: %w", p)}
}
