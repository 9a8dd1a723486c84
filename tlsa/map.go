package tlsa

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strconv"

	"zonebuild/internal/diag"
	"zonebuild/internal/domain"
)

// Bounds of the map.
const (
	DefaultTTL = 3600  // seconds; never the $TTL of the zone
	MinTTL     = 60    // seconds
	MaxTTL     = 86400 // seconds: so long an unplanned change of a key may hurt (RFC 7671 §13)

	maxMap   = 4 << 20 // octets
	maxPorts = 64      // of one line
)

// Service is what a TLSA RRset is about: a port of a host.
type Service struct {
	Host  domain.Name
	Port  uint16
	Proto string // "tcp", "udp" or "sctp"
}

// Owner is the name of the TLSA RRset: _PORT._PROTO.HOST (RFC 6698 §3).
// Error: the name is too long.
func (s Service) Owner() (domain.Name, error) {
	return domain.Parse("_" + strconv.Itoa(int(s.Port)) + "._" + s.Proto + "." + s.Host.String())
}

// String gives "mail.example.org. 25/tcp".
func (s Service) String() string { return fmt.Sprintf("%s %d/%s", s.Host, s.Port, s.Proto) }

// Line is a line of the map for one of its ports.
type Line struct {
	Pos diag.Pos
	Service
	Owner    domain.Name
	CertFile string // relative to certs/
	Kind     Kind
	Next     string         // file of the next key; "" = none
	TTL      uint32         // seconds
	Probe    netip.AddrPort // where the service is seen instead of the addresses of Host; port 0 = Port
	ProbeOff bool           // the service cannot be seen from here
	StartTLS string         // "" = by port, "off" = none
	SNI      domain.Name    // zero = the TLSA base domain
	Broken   bool           // an option could not be read: nothing changes at the owner
}

// Map is what certs.map says.
type Map struct {
	Lines []Line // by owner, then as they stand in the file
	// Incomplete says that some line's host or port could not be read, so that
	// an owner that is not in Lines may still be meant.
	Incomplete bool
}

// Group is all lines of one owner: their records are one RRset.
type Group struct {
	Service
	Owner domain.Name
	Lines []Line
}

// TTL is the lowest of the lines', in seconds.
func (g Group) TTL() uint32 {
	ttl := uint32(0)
	for _, l := range g.Lines {
		if ttl == 0 || l.TTL < ttl {
			ttl = l.TTL
		}
	}
	return ttl
}

// Groups are the lines by owner, in canonical order of the owners.
func (m Map) Groups() []Group {
	var out []Group
	for _, l := range m.Lines {
		if n := len(out); n > 0 && out[n-1].Owner == l.Owner {
			out[n-1].Lines = append(out[n-1].Lines, l)
			continue
		}
		out = append(out, Group{l.Service, l.Owner, []Line{l}})
	}
	return out
}

// ParseMap reads certs.map. A line is
//
//	CERTFILE HOST PORT[,PORT…][/PROTO] [U S M] [next=FILE] [ttl=DURATION] [probe=ADDR|off] [starttls=PROTO] [sni=NAME]
//
// and # begins a comment where a word could begin. All faults are reported; a
// line with one changes nothing: it is left out, or Broken when its owner is known.
func ParseMap(file string, src []byte) (Map, diag.List) {
	p := &mapParser{file: file}
	if len(src) > maxMap {
		p.faults.Errorf(diag.Pos{File: file}, "certs-map-size", "", "more than %d octets", maxMap)
		return Map{Incomplete: true}, p.faults
	}
	p.parse(src)
	slices.SortStableFunc(p.m.Lines, func(a, b Line) int {
		return cmp.Or(a.Owner.Compare(b.Owner), cmp.Compare(a.Pos.Line, b.Pos.Line))
	})
	p.compare()
	p.faults.Sort()
	return p.m, p.faults
}

// compare looks at lines of one owner side by side.
func (p *mapParser) compare() {
	var kept []Line
	for _, l := range p.m.Lines {
		if p.besides(l, kept) {
			kept = append(kept, l)
		}
	}
	p.m.Lines = kept
}

// besides reports whether a line is to be kept beside those kept before it.
func (p *mapParser) besides(l Line, kept []Line) bool {
	first := slices.IndexFunc(kept, func(k Line) bool { return k.Owner == l.Owner })
	if first < 0 {
		return true
	}
	for _, k := range kept[first:] {
		if k.CertFile != l.CertFile || k.Kind != l.Kind {
			continue
		}
		d := p.faults.Warnf(l.Pos, "certs-map-duplicate", l.Owner.String(), "%s stands twice for this service", l.CertFile)
		d.At(k.Pos, "the other")
		return k.Next != l.Next || l.Broken && !k.Broken
	}
	k := kept[first]
	if k.TTL != l.TTL {
		d := p.faults.Warnf(l.Pos, "certs-map-conflict", l.Owner.String(), "ttl of %d s and of %d s for one RRset: the lower one is taken", l.TTL, k.TTL)
		d.At(k.Pos, "the other")
	}
	if k.Probe != l.Probe || k.ProbeOff != l.ProbeOff || k.StartTLS != l.StartTLS || k.SNI != l.SNI {
		d := p.faults.Warnf(l.Pos, "certs-map-conflict", l.Owner.String(), "probe=, starttls= or sni= differ for one service: those of the first line are taken")
		d.At(k.Pos, "the first line")
	}
	return true
}
