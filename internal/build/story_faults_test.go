package build_test

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"zonebuild/internal/build"
	"zonebuild/internal/domain"
	"zonebuild/internal/lab"
	"zonebuild/internal/nsd"
	"zonebuild/internal/verify"
)

// twoZones is a tree in which one zone can break beside another.
func twoZones() map[string]string {
	files := smallZone("www A 192.0.2.1\n")
	files["soa/good.example"] = files["soa/example.org"]
	files["primary/good.example"] = files["primary/example.org"]
	return files
}

// TestServerDead: the verified file stays; the run after the restart confirms it.
func TestServerDead(t *testing.T) {
	t.Parallel()
	s := newSite(t, smallZone("www A 192.0.2.1\n"))
	d := s.nsd(domain.MustParse("example.org"))
	before := one(t, s.build(ok), "example.org")
	d.Kill()
	s.write("primary/example.org", "ns1 A 192.0.2.53\nwww A 192.0.2.2\n")
	r := one(t, s.build(failed), "example.org")
	if r.Action != build.Unconfirmed || r.Confirmed || r.Serial <= before.Serial {
		t.Errorf("%+v", r)
	}
	if got := s.alarms("example.org"); got != "unconfirmed" {
		t.Errorf("alarms: %q", got)
	}
	if got := s.whole("example.org"); got != r.Serial {
		t.Errorf("signed/ has serial %d, want %d", got, r.Serial)
	}
	file := s.read("signed/example.org")
	s.build(failed) // still dead, nothing new: it asks again, and writes nothing
	if s.read("signed/example.org") != file {
		t.Error("the file changed while the server was dead")
	}
	d.Restart()
	r2 := one(t, s.build(ok), "example.org")
	if r2.Action != build.Confirmed || !r2.Confirmed || r2.Serial != r.Serial || s.alarms("example.org") != "" {
		t.Errorf("%+v, alarms %q", r2, s.alarms("example.org"))
	}
}

// TestServerKnowsNotTheZone: the error holds what nsd.conf lacks; with a
// pattern, the zone is added.
func TestServerKnowsNotTheZone(t *testing.T) {
	t.Parallel()
	s := newSite(t, smallZone("www A 192.0.2.1\n"))
	d := s.nsd()
	r := one(t, s.build(failed), "example.org")
	for _, want := range []string{"zone:", `name: "example.org"`, `zonefile: "` + s.path("signed/example.org") + `"`} {
		if !strings.Contains(r.Error, want) {
			t.Errorf("the error lacks %q:\n%s", want, r.Error)
		}
	}
	if got := s.alarms("example.org"); got != "unconfirmed" {
		t.Errorf("alarms: %q", got)
	}
	d.Kill()

	s2 := newSite(t, twoZones())
	s2.nsd()
	d2 := lab.NSD(t, lab.NSDOptions{Dir: s2.path("signed"), Patterns: map[string]string{"ours": `zonefile: "%s"`}})
	s2.server = &nsd.Server{
		Control: d2.Control(), Addresses: addresses(d2.Addr()), Pattern: "ours",
		ZoneFile: func(apex domain.Name) string { return s2.path("signed", apex.FileName()) },
	}
	for _, r := range s2.build(ok).Zones {
		if !r.Confirmed {
			t.Errorf("%+v", r)
		}
	}
}

// TestBrokenPrimary: the zone stays published and is signed anew in time, for
// weeks; the other zones are built as ever.
func TestBrokenPrimary(t *testing.T) {
	t.Parallel()
	s := newSite(t, twoZones())
	s.now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	s.build(ok)
	s.write("primary/example.org", "ns1 A 192.0.2.53\nwww A 192.0.2.300\nwww CNAME ns1\n")
	s.write("primary/good.example", "ns1 A 192.0.2.53\nwww A 192.0.2.2\n")
	s.now = s.now.Add(time.Hour)
	file := s.read("signed/example.org")
	report := s.build(rejected)
	r := one(t, report, "example.org")
	if r.Action != build.Rejected || !r.Diagnostics.HasErrors() || !r.FaultsNew || s.read("signed/example.org") != file {
		t.Errorf("%+v", r)
	}
	if got := r.Diagnostics[0].Pos.String(); !strings.HasPrefix(got, "primary/example.org:2:") {
		t.Errorf("the fault is at %s", got)
	}
	if g := one(t, report, "good.example"); g.Action != build.Published || g.Code != ok {
		t.Errorf("%+v", g)
	}
	if got := s.alarms("example.org"); got != "input-rejected" {
		t.Errorf("alarms: %q", got)
	}
	resigned := 0
	for range 45 {
		s.now = s.now.AddDate(0, 0, 1)
		serial := s.whole("example.org") // by the signatures, nothing ran out since yesterday
		r := one(t, s.build(rejected), "example.org")
		if r.FaultsNew {
			t.Errorf("%s: the same faults are new again", s.now)
		}
		if r.NewSigs > 0 {
			resigned++
			if r.Serial <= serial {
				t.Errorf("%s: signed anew with serial %d after %d", s.now, r.Serial, serial)
			}
		}
		_, faults := verify.File(s.path("signed/example.org"), verify.Options{Now: s.now, MinLeft: 7 * 24 * time.Hour})
		if faults.HasErrors() {
			t.Fatalf("%s: %s", s.now, faults[0])
		}
		if !strings.Contains(s.read("signed/example.org"), "192.0.2.1\n") {
			t.Fatalf("%s: the last good records are gone", s.now)
		}
	}
	if resigned < 6 {
		t.Errorf("signed anew on %d of 45 days", resigned)
	}
	s.write("primary/example.org", "ns1 A 192.0.2.53\nwww A 192.0.2.3\n")
	if r := one(t, s.build(ok), "example.org"); r.Action != build.Published || s.alarms("example.org") != "" {
		t.Errorf("mended: %+v, alarms %q", r, s.alarms("example.org"))
	}
}

// TestThousandZones: a second run signs and writes nothing.
func TestThousandZones(t *testing.T) {
	t.Parallel()
	files := map[string]string{"zonebuild.toml": "[[zone]]\nnames-from = \"names\"\nsoa = \"soa\"\nprimary = [\"primary\"]\n"}
	var names, hosts strings.Builder
	for i := range 1000 {
		fmt.Fprintf(&names, "z%04d.example\n", i)
	}
	for i := range 17 {
		fmt.Fprintf(&hosts, "h%02d A 192.0.2.%d\n", i, i+1)
	}
	files["names"], files["primary"] = names.String(), "ns1 A 192.0.2.53\n"+hosts.String()
	files["soa"] = "$TTL 1h\n@ SOA ns1 hostmaster 1 2h 30m 4w 1h\n@ NS ns1\n"
	s := newSite(t, files)
	report := s.build(ok)
	if len(report.Zones) != 1000 {
		t.Fatalf("%d zones", len(report.Zones))
	}
	for _, r := range report.Zones {
		if r.Action != build.Published || r.NewSigs == 0 {
			t.Fatalf("%+v", r)
		}
	}
	s.whole("z0000.example")
	s.whole("z0999.example")
	stamp := s.stamps()
	for _, r := range s.build(ok).Zones {
		if r.Action != build.Unchanged || r.NewSigs != 0 || !r.Confirmed {
			t.Fatalf("the second run: %+v", r)
		}
	}
	if s.stamps() != stamp {
		t.Error("the second run wrote files")
	}
}

// TestSecretsAreNotRead: neither a fragment nor what it includes is a key, by
// whatever path, since a fault would quote it.
func TestSecretsAreNotRead(t *testing.T) {
	t.Parallel()
	for name, primary := range map[string]string{
		"included": "$INCLUDE keys/secret\n", "by a link": "$INCLUDE primary/link\n", "through a directory": "$INCLUDE primary/dir/secret\n", "round about": "$INCLUDE primary/chain\n",
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, smallZone(""))
			s.write("keys/secret", "PrivateKey: hush\n")
			s.write("primary/example.org", primary)
			for link, to := range map[string]string{"link": "../keys/secret", "dir": "../keys", "chain": "link", "out": "/etc/hostname"} {
				if err := os.Symlink(to, s.path("primary", link)); err != nil {
					t.Fatal(err)
				}
			}
			list, err := s.open().Check(t.Context(), nil, s.at())
			if err != nil || !strings.Contains(list[0].String(), "permission denied [include]") || strings.Contains(fmt.Sprint(list), "hush") {
				t.Errorf("%v %v", err, list)
			}
			s.remove("primary/example.org")
			if err := os.Symlink("link", s.path("primary", "example.org")); err != nil {
				t.Fatal(err)
			}
			list, err = s.open().Check(t.Context(), nil, s.at())
			if err != nil || !strings.Contains(list[0].String(), "permission denied [source-missing]") {
				t.Errorf("%v %v", err, list)
			}
			s.remove("primary/example.org")
			if err := os.Symlink("out", s.path("primary", "example.org")); err != nil {
				t.Fatal(err)
			}
			list, err = s.open().Check(t.Context(), nil, s.at())
			if err != nil || !strings.Contains(list[0].String(), "[source.NAME] path [source-missing]") {
				t.Errorf("%v %v", err, list)
			}
		})
	}
}
