package lab

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// TLSOptions say how a TLS server is set up.
type TLSOptions struct {
	Addr       string                       // HOST:PORT; "": a free port of 127.0.0.1
	Certs      map[string][]tls.Certificate // SNI, in lower case → what it shows; "": to all others
	Met        func()                       // is called of each connection; nil: nothing
	Speak      string                       // the protocol before TLS, one of Talks; "" = none
	MinVersion uint16                       // of TLS; 0: TLS 1.0
	MaxVersion uint16                       // of TLS; 0: the newest
}

// TLS is a running TLS server of the test's.
type TLS struct {
	t      testing.TB
	o      TLSOptions
	listen net.Listener
	addr   string
	wg     sync.WaitGroup

	mu    sync.Mutex
	certs map[string][]tls.Certificate
	open  map[net.Conn]bool
	shown []string
}

// tlsTimeout ends a connection whose client does not.
const tlsTimeout = time.Minute

// TLSServer starts a server that shakes hands with everybody and then listens
// until the client closes. Of several certificates for a name it shows the first
// that the client's algorithms allow, whatever the names in them: an RSA and an
// ECDSA one can stand side by side.
func TLSServer(t testing.TB, o TLSOptions) *TLS {
	t.Helper()
	s := &TLS{t: t, o: o, certs: o.Certs, addr: o.Addr}
	if s.addr == "" {
		s.addr = "127.0.0.1:0"
	}
	s.Start()
	t.Cleanup(s.Stop)
	return s
}

// Addr is where it listens.
func (s *TLS) Addr() string { return s.addr }

// Show changes the certificates for an SNI, as a renewal does: connections from
// now on see them.
func (s *TLS) Show(sni string, certs ...tls.Certificate) {
	s.mu.Lock()
	defer s.mu.Unlock()
	next := map[string][]tls.Certificate{sni: certs}
	for name, old := range s.certs {
		if name != sni {
			next[name] = old
		}
	}
	s.certs = next
}

// Seen lists the SNIs of the handshakes that have begun, in their order.
func (s *TLS) Seen() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.shown)
}

// Stop closes the port and all connections; Start opens the port again.
func (s *TLS) Stop() {
	s.mu.Lock()
	l := s.listen
	s.listen = nil
	for c := range s.open {
		c.Close()
	}
	s.mu.Unlock()
	if l != nil {
		l.Close()
		s.wg.Wait()
	}
}

// Start opens the port of a stopped server.
func (s *TLS) Start() {
	s.t.Helper()
	l, err := net.Listen("tcp", s.addr)
	if err != nil {
		s.t.Fatalf("start a TLS server: %v", err)
	}
	s.mu.Lock()
	s.listen, s.addr, s.open = l, l.Addr().String(), map[net.Conn]bool{}
	s.mu.Unlock()
	s.wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			if !s.keep(l, c) {
				c.Close()
				return
			}
			s.wg.Go(func() {
				s.serve(c)
				s.forget(c)
			})
		}
	})
}

// keep remembers a connection, unless the server has been stopped.
func (s *TLS) keep(l net.Listener, c net.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.listen != l {
		return false
	}
	s.open[c] = true
	return true
}

func (s *TLS) forget(c net.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, c)
	c.Close()
}

// serve is one connection. That a client gives up is its own affair.
func (s *TLS) serve(c net.Conn) {
	c.SetDeadline(time.Now().Add(tlsTimeout))
	if s.o.Met != nil {
		s.o.Met()
	}
	if s.o.Speak != "" && speak(c, s.o.Speak) != nil {
		return
	}
	server := tls.Server(c, &tls.Config{
		MinVersion:     max(s.o.MinVersion, tls.VersionTLS10),
		MaxVersion:     s.o.MaxVersion,
		GetCertificate: s.choose,
	})
	if server.Handshake() == nil {
		io.Copy(io.Discard, server)
		server.Close()
	}
}

var errNoCertificate = errors.New("no certificate for that name and these algorithms")

func (s *TLS) choose(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.shown = append(s.shown, hello.ServerName)
	certs, ok := s.certs[strings.ToLower(hello.ServerName)]
	if !ok {
		certs = s.certs[""]
	}
	nameless := *hello // the names in the certificates are the test's affair
	nameless.ServerName = ""
	for i := range certs {
		if nameless.SupportsCertificate(&certs[i]) == nil {
			return &certs[i], nil
		}
	}
	return nil, errNoCertificate
}
