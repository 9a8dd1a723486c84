package dane_test

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"zonebuild/internal/dane"
	"zonebuild/internal/domain"
	"zonebuild/internal/lab"
	"zonebuild/internal/starttls"
	"zonebuild/tlsa"
)

// speaker is a server of a few words: it says greeting, then an answer to each
// line or tag that it hears, and keeps what it heard.
type speaker struct {
	addr  string
	heard chan string
}

func speak(t *testing.T, greeting string, answers ...string) *speaker {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	s := &speaker{l.Addr().String(), make(chan string, 100)}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			c.SetDeadline(time.Now().Add(10 * time.Second))
			io.WriteString(c, greeting)
			buf := make([]byte, 4096)
			for _, a := range answers {
				n, err := c.Read(buf)
				if err != nil {
					break
				}
				select {
				case s.heard <- string(buf[:n]):
				default:
				}
				io.WriteString(c, a)
			}
			c.Close()
		}
	}()
	return s
}

// TestNoTLS: what a server says before TLS decides the verdict.
func TestNoTLS(t *testing.T) {
	for _, c := range []struct {
		name     string
		protocol starttls.Protocol
		server   *speaker
		want     string
	}{
		{"no STARTTLS", starttls.SMTP, speak(t, "220 a\r\n", "250 a\r\n"), "no-tls; host.example., no-tls (no STARTTLS: it is not among the server's extensions)"},
		{"not now", starttls.SMTP, speak(t, "421 busy\r\n"), `unreachable; host.example., unreachable (not available: the server says "421 busy")`},
		{"another protocol", starttls.SMTP, speak(t, "* OK IMAP\r\n"), `no-handshake; host.example., no-handshake (protocol error: "* OK IMAP" is no reply)`},
		{"silence", starttls.Direct, speak(t, "", ""), "no-handshake; host.example., no-handshake (handshake failed: the server closes the connection)"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := port(t, c.server.addr)
			w := &world{answers: map[string]string{"host.example. A": "127.0.0.1", fmt.Sprintf("_%d._tcp.host.example. TLSA", p): nobodys}}
			for _, keys := range []bool{false, true} {
				r, err := dane.Verify(t.Context(), tlsa.Service{Host: domain.MustParse("host.example"), Port: p, Proto: "tcp"},
					dane.Options{Source: w, At: time.Now(), Protocol: c.protocol, No6: true, KeyTypes: keys, Timeout: 10 * time.Second})
				if err != nil {
					t.Fatal(err)
				}
				if got := summary(&r); got != c.want {
					t.Errorf("\ngot  %s\nwant %s", got, c.want)
				}
			}
		})
	}
}

// TestSilence: a server that never speaks costs the time of one step.
func TestSilence(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0") // nobody takes the connections
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	p := port(t, l.Addr().String())
	w := &world{answers: map[string]string{"host.example. A": "127.0.0.1", fmt.Sprintf("_%d._tcp.host.example. TLSA", p): nobodys}}
	for _, protocol := range []starttls.Protocol{starttls.Direct, starttls.SMTP} {
		r, err := dane.Verify(t.Context(), tlsa.Service{Host: domain.MustParse("host.example"), Port: p, Proto: "tcp"},
			dane.Options{Source: w, Protocol: protocol, No6: true, KeyTypes: true, Timeout: 50 * time.Millisecond})
		if err != nil || r.Verdict != dane.Unreachable || !strings.Contains(r.Checks[0].Results[0].Reason, "no answer in time") {
			t.Errorf("%s: %v %s", protocol, err, summary(&r))
		}
	}
}

// TestKinds: usages 0 and 1 without public CAs, keys that cannot be told apart,
// and the Internet's other half.
func TestKinds(t *testing.T) {
	c := shown(t, "host.example", nil)
	verify := func(addr string, o dane.Options, records string) dane.Report {
		t.Helper()
		a := netip.MustParseAddrPort(addr)
		typ := "A"
		if a.Addr().Is6() {
			typ = "AAAA"
		}
		o.Source, o.At = &world{answers: map[string]string{
			"host.example. " + typ: a.Addr().String(), fmt.Sprintf("_%d._tcp.host.example. TLSA", a.Port()): records,
		}}, time.Now()
		r, err := dane.Verify(t.Context(), tlsa.Service{Host: domain.MustParse("host.example"), Port: a.Port(), Proto: "tcp"}, o)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	s := lab.TLSServer(t, lab.TLSOptions{Certs: map[string][]tls.Certificate{"": {c}}})
	pkix := of(t, tlsa.Kind{Usage: 1, Selector: 1, MatchingType: 1}, c)
	if r := verify(s.Addr(), dane.Options{}, pkix); summary(&r) != "unsupported; host.example., unsupported (usages 0 and 1 need public roots, and none are given)" {
		t.Error(summary(&r))
	}
	if r := verify(s.Addr(), dane.Options{Roots: x509.NewCertPool()}, pkix); r.Checks[0].Results[0].Cause != tlsa.NoPKIX || r.Verdict != dane.Mismatch {
		t.Error(summary(&r))
	}
	if r := verify(s.Addr(), dane.Options{}, pkix+"\n"+of(t, tlsa.DefaultKind, c)); r.Verdict != dane.Validated || r.Checks[0].Results[0].Record.Usage != tlsa.DANEEE {
		t.Error(summary(&r))
	}

	right := of(t, tlsa.DefaultKind, c)
	if r := verify(s.Addr(), dane.Options{KeyTypes: true}, right); r.Verdict != dane.Validated || r.Checks[0].Results[0].Keys[0].Verdict != dane.Untested || r.Checks[0].Results[0].Keys[1].Verdict != dane.Validated {
		t.Errorf("%s %+v", summary(&r), r.Checks[0].Results)
	}
	alone := lab.TLSServer(t, lab.TLSOptions{MinVersion: tls.VersionTLS13, Certs: map[string][]tls.Certificate{"": {c}}})
	r := verify(alone.Addr(), dane.Options{KeyTypes: true}, right)
	if notes := r.Checks[0].Results[0].Notes; r.Verdict != dane.Validated || len(notes) != 1 || !strings.HasPrefix(notes[0], "RSA and ECDSA keys cannot be asked for apart") {
		t.Errorf("%s %q", summary(&r), notes)
	}

	six, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		t.Skip("no IPv6 here")
	}
	six.Close()
	s6 := lab.TLSServer(t, lab.TLSOptions{Addr: six.Addr().String(), Certs: map[string][]tls.Certificate{"": {c}}})
	r = verify(s6.Addr(), dane.Options{}, right)
	if line := r.Checks[0].Line(&r.Checks[0].Results[0]); line != "::1 dane-validated successfully" {
		t.Error(line)
	}
	s6.Stop()
	r = verify(s6.Addr(), dane.Options{}, right)
	if line := r.Checks[0].Line(&r.Checks[0].Results[0]); line != "::1 did not dane-validate, because: unreachable: connection refused [unreachable]" {
		t.Error(line)
	}
}

// TestXMPPDomain: a stream is opened to the domain, and the certificate is asked
// for by the host (RFC 6120 §4.7.2, RFC 7671 §10.2).
func TestXMPPDomain(t *testing.T) {
	s := speak(t, "", "")
	p := port(t, s.addr)
	w := &world{answers: map[string]string{
		"_xmpp-client._tcp.example.org. SRV": fmt.Sprintf("0 0 %d im.example.", p), "im.example. A": "127.0.0.1", fmt.Sprintf("_%d._tcp.im.example. TLSA", p): nobodys,
	}}
	r, err := dane.VerifySRV(t.Context(), "xmpp-client", "tcp", domain.MustParse("example.org"), dane.Options{Source: w, ByPort: true, No6: true})
	if err != nil || r.Checks[0].StartTLS != "xmpp-client" {
		t.Fatalf("%v %s", err, summary(&r))
	}
	if said := <-s.heard; !strings.Contains(said, " to='example.org' ") {
		t.Error(said)
	}
}
