package lines

import (
	"crypto"
	"encoding/pem"
	"fmt"
	mathrand "math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"zonebuild/internal/acmeclient"
	"zonebuild/internal/durable"
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
			w.crash, w.careless = 0.02, 0.004
			gone := 0
			w.issuing = func(r acmeclient.Request) { // the records go between the order and its end
				if w.now.Sub(w.awayUntil) < w.ttl { // but they have just gone and come, which nobody saw
					return
				}
				if f := w.files(); f.Next != nil && r.KeyRef == f.Next.ID && f.Live != nil && (gone == 0 || w.rand.Float64() < 0.6) {
					gone++
					w.withdraw(w.now.Add(time.Duration(w.rand.Float64() * float64(life) / 4)))
				}
			}
			start, lost, left := w.now, false, false
			for end := w.now.Add(2 * 365 * day); w.now.Before(end) && w.violated == ""; {
				switch age := w.now.Sub(start); {
				case age > 364*day && !left: // nobody is there when the key is to change
					left = true
					w.leave()
				case age > 600*day && !lost: // somebody removes the files, and the state stays
					lost = true
					if err := os.RemoveAll(w.hook.LinesDir); err != nil {
						t.Fatal(err)
					}
				case age > 330*day:
					w.suggest = nil
				case age > 300*day: // a CA that wants every certificate renewed at once, for a month
					w.suggest = func() time.Time { return w.now.Add(-time.Hour) }
				}
				w.tick(4 * time.Hour)
			}
			if w.violated != "" {
				t.Fatal(w.violated)
			}
			// A key for each year, but that the second is lost with the files.
			changes := w.changes(start)
			if len(changes) != 3 || changes[1] < 365*day || changes[1] > 410*day || changes[2] < 600*day || changes[2] > 645*day {
				t.Errorf("keys came into use after %v", changes)
			}
			if w.gaps < 4 || w.jumps < 4 {
				t.Errorf("%d gaps, %d jumps", w.gaps, w.jumps)
			}
			most := int(2*365*day/(life/2)) + 20 + int(31*day/min(day, life/10))
			if w.orders < int(2*365*day/life) || w.orders > most {
				t.Errorf("%d certificates", w.orders)
			}
			if gone == 0 {
				t.Error("no gate was shut on the way")
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

// changes are the ages of the world at which keys were served first.
func (w *world) changes(start time.Time) (all []time.Duration) {
	for _, at := range w.keys {
		all = append(all, at.Sub(start))
	}
	slices.Sort(all)
	return all
}

// TestKeyPerYear: a year begins when a key is live, not when it was made: that was a year
// before, with a standing next key.
func TestKeyPerYear(t *testing.T) {
	for _, standing := range []bool{true, false} {
		t.Run(fmt.Sprint(standing), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, 90*day, 50)
			w.line.NextKey = standing
			start := w.now
			for range 4 * 365 * 4 {
				w.now = w.now.Add(6 * time.Hour)
				w.publish()
				w.run(Word{})
				w.check()
			}
			changes := w.changes(start)
			if len(changes) != 4 || w.violated != "" {
				t.Fatalf("keys came into use after %v; %s", changes, w.violated)
			}
			for i, at := range changes[1:] {
				if since := at - changes[i]; since < 365*day-time.Hour || since > 370*day {
					t.Errorf("keys came into use after %v", changes)
				}
			}
		})
	}
}

// TestCareless: keys that change all the time, on a host that is off now and then, and
// whose clock is ahead now and then: what went on meanwhile opens no gate.
func TestCareless(t *testing.T) {
	for seed := range uint64(4) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, 90*day, 100+seed)
			w.careless, w.line.MaxKeyAge = 0.05, 10*day
			for end := w.now.Add(2 * 365 * day); w.now.Before(end) && w.violated == ""; {
				w.tick(4 * time.Hour)
			}
			if w.violated != "" {
				t.Fatal(w.violated)
			}
			if len(w.keys) < 20 || w.gaps < 30 || w.jumps < 30 {
				t.Errorf("%d keys, %d gaps, %d jumps", len(w.keys), w.gaps, w.jumps)
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
		"no dane": func(w *world) { w.line.NoDANE = true },
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
	if err != nil || len(s.Waits) == 0 || s.Waits[0].Why != want || s.Alarm != nil {
		t.Errorf("%+v %v", s, err)
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

// TestKeyRefused: a CA that does not take the next key leaves the line with its live
// one, and valid.
func TestKeyRefused(t *testing.T) {
	w := newWorld(t, 90*day, 7)
	live := ""
	w.refuse = func(r acmeclient.Request) bool { return live != "" && r.KeyRef != live }
	w.rand = mathrand.New(mathrand.NewPCG(1, 1))
	calm(w)
	live = w.files().Live.Key.ID
	w.line.MaxKeyAge = 10 * day
	for range 300 {
		w.now = w.now.Add(12 * time.Hour)
		w.publish()
		w.run(Word{})
		w.check()
	}
	if w.violated != "" || w.files().Live.Key.ID != live || w.files().Live.Number != 3 {
		t.Errorf("%s, generation %d", w.violated, w.files().Live.Number)
	}
	s, err := w.keeper().Status(w.line)
	if err != nil || s.Error != "certificate request refused" {
		t.Errorf("%+v %v", s, err)
	}
}

// TestRequests: keys that are never here change by two certificate requests.
func TestRequests(t *testing.T) {
	w := newWorld(t, 90*day, 8)
	w.rand = mathrand.New(mathrand.NewPCG(1, 1))
	dir := t.TempDir()
	put := func(name string) crypto.Signer {
		key := mustKey(t)
		csr, err := acmeclient.NewCSR(key, w.line.Names)
		if err != nil {
			t.Fatal(err)
		}
		text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: csr})
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o644); err != nil {
			t.Fatal(err)
		}
		return key
	}
	w.line.CSR, w.line.NextCSR = filepath.Join(dir, "now.csr"), filepath.Join(dir, "next.csr")
	if err := w.run(Word{}); err == nil || !strings.HasSuffix(err.Error(), "file does not exist") {
		t.Errorf("without a request: %v", err)
	}
	hashOf := func(k crypto.Signer) string {
		spki, err := spkiOf(k)
		if err != nil {
			t.Fatal(err)
		}
		return hash(spki)
	}
	days := func(n int) {
		for range 4 * n {
			w.now = w.now.Add(6 * time.Hour)
			w.publish()
			if err := w.run(Word{}); err != nil {
				t.Fatal(err)
			}
			w.check()
		}
	}
	first := put("now.csr")
	days(70)
	if f := w.files(); f.Live.Number != 2 || f.Live.Hash() != hashOf(first) {
		t.Errorf("generation %d", f.Live.Number)
	}
	second := put("next.csr")
	days(10)
	if w.files().Live.Hash() != hashOf(first) || w.files().Next.Hash() != hashOf(second) {
		t.Error("the key changed although the request of the first is still there")
	}
	if err := w.keeper().RollOver(w.line); err != nil {
		t.Fatal(err)
	}
	days(10)
	if w.files().Live.Hash() != hashOf(second) {
		t.Error("the key did not change")
	}
	third := put("now.csr")
	days(5)
	if f := w.files(); f.Live.Hash() != hashOf(second) || f.Next.Hash() != hashOf(third) {
		t.Error("the third key is not published")
	}
	if ids, err := PathsOf(w.hook, "mail").listKeys(); err != nil || len(ids) != 0 || w.violated != "" {
		t.Errorf("%v %v %s", ids, err, w.violated)
	}
}

// TestModes: whatever the umask.
func TestModes(t *testing.T) {
	for _, mask := range []int{0, 0o077} {
		old := syscall.Umask(mask)
		w := newWorld(t, 90*day, 9)
		w.rand, w.line.Combined = nil, true
		calm(w)
		p := PathsOf(w.hook, "mail")
		for path, want := range map[string]os.FileMode{
			p.Keys: 0o700, p.key(w.files().Live.Key.ID): 0o600, p.key(w.files().Next.ID): 0o600, filepath.Join(p.Keys, "combined-0001.pem"): 0o600,
			p.Line: 0o755, p.generation(1): 0o755, filepath.Join(p.Line, "live", "cert.pem"): 0o644, filepath.Join(p.Line, "next", "pubkey.pem"): 0o644,
			statePath(w.hook, "mail"): 0o600,
		} {
			if info, err := os.Stat(path); err != nil || info.Mode().Perm() != want {
				t.Errorf("umask %03o: %s: %v %v", mask, path, info, err)
			}
		}
		syscall.Umask(old)
	}
}

// TestGoBack: the operator's way back to an older generation is told to the services,
// and the next certificate overwrites none.
func TestGoBack(t *testing.T) {
	w := newWorld(t, 90*day, 10)
	w.rand = nil
	calm(w)
	if err := w.run(Word{Renew: true}); err != nil {
		t.Fatal(err)
	}
	p := PathsOf(w.hook, "mail")
	if err := durable.Link("archive/0001", filepath.Join(p.Line, "live")); err != nil {
		t.Fatal(err)
	}
	if err := w.run(Word{}); err != nil || !w.served.Equal(w.files().Live.Leaf()) || w.files().Live.Number != 1 {
		t.Errorf("%v", err)
	}
	if err := w.run(Word{Renew: true}); err != nil || w.files().Live.Number != 3 {
		t.Errorf("%v", err)
	}
	if _, err := os.Stat(p.generation(2)); err != nil {
		t.Error(err)
	}
}
