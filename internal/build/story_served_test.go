package build_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"

	"zonebuild/internal/build"
	"zonebuild/internal/domain"
	"zonebuild/internal/lab"
)

// TestOtherProgramsVerify: every signed zone of the example passes the checkers
// of four other projects.
func TestOtherProgramsVerify(t *testing.T) {
	t.Parallel()
	lab.Need(t, "ldns-verify-zone", "dnssec-verify", "kzonecheck", "nsd-checkzone")
	s := clusterSite(t)
	report := s.build(ok)
	for _, r := range report.Zones {
		zone := strings.TrimSuffix(r.Zone.String(), ".")
		file := s.path("signed", r.Zone.FileName())
		if r.Action != build.Published || r.NewSigs == 0 {
			t.Errorf("%s: %+v", zone, r)
		}
		s.whole(zone)
		lab.Run(t, "ldns-verify-zone", file)
		lab.Run(t, "dnssec-verify", "-q", "-x", "-o", zone, file)
		lab.Run(t, "kzonecheck", "-o", zone, file)
		lab.Run(t, "nsd-checkzone", zone, file)
	}
	if len(report.Zones) != 15 {
		t.Errorf("%d zones were built", len(report.Zones))
	}
	again := s.build(ok)
	for _, r := range again.Zones {
		if r.Action != build.Unchanged || r.NewSigs != 0 {
			t.Errorf("nothing changed, and yet: %+v", r)
		}
	}
}

// TestResolverBelieves: an unbound with our DS finds every kind of answer secure,
// but those that opt-out leaves open.
func TestResolverBelieves(t *testing.T) {
	for _, denial := range []string{"nsec", "nsec3", "nsec3-opt-out"} {
		t.Run(denial, func(t *testing.T) {
			t.Parallel()
			resolverBelieves(t, denial)
		})
	}
}

func resolverBelieves(t *testing.T, denial string) {
	lab.Need(t, "nsd", "unbound", "nsd-checkzone")
	closed := denial != "nsec3-opt-out" // else a name that has no NSEC3 may exist unsigned
	s := clusterSite(t)
	// The name servers of the insecure delegation are in the lab here, and so
	// is its zone.
	s.write("soa/lab.example.org", "$TTL 1h\n@ SOA ns1 hostmaster 1 2h 30m 4w 1h\n@ NS ns1\n@ NS ns2\n")
	s.write("primary/lab.example.org", "ns1 A 198.51.100.53\nns1 AAAA 2001:db8:54::53\nns2 A 203.0.113.53\nhost A 192.0.2.99\n")
	s.write("zonebuild.toml", s.read("zonebuild.toml")+"\n[[zone]]\nnames = [\"lab.example.org\"]\nsign = false\n")
	s.write("zonebuild.toml", strings.Replace(s.read("zonebuild.toml"), "[policy]\n", "[policy]\ndenial = \""+denial+"\"\n", 1))
	d := s.nsd(s.zones()...)
	report := s.build(ok)
	for _, r := range report.Zones {
		if !r.Confirmed {
			t.Errorf("%s was not confirmed: %+v", r.Zone, r)
		}
	}
	set, err := s.open().DS(domain.MustParse("example.org"), dns.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	r := lab.Unbound(t, lab.UnboundOptions{
		Stubs:   map[string]string{"example.org": d.Addr(), "lab.example.org": d.Addr()},
		Anchors: []string{set[0].String()},
	})
	for _, tt := range []struct {
		what, name, qtype string
		rcode, answers    int
		secure            bool
	}{
		{"name", "www.example.org", "A", dns.RcodeSuccess, 1, true},
		{"apex", "example.org", "MX", dns.RcodeSuccess, 2, true},
		{"keys", "example.org", "DNSKEY", dns.RcodeSuccess, 2, true},
		{"generated", "pool-113.example.org", "A", dns.RcodeSuccess, 1, true},
		{"alias", "mta-sts.example.org", "A", dns.RcodeSuccess, 2, true},
		{"TLSA", "_25._tcp.mail.example.org", "TLSA", dns.RcodeSuccess, 2, true},
		{"NODATA", "shell.example.org", "MX", dns.RcodeSuccess, 0, true},
		{"NXDOMAIN", "nobody.example.org", "A", dns.RcodeNameError, 0, closed},
		{"wildcard", "tenant.apps.example.org", "A", dns.RcodeSuccess, 1, closed},
		{"wildcard, deep", "a.b.tenant.apps.example.org", "AAAA", dns.RcodeSuccess, 1, closed},
		{"wildcard NODATA", "tenant.apps.example.org", "MX", dns.RcodeSuccess, 0, closed},
		{"below a name beside the wildcard", "x.status.apps.example.org", "A", dns.RcodeNameError, 0, closed},
		{"empty non-terminal", "floor2.office.example.org", "A", dns.RcodeSuccess, 0, true},
		{"empty non-terminal above", "office.example.org", "TXT", dns.RcodeSuccess, 0, true},
		{"DS of a secure delegation", "dept.example.org", "DS", dns.RcodeSuccess, 1, true},
		{"no DS at an insecure one", "lab.example.org", "DS", dns.RcodeSuccess, 0, closed},
		{"below an insecure delegation", "host.lab.example.org", "A", dns.RcodeSuccess, 1, false},
		{"NXDOMAIN below it", "nobody.lab.example.org", "A", dns.RcodeNameError, 0, false},
	} {
		m := lab.Query(t, r.Addr(), tt.name, tt.qtype, lab.RD|lab.DO)
		n := 0
		for _, rr := range m.Answer {
			if rr.Header().Rrtype != dns.TypeRRSIG {
				n++
			}
		}
		if m.Rcode != tt.rcode || n != tt.answers || m.AuthenticatedData != tt.secure {
			t.Errorf("%s (%s %s): %s, %d records, AD %v; want %s, %d, %v\n%s", tt.what, tt.name, tt.qtype,
				dns.RcodeToString[m.Rcode], n, m.AuthenticatedData, dns.RcodeToString[tt.rcode], tt.answers, tt.secure, r.Log())
		}
	}
}

// TestServedAtOnce: what a build reports as confirmed is what NSD answers.
func TestServedAtOnce(t *testing.T) {
	t.Parallel()
	s := newSite(t, smallZone("www A 192.0.2.1\n"))
	d := s.nsd(domain.MustParse("example.org"))
	var last uint32
	for i := range 5 {
		s.write("primary/example.org", fmt.Sprintf("ns1 A 192.0.2.53\nwww A 192.0.2.%d\n", i+10))
		r := one(t, s.build(ok), "example.org")
		if r.Action != build.Published || !r.Confirmed || r.Serial <= last {
			t.Fatalf("%+v after serial %d", r, last)
		}
		last = r.Serial
		m := lab.Query(t, d.Addr(), "www.example.org", "A", lab.DO)
		if len(m.Answer) != 2 || m.Answer[0].(*dns.A).A.String() != fmt.Sprintf("192.0.2.%d", i+10) {
			t.Fatalf("answer:\n%v", m)
		}
	}
	if r := one(t, s.build(ok), "example.org"); r.Action != build.Unchanged || !r.Confirmed {
		t.Errorf("%+v", r)
	}
}

// TestSameBytes: the same tree, keys and instant give the same bytes: again, and
// as a program of another user, in another place, time zone and locale, on one
// core.
func TestSameBytes(t *testing.T) {
	t.Parallel()
	p := newProgram(t)
	s := clusterSite(t)
	now := s.at().Format(time.RFC3339)
	base := t.TempDir()
	copyTo := func(name string) string {
		dir := filepath.Join(base, name)
		if err := os.CopyFS(dir, os.DirFS(s.dir)); err != nil {
			t.Fatal(err)
		}
		private, err := filepath.Glob(filepath.Join(dir, "keys", "*.private"))
		if err != nil || len(private) == 0 {
			t.Fatalf("no key was copied: %v", err)
		}
		for _, key := range private { // the copy is made for everybody
			if err := os.Chmod(key, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		return dir
	}
	other, first := copyTo("elsewhere"), copyTo("here")
	p.must("-C", first, "-q", "--now", now, "build", "--new-zone")
	cmd := exec.Command(p.path, "-C", other, "-q", "--now", now, "build", "--new-zone")
	cmd.Env = []string{"TZ=Pacific/Chatham", "LC_ALL=tr_TR.UTF-8", "LANG=tr_TR.UTF-8", "GOMAXPROCS=1", "HOME=/nonexistent"}
	if os.Getuid() == 0 { // another machine has another user
		const nobody = 65534
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
		for _, dir := range []string{filepath.Dir(filepath.Dir(base)), filepath.Dir(base), base, filepath.Dir(filepath.Dir(p.path)), filepath.Dir(p.path)} {
			if err := os.Chmod(dir, 0o755); err != nil {
				t.Fatal(err)
			}
		}
		err := filepath.WalkDir(other, func(path string, _ os.DirEntry, err error) error {
			if err != nil {
				return err
			}
			return os.Chown(path, nobody, nobody)
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if said, code := p.finish(cmd); code != 0 {
		t.Fatalf("exit %d: %s", code, said)
	}
	for _, z := range s.zones() {
		for _, dir := range []string{"signed", "unsigned"} {
			a, err := os.ReadFile(filepath.Join(first, dir, z.FileName()))
			if err != nil {
				t.Fatal(err)
			}
			b, err := os.ReadFile(filepath.Join(other, dir, z.FileName()))
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(a, b) {
				t.Errorf("%s/%s differs", dir, z)
			}
		}
	}
}
