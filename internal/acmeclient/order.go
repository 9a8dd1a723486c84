package acmeclient

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/crypto/acme"
)

// Phase is how far an order has come. It is written before the step that it names.
type Phase string

const (
	PhaseNew        Phase = "new"        // nothing of it is known to the CA, or what is was never heard of
	PhaseOrdered    Phase = "ordered"    // its URL is known; authorizations are on their way
	PhaseFinalizing Phase = "finalizing" // the CA may have the request; the certificate may be there
	PhaseIssued     Phase = "issued"     // the certificate's URL is known
)

// Order is the record of an order on its way, as the Store keeps it.
type Order struct {
	Name        string      `json:"name"`
	Directory   string      `json:"directory"`
	Account     string      `json:"account"`
	Identifiers []string    `json:"identifiers"`
	Key         string      `json:"key"` // the caller's reference to the private key
	CSR         []byte      `json:"csr"` // DER
	Profile     string      `json:"profile,omitempty"`
	Replaces    string      `json:"replaces,omitempty"` // RFC 9773 §5
	Issuer      string      `json:"issuer,omitempty"`
	Phase       Phase       `json:"phase"`
	Created     time.Time   `json:"created"`
	URL         string      `json:"url,omitempty"`
	Certificate string      `json:"certificate,omitempty"` // URL
	Challenges  []Challenge `json:"challenges,omitempty"`  // that may be published

	notes []string // what went wrong and did not matter
}

func (o *Order) note(err error) {
	if err != nil {
		o.notes = append(o.notes, err.Error())
	}
}

func orderName(name string) string { return "order-" + name }

// Order is the record under a name; ok is false when there is none. Errors: ErrDamaged,
// which only Forget ends.
func (c *Client) Order(name string) (o Order, ok bool, err error) {
	if err := checkName(name); err != nil {
		return Order{}, false, err
	}
	ok, err = c.load(orderName(name), &o)
	if ok && (o.Name != name || len(o.Identifiers) == 0 || len(o.CSR) == 0) {
		return Order{}, false, fmt.Errorf("load %s: %w: it is no record of an order", orderName(name), ErrDamaged)
	}
	return o, ok, err
}

func (c *Client) saveOrder(o *Order) error { return c.save(orderName(o.Name), o) }

// newOrder asks the CA for an order (RFC 8555 §7.4). What a CA has against
// `replaces` must not keep a certificate from being renewed: whatever it refuses an
// order for, it is asked once more without.
func (c *Client) newOrder(ctx context.Context, o *Order) error {
	const doing = "order a certificate"
	d, err := c.discover(ctx)
	if err != nil {
		return fmt.Errorf("%s: %w", doing, err)
	}
	if _, known := d.Meta.Profiles[o.Profile]; o.Profile != "" && !known {
		return fmt.Errorf("%s: %w: %q, the CA has %s", doing, ErrProfile, o.Profile, profileNames(d))
	}
	err = c.try(ctx, doing, func() error { return c.sendOrder(ctx, d.NewOrder, o) })
	if err != nil && o.Replaces != "" && aboutReplaces(err) {
		o.Replaces = ""
		err = c.try(ctx, doing, func() error { return c.sendOrder(ctx, d.NewOrder, o) })
	}
	return err
}

func profileNames(d *directory) string {
	var names []string
	for name := range d.Meta.Profiles {
		names = append(names, clean(name))
	}
	slices.Sort(names)
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}

// aboutReplaces reports whether a refusal may be for the certificate that is to be
// replaced: one of another account or CA, one that is replaced already, a field that the
// CA stumbles over. CAs say so in many words, so it is any but "not now".
func aboutReplaces(err error) bool {
	var p *Problem
	return errors.As(err, &p) && (p.Class == ErrAlreadyReplaced || p.Class != ErrRateLimited && p.Until.IsZero())
}

type identifier struct {
	Type  string `json:"type"`
	Value string `json:"value"`
}

func (c *Client) sendOrder(ctx context.Context, url string, o *Order) error {
	body := struct {
		Identifiers []identifier `json:"identifiers"`
		Profile     string       `json:"profile,omitempty"`
		Replaces    string       `json:"replaces,omitempty"`
	}{Profile: o.Profile, Replaces: o.Replaces}
	for _, name := range o.Identifiers {
		body.Identifiers = append(body.Identifiers, identifier{"dns", name})
	}
	r, err := c.post(ctx, url, body, "")
	if err != nil {
		return err
	}
	location := r.header.Get("Location")
	if err := c.checkURL("Location of the order", location); err != nil {
		return err
	}
	var got struct {
		Identifiers []identifier `json:"identifiers"`
		Profile     string       `json:"profile"`
	}
	if err := json.Unmarshal(r.body, &got); err != nil {
		return err
	}
	var names []string
	for _, i := range got.Identifiers {
		if i.Type != "dns" {
			return fmt.Errorf("%w: an order for a %q", ErrMalformedByCA, clean(i.Type))
		}
		names = append(names, i.Value)
	}
	if err := sameNames(names, o.Identifiers); err != nil {
		return fmt.Errorf("%w: the order is not what was asked for: %w", ErrMalformedByCA, err)
	}
	if got.Profile != "" && o.Profile != "" && got.Profile != o.Profile {
		return fmt.Errorf("%w: the order is not what was asked for: its profile is %q", ErrMalformedByCA, clean(got.Profile))
	}
	o.URL = location
	return nil
}

// look asks how an order is; wait is when the CA wants to be asked again.
func (c *Client) look(ctx context.Context, o *Order) (got *acme.Order, wait time.Duration, err error) {
	ctx, h := hear(ctx)
	err = c.try(ctx, "look at the order", func() error {
		var err error
		if got, err = c.acme.GetOrder(ctx, o.URL); err != nil {
			return err
		}
		var names []string
		for _, id := range got.Identifiers {
			names = append(names, id.Value)
		}
		if err := sameNames(names, o.Identifiers); err != nil {
			return fmt.Errorf("%w: the order is not what was asked for: %w", ErrMalformedByCA, err)
		}
		return nil
	})
	return got, h.retryAfter, err
}

// finalize sends the certificate request. An order that the CA has finalized
// before is no error: looking at it tells.
func (c *Client) finalize(ctx context.Context, got *acme.Order, csr []byte) error {
	const doing = "finalize the order"
	if err := c.checkURL("finalize URL", got.FinalizeURL); err != nil {
		return fmt.Errorf("%s: %w", doing, err)
	}
	err := c.try(ctx, doing, func() error {
		_, err := c.post(ctx, got.FinalizeURL, struct {
			CSR b64 `json:"csr"`
		}{csr}, "")
		return err
	})
	if errors.Is(err, ErrOrderNotReady) {
		return nil
	}
	return err
}

// b64 is octets in base64url without padding, as ACME writes them.
type b64 []byte

func (b b64) MarshalText() ([]byte, error) { return []byte(encode(b)), nil }

// pace is the wait before the next look at something the CA works on: growing,
// at least as the CA asks, bounded.
type pace struct {
	limits Limits
	next   time.Duration
	end    time.Time // by the clock of the machine: it is not about what time it is
}

func (c *Client) pace() *pace {
	return &pace{limits: c.limits, next: c.limits.Poll, end: time.Now().Add(c.limits.Issue)}
}

// wait waits; errTooLong when all of the time is over.
func (p *pace) wait(ctx context.Context, asked time.Duration) error {
	if !time.Now().Before(p.end) {
		return errTooLong
	}
	d := min(max(p.next, asked), p.limits.MaxPoll)
	p.next = min(p.next*3/2, p.limits.MaxPoll)
	return sleep(ctx, d)
}

var errTooLong = errors.New("too long")
