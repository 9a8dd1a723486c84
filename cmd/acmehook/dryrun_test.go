package main

import (
	"maps"
	"strings"
	"testing"

	"zonebuild/internal/cli"
	"zonebuild/internal/lab"
)

// TestDryRun: an order at the directory for trials, whose challenges Pebble really
// sees, and nothing of it is left, here or there.
func TestDryRun(t *testing.T) {
	y := newYard(t)
	ca := lab.PebbleWith(t, y.addr, lab.PebbleOptions{}) // its requests are counted: no nonce is rejected
	table := func(staging string) {
		y.write("acmehook.toml", y.general()+"[account]\ndirectory = \"https://127.0.0.1:9/dir\"\nca-file = \""+ca.TrustFile()+"\"\nagree-terms = true\nmax-lifetime = \"2000d\"\n"+staging+mail)
	}
	table("")
	y.says(cli.ExitRejected, "acmehook: line mail: no directory for trials is known of https://127.0.0.1:9/dir: staging = in [account]\n", "issue", "mail", "--dry-run")
	table("staging = \"" + ca.Directory() + "\"\n")
	value := strings.Repeat("x", 43) // the box has its lock from the first challenge on
	y.does(cli.ExitOK, "add", "example.org", value)
	y.does(cli.ExitOK, "remove", "example.org", value)
	before := y.tree()
	want := "line mail: mail.example.org *.mail.example.org would be issued, valid for 90d, by CN=Pebble "
	y.says(cli.ExitOK, want, "issue", "mail", "--dry-run")
	y.says(cli.ExitOK, want, "renew", "--dry-run")
	y.says(cli.ExitOK, want, "renew", "mail", "--force", "--dry-run")
	if after := y.tree(); !maps.Equal(before, after) {
		t.Errorf("before\n%v\nafter\n%v", before, after)
	}
	if n := strings.Count(ca.Log(), "Issued certificate serial"); n != 3 || y.asked == 0 {
		t.Errorf("%d certificates, %d challenges were asked for\n%s", n, y.asked, ca.Log())
	}
	if made, ended := strings.Count(ca.Log(), " accounts in memory"), strings.Count(ca.Log(), "POST /my-account/"); made != 3 || ended != 3 {
		t.Errorf("%d accounts were made, %d ended", made, ended)
	}
	y.says(cli.ExitUsage, "--dry-run changes nothing", "renew", "mail", "--dry-run", "--force-new-key", "--i-accept-dane-breakage")
	y.says(cli.ExitUsage, "no [line.other]", "renew", "other", "--dry-run")

	// What is broken here costs nothing there.
	asked := strings.Count(ca.Log(), "POST /order-plz")
	y.record("mail.example.org. 1 IN CAA 0 issue \"ca.example; accounturi=https://elsewhere.example/1\"")
	y.says(cli.ExitFailed, "before an order at the directory for trials: CAA at mail.example.org. does not allow mail.example.org to ca.example", "issue", "mail", "--dry-run")
	if n := strings.Count(ca.Log(), "POST /order-plz"); n != asked {
		t.Errorf("%d orders more", n-asked)
	}
	if after := y.tree(); !maps.Equal(before, after) {
		t.Errorf("before\n%v\nafter\n%v", before, after)
	}
}

// TestDryRunOfRequests: the certificate requests of a line are what is tried.
func TestDryRunOfRequests(t *testing.T) {
	y := newYard(t)
	ca := lab.PebbleWith(t, y.addr, lab.PebbleOptions{})
	y.write("acmehook.toml", y.general()+account(ca)+"staging = \""+ca.Directory()+"\"\n"+mail+"csr = \"a.csr\"\nnext-csr = \"b.csr\"\n")
	issued := func(want int) {
		t.Helper()
		if n := strings.Count(ca.Log(), "Issued certificate serial"); n != want {
			t.Errorf("%d certificates, want %d", n, want)
		}
	}
	y.says(cli.ExitFailed, "read the certificate request "+y.path("a.csr"), "issue", "mail", "--dry-run")
	y.request("a.csr", "mail.example.org", "other.example.org")
	y.says(cli.ExitFailed, "the certificate request: it is for other.example.org too", "issue", "mail", "--dry-run")
	y.request("a.csr", "mail.example.org", "*.mail.example.org")
	y.says(cli.ExitOK, "would be issued", "issue", "mail", "--dry-run")
	issued(1)
	y.request("b.csr", "mail.example.org")
	y.says(cli.ExitFailed, "the certificate request: it is not for *.mail.example.org", "renew", "mail", "--dry-run")
	issued(2)
	y.request("b.csr", "*.mail.example.org", "mail.example.org")
	y.says(cli.ExitOK, "would be issued", "renew", "--dry-run")
	issued(4)
	y.write("b.csr", "junk")
	y.says(cli.ExitFailed, "b.csr: it cannot be parsed", "renew", "--dry-run")
	issued(4)
	y.noChallenges()
}
