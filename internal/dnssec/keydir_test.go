package dnssec

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/miekg/dns"

	"zonebuild/internal/domain"
)

func testNow() time.Time { return time.Date(2026, 11, 1, 2, 3, 4, 0, time.UTC) }

// TestKeyBase holds names as dnssec-keygen 9.18 gave them (dnssec-keygen -a 13
// ZONE), and those of ldns-keygen 1.8.3, which does not escape.
func TestKeyBase(t *testing.T) {
	tests := []struct{ zone, base, also string }{
		{"example.org", "Kexample.org.+013+00001", "KExample.ORG.+013+00001"},
		{"0/25.2.0.192.in-addr.arpa", "K0%2F25.2.0.192.in-addr.arpa.+013+00001", "K0%2f25.2.0.192.in-addr.arpa.+013+00001"},
		{"a:b.example", "Ka%3Ab.example.+013+00001", "Ka:b.example.+013+00001"},
		{`a\.b.example`, "Ka%2Eb.example.+013+00001", `Ka\.b.example.+013+00001`},
		{`a\032b.example`, "Ka%20b.example.+013+00001", `Ka\032b.example.+013+00001`},
		{`a%2fb.example`, "Ka%252fb.example.+013+00001", "Ka%252Fb.example.+013+00001"},
		{`a%b.example`, "Ka%25b.example.+013+00001", "Ka%b.example.+013+00001"}, // "%b." is no escape
		{`\200x.example`, "K%C8x.example.+013+00001", "K%c8x.example.+013+00001"},
		{`A\\B.example`, "Ka%5Cb.example.+013+00001", `Ka\\b.example.+013+00001`},
		{"a_b-c.example", "Ka_b-c.example.+013+00001", "Ka%5Fb-c.example.+013+00001"},
		{"a+b.example", "Ka%2Bb.example.+013+00001", "Ka+b.example.+013+00001"},
		{"*.example", "K%2A.example.+013+00001", "K*.example.+013+00001"},
		{".", "K.+013+00001", "K.+013+00001"},
	}
	for _, tt := range tests {
		apex := domain.MustParse(tt.zone)
		if got := keyBase(apex, 13, 1); got != tt.base {
			t.Errorf("%s: got %s, want %s", tt.zone, got, tt.base)
		}
		for _, base := range []string{tt.base, tt.also} {
			if got, f, ok := parseKeyBase(base); !ok || got != apex || f != (KeyFile{base, 13, 1}) {
				t.Errorf("%s: got %s, %+v, %v", base, got, f, ok)
			}
		}
	}
	for _, base := range []string{"", "K", "K+013+00001", "Kexample.org.+013+0001", "Kexample.org.+256+00001", "Kexample.org.+013+65536", "Xexample.org.+013+00001", "Ka..b.+013+00001", "Kexample.org.+013-00001"} {
		if _, f, ok := parseKeyBase(base); ok {
			t.Errorf("%q was read as %+v", base, f)
		}
	}
}

func TestScanKeys(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{
		"Kb.example.+013+00002.key", "Kb.example.+013+00002.private", "Kb.example.+008+00001.key",
		"Ka.example.+013+00003.private", "Ka.example.+013+00003.state", ".Ka.example.+013+00004.key.tmp",
		"README", "Kb.example.+013+00002.key~", "dsset-b.example.",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	d, err := ScanKeys(dir)
	if err != nil {
		t.Fatal(err)
	}
	b := domain.MustParse("b.example")
	if got, want := d.Files(b), []KeyFile{{"Kb.example.+008+00001", 8, 1}, {"Kb.example.+013+00002", 13, 2}}; !slices.Equal(got, want) {
		t.Errorf("got %+v", got)
	}
	if !d.Private() {
		t.Error("there are private keys")
	}
	if a := domain.MustParse("a.example"); len(d.Files(a)) > 0 || len(d.loose[a]) != 1 {
		t.Errorf("a key without .key file: %+v, %+v", d.Files(a), d.loose[a])
	}
	if d, err := ScanKeys(filepath.Join(dir, "none")); err != nil || len(d.Files(b)) > 0 || d.Private() {
		t.Errorf("no directory: %v", err)
	}
	if _, err := ScanKeys(filepath.Join(dir, "README")); err == nil {
		t.Error("a file is no directory")
	}
}

// BenchmarkScanKeys lists the keys of 10,000 zones, two keys each.
func BenchmarkScanKeys(b *testing.B) {
	dir := b.TempDir()
	for i := range 10000 {
		apex := domain.MustParse(fmt.Sprintf("zone%d.example", i))
		for tag := range uint16(2) {
			for _, ext := range []string{".key", ".private", ".state"} {
				if err := os.WriteFile(filepath.Join(dir, keyBase(apex, dns.ECDSAP256SHA256, tag)+ext), nil, 0o600); err != nil {
					b.Fatal(err)
				}
			}
		}
	}
	for b.Loop() {
		if _, err := ScanKeys(dir); err != nil {
			b.Fatal(err)
		}
	}
}
