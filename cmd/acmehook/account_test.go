package main

import (
	"os"
	"testing"
	"time"

	"zonebuild/internal/cli"
	"zonebuild/internal/lab"
)

// asCertbot puts the live certificate of the line mail where certbot would have it, and
// gives that directory.
func (y *yard) asCertbot(name string) string {
	y.t.Helper()
	for _, file := range []string{"fullchain.pem", "privkey.pem"} {
		y.write("le/live/"+name+"/"+file, y.read("lines/mail/live/"+file))
	}
	return y.path("le")
}

// forget removes directories.
func (y *yard) forget(names ...string) {
	y.t.Helper()
	for _, name := range names {
		if err := os.RemoveAll(y.path(name)); err != nil {
			y.t.Fatal(err)
		}
	}
}

// TestRenewForeign: a certificate that another account has ordered is renewed, when it is
// due and when it is asked for. A CA refuses an order that names it as the one to be
// replaced.
func TestRenewForeign(t *testing.T) {
	y := newYard(t)
	ca := lab.PebbleWith(t, y.addr, lab.PebbleOptions{Profiles: map[string]uint64{"default": 60 * 3600}})
	y.configure(ca, mail)
	y.does(cli.ExitOK, "init")
	y.does(cli.ExitOK, "issue", "mail")
	dir := y.asCertbot("mail.example.org")
	y.forget("lines", "keys", "state")
	y.does(cli.ExitOK, "init") // another account
	y.says(cli.ExitOK, "line mail: mail.example.org", "import", "certbot", dir)
	y.does(cli.ExitOK, "run")
	y.past = 42 * time.Hour // the CA's clock stands, and what is two days old is not believed
	y.does(cli.ExitOK, "run")
	if s := y.status(); s.Generation != 2 || s.Error != "" {
		t.Fatalf("%+v\n%s", s, ca.Log())
	}
	y.does(cli.ExitOK, "renew", "mail", "--force") // now its own
	if s := y.status(); s.Generation != 3 {
		t.Errorf("%+v", s)
	}
}
