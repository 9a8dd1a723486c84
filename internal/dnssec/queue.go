package dnssec

import "sync"

// ahead is how many stretches may be under way for each worker: so many it does while
// another one is slow.
const ahead = 8

// inTurns has workers render n stretches, in any order, and gives them to f in theirs,
// one at a time: the worker that rendered the stretch which is due does so, with what is
// ready behind it. It ends at the first fault, of a stretch or of f.
func inTurns(workers, n int, render func(*stretch), f func(*stretch) error) error {
	room := ahead * workers
	q := &queue{n: n, idle: make([]*stretch, room), ready: make([]*stretch, room), give: f}
	q.moved.L = &q.mu
	for i := range q.idle {
		q.idle[i] = new(stretch)
	}
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for st := q.take(); st != nil; st = q.take() {
				render(st)
				q.put(st)
			}
		})
	}
	wg.Wait()
	return q.err
}

// queue is where workers meet.
type queue struct {
	n    int
	give func(*stretch) error

	mu     sync.Mutex
	moved  sync.Cond  // stretches became idle
	idle   []*stretch // none of them is in work
	ready  []*stretch // rendered: the one with the number n at n modulo the length
	taken  int        // so many were given out to be rendered
	given  int        // and so many to f
	giving bool       // a worker is at it
	err    error      // the first
}

// take gives out the next stretch to render, nil behind the last one and after a fault.
func (q *queue) take() *stretch {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.idle) == 0 && q.taken < q.n && q.err == nil {
		q.moved.Wait()
	}
	if q.taken == q.n || q.err != nil {
		return nil
	}
	st := q.idle[len(q.idle)-1]
	q.idle = q.idle[:len(q.idle)-1]
	st.n = q.taken
	q.taken++
	return st
}

// put takes a stretch that was rendered, and gives f what is ready in order unless
// another worker does so already. Without defer: what f panics with is to be seen.
func (q *queue) put(st *stretch) {
	q.mu.Lock()
	q.ready[st.n%len(q.ready)] = st
	if q.giving {
		q.mu.Unlock()
		return
	}
	q.giving = true
	for due := q.next(); due != nil; due = q.next() {
		q.mu.Unlock()
		err := due.err
		if err == nil {
			err = q.give(due)
		}
		q.mu.Lock()
		q.err = err
		q.given++
		q.idle = append(q.idle, due)
		q.moved.Broadcast()
	}
	q.giving = false
	q.mu.Unlock()
}

// next is the stretch that is due, nil while it is not ready and after a fault.
func (q *queue) next() *stretch {
	at := q.given % len(q.ready)
	st := q.ready[at]
	if q.err != nil {
		return nil
	}
	q.ready[at] = nil
	return st
}
