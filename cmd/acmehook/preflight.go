package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/miekg/dns"

	"zonebuild/internal/acmeclient"
	"zonebuild/internal/authority"
	"zonebuild/internal/config"
	"zonebuild/internal/domain"
	"zonebuild/internal/validate"
)

// preflight is what is looked at before any order, so that what is broken here
// costs no failure at the CA: the drop box, every name server, DNSSEC, CAA.
func (h *hook) preflight(client *acmeclient.Client, source validate.Source) func(context.Context, config.Line) error {
	return func(ctx context.Context, l config.Line) error {
		ctx, cancel := context.WithTimeout(ctx, h.config.Timeout)
		defer cancel()
		found := h.checkBox(ctx)
		var names []domain.Name
		for _, text := range l.Names {
			n, err := domain.Parse(strings.TrimPrefix(text, "*."))
			if err != nil {
				return err
			}
			if !slices.Contains(names, n) {
				names = append(names, n)
			}
		}
		servers := h.checkServers(ctx, names)
		silent := map[netip.AddrPort]bool{}
		for _, f := range servers {
			if f.silent {
				silent[f.addr] = true
			}
		}
		found = append(found, h.spared(servers)...)
		var faults []error
		for _, f := range found {
			if f.Error != "" {
				faults = append(faults, fmt.Errorf("%s: %s", f.What, f.Error))
			}
		}
		if source != nil {
			bogus := make([]error, len(names))
			each(len(names), func(i int) {
				if a, err := source.LookUp(ctx, names[i], dns.TypeCAA); err == nil && a.Status == validate.Bogus {
					bogus[i] = fmt.Errorf("DNSSEC of %s: %s: %s", names[i], a.Status, a.Reason)
				}
			})
			faults = append(faults, bogus...)
		}
		if err := h.checkCAA(ctx, client, l, silent); err != nil {
			faults = append(faults, err)
		}
		return errors.Join(faults...)
	}
}

// checkCAA asks whether the CAA records of the names allow this account to get a
// certificate by dns-01 (RFC 8659, RFC 8657). What cannot be looked up is left to
// the CA; servers that are known to be silent are not asked.
func (h *hook) checkCAA(ctx context.Context, client *acmeclient.Client, l config.Line, silent map[netip.AddrPort]bool) error {
	d, err := client.Directory(ctx)
	if err != nil || len(d.CAA) == 0 {
		return err
	}
	account, err := client.Account(ctx)
	if err != nil {
		return h.advise(err)
	}
	type answer struct {
		set []*dns.CAA
		err error
	}
	var owners []domain.Name // at and above the names
	known := map[domain.Name]*answer{}
	for _, text := range l.Names {
		n, err := domain.Parse(strings.TrimPrefix(text, "*."))
		if err != nil {
			return err
		}
		for ; n.Labels() > 0 && known[n] == nil; n = n.Parent() {
			known[n] = &answer{}
			owners = append(owners, n)
		}
	}
	each(len(owners), func(i int) {
		a := known[owners[i]]
		a.set, a.err = h.caaOf(ctx, owners[i], silent)
	})
	var faults []error
	for _, text := range l.Names {
		base, wild := strings.CutPrefix(text, "*.")
		n, err := domain.Parse(base)
		if err != nil {
			return err
		}
		for ; n.Labels() > 0 && known[n].err == nil; n = n.Parent() {
			if set := known[n].set; len(set) > 0 {
				if !allows(set, wild, d.CAA, account) {
					faults = append(faults, fmt.Errorf("CAA at %s does not allow %s to %s", n, text, strings.Join(d.CAA, ", ")))
				}
				break
			}
		}
	}
	return errors.Join(faults...)
}

func (h *hook) caaOf(ctx context.Context, n domain.Name, silent map[netip.AddrPort]bool) ([]*dns.CAA, error) {
	var rrs []dns.RR
	if len(h.config.Servers) > 0 {
		var in *dns.Msg
		err := errors.New("no server answers")
		for _, s := range h.config.Servers { // the first that answers
			if silent[s] {
				continue
			}
			if in, err = authority.Exchange(ctx, s, authority.Question(n, dns.TypeCAA, false)); err == nil {
				break
			}
		}
		if err != nil {
			return nil, err
		}
		if !in.Authoritative {
			return nil, fmt.Errorf("%s is not in the zones of the servers", n)
		}
		rrs = in.Answer
	} else {
		f, err := h.finder()
		if err != nil {
			return nil, err
		}
		if rrs, err = f.Resolver.LookUp(ctx, n, dns.TypeCAA); err != nil {
			return nil, err
		}
	}
	var out []*dns.CAA
	for _, rr := range rrs {
		if c, ok := rr.(*dns.CAA); ok {
			out = append(out, c)
		}
	}
	return out, nil
}

// allows reads a CAA RRset as a CA does: for a wildcard issuewild goes before issue,
// and without a property of the kind everybody may.
func allows(set []*dns.CAA, wild bool, issuers []string, account string) bool {
	tag := "issue"
	if wild && slices.ContainsFunc(set, func(c *dns.CAA) bool { return strings.EqualFold(c.Tag, "issuewild") }) {
		tag = "issuewild"
	}
	asked := false
	for _, c := range set {
		known := slices.Contains([]string{"issue", "issuewild", "iodef", "issuemail", "contactemail", "contactphone", "issuevmc"}, strings.ToLower(c.Tag))
		if c.Flag&128 != 0 && !known {
			return false
		}
		if !strings.EqualFold(c.Tag, tag) {
			continue
		}
		asked = true
		parts := strings.Split(c.Value, ";")
		if !slices.ContainsFunc(issuers, func(i string) bool { return strings.EqualFold(i, strings.TrimSpace(parts[0])) }) {
			continue
		}
		fits := true
		for _, p := range parts[1:] {
			name, value, _ := strings.Cut(strings.TrimSpace(p), "=")
			value = strings.TrimSpace(value)
			switch strings.ToLower(strings.TrimSpace(name)) {
			case "accounturi":
				fits = fits && value == account
			case "validationmethods":
				fits = fits && slices.Contains(strings.Split(value, ","), "dns-01")
			}
		}
		if fits {
			return true
		}
	}
	return !asked
}
