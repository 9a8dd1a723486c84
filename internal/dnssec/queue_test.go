package dnssec

import (
	"errors"
	"sync"
	"testing"
	"testing/synctest"
)

// numbers gives the numbers of the stretches that f got, in its order. That the race
// detector is content says that only one worker is at it.
func numbers(workers, n int, render func(*stretch), f func(*stretch) error) (got []int, err error) {
	err = inTurns(workers, n, render, func(st *stretch) error {
		if err := f(st); err != nil {
			return err
		}
		got = append(got, st.n)
		return nil
	})
	return got, err
}

func inOrder(got []int) bool {
	for i, n := range got {
		if i != n {
			return false
		}
	}
	return true
}

func TestInTurns(t *testing.T) {
	for _, n := range []int{0, 1, 7, 1000} {
		for _, workers := range []int{1, 2, 8} {
			got, err := numbers(workers, n, func(*stretch) {}, func(*stretch) error { return nil })
			if len(got) != n || !inOrder(got) || err != nil {
				t.Errorf("%d stretches, %d workers: %d came, %v", n, workers, len(got), err)
			}
		}
	}
}

// One that takes long holds nobody up until all room is used.
func TestInTurnsRunsAhead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow, done := make(chan struct{}), make(chan struct{})
		var mu sync.Mutex
		rendered := 0
		var got []int
		go func() {
			defer close(done)
			got, _ = numbers(2, 100, func(st *stretch) {
				if st.n == 0 {
					<-slow
				}
				mu.Lock()
				defer mu.Unlock()
				rendered++
			}, func(*stretch) error { return nil })
		}()
		synctest.Wait()
		if want := 2*ahead - 1; rendered != want {
			t.Errorf("%d rendered beside the slow one, want %d", rendered, want)
		}
		close(slow)
		<-done
		if len(got) != 100 || !inOrder(got) {
			t.Errorf("got %v", got)
		}
	})
}

// Nothing is handed over behind a fault, nobody waits, and the fault is what comes back.
func TestInTurnsEndsAtFault(t *testing.T) {
	bad := errors.New("bad")
	at := func(st *stretch) error {
		if st.n == 10 {
			return bad
		}
		return nil
	}
	for _, workers := range []int{1, 4} {
		got, err := numbers(workers, 1000, func(st *stretch) { st.err = at(st) }, func(*stretch) error { return nil })
		if len(got) != 10 || !inOrder(got) || err != bad {
			t.Errorf("render, %d workers: got %v, %v", workers, got, err)
		}
		got, err = numbers(workers, 1000, func(st *stretch) { st.err = nil }, at)
		if len(got) != 10 || !inOrder(got) || err != bad {
			t.Errorf("write, %d workers: got %v, %v", workers, got, err)
		}
	}
}
