package lines

import (
	"strings"
	"testing"
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
