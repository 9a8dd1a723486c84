// Package starttls connects to a TLS service as a DANE check needs it: to one
// address, with the STARTTLS dialogue of the service's protocol, to see which
// certificate chain is served there and that the server has its key.
//
// It judges no certificate: names, dates and issuers are left to DANE, which
// compares the chain with TLSA records afterwards. That is why certificates are
// not verified here, and why nothing but the handshake is ever sent over the
// connection. Protocol versions and cipher suites are taken as old as crypto/tls
// has them, for a server that is reachable for others must be reachable here.
//
// It refuses whatever a hostile server may do to it: dialogues are bounded in
// lines, octets and time, and what comes in the clear after the answer to
// STARTTLS is not let into the session (CVE-2011-0411).
//
// What can be had of a server whose key crypto/tls cannot use (Ed448,
// secp256k1, RSASSA-PSS, …) or whose certificate crypto/x509 cannot read: the
// chain as sent by a server that speaks TLS 1.2 or older, where it is not
// encrypted, but no proof of the key; such a chain comes beside an error. Of a
// server with TLS 1.3 alone, only that its key is none of ours.
package starttls

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"
)

// Why there is no chain, or none that is proved. One of these is in every error
// of Dial but those of its arguments and of an ended context.
var (
	// ErrUnreachable: nobody answers at the address: refused, or silence.
	ErrUnreachable = errors.New("unreachable")
	// ErrNoRoute: this machine has no way to the address, as one without IPv6
	// to an AAAA address. It says nothing about the server.
	ErrNoRoute = errors.New("no route")
	// ErrUnavailable: the server answers that it does not serve now (421, BYE…).
	ErrUnavailable = errors.New("not available")
	// ErrNoStartTLS: the server does not offer to start TLS, or refuses it for good.
	ErrNoStartTLS = errors.New("no STARTTLS")
	// ErrProtocol: the server does not speak the protocol, or too much of it.
	ErrProtocol = errors.New("protocol error")
	// ErrHandshake: no session came about for another reason.
	ErrHandshake = errors.New("handshake failed")
	// ErrNoSuchKey: the server has no key of the type that was asked for.
	ErrNoSuchKey = errors.New("no key of that type")
	// ErrUnsupportedKey: the server's key is of a type or size that crypto/tls
	// cannot use. It is never a mismatch: nobody has looked.
	ErrUnsupportedKey = errors.New("unsupported key")
	// ErrCertificate: crypto/x509 cannot read a certificate of the chain.
	ErrCertificate = errors.New("unreadable certificate")
)

// KeyType restricts the keys that a server may answer with.
type KeyType uint8

// Types of keys. RSA and ECDSA are told apart by the cipher suite, so that a
// handshake for one of them is of TLS 1.2 at most; a server with TLS 1.3 alone
// answers neither. An Ed25519 key goes with the suites of ECDSA (RFC 8422 §5.10).
const (
	AnyKey KeyType = iota
	RSA
	ECDSA
)

// DefaultTimeout is for one step: the connection, each answer of the dialogue,
// the handshake. Mail servers make clients wait for their greeting.
const DefaultTimeout = 15 * time.Second

// Options say how to connect.
type Options struct {
	Protocol   Protocol
	ServerName string        // for SNI; A-labels, a final dot is dropped; "": none
	Domain     string        // that an XMPP stream is opened to (RFC 6120 §4.7.2), in the same form; "": ServerName
	Hello      string        // who we are, for EHLO and LHLO; "": our address as a literal
	KeyType    KeyType       // which key the server shall show
	Timeout    time.Duration // of one step; 0: DefaultTimeout
}

// Served is what a server showed.
type Served struct {
	Addr        netip.AddrPort
	Chain       [][]byte // certificates in DER as sent, the server's own first
	Key         string   // of the first, as RSA-2048, P-256, Ed25519, Ed448; "": not to be read
	Version     uint16   // of TLS, as tls.VersionTLS12; 0: no handshake came so far
	CipherSuite uint16   // as tls.TLS_AES_128_GCM_SHA256; 0: no handshake came so far
}

// Dial connects to an address and shakes hands. Without error the server has
// proved that it holds the key of the first certificate. With one of the errors
// of this package, Served may have a chain all the same: that was sent by
// whoever answered, and nothing is proved.
//
// One call makes up to four connections: a handshake that fails is tried again
// without TLS 1.3, then the server is asked what it would show to a client with
// other algorithms. All of them end with ctx.
func Dial(ctx context.Context, addr netip.AddrPort, o Options) (Served, error) {
	s := Served{Addr: addr}
	if err := o.complete(); err != nil {
		return s, fmt.Errorf("connect to %s: %w", addr, err)
	}
	if !addr.IsValid() || addr.Port() == 0 {
		return s, fmt.Errorf("connect to %s: not an address with a port", addr)
	}
	d := dialer{addr: netip.AddrPortFrom(addr.Addr().Unmap(), addr.Port()), o: o}
	s, err := d.dial(ctx)
	s.Addr = addr
	if ctx.Err() != nil && err != nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		return s, fmt.Errorf("connect to %s: %w", addr, err)
	}
	return s, nil
}

// complete checks the options and sets the defaults. The names go into
// dialogues of lines: nothing may end a line there.
func (o *Options) complete() error {
	if o.Protocol >= protocolEnd {
		return fmt.Errorf("no protocol has the number %d", o.Protocol)
	}
	if o.Timeout <= 0 {
		o.Timeout = DefaultTimeout
	}
	o.ServerName = strings.TrimSuffix(o.ServerName, ".")
	if !plainName(o.ServerName) {
		return fmt.Errorf("server name %q: not a host name in A-labels", o.ServerName)
	}
	if o.Domain = strings.TrimSuffix(o.Domain, "."); !plainName(o.Domain) {
		return fmt.Errorf("domain %q: not a host name in A-labels", o.Domain)
	}
	if !plainName(o.Hello) {
		return fmt.Errorf("name for EHLO %q: not a host name in A-labels", o.Hello)
	}
	return nil
}

// plainName takes host names, with underscores, and addresses, also as literals
// of mail ([192.0.2.1]), and "".
func plainName(s string) bool {
	for _, c := range []byte(s) {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', strings.IndexByte("-._:[]", c) >= 0:
		default:
			return false
		}
	}
	return len(s) <= 253 // RFC 1035 §2.3.4, in text
}
