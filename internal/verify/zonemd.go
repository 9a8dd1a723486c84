package verify

import (
	"bytes"
	"crypto/sha512"
	"encoding/binary"
	hashes "hash"

	"github.com/miekg/dns"

	"zonebuild/internal/domain"
)

// Hash algorithms and the scheme of RFC 8976 §5.2, §5.3.
const (
	zonemdSimple = 1
	zonemdSHA384 = 1
	zonemdSHA512 = 2
)

// checkDigest checks each ZONEMD of the apex whose scheme and algorithm are
// known (RFC 8976 §4).
func (c *checker) checkDigest() {
	lo, hi := c.groupOf(c.apex)
	type pair struct{ scheme, algorithm uint8 }
	seen := map[pair]uint32{}
	for i := lo; i < hi; i++ {
		if c.recs[i].typ != dns.TypeZONEMD {
			continue
		}
		b, line := c.rdata(i), c.recs[i].line
		p := pair{b[4], b[5]}
		if other, ok := seen[p]; ok {
			c.errorf(line, "zonemd-mismatch", c.apex, "second ZONEMD of scheme %d and algorithm %d", p.scheme, p.algorithm).
				At(c.pos(other), "first one")
			continue
		}
		seen[p] = line
		if serial := binary.BigEndian.Uint32(b); serial != c.serial {
			c.errorf(line, "zonemd-mismatch", c.apex, "ZONEMD is for serial %d, SOA has %d", serial, c.serial)
			continue
		}
		var h hashes.Hash
		switch {
		case p.scheme == zonemdSimple && p.algorithm == zonemdSHA384:
			h = sha512.New384()
		case p.scheme == zonemdSimple && p.algorithm == zonemdSHA512:
			h = sha512.New()
		default:
			c.warnf(line, "zonemd-unknown", c.apex, "cannot check ZONEMD of scheme %d and algorithm %d", p.scheme, p.algorithm)
			continue
		}
		if !bytes.Equal(c.digest(h), b[6:]) {
			c.errorf(line, "zonemd-mismatch", c.apex, "ZONEMD is not the digest of the zone")
		}
	}
}

// digest is the simple scheme: all records of the zone in canonical order and
// form but the apex ZONEMD and its signatures (RFC 8976 §3.3.1).
func (c *checker) digest(h hashes.Hash) []byte {
	var buf []byte
	for i := range c.recs {
		name := c.owner(i)
		if !domain.IsWithin(name, c.apex) {
			continue
		}
		if t := c.recs[i].typ; (t == dns.TypeZONEMD || t == dns.TypeRRSIG && c.covered(i) == dns.TypeZONEMD) && bytes.Equal(name, c.apex) {
			continue
		}
		buf = c.canonicalRecord(buf[:0], name, i, c.recs[i].ttl)
		h.Write(buf)
	}
	return h.Sum(nil)
}
