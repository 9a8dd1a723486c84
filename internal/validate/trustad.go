package validate

import (
	"context"
	"fmt"
	"time"

	"github.com/miekg/dns"

	"zonebuild/internal/domain"
)

// TrustAD believes the AD bit of a resolver (RFC 6840 §5.8), which is right only
// for one that validates, on a path that nobody else can write to.
type TrustAD struct {
	Resolver Exchanger
	Timeout  time.Duration // of LookUp; 0 = DefaultTimeout
}

// LookUp is Source's. What the resolver refuses, but hands out unchecked, is
// bogus.
func (s TrustAD) LookUp(ctx context.Context, name domain.Name, typ uint16) (Answer, error) {
	if err := askable(name, typ); err != nil {
		return Answer{}, fmt.Errorf("look up %s %s: %w", name, typeName(typ), err)
	}
	inner, cancel := context.WithTimeout(ctx, timeoutOr(s.Timeout))
	defer cancel()
	a := follow(name, typ, func(name domain.Name, typ uint16) hop { return s.hop(inner, name, typ) })
	if err := ctx.Err(); err != nil {
		return Answer{}, fmt.Errorf("look up %s %s: %w", name, typeName(typ), err)
	}
	return a, nil
}

func (s TrustAD) hop(ctx context.Context, name domain.Name, typ uint16) hop {
	m, ad, err := s.ask(ctx, name, typ, false)
	if err != nil {
		h := hop{status: Indeterminate, reason: fmt.Sprintf("no answer for %s %s: %v", name, typeName(typ), err)}
		if _, _, err := s.ask(ctx, name, typ, true); err == nil {
			h.status, h.reason = Bogus, fmt.Sprintf("the resolver refuses %s %s, and has it unchecked", name, typeName(typ))
		}
		return h
	}
	f := m.find(name, typ)
	if f.alias && !ad { // the bit is for the whole answer: this alias may be secure all the same
		_, ad, err = s.ask(ctx, name, dns.TypeCNAME, false)
		ad = ad && err == nil
	}
	h := hop{status: Insecure, reason: "the resolver did not set AD", ttl: ^uint32(0)}
	if ad {
		h.status, h.reason = Secure, "the resolver set AD"
	}
	return h.unsigned(m, f)
}

func (s TrustAD) ask(ctx context.Context, name domain.Name, typ uint16, unchecked bool) (*message, bool, error) {
	q := question(name, typ)
	q.AuthenticatedData, q.CheckingDisabled = !unchecked, unchecked
	in, err := s.Resolver.Exchange(ctx, q)
	m, err := read(in, err)
	if err != nil {
		return nil, false, err
	}
	return m, in.AuthenticatedData, nil
}

func timeoutOr(t time.Duration) time.Duration {
	if t <= 0 {
		return DefaultTimeout
	}
	return t
}
