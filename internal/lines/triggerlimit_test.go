package lines

import (
	"context"
	"crypto/tls"
	"net"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"zonebuild/internal/config"
	"zonebuild/internal/domain"
	"zonebuild/internal/lab"
)

// TestTriggerLimits: what cannot be reached is no reason to reload, and a service that
// was told in vain is told less and less often, until its files change.
func TestTriggerLimits(t *testing.T) {
	w := newWorld(t, 90*day, 1)
	dir := t.TempDir()
	file := filepath.Join(dir, "cert.pem")
	right := certificate(t, w, file)
	server := lab.TLSServer(t, lab.TLSOptions{Certs: map[string][]tls.Certificate{"": {right}}})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	refused := netip.MustParseAddrPort(l.Addr().String())
	l.Close()
	s := config.Service{
		Name: "web", Host: domain.MustParse("www.example.org"), Port: 443, Proto: "tcp", Cert: file,
		Probe: []netip.AddrPort{refused, netip.MustParseAddrPort(server.Addr())}, Reload: []string{"reload"}, Timeout: 50 * time.Millisecond,
	}
	calls := 0
	tr := &Trigger{
		Config: &config.Hook{StateDir: dir}, Observer: Network{}, Now: func() time.Time { return w.now }, Again: 10 * time.Millisecond,
		Hook: func(context.Context, Hook) error { calls++; return nil },
	}
	for range 3 {
		if got := tr.Pull(t.Context(), s); got.Did != "nothing" || !strings.HasPrefix(got.Error, refused.String()+": ") || calls != 0 {
			t.Fatalf("%+v after %d calls", got, calls)
		}
	}
	s.Probe = s.Probe[1:]
	certificate(t, w, file) // it is never loaded
	start := w.now
	var told []time.Duration
	for range 3 * 24 * 60 / 5 {
		before := calls
		if got := tr.Pull(t.Context(), s); got.Error == "" {
			t.Fatalf("%+v", got)
		}
		if calls > before {
			told = append(told, w.now.Sub(start))
		}
		w.now = w.now.Add(5 * time.Minute)
	}
	if len(told) < 4 || len(told) > 6 {
		t.Errorf("told at %v", told)
	}
	if got := tr.Pull(t.Context(), s); !strings.Contains(got.Error, "in vain, and is told again at ") {
		t.Errorf("%+v", got)
	}
	now := certificate(t, w, file)
	tr.Hook = func(context.Context, Hook) error { calls++; server.Show("", now); return nil }
	before := calls
	if got := tr.Pull(t.Context(), s); got.Did != "reload" || got.Error != "" || calls != before+1 {
		t.Errorf("%+v", got)
	}
	if got := tr.Pull(t.Context(), s); got.Did != "nothing" || got.Error != "" {
		t.Errorf("%+v", got)
	}
}

// TestLagIsNoNewsAtOnce: a service may take a while to load what it was just told of.
func TestLagIsNoNewsAtOnce(t *testing.T) {
	w := still(t, 40)
	var said []string
	k := func() *Keeper {
		k := w.keeper()
		k.Log = func(_, text string) { said = append(said, text) }
		k.Hook = func(context.Context, Hook) error { return nil } // it is told, and loads nothing
		return k
	}
	if err := k().Run(t.Context(), w.line, Word{Renew: true, Now: true}); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(strings.Join(said, "\n"), "service smtp") {
		t.Errorf("%q", said)
	}
	said = nil
	for range 10 {
		w.now = w.now.Add(time.Minute)
		if err := k().Run(t.Context(), w.line, Word{}); err != nil {
			t.Fatal(err)
		}
	}
	if len(said) != 1 || said[0] != "service smtp: 192.0.2.25:25 still serves another certificate" {
		t.Errorf("%q", said)
	}
}
