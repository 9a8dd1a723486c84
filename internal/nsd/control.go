// Package nsd speaks to NSD: its control socket, its checker, and DNS for what
// it really serves. It runs nsd-checkzone, and forks nothing else.
//
// NSD drops a zone whose file it cannot read, answers SERVFAIL and says "ok" to
// the reload, so nothing is believed but the checker of the same version
// beforehand and an SOA query afterwards.
package nsd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"zonebuild/internal/diag"
)

// Bounds of one exchange on the control socket.
const (
	controlTimeout = 30 * time.Second
	maxReply       = 1 << 20
)

// command sends one control command and gives the reply. A reply that begins
// with "error" is an error.
func (s *Server) command(ctx context.Context, words string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, controlTimeout)
	defer cancel()
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", s.Control)
	if err != nil {
		return "", fmt.Errorf("reach nsd at %s: %w", s.Control, err)
	}
	defer conn.Close()
	if t, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(t); err != nil {
			return "", err
		}
	}
	// One short command a connection: both ends never write at the same time, so
	// the dead lock of long addzones lists (some 280 lines) cannot happen.
	_, err = io.WriteString(conn, "NSDCT1 "+words+"\n")
	var reply []byte
	if err == nil {
		reply, err = io.ReadAll(io.LimitReader(conn, maxReply))
	}
	if err != nil {
		return "", fmt.Errorf("nsd command %q: %w", words, err)
	}
	text := strings.TrimSpace(string(reply))
	if first, _, _ := strings.Cut(text, "\n"); strings.HasPrefix(first, "error") {
		return text, &replyError{words, diag.Escape(first)}
	}
	return text, nil
}

// replyError is a refusal by nsd itself.
type replyError struct{ command, reply string }

func (e *replyError) Error() string { return fmt.Sprintf("nsd command %q: %s", e.command, e.reply) }

// notConfigured reports whether nsd does not know the zone.
func notConfigured(err error) bool {
	var r *replyError
	return errors.As(err, &r) && strings.Contains(r.reply, "not configured")
}
