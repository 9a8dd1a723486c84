package publish

import (
	"fmt"
	"io"
	"os"

	"github.com/miekg/dns"

	"zonebuild/internal/domain"
)

// SerialOf is the serial of the SOA in a zone file. It reads no further than
// to the SOA, and judges nothing.
func SerialOf(apex domain.Name, path string) (uint32, error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	s, err := summarize(f, path, apex, false)
	return s.serial, err
}

// summary is what the serial and key guards must know of a zone file.
type summary struct {
	serial uint32
	signed bool // it holds keys or signatures of the apex
}

// summarize reads a zone file up to the SOA; with keys, until it knows whether
// the zone is signed. It follows no $INCLUDE.
func summarize(r io.Reader, name string, apex domain.Name, keys bool) (summary, error) {
	var s summary
	owner := dns.CanonicalName(apex.String())
	soa := false
	p := dns.NewZoneParser(r, owner, name)
	for rr, ok := p.Next(); ok; rr, ok = p.Next() {
		h := rr.Header()
		if h.Rrtype != dns.TypeSOA && h.Rrtype != dns.TypeDNSKEY && h.Rrtype != dns.TypeRRSIG || dns.CanonicalName(h.Name) != owner {
			continue
		}
		if z, is := rr.(*dns.SOA); is {
			s.serial, soa = z.Serial, true
		} else {
			s.signed = true
		}
		if soa && (s.signed || !keys) {
			return s, nil
		}
	}
	if err := p.Err(); err != nil {
		return s, fmt.Errorf("read %s: %w", name, err)
	}
	if !soa {
		return s, fmt.Errorf("read %s: no SOA of %s", name, apex)
	}
	return s, nil
}
