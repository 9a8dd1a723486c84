package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"zonebuild/internal/cli"
	"zonebuild/internal/durable"
	"zonebuild/internal/lab"
)

// TestLiveInHook: a deploy program that sees for itself that the service has loaded the
// certificate says so; the run that started it takes the word in.
func TestLiveInHook(t *testing.T) {
	program, err := exec.LookPath("acmehook") // this very program, as the scripts have it
	if err != nil {
		t.Fatal(err)
	}
	if program, err = filepath.Abs(program); err != nil {
		t.Fatal(err)
	}
	y := newYard(t)
	ca := lab.NewFakeCA(t)
	y.configure(ca, fakeLine+fmt.Sprintf("services = [\"smtp\"]\ndeploy = [[%q, \"-C\", %q, \"live\", \"mail\"]]\ndeploy-timeout = \"20s\"\n", program, y.dir)+
		"[service.smtp]\nhost = \"mail.example.org\"\nport = 25\ntlsa = false\nprobe = \"none\"\n")
	y.does(cli.ExitOK, "init")
	y.does(cli.ExitOK, "run")
	if s := y.status(); !s.Services[0].Serves || !s.Services[0].ByHand || s.NextKey.ID == "" || s.Error != "" {
		t.Errorf("%+v\n%s", s, y.read("state/deploy-mail.out"))
	}
	if left, err := filepath.Glob(y.path("state/live-*")); err != nil || len(left) > 0 {
		t.Errorf("left: %v %v", left, err)
	}
}

// TestLiveBeside: the word needs no lock; it counts for the certificate that was live,
// and no other.
func TestLiveBeside(t *testing.T) {
	y := newYard(t)
	ca := lab.NewFakeCA(t)
	y.configure(ca, fakeLine+"services = [\"smtp\"]\n[service.smtp]\nhost = \"mail.example.org\"\nport = 25\ntlsa = false\nprobe = \"none\"\n")
	y.does(cli.ExitOK, "init")
	y.says(cli.ExitFailed, "line mail: there is no certificate yet", "live", "mail")
	y.does(cli.ExitOK, "issue", "mail")
	lock, err := durable.TryLock(y.path("state/lock"))
	if err != nil {
		t.Fatal(err)
	}
	if said := y.does(cli.ExitOK, "live", "mail"); said != "smtp\n" {
		t.Errorf("%q", said)
	}
	if s := y.status(); !s.Services[0].Serves {
		t.Errorf("%+v", s)
	}
	if err := lock.Unlock(); err != nil {
		t.Fatal(err)
	}
	y.does(cli.ExitOK, "renew", "mail", "--force")
	if s := y.status(); s.Generation != 2 || s.Services[0].Serves {
		t.Errorf("%+v", s)
	}
	y.does(cli.ExitOK, "live", "mail")
	word := y.read("state/live-mail.json")
	y.does(cli.ExitOK, "renew", "mail", "--force")
	y.write("state/live-mail.json", word) // of the certificate before
	y.does(cli.ExitOK, "run")
	if s := y.status(); s.Generation != 3 || s.Services[0].Serves {
		t.Errorf("%+v", s)
	}
	y.write("state/live-mail.json", "{")
	y.does(cli.ExitOK, "run")
	if _, err := os.Stat(y.path("state/live-mail.json")); !os.IsNotExist(err) {
		t.Errorf("%v", err)
	}
}

// TestLiveForNone: where all services are asked there is nothing to say, and that is said.
func TestLiveForNone(t *testing.T) {
	y := newYard(t)
	ca := lab.NewFakeCA(t)
	y.configure(ca, strings.Replace(fakeLine, "[line.mail]\n", "[line.mail]\nservices = [\"web\"]\n", 1)+"[service.web]\nhost = \"example.org\"\nport = 443\ntlsa = false\nprobe = [\"127.0.0.1:9\"]\n")
	y.does(cli.ExitOK, "init")
	y.does(cli.ExitOK, "issue", "mail")
	y.says(cli.ExitRejected, `line mail: no service has probe = "none": all of them are asked, and nobody's word counts for them`, "live", "mail")
}
