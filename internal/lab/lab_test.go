package lab_test

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"zonebuild/internal/lab"
)

const zoneText = `$TTL 300
@ IN SOA ns.a.test. hostmaster.a.test. 1 3600 600 86400 300
@ IN NS ns.a.test.
ns.a.test. IN A 192.0.2.1
www.a.test. IN A 192.0.2.2
*.w.a.test. IN TXT "wild"
`

func TestNSDServes(t *testing.T) {
	dir := t.TempDir()
	writeZone(t, dir+"/a.test", []byte(zoneText))
	s := lab.NSD(t, lab.NSDOptions{Dir: dir, Zones: []string{"a.test"}})
	m := lab.Query(t, s.Addr(), "www.a.test", "A", 0)
	if m.Rcode != dns.RcodeSuccess || !m.Authoritative || len(m.Answer) != 1 {
		t.Errorf("answer:\n%v", m)
	}
	s.Kill()
	s.Restart()
	if m := lab.Query(t, s.Addr(), "www.a.test", "A", lab.TCP); len(m.Answer) != 1 {
		t.Errorf("answer after a restart:\n%v\n%s", m, s.Log())
	}
}

// TestUnboundValidates: one zone signed by other people's programs, seen
// through a resolver that trusts its DS, now and after the signatures ended.
func TestUnboundValidates(t *testing.T) {
	lab.Need(t, "nsd", "unbound", "ldns-signzone", "ldns-keygen", "ldns-key2ds")
	now := time.Now()
	ksk, zsk := lab.LDNSKeys(t, "a.test")
	dir := t.TempDir()
	writeZone(t, dir+"/a.test", lab.LDNSSign(t, "a.test", zoneText, now, ksk, zsk))
	s := lab.NSD(t, lab.NSDOptions{Dir: dir, Zones: []string{"a.test"}})
	ds := lab.Run(t, "ldns-key2ds", "-n", "-2", ksk+".key")

	r := lab.Unbound(t, lab.UnboundOptions{Stubs: map[string]string{"a.test": s.Addr()}, Anchors: []string{ds}})
	for _, tt := range []struct {
		name, qtype string
		rcode       int
	}{
		{"www.a.test", "A", dns.RcodeSuccess},
		{"www.a.test", "AAAA", dns.RcodeSuccess},
		{"w.a.test", "TXT", dns.RcodeSuccess},
		{"x.w.a.test", "TXT", dns.RcodeSuccess},
		{"nope.a.test", "A", dns.RcodeNameError},
	} {
		m := lab.Query(t, r.Addr(), tt.name, tt.qtype, lab.RD|lab.DO)
		if m.Rcode != tt.rcode || !m.AuthenticatedData {
			t.Errorf("%s %s: rcode %s, AD %v\n%s", tt.name, tt.qtype, dns.RcodeToString[m.Rcode], m.AuthenticatedData, r.Log())
		}
	}

	late := lab.Unbound(t, lab.UnboundOptions{
		Stubs: map[string]string{"a.test": s.Addr()}, Anchors: []string{ds}, Now: now.AddDate(0, 1, 0),
	})
	if m := lab.Query(t, late.Addr(), "www.a.test", "A", lab.RD|lab.DO); m.Rcode != dns.RcodeServerFailure {
		t.Errorf("a month later: rcode %s, want SERVFAIL", dns.RcodeToString[m.Rcode])
	}
}

func TestNeed(t *testing.T) {
	for _, ci := range []string{"", "0", "1", "true"} {
		t.Setenv("CI", ci)
		f := &fake{TB: t}
		f.run(func() { lab.Need(f, "sh", "no-such-program") })
		want := "skip"
		if ci == "1" || ci == "true" {
			want = "fatal"
		}
		if f.end != want || !strings.Contains(f.said, "no-such-program") || strings.Contains(f.said, "sh,") {
			t.Errorf("CI=%q: %s %q, want %s", ci, f.end, f.said, want)
		}
	}
}

// fake is a test that notes how it ended.
type fake struct {
	testing.TB
	end, said string
}

func (f *fake) Helper()           {}
func (f *fake) Skip(args ...any)  { f.stop("skip", args) }
func (f *fake) Fatal(args ...any) { f.stop("fatal", args) }
func (f *fake) stop(end string, args []any) {
	f.end, f.said = end, fmt.Sprint(args...)
	panic(f)
}

func (f *fake) run(test func()) {
	defer func() { recover() }()
	test()
}

func TestRun(t *testing.T) {
	if got := lab.Run(t, "sh", "-c", "echo out; echo err >&2"); got != "out\n" {
		t.Errorf("Run gives %q", got)
	}
	if said, ok := lab.Try(t, "sh", "-c", "echo no >&2; exit 3"); ok || said != "no\n" {
		t.Errorf("Try gives %q, %v", said, ok)
	}
}

func writeZone(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
}
