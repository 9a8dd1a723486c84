package validate

import (
	"fmt"
	"time"

	"github.com/miekg/dns"

	"zonebuild/internal/domain"
)

// hop is what one question gave, aliases not followed.
type hop struct {
	status     Status
	reason     string
	zone       *zone // whose keys decided
	exists     Existence
	rrs        []dns.RR
	alias      bool        // the answer is an alias
	target     domain.Name // of it
	dname      bool        // it follows from a DNAME: nothing is below
	wildcard   bool
	delegation bool // no data, and the name is a delegation point; of type DS only
	ttl        uint32
	expires    time.Time
}

// found is the part of an answer that a question is about.
type found struct {
	name   domain.Name
	typ    uint16
	set    *rrset // what is signed; nil: there is no such data
	rrs    []dns.RR
	alias  bool
	target domain.Name
	dname  bool
	fault  string // the alias leads nowhere
}

// hop asks for a name and type and judges the answer.
//
// The signatures say which zone holds the name, so that the walk ends there.
// They may lie: an answer that is not valid then is judged by the zone that the
// full walk finds, and it may turn out that none must be signed at all.
func (j *job) hop(name domain.Name, typ uint16) hop {
	m, err := j.ask(name, typ)
	if err != nil {
		return hop{status: Indeterminate, reason: fmt.Sprintf("no answer for %s %s: %v", name, typeName(typ), err)}
	}
	f := m.find(name, typ)
	home := name
	if typ == dns.TypeDS && name != domain.Root {
		home = name.Parent() // the parent says whether there is one (RFC 4035 §3.1.4.1)
	}
	signer, ok := m.signer(f, home)
	if !ok {
		return j.judge(m, f, j.zoneOf(home))
	}
	told := j.zoneOf(signer)
	h := j.judge(m, f, told)
	if told.status != Secure || h.status != Bogus {
		return h
	}
	if z := j.zoneOf(home); z != told && z.status != Bogus { // the first reason is nearer to the fault
		return j.judge(m, f, z)
	}
	return h
}

// find picks what an answer holds of a name and type: the records, an alias, or
// nothing.
func (m *message) find(name domain.Name, typ uint16) found {
	f := found{name: name, typ: typ}
	data, cname := m.answer[setKey{name, typ}], m.answer[setKey{name, dns.TypeCNAME}]
	if dname := m.dname(name); dname != nil && (data == nil || len(data.sigs) == 0) && (cname == nil || len(cname.sigs) == 0) {
		f.followDNAME(dname)
		return f
	}
	switch {
	case data != nil:
		f.set, f.rrs = data, data.rrs
	case cname != nil:
		f.set, f.rrs, f.alias = cname, cname.rrs, true
		if rr, ok := cname.rrs[0].(*dns.CNAME); ok {
			f.target, _ = nameOf(rr.Target)
		}
		if f.target.IsZero() || len(cname.rrs) != 1 {
			f.fault = fmt.Sprintf("the CNAME of %s cannot be followed", name)
		}
	}
	return f
}

// dname is the DNAME set of an answer that is nearest above a name.
func (m *message) dname(name domain.Name) *rrset {
	for n := name; n != domain.Root; {
		n = n.Parent()
		if s := m.answer[setKey{n, dns.TypeDNAME}]; s != nil {
			return s
		}
	}
	return nil
}

// followDNAME makes the CNAME that follows from a DNAME (RFC 6672 §3.3); the one
// in the answer is not signed and not looked at.
func (f *found) followDNAME(s *rrset) {
	f.set, f.dname = s, true
	var to domain.Name
	if rr, ok := s.rrs[0].(*dns.DNAME); ok {
		to, _ = nameOf(rr.Target)
	}
	if to.IsZero() || len(s.rrs) != 1 {
		f.fault = fmt.Sprintf("the DNAME of %s cannot be followed", s.name)
		return
	}
	head := f.name.Wire()[:len(f.name.Wire())-len(s.name.Wire())]
	target, err := domain.FromWire([]byte(head + to.Wire()))
	if err != nil {
		f.fault = fmt.Sprintf("the DNAME of %s makes of %s a name that is too long", s.name, f.name)
		return
	}
	f.target = target
	f.rrs = []dns.RR{&dns.CNAME{
		Hdr:    dns.RR_Header{Name: f.name.String(), Rrtype: dns.TypeCNAME, Class: dns.ClassINET, Ttl: s.rrs[0].Header().Ttl},
		Target: target.String(),
	}}
	f.alias = f.typ != dns.TypeCNAME
}

// signer is the zone that the signatures of an answer claim to come from: the
// deepest that holds home.
func (m *message) signer(f found, home domain.Name) (domain.Name, bool) {
	var best domain.Name
	look := func(s *rrset) {
		for _, sig := range s.sigs {
			n, ok := nameOf(sig.SignerName)
			if ok && home.IsWithin(n) && (best.IsZero() || n.Labels() > best.Labels()) {
				best = n
			}
		}
	}
	if f.set != nil {
		look(f.set)
		return best, !best.IsZero()
	}
	for k, s := range m.authority {
		if k.typ == dns.TypeNSEC || k.typ == dns.TypeNSEC3 {
			look(s)
		}
	}
	return best, !best.IsZero()
}

// judge says what an answer is worth if it comes from a zone.
func (j *job) judge(m *message, f found, z *zone) hop {
	h := hop{status: z.status, reason: z.reason, zone: z, ttl: ^uint32(0), expires: z.expires}
	switch {
	case z.status == Insecure:
		return h.unsigned(m, f)
	case z.status != Secure:
		return h
	case f.set != nil:
		return j.positive(m, f, z, h)
	}
	p := j.deny(m, f.name, f.typ, z)
	h.status, h.reason, h.exists, h.wildcard, h.delegation, h.ttl = p.status, p.reason, p.exists, p.wildcard, p.delegation, p.ttl
	h.expires = earlier(h.expires, p.expires)
	return h
}

// positive checks the signature of a set and, where it was made from a wildcard,
// that no closer name exists (RFC 4035 §5.3.4).
func (j *job) positive(m *message, f found, z *zone, h hop) hop {
	what := fmt.Sprintf("%s %s", f.set.name, typeName(f.set.typ))
	ok, err := j.verify(f.set, z.name, z.keys)
	if err != nil {
		h.status, h.reason = Bogus, fmt.Sprintf("%s: %v", what, err)
		return h
	}
	h.ttl, h.expires = min(h.ttl, ok.ttl), earlier(h.expires, ok.expires)
	h.reason = fmt.Sprintf("%s is signed by %s", what, z.name)
	if ok.labels < ownerLabels(f.set.name) {
		if f.dname {
			h.status, h.reason = Bogus, what+" comes from a wildcard" // RFC 6672 §3.3: such a name is no ancestor
			return h
		}
		p := j.expanded(m, f.set.name, ok.labels, z)
		h.wildcard, h.ttl, h.expires = true, min(h.ttl, p.ttl), earlier(h.expires, p.expires)
		if h.status = p.status; p.status != Secure {
			h.reason = fmt.Sprintf("%s comes from a wildcard: %s", what, p.reason)
		}
		if p.status == Bogus {
			return h
		}
	}
	return h.data(f)
}

// data takes the records, once they are believed or need not be.
func (h hop) data(f found) hop {
	if f.fault != "" {
		h.status, h.reason = Indeterminate, f.fault
		return h
	}
	h.exists, h.rrs = Data, f.rrs
	h.alias, h.target, h.dname = f.alias, f.target, f.dname
	return h
}

// unsigned takes an insecure answer as it is.
func (h hop) unsigned(m *message, f found) hop {
	for _, rr := range f.rrs {
		h.ttl = min(h.ttl, rr.Header().Ttl)
	}
	switch {
	case f.set != nil:
		return h.data(f)
	case m.rcode == dns.RcodeNameError:
		h.exists = NXDomain
	default:
		h.exists = NoData
	}
	h.ttl = m.negativeTTL(h.ttl)
	return h
}

// negativeTTL bounds a TTL by the SOA of an answer (RFC 2308 §5).
func (m *message) negativeTTL(ttl uint32) uint32 {
	for k, s := range m.authority {
		if soa, ok := s.rrs[0].(*dns.SOA); ok && k.typ == dns.TypeSOA {
			ttl = min(ttl, soa.Hdr.Ttl, soa.Minttl)
		}
	}
	if ttl == ^uint32(0) {
		return 0
	}
	return ttl
}
