package main

import (
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"zonebuild/internal/cli"
	"zonebuild/internal/lab"
)

// TestEAB: an account that an operator has with the CA, whose key nobody else sees.
func TestEAB(t *testing.T) {
	y := newYard(t)
	secret := base64.RawURLEncoding.EncodeToString([]byte("a secret of the operator, 32 oct"))
	ca := lab.PebbleWith(t, y.addr, lab.PebbleOptions{EAB: map[string]string{"kid-1": secret}})
	y.configure(ca, mail)
	y.says(cli.ExitFailed, "register the account: external account binding wanted", "init")
	bind := func(id, key string) {
		y.write("eab", key+"\n")
		y.write("acmehook.toml", y.general()+account(ca)+fmt.Sprintf("eab-key-id = %q\neab-key-file = \"eab\"\n", id)+mail)
	}
	for _, row := range []struct {
		code          int
		id, key, want string
	}{
		{cli.ExitFailed, "kid-2", secret, "unauthorized"},
		{cli.ExitFailed, "kid-1", base64.RawURLEncoding.EncodeToString([]byte("another secret of the operator..")), ""},
		{cli.ExitRejected, "kid-1", "!" + secret, "eab: it is no base64url"},
		{cli.ExitRejected, "kid-1", "", "eab: it is no base64url"},
	} {
		bind(row.id, row.key)
		out := y.does(row.code, "init")
		if !strings.Contains(out, row.want) || row.key != "" && strings.Contains(out, row.key[:9]) {
			t.Errorf("%q\n%s", row.key, out)
		}
	}
	bind("kid-1", secret)
	if err := os.Chmod(y.path("eab"), 0o644); err != nil {
		t.Fatal(err)
	}
	y.says(cli.ExitFailed, "its mode is 0644, others may read it: chmod 600", "init")
	if err := os.Chmod(y.path("eab"), 0o600); err != nil {
		t.Fatal(err)
	}
	y.does(cli.ExitOK, "init")
	y.does(cli.ExitOK, "issue", "mail")
	y.nowhere(secret, "eab")
}

// nowhere wants a secret to be in no file but those.
func (y *yard) nowhere(secret string, but ...string) {
	y.t.Helper()
	err := filepath.WalkDir(y.dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(path)
		name, _ := filepath.Rel(y.dir, path)
		if strings.Contains(string(b), secret) && !slices.Contains(but, name) {
			y.t.Errorf("a secret is in %s", name)
		}
		return err
	})
	if err != nil {
		y.t.Fatal(err)
	}
}

// TestNonces: half of all nonces are rejected, as if others had used them.
func TestNonces(t *testing.T) {
	y := newYard(t)
	ca := lab.PebbleWith(t, y.addr, lab.PebbleOptions{Nonces: 50})
	y.configure(ca, mail)
	y.does(cli.ExitOK, "init")
	y.does(cli.ExitOK, "issue", "mail")
	y.does(cli.ExitOK, "run")
	y.does(cli.ExitOK, "renew", "mail", "--force")
	y.does(cli.ExitOK, "revoke", "mail")
	y.does(cli.ExitOK, "account", "deactivate")
	if s := y.status(); s.Generation != 2 {
		t.Errorf("%+v", s)
	}
	if n := strings.Count(ca.Log(), "Issued certificate serial"); n != 2 {
		t.Errorf("%d certificates", n)
	}
	y.noChallenges()
}

// lives is a Pebble with profiles of so many days.
func lives(t *testing.T, y *yard, days ...int) *lab.CA {
	t.Helper()
	o := lab.PebbleOptions{Profiles: map[string]uint64{}}
	for _, n := range days {
		o.Profiles[fmt.Sprint(n, "days")] = uint64(n) * 86400
	}
	return lab.PebbleWith(t, y.addr, o)
}

// TestLifetimes: certificates of 6, 45 and 90 days, renewed by fractions of their
// lifetime, as a CA without suggestions has it (here: one that lost them).
func TestLifetimes(t *testing.T) {
	const day = 24 * time.Hour
	for days, due := range map[int]time.Duration{6: 3 * day, 45: 30 * day, 90: 60 * day} {
		t.Run(fmt.Sprint(days), func(t *testing.T) {
			y := newYard(t)
			ca := lab.NewFakeCA(t) // it tells nobody when to renew
			ca.Leaf = func(c *x509.Certificate) {
				c.NotBefore = c.NotBefore.Add(y.past)
				c.NotAfter = c.NotBefore.Add(time.Duration(days) * day)
			}
			y.configure(ca, fakeLine)
			y.does(cli.ExitOK, "init")
			y.does(cli.ExitOK, "run")
			y.past = due - 2*time.Hour // it begins an hour back
			y.does(cli.ExitOK, "run")
			if y.status().Generation != 1 {
				t.Fatal("renewed too early")
			}
			y.past = due
			y.does(cli.ExitOK, "run")
			if s := y.status(); s.Generation != 2 || s.Alarm.Code != "" {
				t.Fatalf("%+v", s)
			}
		})
	}
}

// TestProfiles: what profile a line has, and one that the CA has not.
func TestProfiles(t *testing.T) {
	y := newYard(t)
	ca := lives(t, y, 6, 45)
	for days := range map[int]bool{6: true, 45: true} {
		y.configure(ca, mail+fmt.Sprintf("profile = \"%ddays\"\n", days))
		y.does(cli.ExitOK, "init")
		y.does(cli.ExitOK, "renew", "mail", "--force")
		if s := y.status(); s.Alarm.Code != "" {
			t.Errorf("%+v", s)
		}
		if leaf := y.leaf(); leaf.NotAfter.Sub(leaf.NotBefore).Round(time.Hour) != time.Duration(days)*24*time.Hour {
			t.Errorf("%s to %s", leaf.NotBefore, leaf.NotAfter)
		}
	}
	y.configure(ca, mail+"profile = \"classic\"\n")
	y.says(cli.ExitFailed, `no such profile: "classic", the CA has 45days, 6days`, "renew", "mail", "--force")
}

// TestRenewalInfo: when the CA says now, later, or nonsense; and one certificate is
// replaced once only.
func TestRenewalInfo(t *testing.T) {
	y := newYard(t)
	ca := lives(t, y, 90)
	y.configure(ca, mail)
	y.does(cli.ExitOK, "init")
	y.does(cli.ExitOK, "issue", "mail")
	suggest := func(answer string) {
		t.Helper()
		text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: y.leaf().Raw})
		body, err := json.Marshal(map[string]string{"Certificate": string(text), "ARIResponse": answer})
		if err != nil {
			t.Fatal(err)
		}
		if code, said := ca.Manage("POST", "/set-renewal-info/", string(body)); code != 200 {
			t.Fatal(code, said)
		}
	}
	window := func(from, to time.Duration) string {
		at := func(d time.Duration) string { return time.Now().Add(y.past + d).UTC().Format(time.RFC3339) }
		return fmt.Sprintf(`{"suggestedWindow":{"start":%q,"end":%q},"explanationURL":"https://ca.example/why"}`, at(from), at(to))
	}
	y.does(cli.ExitOK, "run")
	y.does(cli.ExitOK, "run")
	first := y.status()
	if first.Generation != 1 || first.Renewal.Start.IsZero() || first.Renewal.At.Before(first.Renewal.Start) || first.Renewal.At.After(first.Renewal.End) {
		t.Fatalf("%+v", first)
	}
	// Its Retry-After is honoured, and the instant that was chosen stays.
	suggest(window(-2*time.Hour, -time.Hour))
	y.past = time.Hour
	y.does(cli.ExitOK, "run")
	if s := y.status(); s.Generation != 1 || !s.Renewal.At.Equal(first.Renewal.At) {
		t.Fatalf("%+v", s)
	}
	y.past = 7 * time.Hour
	y.does(cli.ExitOK, "run")
	if s := y.status(); s.Generation != 2 {
		t.Fatalf("it did not renew at once: %+v", s)
	}
	// Later than its lifetime says.
	suggest(window(70*24*time.Hour, 71*24*time.Hour))
	y.past = 8 * time.Hour
	y.does(cli.ExitOK, "run")
	y.past = 15 * time.Hour
	y.does(cli.ExitOK, "run")
	later := y.status()
	if later.Renewal.At.Before(time.Now().Add(69*24*time.Hour)) || later.Renewal.Why != "https://ca.example/why" {
		t.Fatalf("%+v", later)
	}
	y.past = 65 * 24 * time.Hour
	for _, broken := range []string{"{", "null", window(time.Hour, -time.Hour), "<html>", `{"suggestedWindow":{"start":"0001-01-01T00:00:00Z","end":"0001-01-01T00:00:00Z"}}`} {
		suggest(broken)
		y.past += 25 * time.Hour
		y.does(cli.ExitOK, "run")
		if s := y.status(); s.Generation != 2 || !s.Renewal.At.Equal(later.Renewal.At) || !strings.Contains(s.Renewal.Fault, "malformed by the CA") {
			t.Fatalf("%s: %+v", broken, s)
		}
	}

	// An old generation that was replaced, live again by the operator's hand: the CA
	// refuses to replace it twice, and it is renewed all the same.
	y.past = 20 * time.Hour
	if err := os.Remove(y.path("lines/mail/live")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("archive/0001", y.path("lines/mail/live")); err != nil {
		t.Fatal(err)
	}
	orders := strings.Count(ca.Log(), "POST /order-plz")
	y.does(cli.ExitOK, "renew", "mail", "--force")
	if n := strings.Count(ca.Log(), "POST /order-plz") - orders; n != 2 || y.status().Generation != 3 {
		t.Errorf("%d requests for an order, %+v\n%s", n, y.status(), ca.Log())
	}
}

// TestAlternateChains: the chain whose top has the wanted name.
func TestAlternateChains(t *testing.T) {
	y := newYard(t)
	ca := lab.PebbleWith(t, y.addr, lab.PebbleOptions{Alternates: 2})
	tops := map[string]bool{}
	y.configure(ca, mail)
	y.does(cli.ExitOK, "init")
	for n := range 3 {
		_, text := ca.Manage("GET", fmt.Sprint("/roots/", n), "")
		block, _ := pem.Decode([]byte(text))
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		top := c.Subject.CommonName
		tops[top] = true
		y.configure(ca, mail+fmt.Sprintf("issuer = %q\n", top))
		y.does(cli.ExitOK, "renew", "mail", "--force")
		rest := []byte(y.read("lines/mail/live/chain.pem"))
		for block, rest = pem.Decode(rest); block != nil; block, rest = pem.Decode(rest) {
			if c, err = x509.ParseCertificate(block.Bytes); err != nil {
				t.Fatal(err)
			}
		}
		if c.Issuer.CommonName != top {
			t.Errorf("the chain ends with %s, want %s", c.Issuer.CommonName, top)
		}
	}
	if len(tops) != 3 {
		t.Errorf("%v", tops)
	}
	y.configure(ca, mail+"issuer = \"nobody\"\n")
	y.says(cli.ExitOK, `no chain ends with the issuer "nobody"`, "renew", "mail", "--force")
}

// TestRequestFiles: keys that are never here, made by openssl, change by two requests;
// must-staple is refused before the CA is asked.
func TestRequestFiles(t *testing.T) {
	lab.Need(t, "openssl")
	y := newYard(t)
	ca := lab.PebbleWith(t, y.addr, lab.PebbleOptions{})
	request := func(name string, more ...string) {
		t.Helper()
		args := []string{"req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", filepath.Join(t.TempDir(), "key"), "-out", y.path(name), "-subj", "/", "-addext", "subjectAltName=DNS:mail.example.org,DNS:*.mail.example.org"}
		lab.Run(t, "openssl", append(args, more...)...)
	}
	csrKey := func(name string) string {
		t.Helper()
		pub := lab.Run(t, "openssl", "req", "-in", y.path(name), "-pubkey", "-noout")
		y.write("pub", pub)
		return y.spki("pub")
	}
	y.configure(ca, mail+"csr = \"a.csr\"\nnext-csr = \"b.csr\"\nservices = [\"smtp\"]\n[service.smtp]\nhost = \"mail.example.org\"\nport = 25\nprobe = \"none\"\n")
	y.does(cli.ExitOK, "init")
	y.says(cli.ExitFailed, "a.csr", "issue", "mail")
	request("a.csr", "-addext", "tlsfeature=status_request")
	orders := strings.Count(ca.Log(), "POST /order-plz")
	y.says(cli.ExitFailed, "must-staple", "issue", "mail")
	if strings.Count(ca.Log(), "POST /order-plz") != orders {
		t.Error("the CA was asked")
	}
	request("a.csr")
	y.does(cli.ExitOK, "issue", "mail")
	a := csrKey("a.csr")
	if y.spki("lines/mail/live/cert.pem") != a {
		t.Fatal("another key")
	}
	if left, err := filepath.Glob(y.path("lines/mail/live/privkey.pem")); err != nil || len(left) > 0 {
		t.Errorf("a private key: %v %v", left, err)
	}
	y.pin("_25._tcp.mail.example.org.", "lines/mail/live/cert.pem")
	if said := y.does(cli.ExitOK, "live", "mail"); said != "smtp\n" {
		t.Errorf("%q", said)
	}
	request("b.csr")
	b := csrKey("b.csr")
	y.does(cli.ExitOK, "run")
	if got := y.spki("lines/mail/next/pubkey.pem"); got != b {
		t.Fatalf("next key %s, want %s", got, b)
	}
	y.does(cli.ExitOK, "rollover", "mail")
	y.does(cli.ExitOK, "run")
	if s := y.status(); s.Generation != 1 || !strings.Contains(fmt.Sprint(s.Waits), "lacks those of the next key") {
		t.Fatalf("%+v", s)
	}
	y.pin("_25._tcp.mail.example.org.", "lines/mail/next/pubkey.pem")
	y.does(cli.ExitOK, "run")
	y.past = time.Minute
	y.does(cli.ExitOK, "run")
	if y.spki("lines/mail/live/cert.pem") != b {
		t.Fatalf("the key has not changed: %+v", y.status())
	}
	// No service says so, so nothing more happens until somebody says it by hand.
	request("a.csr")
	y.does(cli.ExitOK, "run")
	if s := y.status(); s.Services[0].Serves || !s.Services[0].Unasked || y.spki("lines/mail/next/pubkey.pem") != b {
		t.Fatalf("%+v", s)
	}
	y.does(cli.ExitOK, "live", "mail")
	y.does(cli.ExitOK, "run")
	if s := y.status(); !s.Services[0].ByHand || y.spki("lines/mail/next/pubkey.pem") != csrKey("a.csr") {
		t.Fatalf("%+v", s)
	}
}

// TestRenewalLoop: a CA that wants each new certificate to be renewed at once gets one
// order in a run, and the next after 1, 10 and 100 minutes, then daily.
func TestRenewalLoop(t *testing.T) {
	y := newYard(t)
	ca := lab.NewFakeCA(t)
	y.ages(ca)
	ca.Change = func(f *lab.FakeCA, path string, b map[string]any) {
		if path == "/dir" {
			b["renewalInfo"] = f.Server.URL + "/info/"
		}
	}
	ca.Take = func(_ *lab.FakeCA, w http.ResponseWriter, r *http.Request) bool {
		if !strings.HasPrefix(r.URL.Path, "/info/") {
			return false
		}
		now := time.Now().Add(y.past)
		fmt.Fprintf(w, `{"suggestedWindow":{"start":%q,"end":%q}}`, now.Add(-48*time.Hour).UTC().Format(time.RFC3339), now.Add(-47*time.Hour).UTC().Format(time.RFC3339))
		return true
	}
	y.configure(ca, fakeLine+"deploy = [[\"sh\", \"-c\", \"echo $ACMEHOOK_GENERATION >>told\"]]\n")
	y.does(cli.ExitOK, "init")
	for i, step := range []struct {
		wait time.Duration
		want int
	}{{0, 1}, {2 * time.Minute, 2}, {2 * time.Minute, 2}, {9 * time.Minute, 3}, {time.Hour, 3}, {time.Hour, 4}, {22 * time.Hour, 4}, {3 * time.Hour, 5}} {
		y.past += step.wait
		y.does(cli.ExitOK, "run")
		y.does(cli.ExitOK, "run")
		if n := ca.Asked("/newOrder"); n != step.want {
			t.Errorf("%d: %d orders, want %d", i, n, step.want)
		}
	}
	if got := y.read("lines/told"); got != "1\n2\n3\n4\n5\n" {
		t.Errorf("told of %q", got)
	}
}

// TestHalfWritten: what cannot be written to its end takes no number and pushes nothing
// out.
func TestHalfWritten(t *testing.T) {
	y := newYard(t)
	ca := lab.NewFakeCA(t)
	table := fakeLine + "keep = 2\ncombined = true\ndh-params = \"dh.pem\"\n"
	y.write("dh.pem", "parameters\n")
	y.configure(ca, table)
	y.does(cli.ExitOK, "init")
	y.does(cli.ExitOK, "issue", "mail")
	for range 2 {
		y.does(cli.ExitOK, "renew", "mail", "--force")
	}
	if err := os.Rename(y.path("dh.pem"), y.path("away")); err != nil {
		t.Fatal(err)
	}
	for range 6 {
		y.says(cli.ExitFailed, "dh.pem", "renew", "mail", "--force")
	}
	y.mkdir("lines/mail/archive/0004", 0o755) // of a process that was killed
	y.write("lines/mail/archive/0004/cert.pem", "half")
	if err := os.Rename(y.path("away"), y.path("dh.pem")); err != nil {
		t.Fatal(err)
	}
	y.does(cli.ExitOK, "renew", "mail", "--force")
	got, err := filepath.Glob(y.path("lines/mail/archive/0*"))
	for i := range got {
		got[i] = filepath.Base(got[i])
	}
	if err != nil || !slices.Equal(got, []string{"0002", "0003", "0004"}) || y.status().Generation != 4 {
		t.Errorf("%v %v %+v", got, err, y.status())
	}
}

// TestOrderOfAnother: an order that was left at another CA, or whose key is lost, does
// not keep a line from its certificate.
func TestOrderOfAnother(t *testing.T) {
	for name, disturb := range map[string]func(y *yard){
		"directory": func(y *yard) {
			y.configure(lab.NewFakeCA(y.t), fakeLine)
			y.does(cli.ExitOK, "init")
		},
		"key": func(y *yard) {
			if err := os.RemoveAll(y.path("keys/mail")); err != nil {
				y.t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			y := newYard(t)
			ca := lab.NewFakeCA(t)
			y.configure(ca, fakeLine)
			y.does(cli.ExitOK, "init")
			ca.Take = lab.At("/cert", func(w http.ResponseWriter, _ *http.Request) { lab.Refuse(w, 503, "", "serverInternal", "later") })
			y.does(cli.ExitFailed, "run")
			ca.Take = nil
			disturb(y)
			y.past = 2 * time.Minute
			for range 3 {
				y.does(cli.ExitOK, "run")
			}
			if s := y.status(); s.Generation != 1 || s.Error != "" || s.Alarm.Code != "" {
				t.Errorf("%+v", s)
			}
		})
	}
}
