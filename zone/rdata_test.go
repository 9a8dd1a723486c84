package zone

import (
	"encoding/hex"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"zonebuild/internal/domain"
)

// parse1 reads one record of example.org.
func parse1(t *testing.T, record string) (Fragment, string) {
	t.Helper()
	f, faults := Parse("p", []byte(record+"\n"), ParseOptions{Apex: domain.MustParse("example.org"), DNSSEC: true})
	return f, lines(faults)
}

// TestLOC: the octets are those of `nsd-checkzone -p` (NSD 4.6).
func TestLOC(t *testing.T) {
	for _, tt := range []struct{ text, want string }{
		{"52 22 23.000 N 4 53 32.000 E -2.00m 0.00m 10000m 10m", "000016138b3cf018810cbce0009895b8"},
		{"1 1 1.001 N 1 1 1.007 E 42849672.95m 90000000m 1m 2m", "009912228037dcc98037dccfffffffff"},
		{"52 22 N 4 53 E 10", "001216138b3c9640810c3fe000989a68"},
		{"52 22 N 4 53 E -100000.00m 15m 0 0.01m", "001300108b3c9640810c3fe000000000"},
		{"90 S 180 W 0m", "001216136cb0270059604e0000989680"},
		{"0 0 0.001 S 0 0 0.999 W 0.29 99m 0.99m 12345.67m", "009391167fffffff7ffffc190098969d"},
	} {
		f, faults := parse1(t, "a 300 LOC "+tt.text)
		if faults != "" {
			t.Fatal(faults)
		}
		if got := hex.EncodeToString(f.Records.Rdata(0)); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.text, got, tt.want)
		}
	}
}

// TestNamesInRdata: names in the rdata of the types of RFC 4034 §6.2 (less
// HINFO and NSEC, RFC 6840 §5.1) are lower-cased, since that is what signatures
// cover; those of other types keep their case, for the same reason.
func TestNamesInRdata(t *testing.T) {
	records := map[uint16]string{
		dns.TypeNS: "A.Example.", dns.TypeCNAME: "A.Example.", dns.TypePTR: "A.Example.", dns.TypeDNAME: "A.Example.",
		dns.TypeMB: "A.Example.", dns.TypeMG: "A.Example.", dns.TypeMR: "A.Example.",
		dns.TypeSOA: "A.Example. B.Example. 1 2 3 4 5", dns.TypeMINFO: "A.Example. B.Example.", dns.TypeRP: "A.Example. B.Example.",
		dns.TypeMX: "1 A.Example.", dns.TypeAFSDB: "1 A.Example.", dns.TypeRT: "1 A.Example.", dns.TypeKX: "1 A.Example.",
		dns.TypePX: "1 A.Example. B.Example.", dns.TypeSRV: "1 2 3 A.Example.", dns.TypeNAPTR: `1 2 "S" "" "" A.Example.`,
		dns.TypeRRSIG: "A 13 2 3600 300 300 1 A.Example. AAAA",
	}
	kept := map[uint16]string{
		dns.TypeSVCB: "1 A.Example.", dns.TypeHTTPS: "0 A.Example.", dns.TypeLP: "1 A.Example.", dns.TypeTALINK: "A.Example. B.Example.",
		dns.TypeHIP: "2 00 AAAA A.Example.", dns.TypeIPSECKEY: "1 3 2 A.Example. AAAA", dns.TypeAMTRELAY: "1 0 3 A.Example.",
	}
	for _, group := range []struct {
		records map[uint16]string
		lower   bool
	}{{records, true}, {kept, false}} {
		for typ, text := range group.records {
			f, faults := parse1(t, "a 300 "+TypeName(typ)+" "+text)
			if faults != "" {
				t.Error(faults)
				continue
			}
			rdata := string(f.Records.Rdata(0))
			if has := strings.Contains(rdata, "A\x07Example"); has == group.lower {
				t.Errorf("%s: %q", TypeName(typ), rdata)
			}
			// The generic form of the same octets is the same record.
			rr, err := dns.NewRR("a. 300 " + TypeName(typ) + " " + text)
			if err != nil {
				t.Fatal(err)
			}
			wire, err := packRdata(rr)
			if err != nil {
				t.Fatal(err)
			}
			g, faults := parse1(t, "a 300 "+TypeName(typ)+` \# `+strings.TrimPrefix(string(appendGenericText(nil, wire)), `\# `))
			if faults != "" || string(g.Records.Rdata(0)) != rdata {
				t.Errorf("%s: the generic form is another record: %s", TypeName(typ), faults)
			}
		}
	}
	for typ := range dns.TypeToRR { // a type that is new in the library shall be thought about
		_, lower := records[typ]
		_, keeps := kept[typ]
		if fields := layout(typ); strings.Contains(fields, "n") && !lower && typ != dns.TypeNSEC {
			t.Errorf("%s is not in the table", TypeName(typ))
		}
		if slices.Contains([]uint16{dns.TypeMD, dns.TypeMF, dns.TypeSIG, dns.TypeNXT, dns.TypeNSAPPTR, dns.TypeTKEY, dns.TypeTSIG}, typ) {
			continue // refused
		}
		if rr := dns.TypeToRR[typ](); !lower && !keeps && typ != dns.TypeNSEC && hasNameField(rr) {
			t.Errorf("%s has a name and is not in the table", TypeName(typ))
		}
	}
}

// hasNameField reports whether the library says that a record holds a name.
func hasNameField(rr dns.RR) bool {
	v := reflect.TypeOf(rr).Elem()
	for i := range v.NumField() {
		if strings.Contains(v.Field(i).Tag.Get("dns"), "domain-name") {
			return true
		}
	}
	return false
}
