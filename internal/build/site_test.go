package build_test

import (
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"zonebuild/internal/build"
	"zonebuild/internal/cli"
	"zonebuild/internal/domain"
	"zonebuild/internal/lab"
	"zonebuild/internal/nsd"
	"zonebuild/internal/publish"
	"zonebuild/internal/verify"
)

// site is a data tree of a test and the name server it is published to. Each
// build opens the tree anew, as a run of the program does.
type site struct {
	t      testing.TB
	dir    string
	now    time.Time // zero: the clock's
	server publish.Server
	looks  build.Observer // nil: nobody looks
}

// newSite makes a tree of files; text is by path.
func newSite(t testing.TB, files map[string]string) *site {
	t.Helper()
	s := &site{t: t, dir: t.TempDir(), server: &publish.None{}}
	for path, text := range files {
		s.write(path, text)
	}
	s.makeKeys()
	return s
}

// clusterSite is examples/cluster, with keys for every zone.
func clusterSite(t testing.TB) *site {
	t.Helper()
	s := &site{t: t, dir: t.TempDir(), server: &publish.None{}}
	if err := os.CopyFS(s.dir, os.DirFS("../../examples/cluster")); err != nil {
		t.Fatal(err)
	}
	s.makeKeys()
	return s
}

// smallZone is a tree of one zone with as many hosts.
func smallZone(hosts string) map[string]string {
	return map[string]string{
		"soa/example.org":     "$TTL 1h\n@ SOA ns1 hostmaster 1 2h 30m 4w 1h\n@ NS ns1\n",
		"primary/example.org": "ns1 A 192.0.2.53\n" + hosts,
	}
}

func (s *site) path(elem ...string) string {
	return filepath.Join(append([]string{s.dir}, elem...)...)
}

func (s *site) write(path, text string) {
	s.t.Helper()
	if err := os.MkdirAll(filepath.Dir(s.path(path)), 0o755); err != nil {
		s.t.Fatal(err)
	}
	if err := os.WriteFile(s.path(path), []byte(text), 0o644); err != nil {
		s.t.Fatal(err)
	}
}

func (s *site) read(path string) string {
	s.t.Helper()
	b, err := os.ReadFile(s.path(path))
	if err != nil {
		s.t.Fatal(err)
	}
	return string(b)
}

func (s *site) remove(path string) {
	s.t.Helper()
	if err := os.RemoveAll(s.path(path)); err != nil {
		s.t.Fatal(err)
	}
}

func (s *site) open() *build.Tree {
	s.t.Helper()
	tree, faults, err := build.Open(s.dir)
	if err != nil || faults.HasErrors() {
		s.t.Fatalf("open the tree: %v %v", err, faults)
	}
	s.t.Cleanup(func() { tree.Close() })
	return tree
}

func (s *site) makeKeys() {
	s.t.Helper()
	tree := s.open()
	for _, apex := range tree.MissingKeys() {
		if _, err := tree.MakeKeys(apex, build.KeyOptions{Now: s.at()}); err != nil {
			s.t.Fatal(err)
		}
	}
}

func (s *site) at() time.Time {
	if s.now.IsZero() {
		return time.Now().UTC().Truncate(time.Second)
	}
	return s.now
}

func (s *site) options() build.Options {
	return build.Options{Now: s.at(), NewZone: true, Server: s.server, Observer: s.looks, Log: slog.New(slog.NewTextHandler(io.Discard, nil))}
}

// build runs one pass and wants its exit code.
func (s *site) build(code int) build.Report {
	s.t.Helper()
	report, err := s.open().Build(s.t.Context(), s.options())
	if err != nil {
		s.t.Fatal(err)
	}
	if report.Code != code {
		for _, r := range report.Zones {
			if r.Code != 0 || code != 0 {
				s.t.Logf("%+v", r)
			}
		}
		s.t.Fatalf("exit %d, want %d", report.Code, code)
	}
	return report
}

// one gives the result of a zone.
func one(t testing.TB, report build.Report, zone string) build.Result {
	t.Helper()
	for _, r := range report.Zones {
		if r.Zone == domain.MustParse(zone) {
			return r
		}
	}
	t.Fatalf("no result for %s", zone)
	return build.Result{}
}

// status is what `zonebuild status` knows of a zone.
func (s *site) status(zone string) build.ZoneStatus {
	s.t.Helper()
	all, err := s.open().Status([]domain.Name{domain.MustParse(zone)}, s.at())
	if err != nil {
		s.t.Fatal(err)
	}
	return all[0]
}

// alarms are the codes of the standing alarms of a zone.
func (s *site) alarms(zone string) string {
	s.t.Helper()
	var codes []string
	for _, a := range s.status(zone).Alarms {
		codes = append(codes, a.Code)
	}
	return strings.Join(codes, " ")
}

// zones are the apexes of the tree.
func (s *site) zones() []domain.Name {
	var out []domain.Name
	for _, z := range s.open().Config.Zones {
		out = append(out, z.Name)
	}
	return out
}

// whole wants signed/ZONE to be verified, every signature, and gives its serial.
func (s *site) whole(zone string) uint32 {
	s.t.Helper()
	apex := domain.MustParse(zone)
	r, faults := verify.File(s.path("signed", apex.FileName()), verify.Options{Apex: apex, Now: s.at()})
	if faults.HasErrors() {
		s.t.Fatalf("signed/%s: %s", zone, faults[0])
	}
	return r.Serial
}

// nsd starts an NSD that serves signed/ with zones in its configuration, and
// makes it the site's server.
func (s *site) nsd(zones ...domain.Name) *lab.NSDServer {
	s.t.Helper()
	lab.Need(s.t, "nsd", "nsd-checkzone")
	if err := os.MkdirAll(s.path("signed"), 0o755); err != nil {
		s.t.Fatal(err)
	}
	o := lab.NSDOptions{Dir: s.path("signed")}
	for _, z := range zones {
		o.Zones = append(o.Zones, strings.TrimSuffix(z.String(), "."))
	}
	d := lab.NSD(s.t, o)
	s.server = &nsd.Server{
		Control: d.Control(), Addresses: []netip.AddrPort{netip.MustParseAddrPort(d.Addr())}, Checkzone: lab.Path(s.t, "nsd-checkzone"),
		ZoneFile: func(apex domain.Name) string { return s.path("signed", apex.FileName()) },
	}
	s.write("zonebuild.toml", s.config()+"\n[publish]\nserver = \"nsd\"\ncontrol = \""+d.Control()+"\"\naddress = [\""+d.Addr()+"\"]\ncheckzone = \""+lab.Path(s.t, "nsd-checkzone")+"\"\ntimeout = \"5s\"\n")
	return d
}

// config is the tree's configuration without its [publish] part.
func (s *site) config() string {
	b, err := os.ReadFile(s.path("zonebuild.toml"))
	if err != nil {
		return ""
	}
	text := string(b)
	at := strings.Index(text, "[publish]")
	if at < 0 {
		return text
	}
	if end := strings.Index(text[at:], "\n[["); end >= 0 {
		return text[:at] + text[at+end:]
	}
	return text[:at]
}

const (
	ok       = cli.ExitOK
	failed   = cli.ExitFailed
	rejected = cli.ExitRejected
)

func addresses(a string) []netip.AddrPort { return []netip.AddrPort{netip.MustParseAddrPort(a)} }

// stamps is the size and time of every file that the program writes, but for
// locks.
func (s *site) stamps() string {
	s.t.Helper()
	var b strings.Builder
	for _, dir := range []string{"signed", "unsigned", "state"} {
		err := filepath.WalkDir(s.path(dir), func(path string, e os.DirEntry, err error) error {
			if err != nil || e.IsDir() || strings.HasSuffix(path, ".lock") {
				return err
			}
			info, err := e.Info()
			if err == nil {
				fmt.Fprintln(&b, path, info.Size(), info.ModTime().UnixNano())
			}
			return err
		})
		if err != nil {
			s.t.Fatal(err)
		}
	}
	return b.String()
}
