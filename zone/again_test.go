package zone

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"runtime"
	"testing"

	"zonebuild/internal/domain"
	"zonebuild/internal/rrset"
)

// edits gives a text in which some lines were added, changed or dropped, or some
// octets are others.
func edits(r *rand.Rand, text []byte, piece func() string) []byte {
	lines := bytes.SplitAfter(text, []byte{'\n'})
	for range 1 + r.IntN(3) {
		at := r.IntN(len(lines) + 1)
		switch n := r.IntN(5); {
		case n == 0 && at < len(lines):
			lines = append(lines[:at:at], lines[min(at+1+r.IntN(3), len(lines)):]...)
		case n == 1 && at < len(lines) && len(lines[at]) > 0:
			changed := bytes.Clone(lines[at])
			changed[r.IntN(len(changed))] = "a0 \n(\"$"[r.IntN(7)]
			lines[at] = changed
		case n == 2 && at < len(lines):
			lines[at] = []byte(piece())
		default:
			lines = append(lines[:at:at], append([][]byte{[]byte(piece())}, lines[at:]...)...)
		}
	}
	return bytes.Join(lines, nil)
}

// TestParseAgain: a text that another one was edited into gives the same by what
// differs as when all of it is read, edit after edit.
func TestParseAgain(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(4))
	again := 0
	for seed := range uint64(600) {
		r := rand.New(rand.NewPCG(seed, 6))
		sound := []string{
			"a A 192.0.2.1\n", "b 60 A 192.0.2.2\n", "d.e TXT \"x ; ( \\\" y\" z ; a comment (\n", " A 192.0.2.3\n", "\tMX 10 a\n", "  ; nothing\n", "\n", "\r\n",
			"; \"a comment\n", "f TXT ( \"1\"\n \"2\" )\n", "g TXT ( \"1\"\n\"2\"\nh ) ; \"\ni A 192.0.2.5\n", "(\nk A 192.0.2.6\n)\n", "( l\n A 192.0.2.7 )\n", "@ TXT \\\" \"\n",
		}
		piece := func() string {
			switch r.IntN(30) {
			case 0:
				return pieces()[r.IntN(len(pieces()))]
			case 1:
				return directivePieces()[r.IntN(len(directivePieces()))]
			}
			return sound[r.IntN(len(sound))]
		}
		text := "$TTL 5\n$ORIGIN x\nfirst A 192.0.2.1\n"
		kinds := 4 + r.IntN(min(len(sound)-3, 1+r.IntN(2*len(sound))))
		for range 30 {
			text += sound[r.IntN(kinds)]
		}
		o := ParseOptions{Apex: domain.MustParse("example.org"), Generate: true, Hold: true}
		was, _ := parse("p", []byte(text), o, 16)
		src := []byte(text)
		for range 8 {
			src = edits(r, src, piece)
			want, faults := parse("p", src, o, 16)
			got, ok := ParseAgain(&was, "p", src, o)
			if was = want; !ok {
				continue
			}
			again++
			if len(faults) > 0 || got.TTL != want.TTL || got.Incomplete != want.Incomplete || got.Files[0] != want.Files[0] || got.Records.Len() != want.Records.Len() {
				t.Fatalf("seed %d: %q:\n%+v\nwant\n%+v %s", seed, src, got, want, lines(faults))
			}
			for i := range want.Records.Len() {
				if a, b := whole(got, i), whole(want, i); a != b {
					t.Fatalf("seed %d: %q: record %d is %s, want %s", seed, src, i, a, b)
				}
			}
			was = got
		}
	}
	if again < 400 {
		t.Errorf("only %d texts were read by what differs", again)
	}
}

// TestCompileAgain: a zone that is compiled again after edits of its fragments is
// the one that it is when all is compiled, with the same faults, whatever the guests.
func TestCompileAgain(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(4))
	apex := domain.MustParse("example.org")
	o := ParseOptions{Apex: apex, Hold: true}
	rules := Rules{Refresh: 7200, MaxTTL: 4000}
	again, zones := 0, 0
	for seed := range uint64(150) {
		r := rand.New(rand.NewPCG(seed, 8))
		record := func() string {
			if r.IntN(900) == 0 {
				return "CNAME h2"
			}
			return fmt.Sprintf([]string{"A 192.0.2.%d", "AAAA 2001:db8::%d", "TXT %d", "MX 10 h%d"}[r.IntN(4)], r.IntN(200))
		}
		piece := func() string {
			owner := fmt.Sprintf("%s%d", []string{"h", "h", "x.h", "*.h", "ns"}[r.IntN(5)], r.IntN(300))
			switch r.IntN(600) {
			case 0:
				return randomZone(r, 1)
			case 1:
				return owner + " 77 A 192.0.2.9\n"
			case 2:
				return owner + " A 192.0.2.1\n" + owner + " A 192.0.2.1\n"
			}
			return fmt.Sprintf("%s %s\n", owner, record())
		}
		soa, _ := Parse("soa", []byte("$TTL 300\n@ SOA ns1 h 1 7200 3600 1209600 300\n NS ns1\nns1 A 192.0.2.1\n"), o)
		sources := [2][]byte{}
		var was [2]Fragment
		for k := range sources {
			for range 60 {
				sources[k] = append(sources[k], piece()...)
			}
			was[k], _ = parse("p"+fmt.Sprint(k), sources[k], o, 16)
		}
		var host *Host
		for range 12 {
			k := r.IntN(2)
			sources[k] = edits(r, sources[k], piece)
			name := "p" + fmt.Sprint(k)
			is, ok := ParseAgain(&was[k], name, sources[k], o)
			if !ok {
				is, _ = parse(name, sources[k], o, 16)
			}
			was[k] = is
			list := []Fragment{soa, was[0], was[1]}
			for g := range r.IntN(3) {
				guest, _ := Parse(fmt.Sprint("g", g), []byte(piece()+piece()), ParseOptions{Apex: apex})
				guest.Guest = true
				list = append(list, guest)
			}
			want, _, whole := rules.compile(apex, 1<<30, nil, list...)
			got, next, faults := rules.CompileAgain(host, apex, list...)
			if host != nil && next != nil && next.records.Patches() > 0 {
				again++
			}
			host = next
			sameFaults(t, faults, whole)
			if (got == nil) != (want == nil) {
				t.Fatalf("seed %d: a zone: %t, want %t", seed, got != nil, want != nil)
			}
			if want == nil {
				continue
			}
			zones++
			a, b := got.records, want.records
			if a.Len() != b.Len() || got.soa != want.soa {
				t.Fatalf("seed %d: %d records, want %d", seed, a.Len(), b.Len())
			}
			for i := range a.Len() {
				if x, y := recordOf(a, i), recordOf(b, i); x != y {
					t.Fatalf("seed %d: record %d is %s, want %s", seed, i, x, y)
				}
				if i > 0 && a.SameOwner(i, i-1) != b.SameOwner(i, i-1) {
					t.Fatalf("seed %d: record %d: one owner: %t", seed, i, a.SameOwner(i, i-1))
				}
			}
		}
	}
	if again < 150 || zones < 300 {
		t.Errorf("%d zones, only %d of them by what differs", zones, again)
	}
}

// TestCompileAgainOften: a set that was changed by pieces many times is made anew.
func TestCompileAgainOften(t *testing.T) {
	apex := domain.MustParse("example.org")
	o := ParseOptions{Apex: apex, Hold: true}
	src := []byte("$TTL 300\n@ SOA ns1 h 1 7200 3600 1209600 300\n NS ns1\nns1 A 192.0.2.1\n")
	for i := range 200 {
		src = fmt.Appendf(src, "h%d A 192.0.2.1\n", i)
	}
	was, _ := parse("p", src, o, 16)
	_, host, _ := Rules{}.CompileAgain(nil, apex, was)
	most, anew := 0, 0
	for i := range 600 {
		src = fmt.Appendf(src, "t%d TXT x\n", i)
		is, ok := ParseAgain(&was, "p", src, o)
		if !ok {
			anew++
			is, _ = parse("p", src, o, 16)
		}
		var z *Zone
		z, host, _ = Rules{}.CompileAgain(host, apex, is)
		if was = is; z == nil || z.Records().Len() != 3+200+i+1 {
			t.Fatalf("after %d edits: %d records", i, z.Records().Len())
		}
		most = max(most, z.Records().Patches())
	}
	if anew != 2 || most == 0 {
		t.Errorf("it was read anew %d times, and changed by pieces %d times", anew, most)
	}
}

// recordOf is all that a set knows of a record.
func recordOf(s *rrset.Set, i int) string { return whole(Fragment{Records: s}, i) }
