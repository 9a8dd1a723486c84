package acmeclient

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math/bits"
	"strings"
	"time"
)

// CertID is the name of a certificate in renewal information (RFC 9773 §4.1): the
// key identifier of its authority and its serial number as DER has it.
func CertID(leaf *x509.Certificate) (string, error) {
	if len(leaf.AuthorityKeyId) == 0 {
		return "", errors.New("name the certificate: it has no authority key identifier")
	}
	der, err := asn1.Marshal(leaf.SerialNumber)
	if err != nil {
		return "", fmt.Errorf("name the certificate: %w", err)
	}
	var serial asn1.RawValue
	if _, err := asn1.Unmarshal(der, &serial); err != nil {
		return "", fmt.Errorf("name the certificate: %w", err)
	}
	return encode(leaf.AuthorityKeyId) + "." + encode(serial.Bytes), nil
}

// Bounds on how often the CA is asked when to renew (RFC 9773 §4.3).
const (
	askAtLeast   = time.Minute
	askAtMost    = 24 * time.Hour
	askByDefault = 6 * time.Hour
	askAfterFail = time.Hour // when it could not be asked at all
	shortLived   = 10 * 24 * time.Hour
	lastTwenty   = 20 // a window must leave a twentieth of the lifetime
)

// Renewal says when a certificate is to be renewed, and why then.
type Renewal struct {
	CertID   string    `json:"cert-id"`
	At       time.Time `json:"at"`              // due from here on
	Start    time.Time `json:"start,omitzero"`  // of the CA's window; zero = it named none that makes sense
	End      time.Time `json:"end,omitzero"`    // of the CA's window
	AskAgain time.Time `json:"ask-again"`       // the CA is not asked before
	Why      string    `json:"why,omitempty"`   // a URL of the CA's with the reason of the window, escaped
	Fault    string    `json:"fault,omitempty"` // why the CA's answer is not followed
}

// Due reports whether it is time.
func (r Renewal) Due(now time.Time) bool { return !now.Before(r.At) }

// ByLifetime is when a certificate is to be renewed that no CA knows better: when a
// third of its lifetime is left, or half if that is shorter than 10 days.
func ByLifetime(leaf *x509.Certificate) time.Time {
	life := leaf.NotAfter.Sub(leaf.NotBefore)
	left := life / 3
	if life < shortLived {
		left = life / 2
	}
	return leaf.NotAfter.Add(-left)
}

// window is a suggested window, read and checked.
type window struct {
	start, end time.Time
	why        string
}

// parseWindow reads renewal information (RFC 9773 §4.2).
func parseWindow(body []byte, leaf *x509.Certificate) (window, error) {
	var info struct {
		Window struct {
			Start time.Time `json:"start"`
			End   time.Time `json:"end"`
		} `json:"suggestedWindow"`
		Why string `json:"explanationURL"`
	}
	if err := json.Unmarshal(body, &info); err != nil {
		return window{}, fmt.Errorf("%w: %s", ErrMalformedByCA, clean(err.Error()))
	}
	w := window{info.Window.Start, info.Window.End, clean(info.Why)}
	latest := leaf.NotAfter.Add(-leaf.NotAfter.Sub(leaf.NotBefore) / lastTwenty)
	switch {
	case w.start.IsZero() || w.end.IsZero():
		return window{}, fmt.Errorf("%w: no window", ErrMalformedByCA)
	case !w.start.Before(w.end):
		return window{}, fmt.Errorf("%w: a window that ends before it begins", ErrMalformedByCA)
	case !w.start.Before(latest):
		return window{}, fmt.Errorf("%w: a window from %s, when it is too late", ErrMalformedByCA, stamp(w.start))
	case w.end.After(latest):
		w.end = latest
	}
	return w, nil
}

// pick is an instant of a window that depends on the seed alone, so that many who
// renew do not do so at the same time, and one who asks again gets the same.
func (w window) pick(seed []byte, id string) time.Time {
	h := sha256.New()
	fmt.Fprintf(h, "%d:%s%s %d %d", len(seed), seed, id, w.start.UnixNano(), w.end.UnixNano())
	random := binary.BigEndian.Uint64(h.Sum(nil))
	offset, _ := bits.Mul64(random, uint64(w.end.Sub(w.start))) // random/2^64 of it
	return w.start.Add(time.Duration(offset)).Truncate(time.Second)
}

// follow takes an answer of the CA into account.
func (r Renewal) follow(w window, seed []byte) Renewal {
	if !r.Start.Equal(w.start) || !r.End.Equal(w.end) || r.At.IsZero() {
		r.At = w.pick(seed, r.CertID)
	}
	r.Start, r.End, r.Why, r.Fault = w.start, w.end, w.why, ""
	return r
}

// fallBack is without an answer of the CA: a window that it named before still
// counts, and otherwise the lifetime does.
func (r Renewal) fallBack(leaf *x509.Certificate, why error) Renewal {
	r.Fault = ""
	if why != nil {
		r.Fault = why.Error()
	}
	if r.Start.IsZero() || r.At.IsZero() {
		r.At = ByLifetime(leaf).Truncate(time.Second)
	}
	return r
}

// Renewal says when a certificate is to be renewed: at an instant of the window that
// the CA suggests (RFC 9773), which the seed chooses, or by its lifetime when the CA
// suggests none. What it said is kept under the name, and it is asked again when it
// wants to be, within a minute and a day. Errors: those of the Store, and the
// context's; a CA that does not answer is no error but a Fault.
func (c *Client) Renewal(ctx context.Context, name string, leaf *x509.Certificate, seed []byte) (Renewal, error) {
	if err := checkName(name); err != nil {
		return Renewal{}, fmt.Errorf("ask when to renew: %w", err)
	}
	stored := "renewal-" + name
	var r Renewal
	if _, err := c.load(stored, &r); errors.Is(err, ErrDamaged) {
		r = Renewal{} // the CA says it again
	} else if err != nil {
		return Renewal{}, fmt.Errorf("ask when to renew %s: %w", name, err)
	}
	now := c.now()
	id, err := CertID(leaf)
	if err != nil {
		return Renewal{}.fallBack(leaf, err), nil
	}
	if r.CertID != id {
		r = Renewal{CertID: id}
	}
	if !r.At.IsZero() && now.Before(r.AskAgain) && r.AskAgain.Sub(now) <= askAtMost {
		return r, nil
	}
	w, wait, err := c.askWindow(ctx, id, leaf)
	if ctx.Err() != nil {
		return Renewal{}, fmt.Errorf("ask when to renew %s: %w", name, ctx.Err())
	}
	if err != nil {
		r = r.fallBack(leaf, err)
	} else {
		r = r.follow(w, seed)
	}
	r.AskAgain = now.Add(wait).UTC().Truncate(time.Second)
	return r, c.save(stored, r)
}

var errNoRenewalInfo = errors.New("the CA tells nobody when to renew")

func (c *Client) askWindow(ctx context.Context, id string, leaf *x509.Certificate) (window, time.Duration, error) {
	d, err := c.discover(ctx)
	if err != nil {
		return window{}, askAfterFail, err
	}
	if d.RenewalInfo == "" {
		return window{}, askByDefault, errNoRenewalInfo
	}
	hearing, h := hear(ctx)
	var w window
	err = c.try(hearing, "ask when to renew", func() error {
		r, err := c.get(hearing, strings.TrimSuffix(d.RenewalInfo, "/")+"/"+id)
		if err != nil {
			return err
		}
		w, err = parseWindow(r.body, leaf)
		return err
	})
	wait := askByDefault
	switch {
	case h.retryAfter > 0:
		wait = max(askAtLeast, min(h.retryAfter, askAtMost))
	case errors.Is(err, ErrTemporary):
		wait = askAfterFail
	}
	return w, wait, err
}
