package main

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"zonebuild/internal/cli"
	"zonebuild/internal/lab"
	"zonebuild/internal/lines"
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
	y.configure(ca, mail+"renew-at = 50\n")
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

// TestRevokeWithoutAccount: the certificate's own key revokes where the account may not,
// and it is said what to do about the account.
func TestRevokeWithoutAccount(t *testing.T) {
	for name, row := range map[string]struct {
		lose func(y *yard)
		want string // of renew --force
	}{
		"no key": {func(y *yard) { y.forget("keys/account.key") }, "there is no account yet (acmehook init makes it)"},
		"another account": {func(y *yard) {
			y.forget("keys/account.key")
			y.does(cli.ExitOK, "init")
		}, ""},
		"deactivated": {func(y *yard) {
			y.does(cli.ExitOK, "account", "deactivate")
			for _, args := range [][]string{{"init"}, {"account", "deactivate"}} {
				y.says(cli.ExitFailed, "keys/account.key away, and acmehook init makes another)", args...)
			}
		}, "keys/account.key away, and acmehook init makes another)"},
		"unknown to the CA": {func(y *yard) {
			key, err := lines.NewKey("ecdsa-p256")
			if err != nil {
				t.Fatal(err)
			}
			y.forget("keys/account.key")
			if err := lines.WriteKey(y.path("keys/account.key"), key); err != nil {
				t.Fatal(err)
			}
		}, "no such account (acmehook init makes one)"},
	} {
		t.Run(name, func(t *testing.T) {
			y := newYard(t)
			ca := lab.PebbleWith(t, y.addr, lab.PebbleOptions{})
			y.configure(ca, mail)
			y.does(cli.ExitOK, "init")
			y.does(cli.ExitOK, "issue", "mail")
			y.does(cli.ExitOK, "run") // and the next key
			serial := fmt.Sprintf("%x", y.leaf().SerialNumber)
			row.lose(y)
			if row.want != "" {
				y.says(cli.ExitFailed, row.want, "renew", "mail", "--force")
			}
			if name == "no key" && !strings.Contains(fmt.Sprint(y.status().Waits), row.want) {
				t.Errorf("%+v", y.status())
			}
			y.forget("hidden")
			if err := os.Rename(y.path("keys/mail"), y.path("hidden")); err != nil {
				t.Fatal(err)
			}
			y.says(cli.ExitFailed, "revoke with the certificate's own key: its private key is not here", "revoke", "mail")
			if err := os.Rename(y.path("hidden"), y.path("keys/mail")); err != nil {
				t.Fatal(err)
			}
			if code, answer := ca.Manage("GET", "/cert-status-by-serial/"+serial, ""); code != 200 || !strings.Contains(answer, "Valid") {
				t.Fatalf("%d %s", code, answer)
			}
			y.does(cli.ExitOK, "revoke", "mail", "--reason", "keyCompromise")
			if code, answer := ca.Manage("GET", "/cert-status-by-serial/"+serial, ""); code != 200 || !strings.Contains(answer, "Revoked") {
				t.Errorf("%d %s", code, answer)
			}
			if s := y.status(); s.Alarm.Code != "certificate-revoked" {
				t.Errorf("%+v", s)
			}
		})
	}
}
