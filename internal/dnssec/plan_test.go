package dnssec

import (
	"crypto/ed25519"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"zonebuild/internal/domain"
	"zonebuild/zone"
)

const smallZone = "$TTL 300\n@ SOA ns.other.test. host.other.test. 1 7200 3600 600000 300\n@ NS ns.other.test.\na A 192.0.2.1\nb A 192.0.2.1\n"

func readPrevious(t testing.TB, apex string, text []byte) *Previous {
	t.Helper()
	p, err := ReadPrevious(domain.MustParse(apex), "prev", text)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func planFor(t testing.TB, z *zone.Zone, keys []Key, policy Policy, prev *Previous, now time.Time) *Plan {
	t.Helper()
	p, err := NewPlan(z, keys, policy, prev, now)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// verifyAll verifies every signature with miekg/dns, by the keys in the zone.
func verifyAll(t testing.TB, records []dns.RR, now time.Time) (signatures int) {
	t.Helper()
	type set struct {
		name string
		typ  uint16
	}
	sets := map[set][]dns.RR{}
	keys := map[uint16]*dns.DNSKEY{}
	for _, rr := range records {
		h := rr.Header()
		if k, ok := rr.(*dns.DNSKEY); ok {
			keys[k.KeyTag()] = k
		}
		sets[set{h.Name, h.Rrtype}] = append(sets[set{h.Name, h.Rrtype}], rr)
	}
	for _, rr := range records {
		sig, ok := rr.(*dns.RRSIG)
		if !ok {
			continue
		}
		signatures++
		k := keys[sig.KeyTag]
		if k == nil {
			t.Fatalf("%s: no such key", sig)
		}
		if err := sig.Verify(k, sets[set{sig.Hdr.Name, sig.TypeCovered}]); err != nil {
			t.Fatalf("%s: %v", sig, err)
		}
		// ValidityPeriod of miekg/dns fails where the times begin at 0 again.
		if at := uint32(now.Unix()); int32(at-sig.Inception) < 0 || int32(sig.Expiration-at) <= 0 {
			t.Fatalf("%s does not hold at %s", sig, now)
		}
	}
	return signatures
}

// twins are two keys of one algorithm and tag, found as birthdays are.
func twins(t testing.TB, apex string) (a, b Key) {
	t.Helper()
	seen := map[uint16]Key{}
	for range 20000 {
		k := Key{KSK: true, ZSK: true, Published: true, SignsZone: true, SignsKeys: true}
		k.DNSKEY = dns.DNSKEY{
			Hdr:   dns.RR_Header{Name: apex + ".", Rrtype: dns.TypeDNSKEY, Class: dns.ClassINET},
			Flags: dns.ZONE | dns.SEP, Protocol: 3, Algorithm: dns.ED25519,
		}
		private, err := k.DNSKEY.Generate(256)
		if err != nil {
			t.Fatal(err)
		}
		k.Tag, k.Signer = k.DNSKEY.KeyTag(), private.(ed25519.PrivateKey)
		if other, ok := seen[k.Tag]; ok {
			return other, k
		}
		seen[k.Tag] = k
	}
	t.Fatal("no two keys have one tag")
	return a, b
}

// TestKeyWithTheTagOfAnother: a signature by a former key is not taken for one by
// the key that has its tag now.
func TestKeyWithTheTagOfAnother(t *testing.T) {
	const apex = "example.org"
	a, b := twins(t, apex)
	z, now := compileText(t, apex, smallZone), testNow()
	first, _ := signText(t, z, []Key{a}, testPolicy(), nil, now)
	prev := readPrevious(t, apex, first)
	if p := planFor(t, z, []Key{b}, testPolicy(), prev, now); p.Kept != 0 {
		t.Errorf("%d signatures by another key are kept", p.Kept)
	}
	_, records := signText(t, z, []Key{b}, testPolicy(), prev, now)
	verifyAll(t, records, now)
}

// TestSignerThatStops: a key that signs no more, though it is still published,
// is a reason to make the zone anew, which then has none of its signatures.
func TestSignerThatStops(t *testing.T) {
	const apex = "example.org"
	keys := []Key{newKey(t, apex, GenerateOptions{Role: CSK}), newKey(t, apex, GenerateOptions{Role: ZSK})}
	z, now := compileText(t, apex, smallZone), testNow()
	first, _ := signText(t, z, keys, testPolicy(), nil, now)
	keys[1].SignsZone = false
	now = now.Add(time.Minute)
	p := planFor(t, z, keys, testPolicy(), readPrevious(t, apex, first), now)
	if got := strings.Join(p.Reasons, ", "); got != "7 signatures are by keys that sign no more" || p.Changed || p.Due != 0 {
		t.Errorf("reasons %q, changed %t, %d due", got, p.Changed, p.Due)
	}
	second, records := signText(t, z, keys, testPolicy(), readPrevious(t, apex, first), now)
	if n := verifyAll(t, records, now); n != 8 {
		t.Errorf("%d signatures", n)
	}
	if p := planFor(t, z, keys, testPolicy(), readPrevious(t, apex, second), now); len(p.Reasons) != 0 {
		t.Errorf("and once more: %q", p.Reasons)
	}
}

// TestNothingBeforeNext: Next of the signed zone and of a plan over it are the
// first instant at which a signature is made anew: not a second before.
func TestNothingBeforeNext(t *testing.T) {
	const apex = "example.org"
	keys := []Key{newKey(t, apex, GenerateOptions{Role: CSK})}
	z, now := compileText(t, apex, randomZone(5, apex)), testNow()
	var prev *Previous
	for step := range 20 {
		p := planFor(t, z, keys, testPolicy(), prev, now)
		if prev != nil && p.Due == 0 {
			t.Fatalf("step %d: nothing is due at %s", step, now)
		}
		s, err := Sign(p, uint32(step+1))
		if err != nil {
			t.Fatal(err)
		}
		if left := s.Oldest.Sub(s.Next); left != testPolicy().Refresh || !s.Next.After(now) {
			t.Fatalf("step %d: now %s, next %s, expiration %s", step, now, s.Next, s.Oldest)
		}
		var b strings.Builder
		if _, err := s.WriteTo(&b); err != nil {
			t.Fatal(err)
		}
		prev = readPrevious(t, apex, []byte(b.String()))
		p = planFor(t, z, keys, testPolicy(), prev, s.Next.Add(-time.Second))
		if len(p.Reasons) != 0 || p.Due+p.New != 0 || !p.Next.Equal(s.Next) {
			t.Fatalf("step %d, a second before: %q, %d new, next %s, want %s", step, p.Reasons, p.New, p.Next, s.Next)
		}
		if first, _, ok := prev.Expirations(now); !ok || !first.Equal(s.Oldest) {
			t.Fatalf("step %d: oldest %s, want %s", step, first, s.Oldest)
		}
		if at, ok := prev.SignedAt(testPolicy().InceptionOffset, now); !ok || !at.Equal(now) {
			t.Fatalf("step %d: signed at %s, want %s", step, at, now)
		}
		now = s.Next
	}
}

// TestAcrossTheWrap: in February 2106 the times of signatures begin at 0 again
// (RFC 4034 §3.1.5).
func TestAcrossTheWrap(t *testing.T) {
	const apex = "example.org"
	keys := []Key{newKey(t, apex, GenerateOptions{Role: CSK})}
	z := compileText(t, apex, smallZone)
	wrap := time.Unix(1<<32, 0)
	var prev *Previous
	kept := 0
	for now := wrap.Add(-20 * 24 * time.Hour); now.Before(wrap.Add(20 * 24 * time.Hour)); now = now.Add(24 * time.Hour) {
		p := planFor(t, z, keys, testPolicy(), prev, now)
		kept += p.Kept
		text, records := signText(t, z, keys, testPolicy(), prev, now)
		verifyAll(t, records, now)
		prev = readPrevious(t, apex, text)
		if p := planFor(t, z, keys, testPolicy(), prev, now.Add(time.Hour)); p.Next.Sub(now) < 0 || p.Next.Sub(now) > testPolicy().Validity {
			t.Fatalf("%s: next %s", now, p.Next)
		}
	}
	if kept < 200 { // of 320 that are the zone's
		t.Errorf("%d signatures were kept", kept)
	}
}
