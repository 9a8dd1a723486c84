package dnssec

import (
	"errors"
	"sync"
	"testing"
	"testing/synctest"
)

// run renders n stretches with some workers and gives the numbers that f got, in its order.
func (q *queue) run(workers, n int, render func(*stretch), f func(*stretch) error) (got []int) {
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for st := q.take(n); st != nil; st = q.take(n) {
				render(st)
				q.put(st, func(st *stretch) error {
					got = append(got, st.n) // the race detector sees whether only one is at it
					return f(st)
				})
			}
		})
	}
	wg.Wait()
	return got
}

func inOrder(got []int) bool {
	for i, n := range got {
		if i != n {
			return false
		}
	}
	return true
}

func TestQueueKeepsOrder(t *testing.T) {
	for _, n := range []int{0, 1, 7, 1000} {
		for _, workers := range []int{1, 2, 8} {
			q := newQueue(2 * workers)
			got := q.run(workers, n, func(*stretch) {}, func(*stretch) error { return nil })
			if len(got) != n || !inOrder(got) || q.err != nil {
				t.Errorf("%d stretches, %d workers: %d came, %v", n, workers, len(got), q.err)
			}
		}
	}
}

// One that takes long holds nobody up until all room is used.
func TestQueueRunsAhead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := make(chan struct{})
		var mu sync.Mutex
		rendered := 0
		var got []int
		q := newQueue(5)
		done := make(chan struct{})
		go func() {
			defer close(done)
			got = q.run(2, 100, func(st *stretch) {
				if st.n == 0 {
					<-slow
				}
				mu.Lock()
				defer mu.Unlock()
				rendered++
			}, func(*stretch) error { return nil })
		}()
		synctest.Wait()
		if rendered != 4 {
			t.Errorf("%d rendered beside the slow one, with room for 4", rendered)
		}
		close(slow)
		<-done
		if len(got) != 100 || !inOrder(got) {
			t.Errorf("got %v", got)
		}
	})
}

// Nothing is handed over behind a fault, nobody waits, and the fault is what comes back.
func TestQueueEndsAtFault(t *testing.T) {
	bad := errors.New("bad")
	for name, at := range map[string]func(*stretch, bool) error{
		"render": func(st *stretch, rendering bool) error {
			if rendering && st.n == 10 {
				return bad
			}
			return nil
		},
		"write": func(st *stretch, rendering bool) error {
			if !rendering && st.n == 9 {
				return bad
			}
			return nil
		},
	} {
		for _, workers := range []int{1, 4} {
			q := newQueue(3 * workers)
			got := q.run(workers, 1000, func(st *stretch) { st.err = at(st, true) }, func(st *stretch) error { return at(st, false) })
			if len(got) != 10 || !inOrder(got) || q.err != bad {
				t.Errorf("%s, %d workers: got %v, %v", name, workers, got, q.err)
			}
		}
	}
}
