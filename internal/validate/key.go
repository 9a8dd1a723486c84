package validate

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"

	"zonebuild/internal/domain"
)

const (
	maxKeys    = 64 // keys of a zone
	maxDigests = 64 // digests made to find the keys that a DS set names
)

// zone is what is known of a zone. Only a secure one has keys.
type zone struct {
	name    domain.Name
	status  Status
	reason  string
	keys    []*dns.DNSKEY
	expires time.Time
	up      *zone // towards the anchor
}

func (z *zone) child(name domain.Name, status Status, format string, args ...any) *zone {
	return &zone{name: name, status: status, reason: fmt.Sprintf(format, args...), up: z}
}

// supported: those that miekg/dns verifies without SHA-1 (RFC 9905 §2).
func supported(algorithm uint8) bool {
	switch algorithm {
	case dns.RSASHA256, dns.RSASHA512, dns.ECDSAP256SHA256, dns.ECDSAP384SHA384, dns.ED25519:
		return true
	}
	return false
}

// usable picks the DS records that can be followed (RFC 4035 §5.2, RFC 6840
// §5.2); SHA-1 is used only where nothing better is (RFC 4509 §3).
func usable(set []*dns.DS) []*dns.DS {
	var good, weak []*dns.DS
	for _, ds := range set {
		switch {
		case !supported(ds.Algorithm):
		case ds.DigestType == dns.SHA256 || ds.DigestType == dns.SHA384:
			good = append(good, ds)
		case ds.DigestType == dns.SHA1:
			weak = append(weak, ds)
		}
	}
	if len(good) > 0 {
		return good
	}
	return weak
}

// enter fetches the keys of a zone and checks them with its DS set, which is
// secure or an anchor (RFC 4035 §5.2).
func (j *job) enter(up *zone, name domain.Name, set []*dns.DS, by string, expires time.Time) *zone {
	good := usable(set)
	if len(good) == 0 {
		return up.child(name, Insecure, "the %s of %s has unsupported algorithms only (%s)", by, name, algorithms(set))
	}
	m, err := j.ask(name, dns.TypeDNSKEY)
	if err != nil {
		return up.child(name, Indeterminate, "no answer for %s DNSKEY: %v", name, err)
	}
	s := m.answer[setKey{name, dns.TypeDNSKEY}]
	if s == nil {
		return up.child(name, Bogus, "%s has a %s and no DNSKEY", name, by)
	}
	keys := zoneKeys(s)
	if len(keys) > maxKeys {
		return up.child(name, Bogus, "%s has more than %d DNSKEYs", name, maxKeys)
	}
	entry, tag := named(keys, good)
	if len(entry) == 0 {
		return up.child(name, Bogus, "no DNSKEY of %s is one of its %s (%s)", name, by, tags(good))
	}
	ok, err := j.verify(s, name, entry)
	switch {
	case err != nil:
		return up.child(name, Bogus, "DNSKEY of %s: %v", name, err)
	case ok.labels != ownerLabels(name):
		return up.child(name, Bogus, "DNSKEY of %s comes from a wildcard", name)
	}
	z := up.child(name, Secure, "%s %d, %d keys", by, tag, len(keys))
	z.keys, z.expires = keys, earlier(expires, ok.expires)
	return z
}

// zoneKeys are the keys that may sign a zone: of a supported algorithm, with the
// zone bit and protocol 3 (RFC 4034 §2.1), not revoked (RFC 5011 §2.1).
func zoneKeys(s *rrset) []*dns.DNSKEY {
	var keys []*dns.DNSKEY
	for _, rr := range s.rrs {
		k, ok := rr.(*dns.DNSKEY)
		if ok && k.Flags&dns.ZONE != 0 && k.Flags&dns.REVOKE == 0 && k.Protocol == 3 && supported(k.Algorithm) {
			keys = append(keys, k)
		}
	}
	return keys
}

// named picks the keys that a DS set names, and gives the tag of one.
func named(keys []*dns.DNSKEY, set []*dns.DS) (out []*dns.DNSKEY, tag uint16) {
	work := 0
	for _, k := range keys {
		for _, ds := range set {
			if ds.Algorithm != k.Algorithm || ds.KeyTag != k.KeyTag() {
				continue
			}
			if work++; work > maxDigests {
				return out, tag
			}
			if made := k.ToDS(ds.DigestType); made != nil && strings.EqualFold(made.Digest, ds.Digest) {
				out, tag = append(out, k), ds.KeyTag
				break
			}
		}
	}
	return out, tag
}

func algorithms(set []*dns.DS) string {
	var out []string
	for _, ds := range set {
		s := fmt.Sprintf("algorithm %d with digest %d", ds.Algorithm, ds.DigestType)
		if !slices.Contains(out, s) && len(out) < 8 {
			out = append(out, s)
		}
	}
	return strings.Join(out, ", ")
}

func tags(set []*dns.DS) string {
	var out []string
	for _, ds := range set {
		s := fmt.Sprint(ds.KeyTag)
		if !slices.Contains(out, s) && len(out) < 8 {
			out = append(out, s)
		}
	}
	return strings.Join(out, ", ")
}
