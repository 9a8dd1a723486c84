package verify

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

// largeZone makes a signed zone of n hosts in canonical line form, as a signer
// would with one P-256 key and NSEC, and the ledger of its signatures. Without
// real the signatures are random, which is enough to read them.
func largeZone(b *testing.B, n int, real bool) ([]byte, *Ledger) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		b.Fatal(err)
	}
	public, err := key.PublicKey.Bytes()
	if err != nil {
		b.Fatal(err)
	}
	dnskey := "257 3 13 " + base64.StdEncoding.EncodeToString(public[1:])
	rec, err := oneRecord("example.org. 1 IN DNSKEY " + dnskey)
	if err != nil {
		b.Fatal(err)
	}
	tag := keyTag(rec.rdata)
	var text bytes.Buffer
	ledger := NewLedger(3*n + 4)
	set := func(owner, typ string, rdata ...string) {
		for _, r := range rdata {
			fmt.Fprintf(&text, "%s\t3600\tIN\t%s\t%s\n", owner, typ, r)
		}
		labels := strings.Count(owner, ".")
		sig := fmt.Sprintf("%s %d %d 3600 20340101000000 20240101000000 %d example.org. ", typ, 13, labels, tag)
		signature := make([]byte, 64)
		if real {
			rr, err := oneRecord(owner + " 3600 IN RRSIG " + sig + "AAAA")
			if err != nil {
				b.Fatal(err)
			}
			data := slices.Clone(rr.rdata[:len(rr.rdata)-3])
			var all [][]byte
			for _, r := range rdata {
				one, err := oneRecord(owner + " 3600 IN " + typ + " " + r)
				if err != nil {
					b.Fatal(err)
				}
				w := append(slices.Clone(one.owner), 0, byte(one.typ), 0, 1, 0, 0, 0x0e, 0x10, byte(len(one.rdata)>>8), byte(len(one.rdata)))
				all = append(all, append(w, one.rdata...))
			}
			slices.SortFunc(all, bytes.Compare)
			data = append(data, bytes.Join(all, nil)...)
			digest := sha256.Sum256(data)
			r, s, err := ecdsa.Sign(rand.Reader, key, digest[:])
			if err != nil {
				b.Fatal(err)
			}
			r.FillBytes(signature[:32])
			s.FillBytes(signature[32:])
			ledger.Add(ledger.MarkOf(data, signature))
		} else if _, err := rand.Read(signature); err != nil {
			b.Fatal(err)
		}
		fmt.Fprintf(&text, "%s\t3600\tIN\tRRSIG\t%s%s\n", owner, sig, base64.StdEncoding.EncodeToString(signature))
	}
	host := func(i int) string {
		if i == n {
			return "example.org."
		}
		return fmt.Sprintf("host%07d.example.org.", i)
	}
	set("example.org.", "SOA", "ns.example.net. h.example.org. 1 2 3 4 3600")
	set("example.org.", "NS", "ns.example.net.")
	set("example.org.", "DNSKEY", dnskey)
	set("example.org.", "NSEC", host(0)+" NS SOA RRSIG NSEC DNSKEY")
	for i := range n {
		set(host(i), "A", fmt.Sprintf("10.%d.%d.%d", i>>16, i>>8&255, i&255))
		set(host(i), "AAAA", fmt.Sprintf("2001:db8::%x:%x", i>>16, i&0xffff))
		set(host(i), "NSEC", host(i+1)+" A AAAA RRSIG NSEC")
	}
	return text.Bytes(), ledger
}

// Reading alone, of 100,000 hosts.
func BenchmarkRead(b *testing.B) {
	data, _ := largeZone(b, 100_000, false)
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		f := new(faults)
		z, err := loadLines(bytes.NewReader(data), int64(len(data)), nil, f)
		if err != nil || len(f.list) > 0 {
			b.Fatal(err, f.list)
		}
		z.settle(f)
	}
}

// The parser of miekg/dns over the same, for comparison.
func BenchmarkReadMiekg(b *testing.B) {
	data, _ := largeZone(b, 10_000, false)
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		p := dns.NewZoneParser(bytes.NewReader(data), "", "")
		for _, ok := p.Next(); ok; _, ok = p.Next() {
		}
		if err := p.Err(); err != nil {
			b.Fatal(err)
		}
	}
}

// A whole verification of 20,000 hosts, by each way of settling signatures.
func BenchmarkVerify(b *testing.B) {
	data, l := largeZone(b, 20_000, true)
	b.Run("keys", func(b *testing.B) { benchmarkVerify(b, data, func() Options { return Options{} }) })
	b.Run("ledger", func(b *testing.B) {
		benchmarkVerify(b, data, func() Options { return Options{Ledger: l, Mode: Sample} })
	})
	b.Run("trusted", func(b *testing.B) {
		benchmarkVerify(b, data, func() Options { return Options{Trusted: Trust(data)} })
	})
}

func benchmarkVerify(b *testing.B, data []byte, o func() Options) {
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		options := o()
		options.Now = fixtureNow
		r, l := Bytes("zone", data, options)
		if len(l) > 0 {
			b.Fatal(l)
		}
		b.ReportMetric(float64(r.Verified), "keyops")
	}
}
