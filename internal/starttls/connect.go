package starttls

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"
)

// dialer makes the connections of one Dial.
type dialer struct {
	addr netip.AddrPort
	o    Options
}

// open connects and holds the dialogue: what the connection carries next is TLS.
func (d *dialer) open(ctx context.Context) (net.Conn, error) {
	dial := net.Dialer{Timeout: d.o.Timeout, KeepAlive: -1}
	conn, err := dial.DialContext(ctx, "tcp", d.addr.String())
	if err != nil {
		return nil, fmt.Errorf("%w: %w", d.noAnswer(err), cause(err))
	}
	o := d.o
	if o.Hello == "" {
		o.Hello = literal(conn.LocalAddr())
	}
	t := newTalk(conn, conn, o)
	t.step = func(f func() error) error { return d.step(ctx, conn, f) }
	if err := t.run(o.Protocol); err != nil {
		conn.Close()
		return nil, err
	}
	return conn, nil
}

// step runs f for the time of one step at most: then reading and writing fail
// with os.ErrDeadlineExceeded.
func (d *dialer) step(ctx context.Context, conn net.Conn, f func() error) error {
	ctx, cancel := context.WithTimeout(ctx, d.o.Timeout)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	err := f()
	if !stop() && err == nil {
		return os.ErrDeadlineExceeded // the deadline is set, or will be
	}
	return err
}

// noAnswer is the kind of a connection that did not come about. That a host is
// unreachable may be its network's word as well as ours, so the system is asked
// for its way there: to connect a UDP socket sends nothing.
func (d *dialer) noAnswer(err error) error {
	for _, none := range []error{syscall.ENETUNREACH, syscall.EADDRNOTAVAIL, syscall.EAFNOSUPPORT, syscall.EPROTONOSUPPORT, syscall.ENETDOWN} {
		if errors.Is(err, none) {
			return ErrNoRoute
		}
	}
	if errors.Is(err, syscall.EHOSTUNREACH) {
		c, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(d.addr))
		if err != nil {
			return ErrNoRoute
		}
		c.Close()
	}
	return ErrUnreachable
}

// literal is our address as mail writes it (RFC 5321 §4.1.3), for a client need
// not have a name.
func literal(local net.Addr) string {
	a, err := netip.ParseAddrPort(local.String())
	switch ip := a.Addr().Unmap().WithZone(""); {
	case err != nil:
		return "[127.0.0.1]"
	case ip.Is4():
		return "[" + ip.String() + "]"
	default:
		return "[IPv6:" + ip.String() + "]"
	}
}

// isClosed says that the server has gone.
func isClosed(err error) bool {
	for _, end := range []error{io.EOF, io.ErrUnexpectedEOF, syscall.ECONNRESET, syscall.EPIPE} {
		if errors.Is(err, end) {
			return true
		}
	}
	return false
}

// cause is the reason in an error of package net, without the addresses that
// the caller knows.
func cause(err error) error {
	var call *os.SyscallError
	var op *net.OpError
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return errTimeout
	case errors.As(err, &call):
		return call.Err
	case errors.As(err, &op):
		if op.Timeout() {
			return errTimeout
		}
		return op.Err
	}
	return err
}

var errTimeout = fmt.Errorf("no answer in time: %w", os.ErrDeadlineExceeded)
