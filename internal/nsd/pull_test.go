package nsd_test

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"zonebuild/internal/domain"
	"zonebuild/internal/lab"
	"zonebuild/internal/publish"
)

// spoiler is an nsd whose zone file somebody breaks between check and reload.
type spoiler struct {
	publish.Server
	spoil func()
}

func (s *spoiler) Reload(ctx context.Context, apexes []domain.Name) map[domain.Name]error {
	if s.spoil != nil {
		s.spoil()
		s.spoil = nil
	}
	return s.Server.Reload(ctx, apexes)
}

// TestPull: the name server's end, with zones signed by ldns, nsd's checker and
// an nsd that does not know the zone at first.
func TestPull(t *testing.T) {
	t.Parallel()
	lab.Need(t, "ldns-keygen", "ldns-signzone")
	f := newFixture(t, lab.NSDOptions{Patterns: map[string]string{"p": `zonefile: "%s"`}})
	f.srv.Pattern = "p"
	server := &spoiler{Server: f.srv}
	o := publish.PullOptions{From: t.TempDir(), To: f.Dir(), Now: time.Now(), Server: server, Timeout: confirmTimeout}
	ksk, zsk := lab.LDNSKeys(t, "a.test")
	offer := func(serial int, address string) {
		text := "$ORIGIN a.test.\n" + zoneText(serial, address)
		if err := os.WriteFile(o.From+"/a.test", lab.LDNSSign(t, "a.test", text, o.Now, ksk, zsk), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	pull := func(action string, serial uint32, address string) publish.Pulled {
		t.Helper()
		all, err := publish.Pull(t.Context(), o)
		if err != nil || len(all) != 1 {
			t.Fatalf("pull: %+v, %v\n%s", all, err, f.Log())
		}
		if z := all[0]; z.Action != action || z.Serial != serial {
			t.Errorf("%+v, want %s %d\n%s", z, action, serial, f.Log())
		}
		if m := lab.Query(t, f.Addr(), "www.a.test", "A", lab.DO); len(m.Answer) != 2 || !strings.HasSuffix(m.Answer[0].String(), "\t"+address) || m.Answer[1].Header().Rrtype != dns.TypeRRSIG {
			t.Errorf("%s: nsd answers\n%v", action, m)
		}
		return all[0]
	}

	offer(1, "192.0.2.2")
	pull(publish.PullPublished, 1, "192.0.2.2")
	pull(publish.PullUnchanged, 1, "192.0.2.2")
	offer(2, "192.0.2.3")
	pull(publish.PullPublished, 2, "192.0.2.3")
	offer(1, "192.0.2.2")
	pull(publish.PullRejected, 2, "192.0.2.3")

	// nsd is away while a zone changes, and comes back with it.
	offer(3, "192.0.2.4")
	server.spoil = f.Kill
	o.Timeout = 100 * time.Millisecond
	all, err := publish.Pull(t.Context(), o)
	if err != nil || all[0].Confirmed || !strings.Contains(all[0].Error, "connection refused") {
		t.Errorf("nsd down: %+v, %v", all, err)
	}
	o.Timeout = confirmTimeout
	f.Restart()
	pull(publish.PullUnchanged, 3, "192.0.2.4")

	// nsd fails on the file: the last good one is served again.
	offer(4, "192.0.2.5")
	server.spoil = func() { f.write("a.test", "broken") }
	z := pull(publish.PullPutBack, 3, "192.0.2.4")
	if !strings.Contains(z.Error, "could not load serial 4") {
		t.Errorf("put back: %+v", z)
	}
	pull(publish.PullRejected, 3, "192.0.2.4")
	offer(5, "192.0.2.6")
	pull(publish.PullPublished, 5, "192.0.2.6")

	// The checker of this nsd refuses: nothing is touched.
	offer(6, "192.0.2.7")
	f.srv.Checkzone = lab.Path(t, "false")
	if z := pull(publish.PullFailed, 5, "192.0.2.6"); !strings.Contains(z.Error, "refuses the zone") {
		t.Errorf("checker: %+v", z)
	}
}

// TestUnderLoad: a reload of many zones while queries go on loses no answer.
func TestUnderLoad(t *testing.T) {
	t.Parallel()
	f := start(t)
	stop, done := make(chan struct{}), make(chan error, 1)
	go func() {
		c := dns.Client{Timeout: 2 * time.Second}
		q := new(dns.Msg).SetQuestion("www.a.test.", dns.TypeA)
		for n := 0; ; n++ {
			select {
			case <-stop:
				done <- nil
				return
			default:
			}
			if m, _, err := c.Exchange(q, f.Addr()); err != nil || m.Rcode != dns.RcodeSuccess {
				done <- fmt.Errorf("query %d: %v, %w", n, m, err)
				return
			}
		}
	}()
	for serial := 2; serial < 12; serial++ {
		f.write("a.test", zoneText(serial, "192.0.2.2"))
		f.reload("a.test")
		f.wantOutcome(f.confirm("a.test", uint32(serial), confirmTimeout), publish.Confirmed, "")
	}
	close(stop)
	if err := <-done; err != nil {
		t.Error(err)
	}
}
