package lines

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"
)

const day = 24 * time.Hour

// TestTwoYears: certificates of all lifetimes that are usual, a key a year, and a
// world where everything fails now and then and processes die: at every instant the
// served certificate is valid and pinned in whatever a cache may hold.
func TestTwoYears(t *testing.T) {
	for seed, life := range []time.Duration{90 * day, 45 * day, 160 * time.Hour} {
		t.Run(fmt.Sprint(life), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, life, uint64(seed)+1)
			w.crash = 0.02
			for end := w.now.Add(2 * 365 * day); w.now.Before(end) && w.violated == ""; {
				w.tick(4 * time.Hour)
			}
			if w.violated != "" {
				t.Fatal(w.violated)
			}
			if len(w.keys) != 2 && len(w.keys) != 3 { // the second change is due in the last days
				t.Errorf("%d keys in two years", len(w.keys))
			}
			most := int(2*365*day/(life/2)) + 20
			if w.orders < int(2*365*day/life) || w.orders > most {
				t.Errorf("%d certificates", w.orders)
			}
			if w.deaths < 10 {
				t.Errorf("only %d processes died", w.deaths)
			}
			if ids, err := PathsOf(w.hook, "mail").listKeys(); err != nil || len(ids) > 3 {
				t.Errorf("keys %v %v", ids, err)
			}
		})
	}
}

// TestSimulationSees: without the wait for caches, or with a word that breaks DANE,
// the simulation finds a client that is locked out.
func TestSimulationSees(t *testing.T) {
	for name, spoil := range map[string]func(w *world){
		"no wait": func(w *world) { w.hook.TTLs, w.hook.Margin = 0, 0 },
		"no gate": func(w *world) { w.hook.Services[0].TLSA = false },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, 45*day, 9)
			w.line.MaxKeyAge = 20 * day
			w.line.NextKey = false
			spoil(w)
			for end := w.now.Add(365 * day); w.now.Before(end) && w.violated == ""; {
				w.tick(4 * time.Hour)
			}
			if w.violated == "" {
				t.Error("nothing was violated")
			}
		})
	}
}

// TestBreak: the word of the operator goes past the gate, once.
func TestBreak(t *testing.T) {
	w := newWorld(t, 90*day, 3)
	w.rand = nil // nothing is left to chance
	calm(w)
	first := w.files()
	if err := w.run(Word{Break: true, Now: true}); err != nil {
		t.Fatal(err)
	}
	second := w.files()
	if second.Live.Number != first.Live.Number+1 || second.Live.Hash() != first.Next.Hash() {
		t.Errorf("generation %d, key %s", second.Live.Number, second.Live.Hash())
	}
	w.check()
	if w.violated == "" {
		t.Error("no cache was without the key")
	}
}

// calm brings a line to its steady state without accidents.
func calm(w *world) {
	w.t.Helper()
	for range 3 {
		w.now = w.now.Add(time.Hour)
		if err := w.run(Word{}); err != nil {
			w.t.Fatal(err)
		}
		f := w.files()
		set := map[string]bool{f.Live.Hash(): true}
		for i := range w.versions {
			w.versions[i] = []version{{w.now, set}}
		}
	}
}

// TestDNSNeverShows: the key does not change, the certificate is renewed with the old
// one, and the status says what is missing.
func TestDNSNeverShows(t *testing.T) {
	w := newWorld(t, 90*day, 4)
	w.rand = nil
	calm(w)
	if err := w.keeper().RollOver(w.line); err != nil {
		t.Fatal(err)
	}
	before := w.files()
	for range 200 {
		w.now = w.now.Add(12 * time.Hour)
		if err := w.run(Word{}); err != nil {
			t.Fatal(err)
		}
	}
	after := w.files()
	if after.Live.Hash() != before.Live.Hash() || after.Live.Number != before.Live.Number+1 || after.Next.Hash() != before.Next.Hash() {
		t.Errorf("generation %d to %d", before.Live.Number, after.Live.Number)
	}
	s, err := w.keeper().Status(w.line)
	want := "the next key waits: _25._tcp.mail.example.org.: ns1 lacks those of the next key; ns2 lacks those of the next key"
	if err != nil || len(s.Waits) == 0 || s.Waits[0].Why != want || s.Alarm != "" {
		t.Errorf("%+v %v", s, err)
	}
}

// TestHookFails: a hook is tried again later and later, and is never lost.
func TestHookFails(t *testing.T) {
	w := newWorld(t, 90*day, 5)
	w.rand = nil
	w.hookUntil = w.now.Add(30 * time.Hour)
	start := w.now
	tries := []time.Duration{}
	hook := w.deploy
	for range 40 * 60 {
		k := w.keeper()
		k.Hook = func(ctx context.Context, h Hook) error {
			tries = append(tries, w.now.Sub(start))
			return hook(ctx, h)
		}
		k.Run(t.Context(), w.line, Word{})
		w.now = w.now.Add(time.Minute)
	}
	want := []time.Duration{0, time.Minute, 11 * time.Minute, 111 * time.Minute, 111*time.Minute + day, 111*time.Minute + 2*day}
	if fmt.Sprint(tries) != fmt.Sprint(want[:len(tries)]) || len(tries) < 5 {
		t.Errorf("tries %v", tries)
	}
}

// TestKeysAreSecret: whatever the umask, private keys are for their owner alone, and
// one that is not is refused.
func TestKeysAreSecret(t *testing.T) {
	w := newWorld(t, 90*day, 6)
	w.rand = nil
	calm(w)
	paths := PathsOf(w.hook, "mail")
	id := w.files().Live.Key.ID
	if err := os.Chmod(paths.key(id), 0o640); err != nil {
		t.Fatal(err)
	}
	want := "line mail: read the key " + paths.key(id) + ": its mode is 0640, others may read it: chmod 600"
	if err := w.run(Word{}); err == nil || err.Error() != want {
		t.Errorf("%v", err)
	}
}
