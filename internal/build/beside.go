package build

import (
	"context"
	"sync"
	"time"

	"zonebuild/internal/domain"
)

// Beside asks the world beside the passes of a daemon: what answers within a blink is
// known at once, for the rest no zone waits. That holds for the serials that the name
// servers serve, too. It may be used by several passes, one after the other. The
// fields are set before.
type Beside struct {
	// Wake is told of a zone about which an answer came that its pass did not wait for.
	Wake  func(apex domain.Name)
	Clock func() time.Duration // a running clock
	// Mute is told of a source that does not answer, and when it does again. It must not
	// wait, nor use this; nil = nobody listens.
	Mute func(source string, mute bool)

	mu    sync.Mutex
	asked map[string]*question
	slots chan struct{}

	confirming map[domain.Name]*confirming
	places     chan struct{} // one for each question about a serial that is under way
	ctx        context.Context
	end        context.CancelFunc
	running    sync.WaitGroup
	ended      bool

	ears        map[string]*ear
	at          map[*doing]bool
	silentUntil time.Duration // by the clock
}

type question struct {
	done   chan struct{}
	answer any
	late   bool          // nobody waited for it
	since  time.Duration // by the clock
}

// Bounds of asking beside a pass.
const (
	lookPatience = 300 * time.Millisecond // of a pass, with all looks
	dsPatience   = time.Second            // likewise: what is unknown refuses a zone
	answerHolds  = 2 * time.Minute        // for the pass that comes for it
)

// ask gives the answer to a question, if it is known before enough is closed. Else the
// question goes on, and its answer waits for the next pass.
func (b *Beside) ask(apex domain.Name, key string, enough <-chan struct{}, f func(ctx context.Context) any) (answer any, ok bool) {
	b.mu.Lock()
	if b.asked == nil {
		b.asked, b.slots = map[string]*question{}, make(chan struct{}, lookAtOnce)
	}
	for k, q := range b.asked {
		if q.answered() && b.Clock()-q.since > answerHolds {
			delete(b.asked, k)
		}
	}
	q := b.asked[key]
	if q == nil {
		q = &question{done: make(chan struct{}), since: b.Clock()}
		b.asked[key] = q
		go b.run(apex, q, f)
	}
	b.mu.Unlock()
	select {
	case <-q.done:
	case <-enough:
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if !q.answered() {
		q.late = true
		return nil, false
	}
	if b.asked[key] == q {
		delete(b.asked, key)
	}
	return q.answer, true
}

func (q *question) answered() bool {
	select {
	case <-q.done:
		return true
	default:
		return false
	}
}

// run asks, so many at a time, each for as long as one look may take.
func (b *Beside) run(apex domain.Name, q *question, f func(ctx context.Context) any) {
	b.slots <- struct{}{}
	ctx, cancel := context.WithTimeout(context.Background(), lookBudget)
	answer := f(ctx)
	cancel()
	<-b.slots
	b.mu.Lock()
	q.answer, q.since = answer, b.Clock()
	close(q.done)
	late := q.late
	b.mu.Unlock()
	if late && b.Wake != nil {
		b.Wake(apex)
	}
}

// patience is closed when a pass has waited long enough for such questions.
type patience struct {
	once   sync.Once
	enough chan struct{}
}

func (w *patience) of(d time.Duration) <-chan struct{} {
	w.once.Do(func() {
		w.enough = make(chan struct{})
		time.AfterFunc(d, func() { close(w.enough) })
	})
	return w.enough
}
