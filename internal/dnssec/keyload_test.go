package dnssec

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"zonebuild/internal/domain"
)

// keyRoom is a keys directory of a test with a KSK and a ZSK of example.org.
type keyRoom struct {
	t        testing.TB
	dir      string
	ksk, zsk Key
}

func newKeyRoom(t testing.TB) *keyRoom {
	t.Helper()
	r := &keyRoom{t: t, dir: t.TempDir()}
	r.ksk, r.zsk = r.generate(GenerateOptions{Role: KSK}), r.generate(GenerateOptions{Role: ZSK})
	return r
}

func (r *keyRoom) generate(o GenerateOptions) Key {
	r.t.Helper()
	if o.Algorithm == 0 {
		o.Algorithm = dns.ECDSAP256SHA256
	}
	o.Now = testNow()
	k, err := GenerateKey(r.dir, domain.MustParse("example.org"), o)
	if err != nil {
		r.t.Fatal(err)
	}
	return k
}

// edit changes a file of a key: ext says which, and a nil result removes it.
func (r *keyRoom) edit(k *Key, ext string, change func(string) string) {
	r.t.Helper()
	old, err := os.ReadFile(k.Path + ext)
	if err != nil {
		r.t.Fatal(err)
	}
	if err := os.WriteFile(k.Path+ext, []byte(change(string(old))), 0o600); err != nil {
		r.t.Fatal(err)
	}
}

func (r *keyRoom) replace(k *Key, ext, old, new string) {
	r.t.Helper()
	r.edit(k, ext, func(s string) string {
		if !strings.Contains(s, old) {
			r.t.Fatalf("%s%s holds no %q:\n%s", filepath.Base(k.Path), ext, old, s)
		}
		return strings.Replace(s, old, new, 1)
	})
}

func (r *keyRoom) remove(k *Key, exts ...string) {
	r.t.Helper()
	for _, ext := range exts {
		if err := os.Remove(k.Path + ext); err != nil {
			r.t.Fatal(err)
		}
	}
}

// load gives the keys and the faults, one a line. In those the directory is left
// out, and the keys are called ksk, zsk and so on.
func (r *keyRoom) load(o LoadOptions) ([]Key, string) {
	r.t.Helper()
	d, err := ScanKeys(r.dir)
	if err != nil {
		r.t.Fatal(err)
	}
	keys, faults := LoadKeys(d, domain.MustParse("example.org"), o)
	var lines []string
	for _, f := range faults {
		line := strings.ReplaceAll(f.String(), r.dir+"/", "")
		line = strings.ReplaceAll(line, filepath.Base(r.ksk.Path), "ksk")
		line = strings.ReplaceAll(line, filepath.Base(r.zsk.Path), "zsk")
		lines = append(lines, line)
	}
	return keys, strings.Join(lines, "\n")
}

func life(k *Key) string {
	s := ""
	for _, x := range []struct {
		is   bool
		word string
	}{{k.KSK, "ksk "}, {k.ZSK, "zsk "}, {k.Published, "published "}, {k.SignsKeys, "signs-keys "}, {k.SignsZone, "signs-zone "}, {k.Signer != nil, "private"}} {
		if x.is {
			s += x.word
		}
	}
	return strings.TrimSpace(s)
}

func TestLoadKeys(t *testing.T) {
	r := newKeyRoom(t)
	keys, faults := r.load(LoadOptions{})
	if faults != "" || len(keys) != 2 {
		t.Fatalf("%d keys, %s", len(keys), faults)
	}
	for i := range keys {
		want, made := "ksk published signs-keys private", &r.ksk
		if keys[i].Tag == r.zsk.Tag {
			want, made = "zsk published signs-zone private", &r.zsk
		}
		if got := life(&keys[i]); got != want || life(made) != want {
			t.Errorf("loaded %s, made %s, want %s", got, life(made), want)
		}
		if keys[i].DNSKEY != made.DNSKEY || keys[i].Path != made.Path || keys[i].Tag != made.Tag {
			t.Errorf("loaded %+v, made %+v", keys[i].DNSKEY, made.DNSKEY)
		}
	}
	if keys, faults := r.load(LoadOptions{PublicOnly: true}); faults != "" || len(keys) != 2 || keys[0].Signer != nil {
		t.Errorf("public only: %+v, %s", keys, faults)
	}
}

// TestLoadFaults spoils a good pair of keys and holds the exact words.
func TestLoadFaults(t *testing.T) {
	tests := []struct {
		name  string
		spoil func(r *keyRoom)
		want  string // TAG and BITS stand for numbers
	}{
		{"empty .key", func(r *keyRoom) { r.edit(&r.ksk, ".key", func(string) string { return "; nothing\n" }) },
			"ksk.key: example.org.: the file holds no DNSKEY record [key-file]"},
		{"two records", func(r *keyRoom) {
			r.edit(&r.ksk, ".key", func(s string) string { return s + s[strings.Index(s, "example.org. IN"):] })
		},
			"ksk.key:6:1: example.org.: the file must hold one DNSKEY record and nothing else [key-file]"},
		{"other zone", func(r *keyRoom) { r.replace(&r.ksk, ".key", "example.org. IN", "example.net. IN") },
			"ksk.key:5:1: example.org.: the key is of example.net. [key-file]"},
		{"several at once", func(r *keyRoom) { r.replace(&r.ksk, ".key", "DNSKEY 257 3 13", "DNSKEY 385 2 14") },
			"ksk.key:5:1: example.org.: protocol 2, must be 3 [key-file]\n" +
				"ksk.key:5:1: example.org.: the key is revoked [key-file]\n" +
				"ksk.key:5:1: example.org.: algorithm 14, the file name says 13 [key-file]\n" +
				"ksk.key:5:1: example.org.: key tag N, the file name says N [key-file]"},
		{"no zone key", func(r *keyRoom) { r.replace(&r.ksk, ".key", "DNSKEY 257", "DNSKEY 1") },
			"ksk.key:5:1: example.org.: no zone key: its ZONE flag is not set [key-file]\n" +
				"ksk.key:5:1: example.org.: key tag N, the file name says N [key-file]"},
		{"flags", func(r *keyRoom) { r.replace(&r.ksk, ".key", "DNSKEY 257", "DNSKEY 65793") },
			"ksk.key:5:24: example.org.: the flags must be a number of 16 bits [key-file]"},
		{"base64", func(r *keyRoom) { r.replace(&r.ksk, ".key", "257 3 13 ", "257 3 13 !") },
			"ksk.key:5:33: example.org.: the public key is not in base64 [key-file]"},
		{"cut short", func(r *keyRoom) { r.replace(&r.ksk, ".key", "257 3 13 ", "257 3 13 ;") },
			"ksk.key:5:1: example.org.: the DNSKEY record is cut short [key-file]"},
		{"no DNSKEY", func(r *keyRoom) { r.replace(&r.ksk, ".key", "DNSKEY 257", "KEY 257") },
			"ksk.key:5:17: example.org.: the record must be a DNSKEY of class IN [key-file]"},
		{"directive", func(r *keyRoom) { r.replace(&r.ksk, ".key", "example.org. IN", "$TTL 3600\nexample.org. IN") },
			"ksk.key:6:1: example.org.: the file must hold one DNSKEY record and nothing else [key-file]"},
		{"no owner", func(r *keyRoom) { r.replace(&r.ksk, ".key", "example.org. IN", "  IN") },
			"ksk.key:5:3: example.org.: the record must begin with its owner name [key-file]"},
		{"parenthesis", func(r *keyRoom) { r.replace(&r.ksk, ".key", "257 3", "( 257 3") },
			"ksk.key:5: example.org.: a parenthesis is not closed [key-file]"},
		{"parenthesis closed", func(r *keyRoom) { r.replace(&r.ksk, ".key", "257 3", ") 257 3") },
			"ksk.key:5:24: example.org.: no parenthesis is open here [key-file]"},
		{"phase", func(r *keyRoom) { r.replace(&r.zsk, ".state", "ZRRSIGState: rumoured", "ZRRSIGState: rumored") },
			"zsk.state:13: example.org.: ZRRSIGState: \"rumored\" is none of hidden, rumoured, omnipresent, unretentive [key-state]"},
		{"role", func(r *keyRoom) { r.replace(&r.zsk, ".state", "ZSK: yes", "ZSK: true") },
			"zsk.state:6: example.org.: ZSK: \"true\" is neither yes nor no [key-state]"},
		{"no role", func(r *keyRoom) { r.replace(&r.zsk, ".state", "ZSK: yes", "ZSK: no") },
			"zsk.state: example.org.: the key is neither KSK nor ZSK [key-state]"},
		{"state of another", func(r *keyRoom) { r.replace(&r.zsk, ".state", "Algorithm: 13", "Algorithm: 8") },
			"zsk.state:2: example.org.: Algorithm: 8, but the DNSKEY has 13 [key-state]"},
		{"state twice", func(r *keyRoom) {
			r.edit(&r.zsk, ".state", func(s string) string { return s + "dnskeystate: hidden\njunk\n" })
		},
			"zsk.state:15: example.org.: DNSKEYState stands here twice [key-state] (the first time at zsk.state:12)\n" +
				"zsk.state:16: example.org.: the line must be NAME: VALUE [key-state]"},
		{"one state missing", func(r *keyRoom) { r.remove(&r.zsk, ".state") },
			"zsk.state: example.org.: nothing says whether the key is in use, and the flags of the zone's keys leave it open: say so with dnssec-settime -s (-g, -k, -r, -z, -d), or move the key's files away [key-state-missing]"},
		{"private missing", func(r *keyRoom) { r.remove(&r.zsk, ".private") },
			"zsk.private: example.org.: the key signs, but its private key is not here [key-private-missing]"},
		{"private of another", func(r *keyRoom) {
			r.edit(&r.zsk, ".private", func(string) string {
				b, _ := os.ReadFile(r.ksk.Path + ".private")
				return string(b)
			})
		}, "zsk.private: example.org.: the private key does not belong to the public key [key-private]"},
		{"private of another algorithm", func(r *keyRoom) { r.replace(&r.zsk, ".private", "Algorithm: 13", "Algorithm: 15") },
			"zsk.private:2: example.org.: the private key is not of algorithm 13 [key-private]"},
		{"private without key", func(r *keyRoom) { r.replace(&r.zsk, ".private", "PrivateKey", "Key") },
			"zsk.private: example.org.: the file holds no private key that can be read [key-private]"},
		{"private garbage", func(r *keyRoom) { r.replace(&r.zsk, ".private", "PrivateKey: ", "PrivateKey: !") },
			"zsk.private: example.org.: the file holds no private key that can be read [key-private]"},
		{"private empty", func(r *keyRoom) { r.edit(&r.zsk, ".private", func(string) string { return "" }) },
			"zsk.private: example.org.: the file holds no private key that can be read [key-private]"},
		{"private too large", func(r *keyRoom) {
			r.edit(&r.zsk, ".private", func(s string) string { return s + strings.Repeat("\n", keyFileLimit) })
		},
			"zsk.private: example.org.: read the private key: too large: more than 65536 octets [key-private]"},
		{"private is a directory", func(r *keyRoom) {
			r.remove(&r.zsk, ".private")
			if err := os.Mkdir(r.zsk.Path+".private", 0o700); err != nil {
				r.t.Fatal(err)
			}
		}, "zsk.private: example.org.: read the private key: not a regular file [key-private]"},
		{"mode", func(r *keyRoom) {
			if err := os.Chmod(r.zsk.Path+".private", 0o640); err != nil {
				r.t.Fatal(err)
			}
		}, "zsk.private: example.org.: mode 0640: others can get at the private key, make it 0600 or 0400 [key-mode]"},
		{"no .key", func(r *keyRoom) { r.remove(&r.zsk, ".key") },
			"zsk.key: warning: example.org.: the key has other files but no .key file, so it is none: put that file back or remove the others [key-incomplete]"},
		{"both keys", func(r *keyRoom) { r.remove(&r.ksk, ".private"); r.remove(&r.zsk, ".private") },
			"*.private: example.org.: the key signs, but its private key is not here [key-private-missing]\n" +
				"*.private: example.org.: the key signs, but its private key is not here [key-private-missing]"},
	}
	number := regexp.MustCompile(`tag \d+, the file name says \d+`)
	either := regexp.MustCompile(`(?m)^[kz]sk\.private`)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := newKeyRoom(t)
			secret := secrets(t, r)
			tt.spoil(r)
			_, got := r.load(LoadOptions{})
			for _, s := range secret {
				if strings.Contains(got, s) {
					t.Errorf("a secret is in %s", got)
				}
			}
			got = number.ReplaceAllString(got, "tag N, the file name says N")
			if strings.HasPrefix(tt.want, "*") {
				got = either.ReplaceAllString(got, "*.private")
			}
			if got != tt.want {
				t.Errorf("got\n%s\nwant\n%s", got, tt.want)
			}
		})
	}
}

// secrets are the private parts of the keys in a room.
func secrets(t testing.TB, r *keyRoom) (out []string) {
	t.Helper()
	for _, k := range []*Key{&r.ksk, &r.zsk} {
		b, err := os.ReadFile(k.Path + ".private")
		if err != nil {
			t.Fatal(err)
		}
		_, s, ok := strings.Cut(string(b), "PrivateKey: ")
		if !ok {
			t.Fatal("no private key")
		}
		out = append(out, s[:20])
	}
	return out
}

// TestPhases holds what each phase means for a key.
func TestPhases(t *testing.T) {
	for phase, present := range map[KeyPhase]bool{Hidden: false, Rumoured: true, Omnipresent: true, Unretentive: false} {
		r := newKeyRoom(t)
		for _, k := range []*Key{&r.ksk, &r.zsk} {
			for _, thing := range []string{"DNSKEY", "ZRRSIG", "KRRSIG"} {
				// A ZSK with a KRRSIGState signs no keys all the same.
				k.State.Move(thing, phase, testNow())
			}
			if err := k.State.WriteFile(k.Path); err != nil {
				t.Fatal(err)
			}
		}
		keys, faults := r.load(LoadOptions{})
		if faults != "" || len(keys) != 2 {
			t.Fatalf("%s: %s", phase, faults)
		}
		for _, k := range keys {
			if k.Published != present || k.SignsKeys != (present && k.KSK) || k.SignsZone != (present && k.ZSK) {
				t.Errorf("%s: %s", phase, life(&k))
			}
		}
	}
}

// TestHiddenKeyNeedsNoPrivate: a key that does nothing may have its private part
// elsewhere, or an algorithm that is gone.
func TestHiddenKeyNeedsNoPrivate(t *testing.T) {
	r := newKeyRoom(t)
	k := r.generate(GenerateOptions{Role: ZSK, Hidden: true})
	r.remove(&k, ".private")
	keys, faults := r.load(LoadOptions{})
	if faults != "" || len(keys) != 3 {
		t.Errorf("%d keys, %s", len(keys), faults)
	}
}

func TestDuplicateTags(t *testing.T) {
	r := newKeyRoom(t)
	// The same key under BIND's name and under another spelling of it.
	for _, ext := range []string{".key", ".private", ".state"} {
		b, err := os.ReadFile(r.zsk.Path + ext)
		if err != nil {
			t.Fatal(err)
		}
		other := strings.Replace(filepath.Base(r.zsk.Path), "example", "%65xample", 1)
		if err := os.WriteFile(filepath.Join(r.dir, other+ext), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	_, got := r.load(LoadOptions{})
	want := fmt.Sprintf("zsk.key:5:1: example.org.: key tag %d is that of another key of the zone too [key-tag-duplicate] (the other key at K%%65xample.org.+013+%05[1]d.key:5:1)", r.zsk.Tag)
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// TestWithoutState: keys that no file tells the life of.
func TestWithoutState(t *testing.T) {
	tests := []struct {
		name  string
		roles []Role
		want  []string // per key, sorted; nil: refused
	}{
		{"a pair", []Role{KSK, ZSK}, []string{"ksk published signs-keys private", "zsk published signs-zone private"}},
		{"a lone SEP key", []Role{CSK}, []string{"ksk zsk published signs-keys signs-zone private"}},
		{"a lone ZSK", []Role{ZSK}, nil},
		{"two ZSKs", []Role{KSK, ZSK, ZSK}, nil},
		{"two KSKs", []Role{KSK, KSK, ZSK}, nil},
		{"two SEP keys", []Role{CSK, CSK}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := &keyRoom{t: t, dir: t.TempDir()}
			for _, role := range tt.roles {
				k := r.generate(GenerateOptions{Role: role})
				r.remove(&k, ".state")
			}
			d, err := ScanKeys(r.dir)
			if err != nil {
				t.Fatal(err)
			}
			keys, faults := LoadKeys(d, domain.MustParse("example.org"), LoadOptions{})
			if tt.want == nil {
				if len(faults) != len(tt.roles) || faults[0].Code != "key-state-missing" {
					t.Errorf("got %v", faults)
				}
				return
			}
			if len(faults) > 0 || len(keys) != len(tt.want) {
				t.Fatalf("%d keys, %v", len(keys), faults)
			}
			for _, k := range keys {
				want := tt.want[0]
				if !k.KSK {
					want = tt.want[1]
				}
				if got := life(&k); got != want {
					t.Errorf("got %s, want %s", got, want)
				}
			}
		})
	}
}

// TestPublicForms are ways to write one DNSKEY.
func TestPublicForms(t *testing.T) {
	const data = "oRTMCmBXJT6Znlon9EH0yWCUWHGwZDKfqSPPnoCrBX8="
	want := dns.DNSKEY{
		Hdr:   dns.RR_Header{Name: "a\\.b.example.", Rrtype: dns.TypeDNSKEY, Class: dns.ClassINET},
		Flags: 257, Protocol: 3, Algorithm: 15, PublicKey: data,
	}
	for _, text := range []string{
		"a\\.b.example. IN DNSKEY 257 3 15 " + data + "\n",
		"A\\046b.Example.\t3600\tIN\tDNSKEY\t257 3 15 " + data[:9] + " " + data[9:] + " ;{id = 1 (ksk)}",
		"; BIND\r\na\\.b.example. in 3600 dnskey (257 3\r\n 15 (" + data[:7] + "; part\n" + data[7:20] + ")\n\n" + data[20:] + " )\r\n; end",
		"a\\.b.example. DNSKEY 257 3 15 " + data,
	} {
		owner, got, pos, faults := parsePublic("f", []byte(text))
		if len(faults) > 0 || got != want || owner.String() != want.Hdr.Name || pos.Column != 1 {
			t.Errorf("%q: %+v, %s, %v, %v", text, got, owner, pos, faults)
		}
	}
}
