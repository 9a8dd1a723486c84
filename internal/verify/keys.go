package verify

import (
	"bytes"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/binary"
	"encoding/hex"

	"github.com/miekg/dns"

	"zonebuild/internal/domain"
)

// key is a DNSKEY of the apex.
type key struct {
	rec       int // index of its record
	rdata     []byte
	flags     uint16
	algorithm uint8
	tag       uint16
	public    publicKey
	err       error // why public cannot be used

	signsKeys bool // a signature of it over the DNSKEY set passed all checks so far
}

// usable: a key without the zone bit or with another protocol than 3 must not
// be used (RFC 4034 §2.1.1, §2.1.2).
func (k *key) usable() bool  { return k.flags&dns.ZONE != 0 && k.rdata[2] == 3 }
func (k *key) revoked() bool { return k.flags&dns.REVOKE != 0 }
func (k *key) sep() bool     { return k.flags&dns.SEP != 0 && !k.revoked() }

// keyTag is RFC 4034 Appendix B.
func keyTag(rdata []byte) uint16 {
	if rdata[3] == dns.RSAMD5 && len(rdata) >= 7 {
		return binary.BigEndian.Uint16(rdata[len(rdata)-3:])
	}
	var sum uint32
	for i, b := range rdata {
		if i&1 == 0 {
			sum += uint32(b) << 8
		} else {
			sum += uint32(b)
		}
	}
	sum += sum >> 16 & 0xffff
	return uint16(sum)
}

// algorithms is a set of algorithm numbers in order of their first addition.
type algorithms []uint8

func (a *algorithms) add(n uint8) {
	if bytes.IndexByte(*a, n) < 0 {
		*a = append(*a, n)
	}
}

func (a algorithms) has(n uint8) bool { return bytes.IndexByte(a, n) >= 0 }

// readKeys takes the DNSKEY set at the apex and finds what is wrong with it.
func (c *checker) readKeys(lo, hi int) {
	for i := lo; i < hi; i++ {
		if c.recs[i].typ != dns.TypeDNSKEY {
			continue
		}
		b := c.rdata(i)
		k := key{rec: i, rdata: b, flags: binary.BigEndian.Uint16(b), algorithm: b[3], tag: keyTag(b)}
		k.public, k.err = newPublicKey(k.algorithm, b[4:])
		c.report.Keys = append(c.report.Keys, KeyInfo{k.tag, k.algorithm, k.flags})
		line := c.recs[i].line
		for _, other := range c.keys {
			if other.tag == k.tag && other.algorithm == k.algorithm {
				c.errorf(line, "key-tag-collision", c.apex, "two DNSKEYs of algorithm %s have the key tag %d",
					algorithmText(k.algorithm), k.tag).At(c.pos(c.recs[other.rec].line), "other key")
				break
			}
		}
		switch {
		case k.rdata[2] != 3:
			c.errorf(line, "dnskey-protocol", c.apex, "DNSKEY %d has protocol %d, not 3", k.tag, k.rdata[2])
		case k.err != nil && k.err != errAlgorithm:
			c.errorf(line, "dnskey-bad", c.apex, "DNSKEY %d: %v", k.tag, k.err)
		case k.err == errAlgorithm && !c.unknown.has(k.algorithm):
			c.unknown.add(k.algorithm)
			c.errorf(line, "rrsig-algorithm", c.apex,
				"cannot check signatures of algorithm %s: unknown here", algorithmText(k.algorithm))
		}
		c.keys = append(c.keys, k)
	}
	for i := range c.keys {
		k := &c.keys[i]
		if !k.usable() || k.revoked() {
			continue
		}
		c.required.add(k.algorithm)
		if k.sep() {
			c.requiredKeys.add(k.algorithm)
			c.hasSEP = true
		}
	}
	if !c.hasSEP {
		c.requiredKeys = c.required
	}
}

// maxColliding bounds how many keys of one tag a signature is tried with.
const maxColliding = 4

// keysFor gives the indexes of the keys that a signature may be of.
func (c *checker) keysFor(dst []uint16, s sig) []uint16 {
	for i := range c.keys {
		k := &c.keys[i]
		if k.tag == s.tag && k.algorithm == s.algorithm && k.usable() && len(dst) < maxColliding {
			dst = append(dst, uint16(i))
		}
	}
	return dst
}

// checkDS compares the parent's DS set with the keys (RFC 4035 §5.2).
func (c *checker) checkDS() {
	if len(c.options.DS) == 0 {
		return
	}
	unknown := 0
	for _, ds := range c.options.DS {
		want, err := hex.DecodeString(ds.Digest)
		if owner, nameErr := domain.Parse(ds.Hdr.Name); err != nil || nameErr != nil || owner.Wire() != string(c.apex) {
			continue
		}
		for i := range c.keys {
			k := &c.keys[i]
			if k.tag != ds.KeyTag || k.algorithm != ds.Algorithm || !k.usable() || k.revoked() {
				continue
			}
			got, ok := digestOf(ds.DigestType, c.apex, k.rdata)
			if !ok {
				unknown++
				continue
			}
			if bytes.Equal(got, want) && k.signsKeys {
				return
			}
		}
	}
	line := c.recs[c.keys[0].rec].line
	if unknown > 0 {
		c.errorf(line, "ds-mismatch", c.apex, "cannot check %d of %d DS records: unknown digest type; no other matches a key that signs the DNSKEY set",
			unknown, len(c.options.DS))
		return
	}
	c.errorf(line, "ds-mismatch", c.apex, "none of %d DS records matches a key that signs the DNSKEY set", len(c.options.DS))
}

// digestOf is the digest of a DS record: of the owner and the DNSKEY rdata
// (RFC 4034 §5.1.4).
func digestOf(digestType uint8, owner, rdata []byte) ([]byte, bool) {
	data := append(bytes.Clone(owner), rdata...)
	switch digestType {
	case dns.SHA1:
		d := sha1.Sum(data)
		return d[:], true
	case dns.SHA256:
		d := sha256.Sum256(data)
		return d[:], true
	case dns.SHA384:
		d := sha512.Sum384(data)
		return d[:], true
	}
	return nil, false
}
