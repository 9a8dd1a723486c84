package validate

import (
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"zonebuild/internal/domain"
)

// anything answers one question with what it is given, and the rest from a book.
type anything struct {
	book
	name  string // "" = every question
	reply *dns.Msg
}

func (a anything) Exchange(ctx context.Context, q *dns.Msg) (*dns.Msg, error) {
	if a.name == "" || a.name == q.Question[0].Name && q.Question[0].Qtype != dns.TypeDNSKEY {
		return a.reply.Copy(), nil
	}
	return a.book.Exchange(ctx, q)
}

// fixedSigner has always the same key, so that a corpus stays true.
func fixedSigner(t testing.TB) *signer {
	private := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	key := &dns.DNSKEY{Hdr: dns.RR_Header{Name: "a.test.", Rrtype: dns.TypeDNSKEY, Class: dns.ClassINET, Ttl: 300}, Flags: 257, Protocol: 3, Algorithm: dns.ED25519}
	key.PublicKey = base64.StdEncoding.EncodeToString(private.Public().(ed25519.PublicKey))
	return &signer{t, time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), key, private}
}

// FuzzResponse puts any answer in the place of the true one. What is not the
// zone's must not become secure: www has one A record and no TLSA.
func FuzzResponse(f *testing.F) {
	s := fixedSigner(f)
	www, wild := rr(f, "www.a.test. 300 IN A 192.0.2.1"), rr(f, "*.wild.a.test. 300 IN A 192.0.2.2")
	alias, tree := rr(f, "alias.a.test. 300 IN CNAME www.a.test."), rr(f, "tree.a.test. 300 IN DNAME a.test.")
	apex, last := rr(f, "a.test. 300 IN NSEC www.a.test. NS SOA RRSIG NSEC DNSKEY"), rr(f, "www.a.test. 300 IN NSEC a.test. A RRSIG NSEC")
	hashed := rr(f, "2vptu5timamqttgl4luu9kg21e0aor3s.a.test. 300 IN NSEC3 1 1 12 aabbccdd 35mthgpgcu1qg68fab165klnsnk3dpvl MX RRSIG")
	synthesized := rr(f, "www.tree.a.test. 300 IN CNAME www.a.test.")
	seed := func(m *dns.Msg, ns ...dns.RR) {
		m.Ns = ns
		m.Response = true
		b, err := m.Pack()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	seed(answer(www, s.sign(www)))
	seed(answer(wild, s.sign(wild)), apex, s.sign(apex))
	seed(answer(alias, s.sign(alias), www, s.sign(www)))
	seed(answer(tree, s.sign(tree), synthesized))
	seed(answer(), apex, s.sign(apex), last, s.sign(last))
	seed(answer(), hashed, s.sign(hashed))
	seed(answer(s.key, s.sign(s.key)))
	f.Add([]byte("\x00\x00\x80\x00\x00\x00\x00\x01\x00\x00\x00\x00\x03www\x01a\x04test\x00\x00\x05\x00\x01\x00\x00\x00\x00\x00\x00"))
	keys := book{"a.test. DNSKEY": answer(s.key, s.sign(s.key))}
	anchors := s.anchors()
	f.Fuzz(func(t *testing.T, b []byte) {
		m := new(dns.Msg)
		if m.Unpack(b) != nil {
			return
		}
		name := domain.MustParse("www.a.test")
		// No anchor is his: nothing is secure, whatever all the answers are.
		v := &Validator{Resolver: anything{reply: m}, Anchors: RootAnchors(), Now: s.now}
		for _, typ := range []uint16{dns.TypeA, dns.TypeDS, dns.TypeDNSKEY} {
			if a, err := v.LookUp(t.Context(), name, typ); err != nil || a.Status == Secure || a.Status == Insecure {
				t.Fatalf("%s: %s (%s), %v", typeName(typ), a.Status, a.Reason, err)
			}
		}
		// The keys are true, and one answer is his.
		v = &Validator{Resolver: anything{keys, "www.a.test.", m}, Anchors: anchors, Now: s.now}
		for _, typ := range []uint16{dns.TypeA, dns.TypeTLSA} {
			a, err := v.LookUp(t.Context(), name, typ)
			if err != nil {
				t.Fatal(err)
			}
			switch {
			case a.Status == Insecure:
				t.Fatalf("%s: insecure (%s)", typeName(typ), a.Reason)
			case a.Status != Secure:
			case typ == dns.TypeTLSA && a.Exists == NoData:
			case typ == dns.TypeA && a.Exists == Data && len(a.RRs) > 0 && a.RRs[0].(*dns.A).A.String() == "192.0.2.1":
			default:
				t.Fatalf("%s: %s, %s (%s) %v", typeName(typ), a.Status, a.Exists, a.Reason, a.RRs)
			}
		}
	})
}

// FuzzAnchors: what is read is a usable DS.
func FuzzAnchors(f *testing.F) {
	f.Add(". IN DS 20326 8 2 e06d44b80b8f1d39a95c0b0d7c65d08458e880409bbc683457104237c7f8ec8d\n")
	f.Add("a.test. IN DNSKEY 257 3 15 O2onvM62pC1io6jQKm8Nc2UyFXcd4kOmOsBIoYtZ2ik=\n")
	f.Fuzz(func(t *testing.T, text string) {
		list, err := ReadAnchors(strings.NewReader(text), "f")
		if err == nil && len(list) == 0 {
			t.Fatal("no anchor and no error")
		}
		for _, a := range list {
			if a.Zone.IsZero() || len(usable([]*dns.DS{a.DS})) != 1 {
				t.Fatalf("%v", a)
			}
		}
	})
}
