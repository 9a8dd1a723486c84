package starttls

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// peer is the server's end of a dialogue in the clear. What does not go as it
// should ends it by a panic with a fault, which serve takes for the connection's
// end and the test for its failure.
type peer struct {
	*bufio.Reader
	w io.Writer
}

type fault string

func (p peer) say(s string) {
	if _, err := io.WriteString(p.w, s); err != nil {
		panic(fault(err.Error()))
	}
}

// hears reads one line, which must begin so, and gives the rest.
func (p peer) hears(prefix string) string {
	line, err := p.ReadString('\n')
	if err != nil {
		panic(fault(err.Error()))
	}
	rest, ok := strings.CutPrefix(line, prefix)
	if !ok || !strings.HasSuffix(line, "\r\n") {
		panic(fault(fmt.Sprintf("heard %q, not %q", line, prefix)))
	}
	return strings.TrimSpace(rest)
}

// tag reads a command of IMAP and gives its tag.
func (p peer) tag(command string) string {
	line, err := p.ReadString('\n')
	tag, said, _ := strings.Cut(strings.TrimSpace(line), " ")
	if err != nil || said != command {
		panic(fault(fmt.Sprintf("heard %q, not %s", line, command)))
	}
	return tag
}

// until reads up to a delimiter, and gives all of it.
func (p peer) until(delimiter string) string {
	var b strings.Builder
	for !strings.HasSuffix(b.String(), delimiter) {
		c, err := p.ReadByte()
		if err != nil {
			panic(fault(fmt.Sprintf("heard %q, then: %v", b.String(), err)))
		}
		b.WriteByte(c)
	}
	return b.String()
}

func (p peer) binary(want string) {
	b := make([]byte, len(want))
	if _, err := io.ReadFull(p, b); err != nil || string(b) != want {
		panic(fault(fmt.Sprintf("heard %x, not %x: %v", b, want, err)))
	}
}

// fakes speak each protocol up to TLS, as openssl's client knows it too.
func fakes() map[Protocol]func(peer) {
	mail := func(hello string) func(peer) {
		return func(p peer) {
			p.say("220-mail.example ESMTP\r\n220 be welcome\r\n")
			if p.hears(hello+" ") == "" {
				panic(fault("nobody greets"))
			}
			p.say("250-mail.example\r\n250-PIPELINING\r\n250-SIZE 10240000\r\n250-starttls\r\n250 8BITMIME\r\n")
			p.hears("STARTTLS")
			p.say("220 2.0.0 Ready to start TLS\r\n")
		}
	}
	xmpp := func(content string) func(peer) {
		return func(p peer) {
			head := p.until("<stream:stream ") + p.until(">")
			for _, want := range []string{content, "xmlns:stream='http://etherx.jabber.org/streams'", "to='host.example'", "version='1.0'"} {
				if !strings.Contains(head, want) {
					panic(fault(fmt.Sprintf("heard %s without %s", head, want)))
				}
			}
			p.say("<?xml version='1.0'?><stream:stream xmlns='" + content + "' xmlns:stream='http://etherx.jabber.org/streams' id='1' version='1.0'>")
			p.say("<stream:features><starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'><required/></starttls><mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/></stream:features>")
			if said := p.until(">"); !strings.Contains(said, "urn:ietf:params:xml:ns:xmpp-tls") {
				panic(fault(fmt.Sprintf("heard %s", said)))
			}
			p.say("<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>")
		}
	}
	return map[Protocol]func(peer){
		Direct: func(peer) {},
		SMTP:   mail("EHLO"),
		LMTP:   mail("LHLO"),
		IMAP: func(p peer) {
			p.say("* OK [CAPABILITY IMAP4rev1 LITERAL+ STARTTLS] ready\r\n")
			tag := p.tag("CAPABILITY")
			p.say("* CAPABILITY IMAP4rev1 LITERAL+ STARTTLS LOGINDISABLED\r\n" + tag + " OK done\r\n")
			tag = p.tag("STARTTLS")
			p.say(tag + " OK Begin TLS negotiation now.\r\n")
		},
		POP3: func(p peer) {
			p.say("+OK ready <1@mail.example>\r\n")
			if line := p.hears(""); line == "CAPA" { // openssl does not ask
				p.say("+OK\r\nTOP\r\nSTLS\r\nUIDL\r\n.\r\n")
				p.hears("STLS")
			} else if line != "STLS" {
				panic(fault(line))
			}
			p.say("+OK Begin TLS negotiation now.\r\n")
		},
		XMPPClient: xmpp("jabber:client"),
		XMPPServer: xmpp("jabber:server"),
		LDAP: func(p peer) {
			p.binary("\x30\x1d\x02\x01\x01\x77\x18\x80\x161.3.6.1.4.1.1466.20037")
			p.say("\x30\x0c\x02\x01\x01\x78\x07\x0a\x01\x00\x04\x00\x04\x00")
		},
		FTP: func(p peer) {
			p.say("220-files.example\r\n 220 of all kinds\r\nand more\r\n220 ready\r\n")
			line := p.hears("")
			if line == "FEAT" { // openssl asks
				p.say("211-Features:\r\n AUTH TLS\r\n211 End\r\n")
				line = p.hears("")
			}
			if line != "AUTH TLS" {
				panic(fault(line))
			}
			p.say("234 Proceed with negotiation.\r\n")
		},
		Sieve: func(p peer) {
			p.say("\"IMPLEMENTATION\" \"Fake\"\r\n\"SIEVE\" \"fileinto\"\r\n\"STARTTLS\"\r\n\"VERSION\" \"1.0\"\r\nOK \"ready\"\r\n")
			p.hears("STARTTLS")
			p.say("OK \"Begin TLS negotiation now.\"\r\n")
		},
		Postgres: func(p peer) {
			p.binary("\x00\x00\x00\x08\x04\xd2\x16\x2f")
			p.say("S")
		},
		NNTP: func(p peer) {
			p.say("200 news.example ready\r\n")
			p.hears("CAPABILITIES")
			p.say("101 Capability list:\r\nVERSION 2\r\nREADER\r\nSTARTTLS\r\n.\r\n")
			p.hears("STARTTLS")
			p.say("382 Continue with TLS negotiation\r\n")
		},
	}
}

// listen takes connections, one after the other, until the test ends.
func listen(t testing.TB, handle func(net.Conn)) netip.AddrPort {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			conn.SetDeadline(time.Now().Add(time.Minute))
			handle(conn)
			conn.Close()
		}
	}()
	t.Cleanup(func() { l.Close(); <-done })
	return netip.MustParseAddrPort(l.Addr().String())
}

// serve holds a dialogue, then TLS. Faults of the dialogue come back.
func serve(conn net.Conn, dialogue func(peer), config *tls.Config) (err error) {
	defer func() {
		switch v := recover().(type) {
		case nil:
		case fault:
			err = fmt.Errorf("dialogue: %s", string(v))
		default:
			panic(v)
		}
	}()
	p := peer{bufio.NewReader(conn), conn}
	dialogue(p)
	if p.Buffered() > 0 {
		panic(fault("the client does not wait"))
	}
	server := tls.Server(conn, config)
	if err := server.Handshake(); err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, server) // until the client closes
	return err
}

// selfSigned makes a certificate for a name, with a key of P-256.
func selfSigned(t testing.TB, name string) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		Subject:      pkix.Name{CommonName: name},
		DNSNames:     []string{name},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}
