package dnssec

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"zonebuild/internal/domain"
	"zonebuild/zone"
)

// benchHosts is the size of the zone in the benchmarks: as `host` of
// docs/scale.md, 20,000 hosts with an A and an AAAA each.
const benchHosts = 20_000

// hostsText is the text of that zone, with one more TXT if asked for. The hosts
// come in an order that is neither sorted nor random: 7919 is prime.
func hostsText(more bool) string {
	var b strings.Builder
	b.WriteString("$TTL 3600\n@ SOA ns.other.test. host.other.test. 1 7200 3600 600000 300\n@ NS ns.other.test.\n")
	for i := range benchHosts {
		h := i * 7919 % benchHosts
		fmt.Fprintf(&b, "host%d A 10.0.%d.%d\nhost%d AAAA 2001:db8::%x\n", h, h>>8, h&255, h, h)
	}
	if more {
		b.WriteString("host1-added TXT \"one more\"\n")
	}
	return b.String()
}

// firstOf is the zone, its key and the text of the first signed file.
func firstOf(b *testing.B) (z *zone.Zone, keys []Key, text []byte) {
	b.Helper()
	z = compileText(b, "example.org", hostsText(false))
	keys = []Key{newKey(b, "example.org", GenerateOptions{Role: CSK})}
	var out bytes.Buffer
	if _, err := signZone(b, z, keys, nil, testNow()).WriteTo(&out); err != nil {
		b.Fatal(err)
	}
	return z, keys, out.Bytes()
}

func signZone(b *testing.B, z *zone.Zone, keys []Key, prev *Previous, now time.Time) *Signed {
	b.Helper()
	p, err := NewPlan(z, keys, testPolicy(), prev, now)
	if err != nil {
		b.Fatal(err)
	}
	s, err := Sign(p, uint32(now.Unix()))
	if err != nil {
		b.Fatal(err)
	}
	return s
}

func write(b *testing.B, s *Signed) {
	b.Helper()
	if _, err := s.WriteTo(io.Discard); err != nil {
		b.Fatal(err)
	}
}

// BenchmarkSign plans the zone, makes all its signatures and writes it, on all
// cores.
func BenchmarkSign(b *testing.B) {
	z := compileText(b, "example.org", hostsText(false))
	keys := []Key{newKey(b, "example.org", GenerateOptions{Role: CSK})}
	b.ReportAllocs()
	for b.Loop() {
		s := signZone(b, z, keys, nil, testNow())
		write(b, s)
		b.ReportMetric(float64(s.New), "signatures")
	}
}

// BenchmarkSignAgain reads the previous file, plans, signs and writes after one
// added TXT.
func BenchmarkSignAgain(b *testing.B) {
	_, keys, text := firstOf(b)
	z := compileText(b, "example.org", hostsText(true))
	now := testNow().Add(time.Minute)
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		prev, err := ReadPrevious(domain.MustParse("example.org"), "signed", text)
		if err != nil {
			b.Fatal(err)
		}
		s := signZone(b, z, keys, prev, now)
		if s.New > 4 {
			b.Fatalf("%d signatures for one added TXT", s.New)
		}
		write(b, s)
	}
}
