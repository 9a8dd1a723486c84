package lines

import (
	"context"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"

	"zonebuild/internal/authority"
	"zonebuild/internal/config"
	"zonebuild/internal/domain"
	"zonebuild/internal/starttls"
	"zonebuild/internal/validate"
	"zonebuild/tlsa"
)

// Network is the Observer that looks at the world as it is.
type Network struct {
	Servers  []authority.Server // must answer; none = the zones' NS sets, which otherwise count where one of them answers
	Finder   authority.Finder
	Validate validate.Source // what TLSA answers must be secure by; nil = nothing is asked
}

// Look asks every server of every service's zone.
func (n Network) Look(ctx context.Context, services []config.Service) []Sight {
	out := make([]Sight, len(services))
	var wg sync.WaitGroup
	for i, s := range services {
		wg.Go(func() { out[i] = n.look(ctx, s) })
	}
	wg.Wait()
	return out
}

// maxAliases bounds a chain of CNAMEs at an owner (RFC 7671 §7).
const maxAliases = 8

func (n Network) look(ctx context.Context, s config.Service) Sight {
	sight := Sight{Service: s.Name, Owner: ownerOf(s)}
	owner, err := domain.Parse(sight.Owner)
	if err != nil {
		sight.Trouble = fmt.Sprintf("the name of its TLSA records: %s", err)
		return sight
	}
	at := s.Host
	for range maxAliases {
		must, also, notes, err := n.serversOf(ctx, at)
		if err != nil {
			sight.Trouble = err.Error()
			return sight
		}
		seen, alias := askAll(ctx, append(must, also...), owner)
		if !alias.IsZero() {
			owner, at = alias, alias
			continue
		}
		heard := slices.ContainsFunc(seen[len(must):], func(v ServerSight) bool { return v.Silent == "" })
		for i, v := range seen {
			if i >= len(must) && v.Silent != "" && !heard {
				notes = append(notes, v.Server+": no answer with authority")
				continue
			}
			sight.Servers = append(sight.Servers, v)
		}
		slices.Sort(notes)
		sight.Notes = notes
		n.prove(ctx, &sight)
		return sight
	}
	sight.Trouble = "too many aliases"
	return sight
}

// serversOf are those that must answer for a name, and those that must all answer if one
// of them does: the NS set beside the servers of the configuration, for a client asks the
// NS set, but from here it may be out of reach. Notes say who is left out.
func (n Network) serversOf(ctx context.Context, name domain.Name) (must, also []authority.Server, notes []string, err error) {
	var found []authority.Server
	zone, err := n.Finder.Zone(ctx, name)
	if err == nil {
		found, notes, err = n.Finder.Servers(ctx, zone)
	}
	if len(n.Servers) == 0 {
		return found, nil, notes, err
	}
	if err != nil {
		return slices.Clone(n.Servers), nil, []string{"the name servers of the zone cannot be found: those of the configuration alone are asked"}, nil
	}
	for _, s := range found {
		if !slices.ContainsFunc(n.Servers, func(k authority.Server) bool { return k.Addr == s.Addr }) {
			also = append(also, s)
		}
	}
	return slices.Clone(n.Servers), also, notes, nil
}

// prove adds what DNSSEC proves: not that the answer is secure, but what is in it.
// Anybody on the way can write what servers seem to say.
func (n Network) prove(ctx context.Context, sight *Sight) {
	if n.Validate == nil {
		return
	}
	owner, err := domain.Parse(sight.Owner)
	if err != nil {
		sight.Trouble = err.Error()
		return
	}
	a, err := n.Validate.LookUp(ctx, owner, dns.TypeTLSA)
	switch {
	case err != nil:
		sight.Trouble = err.Error()
		return
	case a.Status == validate.Insecure:
		sight.Insecure = a.Reason
		return
	case a.Status != validate.Secure:
		sight.Trouble = fmt.Sprintf("DNSSEC: %s: %s", a.Status, a.Reason)
		return
	}
	sight.Checked = true
	for _, rr := range a.RRs {
		if rr, ok := rr.(*dns.TLSA); ok {
			r, err := recordOf(rr)
			if err != nil {
				sight.Trouble = "DNSSEC proves a record that cannot be read"
			}
			sight.Proved = append(sight.Proved, r)
			sight.ProvedTTL = max(sight.ProvedTTL, rr.Hdr.Ttl)
		}
	}
}

func askAll(ctx context.Context, servers []authority.Server, owner domain.Name) ([]ServerSight, domain.Name) {
	out := make([]ServerSight, len(servers))
	aliases := make([]domain.Name, len(servers))
	var wg sync.WaitGroup
	for i, s := range servers {
		wg.Go(func() { out[i], aliases[i] = ask(ctx, s, owner) })
	}
	wg.Wait()
	for _, a := range aliases {
		if !a.IsZero() {
			return nil, a
		}
	}
	return out, domain.Name{}
}

// ask asks one server for the TLSA records of an owner; alias is where a CNAME
// leads, if the records are not in the same answer.
func ask(ctx context.Context, s authority.Server, owner domain.Name) (sight ServerSight, alias domain.Name) {
	sight.Server = s.String()
	in, err := authority.Exchange(ctx, s.Addr, authority.Question(owner, dns.TypeTLSA, false))
	switch {
	case err != nil:
		sight.Silent = "does not answer: " + err.Error()
		return sight, alias
	case in.Rcode != dns.RcodeSuccess && in.Rcode != dns.RcodeNameError:
		sight.Silent = "answers " + authority.Rcode(in)
		return sight, alias
	case !in.Authoritative:
		sight.Silent = "answers without authority"
		return sight, alias
	}
	for _, rr := range in.Answer {
		switch rr := rr.(type) {
		case *dns.TLSA:
			r, err := recordOf(rr)
			if err != nil {
				sight.Silent = "answers a record that cannot be read"
			}
			sight.Records = append(sight.Records, r)
			sight.TTL = max(sight.TTL, rr.Hdr.Ttl)
		case *dns.CNAME:
			sight.TTL = max(sight.TTL, rr.Hdr.Ttl)
			alias, _ = domain.Parse(rr.Target)
		}
	}
	if len(sight.Records) > 0 {
		return sight, domain.Name{}
	}
	for _, rr := range in.Ns { // RFC 2308 §5
		if soa, ok := rr.(*dns.SOA); ok {
			sight.TTL = max(sight.TTL, min(soa.Hdr.Ttl, soa.Minttl))
		}
	}
	return sight, alias
}

// recordOf takes the data of a record out of the library's form.
func recordOf(rr *dns.TLSA) (tlsa.Record, error) {
	data, err := hex.DecodeString(rr.Certificate)
	return tlsa.Record{Kind: tlsa.Kind{Usage: rr.Usage, Selector: rr.Selector, MatchingType: rr.MatchingType}, Data: string(data)}, err
}

// maxAddresses bounds how many addresses of a service are asked.
const maxAddresses = 64

// Probe connects to every address of a service.
func (n Network) Probe(ctx context.Context, s config.Service, want [][]byte) ([]Shown, error) {
	addrs := s.Probe
	if len(addrs) == 0 {
		for _, typ := range []uint16{dns.TypeA, dns.TypeAAAA} {
			set, err := n.Finder.Resolver.LookUp(ctx, s.Host, typ)
			if err != nil {
				return nil, fmt.Errorf("look up its addresses: %w", err)
			}
			for _, rr := range set {
				var ip netip.Addr
				switch rr := rr.(type) {
				case *dns.A:
					ip, _ = netip.AddrFromSlice(rr.A)
				case *dns.AAAA:
					ip, _ = netip.AddrFromSlice(rr.AAAA)
				}
				if ip.IsValid() {
					addrs = append(addrs, netip.AddrPortFrom(ip.Unmap(), uint16(s.Port)))
				}
			}
		}
	}
	addrs = addrs[:min(len(addrs), maxAddresses)]
	o := starttls.Options{Protocol: starttls.ForPort(uint16(s.Port)), Timeout: 10 * time.Second}
	if s.StartTLS != "" {
		var err error
		if o.Protocol, err = starttls.ParseProtocol(s.StartTLS); err != nil {
			return nil, err
		}
	}
	sni := s.SNI
	if sni.IsZero() {
		sni = s.Host
	}
	o.ServerName = strings.TrimSuffix(sni.String(), ".")
	out := make([]Shown, len(addrs))
	var wg sync.WaitGroup
	for i, a := range addrs {
		wg.Go(func() { out[i] = probe(ctx, a, o, want) })
	}
	wg.Wait()
	return out, nil
}

// probe shakes hands with one address, up to three times: two certificates may be there
// side by side, of RSA and of ECDSA.
func probe(ctx context.Context, a netip.AddrPort, o starttls.Options, want [][]byte) Shown {
	any, err := starttls.Dial(ctx, a, o)
	v := Shown{Addr: a, Err: err}
	if err != nil {
		return v
	}
	v.Chains = [][][]byte{any.Chain}
	if !slices.ContainsFunc(want, func(leaf []byte) bool { return v.find(leaf) == nil }) {
		return v
	}
	kinds := []starttls.KeyType{starttls.RSA, starttls.ECDSA}
	served, errs := make([]starttls.Served, len(kinds)), make([]error, len(kinds))
	var wg sync.WaitGroup
	for i, kind := range kinds {
		o := o
		o.KeyType = kind
		wg.Go(func() { served[i], errs[i] = starttls.Dial(ctx, a, o) })
	}
	wg.Wait()
	for i, err := range errs {
		switch {
		case err == nil && len(served[i].Chain) > 0 && v.find(served[i].Chain[0]) == nil:
			v.Chains = append(v.Chains, served[i].Chain)
		case err == nil || errors.Is(err, starttls.ErrNoSuchKey):
		case errors.Is(err, starttls.ErrHandshake) && !errors.Is(err, os.ErrDeadlineExceeded): // others are not served so
			v.One = v.One || any.Version == tls.VersionTLS13
		default:
			v.Err = err
		}
	}
	return v
}
