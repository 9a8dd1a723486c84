package dnssec

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"zonebuild/internal/domain"
	"zonebuild/internal/lab"
)

// loadAll loads the keys of a zone and wants no fault.
func loadAll(t *testing.T, dir, zone string) []Key {
	t.Helper()
	d, err := ScanKeys(dir)
	if err != nil {
		t.Fatal(err)
	}
	keys, faults := LoadKeys(d, domain.MustParse(zone), LoadOptions{})
	if len(faults) > 0 {
		t.Fatal(faults)
	}
	return keys
}

// oddZones are zones whose files have other names than they have.
func oddZones() []string {
	return []string{"example.org", "0/25.2.0.192.in-addr.arpa", "a:b.example", `a\.b\032c\;.example`, "."}
}

// TestKeysOfBIND loads what dnssec-keygen makes.
func TestKeysOfBIND(t *testing.T) {
	lab.Need(t, "dnssec-keygen")
	for _, zone := range oddZones() {
		for _, algorithm := range everyAlgorithm() {
			dir, number := t.TempDir(), fmt.Sprint(algorithm)
			ksk := []string{"-q", "-K", dir, "-a", number, "-f", "KSK", zone}
			zsk := []string{"-q", "-K", dir, "-a", number, zone}
			if algorithm == dns.RSASHA256 {
				ksk, zsk = append([]string{"-b", "2048"}, ksk...), append([]string{"-b", "1024"}, zsk...)
			}
			said := []string{lab.Run(t, "dnssec-keygen", ksk...), lab.Run(t, "dnssec-keygen", zsk...)}
			keys := loadAll(t, dir, zone)
			if len(keys) != 2 {
				t.Fatalf("%s: %d keys of %q", zone, len(keys), said)
			}
			for _, k := range keys {
				if want := keyBase(domain.MustParse(zone), algorithm, k.Tag); filepath.Base(k.Path) != want || !strings.Contains(strings.Join(said, ""), want+"\n") {
					t.Errorf("%s: our name is %s, BIND said %q", zone, want, said)
				}
				if k.Signer == nil || !k.Published || k.SignsKeys == k.SignsZone {
					t.Errorf("%s: %s", filepath.Base(k.Path), life(&k))
				}
			}
		}
	}
}

// TestStatesOfBIND loads keys of dnssec-keygen -k, before and after their life
// was set with dnssec-settime -s.
func TestStatesOfBIND(t *testing.T) {
	lab.Need(t, "dnssec-keygen", "dnssec-settime")
	dir := t.TempDir()
	conf := filepath.Join(dir, "policy.conf")
	const policy = `dnssec-policy "two" { keys { ksk lifetime unlimited algorithm 13; zsk lifetime P30D algorithm 13; }; };
dnssec-policy "one" { keys { csk lifetime unlimited algorithm 15; }; };
`
	if err := os.WriteFile(conf, []byte(policy), 0o600); err != nil {
		t.Fatal(err)
	}
	lab.Run(t, "dnssec-keygen", "-q", "-K", dir, "-l", conf, "-k", "two", "example.org")
	lab.Run(t, "dnssec-keygen", "-q", "-K", dir, "-l", conf, "-k", "one", "example.net")
	if keys := loadAll(t, dir, "example.net"); len(keys) != 1 || life(&keys[0]) != "ksk zsk published signs-keys signs-zone private" {
		t.Errorf("%+v", keys)
	}
	keys := loadAll(t, dir, "example.org")
	if len(keys) != 2 || life(&keys[0]) == life(&keys[1]) {
		t.Fatalf("%+v", keys)
	}
	for _, k := range keys {
		signs := map[bool]string{true: "-r", false: "-z"}[k.KSK]
		lab.Run(t, "dnssec-settime", "-s", "-g", "OMNIPRESENT", "-k", "UNRETENTIVE", "now", signs, "OMNIPRESENT", "now", k.Path)
	}
	for _, k := range loadAll(t, dir, "example.org") {
		want := map[bool]string{true: "ksk signs-keys private", false: "zsk signs-zone private"}[k.KSK]
		if got := life(&k); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

// TestKeysOfLDNS loads what ldns-keygen makes: other file names, format v1.2.
func TestKeysOfLDNS(t *testing.T) {
	lab.Need(t, "ldns-keygen")
	for _, zone := range []string{"example.org", "a:b.example"} {
		for _, algorithm := range []string{"RSASHA256", "ECDSAP256SHA256", "ECDSAP384SHA384", "ED25519"} {
			dir := t.TempDir()
			lab.RunIn(t, dir, "ldns-keygen", "-a", algorithm, "-k", zone)
			lab.RunIn(t, dir, "ldns-keygen", "-a", algorithm, zone)
			if keys := loadAll(t, dir, zone); len(keys) != 2 || keys[0].Signer == nil {
				t.Errorf("%s %s: %+v", zone, algorithm, keys)
			}
		}
	}
}

// TestOurKeysInBIND hands our keys to BIND's tools: they read the names, times and
// states, make the same DS, and sign a zone that dnssec-verify accepts.
func TestOurKeysInBIND(t *testing.T) {
	lab.Need(t, "dnssec-settime", "dnssec-dsfromkey", "dnssec-signzone", "dnssec-verify")
	for _, zone := range oddZones() {
		for _, algorithm := range everyAlgorithm() {
			dir := t.TempDir()
			d, err := ScanKeys(dir)
			if err != nil {
				t.Fatal(err)
			}
			apex := domain.MustParse(zone)
			var keys []Key
			for _, role := range []Role{KSK, ZSK} {
				k, err := d.Generate(apex, GenerateOptions{Algorithm: algorithm, Role: role, Now: testNow()})
				if err != nil {
					t.Fatal(err)
				}
				keys = append(keys, k)
				times := lab.Run(t, "dnssec-settime", "-p", "all", k.Path)
				if !strings.Contains(times, "Activate: Sun Nov  1 02:03:04 2026") {
					t.Errorf("%s: dnssec-settime says %s", k.Path, times)
				}
			}
			for flag, digestType := range map[string]uint8{"-2": dns.SHA256, "-aSHA-384": dns.SHA384} {
				// It prints the owner in its own escapes: only the data counts.
				want := strings.Fields(lab.Run(t, "dnssec-dsfromkey", flag, keys[0].Path+".key"))
				ds := DS(&keys[0], digestType)
				if got := fmt.Sprintf("%d %d %d %s", ds.KeyTag, ds.Algorithm, ds.DigestType, strings.ToUpper(ds.Digest)); got != strings.Join(want[len(want)-4:], " ") {
					t.Errorf("%s: DS %s, BIND says %s", zone, got, want)
				}
			}
			zoneFile := filepath.Join(dir, "zone")
			writeZone(t, zoneFile, apex)
			lab.Run(t, "dnssec-signzone", "-q", "-S", "-K", dir, "-d", dir, "-o", apex.String(), zoneFile)
			if said, ok := lab.Try(t, "dnssec-verify", "-o", apex.String(), zoneFile+".signed"); !ok {
				t.Errorf("%s algorithm %d: %s", zone, algorithm, said)
			}
			signed, err := os.ReadFile(zoneFile + ".signed")
			if err != nil || !strings.Contains(strings.Join(strings.Fields(string(signed)), " "), fmt.Sprintf(" %d %s ", keys[1].Tag, apex)) {
				t.Errorf("%s: no signature by key %d, %v", zone, keys[1].Tag, err)
			}
			// BIND's rewriting of the state is read back.
			lab.Run(t, "dnssec-settime", "-s", "-z", "UNRETENTIVE", "now", keys[1].Path)
			for _, k := range loadAll(t, dir, zone) {
				if k.SignsZone || !k.Published || k.SignsKeys != k.KSK {
					t.Errorf("%s: %s", zone, life(&k))
				}
			}
		}
	}
}

// TestOurKeysInLDNS does the same with ldns.
func TestOurKeysInLDNS(t *testing.T) {
	lab.Need(t, "ldns-signzone", "ldns-key2ds", "ldns-verify-zone")
	for _, zone := range []string{"example.org", "0/25.2.0.192.in-addr.arpa", "a:b.example"} {
		for _, algorithm := range everyAlgorithm() {
			k := newKey(t, zone, GenerateOptions{Algorithm: algorithm, Role: CSK})
			apex := domain.MustParse(zone)
			want := strings.Fields(lab.Run(t, "ldns-key2ds", "-n", "-2", k.Path+".key"))
			if got := DS(&k, dns.SHA256); !strings.EqualFold(got.Digest, want[len(want)-1]) {
				t.Errorf("%s: DS %s, ldns says %s", zone, got, want)
			}
			zoneFile := filepath.Join(t.TempDir(), "zone")
			writeZone(t, zoneFile, apex)
			lab.Run(t, "ldns-signzone", "-o", apex.String(), "-f", zoneFile+".signed", zoneFile, k.Path)
			if said, ok := lab.Try(t, "ldns-verify-zone", zoneFile+".signed"); !ok {
				t.Errorf("%s algorithm %d: %s", zone, algorithm, said)
			}
		}
	}
}

func writeZone(t *testing.T, path string, apex domain.Name) {
	t.Helper()
	text := fmt.Sprintf("%[1]s 3600 IN SOA ns.example.net. host.example.net. 1 3600 600 604800 300\n%[1]s 3600 IN NS ns.example.net.\n", apex)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
