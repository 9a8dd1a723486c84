package main

import (
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/schollz/progressbar/v3"

	"zonebuild/internal/build"
	"zonebuild/internal/domain"
)

// longFrom is the number of signatures from which on work is worth a bar: on one
// core it takes more than a second.
const longFrom = 20_000

// longWork shows how far long work is, on a terminal only.
type longWork struct {
	to io.Writer // nil: nobody looks

	mu    sync.Mutex
	stage string
	zones map[domain.Name]build.Progress // of the stage
	bar   *progressbar.ProgressBar
}

func (p *program) longWork(s *session) *longWork {
	w := &longWork{zones: map[domain.Name]build.Progress{}}
	if p.terminal() && !s.quiet && !s.verbose { // the log would run through it
		w.to = p.err
	}
	return w
}

// build takes the progress of a zone. All zones that are in the same stage have one
// bar; that of the next stage comes when it is full.
func (w *longWork) build(p build.Progress) {
	if w.to == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if p.Stage != w.stage {
		for _, z := range w.zones {
			if z.Done < z.Total {
				return
			}
		}
		w.clear()
		w.stage = p.Stage
	}
	w.zones[p.Zone] = p
	done, total, records := 0, 0, 0
	for _, z := range w.zones {
		done, total, records = done+z.Done, total+z.Total, records+z.Records
	}
	w.show(done, total, fmt.Sprintf("%s %d records", p.Stage, records))
}

// verify takes the progress of one file.
func (w *longWork) verify(done, total int) {
	if w.to == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.show(done, total, build.StageVerify)
}

// show draws the bar, at most ten times a second.
func (w *longWork) show(done, total int, what string) {
	if total < longFrom {
		return
	}
	if w.bar == nil {
		w.bar = progressbar.NewOptions(total,
			progressbar.OptionSetWriter(w.to), progressbar.OptionSetDescription(what),
			progressbar.OptionShowCount(), progressbar.OptionShowIts(), progressbar.OptionSetItsString("signatures"),
			progressbar.OptionSetPredictTime(true), progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionClearOnFinish())
	}
	if total != w.bar.GetMax() {
		w.bar.ChangeMax(total)
		w.bar.Describe(what)
	}
	w.bar.Set(done) // an error is one of writing to the terminal
}

// end takes the bar away.
func (w *longWork) end() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.clear()
}

func (w *longWork) clear() {
	if w.bar != nil {
		w.bar.Clear()
	}
	w.bar, w.zones = nil, map[domain.Name]build.Progress{}
}
