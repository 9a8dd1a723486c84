package zone

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"zonebuild/internal/domain"
)

// pieces are what a master file can be made of, well-formed or not.
func pieces() []string {
	return []string{
		"a A 192.0.2.1\n", "b 60 A 192.0.2.2\n", "c IN AAAA 2001:db8::1\n", "d.e TXT \"x ; ( \\\" y\" z ; a comment (\n",
		" A 192.0.2.3\n", "\tMX 10 a\n", "  ; nothing\n", "\n", "\r\n", "a A 192.0.2.4\r\n", "; \"a comment\n",
		"f TXT ( \"1\"\n \"2\" )\n", "g TXT ( \"1\"\n\"2\"\nh ) ; \"\ni A 192.0.2.5\n", "j SOA a b (\n1 ; )\n2\n3\n4\n5 )\n",
		"(\nk A 192.0.2.6\n)\n", "( l\n A 192.0.2.7 )\n", "m TXT \"open\nn A 192.0.2.8\n", "o TXT ( a\np A 192.0.2.9\n", "q A 192.0.2.10 )\n",
		"r\\\nA 192.0.2.11\n", "\"s\" A 192.0.2.12\n", "@ TXT \\\" \"\n", "t..u A 192.0.2.13\n", " A 192.0.2.14\n", "v A 300.0.2.1\n", "w.other. A 192.0.2.15\n",
		"x CH TXT y\n", "y\x01 A 192.0.2.16\n", "z NSEC a\n", "HTTPS 1 . alpn=\"h2\nh3\"\n", "aa TXT \\# 2 01\n", "ab (\n", "ac A 192.0.2.17",
		"( $TTL 77 )\n", "(\n$ORIGIN ad\n)\n",
	}
}

// directivePieces change what follows them, or bring more.
func directivePieces() []string {
	return []string{
		"$TTL 5\n", "$TTL 1h\n", "$TTL x\n", "$ORIGIN ae\n", "$ORIGIN example.org.\n", "$ORIGIN (\naf )\n", "$INCLUDE inc/a\n", "$INCLUDE inc/a ag\n", "$INCLUDE inc/none\n",
		"$GENERATE 1-3 ah$ A 192.0.2.$\n", "$OTHER\n", " $TTL 6\n", "$TTL (\n7\n", "\"$TTL\" 8\n",
	}
}

// TestShards: a file read in shards gives the records, the places, the digests and
// the faults that it gives in one piece.
func TestShards(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(4))
	for seed := range uint64(1500) {
		r := rand.New(rand.NewPCG(seed, 5))
		write := func(n, directives int) []byte {
			var b bytes.Buffer
			all := pieces()
			if r.IntN(2) > 0 {
				all = all[:4+r.IntN(10)] // else nearly no file has a cut that holds
			}
			for i := range n {
				if i < directives || r.IntN(60) == 0 && directives > 0 {
					d := directivePieces()
					b.WriteString(d[r.IntN(len(d))])
				}
				b.WriteString(all[r.IntN(len(all))])
			}
			return b.Bytes()
		}
		tree := fstest.MapFS{"inc/a": {Data: write(r.IntN(40), r.IntN(2))}}
		sameParse(t, write(1+r.IntN(100), r.IntN(4)), tree, 1+r.IntN(60))
	}
}

// sameParse parses src in shards of so many octets, and in one piece.
func sameParse(t *testing.T, src []byte, tree fstest.MapFS, shardMin int) {
	t.Helper()
	o := ParseOptions{Apex: domain.MustParse("example.org"), Include: tree, Generate: true}
	want, faults := parse("p", src, o, 1<<40)
	got, sharded := parse("p", src, o, shardMin)
	sameFaults(t, sharded, faults)
	if got.TTL != want.TTL || got.Incomplete != want.Incomplete || !slices.Equal(got.Files, want.Files) || got.Records.Len() != want.Records.Len() {
		t.Fatalf("%q in shards:\n%+v\nwant\n%+v", src, got, want)
	}
	for i := range want.Records.Len() {
		if a, b := whole(got, i), whole(want, i); a != b {
			t.Fatalf("%q in shards: record %d is %s, want %s", src, i, a, b)
		}
	}
}

// whole is all that a fragment knows of a record.
func whole(f Fragment, i int) string {
	ttl, given := f.Records.TTL(i)
	return fmt.Sprintf("%s %t %d %v %x", f.Records.Name(i), given, ttl, f.Records.Pos(i), AppendRecordOf(nil, f.Records, i))
}

// TestShardsRead: what is well-formed is read in shards indeed, with the state that
// the lines before them left: and what is not is noticed.
func TestShardsRead(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(4))
	lines := strings.Repeat("a A 192.0.2.1\n AAAA 2001:db8::1\n; x\nb TXT ( \"(\"\n \")\" )\n", 50)
	for text, want := range map[string]bool{
		lines:                         true,
		"$TTL 5\n$ORIGIN x\n" + lines: true,
		"$GENERATE 1-2 c$ A 192.0.2.$\n " + lines:        true,
		"x TXT (\n" + strings.Repeat("y\n", 300) + ")\n": false, // each cut is inside the parentheses
		lines + "( $TTL 5 )\n" + lines[:80]:              false,
		lines + "$TTL 5\n" + lines:                       true,
	} {
		p := &parser{o: ParseOptions{Apex: domain.MustParse("example.org"), Generate: true}, apex: []byte(domain.MustParse("example.org").Wire()), shardMin: 64, ttl: -1}
		r := &reader{parser: p, origin: p.o.Apex, scanner: scanner{name: "p", src: []byte(text), line: 1, faults: &p.faults}}
		head, ok := r.directives()
		if !ok {
			t.Fatalf("%.40q is not large enough", text)
		}
		r.readBefore(head)
		if cuts := r.cuts(8); len(cuts) != 9 && want {
			t.Errorf("%.40q is cut at %v", text, cuts)
		}
		if got := r.readShards(); got != want {
			t.Errorf("%.40q: read in shards: %t", text, got)
		}
	}
}
