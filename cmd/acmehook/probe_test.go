package main

import (
	"crypto/tls"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"zonebuild/internal/cli"
	"zonebuild/internal/lab"
)

// TestProbes asks services of all kinds what they serve: the line is settled when all
// of them have the live certificate, and not before.
func TestProbes(t *testing.T) {
	kinds := map[string]struct{ speak, table string }{
		"smtp":       {"smtp", "port = 25"},
		"submission": {"smtp", "port = 587"},
		"elsewhere":  {"smtp", "port = 2525\nstarttls = \"smtp\""},
		"smtps":      {"", "port = 465"},
		"lmtp":       {"lmtp", "port = 24\nstarttls = \"lmtp\""},
		"imap":       {"imap", "port = 143"},
		"imaps":      {"", "port = 993"},
		"pop3":       {"pop3", "port = 110"},
		"sieve":      {"sieve", "port = 4190"},
		"client":     {"xmpp-client", "port = 5222"},
		"peer":       {"xmpp-server", "port = 5269"},
		"ldap":       {"ldap", "port = 389"},
		"ftp":        {"ftp", "port = 21"},
		"postgres":   {"postgres", "port = 5432"},
		"nntp":       {"nntp", "port = 119"},
	}
	for _, speak := range lab.Talks() {
		if !slices.ContainsFunc(slices.Collect(maps.Values(kinds)), func(k struct{ speak, table string }) bool { return k.speak == speak }) {
			t.Errorf("nobody speaks %s", speak)
		}
	}
	y := newYard(t)
	other, err := tls.X509KeyPair(strange(t))
	if err != nil {
		t.Fatal(err)
	}
	servers := map[string]*lab.TLS{}
	table, names := "", []string{}
	for name, k := range kinds {
		servers[name] = lab.TLSServer(t, lab.TLSOptions{Speak: k.speak, Certs: map[string][]tls.Certificate{"": {other}}})
		table += fmt.Sprintf("[service.%s]\nhost = \"mail.example.org\"\ntlsa = false\nprobe = [%q]\n%s\n", name, servers[name].Addr(), k.table)
		names = append(names, fmt.Sprintf("%q", name))
	}
	table += "[service.quic]\nhost = \"mail.example.org\"\nport = 443\nproto = \"udp\"\ntlsa = false\n[service.hidden]\nhost = \"mail.example.org\"\nport = 443\nprobe = \"none\"\ntlsa = false\n"
	names = append(names, `"quic"`, `"hidden"`)
	ca := lab.NewFakeCA(t)
	y.configure(ca, fakeLine+"services = ["+strings.Join(names, ", ")+"]\n"+table)
	y.does(cli.ExitOK, "init")
	if out := y.does(cli.ExitOK, "run"); strings.Contains(out, "service ") { // they may take a while
		t.Errorf("at once: %s", out)
	}
	y.past = 3 * time.Minute
	out := y.does(cli.ExitOK, "run")
	for name := range kinds {
		if want := "service " + name + ": " + servers[name].Addr() + " still serves another certificate\n"; !strings.Contains(out, want) {
			t.Errorf("%q is not in\n%s", want, out)
		}
	}
	if again := y.does(cli.ExitOK, "run"); again != "" {
		t.Errorf("it says the same again: %s", again)
	}
	if said := y.does(cli.ExitOK, "live", "mail"); said != "quic\nhidden\n" {
		t.Errorf("%q", said)
	}
	y.past = 2 * time.Hour
	if s := y.status(); s.NextKey.ID != "" || s.Alarm.Code != "service-lags" {
		t.Errorf("%+v", s)
	}
	live, err := tls.X509KeyPair([]byte(y.read("lines/mail/live/fullchain.pem")), []byte(y.read("lines/mail/live/privkey.pem")))
	if err != nil {
		t.Fatal(err)
	}
	for name, s := range servers {
		if name != "imap" {
			s.Show("", live)
		}
	}
	servers["imap"].Stop()
	y.says(cli.ExitOK, "service imap: "+servers["imap"].Addr()+": ", "run")
	for _, s := range y.status().Services {
		if s.Serves == (s.Lag != "") {
			t.Errorf("%+v", s)
		}
	}
	servers["imap"].Start()
	servers["imap"].Show("", other)
	servers["imap"].Show("mail.example.org", live) // by the name that is asked for
	y.does(cli.ExitOK, "run")
	y.does(cli.ExitOK, "run")
	if s := y.status(); s.NextKey.ID == "" || s.Alarm.Code != "" {
		t.Errorf("%+v", s)
	}
	for name, s := range servers {
		if seen := s.Seen(); len(seen) == 0 || seen[0] != "mail.example.org" {
			t.Errorf("%s: server names %q", name, seen)
		}
	}
}

// strange is a certificate of nobody's, with its key.
func strange(t *testing.T) (cert, key []byte) {
	t.Helper()
	y := newYard(t)
	ca := lab.NewFakeCA(t)
	y.configure(ca, fakeLine)
	y.does(cli.ExitOK, "init")
	y.does(cli.ExitOK, "issue", "mail")
	return []byte(y.read("lines/mail/live/fullchain.pem")), []byte(y.read("lines/mail/live/privkey.pem"))
}
