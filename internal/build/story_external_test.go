package build_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"zonebuild/internal/build"
	"zonebuild/internal/domain"
	"zonebuild/internal/lab"
	"zonebuild/internal/publish"
)

// nobodyKnows is a resolver that does not answer: no test asks the world.
const nobodyKnows = "resolver = [\"127.0.0.1@9\"]\n"

// TestExternalSigner: unsigned/ZONE is the product, ldns-signzone signs it with
// serials of its own, and an NSD serves what that made.
func TestExternalSigner(t *testing.T) {
	t.Parallel()
	lab.Need(t, "nsd", "ldns-signzone", "ldns-keygen", "nsd-control")
	s := newSite(t, smallZone("www A 192.0.2.1\n"))
	s.write("zonebuild.toml", "[policy]\nsign = \"external\"\nserial = \"counter\"\n")
	ksk, zsk := lab.LDNSKeys(t, "example.org")
	served := t.TempDir()
	d := lab.NSD(t, lab.NSDOptions{Dir: served, Zones: []string{"example.org"}})
	s.server = &publish.Command{
		ReloadArgv: []string{"sh", "-c", strings.Join([]string{
			"ldns-signzone -u -o $ZONE -f " + served + "/$ZONE $FILE " + ksk + " " + zsk,
			lab.Path(t, "nsd-control") + " -c " + d.Config() + " reload $ZONE",
		}, " && ")},
		Confirm: addresses(d.Addr()), File: s.open().PublishedPath, SerialOf: build.SerialOf,
	}
	s.write("zonebuild.toml", s.read("zonebuild.toml")+"[publish]\nserver = \"command\"\nreload = [\"x\"]\naddress = [\"192.0.2.1\"]\ntimeout = \"10s\"\n")

	r := one(t, s.build(ok), "example.org")
	if r.Action != build.Published || !r.Confirmed || r.NewSigs != 0 {
		t.Fatalf("%+v", r)
	}
	m := lab.Query(t, d.Addr(), "www.example.org", "A", lab.DO)
	if len(m.Answer) != 2 {
		t.Fatalf("the answer is not signed\n%v", m)
	}
	before := s.stamps()
	if r := one(t, s.build(ok), "example.org"); r.Action != build.Unchanged || s.stamps() != before {
		t.Errorf("nothing changed, and yet: %+v", r)
	}

	s.write("primary/example.org", "ns1 A 192.0.2.53\nwww A 192.0.2.2\n")
	old := lab.Query(t, d.Addr(), "example.org", "SOA", 0).Answer[0].(*dns.SOA).Serial
	lab.Until(t, "the next second, which that signer takes for its serial", func() error {
		if time.Now().Before(time.Unix(int64(old)+1, 0)) {
			return errors.New("not yet")
		}
		return nil
	})
	if r := one(t, s.build(ok), "example.org"); r.Action != build.Published || !r.Confirmed {
		t.Fatalf("%+v", r)
	}
	if m := lab.Query(t, d.Addr(), "www.example.org", "A", 0); len(m.Answer) != 1 || m.Answer[0].(*dns.A).A.String() != "192.0.2.2" {
		t.Errorf("%v", m)
	}

	// A signer that does nothing leaves the zone unconfirmed; the next run asks again.
	s.write("primary/example.org", "ns1 A 192.0.2.53\nwww A 192.0.2.3\n")
	s.write("zonebuild.toml", strings.Replace(s.read("zonebuild.toml"), "10s", "1s", 1))
	works := s.server
	s.server = &publish.Command{ReloadArgv: []string{"true"}, Confirm: addresses(d.Addr()), File: s.open().PublishedPath, SerialOf: build.SerialOf}
	s.build(failed)
	if got := s.alarms("example.org"); got != "unconfirmed" {
		t.Errorf("alarms %q", got)
	}
	s.server = works
	if r := one(t, s.build(ok), "example.org"); r.Action != build.Confirmed {
		t.Errorf("%+v", r)
	}

	// To signing here: only once the DS at the parent fits our keys.
	s.write("zonebuild.toml", nobodyKnows)
	s.makeKeys()
	o := s.options()
	o.NewZone = false
	report, err := s.open().Build(t.Context(), o)
	if err != nil || report.Code != rejected || report.Zones[0].Refusals[0].Code != "ds-first" {
		t.Errorf("%v %+v", err, report)
	}
}

// TestInsecureAndBack: signed, then not, then signed again: each way only by
// approval.
func TestInsecureAndBack(t *testing.T) {
	t.Parallel()
	s := newSite(t, smallZone("www A 192.0.2.1\n"))
	s.build(ok)
	approve := func(guard string) {
		t.Helper()
		if _, err := s.open().Approve(t.Context(), domain.MustParse("example.org"), guard, s.at()); err != nil {
			t.Fatal(err)
		}
	}
	s.write("zonebuild.toml", "[policy]\nsign = false\n")
	if r := one(t, s.build(rejected), "example.org"); len(r.Refusals) != 1 || r.Refusals[0].Code != "unsigned-after-signed" {
		t.Fatalf("%+v", r)
	}
	s.whole("example.org") // the signed zone stays, and is signed in time
	now := s.at()
	s.now = now.Add(8 * 24 * time.Hour)
	s.build(rejected)
	s.whole("example.org")
	s.now = time.Time{}
	s.remove("signed")
	s.remove("state")
	s.write("zonebuild.toml", "")
	s.build(ok)
	s.write("zonebuild.toml", "[policy]\nsign = false\n")
	s.build(rejected)
	approve("unsigned-after-signed")
	if r := one(t, s.build(ok), "example.org"); r.Action != build.Published || strings.Contains(s.read("signed/example.org"), "RRSIG") {
		t.Fatalf("%+v", r)
	}
	s.write("zonebuild.toml", nobodyKnows)
	o := s.options()
	o.NewZone = false
	report, err := s.open().Build(t.Context(), o)
	if err != nil || report.Code != rejected || report.Zones[0].Refusals[0].Code != "ds-first" {
		t.Fatalf("%v %+v", err, report)
	}
	approve("ds-first")
	if report, err = s.open().Build(t.Context(), o); err != nil || report.Code != ok {
		t.Fatalf("%v %+v", err, report)
	}
	s.whole("example.org")
}

// TestDSFromChild: a DS comes into the parent only when the child was seen
// served with its key, and goes when the child asks for that.
func TestDSFromChild(t *testing.T) {
	t.Parallel()
	files := smallZone("child NS ns1.child\nns1.child A 192.0.2.53\nother NS ns1.child\n")
	files["soa/child.example.org"] = "$TTL 1h\n@ SOA ns1 hostmaster 1 2h 30m 6d 5m\n@ NS ns1\n"
	files["primary/child.example.org"] = "ns1 A 192.0.2.53\n"
	const parent = "[[zone]]\nnames = [\"example.org\"]\nds-from-child = true\n"
	files["zonebuild.toml"] = "publish.confirm = [\"127.0.0.1@9\"]\npublish.timeout = \"1s\"\n" + parent + "[[zone]]\nnames = [\"child.example.org\"]\n"
	s := newSite(t, files)
	none := s.server
	s.server = &publish.None{Confirm: addresses("127.0.0.1:9")} // nobody there: nothing is confirmed
	s.build(failed)
	s.build(failed)
	if strings.Contains(s.read("signed/example.org"), "\tDS\t") {
		t.Fatal("a DS for keys that nobody has seen")
	}
	s.server = none
	s.build(ok)
	r := one(t, s.build(ok), "example.org")
	set, err := s.open().DS(domain.MustParse("child.example.org"), dns.SHA256)
	if err != nil || r.Action != build.Published || !strings.Contains(s.read("signed/example.org"), "child.example.org.\t3600\tIN\tDS\t") {
		t.Fatalf("%v %+v", err, r)
	}
	if text := s.read("signed/example.org"); strings.Count(text, "\tDS\t") != 1 || !strings.Contains(strings.ToUpper(text), strings.ToUpper(set[0].Digest)) {
		t.Errorf("not the DS of the child's KSK\n%s", text)
	}
	if r := one(t, s.build(ok), "example.org"); r.Action != build.Unchanged {
		t.Errorf("nothing changed, and yet: %+v", r)
	}
	// While a new version of the child is not confirmed, the DS stays.
	s.server = &publish.None{Confirm: addresses("127.0.0.1:9")}
	s.write("primary/child.example.org", "ns1 A 192.0.2.53\nwww A 192.0.2.54\n")
	s.build(failed)
	s.write("primary/example.org", s.read("primary/example.org")+"more A 192.0.2.55\n")
	s.build(failed)
	if text := s.read("signed/example.org"); !strings.Contains(text, "192.0.2.55") || strings.Count(text, "\tDS\t") != 1 || !strings.Contains(s.read("signed/child.example.org"), "192.0.2.54") {
		t.Errorf("not confirmed:\n%s", text)
	}
	s.server = none
	s.build(ok)
	if text := s.read("signed/example.org"); strings.Count(text, "\tDS\t") != 1 {
		t.Errorf("confirmed:\n%s", text)
	}
	// A hand-written DS that does not fit is refused by the guard.
	s.write("primary/example.org", s.read("primary/example.org")+"child DS 1 13 2 0000000000000000000000000000000000000000000000000000000000000000\n")
	if r := one(t, s.build(ok), "example.org"); r.Action != build.Published {
		t.Errorf("one that fits is enough: %+v", r)
	}
	s.write("zonebuild.toml", strings.Replace(s.read("zonebuild.toml"), "[\"child.example.org\"]\n", "[\"child.example.org\"]\ncds = \"delete\"\n", 1))
	s.write("primary/example.org", "ns1 A 192.0.2.53\nchild NS ns1.child\nns1.child A 192.0.2.53\nother NS ns1.child\n")
	s.build(ok)
	if text := s.read("signed/example.org"); strings.Contains(text, "\tDS\t") {
		t.Errorf("the DS is still there\n%s", text)
	}
}
