package verify

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"zonebuild/internal/domain"
)

// content gives the records of a zone in order, as wire data.
func content(z *zone) []string {
	var out []string
	for i := range z.recs {
		out = append(out, fmt.Sprintf("%s %d %d %x", nameText(z.owner(i)), z.recs[i].ttl, z.recs[i].typ, z.rdata(i)))
	}
	return out
}

// oneRecord reads one line.
func oneRecord(line string) (*record, error) {
	return newLineReader(strings.NewReader(line)).next()
}

// The own decoders and those of miekg/dns give the same octets.
func TestRdataAsMiekg(t *testing.T) {
	lines := strings.Split(`A 192.0.2.1
AAAA 2001:db8::1
AAAA ::ffff:192.0.2.1
NS ns.example.
CNAME a\.b.\066.example.
PTR .
DNAME x.example.
SOA ns.example. host\.master.example. 4294967295 1 2 3 4
MX 65535 mail.example.
TXT plain
TXT "a b" c "" "\"\\\065\255"
TXT "semi;colon"
SPF "v=spf1 -all"
SRV 1 2 3 target.example.
CAA 128 issue "ca.example; x=1"
CAA 0 iodef ""
DS 60485 13 2 D4B7D520 E7BB5F0F67674A0CCEB1E3E0614B93C4F9E99B8383F6A1E4469DA50A
CDS 0 0 0 00
DNSKEY 257 3 15 l02Woi0iS8Aa25FQkUd9RMzZHJpBoRQwAQEX1SxZJA4=
DNSKEY 257 3 15 l02Woi0iS8Aa25FQk Ud9RMzZHJpBoRQwAQEX1SxZJA4=
CDNSKEY 0 3 0 AA==
RRSIG A 15 2 3600 20340101000000 20240101000000 60795 example. AAAA
RRSIG TYPE65280 15 2 3600 2019686400 1704067200 60795 example. AAAA BBBB
NSEC next.example. A TXT RRSIG NSEC TYPE65280
NSEC .
NSEC3 1 1 10 aabb 2t7b4g4vsa5smi47k61mv5bv1a22bojr A RRSIG
NSEC3 1 0 0 - 2T7B4G4VSA5SMI47K61MV5BV1A22BOJR
NSEC3PARAM 1 0 0 -
NSEC3PARAM 1 0 12 AABBCCDD
TLSA 3 1 1 00ff 11ee
SMIMEA 3 1 1 00ff
SSHFP 4 2 00ff
ZONEMD 1 1 1 000102030405060708090a0b
NAPTR 100 10 "U" "E2U+sip" "!^.*$!sip:i@example!" x.example.
HTTPS 1 . alpn="h2,h3" port=8443
HTTPS 1 . alpn="h2,h3" key65400="a;(b\"" ; comment (
SVCB 0 target.example.
LOC 52 22 23.000 N 4 53 32.000 E -2.00m 0.00m 10000m 10m
HINFO "PC" "BSD"
RP mbox.example. txt.example.
AFSDB 1 x.example.
KX 1 x.example.
URI 10 1 "https://example/"
OPENPGPKEY AAAA
CSYNC 1 3 A NS AAAA
TYPE65280 \# 4 0A000001
TYPE65280 \# 0
A \# 4 c0000201
MX \# 7 000A 0378 585800
EUI48 00-00-5e-00-53-2a`, "\n")
	for _, rdata := range lines {
		line := "www.example. 3600 IN " + rdata
		rec, err := oneRecord(line)
		if err != nil {
			t.Errorf("%s: %v", line, err)
			continue
		}
		rr, err := dns.NewRR(line)
		if err != nil {
			t.Errorf("%s: %v", line, err)
			continue
		}
		owner, want, err := packRR(rr)
		if err != nil {
			t.Errorf("%s: %v", line, err)
			continue
		}
		if rec.typ != rr.Header().Rrtype || rec.ttl != 3600 || !bytes.Equal(rec.owner, owner) || !bytes.Equal(rec.rdata, want) {
			t.Errorf("%s:\n got %d %x\nwant %d %x", line, rec.typ, rec.rdata, rr.Header().Rrtype, want)
		}
	}
}

// Canonical form: names in lower case by the list, others as they are.
func TestCanonicalForm(t *testing.T) {
	tests := []struct{ rdata, want string }{
		{"NS Ns.Example.", "026e73 076578616d706c65 00"},
		{`NS \078\115.Example.`, "026e73 076578616d706c65 00"},
		{"MX 1 M.Example.", "0001 016d 076578616d706c65 00"},
		{"SRV 1 2 3 T.", "0001 0002 0003 0174 00"},
		{"SOA A. B. 1 2 3 4 5", "0161 00 0162 00 00000001 00000002 00000003 00000004 00000005"},
		{"RP A. B.", "0161 00 0162 00"},
		{"KX 1 A.", "0001 0161 00"},
		{"PX 1 A. B.", "0001 0161 00 0162 00"},
		{`NAPTR 1 2 "A" "B" "C" D.`, "0001 0002 0141 0142 0143 0164 00"},
		{"NSEC N. A", "014e 00 0001 40"},
		{"HINFO A B", "0141 0142"},
		{"SVCB 1 A.", "0001 0141 00"},
		{`TYPE2 \# 4 024E5300`, "026e73 00"},
		{`TYPE38 \# 4 80 0141 00`, "80 0161 00"},
		{`TYPE38 \# 1 00`, "00"},
	}
	for _, tt := range tests {
		rec, err := oneRecord("x. 1 IN " + tt.rdata)
		if err != nil {
			t.Errorf("%s: %v", tt.rdata, err)
			continue
		}
		if want := strings.ReplaceAll(tt.want, " ", ""); hex.EncodeToString(rec.rdata) != want {
			t.Errorf("%s: %x, want %s", tt.rdata, rec.rdata, want)
		}
	}
}

func TestLineFaults(t *testing.T) {
	tests := []struct{ line, want string }{
		{"a..b. 1 IN A 192.0.2.1", "read owner name: empty label"},
		{strings.Repeat("x", 64) + ". 1 IN A 192.0.2.1", "read owner name: label longer than 63 octets"},
		{"x.", "rdata ends too early"},
		{"x. 1", "rdata ends too early"},
		{"x. 1 IN", "rdata ends too early"},
		{"x. 1 IN A", "read A record: rdata ends too early"},
		{"x. 1 IN A 192.0.2.1 2", `read A record: "2" after the end of the rdata`},
		{"x. 1 IN A 192.0.02.1", `read A record: "192.0.02.1" is no such address`},
		{"x. 1 IN A ::1", `read A record: "::1" is no such address`},
		{"x. 1 IN AAAA fe80::1%eth0", `read AAAA record: "fe80::1%eth0" is no such address`},
		{"x. 1 IN TXT", "read TXT record: rdata ends too early"},
		{"x. 1 IN TXT " + strings.Repeat("y", 256), "read TXT record: string longer than 255 octets"},
		{"x. 1 IN TXT \\25", "read TXT record: bad escape"},
		{"x. 1 IN TXT \\", "read TXT record: bad escape"},
		{`x. 1 IN MX "1" m.`, `read MX record: quoted string "1" where none can be`},
		{"x. 1 IN MX 65536 m.", `read MX record: "65536" is no number up to 65535`},
		{"x. 1 IN MX -1 m.", `read MX record: "-1" is no number up to 65535`},
		{"x. 1 IN CAA 0 is+sue x", `read CAA record: "is+sue" is no tag`},
		{"x. 1 IN DS 1 NONE 2 00", `read DS record: "NONE" is no algorithm`},
		{"x. 1 IN TLSA 3 1 1 zz", "read TLSA record: bad hexadecimal data: encoding/hex: invalid byte: U+007A 'z'"},
		{"x. 1 IN TLSA 3 1 1 000", "read TLSA record: bad hexadecimal data: encoding/hex: odd length hex string"},
		{"x. 1 IN TLSA 3 1 1", "read TLSA record: rdata ends too early"},
		{"x. 1 IN RRSIG A 15 1 1 20240230000000 0 1 x. AAAA", `read RRSIG record: "20240230000000" is no time`},
		{"x. 1 IN RRSIG A 15 1 1 20241301000000 0 1 x. AAAA", `read RRSIG record: "20241301000000" is no time`},
		{"x. 1 IN RRSIG A 15 1 1 1 1 1 x. AAA", "read RRSIG record: bad base64 data: illegal base64 data at input byte 0"},
		{"x. 1 IN RRSIG A 15 1 1 1 1 1 x.", "read RRSIG record: rdata ends too early"},
		{"x. 1 IN NSEC3 1 0 0 - 2t7b4g4vsa5smi47k61mv5bv1a22bojw A", `read NSEC3 record: "2t7b4g4vsa5smi47k61mv5bv1a22bojw" is no base32hex hash`},
		{"x. 1 IN NSEC3 1 0 0 - 1 A", `read NSEC3 record: "1" is no base32hex hash`},
		{"x. 1 IN NSEC y. A FOO", `read NSEC record: unknown type "FOO"`},
		{`x. 1 IN A \# 3 c00002`, "read A record: rdata is not as its type has it"},
		{`x. 1 IN A \# 5 c0000201`, "read A record: 4 octets follow the length 5"},
		{`x. 1 IN NSEC \# 5 00 0001 40 00`, "read NSEC record: rdata is not as its type has it"},
		{`x. 1 IN MX \# 3 0001ff`, "read MX record: label longer than 63 octets"},
		{"x. 1 IN LOC nowhere", `read LOC record: bad LOC Latitude: "nowhere"`},
		{"x. 4294967295 IN A 192.0.2.1", "TTL 4294967295 is above 2147483647"},
		{"x. 1 CH A 192.0.2.1", "class is CH, not IN"},
		{"x. 1 CLASS7 A 192.0.2.1", "class is CLASS7, not IN"},
		{"x. 1 IN ANY", "type ANY cannot stand in a zone"},
		{"x. 1 IN OPT", "type OPT cannot stand in a zone"},
		{"x. 1 IN TYPE0 \\# 0", "type None cannot stand in a zone"},
	}
	for _, tt := range tests {
		_, err := oneRecord(tt.line)
		if _, ok := err.(*lineError); !ok || err.Error() != tt.want {
			t.Errorf("%s:\n got %v\nwant %s", tt.line, err, tt.want)
		}
	}
}

// What is not one whole record on a line is left to a whole parser.
func TestNotLineForm(t *testing.T) {
	for _, line := range []string{
		"$ORIGIN example.",
		"\tIN A 192.0.2.1",
		"www 1 IN A 192.0.2.1",
		"@ 1 IN A 192.0.2.1",
		"www.example. IN A 192.0.2.1",
		"www.example. IN 1 A 192.0.2.1",
		"www.example. 1h IN A 192.0.2.1",
		"www.example. 1 IN NS ns",
		"www.example. 1 IN TXT ( a )",
		"www.example. 1 IN TXT \"a",
		"www.example. 1 IN TXT \"a\"\"b\"",
		"www.example. 1 IN TXT a\"b\"",
		"www.example. 1 IN SOA a. b. 1 1h 1h 1h 1h",
		"www.example. 1 IN LOC ( 1 N",
		"www.example. 1 IN HTTPS 1 . alpn=\"h2",
		strings.Repeat("x", maxLine+1),
	} {
		if _, err := oneRecord(line); err != errForm {
			t.Errorf("%.60q: %v", line, err)
		}
	}
}

// One zone in three forms is the same zone; a fault has the line of its record.
func TestForms(t *testing.T) {
	apex := domain.MustParse("example.")
	canonical := `; comment
example.	3600	IN	SOA	ns.example. h.example. 1 2 3 4 5
example.	3600	IN	NS	ns.example.
ns.example.	60	IN	A	192.0.2.1
x.example.	60	IN	TXT	"a;b" "c"
`
	other := `$TTL 3600
$ORIGIN example.
@	IN	SOA	ns h (
		1 ; serial
		2 3 4 5 )
; a comment
	NS	NS
Ns 60 A 192.0.2.1

X	60	IN	TXT	( "a;b"
	c )
`
	shuffled := "x.example. 60 TXT \"a;b\" c ; with a comment\r\nNS.EXAMPLE. 60 IN A 192.0.2.1\nexample. 3600 IN NS nS.example.\n \t\nExample. 3600 IN SOA ns.example. h.example. 1 2 3 4 5"
	want := []uint32{2, 3, 4, 5}
	var first []string
	for i, text := range []string{canonical, other, shuffled} {
		f := new(faults)
		z, err := load(strings.NewReader(text), apex, nil, f)
		if err != nil || len(f.list) > 0 {
			t.Fatalf("%d: %v %v", i, err, f.list)
		}
		got := content(z)
		if first == nil {
			first = got
		}
		if !slices.Equal(got, first) {
			t.Errorf("%d: %q\nwant %q", i, got, first)
		}
		var at []uint32
		for _, r := range z.recs {
			at = append(at, r.line)
		}
		switch i {
		case 1:
			want = []uint32{7, 3, 8, 10} // NS before SOA in canonical order
		case 2:
			want = []uint32{3, 5, 2, 1}
		case 0:
			want = []uint32{3, 2, 4, 5}
		}
		if !slices.Equal(at, want) {
			t.Errorf("%d: lines %v, want %v", i, at, want)
		}
	}
}

// Reading goes on after a fault in line form, and a good record after a bad
// one of the same owner keeps its owner.
func TestAfterFault(t *testing.T) {
	f := new(faults)
	z, err := load(strings.NewReader("a. 1 IN A 192.0.2.1\nb. 1 IN A x\nb. 1 IN A 192.0.2.2\nb. 1 IN A y\n"), domain.Name{}, nil, f)
	if err != nil || len(f.list) != 2 || f.list[0].Pos.Line != 2 || f.list[1].Pos.Line != 4 {
		t.Fatalf("%v %v", err, f.list)
	}
	if got := content(z); !slices.Equal(got, []string{"a. 1 1 c0000201", "b. 1 1 c0000202"}) {
		t.Errorf("%q", got)
	}
}

// The first fault of a file in another form stops its parser; it has a line.
func TestForeignFault(t *testing.T) {
	f := new(faults)
	_, err := load(strings.NewReader("$TTL 1\na. A 192.0.2.1\nb. A x\n"), domain.Name{}, nil, f)
	if err != nil || len(f.list) != 1 {
		t.Fatalf("%v %v", err, f.list)
	}
	if got := f.list[0].String(); got != `-: bad A A: "x" [syntax]` {
		t.Errorf("%s", got)
	}
	if f.list[0].Pos.Line != 3 {
		t.Errorf("line %d", f.list[0].Pos.Line)
	}
}

// A few bytes of $GENERATE could fill the memory.
func TestGenerate(t *testing.T) {
	text := "$ORIGIN example.\n@ 1 IN SOA . . 1 2 3 4 5\n" + strings.Repeat("$GENERATE 0-65535 a$ 1 A 192.0.2.1\n", 1000)
	_, l := Bytes("zone", []byte(text), Options{AllowUnsigned: true})
	if len(l) == 0 || l[len(l)-1].String() != "zone:3: $GENERATE in a signed zone [syntax]" {
		t.Errorf("%v", l)
	}
}

func TestFileFaults(t *testing.T) {
	_, l := File("testdata/absent", Options{})
	if len(l) != 1 || l[0].String() != "testdata/absent: open zone file: no such file or directory [read]" {
		t.Errorf("%v", l)
	}
	_, l = File("testdata", Options{})
	if len(l) != 1 || l[0].String() != "testdata: open zone file: not a regular file [read]" {
		t.Errorf("%v", l)
	}
	_, l = Bytes("zone", nil, Options{})
	if len(l) != 1 || l[0].Code != "soa-missing" {
		t.Errorf("%v", l)
	}
	unsigned := []byte("example. 1 IN SOA . . 1 2 3 4 5\nexample. 1 IN NS ns.example.\n")
	r, l := Bytes("zone", unsigned, Options{})
	if len(l) != 1 || l[0].String() != "zone: example.: zone is not signed [not-signed]" || r.Signed {
		t.Errorf("%v", l)
	}
	if r, l = Bytes("zone", unsigned, Options{AllowUnsigned: true}); len(l) != 0 || r.Serial != 1 || r.Records != 2 {
		t.Errorf("%v %+v", l, r)
	}
	if _, l = Bytes("zone", unsigned, Options{AllowUnsigned: true, DS: []*dns.DS{{}}}); len(l) != 1 {
		t.Errorf("%v", l)
	}
	if _, l = Bytes("zone", unsigned, Options{AllowUnsigned: true, Apex: domain.MustParse("example.org")}); len(l) != 3 {
		t.Errorf("%v", l)
	}
}

// RFC 4034 §6.1 names, in the order that it gives.
func TestSettleOrder(t *testing.T) {
	want := []string{"example.", "a.example.", `yljkjljk.a.example.`, `Z.a.example.`, "zABC.a.EXAMPLE.", "z.example.", `\001.z.example.`, "*.z.example.", `\200.z.example.`}
	var text strings.Builder
	for _, i := range []int{5, 2, 8, 0, 7, 1, 6, 3, 4} {
		fmt.Fprintf(&text, "%s 1 IN A 192.0.2.1\n", want[i])
	}
	f := new(faults)
	z, err := loadLines(strings.NewReader(text.String()), 0, nil, f)
	if err != nil {
		t.Fatal(err)
	}
	z.settle(f)
	for i := range z.recs {
		if got := nameText(z.owner(i)); got != domain.MustParse(want[i]).String() {
			t.Errorf("%d: %s, want %s", i, got, want[i])
		}
	}
}
