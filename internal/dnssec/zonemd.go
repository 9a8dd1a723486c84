package dnssec

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"slices"

	"github.com/miekg/dns"

	"zonebuild/internal/verify"
)

// setDigest makes the ZONEMD record of a zone whose other records and
// signatures are done, and signs it (RFC 8976 §3).
func (s *Signed) setDigest(marks []verify.Mark) ([]verify.Mark, error) {
	p := s.plan
	at := slices.IndexFunc(p.items, func(it item) bool { return it.from == fromMade && p.made.Type(int(it.lo)) == dns.TypeZONEMD })
	it := p.items[at]
	rdata := binary.BigEndian.AppendUint32(nil, s.zone.Serial())
	rdata = append(rdata, zonemdSimple, p.policy.ZoneMD)
	rdata = s.appendDigest(rdata, at)
	var err error
	if s.made, err = p.made.WithRdata(int(it.lo), rdata); err != nil {
		return marks, err
	}
	var buf scratch
	err = s.signItem(it, &buf, &marks)
	return marks, err
}

// appendDigest hashes all records in canonical order and form, but for the
// ZONEMD set, which is item skip, and its signatures (RFC 8976 §3.3).
func (s *Signed) appendDigest(dst []byte, skip int) []byte {
	type record struct {
		typ   uint16
		ttl   uint32
		rdata []byte
	}
	h := zonemdHash(s.plan.policy.ZoneMD)
	var owner, line []byte
	var records []record
	flush := func() {
		slices.SortFunc(records, func(a, b record) int {
			if c := cmp.Compare(a.typ, b.typ); c != 0 {
				return c
			}
			return bytes.Compare(a.rdata, b.rdata)
		})
		for _, r := range records {
			line = append(line[:0], owner...)
			line = binary.BigEndian.AppendUint16(line, r.typ)
			line = binary.BigEndian.AppendUint16(line, dns.ClassINET)
			line = binary.BigEndian.AppendUint32(line, r.ttl)
			line = binary.BigEndian.AppendUint16(line, uint16(len(r.rdata)))
			h.Write(append(line, r.rdata...))
		}
		records = records[:0]
	}
	for i, it := range s.plan.items {
		set := s.set(it)
		if name := set.Owner(int(it.lo)); !bytes.Equal(name, owner) {
			flush()
			owner = name
		}
		if i == skip {
			continue
		}
		ttl, _ := set.TTL(int(it.lo))
		for r := int(it.lo); r < int(it.hi); r++ {
			records = append(records, record{set.Type(r), ttl, set.Rdata(r)})
		}
		if it.slot < 0 {
			continue
		}
		for j, k := range s.plan.signers(it) {
			records = append(records, record{dns.TypeRRSIG, ttl, s.rrsig(nil, it, int(it.slot)+j, &s.plan.keys[k])})
		}
	}
	flush()
	return h.Sum(dst)
}
