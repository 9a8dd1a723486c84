package main

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"zonebuild/internal/cli"
	"zonebuild/internal/lab"
)

// shut wants a key change that was asked for to wait, whatever time goes by, and the
// status to say why.
func (y *yard) shut(why string) {
	y.t.Helper()
	for range 3 {
		if said := y.does(cli.ExitOK, "run"); strings.Contains(said, "issue") {
			y.t.Fatalf("%s\n%s", why, said)
		}
		y.past += 80 * time.Minute
	}
	s := y.status()
	if s.Generation != 1 || !strings.Contains(fmt.Sprint(s.Waits), "the next key waits: "+mailOwner+": ") || !strings.Contains(fmt.Sprint(s.Waits), why) {
		y.t.Fatalf("%q: %+v", why, s)
	}
	if out := y.does(cli.ExitOK, "status"); !strings.Contains(out, why) {
		y.t.Fatalf("%s", out)
	}
}

// TestGate: two name servers and a resolver, each of which is wrong in its own way:
// the key does not change, and it is said which of them is the reason.
func TestGate(t *testing.T) {
	w := newTown(t, lab.NewPebble)
	mirror := func() (*lab.NSDServer, func(change func(string) string)) {
		dir := t.TempDir()
		file := filepath.Join(dir, "example.org")
		if err := os.WriteFile(file, []byte(w.signed()), 0o644); err != nil {
			t.Fatal(err)
		}
		n := lab.NSD(t, lab.NSDOptions{Dir: dir, Zones: []string{"example.org"}})
		return n, func(change func(string) string) {
			t.Helper()
			if err := os.WriteFile(file, []byte(change(w.signed())), 0o644); err != nil {
				t.Fatal(err)
			}
			n.Restart()
		}
	}
	same := func(s string) string { return s }
	second, copyTo := mirror()
	resolver, resolves := mirror()
	toml := w.read("acmehook.toml")
	w.does(cli.ExitOK, "init")
	w.busy(cli.ExitOK, "issue", "mail")
	w.load()
	w.pass(30 * time.Minute)
	w.does(cli.ExitOK, "rollover", "mail")
	first := w.served()[0]
	if len(w.served()) != 2 {
		t.Fatalf("%v", w.served())
	}
	toml = strings.Replace(toml, fmt.Sprintf("servers = [%q]\nresolver = [%[1]q]", w.nsd.Addr()), fmt.Sprintf("servers = [%q, %q]\nresolver = [%q]", w.nsd.Addr(), second.Addr(), resolver.Addr()), 1)
	w.write("acmehook.toml", toml)
	at := strings.Replace(second.Addr(), ":", "@", 1)

	// One server has a zone of before; then the resolver has, which proves it.
	w.shut(at + " has no TLSA records")
	copyTo(same)
	w.shut("the records that DNSSEC proves lack those of the next key")
	resolves(same)
	next := w.spki("lines/mail/next/pubkey.pem")
	without := regexp.MustCompile("(?m)^.*(?i:" + next + ").*$")
	copyTo(func(s string) string { return without.ReplaceAllString(s, "") })
	w.shut(at + " lacks those of the next key")
	copyTo(func(s string) string { return regexp.MustCompile(`(?m)^_25\._tcp.*$`).ReplaceAllString(s, "") })
	w.shut(at + " has no TLSA records")
	second.Stop()
	w.shut(at + " does not answer: ")
	second.Restart()
	copyTo(same)
	// A signature that is broken, one that is gone.
	signature := regexp.MustCompile(`(?m)^(_25\._tcp\S*\s.*RRSIG\s+TLSA .*) (\S{10})(\S*)$`)
	if !signature.MatchString(w.signed()) {
		t.Fatalf("no signature in\n%s", w.signed())
	}
	resolves(func(s string) string { return signature.ReplaceAllString(s, "$1 AAAAAAAAAA$3") })
	w.shut("DNSSEC: bogus: ")
	resolves(func(s string) string { return signature.ReplaceAllString(s, "") })
	w.shut("DNSSEC: ")
	resolver.Stop()
	w.shut("")
	// All is well again: it waits as long as caches may hold what was before, then changes.
	resolver.Restart()
	resolves(same)
	w.does(cli.ExitOK, "run")
	s := w.status()
	if s.Generation != 1 || len(s.Waits) == 0 || s.Waits[0].At.Sub(w.now()) < time.Hour || s.Waits[0].At.Sub(w.now()) > 3*time.Hour {
		t.Fatalf("%+v", s)
	}
	for end := s.Waits[0].At; w.now().Add(time.Hour).Before(end); {
		w.past += 50 * time.Minute
		w.does(cli.ExitOK, "run")
	}
	w.past += time.Hour
	w.write("acmehook.toml", strings.Replace(toml, fmt.Sprintf(", %q]", second.Addr()), "]", 1)) // challenges go to one server only
	w.busy(cli.ExitOK, "run")
	if s := w.status(); s.Generation != 2 || w.spki("lines/mail/live/cert.pem") == first && w.spki("lines/mail/live/cert.pem") != next {
		t.Fatalf("%+v", s)
	}

	// A zone whose signatures do not hold costs no failure at the CA.
	orders := strings.Count(w.ca.Log(), "POST /order-plz")
	resolves(func(s string) string {
		return regexp.MustCompile(`(?m)^(\S+\s.*RRSIG\s+(?:NSEC|NSEC3|SOA) .*) (\S{10})(\S*)$`).ReplaceAllString(s, "$1 AAAAAAAAAA$3")
	})
	w.says(cli.ExitFailed, "before an order: DNSSEC of mail.example.org.: bogus: ", "renew", "mail", "--force")
	if n := strings.Count(w.ca.Log(), "POST /order-plz"); n != orders {
		t.Errorf("%d orders", n-orders)
	}
}

// pinned is a line in the yard whose key is to change when DNS allows it: the first
// certificate is live and pinned, with a TTL in seconds.
func pinned(t *testing.T, ttl int) *yard {
	y := newYard(t)
	ca := lab.NewFakeCA(t)
	y.ages(ca)
	y.configure(ca, fakeLine+"services = [\"smtp\"]\n[service.smtp]\nhost = \"mail.example.org\"\nport = 25\nprobe = \"none\"\n")
	y.does(cli.ExitOK, "init")
	y.does(cli.ExitOK, "issue", "mail")
	y.does(cli.ExitOK, "live", "mail")
	y.does(cli.ExitOK, "run")
	y.does(cli.ExitOK, "rollover", "mail")
	y.tlsa(mailOwner, ttl, "live/cert.pem")
	return y
}

// tlsa puts records for files of the line in the place of all others.
func (y *yard) tlsa(owner string, ttl int, files ...string) {
	y.t.Helper()
	y.mu.Lock()
	y.records = nil
	y.mu.Unlock()
	for _, f := range files {
		y.record(fmt.Sprintf("%s %d IN TLSA 3 1 1 %s", owner, ttl, y.spki("lines/mail/"+f)))
	}
}

// opens wants the gate to open after so long, and not before.
func (y *yard) opens(after time.Duration) {
	y.t.Helper()
	y.does(cli.ExitOK, "run")
	begin := y.past
	y.past = begin + after - 5*time.Second
	y.does(cli.ExitOK, "run")
	if s := y.status(); s.Generation != 1 || !strings.Contains(fmt.Sprint(s.Waits), "caches may hold what was before") {
		y.t.Fatalf("%+v", s)
	}
	y.past = begin + after + 5*time.Second
	y.does(cli.ExitOK, "run")
	if s := y.status(); s.Generation != 2 {
		y.t.Fatalf("%+v", s)
	}
}

// later is when the gate of pinned opens, which a run in between has seen to be right.
func (y *yard) later() {
	y.t.Helper()
	y.past += 40 * time.Minute
	y.does(cli.ExitOK, "run")
	y.past += 40 * time.Minute
}

// TestGateUnwatched: the time in which nobody looked does not open the gate, nor does a
// clock that is ahead.
func TestGateUnwatched(t *testing.T) {
	y := pinned(t, 3600)
	y.tlsa(mailOwner, 3600, "live/cert.pem", "next/pubkey.pem")
	y.does(cli.ExitOK, "run")
	// The clock is ahead; nobody runs it for three days; and once more.
	for _, gap := range []time.Duration{2 * time.Hour, 72 * time.Hour, 2 * time.Hour} {
		y.past += gap
		y.does(cli.ExitOK, "run")
		if s := y.status(); s.Generation != 1 || !strings.Contains(fmt.Sprint(s.Waits), ", as nobody looked since 20") {
			t.Fatalf("%s: %+v", gap, s)
		}
		y.past -= time.Hour // the clock is put right, as it were: it begins anew
		y.does(cli.ExitOK, "run")
	}
	y.opens(time.Hour)
}

// TestGateAlias: the records behind a CNAME count, and one that leads nowhere does not.
func TestGateAlias(t *testing.T) {
	y := pinned(t, 3600)
	y.tlsa("pins.example.net.", 3600, "live/cert.pem")
	y.record(mailOwner + " 3600 IN CNAME pins.example.net.")
	y.shut("lacks those of the next key")
	y.tlsa("pins.example.net.", 3600)
	y.record(mailOwner + " 3600 IN CNAME pins.example.net.")
	y.record("pins.example.net. 3600 IN CNAME " + mailOwner)
	y.shut("too many aliases")
	y.tlsa("pins.example.net.", 3600, "live/cert.pem", "next/pubkey.pem")
	y.record(mailOwner + " 3600 IN CNAME pins.example.net.")
	y.opens(time.Hour)
}

// TestGateTTL: a TTL that is raised while it waits counts, one that is lowered does not
// before the longer one has run out.
func TestGateTTL(t *testing.T) {
	y := pinned(t, 3600)
	y.tlsa(mailOwner, 3600, "live/cert.pem", "next/pubkey.pem")
	y.does(cli.ExitOK, "run")
	y.past += 50 * time.Minute
	y.tlsa(mailOwner, 4*3600, "live/cert.pem", "next/pubkey.pem")
	y.does(cli.ExitOK, "run")
	y.past += 50 * time.Minute
	y.tlsa(mailOwner, 60, "live/cert.pem", "next/pubkey.pem")
	y.opens(4*time.Hour - 100*time.Minute)
}

// TestGateLost: records that were seen and are gone again begin the wait anew, and so
// does a clock that was set back.
func TestGateLost(t *testing.T) {
	for name, disturb := range map[string]func(y *yard){
		"records": func(y *yard) {
			y.tlsa(mailOwner, 3600, "live/cert.pem")
			y.does(cli.ExitOK, "run")
			y.tlsa(mailOwner, 3600, "live/cert.pem", "next/pubkey.pem")
		},
		"clock": func(y *yard) { y.past -= 2 * time.Hour },
		"state": func(y *yard) {
			os.Remove(y.path("state/line-mail.json"))
			y.does(cli.ExitOK, "live", "mail")
			y.does(cli.ExitOK, "rollover", "mail")
		},
	} {
		t.Run(name, func(t *testing.T) {
			y := pinned(t, 3600)
			y.tlsa(mailOwner, 3600, "live/cert.pem", "next/pubkey.pem")
			y.does(cli.ExitOK, "run")
			y.past += 50 * time.Minute
			y.does(cli.ExitOK, "run")
			disturb(y)
			y.opens(time.Hour)
		})
	}
}

// TestGateResumed: a certificate for the next key that was ordered through an open gate
// comes home through it too: what was killed or put off meanwhile must not flip.
func TestGateResumed(t *testing.T) {
	y := newYard(t)
	ca := lab.NewFakeCA(t)
	y.ages(ca)
	y.configure(ca, fakeLine+"services = [\"smtp\"]\n[service.smtp]\nhost = \"mail.example.org\"\nport = 25\nprobe = \"none\"\n")
	y.does(cli.ExitOK, "init")
	y.does(cli.ExitOK, "issue", "mail")
	y.does(cli.ExitOK, "live", "mail")
	y.does(cli.ExitOK, "run")
	y.does(cli.ExitOK, "rollover", "mail")
	y.tlsa(mailOwner, 3600, "live/cert.pem", "next/pubkey.pem")
	y.does(cli.ExitOK, "run")
	y.later()
	first, next := y.spki("lines/mail/live/cert.pem"), y.spki("lines/mail/next/pubkey.pem")
	ca.Take = lab.At("/cert", func(w http.ResponseWriter, _ *http.Request) { lab.Refuse(w, 503, "", "serverInternal", "later") })
	y.says(cli.ExitFailed, "fetch the certificate: failed for the moment", "run")
	ca.Take = nil
	y.tlsa(mailOwner, 3600, "live/cert.pem") // the next key is gone from DNS
	y.past += 2 * time.Minute
	y.shut("lacks those of the next key")
	// The live key renews, whatever became of the order.
	y.does(cli.ExitOK, "renew", "mail", "--force")
	if s := y.status(); s.Generation != 2 || y.spki("lines/mail/live/cert.pem") != first {
		t.Fatalf("%+v", s)
	}
	y.does(cli.ExitOK, "live", "mail")
	// And what changes while the CA works is seen before the flip.
	y.tlsa(mailOwner, 3600, "live/cert.pem", "next/pubkey.pem")
	y.does(cli.ExitOK, "run")
	y.later()
	ca.Change = func(_ *lab.FakeCA, path string, _ map[string]any) {
		if path == "/finalize" {
			y.tlsa(mailOwner, 3600, "live/cert.pem")
		}
	}
	y.says(cli.ExitOK, "the certificate for the next key is there, but it waits: "+mailOwner, "run")
	ca.Change = nil
	if y.spki("lines/mail/live/cert.pem") != first {
		t.Fatal("the key changed through a gate that had shut")
	}
	y.tlsa(mailOwner, 3600, "live/cert.pem", "next/pubkey.pem")
	y.does(cli.ExitOK, "run")
	orders := ca.Asked("/newOrder")
	y.later()
	y.does(cli.ExitOK, "run")
	if s := y.status(); y.spki("lines/mail/live/cert.pem") != next || ca.Asked("/newOrder") != orders {
		t.Errorf("%+v, %d orders more", s, ca.Asked("/newOrder")-orders)
	}
}

// TestGateNone: without any records there is nothing that could allow a key.
func TestGateNone(t *testing.T) {
	y := pinned(t, 3600)
	y.tlsa(mailOwner, 3600)
	y.shut("there are no TLSA records; if there shall be none: tlsa = false in [service.smtp]")
}
