package validate_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"zonebuild/internal/domain"
	"zonebuild/internal/lab"
	"zonebuild/internal/validate"
)

// TestZoneFile: the file gives what NSD gives of the same zone.
func TestZoneFile(t *testing.T) {
	w := smallWorld(t)
	for _, zone := range []string{"signed.lab.", "nsec3.lab.", "unsigned.lab."} {
		f, err := os.Open(w.file(zone))
		if err != nil {
			t.Fatal(err)
		}
		z, err := validate.ReadZone(f, domain.MustParse(zone), zone)
		f.Close()
		if err != nil {
			t.Fatal(err)
		}
		z.Else = w.direct()
		for _, question := range questions() {
			owner, typ, _ := strings.Cut(question, " ")
			name := full(owner, zone)
			got, want := lookUp(t, z, name, typ), lookUp(t, w.direct(), name, typ)
			if got.Exists != want.Exists || got.Name != want.Name || !sameWire(t, got.RRs, want.RRs) || len(got.Aliases) != len(want.Aliases) || want.Wildcard && !got.Wildcard {
				t.Errorf("%s %s: the file has %s at %s (%s) %v %v, NSD %s at %s (%s) %v %v", name, typ, got.Exists, got.Name, got.Reason, got.RRs, got.Aliases, want.Exists, want.Name, want.Reason, want.RRs, want.Aliases)
			}
		}
		for _, name := range []string{"www.kid." + zone, "www.plain." + zone, "www.lab."} {
			z.Else = nil
			if zone == "unsigned.lab." && name != "www.lab." {
				continue
			}
			a := lookUp(t, z, name, "A")
			if want := fmt.Sprintf("%s is not in %s", name, zone); a.Status != validate.Indeterminate || a.Reason != want {
				t.Errorf("%s: %s (%s), want %s", name, a.Status, a.Reason, want)
			}
			if z.Else = w.direct(); lookUp(t, z, name, "A").Exists != validate.Data {
				t.Errorf("%s: Else is not asked", name)
			}
		}
	}
}

// sameWire compares rdata, which a file may spell in another way; the names in
// it may be in any case.
func sameWire(t *testing.T, a, b []dns.RR) bool {
	wire := func(list []dns.RR) string {
		var out []string
		for _, rr := range list {
			buf := make([]byte, dns.Len(rr)+1)
			end, err := dns.PackRR(rr, buf, 0, nil, false)
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, strings.ToLower(string(buf[end-int(rr.Header().Rdlength):end])))
		}
		slices.Sort(out)
		return strings.Join(out, "|")
	}
	return len(a) == len(b) && wire(a) == wire(b)
}

func TestReadZoneFaults(t *testing.T) {
	for _, tt := range []struct{ text, want string }{
		{"", "read zone f: no SOA at a.test."},
		{"b.test. 1 IN A 192.0.2.1\n", "read zone f: b.test. is not in a.test."},
		{"$INCLUDE /etc/passwd\n", `read zone f: dns: $INCLUDE directive not allowed: "/etc/passwd" at line: 1:20`},
		{"a.test. 1 IN A 192.0.2\n", `read zone f: dns: bad A A: "192.0.2" at line: 1:22`},
	} {
		_, err := validate.ReadZone(strings.NewReader(tt.text), domain.MustParse("a.test"), "f")
		if err == nil || err.Error() != tt.want {
			t.Errorf("%q: %v, want %s", tt.text, err, tt.want)
		}
	}
}

func TestAnchors(t *testing.T) {
	// The keys themselves, as root zones and resolvers carry them.
	for tag, key := range map[uint16]string{
		20326: "AwEAAaz/tAm8yTn4Mfeh5eyI96WSVexTBAvkMgJzkKTOiW1vkIbzxeF3+/4RgWOq7HrxRixHlFlExOLAJr5emLvN7SWXgnLh4+B5xQlNVz8Og8kvArMtNROxVQuCaSnIDdD5LKyWbRd2n9WGe2R8PzgCmr3EgVLrjyBxWezF0jLHwVN8efS3rCj/EWgvIWgb9tarpVUDK/b58Da+sqqls3eNbuv7pr+eoZG+SrDK6nWeL3c6H5Apxz7LjVc1uTIdsIXxuOLYA4/ilBmSVIzuDWfdRUfhHdY6+cn8HFRm+2hM8AnXGXws9555KrUB5qihylGa8subX2Nn6UwNR1AkUTV74bU=",
		38696: "AwEAAa96jeuknZlaeSrvyAJj6ZHv28hhOKkx3rLGXVaC6rXTsDc449/cidltpkyGwCJNnOAlFNKF2jBosZBU5eeHspaQWOmOElZsjICMQMC3aeHbGiShvZsx4wMYSjH8e7Vrhbu6irwCzVBApESjbUdpWWmEnhathWu1jo+siFUiRAAxm9qyJNg/wOZqqzL/dL/q8PkcRU5oUKEpUge71M3ej2/7CPqpdVwuMoTvoB+ZOT4YeGyxMvHmbrxlFzGOHOijtzN+u1TQNatX2XBuzZNQ1K+s2CXkPIZo7s6JgZyvaBevYtxPvYLw4z9mR7K2vaF18UYH9Z9GNUUeayffKC73PYc=",
	} {
		read, err := validate.ReadAnchors(strings.NewReader(". IN DNSKEY 257 3 8 "+key+" ; a comment\n"), "f")
		if err != nil {
			t.Fatal(err)
		}
		found := false
		for _, a := range validate.RootAnchors() {
			found = found || a.Zone == read[0].Zone && a.DS.KeyTag == tag && a.DS.KeyTag == read[0].DS.KeyTag && a.DS.Digest == read[0].DS.Digest &&
				a.DS.Algorithm == read[0].DS.Algorithm && a.DS.DigestType == read[0].DS.DigestType
		}
		if !found || len(read) != 1 {
			t.Errorf("the built-in anchors have no %v", read[0].DS)
		}
	}
	const ds = "a.test. 3600 IN DS 1 13 2 " + "e06d44b80b8f1d39a95c0b0d7c65d08458e880409bbc683457104237c7f8ec8d"
	for _, tt := range []struct{ text, want string }{
		{"; nothing\n", "read trust anchors f: no DS and no DNSKEY record"},
		{ds + "\na.test. IN A 192.0.2.1\n", "read trust anchors f: a.test.: a trust anchor is a DS or a DNSKEY, not a A"},
		{"a.test. IN DS 1 5 2 ab\n", "read trust anchors f: a.test.: DS with unsupported algorithm 5 with digest 2"},
		{"a.test. IN DNSKEY 385 3 13 " + strings.Repeat("A", 86) + "==\n", "read trust anchors f: a.test.: DNSKEY with algorithm 13, flags 385, protocol 3: no key to sign a zone with"},
		{"a.test. IN DS 1 x\n", `read trust anchors f: dns: bad DS Algorithm: "x" at line: 1:17`},
		{"$INCLUDE /etc/passwd\n", `read trust anchors f: dns: $INCLUDE directive not allowed: "/etc/passwd" at line: 1:20`},
		{"$GENERATE 1-2000 $.test. IN DS 1 13 2 ab\n", "read trust anchors f: more than 1000 records"},
		{strings.Repeat(";\n", 600000), "read trust anchors f: more than 1048576 octets"},
	} {
		_, err := validate.ReadAnchors(strings.NewReader(tt.text), "f")
		if err == nil || err.Error() != tt.want {
			t.Errorf("%.60q: %v, want %s", tt.text, err, tt.want)
		}
	}
	if a, err := validate.ReadAnchors(strings.NewReader(ds), "f"); err != nil || len(a) != 1 || a[0].Zone != domain.MustParse("a.test") {
		t.Errorf("%v, %v", a, err)
	}
}

// TestAnchorBelow: the deepest anchor counts; without one nothing can be told.
func TestAnchorBelow(t *testing.T) {
	w := smallWorld(t)
	read := func(name string) []validate.Anchor {
		m := lookUp(t, w.direct(), name, "DS")
		var text strings.Builder
		for _, rr := range m.RRs {
			fmt.Fprintln(&text, rr)
		}
		a, err := validate.ReadAnchors(strings.NewReader(text.String()), name)
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	v := w.direct()
	v.Anchors = read("signed.lab.")
	for _, tt := range []struct {
		name, typ string
		want      validate.Status
		reason    string
		chain     string
	}{
		{"www.signed.lab.", "A", validate.Secure, "www.signed.lab. A is signed by signed.lab.", "signed.lab."},
		{"www.kid.signed.lab.", "A", validate.Secure, "", "signed.lab. kid.signed.lab."},
		{"www.plain.signed.lab.", "A", validate.Insecure, "signed.lab. proves that plain.signed.lab. has no DS", "signed.lab. plain.signed.lab."},
		{"signed.lab.", "DS", validate.Indeterminate, "no trust anchor for lab.", "lab."},
		{"www.nsec3.lab.", "A", validate.Indeterminate, "no trust anchor for nsec3.lab.", "nsec3.lab."},
		{"tonsec3.signed.lab.", "A", validate.Indeterminate, "no trust anchor for nsec3.lab.", "signed.lab. nsec3.lab."},
	} {
		a := lookUp(t, v, tt.name, tt.typ)
		var chain []string
		for _, l := range a.Chain {
			chain = append(chain, l.Zone.String())
		}
		if a.Status != tt.want || !strings.Contains(a.Reason, tt.reason) || strings.Join(chain, " ") != tt.chain {
			t.Errorf("%s %s: %s (%s) by way of %v", tt.name, tt.typ, a.Status, a.Reason, chain)
		}
	}
	// An anchor of the child that is wrong is not made good by the right one of its parent.
	v = w.direct()
	wrong := read("kid.signed.lab.")
	wrong[0].DS.Digest = strings.Repeat("ab", 32)
	v.Anchors = append(v.Anchors, wrong...)
	if a := lookUp(t, v, "www.kid.signed.lab.", "A"); a.Status != validate.Bogus {
		t.Errorf("with a wrong anchor: %s (%s)", a.Status, a.Reason)
	}
}

// TestAliases: each hop has its own status (RFC 7671 §7).
func TestAliases(t *testing.T) {
	w := smallWorld(t)
	r := w.unbound()
	for via, s := range map[string]validate.Source{
		"own":    w.direct(),
		"AD bit": validate.TrustAD{Resolver: validate.Recursive{netip.MustParseAddrPort(r.Addr())}},
	} {
		for _, tt := range []struct {
			name string
			want validate.Status
			hops string
		}{
			{"alias2.signed.lab.", validate.Secure, "alias2.signed.lab. alias.signed.lab. secure, alias.signed.lab. www.signed.lab. secure, "},
			{"toplain.signed.lab.", validate.Insecure, "toplain.signed.lab. www.unsigned.lab. secure, "},
			{"tonsec3.unsigned.lab.", validate.Insecure, "tonsec3.unsigned.lab. www.nsec3.lab. insecure, "},
			{"www.treeplain.signed.lab.", validate.Insecure, "www.treeplain.signed.lab. www.unsigned.lab. secure, "},
			{"tobogus.signed.lab.", validate.Bogus, "tobogus.signed.lab. www.bogus.lab. secure, "},
		} {
			if via != "own" && (tt.want == validate.Bogus || strings.Contains(tt.name, "tree")) {
				continue // a resolver does not say how far it came
			}
			a := lookUp(t, s, tt.name, "A")
			hops := ""
			for _, h := range a.Aliases {
				hops += fmt.Sprintf("%s %s %s, ", h.From, h.To, h.Status)
			}
			if a.Status != tt.want || hops != tt.hops {
				t.Errorf("%s, %s: %s (%s), %s", via, tt.name, a.Status, a.Reason, hops)
			}
		}
	}
}

// TestSharedValidator: many look-ups at a time, by one Validator.
func TestSharedValidator(t *testing.T) {
	w := smallWorld(t)
	v := w.direct()
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for _, zone := range []string{"signed.lab.", "kid.nsec3.lab.", "optout.lab.", "."} {
				for k, want := range []validate.Existence{validate.Data, validate.NoData, validate.NXDomain} {
					if zone == "." && i%2 == 0 {
						zone = "signed.lab."
					}
					name := []string{"q.wild.", "ent.", "nope."}[k] + strings.TrimPrefix(zone, ".")
					a := lookUp(t, v, name, "A")
					if a.Exists != want || a.Status != validate.Secure && zone != "optout.lab." {
						t.Errorf("%s: %s, %s (%s)", name, a.Status, a.Exists, a.Reason)
					}
				}
			}
		})
	}
	wg.Wait()
}

// silent never answers.
type silent struct{}

func (silent) Exchange(ctx context.Context, _ *dns.Msg) (*dns.Msg, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

func TestNoAnswer(t *testing.T) {
	name := domain.MustParse("www.a.test")
	closed := netip.MustParseAddrPort(fmt.Sprintf("127.0.0.1:%d", lab.FreePort(t)))
	for what, ask := range map[string]validate.Exchanger{"silence": silent{}, "a closed port": validate.Recursive{closed}, "no resolver": validate.Recursive{}} {
		for _, s := range []validate.Source{
			&validate.Validator{Resolver: ask, Anchors: validate.RootAnchors(), Timeout: 50 * time.Millisecond},
			validate.TrustAD{Resolver: ask, Timeout: 50 * time.Millisecond},
		} {
			a, err := s.LookUp(context.Background(), name, dns.TypeA)
			if err != nil || a.Status != validate.Indeterminate || !strings.HasPrefix(a.Reason, "no answer for www.a.test. A: ") || a.Exists != validate.Unknown {
				t.Errorf("%s: %+v, %v", what, a, err)
			}
			ctx, cancel := context.WithCancel(context.Background())
			cancel()
			if _, err := s.LookUp(ctx, name, dns.TypeA); !errors.Is(err, context.Canceled) {
				t.Errorf("%s, given up: %v", what, err)
			}
		}
	}
}

func TestQuestionsRefused(t *testing.T) {
	z := &validate.Zone{}
	for _, s := range []validate.Source{&validate.Validator{}, validate.TrustAD{}, z} {
		for typ, want := range map[uint16]string{
			dns.TypeANY: "look up a.test. ANY: records of this type are not signed", dns.TypeRRSIG: "look up a.test. RRSIG: records of this type are not signed",
			dns.TypeAXFR: "look up a.test. AXFR: records of this type are not signed", dns.TypeNone: "look up a.test. None: records of this type are not signed",
		} {
			if _, err := s.LookUp(context.Background(), domain.MustParse("a.test"), typ); !errors.Is(err, validate.ErrType) || err.Error() != want {
				t.Errorf("%d: %v", typ, err)
			}
		}
		if _, err := s.LookUp(context.Background(), domain.Name{}, dns.TypeA); !errors.Is(err, validate.ErrName) {
			t.Errorf("no name: %v", err)
		}
	}
}
