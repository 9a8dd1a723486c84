package lines

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"
)

// TestDeployDone: which hooks are due when the list is not what was run.
func TestDeployDone(t *testing.T) {
	ids := func(words string) (ids []string) {
		for _, w := range strings.Fields(words) {
			ids = append(ids, hookID([]string{w}))
		}
		return ids
	}
	for _, c := range []struct {
		ran, now string
		want     int
	}{
		{"", "", 0},
		{"", "a b", 0},
		{"a", "a b", 1},
		{"a b", "a b", 2},
		{"a b", "c", 0},
		{"a b", "c a b", 0}, // the others may depend on it
		{"a b", "a c b", 1},
		{"a b", "a b c", 2},
		{"a b c", "a c", 2}, // one that is gone is not missed
		{"a b", "b a", 1},
		{"a", "a a", 1},
		{"a a", "a a", 2},
	} {
		var hooks [][]string
		for _, w := range strings.Fields(c.now) {
			hooks = append(hooks, []string{w})
		}
		if got := (Deploy{Ran: ids(c.ran)}).done(hooks); got != c.want {
			t.Errorf("ran %q, now %q: %d, want %d", c.ran, c.now, got, c.want)
		}
	}
	if hookID([]string{"a", "b"}) == hookID([]string{"a b"}) {
		t.Error("arguments are not told apart")
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

// TestHookCutOff: a hook that ends with the process is run again by the next one, as if
// nothing had been.
func TestHookCutOff(t *testing.T) {
	w := newWorld(t, 90*day, 5)
	w.rand = nil
	ctx, cancel := context.WithCancel(t.Context())
	ran := 0
	k := w.keeper()
	k.Hook = func(ctx context.Context, h Hook) error {
		ran++
		cancel()
		<-ctx.Done()
		return errOut
	}
	if err := k.Run(ctx, w.line, Word{}); err == nil || ran != 1 {
		t.Fatalf("%v, %d times", err, ran)
	}
	s, err := w.keeper().Status(w.line)
	if err != nil || len(s.Steps) != 2 || s.Steps[0] != "deploy: the services are to be told" {
		t.Errorf("%+v %v", s, err)
	}
	if state, err := LoadState(w.hook, "mail"); err != nil || state.Deploy.Tries > 0 || state.Deploy.Error != "" {
		t.Errorf("%+v %v", state.Deploy, err)
	}
	w.run(Word{})
	if w.served == nil {
		t.Error("the service was not told")
	}
}
