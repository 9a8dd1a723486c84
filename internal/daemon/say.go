package daemon

import (
	"context"
	"maps"
	"slices"
	"strings"

	"zonebuild/internal/build"
	"zonebuild/internal/watch"
)

// maxWords bounds the passes that are still to be told of.
const maxWords = 256

// say has somebody told in a goroutine, one after the other: the loop waits neither for
// who reads nor for who knows the revision. Without speak it is said at once.
func (d *Daemon) say(word func()) {
	if d.words == nil {
		word()
		return
	}
	select {
	case d.words <- word:
	case <-d.silent: // a pass that hung until nobody waited for it any more
	}
}

// speak tells until it is stopped, and then what was said before.
func (d *Daemon) speak() (stop func()) {
	d.words, d.silent = make(chan func(), maxWords), make(chan struct{})
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			select {
			case word := <-d.words:
				word()
				continue
			case <-d.silent:
			}
			for len(d.words) > 0 {
				(<-d.words)()
			}
			return
		}
	}()
	return func() {
		close(d.silent)
		<-ended
	}
}

// askRevisions asks, while the pass runs, which revisions its input is of: what comes
// behind it is the next one's. The function gives them for a report: "" = none is
// known, or nothing was published. A program that still runs for another pass is not
// asked again.
func (s *site) askRevisions(r watch.Request) func(*build.Report) string {
	var out []string
	for _, name := range slices.Sorted(maps.Keys(r.Revisions)) {
		out = append(out, r.Revisions[name])
	}
	answers := make(chan []string, 1)
	if s.Said != nil && s.asking.CompareAndSwap(false, true) {
		go func() {
			defer s.asking.Store(false)
			answers <- s.programs()
		}()
	} else {
		answers <- nil
	}
	return func(report *build.Report) string {
		if !slices.ContainsFunc(report.Zones, func(z build.Result) bool { return len(z.Reasons) > 0 }) {
			return ""
		}
		return strings.Join(slices.Compact(append(out, <-answers...)), " ")
	}
}

// programs run those of sources that others update.
func (s *site) programs() (out []string) {
	for _, name := range slices.Sorted(maps.Keys(s.tree.Config.Sources)) {
		src := s.tree.Config.Sources[name]
		if src.Revision == nil || src.Update != nil {
			continue
		}
		rev, err := askRevision(context.Background(), s.tree.Config.Tree, src.Revision)
		if err != nil {
			s.Log.Warn("ask for the revision", "source", name, "err", err)
			continue
		}
		out = append(out, rev)
	}
	return out
}
