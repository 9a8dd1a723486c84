package publish

import (
	"context"
	"errors"
	"sync"
	"time"

	"zonebuild/internal/domain"
)

// Before remembers which zones were served just before they were reloaded. A
// small zone is loaded within a millisecond, before anybody can ask, so without
// it a broken file could not be told from a zone that was broken already and is
// about to be mended. The zero value is ready; it is safe for concurrent use.
type Before struct {
	mu     sync.Mutex
	served map[domain.Name]bool
	silent time.Time // when a server did not answer last
}

// Bounds of asking before a reload.
const (
	noteWait = time.Second // for all answers: a reload waits for no dead server
	noteRest = time.Minute // after a silence nobody is asked
)

// Note asks for the zones that are to be reloaded. After one server that does
// not answer, it asks no more, for a minute: those zones count as not served.
func (b *Before) Note(ctx context.Context, apexes []domain.Name, ask func(context.Context, domain.Name) (Served, error)) {
	b.mu.Lock()
	if b.served == nil {
		b.served = map[domain.Name]bool{}
	}
	for _, apex := range apexes {
		delete(b.served, apex)
	}
	resting := time.Since(b.silent) < noteRest
	b.mu.Unlock()
	if resting {
		return
	}

	ctx, cancel := context.WithTimeout(ctx, noteWait)
	defer cancel()
	next := make(chan domain.Name)
	var wg sync.WaitGroup
	for range min(askers, len(apexes)) {
		wg.Go(func() {
			for apex := range next {
				_, err := ask(ctx, apex)
				switch {
				case err == nil:
					b.mu.Lock()
					b.served[apex] = true
					b.mu.Unlock()
				case errors.Is(err, ErrUnreachable):
					b.mu.Lock()
					b.silent = time.Now()
					b.mu.Unlock()
					cancel()
				}
			}
		})
	}
	defer wg.Wait()
	defer close(next)
	for _, apex := range apexes {
		select {
		case next <- apex:
		case <-ctx.Done():
			return
		}
	}
}

// Was reports whether the zone was served before its last reload.
func (b *Before) Was(apex domain.Name) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.served[apex]
}
