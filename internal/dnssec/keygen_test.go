package dnssec

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"zonebuild/internal/domain"
)

func TestGenerateFiles(t *testing.T) {
	r := newKeyRoom(t)
	for ext, want := range map[string]fs.FileMode{".key": 0o644, ".private": 0o600, ".state": 0o600} {
		info, err := os.Stat(r.zsk.Path + ext)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode() != want {
			t.Errorf("%s has mode %v", ext, info.Mode())
		}
	}
	entries, err := os.ReadDir(r.dir)
	if err != nil || len(entries) != 6 {
		t.Errorf("%d files, %v", len(entries), err)
	}
	state, err := os.ReadFile(r.ksk.Path + ".state")
	if err != nil {
		t.Fatal(err)
	}
	_, got, _ := strings.Cut(string(state), "\n")
	const want = `Algorithm: 13
Length: 256
Lifetime: 0
KSK: yes
ZSK: no
Generated: 20261101020304 (Sun Nov  1 02:03:04 2026)
Published: 20261101020304 (Sun Nov  1 02:03:04 2026)
Active: 20261101020304 (Sun Nov  1 02:03:04 2026)
DNSKEYChange: 20261101020304 (Sun Nov  1 02:03:04 2026)
KRRSIGChange: 20261101020304 (Sun Nov  1 02:03:04 2026)
DSChange: 20261101020304 (Sun Nov  1 02:03:04 2026)
DNSKEYState: rumoured
KRRSIGState: rumoured
DSState: hidden
GoalState: omnipresent
`
	if got != want {
		t.Errorf("state:\n%s", got)
	}
}

func TestGenerateHidden(t *testing.T) {
	r := newKeyRoom(t)
	k := r.generate(GenerateOptions{Role: CSK, Hidden: true})
	keys, faults := r.load(LoadOptions{})
	if faults != "" {
		t.Fatal(faults)
	}
	i := slices.IndexFunc(keys, func(x Key) bool { return x.Tag == k.Tag })
	if got := life(&keys[i]); got != "ksk zsk private" || got != life(&k) {
		t.Errorf("got %q, made %q", got, life(&k))
	}
}

// TestGenerateAvoids: with all tags but a few taken, a new key has a free one, and
// with all taken there is none.
func TestGenerateAvoids(t *testing.T) {
	apex := domain.MustParse("example.org")
	avoid := map[uint16]bool{}
	for tag := range 1 << 16 {
		avoid[uint16(tag)] = tag < 1<<15
	}
	d, err := ScanKeys(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for range 20 {
		k, err := d.Generate(apex, GenerateOptions{Algorithm: dns.ED25519, Now: testNow(), Avoid: avoid})
		if err != nil {
			t.Fatal(err)
		}
		revoked := k.DNSKEY
		revoked.Flags |= dns.REVOKE
		if avoid[k.Tag] || avoid[revoked.KeyTag()] {
			t.Errorf("tag %d (revoked %d) is taken", k.Tag, revoked.KeyTag())
		}
	}
	for tag := range avoid {
		avoid[tag] = true
	}
	if _, err := d.Generate(apex, GenerateOptions{Algorithm: dns.ED25519, Now: testNow(), Avoid: avoid}); err == nil || err.Error() != "make a key for example.org.: no free key tag" {
		t.Errorf("got %v", err)
	}
}

// TestTakenTags: a key's tag counts in every algorithm, as it is and revoked, and
// so do the files of a key that was never finished.
func TestTakenTags(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"Kexample.org.+005+01000.key", "Kexample.org.+013+65500.private", "Kexample.net.+013+02000.key"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	d, err := ScanKeys(dir)
	if err != nil {
		t.Fatal(err)
	}
	taken := d.takenTags(domain.MustParse("example.org"), map[uint16]bool{7: true, 8: false})
	for tag, want := range map[uint16]bool{0: true, 7: true, 8: false, 1000: true, 1128: true, 65500: true, 65500 + 129 - 1<<16: true, 2000: false, 999: false} {
		if taken[tag] != want {
			t.Errorf("tag %d: taken %v", tag, taken[tag])
		}
	}
}

// TestRevokedTag: the REVOKE bit moves a tag by 128, or by 129 past the end.
func TestRevokedTag(t *testing.T) {
	d, err := ScanKeys(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for range 300 {
		k := dns.DNSKEY{Flags: 257, Protocol: 3, Algorithm: dns.ED25519}
		if _, err := k.Generate(256); err != nil {
			t.Fatal(err)
		}
		tag := k.KeyTag()
		k.Flags |= dns.REVOKE
		d.files[domain.Root] = []KeyFile{{"", 15, tag}}
		if !d.takenTags(domain.Root, nil)[k.KeyTag()] {
			t.Errorf("tag %d is %d when revoked", tag, k.KeyTag())
		}
	}
}

func TestGenerateRefuses(t *testing.T) {
	tests := []struct {
		o    GenerateOptions
		want string
	}{
		{GenerateOptions{Algorithm: 5}, "make a key for example.org.: algorithm 5 is not supported (8, 13, 14 and 15 are)"},
		{GenerateOptions{Algorithm: 8, Bits: 1024}, "make a key for example.org.: 1024 bits: must be 2048 to 4096"},
		{GenerateOptions{Algorithm: 8, Bits: 8192}, "make a key for example.org.: 8192 bits: must be 2048 to 4096"},
	}
	for _, tt := range tests {
		tt.o.Now = testNow()
		if _, err := GenerateKey(t.TempDir(), domain.MustParse("example.org"), tt.o); err == nil || err.Error() != tt.want {
			t.Errorf("got %v, want %s", err, tt.want)
		}
	}
	if _, err := GenerateKey(filepath.Join(t.TempDir(), "none"), domain.MustParse("example.org"), GenerateOptions{Algorithm: 13, Now: testNow()}); err == nil {
		t.Error("a key was made in no directory")
	}
}

// TestCreateIsWholeOrNothing: where one of the files exists, none is touched and
// none is left.
func TestCreateIsWholeOrNothing(t *testing.T) {
	for _, ext := range []string{".private", ".state", ".key"} {
		from := newKey(t, "example.org", GenerateOptions{})
		k := from
		k.Path = filepath.Join(t.TempDir(), filepath.Base(from.Path))
		if err := os.WriteFile(k.Path+ext, []byte("mine"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := k.create(from.Signer, GenerateOptions{Now: testNow()}); err == nil {
			t.Errorf("%s exists, and the key was made", ext)
		}
		entries, err := os.ReadDir(filepath.Dir(k.Path))
		if err != nil || len(entries) != 1 {
			t.Errorf("%s: %d files are left, %v", ext, len(entries), err)
		}
		if b, err := os.ReadFile(k.Path + ext); err != nil || string(b) != "mine" {
			t.Errorf("%s was overwritten", ext)
		}
	}
}

// TestStateIsKept: what is written again holds all lines, known or not.
func TestStateIsKept(t *testing.T) {
	const text = "; a comment\n\nAlgorithm: 13\nFuture: x: y\nDNSKEYState: RUMOURED\n; end\n"
	s, faults := ParseKeyState("f", []byte(text))
	if len(faults) > 0 || string(s.Bytes()) != text {
		t.Fatalf("%v\n%s", faults, s.Bytes())
	}
	if s.Phase("dnskeystate") != Rumoured || s.Phase("DSState") != Hidden {
		t.Error("a phase is read wrongly")
	}
	s.Move("DNSKEY", Omnipresent, testNow())
	if at, ok := s.Time("DNSKEYChange"); !ok || !at.Equal(testNow()) {
		t.Errorf("DNSKEYChange is %v", at)
	}
	const want = "; a comment\n\nAlgorithm: 13\nFuture: x: y\nDNSKEYState: omnipresent\n; end\nDNSKEYChange: 20261101020304 (Sun Nov  1 02:03:04 2026)\n"
	if got := string(s.Bytes()); got != want {
		t.Errorf("got\n%s", got)
	}
	path := filepath.Join(t.TempDir(), "K")
	if err := s.WriteFile(path); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(path + ".state"); err != nil || string(b) != want {
		t.Errorf("%v\n%s", err, b)
	}
}
