package verify

import (
	"bytes"
	"encoding/binary"
	"slices"
	"sort"

	"github.com/miekg/dns"

	"zonebuild/internal/domain"
)

// checker goes over a settled zone once, in canonical order, and then over
// what it collected: signatures, hashes, digest.
type checker struct {
	*zone
	*faults
	options Options
	now     uint32 // as RRSIGs have it
	report  Report

	apex           []byte
	soaTTL, minTTL uint32 // minTTL: of denial records (RFC 9077)
	serial         uint32

	keys         []key
	unknown      algorithms // of keys, not to be checked here
	required     algorithms // to sign each authoritative RRset
	requiredKeys algorithms // to sign the DNSKEY set
	hasSEP       bool

	walk  walker
	nsec  nsecChain
	nsec3 nsec3Chain
	jobs  []job
}

func newChecker(z *zone, f *faults, o Options) *checker {
	return &checker{zone: z, faults: f, options: o, now: uint32(o.Now.Unix()), report: newReport()}
}

func (c *checker) check() {
	c.report.Records = len(c.recs)
	if !c.findApex() {
		return
	}
	lo, hi := c.groupOf(c.apex)
	c.readSOA(lo, hi)
	c.readKeys(lo, hi)
	c.report.Signed = len(c.keys) > 0
	switch {
	case c.report.Signed:
		c.readDenial(lo, hi)
	case c.count.rrsig+c.count.nsec+c.count.nsec3+c.count.dnskey > 0:
		c.errorf(0, "dnskey-missing", c.apex, "zone has DNSSEC records but no DNSKEY at its apex")
	case !c.options.AllowUnsigned || len(c.options.DS) > 0:
		c.errorf(0, "not-signed", c.apex, "zone is not signed")
	}
	c.jobs = make([]job, 0, c.count.rrsig)
	for lo := 0; lo < len(c.recs); {
		hi := c.end(lo)
		c.owners(lo, hi)
		lo = hi
	}
	if c.report.Signed {
		c.nsec.finish(c)
		c.nsec3.finish(c)
		c.checkSignatures()
		c.checkDS()
	}
	c.checkDigest()
}

// findApex takes the apex from the options or from the first SOA.
func (c *checker) findApex() bool {
	switch {
	case !c.options.Apex.IsZero():
		c.apex = []byte(c.options.Apex.Wire())
	case c.firstSOA != nil:
		c.apex = c.firstSOA
	default:
		c.errorf(0, "soa-missing", nil, "zone has no SOA")
		return false
	}
	name, _ := domain.FromWire(c.apex)
	c.report.Apex = name
	return true
}

// groupOf gives the range of the records of an owner; it may be empty.
func (c *checker) groupOf(owner []byte) (lo, hi int) {
	lo = sort.Search(len(c.recs), func(i int) bool { return domain.Compare(c.owner(i), owner) >= 0 })
	if lo == len(c.recs) || !bytes.Equal(c.owner(lo), owner) {
		return lo, lo
	}
	return lo, c.end(lo)
}

// readSOA wants one SOA and the NS set at the apex.
func (c *checker) readSOA(lo, hi int) {
	first, ns := -1, false
	for i := lo; i < hi; i++ {
		switch c.recs[i].typ {
		case dns.TypeNS:
			ns = true
		case dns.TypeSOA:
			if first < 0 || c.recs[i].line < c.recs[first].line {
				first = i
			}
		}
	}
	if first < 0 {
		c.errorf(0, "soa-missing", c.apex, "zone has no SOA at its apex")
	} else {
		b := c.rdata(first)
		b = b[len(b)-20:]
		c.serial = binary.BigEndian.Uint32(b)
		c.soaTTL = c.recs[first].ttl
		c.minTTL = min(c.soaTTL, binary.BigEndian.Uint32(b[16:]))
		c.report.Serial = c.serial
		for i := lo; i < hi; i++ {
			if c.recs[i].typ == dns.TypeSOA && i != first {
				c.errorf(c.recs[i].line, "soa-second", c.apex, "second SOA").At(c.pos(c.recs[first].line), "first SOA")
			}
		}
	}
	if !ns {
		c.errorf(0, "ns-missing", c.apex, "zone has no NS at its apex")
	}
}

// rrset is a range of records of one owner and type.
type rrset struct {
	typ    uint16
	lo, hi int
}

// sets splits the records of an owner; those of type RRSIG come apart.
func (c *checker) sets(dst []rrset, lo, hi int) (sets []rrset, sigs rrset) {
	for i := lo; i < hi; {
		j := i + 1
		for j < hi && c.recs[j].typ == c.recs[i].typ {
			j++
		}
		s := rrset{c.recs[i].typ, i, j}
		if s.typ == dns.TypeRRSIG {
			sigs = s
		} else {
			dst = append(dst, s)
		}
		i = j
	}
	return dst, sigs
}

// find gives the set of a type, if there.
func find(sets []rrset, typ uint16) (rrset, bool) {
	i := slices.IndexFunc(sets, func(s rrset) bool { return s.typ == typ })
	if i < 0 {
		return rrset{}, false
	}
	return sets[i], true
}
