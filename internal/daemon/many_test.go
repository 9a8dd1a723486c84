package daemon

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestOneOfMany: of a thousand zones a hint has those compiled whose input changed, and
// no other: one file, one challenge, or one that several zones share.
func TestOneOfMany(t *testing.T) {
	const zones = 1000
	s := newSiteIn(t, memoryDir(t), false)
	var names, shared []string
	for i := range zones {
		if i < 3 {
			shared = append(shared, fmt.Sprintf("s%d.test", i))
		} else {
			names = append(names, fmt.Sprintf("z%03d.test", i))
		}
	}
	s.write("zonebuild.toml", "resolver = [\"127.0.0.1@9\"]\n[policy]\nsign = false\n[[zone]]\nnames = [\""+strings.Join(shared, `", "`)+
		"\"]\nsoa = \"primary/common-soa\"\nprimary = [\"primary/shared\"]\n[[zone]]\nnames = [\""+strings.Join(names, `", "`)+"\"]\nsoa = \"primary/common-soa\"\n")
	s.write("primary/common-soa", "$TTL 1h\n@ SOA ns1.example.org. hostmaster 1 2h 30m 4w 1h\n@ NS ns1.example.org.\n")
	s.write("primary/shared", "www A 192.0.2.1\n")
	for _, name := range names {
		s.write("primary/"+name, "www A 192.0.2.1\n")
	}
	s.start()
	// compiled are the zones of which the sources were compiled so far.
	compiled := func() (out []string) {
		for _, m := range regexp.MustCompile(`msg=compiled zone=(\S+)\.\s`).FindAllStringSubmatch(s.said(), -1) {
			out = append(out, m[1])
		}
		return out
	}
	built := func() int { return strings.Count(s.said(), "\nzone ") }
	for n := zones / 10; n <= zones; n += zones / 10 {
		s.until(fmt.Sprintf("%d are published", n), func() bool { return strings.Count(s.said(), " published code 0") >= n })
	}
	if got := compiled(); len(got) != zones {
		t.Fatalf("%d zones were compiled", len(got))
	}
	seen, passes := zones, built()
	just := func(what string, want ...string) {
		t.Helper()
		s.until(what, func() bool { return strings.Count(s.said(), " published code 0") >= seen+len(want) })
		got := compiled()[seen:]
		if slices.Sort(got); !slices.Equal(got, want) {
			t.Errorf("%s: compiled %q, want %q", what, got, want)
		}
		if n := built() - passes; n != len(want) {
			t.Errorf("%s: %d zones were looked at", what, n)
		}
		seen, passes = seen+len(got), built()
	}
	s.write("primary/z500.test", "www A 192.0.2.2\n")
	just("one file", "z500.test")
	s.write("dnsextra/_acme-challenge.www.z700.test", "_acme-challenge.www.z700.test. 60 IN TXT \""+goodValue+"\"\n")
	just("one challenge", "z700.test")
	s.write("primary/shared", "www A 192.0.2.3\n")
	just("a file that three share", shared...)
}
