package starttls

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
)

// dial shakes hands, and where that fails finds out why.
func (d *dialer) dial(ctx context.Context) (Served, error) {
	first := d.handshake(ctx, tls.VersionTLS13)
	if first.err == nil || !first.again(ctx) {
		return first.served, first.err
	}
	best := first
	if d.o.KeyType == AnyKey {
		// Some servers stumble over TLS 1.3; those that do not show their chain
		// in the clear with TLS 1.2.
		second := d.handshake(ctx, tls.VersionTLS12)
		if second.err == nil || !second.again(ctx) {
			return second.served, second.err
		}
		if len(first.served.Chain) == 0 {
			best = second
		}
	}
	if len(best.served.Chain) == 0 {
		if f, err := d.peek(ctx, oldHello(d.o)); err == nil && len(f.chain) > 0 {
			best.served = f.served()
			best.peeked = true
		}
	}
	return best.served, d.why(ctx, first, best)
}

// why is the error of a handshake that failed: first is the one that did, best
// what was seen of the chain.
func (d *dialer) why(ctx context.Context, first, best attempt) error {
	if len(best.served.Chain) == 0 {
		switch {
		case d.o.KeyType != AnyKey && first.refused():
			return fmt.Errorf("%w: %w", ErrNoSuchKey, first.err)
		case d.o.KeyType == AnyKey:
			if f, err := d.peek(ctx, newHello(d.o)); err == nil && f.version == tls.VersionTLS13 && !f.retry {
				return fmt.Errorf("%w: one of TLS 1.3 that is neither RSA, ECDSA nor Ed25519", ErrUnsupportedKey)
			}
		}
		return first.err
	}
	if name, usable := keyOf(best.served.Chain[0]); !usable {
		return fmt.Errorf("%w: %s", ErrUnsupportedKey, name)
	}
	for i, der := range best.served.Chain {
		if _, err := x509.ParseCertificate(der); err != nil {
			return fmt.Errorf("%w: number %d of %d: %w", ErrCertificate, i+1, len(best.served.Chain), err)
		}
	}
	if best.peeked {
		return fmt.Errorf("%w; a client with more algorithms is offered cipher suite %s", first.err, tls.CipherSuiteName(best.served.CipherSuite))
	}
	return first.err
}

// attempt is one handshake.
type attempt struct {
	served Served
	alert  int   // that the server sent in the clear; -1: none
	peeked bool  // the chain is from a second look
	err    error // with its kind
}

// again says whether another attempt may show more.
func (a *attempt) again(ctx context.Context) bool {
	return errors.Is(a.err, ErrHandshake) && !errors.Is(a.err, os.ErrDeadlineExceeded) && ctx.Err() == nil
}

// Alerts of RFC 8446 §6 by which a server says that nothing fits.
const (
	alertHandshakeFailure     = 40
	alertInsufficientSecurity = 71
)

func (a *attempt) refused() bool {
	return a.alert == alertHandshakeFailure || a.alert == alertInsufficientSecurity
}

// handshake connects and shakes hands, with versions of TLS up to one.
func (d *dialer) handshake(ctx context.Context, newest uint16) attempt {
	a := attempt{alert: -1}
	conn, err := d.open(ctx)
	if err != nil {
		a.err = err
		return a
	}
	defer conn.Close()
	heard := &recorder{Conn: conn}
	var chain [][]byte
	var state tls.ConnectionState
	secret := false // shared with the server
	config := &tls.Config{
		ServerName:         d.o.ServerName,
		MinVersion:         tls.VersionTLS10,
		MaxVersion:         newest,
		CipherSuites:       suites(d.o.KeyType),
		InsecureSkipVerify: true, // DANE judges the chain, when it is known whole
		VerifyPeerCertificate: func(raw [][]byte, _ [][]*x509.Certificate) error {
			for _, der := range raw {
				chain = append(chain, bytes.Clone(der))
			}
			return nil
		},
		VerifyConnection: func(s tls.ConnectionState) error {
			state = s
			return nil
		},
		KeyLogWriter: told(func() { secret = true }), // the secret itself is kept nowhere
	}
	if d.o.KeyType != AnyKey {
		config.MaxVersion = tls.VersionTLS12
	}
	client := tls.Client(heard, config)
	err = d.step(ctx, conn, func() error { return client.HandshakeContext(ctx) })
	if err == nil {
		client.Close() // politely
	}
	// A server that insists on a certificate of ours ends the handshake for want
	// of it. With TLS 1.3 that is after ours is done. With a suite of ECDHE there
	// is a secret by then, which came of the share that the server has signed; of
	// RSA key exchange only the server's Finished would prove the key.
	proved := err == nil || secret && strings.HasPrefix(tls.CipherSuiteName(state.CipherSuite), "TLS_ECDHE_")
	if proved {
		a.served = Served{Chain: chain, Version: state.Version, CipherSuite: state.CipherSuite}
		a.served.Key, _ = keyOf(chain[0])
		return a
	}
	f := readFlight(bytes.NewReader(heard.b))
	a.served, a.alert = f.served(), f.alert
	if len(chain) > 0 {
		a.served.Chain = chain
		a.served.Key, _ = keyOf(chain[0])
	}
	a.err = d.failed(err, heard.b)
	return a
}

// failed gives the error of a handshake its kind.
func (d *dialer) failed(err error, heard []byte) error {
	var header tls.RecordHeaderError
	var op *net.OpError
	switch {
	case errors.As(err, &header):
		return fmt.Errorf("%w: the server does not speak TLS but says %s", ErrProtocol, quote(string(heard)))
	case errors.As(err, &op) && op.Op == "remote error":
		return fmt.Errorf("%w: the server's alert is: %s", ErrHandshake, strings.TrimPrefix(op.Err.Error(), "tls: "))
	case errors.Is(err, os.ErrDeadlineExceeded) && len(heard) == 0 && d.o.Protocol == Direct:
		return fmt.Errorf("%w: %w", ErrUnreachable, cause(err))
	case isClosed(err):
		return fmt.Errorf("%w: %w", ErrHandshake, errClosed)
	}
	return fmt.Errorf("%w: %w", ErrHandshake, cause(err))
}

// suites are the cipher suites of crypto/tls, the insecure ones too, for keys of
// a type. Those of TLS 1.3 are always in.
func suites(k KeyType) []uint16 {
	var ids []uint16
	for _, s := range append(tls.CipherSuites(), tls.InsecureCipherSuites()...) {
		if k == AnyKey || strings.Contains(s.Name, "_ECDSA_") == (k == ECDSA) {
			ids = append(ids, s.ID)
		}
	}
	return ids
}

// told is a writer that only hears that there was something to write.
type told func()

func (f told) Write(b []byte) (int, error) {
	f()
	return len(b), nil
}

// recorder keeps the beginning of what the server sends.
type recorder struct {
	net.Conn
	b []byte
}

func (r *recorder) Read(p []byte) (int, error) {
	n, err := r.Conn.Read(p)
	r.b = append(r.b, p[:min(n, maxFlight-len(r.b))]...)
	return n, err
}

// peek says hello and looks at the answer, without shaking hands.
func (d *dialer) peek(ctx context.Context, hello []byte) (f flight, err error) {
	conn, err := d.open(ctx)
	if err != nil {
		return f, err
	}
	defer conn.Close()
	err = d.step(ctx, conn, func() error {
		if _, err := conn.Write(hello); err != nil {
			return err
		}
		f = readFlight(conn)
		return nil
	})
	return f, err
}
