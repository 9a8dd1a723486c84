package domain

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	tests := []struct{ in, wire, out string }{
		{".", "\x00", "."},
		{"example.org", "\x07example\x03org\x00", "example.org."},
		{"Example.ORG.", "\x07example\x03org\x00", "example.org."},
		{`a\.b.c.`, "\x03a.b\x01c\x00", `a\.b.c.`},
		{`a\046b.c.`, "\x03a.b\x01c\x00", `a\.b.c.`},
		{`\065.c.`, "\x01a\x01c\x00", "a.c."}, // an escaped capital is a capital
		{`\000\001\255.`, "\x03\x00\x01\xff\x00", `\000\001\255.`},
		{`\ .`, "\x01 \x00", `\032.`},
		{`\*.c.`, "\x01*\x01c\x00", "*.c."}, // RFC 4592 §2.1.1: an asterisk however written
		{`\@.`, "\x01@\x00", `\@.`},
		{`\..`, "\x01.\x00", `\..`},
		{`a"b;c(d)e$f.`, "\x0ba\"b;c(d)e$f\x00", `a\"b\;c\(d\)e\$f.`},
		{`a\\b.`, "\x03a\\b\x00", `a\\b.`},
		{"0/25.2.0.192.in-addr.arpa.", "\x040/25\x012\x010\x03192\x07in-addr\x04arpa\x00", "0/25.2.0.192.in-addr.arpa."},
	}
	for _, tt := range tests {
		n, err := Parse(tt.in)
		if err != nil || n.Wire() != tt.wire || n.String() != tt.out {
			t.Errorf("%s: got %q, %s, %v", tt.in, n.Wire(), n, err)
		}
		if again, err := FromWire(upper(tt.wire)); err != nil || again != n {
			t.Errorf("%s: from wire %s, %v", tt.in, again, err)
		}
	}
}

// upper is strings.ToUpper for octets that are no UTF-8.
func upper(s string) []byte {
	b := []byte(s)
	for i, c := range b {
		if 'a' <= c && c <= 'z' {
			b[i] = c - 'a' + 'A'
		}
	}
	return b
}

func TestParseFaults(t *testing.T) {
	tests := []struct {
		in   string
		want error
	}{
		{"", ErrEmpty},
		{"..", ErrEmptyLab},
		{".a", ErrEmptyLab},
		{"a..b", ErrEmptyLab},
		{"a..", ErrEmptyLab},
		{"@", ErrOrigin},
		{`a\`, ErrEscape},
		{`a\1`, ErrEscape},
		{`a\12`, ErrEscape},
		{`a\1x2`, ErrEscape},
		{`\256.`, ErrEscape},
		{`\999.`, ErrEscape},
		{"\\\x07.", ErrEscape},
		{"\\\xe9.", ErrEscape},
		{"a b.", ErrByte},
		{"a\tb.", ErrByte},
		{"caf\u00e9.", ErrByte},
		{"a\x7f.", ErrByte},
		{"a\n.", ErrByte},
	}
	for _, tt := range tests {
		n, err := Parse(tt.in)
		if !errors.Is(err, tt.want) || !n.IsZero() {
			t.Errorf("%q: got %v, %v, want %v", tt.in, n, err, tt.want)
		}
		if want := fmt.Sprintf("%q: %s", tt.in, tt.want); tt.in != "" && (err == nil || err.Error() != want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	// The same text is a name where there is an origin.
	if wire, err := AppendText([]byte("x"), []byte("@"), MustParse("example.org")); err != nil || string(wire) != "x\x07example\x03org\x00" {
		t.Errorf("@ with an origin: %q, %v", wire, err)
	}
}

// TestBounds walks over the limits of RFC 1035 §2.3.4, written plainly, with
// escapes, and relative to an origin.
func TestBounds(t *testing.T) {
	label := func(n int) string { return strings.Repeat("a", n) }
	escaped := func(n int) string { return strings.Repeat(`\097`, n) }
	for _, text := range []func(int) string{label, escaped} {
		long := text(63) + "." + text(63) + "." + text(63) + "."
		tests := []struct {
			in   string
			want error
			wire int
		}{
			{text(63), nil, 65},
			{text(64), ErrLongLabel, 0},
			{"b." + text(64) + ".c", ErrLongLabel, 0},
			{long + text(61), nil, 255},
			{long + text(61) + ".", nil, 255},
			{long + text(62), ErrLongName, 0},
			{long + text(62) + ".", ErrLongName, 0},
			{strings.Repeat(text(1)+".", 127), nil, 255},
			{strings.Repeat(text(1)+".", 128), ErrLongName, 0},
			{strings.Repeat(text(1)+".", 100000), ErrLongName, 0},
		}
		for _, tt := range tests {
			n, err := Parse(tt.in)
			if !errors.Is(err, tt.want) || len(n.Wire()) != tt.wire {
				t.Errorf("%.80s: %d octets, %v", tt.in, len(n.Wire()), err)
			}
		}
	}
	origin := MustParse(label(63) + "." + label(63) + "." + label(63)) // 193 octets
	for n, want := range map[int]error{61: nil, 62: ErrLongName} {
		wire, err := AppendText([]byte("kept"), []byte(label(n)), origin)
		if !errors.Is(err, want) || want == nil && len(wire) != 4+255 || want != nil && string(wire) != "kept" {
			t.Errorf("%d octets and the origin: %d octets, %v", n, len(wire), err)
		}
	}
}

// TestFromWire takes whole names only.
func TestFromWire(t *testing.T) {
	most := bytes.Repeat([]byte("\x01a"), 127)
	tests := []struct {
		in   string
		want string
	}{
		{"", "name cut short"},
		{"\x01", "name cut short"},
		{"\x01a", "name cut short"},
		{"\x02a\x00", "name cut short"},
		{"\x01a\x00\x00", "1 octets after the name"},
		{"\x40", ErrLongLabel.Error()},
		{"\xc0\x00", ErrLongLabel.Error()}, // a compression pointer
		{string(most) + "\x01a\x00", ErrLongName.Error()},
		{string(most) + "\x00", ""},
	}
	for _, tt := range tests {
		n, err := FromWire([]byte(tt.in))
		got := ""
		if err != nil {
			got = err.Error()
		}
		if got != tt.want || err == nil && n.Wire() != tt.in || err != nil && !n.IsZero() {
			t.Errorf("%q: got %q, %s", tt.in, n.Wire(), got)
		}
	}
	// The caller's octets stay as they are, and are not kept.
	in := []byte("\x01A\x00")
	n, err := FromWire(in)
	if err != nil || string(in) != "\x01A\x00" {
		t.Errorf("changed to %q, %v", in, err)
	}
	if in[1] = 'B'; n != MustParse("a") {
		t.Errorf("became %s", n)
	}
}

// TestFileName holds that each name has one file name that is no path, and that
// it can be made and found again.
func TestFileName(t *testing.T) {
	dir := t.TempDir()
	names := map[string]string{
		".":                          "%2e",
		"example.org.":               "example.org",
		"EXAMPLE.org.":               "example.org",
		"0/25.2.0.192.in-addr.arpa.": "0%2f25.2.0.192.in-addr.arpa",
		"a%b.":                       "a%25b",
		"%2e.":                       "%252e",
		"%2f.":                       "%252f",
		"%252f.":                     "%25252f",
		"%/%.":                       "%25%2f%25",
		`\..`:                        `\.`,
		`\.\..`:                      `\.\.`,
		`..\/etc.`:                   "",
		`\.\./etc.`:                  `\.\.%2fetc`,
		`\000.`:                      `\000`,
		"*.example.":                 "*.example",
		"-rf.":                       "-rf",
	}
	for text, want := range names {
		n, err := Parse(text)
		if want == "" {
			if err == nil {
				t.Errorf("%s was read as %s", text, n)
			}
			continue
		}
		if err != nil || n.FileName() != want {
			t.Errorf("%s: got %s, %v, want %s", text, n.FileName(), err, want)
		}
		if back, err := FromFileName(want); err != nil || back != n {
			t.Errorf("%s: back %s, %v", want, back, err)
		}
		if !filepath.IsLocal(want) || filepath.Base(want) != want {
			t.Errorf("%s is a path", want)
		}
		if err := os.WriteFile(filepath.Join(dir, want), nil, 0o600); err != nil {
			t.Error(err)
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != len(names)-2 { // two spellings of example.org, one fault
		t.Errorf("%d files, %v", len(entries), err)
	}
	for _, file := range []string{"", ".", "..", "%2E", "%2F", "example.org.", "Example.org", "a/b", "a%b", "%61", "../x", "a..b", `\097`, "@", "x\x00"} {
		if n, err := FromFileName(file); err == nil {
			t.Errorf("%q was read as %s", file, n)
		}
	}
}

// TestText is the round trip that JSON and TOML make.
func TestText(t *testing.T) {
	n := MustParse(`a\.b.example`)
	text, err := n.MarshalText()
	if err != nil || string(text) != `a\.b.example.` {
		t.Fatalf("%s, %v", text, err)
	}
	var m Name
	if err := m.UnmarshalText(text); err != nil || m != n {
		t.Errorf("%s, %v", m, err)
	}
	if err := m.UnmarshalText([]byte("a..b")); err == nil || !m.IsZero() {
		t.Errorf("%s, %v", m, err)
	}
	if (Name{}).String() != "" || !(Name{}).IsZero() || Root.IsZero() {
		t.Error("the zero Name is a name")
	}
	defer func() {
		if recover() == nil {
			t.Error("MustParse takes anything")
		}
	}()
	MustParse("a..b")
}
