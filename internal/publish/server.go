// Package publish tells a name server of a new zone and waits until it serves
// it. It knows a server by what it must be able to do (Server); it holds the
// server that is nobody (None), the one behind the operator's programs
// (Command), the asking over DNS (QuerySOA; RFC 1035, RFC 8914), the waiting
// (Confirm; RFC 1982) and the pulling end in a name server's jail (Pull).
//
// What a server says of a reload is never believed: a zone is served when an
// SOA query says so, and a load has failed only when an answer proves it. The
// package signs nothing, holds no keys, and deletes no zone.
package publish

import (
	"context"
	"errors"
	"fmt"
	"net/netip"

	"zonebuild/internal/domain"
)

// Server is a name server. The methods are safe for concurrent use.
type Server interface {
	// Check runs the server's own checker over the staged bytes. The error names
	// file and line.
	Check(ctx context.Context, apex domain.Name, file string) error
	// Reload tells the server that the files of zones changed. It returns those
	// that the server refused; accepted does not mean loaded.
	Reload(ctx context.Context, apexes []domain.Name) map[domain.Name]error
	// Serial asks what is served now. Errors, possibly wrapped: ErrFailedLoad,
	// ErrUnknownZone, ErrUnreachable, ErrNoServer.
	Serial(ctx context.Context, apex domain.Name) (Served, error)
}

// Served is an answer to an SOA query. Beside an error of Serial, it tells what
// is known all the same.
type Served struct {
	Serial    uint32
	Server    string // who said so
	WasServed bool   // the zone was served just before the last Reload: a failure is the new file's
}

// Errors of Server.Serial, possibly wrapped.
var (
	ErrFailedLoad  = errors.New("the server has the zone but could not load it")
	ErrUnknownZone = errors.New("the server does not serve the zone")
	ErrUnreachable = errors.New("the server does not answer")
	ErrNoServer    = errors.New("no server is configured")
)

// newer reports whether serial a is ahead of b (RFC 1982 §3.2). Two serials
// half the space apart are in no order: neither is newer.
func newer(a, b uint32) bool { return a != b && int32(a-b) > 0 }

// None is no server at all. With addresses, it asks there whether a zone that
// others carry on has arrived. Use it by pointer.
type None struct {
	Confirm []netip.AddrPort // all must have the serial
}

// Check has nothing to check with.
func (*None) Check(context.Context, domain.Name, string) error { return nil }

// Reload has nobody to tell.
func (*None) Reload(context.Context, []domain.Name) map[domain.Name]error { return nil }

// Serial asks the addresses, and names the one that is furthest behind. Without
// addresses the error is ErrNoServer. It never says ErrFailedLoad: this file was
// given to none of those servers, so their failure proves nothing about it.
func (n *None) Serial(ctx context.Context, apex domain.Name) (Served, error) {
	s, err := AskAll(ctx, n.Confirm, apex)
	if errors.Is(err, ErrFailedLoad) {
		err = fmt.Errorf("%v", err)
	}
	return s, err
}
