package verify

import (
	"bytes"
	"encoding/binary"
	"time"

	"github.com/miekg/dns"

	"zonebuild/internal/domain"
)

// job is a signature that passed all checks but the public-key operation:
// record sig over the RRset [lo, hi).
type job struct{ lo, hi, sig uint32 }

// signatures checks the RRSIGs at a name: each authoritative RRset has one of
// each algorithm (RFC 4035 §2.2), nothing else has any.
func (c *checker) signatures(name []byte, sets []rrset, sigs rrset, r role) {
	at := sigs.lo
	for _, s := range sets {
		// Both are in order of type, since an RRSIG's rdata begins with the type it covers.
		for at < sigs.hi && c.covered(at) < s.typ {
			c.extra(name, at, "signature covers no RRset: there is no %s here", typeText(c.covered(at)))
			at++
		}
		end := at
		for end < sigs.hi && c.covered(end) == s.typ {
			end++
		}
		if c.isSigned(s.typ, r) {
			c.signaturesOf(name, s, at, end)
		} else {
			for i := at; i < end; i++ {
				c.extra(name, i, "%s RRset is signed but is not authoritative data here", typeText(s.typ))
			}
		}
		at = end
	}
	for ; at < sigs.hi; at++ {
		c.extra(name, at, "signature covers no RRset: there is no %s here", typeText(c.covered(at)))
	}
}

func (c *checker) covered(i int) uint16 { return binary.BigEndian.Uint16(c.rdata(i)) }

func (c *checker) extra(name []byte, i int, format string, t string) {
	c.errorf(c.recs[i].line, "rrsig-extra", name, format, t)
}

// isSigned reports whether RRsets of a type are signed at a name of that role:
// at a delegation point only what the parent speaks for (RFC 4035 §2.2, §2.3,
// §2.4), below it nothing.
func (c *checker) isSigned(typ uint16, r role) bool {
	switch r {
	case occluded:
		return false
	case cut:
		return typ == dns.TypeDS || typ == dns.TypeNSEC || typ == dns.TypeNSEC3
	}
	return true
}

// signaturesOf checks the signatures [lo, hi) of one RRset.
func (c *checker) signaturesOf(name []byte, set rrset, lo, hi int) {
	var room [8]uint8
	isKeys := set.typ == dns.TypeDNSKEY && bytes.Equal(name, c.apex)
	present := algorithms(room[:0])
	for i := lo; i < hi; i++ {
		s := parseSig(c.rdata(i))
		c.clock(name, i, s)
		if !c.fields(name, set, i, s) {
			present.add(s.algorithm)
			continue
		}
		var keys [maxColliding]uint16
		found := c.keysFor(keys[:0], s)
		if len(found) == 0 {
			if c.keyMissing(name, set, i, s) && !isKeys {
				present.add(s.algorithm)
			}
			continue
		}
		if !isKeys {
			present.add(s.algorithm)
		}
		for _, k := range found {
			key := &c.keys[k]
			if isKeys && !key.revoked() {
				key.signsKeys = true
				if key.sep() || !c.hasSEP {
					present.add(s.algorithm)
				}
			}
		}
		c.jobs = append(c.jobs, job{uint32(set.lo), uint32(set.hi), uint32(i)})
	}
	line := c.recs[set.lo].line
	if isKeys {
		for _, a := range c.requiredKeys {
			if !present.has(a) {
				c.errorf(line, "dnskey-unsigned", name, "DNSKEY RRset has no signature of a key of algorithm %s %s", algorithmText(a),
					map[bool]string{true: "with the SEP flag", false: "in it"}[c.hasSEP])
			}
		}
		return
	}
	if lo == hi {
		c.errorf(line, "rrsig-missing", name, "%s RRset has no signature", typeText(set.typ))
		return
	}
	for _, a := range c.required {
		if !present.has(a) {
			c.errorf(line, "rrsig-missing", name, "%s RRset has no signature of algorithm %s", typeText(set.typ), algorithmText(a))
		}
	}
}

// keyMissing says that no key of the zone made a signature, and reports
// whether that is an error. While an algorithm comes or goes its signatures
// are in the zone without its keys (RFC 6781 §4.1.4).
func (c *checker) keyMissing(name []byte, set rrset, i int, s sig) bool {
	line := c.recs[i].line
	for k := range c.keys {
		if c.keys[k].algorithm == s.algorithm {
			c.errorf(line, "rrsig-key-missing", name, "signature of %s: zone has no key of algorithm %s with tag %d",
				typeText(set.typ), algorithmText(s.algorithm), s.tag)
			return true
		}
	}
	if _, err := newPublicKey(s.algorithm, nil); err == errAlgorithm {
		c.errorf(line, "rrsig-algorithm", name, "cannot check signature of %s: algorithm %s is unknown here, and zone has no key of it",
			typeText(set.typ), algorithmText(s.algorithm))
		return true
	}
	c.warnf(line, "rrsig-key-missing", name, "signature of %s: zone has no key of algorithm %s at all",
		typeText(set.typ), algorithmText(s.algorithm))
	return false
}

// fields checks what an RRSIG says against what it covers, and reports whether
// its signature is worth a look.
func (c *checker) fields(name []byte, set rrset, i int, s sig) bool {
	line, ttl := c.recs[i].line, c.recs[set.lo].ttl
	text := typeText(set.typ)
	if c.recs[i].ttl != ttl {
		c.errorf(line, "rrsig-ttl", name, "signature of %s has TTL %d, its RRset %d", text, c.recs[i].ttl, ttl)
	}
	good := true
	if !bytes.Equal(s.signer, c.apex) {
		c.errorf(line, "rrsig-signer", name, "signature of %s names %s as signer", text, nameText(s.signer))
		good = false
	}
	if want := labelsOf(name); s.labels != want {
		c.errorf(line, "rrsig-labels", name, "signature of %s says %d labels, owner has %d", text, s.labels, want)
		good = false
	}
	if s.originalTTL != ttl {
		c.errorf(line, "rrsig-original-ttl", name, "signature of %s is for TTL %d, RRset has %d", text, s.originalTTL, ttl)
		good = false
	}
	return good
}

// labelsOf counts labels as RFC 4034 §3.1.3 has it: without the root and
// without a leftmost label that is exactly "*".
func labelsOf(name []byte) uint8 {
	n := domain.CountLabels(name)
	if len(name) > 1 && name[0] == 1 && name[1] == '*' {
		n--
	}
	return uint8(n)
}

// clock checks the validity period, in serial number arithmetic (RFC 4034
// §3.1.5, RFC 1982), and keeps the extremes for the report.
func (c *checker) clock(name []byte, i int, s sig) {
	line := c.recs[i].line
	text := typeText(s.covered)
	left := int64(int32(s.expiration - c.now))
	age := int64(int32(c.now - s.inception))
	expires := c.instant(left)
	switch {
	case int32(s.expiration-s.inception) < 0:
		c.errorf(line, "rrsig-period", name, "signature of %s expires before it begins", text)
	case age < 0:
		c.errorf(line, "rrsig-not-yet-valid", name, "signature of %s is valid from %s", text, c.instant(-age).Format(time.RFC3339))
	case left < 0:
		c.errorf(line, "rrsig-expired", name, "signature of %s expired at %s", text, expires.Format(time.RFC3339))
	case left < int64(c.options.MinLeft/time.Second):
		c.errorf(line, "rrsig-expires-soon", name, "signature of %s expires at %s, in less than %s",
			text, expires.Format(time.RFC3339), c.options.MinLeft)
	}
	if c.report.Oldest.IsZero() || expires.Before(c.report.Oldest) {
		c.report.Oldest = expires
		c.report.OldestOwner, c.report.OldestType = nameText(name), text
	}
	if begins := c.instant(-age); c.report.Latest.IsZero() || begins.After(c.report.Latest) {
		c.report.Latest = begins
	}
}

// instant is so many seconds after the instant of the check.
func (c *checker) instant(seconds int64) time.Time {
	return time.Unix(c.options.Now.Unix()+seconds, 0).UTC()
}
