package lab

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// LDNSKeys makes a KSK and a ZSK of algorithm 13 with ldns-keygen and gives the
// paths of their files, without extension.
func LDNSKeys(t testing.TB, zone string) (ksk, zsk string) {
	t.Helper()
	dir := t.TempDir()
	ksk = strings.TrimSpace(RunIn(t, dir, "ldns-keygen", "-a", "ECDSAP256SHA256", "-k", zone))
	zsk = strings.TrimSpace(RunIn(t, dir, "ldns-keygen", "-a", "ECDSAP256SHA256", zone))
	return filepath.Join(dir, ksk), filepath.Join(dir, zsk)
}

// LDNSSign signs the text of a zone with ldns-signzone: NSEC, valid from an hour
// before to two weeks after an instant.
func LDNSSign(t testing.TB, zone, text string, now time.Time, keys ...string) []byte {
	t.Helper()
	in := filepath.Join(t.TempDir(), "zone")
	writeFile(t, in, text)
	const stamp = "20060102150405"
	args := []string{
		"-i", now.Add(-time.Hour).UTC().Format(stamp), "-e", now.Add(14 * 24 * time.Hour).UTC().Format(stamp),
		"-o", zone, "-f", in + ".signed", in,
	}
	Run(t, "ldns-signzone", append(args, keys...)...)
	b, err := os.ReadFile(in + ".signed")
	if err != nil {
		t.Fatal(err)
	}
	return b
}
