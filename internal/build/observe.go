package build

import (
	"context"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"net/netip"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/miekg/dns"

	"zonebuild/internal/authority"
	"zonebuild/internal/domain"
	"zonebuild/internal/starttls"
	"zonebuild/tlsa"
)

// Bounds of looking at one owner.
const (
	maxAddresses = 32 // of servers or of a host: more are not looked at, and then not all are known
	maxAliases   = 8  // CNAMEs to a host
	dialTimeout  = 10 * time.Second
)

// network is the Observer that asks. It lives for one pass: what it found out of the
// servers of a zone holds so long.
type network struct {
	resolver  authority.Resolver
	addresses []netip.AddrPort // of the configuration

	mu    sync.Mutex
	zones map[domain.Name]*serversOf
}

type serversOf struct {
	once  sync.Once
	addrs []netip.AddrPort
	known bool
}

// Network is an Observer that asks the servers of a zone, as a resolver finds
// them, and connects to the hosts. Where no resolver answers, the addresses that
// publishing goes by are asked instead, which are then not all there are.
func (t *Tree) Network() Observer {
	n := &network{resolver: authority.Resolver(t.Config.Resolver), zones: map[domain.Name]*serversOf{}}
	if len(n.resolver) == 0 {
		n.resolver, _ = authority.SystemResolver() // without one, nobody answers
	}
	n.addresses = slices.Concat(t.Config.Publish.Address, t.Config.Publish.Confirm)
	return n
}

// Servers asks each address of each name server of the zone.
func (n *network) Servers(ctx context.Context, apex, owner domain.Name) ([]tlsa.ServerSeen, bool) {
	addrs, known := n.serversOf(ctx, apex)
	seen := make([]tlsa.ServerSeen, len(addrs))
	var wg sync.WaitGroup
	for i, addr := range addrs {
		wg.Go(func() { seen[i] = askTLSA(ctx, addr, owner) })
	}
	wg.Wait()
	return seen, known
}

func (n *network) serversOf(ctx context.Context, apex domain.Name) ([]netip.AddrPort, bool) {
	n.mu.Lock()
	z := n.zones[apex]
	if z == nil {
		z = &serversOf{}
		n.zones[apex] = z
	}
	n.mu.Unlock()
	z.once.Do(func() {
		found, _, err := authority.Finder{Resolver: n.resolver}.Servers(ctx, apex)
		if err != nil {
			z.addrs = n.addresses
			return
		}
		z.known = len(found) <= maxAddresses
		for _, s := range found[:min(len(found), maxAddresses)] {
			z.addrs = append(z.addrs, s.Addr)
		}
	})
	return z.addrs, z.known
}

// askTLSA asks one server. An answer without authority, and a refusal, tell
// nothing of the RRset.
func askTLSA(ctx context.Context, addr netip.AddrPort, owner domain.Name) tlsa.ServerSeen {
	seen := tlsa.ServerSeen{Addr: addr}
	in, err := authority.Exchange(ctx, addr, authority.Question(owner, dns.TypeTLSA, false))
	if err != nil || !in.Authoritative || in.Rcode != dns.RcodeSuccess && in.Rcode != dns.RcodeNameError {
		return seen
	}
	seen.Reach = tlsa.Answered
	for _, rr := range in.Answer {
		r, ok := rr.(*dns.TLSA)
		if !ok || r.Hdr.Class != dns.ClassINET || dns.CanonicalName(r.Hdr.Name) != owner.String() {
			continue
		}
		data, err := hex.DecodeString(r.Certificate)
		if err != nil {
			continue // cannot happen: the library has written it
		}
		seen.TTL = max(seen.TTL, r.Hdr.Ttl)
		seen.Records = append(seen.Records, tlsa.Record{Kind: tlsa.Kind{Usage: r.Usage, Selector: r.Selector, MatchingType: r.MatchingType}, Data: string(data)})
	}
	if len(seen.Records) > 0 {
		return seen
	}
	for _, rr := range in.Ns {
		if soa, ok := rr.(*dns.SOA); ok { // RFC 2308 §5
			seen.TTL = min(soa.Hdr.Ttl, soa.Minttl)
		}
	}
	return seen
}

// Hosts connects to each address of the host.
func (n *network) Hosts(ctx context.Context, g tlsa.Group, addrs []netip.Addr) ([]tlsa.HostSeen, bool) {
	l := &g.Lines[0]
	o, ok := dialOptions(g)
	if !ok {
		return nil, false
	}
	known := true
	switch {
	case l.Probe.IsValid():
		addrs = []netip.Addr{l.Probe.Addr()}
	case len(addrs) == 0:
		addrs, known = n.lookUp(ctx, g.Host)
	}
	addrs = slices.Clone(addrs)
	slices.SortFunc(addrs, netip.Addr.Compare) // the same ones each time
	if addrs = slices.Compact(addrs); len(addrs) > maxAddresses {
		addrs, known = addrs[:maxAddresses], false
	}
	port := g.Port
	if l.Probe.IsValid() && l.Probe.Port() != 0 {
		port = l.Probe.Port()
	}
	seen := make([]tlsa.HostSeen, len(addrs))
	var wg sync.WaitGroup
	for i, a := range addrs {
		wg.Go(func() { seen[i] = lookAt(ctx, netip.AddrPortFrom(a, port), o) })
	}
	wg.Wait()
	return seen, known && len(seen) > 0
}

// dialOptions say how to connect; not ok is a service that cannot be looked at.
func dialOptions(g tlsa.Group) (o starttls.Options, ok bool) {
	l := &g.Lines[0]
	o = starttls.Options{Protocol: starttls.ForPort(g.Port), ServerName: g.Host.String(), Timeout: dialTimeout}
	if !l.SNI.IsZero() {
		o.ServerName = l.SNI.String()
	}
	var err error
	switch l.StartTLS {
	case "":
	case "off":
		o.Protocol = starttls.Direct
	default:
		o.Protocol, err = starttls.ParseProtocol(l.StartTLS)
	}
	return o, err == nil && g.Proto == "tcp"
}

// lookUp finds the addresses of a host, through aliases.
func (n *network) lookUp(ctx context.Context, host domain.Name) (addrs []netip.Addr, known bool) {
	for range maxAliases {
		for _, typ := range []uint16{dns.TypeA, dns.TypeAAAA} {
			set, err := n.resolver.LookUp(ctx, host, typ)
			if err != nil {
				return addrs, false
			}
			for _, rr := range set {
				var a netip.Addr
				switch rr := rr.(type) {
				case *dns.A:
					a, _ = netip.AddrFromSlice(rr.A.To4())
				case *dns.AAAA:
					a, _ = netip.AddrFromSlice(rr.AAAA)
				}
				if a.IsValid() {
					addrs = append(addrs, a)
				}
			}
		}
		if len(addrs) > 0 {
			return addrs, true
		}
		alias, err := n.resolver.LookUp(ctx, host, dns.TypeCNAME)
		if err != nil || len(alias) == 0 {
			return nil, false
		}
		if host, err = domain.Parse(alias[0].(*dns.CNAME).Target); err != nil {
			return nil, false
		}
	}
	return nil, false
}

// lookAt shakes hands as a client without preference, as one for RSA and as one
// for ECDSA, at the same time: mail servers make clients wait. Unless it is
// certain which of these chains there are, nothing was seen.
func lookAt(ctx context.Context, addr netip.AddrPort, o starttls.Options) tlsa.HostSeen {
	seen := tlsa.HostSeen{Addr: addr}
	kinds := []starttls.KeyType{starttls.AnyKey, starttls.RSA, starttls.ECDSA}
	served, errs := make([]starttls.Served, len(kinds)), make([]error, len(kinds))
	var wg sync.WaitGroup
	for i, kind := range kinds {
		o := o
		o.KeyType = kind
		wg.Go(func() { served[i], errs[i] = starttls.Dial(ctx, addr, o) })
	}
	wg.Wait()
	if errs[0] != nil {
		if errors.Is(errs[0], starttls.ErrNoRoute) {
			seen.Reach = tlsa.NoRoute
		}
		return seen
	}
	for i, err := range errs {
		switch {
		case err == nil && !slices.ContainsFunc(seen.Chains, func(c [][]byte) bool { return slices.EqualFunc(c, served[i].Chain, slices.Equal) }):
			seen.Chains = append(seen.Chains, served[i].Chain)
		case err == nil || errors.Is(err, starttls.ErrNoSuchKey):
		case served[0].Version == tls.VersionTLS13 && errors.Is(err, starttls.ErrHandshake) && !errors.Is(err, os.ErrDeadlineExceeded):
			// It has TLS 1.3 alone, where a client cannot say which key it wants.
		default:
			return tlsa.HostSeen{Addr: addr}
		}
	}
	seen.Reach = tlsa.Answered
	return seen
}
