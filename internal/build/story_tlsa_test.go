package build_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"zonebuild/internal/build"
	"zonebuild/internal/domain"
	"zonebuild/tlsa"
)

const smtp = "_25._tcp.mail.example.org."

func mailService() tlsa.Service {
	return tlsa.Service{Host: domain.MustParse("mail.example.org"), Port: 25, Proto: "tcp"}
}

// mailSite is a zone with a mail server of two addresses, which serves a
// certificate that certs.map names.
func mailSite(t *testing.T, config, line string) (*site, *world, certificate) {
	t.Helper()
	files := smallZone("mail A 192.0.2.25\nmail A 192.0.2.26\n@ MX 10 mail\n")
	files["zonebuild.toml"] = config
	files["certs.map"] = line
	s := newSite(t, files)
	s.now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	w := newWorld(s)
	c := newCertificate(t, "mail.example.org")
	s.write("certs/mail.pem", c.pem())
	w.hosts["192.0.2.25"], w.hosts["192.0.2.26"] = []certificate{c}, []certificate{c}
	return s, w, c
}

const mailLine = "mail.pem mail.example.org 25 next=next.pem\n"

// phases are those that a rollover must be in now.
func (s *site) in(what string, want ...tlsa.Phase) {
	s.t.Helper()
	if got := s.phase(); !slices.Contains(want, got) {
		s.t.Fatalf("%s: %q, not %q", what, got, want)
	}
}

// quiet wants a build that writes and says nothing.
func (s *site) quiet(what string) {
	s.t.Helper()
	for { // no signature is due
		s.now = s.now.Add(2 * time.Minute)
		if r := one(s.t, s.build(ok), "example.org"); r.Next.IsZero() || r.Next.After(s.now.Add(2*time.Minute)) {
			break
		}
	}
	s.now = s.now.Add(2 * time.Minute)
	before := s.stamps()
	r := one(s.t, s.build(ok), "example.org")
	if r.Action != build.Unchanged || r.FaultsNew || len(r.Diagnostics) > 0 || s.stamps() != before {
		s.t.Fatalf("%s: something was done: %+v\n%s\nbefore\n%s", what, r, s.stamps(), before)
	}
}

// TestTLSALife: a key is published, its successor announced, waited for, deployed
// on one host and then on the other, and the first one withdrawn.
func TestTLSALife(t *testing.T) {
	t.Parallel()
	for _, signed := range []bool{true, false} {
		t.Run(fmt.Sprint(signed), func(t *testing.T) {
			t.Parallel()
			s, w, a := mailSite(t, fmt.Sprintf("[policy]\nsign = %t\n", signed), mailLine)
			s.pass(0)
			s.published("new", smtp, a.record())
			s.in("new", tlsa.PhaseSteady)
			s.quiet("steady")
			w.looked()
			for range 10 { // 40 minutes
				s.quiet("steady")
			}
			if n := w.looked(); n != 0 {
				t.Errorf("%d looks at what is steady", n)
			}
			s.pass(time.Hour)
			if n := w.looked(); n != 2 {
				t.Errorf("%d looks after an hour", n)
			}

			b := newCertificate(t, "mail.example.org")
			s.write("certs/next.pem", b.pem())
			old := s.read("signed/example.org")
			w.lags["192.0.2.54:53"] = old
			s.pass(0)
			s.published("next", smtp, a.record(), b.record())
			s.in("one server lags", tlsa.PhasePublishing)
			s.pass(6 * time.Hour)
			s.in("one server lags for hours", tlsa.PhasePublishing)
			delete(w.lags, "192.0.2.54:53")
			s.pass(10 * time.Minute)
			s.in("everywhere", tlsa.PhaseWaiting)
			s.pass(2 * time.Hour)
			s.in("two TTLs, but no jitter", tlsa.PhaseWaiting)
			s.pass(10 * time.Minute)
			s.in("two TTLs", tlsa.PhaseReady)

			w.hosts["192.0.2.25"] = []certificate{b} // deployed on one host
			s.write("certs/mail.pem", b.pem())
			s.remove("certs/next.pem")
			s.pass(time.Hour)
			s.in("one host", tlsa.PhaseMixed)
			w.silent["192.0.2.26"] = true
			s.pass(48 * time.Hour)
			s.published("the other is silent", smtp, a.record(), b.record())
			delete(w.silent, "192.0.2.26")
			w.hosts["192.0.2.26"] = []certificate{b}
			s.pass(time.Hour)
			s.in("both hosts", tlsa.PhaseLive)
			s.published("in grace", smtp, a.record(), b.record())
			s.pass(65 * time.Minute)
			s.pass(65 * time.Minute)
			s.published("withdrawn", smtp, b.record())
			s.in("withdrawn", tlsa.PhaseSteady)
			if got := s.alarms("example.org"); got != "" {
				t.Errorf("alarms %q", got)
			}
			s.quiet("steady again")
			if signed {
				s.whole("example.org")
			}
		})
	}
}

// TestTLSASurprise: a key that nobody announced is added at once, the old one
// stays, and there is an alarm until caches have run out.
func TestTLSASurprise(t *testing.T) {
	t.Parallel()
	s, w, a := mailSite(t, "", mailLine)
	s.pass(0)
	b := newCertificate(t, "mail.example.org")
	s.write("certs/mail.pem", b.pem())
	w.hosts["192.0.2.25"], w.hosts["192.0.2.26"] = []certificate{b}, []certificate{b}
	s.now = s.now.Add(time.Hour)
	r := one(t, s.build(ok), "example.org")
	s.published("surprise", smtp, a.record(), b.record())
	if !r.FaultsNew || !strings.Contains(fmt.Sprint(r.Diagnostics), "[tlsa-surprise]") || s.alarms("example.org") != "certificates" {
		t.Errorf("%+v\nalarms %q", r, s.alarms("example.org"))
	}
	s.pass(time.Minute)
	if r := one(t, s.pass(10*time.Minute), "example.org"); r.FaultsNew {
		t.Errorf("told again: %+v", r)
	}
	s.pass(3 * time.Hour)
	s.pass(time.Hour)
	s.published("later", smtp, b.record())
	if got := s.alarms("example.org"); got != "" {
		t.Errorf("alarms %q", got)
	}
}

// TestTLSABroken: whatever becomes of certs/ and certs.map, what is published stays,
// with an alarm; mended, all is as before.
func TestTLSABroken(t *testing.T) {
	t.Parallel()
	s, _, a := mailSite(t, "", mailLine)
	s.pass(0)
	stands := func(what, alarm string) {
		t.Helper()
		s.write("primary/example.org", s.read("primary/example.org")+fmt.Sprintf("h%d A 192.0.2.9\n", len(s.read("primary/example.org"))))
		s.pass(time.Hour)
		s.pass(5 * 24 * time.Hour)
		s.published(what, smtp, a.record())
		if got := s.alarms("example.org"); got != alarm {
			t.Fatalf("%s: alarms %q", what, got)
		}
		if alarm == "" {
			s.quiet(what)
		}
	}
	mended := func() {
		t.Helper()
		s.write("certs/mail.pem", a.pem())
		stands("mended", "")
	}
	for what, text := range map[string]string{"empty": "", "junk": "junk", "cut": a.pem()[:200], "private": "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"} {
		s.write("certs/mail.pem", text)
		stands(what, "certificates")
		mended()
	}
	s.remove("certs/mail.pem")
	stands("missing", "certificates")
	mended()
	s.remove("certs")
	stands("no certs/", "certificates")
	mended()
	s.write("zonebuild.toml", "[source.certs]\nmarker = \".mounted\"\n")
	stands("unmounted", "certificates")
	s.remove("state")
	stands("unmounted, state lost", "certificates")
	s.write("zonebuild.toml", "")
	mended()
	s.remove("state")
	stands("state lost", "")
	s.remove("certs.map")
	stands("no certs.map", "certificates")
	s.write("certs.map", "mail.pem mail.example..org 25\n")
	stands("a host that cannot be read", "certificates")
	s.remove("state")
	stands("a host that cannot be read, state lost", "certificates")
	s.write("certs.map", "mail.pem mail.example.org 25 ttl=never\n")
	s.pass(time.Hour)
	s.published("an option that cannot be read", smtp, a.record())
	s.write("certs.map", mailLine)
	stands("the map mended", "")
	s.write("certs.map", "mail.pem mail.example..org 25\n")
	stands("a host that cannot be read, once more", "certificates")
	s.write("certs.map", "# nothing\n")
	stands("the map mended, without the line", "certificates")
	s.mark(mailService(), build.MarkRetire)
	s.pass(0)
	s.published("retired", smtp)
	s.write("certs.map", mailLine)
	stands("the line is back", "")
}

// TestTLSAGuard: a set that no host serves is not published, until the operator
// says that it is right; the rest of the zone goes on.
func TestTLSAGuard(t *testing.T) {
	t.Parallel()
	s, w, a := mailSite(t, "", mailLine)
	s.pass(0)
	b, c := newCertificate(t, "mail.example.org"), newCertificate(t, "mail.example.org")
	s.write("certs/mail.pem", b.pem())
	w.hosts["192.0.2.25"], w.hosts["192.0.2.26"] = []certificate{c}, []certificate{c}
	s.write("primary/example.org", s.read("primary/example.org")+"new A 192.0.2.9\n")
	for range 30 { // also when nobody looks in between
		s.now = s.now.Add(2 * time.Minute)
		s.build(ok)
		s.published("guarded", smtp, a.record())
	}
	w.silent["192.0.2.25"], w.silent["192.0.2.26"] = true, true
	s.pass(2 * time.Hour)
	s.published("guarded, and the host is silent", smtp, a.record())
	if got := s.alarms("example.org"); got != "certificates" || !strings.Contains(s.read("signed/example.org"), "new.example.org.") {
		t.Errorf("alarms %q", got)
	}
	if err := s.open().MarkTLSA(t.Context(), mailService(), build.MarkAccept); err != nil {
		t.Fatal(err)
	}
	s.pass(0)
	s.published("accepted", smtp, a.record(), b.record())
	w.silent, w.hosts["192.0.2.25"], w.hosts["192.0.2.26"] = map[string]bool{}, []certificate{b}, []certificate{b}
	s.pass(time.Hour)
	if err := s.open().MarkTLSA(t.Context(), mailService(), build.MarkRetire); err != nil {
		t.Fatal(err)
	}
	s.pass(0)
	s.published("retired", smtp, b.record())
	s.pass(4 * time.Hour)
	if got := s.alarms("example.org"); got != "" {
		t.Errorf("alarms %q", got)
	}
}

// TestTLSAByHand: hand-written records stand beside those of the map, and go when
// their author removes them, without touching the others.
func TestTLSAByHand(t *testing.T) {
	t.Parallel()
	s, _, a := mailSite(t, "", mailLine+"mail.pem www.example.net 443\n")
	hand := "2 1 1 " + strings.Repeat("ab", 32)
	primary := s.read("primary/example.org")
	s.write("primary/example.org", primary+"_25._tcp.mail TLSA "+hand+"\n")
	r := s.pass(0)
	s.published("both", smtp, a.record(), hand)
	if len(r.Strays) != 1 || r.Strays[0].Code != "certs-map-no-zone" {
		t.Errorf("%v", r.Strays)
	}
	s.pass(time.Hour)
	s.published("both", smtp, a.record(), hand)
	stamps := s.stamps()
	s.now = s.now.Add(2 * time.Minute)
	if s.build(ok); s.stamps() != stamps {
		t.Error("the same again writes")
	}
	s.remove("state/tlsa")
	s.pass(time.Hour)
	s.published("state lost", smtp, a.record(), hand)
}

// TestTLSALooks: a pass that writes nothing asks nobody, and check and diff leave
// no trace.
func TestTLSALooks(t *testing.T) {
	t.Parallel()
	s, w, a := mailSite(t, "", mailLine)
	s.pass(0)
	w.looked()
	b := newCertificate(t, "mail.example.org")
	s.write("certs/next.pem", b.pem())
	s.now = s.now.Add(2 * time.Hour)
	stamps := s.stamps()
	tree := s.open()
	if list, err := tree.Check(t.Context(), nil, s.at()); err != nil || strings.Contains(fmt.Sprint(list), "[tlsa-") {
		t.Errorf("%v %v", list, err)
	}
	diff, err := tree.Diff(t.Context(), nil, s.options())
	if err != nil || len(diff[0].Changes) != 1 || !strings.Contains(fmt.Sprint(diff[0].Changes), b.record()) {
		t.Errorf("%v %+v", err, diff)
	}
	o := s.options()
	o.DryRun = true
	if r, err := tree.Build(t.Context(), o); err != nil || r.Zones[0].Action != build.WouldChange {
		t.Errorf("%v %+v", err, r)
	}
	if s.in("previewed", tlsa.PhasePublishing); w.looked() != 0 || s.stamps() != stamps {
		t.Error("somebody was asked, or something written")
	}
	s.published("before", smtp, a.record())
	s.pass(0)
	s.published("after", smtp, a.record(), b.record())
}

// TestTLSAStateLost: with state/ lost in the middle of a rollover nothing is withdrawn
// that a host or a cache may need; the operator ends what is left.
func TestTLSAStateLost(t *testing.T) {
	t.Parallel()
	s, w, a := mailSite(t, "", mailLine)
	s.pass(0)
	b := newCertificate(t, "mail.example.org")
	s.write("certs/next.pem", b.pem())
	s.pass(0)
	s.pass(time.Hour)
	s.remove("state")
	s.pass(90 * time.Minute)
	s.in("lost while waiting", tlsa.PhaseWaiting)
	s.pass(49 * time.Hour) // whatever the TTL was
	s.in("waited anew", tlsa.PhaseReady)
	s.write("certs/mail.pem", b.pem())
	s.remove("certs/next.pem")
	w.hosts["192.0.2.25"] = []certificate{b}
	s.pass(time.Hour)
	s.remove("state")
	w.hosts["192.0.2.26"] = []certificate{b}
	s.pass(time.Hour)
	s.pass(10 * 24 * time.Hour / 2)
	s.published("lost while hosts changed", smtp, a.record(), b.record())
	if err := s.open().MarkTLSA(t.Context(), mailService(), build.MarkRetire); err != nil {
		t.Fatal(err)
	}
	s.pass(0)
	s.published("retired", smtp, b.record())
	s.write("state/tlsa/example.org.json", "{")
	if s.build(ok); s.alarms("example.org") != "state-damaged" {
		t.Errorf("alarms %q", s.alarms("example.org"))
	}
	s.pass(time.Hour)
	s.published("state damaged", smtp, b.record())
	if got := s.alarms("example.org"); got != "" {
		t.Errorf("alarms %q", got)
	}
}

// TestTLSAQuick: a run with a steady map and a broken host key reads the published
// zone's first lines only.
func TestTLSAQuick(t *testing.T) {
	t.Parallel()
	s, _, a := mailSite(t, "", mailLine)
	s.write("primary/example.org", s.read("primary/example.org")+"_25._tcp.mail TLSA 2 1 1 "+strings.Repeat("ab", 32)+"\n")
	s.write("sshfp/mail.example.org", hostKey(t, "mail", "ed25519"))
	s.pass(0)
	s.write("sshfp/mail.example.org", "junk\n")
	s.pass(0)
	path := s.path("signed", "example.org")
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	text := s.read("signed/example.org")
	s.write("signed/example.org", strings.ReplaceAll(text, "192.0.2.25", "192.0.2.99")) // nobody can know
	if err := os.Chtimes(path, info.ModTime(), info.ModTime()); err != nil {
		t.Fatal(err)
	}
	s.now = s.now.Add(2 * time.Minute)
	before := s.stamps()
	if r := one(t, s.build(ok), "example.org"); r.Action != build.Unchanged || s.stamps() != before {
		t.Errorf("%+v", r)
	}
	s.published("hand-written, and of the map", smtp, a.record(), "2 1 1 "+strings.Repeat("ab", 32))

	// What another hand wrote with another time is noticed, and the records stay.
	s.write("signed/example.org", strings.ReplaceAll(text, "192.0.2.25", "192.0.2.99"))
	s.pass(0)
	s.published("mended", smtp, a.record(), "2 1 1 "+strings.Repeat("ab", 32))
	if got := s.lines("signed/example.org", "SSHFP"); len(got) != 1 || strings.Contains(s.read("signed/example.org"), "192.0.2.99") {
		t.Errorf("%q", got)
	}
	s.remove("signed")
	s.remove("state/example.org.json")
	s.write("certs/mail.pem", "junk")
	s.pass(0)
	s.published("signed/ lost", smtp, a.record(), "2 1 1 "+strings.Repeat("ab", 32))
}

// TestTLSARetired: a zone that leaves the tree keeps its records until it is retired,
// which forgets its rollovers.
func TestTLSARetired(t *testing.T) {
	t.Parallel()
	s, _, a := mailSite(t, "", mailLine)
	s.write("soa/example.net", "$TTL 1h\n@ SOA ns1.example.org. hostmaster 1 2h 30m 4w 1h\n@ NS ns1.example.org.\n")
	s.write("primary/example.net", "")
	s.makeKeys()
	s.pass(0)
	s.remove("soa/example.org")
	s.remove("primary/example.org")
	if _, err := s.open().Build(t.Context(), s.options()); err != nil {
		t.Fatal(err)
	}
	s.published("an orphan", smtp, a.record())
	if _, err := s.open().Retire(t.Context(), domain.MustParse("example.org"), nil); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(s.path("state", "tlsa", "example.org.json")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the rollovers are still there: %v", err)
	}
}

// TestTLSANewHost: the guard looks at a host that comes into the zone together with
// its line, and at addresses that change.
func TestTLSANewHost(t *testing.T) {
	t.Parallel()
	s, w, a := mailSite(t, "", mailLine)
	s.pass(0)
	b := newCertificate(t, "new.example.org")
	s.write("primary/example.org", s.read("primary/example.org")+"new A 192.0.2.77\n")
	w.hosts["192.0.2.77"] = []certificate{b}
	s.write("certs.map", mailLine+"mail.pem new.example.org 443\n")
	s.pass(0)
	s.published("the certificate of another host", "_443._tcp.new.example.org.")
	if s.alarms("example.org") != "certificates" {
		t.Errorf("alarms %q", s.alarms("example.org"))
	}
	s.write("certs/new.pem", b.pem())
	s.write("certs.map", mailLine+"new.pem new.example.org 443\n")
	s.pass(0)
	s.published("its own", "_443._tcp.new.example.org.", b.record())
	s.published("the old host", smtp, a.record())
	if got := s.alarms("example.org"); got != "" {
		t.Errorf("alarms %q", got)
	}
	s.write("primary/example.org", strings.ReplaceAll(s.read("primary/example.org"), "192.0.2.77", "192.0.2.78"))
	w.hosts["192.0.2.78"] = []certificate{a}
	s.pass(0)
	if s.alarms("example.org") != "certificates" {
		t.Errorf("alarms %q", s.alarms("example.org"))
	}
}

// TestTLSAAddressGoes: a host that leaves the zone before it was seen with the new key
// keeps the old record until no cache can have its address.
func TestTLSAAddressGoes(t *testing.T) {
	t.Parallel()
	s, w, a := mailSite(t, "", mailLine)
	s.pass(0)
	b := newCertificate(t, "mail.example.org")
	s.write("certs/next.pem", b.pem())
	s.pass(0)
	s.pass(3 * time.Hour)
	s.write("certs/mail.pem", b.pem())
	s.remove("certs/next.pem")
	w.hosts["192.0.2.25"] = []certificate{b}
	s.write("primary/example.org", strings.Replace(s.read("primary/example.org"), "mail A 192.0.2.26\n", "", 1))
	s.pass(0)
	s.pass(3 * time.Hour) // $TTL 1h, refresh 2h, retry 30m; the grace is 1 h
	s.in("caches have the address", tlsa.PhaseMixed)
	s.published("caches have the address", smtp, a.record(), b.record())
	s.pass(35 * time.Minute)
	s.in("they have not", tlsa.PhaseLive)
	s.pass(time.Hour)
	s.pass(0)
	s.published("they have not", smtp, b.record())
}

// TestTLSAHeldBack: a record that is to go while the zone cannot be published goes when
// it can; nobody has to say anything, or to repeat it.
func TestTLSAHeldBack(t *testing.T) {
	t.Parallel()
	for _, byHand := range []bool{false, true} {
		s, w, a := mailSite(t, "", mailLine)
		good := s.read("primary/example.org") + "a A 192.0.2.1\nb A 192.0.2.1\nc A 192.0.2.1\nd A 192.0.2.1\ne A 192.0.2.1\nf A 192.0.2.1\ng A 192.0.2.1\n"
		s.write("primary/example.org", good)
		s.pass(0)
		b := newCertificate(t, "mail.example.org")
		s.write("certs/next.pem", b.pem())
		s.pass(0)
		s.pass(3 * time.Hour)
		s.write("certs/mail.pem", b.pem())
		s.remove("certs/next.pem")
		w.hosts["192.0.2.25"], w.hosts["192.0.2.26"] = []certificate{b}, []certificate{b}
		s.pass(0)
		s.in("deployed", tlsa.PhaseLive)
		if byHand {
			if err := s.open().MarkTLSA(t.Context(), mailService(), build.MarkRetire); err != nil {
				t.Fatal(err)
			}
			w.silent["192.0.2.25"] = true
		}
		s.write("primary/example.org", "ns1 A 192.0.2.53\nmail A 192.0.2.25\nmail A 192.0.2.26\n")
		for range 40 { // more than the grace, and hours beyond
			s.now = s.now.Add(10 * time.Minute)
			s.build(rejected)
		}
		s.published("held back", smtp, a.record(), b.record())
		s.write("primary/example.org", good)
		s.pass(time.Minute)
		s.published("no longer", smtp, b.record())
		s.pass(time.Hour)
		s.in("no longer", tlsa.PhaseSteady)
		if text := s.read("state/tlsa/example.org.json"); strings.Contains(text, "\"before\"") {
			t.Errorf("what was before is still kept: %s", text)
		}
	}
}
