package zone

import (
	"bytes"
	"strings"
	"testing"
	"testing/fstest"

	"zonebuild/internal/diag"
	"zonebuild/internal/domain"
)

const soaText = `$TTL 3600
@ IN SOA ns1 hostmaster 1 7200 3600 1209600 300
@ NS ns1
ns1 A 192.0.2.1
`

// compile compiles primary text beside soaText.
func compile(t *testing.T, primary string) (*Zone, diag.List) {
	t.Helper()
	return compileBy(t, Rules{}, soaText, primary)
}

func compileBy(t *testing.T, r Rules, soaText, primary string) (*Zone, diag.List) {
	t.Helper()
	apex := domain.MustParse("example.org")
	tree := fstest.MapFS{"inc/a": {Data: []byte("inc A 192.0.2.9\n")}, "inc/none": {}, "inc/loop": {Data: []byte("$INCLUDE inc/loop\n")}}
	s, faults := Parse("soa/example.org", []byte(soaText), ParseOptions{Apex: apex})
	p, more := Parse("primary/example.org", []byte(primary), ParseOptions{Apex: apex, Include: tree, Generate: true})
	faults = append(faults, more...)
	z, more := r.Compile(apex, s, p)
	faults = append(faults, more...)
	faults.Sort()
	if faults.HasErrors() {
		return nil, faults
	}
	return z, faults
}

func lines(l diag.List) string {
	var b strings.Builder
	for _, d := range l {
		b.WriteString(strings.ReplaceAll(d.String(), "primary/example.org:", "p:") + "\n")
	}
	return b.String()
}

func TestFaults(t *testing.T) {
	tests := []struct{ name, src, want string }{
		{"clean", "www A 192.0.2.2\n", ""},
		{"all at once", "a A 1.2.3\nb AAAA ::g\nc A 192.0.2.1\nd TXT\n", `p:1:5: a.example.org.: A: "1.2.3" is not an IPv4 address [rdata]
p:2:8: b.example.org.: AAAA: "::g" is not an IPv6 address [rdata]
p:4:1: d.example.org.: TXT: no rdata [rdata]
`},
		{"second soa", "@ SOA a b 1 2 3 4 5\n", "soa/example.org:2:1: example.org.: second SOA [soa-second] (the first at p:1:1)\n"},
		{"cname", "w CNAME ns1\nw A 192.0.2.1\n", "p:1:1: w.example.org.: CNAME and other data [cname-other-data] (other data at p:2:1)\n"},
		{"two cnames", "w CNAME ns1\nw CNAME WWW.example.net.\n", "p:2:1: w.example.org.: second CNAME [cname-second] (the first at p:1:1)\n"},
		{"out of zone", "www.example.com. A 192.0.2.1\n", "p:1:1: www.example.com.: owner is outside the zone example.org. [out-of-zone]\n"},
		{"class", "a CH TXT x\na CLASS3 TXT x\na CLASS1 TXT y\n", "p:1:3: class \"CH\": only IN is compiled [class]\np:2:3: class \"CLASS3\": only IN is compiled [class]\n"},
		{"dnssec", "a RRSIG A 13 2 1 1 1 1 a. aa==\n@ NSEC a. A\n", "p:1:1: a.example.org.: RRSIG in the input: the signer makes it [dnssec-in-input]\np:2:1: example.org.: NSEC in the input: the signer makes it [dnssec-in-input]\n"},
		{"ttl", "a 2147483648 A 192.0.2.1\n$TTL 1x\n", "p:1:3: TTL \"2147483648\" is more than 2147483647 seconds [ttl-range]\np:2:6: \"1x\" is not a time in seconds [ttl-range]\n"},
		{"ttl mixed", "a 300 A 192.0.2.1\na 60 A 192.0.2.2\n", "p:1:1: warning: a.example.org.: the A records have different TTLs, all get 60 [ttl-mixed] (the lowest TTL at p:2:1)\n"},
		{"duplicate", "A A 192.0.2.1\na A 192.0.2.1\n", "p:2:1: warning: a.example.org.: A record stands twice, one is dropped [duplicate] (the other at p:1:1)\n"},
		{"asterisk", "*foo A 192.0.2.1\n*.ok A 192.0.2.1\n", "p:1:1: *foo.example.org.: the label begins with an asterisk but is no wildcard [wildcard-like]\n"},
		{"digests", "_443._tcp TLSA 3 1 1 00ff\nh SSHFP 4 2 aa\nd NS ns1\nd DS 1 13 2 00\n", `p:1:22: _443._tcp.example.org.: TLSA: data of 2 octets, matching type 1 needs 32 [rdata]
p:2:13: h.example.org.: SSHFP: data of 1 octets, fingerprint type 2 needs 32 [rdata]
p:4:13: d.example.org.: DS: data of 1 octets, digest type 2 needs 32 [rdata]
`},
		{"ds", "@ DS 1 13 1 0000000000000000000000000000000000000000\nx DS 1 13 1 0000000000000000000000000000000000000000\n", "p:1:1: example.org.: DS at the apex: it belongs in the parent zone [ds-at-apex]\np:2:1: x.example.org.: DS without NS [ds-without-ns]\n"},
		{"blank owner", " A 192.0.2.1\n", "p:1:2: no owner: the line begins with white space and no record stands before it [owner-missing]\n"},
		{"unclosed parenthesis", "a TXT ( \"x\"\nb A 192.0.2.1\nc A x\n", "p:1:7: parenthesis is never closed [parenthesis]\np:3:5: c.example.org.: A: \"x\" is not an IPv4 address [rdata]\n"},
		{"unclosed quote", "a TXT \"x\nb A x\n", "p:1:7: quote is not closed on its line [quote]\np:2:5: b.example.org.: A: \"x\" is not an IPv4 address [rdata]\n"},
		{"control", "a TXT \"x\x01\"\r\nb\x00 A 192.0.2.1\n", "p:1:9: control byte 0x01: write it as \\001 [control-byte]\np:2:2: control byte 0x00: write it as \\000 inside quotes [control-byte]\n"},
		{"label", strings.Repeat("a", 64) + " A 192.0.2.1\n", "p:1:1: owner \"" + strings.Repeat("a", 37) + "...\": label longer than 63 octets [name]\n"},
		{"utf-8 owner", "caf\xc3\xa9 A 192.0.2.1\n", "p:1:1: owner \"café\": byte that needs an escape (write a non-ASCII name as A-labels) [name]\n"},
		{"long text", "a TXT \"" + strings.Repeat("x", 256) + "\"\n", "p:1:7: a.example.org.: TXT: text of 256 octets: a character-string holds at most 255, split it [rdata]\n"},
		{"include outside", "$INCLUDE ../x\n$INCLUDE /etc/passwd\n$INCLUDE nosuch\n", `p:1:10: "../x" is not a path inside the tree (no leading slash, no ..) [include]
p:2:10: "/etc/passwd" is not a path inside the tree (no leading slash, no ..) [include]
p:3:10: include "nosuch": file does not exist [include]
`},
		{"include loop", "$INCLUDE inc/loop\n", "inc/loop:1:1: $INCLUDE is nested more than 7 deep [include]\n"},
		{"include flood", strings.Repeat("$INCLUDE inc/none\n", 4099), "p:4097:1: the fragment includes more than 4096 files [include]\n"},
		{"hidden beside a fault", "d NS ns1\nx.d TXT y\nbad A x\n", `p:2:1: x.d.example.org.: the delegation d.example.org. hides this TXT record [occluded] (the delegation at p:1:1)
p:3:7: bad.example.org.: A: "x" is not an IPv4 address [rdata]
`},
		{"generate", "$GENERATE 1-3 h$ A 192.0.2.${10,3}\n$GENERATE 1-100000 x$ A 192.0.2.1\n$GENERATE 3-1 x$ A 192.0.2.1\n", `p:1:1: h1.example.org.: A: "192.0.2.011" is not an IPv4 address [rdata]
p:2:11: range "1-100000" makes 100000 records, at most 65536 are allowed [generate]
p:3:11: range "3-1": it is empty [generate]
`},
		{"dname", "x DNAME y\na.x A 192.0.2.1\n", "p:2:1: a.x.example.org.: below a DNAME [below-dname] (the DNAME at p:1:1)\n"},
		{"trailing", "a A 192.0.2.1 192.0.2.2\n", "p:1:15: a.example.org.: A: unexpected \"192.0.2.2\" after the rdata [rdata]\n"},
		{"type", "a FOO bar\na\n", "p:1:3: unknown type \"FOO\" [type]\np:2:1: type is missing [type]\n"},
		{"glued", "a TXT \"x\"b A 192.0.2.1\n$FOO\n", "p:1:10: white space is missing after the quote [quote]\np:2:1: unknown directive \"$FOO\" [directive]\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, faults := compile(t, tt.src)
			if got := lines(faults); got != tt.want {
				t.Errorf("got\n%swant\n%s", got, tt.want)
			}
		})
	}
}

// TestRelay: the library drops the relay of an AMTRELAY with discovery. Nobody
// must publish less than was written.
func TestRelay(t *testing.T) {
	_, faults := compile(t, "a AMTRELAY 10 1 1 192.0.2.1\n")
	if got, want := lines(faults), "p:1:12: a.example.org.: AMTRELAY: bad AMTRELAY rdata, or a form that only \\# LENGTH HEX can give (RFC 3597) [rdata]\n"; got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	z, faults := compile(t, "a AMTRELAY \\# 6 0a81c0000201\nb AMTRELAY 10 0 1 192.0.2.1\n")
	if len(faults) > 0 {
		t.Fatal(lines(faults))
	}
	var b bytes.Buffer
	if _, err := z.WriteTo(&b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"\tAMTRELAY\t\\# 6 0a81c0000201\n", "\tAMTRELAY\t10 0 1 192.0.2.1\n"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("%q is not in\n%s", want, &b)
		}
	}
}

func TestWrite(t *testing.T) {
	z, faults := compile(t, `www	A 192.0.2.2
	AAAA 2001:DB8::1
*.apps 60 CNAME WWW
$ORIGIN sub
@ MX 10 Mail.example.net.
$ORIGIN .
txt.example.org TXT "a;b" c\ d "\"q\" \200"
h.example.org CAA 0 issue "ca.example; x=y"
u.example.org TYPE65280 \# 3 abcdef
g.example.org A \# 4 C0000201
s.example.org HTTPS 1 . alpn="h2,h3" ipv4hint=192.0.2.1
$INCLUDE inc/a example.org.
$GENERATE 1-2 p${0,2,d}.example.org A 192.0.2.$
`)
	if len(faults) > 0 {
		t.Fatal(lines(faults))
	}
	var b bytes.Buffer
	if _, err := z.WriteTo(&b); err != nil {
		t.Fatal(err)
	}
	want := `example.org.	3600	IN	SOA	ns1.example.org. hostmaster.example.org. 1 7200 3600 1209600 300
example.org.	3600	IN	NS	ns1.example.org.
*.apps.example.org.	60	IN	CNAME	www.example.org.
g.example.org.	3600	IN	A	192.0.2.1
h.example.org.	3600	IN	CAA	0 issue "ca.example; x=y"
inc.example.org.	3600	IN	A	192.0.2.9
ns1.example.org.	3600	IN	A	192.0.2.1
p01.example.org.	3600	IN	A	192.0.2.1
p02.example.org.	3600	IN	A	192.0.2.2
s.example.org.	3600	IN	HTTPS	1 . alpn="h2,h3" ipv4hint="192.0.2.1"
sub.example.org.	3600	IN	MX	10 mail.example.net.
txt.example.org.	3600	IN	TXT	"a;b" "c d" "\"q\" \200"
u.example.org.	3600	IN	TYPE65280	\# 3 abcdef
www.example.org.	3600	IN	A	192.0.2.2
www.example.org.	3600	IN	AAAA	2001:db8::1
`
	again, faults := Parse("again", b.Bytes(), ParseOptions{Apex: z.Apex()})
	if len(faults) > 0 {
		t.Errorf("read back: %s", lines(faults))
	}
	if back, ok := FromRecords(z.Apex(), again.Records.Sorted()); !ok || !Equal(back, z) {
		t.Error("what was written is not what is read back")
	}
	if b.String() != want {
		t.Errorf("got\n%swant\n%s", &b, want)
	}
}

func TestLint(t *testing.T) {
	tests := []struct{ name, src, want string }{
		{"wildcard NS", "*.x NS ns1\n*.y DS 1 13 1 0000000000000000000000000000000000000000\n", `p:1:1: *.x.example.org.: NS at a wildcard: no delegation is made of it [wildcard-delegation]
p:2:1: *.y.example.org.: DS without NS [ds-without-ns]
p:2:1: *.y.example.org.: DS at a wildcard: no delegation is made of it [wildcard-delegation]
`},
		{"large", "$GENERATE 1-9000 a TXT \"${0,5,d} 0123456789\"\n$GENERATE 1-2000 b AAAA 2001:db8::${0,1,x}\n", "p:1:1: a.example.org.: the 9000 TXT records need a message of 261031 octets, at most 65535 are possible [rrset-too-large]\n"},
		{"refresh", "a 604800 A 192.0.2.1\nb 604799 A 192.0.2.1\nc 86400 A 192.0.2.1\n", `p:1:1: a.example.org.: TTL 604800 is not below the policy's refresh of 604800 seconds: a cache would keep expired signatures [ttl-refresh]
p:2:1: warning: b.example.org.: TTL 604799 is more than the policy's max-ttl of 86400 seconds [ttl-above-max]
`},
		{"glue", "sub NS ns.sub\n@ NS ns2\n@ NS ns.sub\nother NS ns.sub\nother NS www\nwww TXT x\nalias CNAME ns1\nthird NS alias\n", `p:1:1: sub.example.org.: NS ns.sub.example.org. is below this delegation and has no address here [glue-missing]
p:2:1: example.org.: NS ns2.example.org. is in this zone and has no address [glue-missing]
p:3:1: example.org.: NS ns.sub.example.org. is below the delegation sub.example.org. and has no address here [glue-missing]
p:4:1: warning: other.example.org.: NS ns.sub.example.org. is below the delegation sub.example.org. and has no address here: it is found only while that one works [glue-sibling]
p:5:1: warning: other.example.org.: NS www.example.org.: the name has no address [target-missing]
p:8:1: warning: third.example.org.: NS alias.example.org. is an alias: write the name that it stands for [target-cname]
`},
		{"wildcard serves", "@ NS a.w\n*.w A 192.0.2.1\n@ MX 10 b.w\nd CNAME c.w\n*.v CNAME ns1\n@ MX 20 c.v\n", "p:6:1: warning: example.org.: MX c.v.example.org. is an alias: write the name that it stands for [target-cname]\n"},
		{"occluded", "sub NS ns.sub\nns.sub A 192.0.2.1\nns.sub TXT x\nsub TXT y\nsub A 192.0.2.1\nwww.sub A 192.0.2.1\na.b.sub NS ns1\nself NS self\nself A 192.0.2.9\nself DS 1 13 1 0000000000000000000000000000000000000000\n", `p:3:1: ns.sub.example.org.: the delegation sub.example.org. hides this TXT record [occluded] (the delegation at p:1:1)
p:4:1: sub.example.org.: the delegation sub.example.org. hides this TXT record [occluded] (the delegation at p:1:1)
p:5:1: sub.example.org.: the delegation sub.example.org. hides this A record [occluded] (the delegation at p:1:1)
p:6:1: www.sub.example.org.: the delegation sub.example.org. hides this A record [occluded] (the delegation at p:1:1)
p:7:1: a.b.sub.example.org.: the delegation sub.example.org. hides this NS record [occluded] (the delegation at p:1:1)
`},
		{"dangling", `a CNAME nosuch
b MX 10 nosuch
c SRV 0 0 1 nosuch
d HTTPS 1 NoSuch
e NS nosuch
f CNAME ent
x.ent A 192.0.2.1
g MX 0 .
h SRV 0 0 0 .
i HTTPS 1 . alpn=h2
j CNAME anywhere.example.net.
k CNAME below.e
l DNAME ns1
m CNAME under.l
n SVCB 0 text
text TXT x
`, `p:1:1: warning: a.example.org.: CNAME nosuch.example.org.: no such name in this zone [target-missing]
p:2:1: warning: b.example.org.: MX nosuch.example.org.: no such name in this zone [target-missing]
p:3:1: warning: c.example.org.: SRV nosuch.example.org.: no such name in this zone [target-missing]
p:4:1: warning: d.example.org.: HTTPS nosuch.example.org.: no such name in this zone [target-missing]
p:5:1: warning: e.example.org.: NS nosuch.example.org.: no such name in this zone [target-missing]
p:6:1: warning: f.example.org.: CNAME ent.example.org.: the name has no records [target-missing]
p:15:1: warning: n.example.org.: SVCB text.example.org.: the name has no address [target-missing]
`},
		{"alias", "a CNAME ns1\n@ MX 10 a\nb SRV 0 0 1 a\n", "p:2:1: warning: example.org.: MX a.example.org. is an alias: write the name that it stands for [target-cname]\n"},
		{"twice", "www.example.org A 192.0.2.1\nb CNAME ns1.example.org\n@ NS ns1.example.org.example.org.\nxexample.org A 192.0.2.1\n", `p:1:1: warning: www.example.org.example.org.: the name holds the apex twice: is a final dot missing? [apex-repeated]
p:2:1: warning: b.example.org.: CNAME ns1.example.org.example.org.: the name holds the apex twice: is a final dot missing? [apex-repeated]
p:3:1: warning: example.org.: NS ns1.example.org.example.org.: the name holds the apex twice: is a final dot missing? [apex-repeated]
p:3:1: example.org.: NS ns1.example.org.example.org. is in this zone and has no address [glue-missing]
`},
		{"hidden wildcard", "* A 192.0.2.1\n_25._tcp.mail TLSA 3 1 1 0000000000000000000000000000000000000000000000000000000000000000\n_acme-challenge.www 60 TXT x\nhas A 192.0.2.1\n_acme-challenge.has TXT x\n_443._tcp.mail TLSA 3 1 1 0000000000000000000000000000000000000000000000000000000000000000\n", `p:2:1: warning: _25._tcp.mail.example.org.: makes mail.example.org. exist, so that the wildcard *.example.org. no longer answers for it [wildcard-hidden] (the wildcard at p:1:1)
p:3:1: warning: _acme-challenge.www.example.org.: makes www.example.org. exist, so that the wildcard *.example.org. no longer answers for it [wildcard-hidden] (the wildcard at p:1:1)
`},
		{"spf", "@ TXT \"v=spf1 ip4:192.0.2.0/24 \" \"-all\"\n@ TXT \"v=spf1 -all\"\nb TXT \"other\" \"text\"\n", "p:1:1: warning: example.org.: the SPF text of 28 octets is split into strings, which are joined without a space [spf-split]\n"},
		{"negative", "_acme-challenge.www 60 TXT x\nwww A 192.0.2.1\n", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, faults := compileBy(t, Rules{Refresh: 604800, MaxTTL: 86400}, strings.Replace(soaText, "1209600", "518400", 1), tt.src)
			if got := lines(faults); got != tt.want {
				t.Errorf("got\n%swant\n%s", got, tt.want)
			}
		})
	}
	_, faults := compileBy(t, Rules{Refresh: 604800, MaxTTL: 86400}, strings.Replace(soaText, "1209600 300", "518401 301", 1), "_acme-challenge TXT x\n")
	want := `soa/example.org:2:1: warning: example.org.: the negative TTL of 301 seconds (MINIMUM, or the SOA's own TTL) is more than 300: challenges of dns-01 are seen late [negative-ttl]
soa/example.org:2:1: warning: example.org.: EXPIRE 518401 is more than refresh minus max-ttl (518400 seconds): a secondary would serve expired signatures [soa-expire]
`
	if got := lines(faults); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}
