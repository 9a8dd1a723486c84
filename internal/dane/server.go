package dane

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"zonebuild/internal/starttls"
	"zonebuild/tlsa"
)

// server is the verdict on one address, and the certificates that it showed.
func (j *job) server(ctx context.Context, c *Check, t target, addr netip.AddrPort) (Result, [][]byte) {
	r, chain := j.handshake(ctx, c, t, addr, starttls.AnyKey)
	r.Address, r.Port = addr.Addr(), addr.Port()
	var leaves [][]byte
	if len(chain) > 0 {
		leaves = append(leaves, chain[0])
	}
	if !j.o.KeyTypes || r.Verdict == Untested || r.Verdict == Unreachable || r.Verdict == NoTLS {
		return r, leaves
	}
	for _, k := range []struct {
		key  starttls.KeyType
		name string
	}{{starttls.RSA, "RSA"}, {starttls.ECDSA, "ECDSA"}} {
		one, chain := j.handshake(ctx, c, t, addr, k.key)
		r.Keys = append(r.Keys, KeyResult{k.name, one.Verdict, one.Reason})
		if len(chain) > 0 {
			leaves = append(leaves, chain[0])
		}
		// The worst counts: clients choose the key. That one cannot be told
		// from the other takes nothing away.
		if one.Verdict.Class() > r.Verdict.Class() && one.Verdict != Untested {
			keys := r.Keys
			one.Address, one.Port = r.Address, r.Port
			r, r.Keys = one, keys
			r.Reason = fmt.Sprintf("with its %s key: %s", k.name, one.Reason)
		}
	}
	tested := false
	for _, k := range r.Keys {
		tested = tested || k.Verdict != Untested
	}
	if !tested {
		r.Notes = append(r.Notes, "RSA and ECDSA keys cannot be asked for apart: the server answers to neither in TLS 1.2")
	}
	return r, leaves
}

// handshake connects, and judges what is shown.
func (j *job) handshake(ctx context.Context, c *Check, t target, addr netip.AddrPort, key starttls.KeyType) (Result, [][]byte) {
	o := starttls.Options{Protocol: t.protocol, ServerName: c.SNI, KeyType: key, Timeout: j.o.Timeout}
	if !t.domain.IsZero() {
		o.Domain = t.domain.String()
	}
	served, err := starttls.Dial(ctx, addr, o)
	r := Result{Depth: -1, Key: served.Key}
	if served.Version != 0 {
		r.TLS = tls.VersionName(served.Version)
	}
	if err != nil {
		r.Verdict, r.Reason = noChain(err, key)
		if r.Verdict == Unsupported {
			for _, rec := range c.Records {
				if tlsa.Associated(rec, served.Chain) {
					r.Notes = append(r.Notes, fmt.Sprintf("a certificate with the data of %s was shown, but nothing proves that the server has its key", rec))
				}
			}
		}
		return r, nil
	}
	usable, passed := c.usable(t.mail)
	r.judge(tlsa.MatchServer(tlsa.MatchInput{
		Records: usable, Chain: served.Chain, Names: c.Names, Roots: j.o.Roots, Now: j.o.At, EEName: j.o.EEName,
	}), j.o.Roots == nil)
	if passed != "" && len(usable) == 0 {
		r.Reason = passed
	} else if passed != "" {
		r.Notes = append(r.Notes, passed)
	}
	if served.Version < tls.VersionTLS12 {
		r.Notes = append(r.Notes, fmt.Sprintf("the server speaks nothing newer than %s", r.TLS))
	}
	return r, served.Chain
}

// noChain is the verdict where there is no proved chain.
func noChain(err error, key starttls.KeyType) (Verdict, string) {
	reason := err.Error()
	if _, rest, ok := strings.Cut(reason, ": "); ok { // the address is known
		reason = rest
	}
	for _, k := range []struct {
		err     error
		verdict Verdict
	}{
		{starttls.ErrNoSuchKey, Untested},
		{starttls.ErrUnreachable, Unreachable},
		{starttls.ErrUnavailable, Unreachable},
		{starttls.ErrNoRoute, Untested},
		{starttls.ErrNoStartTLS, NoTLS},
		{starttls.ErrUnsupportedKey, Unsupported},
		{starttls.ErrCertificate, Unsupported},
		{starttls.ErrProtocol, NoHandshake},
		{starttls.ErrHandshake, NoHandshake},
		{context.DeadlineExceeded, Unreachable}, // there was no time left to begin
	} {
		switch {
		case !errors.Is(err, k.err):
		case key != starttls.AnyKey && k.verdict == NoHandshake: // TLS 1.3 alone
			return Untested, reason
		default:
			return k.verdict, reason
		}
	}
	return Unsupported, reason
}

// usable are the records that count, and why some are passed over: servers of
// mail have no common public CAs (RFC 7672 §3.1.3).
func (c *Check) usable(mail bool) (out []tlsa.Record, passed string) {
	for _, r := range c.Records {
		if mail && r.Usage <= tlsa.PKIXEE {
			passed = "usages 0 and 1 are unusable in mail between servers (RFC 7672 §3.1.3)"
			continue
		}
		out = append(out, r)
	}
	return out, passed
}

// judge takes the verdict of the matcher over.
func (r *Result) judge(m tlsa.Match, noRoots bool) {
	if m.Record >= 0 {
		record := m.Judged[m.Record].Record
		r.Record = &record
	}
	r.Depth, r.Notes = m.Depth, m.Notes
	for _, k := range m.Partial {
		r.Notes = append(r.Notes, fmt.Sprintf("no %s record fits: clients that know no other fail (RFC 7671 §8)", k))
	}
	if m.OK {
		r.Verdict = Validated
		return
	}
	r.Verdict, r.Cause, r.Reason = Mismatch, m.Reason, m.Detail
	switch m.Reason {
	case tlsa.Mismatch, tlsa.Ignored:
		r.Reason = "no matching DANE TLSA records"
	case tlsa.Unusable, tlsa.NoRecords:
		r.Verdict, r.Reason = Unusable, "no client can use any of the TLSA records: "+m.Detail
	case tlsa.Unsupported:
		r.Verdict = Unsupported
	case tlsa.NoPKIX:
		if noRoots {
			r.Verdict = Unsupported
		}
	}
}
