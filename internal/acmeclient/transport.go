package acmeclient

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Bounds that nobody needs to change.
const (
	maxHeaders    = 64 << 10       // octets of an answer's header
	maxRetryAfter = 24 * time.Hour // what a CA can make us wait at a time
	maxRedirects  = 3
)

// guarded is an HTTP client that goes to known hosts only, over TLS only, and
// reads so much for so long only.
//
// Redirects: a signed request is bound to its URL (RFC 8555 §6.4), so none is
// followed; a GET follows up to three, on https and on the same host.
func (c *Client) guarded(roots *x509.CertPool, hosts []string, wrap func(http.RoundTripper) http.RoundTripper) *http.Client {
	g := &guard{client: c, hosts: map[string]bool{}}
	for _, h := range hosts {
		g.hosts[canonicalHost(h)] = true
	}
	g.base = &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            (&net.Dialer{Timeout: c.limits.Dial}).DialContext,
		TLSClientConfig:        &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:    c.limits.TLS,
		ResponseHeaderTimeout:  c.limits.Header,
		MaxResponseHeaderBytes: maxHeaders,
		DisableCompression:     true, // an answer is as long as it is sent
		MaxIdleConnsPerHost:    2,
		IdleConnTimeout:        30 * time.Second,
	}
	if wrap != nil {
		g.base = wrap(g.base)
	}
	return &http.Client{Transport: g, CheckRedirect: g.redirect}
}

// canonicalHost is a host as the guard compares it: in lower case, with a port.
func canonicalHost(h string) string {
	h = strings.ToLower(h)
	if _, _, err := net.SplitHostPort(h); err != nil {
		return net.JoinHostPort(strings.Trim(h, "[]"), "443")
	}
	return h
}

// guard is the transport of all requests, those of the library too.
type guard struct {
	client *Client
	base   http.RoundTripper
	hosts  map[string]bool
}

func (g *guard) redirect(req *http.Request, via []*http.Request) error {
	first := via[0]
	switch {
	case first.Method != http.MethodGet && first.Method != http.MethodHead:
		return fmt.Errorf("%w: a signed request was redirected", ErrMalformedByCA)
	case len(via) > maxRedirects:
		return fmt.Errorf("%w: more than %d redirects", ErrMalformedByCA, maxRedirects)
	case canonicalHost(req.URL.Host) != canonicalHost(first.URL.Host) || req.URL.Scheme != "https":
		return fmt.Errorf("%w: redirect to %s://%s", ErrMalformedByCA, clean(req.URL.Scheme), clean(req.URL.Host))
	}
	return nil
}

// permit says whether a URL may be asked.
func (g *guard) permit(u *url.URL) error {
	switch {
	case u.Scheme != "https":
		return fmt.Errorf("%w: it sends us to %q, not to https", ErrMalformedByCA, clean(u.Scheme))
	case u.User != nil:
		return fmt.Errorf("%w: a URL with a password", ErrMalformedByCA)
	case !g.hosts[canonicalHost(u.Host)]:
		return fmt.Errorf("%w: it sends us to another host, %s", ErrMalformedByCA, clean(u.Host))
	}
	return nil
}

// RoundTrip makes one exchange. The answer it gives is read already.
func (g *guard) RoundTrip(req *http.Request) (*http.Response, error) {
	if err := g.permit(req.URL); err != nil {
		if req.Body != nil {
			req.Body.Close()
		}
		return nil, err
	}
	limits := g.client.limits
	ctx, cancel := context.WithTimeout(req.Context(), limits.Request)
	defer cancel()
	res, err := g.exchange(req.Clone(ctx))
	if err != nil && req.Context().Err() == nil && (ctx.Err() != nil || isTimeout(err)) {
		return nil, fmt.Errorf("%w: no whole answer in time", ErrTemporary)
	}
	return res, err
}

func isTimeout(err error) bool {
	var n net.Error
	return errors.As(err, &n) && n.Timeout()
}

func (g *guard) exchange(req *http.Request) (*http.Response, error) {
	if req.Header.Get("User-Agent") == "" {
		req.Header.Set("User-Agent", g.client.agent)
	}
	res, err := g.base.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	max := g.client.limits.Body
	body, err := io.ReadAll(io.LimitReader(res.Body, max+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("read the answer: %w", err)
	case int64(len(body)) > max:
		return nil, fmt.Errorf("%w: an answer of more than %d octets", ErrMalformedByCA, max)
	}
	res.Body = io.NopCloser(bytes.NewReader(body))
	res.ContentLength = int64(len(body))
	if h, ok := req.Context().Value(heardKey{}).(*heard); ok {
		h.retryAfter = retryAfter(res.Header.Get("Retry-After"), g.client.now())
	}
	return res, nil
}

// heard is what the library does not tell of an answer.
type heard struct{ retryAfter time.Duration }

type heardKey struct{}

// hear notes what the last answer to requests with the context says.
func hear(ctx context.Context) (context.Context, *heard) {
	h := new(heard)
	return context.WithValue(ctx, heardKey{}, h), h
}

// retryAfter is the wait that a Retry-After asks for (RFC 9110 §10.2.3): seconds
// or a date. What is past, negative or neither is 0; a day is the most.
func retryAfter(v string, now time.Time) time.Duration {
	v = strings.TrimSpace(v)
	if v == "" {
		return 0
	}
	if seconds, err := strconv.ParseInt(v, 10, 64); err == nil {
		return time.Duration(max(0, min(seconds, int64(maxRetryAfter/time.Second)))) * time.Second
	} else if errors.Is(err, strconv.ErrRange) {
		if v[0] == '-' {
			return 0
		}
		return maxRetryAfter
	}
	at, err := http.ParseTime(v)
	if err != nil {
		return 0
	}
	return max(0, min(at.Sub(now), maxRetryAfter))
}
