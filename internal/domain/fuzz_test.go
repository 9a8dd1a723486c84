package domain

import (
	"strings"
	"testing"

	"github.com/miekg/dns"
)

// FuzzParse: a name that is accepted has the wire form that miekg/dns packs, is
// read back from its own text and its file name as it is, and has the labels
// that miekg/dns counts.
func FuzzParse(f *testing.F) {
	for _, s := range append(canonical(), ".", "@", "@.", `a\.b.`, `\000\001.`, `\\.`, `\@.`, `0/25.2.0.192.in-addr.arpa`, "%2e", `\..`, `*.a`, strings.Repeat("a.", 127), strings.Repeat("a", 63)) {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		n, err := Parse(s)
		if err != nil {
			if !n.IsZero() {
				t.Errorf("refused, but %s", n)
			}
			return
		}
		again, err := Parse(n.String())
		if err != nil || again != n {
			t.Errorf("%q is written as %s, which is %s, %v", s, n, again, err)
		}
		if n.String() != strings.ToLower(n.String()) {
			t.Errorf("%q has capitals", n)
		}
		buf := make([]byte, 2*MaxWire)
		end, err := dns.PackDomainName(dns.Fqdn(s), buf, 0, nil, false)
		if err != nil || string(ToLower(buf[:end])) != n.Wire() {
			t.Errorf("%q: wire %q, miekg/dns has %q, %v", s, n.Wire(), buf[:end], err)
		}
		if count := dns.CountLabel(n.String()); count != n.Labels() {
			t.Errorf("%q: %d labels, miekg/dns counts %d", s, n.Labels(), count)
		}
		if file, err := FromFileName(n.FileName()); err != nil || file != n {
			t.Errorf("%q: file %q is %s, %v", s, n.FileName(), file, err)
		}
		if wire, err := FromWire([]byte(n.Wire())); err != nil || wire != n {
			t.Errorf("%q: wire form is %s, %v", s, wire, err)
		}
		if n != Root && (!n.IsBelow(n.Parent()) || n.Compare(n.Parent()) <= 0 || n.Parent().Labels() != n.Labels()-1) {
			t.Errorf("%s is not below its parent %s", n, n.Parent())
		}
	})
}

// FuzzFromWire: octets that are accepted are those that miekg/dns reads as that
// name, whole.
func FuzzFromWire(f *testing.F) {
	f.Add([]byte("\x01a\x00"))
	f.Add([]byte("\x03A.\\\x00"))
	f.Add([]byte("\xc0\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		n, err := FromWire(b)
		if err != nil {
			return
		}
		text, end, err := dns.UnpackDomainName(b, 0)
		if err != nil || end != len(b) {
			t.Fatalf("miekg/dns reads %d of %q, %v", end, b, err)
		}
		if same, err := Parse(text); err != nil || same != n {
			t.Errorf("%q is %s, miekg/dns says %s, %v", b, n, text, err)
		}
	})
}
