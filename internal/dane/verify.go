package dane

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"

	"zonebuild/internal/domain"
	"zonebuild/internal/starttls"
	"zonebuild/tlsa"
)

// job is one report in the making.
type job struct {
	o     Options
	outer context.Context // the caller's: when it ends there is no report
	slot  chan struct{}   // one for each connection
}

// target is a host to be checked.
type target struct {
	tlsa.Service
	protocol   starttls.Protocol
	preference *uint16
	names      []domain.Name // that the certificate may have beside the TLSA base domain and the host
	mail       bool          // mail between servers, which knows no public CAs
	domain     domain.Name   // that an XMPP server is asked for; zero: itself
}

// Verify checks a service at all addresses of its host. Error: the context has
// ended.
func Verify(ctx context.Context, s tlsa.Service, o Options) (Report, error) {
	t := target{Service: s, protocol: o.Protocol}
	if o.ByPort {
		t.protocol = starttls.ForPort(s.Port)
	}
	t.mail = t.protocol == starttls.SMTP && s.Port == smtpPort
	return run(ctx, o, []target{t})
}

const smtpPort = 25

// run checks hosts side by side.
func run(ctx context.Context, o Options, targets []target) (Report, error) {
	j := &job{o: o, outer: ctx, slot: make(chan struct{}, atOnce)}
	ctx, cancel := context.WithTimeout(ctx, wholeTime)
	defer cancel()
	r := Report{Checks: make([]Check, len(targets))}
	var wg sync.WaitGroup
	for i, t := range targets {
		wg.Go(func() { r.Checks[i] = j.check(ctx, t) })
	}
	wg.Wait()
	if err := j.outer.Err(); err != nil {
		return Report{}, fmt.Errorf("verify by DANE: %w", err)
	}
	r.sum()
	return r, nil
}

// check is one host: DNS first, then its addresses side by side.
func (j *job) check(ctx context.Context, t target) Check {
	c := Check{Host: t.Host, Port: t.Port, Proto: t.Proto, Preference: t.preference}
	if t.protocol != starttls.Direct {
		c.StartTLS = t.protocol.String()
	}
	f := j.find(ctx, t.Host)
	c.Results = f.failed
	if f.status == Validated {
		f.status, f.reason = j.records(ctx, &c, f.bases)
	}
	if f.status == Validated && t.Proto != "tcp" {
		f.status, f.reason = Unsupported, fmt.Sprintf("nobody here speaks TLS over %s", t.Proto)
	}
	if f.status == Validated && j.o.NoServer {
		f.status, f.reason = Untested, "the service is not to be seen from here"
	}
	addrs := j.reach(&c, f.addrs)
	if f.status != Validated {
		for _, a := range addrs {
			r := fail(f.status, f.reason)
			r.Address, r.Port = a.Addr(), a.Port()
			c.Results = append(c.Results, r)
		}
		if len(c.Results) == 0 {
			c.Results = append(c.Results, fail(f.status, f.reason))
		}
		return c
	}
	j.name(&c, t)
	results := make([]Result, len(addrs))
	chains := make([][][]byte, len(addrs))
	var wg sync.WaitGroup
	for i, a := range addrs {
		wg.Go(func() {
			j.slot <- struct{}{}
			defer func() { <-j.slot }()
			results[i], chains[i] = j.server(ctx, &c, t, a)
		})
	}
	wg.Wait()
	for _, chain := range chains {
		c.served = append(c.served, chain...)
	}
	c.Results = append(c.Results, results...)
	if len(c.Results) == 0 { // one address type was not asked for, or failed
		c.Results = append(c.Results, fail(NoAddress, fmt.Sprintf("%s has no address", t.Host)))
	}
	if !c.Expires.IsZero() && c.Expires.Before(j.o.At) {
		c.Notes = append(c.Notes, fmt.Sprintf("the first of the signatures in DNS expires on %s", c.Expires.UTC().Format("2006-01-02T15:04:05Z")))
	}
	return c
}

// reach is where a host is connected to. What is too much is said.
func (j *job) reach(c *Check, found []netip.Addr) []netip.AddrPort {
	if len(j.o.Probe) > 0 {
		return j.o.Probe
	}
	var out []netip.AddrPort
	for _, a := range found {
		out = append(out, netip.AddrPortFrom(a, c.Port))
	}
	if len(out) > maxAddresses {
		c.Results = append(c.Results, fail(Unsupported, fmt.Sprintf("%s has %d addresses, and at most %d are asked", c.Host, len(out), maxAddresses)))
		out = out[:maxAddresses]
	}
	return out
}

// name says which names count (RFC 7671 §10, RFC 7672 §3.2.2, RFC 7673 §4).
func (j *job) name(c *Check, t target) {
	for _, n := range append([]domain.Name{c.Base, t.Host}, t.names...) {
		if !slices.Contains(c.Names, n) {
			c.Names = append(c.Names, n)
		}
	}
	sni := j.o.ServerName
	if sni.IsZero() {
		sni = c.Base
	}
	c.SNI = strings.TrimSuffix(sni.String(), ".")
}
