package nsd_test

import (
	"context"
	"errors"
	"net"
	"path/filepath"
	"testing"
	"time"

	"zonebuild/internal/domain"
	"zonebuild/internal/nsd"
)

// TestControlTimeout: a control socket that takes the connection and says nothing, as
// that of a stopped nsd does, is given up after the timeout of the configuration.
func TestControlTimeout(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ctl")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second) // less than the 30 that hold without
	defer cancel()
	apex := domain.MustParse("example.org")
	s := &nsd.Server{Control: path, Timeout: 100 * time.Millisecond, ZoneFile: func(domain.Name) string { return "x" }}
	refused := s.Reload(ctx, []domain.Name{apex})
	if ctx.Err() != nil || !errors.Is(refused[apex], context.DeadlineExceeded) {
		t.Errorf("%v, %v", refused, ctx.Err())
	}
}
