package main

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"zonebuild/internal/cli"
	"zonebuild/internal/lab"
)

// talk is a dialogue before TLS: what is said, what must be heard then, and so on.
// TAG stands for the first word that was heard last.
func talk(steps ...string) func(net.Conn) error {
	return func(c net.Conn) error {
		tag := ""
		for i, step := range steps {
			if i%2 == 0 {
				if _, err := io.WriteString(c, strings.ReplaceAll(step, "TAG", tag)); err != nil {
					return err
				}
				continue
			}
			var heard bytes.Buffer
			for one := make([]byte, 1); !strings.HasSuffix(heard.String(), step); {
				if _, err := io.ReadFull(c, one); err != nil || heard.Len() > 4096 {
					return fmt.Errorf("heard %q, not %q: %w", &heard, step, err)
				}
				heard.Write(one)
			}
			tag, _, _ = strings.Cut(heard.String(), " ")
		}
		return nil
	}
}

// TestProbes asks services of all kinds what they serve: the line is settled when all
// of them have the live certificate, and not before.
func TestProbes(t *testing.T) {
	xmpp := func(content string) func(net.Conn) error {
		return talk("", "version='1.0'>", "<?xml version='1.0'?><stream:stream xmlns='"+content+"' xmlns:stream='http://etherx.jabber.org/streams' id='1' version='1.0'>"+
			"<stream:features><starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'><required/></starttls></stream:features>", "/>", "<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>")
	}
	mailTalk := talk("220 mail.example ESMTP\r\n", "\r\n", "250-mail.example\r\n250 STARTTLS\r\n", "STARTTLS\r\n", "220 go ahead\r\n")
	kinds := map[string]struct {
		table string
		clear func(net.Conn) error
	}{
		"smtp":       {"port = 25", mailTalk},
		"submission": {"port = 587", mailTalk},
		"elsewhere":  {"port = 2525\nstarttls = \"smtp\"", mailTalk},
		"smtps":      {"port = 465", nil},
		"lmtp":       {"port = 24\nstarttls = \"lmtp\"", mailTalk},
		"imap":       {"port = 143", talk("* OK [CAPABILITY IMAP4rev1 STARTTLS] ready\r\n", "CAPABILITY\r\n", "* CAPABILITY IMAP4rev1 STARTTLS\r\nTAG OK done\r\n", "STARTTLS\r\n", "TAG OK go ahead\r\n")},
		"imaps":      {"port = 993", nil},
		"pop3":       {"port = 110", talk("+OK ready\r\n", "CAPA\r\n", "+OK\r\nSTLS\r\n.\r\n", "STLS\r\n", "+OK go ahead\r\n")},
		"sieve":      {"port = 4190", talk("\"SIEVE\" \"fileinto\"\r\n\"STARTTLS\"\r\nOK \"ready\"\r\n", "STARTTLS\r\n", "OK \"go ahead\"\r\n")},
		"client":     {"port = 5222", xmpp("jabber:client")},
		"peer":       {"port = 5269", xmpp("jabber:server")},
		"ldap":       {"port = 389", talk("", "1.3.6.1.4.1.1466.20037", "\x30\x0c\x02\x01\x01\x78\x07\x0a\x01\x00\x04\x00\x04\x00")},
		"ftp":        {"port = 21", talk("220 ready\r\n", "AUTH TLS\r\n", "234 go ahead\r\n")},
		"postgres":   {"port = 5432", talk("", "\x00\x00\x00\x08\x04\xd2\x16\x2f", "S")},
		"nntp":       {"port = 119", talk("200 ready\r\n", "CAPABILITIES\r\n", "101 list:\r\nVERSION 2\r\nSTARTTLS\r\n.\r\n", "STARTTLS\r\n", "382 go ahead\r\n")},
	}
	y := newYard(t)
	other, err := tls.X509KeyPair(strange(t))
	if err != nil {
		t.Fatal(err)
	}
	servers := map[string]*lab.TLS{}
	table, names := "", []string{}
	for name, k := range kinds {
		servers[name] = lab.TLSServer(t, lab.TLSOptions{Clear: k.clear, Certs: map[string][]tls.Certificate{"": {other}}})
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
