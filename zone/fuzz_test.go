package zone

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/miekg/dns"

	"zonebuild/internal/diag"
	"zonebuild/internal/domain"
)

// FuzzParse: whatever stands in a fragment, it is read without a crash, every
// fault has its place in the file, in shards it is read as in one piece, and what is
// accepted is written in a form that is read back as the same records.
func FuzzParse(f *testing.F) {
	seeds, err := filepath.Glob("testdata/*.zone")
	if err != nil {
		f.Fatal(err)
	}
	for _, name := range append(seeds, "../internal/dnssec/testdata/every-type.zone") {
		src, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(src)
	}
	f.Add([]byte("$TTL 1h\n@ SOA a b 1 2 3 4 5\n NS a\na A 192.0.2.1\n"))
	f.Add([]byte("$GENERATE 1-9/2 h${1,3,x} A 192.0.2.$\n$INCLUDE inc/a x\n$ORIGIN .\n"))
	f.Add([]byte("a TXT (\"x\" ; c\n y)\n\\@ TYPE65280 \\# 2 ab cd\n*.x CNAME @\n"))
	apex := domain.MustParse("example.org")
	tree := fstest.MapFS{"inc/a": {Data: []byte("inc A 192.0.2.9\n$INCLUDE inc/a\n")}}
	manyDigits := regexp.MustCompile(`[0-9]{3}`)
	f.Fuzz(func(t *testing.T, src []byte) {
		if len(src) > 1<<16 || manyDigits.Match(src) && bytes.Contains(bytes.ToUpper(src), []byte("GENERATE")) {
			return // 65,536 records a line are allowed, and slow here
		}
		fragment, faults := Parse("p", src, ParseOptions{Apex: apex, Include: tree, Generate: true})
		last := bytes.Count(src, []byte("\n")) + 1
		check := func(p diag.Pos) {
			if p.File == "p" && (p.Line < 1 || p.Line > last || p.Column < 0) || p.File != "p" && p.File != "inc/a" {
				t.Errorf("a fault at %v in a file of %d lines", p, last)
			}
		}
		for _, d := range faults {
			check(d.Pos)
			for _, r := range d.Related {
				check(r.Pos)
			}
		}
		if fragment.Incomplete != faults.HasErrors() {
			t.Errorf("incomplete %t with %v", fragment.Incomplete, faults)
		}
		sameParse(t, src, tree, 1+len(src)/9)
		Compile(apex, fragment) // must not crash, whatever it says
		for i := range fragment.Records.Len() {
			owner := fragment.Records.Owner(i)
			if !domain.IsWithin(owner, []byte(apex.Wire())) || !bytes.Equal(owner, domain.ToLower(bytes.Clone(owner))) {
				t.Fatalf("accepted the owner %q", owner)
			}
		}
		records := fragment.Records.Edit(func(i int) (uint32, bool) { ttl, _ := fragment.Records.TTL(i); return ttl, true })
		var text []byte
		for i := range records.Len() {
			text = AppendRecordOf(text, records, i)
		}
		again, faults := Parse("again", text, ParseOptions{Apex: apex})
		if faults.HasErrors() {
			t.Fatalf("what was written is refused: %v\n%s", faults, text)
		}
		if again.Records.Len() != records.Len() {
			t.Fatalf("%d records were written, %d are read back\n%s", records.Len(), again.Records.Len(), text)
		}
		for i := range records.Len() {
			a, b := records, again.Records
			at, _ := a.TTL(i)
			bt, _ := b.TTL(i)
			if !bytes.Equal(a.Owner(i), b.Owner(i)) || a.Type(i) != b.Type(i) || at != bt || !bytes.Equal(a.Rdata(i), b.Rdata(i)) {
				t.Fatalf("%s is read back as %s", AppendRecordOf(nil, a, i), AppendRecordOf(nil, b, i))
			}
		}
	})
}

// FuzzRdata: what our own readers of the common types accept, miekg/dns reads to
// the same bytes.
func FuzzRdata(f *testing.F) {
	for _, s := range []string{
		"A 192.0.2.1", "AAAA 2001:db8::1", "MX 10 Mail", "SRV 1 2 3 a.b.", "TXT \"a;b\" c\\ d \\200", "CAA 0 issue \"ca.example; x=y\"", "SOA a b 1 2h 3 4w 5",
		"TLSA 3 1 1 " + strings.Repeat("0a", 32), "SSHFP 4 2 " + strings.Repeat("0b", 32), "DS 1 13 2 " + strings.Repeat("0c", 32), "NAPTR 1 2 \"s\" \"\" \"!x!y!\" .",
		"URI 10 1 \"https://x/\"", "HINFO a b", "RP a b", "AFSDB 1 a", "KX 1 a", "DNAME a", "PX 1 a b", "OPENPGPKEY AAAA", "SMIMEA 3 0 0 00", "DHCID AAIB",
	} {
		f.Add(s)
	}
	apex := domain.MustParse("example.org")
	f.Fuzz(func(t *testing.T, s string) {
		if strings.ContainsAny(s, "\n\r()$@;") || strings.Contains(s, `\#`) || len(s) > 400 {
			return // forms of the file, which FuzzParse has; and the library has a bound on the length of a word
		}
		ours, faults := Parse("p", []byte("x 300 "+s+"\n"), ParseOptions{Apex: apex})
		if faults.HasErrors() || ours.Records.Len() != 1 || layout(ours.Records.Type(0)) == "" {
			return // what only we refuse is in the tables of tests
		}
		p := dns.NewZoneParser(strings.NewReader("x 300 IN "+s+"\n"), "example.org.", "")
		rr, _ := p.Next()
		if rr == nil {
			t.Fatalf("we accept %q as %s, miekg/dns says %v", s, AppendRecordOf(nil, ours.Records, 0), p.Err())
		}
		theirs, err := packRdata(rr)
		if err == nil {
			theirs, err = canonicalRdata(ours.Records.Type(0), theirs)
		}
		if err != nil || !bytes.Equal(theirs, ours.Records.Rdata(0)) {
			t.Fatalf("%q: ours %x, theirs %x %v", s, ours.Records.Rdata(0), theirs, err)
		}
	})
}
