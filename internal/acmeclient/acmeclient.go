// Package acmeclient obtains certificates from an ACME CA by dns-01 (RFC 8555,
// RFC 9773, profiles) and trusts the CA with nothing but signing: it is
// golang.org/x/crypto/acme with bounds around it.
//
// What it adds: bounds on time, size, redirects and Retry-After of every exchange;
// `replaces` and profiles in an order; renewal information; a record of every
// order that is written before the step it is about, so that a process that was
// killed goes on and never asks for a second certificate; a journal of failures,
// so that nothing loops; and a check of all that the CA sent before the caller
// sees any of it.
//
// It refuses plain HTTP, other hosts than the configured ones, other challenges
// than dns-01, IP addresses, must-staple, and certificates that are not exactly
// what was ordered. It makes no keys and stores none. Text of the CA stands in
// errors only with its control characters escaped, and is never a path.
//
// Callers serialize the processes that share a Store.
package acmeclient

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/acme"

	"zonebuild/internal/durable"
)

// Config says which CA is asked, and as whom.
type Config struct {
	Directory string        // URL of the CA's directory; https only
	Key       crypto.Signer // of the account: ECDSA P-256, P-384 or P-521, or RSA of 2048 bits and more
	RootsFile string        // PEM file of CAs that are trusted beside the system's; "" = none
	Hosts     []string      // HOST[:PORT] that the CA may name beside the one of Directory
	UserAgent string        // of every request; "" = "acmehook"
	Store     Store         // orders, failures and renewal times
	Limits    Limits
	Now       func() time.Time // nil = the clock

	wrap func(http.RoundTripper) http.RoundTripper // tests: what is between the bounds and the network
}

// Limits bound what a CA can make the client do. A zero field is its default.
type Limits struct {
	Dial, TLS, Header time.Duration // of a connection: 10 s, 10 s, 30 s
	Request           time.Duration // from the first octet sent to the last one read: 60 s
	Body              int64         // octets of an answer: 1 MiB
	Nonces            int           // tries of a request whose nonce is rejected: 20
	NoncePause        time.Duration // before the second of these, growing: 10 ms
	Tries             int           // tries of a step that fails for the moment: 3
	Pause             time.Duration // before the second of these, doubled then: 1 s
	Poll, MaxPoll     time.Duration // between two looks at an order: 1 s at first, 30 s at most, whatever the CA asks for
	Issue             time.Duration // until the CA has validated, and again until it has issued: 10 min
	Wait              time.Duration // for the solver's Wait: 1 h, the life of a pending authorization
	CleanUp           time.Duration // for the solver's CleanUp of all challenges: 1 min
	Lifetime          time.Duration // of a certificate that is believed: 400 days, as the CA/Browser Forum has 398
}

func (l Limits) withDefaults() Limits {
	d := Limits{
		Dial: 10 * time.Second, TLS: 10 * time.Second, Header: 30 * time.Second, Request: time.Minute, Body: 1 << 20,
		Nonces: 20, NoncePause: 10 * time.Millisecond, Tries: 3, Pause: time.Second, Poll: time.Second, MaxPoll: 30 * time.Second,
		Issue: 10 * time.Minute, Wait: time.Hour, CleanUp: time.Minute, Lifetime: 400 * 24 * time.Hour,
	}
	for _, f := range []struct{ to, from *time.Duration }{
		{&d.Dial, &l.Dial}, {&d.TLS, &l.TLS}, {&d.Header, &l.Header}, {&d.Request, &l.Request}, {&d.NoncePause, &l.NoncePause},
		{&d.Pause, &l.Pause}, {&d.Poll, &l.Poll}, {&d.MaxPoll, &l.MaxPoll}, {&d.Issue, &l.Issue}, {&d.Wait, &l.Wait}, {&d.CleanUp, &l.CleanUp}, {&d.Lifetime, &l.Lifetime},
	} {
		if *f.from > 0 {
			*f.to = *f.from
		}
	}
	if l.Body > 0 {
		d.Body = l.Body
	}
	if l.Nonces > 0 {
		d.Nonces = l.Nonces
	}
	if l.Tries > 0 {
		d.Tries = l.Tries
	}
	return d
}

// Client is one account at one CA. It is safe for concurrent use by orders of
// different names; Register, Deactivate and RollOver must run alone.
type Client struct {
	directory string
	key       crypto.Signer
	agent     string
	store     Store
	limits    Limits
	now       func() time.Time
	http      *http.Client
	acme      *acme.Client

	mu      sync.Mutex
	known   *directory // once it was read
	account string     // URL, once it is known
	journal sync.Mutex // one change of the journal at a time
}

// Bounds of what is read from files, and of keys.
const (
	maxRoots   = 1 << 20
	minRSABits = 2048
	maxRSABits = 8192
)

// New makes a client; it asks nobody yet. Errors: the directory is no https URL,
// the key is of no kind for an account, the file of roots holds none.
func New(c Config) (*Client, error) {
	fail := func(err error) (*Client, error) { return nil, fmt.Errorf("set up the ACME client: %w", err) }
	u, err := url.Parse(c.Directory)
	switch {
	case err != nil:
		return fail(fmt.Errorf("directory: %w", errors.Unwrap(err)))
	case u.Scheme != "https" || u.Host == "" || u.User != nil:
		return fail(fmt.Errorf("directory %q: an https URL is wanted", c.Directory))
	case c.Store == nil:
		return fail(errors.New("no store"))
	case c.Key == nil:
		return fail(errors.New("no account key"))
	}
	if err := checkAccountKey(c.Key.Public()); err != nil {
		return fail(err)
	}
	roots, err := readRoots(c.RootsFile)
	if err != nil {
		return fail(err)
	}
	if c.UserAgent == "" {
		c.UserAgent = "acmehook"
	}
	if strings.ContainsFunc(c.UserAgent, func(r rune) bool { return r < ' ' || r > '~' }) {
		return fail(errors.New("the User-Agent is not printable ASCII"))
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	client := &Client{
		directory: c.Directory, key: c.Key, agent: c.UserAgent, store: c.Store, limits: c.Limits.withDefaults(), now: c.Now,
	}
	client.http = client.guarded(roots, append([]string{u.Host}, c.Hosts...), c.wrap)
	client.acme = client.wrapped(c.Key)
	return client, nil
}

// wrapped is the library's client with a key.
func (c *Client) wrapped(key crypto.Signer) *acme.Client {
	return &acme.Client{
		Key: key, HTTPClient: c.http, DirectoryURL: c.directory, UserAgent: c.agent,
		// What the library would repeat for ever is repeated by try, a few times; it
		// keeps the repetition for a nonce.
		RetryBackoff: func(n int, _ *http.Request, res *http.Response) time.Duration {
			if n >= c.limits.Nonces || res.StatusCode < 400 || res.StatusCode >= 500 || res.StatusCode == http.StatusTooManyRequests {
				return -1
			}
			return time.Duration(n) * c.limits.NoncePause
		},
	}
}

func checkAccountKey(key crypto.PublicKey) error {
	switch key := key.(type) {
	case *ecdsa.PublicKey:
		if _, _, known := algorithm(key); known {
			return nil
		}
	case *rsa.PublicKey:
		if bits := key.N.BitLen(); bits < minRSABits || bits > maxRSABits {
			return fmt.Errorf("account key: RSA of %d bits, %d to %d are wanted", bits, minRSABits, maxRSABits)
		}
		return nil
	}
	return errors.New("account key: neither ECDSA on a NIST curve nor RSA")
}

// readRoots is the system's roots and those of a file.
func readRoots(path string) (*x509.CertPool, error) {
	if path == "" {
		return nil, nil
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool() // a jail may have none
	}
	data, _, err := durable.ReadFile(path, maxRoots)
	if err != nil {
		return nil, fmt.Errorf("read the roots: %w", err)
	}
	if !pool.AppendCertsFromPEM(data) {
		return nil, fmt.Errorf("read the roots: %s holds no certificate", path)
	}
	return pool, nil
}
