package lines

import (
	"context"
	"crypto/tls"
	"encoding/pem"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"zonebuild/internal/acmeclient"
	"zonebuild/internal/config"
	"zonebuild/internal/domain"
	"zonebuild/internal/lab"
)

// certificate makes a certificate and the key to it, in a file and for a server.
func certificate(t *testing.T, w *world, path string) tls.Certificate {
	t.Helper()
	key := mustKey(t)
	w.serial++
	got, err := w.Obtain(t.Context(), nil, acmeclient.Request{Name: "x", Identifiers: []string{"www.example.org"}, Key: key, KeyRef: path})
	if err != nil {
		t.Fatal(err)
	}
	w.order, w.issued = nil, nil
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: got.Chain[0].Raw})
	if err := os.WriteFile(path, text, 0o644); err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{got.Chain[0].Raw}, PrivateKey: key}
}

// TestTrigger: a real TLS server is told when its file changes, and only then.
func TestTrigger(t *testing.T) {
	w := newWorld(t, 90*day, 1)
	dir := t.TempDir()
	file := filepath.Join(dir, "cert.pem")
	now := certificate(t, w, file)
	server := lab.TLSServer(t, lab.TLSOptions{Certs: map[string][]tls.Certificate{"": {now}}})
	s := config.Service{
		Name: "web", Host: domain.MustParse("www.example.org"), Port: 443, Proto: "tcp", Cert: file,
		Probe: []netip.AddrPort{netip.MustParseAddrPort(server.Addr())}, Reload: []string{"reload"}, Timeout: 5 * time.Second,
	}
	calls := 0
	var reload func()
	tr := &Trigger{
		Config: &config.Hook{StateDir: dir}, Observer: Network{}, Now: func() time.Time { return w.now }, Again: 10 * time.Millisecond,
		Hook: func(_ context.Context, h Hook) error {
			calls++
			if strings.Join(h.Env, " ") != "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin ACMEHOOK_SERVICE=web" {
				t.Errorf("environment %q", h.Env)
			}
			reload()
			return nil
		},
	}
	if got := tr.Pull(t.Context(), s); got.Did != "nothing" || got.Error != "" || calls != 0 {
		t.Errorf("%+v", got)
	}
	now = certificate(t, w, file)
	reload = func() { server.Show("", now) }
	if got := tr.Pull(t.Context(), s); got.Did != "reload" || got.Error != "" || calls != 1 || !strings.HasSuffix(got.Why, "serves another certificate than its files have") {
		t.Errorf("%+v after %d calls", got, calls)
	}
	if got := tr.Pull(t.Context(), s); got.Did != "nothing" || calls != 1 {
		t.Errorf("%+v", got)
	}

	// A reload that does nothing is found out.
	certificate(t, w, file)
	reload, s.Timeout = func() {}, 100*time.Millisecond
	if got := tr.Pull(t.Context(), s); got.Error != "after reload: "+server.Addr()+" serves another certificate than its files have" {
		t.Errorf("%+v", got)
	}
}

// TestTriggerByFiles: a service that cannot be asked is told once of each change.
func TestTriggerByFiles(t *testing.T) {
	w := newWorld(t, 90*day, 1)
	dir := t.TempDir()
	file, pid := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "pid")
	certificate(t, w, file)
	if err := os.WriteFile(pid, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	later := time.Now().Add(time.Hour)
	if err := os.Chtimes(pid, later, later); err != nil {
		t.Fatal(err)
	}
	s := config.Service{Name: "quic", Cert: file, ProbeOff: true, PidFile: pid, Reload: []string{"reload"}, Timeout: time.Second}
	calls, fail := 0, error(nil)
	tr := &Trigger{
		Config: &config.Hook{StateDir: dir}, Now: func() time.Time { return w.now },
		Hook: func(context.Context, Hook) error { calls++; return fail },
	}
	if got := tr.Pull(t.Context(), s); got.Why != "it was started after its files changed" || calls != 0 {
		t.Errorf("%+v", got)
	}
	certificate(t, w, file)
	fail = errOut
	if err := os.Chtimes(pid, time.Time{}, time.Now().Add(-time.Hour)); err != nil {
		t.Fatal(err)
	}
	for _, wait := range []time.Duration{time.Minute, 10 * time.Minute} { // until it succeeds, but not at each call
		if got := tr.Pull(t.Context(), s); got.Did != "reload" || got.Error != "out of order" || got.Why != "its files changed after it was started" {
			t.Errorf("%+v", got)
		}
		w.now = w.now.Add(wait - time.Second)
		if got := tr.Pull(t.Context(), s); got.Did != "nothing" || !strings.Contains(got.Error, "in vain, and is told again at ") {
			t.Errorf("%+v", got)
		}
		w.now = w.now.Add(time.Second)
	}
	fail = nil
	if got := tr.Pull(t.Context(), s); got.Did != "reload" || got.Error != "" || calls != 3 {
		t.Errorf("%+v after %d", got, calls)
	}
	if got := tr.Pull(t.Context(), s); got.Did != "nothing" || calls != 3 {
		t.Errorf("%+v", got)
	}
	s.Cert = filepath.Join(dir, "none")
	if got := tr.Pull(t.Context(), s); got.Error != "open "+s.Cert+": no such file or directory" {
		t.Errorf("%+v", got)
	}
}

// TestRunHookBounds: a program that prints without end is bounded in what is kept and
// in time, and nothing of it is in memory.
func TestRunHookBounds(t *testing.T) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	said := filepath.Join(t.TempDir(), "said")
	err := RunHook(t.Context(), Hook{Argv: []string{"sh", "-c", "yes; sleep 60 & exit 1"}, Env: []string{plainPath}, Dir: t.TempDir(), Timeout: time.Second, Output: said})
	runtime.ReadMemStats(&after)
	if err == nil || err.Error() != "run sh: no end within 1s (what it printed is in "+said+")" {
		t.Errorf("%.200v", err)
	}
	if info, err := os.Stat(said); err != nil || info.Size() != maxSaid || info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", info, err)
	}
	if grown := after.TotalAlloc - before.TotalAlloc; grown > 4<<20 {
		t.Errorf("%d octets for what it printed", grown)
	}
}

// TestRunHookDaemon: the exit status decides, also when a daemon that was started
// keeps the output open; and programs are found where all programs look, not where
// whoever started this one does.
func TestRunHookDaemon(t *testing.T) {
	t.Setenv("PATH", "/nonexistent")
	hook := Hook{Argv: []string{"sh", "-c", "sleep 20 & echo $! >pid"}, Env: []string{plainPath}, Dir: t.TempDir(), Timeout: 15 * time.Second}
	if err := RunHook(t.Context(), hook); err != nil {
		t.Error(err)
	}
	text, err := os.ReadFile(filepath.Join(hook.Dir, "pid"))
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil { // it lives on, until now
		t.Error(err)
	}
	hook.Argv = []string{"sh", "-c", "sleep 20 & echo $! >pid; exit 3"}
	if err := RunHook(t.Context(), hook); err == nil || !strings.Contains(err.Error(), "exit status 3") {
		t.Errorf("%v", err)
	}
	if text, err = os.ReadFile(filepath.Join(hook.Dir, "pid")); err == nil {
		pid, err = strconv.Atoi(strings.TrimSpace(string(text)))
	}
	if err != nil {
		t.Fatal(err)
	}
	syscall.Kill(pid, syscall.SIGKILL)
	hook.Argv = []string{"no-such-program"}
	if err := RunHook(t.Context(), hook); err == nil || !strings.HasPrefix(err.Error(), "run no-such-program: ") {
		t.Errorf("%v", err)
	}
}

// TestTriggerUnreachable: an address that cannot be asked is told, and no command is
// run for it: it would mend nothing, at each call.
func TestTriggerUnreachable(t *testing.T) {
	w := newWorld(t, 90*day, 1)
	dir := t.TempDir()
	file := filepath.Join(dir, "cert.pem")
	now := certificate(t, w, file)
	server := lab.TLSServer(t, lab.TLSOptions{Certs: map[string][]tls.Certificate{"": {now}}})
	gone := lab.TLSServer(t, lab.TLSOptions{})
	gone.Stop()
	calls := 0
	tr := &Trigger{
		Config: &config.Hook{StateDir: dir}, Observer: Network{}, Now: func() time.Time { return w.now }, Again: time.Millisecond,
		Hook: func(context.Context, Hook) error { calls++; server.Show("", now); return nil },
	}
	s := config.Service{
		Name: "web", Host: domain.MustParse("www.example.org"), Port: 443, Proto: "tcp", Cert: file, Reload: []string{"reload"}, Timeout: 100 * time.Millisecond,
		Probe: []netip.AddrPort{netip.MustParseAddrPort(gone.Addr()), netip.MustParseAddrPort(server.Addr())},
	}
	if got := tr.Pull(t.Context(), s); got.Did != "nothing" || !strings.HasPrefix(got.Error, gone.Addr()+": ") || calls != 0 {
		t.Errorf("%+v after %d calls", got, calls)
	}
	now = certificate(t, w, file) // the other one is wrong
	if got := tr.Pull(t.Context(), s); got.Did != "reload" || !strings.HasPrefix(got.Error, "after reload: "+gone.Addr()) || calls != 1 {
		t.Errorf("%+v after %d calls", got, calls)
	}
}
