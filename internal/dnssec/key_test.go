package dnssec

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"zonebuild/internal/domain"
)

// TestRFC6979 are the vectors of RFC 6979 App. A.2.5 (P-256, SHA-256) and A.2.6
// (P-384, SHA-384).
func TestRFC6979(t *testing.T) {
	const p256 = "C9AFA9D845BA75166B5C215767B1D6934E50C3DB36E89B127B8A622B120F6721"
	const p384 = "6B9D3DAD2E1B8C1C05B19875B6659F4DE23C3B667BF297BA9AA47740787137D896D5724E4C70A825F872C9EA60D2EDF5"
	tests := []struct {
		algorithm          uint8
		curve              elliptic.Curve
		private, text      string
		wantR, wantS, name string
	}{
		{
			dns.ECDSAP256SHA256, elliptic.P256(), p256, "sample",
			"EFD48B2AACB6A8FD1140DD9CD45E81D69D2C877B56AAF991C34D0EA84EAF3716",
			"F7CB1C942D657C41D436C7A1B6E29F65F3E900DBB9AFF4064DC4AB2F843ACDA8", "P-256 sample",
		},
		{ // s begins with a zero bit pattern that ASN.1 writes shorter
			dns.ECDSAP256SHA256, elliptic.P256(), p256, "test",
			"F1ABB023518351CD71D881567B1EA663ED3EFCF6C5132B354F28D3B0B7D38367",
			"019F4113742A2B14BD25926B49C649155F267E60D3814B4C0CC84250E46F0083", "P-256 test",
		},
		{
			dns.ECDSAP384SHA384, elliptic.P384(), p384, "sample",
			"94EDBB92A5ECB8AAD4736E56C691916B3F88140666CE9FA73D64C4EA95AD133C81A648152E44ACF96E36DD1E80FABE46",
			"99EF4AEB15F178CEA1FE40DB2603138F130E740A19624526203B6351D0A3A94FA329C145786E679E7B82C71A38628AC8", "P-384 sample",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			raw, err := hex.DecodeString(tt.private)
			if err != nil {
				t.Fatal(err)
			}
			private, err := ecdsa.ParseRawPrivateKey(tt.curve, raw)
			if err != nil {
				t.Fatal(err)
			}
			k := Key{DNSKEY: dns.DNSKEY{Algorithm: tt.algorithm}, Signer: private}
			sig, err := k.SignData([]byte("before"), []byte(tt.text))
			if err != nil {
				t.Fatal(err)
			}
			if want := "before" + string(unhex(t, tt.wantR+tt.wantS)); string(sig) != want {
				t.Errorf("signature %X", sig)
			}
		})
	}
}

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// everyAlgorithm are the algorithms that sign.
func everyAlgorithm() []uint8 {
	return []uint8{dns.RSASHA256, dns.ECDSAP256SHA256, dns.ECDSAP384SHA384, dns.ED25519}
}

func newKey(t testing.TB, apex string, o GenerateOptions) Key {
	t.Helper()
	if o.Algorithm == 0 {
		o.Algorithm = dns.ECDSAP256SHA256
	}
	if o.Now.IsZero() {
		o.Now = testNow()
	}
	k, err := GenerateKey(t.TempDir(), domain.MustParse(apex), o)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// TestSignData signs one RRset, checks that miekg/dns finds the signature good,
// and that a second one has the same bytes.
func TestSignData(t *testing.T) {
	for _, algorithm := range everyAlgorithm() {
		t.Run(dns.AlgorithmToString[algorithm], func(t *testing.T) {
			k := newKey(t, "example.org", GenerateOptions{Algorithm: algorithm, Role: CSK})
			set, sig := unsignedSet(t, &k)
			data := signedData(t, sig, set)
			one, err := k.SignData(nil, data)
			if err != nil {
				t.Fatal(err)
			}
			two, err := k.SignData(nil, data)
			if err != nil || !bytes.Equal(one, two) {
				t.Errorf("a second signature is another one (%v)", err)
			}
			if len(one) != signatureSize(&k) {
				t.Errorf("%d octets", len(one))
			}
			sig.Signature = base64.StdEncoding.EncodeToString(one)
			if err := sig.Verify(&k.DNSKEY, set); err != nil {
				t.Error(err)
			}
			data[0] ^= 1
			if other, _ := k.SignData(nil, data); bytes.Equal(one, other) {
				t.Error("other data has the same signature")
			}
		})
	}
}

// TestSignDataWidth signs until r or s came out with leading zeros, which ASN.1
// leaves out (RFC 6605 §4 does not).
func TestSignDataWidth(t *testing.T) {
	k := newKey(t, "example.org", GenerateOptions{})
	for i := range 3000 {
		sig, err := k.SignData(nil, fmt.Append(nil, i))
		if err != nil || len(sig) != 64 {
			t.Fatalf("%d octets, %v", len(sig), err)
		}
		if sig[0] == 0 || sig[32] == 0 {
			return
		}
	}
	t.Error("no signature began with a zero octet")
}

func TestSignWithoutPrivateKey(t *testing.T) {
	k := newKey(t, "example.org", GenerateOptions{})
	k.Signer = nil
	if sig, err := k.SignData([]byte("x"), nil); err == nil || string(sig) != "x" {
		t.Errorf("got %q, %v", sig, err)
	}
}

func unsignedSet(t testing.TB, k *Key) ([]dns.RR, *dns.RRSIG) {
	t.Helper()
	var set []dns.RR
	for _, a := range []string{"192.0.2.1", "192.0.2.2"} {
		rr, err := dns.NewRR("www.example.org. 3600 IN A " + a)
		if err != nil {
			t.Fatal(err)
		}
		set = append(set, rr)
	}
	now := uint32(testNow().Unix())
	return set, &dns.RRSIG{
		Hdr:         dns.RR_Header{Name: "www.example.org.", Rrtype: dns.TypeRRSIG, Class: dns.ClassINET, Ttl: 3600},
		TypeCovered: dns.TypeA, Algorithm: k.DNSKEY.Algorithm, Labels: 3, OrigTtl: 3600,
		Expiration: now + 86400, Inception: now - 3600, KeyTag: k.Tag, SignerName: k.DNSKEY.Hdr.Name,
	}
}

// signedData is what RFC 4034 §3.1.8.1 says is signed, in canonical order.
func signedData(t testing.TB, sig *dns.RRSIG, set []dns.RR) []byte {
	t.Helper()
	pack := func(rr dns.RR) []byte {
		b := make([]byte, 512)
		n, err := dns.PackRR(rr, b, 0, nil, false)
		if err != nil {
			t.Fatal(err)
		}
		return b[:n]
	}
	head := pack(sig)
	data := head[len(pack(&dns.ANY{Hdr: sig.Hdr})):]
	for _, rr := range set {
		data = append(data, pack(rr)...)
	}
	return data
}

// BenchmarkSignData compares the signing of data with miekg/dns's Sign, which
// packs and sorts as well.
func BenchmarkSignData(b *testing.B) {
	for _, algorithm := range everyAlgorithm() {
		k := newKey(b, "example.org", GenerateOptions{Algorithm: algorithm})
		set, sig := unsignedSet(b, &k)
		data := signedData(b, sig, set)
		name := strings.ToLower(dns.AlgorithmToString[algorithm])
		b.Run(name+"/ours", func(b *testing.B) {
			b.ReportAllocs()
			var buf []byte
			for b.Loop() {
				var err error
				if buf, err = k.SignData(buf[:0], data); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(name+"/miekg", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := sig.Sign(k.Signer, set); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
