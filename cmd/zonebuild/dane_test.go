package main

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// daneCase is a host of the lab with what is said of it.
type daneCase struct {
	host  string   // "ok" = ok.signed.lab
	args  []string // besides host and port
	lines []string // on stdout
	exit  int
	notes []string // on stderr, parts of lines
}

// daneWorld fills the lab: the matrix of cases that tools are known to differ in.
func daneWorld(t *testing.T) (*daneLab, []daneCase) {
	l := newDANELab(t)
	const server, mail, nobody = "127.0.0.2", "127.0.0.3", "127.0.0.9"
	signed := func(host string) string { return host + ".signed.lab" }
	plain := func(host string) *x509.Certificate { // a host with a certificate that is right in every way
		l.shows(signed(host), l.issue(signed(host), l.mid, l.ecKey(), nil), l.mid)
		return l.leaf[signed(host)]
	}
	var cases []daneCase
	add := func(host string, exit int, lines ...string) *daneCase {
		cases = append(cases, daneCase{host: host, exit: exit, lines: lines})
		return &cases[len(cases)-1]
	}
	const good = server + " dane-validated successfully"
	bad := func(reason string) string { return server + " did not dane-validate, because: " + reason }
	const none = "no matching DANE TLSA records [mismatch]"

	// What validates.
	c := plain("ok")
	l.host(signed("ok"), server, record(3, 1, 1, c))
	add("ok", 0, good)
	l.shows(signed("self"), l.issue(signed("self"), nil, l.ecKey(), nil))
	l.host(signed("self"), server, record(3, 1, 1, l.leaf[signed("self")]))
	add("self", 0, good)
	l.shows(signed("expired"), l.issue(signed("expired"), l.mid, l.ecKey(), func(c *x509.Certificate) {
		c.NotBefore, c.NotAfter = time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(2020, 2, 1, 0, 0, 0, 0, time.UTC)
	}), l.mid)
	l.host(signed("expired"), server, record(3, 1, 1, l.leaf[signed("expired")]))
	add("expired", 0, good).notes = []string{"the certificate expired on 2020-02-01; usage 3 does not mind"}
	l.shows(signed("wrongname"), l.issue("other.example", l.mid, l.ecKey(), nil), l.mid)
	l.host(signed("wrongname"), server, record(3, 1, 1, l.leaf[signed("wrongname")]))
	add("wrongname", 0, good).notes = []string{"the certificate does not name wrongname.signed.lab.; usage 3 does not ask for that"}
	cases = append(cases, daneCase{host: "wrongname", args: []string{"--ee-name-check"}, exit: 4, lines: []string{bad("the certificate does not name wrongname.signed.lab. [mismatch]")}})
	c = plain("wild")
	l.zone["signed.lab"] += "wild A " + server + "\n*._tcp.wild TLSA " + record(3, 1, 1, c) + "\n"
	add("wild", 0, good)
	c = plain("multi")
	l.host(signed("multi"), server, record(3, 1, 1, c), wrong(3, 1, 1))
	add("multi", 0, good).notes = []string{"note: 3 1 1 2b2b2b2b2b2b2b2b…: mismatch"}
	c = plain("tcname")
	l.zone["signed.lab"] += fmt.Sprintf("tcname A %s\n_%d._tcp.tcname CNAME shared\nshared TLSA %s\n", server, l.port, record(3, 1, 1, c))
	add("tcname", 0, good)
	l.zone["signed.lab"] += "alias CNAME ok\nalias2 CNAME alias\n"
	add("alias", 0, good)
	add("alias2", 0, good)
	plain("taint")
	l.host(signed("taint"), server, record(2, 1, 1, l.mid.cert))
	add("taint", 0, good)
	plain("tafull") // the anchor is not served, but stands in the record
	l.host(signed("tafull"), server, record(2, 0, 0, l.ca.cert))
	add("tafull", 0, good)
	plain("takey")
	l.host(signed("takey"), server, record(2, 1, 0, l.ca.cert))
	add("takey", 0, good)
	c = plain("pkixee")
	l.host(signed("pkixee"), server, record(1, 1, 1, c))
	add("pkixee", 0, good)
	plain("pkixta")
	l.host(signed("pkixta"), server, record(0, 1, 1, l.ca.cert))
	add("pkixta", 0, good)
	c = plain("full")
	l.host(signed("full"), server, record(3, 1, 0, c))
	add("full", 0, good)
	c = plain("sha512")
	l.host(signed("sha512"), server, record(3, 0, 2, c))
	add("sha512", 0, good)
	c = plain("agile")
	l.host(signed("agile"), server, wrong(3, 1, 1), record(3, 1, 2, c))
	add("agile", 0, good).notes = []string{"ignored: a record with SHA-512 stands beside it (RFC 7671 §9)"}

	c = plain("kinds")
	l.host(signed("kinds"), server, record(3, 1, 1, c), wrong(3, 0, 1))
	add("kinds", 0, good).notes = []string{"note: no 3 0 1 record fits: clients that know no other fail (RFC 7671 §8)"}

	// What does not.
	plain("mismatch")
	l.host(signed("mismatch"), server, wrong(3, 1, 1))
	add("mismatch", 4, bad(none))
	c = plain("digest")
	l.host(signed("digest"), server, record(3, 1, 1, c), wrong(3, 1, 2))
	add("digest", 4, bad(none))
	plain("ta")
	l.host(signed("ta"), server, record(2, 1, 1, l.ca.cert))
	add("ta", 4, bad(none))
	c = plain("taleaf") // usage 2 names an anchor, never the server itself
	l.host(signed("taleaf"), server, record(2, 1, 1, c))
	add("taleaf", 4, bad(none))
	l.shows(signed("taname"), l.issue("other.example", l.mid, l.ecKey(), nil), l.mid)
	l.host(signed("taname"), server, record(2, 1, 1, l.mid.cert))
	add("taname", 4, bad("the certificate does not name taname.signed.lab. [mismatch]"))
	plain("unusable")
	l.host(signed("unusable"), server, "4 1 1 "+strings.Repeat("22", 32))
	add("unusable", 4, bad("no client can use any of the TLSA records: unknown certificate usage 4 [unusable]"))
	l.shows(signed("pkixbad"), l.issue(signed("pkixbad"), nil, l.ecKey(), nil))
	l.host(signed("pkixbad"), server, record(1, 1, 1, l.leaf[signed("pkixbad")]))
	add("pkixbad", 4, bad("x509: certificate signed by unknown authority [mismatch]"))
	plain("notlsa")
	l.host(signed("notlsa"), server)
	add("notlsa", 4, bad(fmt.Sprintf("there are no TLSA records of _%d._tcp.notlsa.signed.lab.: … [no-tlsa]", l.port)))
	add("nosuch", 4, "nosuch.signed.lab. did not dane-validate, because: nosuch.signed.lab. has no address: … [no-address]")

	// What is not secure.
	l.shows("host.unsigned.lab", l.issue("host.unsigned.lab", l.mid, l.ecKey(), nil), l.mid)
	l.host("host.unsigned.lab", server, record(3, 1, 1, l.leaf["host.unsigned.lab"]))
	add("host.unsigned.lab", 4, bad("the addresses of host.unsigned.lab. are insecure: … [insecure]"))
	l.zone["unsigned.lab"] += fmt.Sprintf("half A %s\n_%d._tcp.half CNAME shared.signed.lab.\n", server, l.port)
	l.certs["half.unsigned.lab"] = l.certs[signed("tcname")] // its addresses are insecure, its TLSA records are in a signed zone
	add("half.unsigned.lab", 4, bad("the addresses of half.unsigned.lab. are insecure: … [insecure]"))
	c = plain("tlsaout")
	l.zone["signed.lab"] += fmt.Sprintf("tlsaout A %s\n_%d._tcp.tlsaout CNAME tlsa.unsigned.lab.\n", server, l.port)
	l.zone["unsigned.lab"] += "tlsa TLSA " + record(3, 1, 1, c) + "\n"
	add("tlsaout", 4, bad(fmt.Sprintf("the TLSA records of _%d._tcp.tlsaout.signed.lab. are insecure: … [insecure]", l.port)))
	c = plain("hop") // the way to the address is insecure: the TLSA records of the name itself count
	l.zone["signed.lab"] += "hop CNAME host.unsigned.lab.\n"
	l.tlsa(signed("hop"), record(3, 1, 1, c))
	add("hop", 0, good)
	plain("hopless") // and those of the insecure target do not
	l.zone["signed.lab"] += "hopless CNAME host.unsigned.lab.\n"
	add("hopless", 4, bad(fmt.Sprintf("there are no TLSA records of _%d._tcp.hopless.signed.lab.: … [no-tlsa]", l.port)))
	l.host("host.bogus.lab", server, wrong(3, 1, 1))
	add("host.bogus.lab", 4, "host.bogus.lab. did not dane-validate, because: A records of host.bogus.lab.: … [bogus]")
	l.host("tlsa.bogus.lab", server, wrong(3, 1, 1))
	add("tlsa.bogus.lab", 4, bad(fmt.Sprintf("TLSA records of _%d._tcp.tlsa.bogus.lab.: … [bogus]", l.port)))
	l.host("host.stripped.lab", server)
	add("host.stripped.lab", 4, bad(fmt.Sprintf("TLSA records of _%d._tcp.host.stripped.lab.: … [bogus]", l.port)),
		"host.stripped.lab. did not dane-validate, because: AAAA records of host.stripped.lab.: … [bogus]")

	// Who is not there, or cannot be asked.
	c = plain("two")
	l.host(signed("two"), server, record(3, 1, 1, c))
	l.host(signed("two"), nobody)
	add("two", 4, good, nobody+" did not dane-validate, because: unreachable: connection refused [unreachable]")
	l.host(signed("refuse"), nobody, wrong(3, 1, 1))
	add("refuse", 1, nobody+" did not dane-validate, because: unreachable: connection refused [unreachable]")
	c = plain("noroute")
	l.host(signed("noroute"), server, record(3, 1, 1, c))
	l.host(signed("noroute"), "255.255.255.255")
	const untested = "255.255.255.255 did not dane-validate, because: no route: network is unreachable [untested]"
	add("noroute", 0, good, untested)
	l.host(signed("nowhere"), "255.255.255.255", record(3, 1, 1, c))
	add("nowhere", 1, untested)
	c = plain("smtp")
	l.host(signed("smtp"), mail, record(3, 1, 1, c))
	add("smtp", 1, mail+" did not dane-validate, because: protocol error: the server does not speak TLS but says \"220 lab ready\\r\\n… [no-handshake]")
	cases = append(cases, daneCase{host: "smtp", args: []string{"--starttls", "smtp"}, lines: []string{mail + " dane-validated successfully"}})

	// Keys.
	old := []string{"-cipher", "ALL:@SECLEVEL=0"}
	for _, k := range []struct {
		host, addr      string
		request, server []string
		exit            int
		line, note      string
	}{
		{"ed448", "127.0.0.11", []string{"-newkey", "ed448"}, nil, 1, "did not dane-validate, because: unsupported key: Ed448 [unsupported]", "was shown, but nothing proves that the server has its key"},
		{"secp256k1", "127.0.0.12", []string{"-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:secp256k1"}, nil, 1, "did not dane-validate, because: unsupported key: secp256k1 [unsupported]", "was shown, but nothing proves"},
		{"negative", "127.0.0.13", []string{"-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-set_serial", "-5"}, nil, 0, "dane-validated successfully", ""},
		{"tls10", "127.0.0.14", []string{"-newkey", "rsa:2048"}, append([]string{"-tls1"}, old...), 0, "dane-validated successfully", "the server speaks nothing newer than TLS 1.0"},
		{"rsakex", "127.0.0.15", []string{"-newkey", "rsa:2048"}, []string{"-tls1_2", "-cipher", "AES128-SHA"}, 0, "dane-validated successfully", ""},
	} {
		c := l.openssl(k.addr, append(k.request, "-addext", "subjectAltName=DNS:"+signed(k.host)), k.server)
		l.host(signed(k.host), k.addr, record(3, 1, 1, c))
		l.leaf[signed(k.host)] = c
		add(k.host, k.exit, k.addr+" "+k.line).notes = []string{k.note}
	}
	_, edKey, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	l.shows(signed("ed25519"), l.issue(signed("ed25519"), l.mid, edKey, nil), l.mid)
	l.host(signed("ed25519"), server, record(3, 1, 1, l.leaf[signed("ed25519")]))
	add("ed25519", 0, good)
	both := func(host string) (ec, old *issuer) {
		ec, old = l.issue(signed(host), l.mid, l.ecKey(), nil), l.issue(signed(host), l.mid, rsaKey(t), nil)
		l.shows(signed(host), ec, l.mid)
		l.shows(signed(host), old, l.mid)
		return ec, old
	}
	ec, rsa := both("both")
	l.host(signed("both"), server, record(3, 1, 1, ec.cert), record(3, 1, 1, rsa.cert))
	add("both", 0, good)
	cases = append(cases, daneCase{host: "both", args: []string{"--key-types"}, lines: []string{good}, notes: []string{"RSA key: validated", "ECDSA key: validated"}})
	ec, _ = both("oneofboth")
	l.host(signed("oneofboth"), server, record(3, 1, 1, ec.cert))
	add("oneofboth", 0, good)
	cases = append(cases, daneCase{host: "oneofboth", args: []string{"--key-types"}, exit: 4, lines: []string{bad("with its RSA key: " + none)}})
	return l, cases
}

// matches compares a line with one in which … stands for anything.
func matches(line, want string) bool {
	before, after, any := strings.Cut(want, "…")
	if !any {
		return line == want
	}
	return len(line) > len(before)+len(after) && strings.HasPrefix(line, before) && strings.HasSuffix(line, after)
}

// TestVerifyDANE: every case with its lines and exit status.
func TestVerifyDANE(t *testing.T) {
	l, cases := daneWorld(t)
	l.start()
	for _, c := range cases {
		t.Run(c.title(), func(t *testing.T) {
			code, out, said := invoke(t, l.args(append([]string{c.full(), fmt.Sprint(l.port)}, c.args...)...)...)
			lines := sorted(out)
			slices.Sort(c.lines)
			if code != c.exit || !slices.EqualFunc(lines, c.lines, matches) {
				t.Errorf("exit %d, want %d\n%s\nwant %q\n%s", code, c.exit, out, c.lines, said)
			}
			for _, n := range c.notes {
				if !strings.Contains(said, n) {
					t.Errorf("no %q in\n%s", n, said)
				}
			}
		})
	}
}

func (c *daneCase) full() string {
	if strings.HasSuffix(c.host, ".lab") {
		return c.host
	}
	return c.host + ".signed.lab"
}
