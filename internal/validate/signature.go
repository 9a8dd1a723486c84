package validate

import (
	"errors"
	"fmt"
	"time"

	"github.com/miekg/dns"

	"zonebuild/internal/domain"
)

// Bounds against zones that are made to cost time (CVE-2023-50387).
const (
	maxSigs    = 8  // signatures of an RRset that are looked at
	maxSameTag = 4  // keys of one tag and algorithm that are tried
	maxTries   = 16 // signatures and keys tried for one RRset
)

// signed is a valid signature of an RRset.
type signed struct {
	labels  int // of the owner name that was signed (RFC 4034 §3.1.3)
	ttl     uint32
	expires time.Time
}

// verify finds a signature of an RRset that one of a zone's keys made and that
// is valid now (RFC 4035 §5.3). Errors: why there is none.
func (j *job) verify(s *rrset, zone domain.Name, keys []*dns.DNSKEY) (signed, error) {
	if len(s.sigs) == 0 {
		return signed{}, errors.New("no RRSIG")
	}
	var reason error
	looked, tries := 0, 0
	for _, sig := range s.sigs {
		signer, ok := nameOf(sig.SignerName)
		if !ok || signer != zone {
			reason = cmpErr(reason, fmt.Errorf("RRSIG made by %s, not by %s", sig.SignerName, zone))
			continue
		}
		if err := j.fits(s, sig); err != nil {
			reason = err
			continue
		}
		if looked++; looked > maxSigs {
			return signed{}, fmt.Errorf("more than %d RRSIGs", maxSigs)
		}
		found := 0
		for _, key := range keys {
			if key.Algorithm != sig.Algorithm || key.KeyTag() != sig.KeyTag {
				continue
			}
			if found++; found > maxSameTag {
				return signed{}, fmt.Errorf("more than %d keys have tag %d", maxSameTag, sig.KeyTag)
			}
			j.verifications++
			if tries++; tries > maxTries || j.verifications > maxVerifications {
				return signed{}, errors.New("too many signatures to try")
			}
			sig.SignerName = zone.String() // as the key spells it
			if sig.Verify(key, s.rrs) == nil {
				return j.accept(s, sig), nil
			}
			reason = fmt.Errorf("RRSIG of key %d does not match", sig.KeyTag)
		}
		if found == 0 {
			reason = cmpErr(reason, fmt.Errorf("no usable DNSKEY %d for the RRSIG", sig.KeyTag))
		}
	}
	return signed{}, reason
}

// cmpErr keeps the first of two reasons.
func cmpErr(a, b error) error {
	if a != nil {
		return a
	}
	return b
}

// fits looks at what needs no key (RFC 4035 §5.3.1).
func (j *job) fits(s *rrset, sig *dns.RRSIG) error {
	now := uint32(j.v.Now.Unix())
	switch {
	case sig.TypeCovered != s.typ || int(sig.Labels) > ownerLabels(s.name):
		return errors.New("RRSIG of another name or type")
	case before(now, sig.Inception):
		return fmt.Errorf("RRSIG not valid before %s", instant(j.v.Now, sig.Inception).Format(time.RFC3339))
	case before(sig.Expiration, now):
		return fmt.Errorf("RRSIG expired at %s", instant(j.v.Now, sig.Expiration).Format(time.RFC3339))
	case before(sig.Expiration, sig.Inception):
		return errors.New("RRSIG ends before it begins")
	}
	return nil
}

// accept is what a valid signature says. The TTL is bounded as RFC 4035 §5.3.3
// wants.
func (j *job) accept(s *rrset, sig *dns.RRSIG) signed {
	ok := signed{labels: int(sig.Labels), expires: instant(j.v.Now, sig.Expiration)}
	ok.ttl = min(sig.OrigTtl, sig.Hdr.Ttl, uint32(ok.expires.Unix()-j.v.Now.Unix()))
	for _, rr := range s.rrs {
		ok.ttl = min(ok.ttl, rr.Header().Ttl)
	}
	return ok
}

// ownerLabels counts labels as RRSIG does: a leading "*" does not count
// (RFC 4034 §3.1.3).
func ownerLabels(name domain.Name) int {
	if name.IsWildcard() {
		return name.Labels() - 1
	}
	return name.Labels()
}

// before compares two times of 32 bits (RFC 4034 §3.1.5, RFC 1982).
func before(a, b uint32) bool { return int32(a-b) < 0 }

// instant is the time of 32 bits that is nearest to now.
func instant(now time.Time, stamp uint32) time.Time {
	return time.Unix(now.Unix()+int64(int32(stamp-uint32(now.Unix()))), 0).UTC()
}
