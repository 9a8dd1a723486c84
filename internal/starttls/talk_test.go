package starttls

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

// read holds our end of a dialogue with a transcript of the server's.
func read(p Protocol, server string) (said string, err error) {
	var out bytes.Buffer
	t := newTalk(strings.NewReader(server), &out, Options{Protocol: p, ServerName: "host.example", Hello: "[192.0.2.1]"})
	err = t.run(p)
	return out.String(), err
}

const (
	xmppHead = "<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' id='1' version='1.0'>"
	xmppTLS  = "<stream:features><starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/></stream:features>"
)

func TestTranscripts(t *testing.T) {
	long := strings.Repeat("x", maxLine)
	tests := []struct {
		p      Protocol
		server string
		err    error
		text   string // the whole error; "": none
	}{
		{SMTP, "220 a\r\n250 a\r\n", ErrNoStartTLS, "no STARTTLS: it is not among the server's extensions"},
		{SMTP, "220 a\r\n250-STARTTLS\r\n250 SIZE\r\n", ErrNoStartTLS, "no STARTTLS: it is not among the server's extensions"}, // its name
		{SMTP, "220 a\n250-a\n250 STARTTLS\n220 go\n", nil, ""},                                                                // bare LF
		{SMTP, "220\r\n250-a\r\n250 STARTTLS\r\n220\r\n", nil, ""},
		{SMTP, "220 a\r\n250-a\r\n250 StartTLS\r\n220 go\r\n", nil, ""},
		{SMTP, "220 a\r\n502 no\r\n", ErrNoStartTLS, `no STARTTLS: the server says "502 no"`},
		{SMTP, "220 a\r\n450 later\r\n", ErrUnavailable, `not available: the server says "450 later"`},
		{SMTP, "421-too\r\n421 many\r\n", ErrUnavailable, `not available: the server says "421 many"`},
		{SMTP, "554 no\r\n", ErrUnavailable, `not available: the server says "554 no"`},
		{SMTP, "220 a\r\n250-a\r\n250 STARTTLS\r\n454 not now\r\n", ErrUnavailable, `not available: the server says "454 not now"`},
		{SMTP, "220 a\r\n250-a\r\n250 STARTTLS\r\n501 no\r\n", ErrNoStartTLS, `no STARTTLS: the server says "501 no"`},
		{SMTP, "220 a\r\n250-a\r\n250 STARTTLS\r\n220 go\r\n250 early\r\n", ErrProtocol, `protocol error: the server sends "250 early\r\n" in the clear after it agreed to start TLS`},
		{SMTP, "", ErrUnreachable, "unreachable: no greeting: the server closes the connection"},
		{SMTP, "220 a\r\n", ErrProtocol, "protocol error: the server closes the connection"},
		{SMTP, "220 a\r\n250-a\r\n251 b\r\n", ErrProtocol, `protocol error: "251 b" is no reply`},
		{SMTP, "220 a\r\n250x\r\n", ErrProtocol, `protocol error: "250x" is no reply`},
		{SMTP, "SSH-2.0-x\r\n", ErrProtocol, `protocol error: "SSH-2.0-x" is no reply`},
		{SMTP, "\x16\x03\x01\x00\x02\n", ErrProtocol, `protocol error: "\x16\x03\x01\x00\x02" is no reply`},
		{SMTP, "220 " + long + "\r\n", ErrProtocol, "protocol error: a line of more than 8192 octets"},
		{SMTP, strings.Repeat("220-a\r\n", 300), ErrProtocol, "protocol error: an answer of more than 256 lines"},
		{SMTP, strings.Repeat("220-"+long[:8000]+"\r\n", 10), ErrProtocol, "protocol error: the server says more than 65536 octets"},

		{LMTP, "220 a\r\n250-a\r\n250 STARTTLS\r\n220 go\r\n", nil, ""},

		{IMAP, "* OK x\r\n* CAPABILITY IMAP4rev2 starttls\r\n* OK y\r\na OK z\r\nb OK go\r\n", nil, ""},
		{IMAP, "* BYE full\r\n", ErrUnavailable, `not available: the server says "* BYE full"`},
		{IMAP, "* PREAUTH hi\r\n", ErrNoStartTLS, `no STARTTLS: the server says "* PREAUTH hi"`},
		{IMAP, "* OK x\r\n* CAPABILITY IMAP4rev1\r\na OK\r\n", ErrNoStartTLS, "no STARTTLS: it is not among the server's capabilities"},
		{IMAP, "* OK x\r\n* CAPABILITY STARTTLS\r\na OK\r\nb BAD no\r\n", ErrNoStartTLS, `no STARTTLS: the server says "b BAD no"`},
		{IMAP, "* OK x\r\n* BYE\r\n", ErrUnavailable, `not available: the server says "* BYE"`},
		{IMAP, "* OK x\r\n* CAPABILITY STARTTLS\r\na OK\r\nb OK go\r\n* OK [CAPABILITY AUTH=PLAIN]\r\n", ErrProtocol, `protocol error: the server sends "* OK [CAPABILITY AUTH=PLAIN]\r\n" in the clear after it agreed to start TLS`},
		{IMAP, "* OK x\r\nb OK early\r\n", ErrProtocol, `protocol error: "b OK early" is no response`},
		{IMAP, "+OK pop\r\n", ErrProtocol, `protocol error: "+OK pop" is no greeting`},
		{IMAP, "* OK x\r\n" + strings.Repeat("* x\r\n", 300), ErrProtocol, "protocol error: an answer of more than 256 lines"},

		{POP3, "+OK\r\n+OK\r\nSTLS\r\n.\r\n+OK\r\n", nil, ""},
		{POP3, "+OK\r\n-ERR what\r\n+OK\r\n", nil, ""}, // older than CAPA
		{POP3, "-ERR in use\r\n", ErrUnavailable, `not available: the server says "-ERR in use"`},
		{POP3, "+OK\r\n+OK\r\nTOP\r\n.\r\n", ErrNoStartTLS, "no STARTTLS: STLS is not among the server's capabilities"},
		{POP3, "+OK\r\n-ERR what\r\n-ERR what\r\n", ErrNoStartTLS, `no STARTTLS: the server says "-ERR what"`},
		{POP3, "* OK imap\r\n", ErrProtocol, `protocol error: "* OK imap" is no response`},

		{XMPPClient, xmppHead + xmppTLS + "<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'></proceed>", nil, ""},
		{XMPPClient, xmppHead + " \n" + xmppTLS + " <proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>", nil, ""},
		{XMPPClient, xmppHead + xmppTLS + "<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/> ", ErrProtocol, `protocol error: the server sends " " in the clear after it agreed to start TLS`},
		{XMPPClient, xmppHead + xmppTLS + "<failure xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>", ErrNoStartTLS, `no STARTTLS: the server says "failure"`},
		{XMPPClient, xmppHead + xmppTLS + "<proceed/>", ErrProtocol, "protocol error: the server answers <proceed>"}, // in jabber:client
		{XMPPClient, xmppHead + "<stream:features><mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/></stream:features>", ErrNoStartTLS, "no STARTTLS: it is not among the server's stream features"},
		{XMPPClient, xmppHead + "<stream:features><x><starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/></x></stream:features>", ErrNoStartTLS, "no STARTTLS: it is not among the server's stream features"},
		{XMPPClient, xmppHead + "<stream:error><host-unknown xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error></stream:stream>", ErrUnavailable, `not available: the server says "stream error host-unknown"`},
		{XMPPClient, xmppHead + "</stream:stream>", ErrUnavailable, "not available: the server closes the stream"},
		{XMPPClient, xmppHead + "<message/>", ErrProtocol, "protocol error: the server sends no features but <message>"},
		{XMPPClient, "<html>", ErrProtocol, "protocol error: the server opens no stream but <html>"},
		{XMPPClient, "<!DOCTYPE a [<!ENTITY b \"c\">]>" + xmppHead, ErrProtocol, "protocol error: a comment or a declaration in a stream (RFC 6120 §11.1)"},
		{XMPPClient, xmppHead + strings.Repeat("<a>", 40), ErrProtocol, "protocol error: more than 16 elements in each other"},
		{XMPPClient, xmppHead + "<stream:features><a></b>", ErrProtocol, "protocol error: XML syntax error on line 1: element <a> closed by </b>"},
		{XMPPClient, xmppHead + "<stream:features>", ErrProtocol, "protocol error: the server closes the connection"},
		{XMPPClient, xmppHead + "<stream:features a='" + strings.Repeat("x", maxDialogue), ErrProtocol, "protocol error: the server says more than 65536 octets"},

		{LDAP, "\x30\x84\x00\x00\x00\x10\x02\x01\x01\x78\x84\x00\x00\x00\x07\x0a\x01\x00\x04\x00\x04\x00", nil, ""}, // as Active Directory writes it
		{LDAP, "\x30\x10\x02\x01\x01\x78\x0b\x0a\x01\x02\x04\x00\x04\x04nope", ErrNoStartTLS, `no STARTTLS: the server says "result code 2 nope"`},
		{LDAP, "\x30\x0c\x02\x01\x01\x78\x07\x0a\x01\x34\x04\x00\x04\x00", ErrUnavailable, `not available: the server says "result code 52 "`},
		{LDAP, "\x30\x0c\x02\x01\x00\x78\x07\x0a\x01\x34\x04\x00\x04\x00", ErrUnavailable, `not available: the server says "result code 52 "`},
		{LDAP, "\x30\x0c\x02\x01\x02\x78\x07\x0a\x01\x00\x04\x00\x04\x00", ErrProtocol, "protocol error: the answer is to another message"},
		{LDAP, "\x30\x0c\x02\x01\x01\x78\x07\x0a\x01\x00\x04\x00\x04\x00x", ErrProtocol, `protocol error: the server sends "x" in the clear after it agreed to start TLS`},
		{LDAP, "\x30\x00", ErrProtocol, "protocol error: the answer is no LDAP extended response"},
		{LDAP, "\x30\x0c\x02\x01\x01\x78\x07\x0a\x01\x00\x04\x00\x04\x09", ErrProtocol, "protocol error: the answer is no LDAP extended response"},
		{LDAP, "\x30\x80\x02\x01\x01\x00\x00", ErrProtocol, "protocol error: an LDAP message of indefinite or endless length"},
		{LDAP, "\x30\x84\x7f\xff\xff\xff", ErrProtocol, "protocol error: the server says more than 65536 octets"},
		{LDAP, "\x30\x84\xff\xff\xff\xff", ErrProtocol, "protocol error: the server says more than 65536 octets"},
		{LDAP, "\x30\x88\xff\xff\xff\xff\xff\xff\xff\xff", ErrProtocol, "protocol error: an LDAP message of indefinite or endless length"},
		{LDAP, "220 a\r\n", ErrProtocol, "protocol error: the answer is no LDAP message"},

		{FTP, "220-a\r\n220b\r\n 220 c\r\n220 d\r\n234 go\r\n", nil, ""},
		{FTP, "220 a\r\n530 no\r\n", ErrNoStartTLS, `no STARTTLS: the server says "530 no"`},
		{FTP, "220 a\r\n431 later\r\n", ErrUnavailable, `not available: the server says "431 later"`},
		{FTP, "120 ten minutes\r\n", ErrUnavailable, `not available: the server says "120 ten minutes"`},

		{Sieve, "\"IMPLEMENTATION\" {4}\r\nOK x\r\n\"STARTTLS\"\r\nOK\r\nOK {2+}\r\ngo\r\n", nil, ""},
		{Sieve, "\"STARTTLS\"\r\nOK(WARNINGS) \"a\"\r\nOK\r\n", nil, ""},
		{Sieve, "\"SIEVE\" \"starttls\"\r\nOK\r\n", ErrNoStartTLS, "no STARTTLS: it is not among the server's capabilities"},
		{Sieve, "\"STARTTLS\"\r\nOK\r\nNO \"no\"\r\n", ErrNoStartTLS, `no STARTTLS: the server says "NO \"no\""`},
		{Sieve, "BYE(TRYLATER) \"a\"\r\n", ErrUnavailable, `not available: the server says "BYE(TRYLATER) \"a\""`},
		{Sieve, "\"A\" {99999}\r\n", ErrProtocol, "protocol error: the server says more than 65536 octets"},
		{Sieve, "\"A\" {9}\r\n", ErrProtocol, "protocol error: the server closes the connection"},
		{Sieve, "220 a\r\n", ErrProtocol, `protocol error: "220 a" is no capability`},

		{Postgres, "S", nil, ""},
		{Postgres, "N", ErrNoStartTLS, "no STARTTLS: the server has no TLS"},
		{Postgres, "E\x00\x00\x00\x00", ErrUnavailable, "not available: the server answers with an error"},
		{Postgres, "SZ", ErrProtocol, `protocol error: the server sends "Z" in the clear after it agreed to start TLS`}, // CVE-2021-23222
		{Postgres, "2", ErrProtocol, `protocol error: the server answers the SSLRequest with "2"`},
		{Postgres, "", ErrUnreachable, "unreachable: no greeting: the server closes the connection"},

		{NNTP, "201 a\r\n500 what\r\n382 go\r\n", nil, ""}, // older than CAPABILITIES
		{NNTP, "200 a\r\n101 list\r\nREADER\r\n.\r\n", ErrNoStartTLS, "no STARTTLS: it is not among the server's capabilities"},
		{NNTP, "400 full\r\n", ErrUnavailable, `not available: the server says "400 full"`},
		{NNTP, "200 a\r\n500 what\r\n580 no\r\n", ErrUnavailable, `not available: the server says "580 no"`},
		{NNTP, "200 a\r\n500 what\r\n502 no\r\n", ErrNoStartTLS, `no STARTTLS: the server says "502 no"`},
		{NNTP, "200-a\r\n", ErrProtocol, `protocol error: "200-a" is no response`},
	}
	for _, test := range tests {
		_, err := read(test.p, test.server)
		text := ""
		if err != nil {
			text = err.Error()
		}
		if !errors.Is(err, test.err) || text != test.text {
			t.Errorf("%s %.80q:\nerror %s\nwant  %s", test.p, test.server, text, test.text)
		}
	}
}

// TestSaid: what goes out, to the octet.
func TestSaid(t *testing.T) {
	tests := []struct {
		p            Protocol
		server, said string
	}{
		{SMTP, "220 a\r\n250-a\r\n250 STARTTLS\r\n220 go\r\n", "EHLO [192.0.2.1]\r\nSTARTTLS\r\n"},
		{LMTP, "220 a\r\n250-a\r\n250 STARTTLS\r\n220 go\r\n", "LHLO [192.0.2.1]\r\nSTARTTLS\r\n"},
		{IMAP, "* OK x\r\n* CAPABILITY STARTTLS\r\na OK z\r\nb OK go\r\n", "a CAPABILITY\r\nb STARTTLS\r\n"},
		{POP3, "+OK\r\n+OK\r\nSTLS\r\n.\r\n+OK\r\n", "CAPA\r\nSTLS\r\n"},
		{FTP, "220 a\r\n234 go\r\n", "AUTH TLS\r\n"},
		{Sieve, "\"STARTTLS\"\r\nOK\r\nOK\r\n", "STARTTLS\r\n"},
		{NNTP, "200 a\r\n500 what\r\n382 go\r\n", "CAPABILITIES\r\nSTARTTLS\r\n"},
		{XMPPServer, strings.Replace(xmppHead, "client", "server", 1) + xmppTLS + "<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>",
			"<?xml version='1.0'?><stream:stream xmlns='jabber:server' xmlns:stream='http://etherx.jabber.org/streams' to='host.example' version='1.0'>" +
				"<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"},
		{Postgres, "N", "\x00\x00\x00\x08\x04\xd2\x16\x2f"}, // nothing more
		{SMTP, "220 a\r\n250 a\r\n", "EHLO [192.0.2.1]\r\n"},
	}
	for _, test := range tests {
		if said, _ := read(test.p, test.server); said != test.said {
			t.Errorf("%s said %q\nwant %q", test.p, said, test.said)
		}
	}
	var out bytes.Buffer // the domain of a stream is not that of its server
	newTalk(strings.NewReader(""), &out, Options{ServerName: "host.example", Domain: "example.org"}).run(XMPPClient)
	if said := out.String(); !strings.Contains(said, " to='example.org' ") {
		t.Errorf("said %q", said)
	}
}

// FuzzTranscripts: whatever a server says, the dialogue ends, with an error of a
// kind or with all of it read.
func FuzzTranscripts(f *testing.F) {
	for _, p := range Protocols() {
		for _, s := range []string{
			"220 a\r\n250-a\r\n250 STARTTLS\r\n220 go\r\n", "* OK x\r\n* CAPABILITY STARTTLS\r\na OK z\r\nb OK go\r\n",
			"+OK\r\n+OK\r\nSTLS\r\n.\r\n+OK\r\n", "\"A\" {4}\r\nOK x\r\n\"STARTTLS\"\r\nOK\r\nOK {2+}\r\ngo\r\n",
			xmppHead + xmppTLS + "<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>", "S",
			"\x30\x84\x00\x00\x00\x10\x02\x01\x01\x78\x84\x00\x00\x00\x07\x0a\x01\x00\x04\x00\x04\x00",
		} {
			f.Add(uint8(p), s)
		}
	}
	f.Fuzz(func(t *testing.T, n uint8, server string) {
		p := Protocol(n % uint8(protocolEnd))
		_, err := read(p, server)
		kinds := 0
		for _, kind := range []error{ErrUnreachable, ErrUnavailable, ErrNoStartTLS, ErrProtocol} {
			if errors.Is(err, kind) {
				kinds++
			}
		}
		if (err != nil) != (kinds == 1) {
			t.Errorf("%s: %v is of %d kinds", p, err, kinds)
		}
		if err != nil && strings.ContainsAny(err.Error(), "\r\n\x1b\x00") {
			t.Errorf("%s: the error is not of one printable line: %q", p, err)
		}
		if err == nil && p != Direct && server == "" {
			t.Errorf("%s: agreed without a word", p)
		}
	})
}

func TestProtocols(t *testing.T) {
	for _, p := range Protocols() {
		if q, err := ParseProtocol(p.String()); err != nil || q != p {
			t.Errorf("%s: %v, %v", p, q, err)
		}
	}
	const want = `"smtps": no such STARTTLS protocol; there are none, smtp, lmtp, imap, pop3, xmpp-client, xmpp-server, ldap, ftp, sieve, postgres, nntp`
	if _, err := ParseProtocol("smtps"); err == nil || err.Error() != want {
		t.Errorf("%v\nwant %s", err, want)
	}
	for port, want := range map[uint16]Protocol{
		25: SMTP, 587: SMTP, 465: Direct, 24: LMTP, 143: IMAP, 993: Direct, 110: POP3, 995: Direct, 5222: XMPPClient, 5269: XMPPServer,
		389: LDAP, 636: Direct, 21: FTP, 990: Direct, 4190: Sieve, 5432: Postgres, 119: NNTP, 563: Direct, 443: Direct, 0: Direct,
	} {
		if got := ForPort(port); got != want {
			t.Errorf("port %d: %s, want %s", port, got, want)
		}
	}
}
