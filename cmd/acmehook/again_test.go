package main

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"zonebuild/internal/cli"
	"zonebuild/internal/lab"
)

// TestSameCertificate: a CA that gives the live certificate again, as a cache before it
// may, is asked once and then as after any other failure.
func TestSameCertificate(t *testing.T) {
	y := newYard(t)
	ca := lab.NewFakeCA(t)
	y.ages(ca)
	first := ""
	ca.Chain = func(s string) string {
		if first == "" {
			first = s
		}
		return first
	}
	y.configure(ca, fakeLine)
	y.does(cli.ExitOK, "init")
	y.does(cli.ExitOK, "issue", "mail")
	y.does(cli.ExitOK, "run")
	orders := ca.Asked("/newOrder")
	ordered := func(want int) {
		t.Helper()
		if n := ca.Asked("/newOrder") - orders; n != want {
			t.Errorf("%d orders, want %d", n, want)
		}
		orders = ca.Asked("/newOrder")
	}
	y.says(cli.ExitFailed, "the CA gave the live certificate again", "renew", "mail", "--force")
	ordered(1)
	y.does(cli.ExitOK, "revoke", "mail", "--reason", "superseded")
	y.does(cli.ExitOK, "run") // the failure just now puts it off
	ordered(0)
	for _, wait := range []time.Duration{2, 11, 101} {
		y.past += wait * time.Minute
		y.says(cli.ExitFailed, "the CA gave the live certificate again", "run")
		if said := y.does(cli.ExitOK, "run"); said != "" {
			t.Errorf("it says %q", said)
		}
		ordered(1)
	}
	ca.Chain = nil
	y.past += 8 * 24 * time.Hour // five certificates in a week were enough
	y.does(cli.ExitOK, "run")
	ordered(1)
	if s := y.status(); s.Generation != 2 || s.Alarm.Code != "" {
		t.Errorf("%+v", s)
	}
}

// TestKeyIsPatient: a next key that cannot be stored or published is tried again like what
// the CA refuses, silently between, and no private key is left of the tries.
func TestKeyIsPatient(t *testing.T) {
	for _, broken := range []string{"lines/mail/archive", "keys/mail"} {
		t.Run(filepath.Base(broken), func(t *testing.T) {
			y := newYard(t)
			ca := lab.NewFakeCA(t)
			y.ages(ca)
			y.configure(ca, fakeLine)
			y.does(cli.ExitOK, "init")
			y.write(broken, "no directory")
			keys := func(want int) {
				t.Helper()
				if list, err := filepath.Glob(y.path("keys/mail/*")); err != nil || len(list) != want {
					t.Errorf("%v %v", list, err)
				}
			}
			y.does(cli.ExitFailed, "run")
			for _, wait := range []time.Duration{time.Minute, 10 * time.Minute, 100 * time.Minute, 24 * time.Hour} {
				y.past += wait - 10*time.Second
				if said := y.does(cli.ExitOK, "run"); said != "" {
					t.Errorf("it says %q", said)
				}
				if s := y.status(); s.Error == "" || !strings.Contains(fmt.Sprint(s.Waits), "there is no key yet, but the last try failed") {
					t.Errorf("%+v", s)
				}
				y.past += 15 * time.Second
				y.says(cli.ExitFailed, "make-key", "run")
				keys(0)
			}
			y.forget(broken)
			y.does(cli.ExitOK, "issue", "mail")
			y.does(cli.ExitOK, "run")
			keys(2)
			if s := y.status(); s.Generation != 1 || s.Error != "" {
				t.Errorf("%+v", s)
			}
			// A key that was waited for in vain is no reason to wait with the next change.
			y.does(cli.ExitOK, "renew", "mail", "--force-new-key", "--i-accept-dane-breakage")
			y.does(cli.ExitOK, "run")
			keys(3)
		})
	}
}

// TestManyOrders: whoever forces one renewal after the other is stopped before the CA is
// out of patience, unless he says so; what was not asked for waits silently.
func TestManyOrders(t *testing.T) {
	y := newYard(t)
	ca := lab.NewFakeCA(t)
	y.ages(ca)
	y.configure(ca, fakeLine)
	y.does(cli.ExitOK, "init")
	y.does(cli.ExitOK, "issue", "mail")
	y.does(cli.ExitOK, "run")
	for range 4 {
		y.does(cli.ExitOK, "renew", "mail", "--force")
	}
	asked := func(want int) {
		t.Helper()
		if n := ca.Asked("/newOrder"); n != want {
			t.Fatalf("%d orders, want %d", n, want)
		}
	}
	asked(5)
	for range 6 {
		y.says(cli.ExitFailed, "too many orders: there were 5 certificates for these names since ", "renew", "mail", "--force")
		y.says(cli.ExitFailed, "renew NAME --force --beyond-limits makes it all the same", "renew", "mail", "--force-new-key", "--i-accept-dane-breakage")
	}
	asked(5)
	y.says(cli.ExitUsage, "--beyond-limits goes with --force", "renew", "mail", "--beyond-limits")
	y.does(cli.ExitOK, "renew", "mail", "--force", "--beyond-limits")
	asked(6)
	y.does(cli.ExitOK, "run")
	key := y.spki("lines/mail/live/cert.pem")
	y.does(cli.ExitOK, "renew", "mail", "--force-new-key", "--i-accept-dane-breakage", "--beyond-limits")
	asked(7)
	if y.spki("lines/mail/live/cert.pem") == key {
		t.Error("the key is the same")
	}
	// A timer waits, and says nothing.
	y.does(cli.ExitOK, "run")
	y.does(cli.ExitOK, "revoke", "mail", "--reason", "superseded")
	y.past += 24 * time.Hour
	if said := y.does(cli.ExitOK, "run"); said != "" {
		t.Errorf("it says %q", said)
	}
	asked(7)
	if s := y.status(); !strings.Contains(fmt.Sprint(s.Waits), "the live certificate is revoked, but there were 5 certificates for these names since ") || s.Error != "" {
		t.Errorf("%+v", s)
	}
	y.past += 6*24*time.Hour + time.Minute
	y.does(cli.ExitOK, "run")
	asked(8)
	// Other names are another matter.
	y.past += 25 * time.Hour // the last certificate came in haste
	y.configure(ca, strings.Replace(fakeLine, "example.org", "www.example.org", 1))
	y.does(cli.ExitOK, "run")
	asked(9)
}
