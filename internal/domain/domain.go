// Package domain holds domain names: absolute, checked, in lower case, in wire
// form (RFC 1035 §3.1), and their canonical order (RFC 4034 §6.1).
//
// Two Names are equal exactly when they are the same name, so a Name can be
// compared with == and used as a map key. Names never meet unparsed strings.
package domain

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
)

// Bounds of RFC 1035 §2.3.4.
const (
	MaxWire  = 255 // octets of a name in wire form, root label included
	MaxLabel = 63  // octets of a label
)

// Faults of a name.
var (
	ErrEmpty     = errors.New("empty name")
	ErrEmptyLab  = errors.New("empty label")
	ErrLongLabel = errors.New("label longer than 63 octets")
	ErrLongName  = errors.New("name longer than 255 octets")
	ErrEscape    = errors.New("bad escape")
	ErrByte      = errors.New("byte that needs an escape (write a non-ASCII name as A-labels)")
	ErrOrigin    = errors.New("an origin, and there is none here (a label of that kind is \\@)")
)

// Name is an absolute domain name. The zero Name is no name at all; Root is ".".
type Name struct{ wire string }

// Root is the name of the root zone.
var Root = Name{"\x00"}

// Parse reads a name in presentation format. The final dot may be missing: the
// name is absolute all the same. Errors: those of this package.
func Parse(s string) (Name, error) {
	switch s {
	case "":
		return Name{}, ErrEmpty
	case "@":
		return Name{}, fmt.Errorf("%q: %w", s, ErrOrigin)
	}
	var buf [MaxWire]byte
	wire, err := AppendText(buf[:0], []byte(s), Root)
	if err != nil {
		return Name{}, fmt.Errorf("%q: %w", s, err)
	}
	return Name{string(wire)}, nil
}

// MustParse is Parse for names that stand in source code; it panics.
func MustParse(s string) Name {
	n, err := Parse(s)
	if err != nil {
		panic(err)
	}
	return n
}

// FromWire takes a whole name in uncompressed wire form, in any case.
func FromWire(b []byte) (Name, error) {
	n, err := WireLen(b)
	if err != nil {
		return Name{}, err
	}
	if n != len(b) {
		return Name{}, fmt.Errorf("%d octets after the name", len(b)-n)
	}
	return FromCanonical(ToLower(bytes.Clone(b))), nil
}

// FromCanonical takes wire form that is known to be whole and in lower case.
func FromCanonical(b []byte) Name { return Name{string(b)} }

// AppendText appends the lower-cased wire form of the presentation text to
// dst. A text without final dot is relative to origin; "@" is the origin.
func AppendText(dst, text []byte, origin Name) ([]byte, error) {
	start := len(dst)
	dst, relative, err := AppendLabels(dst, text)
	if err != nil {
		return dst[:start], err
	}
	if relative {
		dst = append(dst, origin.wire...)
	} else {
		dst = append(dst, 0)
	}
	if len(dst)-start > MaxWire {
		return dst[:start], ErrLongName
	}
	ToLower(dst[start:])
	return dst, nil
}

// AppendLabels appends the labels of text without the root label, in the case
// they have, and reports whether the text was relative (no final dot).
func AppendLabels(dst, text []byte) (_ []byte, relative bool, err error) {
	if len(text) == 0 {
		return dst, false, ErrEmpty
	}
	if len(text) == 1 {
		switch text[0] {
		case '@':
			return dst, true, nil
		case '.':
			return dst, false, nil
		}
	}
	start := len(dst)
	lenAt := len(dst)
	dst = append(dst, 0)
	for i := 0; i < len(text); i++ {
		run := i
		for run < len(text) && run-i <= MaxLabel && isPlain(text[run]) {
			run++
		}
		if n := run - i; n > 0 && len(dst)-lenAt-1+n <= MaxLabel && len(dst)-start+n <= MaxWire {
			if dst = append(dst, text[i:run]...); run == len(text) {
				break
			}
			i = run
		}
		c := text[i]
		switch {
		case c == '.':
			n := len(dst) - lenAt - 1
			if n == 0 {
				return dst, false, ErrEmptyLab
			}
			dst[lenAt] = byte(n)
			if i == len(text)-1 {
				return dst, false, nil
			}
			lenAt = len(dst)
			dst = append(dst, 0)
			continue
		case c == '\\':
			var n int
			c, n, err = Unescape(text[i:])
			if err != nil {
				return dst, false, err
			}
			i += n - 1
		case c <= ' ' || c >= 0x7f:
			return dst, false, ErrByte
		}
		if len(dst)-lenAt-1 == MaxLabel {
			return dst, false, ErrLongLabel
		}
		if len(dst)-start > MaxWire {
			return dst, false, ErrLongName
		}
		dst = append(dst, c)
	}
	dst[lenAt] = byte(len(dst) - lenAt - 1)
	return dst, true, nil
}

// Unescape reads \X or \DDD (RFC 1035 §5.1) at the head of b and returns the
// octet it stands for and the number of bytes it took.
func Unescape(b []byte) (byte, int, error) {
	if len(b) < 2 || b[0] != '\\' {
		return 0, 0, ErrEscape
	}
	if b[1] < '0' || b[1] > '9' {
		if b[1] < ' ' || b[1] >= 0x7f {
			return 0, 0, ErrEscape
		}
		return b[1], 2, nil
	}
	if len(b) < 4 {
		return 0, 0, ErrEscape
	}
	v := 0
	for _, d := range b[1:4] {
		if d < '0' || d > '9' {
			return 0, 0, ErrEscape
		}
		v = v*10 + int(d-'0')
	}
	if v > 255 {
		return 0, 0, ErrEscape
	}
	return byte(v), 4, nil
}

// WireLen gives the length of the uncompressed name at the head of b.
func WireLen(b []byte) (int, error) {
	i := 0
	for {
		if i >= len(b) {
			return 0, errors.New("name cut short")
		}
		n := int(b[i])
		if n > MaxLabel {
			return 0, ErrLongLabel
		}
		i += n + 1
		if i > MaxWire {
			return 0, ErrLongName
		}
		if i > len(b) {
			return 0, errors.New("name cut short")
		}
		if n == 0 {
			return i, nil
		}
	}
}

// ToLower turns A-Z into a-z in place and returns b. Length octets are below
// 64 and so stay as they are.
func ToLower(b []byte) []byte {
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
	return b
}

// IsZero reports whether n is no name.
func (n Name) IsZero() bool { return n.wire == "" }

// Wire is the uncompressed wire form in lower case.
func (n Name) Wire() string { return n.wire }

// String is the presentation format with the final dot; octets that are not
// plain printable ASCII are escaped.
func (n Name) String() string {
	if n.wire == "" {
		return ""
	}
	return string(AppendPresentation(nil, []byte(n.wire)))
}

// AppendPresentation appends the presentation format of the wire form to dst.
func AppendPresentation(dst, wire []byte) []byte {
	if len(wire) <= 1 {
		return append(dst, '.')
	}
	for i := 0; i < len(wire) && wire[i] != 0; {
		n := int(wire[i])
		label := wire[i+1 : i+1+n]
		run := 0
		for run < n && isPlain(label[run]) {
			run++
		}
		dst = append(dst, label[:run]...)
		for _, c := range label[run:] {
			switch {
			case c <= ' ' || c >= 0x7f:
				dst = append(dst, '\\', '0'+c/100, '0'+c/10%10, '0'+c%10)
			case c == '.' || c == '\\' || c == '"' || c == ';' || c == '(' || c == ')' || c == '@' || c == '$':
				dst = append(dst, '\\', c)
			default:
				dst = append(dst, c)
			}
		}
		dst = append(dst, '.')
		i += n + 1
	}
	return dst
}

// isPlain reports whether a byte of a label stands for itself in presentation format
// wherever it is.
func isPlain(c byte) bool {
	const (
		low  = 1<<'"' | 1<<'$' | 1<<'(' | 1<<')' | 1<<'.' | 1<<';' | (1<<(' '+1) - 1)
		high = 1<<('@'-64) | 1<<('\\'-64) | 1<<(0x7f-64)
	)
	if c < 64 {
		return uint64(low)>>c&1 == 0
	}
	return c < 128 && uint64(high)>>(c-64)&1 == 0
}

// Labels counts the labels, the root label excluded.
func (n Name) Labels() int { return CountLabels([]byte(n.wire)) }

// CountLabels counts the labels of a wire form, the root label excluded.
func CountLabels(wire []byte) int {
	k := 0
	for i := 0; i < len(wire) && wire[i] != 0; i += int(wire[i]) + 1 {
		k++
	}
	return k
}

// IsWildcard reports whether the leftmost label is exactly "*" (RFC 4592 §2.1.1).
func (n Name) IsWildcard() bool { return strings.HasPrefix(n.wire, "\x01*") }

// Parent is the name without its leftmost label; the parent of the root is the root.
func (n Name) Parent() Name {
	if len(n.wire) <= 1 {
		return n
	}
	return Name{n.wire[int(n.wire[0])+1:]}
}

// IsBelow reports whether n is a proper descendant of ancestor.
func (n Name) IsBelow(ancestor Name) bool {
	return n != ancestor && n.IsWithin(ancestor)
}

// IsWithin reports whether n is ancestor or a descendant of it.
func (n Name) IsWithin(ancestor Name) bool {
	return IsWithin([]byte(n.wire), []byte(ancestor.wire))
}

// IsWithin is Name.IsWithin on canonical wire forms.
func IsWithin(wire, ancestor []byte) bool {
	if len(wire) < len(ancestor) || !bytes.HasSuffix(wire, ancestor) {
		return false
	}
	// The suffix must begin at a label, not inside one.
	cut := len(wire) - len(ancestor)
	i := 0
	for i < cut {
		i += int(wire[i]) + 1
	}
	return i == cut
}

// Compare is the canonical order of names (RFC 4034 §6.1).
func (n Name) Compare(m Name) int { return Compare([]byte(n.wire), []byte(m.wire)) }

// Compare orders two canonical wire forms by RFC 4034 §6.1: label by label
// from the right, each as a string of octets, a missing label first.
func Compare(a, b []byte) int {
	if len(a) > 1 && len(b) > 1 { // most often they differ in the first label alone
		x, y := 1+int(a[0]), 1+int(b[0])
		if x <= len(a) && y <= len(b) && bytes.Equal(a[x:], b[y:]) {
			return bytes.Compare(a[1:x], b[1:y])
		}
	}
	var offA, offB [MaxWire/2 + 1]uint8
	na, nb := offsets(a, &offA), offsets(b, &offB)
	for na > 0 && nb > 0 {
		na--
		nb--
		la, lb := a[offA[na]:], b[offB[nb]:]
		if c := bytes.Compare(la[1:1+int(la[0])], lb[1:1+int(lb[0])]); c != 0 {
			return c
		}
	}
	return na - nb
}

func offsets(wire []byte, off *[MaxWire/2 + 1]uint8) int {
	k := 0
	for i := 0; i < len(wire) && wire[i] != 0; i += int(wire[i]) + 1 {
		off[k] = uint8(i)
		k++
	}
	return k
}

// FileName is the name of the zone's files in a data tree: presentation format
// without final dot, "/" as %2f (RFC 2317 zones), "%" as %25; the root is %2e.
// It is never empty, "..", or a path.
func (n Name) FileName() string {
	s := n.String()
	if s == "." {
		return "%2e"
	}
	s = strings.TrimSuffix(s, ".")
	s = strings.ReplaceAll(s, "%", "%25")
	return strings.ReplaceAll(s, "/", "%2f")
}

// FromFileName is the reverse of FileName; it refuses what FileName would not write.
func FromFileName(file string) (Name, error) {
	if file == "%2e" {
		return Root, nil
	}
	s := strings.ReplaceAll(file, "%2f", "/")
	s = strings.ReplaceAll(s, "%25", "%")
	n, err := Parse(s)
	if err != nil {
		return Name{}, err
	}
	if n.FileName() != file {
		return Name{}, fmt.Errorf("%q: the file of this zone is named %q", file, n.FileName())
	}
	return n, nil
}

// MarshalText is the presentation format.
func (n Name) MarshalText() ([]byte, error) { return []byte(n.String()), nil }

// UnmarshalText is Parse.
func (n *Name) UnmarshalText(text []byte) (err error) {
	*n, err = Parse(string(text))
	return err
}
