// Package dnsextra holds the fragments of a drop box: files of nothing but TXT
// records that answer the dns-01 challenges of an ACME CA (RFC 8555 §8.4). Both
// ends are here: a Writer for the jail that talks to the CA, and Scan for the
// builder, which trusts nobody who can write there.
//
// A challenge has one form: an owner that begins with _acme-challenge (or an
// account's label before that), and the 43 characters of a SHA-256 digest in
// base64url. Everything else is refused, at both ends.
package dnsextra

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"zonebuild/internal/domain"
)

const (
	label     = "_acme-challenge"
	valueLen  = 43  // a SHA-256 digest in base64url without padding
	maxOwner  = 230 // octets: owner, "+" and a digest fit into a file name
	hashLen   = 16  // hexadecimal digits of a value's digest in a file name
	writtenTL = 60  // TTL that the writer writes; the reader has its own
)

// Challenge is one TXT record that a CA will look for.
type Challenge struct {
	Owner   domain.Name
	Value   string
	Expires time.Time // when its file may go; zero: not said
}

// Compare orders challenges by owner and value.
func (c Challenge) Compare(o Challenge) int {
	if n := c.Owner.Compare(o.Owner); n != 0 {
		return n
	}
	return strings.Compare(c.Value, o.Value)
}

// FileName is the name of the file that holds this challenge and no other.
func (c Challenge) FileName() string {
	sum := sha256.Sum256([]byte(c.Value))
	return stem(c.Owner) + "+" + hex.EncodeToString(sum[:])[:hashLen]
}

func stem(owner domain.Name) string { return strings.TrimSuffix(owner.String(), ".") }

// text is the content of that file.
func (c Challenge) text() []byte {
	s := ""
	if !c.Expires.IsZero() {
		s = " ; expires=" + c.Expires.UTC().Format(time.RFC3339)
	}
	return fmt.Appendf(nil, "%s %d IN TXT \"%s\"%s\n", c.Owner, writtenTL, c.Value, s)
}

// ParseOwner reads the owner of a challenge. aliases are owners of another form
// that are allowed exactly as they are: the targets of CNAMEs. Errors say what is
// wrong with the name.
func ParseOwner(text string, aliases []domain.Name) (domain.Name, error) {
	if len(text) > maxOwner+1 {
		return domain.Name{}, fmt.Errorf("owner of %d octets: at most %d fit into a file name", len(text), maxOwner)
	}
	for i := range len(text) {
		c := text[i]
		if c != '.' && c != '-' && c != '_' && (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') {
			return domain.Name{}, fmt.Errorf("owner %q: a byte other than letters, digits, hyphen, underscore and dot", shorten(text))
		}
	}
	n, err := domain.Parse(text)
	if err != nil {
		return n, fmt.Errorf("owner %w", err)
	}
	for _, a := range aliases {
		if n == a {
			return n, nil
		}
	}
	labels := strings.Split(stem(n), ".")
	if len(labels) > 1 && isAccountLabel(labels[0]) {
		labels = labels[1:]
	}
	if len(labels) < 2 || labels[0] != label {
		return domain.Name{}, fmt.Errorf("owner %q: its first label is not %s", shorten(text), label)
	}
	return n, nil
}

// isAccountLabel reports whether a label is that of an account: an underscore and
// 16 characters of base32 (draft-ietf-acme-dns-account-label).
func isAccountLabel(s string) bool {
	return len(s) == 17 && s[0] == '_' && strings.Trim(s[1:], "abcdefghijklmnopqrstuvwxyz234567") == ""
}

// Proves is the name that a challenge proves: its owner without the labels that
// make it a challenge. Aliases prove themselves.
func (c Challenge) Proves() domain.Name {
	n := c.Owner
	if isAccountLabel(firstLabel(n)) && firstLabel(n.Parent()) == label {
		n = n.Parent()
	}
	if firstLabel(n) == label {
		return n.Parent()
	}
	return c.Owner
}

func firstLabel(n domain.Name) string {
	s, _, _ := strings.Cut(n.String(), ".")
	return s
}

// CheckValue wants a digest as RFC 8555 §8.4 makes it.
func CheckValue(v string) error {
	if len(v) != valueLen {
		return fmt.Errorf("value of %d characters: a challenge has %d", len(v), valueLen)
	}
	for i := range len(v) {
		c := v[i]
		if c != '-' && c != '_' && (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') {
			return errors.New("value with a character that base64url does not have")
		}
	}
	return nil
}

func shorten(s string) string {
	if len(s) > 60 {
		return s[:60] + "..."
	}
	return s
}
