package dnssec

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/miekg/dns"

	"zonebuild/internal/domain"
	"zonebuild/internal/rrset"
	"zonebuild/zone"
)

// Previous is a published zone that is read back: the home of its records, its
// serial and its signatures. It stays text: what did not change is compared and
// copied as such. It is safe for concurrent use.
type Previous struct {
	apex   domain.Name
	file   string
	data   []byte
	groups []uint32   // where the lines of each owner begin, in canonical order
	kinds  []uint8    // likewise: the types of its records that are not the signer's; nil where layout tells
	end    uint32     // of the last line
	top    *rrset.Set // the records of the apex
	serial uint32

	records, signatures int
	sets                int              // RRsets that are not the signer's
	host                int              // records of them
	oldest, newest      uint32           // expirations
	by                  map[signedBy]int // signatures by who made them

	layout *layout // what it was written from, if that is known

	parsed func() (*zone.Zone, error)
}

func newPrevious(apex domain.Name, file string, src []byte) *Previous {
	p := &Previous{apex: apex, file: file, data: src, by: map[signedBy]int{}}
	p.parsed = sync.OnceValues(p.parse)
	return p
}

// noteSignature counts a signature.
func (p *Previous) noteSignature(by signedBy, expires uint32) {
	if len(p.by) == 0 || int32(expires-p.oldest) < 0 {
		p.oldest = expires
	}
	if len(p.by) == 0 || int32(expires-p.newest) > 0 {
		p.newest = expires
	}
	p.signatures++
	p.by[by]++
}

// signedBy says which key made a signature, and whether over a set of keys.
type signedBy struct {
	algorithm uint8
	tag       uint16
	keys      bool
}

// ReadPrevious reads the text of a file that Signed.WriteTo (or Zone.WriteTo)
// wrote. The caller has checked that the bytes are what was written, and leaves
// them alone from now on. Errors: the file is not such a file.
func ReadPrevious(apex domain.Name, file string, src []byte) (*Previous, error) {
	if uint64(len(src)) >= math.MaxUint32 {
		return nil, errors.New("larger than 4 GiB")
	}
	p := newPrevious(apex, file, src)
	if err := p.scan(); err != nil {
		return nil, err
	}
	return p, p.readTop()
}

// scan goes over the lines once: it finds the owners and counts.
func (p *Previous) scan() error {
	r := lineScanner{data: p.data}
	var owner, wire, last []byte
	var typ uint16
	atApex := false
	for r.next() {
		l := &r.line
		if !bytes.Equal(l.owner, owner) || owner == nil {
			var err error
			if wire, err = domain.AppendText(wire[:0], l.owner, domain.Root); err != nil {
				return r.fault(err.Error())
			}
			if last != nil && domain.Compare(last, wire) >= 0 {
				return r.fault("the owners are not in canonical order")
			}
			atApex = string(wire) == p.apex.Wire()
			last = append(last[:0], wire...)
			owner, typ = l.owner, 0
			p.groups, p.kinds = append(p.groups, l.from), append(p.kinds, 0)
		}
		p.end = l.to
		switch {
		case l.typ == dns.TypeRRSIG:
			s, err := l.signature()
			if err != nil {
				return r.fault(err.Error())
			}
			p.noteSignature(signedBy{s.algorithm, s.tag, ofKeys(s.covered)}, s.expiration)
			continue
		case !madeBySigner(l.typ, atApex):
			p.kinds[len(p.kinds)-1] |= kindOf(l.typ)
			if p.host++; l.typ != typ {
				p.sets++
			}
		}
		typ = l.typ
		p.records++
	}
	return r.err
}

// kindOf is the bit of a type; the rarer ones share one.
func kindOf(typ uint16) uint8 {
	switch typ {
	case dns.TypeA:
		return 1
	case dns.TypeAAAA:
		return 1 << 1
	case dns.TypeNS:
		return 1 << 2
	case dns.TypeDS:
		return 1 << 3
	case dns.TypeTXT:
		return 1 << 4
	case dns.TypeMX:
		return 1 << 5
	case dns.TypeCNAME:
		return 1 << 6
	}
	return otherKind
}

const otherKind = 1 << 7

// madeBySigner reports whether the signer makes the records of a type.
func madeBySigner(typ uint16, atApex bool) bool {
	switch typ {
	case dns.TypeNSEC, dns.TypeNSEC3:
		return true
	case dns.TypeDNSKEY, dns.TypeCDS, dns.TypeCDNSKEY, dns.TypeNSEC3PARAM, dns.TypeZONEMD:
		return atApex
	}
	return false
}

// readTop parses the records of the apex, of which more than their text matters.
func (p *Previous) readTop() error {
	if len(p.groups) == 0 {
		return errors.New("no SOA")
	}
	end := p.end
	if len(p.groups) > 1 {
		end = p.groups[1]
	}
	f, faults := zone.Parse(p.file, p.data[p.groups[0]:end], zone.ParseOptions{Apex: p.apex, DNSSEC: true})
	if faults.HasErrors() {
		return errors.New(faults[0].String())
	}
	p.top = f.Records.Sorted()
	lo, hi := p.top.FindRRset([]byte(p.apex.Wire()), dns.TypeSOA)
	if hi-lo != 1 {
		return errors.New("no SOA at the apex, or more than one")
	}
	z, _ := zone.FromRecords(p.apex, p.top)
	p.serial = z.Serial()
	return nil
}

func (p *Previous) parse() (*zone.Zone, error) {
	f, faults := zone.Parse(p.file, p.data, zone.ParseOptions{Apex: p.apex, DNSSEC: true})
	if faults.HasErrors() {
		return nil, errors.New(faults[0].String())
	}
	z, ok := zone.FromRecords(p.apex, f.Records.Sorted())
	if !ok {
		return nil, errors.New("no SOA, or more than one")
	}
	return z, nil
}

// Zone is the zone without what the signer made. It is parsed at the first call:
// that is dear, and comparing needs it not. Errors: the file holds what the
// compiler does not read.
func (p *Previous) Zone() (*zone.Zone, error) {
	z, err := p.parsed()
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", p.file, err)
	}
	return z, nil
}

// Serial is that of the SOA.
func (p *Previous) Serial() uint32 { return p.serial }

// Data is the text that was read. The caller must not change it.
func (p *Previous) Data() []byte { return p.data }

// DNSKEYs are the keys that the zone was published with.
func (p *Previous) DNSKEYs() []dns.DNSKEY {
	lo, hi := p.top.FindRRset([]byte(p.apex.Wire()), dns.TypeDNSKEY)
	var out []dns.DNSKEY
	for i := lo; i < hi; i++ {
		out = append(out, dnskeyFromRdata(p.apex, p.top.Rdata(i)))
	}
	return out
}

// Expirations are those of the signatures that run out first and last; ok is
// false for a zone without any. They mean what is within 68 years of now.
func (p *Previous) Expirations(now time.Time) (first, last time.Time, ok bool) {
	at := func(v uint32) time.Time { return time.Unix(near(v, now.Unix()), 0).UTC() }
	return at(p.oldest), at(p.newest), p.signatures > 0
}

// SignedAt is when the SOA was signed, which is when the zone was made; ok is
// false for an unsigned zone. offset is the inception offset of its policy.
func (p *Previous) SignedAt(offset time.Duration, now time.Time) (at time.Time, ok bool) {
	r := lineScanner{data: p.data, at: p.groups[0]}
	for r.next() && r.line.typ != dns.TypeRRSIG {
	}
	s, err := r.line.signature()
	if r.err != nil || err != nil || s.covered != dns.TypeSOA {
		return time.Time{}, false
	}
	return time.Unix(near(s.inception, now.Unix()), 0).Add(offset).UTC(), true
}

// Counts are the numbers of records (without signatures) and of signatures.
func (p *Previous) Counts() (records, signatures int) { return p.records, p.signatures }

// HostRecords is the number of records that the signer did not make.
func (p *Previous) HostRecords() int { return p.host }

// SameRecords reports whether an unsigned zone holds the records of z, the
// serial aside.
func (p *Previous) SameRecords(z *zone.Zone) bool {
	if p.signatures > 0 {
		return false
	}
	z, err := z.WithSerial(p.serial)
	if err != nil {
		return false
	}
	rest := textComparer{p.data[p.groups[0]:p.end]}
	_, err = z.WriteTo(&rest)
	return err == nil && len(rest.text) == 0
}

var errOther = errors.New("other text")

// textComparer is a writer that fails at the first byte that it has not.
type textComparer struct{ text []byte }

func (c *textComparer) Write(b []byte) (int, error) {
	if !bytes.HasPrefix(c.text, b) {
		return 0, errOther
	}
	c.text = c.text[len(b):]
	return len(b), nil
}
