package validate

import (
	"errors"
	"fmt"
	"io"

	"github.com/miekg/dns"

	"zonebuild/internal/domain"
)

// Bounds of a file of anchors.
const (
	maxAnchorFile = 1 << 20 // octets
	maxAnchors    = 1000
)

// Anchor is a DS that is believed without proof.
type Anchor struct {
	Zone domain.Name
	DS   *dns.DS
}

// RootAnchors are those of the root zone that IANA publishes
// (https://data.iana.org/root-anchors/root-anchors.xml): KSK-2017 and KSK-2024.
func RootAnchors() []Anchor {
	root := func(tag uint16, digest string) Anchor {
		hdr := dns.RR_Header{Name: ".", Rrtype: dns.TypeDS, Class: dns.ClassINET}
		return Anchor{domain.Root, &dns.DS{Hdr: hdr, KeyTag: tag, Algorithm: dns.RSASHA256, DigestType: dns.SHA256, Digest: digest}}
	}
	return []Anchor{
		root(20326, "e06d44b80b8f1d39a95c0b0d7c65d08458e880409bbc683457104237c7f8ec8d"),
		root(38696, "683d2d0acb8c9b712a1948b27f741219298d0a450d612c483af444a4c0fb2b16"),
	}
}

// ReadAnchors reads DS and DNSKEY records in presentation format; the name of the
// file is for messages only. A DNSKEY counts as the DS that it makes. Errors: the
// first fault, or no record at all.
func ReadAnchors(r io.Reader, name string) ([]Anchor, error) {
	limited := &io.LimitedReader{R: r, N: maxAnchorFile + 1}
	p := dns.NewZoneParser(limited, ".", "")
	p.SetDefaultTTL(0) // a trust anchor does not need one
	var out []Anchor
	for rr, ok := p.Next(); ok; rr, ok = p.Next() {
		a, err := anchorOf(rr)
		if err != nil {
			return nil, fmt.Errorf("read trust anchors %s: %s: %w", name, rr.Header().Name, err)
		}
		if out = append(out, a); len(out) > maxAnchors {
			return nil, fmt.Errorf("read trust anchors %s: more than %d records", name, maxAnchors)
		}
	}
	switch {
	case p.Err() != nil:
		return nil, fmt.Errorf("read trust anchors %s: %w", name, p.Err())
	case limited.N == 0:
		return nil, fmt.Errorf("read trust anchors %s: more than %d octets", name, maxAnchorFile)
	case len(out) == 0:
		return nil, fmt.Errorf("read trust anchors %s: no DS and no DNSKEY record", name)
	}
	return out, nil
}

func anchorOf(rr dns.RR) (Anchor, error) {
	zone, err := domain.Parse(rr.Header().Name)
	if err != nil {
		return Anchor{}, err
	}
	rr.Header().Name = zone.String()
	switch rr := rr.(type) {
	case *dns.DS:
		if len(usable([]*dns.DS{rr})) == 0 {
			return Anchor{}, fmt.Errorf("DS with unsupported %s", algorithms([]*dns.DS{rr}))
		}
		return Anchor{zone, rr}, nil
	case *dns.DNSKEY:
		if len(zoneKeys(&rrset{rrs: []dns.RR{rr}})) == 0 {
			return Anchor{}, fmt.Errorf("DNSKEY with algorithm %d, flags %d, protocol %d: no key to sign a zone with", rr.Algorithm, rr.Flags, rr.Protocol)
		}
		ds := rr.ToDS(dns.SHA256)
		if ds == nil {
			return Anchor{}, errors.New("DNSKEY that makes no DS")
		}
		return Anchor{zone, ds}, nil
	}
	return Anchor{}, fmt.Errorf("a trust anchor is a DS or a DNSKEY, not a %s", typeName(rr.Header().Rrtype))
}
