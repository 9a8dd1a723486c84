package build_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestLinkToSecrets: what lies in a directory elsewhere is no way to the keys or the state,
// and of an exported revision nothing leads out, not to the work tree either.
func TestLinkToSecrets(t *testing.T) {
	t.Parallel()
	for _, revision := range []bool{false, true} {
		t.Run(fmt.Sprintf("revision=%v", revision), func(t *testing.T) {
			t.Parallel()
			s := newSite(t, smallZone("www A 192.0.2.1\n"))
			elsewhere := t.TempDir() // of the sources, as they are read
			s.write("zonebuild.toml", fmt.Sprintf("[source.primary]\npath = %q\n", elsewhere+"/primary"))
			if err := os.Mkdir(elsewhere+"/primary", 0o755); err != nil {
				t.Fatal(err)
			}
			primary := elsewhere + "/primary"
			if revision {
				s.write("state/revisions/c0ffee/primary/x", "")
				for _, dir := range []string{elsewhere + "/.git", s.path("state")} {
					if err := os.MkdirAll(dir, 0o755); err != nil {
						t.Fatal(err)
					}
				}
				if err := os.Symlink("revisions/c0ffee", s.path("state/revision")); err != nil {
					t.Fatal(err)
				}
				primary = s.path("state/revisions/c0ffee/primary")
			}
			file := filepath.Join(primary, "example.org")
			if err := os.WriteFile(file, []byte("ns1 A 192.0.2.53\nwww A 192.0.2.1\n"), 0o644); err != nil {
				t.Fatal(err)
			}
			s.build(ok)
			s.write("state/secret", "PrivateKey: c2VjcmV0\n")
			keys, err := filepath.Glob(s.path("keys/*.private"))
			if err != nil || len(keys) == 0 {
				t.Fatalf("%v %v", keys, err)
			}
			relative, err := filepath.Rel(primary, keys[0])
			if err != nil {
				t.Fatal(err)
			}
			links := []string{keys[0], relative, s.path("state/secret")}
			if revision {
				if err := os.WriteFile(elsewhere+"/primary/unsigned", []byte("ns1 A 192.0.2.53\nwww A 192.0.2.2\n"), 0o644); err != nil {
					t.Fatal(err)
				}
				links = append(links, elsewhere+"/primary/unsigned")
			}
			for _, to := range links {
				if err := os.Remove(file); err != nil {
					t.Fatal(err)
				}
				if err := os.Symlink(to, file); err != nil {
					t.Fatal(err)
				}
				r := one(t, s.build(rejected), "example.org")
				if text := fmt.Sprint(r.Diagnostics); !strings.Contains(text, "[source-missing]") || strings.Contains(text, "unknown type") {
					t.Errorf("%s: %s", to, text)
				}
			}

			// A link within is followed.
			if err := os.WriteFile(filepath.Join(primary, "common"), []byte("ns1 A 192.0.2.53\nother A 192.0.2.1\n"), 0o644); err != nil {
				t.Fatal(err)
			}
			if err := os.Remove(file); err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink("common", file); err != nil {
				t.Fatal(err)
			}
			s.build(ok)
		})
	}
}
