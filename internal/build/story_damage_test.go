package build_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"zonebuild/internal/build"
	"zonebuild/internal/domain"
)

func org() domain.Name { return domain.MustParse("example.org") }

// TestDamageInPlace: what a program writes into signed/ZONE leaves the last good
// zone, also while the input has faults.
func TestDamageInPlace(t *testing.T) {
	t.Parallel()
	s := newSite(t, smallZone("www A 192.0.2.1\n"))
	s.build(ok)
	first, file := s.whole("example.org"), s.read("signed/example.org")
	if err := os.Truncate(s.path("signed/example.org"), 0); err != nil {
		t.Fatal(err)
	}
	if s.read("state/last-good/example.org") != file {
		t.Fatal("the last good zone is damaged too")
	}
	s.write("primary/example.org", "ns1 A 192.0.2.53\nwww A 192.0.2.256\n")
	r := one(t, s.build(rejected), "example.org")
	if again := s.whole("example.org"); again <= first || !strings.Contains(s.read("signed/example.org"), "192.0.2.1\n") {
		t.Errorf("serial %d after %d: %+v", again, first, r)
	}
	if got := s.alarms("example.org"); !strings.Contains(got, "signed-damaged") {
		t.Errorf("alarms: %q", got)
	}
	s.write("primary/example.org", "ns1 A 192.0.2.53\nwww A 192.0.2.1\n")
	s.build(ok)
	if got := s.alarms("example.org"); got != "" {
		t.Errorf("alarms: %q", got)
	}
}

// TestLastGoodIsMadeAgain: a copy that could not be made, was lost, or is but a
// second name of the file, is made by the next run.
func TestLastGoodIsMadeAgain(t *testing.T) {
	t.Parallel()
	s := newSite(t, smallZone("www A 192.0.2.1\n"))
	s.build(ok)
	file := s.read("signed/example.org")
	for name, harm := range map[string]func() error{
		"lost":   func() error { return os.Remove(s.path("state/last-good/example.org")) },
		"linked": func() error { return linkOver(s.path("signed/example.org"), s.path("state/last-good/example.org")) },
		"edited": func() error { return os.WriteFile(s.path("state/last-good/example.org"), []byte("x\n"), 0o644) },
	} {
		if err := harm(); err != nil {
			t.Fatal(err)
		}
		s.build(ok)
		a, errA := os.Stat(s.path("signed/example.org"))
		b, errB := os.Stat(s.path("state/last-good/example.org"))
		if errA != nil || errB != nil || os.SameFile(a, b) || s.read("state/last-good/example.org") != file || s.read("signed/example.org") != file {
			t.Errorf("%s: it is not there again, by itself: %v %v", name, errA, errB)
		}
		before := s.stamps()
		s.build(ok)
		if s.stamps() != before {
			t.Errorf("%s: the second run writes", name)
		}
	}

	// While the copy cannot be made, each run says that it failed.
	s.remove("state/last-good")
	s.write("state/last-good", "in the way\n")
	s.write("primary/example.org", "ns1 A 192.0.2.53\nwww A 192.0.2.9\n")
	if _, err := s.open().Build(t.Context(), s.options()); err == nil {
		t.Error("a directory that cannot be made is no error")
	}
	s.remove("state/last-good")
	s.build(ok)
	if s.read("state/last-good/example.org") != s.read("signed/example.org") {
		t.Error("it is not there again")
	}
}

func linkOver(from, to string) error {
	if err := os.Remove(to); err != nil {
		return err
	}
	return os.Link(from, to)
}

// TestLostFileComesBack: whatever else is wrong, the published file is back for a
// name server that starts now.
func TestLostFileComesBack(t *testing.T) {
	t.Parallel()
	for name, also := range map[string]func(s *site){
		"nothing else":  func(*site) {},
		"a key is gone": func(s *site) { s.remove("keys") },
		"a fault":       func(s *site) { s.write("primary/example.org", "x\n") },
		"a wrong clock": func(s *site) { s.now = s.now.AddDate(1, 0, 0) },
	} {
		s := newSite(t, smallZone("www A 192.0.2.1\n"))
		s.now = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)
		s.build(ok)
		file := s.read("signed/example.org")
		s.remove("signed/example.org")
		also(s)
		if _, err := s.open().Build(t.Context(), s.options()); err != nil {
			t.Fatal(err)
		}
		if s.read("signed/example.org") != file {
			t.Errorf("%s: the file is not back as it was", name)
		}
	}
}

// TestApprovalOfADS: what was approved is that DS, not whatever comes after it.
func TestApprovalOfADS(t *testing.T) {
	t.Parallel()
	head := "$TTL 1h\n@ SOA ns1.example.net. hostmaster 1 2h 30m 4w 1h\n@ NS ns1.example.net.\n"
	ds := func(tag string) string {
		return "sub NS ns.example.net.\nsub DS " + tag + " 13 2 " + strings.Repeat("ab", 32) + "\n"
	}
	s := newSite(t, map[string]string{
		"soa/example.org": head, "primary/example.org": ds("1"),
		"soa/sub.example.org": head, "primary/sub.example.org": "www A 192.0.2.1\n",
	})
	sub := domain.MustParse("sub.example.org")
	s.build(rejected)
	if _, err := s.open().Approve(t.Context(), sub, "parent-ds", s.at()); err != nil {
		t.Fatal(err)
	}
	s.write("primary/example.org", ds("2"))
	r := one(t, s.build(rejected), "sub.example.org")
	if r.Action != build.Refused || !r.News {
		t.Errorf("another DS is let through, or not told: %+v", r)
	}
}

// TestForeignKeys: keys that the zone was not published with are not taken, also
// when nothing is left to compare with but the state.
func TestForeignKeys(t *testing.T) {
	t.Parallel()
	s := newSite(t, smallZone("www A 192.0.2.1\n"))
	s.build(ok)
	other := newSite(t, smallZone("www A 192.0.2.1\n"))
	for _, path := range []string{"keys", "signed/example.org", "state/last-good/example.org"} {
		s.remove(path)
	}
	if err := os.CopyFS(s.path("keys"), os.DirFS(other.path("keys"))); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(s.path("keys"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range s.list("keys") {
		if err := os.Chmod(s.path("keys", name), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	r := one(t, s.build(rejected), "example.org")
	if r.Action != build.Refused || r.Refusals[0].Code != "key-set" || !r.Refusals[0].Override {
		t.Errorf("%+v", r)
	}
}

// TestStaleRefusal: a refusal that no longer holds cannot be approved, and no
// approval waits for the day on which the clock is wrong.
func TestStaleRefusal(t *testing.T) {
	t.Parallel()
	s := newSite(t, smallZone("www A 192.0.2.1\n"))
	now := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	s.now = now
	s.build(ok)
	s.now = now.AddDate(0, 4, 0)
	s.build(rejected)
	s.now = now.Add(time.Minute)
	s.build(ok)
	if _, err := s.open().Approve(t.Context(), org(), "clock-jump", s.now); err == nil {
		t.Error("a refusal of the past was approved")
	}
	s.now = now.AddDate(0, 4, 0)
	s.build(rejected)
	if _, err := s.open().Approve(t.Context(), org(), "clock-jump", s.now); err != nil {
		t.Fatal(err)
	}
	s.now = now.AddDate(1, 4, 0)
	if r := one(t, s.build(rejected), "example.org"); r.Action != build.Refused {
		t.Errorf("the approval of one clock lets another through: %+v", r)
	}
}

// TestClockOfUnsignedZones: an unsigned zone is not published again and again,
// and a shorter validity does not make the past longer.
func TestClockOfUnsignedZones(t *testing.T) {
	t.Parallel()
	s := newSite(t, smallZone("www A 192.0.2.1\n"))
	s.write("zonebuild.toml", "[policy]\nsign = false\n")
	s.now = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	s.build(ok)
	s.remove("zonebuild.toml")
	s.now = s.now.AddDate(0, 6, 0)
	s.build(ok)
	s.write("zonebuild.toml", "[policy]\nvalidity = \"60d\"\nrefresh = \"30d\"\n")
	s.build(ok)
	s.now = s.now.AddDate(0, 0, 9)
	s.write("zonebuild.toml", "[policy]\nvalidity = \"8d\"\nrefresh = \"5d\"\nmax-ttl = \"1h\"\n")
	s.build(ok)
}

// TestForgottenZone: a zone whose sources and product are both gone is known by
// what is left of it.
func TestForgottenZone(t *testing.T) {
	t.Parallel()
	for name, also := range map[string][]string{"last good": nil, "the state alone": {"state/last-good"}} {
		s := newSite(t, smallZone("www A 192.0.2.1\n"))
		s.build(ok)
		first := s.whole("example.org")
		for _, path := range append([]string{"soa/example.org", "signed/example.org", "unsigned/example.org"}, also...) {
			s.remove(path)
		}
		r := one(t, s.build(rejected), "example.org")
		if !r.Orphan || r.Action != build.Rejected || !strings.HasPrefix(s.alarms("example.org"), "input-rejected") {
			t.Errorf("%s: %+v, alarms %q", name, r, s.alarms("example.org"))
		}
		if also == nil {
			if again := s.whole("example.org"); again != first { // it is the last good file, as it was
				t.Errorf("serial %d after %d", again, first)
			}
		}
		if _, err := s.open().Retire(t.Context(), org(), nil); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if report := s.build(ok); len(report.Zones) > 0 {
			t.Errorf("%s: after it was retired: %+v", name, report.Zones)
		}
	}
}

// forgetful is a name server that lets go of a zone at the second request.
type forgetful struct{ asked int }

func (f *forgetful) DelZone(context.Context, domain.Name) error {
	if f.asked++; f.asked == 1 {
		return errors.New("it does not answer")
	}
	return nil
}

// TestRetireAgain: a retire that the name server did not carry out can be
// repeated; nothing is removed before.
func TestRetireAgain(t *testing.T) {
	t.Parallel()
	s := newSite(t, smallZone("www A 192.0.2.1\n"))
	s.build(ok)
	file := s.read("signed/example.org")
	s.remove("soa/example.org")
	server := &forgetful{}
	if _, err := s.open().Retire(t.Context(), org(), server); err == nil || !strings.Contains(err.Error(), "nothing is removed here yet") {
		t.Errorf("%v", err)
	}
	if s.read("signed/example.org") != file || s.read("state/last-good/example.org") != file {
		t.Error("a file is gone")
	}
	kept, err := s.open().Retire(t.Context(), org(), server)
	if err != nil || server.asked != 2 {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(kept); err != nil || string(b) != file {
		t.Errorf("kept: %v", err)
	}
	if got := s.list("signed"); len(got) > 0 {
		t.Errorf("left: %q", got)
	}
	if _, err := s.open().Retire(t.Context(), org(), server); err == nil {
		t.Error("retired twice")
	}
}

// TestSerialIsRemembered: also unsigned/ZONE and a retired zone know how far the
// serials had come.
func TestSerialIsRemembered(t *testing.T) {
	t.Parallel()
	s := newSite(t, smallZone("www A 192.0.2.1\n"))
	s.write("zonebuild.toml", "[policy]\nserial = \"counter\"\n")
	s.build(ok)
	for _, host := range []string{"2", "3", "4"} {
		s.write("primary/example.org", "ns1 A 192.0.2.53\nwww A 192.0.2."+host+"\n")
		s.build(ok)
	}
	before := s.whole("example.org")
	s.remove("signed")
	s.remove("state")
	s.build(ok)
	if after := s.whole("example.org"); after <= before {
		t.Errorf("serial %d after %d", after, before)
	}
	before = s.whole("example.org")
	soa := s.read("soa/example.org")
	s.remove("soa/example.org")
	if _, err := s.open().Retire(t.Context(), org(), nil); err != nil {
		t.Fatal(err)
	}
	s.write("soa/example.org", soa)
	s.build(ok)
	if after := s.whole("example.org"); after <= before {
		t.Errorf("a zone that came back: serial %d after %d", after, before)
	}
}

// TestApprovalOutlivesSigning: the last good records are signed anew between two
// approvals, and both hold.
func TestApprovalOutlivesSigning(t *testing.T) {
	t.Parallel()
	var hosts strings.Builder
	for i := range 20 {
		hosts.WriteString("h" + string(rune('a'+i)) + " A 192.0.2.1\n")
	}
	s := newSite(t, smallZone(hosts.String()))
	s.now = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)
	s.build(ok)
	s.write("primary/example.org", "; nothing\n")
	s.write("soa/example.org", "$TTL 1h\n@ SOA ns1.example.net. hostmaster 1 2h 30m 4w 1h\n@ NS ns1.example.net.\n")
	s.build(rejected)
	approve := func(guard string) {
		t.Helper()
		if _, err := s.open().Approve(t.Context(), org(), guard, s.now); err != nil {
			t.Fatal(err)
		}
	}
	approve("shrink")
	before := s.whole("example.org")
	s.now = s.now.AddDate(0, 0, 7)
	r := one(t, s.build(rejected), "example.org")
	if s.whole("example.org") <= before || len(r.Refusals) != 1 || r.Refusals[0].Code != "source-empty" {
		t.Fatalf("%+v", r)
	}
	approve("source-empty")
	s.build(ok)
}

// TestJunkInUnsigned: another hand's writing in unsigned/ZONE does not stay.
func TestJunkInUnsigned(t *testing.T) {
	t.Parallel()
	s := newSite(t, smallZone("www A 192.0.2.1\n"))
	s.build(ok)
	text := s.read("unsigned/example.org")
	first := s.whole("example.org")
	s.write("unsigned/example.org", text+"junk\n")
	s.build(ok)
	if s.read("unsigned/example.org") != text || s.whole("example.org") != first {
		t.Error("it stays, or the zone was published for it")
	}
}

// TestParentElsewhere: a zone of the tree above another is its parent only if no
// delegation stands between them, and only if it can be read.
func TestParentElsewhere(t *testing.T) {
	t.Parallel()
	head := "$TTL 1h\n@ SOA ns1.example.net. hostmaster 1 2h 30m 4w 1h\n@ NS ns1.example.net.\n"
	nobody := "resolver = [\"127.0.0.1@9\"]\n"
	for name, tt := range map[string]struct {
		child string
		files map[string]string
		want  string
	}{
		"delegated between": {"a.b.example.org", map[string]string{
			"soa/example.org": head, "primary/example.org": "b NS ns.example.net.\n",
		}, "ask for the DS of a.b.example.org. at its parent: "},
		"unreadable": {"sub.example.org", map[string]string{
			"soa/example.org": head,
		}, "look for the DS of sub.example.org. in its parent zone example.org.: primary/example.org: "},
	} {
		t.Run(name, func(t *testing.T) {
			tt.files["soa/"+tt.child], tt.files["primary/"+tt.child] = head, "www A 192.0.2.1\n"
			tt.files["zonebuild.toml"] = nobody
			s := newSite(t, tt.files)
			o := s.options()
			o.NewZone, o.Zones = false, []domain.Name{domain.MustParse(tt.child)}
			report, err := s.open().Build(t.Context(), o)
			if err != nil {
				t.Fatal(err)
			}
			r := report.Zones[0]
			if r.Action != build.Refused || r.Refusals[0].Code != "ds-first" || !strings.HasPrefix(r.Refusals[0].Message, tt.want) {
				t.Errorf("%+v", r)
			}
		})
	}
}

// TestReadOnlyTreeIsTold: where no lock can be had, alarm-command is told all the
// same.
func TestReadOnlyTreeIsTold(t *testing.T) {
	t.Parallel()
	s := newSite(t, smallZone("www A 192.0.2.1\n"))
	told := filepath.Join(t.TempDir(), "told")
	s.write("tell", "#!/bin/sh\ncat >>"+told+"\n")
	if err := os.Chmod(s.path("tell"), 0o755); err != nil {
		t.Fatal(err)
	}
	s.write("zonebuild.toml", "alarm-command = [\"./tell\"]\n")
	s.build(ok)
	s.remove("state/example.org.lock")
	if err := os.Mkdir(s.path("state/example.org.lock"), 0o755); err != nil { // no lock can be taken, as on a read-only disk
		t.Fatal(err)
	}
	s.build(failed)
	b, err := os.ReadFile(told)
	if err != nil || !strings.Contains(string(b), `"event":"raise","zone":"example.org.","code":"build-failed"`) {
		t.Errorf("told %q, %v", b, err)
	}
}
