package validate

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"zonebuild/internal/domain"
)

// book answers from a table; what is not in it is denied without proof.
type book map[string]*dns.Msg

func (b book) Exchange(_ context.Context, q *dns.Msg) (*dns.Msg, error) {
	m := b[strings.ToLower(q.Question[0].Name)+" "+dns.TypeToString[q.Question[0].Qtype]]
	if m == nil {
		m = new(dns.Msg)
	}
	return m.Copy(), nil
}

// signer signs as the zone a.test.
type signer struct {
	t       testing.TB
	now     time.Time
	key     *dns.DNSKEY
	private crypto.Signer
}

func newSigner(t testing.TB) *signer {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	key := &dns.DNSKEY{Hdr: dns.RR_Header{Name: "a.test.", Rrtype: dns.TypeDNSKEY, Class: dns.ClassINET, Ttl: 300}, Flags: 257, Protocol: 3, Algorithm: dns.ECDSAP256SHA256}
	point, err := private.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	key.PublicKey = base64.StdEncoding.EncodeToString(point[1:])
	return &signer{t, time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), key, private}
}

func (s *signer) sign(set ...dns.RR) *dns.RRSIG {
	s.t.Helper()
	sig := &dns.RRSIG{
		Hdr:       dns.RR_Header{Name: set[0].Header().Name, Rrtype: dns.TypeRRSIG, Class: dns.ClassINET, Ttl: 300},
		Algorithm: s.key.Algorithm, KeyTag: s.key.KeyTag(), SignerName: "a.test.",
		Inception: uint32(s.now.Add(-time.Hour).Unix()), Expiration: uint32(s.now.Add(time.Hour).Unix()),
	}
	if err := sig.Sign(s.private, set); err != nil {
		s.t.Fatal(err)
	}
	return sig
}

func (s *signer) anchors() []Anchor {
	return []Anchor{{domain.MustParse("a.test"), s.key.ToDS(dns.SHA256)}}
}

func (s *signer) validator(b book) *Validator {
	return &Validator{Resolver: b, Anchors: s.anchors(), Now: s.now}
}

func rr(t testing.TB, text string) dns.RR {
	t.Helper()
	r, err := dns.NewRR(text)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func answer(rrs ...dns.RR) *dns.Msg {
	m := new(dns.Msg)
	m.Answer = rrs
	return m
}

// twin is another key with the same tag: two words of 16 bits change places.
func (s *signer) twin(i int) *dns.DNSKEY {
	k := *s.key
	b, err := base64.StdEncoding.DecodeString(k.PublicKey)
	if err != nil {
		s.t.Fatal(err)
	}
	a, c := 2*(i%31), 2*(i%31)+2+2*(i/31)
	for n := range 2 {
		b[a+n], b[c%64+n] = b[c%64+n], b[a+n]
	}
	k.PublicKey = base64.StdEncoding.EncodeToString(b)
	if k.KeyTag() != s.key.KeyTag() || k.PublicKey == s.key.PublicKey {
		s.t.Fatalf("twin %d has tag %d", i, k.KeyTag())
	}
	return &k
}

// TestWorkIsBounded: keys of one tag and signatures without end (CVE-2023-50387).
func TestWorkIsBounded(t *testing.T) {
	s := newSigner(t)
	var keys []dns.RR
	for i := range maxKeys - 1 {
		keys = append(keys, s.twin(i))
	}
	keys = append(keys, s.key)
	www := rr(t, "www.a.test. 300 IN A 192.0.2.1")
	good := s.sign(www)
	noise := func(n int) []dns.RR {
		out := []dns.RR{www}
		for i := range n {
			sig := *good
			b, _ := base64.StdEncoding.DecodeString(sig.Signature)
			b[i%64] ^= byte(1 + i/64)
			sig.Signature = base64.StdEncoding.EncodeToString(b)
			out = append(out, &sig)
		}
		return append(out, good)
	}
	few := []dns.RR{s.twin(0), s.twin(1), s.key}
	one := []dns.RR{s.key}
	for _, tt := range []struct {
		what   string
		keys   []dns.RR
		answer []dns.RR
		want   Status
		most   int
		reason string
	}{
		{"plain", one, []dns.RR{www, good}, Secure, 2, "www.a.test. A is signed by a.test."},
		{"keys of one tag", few, []dns.RR{www, good}, Secure, 4, ""},
		{"too many keys of one tag", keys, []dns.RR{www, good}, Bogus, maxSameTag + 1, "www.a.test. A: more than 4 keys have tag"},
		{"many signatures", one, noise(maxSigs - 1), Secure, 1 + maxSigs, ""},
		{"too many signatures", one, noise(5000), Bogus, 1 + maxTries, fmt.Sprintf("www.a.test. A: more than %d RRSIGs", maxSigs)},
		{"keys and signatures", few, noise(5000), Bogus, 2 + maxTries, "www.a.test. A: too many signatures to try"},
		{"too many keys", append(slices.Clone(keys), s.twin(63)), []dns.RR{www, good}, Bogus, 0, "a.test. has more than 64 DNSKEYs"},
	} {
		b := book{
			"a.test. DNSKEY": answer(append([]dns.RR{s.sign(tt.keys...)}, tt.keys...)...),
			"www.a.test. A":  answer(tt.answer...),
		}
		v := s.validator(b)
		j := &job{v: v, ctx: context.Background()}
		a := follow(domain.MustParse("www.a.test"), dns.TypeA, j.hop)
		if a.Status != tt.want || j.verifications > tt.most+1 || !strings.Contains(a.Reason, tt.reason) {
			t.Errorf("%s: %s (%s), %d signatures tried", tt.what, a.Status, a.Reason, j.verifications)
		}
	}
}

// TestHashesAreBounded: a long name and many NSEC3 records (CVE-2023-50868).
func TestHashesAreBounded(t *testing.T) {
	s := newSigner(t)
	deny := new(dns.Msg)
	for i := range 200 {
		n := rr(t, fmt.Sprintf("%032d.a.test. 300 IN NSEC3 1 0 150 %s %032d A", i, strings.Repeat("ab", 255), i+1))
		deny.Ns = append(deny.Ns, n, s.sign(n))
	}
	name := strings.Repeat("a.", 120) + "a.test."
	b := book{"a.test. DNSKEY": answer(s.key, s.sign(s.key)), name + " A": deny}
	j := &job{v: s.validator(b), ctx: context.Background()}
	a := follow(domain.MustParse(name), dns.TypeA, j.hop)
	if a.Status != Bogus || j.hashes > 130 || j.verifications > 2*maxDenials+2 {
		t.Errorf("%s (%s), %d names hashed, %d signatures tried", a.Status, a.Reason, j.hashes, j.verifications)
	}
}

// TestQuestionsAreBounded: aliases without end, each below a zone of its own.
func TestQuestionsAreBounded(t *testing.T) {
	s := newSigner(t)
	b := book{"a.test. DNSKEY": answer(s.key, s.sign(s.key))}
	for i := range 30 {
		c := rr(t, fmt.Sprintf("n%d.a.test. 300 IN CNAME n%d.a.test.", i, i+1))
		b[fmt.Sprintf("n%d.a.test. A", i)] = answer(c, s.sign(c))
	}
	a, err := s.validator(b).LookUp(t.Context(), domain.MustParse("n0.a.test"), dns.TypeA)
	if want := "n0.a.test. has more than 16 aliases"; err != nil || a.Status != Indeterminate || a.Reason != want {
		t.Errorf("%s (%s), %v", a.Status, a.Reason, err)
	}
}

// TestBareRecords: no rdata where there must be some is read as a bare header.
func TestBareRecords(t *testing.T) {
	s := newSigner(t)
	for _, typ := range []uint16{dns.TypeCNAME, dns.TypeDNAME, dns.TypeA, dns.TypeNSEC, dns.TypeNSEC3, dns.TypeDS, dns.TypeDNSKEY, dns.TypeSOA, dns.TypeRRSIG} {
		bare := &dns.RR_Header{Name: "www.a.test.", Rrtype: typ, Class: dns.ClassINET}
		above := &dns.RR_Header{Name: "a.test.", Rrtype: typ, Class: dns.ClassINET}
		odd := &dns.RFC3597{Hdr: *bare, Rdata: "00"}
		m := answer(bare, above, odd)
		m.Ns = []dns.RR{bare, above, odd}
		b := book{"a.test. DNSKEY": answer(s.key, s.sign(s.key)), "www.a.test. A": m}
		a, err := s.validator(b).LookUp(t.Context(), domain.MustParse("www.a.test"), dns.TypeA)
		if err != nil || a.Status != Bogus {
			t.Errorf("%s: %s (%s), %v", typeName(typ), a.Status, a.Reason, err)
		}
	}
}

// TestTypesOfANameProve is RFC 6840 §4.1 and §4.3, and RFC 4035 §5.4.
func TestTypesOfANameProve(t *testing.T) {
	name := domain.MustParse("x.a.test")
	for _, tt := range []struct {
		types types
		typ   uint16
		lacks bool
	}{
		{types{dns.TypeA}, dns.TypeTLSA, true},
		{types{dns.TypeA}, dns.TypeA, false},
		{types{dns.TypeCNAME}, dns.TypeA, false},
		{types{dns.TypeCNAME}, dns.TypeDS, false},
		{types{dns.TypeNS}, dns.TypeA, false},
		{types{dns.TypeNS}, dns.TypeDS, true},
		{types{dns.TypeNS, dns.TypeSOA}, dns.TypeA, true},
		{types{dns.TypeNS, dns.TypeSOA}, dns.TypeDS, false},
		{types{dns.TypeA}, dns.TypeDS, true},
		{types{dns.TypeDNAME}, dns.TypeA, true},
	} {
		if got := tt.types.lacks(name, tt.typ); got != tt.lacks {
			t.Errorf("%v prove that there is no %s: %v", tt.types, typeName(tt.typ), got)
		}
	}
	if !(types{dns.TypeNS, dns.TypeSOA}).lacks(domain.Root, dns.TypeDS) {
		t.Error("nobody is above the root to deny its DS")
	}
}

// TestUsableDS is RFC 4509 §3.
func TestUsableDS(t *testing.T) {
	for _, tt := range []struct {
		set  [][2]uint8 // algorithm, digest
		want string
	}{
		{[][2]uint8{{13, 1}}, "13/1 "},
		{[][2]uint8{{13, 1}, {13, 2}}, "13/2 "},
		{[][2]uint8{{8, 1}, {13, 4}}, "13/4 "},
		{[][2]uint8{{8, 1}, {5, 2}}, "8/1 "},
		{[][2]uint8{{5, 2}, {7, 2}, {1, 2}, {3, 2}, {6, 2}, {12, 2}, {16, 2}, {253, 2}, {254, 2}, {0, 2}, {13, 3}, {13, 0}, {13, 5}}, ""},
		{[][2]uint8{{8, 2}, {10, 2}, {13, 2}, {14, 4}, {15, 2}}, "8/2 10/2 13/2 14/4 15/2 "},
	} {
		var set []*dns.DS
		for _, p := range tt.set {
			set = append(set, &dns.DS{Algorithm: p[0], DigestType: p[1]})
		}
		got := ""
		for _, ds := range usable(set) {
			got += fmt.Sprintf("%d/%d ", ds.Algorithm, ds.DigestType)
		}
		if got != tt.want {
			t.Errorf("%v: %s, want %s", tt.set, got, tt.want)
		}
	}
}

// TestSerialTimes is RFC 4034 §3.1.5: times of 32 bits go round in 2106.
func TestSerialTimes(t *testing.T) {
	j := &job{v: &Validator{}}
	for _, tt := range []struct {
		now        int64
		begin, end uint32
		want       string
	}{
		{1 << 32, 1<<32 - 10, 10, ""},
		{1<<32 - 5, 1<<32 - 10, 10, ""},
		{1<<32 + 10, 1<<32 - 10, 10, ""},
		{1<<32 + 11, 1<<32 - 10, 10, "RRSIG expired at 2106-02-07T06:28:26Z"},
		{1<<32 - 11, 1<<32 - 10, 10, "RRSIG not valid before 2106-02-07T06:28:06Z"},
		{100, 100, 100, ""},
		{1000, 2000, 100, "RRSIG not valid before 1970-01-01T00:33:20Z"},
		{1000, 900, 100, "RRSIG expired at 1970-01-01T00:01:40Z"},
	} {
		j.v.Now = time.Unix(tt.now, 0)
		err := j.fits(&rrset{setKey: setKey{domain.MustParse("a.test"), 1}}, &dns.RRSIG{TypeCovered: 1, Labels: 2, Inception: tt.begin, Expiration: tt.end})
		if got := fmt.Sprint(err); got != tt.want && !(err == nil && tt.want == "") {
			t.Errorf("%d in %d to %d: %v, want %s", tt.now, tt.begin, tt.end, err, tt.want)
		}
	}
}

// hashedNSEC3 is a record that matches a name, or that covers it alone.
func hashedNSEC3(t testing.TB, name string, covers bool, types string) dns.RR {
	t.Helper()
	const digits = "0123456789ABCDEFGHIJKLMNOPQRSTUV"
	owner := dns.HashName(name, dns.SHA1, 0, "")
	next := []byte(owner)
	next[len(next)-1] = digits[(strings.IndexByte(digits, next[len(next)-1])+1)%len(digits)]
	if last := len(owner) - 1; covers {
		owner = owner[:last-1] + "00"
		next[last-1], next[last] = 'V', 'V'
	}
	return rr(t, fmt.Sprintf("%s.a.test. 300 IN NSEC3 1 0 0 - %s %s", owner, next, types))
}

// TestProofsOfTheWrongPlace: records that the zone did sign, and that do not say
// what they are used for.
func TestProofsOfTheWrongPlace(t *testing.T) {
	s := newSigner(t)
	deny := func(rrs ...dns.RR) *dns.Msg {
		m := new(dns.Msg)
		for _, rr := range rrs {
			m.Ns = append(m.Ns, rr, s.sign(rr))
		}
		return m
	}
	expanded := deny(rr(t, "*.wild.a.test. 300 IN NSEC a.test. TXT RRSIG NSEC"))
	for _, rr := range expanded.Ns {
		rr.Header().Name = "www.wild.a.test."
	}
	for _, tt := range []struct {
		what, name string
		proof      *dns.Msg
		want       Status
		reason     string
	}{
		{"an NSEC made from a wildcard", "www.wild.a.test.", expanded, Bogus, "www.wild.a.test. A is absent, and no NSEC or NSEC3 proves it"},
		{"NSEC3 above, of a name", "www.sub.a.test.", deny(hashedNSEC3(t, "sub.a.test.", false, "A RRSIG"), hashedNSEC3(t, "www.sub.a.test.", true, "A"), hashedNSEC3(t, "*.sub.a.test.", true, "A")), Secure, ""},
		{"NSEC3 above, of a delegation", "www.sub.a.test.", deny(hashedNSEC3(t, "sub.a.test.", false, "NS"), hashedNSEC3(t, "www.sub.a.test.", true, "A"), hashedNSEC3(t, "*.sub.a.test.", true, "A")), Bogus, "its NSEC3 is that of a delegation or a DNAME above it"},
		{"NSEC3 above, of a DNAME", "www.sub.a.test.", deny(hashedNSEC3(t, "sub.a.test.", false, "DNAME RRSIG"), hashedNSEC3(t, "www.sub.a.test.", true, "A"), hashedNSEC3(t, "*.sub.a.test.", true, "A")), Bogus, "its NSEC3 is that of a delegation or a DNAME above it"},
		{"NSEC3 without the wildcard's", "www.sub.a.test.", deny(hashedNSEC3(t, "sub.a.test.", false, "A RRSIG"), hashedNSEC3(t, "www.sub.a.test.", true, "A")), Bogus, "no NSEC or NSEC3 proves it"},
		{"NSEC3 without the next closer name's", "www.sub.a.test.", deny(hashedNSEC3(t, "sub.a.test.", false, "A RRSIG"), hashedNSEC3(t, "*.sub.a.test.", true, "A")), Bogus, "no NSEC or NSEC3 proves it"},
		{"NSEC3 of a wildcard that has the type", "www.sub.a.test.", deny(hashedNSEC3(t, "sub.a.test.", false, "A RRSIG"), hashedNSEC3(t, "www.sub.a.test.", true, "A"), hashedNSEC3(t, "*.sub.a.test.", false, "A RRSIG")), Bogus, "the NSEC3 of *.sub.a.test. does not prove it"},
		{"NSEC3 of a wildcard that has not", "www.sub.a.test.", deny(hashedNSEC3(t, "sub.a.test.", false, "A RRSIG"), hashedNSEC3(t, "www.sub.a.test.", true, "A"), hashedNSEC3(t, "*.sub.a.test.", false, "TXT RRSIG")), Secure, ""},
		{"NSEC3 of a delegation for its data", "sub.a.test.", deny(hashedNSEC3(t, "sub.a.test.", false, "NS")), Bogus, "the NSEC3 of sub.a.test. does not prove it"},
	} {
		b := book{"a.test. DNSKEY": answer(s.key, s.sign(s.key)), tt.name + " A": tt.proof}
		a, err := s.validator(b).LookUp(t.Context(), domain.MustParse(tt.name), dns.TypeA)
		if err != nil || a.Status != tt.want || !strings.Contains(a.Reason, tt.reason) {
			t.Errorf("%s: %s, %s (%s), %v", tt.what, a.Status, a.Exists, a.Reason, err)
		}
	}
}

// TestKeysThatMayNotSign: a key of the DS set that is revoked, or not for zones,
// and a key set that the key of the DS did not sign.
func TestKeysThatMayNotSign(t *testing.T) {
	for _, tt := range []struct {
		flags    uint16
		protocol uint8
		want     Status
	}{
		{257, 3, Secure}, {256, 3, Secure}, {257 | dns.REVOKE, 3, Bogus}, {1, 3, Bogus}, {257, 2, Bogus},
	} {
		s := newSigner(t)
		s.key.Flags, s.key.Protocol = tt.flags, tt.protocol
		www := rr(t, "www.a.test. 300 IN A 192.0.2.1")
		b := book{"a.test. DNSKEY": answer(s.key, s.sign(s.key)), "www.a.test. A": answer(www, s.sign(www))}
		a, err := s.validator(b).LookUp(t.Context(), domain.MustParse("www.a.test"), dns.TypeA)
		if err != nil || a.Status != tt.want {
			t.Errorf("flags %d, protocol %d: %s (%s), %v", tt.flags, tt.protocol, a.Status, a.Reason, err)
		}
	}
	s, thief := newSigner(t), newSigner(t)
	www := rr(t, "www.a.test. 300 IN A 192.0.2.66")
	b := book{"a.test. DNSKEY": answer(s.key, thief.key, thief.sign(s.key, thief.key)), "www.a.test. A": answer(www, thief.sign(www))}
	a, err := s.validator(b).LookUp(t.Context(), domain.MustParse("www.a.test"), dns.TypeA)
	if want := fmt.Sprintf("DNSKEY of a.test.: no usable DNSKEY %d for the RRSIG", thief.key.KeyTag()); err != nil || a.Status != Bogus || a.Reason != want {
		t.Errorf("keys signed by another: %s (%s), %v", a.Status, a.Reason, err)
	}
}

// TestDSOfAWildcard: no zone begins at a name that a wildcard stands for.
func TestDSOfAWildcard(t *testing.T) {
	s := newSigner(t)
	wild := rr(t, "*.a.test. 300 IN DS 1 13 2 "+strings.Repeat("ab", 32))
	proof := rr(t, "a.test. 300 IN NSEC a.test. NS SOA RRSIG NSEC DNSKEY")
	m := answer(wild, s.sign(wild))
	for _, rr := range m.Answer {
		rr.Header().Name = "www.a.test."
	}
	m.Ns = []dns.RR{proof, s.sign(proof)}
	b := book{"a.test. DNSKEY": answer(s.key, s.sign(s.key)), "www.a.test. DS": m, "www.a.test. A": answer(rr(t, "www.a.test. 300 IN A 192.0.2.1"))}
	a, err := s.validator(b).LookUp(t.Context(), domain.MustParse("www.a.test"), dns.TypeA)
	if want := "DS of www.a.test. comes from a wildcard"; err != nil || a.Status != Bogus || a.Reason != want {
		t.Errorf("%s (%s), %v", a.Status, a.Reason, err)
	}
}
