package primary

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/fstest"

	"zonebuild/internal/diag"
	"zonebuild/internal/domain"
	"zonebuild/zone"
)

// load reads primary/p of a tree on disk, through an os.Root as the builder does.
func load(t *testing.T, dir, text string) (int, string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, "p"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	f, faults := Load(root.FS(), "p", domain.MustParse("example.org"))
	return f.Records.Len(), textOf(faults)
}

func textOf(l diag.List) string {
	var b strings.Builder
	for _, d := range l {
		b.WriteString(d.String() + "\n")
	}
	return b.String()
}

// TestInclude: files of the tree, and nothing else.
func TestInclude(t *testing.T) {
	outside := t.TempDir()
	dir := t.TempDir()
	put := func(name, text string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	put("inc/a", "a A 192.0.2.1\n")
	put("inc/bad", "\nx A 1\n")
	put("inc/self", "$INCLUDE inc/self\n")
	put("inc/origin", "$ORIGIN deep\n$TTL 7\nb A 192.0.2.2\n")
	if err := os.WriteFile(filepath.Join(outside, "passwd"), []byte("o TXT outside\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for link, to := range map[string]string{"inc/out": filepath.Join(outside, "passwd"), "inc/up": "../../passwd", "inc/in": "a"} {
		if err := os.Symlink(to, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.Mkfifo(filepath.Join(dir, "inc/fifo"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, text string
		records    int
		want       string
	}{
		{"one", "$INCLUDE inc/a\n", 1, ""},
		{"with an origin", "$INCLUDE inc/a sub\nc A 192.0.2.3\n", 2, ""},
		{"the file's own origin ends with it", "$INCLUDE inc/origin\nc 60 A 192.0.2.3\n", 2, ""},
		{"a link inside", "$INCLUDE inc/in\n", 1, ""},
		{"a fault in it", "$INCLUDE inc/bad\n", 0, "inc/bad:2:5: x.example.org.: A: \"1\" is not an IPv4 address [rdata]\n"},
		{"up", "$INCLUDE ../passwd\n$INCLUDE inc/../../passwd\n$INCLUDE /etc/passwd\n$INCLUDE \"\"\n", 0, `p:1:10: "../passwd" is not a path inside the tree (no leading slash, no ..) [include]
p:2:10: "inc/../../passwd" is not a path inside the tree (no leading slash, no ..) [include]
p:3:10: "/etc/passwd" is not a path inside the tree (no leading slash, no ..) [include]
p:4:10: "" is not a path inside the tree (no leading slash, no ..) [include]
`},
		{"links out", "$INCLUDE inc/out\n$INCLUDE inc/up\n", 0, `p:1:10: include "inc/out": path escapes from parent [include]
p:2:10: include "inc/up": path escapes from parent [include]
`},
		{"itself", "$INCLUDE inc/self\n", 0, "inc/self:1:1: $INCLUDE is nested more than 7 deep [include]\n"},
		{"a directory, nothing", "$INCLUDE inc\n$INCLUDE nosuch\n", 0, `p:1:10: include "inc": not a regular file [include]
p:2:10: include "nosuch": no such file or directory [include]
`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			n, got := load(t, dir, tt.text)
			if n != tt.records || got != tt.want {
				t.Errorf("%d records, want %d\n%swant\n%s", n, tt.records, got, tt.want)
			}
		})
	}
}

// TestLoad: no SOA, and a file that is not there is told by its name.
func TestLoad(t *testing.T) {
	n, got := load(t, t.TempDir(), "a A 192.0.2.1\n@ SOA ns1 host 1 2 3 4 5\n")
	if want := "p:2:1: example.org.: SOA in a primary/ fragment: it belongs in soa/ [soa-in-primary]\n"; n != 1 || got != want {
		t.Errorf("%d records\n%s", n, got)
	}
	f, faults := Load(os.DirFS(t.TempDir()), "primary/x", domain.MustParse("example.org"))
	if got, want := textOf(faults), "primary/x: example.org.: read the primary/ fragment: no such file or directory [source-missing]\n"; got != want || !f.Incomplete {
		t.Errorf("%s", got)
	}
	if !HasInclude([]byte("a A 1\n$include x")) || HasInclude([]byte("a TXT include")) {
		t.Error("HasInclude")
	}
}

// TestHasInclude: what may include files is seen in any case, wherever it stands.
func TestHasInclude(t *testing.T) {
	for text, want := range map[string]bool{
		"":                          false,
		"$":                         false,
		"$INCLUDE":                  true,
		"$TTL 1\n$include x\n":      true,
		"a $$Include":               true,
		"$INCLUD":                   false,
		"$INCLUD\n$INCLUD E":        false,
		"INCLUDE $ORIGIN $GENERATE": false,
		"\u0131$\u0131nclude x":     true, // it becomes a capital I
	} {
		if got := HasInclude([]byte(text)); got != want {
			t.Errorf("%q: %t", text, got)
		}
		if upper := strings.Contains(strings.ToUpper(text), "$INCLUDE"); upper != want {
			t.Errorf("%q: the test wants %t", text, want)
		}
	}
}

// TestLoadAgain: a large fragment that is read again says what it says when it is read
// for the first time, also of an SOA, and once that is gone.
func TestLoadAgain(t *testing.T) {
	sound := strings.Repeat("a-name-that-makes-the-text-large A 192.0.2.1\n", 8000)
	var was *zone.Fragment
	for round, text := range []string{
		sound, sound + "b A 192.0.2.2\n", sound + "@ SOA a b 1 2 3 4 5\n", sound + "@ SOA a b 1 2 3 4 5\n", sound + "c A 192.0.2.2\n", sound,
		"@ SOA a b 1 2 3 4 5\n" + sound, sound + "d A 192.0.2.3\n",
	} {
		fsys := fstest.MapFS{"p": {Data: []byte(text)}}
		apex := domain.MustParse("example.org")
		want, faults := Load(fsys, "p", apex)
		got, again := LoadAgain(fsys, "p", apex, was)
		if textOf(again) != textOf(faults) || got.Incomplete != want.Incomplete || got.Records.Len() != want.Records.Len() || !slices.Equal(got.Files, want.Files) {
			t.Fatalf("round %d: %d records, incomplete %t, %swant %d, %t, %s", round, got.Records.Len(), got.Incomplete, textOf(again), want.Records.Len(), want.Incomplete, textOf(faults))
		}
		was = &got
	}
}
