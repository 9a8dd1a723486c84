package lab

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
)

// errNoTLS ends a connection whose client does not ask for TLS.
var errNoTLS = errors.New("the client does not ask for TLS")

// talk is a protocol of lines: what the server says first, what it answers to
// which word, and the word after whose answer TLS begins.
type talk struct {
	greeting string
	answers  map[string]string
	begin    string
	tagged   bool // each line begins with a tag, which the answer repeats for %t
}

// talks are the protocols of lines that the server speaks before TLS.
func talks() map[string]talk {
	mail := func(hello string) talk {
		return talk{"220 lab ready\r\n", map[string]string{hello: "250-lab\r\n250-8BITMIME\r\n250 STARTTLS\r\n", "STARTTLS": "220 2.0.0 ready\r\n"}, "STARTTLS", false}
	}
	return map[string]talk{
		"smtp": mail("EHLO"),
		"lmtp": mail("LHLO"),
		"imap": {"* OK [CAPABILITY IMAP4rev1 STARTTLS] lab\r\n", map[string]string{
			"CAPABILITY": "* CAPABILITY IMAP4rev1 STARTTLS\r\n%t OK done\r\n", "STARTTLS": "%t OK begin\r\n"}, "STARTTLS", true},
		"pop3": {"+OK lab\r\n", map[string]string{"CAPA": "+OK\r\nSTLS\r\nUIDL\r\n.\r\n", "STLS": "+OK begin\r\n"}, "STLS", false},
		"ftp":  {"220 lab\r\n", map[string]string{"FEAT": "211-Features:\r\n AUTH TLS\r\n211 End\r\n", "AUTH": "234 begin\r\n"}, "AUTH", false},
		"sieve": {"\"IMPLEMENTATION\" \"lab\"\r\n\"SASL\" \"\"\r\n\"STARTTLS\"\r\n\"VERSION\" \"1.0\"\r\nOK \"lab\"\r\n", map[string]string{
			"CAPABILITY": "\"STARTTLS\"\r\nOK\r\n", "STARTTLS": "OK \"begin\"\r\n"}, "STARTTLS", false},
		"nntp": {"200 lab\r\n", map[string]string{"CAPABILITIES": "101 list\r\nVERSION 2\r\nREADER\r\nSTARTTLS\r\n.\r\n", "STARTTLS": "382 begin\r\n"}, "STARTTLS", false},
	}
}

// Talks are the protocols that a TLSServer can speak before TLS.
func Talks() []string {
	names := []string{"ldap", "postgres", "xmpp-client", "xmpp-server"}
	for name := range talks() {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// speak holds the dialogue before TLS.
func speak(c net.Conn, protocol string) error {
	in := bufio.NewReader(io.LimitReader(c, 16<<10))
	var err error
	switch protocol {
	case "ldap": // RFC 4511 §4.14: the answer has the number of the request
		request := make([]byte, 31)
		if _, err = io.ReadFull(in, request); err == nil {
			_, err = c.Write([]byte{0x30, 0x0c, 0x02, 0x01, request[4], 0x78, 0x07, 0x0a, 0x01, 0x00, 0x04, 0x00, 0x04, 0x00})
		}
	case "postgres":
		if _, err = io.ReadFull(in, make([]byte, 8)); err == nil {
			_, err = c.Write([]byte("S"))
		}
	case "xmpp-client", "xmpp-server":
		err = speakXMPP(in, c, "jabber:"+strings.TrimPrefix(protocol, "xmpp-"))
	default:
		t, ok := talks()[protocol]
		if !ok {
			return fmt.Errorf("no such protocol: %s", protocol)
		}
		err = t.hold(in, c)
	}
	if err == nil && in.Buffered() > 0 {
		return errors.New("the client does not wait")
	}
	return err
}

func (t talk) hold(in *bufio.Reader, out io.Writer) error {
	if _, err := io.WriteString(out, t.greeting); err != nil {
		return err
	}
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return err
		}
		words := strings.Fields(line)
		tag := ""
		if t.tagged && len(words) > 1 {
			tag, words = words[0], words[1:]
		}
		if len(words) == 0 {
			return errNoTLS
		}
		answer, ok := t.answers[strings.ToUpper(words[0])]
		if !ok {
			return fmt.Errorf("%w but says %q", errNoTLS, line)
		}
		if _, err := io.WriteString(out, strings.ReplaceAll(answer, "%t", tag)); err != nil {
			return err
		}
		if strings.EqualFold(words[0], t.begin) {
			return nil
		}
	}
}

// speakXMPP is RFC 6120 §5: a stream of the right content, its features, STARTTLS.
func speakXMPP(in *bufio.Reader, out io.Writer, content string) error {
	const tls = "urn:ietf:params:xml:ns:xmpp-tls"
	element := func(word string) (string, error) {
		said := ""
		for !strings.Contains(said, word) || !strings.HasSuffix(said, ">") {
			part, err := in.ReadString('>')
			if err != nil {
				return said, fmt.Errorf("%w: after %q", err, said)
			}
			said += part
		}
		return said, nil
	}
	head, err := element("<stream:stream")
	if err != nil || !strings.Contains(head, content) {
		return fmt.Errorf("%w: %q, %w", errNoTLS, head, err)
	}
	if _, err := fmt.Fprintf(out, "<?xml version='1.0'?><stream:stream xmlns='%s' xmlns:stream='http://etherx.jabber.org/streams' id='1' version='1.0'>"+
		"<stream:features><starttls xmlns='%s'><required/></starttls></stream:features>", content, tls); err != nil {
		return err
	}
	if _, err := element(tls); err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, "<proceed xmlns='%s'/>", tls)
	return err
}
