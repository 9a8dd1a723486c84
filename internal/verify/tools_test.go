package verify

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// need gives the path of a tool that nobody here wrote. Without it the test is
// skipped, but fails where everything must have been installed (CI is set).
func need(t testing.TB, tool string) string {
	t.Helper()
	path, err := exec.LookPath(tool)
	if err != nil && filepath.Base(tool) == tool {
		path, err = exec.LookPath("/usr/sbin/" + tool)
	}
	if err != nil {
		if ci := os.Getenv("CI"); ci == "1" || ci == "true" {
			t.Fatalf("%s is not installed", tool)
		}
		t.Skipf("%s is not installed", tool)
	}
	return path
}

// run runs a tool in dir and gives its standard output.
func run(t testing.TB, dir, tool string, args ...string) string {
	t.Helper()
	cmd := exec.Command(need(t, tool), args...)
	cmd.Dir = dir
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s%s", tool, strings.Join(args, " "), err, out, stderr.String())
	}
	return string(out)
}

// plain is a zone with one of each thing that a signer can get wrong.
const plain = `example.org.	3600	IN	SOA	ns1.example.org. hostmaster.example.org. 2024010101 7200 3600 1209600 300
example.org.	3600	IN	NS	ns1.example.org.
example.org.	3600	IN	NS	NS2.Example.org.
example.org.	3600	IN	MX	10 Mail.example.org.
example.org.	3600	IN	TXT	"one string" "and \"two\"" ""
example.org.	3600	IN	CAA	0 issue "ca.example.net; account=1"
ns1.example.org.	3600	IN	A	192.0.2.1
ns1.example.org.	3600	IN	AAAA	2001:db8::1
ns2.example.org.	3600	IN	A	192.0.2.2
mail.example.org.	600	IN	A	192.0.2.3
_25._tcp.mail.example.org.	600	IN	TLSA	3 1 1 e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855
*.wild.example.org.	3600	IN	A	192.0.2.4
a.very.deep.name.example.org.	3600	IN	TXT	"below empty non-terminals"
www.example.org.	3600	IN	CNAME	Web.example.org.
web.example.org.	3600	IN	A	192.0.2.5
web.example.org.	3600	IN	A	192.0.2.6
web.example.org.	3600	IN	SSHFP	4 2 e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855
_sip._udp.example.org.	3600	IN	SRV	0 5 5060 Sip.example.org.
naptr.example.org.	3600	IN	NAPTR	100 10 "U" "E2U+sip" "!^.*$!sip:info@example.org!" Web.Example.org.
svcb.example.org.	3600	IN	HTTPS	1 Web.Example.org. alpn="h2,h3" ipv4hint=192.0.2.5
hinfo.example.org.	3600	IN	HINFO	"PC" "BSD"
new.example.org.	3600	IN	TYPE65280	\# 4 0a000001
alias.example.org.	3600	IN	DNAME	Target.example.net.
secure.example.org.	3600	IN	NS	ns.secure.example.org.
secure.example.org.	3600	IN	DS	60485 13 2 d4b7d520e7bb5f0f67674a0cceb1e3e0614b93c4f9e99b8383f6a1e4469da50a
ns.secure.example.org.	3600	IN	A	192.0.2.7
insecure.example.org.	3600	IN	NS	ns.insecure.example.org.
insecure.example.org.	3600	IN	NS	ns.example.net.
ns.insecure.example.org.	3600	IN	A	192.0.2.8
lonely.ent.example.org.	3600	IN	NS	ns.example.net.
`

// signer signs plain in a directory and gives the signed file.
type signer struct {
	name   string
	denial string
	sign   func(t testing.TB, dir string) string
}

func writePlain(t testing.TB, dir string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, "zone"), []byte(plain), 0o600); err != nil {
		t.Fatal(err)
	}
}

// bind signs with BIND's tools; algorithms as dnssec-keygen names them.
func bind(algorithms []string, csk bool, args ...string) func(testing.TB, string) string {
	return func(t testing.TB, dir string) string {
		t.Helper()
		writePlain(t, dir)
		for _, a := range algorithms {
			key := []string{"-a", a}
			if strings.HasPrefix(a, "RSA") {
				key = append(key, "-b", "1024")
			}
			run(t, dir, "dnssec-keygen", append(key, "-q", "-f", "KSK", "example.org")...)
			if !csk {
				run(t, dir, "dnssec-keygen", append(key, "-q", "example.org")...)
			}
		}
		all := append([]string{"-S", "-q", "-P", "-o", "example.org", "-f", "signed"}, args...)
		if csk {
			all = append(all, "-z")
		}
		run(t, dir, "dnssec-signzone", append(all, "zone")...)
		return filepath.Join(dir, "signed")
	}
}

// ldns signs with ldns's tools, a KSK and a ZSK for each algorithm.
func ldns(algorithms []string, args ...string) func(testing.TB, string) string {
	return func(t testing.TB, dir string) string {
		t.Helper()
		writePlain(t, dir)
		var keys []string
		for _, a := range algorithms {
			for _, k := range []string{"-k", ""} {
				key := []string{"-a", a, "-b", "1024", "-r", "/dev/urandom"}
				if k != "" {
					key = append(key, k)
				}
				keys = append(keys, strings.TrimSpace(run(t, dir, "ldns-keygen", append(key, "example.org")...)))
			}
		}
		all := append([]string{"-f", "signed"}, args...)
		run(t, dir, "ldns-signzone", append(append(all, "zone"), keys...)...)
		return filepath.Join(dir, "signed")
	}
}

// knot signs with kzonesign.
func knot(policy string) func(testing.TB, string) string {
	return func(t testing.TB, dir string) string {
		t.Helper()
		need(t, "kzonesign")
		writePlain(t, dir)
		conf := fmt.Sprintf(`database:
  storage: %[1]q
  kasp-db: "kasp"
policy:
  - id: test
%[2]s
zone:
  - domain: example.org.
    storage: %[1]q
    file: zone
    dnssec-signing: on
    dnssec-policy: test
`, dir, policy)
		if err := os.WriteFile(filepath.Join(dir, "knot.conf"), []byte(conf), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Mkdir(filepath.Join(dir, "out"), 0o700); err != nil {
			t.Fatal(err)
		}
		run(t, dir, "kzonesign", "-c", "knot.conf", "-o", "out", "example.org")
		files, err := filepath.Glob(filepath.Join(dir, "out", "*"))
		if err != nil || len(files) != 1 {
			t.Fatalf("kzonesign wrote %v (%v)", files, err)
		}
		return files[0]
	}
}

func signers() []signer {
	return []signer{
		{"bind/8/nsec", DenialNSEC, bind([]string{"RSASHA256"}, false)},
		{"bind/10/nsec3", DenialNSEC3, bind([]string{"RSASHA512"}, false, "-3", "-")},
		{"bind/13/nsec", DenialNSEC, bind([]string{"ECDSAP256SHA256"}, false)},
		{"bind/13/csk/nsec3", DenialNSEC3, bind([]string{"ECDSAP256SHA256"}, true, "-3", "aabb", "-H", "1")},
		{"bind/14/opt-out", DenialOptOut, bind([]string{"ECDSAP384SHA384"}, false, "-3", "-", "-A")},
		{"bind/15/nsec", DenialNSEC, bind([]string{"ED25519"}, false)},
		{"bind/13+8/nsec", DenialNSEC, bind([]string{"ECDSAP256SHA256", "RSASHA256"}, false)},
		{"bind/13/full", DenialNSEC, bind([]string{"ECDSAP256SHA256"}, false, "-O", "full")},
		{"ldns/8/nsec", DenialNSEC, ldns([]string{"RSASHA256"})},
		{"ldns/13/nsec", DenialNSEC, ldns([]string{"ECDSAP256SHA256"})},
		{"ldns/13/zonemd", DenialNSEC, ldns([]string{"ECDSAP256SHA256"}, "-z", "simple:sha384", "-z", "simple:sha512")},
		{"ldns/14/nsec3", DenialNSEC3, ldns([]string{"ECDSAP384SHA384"}, "-n", "-t", "0", "-s", "")},
		{"ldns/15/nsec3/zonemd", DenialNSEC3, ldns([]string{"ED25519"}, "-n", "-t", "2", "-s", "c0ffee", "-z", "1:1")},
		{"ldns/13/opt-out", DenialOptOut, ldns([]string{"ECDSAP256SHA256"}, "-n", "-p", "-t", "0")},
		{"knot/13/nsec", DenialNSEC, knot("    algorithm: ecdsap256sha256\n    nsec3: off\n")},
		{"knot/15/csk/nsec3", DenialNSEC3, knot("    algorithm: ed25519\n    single-type-signing: on\n    nsec3: on\n    nsec3-iterations: 0\n")},
		{"knot/14/opt-out", DenialOptOut, knot("    algorithm: ecdsap384sha384\n    nsec3: on\n    nsec3-opt-out: on\n    nsec3-salt-length: 4\n")},
		{"knot/8/nsec", DenialNSEC, knot("    algorithm: rsasha256\n    zsk-size: 1024\n    ksk-size: 1024\n    nsec3: off\n")},
	}
}

// What other signers make is accepted, with nothing to say about it but
// iterations.
func TestForeignSigners(t *testing.T) {
	for _, s := range signers() {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			path := s.sign(t, t.TempDir())
			r, l := File(path, Options{Now: time.Now()})
			for _, d := range l {
				if d.Code != "nsec3-iterations" {
					t.Error(d)
				}
			}
			if t.Failed() {
				data, _ := os.ReadFile(path)
				t.Logf("%s", data)
			}
			if r.Denial != s.denial {
				t.Errorf("denial is %s, want %s", r.Denial, s.denial)
			}
			if r.Apex.String() != "example.org." || !r.Signed || len(r.Keys) == 0 || r.Serial == 0 {
				t.Errorf("report: %+v", r)
			}
			if r.Verified != r.Signatures || r.Signatures < 20 || r.ByLedger+r.Trusted != 0 {
				t.Errorf("%d of %d signatures verified, %d by ledger, %d trusted", r.Verified, r.Signatures, r.ByLedger, r.Trusted)
			}
			if !r.Oldest.After(time.Now()) || r.OldestType == "" {
				t.Errorf("oldest is %v of %s %s", r.Oldest, r.OldestOwner, r.OldestType)
			}
		})
	}
}
