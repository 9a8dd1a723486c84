// Package nsd speaks to NSD (4.x): its control socket, its checker, and DNS for
// what it really serves. It runs nsd-checkzone and forks nothing else; what
// nsd-control does, it does itself, on the Unix socket that `control-interface`
// names. Control over TCP with TLS is not spoken.
//
// NSD wipes a zone before it parses the zone's new file: after a fault in it
// every name answers SERVFAIL, while the reload said "ok" and zonestatus shows
// nothing. So nothing is believed but the checker of the same version beforehand
// and an SOA query afterwards. It skips files whose modification time it knows.
package nsd

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"strings"
	"syscall"
	"time"

	"zonebuild/internal/diag"
)

// Bounds of one exchange on the control socket. NSD serves one connection at a
// time, and while it loads it may take seconds to come to it.
const (
	controlTimeout = 30 * time.Second
	maxReply       = 64 << 20 // octets; zonestatus of a million zones
	maxLine        = 4096
)

// endOfList ends the lines of addzones and delzones.
const endOfList = "\x04\n"

// command sends a control command, with the lines that belong to it, and hands
// each line of the reply to take until the end. A first line that begins with
// "error" is an error, of type *replyError.
//
// It reads while it writes: NSD answers line by line and blocks, with all its
// control commands, on a peer that writes a list (of some 280 lines) and does
// not read.
func (s *Server) command(ctx context.Context, words string, list []string, take func(line string)) error {
	limit := controlTimeout
	if s.Timeout > 0 {
		limit = min(limit, s.Timeout)
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	conn, err := s.dial(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	// Closing ends both ends' waiting, whatever they wait for.
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()

	wrote := make(chan error, 1)
	go func() { wrote <- send(conn, words, list) }()
	err = receive(conn, words, take)
	if err != nil {
		conn.Close() // the writer may be waiting for a reader
	}
	// NSD may refuse before it has read a list: its reply says more than our
	// broken pipe does.
	if why := <-wrote; why != nil && err == nil {
		err = why
	}
	var refused *replyError
	if err != nil && !errors.As(err, &refused) {
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return fmt.Errorf("nsd command %q: %w", words, err)
	}
	return err
}

func (s *Server) dial(ctx context.Context) (net.Conn, error) {
	if s.Control == "" {
		return nil, errors.New("reach nsd: no control socket is configured")
	}
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", s.Control)
	if err == nil {
		return conn, nil
	}
	hint := ""
	switch {
	case errors.Is(err, fs.ErrPermission):
		hint = " (the socket is open to nsd's user and group only)"
	case errors.Is(err, fs.ErrNotExist):
		hint = " (nsd.conf needs control-enable: yes and this path as control-interface)"
	case errors.Is(err, syscall.ECONNREFUSED):
		hint = " (is nsd running?)"
	}
	var op *net.OpError
	if errors.As(err, &op) { // without the path once more
		err = op.Err
	}
	return nil, fmt.Errorf("reach nsd at %s: %w%s", s.Control, err, hint)
}

func send(conn net.Conn, words string, list []string) error {
	w := bufio.NewWriter(conn)
	if _, err := io.WriteString(w, "NSDCT1 "+words+"\n"); err != nil {
		return err
	}
	for _, line := range list {
		if _, err := io.WriteString(w, line+"\n"); err != nil {
			return err
		}
	}
	if list != nil {
		if _, err := io.WriteString(w, endOfList); err != nil {
			return err
		}
	}
	return w.Flush()
}

func receive(conn net.Conn, words string, take func(line string)) error {
	reply := bufio.NewScanner(io.LimitReader(conn, maxReply))
	reply.Buffer(nil, maxLine)
	first := true
	for reply.Scan() {
		line := strings.TrimSpace(reply.Text())
		if first && strings.HasPrefix(line, "error") {
			if list := strings.HasSuffix(words, "zones"); !list { // lists say it line by line
				return &replyError{words, diag.Escape(line)}
			}
		}
		first = false
		if take != nil {
			take(line)
		}
	}
	if err := reply.Err(); err != nil {
		return err
	}
	if first {
		return errSilent
	}
	return nil
}

// errSilent is an empty reply: of a command that lists nothing, or of an nsd
// that broke off.
var errSilent = errors.New("nsd closed the connection without a word")

// replyError is a refusal by nsd itself.
type replyError struct{ command, reply string }

func (e *replyError) Error() string { return fmt.Sprintf("nsd command %q: %s", e.command, e.reply) }

// notConfigured reports whether nsd does not know the zone.
func notConfigured(err error) bool {
	var r *replyError
	return errors.As(err, &r) && strings.Contains(r.reply, "not configured")
}
