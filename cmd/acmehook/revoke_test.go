package main

import (
	"crypto/tls"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"zonebuild/internal/cli"
	"zonebuild/internal/lab"
)

// TestRevokedBeforeServed: a key that is known to others before any service has it is
// brought to none, and its successor waits for DNS alone.
func TestRevokedBeforeServed(t *testing.T) {
	y := newYard(t)
	ca := lab.NewFakeCA(t)
	y.ages(ca)
	server := lab.TLSServer(t, lab.TLSOptions{Certs: map[string][]tls.Certificate{}})
	show := func() {
		t.Helper()
		live, err := tls.X509KeyPair([]byte(y.read("lines/mail/live/fullchain.pem")), []byte(y.read("lines/mail/live/privkey.pem")))
		if err != nil {
			t.Fatal(err)
		}
		server.Show("", live)
	}
	y.configure(ca, fakeLine+"services = [\"smtp\"]\ndeploy = [[\"sh\", \"-c\", \"test ! -e broken && echo $ACMEHOOK_GENERATION >>told\"]]\n"+
		"[service.smtp]\nhost = \"mail.example.org\"\nport = 25\nstarttls = \"none\"\nprobe = [\""+server.Addr()+"\"]\n")
	y.does(cli.ExitOK, "init")
	y.does(cli.ExitOK, "issue", "mail")
	show()
	y.does(cli.ExitOK, "run")
	first := y.spki("lines/mail/live/cert.pem")
	y.tlsa(mailOwner, 3600, "live/cert.pem", "next/pubkey.pem")
	y.does(cli.ExitOK, "rollover", "mail")
	y.does(cli.ExitOK, "run")
	y.later()
	y.write("lines/broken", "")
	y.does(cli.ExitFailed, "run")
	second := y.spki("lines/mail/live/cert.pem")
	if second == first {
		t.Fatal("the key did not change")
	}
	y.does(cli.ExitOK, "revoke", "mail", "--reason", "keyCompromise")
	if err := os.Remove(y.path("lines/broken")); err != nil {
		t.Fatal(err)
	}
	y.past += 30 * time.Minute
	y.says(cli.ExitOK, "make-key: a next key is wanted", "run")
	s := y.status()
	if s.NextKey.ID == "" || !strings.Contains(fmt.Sprint(s.Waits), "the live certificate is revoked: no service is told of it") ||
		!strings.Contains(fmt.Sprint(s.Waits), mailOwner+": "+strings.Replace(y.addr, ":", "@", 1)+" lacks those of the next key") {
		t.Fatalf("%+v", s)
	}
	y.record(mailOwner + " 3600 IN TLSA 3 1 1 " + y.spki("lines/mail/next/pubkey.pem"))
	for range 3 {
		y.past += 40 * time.Minute
		y.does(cli.ExitOK, "run")
	}
	if third := y.spki("lines/mail/live/cert.pem"); third == second || third == first {
		t.Fatalf("%+v", y.status())
	}
	if told := strings.Join(strings.Fields(y.read("lines/told")), " "); told != "1 3" {
		t.Errorf("told %q", told)
	}
	show()
	y.does(cli.ExitOK, "run")
	if s := y.status(); !s.Services[0].Serves || s.Alarm.Code != "" {
		t.Errorf("%+v", s)
	}
}
