package main

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"

	"zonebuild/internal/cli"
	"zonebuild/internal/lab"
)

// TestDeadSecondary: a name server that does not answer ends no renewal where enough
// others do, as in a wait for a challenge; one that answers wrong does.
func TestDeadSecondary(t *testing.T) {
	y := newYard(t)
	ca := lab.NewFakeCA(t)
	y.configure(ca, fakeLine)
	with := func(servers, more string) {
		text := strings.Replace(y.general(), "servers = [", "servers = ["+servers, 1)
		y.write("acmehook.toml", text+more+account(ca)+fakeLine)
	}
	y.does(cli.ExitOK, "init")
	const two = `"127.0.0.1@9", "127.0.0.2@9", `
	with(two, "")
	y.says(cli.ExitFailed, "before an order: name server 127.0.0.1@9: ", "issue", "mail")
	with(`"127.0.0.1@9", `, "dead-after = \"1s\"\n") // one of two
	y.does(cli.ExitOK, "issue", "mail")
	with(two, "min-servers = 1\ndead-after = \"1s\"\n")
	y.does(cli.ExitOK, "renew", "mail", "--force")
}

// TestNewName: a name without any record, of servers that the configuration names, is
// proved like others.
func TestNewName(t *testing.T) {
	y := newYard(t)
	ca := lab.NewFakeCA(t)
	y.configure(ca, fakeLine)
	y.absent = "example.org."
	y.does(cli.ExitOK, "init")
	y.does(cli.ExitOK, "issue", "mail")
}

// absentSOA is the answer for a name that does not exist.
func absentSOA(m *dns.Msg) {
	m.Rcode = dns.RcodeNameError
	m.Ns = append(m.Ns, &dns.SOA{Hdr: dns.RR_Header{Name: "org.", Rrtype: dns.TypeSOA, Class: dns.ClassINET, Ttl: 1}, Ns: "ns1.org.", Mbox: "host.org.", Serial: 1, Refresh: 1, Retry: 1, Expire: 1, Minttl: 1})
}

// TestFIFO: a FIFO in the place of a file is refused, and holds nobody up.
func TestFIFO(t *testing.T) {
	y := newYard(t)
	if err := syscall.Mkfifo(y.path("acmehook.toml"), 0o600); err != nil {
		t.Fatal(err)
	}
	y.says(cli.ExitRejected, "read the configuration: not a regular file", "status")
	if err := os.Remove(y.path("acmehook.toml")); err != nil {
		t.Fatal(err)
	}
	ca := lab.NewFakeCA(t)
	if err := syscall.Mkfifo(y.path("report"), 0o600); err != nil {
		t.Fatal(err)
	}
	y.write("acmehook.toml", "report = \"report\"\n"+y.general()+account(ca)+fakeLine)
	y.does(cli.ExitOK, "init")
	y.does(cli.ExitOK, "issue", "mail")
}

// TestRevokeIsHeeded: status says so, the next run renews, and a key that others have
// gets no certificate any more.
func TestRevokeIsHeeded(t *testing.T) {
	y := newYard(t)
	ca := lab.PebbleWith(t, y.addr, lab.PebbleOptions{})
	y.configure(ca, mail)
	y.does(cli.ExitOK, "init")
	y.does(cli.ExitOK, "issue", "mail")
	y.does(cli.ExitOK, "run")
	key := y.spki("lines/mail/live/cert.pem")
	y.does(cli.ExitOK, "revoke", "mail", "--reason", "superseded")
	y.says(cli.ExitRejected, "the live certificate was revoked at ", "revoke", "mail", "--reason", "superseded")
	if s := y.status(); s.Alarm.Code != "certificate-revoked" || len(s.Due)+len(s.Waits) == 0 {
		t.Errorf("%+v", s)
	}
	y.past += time.Hour
	y.does(cli.ExitOK, "run")
	if s := y.status(); s.Generation != 2 || s.Alarm.Code != "" || y.spki("lines/mail/live/cert.pem") != key {
		t.Errorf("%+v", s)
	}
	y.does(cli.ExitOK, "revoke", "mail", "--reason", "keyCompromise")
	y.past += time.Hour
	y.does(cli.ExitOK, "run")
	y.says(cli.ExitFailed, "nothing was done: the next key waits: the key does not change: no service of the line", "renew", "mail", "--force")
	if s := y.status(); s.Generation != 2 || s.Alarm.Code != "certificate-revoked" {
		t.Errorf("%+v", s)
	}
	y.does(cli.ExitOK, "renew", "mail", "--force-new-key", "--i-accept-dane-breakage")
	if s := y.status(); s.Generation != 3 || s.Alarm.Code != "" || y.spki("lines/mail/live/cert.pem") == key {
		t.Errorf("%+v", s)
	}
}

// TestDANEFalse: a line that nobody pins changes its key at once; any other does not,
// and says why.
func TestDANEFalse(t *testing.T) {
	y := newYard(t)
	ca := lab.NewFakeCA(t)
	y.configure(ca, fakeLine)
	y.says(cli.ExitOK, "line mail: it has no services", "init")
	y.does(cli.ExitOK, "issue", "mail")
	y.does(cli.ExitOK, "run")
	key := y.spki("lines/mail/live/cert.pem")
	y.does(cli.ExitOK, "rollover", "mail")
	y.does(cli.ExitOK, "run")
	if s := y.status(); y.spki("lines/mail/live/cert.pem") != key || !strings.Contains(fmt.Sprint(s.Waits), "dane = false") {
		t.Errorf("%+v", s)
	}
	y.configure(ca, fakeLine+"dane = false\n")
	y.does(cli.ExitOK, "run")
	if y.spki("lines/mail/live/cert.pem") == key {
		t.Error("the key did not change")
	}
}

// TestOtherDirectory: an order that was left at another CA is given up, with a word.
func TestOtherDirectory(t *testing.T) {
	y := newYard(t)
	staging, ca := lab.NewFakeCA(t), lab.NewFakeCA(t)
	y.configure(staging, fakeLine)
	y.does(cli.ExitOK, "init")
	staging.Take = lab.At("/cert", func(w http.ResponseWriter, _ *http.Request) { lab.Refuse(w, 503, "", "serverInternal", "out of order") })
	y.does(cli.ExitFailed, "issue", "mail")
	if _, err := os.Stat(y.path("state/acme/order-mail.json")); err != nil {
		t.Fatal(err)
	}
	y.configure(ca, fakeLine)
	y.does(cli.ExitOK, "init")
	y.says(cli.ExitOK, "the order is given up: ", "issue", "mail")
	if y.status().Generation != 1 {
		t.Error("no certificate")
	}
}

// TestShutGateOnResume: an order for the next key that the CA held up is not finished
// behind a gate that has shut meanwhile, in the same run or in a later one.
func TestShutGateOnResume(t *testing.T) {
	y := newYard(t)
	ca := lab.NewFakeCA(t)
	y.configure(ca, fakeLine+"services = [\"web\"]\n[service.web]\nhost = \"example.org\"\nport = 443\nprobe = \"none\"\n")
	y.does(cli.ExitOK, "init")
	y.does(cli.ExitOK, "issue", "mail")
	y.does(cli.ExitOK, "live", "mail")
	y.does(cli.ExitOK, "run")
	const owner = "_443._tcp.example.org."
	y.pin(owner, "lines/mail/live/cert.pem")
	y.pin(owner, "lines/mail/next/pubkey.pem")
	first, next := y.spki("lines/mail/live/cert.pem"), y.spki("lines/mail/next/pubkey.pem")
	y.does(cli.ExitOK, "run")
	y.does(cli.ExitOK, "rollover", "mail")
	withdraw := func() { // all but the first
		y.mu.Lock()
		defer y.mu.Unlock()
		y.records = y.records[:1]
	}
	y.past += time.Minute
	ca.Take = lab.At("/cert", func(w http.ResponseWriter, _ *http.Request) { lab.Refuse(w, 503, "", "serverInternal", "out of order") })
	y.does(cli.ExitFailed, "run")
	ca.Take = nil
	withdraw()
	y.past += time.Hour
	y.does(cli.ExitOK, "run")
	if s := y.status(); y.spki("lines/mail/live/cert.pem") != first || !strings.Contains(fmt.Sprint(s.Waits), "lacks those of the next key") {
		t.Fatalf("%+v", s)
	}
	// Back again, and away while the certificate is fetched.
	y.pin(owner, "lines/mail/next/pubkey.pem")
	y.does(cli.ExitOK, "run")
	y.past += time.Hour
	ca.Take = func(f *lab.FakeCA, w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path == "/cert" {
			withdraw()
		}
		return false
	}
	y.says(cli.ExitOK, "the certificate for the next key is there, but it waits", "run")
	if y.spki("lines/mail/live/cert.pem") != first {
		t.Fatal("the key changed")
	}
	ca.Take = nil
	y.does(cli.ExitOK, "renew", "mail", "--force")
	if s := y.status(); s.Generation != 2 || y.spki("lines/mail/live/cert.pem") != first {
		t.Fatalf("%+v", s)
	}
	y.does(cli.ExitOK, "live", "mail")
	y.pin(owner, "lines/mail/next/pubkey.pem")
	y.does(cli.ExitOK, "run")
	y.past += time.Hour
	y.does(cli.ExitOK, "run")
	if y.spki("lines/mail/live/cert.pem") != next {
		t.Fatalf("%+v", y.status())
	}
}

// TestPreflightIsPatient: what fails before the CA is asked is put off as well, and a
// run that waits is silent.
func TestPreflightIsPatient(t *testing.T) {
	y := newYard(t)
	ca := lab.NewFakeCA(t)
	ca.Change = func(_ *lab.FakeCA, path string, b map[string]any) {
		if path == "/dir" {
			b["meta"].(map[string]any)["caaIdentities"] = []any{"ca.example"}
		}
	}
	y.ages(ca)
	y.configure(ca, fakeLine)
	y.does(cli.ExitOK, "init")
	y.record(`example.org. 1 IN CAA 0 issue "other.example"`)
	y.does(cli.ExitFailed, "run")
	for _, wait := range []time.Duration{time.Minute, 10 * time.Minute, 100 * time.Minute, 24 * time.Hour} {
		y.past += wait - 10*time.Second
		if said := y.does(cli.ExitOK, "run"); said != "" {
			t.Errorf("it says %q", said)
		}
		y.past += 15 * time.Second
		y.says(cli.ExitFailed, "does not allow example.org", "run")
	}
	y.records = nil
	y.does(cli.ExitOK, "issue", "mail")
}

// TestUnreadableState: a line whose state cannot be read is in the status, as an alarm.
func TestUnreadableState(t *testing.T) {
	y := newYard(t)
	ca := lab.NewFakeCA(t)
	y.configure(ca, fakeLine)
	y.does(cli.ExitOK, "init")
	y.does(cli.ExitOK, "issue", "mail")
	if err := os.Remove(y.path("state/line-mail.json")); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(y.path("state/line-mail.json"), 0o700); err != nil {
		t.Fatal(err)
	}
	y.says(cli.ExitNo, "ALARM: line mail: read the state: ", "status")
	if s := y.status(); s.Alarm.Code != "line-unreadable" {
		t.Errorf("%+v", s)
	}
}

// TestJunkChainIsFetchedAgain: a chain that is junk costs no second certificate; the CA
// may mend it.
func TestJunkChainIsFetchedAgain(t *testing.T) {
	y := newYard(t)
	ca := lab.NewFakeCA(t)
	y.ages(ca)
	y.configure(ca, fakeLine)
	y.does(cli.ExitOK, "init")
	ca.Take = lab.At("/cert", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/pem-certificate-chain")
		fmt.Fprint(w, "junk")
	})
	y.does(cli.ExitFailed, "run")
	y.past += 2 * time.Minute
	y.does(cli.ExitFailed, "run")
	ca.Take = nil
	y.past += 20 * time.Minute
	y.does(cli.ExitOK, "run")
	if n := ca.Asked("/newOrder"); n != 1 || y.status().Generation != 1 {
		t.Errorf("%d orders", n)
	}
}

// TestSilentServerIsAskedOnce: a server that takes questions and gives no answers holds up
// what is looked at before an order once, and not for each of the names and their parents.
func TestSilentServerIsAskedOnce(t *testing.T) {
	y := newYard(t)
	ca := lab.NewFakeCA(t)
	ca.Change = func(_ *lab.FakeCA, path string, b map[string]any) {
		if path == "/dir" {
			b["meta"].(map[string]any)["caaIdentities"] = []any{"ca.example"}
		}
	}
	hole, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var asked atomic.Int32
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			c, err := hole.Accept()
			if err != nil {
				return
			}
			asked.Add(1)
			t.Cleanup(func() { c.Close() })
		}
	}()
	t.Cleanup(func() {
		hole.Close()
		<-ended
	})
	var names []string
	for i := range 40 {
		names = append(names, fmt.Sprintf("\"n%d.a.example.org\", \"*.n%d.a.example.org\"", i, i))
	}
	general := strings.Replace(y.general(), "servers = [", fmt.Sprintf("servers = [%q, ", hole.Addr()), 1)
	y.write("acmehook.toml", general+account(ca)+"[line.mail]\nnames = ["+strings.Join(names, ", ")+"]\n")
	y.record(`n7.a.example.org. 1 IN CAA 0 issuewild "other.example"`)
	y.does(cli.ExitOK, "init")
	out := y.does(cli.ExitFailed, "issue", "mail")
	if want := "before an order: CAA at n7.a.example.org. does not allow *.n7.a.example.org to ca.example\n"; !strings.HasSuffix(out, want) || strings.Contains(out, "name server") {
		t.Errorf("%s", out)
	}
	if n := asked.Load(); n != 1 {
		t.Errorf("it was asked %d times", n)
	}
	// Where it counts, it is told for each name.
	y.record(`example.org. 1 IN CAA 0 issue "other.example"`)
	out = strings.ReplaceAll(y.does(cli.ExitNo, "check", "b.example.org", "c.example.org"), "127.0.0.1@"+strings.Split(hole.Addr().String(), ":")[1], "HOLE")
	if strings.Count(out, "name server HOLE: ") != 2 || strings.Count(out, ": right\n") < 2 {
		t.Errorf("%s", out)
	}
	if n := asked.Load(); n != 2 {
		t.Errorf("it was asked %d times", n)
	}
}
