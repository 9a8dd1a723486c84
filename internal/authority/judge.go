package authority

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// Fault is one thing that is wrong with what is served.
type Fault struct {
	Server string `json:"server,omitempty"` // empty: of the zone as a whole
	Code   string `json:"code"`
	Text   string `json:"message"`
}

// String puts the server before the text.
func (f Fault) String() string {
	if f.Server == "" {
		return f.Text + " [" + f.Code + "]"
	}
	return f.Server + ": " + f.Text + " [" + f.Code + "]"
}

// Judge finds what a validator or a secondary would stumble over: an address
// that does not answer, serials that differ, signatures over SOA, NS or DNSKEY
// that are missing, wrong or have less than minLeft to live, and a DS at the
// parent that fits no key which signs the DNSKEY set.
func Judge(s Survey, now time.Time, minLeft time.Duration) []Fault {
	var out []Fault
	newest := uint32(0)
	for i := range s.Answers {
		if a := &s.Answers[i]; a.Err == nil && (newest == 0 || int32(a.SOA.Serial-newest) > 0) {
			newest = a.SOA.Serial
		}
	}
	if s.DSErr != nil {
		out = append(out, Fault{"", "served-ds-unknown", fmt.Sprintf("look up the DS at the parent: %s", s.DSErr)})
	}
	for i := range s.Answers {
		a := &s.Answers[i]
		fault := func(code, format string, args ...any) {
			out = append(out, Fault{a.Server.String(), code, fmt.Sprintf(format, args...)})
		}
		if a.Err != nil {
			fault("served-no-answer", "%s", a.Err)
			continue
		}
		if a.SOA.Serial != newest {
			fault("served-serial", "serves serial %d, another serves %d", a.SOA.Serial, newest)
		}
		if len(a.DNSKEY) == 0 {
			if len(s.DS) > 0 {
				fault("served-unsigned", "serves no DNSKEY, and the parent has a DS")
			}
			continue
		}
		for _, typ := range []uint16{dns.TypeSOA, dns.TypeNS, dns.TypeDNSKEY} {
			a.judgeSet(typ, now, minLeft, fault)
		}
		if len(s.DS) > 0 && !a.anchored(s.DS) {
			fault("served-ds", "the DS at the parent (key tag %s) fits no key that signs the DNSKEY set (key tags %s)", tagsOf(s.DS), keyTags(a.DNSKEY))
		}
	}
	return out
}

func (a *Answer) set(typ uint16) []dns.RR {
	switch typ {
	case dns.TypeSOA:
		return []dns.RR{a.SOA}
	case dns.TypeNS:
		return a.NS
	}
	var out []dns.RR
	for _, k := range a.DNSKEY {
		out = append(out, k)
	}
	return out
}

// judgeSet wants each signature over a set to be good, and one to be there.
func (a *Answer) judgeSet(typ uint16, now time.Time, minLeft time.Duration, fault func(code, format string, args ...any)) {
	name := dns.TypeToString[typ]
	seen := false
	for _, sig := range a.Sigs {
		if sig.TypeCovered != typ {
			continue
		}
		seen = true
		from, until := near(sig.Inception, now), near(sig.Expiration, now)
		switch i := slices.IndexFunc(a.DNSKEY, func(k *dns.DNSKEY) bool { return k.Algorithm == sig.Algorithm && k.KeyTag() == sig.KeyTag }); {
		case i < 0:
			fault("served-signature", "the signature of %s is by key %d, which is not served", name, sig.KeyTag)
		case sig.Verify(a.DNSKEY[i], a.set(typ)) != nil:
			fault("served-signature", "the signature of %s by key %d is wrong", name, sig.KeyTag)
		case now.Before(from):
			fault("served-not-yet-valid", "the signature of %s is valid from %s", name, from.Format(time.RFC3339))
		case !until.After(now):
			fault("served-expired", "the signature of %s expired at %s", name, until.Format(time.RFC3339))
		case until.Before(now.Add(minLeft)):
			fault("served-expires", "the signature of %s expires at %s", name, until.Format(time.RFC3339))
		}
	}
	if !seen {
		fault("served-signature", "%s has no signature", name)
	}
}

// anchored reports whether a key that a DS names signs the DNSKEY set
// (RFC 4035 §5.2).
func (a *Answer) anchored(set []*dns.DS) bool {
	for _, ds := range set {
		for _, k := range a.DNSKEY {
			made := k.ToDS(ds.DigestType)
			if made == nil || k.Algorithm != ds.Algorithm || !strings.EqualFold(made.Digest, ds.Digest) {
				continue
			}
			for _, sig := range a.Sigs {
				if sig.TypeCovered == dns.TypeDNSKEY && sig.KeyTag == k.KeyTag() && sig.Algorithm == k.Algorithm && sig.Verify(k, a.set(dns.TypeDNSKEY)) == nil {
					return true
				}
			}
		}
	}
	return false
}

func tagsOf(set []*dns.DS) string {
	var tags []string
	for _, ds := range set {
		tags = append(tags, fmt.Sprint(ds.KeyTag))
	}
	return strings.Join(tags, ", ")
}

func keyTags(set []*dns.DNSKEY) string {
	var tags []string
	for _, k := range set {
		tags = append(tags, fmt.Sprint(k.KeyTag()))
	}
	return strings.Join(tags, ", ")
}
