package zone

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"testing"

	"zonebuild/internal/diag"
	"zonebuild/internal/domain"
)

// randomZone is the text of a zone in which most rules are broken somewhere: cuts
// in cuts, glue that is missing or no glue, names below a DNAME, wildcards that are
// hidden, aliases beside other data, open and mixed TTLs.
func randomZone(r *rand.Rand, records int) string {
	pick := func(list ...string) string { return list[r.IntN(len(list))] }
	name := func() string {
		out := pick("a", "b", "c", "d", "e", "*", "*x", "ns1", "_acme-challenge", "\\000")
		for range r.IntN(4) {
			out += "." + pick("a", "b", "c", "d", "e", "ns1", "example.org", "zz")
		}
		return out
	}
	var b strings.Builder
	b.WriteString("$TTL 3600\n@ SOA ns1 hostmaster 1 7200 1800 518400 3600\n@ NS ns1\n@ NS ns2\n")
	for range records {
		owner := name()
		record := pick("A 192.0.2.1", "A 192.0.2.2", "AAAA 2001:db8::1", "TXT \"v=spf1 \" \"-all\"", "TXT x")
		switch r.IntN(8) {
		case 0, 1:
			record = "NS " + pick("ns1", "ns1.", "ns."+owner, name())
		case 2:
			record = pick("DNAME ", "CNAME ", "CNAME ") + name()
		case 3:
			record = "MX 10 " + name()
		case 4:
			record = "DS 1 13 1 " + strings.Repeat("00", 20)
		}
		fmt.Fprintf(&b, "%s %s %s\n", owner, pick("", "", "300", "9000"), record)
	}
	return b.String()
}

// TestRanges: however many ranges the records are checked in, on however many
// cores, the faults are the same, in the same order, and so is the zone.
func TestRanges(t *testing.T) {
	apex := domain.MustParse("example.org")
	rules := Rules{Refresh: 7200, MaxTTL: 200}
	seen := make(map[string]bool)
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 11))
		text := randomZone(r, 1+r.IntN(120))
		f, _ := Parse("host", []byte(text), ParseOptions{Apex: apex})
		f.Incomplete = seed%4 == 0
		want, _, whole := rules.compile(apex, 1<<30, nil, f)
		for _, d := range whole {
			seen[d.Code] = true
		}
		for _, cores := range []int{1, 2, 7} {
			func() {
				defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(cores))
				got, _, faults := rules.compile(apex, 1+r.IntN(10), nil, f)
				sameFaults(t, faults, whole)
				if (got == nil) != (want == nil) || got != nil && !Equal(got, want) {
					t.Fatalf("seed %d on %d cores: another zone", seed, cores)
				}
			}()
		}
	}
	for _, code := range []string{"occluded", "glue-missing", "glue-sibling", "below-dname", "target-missing", "target-cname",
		"wildcard-hidden", "wildcard-like", "cname-other-data", "ds-without-ns", "ttl-refresh", "ttl-above-max", "apex-repeated", "negative-ttl"} {
		if !seen[code] {
			t.Errorf("no zone had the fault %s", code)
		}
	}
}

func sameFaults(t *testing.T, got, want diag.List) {
	t.Helper()
	if !slices.EqualFunc(got, want, func(a, b diag.Diagnostic) bool { return a.String() == b.String() }) {
		t.Fatalf("the faults are\n%s\nwant\n%s", lines(got), lines(want))
	}
}
