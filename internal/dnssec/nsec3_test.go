package dnssec

import (
	"bytes"
	"crypto/sha1"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"zonebuild/internal/domain"
	"zonebuild/internal/lab"
	"zonebuild/zone"
)

// compileText makes a zone of the text of one file.
func compileText(t testing.TB, apex, text string) *zone.Zone {
	t.Helper()
	name := domain.MustParse(apex)
	f, faults := zone.Parse("zone", []byte(text), zone.ParseOptions{Apex: name})
	z, more := zone.Compile(name, f)
	if faults = append(faults, more...); faults.HasErrors() {
		t.Fatal(faults)
	}
	return z
}

// signText signs a zone and gives its records as miekg/dns reads them.
func signText(t testing.TB, z *zone.Zone, keys []Key, policy Policy, prev *Previous, now time.Time) (text []byte, records []dns.RR) {
	t.Helper()
	p, err := NewPlan(z, keys, policy, prev, now)
	if err != nil {
		t.Fatal(err)
	}
	s, err := Sign(p, uint32(now.Unix()))
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if _, err := s.WriteTo(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes(), parseAll(t, b.Bytes())
}

// parseAll reads what was written, line by line: the library's reader of whole
// files runs on behind an IPSECKEY. What is not in that form it reads whole.
func parseAll(t testing.TB, text []byte) (out []dns.RR) {
	t.Helper()
	if bytes.Contains(text, []byte("(")) || bytes.HasPrefix(text, []byte(";")) {
		p := dns.NewZoneParser(bytes.NewReader(text), ".", "zone")
		for rr, ok := p.Next(); ok; rr, ok = p.Next() {
			out = append(out, rr)
		}
		if err := p.Err(); err != nil {
			t.Fatal(err)
		}
		return out
	}
	for line := range strings.Lines(string(text)) {
		rr, err := dns.NewRR(line)
		if err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		out = append(out, rr)
	}
	return out
}

func testPolicy() Policy {
	return Policy{Validity: 14 * 24 * time.Hour, Refresh: 7 * 24 * time.Hour, InceptionOffset: time.Hour, Spread: 6 * 24 * time.Hour, DNSKEYTTL: 3600}
}

// randomZone has delegations with and without DS, glue, wildcards, empty
// non-terminals and names that need escapes.
func randomZone(seed uint64, apex string) string {
	r := rand.New(rand.NewPCG(seed, 1))
	label := func() string {
		return []string{"a", "b", "zz", "_tcp", "*", "x1", "A\\046b", "\\000", "www", "\\200", "-", "n"}[r.IntN(12)] + []string{"", "", "0", "q"}[r.IntN(4)]
	}
	var b strings.Builder
	fmt.Fprintf(&b, "$TTL 300\n@ SOA ns.other.test. host.other.test. 1 7200 3600 600000 %d\n@ NS ns.other.test.\n", 60+r.IntN(600))
	cuts := []string{}
	used := map[string]bool{}
	for range 10 + r.IntN(30) {
		name := label()
		for range r.IntN(4) {
			name += "." + label()
		}
		if r.IntN(4) == 0 && !strings.Contains(name, "*") {
			cuts = append(cuts, strings.ToLower(name))
		}
		used[strings.ToLower(name)] = true
	}
	under := func(name string) bool {
		return slices.ContainsFunc(cuts, func(c string) bool { return name == c || strings.HasSuffix(name, "."+c) })
	}
	for name := range used {
		if under(name) || strings.HasPrefix(name, "*") && strings.HasPrefix(name, "*.") == false && name != "*" {
			continue
		}
		fmt.Fprintf(&b, "%s A 192.0.2.%d\n", name, r.IntN(256))
		if r.IntN(3) == 0 {
			fmt.Fprintf(&b, "%s TYPE%d \\# 1 00\n", name, 256+r.IntN(60000)+1000)
		}
	}
	for _, c := range cuts {
		if slices.ContainsFunc(cuts, func(o string) bool { return strings.HasSuffix(c, "."+o) }) {
			continue
		}
		fmt.Fprintf(&b, "%s NS ns.%[1]s\nns.%[1]s A 192.0.2.1\n", c)
		if r.IntN(2) == 0 {
			fmt.Fprintf(&b, "%s DS 12345 13 2 %064d\n", c, 1)
		}
	}
	return b.String()
}

// chain gives the owners and data of the NSEC or NSEC3 records, sorted, without
// the bits that depend on who signed.
func chain(records []dns.RR) []string {
	var out []string
	for _, rr := range records {
		switch rr := rr.(type) {
		case *dns.NSEC, *dns.NSEC3:
			out = append(out, strings.ToLower(rr.String()))
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// TestChainsOfBIND: on random zones, NSEC and NSEC3 records are those that
// dnssec-signzone makes.
func TestChainsOfBIND(t *testing.T) {
	t.Parallel()
	lab.Need(t, "dnssec-signzone")
	const apex = "example"
	dir := t.TempDir()
	key, err := GenerateKey(dir, domain.MustParse(apex), GenerateOptions{Algorithm: dns.ECDSAP256SHA256, Role: CSK, Now: testNow()})
	if err != nil {
		t.Fatal(err)
	}
	keys := []Key{key}
	for _, d := range []struct {
		denial Denial
		args   []string
	}{{NSEC, nil}, {NSEC3, []string{"-3", "-", "-H", "0"}}, {NSEC3OptOut, []string{"-3", "-", "-H", "0", "-A"}}} {
		for seed := range uint64(12) {
			text := randomZone(seed, apex)
			policy := testPolicy()
			policy.Denial = d.denial
			z := compileText(t, apex, text)
			_, ours := signText(t, z, keys, policy, nil, time.Now())
			in := filepath.Join(dir, "in")
			var b bytes.Buffer
			if _, err := z.WriteTo(&b); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(in, b.Bytes(), 0o600); err != nil {
				t.Fatal(err)
			}
			args := append([]string{"-q", "-z", "-P", "-S", "-K", dir, "-o", apex, "-O", "full", "-f", in + ".signed"}, d.args...)
			lab.RunIn(t, dir, "dnssec-signzone", append(args, in)...)
			signed, err := os.ReadFile(in + ".signed")
			if err != nil {
				t.Fatal(err)
			}
			got, want := chain(ours), chain(parseAll(t, signed))
			if len(want) == 0 || !slices.Equal(got, want) {
				t.Fatalf("denial %d, zone %d:\n%s\nours\n%s\nBIND's\n%s", d.denial, seed, text, strings.Join(got, "\n"), strings.Join(want, "\n"))
			}
		}
	}
}

// TestHashName: the hash of RFC 5155 §5 is that of miekg/dns, and of its
// Appendix A for the salt that it uses, but for the iterations.
func TestHashName(t *testing.T) {
	for _, name := range []string{"example.", "a.example.", "*.w.example.", "x.y.w.example."} {
		for _, salt := range []string{"", "aabbccdd"} {
			s, _ := hex.DecodeString(salt)
			wire := []byte(domain.MustParse(name).Wire())
			label := appendHashLabel(nil, hashName(wire, s))
			if got, want := strings.ToUpper(string(label[1:])), dns.HashName(name, dns.SHA1, 0, salt); got != want || label[0] != 32 {
				t.Errorf("%s with salt %q: %s, want %s", name, salt, got, want)
			}
		}
	}
}

// TestCollision: two names with one hash get a salt under which they differ
// (RFC 5155 §7.1).
func TestCollision(t *testing.T) {
	z := compileText(t, "example", "$TTL 300\n@ SOA a. b. 1 2 3 4 5\n@ NS a.\nx A 192.0.2.1\ny A 192.0.2.1\n")
	p := &Plan{zone: z, policy: Policy{Denial: NSEC3}}
	calls := 0
	names, salt := p.chooseNames(func(name, salt []byte) [sha1.Size]byte {
		calls++
		if len(salt) == 0 || salt[1] < 3 {
			name = name[2:] // x and y are one
		}
		return hashName(name, salt)
	})
	if hex.EncodeToString(salt) != "0003" || len(names) != 3 || calls != 4*3 {
		t.Errorf("salt %x, %d names, %d calls", salt, len(names), calls)
	}
	if err := p.buildMade(salt); err != nil {
		t.Fatal(err)
	}
	if err := p.buildNSEC3(names, salt); err != nil {
		t.Fatal(err)
	}
	if got := zone.AppendRecordOf(nil, p.made, 0); !strings.HasSuffix(string(got), "NSEC3PARAM\t1 0 0 0003\n") {
		t.Errorf("%s", got)
	}
	if got := string(zone.AppendRecordOf(nil, p.denial, 0)); !strings.Contains(got, "NSEC3\t1 0 0 0003 ") {
		t.Errorf("%s", got)
	}
}

// TestDenialChange: from one chain to another, the records keep their
// signatures; the reason is told.
func TestDenialChange(t *testing.T) {
	const apex = "example"
	keys := []Key{newKey(t, apex, GenerateOptions{Role: CSK})}
	z := compileText(t, apex, randomZone(3, apex))
	now := testNow()
	policy := testPolicy()
	text, _ := signText(t, z, keys, policy, nil, now)
	for _, step := range []struct {
		denial Denial
		reason string
	}{{NSEC3, "the denial chain changed"}, {NSEC3OptOut, "the denial chain changed"}, {NSEC, "the denial chain changed"}} {
		prev, err := ReadPrevious(domain.MustParse(apex), "prev", text)
		if err != nil {
			t.Fatal(err)
		}
		policy.Denial = step.denial
		now = now.Add(time.Minute)
		p, err := NewPlan(z, keys, policy, prev, now)
		if err != nil {
			t.Fatal(err)
		}
		if len(p.Reasons) == 0 || p.Reasons[0] != step.reason || p.Changed || p.Kept == 0 {
			t.Errorf("denial %d: %+v, %d kept, %d new", step.denial, p.Reasons, p.Kept, p.New)
		}
		text, _ = signText(t, z, keys, policy, prev, now)
		if again, err := ReadPrevious(domain.MustParse(apex), "prev", text); err != nil {
			t.Fatal(err)
		} else if p, err := NewPlan(z, keys, policy, again, now); err != nil || len(p.Reasons) > 0 {
			t.Errorf("nothing changed, and yet: %v %v", p.Reasons, err)
		}
	}
}

// TestDeleteForms: CDS and CDNSKEY ask for the end of the DS as RFC 8078 §4
// writes it.
func TestDeleteForms(t *testing.T) {
	const apex = "example"
	keys := []Key{newKey(t, apex, GenerateOptions{Role: CSK})}
	policy := testPolicy()
	policy.CDS = DeleteCDS
	_, records := signText(t, compileText(t, apex, randomZone(3, apex)), keys, policy, nil, testNow())
	var got []string
	for _, rr := range records {
		switch rr.Header().Rrtype {
		case dns.TypeCDS, dns.TypeCDNSKEY:
			got = append(got, rr.String())
		}
	}
	want := []string{"example.\t3600\tIN\tCDS\t0 0 0 00", "example.\t3600\tIN\tCDNSKEY\t0 3 0 AA=="}
	if !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
}

// TestChainOfRFC4035: the NSEC records are those of the signed zone in Appendix A
// of RFC 4035.
func TestChainOfRFC4035(t *testing.T) {
	src, err := os.ReadFile("../verify/testdata/rfc4035.zone")
	if err != nil {
		t.Fatal(err)
	}
	var plain strings.Builder
	var want []string
	p := dns.NewZoneParser(bytes.NewReader(src), "example.", "rfc4035.zone")
	for rr, ok := p.Next(); ok; rr, ok = p.Next() {
		switch rr.(type) {
		case *dns.NSEC:
			want = append(want, strings.ToLower(rr.String()))
		case *dns.RRSIG, *dns.DNSKEY:
		default:
			plain.WriteString(rr.String() + "\n")
		}
	}
	if p.Err() != nil || len(want) != 10 {
		t.Fatal(p.Err(), len(want))
	}
	_, records := signText(t, compileText(t, "example", plain.String()), []Key{newKey(t, "example", GenerateOptions{Role: CSK})}, testPolicy(), nil, testNow())
	slices.Sort(want)
	if got := chain(records); !slices.Equal(got, want) {
		t.Errorf("%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}
