package build_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestLinkOut: of a link that leads out of the tree it is said how files elsewhere are
// meant to be had; one within is followed.
func TestLinkOut(t *testing.T) {
	t.Parallel()
	outside := filepath.Join(t.TempDir(), "hosts")
	if err := os.WriteFile(outside, []byte("www A 192.0.2.1\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	s := newSite(t, smallZone("www A 192.0.2.1\n"))
	s.build(ok)
	relative, err := filepath.Rel(s.path("primary"), outside)
	if err != nil {
		t.Fatal(err)
	}
	for _, to := range []string{outside, relative} {
		s.remove("primary/example.org")
		if err := os.Symlink(to, s.path("primary/example.org")); err != nil {
			t.Fatal(err)
		}
		r := one(t, s.build(rejected), "example.org")
		if text := fmt.Sprint(r.Diagnostics); !strings.Contains(text, "leads out of the tree: a directory elsewhere is named by [source.NAME] path") {
			t.Errorf("%s: %s", to, text)
		}
	}
	s.remove("primary/example.org")
	s.write("primary/common", "ns1 A 192.0.2.53\nother A 192.0.2.1\n")
	if err := os.Symlink("../primary/common", s.path("primary/example.org")); err != nil {
		t.Fatal(err)
	}
	s.build(ok)
	if !strings.Contains(s.read("signed/example.org"), "other") {
		t.Error("a link within is not followed")
	}
}
