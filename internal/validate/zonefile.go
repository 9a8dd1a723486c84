package validate

import (
	"context"
	"fmt"
	"io"

	"github.com/miekg/dns"

	"zonebuild/internal/domain"
)

// Zone answers from the records of one zone as a name server would (RFC 1034
// §4.3.2, RFC 4592, RFC 6672), and calls secure what is in it: it is for a zone
// that is not yet published, and whether its signatures are right is not asked.
type Zone struct {
	Else Source // who knows of what is not in the zone; nil: nobody

	apex  domain.Name
	file  string
	sets  map[setKey]*rrset
	names map[domain.Name]bool // empty non-terminals too
}

// ReadZone reads the records of a zone in presentation format; the name of the
// file is for messages only, and $INCLUDE is refused. Errors: the first fault of
// the file, a record out of the zone, no SOA.
func ReadZone(r io.Reader, apex domain.Name, file string) (*Zone, error) {
	z := &Zone{apex: apex, file: file, sets: map[setKey]*rrset{}, names: map[domain.Name]bool{}}
	p := dns.NewZoneParser(r, apex.String(), "")
	for rr, ok := p.Next(); ok; rr, ok = p.Next() {
		if err := z.add(rr); err != nil {
			return nil, fmt.Errorf("read zone %s: %w", file, err)
		}
	}
	if err := p.Err(); err != nil {
		return nil, fmt.Errorf("read zone %s: %w", file, err)
	}
	if z.sets[setKey{apex, dns.TypeSOA}] == nil {
		return nil, fmt.Errorf("read zone %s: no SOA at %s", file, apex)
	}
	return z, nil
}

func (z *Zone) add(rr dns.RR) error {
	name, err := domain.Parse(rr.Header().Name)
	if err != nil {
		return err
	}
	if !name.IsWithin(z.apex) {
		return fmt.Errorf("%s is not in %s", name, z.apex)
	}
	switch typ := rr.Header().Rrtype; typ {
	case dns.TypeRRSIG, dns.TypeNSEC, dns.TypeNSEC3:
	default:
		k := setKey{name, typ}
		if z.sets[k] == nil {
			z.sets[k] = &rrset{setKey: k}
		}
		z.sets[k].rrs = append(z.sets[k].rrs, rr)
		for ; !z.names[name]; name = name.Parent() {
			if z.names[name] = true; name == z.apex {
				break
			}
		}
	}
	return nil
}

// LookUp is Source's. What is not in the zone, delegated names too, is Else's, or
// indeterminate.
func (z *Zone) LookUp(ctx context.Context, name domain.Name, typ uint16) (Answer, error) {
	if err := askable(name, typ); err != nil {
		return Answer{}, fmt.Errorf("look up %s %s: %w", name, typeName(typ), err)
	}
	outside := false
	a := follow(name, typ, func(name domain.Name, typ uint16) hop {
		h, in := z.hop(name, typ)
		outside = !in
		return h
	})
	if !outside || z.Else == nil {
		return a, ctx.Err()
	}
	rest, err := z.Else.LookUp(ctx, a.Name, typ)
	if err != nil {
		return Answer{}, err
	}
	rest.Aliases = append(a.Aliases, rest.Aliases...)
	if len(a.Aliases) > 0 {
		rest.TTL = min(rest.TTL, a.TTL)
	}
	return rest, nil
}

// hop answers from the zone, or reports that the name is not in it.
func (z *Zone) hop(name domain.Name, typ uint16) (_ hop, in bool) {
	outside := hop{status: Indeterminate, reason: fmt.Sprintf("%s is not in %s", name, z.file)}
	if !name.IsWithin(z.apex) || name == z.apex && typ == dns.TypeDS && name != domain.Root {
		return outside, false
	}
	f := found{name: name, typ: typ}
	h := hop{status: Secure, reason: fmt.Sprintf("read from %s, signatures not checked", z.file), ttl: ^uint32(0)}
	for depth := z.apex.Labels(); depth <= name.Labels(); depth++ {
		n := ancestor(name, depth)
		if n != z.apex && z.sets[setKey{n, dns.TypeNS}] != nil && !(n == name && typ == dns.TypeDS) {
			return outside, false
		}
		if s := z.sets[setKey{n, dns.TypeDNAME}]; s != nil && n != name {
			f.followDNAME(s)
			return h.unsigned(z.message(), f), true
		}
	}
	from, code := name, dns.RcodeSuccess
	if !z.names[name] {
		for from = name.Parent(); !z.names[from]; {
			from = from.Parent()
		}
		w, ok := wildcardOf(from)
		if from = w; !ok || !z.names[w] {
			code = dns.RcodeNameError
		} else {
			h.wildcard = true
		}
	}
	m := z.message()
	m.rcode = code
	for _, t := range []uint16{typ, dns.TypeCNAME} {
		if s := z.sets[setKey{from, t}]; s != nil {
			m.answer[setKey{name, t}] = s.at(name)
		}
	}
	return h.unsigned(m, m.find(name, typ)), true
}

// at is the set at a name that a wildcard stands for.
func (s *rrset) at(name domain.Name) *rrset {
	if s.name == name {
		return s
	}
	out := &rrset{setKey: setKey{name, s.typ}}
	for _, rr := range s.rrs {
		rr = dns.Copy(rr)
		rr.Header().Name = name.String()
		out.rrs = append(out.rrs, rr)
	}
	return out
}

// message is an answer without data: what is not there has the TTL of the SOA.
func (z *Zone) message() *message {
	soa := setKey{z.apex, dns.TypeSOA}
	return &message{answer: map[setKey]*rrset{}, authority: map[setKey]*rrset{soa: z.sets[soa]}}
}
