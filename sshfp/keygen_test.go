package sshfp_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"zonebuild/internal/domain"
	"zonebuild/internal/lab"
	"zonebuild/sshfp"
)

const hostName = "host.example.org"

// keygen makes a key pair with ssh-keygen and gives the path of the private one.
func keygen(t testing.TB, dir, name string, args ...string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	lab.Run(t, "ssh-keygen", append([]string{"-q", "-N", "", "-C", "a comment", "-f", path}, args...)...)
	return path
}

func read(t testing.TB, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// kinds are the arguments of ssh-keygen for every type of key that is published.
func kinds() map[string][]string {
	return map[string][]string{
		"rsa1024": {"-t", "rsa", "-b", "1024"}, "rsa2048": {"-t", "rsa", "-b", "2048"}, "rsa3072": {"-t", "rsa"},
		"p256": {"-t", "ecdsa", "-b", "256"}, "p384": {"-t", "ecdsa", "-b", "384"}, "p521": {"-t", "ecdsa", "-b", "521"},
		"ed25519": {"-t", "ed25519"},
	}
}

// lines are the records of a file's keys as `ssh-keygen -r` writes them, both
// fingerprint types.
func lines(t testing.TB, text string) string {
	t.Helper()
	keys, faults := sshfp.Parse("f", domain.MustParse(hostName), []byte(text))
	if faults.HasErrors() {
		t.Fatalf("%v", faults)
	}
	var b strings.Builder
	for _, k := range keys.Published {
		for _, kind := range []uint8{sshfp.SHA1, sshfp.SHA256} {
			rdata := k.Rdata(kind)
			fmt.Fprintf(&b, "%s IN SSHFP %d %d %x\n", hostName, rdata[0], rdata[1], rdata[2:])
		}
	}
	return b.String()
}

// TestEqualToKeygen: the records of `ssh-keygen -r HOST -f FILE`, line by line.
func TestEqualToKeygen(t *testing.T) {
	t.Parallel()
	lab.Need(t, "ssh-keygen")
	dir := t.TempDir()
	for name, args := range kinds() {
		pub := keygen(t, dir, name, args...) + ".pub"
		want := lab.Run(t, "ssh-keygen", "-r", hostName, "-f", pub)
		if strings.Count(want, "\n") != 2 {
			t.Fatalf("ssh-keygen -r says %q", want)
		}
		if got := lines(t, read(t, pub)); got != want {
			t.Errorf("%s:\n%swant\n%s", name, got, want)
		}
	}
}

// TestHashedNames: the names that `ssh-keygen -H` hashes.
func TestHashedNames(t *testing.T) {
	lab.Need(t, "ssh-keygen")
	dir := t.TempDir()
	pub := read(t, keygen(t, dir, "k", "-t", "ed25519")+".pub")
	other := read(t, keygen(t, dir, "o", "-t", "rsa", "-b", "2048")+".pub")
	known := filepath.Join(dir, "known_hosts")
	text := "HOST.example.org,192.0.2.1 " + pub + "other.example.org " + other
	if err := os.WriteFile(known, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	lab.Run(t, "ssh-keygen", "-q", "-H", "-f", known)
	hashed := read(t, known)
	if strings.Count(hashed, "|1|") != 3 || strings.Contains(hashed, "example") {
		t.Fatalf("ssh-keygen -H wrote\n%s", hashed)
	}
	if got, want := lines(t, hashed), lines(t, pub); got != want {
		t.Errorf("%swant\n%s", got, want)
	}
	_, faults := sshfp.Parse("f", domain.MustParse(hostName), []byte(hashed))
	if len(faults) != 2 || faults[0].Code != "sshfp-other-host" || faults[1].Code != "sshfp-other-host" {
		t.Errorf("%v", faults)
	}
}
