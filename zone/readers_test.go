package zone

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"zonebuild/internal/domain"
	"zonebuild/internal/lab"
)

// others are the readers of other people that we are compared with.
var others = []struct {
	letter byte // in the tables below
	args   []string
}{
	// In the file's directory, with the records in the file "out".
	{'b', []string{"named-compilezone", "-q", "-i", "none", "-k", "ignore", "-S", "ignore", "-M", "ignore", "-m", "ignore", "-n", "ignore", "-r", "ignore", "-o", "out", "example.org"}},
	{'l', []string{"ldns-read-zone"}},
	{'k', []string{"kzonecheck", "-o", "example.org"}}, // a verdict, no records
}

// readByOthers gives the letters of those that accept the text of a zone, in
// upper case where they read other records than want.
func readByOthers(t *testing.T, text string, want []string) (accepted string) {
	t.Helper()
	dir := t.TempDir()
	in, out := filepath.Join(dir, "in"), filepath.Join(dir, "out")
	if err := os.WriteFile(in, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, o := range others {
		args := append([]string(nil), o.args[1:]...)
		for i := range args {
			if args[i] == "out" {
				args[i] = out
			}
		}
		said, ok := lab.Try(t, o.args[0], append(args, in)...)
		if !ok {
			continue
		}
		letter := o.letter
		if want != nil && letter != 'k' {
			if letter == 'b' {
				b, err := os.ReadFile(out)
				if err != nil {
					t.Fatal(err)
				}
				said = string(b)
			}
			if got := wires(t, []byte(said)); !slices.Equal(got, want) {
				letter -= 'a' - 'A'
			}
		}
		accepted += string(letter)
	}
	return accepted
}

// soaPlain is soaText with an $ORIGIN, which ldns-read-zone has no option for.
const soaPlain = "$ORIGIN example.org.\n" + soaText

// TestReadersOnForms: one form of the master file a row, with what we say of it,
// who else accepts it, and who of them reads other records than we do.
func TestReadersOnForms(t *testing.T) {
	lab.Need(t, "named-compilezone", "ldns-read-zone", "kzonecheck")
	for _, tt := range forms {
		t.Run(tt.src, func(t *testing.T) {
			t.Parallel()
			apex := domain.MustParse("example.org")
			f, faults := Parse("p", []byte(soaPlain+tt.src), ParseOptions{Apex: apex, Generate: true})
			z, more := Compile(apex, f)
			for _, d := range more {
				if d.Code != "target-missing" {
					faults = append(faults, d)
				}
			}
			var want []string
			if z != nil {
				var b bytes.Buffer
				if _, err := z.WriteTo(&b); err != nil {
					t.Fatal(err)
				}
				want = wires(t, b.Bytes())
			}
			if got := strings.TrimSuffix(lines(faults), "\n"); got != tt.says {
				t.Errorf("we say\n%s\nwant\n%s", got, tt.says)
			}
			if got := readByOthers(t, soaPlain+tt.src, want); got != tt.others {
				t.Errorf("accepted by %q, want %q", got, tt.others)
			}
		})
	}
}
