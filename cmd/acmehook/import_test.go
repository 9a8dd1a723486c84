package main

import (
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"zonebuild/internal/cli"
	"zonebuild/internal/lab"
)

// TestImportACMEsh takes over a directory as acme.sh leaves it: keys as openssl writes
// them, an account that Pebble knows, certificates with an ECDSA and an RSA key, and
// beside them all that can be wrong in such a directory. Then it renews them.
func TestImportACMEsh(t *testing.T) {
	lab.Need(t, "openssl")
	y := newYard(t)
	ca := lab.PebbleWith(t, y.addr, lab.PebbleOptions{})
	y.mkdir("keys", 0o700)
	lab.Run(t, "openssl", "ecparam", "-name", "prime256v1", "-genkey", "-out", y.path("keys/account.key")) // with EC PARAMETERS before it
	y.private("keys/account.key")
	sh := func(name string) string { return filepath.Join("acme.sh", name) }
	issue := func(dir, domain, san string, genkey ...string) {
		t.Helper()
		y.mkdir(sh(dir), 0o755)
		key := sh(dir) + "/" + domain + ".key"
		lab.Run(t, "openssl", append(genkey, y.path(key))...)
		y.private(key)
		lab.Run(t, "openssl", "req", "-new", "-key", y.path(key), "-subj", "/", "-addext", "subjectAltName="+san, "-out", y.path("csr"))
		y.configure(ca, "[line.maker]\nnames = [\""+strings.ReplaceAll(strings.ReplaceAll(san, "DNS:", ""), ",", "\", \"")+"\"]\ncsr = \"csr\"\n")
		y.does(cli.ExitOK, "init")
		y.does(cli.ExitOK, "issue", "maker")
		chain := y.read("lines/maker/live/fullchain.pem")
		leaf, issuers := pem.Decode([]byte(chain))
		y.write(sh(dir)+"/fullchain.cer", chain)
		y.write(sh(dir)+"/"+domain+".cer", string(pem.EncodeToMemory(leaf)))
		y.write(sh(dir)+"/ca.cer", string(issuers))
		y.write(sh(dir)+"/"+domain+".conf", "Le_Domain='"+domain+"'\nLe_API='"+ca.Directory()+"'\n")
		for _, dir := range []string{"lines", "state"} {
			if err := os.RemoveAll(y.path(dir)); err != nil {
				t.Fatal(err)
			}
		}
	}
	issue("mail.example.org_ecc", "mail.example.org", "DNS:mail.example.org,DNS:*.mail.example.org", "ecparam", "-name", "secp384r1", "-genkey", "-out")
	issue("www.example.org", "www.example.org", "DNS:www.example.org", "genrsa", "-traditional", "-out")
	u, err := url.Parse(ca.Directory())
	if err != nil {
		t.Fatal(err)
	}
	y.mkdir(sh("ca/"+u.Host+u.Path), 0o755)
	if err := os.Rename(y.path("keys/account.key"), y.path(sh("ca/"+u.Host+u.Path+"/account.key"))); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(y.path("keys")); err != nil {
		t.Fatal(err)
	}
	y.write(sh("account.conf"), "")
	y.write(sh("acme.sh"), "#!/usr/bin/env sh\n")
	// What is broken, each in a directory of its own.
	good := y.read(sh("www.example.org/fullchain.cer"))
	for name, damage := range map[string]func(dir string){
		"nokey": func(dir string) {},
		"otherkey": func(dir string) {
			y.write(dir+"/otherkey.key", y.read(sh("mail.example.org_ecc/mail.example.org.key")))
		},
		"open": func(dir string) {
			y.write(dir+"/open.key", y.read(sh("www.example.org/www.example.org.key")))
			os.Chmod(y.path(dir+"/open.key"), 0o644)
		},
		"junk":  func(dir string) { y.write(dir+"/fullchain.cer", "junk") },
		"large": func(dir string) { y.write(dir+"/fullchain.cer", good+strings.Repeat("x", 2<<20)) },
		"fifo": func(dir string) {
			os.Remove(y.path(dir + "/fullchain.cer"))
			syscall.Mkfifo(y.path(dir+"/fullchain.cer"), 0o600)
		},
		"loop": func(dir string) {
			os.Remove(y.path(dir + "/fullchain.cer"))
			os.Symlink("fullchain.cer", y.path(dir+"/fullchain.cer"))
		},
	} {
		y.mkdir(sh(name), 0o755)
		y.write(sh(name+"/fullchain.cer"), good)
		damage(sh(name))
	}
	before := (&yard{t: t, dir: y.path("acme.sh")}).tree()

	y.configure(ca, mail+"dane = false\n[line.web]\nnames = [\"www.example.org\"]\nkey-type = \"rsa-2048\"\ndane = false\n")
	out := y.does(cli.ExitFailed, "import", "acme.sh", y.path("acme.sh")) // the broken ones
	for _, want := range []string{"account: " + y.path("keys/account.key"), "line mail: mail.example.org_ecc", "line web: www.example.org",
		"import nokey: ", "import otherkey: the private key is not that of the certificate", "others may read it: chmod 600", "import junk: there is no certificate in it", "import large: ", "import fifo: ", "import loop: "} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is not in\n%s", want, out)
		}
	}
	if regexp.MustCompile(`BEGIN|PRIVATE`).MatchString(out) {
		t.Errorf("a key is shown: %s", out)
	}
	if after := (&yard{t: t, dir: y.path("acme.sh")}).tree(); fmt.Sprint(before) != fmt.Sprint(after) {
		t.Errorf("before\n%v\nafter\n%v", before, after)
	}
	var account struct{ Created bool }
	said := y.does(cli.ExitOK, "init", "--json")
	if err := json.Unmarshal([]byte(said), &account); err != nil || account.Created {
		t.Errorf("%+v %v %s", account, err, said)
	}
	key := y.spki("lines/mail/live/cert.pem")
	if key != y.spki(sh("mail.example.org_ecc/mail.example.org.cer")) {
		t.Error("another certificate")
	}
	y.does(cli.ExitOK, "run")
	if s := y.status(); s.Generation != 1 || s.Alarm.Code != "" || s.NextKey.ID == "" || time.Until(s.NotAfter) < time.Hour {
		t.Errorf("%+v", s)
	}
	for _, line := range []string{"mail", "web"} {
		y.does(cli.ExitOK, "renew", line, "--force")
	}
	if s := y.status(); s.Generation != 2 || y.spki("lines/mail/live/cert.pem") != key {
		t.Errorf("%+v", s)
	}
	if names := y.leaf().DNSNames; !slices.Contains(names, "*.mail.example.org") {
		t.Errorf("%v", names)
	}
	if y.spki("lines/web/live/cert.pem") != y.spki(sh("www.example.org/www.example.org.cer")) {
		t.Error("another key")
	}
	y.noChallenges()
}

// TestImportBeside: a certificate that is taken over where another one was live before goes
// beside it.
func TestImportBeside(t *testing.T) {
	y := newYard(t)
	ca := lab.NewFakeCA(t)
	y.configure(ca, mail)
	y.does(cli.ExitOK, "init")
	y.does(cli.ExitOK, "issue", "mail")
	dir := y.asCertbot("mail.example.org")
	y.does(cli.ExitOK, "renew", "mail", "--force")
	imported := y.read("lines/mail/archive/0001/cert.pem")
	y.forget("lines/mail/archive/0001", "lines/mail/live")
	before := y.read("lines/mail/archive/0002/cert.pem")
	y.says(cli.ExitOK, "line mail: mail.example.org", "import", "certbot", dir)
	if s := y.status(); s.Generation != 3 || y.read("lines/mail/live/cert.pem") != imported || y.read("lines/mail/archive/0002/cert.pem") != before {
		t.Errorf("%+v", s)
	}
	if y.read("lines/mail/live/privkey.pem") == "" {
		t.Error("no key")
	}
	y.does(cli.ExitOK, "renew", "mail", "--force")
}

func (y *yard) mkdir(name string, mode os.FileMode) {
	y.t.Helper()
	if err := os.MkdirAll(y.path(name), mode); err != nil {
		y.t.Fatal(err)
	}
}

// private is what acme.sh's umask does.
func (y *yard) private(name string) {
	y.t.Helper()
	if err := os.Chmod(y.path(name), 0o600); err != nil {
		y.t.Fatal(err)
	}
}

// TestCombined: private key, chain and DH parameters in one file, for its owner alone,
// anew with each generation; openssl reads all three.
func TestCombined(t *testing.T) {
	lab.Need(t, "openssl")
	y := newYard(t)
	ca := lab.NewFakeCA(t)
	y.configure(ca, fakeLine+"combined = true\ndh-params = \"dh.pem\"\nkeep = 1\n")
	y.does(cli.ExitOK, "init")
	y.says(cli.ExitFailed, "dh.pem", "issue", "mail")
	// ffdhe2048 (RFC 7919), as nobody has the time to make others
	lab.Run(t, "openssl", "genpkey", "-genparam", "-algorithm", "DH", "-pkeyopt", "group:ffdhe2048", "-out", y.path("dh.pem"))
	if n := ca.Asked("/finalize"); n > 1 {
		t.Errorf("%d certificates", n)
	}
	y.does(cli.ExitOK, "issue", "mail")
	for n := 1; n <= 3; n++ {
		all := y.path("lines/mail/live/combined.pem")
		text := y.read("lines/mail/live/combined.pem")
		if want := y.read("lines/mail/live/privkey.pem") + y.read("lines/mail/live/fullchain.pem") + y.read("dh.pem"); text != want {
			t.Errorf("%s", regexp.MustCompile(`(?s)-----\n.*?-----END`).ReplaceAllString(text, "-----\n...\n-----END"))
		}
		if info, err := os.Stat(all); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%v %v", info.Mode(), err)
		}
		lab.Run(t, "openssl", "pkey", "-in", all, "-noout", "-check")
		lab.Run(t, "openssl", "x509", "-in", all, "-noout", "-checkend", "0")
		lab.Run(t, "openssl", "pkeyparam", "-in", y.path("dh.pem"), "-noout", "-check")
		y.does(cli.ExitOK, "renew", "mail", "--force")
	}
	left, err := filepath.Glob(y.path("keys/mail/combined-*.pem"))
	if err != nil || len(left) != 2 {
		t.Errorf("%v %v", left, err)
	}
}
