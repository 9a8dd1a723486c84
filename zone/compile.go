// Package zone compiles fragments of zone files into one zone: it cuts and
// parses master files (RFC 1035 §5, RFC 3597) with the place of every record,
// checks what they make together, and writes the result in canonical order
// (RFC 4034 §6). miekg/dns reads the rarer types.
//
// It reports all faults of all fragments in one run. It refuses what a name
// server would refuse or, worse, take in another sense than the author's.
package zone

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"

	"github.com/miekg/dns"

	"zonebuild/internal/diag"
	"zonebuild/internal/domain"
	"zonebuild/internal/rrset"
)

// Zone is a compiled zone. It is immutable.
type Zone struct {
	apex    domain.Name
	records *rrset.Set // sorted; one TTL per RRset, no duplicates
	soa     int        // index of the SOA record
}

// unknownTTL stands for the $TTL of a soa/ fragment that could not be read.
const unknownTTL = -2

// Compile is Rules.Compile for a zone of which no policy asks anything.
func Compile(apex domain.Name, fragments ...Fragment) (*Zone, diag.List) {
	return Rules{}.Compile(apex, fragments...)
}

// Compile makes one zone of fragments. The first fragment is the soa/ one: the
// SOA stands there and nowhere else, and its $TTL serves records of the others
// that have neither a TTL nor a $TTL of their own. Guests are admitted after
// the host fragments, file by file; one that does not fit is dropped whole
// with a warning. The zone is nil when the list has an error, or when a host
// fragment is incomplete: then what the present records do wrong is reported,
// but not what may only be missing.
func (r Rules) Compile(apex domain.Name, fragments ...Fragment) (*Zone, diag.List) {
	z, _, faults := r.compile(apex, rangeMin, nil, fragments...)
	return z, faults
}

// CompileAgain is Compile, with the same result, for a zone of which an earlier
// compilation is kept: where a few lines of its host fragments changed (ParseAgain),
// the records are not put into order again. It gives what to keep for the next
// time. was may be nil.
func (r Rules) CompileAgain(was *Host, apex domain.Name, fragments ...Fragment) (*Zone, *Host, diag.List) {
	return r.compile(apex, rangeMin, was, fragments...)
}

func (r Rules) compile(apex domain.Name, rangeMin int, was *Host, fragments ...Fragment) (*Zone, *Host, diag.List) {
	var faults diag.List
	var hosts, guests []Fragment
	c := &checker{name: apex, apex: []byte(apex.Wire()), soa: -1, rules: r, rangeMin: rangeMin, faults: &faults}
	fallback := int64(-1)
	for i, f := range fragments {
		if i == 0 {
			fallback = f.TTL
			if fallback < 0 && f.Incomplete {
				fallback = unknownTTL
			}
		}
		if f.Guest {
			guests = append(guests, f)
			continue
		}
		c.incomplete = c.incomplete || f.Incomplete
		if f.Records != nil {
			hosts = append(hosts, f)
		}
	}
	host, err := compileHost(was, hosts, fallback, &faults)
	if err != nil {
		faults.Errorf(diag.Pos{}, "too-large", apex.String(), "%s", err)
		return nil, nil, faults
	}
	c.s = host.records
	c.errors()
	z := &Zone{apex: apex, records: c.s, soa: c.soa}
	if faults.HasErrors() || c.incomplete {
		c.warnings()
		return nil, host, faults
	}
	if len(guests) > 0 {
		if err := z.admit(r, guests, &faults); err != nil {
			faults.Errorf(diag.Pos{}, "too-large", apex.String(), "%s", err)
			return nil, host, faults
		}
		c.s, c.soa = z.records, z.soa
	}
	c.warnings()
	return z, host, faults
}

// normalize settles open TTLs, gives each RRset one TTL (the lowest; RFC 2181
// §5.2) and drops duplicate records, in a set that nobody else has.
func normalize(s *rrset.Set, fallback int64, faults *diag.List) *rrset.Set {
	end, ttl := 0, uint32(0)
	return s.EditOwn(func(i int) (uint32, bool) {
		if i >= end {
			end = s.RRsetEnd(i)
			ttl = rrsetTTL(s, i, end, fallback, faults)
		}
		if i > 0 && s.Type(i) == s.Type(i-1) && s.SameOwner(i, i-1) && bytes.Equal(s.Rdata(i), s.Rdata(i-1)) {
			faults.Warnf(s.Pos(i), "duplicate", s.Name(i).String(), "%s record stands twice, one is dropped", TypeName(s.Type(i))).
				At(s.Pos(i-1), "the other")
			return ttl, false
		}
		return ttl, true
	})
}

func rrsetTTL(s *rrset.Set, lo, hi int, fallback int64, faults *diag.List) uint32 {
	lowest, at, mixed := int64(-1), lo, -1
	for i := lo; i < hi; i++ {
		v, given := s.TTL(i)
		ttl := int64(v)
		if !given {
			if fallback == unknownTTL {
				continue
			}
			if ttl = fallback; ttl < 0 {
				faults.Errorf(s.Pos(i), "ttl-missing", s.Name(i).String(), "no TTL, and no $TTL in this file or in the soa/ fragment")
				ttl = 0
			}
		}
		switch {
		case lowest < 0:
			lowest = ttl
		case ttl != lowest && mixed < 0:
			mixed = i
		}
		if ttl < lowest {
			lowest, at = ttl, i
		}
	}
	if mixed >= 0 {
		other := mixed
		if other == at {
			other = lo
		}
		faults.Warnf(s.Pos(other), "ttl-mixed", s.Name(lo).String(), "the %s records have different TTLs, all get %d", TypeName(s.Type(lo)), lowest).
			At(s.Pos(at), "the lowest TTL")
	}
	return uint32(max(lowest, 0))
}

// Apex is the name of the zone.
func (z *Zone) Apex() domain.Name { return z.apex }

// Records are all records in canonical order.
func (z *Zone) Records() *rrset.Set { return z.records }

// SOA is the index of the SOA record in Records.
func (z *Zone) SOA() int { return z.soa }

// Serial is the serial of the SOA.
func (z *Zone) Serial() uint32 {
	rdata := z.records.Rdata(z.soa)
	return binary.BigEndian.Uint32(rdata[len(rdata)-20:])
}

// Minimum is the SOA MINIMUM field in seconds.
func (z *Zone) Minimum() uint32 {
	rdata := z.records.Rdata(z.soa)
	return binary.BigEndian.Uint32(rdata[len(rdata)-4:])
}

// WithSerial is the same zone with another SOA serial.
func (z *Zone) WithSerial(serial uint32) (*Zone, error) {
	rdata := slices.Clone(z.records.Rdata(z.soa))
	binary.BigEndian.PutUint32(rdata[len(rdata)-20:], serial)
	records, err := z.records.WithRdata(z.soa, rdata)
	if err != nil {
		return nil, err
	}
	return &Zone{apex: z.apex, records: records, soa: z.soa}, nil
}

// FromRecords makes a zone of the records of a published one: DNSSEC records
// that the signer made are left out. It trusts its input.
func FromRecords(apex domain.Name, s *rrset.Set) (*Zone, bool) {
	z := &Zone{apex: apex, soa: -1}
	z.records = s.Edit(func(i int) (uint32, bool) {
		ttl, _ := s.TTL(i)
		return ttl, !MadeBySigner(s.Type(i))
	})
	lo, hi := z.records.FindRRset([]byte(apex.Wire()), dns.TypeSOA)
	z.soa = lo
	return z, hi == lo+1
}

// MadeBySigner reports whether the signer makes records of the type.
func MadeBySigner(typ uint16) bool {
	switch typ {
	case dns.TypeRRSIG, dns.TypeNSEC, dns.TypeNSEC3, dns.TypeNSEC3PARAM, dns.TypeDNSKEY, dns.TypeCDS, dns.TypeCDNSKEY, dns.TypeZONEMD:
		return true
	}
	return false
}

// admit adds the guests that fit, in their order.
func (z *Zone) admit(r Rules, guests []Fragment, faults *diag.List) error {
	var sets []*rrset.Set
	sizes := make(map[string]int) // of the RRsets that guests touch
	for _, g := range guests {
		why, i := z.refuses(r, g)
		if why == "" {
			why, i = z.outgrown(g, sizes)
		}
		switch {
		case why == "":
			sets = append(sets, z.withHostTTL(g.Records))
		case g.Records == nil || g.Records.Len() == 0:
			faults.Warnf(diag.Pos{File: g.Name}, "guest-dropped", "", "the file is left out: %s", why)
		default:
			faults.Warnf(g.Records.Pos(i), "guest-dropped", g.Records.Name(i).String(), "the file is left out: %s", why)
		}
	}
	if len(sets) == 0 {
		return nil
	}
	sorted, err := rrset.Sort(sets...)
	if err != nil {
		return err
	}
	var quiet diag.List // a guest that repeats a record is no fault
	add := normalize(sorted, -1, &quiet)
	records, _, err := z.records.Edited(rrset.Edit{Add: add.Filter(func(i int) bool { return !z.has(add, i) })})
	if err != nil {
		return err
	}
	z.records = records
	lo, _ := z.records.FindRRset([]byte(z.apex.Wire()), dns.TypeSOA)
	z.soa = lo
	return nil
}

// has reports whether the zone has record i of a set, whatever its TTL.
func (z *Zone) has(s *rrset.Set, i int) bool {
	lo, hi := z.records.FindRRset(s.Owner(i), s.Type(i))
	for lo < hi && !bytes.Equal(z.records.Rdata(lo), s.Rdata(i)) {
		lo++
	}
	return lo < hi
}

// outgrown says which record of a guest would make its RRset too large for a
// message (checkSize). The sizes grow with each guest that fits.
func (z *Zone) outgrown(g Fragment, sizes map[string]int) (string, int) {
	s := g.Records
	grown := make(map[string]int)
	for i := range s.Len() {
		key := string(binary.BigEndian.AppendUint16(bytes.Clone(s.Owner(i)), s.Type(i)))
		size, ok := grown[key]
		if !ok {
			size, ok = sizes[key]
		}
		lo, hi := z.records.FindRRset(s.Owner(i), s.Type(i))
		if !ok {
			size = messageSize(z.records, s.Owner(i), lo, hi)
		}
		for lo < hi && !bytes.Equal(z.records.Rdata(lo), s.Rdata(i)) {
			lo++
		}
		if lo == hi {
			size += recordSize(s, i)
		}
		if size > dns.MaxMsgSize {
			return fmt.Sprintf("the %s records would need a message of %d octets, at most %d are possible", TypeName(s.Type(i)), size, dns.MaxMsgSize), i
		}
		grown[key] = size
	}
	maps.Copy(sizes, grown)
	return "", 0
}

// refuses says why a guest's records cannot join the zone, and which of them.
func (z *Zone) refuses(r Rules, g Fragment) (string, int) {
	s := g.Records
	if s == nil || g.Incomplete {
		return "a part of it could not be read", 0
	}
	for i := range s.Len() {
		name, typ := s.Name(i), s.Type(i)
		ttl, given := s.TTL(i)
		if !given {
			return "a record has no TTL", i
		}
		if lo, hi := z.records.FindRRset(s.Owner(i), typ); r.Refresh > 0 && ttl >= r.Refresh && lo == hi {
			return fmt.Sprintf("its TTL %d is not below the policy's refresh of %d seconds", ttl, r.Refresh), i
		}
		if !name.IsWithin(z.apex) {
			return "its owner is outside the zone", i
		}
		if isWildcardLike(s.Owner(i)) {
			return "its owner begins with an asterisk but is no wildcard", i
		}
		if typ == dns.TypeCNAME || typ == dns.TypeDNAME || typ == dns.TypeSOA || typ == dns.TypeNS || typ == dns.TypeDS || MadeBySigner(typ) {
			return "a guest may not bring " + TypeName(typ), i
		}
		if lo, hi := z.records.FindRRset(s.Owner(i), dns.TypeCNAME); hi > lo {
			return "a CNAME stands at its owner (" + z.records.Pos(lo).String() + ")", i
		}
		for n := name; n != z.apex; n = n.Parent() {
			if lo, hi := z.records.FindRRset([]byte(n.Wire()), dns.TypeNS); hi > lo {
				return "its owner is in the delegated zone " + n.String(), i
			}
			if lo, hi := z.records.FindRRset([]byte(n.Wire()), dns.TypeDNAME); hi > lo && n != name {
				return "its owner is below the DNAME " + n.String(), i
			}
		}
		if hidden, ok := z.hides(name); ok && !g.MayHide {
			return "it would make " + hidden.String() + " exist, for which a wildcard answers", i
		}
	}
	return "", 0
}

// hides gives the name above an owner that would begin to exist with it, and for
// which a wildcard answers now (RFC 4592 §2.2.2).
func (z *Zone) hides(owner domain.Name) (domain.Name, bool) {
	made := owner
	for n := owner; n != z.apex; n = n.Parent() {
		if at, end := z.records.Find([]byte(n.Wire())); end > at || at < z.records.Len() && z.records.Name(at).IsWithin(n) {
			break // it exists
		}
		made = n
	}
	if made == owner {
		return made, false
	}
	lo, hi := z.records.Find(wildcardOf([]byte(made.Parent().Wire())))
	return made, hi > lo
}

// withHostTTL gives records that join an RRset of the host its TTL, so that no
// guest can lower it.
func (z *Zone) withHostTTL(s *rrset.Set) *rrset.Set {
	return s.Edit(func(i int) (uint32, bool) {
		ttl, _ := s.TTL(i)
		if lo, hi := z.records.FindRRset(s.Owner(i), s.Type(i)); hi > lo {
			ttl, _ = z.records.TTL(lo)
		}
		return ttl, true
	})
}
