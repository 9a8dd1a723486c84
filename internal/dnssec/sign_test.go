package dnssec

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"zonebuild/internal/domain"
	"zonebuild/zone"
)

// everyType is a zone with each type that miekg/dns knows and that may stand in
// a zone, with names in upper case, long texts, a wildcard and unknown types.
func everyType(t testing.TB) *zone.Zone {
	t.Helper()
	src, err := os.ReadFile("testdata/every-type.zone")
	if err != nil {
		t.Fatal(err)
	}
	return compileText(t, "example.org", string(src))
}

// fixedSigner signs without randomness, as SignData does, so that miekg/dns's
// signatures can be compared byte for byte.
type fixedSigner struct{ crypto.Signer }

func (s fixedSigner) Sign(_ io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	return s.Signer.Sign(nil, digest, opts)
}

// sourceOfEveryType is the same zone as miekg/dns reads it from its text, a
// record a line: names in rdata keep their case, sets their order.
func sourceOfEveryType(t testing.TB) (out []dns.RR) {
	t.Helper()
	src, err := os.ReadFile("testdata/every-type.zone")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(src)) {
		if strings.HasPrefix(line, "$") {
			continue
		}
		rr, err := dns.NewRR("$ORIGIN example.org.\n$TTL 300\n" + line)
		if err != nil || rr == nil {
			t.Fatalf("%s: %v", line, err)
		}
		if soa, ok := rr.(*dns.SOA); ok {
			soa.Serial = uint32(testNow().Unix())
		}
		out = append(out, rr)
	}
	return out
}

// TestBytesOfMiekg: the RRSIG of each RRset, of every type and algorithm, is the
// one that RRSIG.Sign of miekg/dns makes over the records of the source.
func TestBytesOfMiekg(t *testing.T) {
	z, source := everyType(t), sourceOfEveryType(t)
	for _, algorithm := range everyAlgorithm() {
		t.Run(dns.AlgorithmToString[algorithm], func(t *testing.T) {
			t.Parallel()
			keys := []Key{newKey(t, "example.org", GenerateOptions{Algorithm: algorithm, Role: CSK})}
			policy := testPolicy()
			policy.CDS, policy.ZoneMD = PublishCDS, dns.ZoneMDHashAlgSHA384
			_, records := signText(t, z, keys, policy, nil, testNow())
			sets := map[string][]dns.RR{}
			id := func(name string, typ uint16) string { return fmt.Sprintf("%s %d", dns.CanonicalName(name), typ) }
			for _, rr := range source {
				sets[id(rr.Header().Name, rr.Header().Rrtype)] = append(sets[id(rr.Header().Name, rr.Header().Rrtype)], rr)
			}
			for _, rr := range records {
				if h := rr.Header(); h.Rrtype != dns.TypeRRSIG && zone.MadeBySigner(h.Rrtype) {
					sets[id(h.Name, h.Rrtype)] = append(sets[id(h.Name, h.Rrtype)], rr)
				}
			}
			for _, glue := range []string{id("dlg.example.org.", dns.TypeNS), id("ns.dlg.example.org.", dns.TypeA)} {
				if sets[glue] == nil {
					t.Fatalf("%s is not there", glue)
				}
				delete(sets, glue)
			}
			for _, rr := range records {
				ours, ok := rr.(*dns.RRSIG)
				if !ok {
					continue
				}
				set := sets[id(ours.Hdr.Name, ours.TypeCovered)]
				if set == nil {
					t.Errorf("%s: signed twice, or not to be signed", ours)
					continue
				}
				delete(sets, id(ours.Hdr.Name, ours.TypeCovered))
				theirs := &dns.RRSIG{
					Hdr: dns.RR_Header{Ttl: set[0].Header().Ttl}, Algorithm: algorithm, Inception: ours.Inception, Expiration: ours.Expiration,
					KeyTag: keys[0].Tag, SignerName: "example.org.",
				}
				if err := theirs.Sign(fixedSigner{keys[0].Signer}, set); err != nil {
					t.Fatalf("%s: %v", set[0], err)
				}
				theirs.Hdr.Name = dns.CanonicalName(theirs.Hdr.Name)
				if ours.String() != theirs.String() {
					t.Errorf("%s\nours   %s\ntheirs %s", set[0], ours, theirs)
				}
			}
			for unsigned := range sets {
				t.Errorf("%s is not signed", unsigned)
			}
		})
	}
}

// TestEveryTypeIsThere: the zone has each type of miekg/dns but those that are
// no data, that only the signer makes, that are refused as obsolete, or that
// miekg/dns cannot read from text (X25).
func TestEveryTypeIsThere(t *testing.T) {
	have := map[uint16]bool{}
	for _, rr := range sourceOfEveryType(t) {
		have[rr.Header().Rrtype] = true
	}
	not := []uint16{
		dns.TypeNone, dns.TypeReserved, dns.TypeANY, dns.TypeAXFR, dns.TypeIXFR, dns.TypeMAILA, dns.TypeMAILB, dns.TypeOPT, dns.TypeTSIG, dns.TypeTKEY, dns.TypeSIG, dns.TypeNXNAME,
		dns.TypeRRSIG, dns.TypeNSEC, dns.TypeNSEC3, dns.TypeNSEC3PARAM, dns.TypeDNSKEY, dns.TypeCDS, dns.TypeCDNSKEY, dns.TypeZONEMD,
		dns.TypeMD, dns.TypeMF, dns.TypeNXT, dns.TypeKEY, dns.TypeDLV, dns.TypeATMA, dns.TypeUNSPEC, dns.TypeX25,
	}
	for typ, name := range dns.TypeToString {
		if !have[typ] && !slices.Contains(not, typ) {
			t.Errorf("%s is missing", name)
		}
	}
}

// TestKept: what did not change keeps its signature to the byte; what did, and
// what leans on it, is signed anew.
func TestKept(t *testing.T) {
	const apex = "example.org"
	text := "$TTL 300\n@ SOA ns.other.test. host.other.test. 1 7200 3600 600000 300\n@ NS ns.other.test.\na A 192.0.2.1\nb A 192.0.2.1\nc A 192.0.2.1\n"
	keys := []Key{newKey(t, apex, GenerateOptions{Role: KSK}), newKey(t, apex, GenerateOptions{Role: ZSK})}
	now := testNow()
	first, _ := signText(t, compileText(t, apex, text), keys, testPolicy(), nil, now)
	prev := func(text []byte) *Previous {
		p, err := ReadPrevious(domain.MustParse(apex), "prev", text)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	other := []Key{keys[0], newKey(t, apex, GenerateOptions{Role: ZSK})}
	longer := testPolicy()
	longer.Spread = 0
	for _, tt := range []struct {
		name    string
		text    string
		keys    []Key
		policy  Policy
		prev    []byte
		now     time.Time
		reasons string
		anew    string // owners and types that get another signature
	}{
		{"nothing", text, keys, testPolicy(), first, now.Add(time.Minute), "", "example.org. SOA"},
		{"a record", strings.Replace(text, "b A 192.0.2.1", "b A 192.0.2.2", 1), keys, testPolicy(), first, now.Add(time.Minute), "the records changed", "b.example.org. A, example.org. SOA"},
		{"a name", text + "bb A 192.0.2.1\n", keys, testPolicy(), first, now.Add(time.Minute), "the records changed", "b.example.org. NSEC, bb.example.org. A, bb.example.org. NSEC, example.org. SOA"},
		{"a TTL", strings.Replace(text, "c A", "c 60 A", 1), keys, testPolicy(), first, now.Add(time.Minute), "the records changed", "c.example.org. A, example.org. SOA"},
		{"serial", strings.Replace(text, " 1 7200", " 9 7200", 1), keys, testPolicy(), first, now.Add(time.Minute), "", "example.org. SOA"},
		{"the ZSK", text, other, testPolicy(), first, now.Add(time.Minute), "the DNSKEY set changed, 9 signatures are due", "*"},
		{"the spread", text, keys, longer, first, now.Add(time.Minute), "10 signatures are due", "*"},
		{"a clock that was ahead", text, keys, testPolicy(), first, now.Add(-2 * time.Hour), "10 signatures are due", "*"},
		{"all expired", text, keys, testPolicy(), first, now.Add(60 * 24 * time.Hour), "10 signatures are due", "*"},
		{"unsigned before", text, keys, testPolicy(), unsigned(first), now.Add(time.Minute), "the published zone is not signed", "*"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			z := compileText(t, apex, tt.text)
			p := prev(tt.prev)
			plan, err := NewPlan(z, tt.keys, tt.policy, p, tt.now)
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(plan.Reasons, ", "); got != tt.reasons {
				t.Errorf("reasons %q, want %q", got, tt.reasons)
			}
			text, records := signText(t, z, tt.keys, tt.policy, p, tt.now)
			before := map[string]bool{}
			for _, line := range strings.Split(string(first), "\n") {
				before[line] = true
			}
			var anew []string
			kept := 0
			for _, rr := range records {
				if sig, ok := rr.(*dns.RRSIG); ok {
					if lineOf(text, sig, before) {
						kept++
						continue
					}
					anew = append(anew, sig.Hdr.Name+" "+dns.TypeToString[sig.TypeCovered])
				}
			}
			slices.Sort(anew)
			if got := strings.Join(anew, ", "); got != tt.anew && (tt.anew != "*" || kept > 1) {
				t.Errorf("signed anew: %s\nwant %s; %d kept", got, tt.anew, kept)
			}
		})
	}
}

// lineOf reports whether the line of a signature stood in the file before.
func lineOf(text []byte, sig *dns.RRSIG, before map[string]bool) bool {
	for line := range bytes.Lines(text) {
		if bytes.Contains(line, []byte(sig.Signature)) {
			return before[strings.TrimSuffix(string(line), "\n")]
		}
	}
	return false
}

func unsigned(text []byte) []byte {
	var out []byte
	for line := range bytes.Lines(text) {
		f := bytes.Split(line, []byte("\t"))
		if t := string(f[3]); t != "RRSIG" && t != "NSEC" && t != "DNSKEY" {
			out = append(out, line...)
		}
	}
	return out
}

// TestSpread: every expiration is the latest instant of its RRset's phase, each
// RRset is signed anew once in each period, and the days are even.
func TestSpread(t *testing.T) {
	const apex = "example.org"
	var b strings.Builder
	b.WriteString("$TTL 300\n@ SOA ns.other.test. host.other.test. 1 7200 3600 600000 300\n@ NS ns.other.test.\n")
	const hosts = 300
	for i := range hosts {
		fmt.Fprintf(&b, "h%d A 192.0.2.1\n", i)
	}
	z := compileText(t, apex, b.String())
	keys := []Key{newKey(t, apex, GenerateOptions{Role: CSK})}
	policy := testPolicy()
	now := testNow()
	text, records := signText(t, z, keys, policy, nil, now)
	for _, rr := range records {
		if sig, ok := rr.(*dns.RRSIG); ok {
			left := time.Unix(int64(sig.Expiration), 0).Sub(now)
			if left > policy.Validity || left <= policy.Validity-policy.Spread {
				t.Fatalf("%s has %s left", sig, left)
			}
		}
	}
	const days = 24
	made := make([]int, days)
	for day := range days {
		now = now.Add(24 * time.Hour)
		prev, err := ReadPrevious(domain.MustParse(apex), "prev", text)
		if err != nil {
			t.Fatal(err)
		}
		p, err := NewPlan(z, keys, policy, prev, now)
		if err != nil {
			t.Fatal(err)
		}
		s, err := Sign(p, uint32(now.Unix()))
		if err != nil {
			t.Fatal(err)
		}
		made[day] = s.New
		if s.Oldest.Sub(now) <= policy.Refresh {
			t.Fatalf("day %d: a signature has %s left", day, s.Oldest.Sub(now))
		}
		text, _ = signText(t, z, keys, policy, prev, now)
	}
	total := 0
	for _, n := range made[6:] { // once the first period is over
		total += n
		if mean := float64(2*hosts) / 6; float64(n) < 0.6*mean || float64(n) > 1.5*mean {
			t.Errorf("%d signatures on a day, %.0f are even: %v", n, mean, made)
			break
		}
	}
	if perPeriod := float64(total) / 3; perPeriod < 0.97*2*hosts || perPeriod > 1.1*2*hosts {
		t.Errorf("%.0f signatures a period, want %d and the SOA's: %v", perPeriod, 2*hosts, made)
	}
	policy.Spread = 0
	_, records = signText(t, z, keys, policy, nil, now)
	for _, rr := range records {
		if sig, ok := rr.(*dns.RRSIG); ok && int64(sig.Expiration) != now.Add(policy.Validity).Unix() {
			t.Fatalf("without spread: %s", sig)
		}
	}
}

// TestSameBytesOnAllCores: neither the number of cores, nor the time zone, nor a
// second run changes a byte.
func TestSameBytesOnAllCores(t *testing.T) {
	z := compileText(t, "example", randomZone(7, "example"))
	keys := []Key{newKey(t, "example", GenerateOptions{Role: CSK})}
	policy := testPolicy()
	policy.Denial, policy.ZoneMD = NSEC3, dns.ZoneMDHashAlgSHA512
	was := runtime.GOMAXPROCS(0)
	t.Cleanup(func() { runtime.GOMAXPROCS(was) })
	var first [sha256.Size]byte
	for i, cores := range []int{1, 2, 8, 1} {
		runtime.GOMAXPROCS(cores)
		now := testNow().In(time.FixedZone("far", 3600*(i-2)*5))
		text, _ := signText(t, z, keys, policy, nil, now)
		if sum := sha256.Sum256(text); i == 0 {
			first = sum
		} else if sum != first {
			t.Errorf("%d cores: other bytes", cores)
		}
	}
	if _, ok := keys[0].Signer.Public().(*ecdsa.PublicKey); !ok {
		t.Error("this proves nothing of ECDSA")
	}
}
