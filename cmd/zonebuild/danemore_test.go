package main

import (
	"crypto/tls"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"zonebuild/internal/cli"
	"zonebuild/internal/dane"
)

// run is one call of the program and what is wanted of it.
type daneRun struct {
	args  []string
	exit  int
	lines []string // on stdout
	notes []string // parts of stderr
}

func (r *daneRun) check(t *testing.T) {
	t.Helper()
	code, out, said := invoke(t, r.args...)
	slices.Sort(r.lines)
	if code != r.exit || !slices.EqualFunc(sorted(out), r.lines, matches) {
		t.Errorf("%s: exit %d, want %d\n%s\nwant %q\n%s", strings.Join(r.args, " "), code, r.exit, out, r.lines, said)
	}
	for _, n := range r.notes {
		if !strings.Contains(said, n) {
			t.Errorf("%s: no %q in\n%s", strings.Join(r.args, " "), n, said)
		}
	}
}

// TestVerifyDANESets: mail servers and services of a domain, a zone that is not
// published yet, a resolver that is believed, and the forms of the report.
func TestVerifyDANESets(t *testing.T) {
	l := newDANELab(t)
	const tlsOnly, mail, nobody = "127.0.0.2", "127.0.0.3", "127.0.0.9"
	for _, host := range []string{"mx1", "mx2", "im", "soon"} {
		l.shows(host+".signed.lab", l.issue(host+".signed.lab", l.mid, l.ecKey(), nil), l.mid)
	}
	rec := func(host string) string { return record(3, 1, 1, l.leaf[host+".signed.lab"]) }
	l.host("mx1.signed.lab", mail, rec("mx1"))
	l.host("mx2.signed.lab", mail, rec("mx2"), wrong(3, 1, 1))
	l.host("mx9.signed.lab", nobody, wrong(3, 1, 1))
	l.host("im.signed.lab", tlsOnly, rec("im"))
	l.host("ta.signed.lab", tlsOnly, record(2, 1, 1, l.mid.cert))
	l.certs["ta.signed.lab"] = l.certs["im.signed.lab"]
	l.host("late.signed.lab", tlsOnly, record(2, 1, 1, l.mid.cert))
	l.shows("late.signed.lab", l.issue("late.signed.lab", l.mid, l.ecKey(), nil), l.mid)
	l.zone["signed.lab"] += fmt.Sprintf("@ MX 10 mx1\n@ MX 20 mx2\ndown MX 10 mx1\ndown MX 20 mx9\nnull MX 0 .\n_imaps._tcp SRV 0 0 %d im\n", l.port)
	l.zone["unsigned.lab"] += "@ MX 10 mx1.signed.lab.\n"
	l.start()
	port := fmt.Sprint(l.port)
	const good = " dane-validated successfully"

	// What is not published yet: another record for the host.
	soon := filepath.Join(l.dir, "soon", "signed.lab")
	write(t, soon, "$TTL 60\n@ SOA ns hostmaster 2 1h 1h 4w 1h\n@ NS ns\nsoon A "+tlsOnly+"\n_"+port+"._tcp.soon TLSA "+rec("soon")+
		"\n_"+port+"._tcp.im TLSA "+wrong(3, 1, 1)+"\nim A "+tlsOnly+"\n@ MX 10 mx1.elsewhere.lab.\n")

	for _, r := range []daneRun{
		{l.args("--mx", "signed.lab", port), 0, []string{mail + good, mail + good}, []string{"mx2.signed.lab. " + port + "/tcp (127.0.0.3): note: 3 1 1 2b2b2b2b2b2b2b2b…: mismatch"}},
		{l.args("--mx", "down.signed.lab", port), 4, []string{mail + good, nobody + " did not dane-validate, because: unreachable: connection refused [unreachable]"}, nil},
		{l.args("--mx", "null.signed.lab", port), 4, []string{"null.signed.lab. did not dane-validate, because: null.signed.lab. takes no mail (RFC 7505) [no-address]"}, nil},
		{l.args("--mx", "unsigned.lab", port), 4, []string{"unsigned.lab. did not dane-validate, because: the MX records of unsigned.lab. are insecure: … [insecure]"}, nil},
		{l.args("--srv", "imaps", "signed.lab"), 0, []string{tlsOnly + good}, nil},
		{l.args("--srv", "_imaps._tcp", "signed.lab"), 0, []string{tlsOnly + good}, nil},
		{l.args("--srv", "ldap", "signed.lab"), 4, []string{"signed.lab. did not dane-validate, because: there are no SRV records of _ldap._tcp.signed.lab.: … [no-address]"}, nil},

		{l.args("soon.signed.lab", port), 4, []string{"soon.signed.lab. did not dane-validate, because: soon.signed.lab. has no address: … [no-address]"}, nil},
		{l.args("--zone", soon, "soon.signed.lab", port), 0, []string{tlsOnly + good}, nil},
		{l.args("im.signed.lab", port), 0, []string{tlsOnly + good}, nil},
		{l.args("--zone", soon, "im.signed.lab", port), 4, []string{tlsOnly + " did not dane-validate, because: no matching DANE TLSA records [mismatch]"}, nil},
		{l.args("-C", filepath.Dir(soon), "--zone", "signed.lab", "soon.signed.lab", port), 0, []string{tlsOnly + good}, nil},

		{[]string{"verify-dane", "--resolver", l.resolver, "--trust-ad", "im.signed.lab", port}, 0, []string{tlsOnly + good}, nil},
		{[]string{"verify-dane", "--resolver", l.resolver, "--trust-ad", "host.unsigned.lab", port}, 4, []string{"host.unsigned.lab. did not dane-validate, because: the addresses of host.unsigned.lab. are insecure: the resolver did not set AD [insecure]"}, nil},
		{[]string{"verify-dane", "--resolver", l.resolver, "im.signed.lab", port}, 4, []string{"im.signed.lab. did not dane-validate, because: A records of im.signed.lab.: … [bogus]", "im.signed.lab. did not dane-validate, because: AAAA records of im.signed.lab.: … [bogus]"}, nil}, // this root is not the root
		{l.args("-6", "im.signed.lab", port), 4, []string{"im.signed.lab. did not dane-validate, because: im.signed.lab. has no IPv6 address: … [no-address]"}, nil},
		{l.args("--sni", "im.signed.lab", "ta.signed.lab", port), 4, []string{tlsOnly + " did not dane-validate, because: the certificate does not name ta.signed.lab. [mismatch]"}, nil},
		{l.args("late.signed.lab", port), 0, []string{tlsOnly + good}, nil},
		{l.args("--at", "+11d", "late.signed.lab", port), 4, []string{tlsOnly + " did not dane-validate, because: a certificate of the chain is not valid on … [mismatch]"}, nil},
		{l.args("--at", "+20d", "im.signed.lab", port), 0, []string{tlsOnly + good}, []string{"the certificate expired on ", "im.signed.lab. " + port + "/tcp: note: the first of the signatures in DNS expires on "}},
		{l.args("--now", "2020-01-01T00:00:00Z", "im.signed.lab", port), 4, []string{"im.signed.lab. did not dane-validate, because: A records of im.signed.lab.: … [bogus]", "im.signed.lab. did not dane-validate, because: AAAA records of im.signed.lab.: … [bogus]"}, nil},
		{l.args("im.signed.lab", port+"/udp"), 4, []string{"127.0.0.2 did not dane-validate, because: there are no TLSA records of _" + port + "._udp.im.signed.lab.: … [no-tlsa]"}, nil},
		{l.args("--verbose", "im.signed.lab", port), 0, []string{tlsOnly + good}, []string{"im.signed.lab. " + port + "/tcp (127.0.0.2): 3 1 1 ", " at depth 0, TLS 1.3, P-256 key"}},
		{l.args("-q", "mx2.signed.lab", port, "--starttls", "smtp"), 0, []string{mail + good}, nil},
		{[]string{"verify-dane", "--resolver", "127.0.0.9", "--timeout", "1s", "im.signed.lab", port}, 1, []string{"im.signed.lab. did not dane-validate, because: A records of im.signed.lab.: … [dns-failure]", "im.signed.lab. did not dane-validate, because: AAAA records of im.signed.lab.: … [dns-failure]"}, nil},

		{l.args("--nagios", "im.signed.lab", port), 0, []string{"DANE OK - 1 of 1 address validated | addresses=1 validated=1 left=…s"}, nil},
		{l.args("--nagios", "--mx", "down.signed.lab", port), 1, []string{"DANE WARNING - mx9.signed.lab. " + port + "/tcp: 127.0.0.9 did not dane-validate, because: unreachable: connection refused [unreachable]; 1 of 2 addresses validated | addresses=2 validated=1 left=…s"}, nil},
		{l.args("--nagios", "mx9.signed.lab", port), 3, []string{"DANE UNKNOWN - mx9.signed.lab. " + port + "/tcp: 127.0.0.9 did not dane-validate, because: unreachable: connection refused [unreachable]; 0 of 1 address validated | addresses=1 validated=0 left=…s"}, nil},
		{l.args("--nagios", "soon.signed.lab", port), 2, []string{"DANE CRITICAL - soon.signed.lab. " + port + "/tcp: soon.signed.lab. did not dane-validate, because: soon.signed.lab. has no address: … [no-address]; 0 of 1 address validated | addresses=1 validated=0"}, nil},
	} {
		r.check(t)
	}

	code, out, said := invoke(t, l.args("--json", "--mx", "signed.lab", port)...)
	var r dane.Report
	if err := json.Unmarshal([]byte(out), &r); err != nil || code != 0 || said != "" || r.Verdict != dane.Validated || len(r.Checks) != 2 {
		t.Fatalf("exit %d: %v %s%s", code, err, out, said)
	}
	if c := r.Checks[1]; c.Owner.String() != "_"+port+"._tcp.mx2.signed.lab." || c.StartTLS != "smtp" || *c.Preference != 20 || len(c.Records) != 2 || c.Expires.IsZero() ||
		c.Results[0].Record.String() != rec("mx2") || c.Results[0].Address.String() != mail || c.Results[0].Key != "P-256" || c.Results[0].TLS != "TLS 1.3" {
		t.Errorf("%s", out)
	}
	for _, word := range []string{`"verdict": "validated"`, `"tlsa_base_domain": "mx1.signed.lab."`, `"address": "127.0.0.3"`, `"depth": 0`, `"reference_names": [`} {
		if !strings.Contains(out, word) {
			t.Errorf("no %s in\n%s", word, out)
		}
	}
}

// TestVerifyDANEMap: every line of the map against what is published and served.
func TestVerifyDANEMap(t *testing.T) {
	l := newDANELab(t)
	const server, mail = "127.0.0.2", "127.0.0.3"
	tree := filepath.Join(l.dir, "tree")
	cert := func(file string, c *issuer) {
		write(t, filepath.Join(tree, "certs", file), string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.cert.Raw})))
	}
	ec, old := l.issue("www.signed.lab", l.mid, l.ecKey(), nil), l.issue("www.signed.lab", l.mid, rsaKey(t), nil)
	l.shows("www.signed.lab", ec, l.mid)
	l.shows("www.signed.lab", old, l.mid)
	cert("ec.pem", ec)
	cert("rsa.pem", old)
	l.host("www.signed.lab", server, record(3, 1, 1, ec.cert), record(3, 1, 1, old.cert))
	mx := l.issue("mx.signed.lab", l.mid, l.ecKey(), nil)
	l.shows("mx.signed.lab", mx, l.mid)
	l.host("mx.signed.lab", mail, record(3, 1, 1, mx.cert))
	cert("mx.pem", mx)
	renewed := l.issue("mx.signed.lab", l.mid, l.ecKey(), nil)
	cert("renewed.pem", renewed)
	l.host("off.signed.lab", server, record(3, 1, 1, mx.cert))
	l.host("probe.signed.lab", "127.0.0.9", record(3, 1, 1, mx.cert))
	l.certs["mx2.signed.lab"] = []tls.Certificate{l.certs["mx.signed.lab"][0]}
	l.start()
	p := fmt.Sprint(l.port)
	options := l.args("--map", "-C", tree)
	const good = " dane-validated successfully"

	text := "ec.pem www.signed.lab " + p + "\nrsa.pem www.signed.lab " + p + "\nmx.pem mx.signed.lab " + p + " starttls=smtp\n"
	write(t, tree+"/certs.map", text)
	(&daneRun{options, 0, []string{server + good, mail + good}, []string{"RSA key: validated", "ECDSA key: validated"}}).check(t)

	// A line that nobody serves, one that cannot be seen, one seen elsewhere.
	write(t, tree+"/certs.map", "renewed.pem mx.signed.lab "+p+" starttls=smtp\nmx.pem off.signed.lab "+p+" probe=off\nmx.pem probe.signed.lab "+p+" probe="+server+" sni=mx2.signed.lab\nlost.pem www.signed.lab "+p+"\n")
	(&daneRun{options, 0, []string{server + " did not dane-validate, because: the service is not to be seen from here [untested]", server + good, server + good, mail + good}, []string{
		"tcp: note: certs.map:1: the record of renewed.pem is not among the TLSA records of _" + p + "._tcp.mx.signed.lab.",
		"certs.map:1: no address shows the key of renewed.pem",
		"certs.map:4: lost.pem: ",
	}}).check(t)
	code, out, _ := invoke(t, append(options, "--json")...)
	var r mapReport
	if err := json.Unmarshal([]byte(out), &r); err != nil || code != 0 || len(r.Services) != 4 || r.Verdict != dane.Validated {
		t.Errorf("exit %d: %v %s", code, err, out)
	}

	// A fault of the map stops its line only.
	write(t, tree+"/certs.map", text+"mx.pem mx.signed.lab 70000\n")
	(&daneRun{options, 3, []string{server + good, mail + good}, []string{"\ncerts.map:4:"}}).check(t)
	(&daneRun{append(options, "--nagios"), 2, []string{"DANE CRITICAL - …"}, nil}).check(t)
	write(t, tree+"/certs.map", text+"mx.pem none.signed.lab 25\n")
	(&daneRun{options, 4, []string{server + good, mail + good, "none.signed.lab. did not dane-validate, because: … [no-address]"}, nil}).check(t)
	write(t, tree+"/certs.map", text)
	(&daneRun{append(options, "--nagios"), 0, []string{"DANE OK - 2 of 2 addresses validated | addresses=2 validated=2 left=…s"}, nil}).check(t)
	write(t, tree+"/certs.map", "# nothing\n")
	if code, _, said := invoke(t, options...); code != cli.ExitFailed || !strings.Contains(said, "no service is in the map") {
		t.Errorf("exit %d: %s", code, said)
	}
	if err := os.Remove(tree + "/certs.map"); err != nil {
		t.Fatal(err)
	}
	if code, _, said := invoke(t, options...); code != cli.ExitFailed || !strings.Contains(said, "read the certificate map: ") {
		t.Errorf("exit %d: %s", code, said)
	}
}

// TestDebugSettings: the program that is built, not only its tests, takes what
// crypto/x509 and crypto/tls refuse by default.
func TestDebugSettings(t *testing.T) {
	out, err := exec.Command("go", "list", "-buildvcs=false", "-f", "{{.DefaultGODEBUG}}", ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"x509negativeserial=1", "tlssha1=1"} {
		if !regexp.MustCompile(`(^|,)` + want + `(,|$)`).MatchString(strings.TrimSpace(string(out))) {
			t.Errorf("no %s in %s", want, out)
		}
	}
}
