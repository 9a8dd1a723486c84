package acmeclient

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"

	"golang.org/x/crypto/acme"
)

// Bounds of a directory's lists.
const (
	maxProfiles = 64
	maxCAA      = 64
)

// Directory is what a CA says of itself (RFC 8555 §7.1.1). Its text is escaped.
type Directory struct {
	Terms       string            // URL of the terms of service; "" = none
	CAA         []string          // domains that stand for it in CAA records
	NeedsEAB    bool              // an account needs an external account binding
	Profiles    map[string]string // their names, with a description or its URL
	RenewalInfo bool              // it tells when to renew (RFC 9773)
}

// directory is the directory as it was sent.
type directory struct {
	NewNonce    string `json:"newNonce"`
	NewAccount  string `json:"newAccount"`
	NewOrder    string `json:"newOrder"`
	RevokeCert  string `json:"revokeCert"`
	KeyChange   string `json:"keyChange"`
	RenewalInfo string `json:"renewalInfo"`
	Meta        struct {
		Terms    string            `json:"termsOfService"`
		CAA      []string          `json:"caaIdentities"`
		NeedsEAB bool              `json:"externalAccountRequired"`
		Profiles map[string]string `json:"profiles"`
	} `json:"meta"`
}

// Directory asks the CA for its directory, once.
func (c *Client) Directory(ctx context.Context) (Directory, error) {
	d, err := c.discover(ctx)
	if err != nil {
		return Directory{}, err
	}
	public := Directory{Terms: clean(d.Meta.Terms), NeedsEAB: d.Meta.NeedsEAB, Profiles: map[string]string{}, RenewalInfo: d.RenewalInfo != ""}
	for _, name := range d.Meta.CAA {
		public.CAA = append(public.CAA, clean(name))
	}
	for name, text := range d.Meta.Profiles {
		public.Profiles[clean(name)] = clean(text)
	}
	return public, nil
}

func (c *Client) discover(ctx context.Context) (*directory, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.known != nil {
		return c.known, nil
	}
	var d directory
	err := c.try(ctx, "read the CA's directory", func() error {
		r, err := c.get(ctx, c.directory)
		if err != nil {
			return err
		}
		d = directory{}
		if err := json.Unmarshal(r.body, &d); err != nil {
			return err
		}
		if err := c.checkDirectory(&d); err != nil {
			return err
		}
		_, err = c.acme.Discover(ctx) // the library wants its own
		return err
	})
	if err != nil {
		return nil, err
	}
	c.known = &d
	return c.known, nil
}

func (c *Client) checkDirectory(d *directory) error {
	for _, e := range []struct {
		name, url string
		optional  bool
	}{
		{"newNonce", d.NewNonce, false}, {"newAccount", d.NewAccount, false}, {"newOrder", d.NewOrder, false},
		{"revokeCert", d.RevokeCert, true}, {"keyChange", d.KeyChange, true}, {"renewalInfo", d.RenewalInfo, true},
	} {
		if e.url == "" && e.optional {
			continue
		}
		if err := c.checkURL(e.name, e.url); err != nil {
			return err
		}
	}
	if len(d.Meta.Profiles) > maxProfiles || len(d.Meta.CAA) > maxCAA {
		return fmt.Errorf("%w: a directory with %d profiles and %d CAA identities", ErrMalformedByCA, len(d.Meta.Profiles), len(d.Meta.CAA))
	}
	return nil
}

// checkURL says whether a URL that the CA sent may be asked.
func (c *Client) checkURL(name, text string) error {
	if text == "" {
		return fmt.Errorf("%w: no %s", ErrMalformedByCA, name)
	}
	u, err := url.Parse(text)
	if err != nil {
		return fmt.Errorf("%w: %s is no URL", ErrMalformedByCA, name)
	}
	if err := c.http.Transport.(*guard).permit(u); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// reply is an answer, read.
type reply struct {
	status int
	header http.Header
	body   []byte
}

// get asks without a signature. Errors: a Problem for each status but 200.
func (c *Client) get(ctx context.Context, url string) (*reply, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	r, err := c.do(req)
	if err != nil {
		return nil, err
	}
	if r.status != http.StatusOK {
		return nil, r.problem()
	}
	return r, nil
}

// problem is the answer as the library's error.
func (r *reply) problem() *acme.Error {
	var p struct {
		Type        string            `json:"type"`
		Detail      string            `json:"detail"`
		Subproblems []acme.Subproblem `json:"subproblems"`
	}
	if json.Unmarshal(r.body, &p) != nil {
		p.Detail = string(r.body)
	}
	return &acme.Error{StatusCode: r.status, ProblemType: p.Type, Detail: p.Detail, Subproblems: p.Subproblems, Header: r.header}
}
