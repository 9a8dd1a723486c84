package lines

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"zonebuild/internal/acmeclient"
)

// still is a line at rest.
func still(t *testing.T, seed uint64) *world {
	t.Helper()
	w := newWorld(t, 90*day, seed)
	w.rand = nil
	calm(w)
	return w
}

func (w *world) alarm() string {
	w.t.Helper()
	s, err := w.keeper().Status(w.line)
	if err != nil {
		w.t.Fatal(err)
	}
	if s.Alarm == nil {
		return ""
	}
	return s.Alarm.Code
}

// TestDamagedChain: a chain that is gone or no chain is replaced at once by a renewal
// with the live key; where nothing is left, it is said what to do.
func TestDamagedChain(t *testing.T) {
	for _, text := range []string{"", "junk"} {
		w := still(t, 30)
		p, before := PathsOf(w.hook, "mail"), w.files()
		full := filepath.Join(p.generation(1), "fullchain.pem")
		if err := os.Remove(full); err != nil {
			t.Fatal(err)
		}
		if text != "" {
			if err := os.WriteFile(full, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if got := w.alarm(); got != "line-unreadable" {
			t.Errorf("alarm %q", got)
		}
		w.now = w.now.Add(time.Hour)
		if err := w.run(Word{}); err != nil {
			t.Fatal(err)
		}
		if f := w.files(); f.Live.Number != 2 || f.Live.Hash() != before.Live.Hash() || w.alarm() != "" {
			t.Errorf("generation %d, alarm %q", f.Live.Number, w.alarm())
		}
	}
	w := still(t, 31)
	dir := PathsOf(w.hook, "mail").generation(1)
	for _, name := range []string{"fullchain.pem", "cert.pem"} {
		if err := os.Remove(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	for _, err := range []error{w.run(Word{}), func() error { _, err := w.keeper().Status(w.line); return err }()} {
		if err == nil || !strings.Contains(err.Error(), "put the link ") {
			t.Errorf("%v", err)
		}
	}
}

// TestKeyFaults: a key that cannot be used is said, and stops only what needs it.
func TestKeyFaults(t *testing.T) {
	w := still(t, 32)
	p := PathsOf(w.hook, "mail")
	f := w.files()
	if err := os.Chmod(p.key(f.Next.ID), 0o640); err != nil {
		t.Fatal(err)
	}
	if err := w.run(Word{Renew: true, Now: true}); err == nil || !strings.Contains(err.Error(), "others may read it: chmod 600") || w.files().Live.Number != 2 {
		t.Errorf("%v, generation %d", err, w.files().Live.Number)
	}
	if ids, err := p.listKeys(); err != nil || len(ids) != 2 || w.alarm() != "key-unusable" {
		t.Errorf("%v %v, alarm %q", ids, err, w.alarm())
	}
	if err := os.Chmod(p.key(f.Next.ID), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(p.key(f.Live.Key.ID), 0o640); err != nil {
		t.Fatal(err)
	}
	w.now = w.now.Add(80 * day)
	if err := w.run(Word{}); err == nil || w.files().Live.Hash() != f.Live.Hash() {
		t.Errorf("%v", err)
	}
	s, err := w.keeper().Status(w.line)
	if err != nil || len(s.Waits) == 0 || !strings.Contains(s.Waits[0].Why, "chmod 600") || s.Alarm == nil {
		t.Errorf("%+v %v", s, err)
	}
}

// TestDamagedState: clocks begin anew, with a word; the line goes on.
func TestDamagedState(t *testing.T) {
	w := changing(t, 33)
	path := statePath(w.hook, "mail")
	live := w.files().Live.Hash()
	if err := os.WriteFile(path, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := w.keeper().Status(w.line); err == nil || !strings.Contains(err.Error(), "it is damaged: all clocks begin anew") {
		t.Errorf("%v", err)
	}
	if err := w.run(Word{}); err != nil {
		t.Fatal(err)
	}
	s, err := LoadState(w.hook, "mail")
	if err != nil || !s.Rollover.IsZero() || w.files().Live.Hash() != live || w.alarm() != "" {
		t.Errorf("%+v %v", s, err)
	}
}

// damagedOrder is a CA whose record of an order is junk.
type damagedOrder struct{ *world }

func (d damagedOrder) Order(string) (acmeclient.Order, bool, error) {
	if d.order == nil {
		return acmeclient.Order{}, false, nil
	}
	return acmeclient.Order{}, false, acmeclient.ErrDamaged
}

// TestDamagedOrder: nobody can finish it, so it is forgotten.
func TestDamagedOrder(t *testing.T) {
	w := still(t, 34)
	w.order = &acmeclient.Order{}
	k := w.keeper()
	k.CA = damagedOrder{w}
	if err := k.Run(t.Context(), w.line, Word{Renew: true, Now: true}); err != nil || w.files().Live.Number != 2 {
		t.Errorf("%v", err)
	}
}

// TestForceSaysWhy: what was asked for and has not come about is an error with the
// reason, and what cannot be mended without the operator is an alarm.
func TestForceSaysWhy(t *testing.T) {
	w := still(t, 35)
	p := PathsOf(w.hook, "mail")
	if err := os.Remove(p.key(w.files().Live.Key.ID)); err != nil {
		t.Fatal(err)
	}
	for i := range w.versions { // not even the next key may be used
		w.versions[i] = nil
	}
	want := "line mail: nothing was done: the next key waits: _25._tcp.mail.example.org.: there are no TLSA records; if there shall be none: tlsa = false in [service.smtp]"
	if err := w.run(Word{Renew: true, Now: true}); err == nil || err.Error() != want {
		t.Errorf("%v", err)
	}
	if got := w.alarm(); got != "key-unusable" {
		t.Errorf("alarm %q", got)
	}
	if err := w.run(Word{Break: true, Now: true}); err != nil || w.files().Live.Number != 2 {
		t.Errorf("%v", err)
	}
	if got := w.alarm(); got != "" {
		t.Errorf("alarm %q", got)
	}

	w = newWorld(t, 90*day, 39)
	w.rand = nil
	w.line.CSR = filepath.Join(w.hook.StateDir, "now.csr")
	csr, err := acmeclient.NewCSR(mustKey(t), w.line.Names)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(w.line.CSR, csr, 0o644); err != nil {
		t.Fatal(err)
	}
	calm(w)
	if err := os.Remove(w.line.CSR); err != nil {
		t.Fatal(err)
	}
	for word, want := range map[Word]string{
		{Renew: true, Now: true}: "line mail: nothing was done: it was asked for, but there is no certificate request for its key",
		{Break: true, Now: true}: "line mail: nothing was done: a new key was asked for, whatever DANE says, but there is no certificate request for another key (csr, next-csr)",
	} {
		if err := w.run(word); err == nil || err.Error() != want {
			t.Errorf("%v", err)
		}
	}
	if got := w.alarm(); got != "key-unusable" {
		t.Errorf("alarm %q", got)
	}
	if err := w.keeper().RollOver(w.line); err == nil || !strings.Contains(err.Error(), "next-csr") {
		t.Errorf("%v", err)
	}
}

// TestRevoked: a revoked certificate is due; one whose key others have is not renewed
// with that key, not even by force, but with the next one when DNS allows it.
func TestRevoked(t *testing.T) {
	w := still(t, 36)
	first := w.files()
	revoke := func(reason string, compromised bool) {
		t.Helper()
		if err := w.keeper().Revoke(w.line, w.files().Live, reason, compromised); err != nil {
			t.Fatal(err)
		}
		if got := w.alarm(); got != "certificate-revoked" {
			t.Errorf("alarm %q", got)
		}
		w.now = w.now.Add(2 * time.Hour)
	}
	revoke("superseded", false)
	if err := w.run(Word{}); err != nil || w.files().Live.Number != 2 || w.alarm() != "" || w.files().Live.Hash() != first.Live.Hash() {
		t.Fatalf("%v, generation %d, alarm %q", err, w.files().Live.Number, w.alarm())
	}
	revoke("keyCompromise", true)
	if err := w.run(Word{}); err != nil || w.files().Live.Number != 2 {
		t.Fatalf("%v", err)
	}
	if err := w.run(Word{Renew: true, Now: true}); err == nil || !strings.Contains(err.Error(), "lacks those of the next key") || w.files().Live.Number != 2 {
		t.Errorf("%v", err)
	}
	for i := range w.versions {
		w.versions[i] = append(w.versions[i], version{w.now, map[string]bool{first.Live.Hash(): true, first.Next.Hash(): true}})
	}
	for range 60 {
		w.now = w.now.Add(time.Hour)
		if err := w.run(Word{}); err != nil {
			t.Fatal(err)
		}
		w.check()
	}
	if w.files().Live.Hash() != first.Next.Hash() || w.violated != "" || w.alarm() != "" {
		t.Errorf("%s, alarm %q", w.violated, w.alarm())
	}
}

// TestNamesDiffer: names that no certificate comes for are an alarm, though nothing
// expires.
func TestNamesDiffer(t *testing.T) {
	w := still(t, 37)
	w.line.Names = []string{"mail.example.org", "refused.example.org"}
	w.refuse = func(acmeclient.Request) bool { return true }
	for i := range 4 {
		if got := w.alarm(); got != "" {
			t.Errorf("%d: alarm %q", i, got)
		}
		w.now = w.now.Add(day)
		if w.run(Word{}) == nil {
			t.Fatal("not refused")
		}
	}
	if got := w.alarm(); got != "names-differ" {
		t.Errorf("alarm %q", got)
	}
}

// TestClockWasAhead: times of retries that no wait leads to are not believed.
func TestClockWasAhead(t *testing.T) {
	w := still(t, 38)
	w.now = w.now.AddDate(0, 1, 0)
	w.hookUntil = w.now.AddDate(1, 0, 0)
	w.refuse = func(acmeclient.Request) bool { return true }
	w.run(Word{Renew: true, Now: true})
	w.refuse = nil
	if err := w.run(Word{Renew: true, Now: true}); err == nil { // the hook of the new certificate fails
		t.Fatal("no failure")
	}
	w.now = w.now.AddDate(0, -1, 1)
	w.hookUntil = time.Time{}
	if err := w.run(Word{}); err != nil || !w.served.Equal(w.files().Live.Leaf()) {
		t.Errorf("%v", err)
	}
}

// TestLagAhead: a service that lags since a time to come, from before the clock was set
// back, is an alarm in time.
func TestLagAhead(t *testing.T) {
	w := still(t, 38)
	w.now = w.now.AddDate(1, 0, 0)
	w.lag()
	w.run(Word{})
	w.now = w.now.AddDate(-1, 0, 0)
	w.run(Word{})
	w.now = w.now.Add(2 * time.Hour)
	w.run(Word{})
	if got := w.alarm(); got != "service-lags" {
		t.Errorf("alarm %q", got)
	}
}

// lag renews, and has the service go on with the old certificate, of which nothing is known.
func (w *world) lag() {
	w.t.Helper()
	old := w.served
	w.run(Word{Renew: true, Now: true})
	w.served = old
	state, err := LoadState(w.hook, w.line.Name)
	if err != nil {
		w.t.Fatal(err)
	}
	delete(state.Served, "smtp")
	if err := SaveState(w.hook, w.line.Name, state); err != nil {
		w.t.Fatal(err)
	}
}

// TestLagIsOver: what a service was seen with before it was said that it cannot be asked
// is no alarm, neither while its operator has not said anything nor afterwards.
func TestLagIsOver(t *testing.T) {
	w := still(t, 38)
	w.lag()
	w.run(Word{})
	w.now = w.now.Add(2 * time.Hour)
	w.run(Word{})
	if got := w.alarm(); got != "service-lags" {
		t.Fatalf("alarm %q", got)
	}
	w.hook.Services[0].ProbeOff = true
	for _, said := range []bool{false, true} {
		if said {
			if _, err := w.keeper().Say(w.line); err != nil {
				t.Fatal(err)
			}
			w.run(Word{})
		}
		s, err := w.keeper().Status(w.line)
		if err != nil || s.Alarm != nil || s.Services[0].Lag != "" || s.Services[0].Serves != said {
			t.Errorf("said %t: %+v %v", said, s, err)
		}
	}
}
