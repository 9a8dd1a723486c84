package build_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"zonebuild/internal/build"
	"zonebuild/internal/domain"
	"zonebuild/internal/lab"
)

// matrixSOA and matrixRecords hold each shape that a denial chain has to get
// right, for any apex.
const (
	matrixSOA     = "$TTL 1h\n@ SOA ns1 hostmaster 1 2h 30m 6d 5m\n@ NS ns1\n"
	matrixRecords = `ns1	A	192.0.2.53
@	MX	10 mail
mail	A	192.0.2.25
mail	AAAA	2001:db8::25
*.w	TXT	"a wildcard"
x.w	A	192.0.2.1
a.b.c	A	192.0.2.2	; empty non-terminals
secure	NS	ns.secure
secure	DS	12345 13 2 0000000000000000000000000000000000000000000000000000000000000000
ns.secure	A	192.0.2.3
insecure	NS	ns.insecure
ns.insecure	AAAA	2001:db8::3
only.for.it	NS	ns1
alias	CNAME	mail
sub	DNAME	example.net.
type	TYPE65280	\# 3 abcdef
xn--caf-dma	A	192.0.2.4
`
)

type combination struct {
	algorithm int
	denial    string
	csk       bool
	zonemd    string
	cds       string
}

func (c combination) zone() string {
	split := "split"
	if c.csk {
		split = "csk"
	}
	return fmt.Sprintf("%s-%s-a%d.%s.example", c.zonemd, split, c.algorithm, c.denial)
}

func combinations() []combination {
	var out []combination
	for _, a := range []int{8, 13, 14, 15} {
		for _, denial := range []string{"nsec", "nsec3", "nsec3-opt-out"} {
			for i, zonemd := range []string{"false", "sha384", "sha512"} {
				cds := []string{"false", "true", `delete`}[i]
				out = append(out, combination{a, denial, false, zonemd, cds}, combination{a, denial, true, zonemd, cds})
			}
		}
	}
	return out
}

// TestEveryCombination: algorithm × denial × roles of keys × ZONEMD, through the
// verifiers of four other projects and our own; an unbound checks the ZONEMD.
func TestEveryCombination(t *testing.T) {
	t.Parallel()
	lab.Need(t, "ldns-verify-zone", "dnssec-verify", "kzonecheck", "nsd-checkzone")
	s := newSite(t, map[string]string{"shared/soa": matrixSOA, "shared/primary": matrixRecords})
	var config strings.Builder
	quote := func(v string) string {
		if v == "true" || v == "false" {
			return v
		}
		return `"` + v + `"`
	}
	for _, c := range combinations() {
		fmt.Fprintf(&config, "[[zone]]\nnames = [%q]\nsoa = \"shared/soa\"\nprimary = [\"shared/primary\"]\nalgorithm = %d\ndenial = %q\nzonemd = %s\ncds = %s\n",
			c.zone(), c.algorithm, c.denial, quote(c.zonemd), quote(c.cds))
	}
	s.write("zonebuild.toml", config.String())
	for _, c := range combinations() {
		if _, err := s.open().MakeKeys(domain.MustParse(c.zone()), build.KeyOptions{CSK: c.csk, Now: s.at()}); err != nil {
			t.Fatal(err)
		}
	}
	report := s.build(ok)
	digests := map[string]string{}
	for _, c := range combinations() {
		zone := c.zone()
		r := one(t, report, zone)
		if r.Action != build.Published {
			t.Errorf("%s: %+v", zone, r)
		}
		file := s.path("signed", zone)
		s.whole(zone)
		if c.zonemd == "false" || c.denial == "nsec" { // on others ldns-verify-zone 1.8.3 may never end
			lab.Run(t, "ldns-verify-zone", file)
		}
		if c.zonemd != "false" {
			digests[zone] = file
		}
		lab.Run(t, "kzonecheck", "-o", zone, file)
		args := []string{"-q", "-o", zone, file}
		if !c.csk {
			args = append([]string{"-x"}, args...)
		} else {
			args = append([]string{"-z"}, args...)
		}
		lab.Run(t, "dnssec-verify", args...)
		lab.Run(t, "nsd-checkzone", zone, file)
	}
	u := lab.Unbound(t, lab.UnboundOptions{Files: digests})
	for zone := range digests {
		if m := lab.Query(t, u.Addr(), zone, "SOA", lab.DO); m.Rcode != dns.RcodeSuccess || len(m.Answer) == 0 {
			t.Errorf("unbound does not serve %s\n%s", zone, u.Log())
		}
	}
	broken := combination{algorithm: 13, denial: "nsec3", zonemd: "sha384"}.zone()
	s.write("broken", strings.Replace(s.read("signed/"+broken), "192.0.2.25", "192.0.2.26", 1))
	u = lab.Unbound(t, lab.UnboundOptions{Files: map[string]string{broken: s.path("broken")}})
	if m := lab.Query(t, u.Addr(), broken, "SOA", lab.DO); m.Rcode != dns.RcodeServerFailure {
		t.Errorf("a ZONEMD that is wrong is served: this test proves nothing\n%v", m)
	}
	for _, r := range s.build(ok).Zones {
		if r.Action != build.Unchanged {
			t.Errorf("nothing changed, and yet: %+v", r)
		}
	}
}
