package dnssec

import "sync"

// queue has stretches rendered in any order and handed over in theirs.
type queue struct {
	mu     sync.Mutex
	moved  sync.Cond  // stretches became idle
	idle   []*stretch // none of them is in work
	ready  []*stretch // rendered: the one with the number n at n modulo the length
	taken  int        // so many were given out to be rendered
	given  int        // and so many handed over
	giving bool       // a worker is at it
	err    error      // the first
}

// newQueue has room for so many stretches that are under way.
func newQueue(room int) *queue {
	q := &queue{idle: make([]*stretch, room), ready: make([]*stretch, room)}
	q.moved.L = &q.mu
	for i := range q.idle {
		q.idle[i] = new(stretch)
	}
	return q
}

// take gives out the next stretch to render, nil behind the last one and after a fault.
func (q *queue) take(batches int) *stretch {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.idle) == 0 && q.taken < batches && q.err == nil {
		q.moved.Wait()
	}
	if q.taken == batches || q.err != nil {
		return nil
	}
	st := q.idle[len(q.idle)-1]
	q.idle = q.idle[:len(q.idle)-1]
	st.n = q.taken
	q.taken++
	return st
}

// put takes a stretch that was rendered, and hands over to f what is ready in order
// unless another worker does so already.
func (q *queue) put(st *stretch, f func(*stretch) error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.ready[st.n%len(q.ready)] = st
	if q.giving {
		return
	}
	q.giving = true
	for st := q.next(); st != nil; st = q.next() {
		q.mu.Unlock()
		err := st.err
		if err == nil {
			err = f(st)
		}
		q.mu.Lock()
		q.err = err
		q.given++
		q.idle = append(q.idle, st)
		q.moved.Broadcast()
	}
	q.giving = false
}

// next is the stretch to hand over now, nil while there is none and after a fault.
func (q *queue) next() *stretch {
	at := q.given % len(q.ready)
	st := q.ready[at]
	if q.err != nil {
		return nil
	}
	q.ready[at] = nil
	return st
}
