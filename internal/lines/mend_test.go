package lines

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"zonebuild/internal/acmeclient"
)

// changing brings a line to the instant at which its key may change.
func changing(t *testing.T, seed uint64) *world {
	t.Helper()
	w := newWorld(t, 90*day, seed)
	w.rand = nil
	calm(w)
	f := w.files()
	for i := range w.versions {
		w.versions[i] = append(w.versions[i], version{w.now, map[string]bool{f.Live.Hash(): true, f.Next.Hash(): true}})
	}
	for range 3 { // it is looked often enough
		if err := w.run(Word{}); err != nil {
			t.Fatal(err)
		}
		w.now = w.now.Add(23 * time.Hour)
	}
	if err := w.keeper().RollOver(w.line); err != nil {
		t.Fatal(err)
	}
	return w
}

// TestGateAtTheFlip: the gate is asked again when the certificate for the next key is
// there, and when its order is resumed. Until it opens the live key renews.
func TestGateAtTheFlip(t *testing.T) {
	for name, play := range map[string]func(w *world){
		"while the CA works": func(w *world) {
			w.issuing = func(acmeclient.Request) { w.withdraw(w.now.Add(100 * day)) }
			if err := w.run(Word{}); err != nil {
				t.Fatal(err)
			}
		},
		"before it is resumed": func(w *world) {
			w.issuing = func(acmeclient.Request) { panic(death{}) }
			if err := w.run(Word{}); err == nil {
				t.Fatal("not killed")
			}
			w.withdraw(w.now.Add(100 * day))
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := changing(t, 20)
			before := w.files()
			play(w)
			w.issuing = nil
			if w.order == nil || w.order.Key != before.Next.ID {
				t.Fatalf("no order for the next key: %+v", w.order)
			}
			for range 10 {
				w.now = w.now.Add(time.Hour)
				if err := w.run(Word{}); err != nil {
					t.Fatal(err)
				}
			}
			if w.files().Live.Hash() != before.Live.Hash() || w.order == nil {
				t.Fatal("the key changed, or the order is gone")
			}
			s, err := w.keeper().Status(w.line)
			if err != nil || len(s.Waits) == 0 || !strings.Contains(s.Waits[0].Why, "ns1 lacks those of the next key") {
				t.Errorf("%+v %v", s, err)
			}
			// The live key renews all the same, and when the records are back the key changes.
			if err := w.run(Word{Renew: true, Now: true}); err != nil {
				t.Fatal(err)
			}
			if f := w.files(); f.Live.Hash() != before.Live.Hash() || f.Live.Number != before.Live.Number+1 {
				t.Fatalf("generation %d", f.Live.Number)
			}
			for i := range w.versions {
				w.versions[i] = append(w.versions[i], version{w.now, map[string]bool{before.Live.Hash(): true, before.Next.Hash(): true}})
			}
			for range 60 {
				w.now = w.now.Add(time.Hour)
				if err := w.run(Word{}); err != nil {
					t.Fatal(err)
				}
				w.check()
			}
			if w.files().Live.Hash() != before.Next.Hash() || w.violated != "" {
				t.Errorf("the key did not change: %s", w.violated)
			}
		})
	}
}

// TestAlwaysDue: a CA that wants each certificate to be renewed at once gets one order
// a run, then fewer and fewer; the services have the newest all the time.
func TestAlwaysDue(t *testing.T) {
	for _, life := range []time.Duration{90 * day, 160 * time.Hour, 10 * time.Hour} {
		t.Run(fmt.Sprint(life), func(t *testing.T) {
			w := newWorld(t, life, 21)
			w.rand = nil
			w.line.Services, w.hook.Services[0].TLSA = nil, false
			w.suggest = func() time.Time { return w.now.Add(-time.Hour) }
			for range 2 * 24 * 60 {
				before := w.orders
				if err := w.run(Word{}); err != nil {
					t.Fatal(err)
				}
				if w.orders > before+1 {
					t.Fatalf("%d orders in a run", w.orders-before)
				}
				if !w.served.Equal(w.files().Live.Leaf()) {
					t.Fatal("the newest is not deployed")
				}
				w.check()
				w.now = w.now.Add(time.Minute)
			}
			most := 5 + int(2*day/min(day, life/10))
			if w.orders < 5 || w.orders > most || w.violated != "" {
				t.Errorf("%d orders, at most %d; %s", w.orders, most, w.violated)
			}
		})
	}
}

// TestOrderGivenUp: an order that cannot be finished here does not keep the line from
// its renewals.
func TestOrderGivenUp(t *testing.T) {
	for name, play := range map[string]func(w *world, live string){
		"another account": func(w *world, live string) {
			w.broken = fmt.Errorf("resume: %w: it is at https://staging.example", acmeclient.ErrUnfinished)
			w.order = &acmeclient.Order{Name: "mail", Key: live, Phase: acmeclient.PhaseFinalizing, Created: w.now}
		},
		"a lost key": func(w *world, _ string) {
			w.order = &acmeclient.Order{Name: "mail", Key: "lost", Phase: acmeclient.PhaseIssued, Created: w.now}
		},
		"no end": func(w *world, live string) {
			w.broken = errOut
			w.order = &acmeclient.Order{Name: "mail", Key: live, Phase: acmeclient.PhaseFinalizing, Created: w.now}
			for range 30 {
				w.now = w.now.Add(time.Hour)
				w.run(Word{})
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, 90*day, 22)
			w.rand = nil
			calm(w)
			play(w, w.files().Live.Key.ID)
			w.now = w.now.Add(2 * time.Hour)
			if err := w.run(Word{Renew: true, Now: true}); err != nil {
				t.Fatal(err)
			}
			if f := w.files(); f.Live.Number != 2 || w.order != nil {
				t.Errorf("generation %d, %+v", f.Live.Number, w.order)
			}
		})
	}
}

// TestBreakBehindAnOrder: a renewal that was on its way is not the new key that the
// operator wants.
func TestBreakBehindAnOrder(t *testing.T) {
	w := still(t, 27)
	before := w.files()
	w.issuing = func(acmeclient.Request) { panic(death{}) }
	if w.run(Word{Renew: true, Now: true}) == nil {
		t.Fatal("not killed")
	}
	w.issuing = nil
	if err := w.run(Word{Break: true, Now: true}); err != nil {
		t.Fatal(err)
	}
	if f := w.files(); f.Live.Number != 3 || f.Live.Hash() != before.Next.Hash() {
		t.Errorf("generation %d", f.Live.Number)
	}
}

// TestNoServicesIsSaid: a line whose key is to change and cannot says so all the time.
func TestNoServicesIsSaid(t *testing.T) {
	w := still(t, 26)
	w.line.Services = nil
	s, err := w.keeper().Status(w.line)
	if err != nil || len(s.Waits) == 0 || s.Waits[len(s.Waits)-1].Why != noServices {
		t.Errorf("%+v %v", s, err)
	}
	w.line.NoDANE = true
	if s, err = w.keeper().Status(w.line); err != nil || s.Waits[len(s.Waits)-1].Why == noServices {
		t.Errorf("%+v %v", s, err)
	}
}

// TestStoreFails: a disk that takes no certificate is tried less and less often, and
// the CA is not asked for another one each time.
func TestStoreFails(t *testing.T) {
	w := newWorld(t, 90*day, 23)
	w.rand = nil
	calm(w)
	w.line.Combined, w.line.DHParams = true, w.hook.StateDir+"/none.pem"
	if err := w.run(Word{Renew: true, Now: true}); err == nil || strings.Count(err.Error(), "none.pem") != 1 {
		t.Fatalf("%v", err)
	}
	failures := 0
	for range 24 * 60 {
		w.now = w.now.Add(time.Minute)
		if w.run(Word{}) != nil {
			failures++
		}
	}
	if failures < 2 || failures > 3 || w.orders != 2 {
		t.Errorf("%d failures in a day, %d orders", failures, w.orders)
	}
	if err := os.WriteFile(w.line.DHParams, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := w.run(Word{Renew: true, Now: true}); err != nil {
		t.Fatal(err)
	}
	if s, err := LoadState(w.hook, "mail"); err != nil || s.Retry != (Retry{}) || w.files().Live.Number != 2 {
		t.Errorf("%+v %v, generation %d", s.Retry, err, w.files().Live.Number)
	}
}

// TestKeepCountsCertificates: `keep` old ones stay, whatever their numbers are.
func TestKeepCountsCertificates(t *testing.T) {
	w := newWorld(t, 90*day, 24)
	w.rand = nil
	calm(w)
	p := PathsOf(w.hook, "mail")
	if err := os.Rename(p.generation(1), p.generation(40)); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(p.Line + "/live"); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("archive/0040", p.Line+"/live"); err != nil {
		t.Fatal(err)
	}
	for i := range 7 {
		if i == 3 {
			if err := os.Rename(p.generation(43), p.generation(60)); err != nil {
				t.Fatal(err)
			}
			if err := os.Remove(p.Line + "/live"); err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink("archive/0060", p.Line+"/live"); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.run(Word{Renew: true, Now: true}); err != nil {
			t.Fatal(err)
		}
	}
	if all, _, err := p.numbers(); fmt.Sprint(all) != "[42 60 61 62 63 64]" || err != nil {
		t.Errorf("%v %v", all, err)
	}
}

// TestLinesLost: lines/ and keys/ are gone, the state is not. Numbers begin again, and
// what was known of number 1 is not believed of the new number 1.
func TestLinesLost(t *testing.T) {
	w := newWorld(t, 90*day, 25)
	w.rand = nil
	calm(w)
	for _, dir := range []string{w.hook.LinesDir, w.hook.KeysDir} {
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
	}
	w.versions = [2][]version{}
	w.hookUntil = w.now.Add(2 * time.Hour)
	w.now = w.now.Add(time.Hour)
	w.run(Word{})
	s, err := w.keeper().Status(w.line)
	if err != nil || s.Generation != 1 || s.Services[0].Serves {
		t.Fatalf("%+v %v", s, err)
	}
	w.now = w.now.Add(2 * time.Hour)
	calm(w)
	if s, err = w.keeper().Status(w.line); err != nil || !s.Services[0].Serves || !w.served.Equal(w.files().Live.Leaf()) || s.NextKey == nil {
		t.Fatalf("%+v %v", s, err)
	}
}
