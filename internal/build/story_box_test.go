package build_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"zonebuild/dnsextra"
	"zonebuild/internal/build"
	"zonebuild/internal/domain"
	"zonebuild/internal/lab"
	"zonebuild/internal/nsd"
)

func boxValue(n int) string { return fmt.Sprintf("%043d", n) }

func (s *site) challenge(owner string, n int) dnsextra.Challenge {
	return dnsextra.Challenge{Owner: domain.MustParse(owner), Value: boxValue(n)}
}

func (s *site) box() *dnsextra.Writer {
	s.t.Helper()
	if err := os.MkdirAll(s.path("dnsextra"), 0o755); err != nil {
		s.t.Fatal(err)
	}
	return &dnsextra.Writer{Dir: s.path("dnsextra")}
}

// TestChallenges: two values at one name come and go at a running nsd, and the
// zone is as before.
func TestChallenges(t *testing.T) {
	t.Parallel()
	s := newSite(t, smallZone("www A 192.0.2.1\n"))
	d := s.nsd(domain.MustParse("example.org"))
	s.build(ok)
	before := strings.ReplaceAll(s.read("unsigned/example.org"), "\tSOA\t", "")
	w := s.box()
	for n := range 2 {
		if err := w.Add(t.Context(), s.challenge("_acme-challenge.example.org", n)); err != nil {
			t.Fatal(err)
		}
	}
	if r := one(t, s.build(ok), "example.org"); r.Action != build.Published || !r.Confirmed || r.NewSigs != 4 {
		t.Errorf("%+v", r) // TXT, its NSEC, that of the name before, and SOA
	}
	m := lab.Query(t, d.Addr(), "_acme-challenge.example.org", "TXT", 0)
	if len(m.Answer) != 2 || m.Answer[0].Header().Ttl != 60 {
		t.Errorf("%v", m)
	}
	if r := one(t, s.build(ok), "example.org"); r.Action != build.Unchanged {
		t.Errorf("%+v", r)
	}
	if err := w.Remove(s.challenge("_acme-challenge.example.org", 0)); err != nil {
		t.Fatal(err)
	}
	s.build(ok)
	m = lab.Query(t, d.Addr(), "_acme-challenge.example.org", "TXT", 0)
	if len(m.Answer) != 1 || m.Answer[0].(*dns.TXT).Txt[0] != boxValue(1) {
		t.Errorf("%v", m)
	}
	if err := w.Remove(s.challenge("_acme-challenge.example.org", 1)); err != nil {
		t.Fatal(err)
	}
	s.build(ok)
	after := strings.ReplaceAll(s.read("unsigned/example.org"), "\tSOA\t", "")
	if cutSOA(after) != cutSOA(before) {
		t.Errorf("%s\nbefore\n%s", after, before)
	}
}

func cutSOA(text string) string { _, rest, _ := strings.Cut(text, "\n"); return rest }

// TestJailCannot: whatever stands in the drop box, every other record of the zone is
// as it was, no guard fires, and the good challenge is published.
func TestJailCannot(t *testing.T) {
	t.Parallel()
	s := newSite(t, smallZone("www A 192.0.2.1\n*.apps A 192.0.2.2\nsub NS ns1\nalias CNAME www\n_dmarc TXT \"v=DMARC1; p=reject\"\n"))
	s.build(ok)
	alone := cutSOA(s.read("unsigned/example.org"))
	line := func(owner, v string) string { return owner + ". 60 IN TXT \"" + v + "\"\n" }
	for name, text := range map[string]string{
		"_acme-challenge.shop.apps.example.org": line("_acme-challenge.shop.apps.example.org", boxValue(1)), // hides the wildcard
		"_acme-challenge.sub.example.org":       line("_acme-challenge.sub.example.org", boxValue(1)),       // delegated
		"_acme-challenge.other.example":         line("_acme-challenge.other.example", boxValue(1)),         // no zone of the tree
		"_dmarc.example.org":                    line("_dmarc.example.org", boxValue(1)),
		"example.org":                           "$INCLUDE keys/secret ; TXT\n",
		"www.example.org":                       "www.example.org. 60 IN A 6.6.6.6 ; TXT\n",
		"_acme-challenge.a.example.org":         "_acme-challenge.a.example.org. 60 IN TXT ( \"\n",
		"junk\x1b[2J":                           "x",
	} {
		s.write("dnsextra/"+name, text)
	}
	if err := os.Symlink("/etc/passwd", s.path("dnsextra", "_acme-challenge.l.example.org")); err != nil {
		t.Fatal(err)
	}
	good := s.challenge("_acme-challenge.www.example.org", 7)
	if err := s.box().Add(t.Context(), good); err != nil {
		t.Fatal(err)
	}
	report := s.build(ok)
	if r := one(t, report, "example.org"); r.Action != build.Published || len(r.Refusals) > 0 {
		t.Errorf("%+v", r)
	}
	if len(report.Boxes) != 6 || !report.BoxesNew {
		t.Errorf("%d files are told: %v", len(report.Boxes), report.Boxes)
	}
	with := cutSOA(s.read("unsigned/example.org"))
	if strings.ReplaceAll(with, "_acme-challenge.www.example.org.\t60\tIN\tTXT\t\""+good.Value+"\"\n", "") != alone {
		t.Errorf("%s\nwithout the drop box\n%s", with, alone)
	}
	s.whole("example.org")
	s.write("zonebuild.toml", "[[drop-box]]\npath = \"dnsextra\"\nmay-hide-wildcards = true\n")
	s.build(ok)
	if !strings.Contains(s.read("signed/example.org"), "_acme-challenge.shop.apps.example.org.\t60\tIN\tTXT\t") {
		t.Error("what is allowed is not published")
	}
	s.write("zonebuild.toml", "")
	s.build(ok)
	if again := s.build(ok); again.BoxesNew || one(t, again, "example.org").Action != build.Unchanged {
		t.Errorf("told again: %v", again.Boxes)
	}
	if s.alarms("example.org") != "" {
		t.Errorf("alarms %q", s.alarms("example.org"))
	}
}

// TestChallengesAndGuards: 60 challenges come and go in a zone of ten records, and no
// guard fires; nor does their coming undo an approval.
func TestChallengesAndGuards(t *testing.T) {
	t.Parallel()
	s := newSite(t, smallZone("a A 192.0.2.1\nb A 192.0.2.1\nc A 192.0.2.1\nd A 192.0.2.1\ne A 192.0.2.1\nf A 192.0.2.1\ng A 192.0.2.1\n"))
	s.build(ok)
	w := s.box()
	for n := range 60 {
		if err := w.Add(t.Context(), s.challenge(fmt.Sprintf("_acme-challenge.n%d.example.org", n), n)); err != nil {
			t.Fatal(err)
		}
	}
	if r := one(t, s.build(ok), "example.org"); r.Action != build.Published || strings.Count(s.read("signed/example.org"), "\tTXT\t\"0") != 60 {
		t.Fatalf("%+v", r)
	}
	s.write("primary/example.org", "ns1 A 192.0.2.53\n")
	s.build(rejected)
	s.remove("dnsextra")
	s.build(rejected)
	if _, err := s.open().Approve(t.Context(), domain.MustParse("example.org"), "shrink", s.at()); err != nil {
		t.Fatal(err)
	}
	if err := s.box().Add(t.Context(), s.challenge("_acme-challenge.example.org", 99)); err != nil {
		t.Fatal(err)
	}
	if r := one(t, s.build(ok), "example.org"); r.Action != build.Published || !strings.Contains(s.read("signed/example.org"), boxValue(99)) {
		t.Errorf("%+v", r)
	}
	s.remove("dnsextra")
	s.build(ok)
}

// TestOldChallenge: a file that says it never expires goes a day after it was
// first seen, also when the state of the zone is gone in between.
func TestOldChallenge(t *testing.T) {
	t.Parallel()
	s := newSite(t, smallZone(""))
	s.now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	c := s.challenge("_acme-challenge.example.org", 1)
	if err := s.box().Add(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	s.build(ok)
	published := func() bool { return strings.Contains(s.read("signed/example.org"), c.Value) }
	s.now = s.now.Add(23 * time.Hour)
	s.remove(filepath.Join("state", "example.org.json"))
	if s.build(ok); !published() {
		t.Error("gone after 23 hours")
	}
	s.now = s.now.Add(time.Hour)
	if s.build(ok); published() {
		t.Error("published after 24 hours")
	}
	if s.build(ok); published() {
		t.Error("published again")
	}
}

// TestCanary: acmehook leaves a canary in the drop box, zonebuild publishes it, two
// name servers show it, it is removed, and both forget it.
func TestCanary(t *testing.T) {
	t.Parallel()
	s := newSite(t, smallZone("www A 192.0.2.1\n"))
	first := s.nsd(domain.MustParse("example.org"))
	s.build(ok)
	s.box()
	hook := filepath.Join(t.TempDir(), "acmehook")
	if out, err := exec.Command("go", "build", "-buildvcs=false", "-o", hook, "../../cmd/acmehook").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	second := lab.NSD(t, lab.NSDOptions{Dir: s.path("signed"), Zones: []string{"example.org"}})
	jail := t.TempDir()
	config := fmt.Sprintf("drop-box = %q\nservers = [%q, %q]\ntimeout = \"60s\"\n", s.path("dnsextra"), first.Addr(), second.Addr())
	if err := os.WriteFile(filepath.Join(jail, "acmehook.toml"), []byte(config), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), hook, "-C", jail, "selftest", "example.org")
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	other := &nsd.Server{Control: second.Control()}
	for published := 0; ; {
		select {
		case err := <-ended:
			if err != nil || published != 2 || !strings.Contains(out.String(), "_acme-challenge.example.org.: served everywhere after ") {
				t.Errorf("%v, %d times published\n%s", err, published, &out)
			}
			if entries, err := filepath.Glob(s.path("dnsextra", "_*")); err != nil || len(entries) > 0 {
				t.Errorf("left behind: %v %v", entries, err)
			}
			return
		case <-time.After(50 * time.Millisecond): // cron, in a hurry
			if one(t, s.build(ok), "example.org").Action != build.Published {
				continue
			}
			published++
			apex := domain.MustParse("example.org")
			if err := other.Reload(t.Context(), []domain.Name{apex})[apex]; err != nil {
				t.Error(err)
			}
		}
	}
}

// TestReport: the jail is told what was refused, by the reader and by the zone, also
// when the zone is not compiled again; an overfull box is an alarm while it is.
func TestReport(t *testing.T) {
	t.Parallel()
	s := newSite(t, smallZone("alias CNAME ns1\n"))
	s.write("zonebuild.toml", "[[drop-box]]\npath = \"dnsextra\"\nreport = \"report/box.json\"\nmax-values = 2\n")
	if err := os.Mkdir(s.path("report"), 0o755); err != nil {
		t.Fatal(err)
	}
	w := s.box()
	s.write("dnsextra/www.example.org", "www.example.org. 60 IN A 192.0.2.6\n")
	under := dnsextra.Challenge{Owner: domain.MustParse("_acme-challenge.alias.example.org"), Value: boxValue(1)}
	if err := w.Add(t.Context(), under); err != nil {
		t.Fatal(err)
	}
	s.write("primary/example.org", "ns1 A 192.0.2.53\n_acme-challenge.alias CNAME ns1\n")
	report := func() dnsextra.Report { return dnsextra.ParseReport([]byte(s.read("report/box.json"))) }
	for range 2 {
		s.build(ok)
		r := report()
		if len(r.Refused) != 2 || r.Refused[1].File != "www.example.org" || r.Refused[1].Code != "box-content" {
			t.Fatalf("%+v", r)
		}
		if f, ok := r.Find(under.FileName()); !ok || f.Code != "guest-dropped" || !strings.Contains(f.Message, "a CNAME stands at its owner") {
			t.Errorf("%+v", f)
		}
	}
	if err := w.Remove(under); err != nil {
		t.Fatal(err)
	}
	s.remove("dnsextra/www.example.org")
	s.build(ok)
	if r := report(); len(r.Refused) != 0 {
		t.Errorf("%+v", r)
	}
	for n := range 3 {
		if err := w.Add(t.Context(), s.challenge("_acme-challenge.example.org", n)); err != nil {
			t.Fatal(err)
		}
	}
	s.build(ok)
	if got := s.alarms("example.org"); got != "box-full" {
		t.Errorf("alarms %q", got)
	}
	if err := w.Remove(s.challenge("_acme-challenge.example.org", 0)); err != nil {
		t.Fatal(err)
	}
	s.build(ok)
	if got := s.alarms("example.org"); got != "" {
		t.Errorf("alarms %q", got)
	}
}

// TestAlias: an owner of another form is published exactly as it is allowed, and
// only where the tree has its zone.
func TestAlias(t *testing.T) {
	t.Parallel()
	s := newSite(t, smallZone("_acme-challenge.www CNAME www.acme\n"))
	s.write("zonebuild.toml", "[[drop-box]]\npath = \"dnsextra\"\naliases = [\"www.acme.example.org\"]\nnames = [\"nothing.example\"]\n")
	w := s.box()
	w.Aliases = []domain.Name{domain.MustParse("www.acme.example.org"), domain.MustParse("mail.acme.example.org")}
	for _, a := range w.Aliases {
		if err := w.Add(t.Context(), dnsextra.Challenge{Owner: a, Value: boxValue(1)}); err != nil {
			t.Fatal(err)
		}
	}
	report := s.build(ok)
	text := s.read("signed/example.org")
	if !strings.Contains(text, "www.acme.example.org.\t60\tIN\tTXT\t") || strings.Contains(text, "mail.acme.example.org.") || len(report.Boxes) != 1 {
		t.Errorf("%v\n%s", report.Boxes, text)
	}
}
