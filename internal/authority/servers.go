package authority

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"syscall"

	"github.com/miekg/dns"

	"zonebuild/internal/domain"
)

// Server is one address of an authoritative server.
type Server struct {
	Host string // its name; empty for an address of the configuration
	Addr netip.AddrPort
}

// String gives name and address: "ns1.example.org. (192.0.2.1)".
func (s Server) String() string {
	addr := s.Addr.Addr().String()
	if s.Addr.Port() != 53 {
		addr += fmt.Sprintf("@%d", s.Addr.Port())
	}
	if s.Host == "" {
		return addr
	}
	return s.Host + " (" + addr + ")"
}

// Finder finds the servers of zones in DNS.
type Finder struct {
	Resolver Resolver
	Port     uint16 // where they answer; 0 = 53
	No4, No6 bool   // leave out IPv4 or IPv6 addresses
}

// Servers are all addresses of the NS set of a zone. Skipped says which were
// left out because this machine has no route to their family. Errors: a lookup
// failed, or nothing is left.
func (f Finder) Servers(ctx context.Context, apex domain.Name) (servers []Server, skipped []string, err error) {
	set, err := f.Resolver.LookUp(ctx, apex, dns.TypeNS)
	if err != nil {
		return nil, nil, fmt.Errorf("look up the name servers of %s: %w", apex, err)
	}
	if len(set) == 0 {
		return nil, nil, fmt.Errorf("look up the name servers of %s: there is no such zone", apex)
	}
	for _, rr := range set {
		host, err := domain.Parse(rr.(*dns.NS).Ns)
		if err != nil {
			return nil, nil, fmt.Errorf("look up the name servers of %s: %w", apex, err)
		}
		found, left, err := f.addresses(ctx, host)
		if err != nil {
			return nil, nil, err
		}
		servers, skipped = append(servers, found...), append(skipped, left...)
	}
	slices.SortFunc(servers, func(a, b Server) int { return a.Addr.Compare(b.Addr) })
	servers = slices.CompactFunc(servers, func(a, b Server) bool { return a.Addr == b.Addr })
	if len(servers) == 0 {
		return nil, skipped, fmt.Errorf("look up the name servers of %s: no address that can be asked", apex)
	}
	return servers, skipped, nil
}

func (f Finder) addresses(ctx context.Context, host domain.Name) (servers []Server, skipped []string, err error) {
	port := f.Port
	if port == 0 {
		port = 53
	}
	for _, typ := range []uint16{dns.TypeA, dns.TypeAAAA} {
		if typ == dns.TypeA && f.No4 || typ == dns.TypeAAAA && f.No6 {
			continue
		}
		set, err := f.Resolver.LookUp(ctx, host, typ)
		if err != nil {
			return nil, nil, fmt.Errorf("look up the addresses of %s: %w", host, err)
		}
		for _, rr := range set {
			var ip net.IP
			switch rr := rr.(type) {
			case *dns.A:
				ip = rr.A
			case *dns.AAAA:
				ip = rr.AAAA
			}
			addr, ok := netip.AddrFromSlice(ip)
			if !ok {
				continue
			}
			s := Server{host.String(), netip.AddrPortFrom(addr.Unmap(), port)}
			if !hasRoute(s.Addr) {
				skipped = append(skipped, fmt.Sprintf("%s: no route from here", s))
				continue
			}
			servers = append(servers, s)
		}
	}
	return servers, skipped, nil
}

// hasRoute asks the kernel, and nobody else, whether it could send there.
func hasRoute(addr netip.AddrPort) bool {
	c, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(addr))
	if err == nil {
		c.Close()
		return true
	}
	return !errors.Is(err, syscall.ENETUNREACH) && !errors.Is(err, syscall.EHOSTUNREACH) && !errors.Is(err, syscall.EADDRNOTAVAIL) &&
		!errors.Is(err, syscall.EAFNOSUPPORT)
}
