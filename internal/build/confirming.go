package build

import (
	"context"
	"fmt"
	"time"

	"zonebuild/internal/domain"
	"zonebuild/internal/publish"
)

// confirming is the wait for the serial of a zone, behind the pass that published it.
type confirming struct {
	tree   *Tree // whose server is asked
	serial uint32
	begun  time.Duration // by the clock
	cancel context.CancelFunc
	done   chan struct{}
	result publish.Result // when done is closed
	late   bool           // no pass waited for it
}

// Bounds of confirming beside the passes of a daemon.
const (
	servedPatience = 300 * time.Millisecond // of a pass with what it published
	servedEach     = 4 * time.Millisecond   // likewise, for each zone
	servedSlow     = 2 * time.Second        // what is asked for so long has a server that is dead or busy: no pass waits for another zone then
	confirmers     = 64                     // questions at a time
	silentRest     = time.Minute            // for which a server that was silent is not asked before signing
	besideAskWait  = time.Second            // for the served serial, before signing
)

// asks reports whether a zone is being asked for this serial, or was and no pass came
// for the answer.
func (b *Beside) asks(t *Tree, apex domain.Name, serial uint32) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	q := b.confirming[apex]
	return q != nil && q.tree == t && q.serial == serial && !(isClosed(q.done) && b.now()-q.begun > answerHolds+q.result.Took)
}

// forget drops what is asked, or was answered, about a zone.
func (b *Beside) forget(apex domain.Name) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if q := b.confirming[apex]; q != nil {
		q.cancel()
		delete(b.confirming, apex)
	}
}

// confirm is publish.Confirm for a pass that waits for none: it gives what is known
// soon. The asking for the others goes on, and whoever is told to Wake then finds the
// result by asking again. A zone that is asked for another serial already is asked for
// this one instead.
func (b *Beside) confirm(t *Tree, s publish.Server, want map[domain.Name]uint32, timeout time.Duration) map[domain.Name]publish.Result {
	asked := make(map[domain.Name]*confirming, len(want))
	enough := servedPatience + time.Duration(len(want))*servedEach
	b.mu.Lock()
	if b.ended {
		b.mu.Unlock()
		return nil
	}
	if b.confirming == nil {
		b.confirming, b.places = map[domain.Name]*confirming{}, make(chan struct{}, confirmers)
		b.ctx, b.end = context.WithCancel(context.Background())
	}
	for _, q := range b.confirming {
		if !isClosed(q.done) && b.now()-q.begun >= servedSlow {
			enough = 0
		}
	}
	for apex, serial := range want {
		q := b.confirming[apex]
		if q != nil && (q.tree != t || q.serial != serial) {
			q.cancel()
			q = nil
		}
		if q == nil {
			ctx, cancel := context.WithCancel(b.ctx)
			q = &confirming{tree: t, serial: serial, begun: b.now(), cancel: cancel, done: make(chan struct{})}
			b.confirming[apex] = q
			b.running.Go(func() { b.await(ctx, apex, q, s, timeout) })
		}
		asked[apex] = q
	}
	b.mu.Unlock()
	patience := time.NewTimer(enough)
	defer patience.Stop()
	out := make(map[domain.Name]publish.Result, len(want))
	over := false
	for apex, q := range asked {
		if !over {
			select {
			case <-q.done:
			case <-patience.C:
				over = true
			}
		}
		b.mu.Lock()
		if isClosed(q.done) {
			out[apex] = q.result
			if b.confirming[apex] == q {
				delete(b.confirming, apex)
			}
		} else {
			q.late = true
		}
		b.mu.Unlock()
	}
	return out
}

// await asks until the outcome is known.
func (b *Beside) await(ctx context.Context, apex domain.Name, q *confirming, s publish.Server, timeout time.Duration) {
	defer q.cancel()
	result := publish.Confirm(ctx, queued{s, b.places}, map[domain.Name]uint32{apex: q.serial}, timeout)[apex]
	b.mu.Lock()
	q.result = result
	close(q.done)
	wake := q.late && b.confirming[apex] == q && ctx.Err() == nil
	b.mu.Unlock()
	if wake && b.Wake != nil {
		b.Wake(apex)
	}
}

// End stops all confirming and waits until that is done: what is not known yet, the
// next pass over the zone asks for. A pass that still runs finds out nothing more.
func (b *Beside) End() {
	b.mu.Lock()
	if b.ended = true; b.end != nil {
		b.end()
	}
	b.mu.Unlock()
	b.running.Wait()
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// queued is a server that is asked so many questions at a time, whoever asks.
type queued struct {
	publish.Server
	places chan struct{}
}

// Serial asks the server.
func (s queued) Serial(ctx context.Context, apex domain.Name) (publish.Served, error) {
	select {
	case s.places <- struct{}{}:
		defer func() { <-s.places }()
		return s.Server.Serial(ctx, apex)
	case <-ctx.Done():
		return publish.Served{}, fmt.Errorf("wait for others that are asked: %w", ctx.Err())
	}
}

// isSilent reports whether the servers did not answer lately.
func (b *Beside) isSilent() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.silentUntil > 0 && b.now() < b.silentUntil
}

func (b *Beside) noteSilent() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.silentUntil = b.now() + silentRest
}

// now reads the running clock; without one, no time passes.
func (b *Beside) now() time.Duration {
	if b.Clock == nil {
		return 0
	}
	return b.Clock()
}
