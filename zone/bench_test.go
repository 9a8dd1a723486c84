package zone

import (
	"bytes"
	"fmt"
	"io"
	"testing"

	"zonebuild/internal/domain"
)

// benchHosts is the size of the zone in the benchmarks: as `host` of
// docs/scale.md, 20,000 hosts with an A and an AAAA each.
const benchHosts = 20_000

// hostsText is the text of that zone. The hosts come in an order that is neither
// sorted nor random: 7919 is prime.
func hostsText() []byte {
	var b bytes.Buffer
	b.WriteString(soaText)
	for i := range benchHosts {
		h := i * 7919 % benchHosts
		fmt.Fprintf(&b, "host%d A 10.0.%d.%d\nhost%d AAAA 2001:db8::%x\n", h, h>>8, h&255, h, h)
	}
	return b.Bytes()
}

// delegationsText is the text of `tld` of docs/scale.md with 50,000 delegations.
func delegationsText() []byte {
	const n = 50_000
	var b bytes.Buffer
	b.WriteString(soaText)
	for i := range n {
		d := i * 7919 % n
		fmt.Fprintf(&b, "name%d NS ns1.name%d\nname%d NS ns2.name%d\n", d, d, d, d)
		fmt.Fprintf(&b, "ns1.name%d A 10.0.%d.%d\nns2.name%d A 172.16.%d.%d\n", d, d>>8&255, d&255, d, d>>8&255, d&255)
		if d%5 == 0 {
			fmt.Fprintf(&b, "name%d DS %d 13 2 %064x\n", d, d, d)
		}
	}
	return b.Bytes()
}

// benchTexts are the zones that are read and compiled.
func benchTexts() map[string][]byte {
	return map[string][]byte{"host": hostsText(), "tld": delegationsText()}
}

// BenchmarkParse reads the text, without sorting it.
func BenchmarkParse(b *testing.B) {
	o := ParseOptions{Apex: domain.MustParse("example.org")}
	for name, text := range benchTexts() {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			b.ReportAllocs()
			for b.Loop() {
				if f, faults := Parse("zone", text, o); len(faults) > 0 || f.Records.Len() < 2*benchHosts+3 {
					b.Fatal(faults)
				}
			}
		})
	}
}

// BenchmarkCompile sorts what was read, checks it and makes it a zone.
func BenchmarkCompile(b *testing.B) {
	apex := domain.MustParse("example.org")
	for name, text := range benchTexts() {
		b.Run(name, func(b *testing.B) {
			f, _ := Parse("zone", text, ParseOptions{Apex: apex})
			b.ReportAllocs()
			for b.Loop() {
				if _, faults := Compile(apex, f); faults.HasErrors() {
					b.Fatal(faults)
				}
			}
		})
	}
}

// BenchmarkWrite writes the text of unsigned/ZONE.
func BenchmarkWrite(b *testing.B) {
	apex := domain.MustParse("example.org")
	f, _ := Parse("zone", hostsText(), ParseOptions{Apex: apex})
	z, faults := Compile(apex, f)
	if faults.HasErrors() {
		b.Fatal(faults)
	}
	n, _ := z.WriteTo(io.Discard)
	b.SetBytes(n)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := z.WriteTo(io.Discard); err != nil {
			b.Fatal(err)
		}
	}
}
