package zone

import (
	"github.com/miekg/dns"

	"zonebuild/internal/diag"
	"zonebuild/internal/domain"
	"zonebuild/internal/rrset"
)

// check runs the rules on the sorted records: one function a rule. The list of
// codes is docs/diagnostics.md.
func (z *Zone) check(faults *diag.List) {
	z.checkSOA(faults)
	z.checkApexNS(faults)
	for lo := 0; lo < z.records.Len(); {
		hi := z.records.OwnerEnd(lo)
		z.checkCNAME(lo, hi, faults)
		z.checkDNAME(lo, hi, faults)
		z.checkWildcard(lo, hi, faults)
		z.checkDS(lo, hi, faults)
		lo = hi
	}
	z.checkBelowDNAME(faults)
}

// checkSOA wants one SOA, at the apex (RFC 1035 §5.2).
func (z *Zone) checkSOA(faults *diag.List) {
	s := z.records
	for i := range s.Len() {
		switch {
		case s.Type(i) != dns.TypeSOA:
		case s.Name(i) != z.apex:
			faults.Errorf(s.Pos(i), "soa-not-apex", s.Name(i).String(), "SOA outside the apex %s", z.apex)
		case z.soa >= 0:
			faults.Errorf(s.Pos(i), "soa-second", s.Name(i).String(), "second SOA").At(s.Pos(z.soa), "the first")
		default:
			z.soa = i
		}
	}
	if z.soa < 0 && !z.incomplete {
		faults.Errorf(z.somewhere(), "soa-missing", z.apex.String(), "no SOA: it belongs in soa/")
	}
}

// somewhere is a place for a fault about something that is absent.
func (z *Zone) somewhere() diag.Pos {
	if z.records.Len() == 0 {
		return diag.Pos{}
	}
	return diag.Pos{File: z.records.Pos(0).File}
}

// checkApexNS wants name servers at the apex (RFC 1035 §5.2).
func (z *Zone) checkApexNS(faults *diag.List) {
	if lo, hi := z.records.FindRRset([]byte(z.apex.Wire()), dns.TypeNS); lo == hi && !z.incomplete {
		pos := z.somewhere()
		if z.soa >= 0 {
			pos = z.records.Pos(z.soa)
		}
		faults.Errorf(pos, "ns-missing", z.apex.String(), "no NS at the apex")
	}
}

// checkCNAME refuses other data beside a CNAME and a second CNAME
// (RFC 2181 §10.1).
func (z *Zone) checkCNAME(lo, hi int, faults *diag.List) {
	s := z.records
	first := -1
	for i := lo; i < hi; i++ {
		if s.Type(i) != dns.TypeCNAME {
			continue
		}
		if first >= 0 {
			faults.Errorf(s.Pos(i), "cname-second", s.Name(i).String(), "second CNAME").At(s.Pos(first), "the first")
			continue
		}
		first = i
		if other := otherType(s, lo, hi, dns.TypeCNAME); other >= 0 {
			faults.Errorf(s.Pos(i), "cname-other-data", s.Name(i).String(), "CNAME and other data").At(s.Pos(other), "other data")
		}
	}
}

func otherType(s *rrset.Set, lo, hi int, typ uint16) int {
	for i := lo; i < hi; i++ {
		if s.Type(i) != typ {
			return i
		}
	}
	return -1
}

// checkDNAME wants at most one DNAME at a name (RFC 6672 §2.4).
func (z *Zone) checkDNAME(lo, hi int, faults *diag.List) {
	s := z.records
	first := -1
	for i := lo; i < hi; i++ {
		if s.Type(i) != dns.TypeDNAME {
			continue
		}
		if first >= 0 {
			faults.Errorf(s.Pos(i), "dname-second", s.Name(i).String(), "second DNAME").At(s.Pos(first), "the first")
		}
		first = i
	}
}

// checkWildcard refuses owners whose leftmost label begins with an asterisk
// and is more than that: signers and validators disagree whether such a name is a
// wildcard, so a signature over it may hold for other names too.
func (z *Zone) checkWildcard(lo, _ int, faults *diag.List) {
	owner := z.records.Owner(lo)
	if len(owner) > 2 && owner[0] > 1 && owner[1] == '*' {
		faults.Errorf(z.records.Pos(lo), "wildcard-like", z.records.Name(lo).String(), "the label begins with an asterisk but is no wildcard")
	}
}

// checkDS refuses a DS at the apex, where it would be the parent's, and one
// without a delegation (RFC 4035 §2.4).
func (z *Zone) checkDS(lo, hi int, faults *diag.List) {
	s := z.records
	hasNS := false
	for i := lo; i < hi; i++ {
		switch s.Type(i) {
		case dns.TypeNS:
			hasNS = true
		case dns.TypeDS:
			switch {
			case s.Name(i) == z.apex:
				faults.Errorf(s.Pos(i), "ds-at-apex", s.Name(i).String(), "DS at the apex: it belongs in the parent zone")
			case !hasNS && !z.incomplete: // NS sorts before DS
				faults.Errorf(s.Pos(i), "ds-without-ns", s.Name(i).String(), "DS without NS")
			}
		}
	}
}

// checkBelowDNAME refuses names below a DNAME: they would never be answered
// (RFC 6672 §2.4).
func (z *Zone) checkBelowDNAME(faults *diag.List) {
	s := z.records
	var above domain.Name
	at := -1
	for lo := 0; lo < s.Len(); lo = s.OwnerEnd(lo) {
		name := s.Name(lo)
		if at >= 0 && name.IsBelow(above) {
			faults.Errorf(s.Pos(lo), "below-dname", name.String(), "below a DNAME").At(s.Pos(at), "the DNAME")
			continue
		}
		if d, end := s.FindRRset(s.Owner(lo), dns.TypeDNAME); end > d {
			above, at = name, d
		}
	}
}
