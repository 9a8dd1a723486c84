package daemon

import (
	"slices"
	"sync"
	"time"

	"zonebuild/internal/watch"
)

// woken are zones about which an answer came that no pass waited for.
type woken struct {
	mu    sync.Mutex
	zones []zoneName
	poke  chan struct{} // of one place: the loop is to look
}

func (w *woken) add(apex zoneName) {
	w.mu.Lock()
	if !slices.Contains(w.zones, apex) {
		w.zones = append(w.zones, apex)
	}
	w.mu.Unlock()
	select {
	case w.poke <- struct{}{}:
	default:
	}
}

// take gives them as changes.
func (w *woken) take() (sight watch.Sight) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, apex := range w.zones {
		sight.Changes = append(sight.Changes, watch.Change{
			Source: sourceLooked,
			File:   watch.File{Path: sourceLooked + "/" + apex.FileName(), MTime: time.Now().UnixNano()},
		})
	}
	w.zones = nil
	return sight
}

// hints are those of the eyes and of woken zones.
func (s *site) hints() <-chan string {
	out := make(chan string)
	go func() {
		for {
			var name string
			select {
			case name = <-s.eyes.Hints():
			case <-s.woken.poke:
				name = sourceLooked
			case <-s.gone:
				return
			}
			select {
			case out <- name:
			case <-s.gone:
				return
			}
		}
	}()
	return out
}
