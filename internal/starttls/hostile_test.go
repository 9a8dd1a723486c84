package starttls

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/cryptobyte"
)

// dials connects and checks the kind and the text of the error.
func dials(t *testing.T, addr netip.AddrPort, o Options, kind error, text string) Served {
	t.Helper()
	s, err := Dial(context.Background(), addr, o)
	if !errors.Is(err, kind) {
		t.Fatalf("error %v, want %v", err, kind)
	}
	if want := "connect to " + addr.String() + ": " + text; err.Error() != want {
		t.Errorf("error %s\nwant  %s", err, want)
	}
	return s
}

func TestUnreachable(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := netip.MustParseAddrPort(l.Addr().String())
	l.Close()
	dials(t, addr, Options{}, ErrUnreachable, "unreachable: connection refused")

	silent := listen(t, func(c net.Conn) { io.Copy(io.Discard, c) })
	short := Options{Timeout: 50 * time.Millisecond}
	dials(t, silent, short, ErrUnreachable, "unreachable: no answer in time: i/o timeout")
	short.Protocol = SMTP
	dials(t, silent, short, ErrUnreachable, "unreachable: no greeting: no answer in time: i/o timeout")
	short.Protocol = LDAP
	dials(t, silent, short, ErrUnreachable, "unreachable: no greeting: no answer in time: i/o timeout")
}

// TestSlow: a server that never stops talking is left after the time of a step.
func TestSlow(t *testing.T) {
	for name, says := range map[string]string{"line": "2", "lines": "220-a\r\n"} {
		t.Run(name, func(t *testing.T) {
			addr := listen(t, func(c net.Conn) {
				for {
					if _, err := io.WriteString(c, says); err != nil {
						return
					}
					<-time.After(20 * time.Millisecond)
				}
			})
			start := time.Now()
			dials(t, addr, Options{Protocol: SMTP, Timeout: 200 * time.Millisecond}, ErrProtocol, "protocol error: no answer in time: i/o timeout")
			if took := time.Since(start); took > 3*time.Second {
				t.Errorf("it took %s", took)
			}
		})
	}
	t.Run("handshake", func(t *testing.T) {
		addr := listen(t, func(c net.Conn) {
			c.Write([]byte{recordHandshake, 3, 3, 0x40, 0})
			for {
				if _, err := c.Write([]byte{0}); err != nil {
					return
				}
				<-time.After(20 * time.Millisecond)
			}
		})
		dials(t, addr, Options{Timeout: 200 * time.Millisecond}, ErrHandshake, "handshake failed: no answer in time: i/o timeout")
	})
}

func TestContext(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	addr := listen(t, func(c net.Conn) {
		io.WriteString(c, "220 a\r\n")
		bufio.NewReader(c).ReadString('\n')
		cancel()
		io.Copy(io.Discard, c)
	})
	start := time.Now()
	_, err := Dial(ctx, addr, Options{Protocol: SMTP})
	if !errors.Is(err, context.Canceled) || time.Since(start) > 5*time.Second {
		t.Errorf("%v after %s", err, time.Since(start))
	}
}

// TestNotTLS: what is no TLS is said, also where it comes a moment after the
// answer to STARTTLS.
func TestNotTLS(t *testing.T) {
	addr := listen(t, func(c net.Conn) {
		io.WriteString(c, "220 mail.example ESMTP\r\n")
		io.Copy(io.Discard, c)
	})
	dials(t, addr, Options{}, ErrProtocol, `protocol error: the server does not speak TLS but says "220 mail.example ESMTP\r\n"`)

	late := listen(t, func(c net.Conn) {
		r := bufio.NewReader(c)
		io.WriteString(c, "220 a\r\n")
		r.ReadString('\n')
		io.WriteString(c, "250-a\r\n250 STARTTLS\r\n")
		r.ReadString('\n')
		io.WriteString(c, "220 go\r\n")
		r.ReadByte() // of the ClientHello
		io.WriteString(c, "250 late\r\n")
		io.Copy(io.Discard, r)
	})
	dials(t, late, Options{Protocol: SMTP}, ErrProtocol, `protocol error: the server does not speak TLS but says "250 late\r\n"`)
}

// TestInjected: a reply that comes with the one to STARTTLS, in one segment, is
// not let in, though a whole handshake could follow.
func TestInjected(t *testing.T) {
	config := &tls.Config{Certificates: []tls.Certificate{selfSigned(t, "host.example")}}
	addr := listen(t, func(c net.Conn) {
		serve(c, func(p peer) {
			p.say("220 a\r\n")
			p.hears("EHLO")
			p.say("250-a\r\n250 STARTTLS\r\n")
			p.hears("STARTTLS")
			p.say("220 go\r\n250 injected\r\n")
		}, config)
	})
	s := dials(t, addr, Options{Protocol: SMTP}, ErrProtocol, `protocol error: the server sends "250 injected\r\n" in the clear after it agreed to start TLS`)
	if len(s.Chain) != 0 {
		t.Error("there is a chain")
	}
}

// TestGarbage: no end of handshake messages, alerts, records.
func TestGarbage(t *testing.T) {
	for name, record := range map[string][]byte{
		"empty handshake records": {recordHandshake, 3, 3, 0, 0},
		"warnings":                {recordAlert, 3, 3, 0, 2, alertWarning, 112},
		"hello requests":          {recordHandshake, 3, 3, 0, 4, 0, 0, 0, 0},
		"zeroes":                  make([]byte, 1024),
		"a certificate alone":     {recordHandshake, 3, 3, 0, 4, msgCertificate, 3, 0xff, 0xff},
	} {
		t.Run(name, func(t *testing.T) {
			addr := listen(t, func(c net.Conn) {
				for {
					if _, err := c.Write(record); err != nil {
						return
					}
				}
			})
			s, err := Dial(context.Background(), addr, Options{Timeout: 5 * time.Second})
			if !errors.Is(err, ErrHandshake) && !errors.Is(err, ErrProtocol) {
				t.Errorf("error %v", err)
			}
			if len(s.Chain) != 0 {
				t.Errorf("a chain of %d", len(s.Chain))
			}
		})
	}
}

// TestNoProof: a server with a certificate that is not its own shows it, and
// that is no success, with any version of TLS.
func TestNoProof(t *testing.T) {
	cert, other := selfSigned(t, "host.example"), selfSigned(t, "host.example")
	cert.PrivateKey = other.PrivateKey
	for _, version := range []uint16{tls.VersionTLS10, tls.VersionTLS12, tls.VersionTLS13} {
		t.Run(tls.VersionName(version), func(t *testing.T) {
			config := &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: version, MaxVersion: version, ClientAuth: tls.RequireAnyClientCert}
			addr := listen(t, func(c net.Conn) { serve(c, func(peer) {}, config) })
			s, err := Dial(context.Background(), addr, Options{Timeout: 10 * time.Second})
			if !errors.Is(err, ErrHandshake) || !strings.Contains(err.Error(), "invalid signature by the server certificate") {
				t.Errorf("error %v", err)
			}
			if len(s.Chain) != 1 || string(s.Chain[0]) != string(cert.Certificate[0]) {
				t.Errorf("a chain of %d", len(s.Chain))
			}
		})
	}
}

// TestNoKeyExchange: a man in the middle replays a certificate, leaves out the
// signed key exchange and asks for ours: nothing is proved.
func TestNoKeyExchange(t *testing.T) {
	cert := selfSigned(t, "host.example").Certificate[0]
	for name, suite := range map[string]uint16{
		"ecdhe": tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
		"dhe":   0x009e,
	} {
		t.Run(name, func(t *testing.T) {
			addr := listen(t, func(c net.Conn) {
				c.Write(replayed(cert, suite))
				io.Copy(io.Discard, c)
			})
			s, err := Dial(context.Background(), addr, Options{Timeout: 300 * time.Millisecond})
			if !errors.Is(err, ErrHandshake) {
				t.Errorf("error %v", err)
			}
			if s.Key != "P-256" {
				t.Errorf("key %q", s.Key)
			}
		})
	}
}

// TestNothingChosen: a server that asks for another hello has not said yes to
// the signature schemes that crypto/tls lacks; one that goes on has.
func TestNothingChosen(t *testing.T) {
	hello := func(random string) []byte {
		var b cryptobyte.Builder
		b.AddBytes([]byte{recordHandshake, 3, 3})
		b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) {
			b.AddUint8(msgServerHello)
			b.AddUint24LengthPrefixed(func(b *cryptobyte.Builder) {
				b.AddUint16(tls.VersionTLS12)
				b.AddBytes([]byte(random))
				b.AddUint8(0)
				b.AddUint16(tls.TLS_AES_128_GCM_SHA256)
				b.AddUint8(0)
				b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) {
					extension(b, extSupportedVersions, func(b *cryptobyte.Builder) { b.AddUint16(tls.VersionTLS13) })
				})
			})
		})
		return b.BytesOrPanic()
	}
	for random, kind := range map[string]error{helloRetry: ErrHandshake, strings.Repeat("r", 32): ErrUnsupportedKey} {
		var calls atomic.Int32
		addr := listen(t, func(c net.Conn) {
			answer := []byte{recordAlert, 3, 3, 0, 2, 2, alertHandshakeFailure}
			if calls.Add(1) == 4 {
				answer = hello(random)
			}
			c.Read(make([]byte, 4096))
			c.Write(answer)
			c.(*net.TCPConn).CloseWrite()
			io.Copy(io.Discard, c)
		})
		if _, err := Dial(context.Background(), addr, Options{Timeout: 10 * time.Second}); !errors.Is(err, kind) {
			t.Errorf("error %v, want %v", err, kind)
		}
		if n := calls.Load(); n != 4 {
			t.Errorf("%d connections", n)
		}
	}
}

// replayed is a flight of TLS 1.2 without ServerKeyExchange.
func replayed(cert []byte, suite uint16) []byte {
	message := func(b *cryptobyte.Builder, typ uint8, body func(*cryptobyte.Builder)) {
		b.AddUint8(typ)
		b.AddUint24LengthPrefixed(body)
	}
	var b cryptobyte.Builder
	b.AddBytes([]byte{recordHandshake, 3, 3})
	b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) {
		message(b, msgServerHello, func(b *cryptobyte.Builder) {
			b.AddUint16(tls.VersionTLS12)
			b.AddBytes(make([]byte, 32))
			b.AddUint8(0)
			b.AddUint16(suite)
			b.AddUint8(0)
		})
		message(b, msgCertificate, func(b *cryptobyte.Builder) {
			b.AddUint24LengthPrefixed(func(b *cryptobyte.Builder) {
				b.AddUint24LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes(cert) })
			})
		})
		message(b, 13, func(b *cryptobyte.Builder) { // CertificateRequest: ECDSA, with P-256 and SHA-256
			b.AddBytes([]byte{1, 64, 0, 2, 4, 3, 0, 0})
		})
		message(b, 14, func(*cryptobyte.Builder) {})
	})
	return b.BytesOrPanic()
}

// TestArguments: no option can say a line of its own.
func TestArguments(t *testing.T) {
	addr := netip.MustParseAddrPort("127.0.0.1:9")
	for _, test := range []struct {
		addr netip.AddrPort
		o    Options
		want string
	}{
		{addr, Options{ServerName: "a\r\nRSET"}, `connect to 127.0.0.1:9: server name "a\r\nRSET": not a host name in A-labels`},
		{addr, Options{ServerName: "a' x='"}, `connect to 127.0.0.1:9: server name "a' x='": not a host name in A-labels`},
		{addr, Options{Domain: "a'/>"}, `connect to 127.0.0.1:9: domain "a'/>": not a host name in A-labels`},
		{addr, Options{ServerName: "bücher.example"}, `connect to 127.0.0.1:9: server name "bücher.example": not a host name in A-labels`},
		{addr, Options{Hello: "a\nb"}, `connect to 127.0.0.1:9: name for EHLO "a\nb": not a host name in A-labels`},
		{addr, Options{Protocol: protocolEnd}, `connect to 127.0.0.1:9: no protocol has the number 12`},
		{netip.AddrPort{}, Options{}, `connect to invalid AddrPort: not an address with a port`},
	} {
		if _, err := Dial(context.Background(), test.addr, test.o); err == nil || err.Error() != test.want {
			t.Errorf("%v\nwant %s", err, test.want)
		}
	}
}

// FuzzFlight: whatever a server sends as its first flight, reading it ends, and
// a chain has no more octets than came.
func FuzzFlight(f *testing.F) {
	f.Add(replayed([]byte{0x30, 0x00}, 0x009e))
	f.Add(oldHello(Options{ServerName: "host.example"}))
	f.Add([]byte{recordAlert, 3, 3, 0, 2, 2, 40})
	f.Fuzz(func(t *testing.T, b []byte) {
		read := readFlight(strings.NewReader(string(b)))
		total := 0
		for _, der := range read.chain {
			total += len(der)
			keyOf(der)
		}
		if total > len(b) {
			t.Errorf("%d octets of certificates in %d", total, len(b))
		}
	})
}
