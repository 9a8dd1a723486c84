package main

import (
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
	y.past += 25 * time.Hour
	y.does(cli.ExitOK, "run")
	ordered(1)
	if s := y.status(); s.Generation != 2 || s.Alarm.Code != "" {
		t.Errorf("%+v", s)
	}
}
