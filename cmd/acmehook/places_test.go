package main

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"zonebuild/internal/cli"
	"zonebuild/internal/durable"
	"zonebuild/internal/lab"
)

// TestPlaces: a line whose certificates and keys are elsewhere, with keys for a group.
func TestPlaces(t *testing.T) {
	y := newYard(t)
	ca := lab.NewFakeCA(t)
	gid := os.Getgid()
	if os.Getuid() == 0 {
		gid = 12345
	}
	y.mkdir("ssl", 0o750)
	y.configure(ca, fakeLine+fmt.Sprintf("dane = false\ncombined = true\nreuse-key = false\ndirectory = \"public/mail\"\nkeys = \"ssl\"\nkey-group = \"%d\"\n", gid))
	y.does(cli.ExitOK, "init")
	y.does(cli.ExitOK, "issue", "mail")
	y.does(cli.ExitOK, "run")
	y.does(cli.ExitOK, "renew", "mail", "--force")
	y.does(cli.ExitOK, "run")
	secrets := 0
	err := filepath.WalkDir(y.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(path)
		name, _ := filepath.Rel(y.dir, path)
		if err != nil || !strings.Contains(string(b), "PRIVATE KEY") || name == "keys/account.key" {
			return err
		}
		secrets++
		info, err := d.Info()
		if err != nil {
			return err
		}
		if got := info.Sys().(*syscall.Stat_t).Gid; !strings.HasPrefix(name, "ssl/") || info.Mode().Perm() != 0o640 || int(got) != gid {
			t.Errorf("%s: mode %o, group %d", name, info.Mode().Perm(), got)
		}
		return nil
	})
	if err != nil || secrets != 5 { // of two generations, the next one, and two combined
		t.Errorf("%d keys, %v", secrets, err)
	}
	if y.read("public/mail/live/cert.pem") == "" || y.read("public/mail/live/privkey.pem") == "" || y.read("public/mail/next/pubkey.pem") == "" {
		t.Error("an empty file")
	}
	if left, err := os.ReadDir(y.path("lines")); err != nil || len(left) > 0 {
		t.Errorf("in lines/: %v %v", left, err)
	}
	if err := os.Chmod(y.path("ssl"), 0o755); err != nil {
		t.Fatal(err)
	}
	keys, err := filepath.Glob(y.path("ssl/2*.pem"))
	if err != nil || len(keys) == 0 {
		t.Fatal(keys, err)
	}
	for _, k := range keys {
		if err := os.Chmod(k, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	y.says(cli.ExitFailed, "its mode is 0644, others may read it", "run")
}

// TestMoved: private keys, or the whole directory, were put elsewhere: the links of the
// live certificate follow before any program is told of it.
func TestMoved(t *testing.T) {
	y := newYard(t)
	ca := lab.NewFakeCA(t)
	y.configure(ca, fakeLine+"combined = true\ndeploy = [[\"sh\", \"-c\", \"cat $ACMEHOOK_LIVE/privkey.pem $ACMEHOOK_LIVE/combined.pem >>told\"]]\n")
	y.does(cli.ExitOK, "init")
	y.does(cli.ExitOK, "issue", "mail")
	y.does(cli.ExitOK, "run")
	key, told := y.read("lines/mail/live/privkey.pem"), y.read("lines/told")
	right := func(keys string) {
		t.Helper()
		for _, name := range []string{"privkey.pem", "combined.pem"} {
			link, err := os.Readlink(y.path("lines/mail/live/" + name))
			if err != nil || filepath.Dir(link) != y.path(keys+"/mail") || !strings.HasPrefix(y.read("lines/mail/live/"+name), key) {
				t.Errorf("%s leads to %s, %v", name, link, err)
			}
		}
		if said := y.does(cli.ExitOK, "run"); said != "" {
			t.Errorf("it says %q", said)
		}
	}
	if err := os.Rename(y.path("keys"), y.path("secret")); err != nil {
		t.Fatal(err)
	}
	y.write("acmehook.toml", strings.Replace("keys-dir = \"secret\"\n"+y.read("acmehook.toml"), "[account]\n", "[account]\nkey = \"secret/account.key\"\n", 1))
	y.says(cli.ExitOK, "link: privkey.pem does not lead to where the key is", "run")
	right("secret")
	if err := os.Rename(y.dir, y.dir+"-moved"); err != nil {
		t.Fatal(err)
	}
	y.dir += "-moved"
	t.Cleanup(func() { os.RemoveAll(y.dir) })
	y.does(cli.ExitOK, "run")
	right("secret")
	if got := y.read("lines/told"); got != told+told+told { // the combined.pem was written anew
		t.Errorf("told %q", got)
	}
	// A copy of the keys beside those that are used changes nothing but the link.
	if err := os.CopyFS(y.path("keys"), os.DirFS(y.path("secret"))); err != nil {
		t.Fatal(err)
	}
	keys, err := filepath.Glob(y.path("keys/*/*.pem"))
	if err != nil || len(keys) == 0 {
		t.Fatal(keys, err)
	}
	for _, k := range keys {
		if err := os.Chmod(k, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	y.write("acmehook.toml", strings.Replace(y.read("acmehook.toml"), "keys-dir = \"secret\"\n", "", 1))
	y.does(cli.ExitOK, "run")
	right("keys")
}

// TestBeside: a run beside another one ends at once and says nothing; whoever was
// called by hand waits, and says what for.
func TestBeside(t *testing.T) {
	y := newYard(t)
	ca := lab.NewFakeCA(t)
	y.configure(ca, fakeLine)
	y.does(cli.ExitOK, "init")
	lock, err := durable.TryLock(y.path("state/lock"))
	if err != nil {
		t.Fatal(err)
	}
	if said := y.does(cli.ExitOK, "run"); said != "" {
		t.Errorf("%s", said)
	}
	before := ca.Asked("/newOrder")
	y.write("acmehook.toml", strings.Replace(y.read("acmehook.toml"), "timeout = \"20s\"", "timeout = \"1s\"", 1))
	y.says(cli.ExitFailed, "locked by another process", "issue", "mail")
	if ca.Asked("/newOrder") != before {
		t.Error("the CA was asked")
	}
	if err := lock.Unlock(); err != nil {
		t.Fatal(err)
	}
	y.does(cli.ExitOK, "run")
	if y.status().Generation != 1 {
		t.Error("no certificate")
	}
}
