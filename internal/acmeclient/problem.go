package acmeclient

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"golang.org/x/crypto/acme"

	"zonebuild/internal/diag"
)

// Classes of errors. What the CA said is a Problem that wraps one of them.
var (
	ErrRateLimited        = errors.New("rate limited")
	ErrUnauthorized       = errors.New("unauthorized")
	ErrCAA                = errors.New("forbidden by CAA")
	ErrValidation         = errors.New("validation failed") // the CA did not see the challenge
	ErrRejectedIdentifier = errors.New("identifier rejected")
	ErrCSR                = errors.New("certificate request refused")
	ErrNoAccount          = errors.New("no such account")
	ErrAccountOver        = errors.New("the account was deactivated") // for ever; always with ErrUnauthorized
	ErrEAB                = errors.New("external account binding wanted")
	ErrTerms              = errors.New("terms of service not agreed to")
	ErrProfile            = errors.New("no such profile")
	ErrAlreadyReplaced    = errors.New("certificate replaced already")
	ErrOrderNotReady      = errors.New("order not ready")
	ErrRevocation         = errors.New("revocation refused")
	ErrRefused            = errors.New("refused by the CA") // any other refusal
	ErrTemporary          = errors.New("failed for the moment")
	ErrMalformedByCA      = errors.New("malformed by the CA")
)

// Bounds of the CA's text in an error.
const (
	maxText = 500 // octets of one text
	maxSubs = 20  // subproblems that are told
)

// Problem is a refusal of the CA (RFC 8555 §6.7).
type Problem struct {
	Class      error     // one of this package's
	Status     int       // of HTTP; 0 = it stood in an order or a challenge
	Type       string    // as the CA wrote it, escaped
	Detail     string    // as the CA wrote it, escaped and cut
	Identifier string    // that it is about; "" = all
	Until      time.Time // not to be asked again before; zero = it did not say
	Sub        []Problem // per identifier
}

// Error is one line: class, type, detail, subproblems, and until when to wait.
func (p *Problem) Error() string {
	var b strings.Builder
	p.write(&b)
	if !p.Until.IsZero() {
		fmt.Fprintf(&b, ", not before %s", p.Until.UTC().Format(time.RFC3339))
	}
	return b.String()
}

func (p *Problem) write(b *strings.Builder) {
	if p.Identifier != "" {
		b.WriteString(p.Identifier + ": ")
	}
	b.WriteString(p.Class.Error())
	if p.Type != "" {
		fmt.Fprintf(b, " (%s)", strings.TrimPrefix(p.Type, acmeErrors))
	} else if p.Status != 0 {
		fmt.Fprintf(b, " (status %d)", p.Status)
	}
	if p.Detail != "" {
		b.WriteString(": " + p.Detail)
	}
	for i := range p.Sub {
		b.WriteString("; ")
		p.Sub[i].write(b)
	}
}

// Unwrap gives the class.
func (p *Problem) Unwrap() error { return p.Class }

const acmeErrors = "urn:ietf:params:acme:error:"

// classes maps the types of RFC 8555 §6.7, RFC 9773 §5 and the profiles draft.
var classes = map[string]error{
	"ratelimited": ErrRateLimited, "unauthorized": ErrUnauthorized, "caa": ErrCAA,
	"dns": ErrValidation, "connection": ErrValidation, "incorrectresponse": ErrValidation, "tls": ErrValidation,
	"rejectedidentifier": ErrRejectedIdentifier, "unsupportedidentifier": ErrRejectedIdentifier,
	"badcsr": ErrCSR, "badpublickey": ErrCSR, "accountdoesnotexist": ErrNoAccount, "externalaccountrequired": ErrEAB,
	"invalidprofile": ErrProfile, "alreadyreplaced": ErrAlreadyReplaced, "ordernotready": ErrOrderNotReady, "useractionrequired": ErrTerms,
	"badrevocationreason": ErrRevocation, "alreadyrevoked": ErrRevocation, "serverinternal": ErrTemporary, "badnonce": ErrTemporary,
}

func classOf(typ string, status int) error {
	class := classes[strings.ToLower(typ[strings.LastIndexByte(typ, ':')+1:])]
	switch {
	case status == 429:
		return ErrRateLimited
	case class != nil:
		return class
	case status >= 500:
		return ErrTemporary
	}
	return ErrRefused
}

// problem is the library's error as ours.
func problem(e *acme.Error, now time.Time) *Problem {
	p := &Problem{Class: classOf(e.ProblemType, e.StatusCode), Status: e.StatusCode, Type: clean(e.ProblemType), Detail: clean(e.Detail)}
	if e.Header != nil {
		if wait := retryAfter(e.Header.Get("Retry-After"), now); wait > 0 {
			p.Until = now.Add(wait)
		}
	}
	for i, s := range e.Subproblems {
		if i == maxSubs {
			break
		}
		sub := Problem{Class: classOf(s.Type, 0), Type: clean(s.Type), Detail: clean(s.Detail)}
		if s.Identifier != nil {
			sub.Identifier = clean(s.Identifier.Value)
		}
		if p.Class == ErrRefused { // such as "compound": the parts say more
			p.Class = sub.Class
		}
		p.Sub = append(p.Sub, sub)
	}
	return p
}

// clean is text of the CA fit for a line of a log.
func clean(s string) string {
	cut := len(s) > maxText
	if cut {
		s = s[:maxText]
	}
	s = diag.Escape(s)
	if cut {
		s += "..."
	}
	return s
}

// fault gives an error of the library or of the network its class.
func (c *Client) fault(doing string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", doing, c.classify(err))
}

func (c *Client) classify(err error) error {
	var (
		ours *Problem
		said *acme.Error
		sent *url.Error
	)
	switch {
	case errors.As(err, &ours), errors.Is(err, ErrMalformedByCA), errors.Is(err, ErrTemporary):
		if errors.As(err, &sent) {
			return sent.Err // without the URL
		}
		return err
	case errors.As(err, &said):
		return problem(said, c.now())
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err
	case errors.Is(err, acme.ErrNoAccount):
		return ErrNoAccount
	case errors.Is(err, acme.ErrAccountAlreadyExists):
		return err
	case errors.As(err, &sent):
		return fmt.Errorf("%w: %s", ErrTemporary, clean(sent.Err.Error()))
	}
	return fmt.Errorf("%w: %s", ErrMalformedByCA, clean(strings.TrimPrefix(err.Error(), "acme: ")))
}

// try takes a step of the protocol, which may be repeated: again when it failed
// for the moment and the CA does not want to be left alone for long.
func (c *Client) try(ctx context.Context, doing string, step func() error) error {
	pause := c.limits.Pause
	for n := 1; ; n++ {
		err := c.fault(doing, step())
		if err == nil || n >= c.limits.Tries || !errors.Is(err, ErrTemporary) {
			return err
		}
		wait := pause
		var p *Problem
		if errors.As(err, &p) && !p.Until.IsZero() {
			if wait = max(wait, p.Until.Sub(c.now())); wait > c.limits.MaxPoll {
				return err
			}
		}
		if sleep(ctx, wait) != nil {
			return err
		}
		pause *= 2
	}
}

// together is all of the errors on one line; nil when there are none.
func together(errs ...error) error {
	errs = slices.DeleteFunc(errs, func(err error) bool { return err == nil })
	switch len(errs) {
	case 0:
		return nil
	case 1:
		return errs[0]
	}
	return several(errs)
}

type several []error

func (s several) Error() string {
	texts := make([]string, len(s))
	for i, err := range s {
		texts[i] = err.Error()
	}
	return strings.Join(texts, "; ")
}

func (s several) Unwrap() []error { return s }

// sleep waits, or ends with the context.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
