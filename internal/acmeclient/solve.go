package acmeclient

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/crypto/acme"

	"zonebuild/internal/domain"
)

// Challenge is a TXT record that proves a name: the owner _acme-challenge.NAME,
// and a digest of 43 characters.
type Challenge struct {
	Owner domain.Name `json:"owner"`
	Value string      `json:"value"`
}

// Solver publishes challenges. A name and its wildcard have one owner and two
// values, which must stand side by side.
type Solver interface {
	// Present puts a value beside those that are at the owner already; one that is
	// there is no error.
	Present(ctx context.Context, owner domain.Name, value string) error
	// Wait returns when whoever may be asked by the CA answers all of the challenges.
	Wait(ctx context.Context, all []Challenge) error
	// CleanUp removes this value and no other; one that is gone is no error.
	CleanUp(ctx context.Context, owner domain.Name, value string) error
}

const (
	maxToken = 255 // characters
	prefix   = "_acme-challenge."
	dns01    = "dns-01"
)

// task is an authorization that is to be proved.
type task struct {
	url       string
	name      string // with its "*."
	challenge *acme.Challenge
}

// solve proves all names of an order that are not proved yet. It presents all
// challenges, waits once, tells the CA, and cleans up whatever happens.
func (c *Client) solve(ctx context.Context, solver Solver, o *Order, got *acme.Order) error {
	tasks, err := c.tasks(ctx, o, got)
	if err != nil || len(tasks) == 0 {
		return err
	}
	var fresh []Challenge
	for _, t := range tasks {
		ch, err := c.record(t)
		if err != nil {
			return err
		}
		if !slices.Contains(fresh, ch) {
			fresh = append(fresh, ch)
		}
	}
	for _, ch := range fresh {
		if !slices.Contains(o.Challenges, ch) { // what an earlier run left is cleaned up too
			o.Challenges = append(o.Challenges, ch)
		}
	}
	if err := c.saveOrder(o); err != nil {
		return err
	}
	err = c.prove(ctx, solver, fresh, tasks)
	left := c.cleanUp(ctx, solver, o)
	if err == nil {
		return nil // a challenge that stays is no reason to go without a certificate; it is tried again
	}
	return together(err, left)
}

func (c *Client) prove(ctx context.Context, solver Solver, fresh []Challenge, tasks []task) error {
	for _, ch := range fresh {
		if err := solver.Present(ctx, ch.Owner, ch.Value); err != nil {
			return fmt.Errorf("present the challenge of %s: %w", ch.Owner, err)
		}
	}
	waiting, cancel := context.WithTimeout(ctx, c.limits.Wait)
	defer cancel()
	if err := solver.Wait(waiting, fresh); err != nil {
		return fmt.Errorf("wait for the challenges: %w", err)
	}
	for _, t := range tasks {
		if t.challenge.Status != acme.StatusPending {
			continue // the CA looks already
		}
		if err := c.answer(ctx, t); err != nil {
			return err
		}
	}
	var failed []error
	for _, t := range tasks {
		if err := c.await(ctx, t); err != nil {
			failed = append(failed, err)
			if !errors.Is(err, errInvalid) {
				break
			}
		}
	}
	return together(failed...)
}

// answer tells the CA that a challenge is there. A CA refuses to be told twice: when
// it does, the first time was heard, and only the reply to it was lost.
func (c *Client) answer(ctx context.Context, t task) error {
	err := c.try(ctx, "answer the challenge of "+t.name, func() error {
		_, err := c.acme.Accept(ctx, t.challenge)
		return err
	})
	if !errors.Is(err, ErrRefused) {
		return err
	}
	a, lookErr := c.acme.GetAuthorization(ctx, t.url)
	if lookErr != nil {
		return err
	}
	for _, ch := range a.Challenges {
		if ch.Type == dns01 && ch.Status == acme.StatusPending && a.Status == acme.StatusPending {
			return err
		}
	}
	return nil
}

// cleanUp removes all challenges of the order, even when the caller has given up.
func (c *Client) cleanUp(ctx context.Context, solver Solver, o *Order) error {
	if len(o.Challenges) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), c.limits.CleanUp)
	defer cancel()
	var left []Challenge
	var failed []error
	for _, ch := range o.Challenges {
		if err := solver.CleanUp(ctx, ch.Owner, ch.Value); err != nil {
			left = append(left, ch)
			failed = append(failed, fmt.Errorf("remove the challenge of %s: %w", ch.Owner, err))
		}
	}
	o.Challenges = left
	return together(failed...)
}

// tasks are the authorizations of an order that wait for a proof.
func (c *Client) tasks(ctx context.Context, o *Order, got *acme.Order) ([]task, error) {
	if n := len(got.AuthzURLs); n == 0 || n > len(o.Identifiers) {
		return nil, fmt.Errorf("look at the order: %w: %d authorizations for %d names", ErrMalformedByCA, n, len(o.Identifiers))
	}
	var tasks []task
	seen := map[string]bool{}
	for _, u := range got.AuthzURLs {
		var t task
		var status string
		err := c.try(ctx, "read an authorization", func() error {
			if err := c.checkURL("authorization URL", u); err != nil {
				return err
			}
			a, err := c.acme.GetAuthorization(ctx, u)
			if err != nil {
				return err
			}
			status = a.Status
			t, err = c.task(a, o.Identifiers)
			return err
		})
		if err != nil {
			return nil, err
		}
		if seen[t.name] {
			return nil, fmt.Errorf("read an authorization: %w: two for %s", ErrMalformedByCA, t.name)
		}
		seen[t.name] = true
		if status == acme.StatusPending {
			tasks = append(tasks, t)
		}
	}
	return tasks, nil
}

// task checks an authorization.
func (c *Client) task(a *acme.Authorization, wanted []string) (task, error) {
	name := strings.ToLower(a.Identifier.Value)
	if a.Wildcard {
		name = "*." + name
	}
	if a.Identifier.Type != "dns" || !slices.Contains(wanted, name) {
		return task{}, fmt.Errorf("%w: an authorization for %s, which was not asked for", ErrMalformedByCA, clean(name))
	}
	t := task{url: a.URI, name: name}
	switch a.Status {
	case acme.StatusValid:
		return t, nil
	case acme.StatusPending:
	case acme.StatusInvalid, acme.StatusExpired, acme.StatusDeactivated, acme.StatusRevoked:
		return t, c.refusal(a, name)
	default:
		return t, fmt.Errorf("%w: an authorization that is %q", ErrMalformedByCA, clean(a.Status))
	}
	for _, ch := range a.Challenges {
		if ch.Type != dns01 {
			continue
		}
		t.challenge = ch
		return t, checkToken(name, ch.Token)
	}
	return t, fmt.Errorf("%w: no dns-01 challenge for %s", ErrMalformedByCA, name)
}

// checkToken: RFC 8555 §8.3 has base64url characters only.
func checkToken(name, token string) error {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_'
	}
	if token == "" || len(token) > maxToken || strings.ContainsFunc(token, func(r rune) bool { return !plain(r) }) {
		return fmt.Errorf("%w: the token for %s is none: %q", ErrMalformedByCA, name, clean(token))
	}
	return nil
}

// record is the TXT record of a challenge.
func (c *Client) record(t task) (Challenge, error) {
	owner, err := domain.Parse(prefix + strings.TrimPrefix(t.name, "*."))
	if err != nil {
		return Challenge{}, fmt.Errorf("make the challenge of %s: %w", t.name, err)
	}
	value, err := c.acme.DNS01ChallengeRecord(t.challenge.Token)
	if err != nil {
		return Challenge{}, fmt.Errorf("make the challenge of %s: %w", t.name, err)
	}
	return Challenge{owner, value}, nil
}

// errInvalid marks an authorization that is lost for good.
var errInvalid = errors.New("the authorization is lost")

// lost is a name that was not proved, for whatever reason the CA gives.
type lost struct {
	name string
	*Problem
}

func (l *lost) Unwrap() []error { return []error{l.Problem, ErrValidation, errInvalid} }

// refusal is what the challenges of a failed authorization say.
func (c *Client) refusal(a *acme.Authorization, name string) error {
	for _, ch := range a.Challenges {
		var e *acme.Error
		if errors.As(ch.Error, &e) {
			p := problem(e, c.now())
			p.Identifier, p.Status = name, 0
			return &lost{name, p}
		}
	}
	return &lost{name, &Problem{Class: ErrUnauthorized, Identifier: name, Detail: "the authorization is " + clean(a.Status)}}
}

// await waits until the CA has made up its mind.
func (c *Client) await(ctx context.Context, t task) error {
	for p := c.pace(); ; {
		hearing, h := hear(ctx)
		var a *acme.Authorization
		err := c.try(ctx, "look at the authorization of "+t.name, func() (err error) {
			a, err = c.acme.GetAuthorization(hearing, t.url)
			return err
		})
		if err != nil {
			return err
		}
		switch a.Status {
		case acme.StatusValid:
			return nil
		case acme.StatusPending, acme.StatusProcessing:
		default:
			return c.refusal(a, t.name)
		}
		switch err := p.wait(ctx, h.retryAfter); {
		case err == errTooLong:
			return fmt.Errorf("%w: the authorization of %s is still %q after %s", ErrTemporary, t.name, clean(a.Status), c.limits.Issue)
		case err != nil:
			return fmt.Errorf("look at the authorization of %s: %w", t.name, err)
		}
	}
}
