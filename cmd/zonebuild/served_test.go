package main

import (
	"bytes"
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"zonebuild/internal/cli"
	"zonebuild/internal/lab"
)

// invoke runs the program in this process.
func invoke(t *testing.T, args ...string) (code int, out, err string) {
	t.Helper()
	var o, e bytes.Buffer
	code = run(t.Context(), args, &o, &e)
	return code, o.String(), e.String()
}

func mustInvoke(t *testing.T, args ...string) string {
	t.Helper()
	code, out, err := invoke(t, args...)
	if code != 0 {
		t.Fatalf("zonebuild %s: exit %d\n%s%s", strings.Join(args, " "), code, out, err)
	}
	return out
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestVerifyServed: a signed child of a signed parent at two servers, asked
// through a resolver and directly; then each thing that can be wrong.
func TestVerifyServed(t *testing.T) {
	lab.Need(t, "nsd", "unbound")
	dir := t.TempDir()
	tree := filepath.Join(dir, "tree")
	const head = "$TTL 1h\n@ SOA ns1.child.parent.test. host.parent.test. 1 2h 30m 6d 5m\n@ NS ns1.child.parent.test.\n"
	write(t, tree+"/soa/child.parent.test", head)
	write(t, tree+"/primary/child.parent.test", "ns1 A 127.0.0.1\nwww A 192.0.2.1\n")
	write(t, tree+"/soa/parent.test", head)
	mustInvoke(t, "-C", tree, "keygen", "child.parent.test")
	ds := strings.TrimSpace(mustInvoke(t, "-C", tree, "ds", "child.parent.test"))
	parent := "child NS ns1.child\nns1.child A 127.0.0.1\n"
	write(t, tree+"/primary/parent.test", parent+ds+"\n")
	mustInvoke(t, "-C", tree, "keygen", "parent.test")
	mustInvoke(t, "-C", tree, "-q", "build", "--new-zone")

	first := lab.NSD(t, lab.NSDOptions{Dir: tree + "/signed", Zones: []string{"child.parent.test", "parent.test"}})
	r := lab.Unbound(t, lab.UnboundOptions{Stubs: map[string]string{"parent.test": first.Addr(), "child.parent.test": first.Addr()}})
	at := func(addr string) string { return strings.Replace(addr, ":", "@", 1) }
	_, port, _ := net.SplitHostPort(first.Addr())
	discover := []string{"verify-served", "--resolver", at(r.Addr()), "--port", port}

	out := mustInvoke(t, append(discover, "child.parent.test", "--min-left", "3d")...)
	want := regexp.MustCompile(`^child\.parent\.test\.\n  ns1\.child\.parent\.test\. \(127\.0\.0\.1@` + port + `\): serial \d+, signatures hold until \S+ \(\d+d\d+h\)\n  parent: child\.parent\.test\. IN DS `)
	if !want.MatchString(out) {
		t.Errorf("%s", out)
	}
	if out := mustInvoke(t, append(discover, "-4", "--nagios", "child.parent.test")...); !regexp.MustCompile(`^SERVED OK - 1 zone is served right \| faults=0 left=\d+s\n$`).MatchString(out) {
		t.Errorf("%s", out)
	}
	if code, _, said := invoke(t, append(discover, "-6", "child.parent.test")...); code != cli.ExitFailed || !strings.Contains(said, "no address that can be asked") {
		t.Errorf("exit %d: %s", code, said)
	}
	if code, _, said := invoke(t, append(discover, "nosuch.test")...); code != cli.ExitFailed || !strings.Contains(said, "nosuch.test.") {
		t.Errorf("exit %d: %s", code, said)
	}

	// A second server that lags, and one that is not there.
	old := filepath.Join(dir, "old")
	if err := os.CopyFS(old, os.DirFS(tree+"/signed")); err != nil {
		t.Fatal(err)
	}
	second := lab.NSD(t, lab.NSDOptions{Dir: old, Zones: []string{"child.parent.test"}})
	write(t, tree+"/primary/child.parent.test", "ns1 A 127.0.0.1\nwww A 192.0.2.2\n")
	mustInvoke(t, "-C", tree, "-q", "build")
	first.Restart()
	both := []string{"verify-served", "--resolver", at(r.Addr()), "--server", at(first.Addr()), "--server", at(second.Addr()), "child.parent.test"}
	code, _, said := invoke(t, both...)
	if code != cli.ExitNo || !regexp.MustCompile(at(second.Addr())+`: serves serial \d+, another serves \d+ \[served-serial\]\n$`).MatchString(said) {
		t.Errorf("exit %d: %s", code, said)
	}
	second.Stop()
	code, out, _ = invoke(t, append(both, "--json")...)
	var report struct{ Zones []servedZone }
	if err := json.Unmarshal([]byte(out), &report); err != nil || code != cli.ExitNo || len(report.Zones[0].Faults) != 1 || report.Zones[0].Faults[0].Code != "served-no-answer" {
		t.Errorf("exit %d: %v %s", code, err, out)
	}
	if code, out, _ := invoke(t, append(both, "--nagios")...); code != 2 || !strings.HasPrefix(out, "SERVED CRITICAL - child.parent.test. "+at(second.Addr())+": no answer: ") {
		t.Errorf("exit %d: %s", code, out)
	}

	// The clock, and the DS.
	one := []string{"verify-served", "--resolver", at(r.Addr()), "--server", at(first.Addr()), "child.parent.test"}
	for instant, code := range map[string]string{"2050-01-01T00:00:00Z": "[served-expired]", "2020-01-01T00:00:00Z": "[served-not-yet-valid]"} {
		if exit, _, said := invoke(t, append(one, "--now", instant)...); exit != cli.ExitNo || !strings.Contains(said, code) {
			t.Errorf("exit %d: %s", exit, said)
		}
	}
	if exit, _, said := invoke(t, append(one, "--min-left", "30d")...); exit != cli.ExitNo || !strings.Contains(said, "[served-expires]") {
		t.Errorf("exit %d: %s", exit, said)
	}
	write(t, dir+"/other/soa/child.parent.test", head)
	write(t, dir+"/other/primary/child.parent.test", "ns1 A 127.0.0.1\n")
	mustInvoke(t, "-C", dir+"/other", "keygen", "child.parent.test")
	mustInvoke(t, "-C", dir+"/other", "-q", "build", "--new-zone", "--now", time.Now().UTC().Format(time.RFC3339))
	wrong := lab.NSD(t, lab.NSDOptions{Dir: dir + "/other/signed", Zones: []string{"child.parent.test"}})
	if exit, _, said := invoke(t, "verify-served", "--resolver", at(r.Addr()), "--server", at(wrong.Addr()), "child.parent.test"); exit != cli.ExitNo || !strings.Contains(said, "fits no key that signs the DNSKEY set (key tags ") {
		t.Errorf("exit %d: %s", exit, said)
	}
	write(t, dir+"/other/zonebuild.toml", "[policy]\nsign = false\n")
	if exit, _, said := invoke(t, "-C", dir+"/other", "build"); exit != cli.ExitRejected || !strings.Contains(said, "unsigned-after-signed") {
		t.Fatalf("exit %d: %s", exit, said)
	}
}
