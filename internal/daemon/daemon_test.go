package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"zonebuild/internal/build"
	"zonebuild/internal/cli"
	"zonebuild/internal/diag"
	"zonebuild/internal/domain"
	"zonebuild/internal/durable"
	"zonebuild/internal/lab"
	"zonebuild/internal/nsd"
	"zonebuild/internal/publish"
)

// site is a tree of a test with a daemon at work.
type testSite struct {
	t      *testing.T
	dir    string
	nsd    *lab.NSDServer // nil: none
	reload chan struct{}
	follow Follow
	notify *Notify
	listen net.Listener
	clock  func() time.Time // nil: that of the system
	saw    func(*build.Report)
	poll   bool // only

	believe time.Duration // of a clock that was set; 0 = as ever

	mu      sync.Mutex
	log     strings.Builder
	refused string // of the drop boxes, at the last pass
	end     func() error
	d       *Daemon

	ended chan error // what Run gave
}

const goodValue = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQ"

func newSite(t *testing.T, withNSD bool) *testSite {
	t.Helper()
	return newSiteIn(t, t.TempDir(), withNSD)
}

func newSiteIn(t *testing.T, dir string, withNSD bool) *testSite {
	t.Helper()
	s := &testSite{t: t, dir: dir, reload: make(chan struct{}, 1)}
	s.write("soa/example.org", "$TTL 1h\n@ SOA ns1 hostmaster 1 2h 30m 4w 1h\n@ NS ns1\n")
	s.write("primary/example.org", "ns1 A 192.0.2.53\nwww A 192.0.2.80\n")
	s.write("dnsextra/.keep", "")
	config := ""
	if withNSD {
		lab.Need(t, "nsd", "nsd-checkzone")
		s.write("signed/.keep", "")
		s.nsd = lab.NSD(t, lab.NSDOptions{Dir: s.path("signed"), Zones: []string{"example.org"}})
		config = fmt.Sprintf("[publish]\nserver = \"nsd\"\ncontrol = %q\naddress = [%q]\ncheckzone = %q\ntimeout = \"3s\"\n", s.nsd.Control(), s.nsd.Addr(), lab.Path(t, "nsd-checkzone"))
	}
	s.write("zonebuild.toml", config+"[[drop-box]]\npath = \"dnsextra\"\nmax-values = 200\n")
	tree := s.open()
	for _, apex := range tree.MissingKeys() {
		if _, err := tree.MakeKeys(apex, build.KeyOptions{Now: time.Now().UTC()}); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

func (s *testSite) open() *build.Tree {
	s.t.Helper()
	tree, faults, err := build.Open(s.dir)
	if err != nil || faults.HasErrors() {
		s.t.Fatalf("open the tree: %v %v", err, faults)
	}
	s.t.Cleanup(func() { tree.Close() })
	return tree
}

func (s *testSite) path(name string) string { return filepath.Join(s.dir, name) }

// write replaces a file by renaming, as a version control system does.
func (s *testSite) write(name, text string) {
	s.t.Helper()
	path := s.path(name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		s.t.Fatal(err)
	}
	tmp := filepath.Join(filepath.Dir(path), ".new")
	if err := os.WriteFile(tmp, []byte(text), 0o644); err != nil {
		s.t.Fatal(err)
	}
	if err := os.Rename(tmp, path); err != nil {
		s.t.Fatal(err)
	}
}

func (s *testSite) remove(name string) {
	s.t.Helper()
	if err := os.Remove(s.path(name)); err != nil {
		s.t.Fatal(err)
	}
}

// Write is the log of the daemon.
func (s *testSite) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.log.Write(b)
}

// logged is how often a text was said.
func (s *testSite) logged(text string) int { return strings.Count(s.said(), text) }

func (s *testSite) said() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.log.String()
}

// boxes is what was left out of the drop boxes.
func (s *testSite) boxes() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.refused
}

func serverOf(t *build.Tree) (publish.Server, error) {
	p := &t.Config.Publish
	if p.Server != "nsd" {
		return &publish.None{}, nil
	}
	return &nsd.Server{
		Control: p.Control, Addresses: p.Address, Checkzone: p.Checkzone, ZoneFile: t.PublishedPath,
	}, nil
}

func (s *testSite) daemon() *Daemon {
	now := s.clock
	if now == nil {
		now = time.Now
	}
	return &Daemon{
		Dir: s.dir, ServerOf: serverOf, Now: now, Log: slog.New(slog.NewTextHandler(s, &slog.HandlerOptions{Level: slog.LevelDebug})),
		believe: s.believe, Reload: s.reload, NewZone: true, NoEvents: s.poll, Follow: s.follow, Notify: s.notify, Listen: s.listen,
		Faults: func(l diag.List) {
			for _, f := range l {
				fmt.Fprintln(s, f)
			}
		},
		Said: func(r *build.Report, revision string) {
			if s.saw != nil {
				s.saw(r)
			}
			s.mu.Lock()
			s.refused = fmt.Sprint(r.Boxes)
			s.mu.Unlock()
			for _, z := range r.Zones {
				fmt.Fprintf(s, "zone %s %s code %d revision %q %s%s\n", z.Zone, z.Action, z.Code, revision, z.Error, z.Kept)
			}
		},
	}
}

// start runs the daemon until the test ends, or stop.
func (s *testSite) start() *testSite {
	s.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	s.d, s.ended = s.daemon(), ended
	go func() { ended <- s.d.Run(ctx) }()
	s.end = sync.OnceValue(func() error {
		cancel()
		return <-ended
	})
	s.t.Cleanup(func() {
		s.stop()
		if s.t.Failed() {
			s.t.Log(s.said())
		}
	})
	return s
}

func (s *testSite) stop() {
	s.t.Helper()
	if err := s.end(); err != nil {
		s.t.Errorf("the daemon ended with: %v", err)
	}
}

// until waits for a condition.
func (s *testSite) until(what string, ok func() bool) {
	s.t.Helper()
	lab.Until(s.t, what, func() error {
		if !ok() {
			return errors.New(what)
		}
		return nil
	})
}

// published reports whether signed/example.org has a text.
func (s *testSite) published(text string) func() bool {
	return func() bool {
		b, _ := os.ReadFile(s.path("signed/example.org"))
		return strings.Contains(string(b), text)
	}
}

func not(f func() bool) func() bool { return func() bool { return !f() } }

// txt are the values at an owner that nsd answers with; nil when it does not answer.
func (s *testSite) txt(owner string) []string {
	q := new(dns.Msg)
	q.SetQuestion(owner, dns.TypeTXT)
	in, _, err := (&dns.Client{Net: "tcp", Timeout: time.Second}).Exchange(q, s.nsd.Addr())
	if err != nil || in.Rcode == dns.RcodeServerFailure {
		return nil
	}
	out := []string{}
	for _, rr := range in.Answer {
		if x, ok := rr.(*dns.TXT); ok {
			out = append(out, strings.Join(x.Txt, ""))
		}
	}
	return out
}

func (s *testSite) answers(owner, value string) func() bool {
	return func() bool {
		for _, v := range s.txt(owner) {
			if v == value {
				return true
			}
		}
		return false
	}
}

// drop puts a challenge for a name into the drop box.
func (s *testSite) drop(label, value string) {
	s.t.Helper()
	owner := "_acme-challenge." + label + "example.org"
	s.write("dnsextra/"+owner, fmt.Sprintf("%s. 60 IN TXT %q\n", owner, value))
}

func (s *testSite) status() build.ZoneStatus {
	s.t.Helper()
	all, err := s.open().Status([]domain.Name{domain.MustParse("example.org")}, time.Now())
	if err != nil {
		s.t.Fatal(err)
	}
	return all[0]
}

func (s *testSite) alarmed(code string) func() bool {
	return func() bool {
		for _, a := range s.status().Alarms {
			if a.Code == code {
				return true
			}
		}
		return false
	}
}

// TestFragmentsAnswered: what is dropped is answered by nsd, and gone again; a
// hundred more, and nsd killed and started again meanwhile.
func TestFragmentsAnswered(t *testing.T) {
	s := newSite(t, true).start()
	s.until("the zone is confirmed", func() bool { return s.status().Confirmed })

	begin := time.Now()
	s.drop("", goodValue)
	s.until("the challenge is answered", s.answers("_acme-challenge.example.org.", goodValue))
	t.Logf("dropped to answered: %s", time.Since(begin))
	s.remove("dnsextra/_acme-challenge.example.org")
	s.until("the challenge is gone", func() bool { v := s.txt("_acme-challenge.example.org."); return v != nil && len(v) == 0 })

	const many = 100
	value := func(i int) string { return fmt.Sprintf("%s%03d", goodValue[:40], i) }
	host := func(i int) string { return fmt.Sprintf("h%d.", i) }
	for i := range many {
		s.drop(host(i), value(i))
		if i == many/2 {
			s.nsd.Kill()
		}
	}
	s.nsd.Restart()
	for i := range many {
		s.until(fmt.Sprintf("challenge %d is answered", i), s.answers("_acme-challenge."+host(i)+"example.org.", value(i)))
	}
	for i := range many {
		s.remove("dnsextra/_acme-challenge." + host(i) + "example.org")
	}
	for i := range many {
		s.until(fmt.Sprintf("challenge %d is gone", i), func() bool { v := s.txt("_acme-challenge." + host(i) + "example.org."); return v != nil && len(v) == 0 })
	}
	s.until("the zone is confirmed at last", func() bool { return s.status().Confirmed && len(s.status().Alarms) == 0 })
}

// TestNoEvents: all is found without events.
func TestNoEvents(t *testing.T) {
	s := newSite(t, false)
	s.poll = true
	s.start()
	s.until("the zone is published", s.published("www"))
	s.drop("", goodValue)
	s.until("the challenge is published", s.published(goodValue))
	s.write("primary/example.org", "ns1 A 192.0.2.53\nother A 192.0.2.81\n")
	s.until("the change is published", s.published("other"))
}

// TestServerDown: what is published while nsd is down is confirmed when it is back,
// without a change.
func TestServerDown(t *testing.T) {
	s := newSite(t, true).start()
	s.until("the zone is confirmed", func() bool { return s.status().Confirmed })
	s.nsd.Kill()
	s.write("primary/example.org", "ns1 A 192.0.2.53\nwww TXT down\n")
	s.until("an alarm", s.alarmed("unconfirmed"))
	s.nsd.Restart()
	s.until("the zone is confirmed again", func() bool { return s.status().Confirmed })
	s.until("its record is answered", s.answers("www.example.org.", "down"))
	s.until("the alarm is over", not(s.alarmed("unconfirmed")))
}

// TestServedOld: a server that forgot what it confirmed is told again.
func TestServedOld(t *testing.T) {
	s := newSite(t, true)
	s.start()
	s.until("the zone is confirmed", func() bool { return s.status().Confirmed })
	s.d.mu.Lock()
	site := s.d.site
	s.d.mu.Unlock()
	apex := domain.MustParse("example.org")
	s.until("the pass is over", func() bool { fact, ok := site.ledger.zone(apex); return ok && fact.confirmed })
	if fact, ok := site.ledger.zone(apex); !ok || site.doubts(t.Context(), apex, fact.serial) {
		t.Fatal("what is served rightly is doubted")
	}
	if fact, _ := site.ledger.zone(apex); !site.doubts(t.Context(), apex, fact.serial+1) {
		t.Error("an old serial is not doubted")
	}
	s.nsd.Kill()
	fact, _ := site.ledger.zone(apex)
	if site.doubts(t.Context(), apex, fact.serial) {
		t.Error("one silence is a restart")
	}
	if !site.doubts(t.Context(), apex, fact.serial) {
		t.Error("two silences are none")
	}
	s.nsd.Restart()
}

func TestReload(t *testing.T) {
	s := newSite(t, false)
	s.write("zonebuild.toml", `alarm-command = ["sh", "-c", "cat >>alarms"]`+"\n")
	s.start()
	s.until("the zone is published", s.published("www"))
	s.write("zonebuild.toml", "nonsense = 1\n")
	alarms := func(text string) func() bool {
		return func() bool {
			b, _ := os.ReadFile(s.path("alarms"))
			return strings.Contains(string(b), text)
		}
	}
	s.until("the alarm", alarms(`{"event":"raise","source":"","code":"reload-failed","message":"load the configuration: zonebuild.toml:1:1: unknown key nonsense [config-unknown]`))
	s.write("primary/example.org", "ns1 A 192.0.2.53\nold A 192.0.2.81\n")
	s.until("the old configuration holds", s.published("old.example.org."))
	s.write("zonebuild.toml", `alarm-command = ["sh", "-c", "cat >>alarms"]`+"\noutput-mode = \"0640\"\n")
	s.reload <- struct{}{}
	s.until("the alarm is over", alarms(`{"event":"clear","source":"","code":"reload-failed"`))
	s.write("primary/example.org", "ns1 A 192.0.2.53\nnew A 192.0.2.82\n")
	s.until("the new configuration holds", func() bool {
		info, err := os.Stat(s.path("signed/example.org"))
		return err == nil && info.Mode().Perm() == 0o640 && s.published("new.example.org.")()
	})
}

// TestZonesComeAndGo: a file in soa/ is a zone.
func TestZonesComeAndGo(t *testing.T) {
	s := newSite(t, false)
	s.write("zonebuild.toml", "[policy]\nsign = false\n")
	s.start()
	s.until("the first zone is published", s.published("www"))
	s.write("primary/example.net", "www A 192.0.2.1\n")
	s.write("soa/example.net", "$TTL 1h\n@ SOA ns1.example.org. hostmaster 1 2h 30m 4w 1h\n@ NS ns1.example.org.\n")
	s.until("the new zone is published", func() bool {
		_, err := os.Stat(s.path("signed/example.net"))
		return err == nil
	})
}

// TestHeld: under a lock of git nothing of the tree is read, while challenges come
// and go as always.
func TestHeld(t *testing.T) {
	s := newSite(t, false)
	s.start()
	s.until("the zone is published", s.published("www"))
	s.write(".git/index.lock", "")
	s.write("primary/example.org", "ns1 A 192.0.2.53\nhalf A 192.0.2.81\n")
	s.drop("", goodValue)
	s.until("the challenge is published", s.published(goodValue))
	if !s.published("www")() || s.published("half")() {
		t.Error("what is under the lock was read")
	}
	s.remove(".git/index.lock")
	s.until("the change is published", s.published("half"))
	if !s.published(goodValue)() {
		t.Error("the challenge is gone")
	}
}

// TestHeldFromTheStart: of what nobody read yet, the published zone stays.
func TestHeldFromTheStart(t *testing.T) {
	s := newSite(t, false)
	s.start()
	s.until("the zone is published", s.published("www"))
	s.stop()
	s.write(".git/index.lock", "")
	s.write("primary/example.org", "broken\n")
	s.start()
	s.until("a pass", func() bool { return strings.Contains(s.said(), "zone example.org. waiting code 0") })
	if len(s.status().Alarms) > 0 {
		t.Errorf("alarms: %v", s.status().Alarms)
	}
	s.remove(".git/index.lock")
	s.until("the fault", s.alarmed("input-rejected"))
	if !s.published("www")() {
		t.Error("the last good zone is gone")
	}
}

// TestApprove: an approval by another process is noticed.
func TestApprove(t *testing.T) {
	s := newSite(t, false)
	var hosts strings.Builder
	for i := range 20 {
		fmt.Fprintf(&hosts, "h%d A 192.0.2.1\n", i)
	}
	s.write("primary/example.org", "ns1 A 192.0.2.53\n"+hosts.String())
	s.start()
	s.until("the zone is published", s.published("h19.example.org."))
	s.write("primary/example.org", "ns1 A 192.0.2.53\n")
	s.until("the refusal", s.alarmed("guard"))
	if _, err := s.open().Approve(t.Context(), domain.MustParse("example.org"), "shrink", time.Now().UTC()); err != nil {
		t.Fatal(err)
	}
	s.until("the approved zone is published", not(s.published("h19.example.org.")))
	s.until("the alarm is over", not(s.alarmed("guard")))
}

// TestBeside: a second daemon is refused, a build is not, and what the build did is
// seen; what another hand did to signed/ is mended.
func TestBeside(t *testing.T) {
	s := newSite(t, false)
	s.start()
	s.until("the zone is published", s.published("www"))
	err := s.daemon().Run(t.Context())
	if !errors.Is(err, durable.ErrLocked) || !strings.Contains(err.Error(), fmt.Sprintf("(pid %d)", os.Getpid())) || cli.Code(err) != cli.ExitFailed {
		t.Errorf("a second daemon: %v", err)
	}
	report, err := s.open().Build(t.Context(), build.Options{Now: time.Now().UTC(), Server: &publish.None{}, Log: slog.New(slog.DiscardHandler)})
	if err != nil || report.Code != 0 {
		t.Errorf("build beside the daemon: %v %+v", err, report)
	}
	s.write("signed/example.org", "; nothing\n")
	s.until("the file is mended", s.published("www"))
}

// TestIncludes: a file outside primary/ that a fragment includes is watched.
func TestIncludes(t *testing.T) {
	s := newSite(t, false)
	s.write("common/mail", "mail A 192.0.2.25\n")
	s.write("primary/example.org", "ns1 A 192.0.2.53\n$INCLUDE common/mail\n")
	s.start()
	s.until("the zone is published", s.published("192.0.2.25"))
	s.until("the include is watched", func() bool {
		s.d.mu.Lock()
		defer s.d.mu.Unlock()
		s.d.site.mu.Lock()
		defer s.d.site.mu.Unlock()
		return s.d.site.follow()
	})
	s.write("common/mail", "mail A 192.0.2.26\n")
	s.until("the change is published", s.published("192.0.2.26"))

	// Dated leases, one after the other: what is no longer included is forgotten.
	for _, lease := range []string{"one", "two", "three"} {
		s.write("common/"+lease, lease+" A 192.0.2.27\n")
		s.write("primary/example.org", "ns1 A 192.0.2.53\n$INCLUDE common/"+lease+"\n")
		s.until("it is published", s.published(lease))
	}
	s.until("the others are forgotten", func() bool {
		s.d.mu.Lock()
		defer s.d.mu.Unlock()
		s.d.site.mu.Lock()
		defer s.d.site.mu.Unlock()
		return len(s.d.site.index) == 3 && s.d.site.index[s.path("common/three")] != nil
	})
	s.write("common/three", "four A 192.0.2.28\n")
	s.until("the last is watched", s.published("192.0.2.28"))
}

// TestFirstConfiguration: a daemon does not begin with a bad one.
func TestFirstConfiguration(t *testing.T) {
	s := newSite(t, false)
	s.write("zonebuild.toml", "nonsense = 1\n")
	err := s.daemon().Run(t.Context())
	if cli.Code(err) != cli.ExitRejected || !strings.Contains(s.said(), "unknown key nonsense") {
		t.Errorf("%v (exit %d)\n%s", err, cli.Code(err), s.said())
	}
}
