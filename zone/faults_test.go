package zone

import (
	"strings"
	"testing"

	"zonebuild/internal/domain"
)

// TestBlankOwners: records without an owner belong to the one above them, be it
// in a line with a fault; never to the one before that.
func TestBlankOwners(t *testing.T) {
	for _, tt := range []struct{ name, src, want string }{
		{"a fault of the rdata", "alias CNAME ns1\nwww A 1\n TXT x\n", "p:2:7: www.example.org.: A: \"1\" is not an IPv4 address [rdata]\n"},
		{"a lexical fault", "alias CNAME ns1\nwww TXT \"x\n TXT y\n A 1\n", "p:2:9: quote is not closed on its line [quote]\np:4:4: www.example.org.: A: \"1\" is not an IPv4 address [rdata]\n"},
		{"an unknown type", "alias CNAME ns1\nwww FOO x\n TXT y\n", "p:2:5: unknown type \"FOO\" [type]\n"},
		{"a parenthesis", "alias CNAME ns1\nwww ( TXT x\n TXT y\n", "p:2:5: parenthesis is never closed [parenthesis]\n"},
		{"a control byte in the owner", "alias CNAME ns1\nw\x01w TXT x\n TXT y\n", "p:2:2: control byte 0x01: write it as \\001 inside quotes [control-byte]\n"},
		{"a quoted owner", "alias CNAME ns1\n\"www\" TXT x\n TXT y\n", "p:2:1: owner \"www\": an owner is not quoted [name]\n"},
		{"a quoted owner that is not closed", "alias CNAME ns1\n\"www TXT x\n TXT y\n", "p:2:1: quote is not closed on its line [quote]\n"},
		{"a bad owner", "alias CNAME ns1\nw..w TXT x\n TXT y\n A 1\nok A 192.0.2.1\n TXT z\n", "p:2:1: owner \"w..w\": empty label [name]\n"},
		{"outside", "alias CNAME ns1\nwww.example.com. TXT x\n TXT y\n", "p:2:1: www.example.com.: owner is outside the zone example.org. [out-of-zone]\np:3:2: www.example.com.: owner is outside the zone example.org. [out-of-zone]\n"},
		{"a bad directive", "alias CNAME ns1\n$TTL \"x\n TXT y\n", "p:1:1: alias.example.org.: CNAME and other data [cname-other-data] (other data at p:3:2)\np:2:6: quote is not closed on its line [quote]\n"},
		{"directives", "www A 192.0.2.1\n$TTL 60\n$ORIGIN sub\n TXT y\n", ""},
		{"an included file", "www 60 A 192.0.2.1\n$INCLUDE inc/a\n 60 TXT y\n", ""},
		{"generated", "www 60 A 192.0.2.1\n$GENERATE 1-2 h$ 60 A 192.0.2.$\n 60 A 192.0.2.9\n", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, faults := compile(t, tt.src)
			if got := lines(faults); got != tt.want {
				t.Errorf("got\n%swant\n%s", got, tt.want)
			}
		})
	}
}

// TestParenthesesWithoutEnd: a file of nothing but opening parentheses takes neither
// time nor faults without bound.
func TestParenthesesWithoutEnd(t *testing.T) {
	for _, line := range []string{"(\n", "a TXT (\n", "a ( (\n"} {
		const n = 50_000
		if _, faults := Parse("p", []byte(strings.Repeat(line, n)), ParseOptions{Apex: domain.MustParse("example.org")}); len(faults) > 2*n+10 {
			t.Errorf("%q: %d faults of %d lines", line, len(faults), n)
		}
	}
}
