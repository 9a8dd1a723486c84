package build_test

import (
	"context"
	"fmt"
	"math/rand"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"zonebuild/internal/domain"
	"zonebuild/internal/lab"
)

const kills = 500

// TestKillWhileBuilding: kill -9 at random instants, while a name server reads
// the output and is asked all the time.
func TestKillWhileBuilding(t *testing.T) {
	t.Parallel()
	s := newSite(t, twoZones())
	d := s.nsd(domain.MustParse("example.org"), domain.MustParse("good.example"))
	p := newProgram(t)
	began := time.Now()
	p.must("-C", s.dir, "build", "--new-zone")
	long := time.Since(began)
	watch := newWatcher(t, d.Addr(), "example.org", "good.example")

	random := rand.New(rand.NewSource(1))
	hit := 0
	var last string
	for i := range kills {
		last = fmt.Sprintf("10.%d.%d.1", i/250, i%250)
		s.write("primary/example.org", "ns1 A 192.0.2.53\nwww A "+last+"\n")
		if i%3 == 0 {
			s.write("primary/good.example", "ns1 A 192.0.2.53\nwww A "+last+"\n")
		}
		if p.killed(time.Duration(random.Int63n(int64(long))), "-C", s.dir, "build") {
			hit++
		}
		s.whole("example.org")
		s.whole("good.example")
		watch.look(t)
	}
	if hit < kills/4 {
		t.Errorf("only %d of %d runs were killed", hit, kills)
	}
	watch.stop()

	p.must("-C", s.dir, "build")
	for _, zone := range []string{"example.org", "good.example"} {
		serial := s.whole(zone)
		m := lab.Query(t, d.Addr(), zone, "SOA", lab.DO)
		if len(m.Answer) == 0 || m.Answer[0].(*dns.SOA).Serial != serial {
			t.Errorf("%s: signed/ has serial %d, the server answers\n%v", zone, serial, m)
		}
		if r := s.status(zone); !r.Confirmed || len(r.Alarms) > 0 {
			t.Errorf("%+v", r)
		}
	}
	if m := lab.Query(t, d.Addr(), "www.example.org", "A", 0); len(m.Answer) != 1 || m.Answer[0].(*dns.A).A.String() != last {
		t.Errorf("the last change is not served:\n%v", m)
	}
	if said := p.must("-C", s.dir, "build"); said != "" {
		t.Errorf("the run after the last says %q", said)
	}
	s.noTemporary("signed", "unsigned", "state")
}

// TestKillWhilePulling: the same at the name server's end.
func TestKillWhilePulling(t *testing.T) {
	t.Parallel()
	s := newSite(t, twoZones())
	s.build(ok)
	to := &site{t: t, dir: t.TempDir()}
	d := to.nsd(domain.MustParse("example.org"), domain.MustParse("good.example"))
	p := newProgram(t)
	args := []string{
		"publish", "--from", s.path("signed"), "--to", to.path("signed"), "--server", "nsd",
		"--control", d.Control(), "--address", d.Addr(), "--checkzone", lab.Path(t, "nsd-checkzone"),
	}
	began := time.Now()
	p.must(args...)
	long := time.Since(began)
	watch := newWatcher(t, d.Addr(), "example.org", "good.example")

	random := rand.New(rand.NewSource(2))
	hit := 0
	for i := range kills / 5 {
		s.write("primary/example.org", fmt.Sprintf("ns1 A 192.0.2.53\nwww A 10.0.0.%d\n", i))
		s.write("primary/good.example", fmt.Sprintf("ns1 A 192.0.2.53\nwww A 10.0.1.%d\n", i))
		s.build(ok)
		if p.killed(time.Duration(random.Int63n(int64(long))), args...) {
			hit++
		}
		to.whole("example.org")
		to.whole("good.example")
		watch.look(t)
	}
	if hit < kills/20 {
		t.Errorf("only %d of %d runs were killed", hit, kills/5)
	}
	watch.stop()
	p.must(args...)
	for _, zone := range []string{"example.org", "good.example"} {
		if to.read("signed/"+zone) != s.read("signed/"+zone) {
			t.Errorf("%s did not arrive", zone)
		}
		m := lab.Query(t, d.Addr(), zone, "SOA", 0)
		if len(m.Answer) != 1 || m.Answer[0].(*dns.SOA).Serial != s.whole(zone) {
			t.Errorf("%s is not served:\n%v", zone, m)
		}
	}
	if said := p.must(args...); said != "" {
		t.Errorf("the run after the last says %q", said)
	}
	to.noTemporary("signed")
}

func (s *site) noTemporary(dirs ...string) {
	s.t.Helper()
	for _, dir := range dirs {
		for _, pattern := range []string{"/.*.tmp", "/*/.*.tmp", "/.pull/*/.*.tmp"} {
			left, err := filepath.Glob(s.path(dir) + pattern)
			if err != nil || len(left) > 0 {
				s.t.Errorf("left behind: %q %v", left, err)
			}
		}
	}
}

// watcher asks a name server all the time for a name of each zone, with its
// signature.
type watcher struct {
	addr  string
	zones []string
	stop  func()

	mu    sync.Mutex
	asked int
	bad   []string
}

func newWatcher(t *testing.T, addr string, zones ...string) *watcher {
	w := &watcher{addr: addr, zones: zones}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			w.ask()
		}
	}()
	w.stop = func() { cancel(); <-done }
	t.Cleanup(func() { w.stop() })
	return w
}

func (w *watcher) ask() {
	client := dns.Client{Timeout: 2 * time.Second}
	for _, zone := range w.zones {
		q := new(dns.Msg).SetQuestion("www."+zone+".", dns.TypeA)
		q.SetEdns0(1232, true)
		m, _, err := client.Exchange(q, w.addr)
		w.mu.Lock()
		w.asked++
		switch {
		case err != nil: // a datagram may be lost
		case m.Rcode != dns.RcodeSuccess || !m.Authoritative || len(m.Answer) != 2:
			w.bad = append(w.bad, strings.ReplaceAll(m.String(), "\n", " "))
		}
		w.mu.Unlock()
	}
}

// look fails the test if an answer was bad since the last look.
func (w *watcher) look(t *testing.T) {
	t.Helper()
	w.ask()
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.bad) > 0 {
		t.Fatalf("%d bad answers, the first: %s", len(w.bad), w.bad[0])
	}
}
