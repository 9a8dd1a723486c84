package verify

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"encoding/base64"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// fixtureNow is within the validity of the zones in testdata.
var fixtureNow = time.Date(2024, 6, 1, 0, 0, 0, 0, time.UTC)

const (
	kskTag = 60795
	zskTag = 40118
	// keyDS is the DS of the KSK, as ldns-key2ds has it.
	keyDS = "example.org. 3600 IN DS 60795 15 2 3269A1537FC38D90E377FBBFB2DDF6BA20CA80DB8AFF88099F323F61B9756EBE"
)

// fixture reads a zone of testdata as lines, comments left out.
func fixture(t testing.TB, name string) []string {
	t.Helper()
	data, err := os.ReadFile("testdata/" + name + ".zone")
	if err != nil {
		t.Fatal(err)
	}
	lines := slices.DeleteFunc(strings.Split(strings.TrimSpace(string(data)), "\n"), func(s string) bool { return strings.HasPrefix(s, ";") })
	if len(lines) < 50 {
		t.Fatalf("%s has %d lines", name, len(lines))
	}
	return lines
}

func parseDS(t testing.TB, text string) *dns.DS {
	t.Helper()
	rr, err := dns.NewRR(text)
	if err != nil {
		t.Fatal(err)
	}
	return rr.(*dns.DS)
}

// lines is a zone, one record a string.
type lines []string

func (l lines) text() []byte { return []byte(strings.Join(l, "\n") + "\n") }

// is reports whether a line is a record of owner and type; "RRSIG A" is the
// signature of A. The owner is relative to example.org., "@" is the apex.
func is(line, owner, typ string) bool {
	f := strings.Fields(line)
	if len(f) < 5 || !strings.EqualFold(f[0], full(owner)) {
		return false
	}
	if covered, ok := strings.CutPrefix(typ, "RRSIG "); ok {
		return f[3] == "RRSIG" && f[4] == covered
	}
	return f[3] == typ
}

func full(owner string) string {
	if owner == "@" {
		return "example.org."
	}
	if strings.HasSuffix(owner, ".") {
		return owner
	}
	return owner + ".example.org."
}

// drop takes the records of an owner and type away.
func (l *lines) drop(owner, typ string) {
	n := len(*l)
	*l = slices.DeleteFunc(*l, func(s string) bool { return is(s, owner, typ) })
	if len(*l) == n {
		panic("no " + typ + " at " + owner)
	}
}

// edit replaces text in the first record of an owner and type.
func (l lines) edit(owner, typ, from, to string) {
	i := slices.IndexFunc(l, func(s string) bool { return is(s, owner, typ) })
	s := strings.Replace(l[i], from, to, 1)
	if s == l[i] {
		panic(fmt.Sprintf("no %q in %q", from, l[i]))
	}
	l[i] = s
}

func (l *lines) add(text ...string) { *l = append(*l, text...) }

// sign makes the signature of an RRset anew, as the keys of testdata do, and
// whatever the RRset is.
func (l *lines) sign(owner, typ string) {
	*l = slices.DeleteFunc(*l, func(s string) bool { return is(s, owner, "RRSIG "+typ) })
	var set []dns.RR
	for _, s := range *l {
		if is(s, owner, typ) {
			rr, err := dns.NewRR(s)
			if err != nil {
				panic(err)
			}
			set = append(set, rr)
		}
	}
	sig := &dns.RRSIG{
		Hdr:       dns.RR_Header{Name: full(owner), Rrtype: dns.TypeRRSIG, Class: dns.ClassINET, Ttl: set[0].Header().Ttl},
		Algorithm: dns.ED25519, KeyTag: zskTag, SignerName: "example.org.",
		Inception: 1704067200, Expiration: 2019686400,
	}
	seed := byte(2)
	if typ == "DNSKEY" {
		sig.KeyTag, seed = kskTag, 1
	}
	if err := sig.Sign(testKey(seed), set); err != nil {
		panic(err)
	}
	l.add(sig.String())
}

func testKey(seed byte) crypto.Signer {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{seed}, ed25519.SeedSize))
}

// addTo puts the marks of all signatures into a ledger, their data assembled by miekg/dns.
func (l *lines) addTo(t testing.TB, ledger *Ledger) {
	t.Helper()
	type set struct{ owner, typ string }
	rrs := map[set][]dns.RR{}
	for _, s := range *l {
		rr, err := dns.NewRR(s)
		if err != nil {
			t.Fatal(err)
		}
		k := set{strings.ToLower(rr.Header().Name), dns.Type(rr.Header().Rrtype).String()}
		rrs[k] = append(rrs[k], rr)
	}
	for k, sigs := range rrs {
		if k.typ != "RRSIG" {
			continue
		}
		for _, rr := range sigs {
			sig := rr.(*dns.RRSIG)
			covered := rrs[set{k.owner, dns.Type(sig.TypeCovered).String()}]
			ledger.Add(markOf(t, ledger, sig, covered))
		}
	}
}

// markOf assembles the signed data with miekg/dns.
func markOf(t testing.TB, ledger *Ledger, sig *dns.RRSIG, set []dns.RR) Mark {
	t.Helper()
	pack := func(rr dns.RR) []byte {
		buf := make([]byte, 4096)
		n, err := dns.PackRR(rr, buf, 0, nil, false)
		if err != nil {
			t.Fatal(err)
		}
		return buf[:n]
	}
	bare := dns.Copy(sig).(*dns.RRSIG)
	bare.Signature, bare.Hdr.Name = "", "."
	data := pack(bare)[11:]
	var all [][]byte
	for _, rr := range set {
		rr = dns.Copy(rr)
		rr.Header().Name = strings.ToLower(rr.Header().Name)
		rr.Header().Ttl = sig.OrigTtl
		switch rr := rr.(type) { // RFC 4034 §6.2, as far as the fixtures go
		case *dns.NS:
			rr.Ns = strings.ToLower(rr.Ns)
		case *dns.MX:
			rr.Mx = strings.ToLower(rr.Mx)
		case *dns.CNAME:
			rr.Target = strings.ToLower(rr.Target)
		case *dns.DNAME:
			rr.Target = strings.ToLower(rr.Target)
		case *dns.SRV:
			rr.Target = strings.ToLower(rr.Target)
		case *dns.NAPTR:
			rr.Replacement = strings.ToLower(rr.Replacement)
		}
		all = append(all, pack(rr))
	}
	slices.SortFunc(all, bytes.Compare)
	signature, err := base64.StdEncoding.DecodeString(sig.Signature)
	if err != nil {
		t.Fatal(err)
	}
	return ledger.MarkOf(append(data, bytes.Join(all, nil)...), signature)
}
