package validate

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/miekg/dns"

	"zonebuild/internal/domain"
)

const maxDenials = 16 // NSEC and NSEC3 records of an answer that are looked at

// proof is what the NSEC or NSEC3 records of an answer prove.
type proof struct {
	status     Status // Bogus: they do not prove it
	reason     string
	exists     Existence
	wildcard   bool // it is the wildcard that lacks the type
	delegation bool // the name is a delegation point
	ttl        uint32
	expires    time.Time
}

// errUnproved: the records do not say it.
var errUnproved = errors.New("no NSEC or NSEC3 proves it")

// types is the set of types at a name.
type types []uint16

func (t types) has(typ uint16) bool { return slices.Contains(t, typ) }

// delegates reports whether the records are the parent's at a zone cut: they say
// of the name nothing but whether it has a DS, and nothing of what is below it
// (RFC 6840 §4.1).
func (t types) delegates() bool { return t.has(dns.TypeNS) && !t.has(dns.TypeSOA) }

// hides reports whether nothing below the name is of this zone.
func (t types) hides() bool { return t.delegates() || t.has(dns.TypeDNAME) }

// lacks reports whether the types of a name prove that it has no typ: neither
// that, nor an alias (RFC 6840 §4.3), and from the right side of a zone cut.
func (t types) lacks(name domain.Name, typ uint16) bool {
	switch {
	case t.has(typ), t.has(dns.TypeCNAME):
		return false
	case typ == dns.TypeDS && name != domain.Root:
		return !t.has(dns.TypeSOA) // the child cannot speak of its DS
	}
	return !t.delegates()
}

// records are the valid NSEC and NSEC3 records of an answer.
type records struct {
	nsec    []nsec
	nsec3   nsec3s
	ttl     uint32
	expires time.Time
	fault   error // of one that is not valid
}

// deny says what an answer without data proves of a name and type.
func (j *job) deny(m *message, name domain.Name, typ uint16, z *zone) proof {
	r := j.records(m, z)
	p, err := r.deny(j, name, typ, z.name)
	if err != nil {
		return proof{status: Bogus, reason: fmt.Sprintf("%s %s is absent, and %v", name, typeName(typ), r.why(err))}
	}
	p.ttl, p.expires = m.negativeTTL(r.ttl), r.expires
	if p.reason == "" {
		p.reason = fmt.Sprintf("%s proves that %s %s does not exist", z.name, name, typeName(typ))
	}
	if p.status == Insecure { // the records prove nothing of it
		p.exists = NoData
		if m.rcode == dns.RcodeNameError {
			p.exists = NXDomain
		}
	}
	return p
}

func (r *records) why(err error) error {
	if r.fault != nil {
		return r.fault
	}
	return err
}

func (r *records) deny(j *job, name domain.Name, typ uint16, apex domain.Name) (proof, error) {
	if p, ok := denyNSEC(r.nsec, name, typ, apex); ok {
		return p, nil
	}
	return r.nsec3.deny(j, name, typ, apex)
}

// expanded proves that a name with data of the wildcard below its ancestor of so
// many labels has no data of its own, nor a closer wildcard.
func (j *job) expanded(m *message, name domain.Name, labels int, z *zone) proof {
	r := j.records(m, z)
	p := proof{status: Secure, ttl: r.ttl, expires: r.expires}
	if expandedNSEC(r.nsec, name, labels, z.name) {
		return p
	}
	optOut, err := r.nsec3.expanded(j, name, labels)
	switch {
	case err == nil && optOut != "":
		p.status, p.reason = Insecure, optOut
	case err != nil:
		p.status, p.reason = Bogus, r.why(err).Error()
	}
	return p
}

// records collects the NSEC and NSEC3 records of an answer that a zone signed.
func (j *job) records(m *message, z *zone) *records {
	r := &records{ttl: ^uint32(0)}
	keys := make([]setKey, 0, len(m.authority))
	for k := range m.authority {
		if (k.typ == dns.TypeNSEC || k.typ == dns.TypeNSEC3) && k.name.IsWithin(z.name) {
			keys = append(keys, k)
		}
	}
	slices.SortFunc(keys, func(a, b setKey) int { return a.name.Compare(b.name) }) // the same answer, the same verdict
	for i, k := range keys {
		if i == maxDenials {
			r.fault = fmt.Errorf("it has more than %d NSEC or NSEC3 records", maxDenials)
			break
		}
		s := m.authority[k]
		ok, err := j.verify(s, z.name, z.keys)
		switch {
		case err != nil:
			r.fault = fmt.Errorf("%s of %s: %w", typeName(k.typ), k.name, err)
			continue
		case ok.labels != ownerLabels(k.name), len(s.rrs) != 1: // made from a wildcard; a chain has one record a name
			continue
		}
		switch rr := s.rrs[0].(type) {
		case *dns.NSEC:
			next, sound := nameOf(rr.NextDomain)
			if !sound || !next.IsWithin(z.name) {
				continue
			}
			r.nsec = append(r.nsec, nsec{k.name, next, rr.TypeBitMap})
		case *dns.NSEC3:
			if !r.nsec3.add(rr, k.name, z.name) {
				continue
			}
		}
		r.ttl, r.expires = min(r.ttl, ok.ttl), earlier(r.expires, ok.expires)
	}
	return r
}
