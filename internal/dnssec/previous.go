package dnssec

import (
	"encoding/binary"
	"errors"
	"time"

	"github.com/miekg/dns"

	"zonebuild/internal/domain"
	"zonebuild/internal/rrset"
	"zonebuild/zone"
)

// Previous is a published zone that is read back: the home of its records, its
// serial and its signatures.
type Previous struct {
	Zone    *zone.Zone // the records without what the signer made
	records *rrset.Set // all of them, sorted
}

// ReadPrevious reads the text of a file that Signed.WriteTo (or Zone.WriteTo)
// wrote. The caller has checked that the bytes are what was written. Errors:
// the file is not such a file.
func ReadPrevious(apex domain.Name, file string, src []byte) (*Previous, error) {
	f, faults := zone.Parse(file, src, zone.ParseOptions{Apex: apex, DNSSEC: true})
	if faults.HasErrors() {
		return nil, errors.New(faults[0].String())
	}
	p := &Previous{records: f.Records.Sorted()}
	var ok bool
	if p.Zone, ok = zone.FromRecords(apex, p.records); !ok {
		return nil, errors.New("no SOA, or more than one")
	}
	return p, nil
}

// DNSKEYs are the keys that the zone was published with.
func (p *Previous) DNSKEYs() []dns.DNSKEY {
	lo, hi := p.records.FindRRset([]byte(p.Zone.Apex().Wire()), dns.TypeDNSKEY)
	var out []dns.DNSKEY
	for i := lo; i < hi; i++ {
		out = append(out, dnskeyFromRdata(p.Zone.Apex(), p.records.Rdata(i)))
	}
	return out
}

// OldestExpiration is the expiration that comes first; ok is false for a zone
// without signatures.
func (p *Previous) OldestExpiration(now int64) (first int64, ok bool) {
	for i := range p.records.Len() {
		if p.records.Type(i) != dns.TypeRRSIG {
			continue
		}
		if _, e := sigTimes(p.records.Rdata(i), now); !ok || e < first {
			first, ok = e, true
		}
	}
	return first, ok
}

// NewestExpiration is the expiration that comes last; ok is false for a zone
// without signatures.
func (p *Previous) NewestExpiration(now int64) (last int64, ok bool) {
	for i := range p.records.Len() {
		if p.records.Type(i) != dns.TypeRRSIG {
			continue
		}
		if _, e := sigTimes(p.records.Rdata(i), now); !ok || e > last {
			last, ok = e, true
		}
	}
	return last, ok
}

// SignedAt is when the SOA was signed, which is when the zone was made; ok is
// false for an unsigned zone. offset is the inception offset of its policy.
func (p *Previous) SignedAt(offset time.Duration, now time.Time) (at time.Time, ok bool) {
	lo, hi := p.records.FindRRset([]byte(p.Zone.Apex().Wire()), dns.TypeRRSIG)
	for i := lo; i < hi; i++ {
		if r := p.records.Rdata(i); binary.BigEndian.Uint16(r) == dns.TypeSOA {
			inception, _ := sigTimes(r, now.Unix())
			return time.Unix(inception, 0).Add(offset).UTC(), true
		}
	}
	return time.Time{}, false
}

// Counts are the numbers of records (without signatures) and of signatures.
func (p *Previous) Counts() (records, signatures int) {
	for i := range p.records.Len() {
		if p.records.Type(i) == dns.TypeRRSIG {
			signatures++
		} else {
			records++
		}
	}
	return records, signatures
}

// cursor walks the owners of a previous zone beside those of a new one.
type cursor struct {
	s      *rrset.Set // nil: no previous zone
	lo, hi int
}

// seek moves to owner, which must not be before the last one sought.
func (c *cursor) seek(owner []byte) {
	if c.s == nil {
		return
	}
	if c.lo < c.hi && string(c.s.Owner(c.lo)) == string(owner) {
		return
	}
	for c.lo = c.hi; c.lo < c.s.Len() && domain.Compare(c.s.Owner(c.lo), owner) < 0; {
		c.lo = c.s.OwnerEnd(c.lo)
	}
	c.hi = c.lo
	if c.lo < c.s.Len() && string(c.s.Owner(c.lo)) == string(owner) {
		c.hi = c.s.OwnerEnd(c.lo)
	}
}

// rrset is the range of the RRset of typ at the owner sought.
func (c *cursor) rrset(typ uint16) (lo, hi int) {
	for lo = c.lo; lo < c.hi && c.s.Type(lo) != typ; lo++ {
	}
	for hi = lo; hi < c.hi && c.s.Type(hi) == typ; hi++ {
	}
	return lo, hi
}

// signature finds the RRSIG over typ by the key of that algorithm and tag.
func (c *cursor) signature(typ uint16, k *Key) int {
	lo, hi := c.rrset(dns.TypeRRSIG)
	for i := lo; i < hi; i++ {
		r := c.s.Rdata(i)
		if binary.BigEndian.Uint16(r) == typ && r[2] == k.DNSKEY.Algorithm && binary.BigEndian.Uint16(r[16:]) == k.Tag {
			return i
		}
	}
	return -1
}
